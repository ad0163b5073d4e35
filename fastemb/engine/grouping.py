"""Lookups grouped by row, so that each row that was looked up is updated once, by one owner."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import kernels

__all__ = ["Groups", "group"]

_MAX_INT32 = 2**31 - 1


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
        Places of the lookups, by row and then ascending; int64 where there are 2**31 lookups and more.
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
    device : {"cpu", "reference"}, default "cpu"

    Returns
    -------
    Groups

    Examples
    --------
    >>> groups = group(np.array([7, 2, 7, 0]), 10, padding_idx=0)
    >>> groups.rows, groups.starts, groups.order
    (array([2, 7]), array([0, 1, 3]), array([1, 0, 2], dtype=int32))
    """
    num_lookups = len(indices)
    rows = np.empty(num_lookups, indices.dtype)
    starts = np.empty(num_lookups + 1, np.int64)
    order = np.empty(num_lookups, np.int32 if num_lookups <= _MAX_INT32 else np.int64)
    kernel = kernels("reference", "grouping").group
    num_rows = kernel(rows, starts, order, indices, num_embeddings, padding_idx, frozen)
    return Groups(rows[:num_rows], starts[: num_rows + 1], order[: starts[num_rows]])
