"""The two kinds of source, text and token lists, as blocks whose words a thread can number."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastemb.corpus._scan import PADDING, BadWord, Scanner
from fastemb.corpus._strings import Packer
from fastemb.corpus._table import MAX_WORD_BYTES
from fastemb.corpus.sentences import SentenceCutter
from fastemb.corpus.sources import Block, FileBlock, TextSource, long_word_message


class Scanned(NamedTuple):
    """What a block became: its words' numbers in a table, then the number of words before each line end."""

    record: np.ndarray
    num_words: int
    num_line_ends: int
    num_sentences: int


class Feed(Protocol):
    """A source of blocks."""

    @property
    def strict(self) -> bool:
        """Whether its words must be checked to be UTF-8 without NUL bytes."""

    @property
    def fraction(self) -> float | None:
        """The part read so far; None where that is unknown."""

    def new_scanner(self) -> Any:
        """Return what a thread numbers the words of its blocks with."""

    def blocks(self) -> Iterator[Any]:
        """Read the source, once, in the calling thread."""

    def scan(self, scanner: Any, block: Any) -> Scanned:
        """Turn a block's words into numbers; runs in any thread."""

    def arrange(self, scanned: Scanned) -> Scanned:
        """Put sentence ends where they belong; called in the order of the blocks."""

    def describe_empty(self) -> str:
        """Say that the source holds no words."""


class TokenBlock(NamedTuple):
    """Packed tokens as `Packer` yields them, their place among all tokens' bytes, and the sentences begun in them."""

    text: np.ndarray
    edges: np.ndarray
    lines: np.ndarray
    base: int
    num_sentences: int


class TextScan:
    """What feeds of text share: words between white space, sentences that end with their lines.

    Parameters
    ----------
    lowercase : bool
        Lower ASCII letters; the others are lowered when the words are merged.
    errors : str
        "strict" refuses words that are not UTF-8.
    block_bytes : int
        Size of a block.
    """

    def __init__(self, lowercase: bool, errors: str, block_bytes: int) -> None:
        self.strict = errors == "strict"
        self._lowercase = lowercase
        self._block_bytes = block_bytes
        self._thread = threading.local()

    def new_scanner(self) -> Any:
        """Return what a thread numbers the words of its blocks with."""
        return Scanner(self.strict)

    def scan(self, scanner: Any, block: Block | FileBlock) -> Scanned:
        """Turn a block's words into numbers.

        Raises
        ------
        OSError
            If a file cannot be read.
        ValueError
            If a word is too long or, in a strict table, not UTF-8.
        """
        buffer = self._read(block) if isinstance(block, FileBlock) else block.buffer
        try:
            scanned = Scanned(*scanner.scan_text(buffer, block.size, block.base, self._lowercase))
        except BadWord as bad:
            raise ValueError(_describe_bad(bad, *block.locate(bad.position))) from None
        if isinstance(block, Block):
            self.give_back(block)
        return scanned

    def give_back(self, block: Block) -> None:
        """Take a block whose buffer is not needed any more."""

    def arrange(self, scanned: Scanned) -> Scanned:
        """Leave the sentence ends where they are."""
        return scanned

    def _read(self, block: FileBlock) -> np.ndarray:
        """Read a block into this thread's buffer."""
        buffer: np.ndarray | None = getattr(self._thread, "buffer", None)
        if buffer is None or len(buffer) < block.size + PADDING:
            buffer = self._thread.buffer = np.empty(max(block.size, self._block_bytes) + PADDING, np.uint8)
        block.read(buffer)
        return buffer


class TextFeed(TextScan):
    """Text files, see `TextSource`; with a `cutter` its sentences rather than the lines."""

    def __init__(
        self,
        path: str | Sequence[str],
        lowercase: bool,
        errors: str,
        block_bytes: int,
        cutter: SentenceCutter | None = None,
    ) -> None:
        super().__init__(lowercase, errors, block_bytes)
        self._source = TextSource(path)
        self._cutter = cutter

    @property
    def fraction(self) -> float | None:
        """The part of the bytes read so far; None for a pipe."""
        return self._source.fraction

    def blocks(self) -> Iterator[Block | FileBlock]:
        """Read the files."""
        return self._source.blocks(self._block_bytes)

    def give_back(self, block: Block) -> None:
        """Let the block's buffer be used again."""
        self._source.give_back(block)

    def arrange(self, scanned: Scanned) -> Scanned:
        """Put sentence ends where the `cutter` wants them."""
        if self._cutter is None:
            return scanned
        record, begun = self._cutter.cut(scanned.record, scanned.num_words)
        return Scanned(record, scanned.num_words, len(record) - scanned.num_words, begun)

    def describe_empty(self) -> str:
        """Say that the source holds no words."""
        return f"{self._source.name} holds no words, only white space"


def _describe_bad(bad: BadWord, name: str, offset: int) -> str:
    if bad.problem == "long":
        return long_word_message(name, offset)
    word = bad.word
    wide = "UTF-16" if offset == 0 and word.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
    if bad.problem == "nul" or wide:
        kind = wide or "a binary file or UTF-16"
        return f"{name}: looks like {kind}, not UTF-8 text: {show(word, word.find(0))} at byte {offset:,}"
    try:
        word.decode("utf-8")
        start = len(word)
    except UnicodeDecodeError as error:
        start = error.start
    return (
        f"{name}: invalid UTF-8 at byte {offset + start:,}: {show(word, start)}; pass errors='surrogateescape' or "
        "'replace' to read it all the same, or convert the file to UTF-8 (for example with iconv)"
    )


def show(word: bytes, place: int) -> str:
    """Show the bytes around a place."""
    begin = max(0, place - 20)
    return repr(word[begin : place + 20])


class TokenScan:
    """What feeds of tokens share: each token is a word, spaces and all."""

    strict = False  # a str that could be packed is valid

    def __init__(self, lowercase: bool) -> None:
        self._lowercase = lowercase

    def new_scanner(self) -> Scanner:
        """Return what a thread numbers the words of its blocks with."""
        return Scanner(self.strict)

    def scan(self, scanner: Scanner, block: TokenBlock) -> Scanned:
        """Turn a block's words into numbers.

        Raises
        ------
        ValueError
            If a token is too long.
        """
        try:
            scanned = scanner.scan_tokens(block.text, block.edges, block.lines, block.base, self._lowercase)
        except BadWord as bad:
            shown = show(bad.word, 0)
            raise ValueError(f"tokens must have at most {MAX_WORD_BYTES:,} bytes, got {shown}...") from None
        record, num_words, num_line_ends = scanned
        return Scanned(record, num_words, num_line_ends, block.num_sentences)

    def arrange(self, scanned: Scanned) -> Scanned:
        """Leave the sentence ends where they are."""
        return scanned

    def describe_empty(self) -> str:
        """Say that the source holds no words."""
        return "source holds no words: all of its sentences are empty"


class TokenFeed(TokenScan):
    """An iterable of token lists."""

    fraction = None

    def __init__(self, sentences: Iterable[Sequence[str]], lowercase: bool, errors: str, block_bytes: int) -> None:
        super().__init__(lowercase)
        self._packer = Packer(sentences, errors, max(1, block_bytes // 8), block_bytes)

    def blocks(self) -> Iterator[TokenBlock]:
        """Pack the sentences.

        Raises
        ------
        TypeError, ValueError
            See `Packer`; also if there is no sentence.
        """
        base = told = 0
        for text, edges, lines in self._packer:
            yield TokenBlock(text, edges, lines, base, self._packer.num_sentences - told)
            base += len(text)
            told = self._packer.num_sentences
        if told == 0:
            raise ValueError("source holds no sentences; a generator can be read only once")
