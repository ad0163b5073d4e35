"""What a model of text holds once it has a vocabulary."""

from collections.abc import Iterable

import numpy as np

from fastemb.engine import validate
from fastemb.trainers.estimator import Estimator
from fastemb.trainers.moved import Moved
from fastemb.trainers.state import State
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["TextModel"]


class TextModel(Moved, Estimator):
    """A model with a state: none before it has a vocabulary."""

    _state: State | None = None

    @property
    def wv(self) -> KeyedVectors:
        """The words and their vectors; they change as the model is trained."""
        return self._trained.wv

    @property
    def corpus_count(self) -> int:
        """Sentences of the text from which the vocabulary was built, or updated last."""
        return self._trained.num_sentences

    @property
    def corpus_total_words(self) -> int:
        """Words of that text, those left out included."""
        return self._trained.num_words

    def freeze(self, words: Iterable[str], factor: float = 0.0) -> None:
        """Keep the vectors of some words as they are while others are trained.

        Of `FastText` these are their own rows: n-grams belong to many words, and are trained on.

        Parameters
        ----------
        words : iterable of str
        factor : float, default 0.0
            On the learning rate of these words' vectors: 0 keeps them bit for bit, 1 trains them as usual.

        Raises
        ------
        KeyError
            If a word is not in the vocabulary.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> model = Word2Vec(vector_size=8, min_count=1)
        >>> model.build_vocab([["a", "b"]])
        >>> model.freeze(["b"])
        >>> model.wv.vectors_lockf
        array([1., 0.], dtype=float32)
        """
        if isinstance(words, str):
            raise TypeError(f"words must be a list of words, got {words!r:.80}")
        rows = np.array([self.wv.get_index(word) for word in words], np.int64)
        self._trained.set_rates(rows, validate.real("factor", factor, 0))

    @property
    def _trained(self) -> State:
        if self._state is None:
            raise RuntimeError("the model has no vocabulary yet: call fit, or build_vocab and train, first")
        return self._state
