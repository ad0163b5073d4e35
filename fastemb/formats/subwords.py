"""Words whose vectors are means of rows, so that words that nobody has seen have vectors too."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.means import Rows, mean_rows
from fastemb.engine.parallel import ordered_map
from fastemb.formats.fasttext_file import Arguments
from fastemb.formats.file_rows import FileRows
from fastemb.formats.table import Table

__all__ = ["Origin", "SubwordTable"]

_WORDS = 1 << 11  # whose parts are looked for at a time


@dataclass(frozen=True)
class Origin:
    """What a fastText model's file holds beside words and input vectors, to be written again.

    Parameters
    ----------
    arguments : Arguments
    num_tokens : int
        Words read in training.
    output : array (num_words, dim), optional
    """

    arguments: Arguments
    num_tokens: int
    output: Any = None


class SubwordTable(Table):
    """Words, and a table of rows for them and for their n-grams.

    Parameters
    ----------
    vocabulary : Vocabulary
    rows : float32 array of shape (num_rows, dim), FileRows, CompactVectors or ProductRows
        A row for each word, as far as `num_word_rows` says, then the buckets of the n-grams.
    subwords : Subwords
        How words are taken apart.
    vectors : float32 array of shape (num_words, dim), or CompactVectors, optional
        The words' vectors; by default the means of their rows, which are computed when they are first asked for.
    num_word_rows : int, optional
        Rows for words: as many as the vocabulary has, by default; more where only its first words were read; 0 where
        their vectors are given and their rows were left out.
    spelling : Vocabulary, optional
        The words as they are hashed, if their bytes are not those of `vocabulary`.
    metadata : dict of str to str, optional
    attributes : dict of str to array, optional
    origin : Origin, optional

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        rows: Rows,
        subwords: Subwords,
        *,
        vectors: Any = None,
        num_word_rows: int | None = None,
        spelling: Vocabulary | None = None,
        metadata: dict[str, str] | None = None,
        attributes: dict[str, np.ndarray] | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.rows = rows
        self.subwords = subwords
        self.num_word_rows = self._word_rows(num_word_rows)
        self.spelling = vocabulary if spelling is None else spelling
        self.metadata = dict(metadata or {})
        self.attributes = dict(attributes or {})
        self.origin = origin
        if len(rows) != self.num_word_rows + subwords.num_rows:
            raise ValueError(
                f"rows must be {self.num_word_rows} for words and {subwords.num_rows} for n-grams, got {len(rows)}"
            )
        self._vectors = vectors
        if vectors is not None and vectors.shape != (len(vocabulary), self.vector_size):
            raise ValueError(f"vectors must have shape {(len(vocabulary), self.vector_size)}, got {vectors.shape}")
        if vectors is None and not self.num_word_rows and subwords.has_word_rows and len(vocabulary):
            raise ValueError("vectors must be given where the words' rows are not")

    def _word_rows(self, told: int | None) -> int:
        if not self.subwords.has_word_rows:
            return 0
        if told is not None and 0 < told < len(self.vocabulary):
            raise ValueError(f"num_word_rows must be 0 or at least {len(self.vocabulary)}, got {told}")
        return len(self.vocabulary) if told is None else told

    @property
    def vector_size(self) -> int:
        """Numbers in a vector."""
        return int(self.rows.shape[1])

    @property
    def vectors(self) -> Any:
        """The vectors of the vocabulary's words, (num_words, dim); computed once."""
        if self._vectors is None:
            if isinstance(self.rows, FileRows):
                self.rows.will_need()
            self._vectors = self._means()
        return self._vectors

    @vectors.setter
    def vectors(self, values: Any) -> None:
        self._vectors = values

    def refresh(self) -> None:
        """Forget the computed vectors, after a change of the rows."""
        if self.num_word_rows or not self.subwords.has_word_rows:
            self._vectors = None

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that each word of the vocabulary is the mean of, as values and offsets."""
        return self.subwords.of_vocabulary(self.spelling, num_words=self.num_word_rows)

    def vector_at(self, row: int) -> np.ndarray:
        """Return the vector of one word of the vocabulary, float32 (dim,), without computing the others'."""
        if self._vectors is not None:
            return self._vectors[row]
        return mean_rows(self.rows, *self.subwords.of_range(self.spelling, row, row + 1, self.num_word_rows))[0]

    def _means(self) -> np.ndarray:
        """Return the words' vectors; no more than a few blocks of words have their parts in memory at a time."""
        out = np.empty((len(self.spelling), self.vector_size), np.float32)

        def fill(start: int) -> None:
            stop = min(start + _WORDS, len(out))
            parts = self.subwords.of_range(self.spelling, start, stop, self.num_word_rows)
            mean_rows(self.rows, *parts, workers=1, out=out[start:stop])

        for _ in ordered_map(fill, range(0, len(out), _WORDS), 1 if len(out) <= _WORDS else None):
            pass
        return out

    def vectors_of(self, words: Vocabulary) -> np.ndarray:
        """Return the vectors of words that are not in the vocabulary, float32 (num_words, dim); zeros without n-grams.

        Examples
        --------
        >>> rows = np.array([[0, 0], [1, 0], [0, 2]], np.float32)
        >>> table = SubwordTable(Vocabulary.from_words(["a"]), rows, Subwords(3, 3, bucket=2))
        >>> table.vectors_of(Vocabulary.from_words(["abc", ""]))
        array([[0.6666667, 0.6666667],
               [0.       , 0.       ]], dtype=float32)
        """
        return mean_rows(self.rows, *self.subwords.of_words(words, self.num_word_rows))
