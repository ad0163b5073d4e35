"""How fast rows at random places can be read at all: the limit that bags are measured by."""

from collections.abc import Callable, Sequence
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from fastemb.bench.layers.cases import in_turn
from fastemb.engine.backend import kernels, simd_width

AHEAD_BYTES = 16384
LEAST_AHEAD, MOST_AHEAD = 16, 64
_simd = kernels("cpu", "simd")
_address, _load, _add, _total, _zeros = (getattr(_simd, name) for name in ("address", "load", "add", "total", "zeros"))
_pointer, _prefetch = kernels("cpu", "pieces").pointer, kernels("cpu", "prefetching").prefetch_line
_index = _simd.get_int64
_index_address = _simd.int64_address


@nb.njit(nogil=True, error_model="numpy")
def _read_part(weight, indices, ahead, width, start, stop):  # type: ignore[no-untyped-def]
    """Return the sum of the rows of `weight` that a range of `indices` names; indices are not checked."""
    row_bytes, size = 4 * weight.shape[1], 32 * len(width)
    ids, table, edge = _index_address(indices, 0), _address(weight, 0), len(indices) - 1
    a, b, c, d = _zeros(width), _zeros(width), _zeros(width), _zeros(width)
    rows = _pointer(weight)
    for i in range(start, stop):
        coming, row = _index(ids, min(i + ahead, edge)) * row_bytes, table + _index(ids, i) * row_bytes
        at = 0
        while at + 4 * size <= row_bytes:  # four sums, so that one addition need not wait for another
            _prefetch(rows, coming + at)
            _prefetch(rows, coming + at + size)
            _prefetch(rows, coming + at + 2 * size)
            _prefetch(rows, coming + at + 3 * size)
            a, b = _add(a, _load(row + at, width)), _add(b, _load(row + at + size, width))
            c, d = _add(c, _load(row + at + 2 * size, width)), _add(d, _load(row + at + 3 * size, width))
            at += 4 * size
        while at + size <= row_bytes:
            _prefetch(rows, coming + at)
            a, b = b, _add(a, _load(row + at, width))
            at += size
        if at < row_bytes:  # the last columns, some of them again
            c = _add(c, _load(row + row_bytes - size, width))
        _prefetch(rows, coming + row_bytes - 4)  # a row may begin amid a cache line, and so end in one more
    return _total(_add(_add(a, b), _add(c, d)))


@nb.njit(nogil=True, parallel=True, error_model="numpy")
def _read(sums, weight, indices, ahead, width):  # type: ignore[no-untyped-def]
    """Read the rows that `indices` name, each thread its part."""
    parts, size = len(sums), len(indices)
    for part in nb.prange(parts):
        start, stop = part * size // parts, (part + 1) * size // parts
        sums[part] = _read_part(weight, indices, ahead, width, start, stop)


def reader(weight: NDArray[np.float32], batches: Sequence[NDArray[np.int64]], threads: int) -> Callable[[], Any]:
    """Return a function that reads the rows of `weight` that the next of `batches` names, and only adds them up.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.bench.layers.read import reader
    >>> float(reader(np.ones((10, 16), np.float32), [np.array([3, 3, 7])], threads=1)())
    48.0
    """
    width = simd_width()
    if weight.shape[1] < 8 * len(width):
        raise ValueError(f"rows must have at least {8 * len(width)} columns, got {weight.shape[1]}")
    if any(indices.min() < 0 or indices.max() >= len(weight) for indices in batches):
        raise ValueError(f"indices must be in [0, {len(weight)})")
    ahead = max(LEAST_AHEAD, min(MOST_AHEAD, AHEAD_BYTES // (4 * weight.shape[1])))
    sums = np.empty(threads, np.float32)
    nb.set_num_threads(min(threads, nb.config.NUMBA_NUM_THREADS))
    indices = in_turn(batches)

    def read() -> Any:
        _read(sums, weight, indices(), ahead, width)
        return sums.sum()

    return read
