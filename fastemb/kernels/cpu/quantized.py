"""Rows of 8 or 4 bits: see the reference for what each function means.

A span of a row's columns keeps its sums, or extremes, in registers while the whole bag goes by, as in `bags`. A row
adds its codes times its scale, one multiply-add a piece; the biases of a bag are summed as one number. The last piece
of a row ends with it and overlaps the one before; a row shorter than a piece is one partial piece. Only the last column
of an odd row of half bytes is reduced by itself.
"""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.bags import NO_ROW, bag_scale
from fastemb.kernels.cpu.codes import (
    BYTES, HALVES, LANES, code_at, encode, fused, get_end, get_float32, load_codes, put_end, store_values,
    round_half,
)  # fmt: skip
from fastemb.kernels.cpu.options import exact_inline, exact_kernel, inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import (
    P1, P2, P4, P8, P16, PART, add, fma, get, load, mul, mutable_pointer, pointer, put, splat, store, where_greater,
    zeros,
)  # fmt: skip
from fastemb.kernels.cpu.prefetching import lookahead, prefetch_bytes

__all__ = [
    "BYTES",
    "HALVES",
    "dequantize",
    "extremes",
    "floats",
    "lookup",
    "parallel_dequantize",
    "parallel_extremes",
    "parallel_lookup",
    "parallel_quantize",
    "parallel_reduce",
    "quantize",
    "reduce",
]

ONE, ZERO = np.float32(1), np.float32(0)


@inline
def bytes_of(columns, halves):
    """Return the bytes that the codes of a number of columns take."""
    return (columns * len(halves) + 1) // 2


@inline
def whole_columns(dim, halves):
    """Return how many columns are walked in pieces."""
    return dim if len(halves) == 2 or dim < LANES else dim & ~1


@inline
def unit_of(whole, halves):
    """Return how many columns are read at a time: those of 16 bytes, or of 8 in a short row of half bytes."""
    return 2 * LANES if len(halves) == 1 and whole >= 2 * LANES else LANES


@inline
def next_span(left, unit, halves, most):
    """Return how many pieces the next span of a row takes, of `left` columns; at most `most`."""
    if len(halves) == 1 and unit == LANES:
        return 1
    pieces = min((left + unit - 1) // unit * (unit // LANES), most)
    if pieces >= 16:
        return 16
    if pieces >= 8:
        return 8
    return 4 if pieces >= 4 else min(pieces, 2)


# What is read, as a tuple `rows`: the codes, the number of rows, the bytes of a row, where its scale is; and `bag`: the
# indices, where the bag begins and ends, where the last index is, how many rows ahead to prefetch.


@inline
def reduce_span(target, to, last_to, rows, column, last, bag, factors, padding_idx, scale, sign, halves, count):
    """Sum a span of the columns of a bag, or find their extremes where there is a `sign`.

    Return the place of a bad index, or -1.
    """
    codes, num_rows, row_bytes, end_at = rows
    ids, first, end, edge, ahead = bag
    sums, shift, taken = zeros(target, count), ZERO, False
    for j in range(first, end):
        if ahead > 0:
            prefetch_bytes(codes, np.int64(get(ids, min(j + ahead, edge))) * row_bytes, row_bytes)
        i = np.int64(get(ids, j))
        if np.uint64(i) >= np.uint64(num_rows):
            if i == NO_ROW and padding_idx == NO_ROW:
                continue
            return j
        if i == padding_idx:
            continue
        at = i * row_bytes
        row_scale, bias = get_end(codes, at + end_at, 0, halves), get_end(codes, at + end_at, 1, halves)
        if factors is not None:
            row_scale *= get(factors, j)
            bias *= get(factors, j)
        row = load_codes(codes, at + column, last, halves, count)
        if sign is None:
            sums = fma(row, splat(row_scale, row), sums)
            shift += bias
        else:
            value = fma(row, splat(row_scale, row), splat(bias, row))
            if taken:
                value = where_greater(mul(value, splat(sign, row)), mul(sums, splat(sign, row)), value, sums)
            sums, taken = value, True
    write_span(target, to, last_to, mul(add(sums, splat(shift, sums)), splat(scale, sums)), halves, count)
    return -1


@inline
def write_span(target, to, last_to, values, halves, count):
    """Write a span of a row; `last_to` is how many columns it has if it is partial."""
    if len(count) == 0:
        store(target, to, last_to, values)
    else:
        store_values(target, to, last_to, values, halves)


@inline
def reduce_column(target, to, rows, column, bag, factors, padding_idx, scale, sign, halves):
    """Reduce one column of a bag, by extremes where there is a `sign`; return the place of a bad index, or -1."""
    codes, num_rows, row_bytes, end_at = rows
    ids, first, end = bag[0], bag[1], bag[2]
    result, taken = ZERO, False
    for j in range(first, end):
        i = np.int64(get(ids, j))
        if np.uint64(i) >= np.uint64(num_rows):
            if i == NO_ROW and padding_idx == NO_ROW:
                continue
            return j
        if i == padding_idx:
            continue
        at = i * row_bytes
        row_scale, bias = get_end(codes, at + end_at, 0, halves), get_end(codes, at + end_at, 1, halves)
        value = fused(code_at(codes, at, column, halves), row_scale, bias)
        if sign is None:
            result += value if factors is None else value * get(factors, j)
        elif not taken or sign * value > sign * result:
            result, taken = value, True
    put(target, to // 4 + column, result * scale)
    return -1


@inline
def reduce_columns(target, to, rows, dim, bag, factors, padding_idx, scale, sign, halves):
    """Reduce all columns of a bag, span by span; return the place of a bad index, or -1."""
    how = factors, padding_idx, scale
    if dim < LANES:
        return reduce_span(target, to, dim, rows, 0, bytes_of(dim, halves), bag, *how, sign, halves, PART)
    whole, column, bad = whole_columns(dim, halves), 0, -1
    unit = unit_of(whole, halves)
    while column < whole and bad < 0:
        pieces = next_span(whole - column, unit, halves, 16 if sign is None else 4)
        after = min(pieces * LANES, whole - column) - unit
        at, last, place, last_to = bytes_of(column, halves), bytes_of(after, halves), to + 4 * column, 4 * after
        if pieces == 1:
            bad = reduce_span(target, place, last_to, rows, at, last, bag, *how, sign, halves, P1)
        elif pieces == 2:
            bad = reduce_span(target, place, last_to, rows, at, last, bag, *how, sign, halves, P2)
        elif pieces == 4:
            bad = reduce_span(target, place, last_to, rows, at, last, bag, *how, sign, halves, P4)
        elif sign is None:  # wider spans of extremes would take longer to compile than they save
            if pieces == 8:
                bad = reduce_span(target, place, last_to, rows, at, last, bag, *how, sign, halves, P8)
            else:
                bad = reduce_span(target, place, last_to, rows, at, last, bag, *how, sign, halves, P16)
        column += pieces * LANES
    for column in range(whole, dim):
        if bad < 0:
            bad = reduce_column(target, to, rows, column, bag, *how, sign, halves)
    return bad


@inline
def reduce_bags(target, to, out_bytes, rows, dim, bags, factors, padding_idx, mode, halves):
    """Reduce some bags; return the status."""
    ids, num_lookups, offsets, lo, hi, ahead = bags
    for b in range(lo, hi):
        first, end = get(offsets, b), get(offsets, b + 1)
        if first < 0 or first > end or end > num_lookups:
            return -2 - b
        scale = np.float32(bag_scale(ids, first, end, factors, padding_idx, mode))
        bag = (ids, first, end, num_lookups - 1, ahead)
        bad = reduce_columns(target, to + b * out_bytes, rows, dim, bag, factors, padding_idx, scale, None, halves)
        if bad >= 0:
            return bad
    return -1


@kernel
def reduce(out, table, halves, indices, offsets, coefficients, padding_idx, mode, start, stop):
    (num_rows, dim), row_bytes = (table.shape[0], out.shape[1]), table.strides[0]
    target, ids, factors = mutable_pointer(out), pointer(indices), pointer(coefficients)
    rows = (pointer(table), num_rows, row_bytes, bytes_of(dim, halves))
    bags = (ids, indices.shape[0], pointer(offsets), start, stop, lookahead(num_rows, row_bytes))
    return reduce_bags(target, 0, out.strides[0], rows, dim, bags, factors, padding_idx, mode, halves)


@kernel
def extremes(out, table, halves, indices, offsets, padding_idx, sign, start, stop):
    (num_rows, dim), row_bytes = (table.shape[0], out.shape[1]), table.strides[0]
    target, ids = mutable_pointer(out), pointer(indices)
    edge, ahead = indices.shape[0] - 1, lookahead(num_rows, row_bytes)
    rows = (pointer(table), num_rows, row_bytes, bytes_of(dim, halves))
    for b in range(start, stop):
        first, end = offsets[b], offsets[b + 1]
        if first < 0 or first > end or end > indices.shape[0]:
            return -2 - b
        bag = (ids, first, end, edge, ahead)
        to = b * out.strides[0]
        bad = reduce_columns(target, to, rows, dim, bag, None, padding_idx, ONE, np.float32(sign), halves)
        if bad >= 0:
            return bad
    return -1


@inline
def span_of_row(target, to, last_to, codes, offset, last, scale, bias, halves, count):
    row = load_codes(codes, offset, last, halves, count)
    write_span(target, to, last_to, fma(row, splat(scale, row), splat(bias, row)), halves, count)


@inline
def dequantize_row(target, to, codes, offset, end_at, dim, halves):
    """Write the values of a row."""
    scale, bias = get_end(codes, offset + end_at, 0, halves), get_end(codes, offset + end_at, 1, halves)
    if dim < LANES:
        span_of_row(target, to, dim, codes, offset, bytes_of(dim, halves), scale, bias, halves, PART)
        return
    whole, column = whole_columns(dim, halves), 0
    unit = unit_of(whole, halves)
    while column + 4 * LANES <= whole:
        after, at = 4 * LANES - unit, offset + bytes_of(column, halves)
        span_of_row(target, to + 4 * column, 4 * after, codes, at, bytes_of(after, halves), scale, bias, halves, P4)
        column += 4 * LANES
    while column < whole:
        place = min(column, whole - unit)
        at = offset + bytes_of(place, halves)
        if unit == LANES:
            span_of_row(target, to + 4 * place, 0, codes, at, 0, scale, bias, halves, P1)
        else:
            span_of_row(target, to + 4 * place, 0, codes, at, 0, scale, bias, halves, P2)
        column += unit
    for column in range(whole, dim):
        put(target, to // 4 + column, fused(code_at(codes, offset, column, halves), scale, bias))


@kernel
def dequantize(out, table, halves, start, stop):
    target, codes, dim = mutable_pointer(out), pointer(table), out.shape[1]
    end_at = bytes_of(dim, halves)
    for r in range(start, stop):
        dequantize_row(target, r * out.strides[0], codes, r * table.strides[0], end_at, dim, halves)
    return -1


@kernel
def floats(out, values, start, stop):
    target, short = mutable_pointer(out), pointer(values)
    whole = start + (stop - start) // (4 * LANES) * (4 * LANES)
    for i in range(start, whole, 4 * LANES):
        store(target, 4 * i, 12 * LANES, load(short, 2 * i, 6 * LANES, P4))
    for i in range(whole, stop, LANES):
        count = min(LANES, stop - i)
        store(target, 4 * i, count, load(short, 2 * i, count, PART))


@kernel
def lookup(out, table, halves, indices, padding_idx, start, stop):
    target, codes, ids, dim = mutable_pointer(out), pointer(table), pointer(indices), out.shape[1]
    row_bytes, end_at, edge = table.strides[0], bytes_of(dim, halves), indices.shape[0] - 1
    ahead = lookahead(table.shape[0], row_bytes)
    for i in range(start, stop):
        if ahead > 0:
            prefetch_bytes(codes, np.int64(get(ids, min(i + ahead, edge))) * row_bytes, row_bytes)
        index = np.int64(get(ids, i))
        if index == padding_idx and padding_idx >= NO_ROW:
            for column in range(dim):
                put(target, i * out.strides[0] // 4 + column, ZERO)
        elif index < 0 or index >= table.shape[0]:
            return i
        else:
            dequantize_row(target, i * out.strides[0], codes, index * row_bytes, end_at, dim, halves)
    return -1


@exact_inline
def row_bounds(x, at, dim):
    """Return the least and the greatest value of a row, and whether all are numbers."""
    least = greatest = get_float32(x, at, 0) if dim > 0 else ZERO
    finite = True
    for c in range(dim):
        value = get_float32(x, at, c)
        finite = finite and np.isfinite(value)
        least, greatest = min(least, value), max(greatest, value)
    return least + ZERO, greatest, finite


@exact_inline
def quantize_row_8(codes, to, x, at, dim):
    """Write a row; return whether it could be held."""
    least, greatest, finite = row_bounds(x, at, dim)
    span = greatest - least
    if not (finite and np.isfinite(span)):
        return False
    inverse = np.float32(255) / (span + np.float32(1e-8))
    for c in range(dim):
        put(codes, to + c, encode(get_float32(x, at, c), least, inverse, np.float32(255)))
    put_end(codes, to + dim, 0, span / np.float32(255), BYTES)
    put_end(codes, to + dim, 1, least, BYTES)
    return True


@exact_inline
def quantize_row_4(codes, to, x, at, dim):
    """Write a row; return whether it could be held."""
    least, greatest, finite = row_bounds(x, at, dim)
    bias = round_half(least)
    span = greatest - bias
    scale = round_half(ONE if span == ZERO else span / np.float32(15))
    if not (finite and np.isfinite(bias) and np.isfinite(scale)):
        return False
    if scale == ZERO:
        scale = ONE
    inverse = ONE / scale
    for c in range(0, dim, 2):
        byte = encode(get_float32(x, at, c), bias, inverse, np.float32(15))
        if c + 1 < dim:
            byte |= encode(get_float32(x, at, c + 1), bias, inverse, np.float32(15)) << np.uint8(4)
        put(codes, to + c // 2, np.uint8(byte))
    put_end(codes, to + (dim + 1) // 2, 0, scale, HALVES)
    put_end(codes, to + (dim + 1) // 2, 1, bias, HALVES)
    return True


@exact_kernel
def quantize(out, weight, halves, start, stop):
    codes, x, dim = mutable_pointer(out), pointer(weight), weight.shape[1]
    for r in range(start, stop):
        to, at = r * out.strides[0], r * weight.strides[0]
        held = quantize_row_8(codes, to, x, at, dim) if len(halves) == 2 else quantize_row_4(codes, to, x, at, dim)
        if not held:
            return r
    return -1


@parallel_kernel
def parallel_reduce(out, table, halves, indices, offsets, coefficients, padding_idx, mode, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += reduce(out, table, halves, indices, offsets, coefficients, padding_idx, mode, a, b) != -1
    return failed


@parallel_kernel
def parallel_extremes(out, table, halves, indices, offsets, padding_idx, sign, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += extremes(out, table, halves, indices, offsets, padding_idx, sign, a, b) != -1
    return failed


@parallel_kernel
def parallel_lookup(out, table, halves, indices, padding_idx, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += lookup(out, table, halves, indices, padding_idx, a, b) != -1
    return failed


@parallel_kernel
def parallel_dequantize(out, table, halves, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += dequantize(out, table, halves, a, b) != -1
    return failed


@parallel_kernel
def parallel_quantize(out, weight, halves, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += quantize(out, weight, halves, a, b) != -1
    return failed
