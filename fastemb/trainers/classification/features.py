"""From lines of text to the rows of a classifier's table."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus._lines import have_prefix, join_features, split_lines
from fastemb.corpus._table import WordTable
from fastemb.corpus.lines import Lines
from fastemb.corpus.spool import Output, temporary
from fastemb.corpus.subwords import Subwords, hash_words, word_ngram_rows
from fastemb.corpus.vocabulary import Vocabulary, offsets_of
from fastemb.engine.parallel import ordered_map

__all__ = ["Bags", "Features"]

TOKENS = 1 << 17  # of a range of lines


@dataclass
class Bags:
    """Lines as features and labels.

    Attributes
    ----------
    features : int32 (num_features,)
        Rows of the table; line `i` has ``features[offsets[i]:offsets[i + 1]]``.
    offsets : int64 (num_lines + 1,)
    labels : int32 (num_line_labels,)
        In the same way, the labels.
    label_offsets : int64 (num_lines + 1,)
    """

    features: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int32]
    label_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def used_rows(self, num_rows: int) -> NDArray[np.int64]:
        """Return the rows, of a table of so many, that are a feature of a line; they rise."""
        is_used = np.zeros(num_rows, bool)
        for first in range(0, len(self.features), TOKENS):  # NumPy makes int64 of indices: of these alone
            is_used[self.features[first : first + TOKENS]] = True
        return np.flatnonzero(is_used)


@dataclass(frozen=True, eq=False)
class Features:
    """Which rows of a table a line of text has: those of its words, their subwords, and its word n-grams.

    Parameters
    ----------
    words : Vocabulary
        Word `i` has row `i`.
    subwords : Subwords
        Character n-grams, and the buckets that these and word n-grams share: fastText's.
    word_ngrams : int
        Most words of an n-gram; 1 for none.
    labels : Vocabulary
        Names of the labels.
    label_prefix : str
        What a label begins with in a text, before its name.
    """

    words: Vocabulary
    subwords: Subwords
    word_ngrams: int
    labels: Vocabulary
    label_prefix: str

    def __getstate__(self) -> dict[str, Any]:
        # Tables that make looking up quick are made anew.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return self.subwords.table_rows(len(self.words))

    @cached_property
    def _known(self) -> tuple[WordTable, NDArray[np.int32]]:
        """The words as a table, and which word each of its numbers is; -1 at the end."""
        table = WordTable()
        numbers = table.add_packed(self.words.packed, self.words.offsets)
        places = np.full(len(table) + 1, -1, np.int32)
        places[numbers[::-1]] = np.arange(len(self.words), dtype=np.int32)[::-1]  # of equal words the first one
        return table, places

    @cached_property
    def label_numbers(self) -> dict[bytes, int]:
        """The number of each label's name."""
        return {name: number for number, name in enumerate(self.labels.as_bytes())}

    @cached_property
    def _prefix(self) -> bytes:
        return self.label_prefix.encode("utf-8", "surrogateescape")

    def of_lines(self, lines: Lines, workers: int | None = 1, max_memory: int | None = None) -> Bags:
        """Return the features and the labels of lines; labels that are not known are left out.

        Parameters
        ----------
        lines : Lines
        workers : int, optional
            Threads; default `fastemb.get_num_threads()`.
        max_memory : int, optional
            Bytes: keep more features than fit into them in a temporary file.
        """
        table, known = self._known
        rows = known[table.find_all(lines.table)]
        is_label = have_prefix(lines.words.packed, lines.words.offsets, self._prefix)
        labels = np.full(len(rows), -1, np.int32)
        for number in np.flatnonzero(is_label).tolist():
            name = lines.words.as_bytes(number, number + 1)[0][len(self._prefix) :]
            labels[number] = self.label_numbers.get(name, -1)
        is_plain = self.word_ngrams == 1 and self.subwords.num_rows == 0  # a word is a feature, and there are no others
        numbers = rows if is_plain else np.arange(len(rows), dtype=np.int32)
        places = np.where(is_label, np.where(labels < 0, -1, -2 - labels), numbers).astype(np.int32)
        last_word = int(numbers[lines.end_of_line])
        if is_plain:
            most = int(lines.table.counts().sum())
            return _bags(lines, lambda part: _split(lines, part, places, last_word), most, workers, max_memory)
        word_rows = self._rows_of_words(lines.words, rows, workers)
        hashes = hash_words(lines.words.packed, lines.words.offsets).view(np.int32)

        def join(part: tuple[int, int]) -> Bags:
            line = _split(lines, part, places, last_word)
            ngrams = np.zeros(0, np.int32), np.zeros(0, np.int64)
            if self.word_ngrams > 1:
                ngrams = self._ngrams(hashes[line.features], line.offsets)
            features = join_features(line.features, line.offsets, *word_rows, *ngrams)
            return Bags(*features, line.labels, line.label_offsets)

        counts = lines.table.counts()
        most = int(counts @ np.diff(word_rows[1])) + (self.word_ngrams - 1) * int(counts.sum())
        return _bags(lines, join, most, workers, max_memory)

    def _rows_of_words(
        self, words: Vocabulary, rows: NDArray[np.int32], workers: int | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the rows of different words: its own, where it has one, and those of its subwords."""
        values, offsets = self.subwords.of_words(words, len(self.words), workers)
        has_own = rows >= 0
        ends = offsets + offsets_of(has_own.astype(np.int64))
        own = ends[:-1][has_own]
        joined = np.empty(ends[-1], np.int32)
        is_subword = np.ones(len(joined), bool)
        is_subword[own] = False
        joined[own] = rows[has_own]
        joined[is_subword] = values
        return joined, ends

    def _ngrams(self, hashes: NDArray[np.int32], offsets: NDArray[np.int64]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of word n-grams, -1 for those that a pruned table has no more."""
        if self.subwords.bucket == 0:
            return np.zeros(0, np.int32), np.zeros(0, np.int64)
        first = np.int32(len(self.words))
        values, ends = word_ngram_rows(hashes, offsets, self.word_ngrams, self.subwords.bucket)
        if self.subwords.kept is None:
            values += first
        else:
            values = self._bucket_rows[values]
        return values, ends

    @cached_property
    def _bucket_rows(self) -> NDArray[np.int32]:
        """The row of each bucket of a pruned table, -1 for those that it has no more."""
        kept, kept_rows = self.subwords.kept, self.subwords.kept_rows
        assert kept is not None
        rows = np.full(self.subwords.bucket, -1, np.int32)
        rows[kept] = np.int32(len(self.words)) + (np.arange(len(kept)) if kept_rows is None else kept_rows)
        return rows


def _split(lines: Lines, part: tuple[int, int], places: NDArray[np.int32], last_word: int) -> Bags:
    """Return the words and the labels of a range of lines."""
    start, stop = part
    before = int(lines.ends[start - 1]) if start else 0
    ends = lines.ends[start:stop] - before
    return Bags(*split_lines(lines.numbers[before : before + int(ends[-1])], ends, places, last_word))


def _bags(
    lines: Lines, read: Callable[[tuple[int, int]], Bags], most: int, workers: int | None, max_memory: int | None
) -> Bags:
    """Return what `read` makes of ranges of lines as one, in temporary files if `most` features are more than fit."""
    if max_memory is None and len(lines) > 0 and len(lines.numbers) <= TOKENS:
        return read((0, len(lines)))
    with ExitStack() as files:
        spills = max_memory is not None and most * np.dtype(np.int32).itemsize > max_memory

        def output(dtype: type[np.generic], capacity: int) -> Output:
            return Output(dtype, capacity, files.enter_context(temporary(spills)))

        features, labels = output(np.int32, most), output(np.int32, len(lines))
        offsets, label_offsets = output(np.int64, len(lines) + 1), output(np.int64, len(lines) + 1)
        offsets.append(np.zeros(1, np.int64))
        label_offsets.append(np.zeros(1, np.int64))
        for part in ordered_map(read, _ranges(lines.ends), workers):
            offsets.append(part.offsets[1:] + features.size)
            label_offsets.append(part.label_offsets[1:] + labels.size)
            features.append(part.features)
            labels.append(part.labels)
        return Bags(features.finish(), offsets.finish(), labels.finish(), label_offsets.finish())


def _ranges(ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut lines into ranges of about `TOKENS` words."""
    start = done = 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + TOKENS, side="right")))
        yield start, stop
        start, done = stop, int(ends[stop - 1])
