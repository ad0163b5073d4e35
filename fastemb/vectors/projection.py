"""Places in the plane for a map of words: t-SNE, PCA or UMAP."""

import warnings

import numpy as np

from fastemb.engine.validate import choice
from fastemb.vectors.layout import tsne
from fastemb.vectors.search import units

METHODS = ("tsne", "pca", "umap")
MAX_TSNE = 2000


def project(vectors: np.ndarray, method: str) -> np.ndarray:
    """Return places in the plane where vectors with a small angle are near each other.

    Parameters
    ----------
    vectors : float array of shape (num_points, vector_size)
    method : {"tsne", "pca", "umap"}
        t-SNE keeps neighbours together, takes time that grows with the square of the number of points, and is made for
        up to 2000. PCA keeps large distances and is quick. UMAP keeps neighbours, and needs umap-learn.

    Returns
    -------
    float64 array of shape (num_points, 2)
        The same for the same vectors every time.

    Raises
    ------
    ValueError
        If there is no such method, or there are too many points for it.
    ImportError
        If umap-learn is not installed.

    Examples
    --------
    >>> project(np.array([[2.0, 0], [0, 1], [0, -3]]), "pca").round(3).tolist()
    [[0.0, 0.667], [1.0, -0.333], [-1.0, -0.333]]
    """
    choice("method", method, METHODS)
    if method == "pca":
        return pca(units(np.asarray(vectors, np.float64)))
    if method == "umap":
        return _umap(np.asarray(vectors, np.float32))
    if len(vectors) > MAX_TSNE:
        raise ValueError(f"t-SNE places up to {MAX_TSNE} words, got {len(vectors)}; PCA and UMAP place more")
    return tsne(vectors)


def pca(rows: np.ndarray) -> np.ndarray:
    """Return the first two principal components of rows, with signs that do not depend on LAPACK."""
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    places = np.zeros((len(rows), 2))
    places[:, : min(2, rows.shape[1])] = centred @ axes[:, :-3:-1]
    return places * np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1, 1)


def _umap(vectors: np.ndarray) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError("the method 'umap' needs umap-learn: pip install 'fastemb[umap]'") from error
    if len(vectors) < 5:  # too few for a graph
        return tsne(vectors)
    model = UMAP(n_neighbors=min(15, len(vectors) - 1), metric="cosine", random_state=0, n_jobs=1, init="pca")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.fit_transform(vectors), np.float64)
