"""The nearest of 256 centroids, for product quantization: the specification of `kernels/cpu/product.py`.

Jégou et al. 2011, "Product Quantization for Nearest Neighbor Search"; the arithmetic is that of fastText's
``productquantizer.cc``.
"""

import numpy as np

__all__ = ["nearest"]


def nearest(codes, points, columns, start, stop):
    """Fill ``codes[i]`` with the number of the centroid that is nearest to ``points[i]``, for i in ``[start, stop)``.

    Squared distances are summed column by column in float32; the first of equal ones is taken.

    Parameters
    ----------
    codes : uint8 (num_points,)
        Changed in place.
    points : float32 (num_points, dim)
    columns : float32 (dim, 256)
        The centroids, column by column.
    start, stop : int
        The range of points.

    Examples
    --------
    >>> codes = np.empty(2, np.uint8)
    >>> nearest(codes, np.float32([[3.2], [-1]]), np.arange(256, dtype=np.float32)[None], 0, 2)
    >>> codes
    array([3, 0], dtype=uint8)
    """
    for i in range(start, stop):
        distances = np.zeros(columns.shape[1], np.float32)
        for value, column in zip(points[i], columns, strict=True):
            distances += (column - value) ** 2
        codes[i] = distances.argmin()
