"""What a trained model says of words in a context: probabilities of a word, and of whole sentences."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import validate
from fastemb.engine.huffman import HuffmanTree
from fastemb.trainers.training import Training
from fastemb.vectors.query import Key

__all__ = ["Prediction", "centre_probabilities", "sentence_score"]


class Prediction(Training):
    """What a trained model tells of contexts and sentences."""

    def predict_output_word(self, context_words_list: Sequence[Key], topn: int = 10) -> list[tuple[str, float]] | None:
        """Return the words that are most likely in the middle of some words, as CBOW sees it, and their probabilities.

        Parameters
        ----------
        context_words_list : list of str or int
            Words, or their numbers; unknown ones are left out.
        topn : int, default 10

        Returns
        -------
        list of (str, float), or None
            None if all words are unknown, as in gensim.

        Raises
        ------
        RuntimeError
            If the model was not trained by negative sampling.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> model = Word2Vec([["a", "b", "c"]] * 100, vector_size=8, min_count=1, sample=0)
        >>> len(model.predict_output_word(["a", "c"], topn=2))
        2
        """
        weight_out = self._trained.weight_out
        if weight_out is None:
            raise RuntimeError("predict_output_word needs negative sampling: train with negative > 0")
        rows = [self.wv.get_index(word) for word in context_words_list if word in self.wv]
        if not rows:
            return None
        size = self._trained.vector_size
        shares = centre_probabilities(self.wv.vectors[rows], weight_out[:, :size], bool(self.cbow_mean))
        best = np.argsort(-shares, kind="stable")[: validate.integer("topn", topn, 0)]
        words = self.wv.index_to_key
        return [(words[row], float(shares[row])) for row in best.tolist()]

    def score(self, sentences: Iterable[Sequence[str]], total_sentences: int | None = None) -> NDArray[np.float32]:
        """Return the logarithm of the probability of each of some sentences, for a model of hierarchical softmax alone.

        Unknown words are left out, and windows are not shrunk; see `sentence_score`. gensim's scores are about 2 % off:
        its table of logarithms is read some places too low, and logits beyond 6 are left out.

        Parameters
        ----------
        sentences : iterable of list of str
        total_sentences : int, optional
            Score the first this many only.

        Returns
        -------
        float32 (num_sentences,)

        Raises
        ------
        RuntimeError
            If the model was not trained by hierarchical softmax.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> model = Word2Vec([["a", "b", "c"]] * 100, vector_size=8, min_count=1, sample=0, sg=1, hs=1, negative=0)
        >>> bool(np.diff(model.score([["a", "b"], ["c", "a", "b", "a"]]))[0] < 0)
        True
        """
        state = self._trained
        if not self.hs or state.weight_inner is None:
            raise RuntimeError("score needs hierarchical softmax: train with hs=1 and negative=0")
        tables = self.wv.vectors, state.weight_inner[:, : state.vector_size]
        known = self.wv.key_to_index
        numbers = (
            [known[word] for word in sentence if word in known] for sentence in islice(sentences, total_sentences)
        )
        how = self._paths(), self.window, bool(self.sg), bool(self.cbow_mean)
        return np.array([sentence_score(words, tables, *how) for words in numbers], np.float32)


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
    tables: tuple[NDArray[np.float32], NDArray[np.float32]],
    paths: HuffmanTree,
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
    tables : (float32 (num_words, vector_size), float32 (num_words - 1, vector_size))
        Vectors of the words and of the tree's inner nodes.
    paths : HuffmanTree
        Label 1 for code 0.
    window : int
    sg, mean : bool

    Examples
    --------
    >>> from fastemb.engine.huffman import huffman_tree
    >>> tables = np.zeros((4, 2), np.float32), np.zeros((3, 2), np.float32)
    >>> score = sentence_score([0, 3], tables, huffman_tree(np.array([9, 4, 2, 1])), 5, True, True)
    >>> round(float(score / np.log(2)), 6)
    -4.0
    """
    points, codes, offsets = paths
    weight_in, weight_inner = tables
    total = 0.0
    for place, centre in enumerate(words):
        context = [*words[max(0, place - window) : place], *words[place + 1 : place + 1 + window]]
        path = slice(offsets[centre], offsets[centre + 1])
        hidden = weight_in[np.array(context, np.int64)].astype(np.float64)
        if not sg:  # without any context it is zero
            hidden = hidden.sum(axis=0, keepdims=True) / (max(1, len(context)) if mean else 1)
        logits = hidden @ weight_inner[points[path]].T.astype(np.float64)
        total -= float(np.logaddexp(0, np.where(codes[path] == 0, -logits, logits)).sum())
    return total
