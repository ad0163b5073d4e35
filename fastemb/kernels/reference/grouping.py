"""Lookups grouped by row: which rows were looked up, and from which places."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["group"]


def group(
    rows: NDArray,
    starts: NDArray[np.int64],
    order: NDArray,
    indices: NDArray,
    num_embeddings: int,
    padding_idx: int,
    frozen: NDArray[np.bool_],
    labels: NDArray[np.int32],
) -> int:
    """Sort the lookups by row, stably, and find where each row's begin.

    Lookups of `padding_idx`, of rows that are frozen and of anything outside ``[0, num_embeddings)`` are left out.
    The outputs are as long as they can need to be; what is behind the part that is used is undefined.

    Parameters
    ----------
    rows : (num_lookups,), dtype of `indices`
        Output: the distinct rows, ascending.
    starts : int64 (num_lookups + 1,)
        Output: the lookups of ``rows[r]`` are ``order[starts[r] : starts[r + 1]]``.
    order : int32 or int64 (num_lookups,)
        Output: the labels of the lookups, by row and then ascending.
    indices : int32 or int64 (num_lookups,)
    num_embeddings : int
    padding_idx : int
        -1: none.
    frozen : bool (num_embeddings,) or (0,)
        Empty: no row is frozen.
    labels : int32 (num_lookups,) or (0,)
        At least 0, never falling. Empty: a lookup's label is its place in `indices`.

    Returns
    -------
    int
        Number of distinct rows.
    """
    positions = np.flatnonzero((indices >= 0) & (indices < num_embeddings) & (indices != padding_idx))
    if len(frozen):
        positions = positions[~frozen[indices[positions]]]
    positions = positions[np.argsort(indices[positions], kind="stable")]
    distinct, first = np.unique(indices[positions], return_index=True)
    num_rows = len(distinct)
    rows[:num_rows] = distinct
    starts[:num_rows] = first
    starts[num_rows] = len(positions)
    order[: len(positions)] = labels[positions] if len(labels) else positions
    return num_rows
