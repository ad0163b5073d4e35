"""Names that gensim has given up or is giving up: the methods, and where to find what was an attribute."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastemb.vectors.changes import Changes
from fastemb.vectors.query import Key
from fastemb.vectors.similarities import Similarities

GIVEN_UP = {
    "vocab": "key_to_index, and get_vecattr(word, 'count')",
    "index2word": "index_to_key",
    "index2entity": "index_to_key",
    "syn0": "vectors",
    "vectors_norm": "get_normed_vectors()",
    "syn0norm": "get_normed_vectors()",
    "accuracy": "evaluate_word_analogies",
}


class OlderNames(Similarities, Changes):
    """gensim's older names for what `KeyedVectors` has under new ones."""

    def word_vec(self, word: Key, norm: bool = False) -> np.ndarray:
        """Return a word's vector: gensim's older name of `get_vector`."""
        return self.get_vector(word, norm)

    def words_closer_than(self, word1: Key, word2: Key) -> list[str]:
        """Return the words that are nearer to a word than another: gensim's older name of `closer_than`."""
        return self.closer_than(word1, word2)

    def init_sims(self, replace: bool = False) -> None:
        """Do nothing but warn, as gensim does: lengths are computed where they are needed.

        Parameters
        ----------
        replace : bool, default False
            Give all vectors length one, for good.
        """
        warnings.warn(
            "init_sims is deprecated: fill_norms() computes lengths, and replace=True is unit_normalize_all()",
            DeprecationWarning,
            stacklevel=2,
        )
        if replace:
            self.unit_normalize_all()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in GIVEN_UP:
                raise AttributeError(f"{type(self).__name__} has no {name}, as in gensim 4: see {GIVEN_UP[name]}")
            return object.__getattribute__(self, name)  # a property's own error, or Python's
