"""Rows of a table by their numbers: see the reference. Rows are copied as bytes, whatever they hold."""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import bytes_behind, copy, get, mutable_pointer, pointer, size_of
from fastemb.kernels.cpu.prefetching import lookahead, prefetch_bytes

__all__ = ["NO_PADDING", "NO_ROW", "clear", "lookup", "parallel_clear", "parallel_lookup", "shift"]

NO_ROW, NO_PADDING = -1, -2
B1, B4, B16, B64 = (0,), (0,) * 4, (0,) * 16, (0,) * 64  # bytes that are copied at a time


@inline
def copy_row(target, to, source, at, size, block):
    """Copy `size` bytes, at least a block: block by block, the last of which ends with the row."""
    last = size - len(block)
    for offset in range(0, last, len(block)):
        copy(target, to + offset, source, at + offset, block)
    copy(target, to + last, source, at + last, block)


@inline
def copy_rows(target, out_bytes, rows, lookups, size, padding_idx, block):
    """Copy `size` bytes, none or at least a block, of some rows; return the status."""
    table, row_bytes, num_rows = rows
    ids, edge, ahead, start, stop = lookups
    for i in range(start, stop):
        if ahead > 0:
            prefetch_bytes(table, np.int64(get(ids, min(i + ahead, edge))) * row_bytes, size)
        row = np.int64(get(ids, i))
        if np.uint64(row) >= np.uint64(num_rows):
            if row == NO_ROW and padding_idx == NO_ROW:
                continue
            return i
        if size > 0:
            copy_row(target, i * out_bytes, table, row * row_bytes, size, block)
    return -1


@kernel
def lookup(out, weight, indices, padding_idx, start, stop):
    num_rows, dim = weight.shape
    # As bytes, so that what copies them is compiled once for all dtypes.
    target, table, ids = bytes_behind(mutable_pointer(out)), bytes_behind(pointer(weight)), pointer(indices)
    row_bytes, size = weight.strides[0], dim * size_of(pointer(weight))
    rows = (table, row_bytes, num_rows)
    lookups = (ids, indices.shape[0] - 1, lookahead(num_rows, row_bytes), start, stop)
    if size >= 64:
        bad = copy_rows(target, out.strides[0], rows, lookups, size, padding_idx, B64)
    elif size >= 16:
        bad = copy_rows(target, out.strides[0], rows, lookups, size, padding_idx, B16)
    elif size >= 4:
        bad = copy_rows(target, out.strides[0], rows, lookups, size, padding_idx, B4)
    else:
        bad = copy_rows(target, out.strides[0], rows, lookups, size, padding_idx, B1)
    if padding_idx >= NO_ROW:
        for i in range(start, stop if bad == -1 else bad):
            if indices[i] == padding_idx:
                out[i] = 0
    return bad


@kernel
def clear(out, start, stop):
    out[start:stop] = 0


@kernel
def shift(out, indices, first, num_rows, padding_idx, start, stop):
    found, given, outside = out[start:stop], indices[start:stop], 0
    for i in range(len(given)):  # without a way out, so that it is done many at once
        index = np.int64(given[i])
        left_out = (index == padding_idx) & (index >= NO_ROW)
        outside += ((index < 0) | (index >= num_rows)) & (not left_out)
        found[i] = NO_ROW if left_out else first + index
    if outside > 0:
        for i in range(len(given)):
            index = np.int64(given[i])
            if (index < 0 or index >= num_rows) and not (index == padding_idx and index == NO_ROW):
                return start + i
    return -1


@parallel_kernel
def parallel_lookup(out, weight, indices, padding_idx, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += lookup(out, weight, indices, padding_idx, a, b) != -1
    return failed


@parallel_kernel
def parallel_clear(out, start, stop, chunks):
    for c in prange(chunks):
        clear(out, part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks))
    return 0
