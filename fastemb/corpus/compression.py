"""Compressed text as a stream: gzip, bzip2, xz and Zstandard, recognised by their first bytes."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

HEAD_BYTES = 10
_CHUNK_BYTES = 1 << 17
# zstandard cannot bound what a piece of input becomes; a piece this small is at most some 256 MB.
_ZSTANDARD_CHUNK_BYTES = 1 << 13
_OUTPUT_BYTES = 1 << 20
# What follows bzip2's first four bytes: a block, or the end of an empty file.
_BZIP2_BLOCKS = (bytes.fromhex("314159265359"), bytes.fromhex("177245385090"))


def compression_of(head: bytes) -> str | None:
    """Return the name of the compression that a file with these first bytes has, None for plain text.

    Examples
    --------
    >>> compression_of(bytes.fromhex("1f8b0800")), compression_of(b"the cat")
    ('gzip', None)
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"BZh") and head[4:10] in _BZIP2_BLOCKS:
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "Zstandard"
    return None


class _Decompressor(Protocol):
    """What bz2's and lzma's decompressors have: one member of a file."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's decompressor of gzip members behind the methods of bz2's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Zstandard:
    """zstandard's decompressor of frames behind the methods of bz2's."""

    needs_input = True

    def __init__(self) -> None:
        self._inner = _import_zstandard().ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(data)


def _import_zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise ImportError("reading .zst files needs the package zstandard: pip install 'fastemb[zstd]'") from None
    return zstandard


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "Zstandard": _Zstandard,
}


def read_fully(readinto: Callable[[memoryview], int], size: int) -> bytes:
    """Return `size` bytes, fewer only at the end, where `readinto` returns 0."""
    data = bytearray(size)
    done = 0
    while done < size:
        count = readinto(memoryview(data)[done:])
        if count == 0:
            break
        done += count
    return bytes(data[:done])


class CompressedStream:
    """The text of a compressed file, all its members one after the other.

    Parameters
    ----------
    name
        The file's name, for messages.
    compression
        What `compression_of` returned.
    read
        Reads so many bytes of the file, fewer only at its end.
    head
        What has been read already.

    Raises
    ------
    ImportError
        If the package for this compression is missing.
    """

    def __init__(self, name: str, compression: str, read: Callable[[int], bytes], head: bytes) -> None:
        self.name, self.compression = name, compression
        self._chunk_bytes = _ZSTANDARD_CHUNK_BYTES if compression == "Zstandard" else _CHUNK_BYTES
        self._read_file = read
        self._input = head
        self._output = memoryview(b"")
        self._member = _DECOMPRESSORS[compression]()

    def readinto(self, view: memoryview) -> int:
        """Fill the front of `view` and return the number of bytes, 0 at the end.

        Raises
        ------
        ValueError
            If the data are damaged or end too soon.
        """
        while not self._output:
            if self._member.eof and not self._next_member():
                return 0
            self._output = memoryview(self._decompress())
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _decompress(self) -> bytes:
        """Return the next piece of the member at hand, which may be empty."""
        if not self._input and self._member.needs_input:
            self._input = self._read_file(self._chunk_bytes)
            if not self._input:
                raise ValueError(f"{self.name} is cut off: its {self.compression} data end too soon")
        data, self._input = self._input, b""
        try:
            return self._member.decompress(data, _OUTPUT_BYTES)
        except Exception as error:
            # Each library has an error of its own, and zstandard's cannot be named without importing it.
            if isinstance(error, MemoryError):
                raise
            raise ValueError(f"{self.name} is damaged: its {self.compression} data are invalid ({error})") from error

    def _next_member(self) -> bool:
        """Go on to the next member; false at the end of the file, which zeros may pad."""
        rest = self._member.unused_data.lstrip(b"\0")
        while len(rest) < HEAD_BYTES:
            chunk = self._read_file(self._chunk_bytes)
            if not chunk:
                break
            rest = (rest + chunk).lstrip(b"\0")
        if not rest:
            return False
        if compression_of(rest) != self.compression:
            raise ValueError(f"{self.name} is damaged: {self.compression} data are followed by something else")
        self._input = rest
        self._member = _DECOMPRESSORS[self.compression]()
        return True
