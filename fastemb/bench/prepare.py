"""The text that every program of a benchmark reads: one file, its lines cut where all programs would cut them."""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_LINE_WORDS = 1000
"""word2vec.c cuts a sentence here, fastText a little later, gensim at 10,000."""


@dataclass(frozen=True)
class Prepared:
    """A prepared text and its size.

    Attributes
    ----------
    path
        The file.
    words, lines, bytes
        Its size: words as split at white space.

    Examples
    --------
    >>> from fastemb.bench.prepare import Prepared
    >>> Prepared("text.txt", words=2, lines=1, bytes=12).as_dict()["words"]
    2
    """

    path: str
    words: int
    lines: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, with the file's name instead of its whole path.

        Examples
        --------
        >>> from fastemb.bench.prepare import Prepared
        >>> Prepared("/tmp/text.txt", words=2, lines=1, bytes=12).as_dict()["path"]
        'text.txt'
        """
        return asdict(self) | {"path": Path(self.path).name}


def prepare(corpus: str | os.PathLike[str], *, max_words: int | None = None, copies: int = 1) -> Prepared:
    r"""Write `corpus` with its lines cut at 1000 words, unless that was done before.

    The result is kept in a folder for temporary files, under a name made from the corpus' path, size and date.

    Parameters
    ----------
    corpus
        A text file, one sentence a line, or a ``.gz`` of one.
    max_words
        Keep only the first so many words.
    copies
        Write the text so many times, for a larger corpus.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no words.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb.bench.prepare import prepare
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "text.txt")
    ...     _ = path.write_text("a b c\n" * 700)
    ...     prepare(path, max_words=2000).words
    2000
    """
    source = Path(corpus)
    found = source.stat()
    key = repr((str(source.resolve()), found.st_size, found.st_mtime_ns, max_words, copies, MAX_LINE_WORDS))
    folder = Path(tempfile.gettempdir()) / f"fastemb-bench-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    stem = source.name.removesuffix(".gz").removesuffix(".txt")
    target = folder / f"{stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.txt"
    if not target.exists():
        _write(source, target, max_words, copies)
    words, lines = _count(target)
    if words == 0:
        target.unlink()
        raise ValueError(f"corpus must hold words, got none in {source}")
    return Prepared(str(target), words, lines, target.stat().st_size)


def _write(source: Path, target: Path, max_words: int | None, copies: int) -> None:
    unfinished = target.with_suffix(f".{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as out:
            for _ in range(copies):
                for line in _cut(source, max_words):
                    out.write(b" ".join(line) + b"\n")
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _cut(source: Path, max_words: int | None) -> Iterator[list[bytes]]:
    left = max_words
    with _open(source) as file:
        for line in file:
            words = line.split()[:left]
            for start in range(0, len(words), MAX_LINE_WORDS):
                yield words[start : start + MAX_LINE_WORDS]
            if left is not None:
                left -= len(words)
                if left <= 0:
                    return


def _open(source: Path) -> BinaryIO:
    return gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb")  # type: ignore[return-value]


def _count(target: Path) -> tuple[int, int]:
    words = lines = 0
    with target.open("rb") as file:
        for line in file:
            words += len(line.split())
            lines += 1
    return words, lines
