"""The rows of a subword table that make up a word."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus._subword import FLORET_SEED, hash_words, subword_rows, word_ngram_rows
from fastemb.corpus.vocabulary import Vocabulary, offsets_of
from fastemb.engine.parallel import ordered_map
from fastemb.engine.validate import integer

__all__ = ["FLORET_SEED", "MAX_BUCKET", "Subwords", "hash_words", "word_ngram_rows"]

MAX_BUCKET = 2**31 - 1
MAX_HASHES = 4
_WORDS = 1 << 13  # hashed at a time


@dataclass(frozen=True, eq=False)
class Subwords:
    """How words are taken apart, and where their parts lie in a table.

    A word's parts are the n-grams of its characters, framed as ``<word>``, each in one of `bucket` rows by its hash. In
    fastText's tables a row for each word of the vocabulary comes first, and the word itself is a part of it. In
    floret's, whose `hash_count` is not 0, there are buckets only, and ``<word>`` is hashed like an n-gram.

    Parameters
    ----------
    min_n, max_n : int, default 3 and 6
        Characters of an n-gram. With `max_n` 0, or below `min_n`, there are none.
    bucket : int, default 2,000,000
        Rows for n-grams.
    hash_count : int, default 0
        0 for fastText's hash; 1 to 4 for floret's (MurmurHash3), which gives each part so many rows.
    kept : int32 (num_kept,), optional
        The buckets that a pruned table still has, rising. Parts in others are left out.
    kept_rows : int32 (num_kept,), optional
        Which of the table's n-gram rows each of them is; default, the first is row 0, and so on.

    Raises
    ------
    TypeError, ValueError
        If a number is out of bounds.

    Examples
    --------
    >>> words = Vocabulary.from_words(["cat", "at"])
    >>> Subwords(min_n=3, max_n=3, bucket=100).of_vocabulary(words)
    (array([ 0, 49, 33,  8,  1, 76,  8], dtype=int32), array([0, 4, 7]))
    """

    min_n: int = 3
    max_n: int = 6
    bucket: int = 2_000_000
    hash_count: int = 0
    kept: NDArray[np.int32] | None = None
    kept_rows: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        for name in ("min_n", "max_n"):
            integer(name, getattr(self, name), 0, MAX_BUCKET)
        integer("bucket", self.bucket, 0, MAX_BUCKET)
        integer("hash_count", self.hash_count, 0, MAX_HASHES)
        if self.hash_count and not self.bucket:
            raise ValueError("bucket must be at least 1 for floret's hash, got 0")

    def pruned(self, kept: NDArray[np.int32]) -> "Subwords":
        """Return the same for a table that has only the buckets `kept`, which rise."""
        return replace(self, kept=kept)

    @property
    def num_rows(self) -> int:
        """Rows of the table for n-grams."""
        return self.bucket if self.kept is None else len(self.kept)

    @property
    def has_word_rows(self) -> bool:
        """Whether words of the vocabulary have rows of their own."""
        return self.hash_count == 0

    def table_rows(self, num_words: int) -> int:
        """Return the rows of a table for a vocabulary of `num_words` words."""
        return self.num_rows + (num_words if self.has_word_rows else 0)

    def of_vocabulary(
        self, words: Vocabulary, workers: int | None = None, *, num_words: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the rows of each word of the vocabulary, its own first.

        Parameters
        ----------
        words : Vocabulary
            The first words of the table, or all, in order.
        workers : int, optional
            Threads; default `fastemb.get_num_threads()`.
        num_words : int, optional
            Rows for words in the table; default as many as there are words.

        Returns
        -------
        values : int32 (num_values,)
        offsets : int64 (num_words + 1,)
            Word `i` has the rows ``values[offsets[i]:offsets[i + 1]]``.
        """
        return self._rows(words, len(words) if num_words is None else num_words, self.has_word_rows, workers)

    def of_words(
        self, words: Vocabulary, num_words: int, workers: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the rows of words that are not in a vocabulary of `num_words` words; a word may have none.

        Examples
        --------
        >>> Subwords(min_n=3, max_n=3, bucket=100).of_words(Vocabulary.from_words(["cats", ""]), num_words=2)
        (array([49, 33, 23, 40], dtype=int32), array([0, 4, 4]))
        """
        return self._rows(words, num_words, False, workers)

    def of_range(
        self, words: Vocabulary, start: int, stop: int, num_words: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the rows of the vocabulary's words `start` to `stop` (exclusive), as `of_vocabulary` does.

        Examples
        --------
        >>> words = Vocabulary.from_words(["cat", "at"])
        >>> Subwords(min_n=3, max_n=3, bucket=100).of_range(words, 1, 2, num_words=2)
        (array([ 1, 76,  8], dtype=int32), array([0, 3]))
        """
        values, lengths = self._range(words, start, stop, num_words, self.has_word_rows)
        return values, offsets_of(lengths)

    def _rows(
        self, words: Vocabulary, num_words: int, own: bool, workers: int | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        def hash_range(start: int) -> tuple[np.ndarray, np.ndarray]:
            return self._range(words, start, min(start + _WORDS, len(words)), num_words, own)

        starts = range(0, len(words), _WORDS)
        parts = list(ordered_map(hash_range, starts, 1 if len(starts) == 1 else workers))
        if not parts:
            return np.zeros(0, np.int32), np.zeros(1, np.int64)
        values, lengths = zip(*parts, strict=True)
        return np.concatenate(values), offsets_of(np.concatenate(lengths))

    def _range(
        self, words: Vocabulary, start: int, stop: int, num_words: int, own: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the words `start` to `stop`, and how many each has."""
        first = num_words if self.has_word_rows else 0
        integer("bucket", self.bucket, 0, MAX_BUCKET - first)
        how = self.min_n, self.max_n, self.bucket, self.hash_count, first, own
        values, lengths = subword_rows(words.packed, words.offsets, start, stop, *how)
        return (values, lengths) if self.kept is None else self._left(values, lengths, first)

    def _left(self, values: np.ndarray, lengths: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what a pruned table has of some rows, and how many of them there are for each word."""
        assert self.kept is not None
        buckets = values - np.int32(first)
        places = np.searchsorted(self.kept, buckets)
        is_own = buckets < 0
        is_kept = ~is_own & (places < len(self.kept))
        is_kept[is_kept] = self.kept[places[is_kept]] == buckets[is_kept]
        if self.kept_rows is not None:
            places[is_kept] = self.kept_rows[places[is_kept]]
        values = np.where(is_own, values, (places + first).astype(np.int32))
        left = is_kept | is_own
        ends = offsets_of(left.astype(np.int64))[offsets_of(lengths)]
        return values[left], np.diff(ends)
