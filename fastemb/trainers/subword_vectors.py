"""A model's own vectors with n-grams, and what they take over from other vectors with n-grams."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastemb.formats.file_rows import FileRows
from fastemb.formats.subwords import SubwordTable
from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors
from fastemb.vectors.keyed_vectors import KeyedVectors

if TYPE_CHECKING:
    from fastemb.trainers.subword_state import SubwordState

__all__ = ["ModelSubwordVectors", "rows_alike"]


class ModelSubwordVectors(FastTextKeyedVectors):
    """The input vectors of a model with n-grams: `FastTextKeyedVectors` that change when the model is trained.

    A copy or a pickle of them is of the plain kind.

    Attributes
    ----------
    vectors_lockf : float32 (num_words,), or (1,) for one that all words share
        Factors on the learning rate of the words' own rows; those of n-grams are trained for all words together.

    Examples
    --------
    >>> from fastemb import FastText
    >>> model = FastText(vector_size=8, min_count=1, bucket=100, sorted_vocab=0)
    >>> model.build_vocab([["a", "the", "the"]])
    >>> before = model.wv["the"].copy()
    >>> model.wv.sort_by_descending_frequency()
    >>> model.wv.index_to_key, bool((model.wv["the"] == before).all())
    (['the', 'a'], True)
    """

    def __init__(self, state: "SubwordState") -> None:
        super().__init__(state.table())
        self._state = state

    def renew(self) -> None:
        """Take on the model's words and rows after a change of them."""
        FastTextKeyedVectors.__init__(self, self._state.table())

    @property
    def vectors_lockf(self) -> NDArray[np.float32]:
        """Factors on the learning rate of the words' own rows."""
        return self._state.lockf

    @vectors_lockf.setter
    def vectors_lockf(self, factors: Any) -> None:
        self._state.lockf = factors

    def sort_by_descending_frequency(self) -> None:
        """Put the most frequent words first, in all tables of the model; words of one count keep their order."""
        self._state.reorder(np.argsort(-self._state.counts, kind="stable"))

    def _append(self, names: list[str]) -> np.ndarray:
        if names:
            raise TypeError(
                f"{names[0]!r:.80} cannot be added to a model's vectors: build_vocab(..., update=True) adds words"
            )
        return np.empty(0, np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return FastTextKeyedVectors, (self._as_table(),)


def rows_alike(vectors: KeyedVectors, state: "SubwordState") -> SubwordTable | None:
    """Return the rows of other vectors, if a model can take over those of n-grams, too: its own would be the same ones.

    That is where both hash the same n-grams into as many buckets, and the others were neither pruned nor quantized.
    """
    if not isinstance(vectors, FastTextKeyedVectors):
        return None
    table = vectors._as_table()
    theirs, ours = table.subwords, state.subwords
    same = all(getattr(theirs, name) == getattr(ours, name) for name in ("min_n", "max_n", "bucket", "hash_count"))
    whole = theirs.kept is None and isinstance(table.rows, np.ndarray | FileRows)
    has_words = not theirs.has_word_rows or table.num_word_rows >= len(table.vocabulary)
    return table if same and whole and has_words else None
