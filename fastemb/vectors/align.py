"""Vectors of one training turned into the space of another: orthogonal Procrustes on words that mean the same."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastemb.engine.validate import integer
from fastemb.vectors.search import units

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

_ROWS = 1 << 14


class Alignment(NamedTuple):
    """What `KeyedVectors.align_to` returns.

    Attributes
    ----------
    vectors : KeyedVectors
        All words of the source, in the target's space.
    residual : float
        How far the pairs are apart: the root of the sum of their squared distances over that of the target's squared
        lengths (from their mean, with `center`). 0 is a perfect fit; that of unrelated vectors nears the root of 2.
    rotation : float64 array of shape (vector_size, vector_size)
        Orthogonal; rows are multiplied by it from the left.
    scale : float
        1 without `scale`.
    num_pairs : int
        Pairs of words that the rotation was fitted to.

    Examples
    --------
    >>> from fastemb import KeyedVectors
    >>> kv = KeyedVectors.from_words(["tea", "rum"], np.eye(2))
    >>> found = kv.align_to(kv)
    >>> found.num_pairs, found.scale, found.vectors
    (2, 1.0, KeyedVectors(2 words, vector_size=2))
    """

    vectors: "KeyedVectors"
    residual: float
    rotation: np.ndarray
    scale: float
    num_pairs: int


def align(
    source: "KeyedVectors",
    target: "KeyedVectors",
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    restrict_vocab: int | None = None,
    normalize: bool = True,
    center: bool = False,
    scale: bool = False,
) -> Alignment:
    """Turn vectors so that words come as near as can be to their partners: see `KeyedVectors.align_to`."""
    if source.vector_size != target.vector_size:
        raise ValueError(
            f"both tables must have vectors of one size, got {source.vector_size} and {target.vector_size}"
        )
    rows = _rows_of(source, target, pairs, restrict_vocab)
    first, second = (_prepared(kv, numbers, normalize) for kv, numbers in zip((source, target), rows, strict=True))
    shifts = [table.mean(axis=0) if center else np.zeros(source.vector_size) for table in (first, second)]
    first, second = first - shifts[0], second - shifts[1]
    from scipy.linalg import orthogonal_procrustes

    rotation, strength = orthogonal_procrustes(first, second)
    size = float(np.square(first).sum())
    factor = float(strength) / size if scale and size > 0 else 1.0
    missed, whole = np.square(factor * first @ rotation - second).sum(), np.square(second).sum()
    turned = np.empty((len(source), source.vector_size), np.float32)
    for start in range(0, len(source), _ROWS):
        block = _prepared(source, np.arange(start, min(start + _ROWS, len(source))), normalize)
        turned[start : start + _ROWS] = factor * (block - shifts[0]) @ rotation + shifts[1]
    from fastemb.vectors.keyed_vectors import KeyedVectors

    vectors = KeyedVectors(turned, source.vocabulary, source.metadata)
    return Alignment(vectors, float(np.sqrt(missed / whole)) if whole > 0 else 0.0, rotation, factor, len(first))


def _rows_of(
    source: "KeyedVectors",
    target: "KeyedVectors",
    pairs: Iterable[tuple[str, str]] | None,
    restrict_vocab: int | None,
) -> np.ndarray:
    """Return the rows of pairs of known words, int64 (2, num_pairs)."""
    most = max(len(source), len(target)) if restrict_vocab is None else integer("restrict_vocab", restrict_vocab, 1)
    if pairs is None:
        found = [(row, target.get_index(word, -1)) for row, word in enumerate(source.index_to_key[:most])]
    else:
        found = [(source.get_index(one, -1), target.get_index(other, -1)) for one, other in pairs]
    rows = np.array([pair for pair in found if 0 <= pair[0] < most and 0 <= pair[1] < most], np.int64).reshape(-1, 2)
    if not len(rows):
        raise ValueError("both tables must have words in common, or known pairs of words, got none")
    return rows.T


def _prepared(kv: "KeyedVectors", rows: np.ndarray, normalize: bool) -> np.ndarray:
    table = kv.vectors[rows].astype(np.float64)
    if not np.isfinite(table).all():
        row = int(rows[int(np.isfinite(table).all(axis=1).argmin())])
        raise ValueError(f"the vector of {kv.index_to_key[row]!r:.80} is not finite")
    return units(table) if normalize else table
