"""Read text once, in parallel, into word numbers."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from fastemb.corpus._ids import cut_sentences, remap
from fastemb.corpus._pairs import count_words
from fastemb.corpus._scan import Scanner
from fastemb.corpus._table import WordTable
from fastemb.corpus.columns import column_feed, is_column
from fastemb.corpus.feeds import Feed, Scanned, TextFeed, TokenFeed
from fastemb.corpus.merge import all_words, extend_vocabulary, find_words, merge_tables, rank_words
from fastemb.corpus.phrased import PhraseJoiner, joiners_of
from fastemb.corpus.pruning import Pruner
from fastemb.corpus.selection import Selection, TrimRule
from fastemb.corpus.sentences import FileSentences, SentenceCutter
from fastemb.corpus.sources import BLOCK_BYTES
from fastemb.corpus.spool import Output, Spool, parse_size, temporary
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.parallel import get_num_threads, ordered_map
from fastemb.engine.validate import choice, integer

__all__ = ["Corpus", "parse_size", "read_corpus"]

ERRORS = ("strict", "replace", "ignore", "surrogateescape", "backslashreplace")
Source = str | os.PathLike[str] | Iterable[Sequence[str]]
ProgressFunction = Callable[[int, float | None], None]
WHOLE = 2**62
"""A `max_sentence_length` that cuts no sentence."""
_PROGRESS_SECONDS = 0.2
_PIECE_SENTENCES = 1 << 13


@dataclass
class Corpus:
    """A text as word numbers; a context manager.

    Attributes
    ----------
    ids : int32 array of shape (num_ids,)
        Each word's number in the vocabulary; words that are not in it are left out. In memory, or a memory
        map of a temporary file where `read_corpus` was given a `max_memory` that they exceed.
    offsets : int64 array of shape (num_sentences + 1,)
        Sentence `i` is ``ids[offsets[i]:offsets[i + 1]]``; none is empty.
    vocabulary : Vocabulary
        The words.
    num_words : int
        Words read, those left out included.
    num_sentences_read : int
        Lines or lists read, empty ones included.
    raw_vocabulary : Vocabulary or None
        All words with their counts, in the order of their first occurrences, if `read_corpus` was asked to keep them.
    num_words_pruned, pruning_threshold : int
        Occurrences of words that were dropped while counting, because there were more than `max_vocab_size` words, and
        what each such word had occurred less often than.
    """

    ids: np.ndarray
    offsets: np.ndarray
    vocabulary: Vocabulary
    num_words: int
    num_sentences_read: int
    raw_vocabulary: Vocabulary | None = None
    num_words_pruned: int = 0
    pruning_threshold: int = 0

    def close(self) -> None:
        """Drop `ids` and `offsets`, and with them the temporary file if there is one."""
        self.ids = np.empty(0, np.int32)
        self.offsets = np.zeros(1, np.int64)

    def __enter__(self) -> "Corpus":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_corpus(
    source: Source,
    *,
    vocabulary: Vocabulary | None = None,
    min_count: int = 5,
    max_final_vocab: int | None = None,
    max_vocab_size: int | None = None,
    trim_rule: TrimRule | None = None,
    sorted_vocab: bool = True,
    extend: bool = False,
    keep_raw: bool = False,
    lowercase: bool = False,
    max_sentence_length: int = 1000,
    phrases: PhraseJoiner | Iterable[PhraseJoiner] | None = None,
    errors: str = "strict",
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: ProgressFunction | None = None,
    _block_bytes: int = BLOCK_BYTES,
) -> Corpus:
    r"""Read text once and return it as word numbers, with the vocabulary.

    Words are what ``str.split()`` makes of a line, and ``\n`` ends a line. The result does not depend on `workers`.

    Parameters
    ----------
    source
        A path (a text file, a .gz, .bz2, .xz or .zst of one, or a folder of such files, read in the order of their
        paths), ``"-"`` for standard input, or an iterable of token lists. Each line or list is a sentence. Tokens of
        lists are taken as they are, spaces included; empty ones are left out. Or a column of texts or of token lists:
        an Arrow array, a pandas or polars Series, or anything else with Arrow's C interface (needs pyarrow).
    vocabulary
        Encode with this vocabulary, leaving out other words, rather than count a new one.
    min_count, max_final_vocab, trim_rule, sorted_vocab
        Which words make the vocabulary, and in which order: see `fastemb.corpus.selection.Selection`.
    max_vocab_size
        Hold at most about this many different words while reading: when there are more, drop as many of the rarest as
        leave half of the room, with what they have occurred until then. The check comes after each megabyte of text,
        and one thread reads. Words of `vocabulary` are not dropped.
    extend
        Add the words that are selected by the counts of this text to `vocabulary`, after its own, and this text's
        counts to its counts.
    keep_raw
        Keep all words and their counts.
    lowercase
        Lower words as ``str.lower`` does.
    max_sentence_length
        Cut longer sentences into sentences of this many words (words left out do not count).
    phrases
        `Phrases` or `FrozenPhrases`, or several that are applied in turn: join the phrases of the text first, as word
        numbers. The result is that of reading the joined text. Needs all words of the text, so that `max_vocab_size`
        is refused.
    errors
        What to do with bytes that are not UTF-8: "strict" raises; "replace", "ignore", "surrogateescape" and
        "backslashreplace" do what they do in ``bytes.decode``.
    max_memory
        Bytes, or text such as "1G": keep the word numbers in a temporary file if they are larger.
    workers
        Threads, by default the cores that this process may use.
    progress
        Called a few times a second, and at the end, with the words read so far and the fraction of the source read
        (None where that is unknown).

    Raises
    ------
    OSError
        If a file cannot be read, or the disk is full.
    TypeError
        If the source holds something else than lists of str.
    ValueError
        If there are no words, or bytes are not UTF-8, or an argument is out of bounds.

    Examples
    --------
    >>> corpus = read_corpus([["the", "cat", "and", "the", "dog"], ["the", "end"]], min_count=1)
    >>> corpus.vocabulary.words
    ['the', 'cat', 'and', 'dog', 'end']
    >>> corpus.ids, corpus.offsets
    (array([0, 1, 2, 0, 3, 0, 4], dtype=int32), array([0, 5, 7]))
    """
    selection = Selection(min_count, max_final_vocab, trim_rule, sorted_vocab)
    if max_vocab_size is not None:
        integer("max_vocab_size", max_vocab_size, 1)
    integer("max_sentence_length", max_sentence_length, 1, 2**63 - 1)
    choice("errors", errors, ERRORS)
    workers = integer("workers", get_num_threads() if workers is None else workers, 1, 1024)
    budget = None if max_memory is None else parse_size(max_memory, "max_memory")
    if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
        raise TypeError(f"vocabulary must be a Vocabulary, got {vocabulary!r}")
    source, joiners = joiners_of(source, phrases)
    if joiners:
        if max_vocab_size is not None:
            raise ValueError("max_vocab_size cannot be used with phrases, which are joined before words are counted")
        reading: dict[str, Any] = {
            "lowercase": lowercase,
            "errors": errors,
            "max_memory": max_memory,
            "workers": workers,
        }
        text = read_corpus(source, min_count=1, max_sentence_length=WHOLE, progress=progress, **reading)
        with join_all(text, joiners, budget, workers) as text:
            return _read_again(text, vocabulary, selection, extend, keep_raw, max_sentence_length, budget, workers)
    feed = _open(source, bool(lowercase), errors, _block_bytes)
    pruner = None
    if max_vocab_size is not None:
        pruner = Pruner(max_vocab_size, selection, vocabulary, strict=feed.strict, lowercase=bool(lowercase))
    with closing(Spool(budget)) as spool:
        tally = scan(feed, spool, workers, progress, pruner)
        if tally.num_words == 0:
            raise ValueError(feed.describe_empty())
        tables = [scanner.table for scanner in tally.scanners] if pruner is None else [pruner.scanner.table]
        table, numbers = merge_tables(tables, bool(lowercase), errors, workers)
        if len(table) == 0:
            raise ValueError(_nothing_left(tally, errors, pruner))
        raw = all_words(table) if keep_raw else None
        vocabulary, places = _settle(table, vocabulary, selection, extend)
        # The last entry is for words of which nothing is left, whose number is -1.
        places = np.append(places, np.int32(-1))
        # The tables can be large, and are not needed any more.
        del table, tables
        tally.scanners.clear()
        final = [places[old] for old in numbers]
        number = final.__getitem__ if pruner is None else lambda generation: pruner.numbers(generation, final[0])
        ids, offsets = _encode(spool, tally, number, max_sentence_length, workers)
    lost = (0, 0) if pruner is None else (pruner.num_lost, pruner.threshold)
    return Corpus(ids, offsets, vocabulary, tally.num_words, tally.num_sentences, raw, *lost)


def join_all(
    corpus: Corpus, joiners: Iterable[PhraseJoiner], max_memory: int | str | None, workers: int | None
) -> Corpus:
    """Return a text, which is used up, with its phrases joined by each of the joiners in turn."""
    budget = None if max_memory is None else parse_size(max_memory, "max_memory")
    for joiner in joiners:
        with corpus as text:
            corpus = joiner.join(text, max_memory=budget, workers=workers)
    return corpus


def _read_again(
    corpus: Corpus,
    vocabulary: Vocabulary | None,
    selection: Selection,
    extend: bool,
    keep_raw: bool,
    max_sentence_length: int,
    budget: int | None,
    workers: int,
) -> Corpus:
    """Return a text of word numbers as if it had been read with these arguments."""
    counts, firsts = np.zeros((2, len(corpus.vocabulary)), np.int64)
    count_words(corpus.ids, 0, len(corpus.ids), counts, firsts)
    found = np.flatnonzero(counts)
    words = corpus.vocabulary.take(found)
    table = WordTable()
    table.add_packed(words.packed, words.offsets, counts[found], firsts[found])
    raw = all_words(table) if keep_raw else None
    vocabulary, ranks = _settle(table, vocabulary, selection, extend)
    places = np.full(len(counts), -1, np.int32)
    places[found] = ranks
    tally = _Tally([], num_line_ends=len(corpus.offsets) - 1, num_words=len(corpus.ids))
    with closing(Spool(budget)) as spool:
        for first in range(0, len(corpus.offsets) - 1, _PIECE_SENTENCES):
            ends = corpus.offsets[first : first + _PIECE_SENTENCES + 1]
            spool.append(np.concatenate([corpus.ids[ends[0] : ends[-1]], (ends[1:] - ends[0]).astype(np.int32)]))
            tally.records.append((0, int(ends[-1] - ends[0])))
        ids, offsets = _encode(spool, tally, lambda table: places, max_sentence_length, workers)
    return Corpus(ids, offsets, vocabulary, corpus.num_words, corpus.num_sentences_read, raw)


def _settle(
    table: WordTable, vocabulary: Vocabulary | None, selection: Selection, extend: bool
) -> tuple[Vocabulary, np.ndarray]:
    """Return the vocabulary to encode with, and the place in it of each word of the table."""
    if vocabulary is None:
        return rank_words(table, selection)
    if extend:
        return extend_vocabulary(table, vocabulary, selection)
    return vocabulary, find_words(table, vocabulary)


def _nothing_left(tally: "_Tally", errors: str, pruner: Pruner | None) -> str:
    if pruner is not None and pruner.num_lost:
        return (
            f"nothing is left of the {tally.num_words:,} words read: there were more different ones than "
            f"max_vocab_size, and none occurred {pruner.threshold:,} times"
        )
    return f"nothing is left of the {tally.num_words:,} words read with errors={errors!r}"


def _open(source: Source, lowercase: bool, errors: str, block_bytes: int) -> Feed:
    if isinstance(source, (str, os.PathLike)):
        return TextFeed(os.fsdecode(source), lowercase, errors, block_bytes)
    if isinstance(source, FileSentences) and source.paths is not None:
        cutter = SentenceCutter(source.max_sentence_length, source.by_line)
        return TextFeed(source.paths, lowercase, errors, block_bytes, cutter)
    if is_column(source):
        return column_feed(source, lowercase, errors, block_bytes)
    if isinstance(source, (bytes, bytearray, memoryview)) or not isinstance(source, Iterable):
        raise TypeError(f"source must be a path, '-' or an iterable of token lists, got {source!r}")
    return TokenFeed(source, lowercase, errors, block_bytes)


@dataclass
class _Tally:
    """What the scan found: the threads' tables and, for each record in the spool, its table or generation, and size."""

    scanners: list[Scanner]
    records: list[tuple[int, int]] = field(default_factory=list)
    num_words: int = 0
    num_line_ends: int = 0
    num_sentences: int = 0


def scan(
    feed: Feed, spool: Spool, workers: int, progress: ProgressFunction | None, pruner: Pruner | None = None
) -> _Tally:
    """Give all words provisional numbers, by the tables that happen to take their blocks."""
    tally = _Tally([feed.new_scanner() for _ in range(workers)] if pruner is None else [])
    # Each thread keeps to one table, which is then in its core's cache.
    thread = threading.local()
    unused = iter(range(workers))

    def scan_block(block: Any) -> tuple[int, Scanned]:
        if not hasattr(thread, "number"):
            thread.number = next(unused)
        return thread.number, feed.scan(tally.scanners[thread.number], block)

    def scan_and_prune(block: Any) -> tuple[int, Scanned]:
        assert pruner is not None
        pruner.prune()
        return pruner.generation, feed.scan(pruner.scanner, block)

    told = time.monotonic()
    way = (scan_block, workers) if pruner is None else (scan_and_prune, 1)
    for number, scanned in ordered_map(way[0], feed.blocks(), way[1]):
        scanned = feed.arrange(scanned)
        spool.append(scanned.record)
        tally.records.append((number, scanned.num_words))
        tally.num_words += scanned.num_words
        tally.num_line_ends += scanned.num_line_ends
        tally.num_sentences += scanned.num_sentences
        if progress is not None and time.monotonic() - told > _PROGRESS_SECONDS:
            progress(tally.num_words, feed.fraction)
            told = time.monotonic()
    if progress is not None:
        progress(tally.num_words, 1.0)
    return tally


def _encode(
    spool: Spool, tally: _Tally, numbers: Callable[[int], np.ndarray], max_sentence_length: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Turn provisional numbers into those of the vocabulary and cut sentences; return ids and offsets."""

    def records() -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        latest, places = -1, np.empty(0, np.int32)
        for table, num_words in tally.records:
            if table != latest:
                latest, places = table, numbers(table)
            yield spool.pop(), num_words, places

    def encode(item: tuple[np.ndarray, int, np.ndarray]) -> tuple[np.ndarray, int, int]:
        record, num_words, places = item
        return record, num_words, remap(record, num_words, places)

    # The ids overwrite the provisional numbers in their file: a record is read before its place can be written.
    ids = Output(np.int32, tally.num_words, spool.file)
    num_cuts = tally.num_words // max_sentence_length
    with temporary(spool.file is not None) as offsets_file:
        offsets = Output(np.int64, 2 + tally.num_line_ends + num_cuts, offsets_file)
        offsets.append(np.zeros(1, np.int64))
        start = 0
        for record, num_words, kept in ordered_map(encode, records(), workers):
            ends, start = cut_sentences(record[num_words:], kept, ids.size, start, max_sentence_length)
            ids.append(record[:kept])
            offsets.append(ends)
        if start < ids.size:  # the last sentence of a text that has no lines
            offsets.append(np.array([ids.size]))
        return ids.finish(), offsets.finish()
