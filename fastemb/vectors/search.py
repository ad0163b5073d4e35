"""Exact search for the most similar rows, many queries at once, in a bounded amount of memory."""

import numpy as np

# Bytes of similarities held at a time.
_BUDGET = 1 << 25
_NORM_BYTES = 1 << 20  # squares that stay in the cache
# Rows whose best one stands for them in the first look.
_GROUP = 64
_ROUNDING = 2.0**-23


def norms_of(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of every row, float32 of shape (num_words,), in blocks.

    Examples
    --------
    >>> norms_of(np.array([[3, 4], [0, 0]], np.float32))
    array([5., 0.], dtype=float32)
    """
    norms = np.empty(len(vectors), np.float32)
    step = max(1, _NORM_BYTES // max(1, 4 * vectors.shape[1]))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        with np.errstate(over="ignore"):
            norms[start : start + step] = np.linalg.norm(block, axis=1)
    return norms


def units(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length one; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, vectors.dtype.type(1))


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
    with np.errstate(all="ignore"):
        result = queries @ vectors.T
        result /= np.where(norms == 0, np.float32(1), norms)
    return result


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
    broken = np.flatnonzero(~np.isfinite(norms))
    for start in range(0, len(queries), step):
        block = similarities(vectors, norms, queries[start : start + step])
        block[:, broken] = -np.inf
        for i, rough in enumerate(block, start):
            rough[[row for row in exclude[i] if row < len(rough)]] = -np.inf
            rows = _candidates(rough, k, _ROUNDING * queries.shape[1])
            exact = _exact(vectors, norms, queries[i], rows)
            order = np.lexsort((rows, -exact))[:k]
            results.append((rows[order], exact[order]))
    return results


def _candidates(rough: np.ndarray, k: int, slack: float) -> np.ndarray:
    """Return the rows that can be among the `k` best, when similarities are off by up to `slack`, rising."""
    rows = np.arange(len(rough))
    groups = len(rough) // _GROUP
    if groups > k:
        # The k-th best of the groups' best is no better than the k-th best of all, and quickly found.
        best = rough[: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
        rows = np.flatnonzero(rough >= np.partition(best, groups - k)[groups - k] - slack)
    values = rough[rows]
    if len(rows) > k:
        rows = rows[values >= np.partition(values, len(rows) - k)[len(rows) - k] - slack]
    return rows[rough[rows] > -np.inf]


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
