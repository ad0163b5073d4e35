"""Numba-CUDA, and the stream of a GPU in which a thread's work is queued."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from fastemb.engine.backend import require_gpu

__all__ = ["cuda", "current_stream", "is_simulated", "number_of", "synchronize", "using_stream"]


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
    """Return the stream of Numba in which this thread's work is queued; 0 is the default one."""
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
        stream = cuda().external_stream(stream)
    _local.stream = stream
    try:
        yield
    finally:
        _local.stream = before


def number_of(stream: Any) -> int:
    """Return a stream's number as arrays tell it: 1 is the default stream."""
    if stream == 0 or is_simulated():
        return 1
    return int(getattr(stream.handle, "value", stream.handle) or 1)


def synchronize() -> None:
    """Wait for what is queued in this thread's stream."""
    if _local.stream == 0:
        if not is_simulated():
            cuda().default_stream().synchronize()
    else:
        _local.stream.synchronize()
