"""How often the words and phrases of texts occur: counted in parallel over word numbers, merged, kept within bounds."""

import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from fastemb.corpus._pairs import PAIR_COLUMNS, count_words, find_pairs
from fastemb.corpus._spelling import spell
from fastemb.corpus._strings import decode_words
from fastemb.corpus._table import WordTable
from fastemb.corpus._terms import IS_WORD, NUM_SHARDS, TermTable, prepare_words, set_connectors
from fastemb.corpus.reader import Corpus
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.locks import ForkedLock
from fastemb.engine.parallel import get_num_threads, ordered_map

__all__ = ["TermCounts", "connector_table", "encode", "is_word"]

# Words whose phrases are kept in memory before they are counted, 24 bytes each; and those that one thread takes.
_ROUND = 1 << 22
_PIECE = 1 << 15


class TermCounts(Mapping[str, int]):
    """How often words, and phrases of two words, occur; the words of a phrase are joined by a delimiter.

    A phrase may hold connector words between its two words, and they are not counted as words. Terms are told apart by
    their text, whatever words it was joined from.

    Parameters
    ----------
    vocabulary : Vocabulary
        The words, those that do not occur and connectors included.
    delimiter : str
    connectors : collection of str
    table : TermTable
        The counts.
    long_words, long_offsets : int32 and int64 arrays
        The phrases with connectors in them, as word numbers.
    num_words : int
        Words read, connectors included.
    min_reduce : int
        What stays occurs so often at least when terms are dropped the next time.

    Attributes
    ----------
    lock : ForkedLock
        Held while anything changes; to be held by those who read more than one thing.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        delimiter: str,
        connectors: Collection[str],
        table: TermTable,
        long_words: np.ndarray,
        long_offsets: np.ndarray,
        num_words: int = 0,
        min_reduce: int = 1,
    ) -> None:
        self.vocabulary, self.delimiter, self.connectors = vocabulary, delimiter, frozenset(connectors)
        self.table, self.long_words, self.long_offsets = table, long_words, long_offsets
        self.num_words, self.min_reduce = num_words, min_reduce
        self.lock = ForkedLock()

    @classmethod
    def empty(cls, delimiter: str, connectors: Collection[str]) -> "TermCounts":
        """Return the counts of no text."""
        none = np.zeros(0, np.int32), np.zeros(1, np.int64)
        return cls(Vocabulary.from_words([]), delimiter, connectors, TermTable(), *none)

    @classmethod
    def of_terms(
        cls,
        vocabulary: Vocabulary,
        delimiter: str,
        connectors: Collection[str],
        terms: tuple[np.ndarray, np.ndarray],
        long_phrases: tuple[np.ndarray, np.ndarray],
        num_words: int,
        min_reduce: int,
    ) -> "TermCounts":
        """Return counts of terms that are told by their parts (see `TermTable`).

        Parameters
        ----------
        terms : pair of int64 arrays
            The terms' parts and counts.
        long_phrases : pair of arrays
            As `long_words` and `long_offsets`.
        vocabulary, delimiter, connectors, num_words, min_reduce
            As for the class.

        Raises
        ------
        ValueError
            If they do not fit together.
        """
        counts = cls(vocabulary, delimiter, connectors, TermTable(), *long_phrases, num_words, min_reduce)
        counts.table.add_terms(counts.prepared(), *terms, terms[0], *long_phrases)
        return counts

    def __reduce__(self) -> tuple[Any, ...]:
        with self.lock:
            long_phrases = self.long_words, self.long_offsets
            what = self.vocabulary, self.delimiter, self.connectors, self.table.terms(), long_phrases
            return TermCounts.of_terms, (*what, self.num_words, self.min_reduce)

    @classmethod
    def of_corpus(
        cls,
        corpus: Corpus,
        delimiter: str,
        connectors: Collection[str],
        *,
        across: bool = False,
        max_vocab_size: int | None = None,
        workers: int | None = None,
    ) -> "TermCounts":
        """Count the terms of a text.

        Parameters
        ----------
        corpus : Corpus
            With all of its words in the vocabulary.
        delimiter, connectors
            As for the class.
        across : bool
            The last word of a sentence and the first one of the next are a phrase, too.
        max_vocab_size : int, optional
            Whenever a sentence's end finds more terms than this, the rarest are dropped: at first those that occur
            once, at the next time those that occur twice, and so on.
        workers : int, optional
            Threads; the result does not depend on them.
        """
        counts = cls.empty(delimiter, connectors)
        counts.vocabulary = corpus.vocabulary
        counts.num_words = len(corpus.ids)
        counter = _Counter(corpus, counts, across, get_num_threads() if workers is None else workers)
        limit = max_vocab_size or 1 << 62
        for start, stop in _rounds(corpus.offsets, counts, limit):
            counter.count(start, stop)
            counts.prune(limit)
        if len(corpus.ids):
            counts.long_words, counts.long_offsets = counts.table.resolve(corpus.ids, counter.words)
        return counts

    def prune(self, max_size: int) -> None:
        """Drop the rarest terms if there are more than `max_size`."""
        if len(self) <= max_size:
            return
        terms, occurrences = self.table.prune(self.min_reduce)
        self.min_reduce += 1
        if terms:
            warnings.warn(
                f"max_vocab_size={max_size:,} was reached: {terms:,} words and phrases that had occurred fewer than "
                f"{self.min_reduce - 1} times, {occurrences:,} occurrences in all, were dropped from the counts",
                UserWarning,
                stacklevel=2,
            )

    def merge(self, other: "TermCounts", max_vocab_size: int) -> None:
        """Add the counts of another text."""
        with self.lock:
            known = WordTable()
            known.add_packed(self.vocabulary.packed, self.vocabulary.offsets)
            numbers = known.add_packed(other.vocabulary.packed, other.vocabulary.offsets)
            self.vocabulary = Vocabulary(*known.pack(np.arange(len(known))))
            self.table.absorb(other.table, numbers, len(self.long_offsets) - 1)
            self.long_words = np.concatenate([self.long_words, numbers[other.long_words]])
            self.long_offsets = np.concatenate([self.long_offsets, other.long_offsets[1:] + self.long_offsets[-1]])
            self.num_words += other.num_words
            self.min_reduce = max(self.min_reduce, other.min_reduce)
            self.prune(max_vocab_size)

    def prepared(self) -> np.ndarray:
        """Return the vocabulary as prepared words, see `prepare_words`."""
        words = prepare_words(self.vocabulary.packed, self.vocabulary.offsets, encode(self.delimiter))
        set_connectors(words, connector_table(self.connectors, self.delimiter))
        return words

    def spell(self, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the texts of terms, told by their parts (see `TermTable`), as packed UTF-8 and offsets."""
        packed, offsets = self.vocabulary.packed, self.vocabulary.offsets
        return spell(parts, packed, offsets, encode(self.delimiter), self.long_words, self.long_offsets)

    def ends(self, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the first and the last word of phrases."""
        first, last = parts >> 32, parts & 0xFFFFFFFF
        long = np.flatnonzero(parts < 0)
        first[long] = self.long_words[self.long_offsets[~parts[long]]]
        last[long] = self.long_words[self.long_offsets[~parts[long] + 1] - 1]
        return first, last

    def __getitem__(self, term: str) -> int:
        count = self.table.count_of(encode(term))
        if count == 0:
            raise KeyError(term)
        return count

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[str]:
        with self.lock:
            packed, offsets = self.spell(self.table.terms()[0])
        return iter(decode_words(packed, offsets, "surrogateescape"))


class _Counter:
    """Counts parts of a text, each in two steps: threads find the phrases in pieces of it, and then fill shards."""

    def __init__(self, corpus: Corpus, counts: TermCounts, across: bool, workers: int) -> None:
        self.corpus, self.table, self.across, self.workers = corpus, counts.table, across, workers
        self.words = counts.prepared()
        self.pairs = np.empty((min(_ROUND, len(corpus.ids)), PAIR_COLUMNS), np.uint64)
        self.thread = threading.local()

    def count(self, start: int, stop: int) -> None:
        """Count the terms in a part of the text."""
        pieces = [(start + i, min(start + i + _PIECE, stop)) for i in range(0, stop - start, _PIECE)]
        starts = np.empty((len(pieces), NUM_SHARDS + 1), np.int64)
        team = min(self.workers, len(pieces))

        def find(number: int) -> None:
            if not hasattr(self.thread, "scratch"):
                self.thread.scratch = np.empty((_PIECE, PAIR_COLUMNS), np.uint64)
            first, last = pieces[number]
            pairs = self.pairs[first - start : last - start]
            ids, offsets = self.corpus.ids, self.corpus.offsets
            find_pairs(ids, offsets, first, last, self.words, self.across, self.thread.scratch, pairs, starts[number])
            starts[number] += first - start

        def fill(part: int) -> None:
            shards = NUM_SHARDS * part // (4 * team), NUM_SHARDS * (part + 1) // (4 * team)
            self.table.add_pairs(self.pairs, starts, *shards)

        for _ in ordered_map(find, range(len(pieces)), team):
            pass
        for _ in ordered_map(fill, range(4 * team), team):
            pass
        self.table.add_words(self.words, *self._count_words(start, stop))

    def _count_words(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the words in a part of the text, and how often they occur there."""
        if stop - start < len(self.words):
            numbers, counts = np.unique(self.corpus.ids[start:stop], return_counts=True)
            return numbers.astype(np.int64), counts.astype(np.int64)
        counts = np.zeros(len(self.words), np.int64)
        count_words(self.corpus.ids, start, stop, counts)
        numbers = np.flatnonzero(counts)
        return numbers, counts[numbers]


def _rounds(offsets: np.ndarray, counts: TermCounts, limit: int) -> Iterator[tuple[int, int]]:
    """Cut a text into parts, of which only the last sentence can bring the terms to more than `limit`.

    That is as exact as looking after each sentence. A sentence that is longer than a round is cut.
    """
    start, end = 0, int(offsets[-1])
    while start < end:
        # A word brings two terms at most, itself and a phrase.
        room = min(_ROUND, max((limit - len(counts)) // 2, 0))
        stop = int(offsets[np.searchsorted(offsets, start + room, "right") - 1])
        if stop <= start:
            stop = min(int(offsets[np.searchsorted(offsets, start, "right")]), start + _ROUND)
        yield start, stop
        start = stop


def connector_table(connectors: Collection[str], delimiter: str) -> TermTable:
    """Return a table of words."""
    words = Vocabulary.from_words(sorted(connectors))
    table, numbers = TermTable(), np.arange(len(words))
    table.add_words(prepare_words(words.packed, words.offsets, encode(delimiter)), numbers, np.ones_like(numbers))
    return table


def encode(term: str) -> bytes:
    """Return a term's UTF-8, surrogate escapes standing for bytes that are not UTF-8."""
    return term.encode("utf-8", "surrogateescape")


def is_word(parts: np.ndarray) -> np.ndarray:
    """Return which parts stand for a single word."""
    return parts >= IS_WORD
