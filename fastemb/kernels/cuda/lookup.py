"""Rows of a table by their numbers."""

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.vector import copy, first_team, num_teams

__all__ = ["NO_PADDING", "NO_ROW", "lookup", "shift"]

NO_ROW, NO_PADDING = -1, -2
BAD = -3


@cuda.jit(device=True)
def row_of(index, padding_idx, num_rows):
    """Return the row that an index stands for; NO_ROW where it is left out; BAD where it is outside the table."""
    if index == padding_idx and padding_idx >= NO_ROW:
        return np.int64(NO_ROW)
    if 0 <= index < num_rows:
        return np.int64(index)
    return np.int64(BAD)


@cuda.jit
def lookup(out, weight, indices, padding_idx, start, stop, fault, width):
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    i = start + first_team()
    while i < stop:
        row = row_of(indices[i], padding_idx, weight.shape[0])
        if row == BAD and lane == 0:
            cuda.atomic.min(fault, 0, i)
        column = lane * len(width)
        while column < weight.shape[1]:
            if row >= 0:
                copy(out, i, column, weight, row, width)
            else:
                for c in range(column, column + len(width)):
                    out[i, c] = 0
            column += lanes * len(width)
        i += num_teams()


@cuda.jit
def shift(out, indices, first, num_rows, padding_idx, start, stop, fault):
    i = start + first_team()
    while i < stop:
        row = row_of(indices[i], padding_idx, num_rows)
        if row == BAD:
            cuda.atomic.min(fault, 0, i)
        out[i] = first + row if row >= 0 else -1
        i += num_teams()
