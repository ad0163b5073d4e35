"""Bags of many features, each of a table of its own: see the reference for what a function means.

A block of bags is done for all features before the next one, so that what a thread writes lies together.
"""

from numba import prange

from fastemb.kernels.cpu.bags import BLOCK, sum_columns
from fastemb.kernels.cpu.lookup import B4, B64, copy_row
from fastemb.kernels.cpu.options import kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import bytes_behind, mutable_pointer, pointer, pointer_at, size_of
from fastemb.kernels.cpu.prefetching import lookahead, straddles_lines
from fastemb.kernels.cpu.quantized import bytes_of, reduce_bags

__all__ = [
    "join",
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
    straddles, ahead = straddles_lines(pointer(weight), row_bytes), lookahead(weight.shape[0], row_bytes)
    good = len(features)
    for lo in range(start, stop, BLOCK):
        for f in range(good):
            first, num_rows, padding_idx = features[f, 3], features[f, 4], features[f, 5]
            rows = (pointer(weight[first:]), num_rows, row_bytes, straddles)
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
def parallel_join(out, pieces, start, stop, chunks):
    for c in prange(chunks):
        join(out, pieces, part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks))
    return 0
