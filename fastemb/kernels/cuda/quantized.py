"""Rows of 8 or 4 bits: a team has a bag or a lookup, and each of its threads a few of the columns."""

from numba import cuda

from fastemb.kernels.cuda.bags import coefficient, fits, scale_of
from fastemb.kernels.cuda.lookup import BAD, row_of
from fastemb.kernels.cuda.vector import (
    affine, codes, ends, first_team, multiply_add, num_teams, number, scale, store, zeros,
)  # fmt: skip

__all__ = ["BYTES", "HALVES", "dequantize", "extremes", "lookup", "reduce"]

BYTES, HALVES = (0, 0), (0,)


@cuda.jit(device=True)
def values(table, halves, row, column, dim, width):
    """Return columns of a row."""
    scale_bias = ends(table, row, (dim * len(halves) + 1) // 2, halves, width)
    return affine(codes(table, row, column, halves, width), scale_bias[0], scale_bias[1])


@cuda.jit
def dequantize(out, table, halves, start, stop, width):
    lane, lanes, dim = cuda.threadIdx.x, cuda.blockDim.x, out.shape[1]
    r = start + first_team()
    while r < stop:
        column = lane * len(width)
        while column < dim:
            store(out, r, column, values(table, halves, r, column, dim, width))
            column += lanes * len(width)
        r += num_teams()


@cuda.jit
def lookup(out, table, halves, indices, padding_idx, start, stop, fault, width):
    lane, lanes, dim = cuda.threadIdx.x, cuda.blockDim.x, out.shape[1]
    i = start + first_team()
    while i < stop:
        row = row_of(indices[i], padding_idx, table.shape[0])
        if row == BAD and lane == 0:
            cuda.atomic.min(fault, 0, i)
        column = lane * len(width)
        while column < dim:
            if row >= 0:
                store(out, i, column, values(table, halves, row, column, dim, width))
            else:
                store(out, i, column, zeros(out, width))
            column += lanes * len(width)
        i += num_teams()


@cuda.jit
def reduce(out, table, halves, indices, offsets, coefficients, padding_idx, mode, start, stop, fault, width):
    lane, lanes, dim, one = cuda.threadIdx.x, cuda.blockDim.x, out.shape[1], number(out, 1.0)
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        bad = not fits(first, last, len(indices))
        if bad:
            first = last = 0
        factor = scale_of(indices, coefficients, first, last, padding_idx, mode, one)
        column = lane * len(width)
        while column < dim:
            total = zeros(out, width)
            for j in range(first, last):
                row = row_of(indices[j], padding_idx, table.shape[0])
                bad = bad or row == BAD
                if row >= 0:
                    found = values(table, halves, row, column, dim, width)
                    total = multiply_add(found, coefficient(coefficients, j, one), total)
            store(out, b, column, scale(total, factor))
            column += lanes * len(width)
        if bad and lane == 0:
            cuda.atomic.min(fault, 0, b)
        b += num_teams()


@cuda.jit
def extremes(out, table, halves, indices, offsets, padding_idx, sign, start, stop, fault):
    lane, lanes, dim, way = cuda.threadIdx.x, cuda.blockDim.x, out.shape[1], number(out, sign)
    b = start + first_team()
    while b < stop:
        first, last = offsets[b], offsets[b + 1]
        bad = not fits(first, last, len(indices))
        if bad:
            first = last = 0
        column = lane
        while column < dim:
            best, won = number(out, 0.0), False
            for j in range(first, last):
                row = row_of(indices[j], padding_idx, table.shape[0])
                bad = bad or row == BAD
                if row >= 0:
                    value = values(table, halves, row, column, dim, (0,))[0]
                    if not won or way * value > way * best:
                        best, won = value, True
            store(out, b, column, (best,))
            column += lanes
        if bad and lane == 0:
            cuda.atomic.min(fault, 0, b)
        b += num_teams()
