"""Bags of rows: see the reference for what each function means.

A span of a row's columns keeps its sums in registers while the whole bag goes by; indices are checked as they are read.
"""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.lookup import NO_ROW
from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import (
    P1, P2, P3, P4, P5, P6, P7, P8, P16, PART, add, fma, get, lanes_of, load, load_integers, mul, mutable_pointer,
    pointer, put, scalar_of, size_of, splat, splat_integer, store, store_integers, total, where_equal,
    where_greater, without_first, zeros,
)  # fmt: skip
from fastemb.kernels.cpu.prefetching import lies_near, lookahead, prefetch, prefetch_end, straddles_lines

__all__ = [
    "MEAN",
    "SQRTN",
    "SUM",
    "dots",
    "extremes",
    "parallel_dots",
    "parallel_extremes",
    "parallel_reduce",
    "parallel_sum_winners",
    "reduce",
    "scales",
    "sum_winners",
]

SUM, MEAN, SQRTN = 0, 1, 2
BLOCK = 64  # bags whose columns are summed span by span


@inline
def bag_scale(ids, first, end, factors, padding_idx, mode):
    """Return what the sum of a bag is multiplied by."""
    if mode == SUM:
        return 1.0
    size = np.float64(end - first)
    if padding_idx >= NO_ROW or factors is not None:
        size = 0.0
        for j in range(first, end):
            if padding_idx >= NO_ROW and get(ids, j) == padding_idx:
                continue
            factor = 1.0 if factors is None else np.float64(get(factors, j))
            size += factor if mode == MEAN else factor * factor
    if size == 0.0:
        return 0.0
    return 1.0 / size if mode == MEAN else 1.0 / np.sqrt(size)


@kernel
def scales(out, indices, offsets, coefficients, padding_idx, mode, start, stop):
    ids, factors = pointer(indices), pointer(coefficients)
    for b in range(start, stop):
        out[b] = bag_scale(ids, offsets[b], offsets[b + 1], factors, padding_idx, mode)


@inline
def sum_span(target, to, last_to, out_bytes, rows, column, last, bags, ahead, factors, padding_idx, mode, count):
    """Sum a span of the columns of some bags; return the status."""
    table, num_rows, row_bytes, straddles, near = rows
    ids, num_lookups, offsets, lo, hi = bags
    for b in range(lo, hi):
        first, end = get(offsets, b), get(offsets, b + 1)
        if first < 0 or first > end or end > num_lookups:
            return -2 - b
        sums = zeros(table, count)
        for j in range(first, end):
            if ahead > 0:
                next_row = np.int64(get(ids, min(j + ahead, num_lookups - 1))) * row_bytes
                prefetch(table, next_row + column, count, near)
                if straddles:
                    prefetch_end(table, next_row + column, count, near)
            i = np.int64(get(ids, j))
            if np.uint64(i) >= np.uint64(num_rows):
                if i == NO_ROW and padding_idx == NO_ROW:
                    continue
                return j
            if i == padding_idx:
                continue
            row = load(table, i * row_bytes + column, last, count)
            if factors is None:  # not a conditional expression: one branch is dropped when the kernel is compiled
                sums = add(sums, row)
            else:
                sums = fma(splat(get(factors, j), row), row, sums)
        if mode != SUM:
            scale = bag_scale(ids, first, end, factors, padding_idx, mode)
            sums = mul(sums, splat(scalar_of(scale, table), sums))
        store(target, to + b * out_bytes, last_to, sums)
    return -1


@inline
def sum_columns(target, out_bytes, rows, dim, bags, ahead, factors, padding_idx, mode):
    """Sum all columns of some bags, span by span; return the status."""
    table = rows[0]
    lanes, size, size_to = lanes_of(table), size_of(table), size_of(target)
    if dim < lanes:
        return sum_span(target, 0, dim, out_bytes, rows, 0, dim, bags, ahead, factors, padding_idx, mode, PART)
    column, bad = 0, -1
    while column < dim and bad == -1:
        pieces = (dim - column + lanes - 1) // lanes
        pieces = 16 if pieces >= 16 else min(pieces, 8)
        after = min((pieces - 1) * lanes, dim - column - lanes)
        at, to, last, last_to = column * size, column * size_to, after * size, after * size_to
        if pieces == 1:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P1)
        elif pieces == 2:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P2)
        elif pieces == 3:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P3)
        elif pieces == 4:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P4)
        elif pieces == 5:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P5)
        elif pieces == 6:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P6)
        elif pieces == 7:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P7)
        elif pieces == 8:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P8)
        else:
            bad = sum_span(target, to, last_to, out_bytes, rows, at, last, bags, ahead, factors, padding_idx, mode, P16)
        column += pieces * lanes
    return bad


@kernel
def reduce(out, weight, indices, offsets, coefficients, padding_idx, mode, start, stop):
    # The columns are those of `out`: rows that overlap come as rows of fewer.
    num_rows, dim, row_bytes = weight.shape[0], out.shape[1], weight.strides[0]
    target, table, ids, factors = mutable_pointer(out), pointer(weight), pointer(indices), pointer(coefficients)
    straddles, near = straddles_lines(table, row_bytes), lies_near(num_rows, row_bytes)
    rows, ahead = (table, num_rows, row_bytes, straddles, near), lookahead(num_rows, row_bytes)
    for lo in range(start, stop, BLOCK):
        bags = (ids, indices.shape[0], pointer(offsets), lo, min(lo + BLOCK, stop))
        bad = sum_columns(target, out.strides[0], rows, dim, bags, ahead, factors, padding_idx, mode)
        if bad != -1:
            return bad
    return -1


@inline
def extreme_span(target, to, last_to, won, to_won, last_won, rows, column, last, bag, ahead, padding_idx, sign, count):
    """Find the extremes of a span of the columns of a bag and who won them; return the place of a bad index, or -1."""
    table, num_rows, row_bytes, near = rows
    ids, first, end, edge = bag
    best = zeros(table, count)
    winner, signs, empty = splat_integer(-1, best), splat(sign, best), True
    for j in range(first, end):
        if ahead > 0:
            next_row = np.int64(get(ids, min(j + ahead, edge))) * row_bytes
            prefetch(table, next_row + column, count, near)
            prefetch_end(table, next_row + column, count, near)
        i = np.int64(get(ids, j))
        if np.uint64(i) >= np.uint64(num_rows):
            if i == NO_ROW and padding_idx == NO_ROW:
                continue
            return j
        if i == padding_idx:
            continue
        row = mul(signs, load(table, i * row_bytes + column, last, count))
        if empty:
            best, winner, empty = row, splat_integer(j, best), False
        else:
            winner = where_greater(row, best, splat_integer(j, best), winner)
            best = where_greater(row, best, row, best)
    if not empty:  # -1 * 0 would be -0
        best = mul(signs, best)
    store(target, to, last_to, best)
    store_integers(won, to_won, last_won, winner)
    return -1


@kernel
def extremes(out, winners, weight, indices, offsets, padding_idx, sign, start, stop):
    num_rows, dim = weight.shape
    target, won, table, ids = mutable_pointer(out), mutable_pointer(winners), pointer(weight), pointer(indices)
    rows = (table, num_rows, weight.strides[0], lies_near(num_rows, weight.strides[0]))
    ahead, edge = lookahead(num_rows, weight.strides[0]), indices.shape[0] - 1
    lanes, size, size_to = lanes_of(table), size_of(table), size_of(target)
    signed = scalar_of(sign, table)
    for b in range(start, stop):
        first, end = offsets[b], offsets[b + 1]
        if first < 0 or first > end or end > indices.shape[0]:
            return -2 - b
        bag = (ids, first, end, edge)
        column, bad = 0, -1
        while (column < dim or column == 0) and bad < 0:  # of no columns, the indices are checked all the same
            pieces = max(1, (dim - column + lanes - 1) // lanes)
            pieces = 4 if pieces >= 4 else min(pieces, 2)
            after = min((pieces - 1) * lanes, dim - column - lanes)
            at, last = column * size, after * size
            to, last_to = b * out.strides[0] + column * size_to, after * size_to
            to_won, last_won = b * winners.strides[0] + column * 4, after * 4
            if dim < lanes:
                bad = extreme_span(
                    target, to, dim, won, to_won, dim, rows, at, dim, bag, ahead, padding_idx, signed, PART
                )
            elif pieces == 4:
                bad = extreme_span(
                    target, to, last_to, won, to_won, last_won, rows, at, last, bag, ahead, padding_idx, signed, P4
                )
            elif pieces == 2:
                bad = extreme_span(
                    target, to, last_to, won, to_won, last_won, rows, at, last, bag, ahead, padding_idx, signed, P2
                )
            else:
                bad = extreme_span(
                    target, to, last_to, won, to_won, last_won, rows, at, last, bag, ahead, padding_idx, signed, P1
                )
            column += pieces * lanes
        if bad >= 0:
            return bad
    return -1


@inline
def dot_span(sums, grad, at_grad, last_grad, overlap, rows, column, last, bag, ahead, padding_idx, count):
    """Add a span's share of the products of a bag's gradient with each of its rows."""
    table, num_rows, row_bytes, near = rows
    ids, first, end, edge = bag
    gradient = without_first(load(grad, at_grad, last_grad, count), overlap)
    for j in range(first, end):
        if ahead > 0:
            next_row = np.int64(get(ids, min(j + ahead, edge))) * row_bytes
            prefetch(table, next_row + column, count, near)
            prefetch_end(table, next_row + column, count, near)
        i = np.int64(get(ids, j))
        if np.uint64(i) >= np.uint64(num_rows):
            if i == NO_ROW and padding_idx == NO_ROW:
                continue
            return j
        if i == padding_idx:
            continue
        row = load(table, i * row_bytes + column, last, count)
        put(sums, j, get(sums, j) + total(mul(gradient, row)))
    return -1


@kernel
def dots(out, grad_output, weight, indices, offsets, padding_idx, start, stop):
    num_rows, dim = weight.shape
    sums, grad, table, ids = mutable_pointer(out), pointer(grad_output), pointer(weight), pointer(indices)
    rows = (table, num_rows, weight.strides[0], lies_near(num_rows, weight.strides[0]))
    ahead, edge = lookahead(num_rows, weight.strides[0]), indices.shape[0] - 1
    lanes, size, size_grad = lanes_of(table), size_of(table), size_of(grad)
    for b in range(start, stop):
        first, end = offsets[b], offsets[b + 1]
        if first < 0 or first > end or end > indices.shape[0]:
            return -2 - b
        out[first:end] = 0
        bag = (ids, first, end, edge)
        column, bad = 0, -1
        while column < dim and bad < 0:
            pieces = (dim - column + lanes - 1) // lanes
            pieces = 4 if pieces >= 4 else min(pieces, 2)
            after = min((pieces - 1) * lanes, dim - column - lanes)
            overlap = max(0, column + pieces * lanes - dim)
            at, last = column * size, after * size
            at_grad, last_grad = b * grad_output.strides[0] + column * size_grad, after * size_grad
            if dim < lanes:
                bad = dot_span(sums, grad, at_grad, dim, 0, rows, at, dim, bag, ahead, padding_idx, PART)
            elif pieces == 4:
                bad = dot_span(sums, grad, at_grad, last_grad, overlap, rows, at, last, bag, ahead, padding_idx, P4)
            elif pieces == 2:
                bad = dot_span(sums, grad, at_grad, last_grad, overlap, rows, at, last, bag, ahead, padding_idx, P2)
            else:
                bad = dot_span(sums, grad, at_grad, last_grad, overlap, rows, at, last, bag, ahead, padding_idx, P1)
            column += pieces * lanes
        if bad >= 0:
            return bad
    return -1


@inline
def winner_span(
    target, to, last_to, grad, grad_bytes, column, last, won, won_bytes, column_won, last_won, lookups, count
):
    """Sum a span of the gradients of the columns that a row's lookups won."""
    places, sources, first, end = lookups
    sums = zeros(grad, count)
    for j in range(first, end):
        b = np.int64(get(sources, j))
        gradient = load(grad, b * grad_bytes + column, last, count)
        winner = load_integers(won, b * won_bytes + column_won, last_won, sums)
        mine = splat_integer(np.int64(get(places, j)), sums)
        sums = add(sums, where_equal(winner, mine, gradient, zeros(grad, count)))
    store(target, to, last_to, sums)


@kernel
def sum_winners(out, grad_output, winners, order, bags, starts, start, stop):
    dim = out.shape[1]
    target, grad, won = mutable_pointer(out), pointer(grad_output), pointer(winners)
    places, sources = pointer(order), pointer(bags)
    lanes, size, size_to = lanes_of(grad), size_of(grad), size_of(target)
    grad_bytes, won_bytes = grad_output.strides[0], winners.strides[0]
    for r in range(start, stop):
        lookups = (places, sources, starts[r], starts[r + 1])
        column = 0
        while column < dim:
            pieces = (dim - column + lanes - 1) // lanes
            pieces = 4 if pieces >= 4 else min(pieces, 2)
            after = min((pieces - 1) * lanes, dim - column - lanes)
            at, last, at_won, last_won = column * size, after * size, column * 4, after * 4
            to, last_to = r * out.strides[0] + column * size_to, after * size_to
            if dim < lanes:
                winner_span(target, to, dim, grad, grad_bytes, 0, dim, won, won_bytes, 0, dim, lookups, PART)
            elif pieces == 4:
                winner_span(
                    target, to, last_to, grad, grad_bytes, at, last, won, won_bytes, at_won, last_won, lookups, P4
                )
            elif pieces == 2:
                winner_span(
                    target, to, last_to, grad, grad_bytes, at, last, won, won_bytes, at_won, last_won, lookups, P2
                )
            else:
                winner_span(
                    target, to, last_to, grad, grad_bytes, at, last, won, won_bytes, at_won, last_won, lookups, P1
                )
            column += pieces * lanes


@parallel_kernel
def parallel_reduce(out, weight, indices, offsets, coefficients, padding_idx, mode, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += reduce(out, weight, indices, offsets, coefficients, padding_idx, mode, a, b) != -1
    return failed


@parallel_kernel
def parallel_extremes(out, winners, weight, indices, offsets, padding_idx, sign, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += extremes(out, winners, weight, indices, offsets, padding_idx, sign, a, b) != -1
    return failed


@parallel_kernel
def parallel_dots(out, grad_output, weight, indices, offsets, padding_idx, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += dots(out, grad_output, weight, indices, offsets, padding_idx, a, b) != -1
    return failed


@parallel_kernel
def parallel_sum_winners(out, grad_output, winners, order, bags, starts, start, stop, chunks):
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        sum_winners(out, grad_output, winners, order, bags, starts, a, b)
    return 0
