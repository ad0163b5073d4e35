"""Exact search for the most similar rows, many queries at once, in a bounded amount of memory."""

import numpy as np

# Bytes of similarities held at a time.
_BUDGET = 1 << 26
_ROUNDING = 2.0**-23


def norms_of(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of every row, float32 of shape (num_words,), in blocks.

    Examples
    --------
    >>> norms_of(np.array([[3, 4], [0, 0]], np.float32))
    array([5., 0.], dtype=float32)
    """
    norms = np.empty(len(vectors), np.float32)
    step = max(1, _BUDGET // max(1, 4 * vectors.shape[1]))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        norms[start : start + step] = np.linalg.norm(block, axis=1)
    return norms


def similarities(vectors: np.ndarray, norms: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the cosine of every query with every row, float32 of shape (num_queries, num_words).

    Parameters
    ----------
    vectors : float32 array of shape (num_words, vector_size)
    norms : float32 array of shape (num_words,)
        The rows' lengths.
    queries : float32 array of shape (num_queries, vector_size)
        Of length one.
    """
    return (queries @ vectors.T) / np.where(norms > 0, norms, np.float32(1))


def top_k(
    vectors: np.ndarray, norms: np.ndarray, queries: np.ndarray, k: int, exclude: list[list[int]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each query the `k` most similar rows, without those that it excludes.

    The order is by falling similarity, and by row where two are equal. It does not depend on how the work is cut: the
    candidates come from a matrix product, whose rounding differs from place to place, and their similarities are then
    computed again, each on its own in float64.

    Parameters
    ----------
    vectors, norms, queries
        As in `similarities`.
    k : int
        At least 1.
    exclude : list of list of int
        For each query the rows that it must not find.

    Returns
    -------
    list of (int64 array, float32 array)
        For each query the rows and their similarities; shorter than `k` where there are not as many.
    """
    results: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, _BUDGET // (4 * max(1, len(vectors))))
    for start in range(0, len(queries), step):
        block = similarities(vectors, norms, queries[start : start + step])
        for i, row in enumerate(block):
            results.append(_best(vectors, norms, queries[start + i], row, k, exclude[start + i]))
    return results


def _best(
    vectors: np.ndarray, norms: np.ndarray, query: np.ndarray, rough: np.ndarray, k: int, exclude: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    rough[np.isnan(rough)] = -np.inf
    rough[[row for row in exclude if row < len(rough)]] = -np.inf
    if k < len(rough):
        least = np.partition(rough, len(rough) - k)[len(rough) - k]
        rows = np.flatnonzero(rough >= least - _ROUNDING * len(query))
    else:
        rows = np.arange(len(rough))
    rows = rows[rough[rows] > -np.inf]
    exact = _exact(vectors, norms, query, rows)
    order = np.lexsort((rows, -exact))[:k]
    return rows[order], exact[order]


def _exact(vectors: np.ndarray, norms: np.ndarray, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the cosines of one query with some rows, each rounded once from float64."""
    result = np.empty(len(rows), np.float32)
    step = max(1, _BUDGET // (8 * len(query)))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        products = vectors[some] * query.astype(np.float64)
        lengths = norms[some].astype(np.float64)
        result[start : start + step] = products.sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return result
