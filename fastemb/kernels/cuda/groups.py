"""What is done to lookups that `grouping` has grouped by row, besides updating the rows: see `pieces` for these.

`keys` are the rows of the lookups, sorted, and `none` the number that stands for no row. Places that no row has hold
places or bags of lookups all the same, so that what is written for them is of no use, but does no harm.
"""

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.bags import coefficient, fits, sum_grouped, sum_rows, sum_won
from fastemb.kernels.cuda.pieces import PIECE
from fastemb.kernels.cuda.vector import first_team, num_teams, number, store, team_sum, until

__all__ = ["MEAN", "center", "divide", "label", "pick", "sum_groups", "sum_pieces", "sum_pieces_won", "weigh"]

MEAN = 1  # as in `bags`


@cuda.jit(device=True)
def is_of_one_row(keys, none, piece):
    """Return whether a piece lies in the lookups of a row: they are sorted, so its ends tell."""
    return keys[piece * PIECE] == keys[piece * PIECE + PIECE - 1] and keys[piece * PIECE] != none


@cuda.jit
def sum_pieces(out, table, sources, coefficients, keys, none, start, stop, width):
    """Sum the lookups of each piece that lies in one row's; the others are left as they are."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    p = start + first_team()
    while p < stop:
        if is_of_one_row(keys, none, p):
            first = p * PIECE
            column = lane * len(width)
            while column < out.shape[1]:
                total, _ = sum_rows(table, sources, coefficients, first, first + PIECE, -2, column, width)
                store(out, p, column, total)
                column += lanes * len(width)
        p += num_teams()


@cuda.jit
def sum_pieces_won(out, grad_output, winners, order, bags, keys, none, start, stop):
    """Sum what the lookups of each piece that lies in one row's have won; the others are left as they are."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    p = start + first_team()
    while p < stop:
        if is_of_one_row(keys, none, p):
            column = lane
            while column < out.shape[1]:
                total = sum_won(grad_output, winners, order, bags, p * PIECE, (p + 1) * PIECE, column)
                store(out, p, column, (total,))
                column += lanes
        p += num_teams()


@cuda.jit
def sum_groups(out, table, sources, starts, coefficients, pieces, start, stop, width):
    """Sum the lookups of each row."""
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        column = lane * len(width)
        while column < out.shape[1]:
            total, _ = sum_grouped(table, sources, coefficients, pieces, starts[r], starts[r + 1], column, width)
            store(out, r, column, total)
            column += lanes * len(width)
        r += num_teams()


@cuda.jit
def label(out, offsets, start, stop):
    """Write the bag of each lookup; those outside all bags, and in bags that do not fit, are left as they are."""
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        if fits(first, last, len(out)):
            j = first + cuda.threadIdx.x
            while j < last:
                out[j] = b
                j += cuda.blockDim.x
        b += num_teams()


@cuda.jit
def pick(out, values, order, start, stop):
    """Write ``values[order]``."""
    j = start + first_team()
    while j < stop:
        out[j] = values[order[j]]
        j += num_teams()


@cuda.jit(device=True)
def num_equal(starts, num_rows, place):
    """Return the number of lookups of the row that has a place, 1 if none has it."""
    low, high = np.int64(0), np.int64(num_rows)  # the row is in [low, high)
    if high == 0 or place >= starts[high]:
        return np.int64(1)
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= place:
            low = middle
        else:
            high = middle
    return starts[low + 1] - starts[low]


@cuda.jit
def weigh(out, coefficients, order, scales, sources, starts, count, start, stop):
    """Write what the gradient of each lookup is multiplied by, in their new order.

    It is the lookup's coefficient, times its bag's scale, over the number of lookups of its row, of which each is left
    out where its array, `coefficients`, `scales` or `count`, is empty.
    """
    j = start + first_team()
    while j < stop:
        value = number(out, 1.0)
        if len(coefficients) > 0:
            value *= coefficients[order[j]]
        if len(scales) > 0:
            value *= scales[sources[j]]
        if len(count) > 0:
            value *= number(out, 1.0 / num_equal(starts, count[0], j))
        out[j] = value
        j += num_teams()


@cuda.jit
def divide(sums, starts, start, stop):
    """Divide the sum of each row by the number of its lookups."""
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        factor = number(sums, 1.0 / (starts[r + 1] - starts[r]))
        column = cuda.threadIdx.x
        while column < sums.shape[1]:
            sums[r, column] *= factor
            column += cuda.blockDim.x
        r += num_teams()


@cuda.jit
def center(products, indices, offsets, coefficients, scales, padding_idx, mode, start, stop):
    """Make of the products of `bags.dots` the gradient of the coefficients, in modes whose scales depend on these."""
    lane, lanes, one = cuda.threadIdx.x, cuda.blockDim.x, number(products, 1.0)
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        if not fits(first, last, len(products)):
            first = last = 0
        scale, total = scales[b], one - one
        j = first + lane
        while j < last:
            total += coefficient(coefficients, j, one) * products[j]
            j += lanes
        total = team_sum(total) * scale
        j = first + lane
        while j < last:
            value = products[j] - total
            if mode != MEAN:
                value = products[j] - coefficient(coefficients, j, one) * total * scale
            if indices[j] == padding_idx and padding_idx >= -1:
                value = one - one
            products[j] = value * scale
            j += lanes
        b += num_teams()
