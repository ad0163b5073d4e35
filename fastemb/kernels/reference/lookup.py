"""Rows of a table by their numbers: the specification of `kernels/cpu/lookup.py`, obvious and slow.

A table is float64, float32, float16, or uint16: the bits of bfloat16, for which NumPy has no dtype. The bits of float16
may be handed over as int16, since Numba has no float16. Arithmetic on a table is done in its *accumulator dtype*:
float64 for float64, float32 for all others.

Every kernel that takes a `padding_idx` treats lookups of it apart: it is a row of the table; or NO_ROW, -1, which is
what a lookup of no row has for an index; or NO_PADDING, -2, for none.
"""

import numpy as np

__all__ = ["NO_PADDING", "NO_ROW", "clear", "lookup", "shift"]

NO_ROW, NO_PADDING = -1, -2


def lookup(out, weight, indices, padding_idx, start, stop):
    """Fill ``out[i] = weight[indices[i]]`` for i in ``[start, stop)``.

    Parameters
    ----------
    out : array (num_lookups, embedding_dim)
        Of the table's dtype. Changed in place.
    weight : float64, float32, float16 or uint16 (num_embeddings, embedding_dim)
    indices : int32 or int64 (num_lookups,)
    padding_idx : int
        Lookups of this index give zeros.
    start, stop : int
        The range of lookups.

    Returns
    -------
    int
        -1, or the place in `indices` of the first one that is outside the table.
    """
    for i in range(start, stop):
        index = indices[i]
        if is_padding(index, padding_idx):
            out[i] = 0
        elif 0 <= index < len(weight):
            out[i] = weight[index]
        else:
            return i
    return -1


def clear(out, start, stop):
    """Fill ``out[start:stop]`` with zeros.

    Parameters
    ----------
    out : uint8 (num_bytes,)
        Changed in place.
    start, stop : int
        The range of bytes.
    """
    out[start:stop] = 0


def shift(out, indices, first, num_rows, padding_idx, start, stop):
    """Fill ``out[i] = first + indices[i]`` for i in ``[start, stop)``: rows of a table that begins at row `first`.

    Parameters
    ----------
    out : int32 or int64 (num_lookups,)
        Changed in place; -1 where an index is `padding_idx`.
    indices : int32 or int64 (num_lookups,)
    first, num_rows : int
        Where the table begins, and how many rows it has.
    padding_idx : int
    start, stop : int
        The range of lookups.

    Returns
    -------
    int
        -1, or the place in `indices` of the first one that is outside the table.
    """
    for i in range(start, stop):
        if is_padding(indices[i], padding_idx):
            out[i] = -1
        elif 0 <= indices[i] < num_rows:
            out[i] = first + indices[i]
        else:
            return i
    return -1


def is_padding(indices, padding_idx):
    """Return where indices are `padding_idx`, if there is one."""
    return (indices == padding_idx) & (padding_idx >= NO_ROW)


def accumulator(dtype):
    """Return the dtype in which the arithmetic on arrays of `dtype` is done."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def widen(values):
    """Return `values` in the accumulator dtype; int16 are float16's bits, uint16 are the upper halves of float32."""
    if values.dtype == np.int16:
        return values.view(np.float16).astype(np.float32)
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(accumulator(values.dtype))


def narrow(values, dtype):
    """Return `values` in `dtype`, rounded to nearest, ties to even; a NaN stays a NaN."""
    if dtype == np.int16:
        return narrow(values, np.dtype(np.float16)).view(np.int16)
    if dtype != np.uint16:
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    with np.errstate(over="ignore"):
        bits = np.atleast_1d(values.astype(np.float32)).view(np.uint32)
    rounded = ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype(np.uint16)
    quiet = (bits >> 16).astype(np.uint16) | np.uint16(0x40)
    return np.where((bits & 0x7FFFFFFF) > 0x7F800000, quiet, rounded).reshape(values.shape)
