"""What a trained model says of words in a context: probabilities of a word, and of whole sentences."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["centre_probabilities", "sentence_score"]


def centre_probabilities(
    context: NDArray[np.float32], weight_out: NDArray[np.float32], mean: bool = True
) -> NDArray[np.float64]:
    """Return the probability of each word to be the centre of a context: a softmax over all output vectors.

    Parameters
    ----------
    context : float32 (num_context_words, vector_size)
        Input vectors of the words around.
    weight_out : float32 (num_words, vector_size)
    mean : bool
        Average the context's vectors rather than sum them.

    Returns
    -------
    float64 (num_words,)

    Examples
    --------
    >>> centre_probabilities(np.ones((2, 1), np.float32), np.array([[0.0], [np.log(3)]], np.float32)).round(3)
    array([0.25, 0.75])
    """
    hidden = context.sum(axis=0, dtype=np.float64)
    if mean:
        hidden /= len(context)
    logits = (weight_out @ hidden.astype(np.float32)).astype(np.float64)
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def sentence_score(
    words: Sequence[int],
    weight_in: NDArray[np.float32],
    weight_inner: NDArray[np.float32],
    paths: tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64]],
    window: int,
    sg: bool,
    mean: bool,
) -> float:
    """Return the logarithm of a sentence's probability under hierarchical softmax.

    That of every word given the words around it, up to `window` on each side: for skip-gram given each by itself, for
    CBOW given their average or sum (Taddy 2015, "Document Classification by Inversion of Distributed Language
    Representations").

    Parameters
    ----------
    words : sequence of int
        The sentence.
    weight_in : float32 (num_words, vector_size)
    weight_inner : float32 (num_words - 1, vector_size)
    paths : (points, codes, offsets)
        See `fastemb.engine.huffman.HuffmanTree`; label 1 for code 0.
    window : int
    sg, mean : bool

    Examples
    --------
    >>> from fastemb.engine.huffman import huffman_tree
    >>> tables = np.zeros((4, 2), np.float32), np.zeros((3, 2), np.float32)
    >>> round(sentence_score([0, 3], *tables, huffman_tree(np.array([9, 4, 2, 1])), 5, True, True) / np.log(2), 6)
    -4.0
    """
    points, codes, offsets = paths
    total = 0.0
    for centre, context in _windows(words, window):
        path = slice(offsets[centre], offsets[centre + 1])
        hidden = weight_in[context]
        if not sg:
            hidden = (hidden.mean(axis=0) if mean else hidden.sum(axis=0))[None]
        logits = hidden.astype(np.float64) @ weight_inner[points[path]].T.astype(np.float64)
        total -= float(np.logaddexp(0, np.where(codes[path] == 0, -logits, logits)).sum())
    return total


def _windows(words: Sequence[int], window: int) -> Iterator[tuple[int, list[int]]]:
    """Yield each word that has words around it, with these."""
    for place, centre in enumerate(words):
        context = [*words[max(0, place - window) : place], *words[place + 1 : place + 1 + window]]
        if context:
            yield centre, context
