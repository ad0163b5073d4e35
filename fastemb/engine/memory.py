"""Memory for rows, which begin on a cache line, so that reading and writing them touches no line more than need be."""

from math import prod

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine import _memory
from fastemb.engine.backend import indexing_device, kernels
from fastemb.engine.parallel import run

__all__ = ["clear", "empty", "empty_rows", "zeroed", "zeros"]

LINE = 64  # bytes of a cache line
LARGE = 1 << 16  # bytes of a result from which beginning on a line is worth its microsecond
SERIAL = 1 << 20  # bytes that one thread clears as fast as several
MOST_KEPT = 100 << 20  # bytes of an array whose memory is kept for the next one


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return an array that begins on a cache line, its numbers not set.

    Examples
    --------
    >>> empty((3, 5), np.float32).ctypes.data % 64
    0
    """
    return _memory.empty(tuple(shape), np.dtype(dtype))


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return an array of zeros that begins on a cache line; the system zeroes a large one page by page when it is used.

    Examples
    --------
    >>> zeros((1, 2), np.float32)
    array([[0., 0.]], dtype=float32)
    """
    kind = np.dtype(dtype)
    memory = np.zeros(prod(shape) * kind.itemsize + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + memory.size - LINE].view(kind).reshape(shape)


def zeroed(shape: tuple[int, ...], dtype: DTypeLike, device: str = "cpu") -> NDArray:
    """Return an array of zeros for a result of which much is used at once: they are written, in memory that is kept.

    Unless it is so large that none would be kept: then as `zeros`.

    Examples
    --------
    >>> zeroed((1, 2), np.float32)
    array([[0., 0.]], dtype=float32)
    """
    if prod(shape) * np.dtype(dtype).itemsize > MOST_KEPT:
        return zeros(shape, dtype)
    array = empty(shape, dtype)
    clear(array, device)
    return array


def clear(array: NDArray, device: str = "cpu") -> None:
    """Fill a contiguous array in the host's memory with zeros, in as many threads as pay.

    Examples
    --------
    >>> array = np.ones(2)
    >>> clear(array)
    >>> array
    array([0., 0.])
    """
    if array.nbytes < SERIAL:
        array.fill(0)
    else:
        module = kernels(indexing_device(device), "lookup")
        run(module, "clear", (array.reshape(-1).view(np.uint8),), array.nbytes, array.nbytes)


def empty_rows(num_rows: int, dim: int, dtype: np.dtype) -> NDArray:
    """Return rows for a result, their numbers not set; many begin on a cache line, and few are made in less time.

    Examples
    --------
    >>> empty_rows(1000, 64, np.dtype(np.float32)).ctypes.data % 64
    0
    """
    if num_rows * dim * dtype.itemsize < LARGE:
        return np.empty((num_rows, dim), dtype)
    return empty((num_rows, dim), dtype)
