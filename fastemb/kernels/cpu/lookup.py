"""Rows of a table by their numbers: see the reference. Rows are copied as bytes, whatever they hold."""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import copy, get, lookahead, mutable_pointer, pointer, prefetch_bytes, size_of

__all__ = ["lookup", "parallel_lookup"]

B1, B2, B4, B8, B16, B32, B64 = (0,), (0,) * 2, (0,) * 4, (0,) * 8, (0,) * 16, (0,) * 32, (0,) * 64


@inline
def copy_ends(target, to, source, at, size, block):
    """Copy `size` bytes as two blocks that may overlap."""
    copy(target, to, source, at, block)
    copy(target, to + size - len(block), source, at + size - len(block), block)


@inline
def copy_row(target, to, source, at, size):
    """Copy `size` bytes."""
    if size >= 64:
        for c in range(0, size - 64, 64):
            copy(target, to + c, source, at + c, B64)
        copy(target, to + size - 64, source, at + size - 64, B64)
    elif size >= 32:
        copy_ends(target, to, source, at, size, B32)
    elif size >= 16:
        copy_ends(target, to, source, at, size, B16)
    elif size >= 8:
        copy_ends(target, to, source, at, size, B8)
    elif size >= 4:
        copy_ends(target, to, source, at, size, B4)
    elif size >= 2:
        copy_ends(target, to, source, at, size, B2)


@kernel
def lookup(out, weight, indices, padding_idx, start, stop):
    num_rows, dim = weight.shape
    target, table, ids = mutable_pointer(out), pointer(weight), pointer(indices)
    row_bytes, size = weight.strides[0], dim * size_of(table)
    ahead, edge = lookahead(num_rows, row_bytes), indices.shape[0] - 1
    for i in range(start, stop):
        if ahead > 0:
            prefetch_bytes(table, np.int64(get(ids, min(i + ahead, edge))) * row_bytes, size)
        row = np.int64(get(ids, i))
        if padding_idx is not None and row == padding_idx:
            out[i] = 0
            continue
        if row < 0 or row >= num_rows:
            return i
        copy_row(target, i * out.strides[0], table, row * row_bytes, size)
    return -1


@parallel_kernel
def parallel_lookup(out, weight, indices, padding_idx, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += lookup(out, weight, indices, padding_idx, a, b) != -1
    return failed
