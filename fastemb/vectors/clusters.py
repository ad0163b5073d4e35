"""Groups of words with vectors of about one direction."""

import warnings
from typing import NamedTuple

import numpy as np

from fastemb.vectors.search import units

__all__ = ["Clusters", "clusters"]


class Clusters(NamedTuple):
    """Groups of words.

    Attributes
    ----------
    labels : int64 array of shape (num_words,)
        The group of each word; larger groups come first.
    central : list of list of int
        For each group its words, the one nearest to the centre first.
    """

    labels: np.ndarray
    central: list[list[int]]


def clusters(vectors: np.ndarray, number: int, *, starts: int = 5, rounds: int = 50) -> Clusters:
    """Return groups of rows by k-means of their directions, at most `number`.

    Parameters
    ----------
    vectors : float array of shape (num_words, vector_size)
    number : int
    starts : int, default 5
        Times that centres are drawn; the closest groups are kept.
    rounds : int, default 50
        Times that centres are moved.

    Examples
    --------
    >>> clusters(np.array([[1.0, 0], [9, 1], [0, 1], [1, 9], [2, 9]]), 2)
    Clusters(labels=array([1, 1, 0, 0, 0]), central=[[3, 4, 2], [0, 1]])
    """
    from scipy.cluster.vq import kmeans2

    rows = units(vectors)
    rng, best, found = np.random.default_rng(0), np.inf, np.zeros(len(rows), np.int64)
    for _ in range(starts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty groups, which are left out
            centres, labels = kmeans2(rows, _first_centres(rows, number, rng), iter=rounds, minit="matrix")
        spread = float(np.square(rows - centres[labels]).sum(dtype=np.float64))
        if spread < best:
            best, found = spread, labels
    names, labels = np.unique(found, return_inverse=True)
    members = [np.flatnonzero(labels == group) for group in range(len(names))]
    members.sort(key=lambda group: (-len(group), group[0]))
    central, final = [], np.empty(len(rows), np.int64)
    for group, numbers in enumerate(members):
        final[numbers] = group
        nearness = rows[numbers] @ rows[numbers].mean(axis=0)
        central.append(numbers[np.argsort(-nearness, kind="stable")].tolist())
    return Clusters(final, central)


def _first_centres(rows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return different rows, each drawn by its squared distance from those before it (k-means++)."""
    chosen = [int(rng.integers(len(rows)))]
    distances = _distances(rows, chosen[0])
    while len(chosen) < number and distances.max() > 1e-12:
        chosen.append(int(rng.choice(len(rows), p=distances / distances.sum())))
        distances = np.minimum(distances, _distances(rows, chosen[-1]))
    return rows[chosen]


def _distances(rows: np.ndarray, row: int) -> np.ndarray:
    """Return the squared distance of each row from one of them, float64."""
    return np.square(rows - rows[row]).sum(axis=1, dtype=np.float64)
