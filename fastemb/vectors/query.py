"""What a user may ask for: words, vectors and lists of them, as gensim takes them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastemb.vectors.lookup import Lookup

Key = str | int | np.integer
KEY_TYPES = (str, int, np.integer)


def parse(kv: "Lookup", positive: Any, negative: Any = None) -> tuple[np.ndarray, list[int]]:
    """Return the unit mean of a query's unit vectors, float32 (vector_size,), and the rows of its words.

    Raises
    ------
    KeyError
        If a word is unknown.
    ValueError
        If there is no word or vector, or a vector has another size.
    """
    weighted = [(item, 1.0) for item in listed(positive)] + [(item, -1.0) for item in listed(negative)]
    if not weighted:
        raise ValueError("a query must have at least one word or vector")
    mean = np.zeros(kv.vector_size)
    rows = []
    for item, weight in weighted:
        if isinstance(item, tuple | list) and len(item) == 2:
            item, weight = item
        if isinstance(item, KEY_TYPES):
            row = kv.get_index(item, -1)
            rows += [row] if row >= 0 else []
            mean += weight * kv.get_vector(item, norm=True).astype(np.float64)
        else:
            mean += weight * checked(item, kv.vector_size)
    return _units(mean[None])[0], rows


def parse_many(kv: "Lookup", queries: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Return what `parse` returns of each query, float32 (num_queries, vector_size) and lists of rows.

    Words alone, and a table of vectors, are looked up all at once.
    """
    if isinstance(queries, np.ndarray) and queries.ndim == 2 and queries.dtype.kind in "fiu":
        if queries.shape[1] == kv.vector_size and np.isfinite(queries).all():
            return _units(queries.astype(np.float64)), [[] for _ in queries]
    elif all(isinstance(one, str) for one in queries):
        rows = np.array([kv.get_index(word, -1) for word in queries], np.int64)
        if len(rows) and rows.min() >= 0:
            lengths = kv.norms[rows][:, None]
            vectors = kv.vectors[rows] / np.where(lengths > 0, lengths, np.float32(1))
            return _units(vectors.astype(np.float64)), rows[:, None].tolist()
    pairs = [parse(kv, one) for one in queries]
    table = np.array([vector for vector, _ in pairs], np.float32).reshape(len(pairs), kv.vector_size)
    return table, [rows for _, rows in pairs]


def listed(value: Any) -> list[Any]:
    """Return what a query adds or subtracts as a list; one word or vector is a list of one."""
    if value is None:
        return []
    if isinstance(value, KEY_TYPES) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return [value]
    return list(value)


def checked(item: Any, size: int) -> np.ndarray:
    """Return a user's vector as float64.

    Raises
    ------
    ValueError
        If it is no vector of this size, or not finite.
    """
    vector = np.asarray(item)
    if vector.dtype.kind not in "fiu" or vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"a query must be a word or a finite vector of size {size}, got {item!r:.80}")
    return vector.astype(np.float64)


def _units(means: np.ndarray) -> np.ndarray:
    """Return rows of length one, but for rows of zeros, as float32; the same whatever rows are beside."""
    lengths = np.sqrt(np.einsum("ij,ij->i", means, means))[:, None]
    with np.errstate(invalid="ignore"):
        return (means / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
