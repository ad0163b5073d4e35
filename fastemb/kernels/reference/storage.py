"""What the numbers of a table mean: uint16 holds the bits of bfloat16, which NumPy does not know."""

import numpy as np

__all__ = ["accumulator", "stored", "widened"]


def accumulator(dtype):
    """Return the dtype in which rows of `dtype` are added up: float64 for float64, float32 for all others."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def widened(values):
    """Return `values` in their accumulator dtype; bfloat16 is the upper half of a float32.

    Examples
    --------
    >>> widened(np.array([0x3F80, 0xC000], np.uint16))
    array([ 1., -2.], dtype=float32)
    """
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(accumulator(values.dtype))


def stored(values, dtype):
    """Return `values` rounded to a table's `dtype`, to nearest even.

    A bfloat16 NaN keeps its sign and is quiet; what is too large for a short type becomes infinite.

    Examples
    --------
    >>> stored(np.array([1, 1.00390625, 1.01171875]), np.uint16) - 0x3F80
    array([0, 0, 2], dtype=uint16)
    """
    if dtype != np.uint16:
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    quiet_nan = bits >> np.uint32(16) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet_nan, rounded).astype(np.uint16)
