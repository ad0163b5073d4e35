"""The nearest of 256 centroids: see the reference.

A distance is no less than 0, so that its bits are ordered as integers, and the least one is found in vectors when each
is joined with the number of its centroid. No fastmath: the codes are the reference's.
"""

import numpy as np

from fastemb.kernels.cpu.options import exact_kernel

__all__ = ["allocate_scratch", "nearest"]


def allocate_scratch():
    """Return the memory that a thread needs."""
    return np.empty(256, np.float32)


@exact_kernel
def nearest(codes, points, columns, start, stop, scratch):
    bits = scratch.view(np.int32)
    for i in range(start, stop):
        scratch[:] = np.float32(0)
        for d in range(points.shape[1]):
            value, column = points[i, d], columns[d]
            for k in range(256):
                difference = column[k] - value
                scratch[k] += difference * difference
        least = np.int64(0x7FFFFFFFFFFFFFFF)
        for k in range(256):
            least = min(least, np.int64(bits[k]) << 32 | k)
        codes[i] = least & 255
