"""Lookups grouped by row, so that each row that was looked up is updated once, by one owner."""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import INT32, INT64, writable
from fastemb.engine.backend import kernels, simd_width
from fastemb.engine.memory import empty
from fastemb.engine.parallel import get_num_threads, run_whole

__all__ = ["Groups", "group"]

_NONE_FROZEN, _NO_LABELS = np.empty(0, np.bool_), np.empty(0, np.int32)
_KEPT_LOOKUPS = 1 << 20  # up to which a thread keeps the memory that it groups in, 16 bytes each
_NOTHING: tuple[int, int, NDArray[np.uint64]] = (-1, 0, np.empty(0, np.uint64))
_ONE_BLOCK = 4096  # lookups from which the results lie in one block of memory
_kept = threading.local()


@dataclass(slots=True)
class Groups:
    """The rows that were looked up, and the lookups of each.

    Parameters
    ----------
    rows : int32 or int64 (num_rows,)
        The distinct rows, ascending, in the dtype of the indices.
    starts : int64 (num_rows + 1,)
        The lookups of ``rows[r]`` are ``order[starts[r] : starts[r + 1]]``.
    order : int32 or int64 (num_taken,)
        Places of the lookups, or their labels, by row and then ascending; int64 where there are 2**31 lookups and more.
    """

    rows: NDArray
    starts: NDArray[np.int64]
    order: NDArray


def group(
    indices: NDArray,
    num_embeddings: int,
    *,
    padding_idx: int | None = None,
    frozen: NDArray[np.bool_] | None = None,
    labels: NDArray[np.int32] | None = None,
    device: str = "cpu",
) -> Groups:
    """Return the lookups grouped by row.

    Lookups of `padding_idx`, of frozen rows and of anything outside ``[0, num_embeddings)`` (-1 marks "no row") are
    left out. The result does not depend on the number of threads.

    Parameters
    ----------
    indices : int32 or int64 (num_lookups,)
        C-contiguous.
    num_embeddings : int
        Rows of the table.
    padding_idx : int, optional
        A row that is left out.
    frozen : bool (num_embeddings,), optional
        Rows that are left out are True.
    labels : int32 (num_lookups,), optional
        What `order` tells of each lookup instead of its place, such as its bag: at least 0, never falling.
    device : {"cpu", "reference"}, default "cpu"

    Returns
    -------
    Groups

    Raises
    ------
    ValueError
        If there are more or fewer labels than lookups, or more or fewer entries of `frozen` than rows.

    Examples
    --------
    >>> groups = group(np.array([7, 2, 7, 0]), 10, padding_idx=0)
    >>> groups.rows, groups.starts, groups.order
    (array([2, 7]), array([0, 1, 3]), array([1, 0, 2], dtype=int32))
    """
    num_lookups = len(indices)
    if labels is not None and len(labels) != num_lookups:
        raise ValueError(f"labels must have one entry a lookup, {num_lookups}, got {len(labels)}")
    if frozen is not None and len(frozen) != num_embeddings:
        raise ValueError(f"frozen must have one entry a row, {num_embeddings}, got {len(frozen)}")
    rows, starts, order = _results(num_lookups, indices.dtype)
    padding = -1 if padding_idx is None else padding_idx
    passive = _NONE_FROZEN if frozen is None else frozen
    told = _NO_LABELS if labels is None else labels
    arguments = rows, starts, order, writable(indices), num_embeddings, padding, passive, told
    if device != "reference" and num_lookups < 2**31 and num_embeddings < 2**32:
        module, num_parts = kernels("cpu", "grouping"), get_num_threads()
        scratch = _scratch(num_lookups, num_parts)
        num_rows = run_whole(module, "group", (*arguments, scratch, simd_width()), 32 * num_lookups, num_parts)
    else:
        num_rows = kernels("reference", "grouping").group(*arguments)
    return Groups(rows[:num_rows], starts[: num_rows + 1], order[: starts[num_rows]])


def _results(num_lookups: int, dtype: np.dtype) -> tuple[NDArray, NDArray[np.int64], NDArray]:
    """Return uninitialised arrays for the rows, the starts and the order.

    Large ones share a block, which is kept for the next call.
    """
    order_dtype = INT32 if num_lookups < 2**31 else INT64
    if num_lookups < _ONE_BLOCK:
        return np.empty(num_lookups, dtype), np.empty(num_lookups + 1, np.int64), np.empty(num_lookups, order_dtype)
    ends = [8 * (num_lookups + 1)]  # the starts come first, so that all are aligned
    ends.append(ends[0] + dtype.itemsize * num_lookups)
    block = empty((ends[1] + order_dtype.itemsize * num_lookups,), np.uint8)
    starts, rows, order = block[: ends[0]], block[ends[0] : ends[1]], block[ends[1] :]
    return rows.view(dtype), starts.view(np.int64), order.view(order_dtype)


def _scratch(num_lookups: int, num_parts: int) -> NDArray[np.uint64]:
    """Return memory to group in, kept for the next call of this thread unless it is large."""
    capacity, most_parts, scratch = getattr(_kept, "scratch", _NOTHING)
    if num_lookups <= capacity and num_parts <= most_parts:
        return scratch
    capacity = 1 << max(num_lookups - 1, 63).bit_length()
    scratch = kernels("cpu", "grouping").allocate_scratch(capacity, num_parts, empty)
    if capacity <= _KEPT_LOOKUPS:
        _kept.scratch = capacity, num_parts, scratch
    return scratch
