"""Opening files to read, and writing them so that a failure leaves what was there before."""

import gzip
import io
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

PathLike = str | os.PathLike[str]

GZIP_MAGIC = b"\x1f\x8b"
# Deflate stores at most 258 bytes in 2 bits, so no honest file grows by more than this when it is unpacked.
MAX_GZIP_RATIO = 1032
# Linux keeps what is written in pages as large as the call, and larger ones take it up to five times as long.
_MOST_WRITTEN = 1 << 16
_BLOCK = 1 << 22


@contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """Write a file under a temporary name in its own folder and rename it when the block ends.

    When the block raises (a full disk, Ctrl-C), the temporary file is removed and an older file at `path` is intact.

    Parameters
    ----------
    path : str or PathLike
        The file to write. A symbolic link is followed, an existing file's permissions are kept.

    Yields
    ------
    BinaryIO
        An unbuffered binary file; its ``write`` always writes everything that it is given. It can be mapped.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If `path` is a folder.
    ValueError
        If `path` is something else than a regular file, such as a device or a pipe.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(folder + "/a") as file:
    ...         _ = file.write(b"text")
    ...     Path(folder, "a").read_bytes()
    b'text'
    """
    target = Path(os.path.realpath(os.fspath(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {os.fspath(path)!r}: the folder {str(target.parent)!r} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {os.fspath(path)!r}: it is a folder")
    if target.exists() and not target.is_file():
        raise ValueError(f"cannot write {os.fspath(path)!r}: it is not a regular file")
    temporary = target.with_name(f".fastemb-{secrets.token_hex(6)}.tmp")
    try:
        with _FullWriter(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), "w") as file:
            file.target = os.fspath(path)
            yield file
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class _FullWriter(io.FileIO):
    """A raw file whose `write` is never short, and names the file that the user knows when the disk is full."""

    target: str | None = None

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            try:
                done += super().write(view[done : done + _MOST_WRITTEN]) or 0
            except OSError as error:
                error.filename = self.target
                raise
        return done


def require_file(path: PathLike) -> Path:
    """Return `path` as a Path to an existing file that is not empty.

    Raises
    ------
    FileNotFoundError
        If there is none.
    IsADirectoryError
        If it is a folder.
    ValueError
        If the file is empty.
    """
    found = Path(path)
    if found.is_dir():
        raise IsADirectoryError(f"{str(found)!r} is a folder, not a file of vectors")
    if not found.exists():
        raise FileNotFoundError(f"no such file: {str(found)!r}")
    if found.stat().st_size == 0:
        raise ValueError(f"{str(found)!r} is empty")
    return found


@contextmanager
def reading(path: PathLike) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file, unpacking it when it starts as gzip does.

    Parameters
    ----------
    path : str or PathLike
        The file to read.

    Yields
    ------
    file : BinaryIO
        The bytes; seekable.
    limit : int
        No more than this many bytes can be in it: the size of a plain file, a bound for a packed one.

    Raises
    ------
    ValueError
        If the packed data are truncated or corrupt; raised from inside the block.
    """
    found = require_file(path)
    size = found.stat().st_size
    with open(found, "rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not packed:
            yield raw, size
            return
        try:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield io.BufferedReader(unpacked, 1 << 20), size * MAX_GZIP_RATIO
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{str(found)!r} is a truncated or corrupt gzip file: {error}") from error


def write_array(file: BinaryIO, array: np.ndarray) -> None:
    """Write an array's items in C order and little-endian, copying at most a block at a time."""
    little = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == little:
        if array.size:
            file.write(array.data.cast("B"))
        return
    rows = array.reshape(-1, 1) if array.ndim < 2 else array
    step = max(1, _BLOCK // max(1, rows[0:1].nbytes))
    for first in range(0, len(rows), step):
        file.write(np.ascontiguousarray(rows[first : first + step], dtype=little).tobytes())
