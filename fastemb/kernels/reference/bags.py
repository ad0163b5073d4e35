"""Bags of rows, reduced: the specification of `kernels/cpu/bags.py`, obvious and slow.

Bag b holds the lookups ``indices[offsets[b]:offsets[b + 1]]``. Entries that equal `padding_idx` (see `lookup`) are
left out of it. Sums are formed in the order of the lookups, in the
accumulator dtype: float64 for float64 tables, float32 for all others.

The kernels that read indices return a status: -1 if all is well; p >= 0 if ``indices[p]`` is outside the table, the
first such place in the range; ``-2 - b`` if the offsets of bag b fall or leave ``[0, num_lookups]``.
"""

import numpy as np

from fastemb.kernels.reference.lookup import is_padding, narrow, widen

__all__ = ["MEAN", "SQRTN", "SUM", "dots", "extremes", "reduce", "scales", "sum_winners"]

SUM, MEAN, SQRTN = 0, 1, 2


def reduce(out, weight, indices, offsets, coefficients, padding_idx, mode, start, stop):
    """Fill ``out[b]`` with the scaled sum of ``coefficients[j] * weight[indices[j]]`` for b in ``[start, stop)``.

    Parameters
    ----------
    out : array (num_bags, embedding_dim)
        Of the table's dtype or its accumulator dtype. Changed in place.
    weight : float64, float32, float16 or uint16 (num_embeddings, embedding_dim)
    indices : int32 or int64 (num_lookups,)
    offsets : int64 (num_bags + 1,)
    coefficients : None or array (num_lookups,)
        Of the accumulator dtype; None for ones.
    padding_idx : int
    mode : {SUM, MEAN, SQRTN}
        How a bag is scaled: see `scales`.
    start, stop : int
        The range of bags.

    Returns
    -------
    int
        The status.
    """
    for b in range(start, stop):
        places, status = _places(indices, offsets, b, padding_idx, len(weight))
        if status != -1:
            return status
        rows = widen(weight[indices[places]])
        total = np.zeros(weight.shape[1], rows.dtype)
        for row, j in zip(rows, places, strict=True):
            total += row if coefficients is None else coefficients[j] * row
        out[b] = narrow(total * _scale(places, coefficients, mode, rows.dtype), out.dtype)
    return -1


def scales(out, indices, offsets, coefficients, padding_idx, mode, start, stop):
    """Fill ``out[b]`` with what the sum of bag b is multiplied by, for b in ``[start, stop)``.

    It is 1 for SUM; for MEAN one over the bag's number of lookups, or over the sum of its coefficients; for SQRTN one
    over the square root of that number, or over that of the sum of the squared coefficients. It is 0 where a division
    by zero would be, as in an empty bag. There is no status: `indices` and `offsets` have been through `reduce`.

    Parameters
    ----------
    out : float32 or float64 (num_bags,)
        Of the accumulator dtype. Changed in place.
    indices, offsets, coefficients, padding_idx, mode, start, stop
        As in `reduce`.
    """
    for b in range(start, stop):
        places, _ = _places(indices, offsets, b, padding_idx, None)
        out[b] = _scale(places, coefficients, mode, out.dtype)


def extremes(out, winners, weight, indices, offsets, padding_idx, sign, start, stop):
    """Fill ``out[b]`` with the greatest (or least) value of each column among the rows of bag b.

    The first row of a bag is taken, then each one that is strictly beyond: so ties go to the earliest, and a NaN that
    is not in the first row never wins. An empty bag gives zeros.

    Parameters
    ----------
    out : array (num_bags, embedding_dim)
        Of the table's dtype. Changed in place.
    winners : int32 or int64 (num_bags, embedding_dim)
        Of the dtype of `indices`. Changed in place: the place in `indices` of the lookup that won each column, -1 in
        empty bags.
    weight, indices, offsets, padding_idx, start, stop
        As in `reduce`.
    sign : float
        1.0 for the greatest, -1.0 for the least.

    Returns
    -------
    int
        The status.
    """
    for b in range(start, stop):
        places, status = _places(indices, offsets, b, padding_idx, len(weight))
        if status != -1:
            return status
        out[b], winners[b] = 0, -1
        for n, j in enumerate(places):
            row = weight[indices[j]]
            beyond = np.ones(len(row), bool) if n == 0 else sign * widen(row) > sign * widen(out[b])
            out[b][beyond], winners[b][beyond] = row[beyond], j
    return -1


def dots(out, grad_output, weight, indices, offsets, padding_idx, start, stop):
    """Fill ``out[j] = grad_output[b] @ weight[indices[j]]`` for each lookup j of the bags b in ``[start, stop)``.

    It is the gradient of a sum's coefficients. Lookups that are left out get 0.

    Parameters
    ----------
    out : float32 or float64 (num_lookups,)
        Of the accumulator dtype. Changed in place.
    grad_output : array (num_bags, embedding_dim)
        Of the table's dtype or its accumulator dtype.
    weight, indices, offsets, padding_idx, start, stop
        As in `reduce`.

    Returns
    -------
    int
        The status.
    """
    for b in range(start, stop):
        places, status = _places(indices, offsets, b, padding_idx, len(weight))
        if status != -1:
            return status
        out[offsets[b] : offsets[b + 1]] = 0
        for j in places:
            out[j] = widen(grad_output[b]) @ widen(weight[indices[j]])
    return -1


def sum_winners(out, grad_output, winners, order, bags, starts, start, stop):
    """Fill ``out[r]`` with the gradients of the columns that the lookups of row r won, for r in ``[start, stop)``.

    Parameters
    ----------
    out : float32 or float64 (num_rows, embedding_dim)
        Of the accumulator dtype. Changed in place.
    grad_output : array (num_bags, embedding_dim)
        Of the table's dtype or its accumulator dtype.
    winners : int32 or int64 (num_bags, embedding_dim)
        From `extremes`.
    order : int32 or int64 (num_grouped,)
        Places of lookups, sorted by row.
    bags : int32 or int64 (num_grouped,)
        The bag of each of them.
    starts : int64 (num_rows + 1,)
        Row r owns ``order[starts[r]:starts[r + 1]]``.
    start, stop : int
        The range of rows.
    """
    for r in range(start, stop):
        out[r] = 0
        for j in range(starts[r], starts[r + 1]):
            out[r] += np.where(winners[bags[j]] == order[j], widen(grad_output[bags[j]]), 0)


def _places(indices, offsets, b, padding_idx, num_embeddings):
    """Return the lookups of bag b that are not left out, and the status."""
    first, last = offsets[b], offsets[b + 1]
    if not 0 <= first <= last <= len(indices):
        return [], -2 - b
    places = [j for j in range(first, last) if not is_padding(indices[j], padding_idx)]
    for j in places:
        if num_embeddings is not None and not 0 <= indices[j] < num_embeddings:
            return [], j
    return places, -1


def _scale(places, coefficients, mode, dtype):
    if mode == SUM:
        return dtype.type(1)
    values = np.ones(len(places), dtype) if coefficients is None else coefficients[places]
    divisor = values.sum() if mode == MEAN else np.sqrt((values * values).sum())
    return dtype.type(0 if divisor == 0 else 1 / divisor)
