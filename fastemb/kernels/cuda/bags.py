"""Bags of rows, reduced: a team has a bag, and each of its threads a vector of the columns."""

import math

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.lookup import BAD, row_of
from fastemb.kernels.cuda.pieces import PIECE, whole_pieces
from fastemb.kernels.cuda.vector import (
    add, dot, first_team, load, multiply_add, num_teams, number, scale, select, store, team_sum, until, zeros,
)  # fmt: skip

__all__ = ["MEAN", "SQRTN", "SUM", "dots", "extremes", "reduce", "scales", "sum_winners"]

SUM, MEAN, SQRTN = 0, 1, 2


@cuda.jit(device=True)
def coefficient(coefficients, j, one):
    """Return the coefficient of a lookup; there are none where all are 1."""
    return coefficients[j] if len(coefficients) else one


@cuda.jit(device=True)
def fits(first, last, num_lookups):
    """Return whether the offsets of a bag neither fall nor leave the lookups."""
    return 0 <= first <= last <= num_lookups


@cuda.jit(device=True)
def sum_rows(table, indices, coefficients, first, last, padding_idx, column, width):
    """Return the sum of the columns of the lookups in ``[first, last)``, in their order, and whether one is bad.

    The loads of four lookups are under way at once: nothing waits for the outcome of a check, and row 0 is read, and
    not taken, where there is no row.
    """
    num_rows, one = table.shape[0], number(table, 1.0)
    total, worst, j = zeros(table, width), np.int64(0), first
    while j + 3 < last and num_rows > 0:
        a, b = row_of(indices[j], padding_idx, num_rows), row_of(indices[j + 1], padding_idx, num_rows)
        c, d = row_of(indices[j + 2], padding_idx, num_rows), row_of(indices[j + 3], padding_idx, num_rows)
        row_a, row_b = load(table, max(a, 0), column, width), load(table, max(b, 0), column, width)
        row_c, row_d = load(table, max(c, 0), column, width), load(table, max(d, 0), column, width)
        total = select(a >= 0, multiply_add(row_a, coefficient(coefficients, j, one), total), total)
        total = select(b >= 0, multiply_add(row_b, coefficient(coefficients, j + 1, one), total), total)
        total = select(c >= 0, multiply_add(row_c, coefficient(coefficients, j + 2, one), total), total)
        total = select(d >= 0, multiply_add(row_d, coefficient(coefficients, j + 3, one), total), total)
        worst = min(worst, min(min(a, b), min(c, d)))
        j += 4
    while j < last:
        a = row_of(indices[j], padding_idx, num_rows)
        if a >= 0:
            total = multiply_add(load(table, a, column, width), coefficient(coefficients, j, one), total)
        worst = min(worst, a)
        j += 1
    return total, worst == BAD


@cuda.jit(device=True)
def sum_grouped(table, indices, coefficients, pieces, first, last, column, width):
    """Return what `sum_rows` does of the lookups of one group, some of which are summed in `pieces`: see there."""
    begin, end = whole_pieces(first, last, pieces.shape[0])
    total, outside = sum_rows(
        table, indices, coefficients, first, begin * PIECE if begin < end else last, -2, column, width
    )
    if begin < end:
        for p in range(begin, end):
            total = add(total, load(pieces, p, column, width))
        rest, beyond = sum_rows(table, indices, coefficients, end * PIECE, last, -2, column, width)
        total, outside = add(total, rest), outside or beyond
    return total, outside


@cuda.jit(device=True)
def sum_won(grad_output, winners, order, bags, first, last, column):
    """Return the sum of a column of the gradients that the lookups in ``[first, last)`` have won."""
    total = number(grad_output, 0.0)
    for j in range(first, last):
        if winners[bags[j], column] == order[j]:
            total += load(grad_output, np.int64(bags[j]), column, (0,))[0]
    return total


@cuda.jit(device=True)
def scale_of(indices, coefficients, first, last, padding_idx, mode, one):
    """Return what the sum of a bag is multiplied by."""
    if mode == SUM:
        return one
    divisor = one - one
    for j in range(first, last):
        if padding_idx < -1 or indices[j] != padding_idx:
            value = coefficient(coefficients, j, one)
            divisor += value if mode == MEAN else value * value
    if mode == SQRTN:
        divisor = math.sqrt(divisor)
    return divisor if divisor == 0 else one / divisor


@cuda.jit
def reduce(out, weight, indices, offsets, coefficients, padding_idx, mode, start, stop, fault, width):
    lane, lanes, one = cuda.threadIdx.x, cuda.blockDim.x, number(weight, 1.0)
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        bad = not fits(first, last, len(indices))
        if bad:
            first = last = 0
        factor = scale_of(indices, coefficients, first, last, padding_idx, mode, one)
        column = lane * len(width)
        while column < weight.shape[1]:
            total, outside = sum_rows(weight, indices, coefficients, first, last, padding_idx, column, width)
            bad = bad or outside
            store(out, b, column, scale(total, factor))
            column += lanes * len(width)
        if bad and lane == 0:
            cuda.atomic.min(fault, 0, b)
        b += num_teams()


@cuda.jit
def scales(out, indices, offsets, coefficients, padding_idx, mode, start, stop):
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        if not fits(first, last, len(indices)):
            first = last = 0
        out[b] = scale_of(indices, coefficients, first, last, padding_idx, mode, number(out, 1.0))
        b += num_teams()


@cuda.jit
def extremes(out, winners, weight, indices, offsets, padding_idx, sign, start, stop, fault):
    lane, lanes, way = cuda.threadIdx.x, cuda.blockDim.x, number(weight, sign)
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        bad = not fits(first, last, len(indices))
        if bad:
            first = last = 0
        column = lane
        while column < weight.shape[1]:
            best, winner = number(weight, 0.0), np.int64(-1)
            for j in range(first, last):
                row = row_of(indices[j], padding_idx, weight.shape[0])
                bad = bad or row == BAD
                if row >= 0:
                    value = load(weight, row, column, (0,))[0]
                    if winner < 0 or way * value > way * best:
                        best, winner = value, j
            store(out, b, column, (best,))
            winners[b, column] = winner
            column += lanes
        if bad and lane == 0:
            cuda.atomic.min(fault, 0, b)
        b += num_teams()


@cuda.jit
def dots(out, grad_output, weight, indices, offsets, padding_idx, start, stop, fault, width):
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        bad = not fits(first, last, len(indices))
        if bad:
            first = last = 0
        for j in range(first, last):
            row = row_of(indices[j], padding_idx, weight.shape[0])
            bad = bad or row == BAD
            total = number(weight, 0.0)
            column = lane * len(width)
            while column < weight.shape[1]:
                if row >= 0:
                    total = dot(load(grad_output, b, column, width), load(weight, row, column, width), total)
                column += lanes * len(width)
            total = team_sum(total)
            if lane == 0:
                out[j] = total
        if bad and lane == 0:
            cuda.atomic.min(fault, 0, b)
        b += num_teams()


@cuda.jit
def sum_winners(out, grad_output, winners, order, bags, starts, start, stop, pieces):
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        first, last = starts[r], starts[r + 1]
        begin, end = whole_pieces(first, last, pieces.shape[0])
        column = lane
        while column < out.shape[1]:
            total = sum_won(grad_output, winners, order, bags, first, begin * PIECE if begin < end else last, column)
            if begin < end:
                for p in range(begin, end):
                    total += load(pieces, p, column, (0,))[0]
                total += sum_won(grad_output, winners, order, bags, end * PIECE, last, column)
            store(out, r, column, (total,))
            column += lanes
        r += num_teams()
