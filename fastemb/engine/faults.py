"""The flag in which kernels tell of a bad index: looked at after each call, or once where `deferred_errors` says so."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastemb.engine.device import DeviceArray, upload
from fastemb.engine.streams import cuda, is_simulated

__all__ = ["deferred_errors", "new_flag", "settle"]

ALL_WELL = np.iinfo(np.int64).max  # of a flag


FREEING = 256  # calls after which memory is freed inside a block of put-off errors

_cleaning = threading.Lock()  # Numba counts without one who has put off to free memory


class _Local(threading.local):
    """What each thread has of its own: the flag of its calls, the errors that it has put off, and memory to free."""

    def __init__(self) -> None:
        self.flag: Any = None
        self.put_off: list[tuple[Any, Callable[[int], Exception]]] | None = None
        self.keeps = False  # memory, inside `deferred_errors`
        self.cleanup: Any = None
        self.num_calls = 0


_local = _Local()


@contextmanager
def deferred_errors() -> Iterator[None]:
    """Look for bad indices at the end of a ``with`` block, once, and not after each call on a GPU.

    A call on arrays of a GPU then only queues work. Where an index is outside its table, what the call returns is
    undefined, nothing outside an array is read or written, and the block ends with the error of the first such call.

    Numba waits for the GPU to free memory, so the block puts that off, too: to its end, and to every 256th call.

    Examples
    --------
    >>> with deferred_errors():
    ...     pass
    """
    if _local.put_off is not None:  # the outer block looks
        yield
        return
    _local.put_off, _local.keeps = [], True
    try:
        yield
    except BaseException:
        _local.put_off = None
        raise
    else:
        waiting, _local.put_off = _local.put_off, None
        for flag, error in waiting:
            found = int(flag.to_host()[0])
            if found != ALL_WELL:
                raise error(found)
    finally:
        _local.keeps = False
        _free()


def _put_off_freeing() -> None:
    """Let Numba free no memory until `_free`; but let it now, where it has not done so for many calls."""
    _local.num_calls += 1
    if _local.num_calls % FREEING == 0 and not is_simulated():
        _free()
        cuda().current_context().deallocations.clear()
    if _local.cleanup is None:
        _local.cleanup = cuda().defer_cleanup()
        with _cleaning:
            _local.cleanup.__enter__()


def _free() -> None:
    if _local.cleanup is not None:
        with _cleaning:
            _local.cleanup.__exit__(None, None, None)
        _local.cleanup = None


def new_flag() -> DeviceArray:
    """Return a flag that says that all is well."""
    if _local.put_off is not None:
        if _local.keeps:
            _put_off_freeing()
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
