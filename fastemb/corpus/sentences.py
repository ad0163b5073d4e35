"""Sentences of files, under gensim's names: to be walked through, and read directly by the trainers."""

import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastemb.corpus.sources import Block, TextSource
from fastemb.engine.validate import integer

__all__ = ["FileSentences", "LineSentence", "PathLineSentences", "Text8Corpus"]

MAX_SENTENCE_LENGTH = 10_000  # gensim's MAX_WORDS_IN_BATCH
PathLike = str | os.PathLike[str]


class FileSentences:
    """What `LineSentence`, `PathLineSentences` and `Text8Corpus` share.

    Iterating yields lists of words, as often as asked for. Trainers do not iterate: they read the files as fast as they
    read a ``corpus_file``, and come to the same sentences.

    Attributes
    ----------
    paths : list of str, or None
        The files that hold the sentences; None where only iterating gives them.
    by_line : bool
        Whether a line end ends a sentence.
    """

    by_line = True

    def __init__(self, max_sentence_length: int, limit: int | None = None) -> None:
        self.max_sentence_length = integer("max_sentence_length", max_sentence_length, 1)
        self.limit = None if limit is None else integer("limit", limit, 0)

    @property
    def paths(self) -> list[str] | None:
        """The files to read rather than to iterate."""
        return None if self.limit is not None else self._files()

    def _files(self) -> list[str] | None:
        raise NotImplementedError

    def _lines(self) -> Iterator[list[str]]:
        """Yield the words of each line, of up to `limit` lines a file."""
        for path in self._files() or []:
            for line in itertools.islice(lines_of(path), self.limit):
                yield line.decode("utf-8").split()

    def __iter__(self) -> Iterator[list[str]]:
        for words in self._lines():
            for start in range(0, len(words), self.max_sentence_length):
                yield words[start : start + self.max_sentence_length]


class LineSentence(FileSentences):
    r"""The lines of a file as sentences, words between white space.

    Parameters
    ----------
    source : path or file
        A text file, or a ``.gz``, ``.bz2``, ``.xz`` or ``.zst`` of one; or an open file that can ``seek``.
    max_sentence_length : int, default 10000
        A longer line is cut into sentences of this many words.
    limit : int, optional
        Take the first this many lines only.

    Examples
    --------
    >>> import pathlib
    >>> _ = pathlib.Path("text.txt").write_text("the cat sat\n\nthe dog\n")
    >>> list(LineSentence("text.txt"))
    [['the', 'cat', 'sat'], ['the', 'dog']]
    """

    def __init__(
        self, source: PathLike | Any, max_sentence_length: int = MAX_SENTENCE_LENGTH, limit: int | None = None
    ) -> None:
        super().__init__(max_sentence_length, limit)
        if not isinstance(source, str | os.PathLike) and not hasattr(source, "seek"):
            raise TypeError(f"source must be a path or an open file, got {source!r:.80}")
        self.source = source

    def _files(self) -> list[str] | None:
        return [os.fspath(self.source)] if isinstance(self.source, str | os.PathLike) else None

    def _lines(self) -> Iterator[list[str]]:
        if isinstance(self.source, str | os.PathLike):
            yield from super()._lines()
            return
        self.source.seek(0)
        for line in itertools.islice(self.source, self.limit):
            yield (line.decode("utf-8") if isinstance(line, bytes) else line).split()


class PathLineSentences(FileSentences):
    """The lines of all files of a folder as sentences, the files in the order of their names.

    Hidden files and folders in the folder are left out.

    Parameters
    ----------
    source : path
        A folder of files that `LineSentence` reads, or one such file.
    max_sentence_length, limit
        As for `LineSentence`; `limit` is for each file.

    Raises
    ------
    ValueError
        If there is no such folder or file.

    Examples
    --------
    >>> import pathlib
    >>> pathlib.Path("texts").mkdir()
    >>> for name in ("b.txt", "a.txt"):
    ...     _ = (pathlib.Path("texts") / name).write_text(f"words of {name}")
    >>> list(PathLineSentences("texts"))
    [['words', 'of', 'a.txt'], ['words', 'of', 'b.txt']]
    """

    def __init__(
        self, source: PathLike, max_sentence_length: int = MAX_SENTENCE_LENGTH, limit: int | None = None
    ) -> None:
        super().__init__(max_sentence_length, limit)
        self.source = os.fspath(source)
        if os.path.isfile(self.source):
            self.input_files = [self.source]
        elif os.path.isdir(self.source):
            names = sorted(name for name in os.listdir(self.source) if not name.startswith("."))
            paths = [os.path.join(self.source, name) for name in names]
            self.input_files = [path for path in paths if not os.path.isdir(path)]
        else:
            raise ValueError(f"source must be a folder or a file, got {self.source!r}")

    def _files(self) -> list[str]:
        return self.input_files


class Text8Corpus(FileSentences):
    r"""The words of a file as sentences of one length; line ends are white space like any other.

    Parameters
    ----------
    fname : path
        As for `LineSentence`, such as the text8 file of mattmahoney.net.
    max_sentence_length : int, default 10000
        Words of a sentence.

    Examples
    --------
    >>> import pathlib
    >>> _ = pathlib.Path("text8").write_text("one two three\nfour five")
    >>> list(Text8Corpus("text8", max_sentence_length=2))
    [['one', 'two'], ['three', 'four'], ['five']]
    """

    by_line = False

    def __init__(self, fname: PathLike, max_sentence_length: int = MAX_SENTENCE_LENGTH) -> None:
        super().__init__(max_sentence_length)
        self.fname = os.fspath(fname)

    def _files(self) -> list[str]:
        return [self.fname]

    def __iter__(self) -> Iterator[list[str]]:
        sentence: list[str] = []
        for text in texts_of(self.fname):
            sentence += text.decode("utf-8").split()
            while len(sentence) >= self.max_sentence_length:
                yield sentence[: self.max_sentence_length]
                sentence = sentence[self.max_sentence_length :]
        if sentence:
            yield sentence


def lines_of(path: str) -> Iterator[bytes]:
    """Yield the lines of a text file, packed or not."""
    parts: list[bytes] = []
    for text in texts_of(path):
        first, *others = text.split(b"\n")
        parts.append(first)
        if others:
            yield b"".join(parts)
            yield from others[:-1]
            parts = others[-1:]


def texts_of(path: str) -> Iterator[bytes]:
    """Yield a text file, packed or not, in parts that end after white space; the last one ends a line."""
    source = TextSource(path)
    for block in source.blocks():
        if isinstance(block, Block):
            yield block.buffer[: block.size].tobytes()
            source.give_back(block)
        else:
            buffer = np.empty(block.size, np.uint8)
            block.read(buffer)
            yield buffer.tobytes()


class SentenceCutter:
    """Moves the sentence ends of records that come in order, for sentences of a bounded length or without lines.

    Parameters
    ----------
    max_sentence_length, by_line
        As for `FileSentences`.
    """

    def __init__(self, max_sentence_length: int, by_line: bool) -> None:
        self._length = max_sentence_length
        self._by_line = by_line
        self._open = 0  # words of the sentence that goes on

    def cut(self, record: np.ndarray, num_words: int) -> tuple[np.ndarray, int]:
        """Return a record with its sentence ends where they belong, and how many sentences begin in it."""
        ends = record[num_words:] if self._by_line else record[:0]
        starts = np.concatenate([[-self._open], ends])
        stops = np.concatenate([ends, [num_words]])
        # Where a sentence ends anyway it needs no cut; one that is open at the end may.
        cuts = np.maximum(stops - starts - 1, 0) // self._length
        if cuts.any():
            before = np.cumsum(cuts) - cuts
            places = np.repeat(starts - before * self._length, cuts) + np.arange(1, cuts.sum() + 1) * self._length
            ends = np.union1d(ends, places).astype(np.int32)
        marks = np.concatenate([[0], ends, [num_words]])
        begun = int(np.count_nonzero(np.diff(marks))) - int(self._open > 0 and marks[1] > 0)
        self._open = num_words - int(ends[-1]) if len(ends) else self._open + num_words
        if cuts.any() or not self._by_line:
            record = np.concatenate([record[:num_words], ends])
        return record, begun
