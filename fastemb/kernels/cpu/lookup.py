"""Rows of a table by their numbers: see the reference. Rows are copied as bytes, whatever they hold."""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import copy, get, lookahead, mutable_pointer, pointer, prefetch_bytes, size_of

__all__ = ["lookup", "parallel_lookup", "shift"]

BLOCK = 64  # rows that are copied span by span
B0, B1, B2, B4, B8, B16, B32, B64 = (), (0,), (0,) * 2, (0,) * 4, (0,) * 8, (0,) * 16, (0,) * 32, (0,) * 64
B128, B256, B512 = (0,) * 128, (0,) * 256, (0,) * 512


@inline
def copy_span(rows, lookups, column, last, size, padding_idx, block):
    """Copy a span of some rows as two blocks that may overlap, the second `last` bytes on; return the status."""
    target, out_bytes, table, row_bytes, num_rows = rows
    ids, edge, ahead, lo, hi = lookups
    for i in range(lo, hi):
        if ahead > 0:
            prefetch_bytes(table, np.int64(get(ids, min(i + ahead, edge))) * row_bytes + column, size)
        row = np.int64(get(ids, i))
        if padding_idx is not None and row == padding_idx:
            continue
        if row < 0 or row >= num_rows:
            return i
        to, at = i * out_bytes + column, row * row_bytes + column
        if len(block) > 0:
            copy(target, to, table, at, block)
            copy(target, to + last, table, at + last, block)
    return -1


@inline
def copy_rows(rows, lookups, size, padding_idx):
    """Copy `size` bytes of some rows; return the status."""
    if size == 0:  # only to check the indices
        return copy_span(rows, lookups, 0, 0, 0, padding_idx, B0)
    column, bad = 0, -1
    while column < size and bad == -1:
        span = min(size - column, 1024)
        if span > 512:
            bad = copy_span(rows, lookups, column, span - 512, span, padding_idx, B512)
        elif span > 256:
            bad = copy_span(rows, lookups, column, span - 256, span, padding_idx, B256)
        elif span > 128:
            bad = copy_span(rows, lookups, column, span - 128, span, padding_idx, B128)
        elif span > 64:
            bad = copy_span(rows, lookups, column, span - 64, span, padding_idx, B64)
        elif span > 32:
            bad = copy_span(rows, lookups, column, span - 32, span, padding_idx, B32)
        elif span > 16:
            bad = copy_span(rows, lookups, column, span - 16, span, padding_idx, B16)
        elif span > 8:
            bad = copy_span(rows, lookups, column, span - 8, span, padding_idx, B8)
        elif span > 4:
            bad = copy_span(rows, lookups, column, span - 4, span, padding_idx, B4)
        elif span > 2:
            bad = copy_span(rows, lookups, column, span - 2, span, padding_idx, B2)
        else:
            bad = copy_span(rows, lookups, column, span - 1, span, padding_idx, B1)
        column += span
    return bad


@kernel
def lookup(out, weight, indices, padding_idx, start, stop):
    num_rows, dim = weight.shape
    target, table, ids = mutable_pointer(out), pointer(weight), pointer(indices)
    row_bytes, size = weight.strides[0], dim * size_of(table)
    rows = (target, out.strides[0], table, row_bytes, num_rows)
    ahead, edge = lookahead(num_rows, row_bytes), indices.shape[0] - 1
    for lo in range(start, stop, BLOCK):
        hi = min(lo + BLOCK, stop)
        bad = copy_rows(rows, (ids, edge, ahead, lo, hi), size, padding_idx)
        if bad != -1:
            return bad
        if padding_idx is not None:
            for i in range(lo, hi):
                if indices[i] == padding_idx:
                    out[i] = 0
    return -1


@kernel
def shift(out, indices, first, num_rows, padding_idx, start, stop):
    found, given, outside = out[start:stop], indices[start:stop], 0
    for i in range(len(given)):  # without a way out, so that it is done many at once
        index = np.int64(given[i])
        if padding_idx is None:
            outside += (index < 0) | (index >= num_rows)
            found[i] = first + index
        else:
            left_out = index == padding_idx
            outside += ((index < 0) | (index >= num_rows)) & (not left_out)
            found[i] = -1 if left_out else first + index
    if outside > 0:
        for i in range(len(given)):
            if (given[i] < 0 or given[i] >= num_rows) and (padding_idx is None or given[i] != padding_idx):
                return start + i
    return -1


@parallel_kernel
def parallel_lookup(out, weight, indices, padding_idx, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += lookup(out, weight, indices, padding_idx, a, b) != -1
    return failed
