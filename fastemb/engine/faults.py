"""The flag in which kernels tell of a bad index: looked at after each call, or once where `deferred_errors` says so."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastemb.engine.device import DeviceArray, upload

__all__ = ["ALL_WELL", "deferred_errors", "new_flag", "settle", "watched"]

ALL_WELL = np.iinfo(np.int64).max  # of a flag


class _Local(threading.local):
    """What each thread has of its own: the flag of its calls, and the errors that it has put off."""

    def __init__(self) -> None:
        self.flag: Any = None
        self.put_off: list[tuple[Any, Callable[[int], Exception]]] | None = None


_local = _Local()


@contextmanager
def deferred_errors() -> Iterator[None]:
    """Look for bad indices at the end of a ``with`` block, once, and not after each call on a GPU.

    A call on arrays of a GPU then only queues work. Where an index is outside its table, what the call returns is
    undefined, nothing outside an array is read or written, and the block ends with the error of the first such call.

    Examples
    --------
    >>> with deferred_errors():
    ...     pass
    """
    if _local.put_off is not None:  # the outer block looks
        yield
        return
    _local.put_off = []
    try:
        yield
    except BaseException:
        _local.put_off = None
        raise
    waiting, _local.put_off = _local.put_off, None
    for flag, error in waiting:
        found = int(flag.to_host()[0])
        if found != ALL_WELL:
            raise error(found)


@contextmanager
def watched() -> Iterator[list[tuple[Any, Callable[[int], Exception]]]]:
    """Keep the flags of a ``with`` block, which looks at none: in the list that is given, or for `deferred_errors`."""
    if _local.put_off is not None:
        yield []
        return
    found: list[tuple[Any, Callable[[int], Exception]]] = []
    _local.put_off = found
    try:
        yield found
    finally:
        _local.put_off = None


def new_flag() -> DeviceArray:
    """Return a flag that says that all is well."""
    if _local.put_off is not None:
        return upload(np.array([ALL_WELL]))
    if _local.flag is None:
        _local.flag = upload(np.array([ALL_WELL]))
    return _local.flag


def settle(flag: DeviceArray, error: Callable[[int], Exception]) -> None:
    """Raise what a flag says, or put off looking at it."""
    if _local.put_off is not None:
        _local.put_off.append((flag, error))
        return
    found = int(flag.to_host()[0])
    if found != ALL_WELL:
        _local.flag = None
        raise error(found)
