"""Where text comes from: files, compressed files, folders and standard input, read once as blocks of whole words."""

import os
import stat
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastemb.corpus._scan import PADDING, last_cut
from fastemb.corpus._table import MAX_WORD_BYTES
from fastemb.corpus.compression import HEAD_BYTES, CompressedStream, compression_of, read_fully

BLOCK_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 12
_UTF8_BOM = b"\xef\xbb\xbf"
_STDIN_NAME = "standard input"
FindCut = Callable[[np.ndarray, int], int]


@dataclass
class Piece:
    """A part of a block: from `start` in the block on, bytes of the file `name` from `offset` on."""

    start: int
    name: str
    offset: int


@dataclass
class Block:
    """Text that begins at a word or white space and ends after white space.

    ``buffer[:size]`` is the text and `base` its place in the whole source; the buffer goes on for `PADDING` bytes.
    """

    buffer: np.ndarray
    size: int
    base: int
    pieces: list[Piece]

    def locate(self, position: int) -> tuple[str, int]:
        """Return the file and the offset in it of a place in the block."""
        piece = self.pieces[bisect_right(self.pieces, position, key=lambda piece: piece.start) - 1]
        return piece.name, piece.offset + position - piece.start


class PlainFile:
    """An uncompressed file that any thread may read; it stays open as long as one of its blocks lives."""

    def __init__(self, name: str, descriptor: int, size: int) -> None:
        self.name = name
        self.size = size
        self._descriptor = os.dup(descriptor)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the file's bytes from `offset` on.

        Raises
        ------
        OSError
            If the file cannot be read, or has become shorter.
        """
        while view:
            count = os.preadv(self._descriptor, [view], offset)
            if count == 0:
                raise OSError(_shrunk_message(self.name, self.size, os.fstat(self._descriptor).st_size))
            view = view[count:]
            offset += count

    def last_cut(self, start: int, stop: int, find: FindCut) -> int:
        """Return the place after the last white space from `start` to before `stop`; `start` if there is none."""
        size = min(_WINDOW_BYTES, stop - start)
        while True:
            window = np.empty(size, np.uint8)
            self.read(stop - size, window.data)
            cut = find(window, size)
            if cut or size == stop - start:
                return stop - size + cut
            size = min(4 * size, stop - start)


@dataclass
class FileBlock:
    """Text like a `Block`'s that has not been read yet: `size` bytes of a file from `start` on."""

    file: PlainFile
    start: int
    size: int
    base: int

    def read(self, buffer: np.ndarray) -> None:
        """Read the text into the front of a buffer."""
        self.file.read(self.start, buffer.data[: self.size])

    def locate(self, position: int) -> tuple[str, int]:
        """Return the file and the offset in it of a place in the block."""
        return self.file.name, self.start + position


class TextSource:
    """The text behind a path: a file, a compressed file, a folder of them, or ``"-"`` for standard input; or of files.

    Compression (gzip, bzip2, xz, Zstandard) is recognised by a file's first bytes. A folder's files are read in the
    order of their paths; hidden ones are skipped, and links to folders are not followed. Each file's end ends a line,
    and a UTF-8 byte order mark is skipped.

    Parameters
    ----------
    path
        What to read; several files are read one after the other.
    find_cut
        Finds the place after the last white space of a block, 0 if there is none; what white space is, it decides.
    """

    def __init__(self, path: str | Sequence[str], find_cut: FindCut = last_cut) -> None:
        self._find_cut = find_cut
        if not isinstance(path, str):
            self._paths = list(path)
            self.name = self._paths[0] if len(self._paths) == 1 else f"{len(self._paths)} files"
        else:
            self.name = _STDIN_NAME if path == "-" else path
            self._paths = _list_files(path) if path != "-" and os.path.isdir(path) else [path]
        self._total = _total_size(self._paths)
        self._done = 0
        self._current: _Input | None = None
        self._spare: deque[np.ndarray] = deque()

    @property
    def fraction(self) -> float | None:
        """The part of the (compressed) bytes read so far; None where the size is unknown, as of a pipe."""
        if not self._total:
            return None
        return min(1.0, (self._done + (self._current.bytes_read if self._current else 0)) / self._total)

    def give_back(self, block: Block) -> None:
        """Let the block's buffer be used again."""
        self._spare.append(block.buffer)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[Block | FileBlock]:
        """Read the source, once.

        Of large files only the places to cut are looked for: who scans a block reads it, so that the text need not
        travel from one core's cache to another's.

        Raises
        ------
        OSError
            If a file cannot be read.
        ValueError
            If there is no text, compressed data are damaged, or a word is longer than `MAX_WORD_BYTES`.
        """
        block = Block(self._buffer(block_bytes), 0, 0, [])
        for path in self._paths:
            with _Input(path) as self._current:
                block = yield from self._plain_blocks(self._current, block, block_bytes)
                block = yield from self._file_blocks(self._current, block, block_bytes)
                self._done += self._current.bytes_read
            self._current = None
        if block.base + block.size == 0:
            raise ValueError(f"{self.name} is empty")
        if block.size:
            yield block

    def _plain_blocks(
        self, source: "_Input", block: Block, block_bytes: int
    ) -> Generator[Block | FileBlock, None, Block]:
        """Yield what is in the block and all of a plain file but its end; return the block to be filled."""
        file = source.plain_file()
        start, size = source.offset, block_bytes
        if file is None or start + size >= file.size:
            return block
        base = block.base + block.size
        if block.size:
            yield block
            block = Block(self._buffer(block_bytes), 0, base, [])
        while start + size < file.size:
            cut = file.last_cut(start, start + size, self._find_cut)
            if cut > start:
                source.skip_to(cut, file.size)
                yield FileBlock(file, start, cut - start, base)
                base += cut - start
                start, size = cut, block_bytes
            elif size <= MAX_WORD_BYTES:
                size *= 2
            else:
                raise ValueError(long_word_message(source.name, start))
        block.base = base
        return block

    def _file_blocks(self, source: "_Input", block: Block, block_bytes: int) -> Generator[Block, None, Block]:
        """Append a file to the block, yield what gets full, and return the block that is being filled."""
        block.pieces.append(Piece(block.size, source.name, source.offset))
        last = b"\n"[0]
        while True:
            room = len(block.buffer) - PADDING - 1
            if block.size == room:
                cut = self._find_cut(block.buffer, block.size)
                if cut:
                    following = self._split(block, cut, block_bytes)
                    yield block
                    block = following
                else:
                    self._grow(block)
                continue
            count = source.readinto(block.buffer.data[block.size : room])
            if count == 0:
                source.check_end()
                break
            block.size += count
            last = block.buffer[block.size - 1]
        if last != b"\n"[0]:
            block.buffer[block.size] = b"\n"[0]
            block.size += 1
        return block

    def _split(self, block: Block, cut: int, block_bytes: int) -> Block:
        """Move what follows `cut` to a new block."""
        rest = block.size - cut
        name, offset = block.locate(cut)
        following = Block(self._buffer(max(block_bytes, rest + 1)), rest, block.base + cut, [Piece(0, name, offset)])
        following.buffer[:rest] = block.buffer[cut : block.size]
        block.size = cut
        return following

    def _buffer(self, size: int) -> np.ndarray:
        # One byte more for the line end that a file may lack.
        needed = size + 1 + PADDING
        while self._spare:
            buffer = self._spare.pop()
            if needed <= len(buffer) <= 2 * needed:
                return buffer
        return np.empty(needed, np.uint8)

    def _grow(self, block: Block) -> None:
        if block.size > MAX_WORD_BYTES:
            raise ValueError(long_word_message(*block.locate(0)))
        buffer = np.empty(2 * len(block.buffer), np.uint8)
        buffer[: block.size] = block.buffer[: block.size]
        block.buffer = buffer


def _shrunk_message(name: str, before: int, now: int) -> str:
    """Say that a file became shorter."""
    return f"{name} became shorter while it was read: it had {before:,} bytes and has {now:,} now"


def long_word_message(name: str, offset: int) -> str:
    """Say where a word is too long to be one."""
    return (
        f"{name}: no white space in the {MAX_WORD_BYTES:,} bytes from byte {offset:,} on; "
        "is this text with words separated by white space?"
    )


def _list_files(folder: str) -> list[str]:
    def fail(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(parent, name) for name in files if not name.startswith(".")]
    # A broken link stays in the list, so that opening it says so.
    found = [path for path in found if os.path.isfile(path) or not os.path.exists(path)]
    if not found:
        raise ValueError(f"the folder {folder} holds no files (hidden ones do not count)")
    return sorted(found, key=lambda path: path.split(os.sep))


def _total_size(paths: list[str]) -> int | None:
    total = 0
    for path in paths:
        try:
            status = os.fstat(sys.stdin.fileno()) if path == "-" else os.stat(path)
        except (OSError, ValueError, AttributeError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total


class _Input:
    """A file's text, decompressed if need be, without its byte order mark; a context manager."""

    def __init__(self, path: str) -> None:
        self.name = _STDIN_NAME if path == "-" else path
        self.bytes_read = self._least = 0
        self.offset = 0
        self._owns = path != "-"
        self._raw: Any = _standard_input() if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115
        self._pushed = b""
        self._compressed: CompressedStream | None = None
        try:
            self._look_at_head()
        except BaseException:
            self.close()
            raise

    def _look_at_head(self) -> None:
        self._pushed = self._read(HEAD_BYTES)
        name = compression_of(self._pushed)
        if name is not None:
            self._compressed = CompressedStream(self.name, name, self._read, self._pushed)
            self._pushed = read_fully(self._compressed.readinto, len(_UTF8_BOM))
        if self._pushed.startswith(_UTF8_BOM):
            self.offset = len(_UTF8_BOM)
            self._pushed = self._pushed[self.offset :]

    def __enter__(self) -> "_Input":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._owns:
            self._raw.close()

    def plain_file(self) -> PlainFile | None:
        """Return the file for threads to read; None where it must be read in order."""
        if not self._owns or self._compressed or not hasattr(os, "preadv"):
            return None
        status = os.fstat(self._raw.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        return PlainFile(self.name, self._raw.fileno(), status.st_size)

    def skip_to(self, offset: int, size: int) -> None:
        """Go on at a place of a plain file of at least `size` bytes."""
        self._raw.seek(offset)
        self._pushed = b""
        self.offset = self.bytes_read = offset
        self._least = size

    def check_end(self) -> None:
        """Refuse a file that has become shorter."""
        if self.bytes_read < self._least:
            raise OSError(_shrunk_message(self.name, self._least, self.bytes_read))

    def readinto(self, view: memoryview) -> int:
        """Fill the front of `view` and return the number of bytes, 0 at the end."""
        if self._pushed:
            count = min(len(view), len(self._pushed))
            view[:count] = self._pushed[:count]
            self._pushed = self._pushed[count:]
            return count
        return self._compressed.readinto(view) if self._compressed else self._readinto(view)

    def _readinto(self, view: memoryview) -> int:
        count = self._raw.readinto(view)
        if count is None:
            raise BlockingIOError(f"{self.name} is in non-blocking mode and has no data")
        self.bytes_read += count
        return count

    def _read(self, size: int) -> bytes:
        """Read `size` bytes of the file, fewer only at its end."""
        return read_fully(self._readinto, size)


def _standard_input() -> Any:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise ValueError("source is '-', but there is no standard input to read")
    return stream
