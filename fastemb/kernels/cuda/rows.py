"""Rows written to a table, or copied."""

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.vector import copy, first_team, num_teams, until

__all__ = ["assign", "place"]


@cuda.jit
def assign(weight, rows, values, start, stop, width):
    """Write ``weight[rows[r]] = values[r]`` for r in ``[start, stop)``; rows are distinct and in the table."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    for r in range(start + first_team(), until(stop), num_teams()):
        for column in range(lane * len(width), weight.shape[1], lanes * len(width)):
            copy(weight, np.int64(rows[r]), column, values, r, width)


@cuda.jit
def place(out, values, start, stop, width):
    """Write ``out[r] = values[r]`` for r in ``[start, stop)``."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    for r in range(start + first_team(), stop, num_teams()):
        for column in range(lane * len(width), out.shape[1], lanes * len(width)):
            copy(out, r, column, values, r, width)
