"""Texts and their labels, wherever they come from."""

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus._pairs import count_words
from fastemb.corpus._table import WordTable
from fastemb.corpus.lines import Lines, read_lines
from fastemb.corpus.reader import Corpus
from fastemb.corpus.spool import Output, temporary
from fastemb.trainers.classification.features import Bags, Features
from fastemb.trainers.classification.targets import Targets, as_list, read_targets
from fastemb.trainers.frozen_phrases import FrozenPhrases
from fastemb.trainers.schedule import Monitor

__all__ = ["Text", "join_phrases", "read_text"]

SHOWN_WORDS = 8
PIECE = 1 << 17  # words that are renumbered at a time


@dataclass
class Text:
    """Lines of text, and their labels where they are not words of the lines.

    Attributes
    ----------
    lines : Lines
    targets : Targets or None
    max_memory : int or None
        Bytes of memory for the lines, and for what is made of them; what is more is in temporary files.
    """

    lines: Lines
    targets: Targets | None
    max_memory: int | None = None

    def bags(self, features: Features, workers: int) -> Bags:
        """Return the lines as a classifier reads them; labels that it does not know are left out."""
        bags = features.of_lines(self.lines, workers, self.max_memory)
        if self.targets is None:
            return bags
        known = [features.label_numbers.get(name, -1) for name in self.targets.names.as_bytes()]
        labels = np.array(known, np.int32)[self.targets.labels]
        is_known = labels >= 0
        ends = np.concatenate([[0], np.cumsum(is_known)])[self.targets.offsets]
        return Bags(bags.features, bags.offsets, labels[is_known], ends)

    def num_tokens(self, bags: Bags) -> NDArray[np.int64]:
        """Return the words and labels of each line, the end of the line among them."""
        tokens = np.diff(self.lines.ends, prepend=0) + 1
        return tokens if self.targets is None else tokens + np.diff(bags.label_offsets)

    def check_labels(self, bags: Bags, label_prefix: str) -> None:
        """Refuse lines of which none has a label, and warn of those without one.

        Raises
        ------
        ValueError
        """
        has_words = np.diff(self.lines.ends, prepend=0) > 0
        missing = np.flatnonzero((np.diff(bags.label_offsets) == 0) & has_words)
        if not len(missing):
            return
        where = f"the first is line {missing[0] + 1:,}, {self._show(int(missing[0]))}"
        if not len(bags.labels):
            expected = f" (a word that begins with {label_prefix!r})" if self.targets is None else ""
            raise ValueError(f"no text has a label{expected}; {where}")
        warnings.warn(f"{len(missing):,} texts have no label and are left out; {where}", UserWarning, stacklevel=5)

    def _show(self, line: int) -> str:
        start = int(self.lines.ends[line - 1]) if line else 0
        stop = int(self.lines.ends[line])
        words = [
            self.lines.words.words[number] for number in self.lines.numbers[start : min(stop, start + SHOWN_WORDS)]
        ]
        return repr(" ".join(words) + (" ..." if stop - start > SHOWN_WORDS else ""))


def join_phrases(
    lines: Lines, phrases: FrozenPhrases | None, workers: int | None = 1, max_memory: int | None = None
) -> Lines:
    """Return lines with their phrases joined; labels among their words take part, and are words of no phrase.

    Examples
    --------
    >>> from fastemb import Phrases
    >>> from fastemb.corpus.lines import read_texts
    >>> phrases = Phrases([["new", "york"], ["a", "new", "york"]], min_count=1, threshold=0.1).freeze()
    >>> lines = join_phrases(read_texts(["in new york", "a new york", ""]), phrases)
    >>> lines.words.words, lines.numbers, lines.ends
    (['in', 'new_york', 'a', '</s>'], array([0, 1, 2, 1], dtype=int32), array([2, 4, 4]))
    """
    if phrases is None:
        return lines
    offsets = np.concatenate([np.zeros(1, np.int64), lines.ends])
    corpus = Corpus(lines.numbers, offsets, lines.words, len(lines.numbers), len(lines))
    with phrases.join(corpus, max_memory=max_memory, workers=workers) as joined:
        counts, firsts = np.zeros((2, len(joined.vocabulary)), np.int64)
        count_words(joined.ids, 0, len(joined.ids), counts, firsts)
        used = np.flatnonzero(counts)
        used = used[np.argsort(firsts[used])]
        words = joined.vocabulary.take(used)
        table, places = WordTable(), np.zeros(len(counts), np.int32)
        places[used] = table.add_packed(words.packed, words.offsets, counts[used], firsts[used])
        with temporary(isinstance(joined.ids, np.memmap)) as file:
            numbers = Output(np.int32, len(joined.ids), file)
            for first in range(0, len(joined.ids), PIECE):
                numbers.append(places[joined.ids[first : first + PIECE]])
            return Lines(numbers.finish(), joined.offsets[1:], table)


def read_text(
    X: Any,
    y: Any,
    corpus_file: str | os.PathLike[str] | None,
    errors: str,
    workers: int,
    monitor: Monitor,
    phrases: FrozenPhrases | None = None,
    max_memory: int | None = None,
) -> Text:
    """Read texts from what a user gave.

    Parameters
    ----------
    X, y, corpus_file
        As for `FastTextClassifier.fit`.
    errors, workers, phrases, max_memory
        As for `FastTextClassifier`.
    monitor : Monitor
        Told of the progress.

    Raises
    ------
    TypeError, ValueError
        If not one of `X` and `corpus_file` is given, or there are no texts.
    """
    if (X is None) == (corpus_file is None):
        raise TypeError(f"one of X and corpus_file must be given, got {'neither' if X is None else 'both'}")
    if corpus_file is not None and y is not None:
        raise TypeError("y goes with X: corpus_file holds the labels")
    if corpus_file is not None and not isinstance(corpus_file, str | os.PathLike):
        raise TypeError(f"corpus_file must be a path or '-', got {corpus_file!r:.80}")
    texts: str | list[str] = os.fspath(corpus_file) if corpus_file is not None else as_list("X", X)
    targets = None if y is None else read_targets(y, len(texts))
    monitor.begin("scanning")

    def progress(words: int, fraction: float | None) -> None:
        monitor.report(words, 0, math.nan, total=round(words / fraction) if fraction else None)

    lines = read_lines(texts, errors=errors, workers=workers, max_memory=max_memory, progress=progress)
    monitor.report(len(lines.numbers), 0, math.nan, total=len(lines.numbers), force=True)
    if not len(lines.numbers):
        raise ValueError("there are no texts" if corpus_file is None else f"{corpus_file} holds no words")
    return Text(join_phrases(lines, phrases, workers, max_memory), targets, max_memory)
