"""Which format a file is in: by its content, and where that leaves a doubt, by its suffix."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fastemb.engine.validate import choice, integer
from fastemb.formats import fasttext, finalfusion, floret, glove, npy, safetensors, word2vec
from fastemb.formats.files import PathLike, reading, replacing
from fastemb.formats.rows import is_number
from fastemb.formats.subwords import SubwordTable
from fastemb.formats.table import Table
from fastemb.formats.words import ERRORS

FORMATS = ("safetensors", "word2vec", "word2vec-binary", "glove", "npy", "fasttext", "floret", "finalfusion")
SUFFIXES = {
    ".safetensors": "safetensors",
    ".txt": "word2vec",
    ".vec": "word2vec",
    ".w2v": "word2vec",
    ".bin": "word2vec-binary",
    ".glove": "glove",
    ".npy": "npy",
    ".ftz": "fasttext",
    ".floret": "floret",
    ".fifu": "finalfusion",
    ".model": "safetensors",
    ".kv": "safetensors",
    ".wordvectors": "safetensors",
}
_READERS: dict[str, Callable[[PathLike, str, int | None], Table]] = {
    "safetensors": safetensors.read_table,
    "word2vec": word2vec.read_text,
    "word2vec-binary": word2vec.read_binary,
    "glove": glove.read_text,
    "npy": npy.read_table,
    "fasttext": fasttext.read_table,
    "floret": floret.read_text,
    "finalfusion": finalfusion.read_table,
}
_WHOLE_WRITERS: dict[str, Callable[[PathLike, Table], None]] = {
    "safetensors": safetensors.write_table,
    "npy": npy.write_table,
    "fasttext": fasttext.write_table,
}
_STREAM_WRITERS: dict[str, Callable[[BinaryIO, Table], None]] = {
    "word2vec": word2vec.write_text,
    "word2vec-binary": word2vec.write_binary,
    "glove": glove.write_text,
    "floret": floret.write_text,
    "finalfusion": finalfusion.write_table,
}
_PICKLE = (
    "a Python pickle, as gensim's save writes, and could run any code if it was read; load it where it was made and "
    "write its vectors with save_word2vec_format(name, binary=True)"
)
# Files that people try, and that are something else.
_FOREIGN = {
    b"\x80\x02": _PICKLE,
    b"\x80\x03": _PICKLE,
    b"\x80\x04": _PICKLE,
    b"\x80\x05": _PICKLE,
    b"PK\x03\x04": "a zip archive; unpack it",
    b"BZh": "a bzip2 file; unpack it",
    b"\xfd7zXZ\x00": "an xz file; unpack it",
    b"\x28\xb5\x2f\xfd": "a zstandard file; unpack it",
}


def read(path: PathLike, *, format: str | None = None, errors: str = "strict", limit: int | None = None) -> Table:
    r"""Read word vectors from a file.

    Parameters
    ----------
    path : str or PathLike
        A file in any of the formats; text and word2vec binary may be packed by gzip.
    format : str, optional
        Of "safetensors", "word2vec", "word2vec-binary", "glove", "npy", "fasttext", "floret" and "finalfusion".
        Default: told from the content and the suffix.
    errors : {"strict", "surrogateescape", "replace", "ignore"}
        What to do with words that are not UTF-8: raise, keep their bytes as lone surrogates (and write the same bytes
        again), put U+FFFD, or drop the bytes.
    limit : int, optional
        Read only this many words, the first ones; default all.

    Returns
    -------
    Table
        A word that is there twice keeps its first vector, with a warning (in safetensors, npy and fastText's models,
        which are not read whole, both rows stay). Of formats that hold n-grams, a `SubwordTable`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the file is empty, truncated, corrupt or in no format that is known here; the message names the file and, in
        text, the line.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "vectors.txt")
    ...     _ = path.write_text("2 3\nto 1 0 0\nbe 0 1 0.5\n")
    ...     table = read(path)
    >>> table.words, table.vectors[1].tolist()
    (['to', 'be'], [0.0, 1.0, 0.5])
    """
    choice("errors", errors, ERRORS)
    if limit is not None:
        limit = integer("limit", limit, 1)
    if format is None:
        format = detect(path)
    return _READERS[choice("format", format, FORMATS)](path, errors, limit)


def write(path: PathLike, table: Table, *, format: str | None = None) -> None:
    r"""Write word vectors to a file.

    The file is written under another name and renamed, so that a failure leaves an older file as it was.

    Parameters
    ----------
    path : str or PathLike
        The file. Text and word2vec binary are packed by gzip if the name ends in ``.gz``.
    table : Table
        What to write; memory use does not grow with its size.
    format : str, optional
        Of "safetensors", "word2vec", "word2vec-binary", "glove", "npy", "fasttext", "floret" and "finalfusion".
        Default: told by the suffix: ``.safetensors``, or what gensim's users write: ``.model``, ``.kv``,
        ``.wordvectors``; ``.txt``, ``.vec`` or ``.w2v`` for word2vec text; ``.bin`` for fastText's model where the
        table has n-grams, else for word2vec binary; ``.ftz`` for fastText's model; ``.floret``; ``.glove``; ``.npy``
        (with the words in ``.vocab.txt`` beside it).

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the suffix tells no format, or the format cannot hold a word (the message names it) or vectors of size 0.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text, binary = pathlib.Path(folder, "vectors.txt"), pathlib.Path(folder, "vectors.bin")
    ...     _ = text.write_text("1 2\n" + "to 0.5 1\n")
    ...     write(binary, read(text))
    ...     read(binary).words
    ['to']
    """
    if format is None and isinstance(table, SubwordTable) and Path(path).suffix.lower() == ".bin":
        format = "fasttext"
    format = format_for(path, format)
    if format in _WHOLE_WRITERS:
        _WHOLE_WRITERS[format](path, table)
        return
    if not isinstance(table, SubwordTable) and not table.vectors.shape[1]:
        raise ValueError(f"{format} files cannot hold vectors of size 0; safetensors and npy can")
    packed = _without_gz(path)[1]
    with replacing(path) as file:
        if packed:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as stream:
                _STREAM_WRITERS[format](stream, table)  # type: ignore[arg-type]
        else:
            _STREAM_WRITERS[format](file, table)


def format_for(path: PathLike, format: str | None = None) -> str:
    """Return the format in which a file of this name is written: `format`, or what the suffix tells.

    Raises
    ------
    ValueError
        If the suffix tells no format, or the format cannot be packed by gzip and the name ends in ``.gz``.

    Examples
    --------
    >>> format_for("vectors.txt.gz")
    'word2vec'
    """
    plain, packed = _without_gz(path)
    if format is None:
        format = SUFFIXES.get(Path(plain).suffix.lower())
        if format is None:
            raise ValueError(
                f"cannot tell a format from the name {os.fspath(path)!r}: end it in one of {', '.join(SUFFIXES)}, "
                f"or say which: {', '.join(FORMATS)}"
            )
    choice("format", format, FORMATS)
    if packed and format in _WHOLE_WRITERS:
        raise ValueError(f"{format} files are opened as memory maps and cannot be packed: {os.fspath(path)!r}")
    return format


def _without_gz(path: PathLike) -> tuple[str, bool]:
    name = os.fspath(path)
    return (name[:-3], True) if name.lower().endswith(".gz") else (name, False)


def detect(path: PathLike) -> str:
    """Return the format of an existing file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it is in none of the formats.
    """
    with reading(path) as (file, _):
        sample = file.read(glove.SAMPLE)
    suffix = SUFFIXES.get(Path(_without_gz(path)[0]).suffix.lower())
    if sample.startswith(npy.MAGIC):
        return "npy"
    if sample.startswith(finalfusion.MAGIC):
        return "finalfusion"
    if sample[8:9] == b"{" and sample[4:8] == bytes(4):
        return "safetensors"
    if sample.startswith(fasttext.MAGIC_BYTES) or (suffix == "word2vec-binary" and fasttext.looks_old(sample)):
        return "fasttext"
    for magic, what in _FOREIGN.items():
        if sample.startswith(magic):
            raise ValueError(f"{os.fspath(path)!r} is {what}")
    if suffix in ("safetensors", "npy"):
        return suffix
    first, _, rest = sample.partition(b"\n")
    if floret.parse_header(first) is not None:
        return "floret"
    if word2vec.parse_header(first) is None:
        return _headless(path, sample, suffix)
    return _headed(rest, suffix)


def _headed(rest: bytes, suffix: str | None) -> str:
    """Tell word2vec's text from its binary by what follows the header."""
    row, newline, _ = rest.partition(b"\n")
    # The last field may be cut where the sample ends.
    numbers = row.split()[1:] if newline else row.split()[1:-1]
    if numbers and all(map(is_number, numbers)):
        return "word2vec"
    is_binary = _has_control_bytes(rest) or (suffix == "word2vec-binary" and rest)
    return "word2vec-binary" if is_binary else "word2vec"


def _headless(path: PathLike, sample: bytes, suffix: str | None) -> str:
    if suffix == "word2vec-binary" or _has_control_bytes(sample) or glove.vector_size(sample) is None:
        raise ValueError(f"{os.fspath(path)!r} is in no format that is known here: {', '.join(FORMATS)}")
    return "glove"


def _has_control_bytes(sample: bytes) -> bool:
    return len(sample.translate(None, bytes(range(9)) + bytes(range(14, 32)))) < len(sample)
