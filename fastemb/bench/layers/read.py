"""How fast rows at random places can be read at all: the limit that bags are measured by."""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import kernels, simd_width

AHEAD_BYTES = 4096
MOST_AHEAD = 16
_simd = kernels("cpu", "simd")
_address, _load, _add, _prefetch, _total, _zeros = (
    getattr(_simd, name) for name in ("address", "load", "add", "prefetch", "total", "zeros")
)
_index = _simd.get_int64
_index_address = _simd.int64_address


@nb.njit(nogil=True, parallel=True, error_model="numpy")
def _read(sums, weight, indices, ahead, width):  # type: ignore[no-untyped-def]
    """Add up the rows of `weight` that `indices` name, each thread its part; indices are not checked."""
    row_bytes, lanes = 4 * weight.shape[1], 8 * len(width)
    for part in nb.prange(len(sums)):
        ids, table = _index_address(indices, 0), _address(weight, 0)
        start, stop = part * len(indices) // len(sums), (part + 1) * len(indices) // len(sums)
        first, second = _zeros(width), _zeros(width)
        for i in range(start, stop):
            coming = table + _index(ids, min(i + ahead, stop - 1)) * row_bytes
            row = table + _index(ids, i) * row_bytes
            last = row_bytes - 4 * lanes
            at = 0
            while at < last:
                _prefetch(coming + at, width)
                first = _add(first, _load(row + at, width))
                at += 4 * lanes
            _prefetch(coming + last, width)
            second = _add(second, _load(row + last, width))
        sums[part] = _total(_add(first, second))


def reader(weight: NDArray[np.float32], indices: NDArray[np.int64], threads: int) -> Callable[[], Any]:
    """Return a function that reads the rows of `weight` that `indices` name, and only adds them up.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.bench.layers.read import reader
    >>> float(reader(np.ones((10, 16), np.float32), np.array([3, 3, 7]), threads=1)())
    48.0
    """
    width = simd_width()
    if weight.shape[1] < 8 * len(width):
        raise ValueError(f"rows must have at least {8 * len(width)} columns, got {weight.shape[1]}")
    if indices.min() < 0 or indices.max() >= len(weight):
        raise ValueError(f"indices must be in [0, {len(weight)})")
    ahead = max(1, min(MOST_AHEAD, AHEAD_BYTES // (4 * weight.shape[1])))
    sums = np.empty(threads, np.float32)
    nb.set_num_threads(threads)

    def read() -> Any:
        _read(sums, weight, indices, ahead, width)
        return sums.sum()

    return read
