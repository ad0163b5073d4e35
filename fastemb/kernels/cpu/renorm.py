"""Limit the norm of rows: see the reference. A row's norm is taken and the row is scaled while it is in the cache."""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import (
    P1, PART, absolute, add, fma, get, lanes_of, load, mul, mutable_pointer, pointer, scalar_of, size_of, splat,
    store, total, zeros,
)  # fmt: skip
from fastemb.kernels.cpu.prefetching import lookahead, prefetch_bytes

__all__ = ["parallel_renormalise", "renormalise"]


@inline
def sum_powers(table, at, dim, square):
    """Return the sum of a row's magnitudes, or of their squares."""
    lanes, size, left = lanes_of(table), size_of(table), dim % lanes_of(table)
    sums, rest = zeros(table, P1), load(table, at + (dim - left) * size, left, PART)
    for c in range(0, dim - left, lanes):
        row = load(table, at + c * size, 0, P1)
        sums = fma(row, row, sums) if square else add(absolute(row), sums)
    return total(sums) + total(mul(rest, rest) if square else absolute(rest))


@inline
def sum_any(table, at, dim, p):
    """Return the norm of a row for any other p, a number at a time."""
    result = np.inf if p == -np.inf else 0.0
    for c in range(dim):
        x = abs(np.float64(total(load(table, at + c * size_of(table), 1, PART))))
        if np.isnan(x) and p != 0:
            return x
        if p == np.inf:
            result = max(result, x)
        elif p == -np.inf:
            result = min(result, x)
        else:
            result += np.float64(x != 0) if p == 0 else x**p
    return result if p == 0 or np.isinf(p) else result ** (1 / p)


@inline
def norm_of(table, at, dim, p):
    if p == 2:
        return np.sqrt(np.float64(sum_powers(table, at, dim, True)))
    if p == 1:
        return np.float64(sum_powers(table, at, dim, False))
    return sum_any(table, at, dim, p)


@inline
def scale_row(table, at, dim, factor):
    """Multiply a row."""
    lanes, size, left = lanes_of(table), size_of(table), dim % lanes_of(table)
    for c in range(0, dim - left, lanes):
        row = load(table, at + c * size, 0, P1)
        store(table, at + c * size, 0, mul(row, splat(factor, row)))
    rest = load(table, at + (dim - left) * size, left, PART)
    store(table, at + (dim - left) * size, left, mul(rest, splat(factor, rest)))


@kernel
def renormalise(weight, rows, max_norm, norm_type, start, stop):
    num_rows, dim = weight.shape
    table, places, row_bytes = mutable_pointer(weight), pointer(rows), weight.strides[0]
    ahead = lookahead(num_rows, row_bytes)
    for r in range(start, stop):
        if ahead > 0:
            following = np.int64(get(places, min(r + ahead, stop - 1)))
            prefetch_bytes(table, following * row_bytes, dim * size_of(table))
        at = np.int64(get(places, r)) * row_bytes
        # Rounded, as torch's is, before it is compared.
        norm = np.float64(scalar_of(norm_of(table, at, dim, norm_type), table))
        if norm > max_norm:
            scale_row(table, at, dim, scalar_of(max_norm / (norm + 1e-7), table))


@parallel_kernel
def parallel_renormalise(weight, rows, max_norm, norm_type, start, stop, chunks):
    for c in prange(chunks):
        renormalise(
            weight, rows, max_norm, norm_type, part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        )
    return 0
