"""Which words are dropped, and which are drawn as negatives: the tables that the kernels read."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["keep_probabilities", "noise_table", "sigmoid_table"]


def keep_probabilities(counts: NDArray[np.int64], sample: float, total: int | None = None) -> NDArray[np.float32]:
    """Return the probability with which subsampling keeps an occurrence of each word.

    word2vec.c's rule: with f a word's share of all words, ``min(1, (sqrt(f / sample) + 1) * sample / f)``. The paper
    (Mikolov et al. 2013, "Distributed Representations of Words and Phrases", section 2.3) has ``sqrt(sample / f)``.

    Parameters
    ----------
    counts : int64 (num_embeddings,)
        Occurrences of each word, all above 0.
    sample : float
        Share above which words are dropped at times; 0 keeps every word. From 1 on it is a number of words, as in
        gensim, whose threshold is ``int(sample * (3 + sqrt(5)) / 2)`` occurrences.
    total : int, optional
        All words, for the share; default the sum of the counts.

    Returns
    -------
    float32 (num_embeddings,)

    Examples
    --------
    >>> keep_probabilities(np.array([900, 100]), sample=0.1)
    array([0.4444..., 1.        ], dtype=float32)
    """
    if sample == 0:
        return np.ones(len(counts), np.float32)
    if sample >= 1:
        share = counts / int(sample * (3 + math.sqrt(5)) / 2)
    else:
        share = counts / (sample * (counts.sum() if total is None else total))
    return np.minimum(1, (np.sqrt(share) + 1) / share).astype(np.float32)


def noise_table(counts: NDArray[np.int64], exponent: float) -> NDArray[np.uint32]:
    """Return an alias table that draws each word in proportion to ``counts ** exponent``.

    Vose's way to build it ("A linear algorithm for generating random numbers with a given distribution", 1991), in
    float64. ``table[slot]`` holds the share of the slot that is the slot's own, times 2**32, and the word that has the
    rest of it.

    Parameters
    ----------
    counts : int64 (num_embeddings,)
        Occurrences of each word, all above 0.
    exponent : float
        0.75 in word2vec.c; 0 draws all words alike.

    Returns
    -------
    uint32 (num_embeddings, 2)

    Examples
    --------
    >>> noise_table(np.array([3, 1]), exponent=1.0)
    array([[4294967295,          0],
           [2147483648,          0]], dtype=uint32)
    """
    weight = counts.astype(np.float64) ** exponent
    share = weight * (len(weight) / weight.sum())
    threshold = np.full(len(share), 2.0**32 - 1)
    alias = np.arange(len(share))
    shares = share.tolist()
    small = np.flatnonzero(share < 1).tolist()
    large = np.flatnonzero(share >= 1).tolist()
    while small and large:
        slot, word = small.pop(), large[-1]
        threshold[slot] = np.floor(shares[slot] * 2.0**32)
        alias[slot] = word
        shares[word] -= 1 - shares[slot]
        if shares[word] < 1:
            small.append(large.pop())
    return np.stack([threshold, alias], axis=1).astype(np.uint32)


def sigmoid_table(limit: float, size: int) -> NDArray[np.float32]:
    """Return `size` values of the sigmoid in equal steps over ``[-limit, limit)``.

    Returns
    -------
    float32 (size,)

    Examples
    --------
    >>> sigmoid_table(6.0, 4)
    array([0.0024..., 0.0474..., 0.5       , 0.9525...], dtype=float32)
    """
    return (1 / (1 + np.exp(-(2 * np.arange(size) / size - 1) * limit))).astype(np.float32)
