"""Lines of text as fastText reads them: words between ASCII white space, and a word that ends every line."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus._ids import remap
from fastemb.corpus._lines import LineScanner, last_space
from fastemb.corpus._scan import PADDING, BadWord
from fastemb.corpus._table import WordTable
from fastemb.corpus.feeds import Feed, Scanned, TextFeed, show
from fastemb.corpus.merge import merge_tables
from fastemb.corpus.reader import ERRORS, ProgressFunction, scan
from fastemb.corpus.sources import BLOCK_BYTES, Block, FileBlock, Piece, TextSource
from fastemb.corpus.spool import Output, Spool, temporary
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.parallel import get_num_threads
from fastemb.engine.validate import choice

__all__ = ["END_OF_LINE", "Lines", "line_batches", "read_lines", "read_texts"]

END_OF_LINE = b"</s>"
TEXTS = 1 << 13  # that become one block
_LIST = "the list of texts"


@dataclass
class Lines:
    """Text as the numbers of its words, line by line.

    Attributes
    ----------
    numbers : int32 (num_tokens,)
        Of the words of all lines, in `table`.
    ends : int64 (num_lines,)
        Line `i` is ``numbers[ends[i - 1]:ends[i]]``, the first one from 0 on. Empty lines are there, too.
    table : WordTable
        The different words, with counts and with what rises with the place of their first occurrence; and the word that
        ends every line, which is not among `numbers`.
    """

    numbers: NDArray[np.int32]
    ends: NDArray[np.int64]
    table: WordTable

    def __post_init__(self) -> None:
        self.end_of_line = self.table.add(END_OF_LINE, len(self.ends), -1)

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def words(self) -> Vocabulary:
        """The different words in the order of their numbers, with counts."""
        packed, offsets = self.table.pack(np.arange(len(self.table)))
        return Vocabulary(packed, offsets, self.table.counts())


def read_lines(
    source: str | Sequence[str],
    *,
    errors: str = "strict",
    workers: int | None = None,
    max_memory: int | None = None,
    progress: ProgressFunction | None = None,
    _block_bytes: int = BLOCK_BYTES,
) -> Lines:
    r"""Read lines of text in parallel.

    Words stand between spaces, tabs, ``\v``, ``\f``, ``\r`` and NUL, as in fastText: white space beyond ASCII is part
    of a word. The end of a file ends a line.

    Parameters
    ----------
    source : str or sequence of str
        A file (or a packed one, a folder of files, or ``"-"``), or texts, each of which is one line: line ends in it
        are white space.
    errors : {"strict", "replace", "ignore", "surrogateescape", "backslashreplace"}
        What to do with bytes that are not UTF-8.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`.
    max_memory : int, optional
        Keep the words' numbers in a temporary file if they take more bytes.
    progress : callable, optional
        Called a few times a second, and at the end, with the words read so far and the fraction of the source read.

    Raises
    ------
    OSError
        If a file cannot be read.
    TypeError
        If a text is not a str.
    ValueError
        If bytes are not UTF-8, or the file is empty.

    Examples
    --------
    >>> lines = read_lines(["to be or not", "to be"])
    >>> lines.words.words, lines.numbers, lines.ends
    (['to', 'be', 'or', 'not', '</s>'], array([0, 1, 2, 3, 0, 1], dtype=int32), array([4, 6]))
    """
    choice("errors", errors, ERRORS)
    workers = get_num_threads() if workers is None else workers
    feed: Feed = _LineFeed(source, errors, _block_bytes) if isinstance(source, str) else _TextsFeed(source, errors)
    with closing(Spool(max_memory)) as spool:
        tally = scan(feed, spool, workers, progress)
        table, renumbered = merge_tables([scanner.table for scanner in tally.scanners], False, errors, workers)
        places = [np.append(numbers, np.int32(-1)) for numbers in renumbered]
        # The numbers overwrite those of the scanners' tables in their file: a record is read before.
        numbers = Output(np.int32, tally.num_words, spool.file)
        with temporary(spool.file is not None) as ends_file:
            ends = Output(np.int64, tally.num_line_ends, ends_file)
            for number, num_words in tally.records:
                record = spool.pop()
                kept = remap(record, num_words, places[number])
                ends.append(record[num_words:] + np.int64(numbers.size))
                numbers.append(record[:kept])
            return Lines(numbers.finish(), ends.finish(), table)


def read_texts(texts: Sequence[str], errors: str = "strict") -> Lines:
    """Read a few texts in this thread; see `read_lines`.

    Examples
    --------
    >>> read_texts(["to be"]).words.words
    ['to', 'be', '</s>']
    """
    scanner = LineScanner()
    block = _block_of(texts, 0, errors)
    record, num_words, _, _ = scanner.scan_text(block.buffer, block.size, 0)
    return Lines(record[:num_words], record[num_words:].astype(np.int64), scanner.table)


class _LineFeed(TextFeed):
    """A text file, whose blocks are cut at white space of ASCII only."""

    def __init__(self, path: str, errors: str, block_bytes: int) -> None:
        super().__init__(path, False, errors, block_bytes)
        self._source = TextSource(path, last_space)

    def new_scanner(self) -> LineScanner:
        return LineScanner(self.strict)


class _TextsFeed:
    """A sequence of texts, a line each."""

    strict = False  # a str that could be packed is valid

    def __init__(self, texts: Sequence[str], errors: str) -> None:
        self._texts, self._errors = texts, errors
        self._done = 0

    @property
    def fraction(self) -> float:
        return self._done / max(1, len(self._texts))

    def new_scanner(self) -> LineScanner:
        return LineScanner()

    def blocks(self) -> Iterator[Block]:
        base = 0
        for first in range(0, len(self._texts), TEXTS):
            block = _block_of(self._texts[first : first + TEXTS], first, self._errors)
            block.base = base
            base += block.size
            self._done = first + TEXTS
            yield block

    def scan(self, scanner: LineScanner, block: Block) -> Scanned:
        try:
            return Scanned(*scanner.scan_text(block.buffer, block.size, block.base))
        except BadWord as bad:
            raise ValueError(f"a text holds a word that is too long: {show(bad.word, 0)}...") from None

    def arrange(self, scanned: Scanned) -> Scanned:
        return scanned

    def describe_empty(self) -> str:
        return "there are no texts"


def _block_of(texts: Sequence[str], first: int, errors: str) -> Block:
    """Pack texts as lines."""
    try:
        text = "\n".join(texts)
    except TypeError:
        place, value = next((i, text) for i, text in enumerate(texts) if not isinstance(text, str))
        raise TypeError(f"texts must be str, got {value!r:.80} at position {first + place}") from None
    if text.count("\n") != len(texts) - 1:
        text = "\n".join([line.replace("\n", " ") for line in texts])
    try:
        packed = text.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        place = first + text.count("\n", 0, error.start)
        raise ValueError(f"texts must be valid Unicode, got {text[error.start]!r} at position {place}") from None
    size = len(packed) + (len(texts) > 0)
    buffer = np.zeros(size + PADDING, np.uint8)
    buffer[: len(packed)] = np.frombuffer(packed, np.uint8)
    buffer[len(packed) : size] = ord("\n")
    return Block(buffer, size, 0, [Piece(0, _LIST, 0)])


def line_batches(path: str, errors: str = "strict", most: int = 4096) -> Iterator[list[str]]:
    """Yield lines of a file (also packed), or of standard input as they come, some at a time.

    Parameters
    ----------
    path : str
        A file, a folder of files, or ``"-"``.
    errors : str, default "strict"
        As in ``bytes.decode``.
    most : int, default 4096
        Lines at a time.

    Raises
    ------
    ValueError
        If bytes are not UTF-8.
    """
    rest = b""
    for block in _pieces(path):
        *lines, rest = (rest + block).split(b"\n")
        for first in range(0, len(lines), most):
            yield _decoded(path, lines[first : first + most], errors)
    if rest:
        yield _decoded(path, [rest], errors)


def _pieces(path: str) -> Iterator[bytes]:
    if path == "-":
        stream: Any = sys.stdin.buffer
        while piece := stream.read1(1 << 16):
            yield piece
        return
    for block in TextSource(path, last_space).blocks():
        if isinstance(block, FileBlock):
            buffer = np.empty(block.size, np.uint8)
            block.read(buffer)
            yield buffer.tobytes()
        else:
            yield block.buffer[: block.size].tobytes()


def _decoded(path: str, lines: list[bytes], errors: str) -> list[str]:
    try:
        return [line.decode("utf-8", errors) for line in lines]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a line is not UTF-8: {error.object[:80]!r}; errors='replace' reads it") from None
