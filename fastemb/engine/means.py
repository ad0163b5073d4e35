"""Means of rows of any table: float32, a memory map that need not be aligned, codes."""

import itertools
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import kernels
from fastemb.engine.operations import SUMS
from fastemb.engine.parallel import ordered_map
from fastemb.engine.ragged import NO_PADDING

__all__ = ["Rows", "gather", "mean_rows"]


class Rows(Protocol):
    """A table of floats, or one that reads as float32."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Rows and columns."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


MEAN = SUMS["mean"]
_BLOCK = 1 << 20  # bytes of rows that are gathered at a time
_FEW = 1 << 18  # bytes of rows for which no kernel is worth compiling


def gather(rows: Rows, indices: NDArray) -> NDArray[np.float32]:
    """Return copies of rows, float32 (num_indices, dim), of numbers that are in the table.

    Examples
    --------
    >>> gather(np.array([[1.5], [2.5]], np.float32), np.array([1, 1]))
    array([[2.5],
           [2.5]], dtype=float32)
    """
    if isinstance(rows, np.ndarray) and rows.flags.c_contiguous and rows.size:
        # Bytes are copied whole rows at a time, wherever the table begins.
        rows = rows.view(np.uint8)
        return np.take(rows, indices, axis=0).view(np.float32)
    return rows[indices]


def mean_rows(
    rows: Rows,
    values: NDArray[np.integer],
    offsets: NDArray[np.int64],
    workers: int | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the mean of the rows of each bag, zeros for an empty one.

    Rows are added in their order, in float32, and the sum is multiplied by one over their number, as fastText does.

    Parameters
    ----------
    rows : float32 array of shape (num_rows, dim), or a table of codes that reads as one
    values : integers (num_values,)
        Rows of the table. They are not checked.
    offsets : int64 (num_bags + 1,)
        Bag `i` is ``values[offsets[i]:offsets[i + 1]]``; they rise from 0 to `num_values`.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`.
    out : float32 (num_bags, dim), optional
        Where to put the means; default a new array.

    Returns
    -------
    float32 (num_bags, dim)

    Examples
    --------
    >>> mean_rows(np.array([[1.0], [4.0]], np.float32), np.array([0, 1, 1]), np.array([0, 2, 2, 3]))
    array([[2.5],
           [0. ],
           [4. ]], dtype=float32)
    """
    num_bags, dim = len(offsets) - 1, rows.shape[1]
    out = np.empty((num_bags, dim), np.float32) if out is None else out
    row_bytes = max(1, 4 * dim)
    if len(values) * row_bytes <= _FEW:
        found = gather(rows, values)
        out[:] = 0
        for bag in np.flatnonzero(np.diff(offsets)).tolist():
            first, last = offsets[bag], offsets[bag + 1]
            out[bag] = np.add.reduce(found[first:last], axis=0) * np.float32(1 / (last - first))
        return out
    kernel = kernels("cpu", "bags").reduce

    def fill(bags: tuple[int, int]) -> None:
        first, last = bags
        base = offsets[first]
        found = gather(rows, values[base : offsets[last]])
        places = np.arange(len(found))
        kernel(
            out[first:last], found, places, offsets[first : last + 1] - base, None, NO_PADDING, MEAN, 0, last - first
        )

    step = max(1, _BLOCK // row_bytes)
    for _ in ordered_map(fill, _blocks(offsets, step), workers):
        pass
    return out


def _blocks(offsets: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Return ranges of bags of about `size` values each, and at least one bag."""
    cuts = [0]
    while cuts[-1] < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[cuts[-1]] + size, side="right")) - 1
        cuts.append(max(cuts[-1] + 1, stop))
    return list(itertools.pairwise(cuts))
