"""Rows written to a table, or copied."""

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.vector import copy, first_team, num_teams, until

__all__ = ["assign", "place"]


@cuda.jit
def assign(weight, rows, values, start, stop, width):
    """Write ``weight[rows[r]] = values[r]`` for r in ``[start, stop)``; rows are distinct and in the table."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        column = lane * len(width)
        while column < weight.shape[1]:
            copy(weight, np.int64(rows[r]), column, values, r, width)
            column += lanes * len(width)
        r += num_teams()


@cuda.jit
def place(out, values, start, stop, width):
    """Write ``out[r] = values[r]`` for r in ``[start, stop)``."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    r = start + first_team()
    while r < stop:
        column = lane * len(width)
        while column < out.shape[1]:
            copy(out, r, column, values, r, width)
            column += lanes * len(width)
        r += num_teams()
