"""What a user may ask for: words, vectors and lists of them, as gensim takes them."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

Key = str | int | np.integer
KEY_TYPES = (str, int, np.integer)


def parse(kv: "KeyedVectors", positive: Any, negative: Any = None) -> tuple[np.ndarray, list[int]]:
    """Return the unit mean of a query's unit vectors, float32 (vector_size,), and the rows of its words.

    Raises
    ------
    KeyError
        If a word is unknown.
    ValueError
        If there is no word or vector, or a vector has another size.
    """
    weighted = [(item, 1.0) for item in _listed(positive)] + [(item, -1.0) for item in _listed(negative)]
    if not weighted:
        raise ValueError("a query must have at least one word or vector")
    mean = np.zeros(kv.vector_size)
    rows = []
    for item, weight in weighted:
        if isinstance(item, tuple | list) and len(item) == 2:
            item, weight = item
        if isinstance(item, KEY_TYPES):
            mean += weight * kv.get_vector(item, norm=True).astype(np.float64)
            row = kv.get_index(item, -1)  # words that are made of n-grams have none
            rows += [row] if row >= 0 else []
        else:
            mean += weight * _checked(item, kv.vector_size)
    length = np.linalg.norm(mean)
    return (mean / length if length > 0 else mean).astype(np.float32), rows


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, KEY_TYPES) or (isinstance(value, np.ndarray) and value.ndim == 1):
        return [value]
    return list(value)


def _checked(item: Any, size: int) -> np.ndarray:
    vector = np.asarray(item)
    if vector.dtype.kind not in "fiu" or vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"a query must be a word or a finite vector of size {size}, got {item!r:.80}")
    return vector.astype(np.float64)
