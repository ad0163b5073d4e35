"""Exact search for the most similar rows: many queries at once, faster than their matrix product, in bounded memory.

A kernel multiplies a block of queries with the table and keeps what is better than the worst of what was kept so far,
without writing the products down; a few queries are multiplied by NumPy, block by block, and another kernel scans the
products. What was kept is then measured again in float64 and sorted, so that the answer does not depend on how the work
was cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastemb.engine.backend import announce, kernels, simd_width
from fastemb.engine.blas import product_threads
from fastemb.engine.parallel import get_num_threads, ordered_map
from fastemb.formats.compact import CompactVectors

MEMORY = 1 << 26  # bytes that a search may use besides its answer
_FEW = 64  # queries for which NumPy's product and a scan are faster than the kernel that does both
_QUERIES, _ROWS = 4096, 1 << 16  # of a block of queries, and of the table
_PRODUCTS = 1 << 18  # of a few queries at a time, which stay in a core's cache
_DECODED = 1 << 12  # rows of codes that become numbers at a time
_GATHERED = 1 << 14  # rows that are measured again at a time
_NORM_BYTES = 1 << 20  # squares that stay in the cache
_SPARE = 8  # rows kept besides, since products are rounded
_WIDER = 8  # how many times more are kept where that was not enough
_ROUNDING = 2.0**-23
_SERIAL = 1 << 25  # multiplications that are not worth a thread


def norms_of(vectors: Any) -> np.ndarray:
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
        with np.errstate(over="ignore", invalid="ignore"):
            norms[start : start + step] = np.linalg.norm(block, axis=1)
    return norms


def part_of(vectors: Any, start: int, stop: int) -> Any:
    """Return rows of a table as a table of the same kind, without a copy."""
    return vectors.take(slice(start, stop)) if isinstance(vectors, CompactVectors) else vectors[start:stop]


def units(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length one; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, vectors.dtype.type(1))


def similarities(vectors: Any, norms: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the cosine of every query with every row, float32 of shape (num_queries, num_words).

    Parameters
    ----------
    vectors : float32 array or CompactVectors of shape (num_words, vector_size)
    norms : float32 array of shape (num_words,)
        The rows' lengths.
    queries : float32 array of shape (num_queries, vector_size)
        Of length one.
    """
    with np.errstate(all="ignore"):
        if isinstance(vectors, CompactVectors):
            result = np.empty((len(queries), len(vectors)), np.float32)
            for start in range(0, len(vectors), _DECODED):
                result[:, start : start + _DECODED] = queries @ vectors[start : start + _DECODED].T
        else:
            result = queries @ vectors.T
        result /= np.where(norms == 0, np.float32(1), norms)
    return result


def nearer_rows(vectors: Any, norms: np.ndarray, vector: np.ndarray, than: np.ndarray) -> np.ndarray:
    """Return the rows whose angle with `vector` is less than that of `than`, rising; equal vectors are never nearer."""
    query = units(np.asarray(vector, np.float32)[None])
    bound = exact_cosines(than[None], norms_of(than[None]), query[0])[0]
    rough = similarities(vectors, norms, query)[0]
    slack = _ROUNDING * len(vector)
    rows = np.flatnonzero(rough > bound + slack)
    near = np.flatnonzero(np.abs(rough - bound) <= slack)
    near = near[exact_cosines(vectors[near], norms[near], query[0]) > bound]
    return np.union1d(rows, near)


def exact_cosines(vectors: np.ndarray, norms: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the cosines of a query of length one with some rows, each rounded once from float64."""
    products = np.einsum("ij,j->i", vectors, query, dtype=np.float64)
    return (products / np.where(norms == 0, 1, norms.astype(np.float64))).astype(np.float32)


def top_k(
    vectors: Any,
    norms: np.ndarray,
    queries: np.ndarray,
    k: int,
    own: Sequence[Sequence[int]],
    memory: int = MEMORY,
    workers: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each query the `k` most similar rows, without its own.

    The order is by falling similarity, computed in float64 and rounded once, and by row where two are equal. Rows whose
    length is not finite are never found.

    Parameters
    ----------
    vectors, norms, queries
        As in `similarities`.
    k : int
        At least 1.
    own : sequence of sequences of int
        For each query the rows that it must not find.
    memory : int
        About how many bytes may be used besides the answer.
    workers : int, optional
        Threads; default `fastemb.get_num_threads`.

    Returns
    -------
    ids : int64 array of shape (num_queries, min(k, num_words))
        Rows; -1 where there are no more.
    scores : float32 array of the same shape
        Their similarities; NaN where there are no more.

    Examples
    --------
    >>> rows = np.eye(3, dtype=np.float32)
    >>> top_k(rows, norms_of(rows), rows[:1], 2, [[0]])
    (array([[1, 2]]), array([[0., 0.]], dtype=float32))
    """
    k = min(k, len(vectors))
    shape = len(queries), k
    ids, scores = np.full(shape, -1, np.int64), np.full(shape, np.nan, np.float32)
    factors = _factors(norms)
    team = get_num_threads() if workers is None else workers
    waiting, keep = np.arange(len(queries) if k else 0), min(k + _SPARE, len(vectors))
    while len(waiting):
        search = _Search(
            vectors, norms, factors, queries[waiting], *_packed([own[row] for row in waiting.tolist()]), k, keep
        )
        missed = []
        for first, last, found in search.run(team, memory):
            rows, enough = waiting[first:last], ~found.crowded
            ids[rows[enough]], scores[rows[enough]] = found.ids[enough, :k], found.scores[enough, :k]
            missed.append(rows[found.crowded])
        waiting, keep = np.concatenate(missed), min(_WIDER * keep, len(vectors))
    scores[ids < 0] = np.nan
    return ids, scores


def best(scores: np.ndarray, k: int, own: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers and the values of the `k` greatest scores of each row, but for its own, as `top_k` does.

    Parameters
    ----------
    scores : float32 array of shape (num_queries, num_words)
    k, own
        As in `top_k`.

    Examples
    --------
    >>> best(np.array([[3, 9, 7]], np.float32), 2, [[1]])
    (array([[2, 0]]), array([[7., 3.]], dtype=float32))
    """
    size, num_words = scores.shape
    found = np.full((size, min(k, num_words)), -np.inf, np.float32), np.full((size, min(k, num_words)), -1, np.int64)
    if num_words:
        ones = np.ones(num_words, np.float32)
        _kernels().scan(*found, np.ascontiguousarray(scores), ones, 0, *_packed(own), 0, size)
        _kernels().sort(*found, 0, size)
    values, ids = found
    return ids, np.where(ids < 0, np.float32(np.nan), values)


def _factors(norms: np.ndarray) -> np.ndarray:
    """Return what rows are multiplied with to have length one: 1 where it is 0, NaN where it is not finite."""
    with np.errstate(divide="ignore", over="ignore"):
        factors = np.float32(1) / norms
    odd = np.flatnonzero(~np.isfinite(factors) | (factors == 0))
    factors[odd] = np.where(norms[odd] == 0, np.float32(1), np.float32(np.nan))
    return factors


def _packed(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(one) for one in lists], out=offsets[1:])
    return np.fromiter((row for one in lists for row in one), np.int64, offsets[-1]), offsets


@dataclass
class _Found:
    """What some queries have found: the arrays that `kernels.reference.top_k` tells of.

    `crowded` marks the queries of which as many rows as are kept come so near to the k-th best that rounding may have
    kept the wrong ones.
    """

    scores: np.ndarray
    ids: np.ndarray
    crowded: np.ndarray


@dataclass
class _Search:
    """One search: the table, the queries, what each must not find, how many rows it wants and how many are kept."""

    vectors: Any
    norms: np.ndarray
    factors: np.ndarray
    queries: np.ndarray
    own: np.ndarray
    own_offsets: np.ndarray
    k: int
    keep: int

    def run(self, team: int, memory: int) -> Iterator[tuple[int, int, _Found]]:
        """Yield blocks of queries, from the first to the last exclusive, and what they have found."""
        size, dim = self.queries.shape
        if size < _FEW:
            team, scanned, most, threads = 1, self._multiplied, memory // 2 // (12 * self.keep), team
        else:
            team = team if size * dim * len(self.vectors) > _SERIAL else 1
            scanned, most, threads = self._searched, memory // (2 * team) // (12 * self.keep + 4 * dim), 1
        num_blocks = -(-size // max(1, min(most, _QUERIES)))
        blocks = _parts(size, -(-num_blocks // team) * team)
        room = memory // (2 * team)

        def search(block: tuple[int, int]) -> tuple[int, int, _Found]:
            found = self._nothing(*block)
            scanned(found, *block, room)
            self._settle(found, *block, room)
            return *block, found

        with product_threads(threads):
            yield from ordered_map(search, blocks, team)

    def _nothing(self, first: int, last: int) -> _Found:
        shape = last - first, self.keep
        return _Found(np.full(shape, -np.inf, np.float32), np.full(shape, -1), np.zeros(last - first, bool))

    def _multiplied(self, found: _Found, first: int, last: int, room: int) -> None:
        """Search the table for a few queries: a product of matrices and a scan of it, block by block."""
        size = last - first
        step = max(1, min(_PRODUCTS, room // 4) // size)
        if isinstance(self.vectors, CompactVectors):
            step = min(step, _DECODED)
        products = np.empty(size * min(step, len(self.vectors)), np.float32)
        for row in range(0, len(self.vectors), step):
            block = self.vectors[row : row + step]
            some = products[: size * len(block)].reshape(size, len(block))
            with np.errstate(all="ignore"):
                np.matmul(self.queries[first:last], block.T, out=some)
            factors, own_offsets = self.factors[row : row + step], self.own_offsets[first : last + 1]
            _kernels().scan(found.scores, found.ids, some, factors, row, self.own, own_offsets, 0, size)

    def _searched(self, found: _Found, first: int, last: int, room: int) -> None:
        """Search the table for many queries."""
        size, dim = last - first, self.queries.shape[1]
        step = _DECODED if isinstance(self.vectors, CompactVectors) else _ROWS
        step = max(1, min(step, room // max(1, 4 * dim)))
        scratch, width = _kernels().allocate_scratch(size, dim), simd_width()
        queries, own_offsets = self.queries[first:last], self.own_offsets[first : last + 1]
        for row in range(0, len(self.vectors), step):
            block = np.ascontiguousarray(self.vectors[row : row + step]).view()
            block.flags.writeable = False  # always, so that the kernel is compiled once
            factors = self.factors[row : row + step]
            arguments = (found.scores, found.ids, block, factors, row, queries, self.own, own_offsets, 0, size)
            _kernels().nearest(*arguments, scratch, width)

    def _settle(self, found: _Found, first: int, last: int, room: int) -> None:
        """Measure exactly what was found, and sort it."""
        size, dim = last - first, self.queries.shape[1]
        if self.keep < len(self.vectors):
            place = self.keep - self.k
            slack = _ROUNDING * (dim + 2)
            kth = np.partition(found.scores, place, axis=1)[:, place]
            found.crowded = (found.scores[:, 0] >= kth - slack) & (found.ids[:, 0] >= 0)
        step = max(1, min(_GATHERED, room // max(1, 4 * dim)) // size)
        for column in range(0, self.keep, step):
            ids = np.maximum(found.ids[:, column : column + step], 0)
            rows = self.vectors[ids.ravel()].reshape(*ids.shape, -1)
            queries = self.queries[first:last]
            _kernels().measure(found.scores, found.ids, rows, self.norms, queries, column, 0, size)
        _kernels().sort(found.scores, found.ids, 0, size)


def _parts(size: int, number: int) -> list[tuple[int, int]]:
    """Return parts of ``[0, size)`` of about the same size, none of them empty."""
    number = max(1, min(number, size))
    return [(size * i // number, size * (i + 1) // number) for i in range(number)]


def _kernels() -> Any:
    module = kernels("cpu", "top_k")
    announce(module.scan)
    return module
