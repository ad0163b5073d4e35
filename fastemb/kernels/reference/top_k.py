"""The best few of many scores, query by query: the specification of `kernels/cpu/top_k.py`.

What was found so far is a row a query of two arrays: `scores` and `ids`, in no particular order but for the first,
which is the worst; places that are still free hold -inf and -1. A score is better than another if it is greater, or
equal and its id is smaller. NaN is never found, nor is -inf.
"""

import numpy as np

__all__ = ["measure", "nearest", "scan", "sort"]


def scan(scores, ids, products, factors, first, own, own_offsets, start, stop):
    """Take what is better in a block of products into the rows of queries in ``[start, stop)``.

    Parameters
    ----------
    scores : float32 (num_queries, k)
        Changed in place.
    ids : int64 (num_queries, k)
        Changed in place.
    products : float32 (num_queries, num_candidates)
        Of each query with the candidates ``first``, ``first + 1`` and so on.
    factors : float32 (num_candidates,)
        A score is a product times its candidate's factor; with NaN it is never found.
    first : int
        The id of the first candidate, greater than all ids in the rows.
    own : int64 (num_own,)
        Ids that their query must not find.
    own_offsets : int64 (num_queries + 1,)
        The ids that query q must not find are ``own[own_offsets[q]:own_offsets[q + 1]]``.
    start, stop : int
        The range of queries.

    Examples
    --------
    >>> scores, ids = np.full((1, 2), -np.inf, np.float32), np.full((1, 2), -1)
    >>> products, factors = np.array([[0.5, 4, 3]], np.float32), np.array([1, 0.25, 1], np.float32)
    >>> scan(scores, ids, products, factors, 10, np.array([12]), np.array([0, 1]), 0, 1)
    >>> scores.tolist(), ids.tolist()
    ([[0.5, 1.0]], [[10, 11]])
    """
    found = np.arange(first, first + products.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        values = products * factors
    for q in range(start, stop):
        free = (values[q] > -np.inf) & ~np.isin(found, own[own_offsets[q] : own_offsets[q + 1]])
        _keep(scores[q], ids[q], values[q, free], found[free])


def nearest(scores, ids, vectors, factors, first, queries, own, own_offsets, start, stop):
    """Take those of some vectors whose products are better into the rows of queries in ``[start, stop)``.

    Parameters
    ----------
    scores, ids, first, own, own_offsets, start, stop
        As in `scan`.
    vectors : float32 (num_candidates, dim)
        C-contiguous.
    factors : float32 (num_candidates,)
        A vector is multiplied by its factor before its products are computed; with NaN it is never found.
    queries : float32 (num_queries, dim)
    """
    products = np.full((len(queries), len(vectors)), np.nan, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        products[start:stop] = queries[start:stop] @ (vectors * factors[:, None]).T
    scan(scores, ids, products, np.ones(len(vectors), np.float32), first, own, own_offsets, start, stop)


def measure(scores, ids, vectors, lengths, queries, first, start, stop):
    """Compute some scores of queries in ``[start, stop)`` again, in float64, each rounded once.

    Products of matrices are rounded in different ways at different places of a block; these numbers are not. The rows
    are in no order afterwards, until `sort`.

    Parameters
    ----------
    scores : float32 (num_queries, k)
        Changed in place.
    ids : int64 (num_queries, k)
    vectors : float32 (num_queries, some, dim)
        The vectors of the ids in the columns `first` to ``first + some``; where an id is -1, anything.
    lengths : float32 (num_candidates,)
        By id: what the product is divided by, where it is not 0.
    queries : float32 (num_queries, dim)
    first : int
        The first column.
    start, stop : int
        The range of queries.
    """
    for q in range(start, stop):
        for j, vector in enumerate(vectors[q], first):
            if ids[q, j] >= 0:
                length = np.float64(lengths[ids[q, j]])
                product = vector.astype(np.float64) @ queries[q].astype(np.float64)
                scores[q, j] = product / (1 if length == 0 else length)


def sort(scores, ids, start, stop):
    """Sort the rows of queries in ``[start, stop)``: the best first, free places last.

    Parameters
    ----------
    scores : float32 (num_queries, k)
        Changed in place.
    ids : int64 (num_queries, k)
        Changed in place.
    start, stop : int
        The range of queries.

    Examples
    --------
    >>> scores, ids = np.array([[1, -np.inf, 3, 1]], np.float32), np.array([[8, -1, 5, 7]])
    >>> sort(scores, ids, 0, 1)
    >>> ids.tolist()
    [[5, 7, 8, -1]]
    """
    for q in range(start, stop):
        order = np.lexsort((ids[q], -scores[q], ids[q] < 0))
        scores[q], ids[q] = scores[q, order], ids[q, order]


def _keep(scores, ids, more_scores, more_ids):
    """Put the best of a row and of more into the row, the worst first."""
    values, numbers = np.append(scores, more_scores), np.append(ids, more_ids)
    order = np.lexsort((np.where(numbers < 0, np.iinfo(np.int64).max, numbers), -values))[: len(scores)][::-1]
    scores[:], ids[:] = values[order], numbers[order]
