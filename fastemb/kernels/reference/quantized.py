"""Rows of 8 or 4 bits with a scale and a bias of their own: the specification of `kernels/cpu/quantized.py`.

A quantized table is a uint8 array with one line a row, in the layouts of FBGEMM (``fbgemm/QuantUtils.h``) that torch's
``embedding_bag_byte_prepack`` and ``embedding_bag_4bit_prepack`` write too:

- 8 bits: a byte a column, then the scale and the bias as float32;
- 4 bits: a byte for two columns, the first one in the low half, then the scale and the bias as float16. The last byte
  of an odd row has a high half of 0.

Which of the two is told as `BYTES` or `HALVES`, whose length is the half bytes that a column takes: a constant when a
kernel is compiled. A column's value is ``code * scale + bias``, rounded once, to float32. The functions that read
indices are those of `bags` and `lookup` on the table's values, in float32, and return the same status.
"""

import numpy as np

from fastemb.kernels.reference import bags
from fastemb.kernels.reference.lookup import lookup as lookup_values
from fastemb.kernels.reference.lookup import widen

__all__ = ["BYTES", "HALVES", "dequantize", "extremes", "floats", "lookup", "quantize", "reduce"]

BYTES, HALVES = (0, 0), (0,)


def quantize(out, weight, halves, start, stop):
    """Fill the rows ``out[start:stop]`` of a quantized table from those of `weight`.

    The bias is the row's least value (+0.0 for a zero of either sign), the scale its range over 255 or 15. For 4 bits
    both are rounded to float16 before the codes are computed, the range is that from the rounded bias, and a scale of 0
    becomes 1.

    Parameters
    ----------
    out : uint8 (num_embeddings, bytes of a row)
        Changed in place.
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
        Rounded to float32 first.
    halves : {BYTES, HALVES}
    start, stop : int
        The range of rows.

    Returns
    -------
    int
        -1, or the first row of the range that cannot be held: it has a NaN or an infinity, its range is beyond
        float32's, or, for 4 bits, its least value or its scale is beyond float16's. Its line is not written.

    Examples
    --------
    >>> table = np.zeros((1, 6), np.uint8)
    >>> quantize(table, np.array([[-1.0, 14.0, 2.2]]), HALVES, 0, 1)
    -1
    >>> table[0, :2].tolist(), table[0, 2:].view(np.float16).tolist()
    ([240, 3], [1.0, -1.0])
    """
    for r in range(start, stop):
        with np.errstate(over="ignore", invalid="ignore"):
            line = _line_8(_float32(weight[r])) if len(halves) == 2 else _line_4(_float32(weight[r]))
        if line is None:
            return r
        out[r] = line
    return -1


def dequantize(out, table, halves, start, stop):
    """Fill ``out[r]`` with the values of row r of a quantized table for r in ``[start, stop)``.

    Parameters
    ----------
    out : float32 (num_embeddings, embedding_dim)
        Changed in place. Its width tells an odd row of 4 bits from an even one.
    table : uint8 (num_embeddings, bytes of a row)
    halves : {BYTES, HALVES}
    start, stop : int
        The range of rows.
    """
    out[start:stop] = _values(table[start:stop], halves, out.shape[1])


def floats(out, values, start, stop):
    """Fill ``out[start:stop]`` with short floats as float32.

    Parameters
    ----------
    out : float32 (num_values,)
        Changed in place.
    values : int16 (the bits of float16) or uint16 (of bfloat16) (num_values,)
    start, stop : int
        The range of values.
    """
    out[start:stop] = widen(values[start:stop])


def lookup(out, table, halves, indices, padding_idx, start, stop):
    """Fill ``out[i]`` with the values of row ``indices[i]``, with zeros at `padding_idx`, for i in ``[start, stop)``.

    Parameters
    ----------
    out : float32 (num_lookups, embedding_dim)
        Changed in place.
    table : uint8 (num_embeddings, bytes of a row)
    halves : {BYTES, HALVES}
    indices, padding_idx, start, stop
        As in `lookup.lookup`.

    Returns
    -------
    int
        The status.
    """
    return lookup_values(out, _values(table, halves, out.shape[1]), indices, padding_idx, start, stop)


def reduce(out, table, halves, indices, offsets, coefficients, padding_idx, mode, start, stop):
    """Fill ``out[b]`` with the scaled sum of the values of the rows in bag b for b in ``[start, stop)``.

    Parameters
    ----------
    out : float32 (num_bags, embedding_dim)
        Changed in place.
    table : uint8 (num_embeddings, bytes of a row)
    halves : {BYTES, HALVES}
    indices, offsets, coefficients, padding_idx, mode, start, stop
        As in `bags.reduce`; `coefficients` are float32.

    Returns
    -------
    int
        The status.
    """
    values = _values(table, halves, out.shape[1])
    return bags.reduce(out, values, indices, offsets, coefficients, padding_idx, mode, start, stop)


def extremes(out, table, halves, indices, offsets, padding_idx, sign, start, stop):
    """Fill ``out[b]`` with the greatest (or least) value of each column among the rows of bag b.

    Parameters
    ----------
    out : float32 (num_bags, embedding_dim)
        Changed in place.
    table : uint8 (num_embeddings, bytes of a row)
    halves : {BYTES, HALVES}
    indices, offsets, padding_idx, sign, start, stop
        As in `bags.extremes`; who won is not told, as nothing is trained.

    Returns
    -------
    int
        The status.
    """
    values, winners = _values(table, halves, out.shape[1]), np.empty(out.shape, np.int64)
    return bags.extremes(out, winners, values, indices, offsets, padding_idx, sign, start, stop)


def _float32(row):
    return widen(row).astype(np.float32)


def _line_8(x):
    """Return a row's bytes; FBGEMM's epsilon keeps the divisor of a constant row from being 0."""
    least, greatest = _bounds(x)
    span = greatest - least
    if not np.isfinite(span):
        return None
    codes = np.rint((x - least) * (np.float32(255) / (span + np.float32(1e-8))))
    return np.concatenate([codes.astype(np.uint8), np.array([span / np.float32(255), least]).view(np.uint8)])


def _line_4(x):
    """Return a row's bytes; a scale that float16 cannot tell from 0, which would make codes infinite, becomes 1."""
    least, greatest = _bounds(x)
    least = least.astype(np.float16)
    span = greatest - least.astype(np.float32)
    scale = (np.float32(1) if span == 0 else span / np.float32(15)).astype(np.float16)
    if not (np.isfinite(least) and np.isfinite(scale)):
        return None
    scale = np.float16(1) if scale == 0 else scale
    codes = np.rint((x - least.astype(np.float32)) * (np.float32(1) / scale.astype(np.float32)))
    codes = np.append(codes.clip(0, 15).astype(np.uint8), np.zeros(len(x) % 2, np.uint8))
    return np.concatenate([codes[::2] | codes[1::2] << 4, np.array([scale, least]).view(np.uint8)])


def _bounds(x):
    """Return the least and the greatest value of a row, NaN if it has one, 0 if it has no columns."""
    return (x.min() + np.float32(0), x.max()) if len(x) else (np.float32(0), np.float32(0))


def _values(table, halves, dim):
    """Return the values of all rows."""
    number, width = (np.float32, dim) if len(halves) == 2 else (np.float16, (dim + 1) // 2)
    ends = np.ascontiguousarray(table[:, width:]).view(number).astype(np.float64)
    halves = [table[:, :width]] if len(halves) == 2 else [table[:, :width] & 15, table[:, :width] >> 4]
    codes = np.stack(halves, 2).reshape(len(table), width * len(halves))[:, :dim]
    return (codes * ends[:, :1] + ends[:, 1:]).astype(np.float32)
