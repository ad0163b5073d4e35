"""Bags of many features, each of a table of its own: see the reference for what a function means.

A block of bags is done for all features before the next one, so that what a thread writes lies together.
"""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.bags import BLOCK, sum_columns
from fastemb.kernels.cpu.lookup import B4, B64, NO_ROW, copy_row
from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import bytes_behind, get, mutable_pointer, pointer, pointer_at, put, size_of
from fastemb.kernels.cpu.prefetching import lies_near, lookahead, straddles_lines
from fastemb.kernels.cpu.quantized import bytes_of, reduce_bags

__all__ = [
    "gather",
    "join",
    "parallel_gather",
    "parallel_join",
    "parallel_reduce_coded_features",
    "parallel_reduce_features",
    "reduce_coded_features",
    "reduce_features",
]


@kernel
def reduce_features(out, weight, features, like, mode, start, stop):
    dim, row_bytes = weight.shape[1], weight.strides[0]
    ids, bounds = pointer(like), pointer(features)
    straddles, near = straddles_lines(pointer(weight), row_bytes), lies_near(weight.shape[0], row_bytes)
    ahead = lookahead(weight.shape[0], row_bytes)
    good = len(features)
    for lo in range(start, stop, BLOCK):
        for f in range(good):
            first, num_rows, padding_idx = features[f, 3], features[f, 4], features[f, 5]
            rows = (pointer(weight[first:]), num_rows, row_bytes, straddles, near)
            indices, offsets = pointer_at(ids, features[f, 0]), pointer_at(bounds, features[f, 2])
            bags = (indices, features[f, 1], offsets, lo, min(lo + BLOCK, stop))
            target = mutable_pointer(out[:, f * dim :])
            if sum_columns(target, out.strides[0], rows, dim, bags, ahead, None, padding_idx, mode) != -1:
                good = f
                break
    return -1 if good == len(features) else good


@kernel
def reduce_coded_features(out, table, halves, features, like, mode, start, stop):
    dim, row_bytes, out_bytes = out.shape[1] // len(features), table.strides[0], out.strides[0]
    target, ids, bounds = mutable_pointer(out), pointer(like), pointer(features)
    ahead, good = lookahead(table.shape[0], row_bytes), len(features)
    for lo in range(start, stop, BLOCK):
        for f in range(good):
            first, num_rows, padding_idx = features[f, 3], features[f, 4], features[f, 5]
            rows = (pointer(table[first:]), num_rows, row_bytes, bytes_of(dim, halves))
            indices, offsets = pointer_at(ids, features[f, 0]), pointer_at(bounds, features[f, 2])
            bags = (indices, features[f, 1], offsets, lo, min(lo + BLOCK, stop), ahead)
            if reduce_bags(target, 4 * f * dim, out_bytes, rows, dim, bags, None, padding_idx, mode, halves) != -1:
                good = f
                break
    return -1 if good == len(features) else good


@inline
def shift_rows(target, place, step, indices, table, lo, hi):
    """Write the rows of some lookups, `step` apart; return how many are outside the table."""
    first, num_rows, padding_idx = table
    outside = 0
    for j in range(lo, hi):  # without a way out, so that it is done many at once
        index = np.int64(get(indices, j))
        outside += np.uint64(index) >= np.uint64(num_rows)
        put(target, place + j * step, NO_ROW if index == padding_idx else first + index)
    return outside


@kernel
def gather(rows, ends, features, places, step, like, start, stop):
    ids, bounds, target = pointer(like), pointer(features), mutable_pointer(rows)
    is_single, num_bags = len(ends) == 0, len(ends) // len(features)
    for f in range(len(features)):
        indices, offsets = pointer_at(ids, features[f, 0]), pointer_at(bounds, features[f, 2])
        place, table = places[f], (features[f, 3], features[f, 4], features[f, 5])
        lo, falls = get(offsets, start), 0
        before = lo
        for b in range(start, stop):
            end = get(offsets, b + 1)
            if is_single:
                falls += end != before + 1
            else:
                falls += end < before
                ends[f * num_bags + b] = place + end
            before = end
        if falls > 0 or lo < 0 or before > features[f, 1]:
            return f
        if step == 1:
            outside = shift_rows(target, place, 1, indices, table, lo, before)
        else:
            outside = shift_rows(target, place, step, indices, table, lo, before)
        if outside > 0:
            return f
    return -1


@kernel
def join(out, pieces, start, stop):
    target, size = bytes_behind(mutable_pointer(out)), out.shape[2] * size_of(pointer(out))
    for b in range(start, stop):
        for f in range(len(pieces)):
            source = pointer_at(target, pieces[f, 0])
            to, at = b * out.strides[0] + f * out.strides[1], b * pieces[f, 1]
            if size >= 64:
                copy_row(target, to, source, at, size, B64)
            else:
                copy_row(target, to, source, at, size, B4)


@parallel_kernel
def parallel_reduce_features(out, weight, features, like, mode, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += reduce_features(out, weight, features, like, mode, a, b) != -1
    return failed


@parallel_kernel
def parallel_reduce_coded_features(out, table, halves, features, like, mode, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += reduce_coded_features(out, table, halves, features, like, mode, a, b) != -1
    return failed


@parallel_kernel
def parallel_gather(rows, ends, features, places, step, like, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += gather(rows, ends, features, places, step, like, a, b) != -1
    return failed


@parallel_kernel
def parallel_join(out, pieces, start, stop, chunks):
    for c in prange(chunks):
        join(out, pieces, part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks))
    return 0
