"""Limit the norm of a table's rows, in place: a team has a row."""

import math

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.vector import first_team, load, num_teams, number, store, team_max, team_min, team_sum, until

__all__ = ["renormalise"]


@cuda.jit(device=True)
def norm_of(weight, row, norm_type):
    """Return the p-norm of a row, NaN if the row has one."""
    lane, lanes, zero = cuda.threadIdx.x, cuda.blockDim.x, number(weight, 0.0)
    p, largest, least, total, nans = number(weight, norm_type), zero, number(weight, math.inf), zero, zero
    column = lane
    while column < weight.shape[1]:
        x = abs(load(weight, row, column, (0,))[0])
        largest, least = max(largest, x), min(least, x)
        if x != x and norm_type != 0:  # which counts it
            nans += number(weight, 1.0)
        if norm_type == 2:
            total += x * x
        elif norm_type == 1:
            total += x
        elif norm_type == 0:
            total += number(weight, 1.0) if x != 0 else zero
        elif not math.isinf(norm_type):
            total += x**p
        column += lanes
    largest, least, total, nans = team_max(largest), team_min(least), team_sum(total), team_sum(nans)
    if nans > 0:
        return number(weight, math.nan)
    if norm_type == 2:
        return math.sqrt(total)
    if math.isinf(norm_type):
        return largest if norm_type > 0 else least
    if norm_type == 0 or norm_type == 1:
        return total
    return total ** (number(weight, 1.0) / p)


@cuda.jit
def renormalise(weight, rows, max_norm, norm_type, start, stop):
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        row = np.int64(rows[r])
        norm = np.float64(norm_of(weight, row, norm_type))
        if norm > max_norm:
            factor = number(weight, max_norm / (norm + 1e-7))
            column = lane
            while column < weight.shape[1]:
                store(weight, row, column, (load(weight, row, column, (0,))[0] * factor,))
                column += lanes
        r += num_teams()
