"""Bags of many features, each of a table of its own: see the reference for what a function means.

A block of bags is done for all features before the next one, so that what a thread writes lies together.
"""

from numba import prange

from fastemb.kernels.cpu.bags import BLOCK, sum_columns
from fastemb.kernels.cpu.options import kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import lookahead, mutable_pointer, pointer, pointer_at, straddles_lines

__all__ = ["parallel_reduce_features", "reduce_features"]


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


@parallel_kernel
def parallel_reduce_features(out, weight, features, like, mode, start, stop, chunks):
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        failed += reduce_features(out, weight, features, like, mode, a, b) != -1
    return failed
