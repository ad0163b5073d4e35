"""Numba-CUDA, and the stream of a GPU in which a thread's work is queued."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from fastemb.engine.backend import require_gpu

__all__ = [
    "cuda",
    "current_stream",
    "device_number",
    "is_simulated",
    "let_wait",
    "number_of",
    "synchronize",
    "using_stream",
    "wait_for",
]

LEGACY, PER_THREAD = 1, 2  # the numbers of CUDA's two default streams


class _Local(threading.local):
    """What each thread has of its own."""

    def __init__(self) -> None:
        self.stream: Any = 0


_local = _Local()


@cache
def cuda() -> Any:
    """Return `numba.cuda`, once it is known that there is a GPU or the simulator."""
    require_gpu()
    from numba import cuda

    return cuda


@cache
def is_simulated() -> bool:
    """Return whether Numba's simulator stands for a GPU."""
    from numba import config

    return bool(config.ENABLE_CUDASIM)


def current_stream() -> Any:
    """Return the stream of Numba in which this thread's work is queued; 0 is the simulator's default one.

    A GPU's default stream is named: for 0, Numba waits for copies.
    """
    if _local.stream == 0 and not is_simulated():
        return _external(number_of(0))
    return _local.stream


@contextmanager
def using_stream(stream: Any) -> Iterator[None]:
    """Queue the work of this thread in a stream, inside a ``with`` block.

    Parameters
    ----------
    stream : int or numba.cuda stream
        The number of a stream of CUDA, such as ``torch.cuda.current_stream().cuda_stream``.
    """
    before = _local.stream
    if isinstance(stream, int) and stream and not is_simulated():
        stream = _external(stream)
    _local.stream = stream
    try:
        yield
    finally:
        _local.stream = before


def number_of(stream: Any) -> int:
    """Return a stream's number as arrays tell it: 1 is the default stream, 2 that of each thread."""
    if is_simulated():
        return LEGACY
    found = 0 if stream == 0 else int(stream.handle)
    return found or (PER_THREAD if _default_is_per_thread() else LEGACY)


@cache
def _default_is_per_thread() -> bool:
    from numba.cuda.core import config

    return bool(config.CUDA_PER_THREAD_DEFAULT_STREAM)


def device_number() -> int:
    """Return which of the GPUs is in use."""
    return 0 if is_simulated() else int(cuda().get_current_device().id)


def wait_for(number: int) -> None:
    """Let the current stream wait for what is queued in another one."""
    _order(number, number_of(_local.stream))


def let_wait(number: int | None) -> None:
    """Let another stream wait for what is queued in the current one, as DLPack asks: -1 for none, None for the default.

    Raises
    ------
    BufferError
        If the number is 0, which may mean either default stream.
    """
    if number == 0:
        raise BufferError("stream 0 may mean either default stream: 1 is the legacy one, 2 that of each thread")
    if number != -1:
        _order(number_of(_local.stream), LEGACY if number is None else int(number))


def _order(first: int, then: int) -> None:
    if first != then and not is_simulated():
        event = cuda().event(timing=False)
        event.record(_external(first))
        event.wait(_external(then))


@cache
def _external(number: int) -> Any:
    return cuda().external_stream(number)


def synchronize() -> None:
    """Wait for what is queued in this thread's stream."""
    if _local.stream == 0:
        if not is_simulated():
            cuda().default_stream().synchronize()
    else:
        _local.stream.synchronize()
