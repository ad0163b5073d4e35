"""Bags of many features, each of a table of its own, in one pass: the specification of `kernels/cpu/features.py`.

The tables lie one after the other in one array. The indices and offsets of the features stay where they are: a feature
is told by numbers, one row of `features` each, which are, in this order, the address of its indices, how many there
are, the address of its ``num_bags + 1`` offsets (int64), the first row of its table in the array, the rows of its
table, and its padding index (see `lookup`).
"""

import numpy as np

from fastemb.kernels.reference import bags, lookup, quantized

__all__ = ["gather", "join", "reduce_coded_features", "reduce_features"]


def reduce_features(out, weight, features, like, mode, start, stop):
    """Fill ``out[b, f]`` with the bag b of feature f, reduced as by `bags.reduce`, for b in ``[start, stop)``.

    Parameters
    ----------
    out : array (num_bags, num_features * embedding_dim)
        Of the table's dtype, or float32 for short floats; the features of a bag side by side. Changed in place.
    weight : float64, float32, float16 or uint16 (num_rows, embedding_dim)
        All tables.
    features : int64 (num_features, 6)
        See above. The memory behind the addresses must be contiguous and aligned.
    like : int32 or int64 array
        Of the dtype of all indices.
    mode : {SUM, MEAN, SQRTN}
    start, stop : int
        The range of bags.

    Returns
    -------
    int
        -1, or the first feature that has an index outside its table, or offsets that fall or leave its indices.
    """
    for f, columns, ids, bounds, rows, padding_idx in _each(out, features, like):
        if bags.reduce(columns, weight[rows], ids, bounds, None, padding_idx, mode, start, stop) != -1:
            return f
    return -1


def reduce_coded_features(out, table, halves, features, like, mode, start, stop):
    """Fill ``out[b, f]`` with the bag b of feature f, reduced as by `quantized.reduce`, for b in ``[start, stop)``.

    Parameters
    ----------
    out : float32 (num_bags, num_features * embedding_dim)
        The features of a bag side by side. Changed in place.
    table : uint8 (num_rows, bytes of a row)
        All tables.
    halves : {BYTES, HALVES}
    features, like, mode, start, stop
        As in `reduce_features`.

    Returns
    -------
    int
        As `reduce_features`.
    """
    for f, columns, ids, bounds, rows, padding_idx in _each(out, features, like):
        if quantized.reduce(columns, table[rows], halves, ids, bounds, None, padding_idx, mode, start, stop) != -1:
            return f
    return -1


def _each(out, features, like):
    """Yield the number, the columns of `out`, the indices, the offsets, the rows and the padding index of a feature."""
    dim = out.shape[1] // len(features)
    for f, (indices, num_lookups, offsets, first, rows, padding_idx) in enumerate(features.tolist()):
        ids, bounds = _array_at(indices, num_lookups, like.dtype), _array_at(offsets, len(out) + 1, np.int64)
        yield f, out[:, f * dim : (f + 1) * dim], ids, bounds, slice(first, first + rows), padding_idx


def gather(rows, ends, features, places, step, like, start, stop):
    """Fill `rows` with the rows of lookups in the array of all tables, and `ends` with the ends of their bags.

    Parameters
    ----------
    rows : int32 or int64 (num_lookups of all features,)
        -1 for lookups of the padding index. Changed in place.
    ends : int64 (num_features * num_bags,)
        Where the bags of each feature end in `rows`. Changed in place. If it is empty, each bag must have one lookup.
    features, like
        As in `reduce_features`.
    places : int64 (num_features,)
        Where in `rows` the first lookup of each feature is.
    step : int
        How far the next one is from it.
    start, stop : int
        The range of bags.

    Returns
    -------
    int
        As `reduce_features`.
    """
    num_bags = len(ends) // len(features)
    for f, (indices, num_lookups, offsets, first, num_rows, padding_idx) in enumerate(features.tolist()):
        ids, bounds = _array_at(indices, num_lookups, like.dtype), _array_at(offsets, stop + 1, np.int64)[start:]
        falls = (np.diff(bounds) != 1) if len(ends) == 0 else (np.diff(bounds) < 0)
        if falls.any() or bounds[0] < 0 or bounds[-1] > num_lookups:
            return f
        part = slice(bounds[0], bounds[-1])
        found = np.empty(part.stop - part.start, rows.dtype)
        if lookup.shift(found, ids[part], first, num_rows, padding_idx, 0, len(found)) != -1:
            return f
        rows[places[f] + step * np.arange(part.start, part.stop)] = found
        if len(ends) > 0:
            ends[f * num_bags + start : f * num_bags + stop] = places[f] + bounds[1:]
    return -1


def join(out, pieces, start, stop):
    """Fill ``out[b, f]`` with row b of piece f, for b in ``[start, stop)``.

    Parameters
    ----------
    out : float32 or float64 (num_bags, num_features, embedding_dim)
        Changed in place.
    pieces : int64 (num_features, 2)
        The address of each piece, of the dtype of `out`, and how many bytes its rows lie apart.
    start, stop : int
        The range of bags.
    """
    for f, (address, row_bytes) in enumerate(pieces.tolist()):
        for b in range(start, stop):
            out[b, f] = _array_at(address + b * row_bytes, out.shape[2], out.dtype)


class _Memory:
    def __init__(self, address, size, dtype):
        what = {"data": (address, True), "shape": (size,), "typestr": np.dtype(dtype).str}
        self.__array_interface__ = {"version": 3, **what}


def _array_at(address, size, dtype):
    return np.asarray(_Memory(address, size, dtype))
