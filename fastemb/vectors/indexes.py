"""Indexes of other libraries for approximate search: the rows of a table, at length one, under their numbers."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from fastemb.engine.parallel import get_num_threads
from fastemb.engine.validate import integer

_ROWS = 1 << 14


def to_usearch(vectors: Any, norms: np.ndarray, **options: Any) -> Any:
    """Return a usearch index (``pip install 'fastemb[usearch]'``): a graph whose keys are rows.

    Parameters
    ----------
    vectors : float32 array or CompactVectors of shape (num_words, vector_size)
    norms : float32 array of shape (num_words,)
        The rows' lengths; rows whose length is not finite are left out.
    **options
        For ``usearch.index.Index``: such as `connectivity`, `expansion_add`, `expansion_search`, `dtype` ("f32" by
        default; "i8", "f16" make it smaller), `multi`. The metric is the cosine's.

    Returns
    -------
    usearch.index.Index
        ``search(vector, k)`` gives rows as ``keys``, and one minus cosines as ``distances``.

    Raises
    ------
    ImportError
        If usearch is not installed.

    Examples
    --------
    >>> index = to_usearch(np.eye(3, dtype=np.float32), np.ones(3, np.float32))  # doctest: +SKIP
    >>> index.search(np.array([1, 0.5, 0], np.float32), 1).keys  # doctest: +SKIP
    array([0], dtype=uint64)
    """
    with suppress(ImportError):  # faiss ends the process if it is loaded after usearch, whose C++ library it then takes
        import_module("faiss")
    index = _required("usearch.index", "usearch").Index(
        ndim=vectors.shape[1], metric="cos", **{"dtype": "f32", **options}
    )
    for rows, block in _units(vectors, norms):
        index.add(rows.astype(np.uint64), block, threads=get_num_threads())
    return index


def to_faiss(vectors: Any, norms: np.ndarray, factory: str = "HNSW32") -> Any:
    """Return a faiss index (``pip install 'fastemb[faiss]'``) of inner products, which are cosines here.

    Parameters
    ----------
    vectors, norms
        As in `to_usearch`. A row whose length is not finite is in the index as zeros, so that numbers are rows.
    factory : str, default "HNSW32"
        What faiss's ``index_factory`` takes: "Flat" is exact, "IVF1024,PQ32" small. What has to be trained is trained
        on the table.

    Returns
    -------
    faiss.Index
        ``search(unit vectors, k)`` gives cosines and rows.

    Raises
    ------
    ImportError
        If faiss is not installed.
    RuntimeError
        faiss's own, if it does not know the factory.

    Examples
    --------
    >>> index = to_faiss(np.eye(3, dtype=np.float32), np.ones(3, np.float32), "Flat")  # doctest: +SKIP
    >>> index.search(np.array([[0.8, 0.6, 0]], np.float32), 1)  # doctest: +SKIP
    (array([[0.8]], dtype=float32), array([[0]]))
    """
    faiss = _required("faiss", "faiss")
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(np.concatenate([block for _, block in _units(vectors, norms)]))
    for _, block in _units(vectors, norms, holes=True):
        index.add(block)
    return index


def to_annoy(vectors: Any, norms: np.ndarray, num_trees: int = 20, seed: int = 1) -> Any:
    """Return an Annoy index (``pip install 'fastemb[annoy]'``) by angle: trees that can be mapped from a file.

    Parameters
    ----------
    vectors, norms
        As in `to_usearch`.
    num_trees : int, default 20
        More are larger and more exact.
    seed : int, default 1

    Returns
    -------
    annoy.AnnoyIndex
        ``get_nns_by_vector(vector, k)`` gives rows.

    Raises
    ------
    ImportError
        If annoy is not installed.

    Examples
    --------
    >>> index = to_annoy(np.eye(3, dtype=np.float32), np.ones(3, np.float32))  # doctest: +SKIP
    >>> index.get_nns_by_vector([1, 0.5, 0], 1)  # doctest: +SKIP
    [0]
    """
    index = _required("annoy", "annoy").AnnoyIndex(vectors.shape[1], "angular")
    index.set_seed(integer("seed", seed, 0))
    for rows, block in _units(vectors, norms):
        for row, vector in zip(rows.tolist(), block, strict=True):
            index.add_item(row, vector)
    index.build(integer("num_trees", num_trees, 1), n_jobs=get_num_threads())
    return index


def _required(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"to_{extra} needs {extra}: pip install 'fastemb[{extra}]'") from error


def _units(vectors: Any, norms: np.ndarray, holes: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of rows and of vectors of length one; those that are not finite are left out, or are zeros."""
    for start in range(0, len(vectors), _ROWS):
        lengths = norms[start : start + _ROWS]
        finite = np.isfinite(lengths)
        with np.errstate(invalid="ignore"):
            block = vectors[start : start + _ROWS] / np.where(lengths == 0, np.float32(1), lengths)[:, None]
        if holes:
            block[~finite] = 0
            yield np.arange(start, start + len(block)), block
        else:
            yield start + np.flatnonzero(finite), block[finite]
