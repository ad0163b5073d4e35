"""The matrix that GloVe trains: counted from a text, or what a user has in place of one."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from fastemb.corpus.cooccurrence import Cooccurrence
from fastemb.corpus.reader import read_corpus
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.backend import is_cached, kernels
from fastemb.formats.cooccurrence import read_cooccurrence, read_vocabulary
from fastemb.trainers.schedule import Monitor
from fastemb.trainers.text import PathLike, Sentences

__all__ = ["Matrix", "Words", "count_text", "to_cooccurrence", "to_vocabulary"]

Matrix = Any  # scipy's types are not to be imported here: Cooccurrence, a path, or whatever has ``tocsr``
Words = Sequence[str] | Vocabulary | os.PathLike[str]
WHOLE_LINES = 2**62  # the GloVe program cuts none
_BLOCK = 1 << 20

T = TypeVar("T")


def count_text(
    source: Sentences | PathLike,
    monitor: Monitor,
    text: dict[str, Any],
    how: dict[str, Any],
    limits: dict[str, Any],
    count: Callable[..., T],
) -> tuple[T, dict[str, int]]:
    """Return what `count` makes of a text, and how many words and sentences were read; tell of both stages.

    Parameters
    ----------
    source : path or iterable of list of str
    monitor : Monitor
    text, how, limits : dict
        Options of `read_corpus`, of `count`, and of both.
    count : callable
        `count_cooccurrences`, or another that takes a corpus and these options.
    """
    monitor.begin("scanning")

    def progress(words: int, fraction: float | None) -> None:
        monitor.report(words, 0, math.nan, total=round(words / fraction) if fraction else None)

    with read_corpus(source, max_sentence_length=WHOLE_LINES, progress=progress, **text, **limits) as corpus:
        monitor.report(corpus.num_words, 0, math.nan, total=corpus.num_words, force=True)
        read = {"num_words": corpus.num_words, "num_sentences": corpus.num_sentences_read}
        if not is_cached(kernels("cpu", "cooccurrence").count_rows):
            monitor.begin("compiling")
        monitor.begin("counting", len(corpus.ids))
        counted = count(corpus, progress=lambda words: monitor.report(words, 0, math.nan), **how, **limits)
        monitor.report(len(corpus.ids), 0, math.nan, force=True)
    return counted, read


def to_cooccurrence(matrix: Matrix, vocabulary: Words | None, max_memory: int | str | None = None) -> Cooccurrence:
    """Return a matrix, of scipy, of ours or in the GloVe program's file, after a check of every entry.

    Parameters
    ----------
    matrix, vocabulary
        As `GloVe.fit_cooccurrence` takes them.
    max_memory : int or str, optional
        As `read_cooccurrence` takes it.

    Raises
    ------
    TypeError
        If `matrix` is something else.
    ValueError
        If it is not square, has not a row a word, or an entry is not above 0.
    """
    words = None if vocabulary is None else to_vocabulary(vocabulary)
    if isinstance(matrix, str | os.PathLike):
        if words is None:
            raise TypeError(f"vocabulary must be given with a file of co-occurrences, {os.fspath(matrix)!r}")
        return read_cooccurrence(matrix, words, max_memory=max_memory)
    if isinstance(matrix, Cooccurrence):
        words = matrix.vocabulary if words is None else words
        found = Cooccurrence(matrix.offsets, matrix.cols, matrix.counts, words)
    elif hasattr(matrix, "tocsr"):
        found = _of_scipy(matrix, words)
    else:
        raise TypeError(f"matrix must be a scipy sparse matrix, a Cooccurrence or a path, got {type(matrix).__name__}")
    _check(found)
    return found


def to_vocabulary(words: Words) -> Vocabulary:
    """Return words: a list of them, a Vocabulary, or the GloVe program's file."""
    if isinstance(words, Vocabulary):
        return words
    return read_vocabulary(words) if isinstance(words, str | os.PathLike) else Vocabulary.from_words(list(words))


def _of_scipy(matrix: Any, words: Vocabulary | None) -> Cooccurrence:
    rows = matrix.tocsr()
    if rows.ndim != 2 or rows.shape[0] != rows.shape[1]:
        raise ValueError(f"matrix must be square, a row and a column a word, got shape {rows.shape}")
    if not rows.data.all():
        rows = rows.copy()
        rows.eliminate_zeros()
    words = Vocabulary.from_words([str(i) for i in range(rows.shape[0])]) if words is None else words
    with np.errstate(over="ignore", under="ignore"):
        counts = rows.data.astype(np.float32, copy=False)
    return Cooccurrence(rows.indptr.astype(np.int64), rows.indices.astype(np.int32, copy=False), counts, words)


def _check(matrix: Cooccurrence) -> None:
    """Raise if a kernel could not train the matrix: any place outside the tables would end the process."""
    num_words, offsets, size = len(matrix.vocabulary), matrix.offsets, matrix.num_pairs
    if len(offsets) != num_words + 1:
        raise ValueError(f"matrix must have a row a word, {num_words} in all, got {len(offsets) - 1}")
    if offsets[0] != 0 or offsets[-1] != size or len(matrix.counts) != size or (np.diff(offsets) < 0).any():
        raise ValueError(f"matrix must have offsets that rise from 0 to {size}, the number of its entries")
    for start in range(0, size, _BLOCK):
        cols = matrix.cols[start : start + _BLOCK]
        with np.errstate(over="ignore", under="ignore"):
            counts = matrix.counts[start : start + _BLOCK].astype(np.float32)
        wrong = (cols < 0) | (cols >= num_words) | ~((counts > 0) & (counts < np.inf))
        if wrong.any():
            place = int(wrong.argmax())
            row = int(np.searchsorted(offsets, start + place, "right")) - 1
            raise ValueError(
                f"matrix must have columns in [0, {num_words}) and entries above 0 that a float32 holds, "
                f"got {matrix.counts[start + place]:g} at position ({row}, {cols[place]})"
            )
