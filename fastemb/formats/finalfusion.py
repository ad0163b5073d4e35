"""finalfusion's format: chunks of words, of a table, and maybe of norms, in one file that is read as a memory map.

A file is ``FiFu``, a version and the identifiers of its chunks; each chunk is its identifier, its length and its bytes
(https://finalfusion.github.io/spec). Of embeddings with n-grams the words' own rows are read.
"""

import math
import mmap
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastemb.formats.files import PathLike, require_file
from fastemb.formats.table import Table, finished
from fastemb.formats.words import WordCollector

MAGIC = b"FiFu"
_WORDS, _TABLE, _BUCKETS, _CODES, _METADATA, _NORMS, _FASTTEXT, _EXPLICIT = range(1, 9)
# Kinds of vocabulary, and the bytes between the number of words and the words.
_VOCABULARIES = {_WORDS: 0, _BUCKETS: 12, _FASTTEXT: 12, _EXPLICIT: 16}
_FLOAT32 = 10
_MOST_CHUNKS = 64
_BLOCK = 1 << 12
_HEADER, _CHUNK, _MATRIX = struct.Struct("<4sII"), struct.Struct("<IQ"), struct.Struct("<QII")


def read_table(path: PathLike, errors: str = "strict", limit: int | None = None) -> Table:
    """Read the words and the vectors of a finalfusion file.

    Parameters
    ----------
    path : str or PathLike
    errors : str
        What to do with words that are not UTF-8, see `fastemb.formats.read`.
    limit : int, optional
        Give only this many words, the first ones.

    Returns
    -------
    Table
        Its vectors are a read-only memory map, or a copy where the file has norms, which they are multiplied by.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated or corrupt, or holds product-quantized vectors.
    """
    found = require_file(path)
    with open(found, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    chunks = _chunks(found, view)
    kind = next((kind for kind in _VOCABULARIES if kind in chunks), None)
    if kind is None or _TABLE not in chunks:
        what = "product-quantized vectors" if _CODES in chunks else "no vocabulary that is known here, or no vectors"
        raise ValueError(f"{str(found)!r} is a finalfusion file with {what}")
    words = _read_words(found, view, kind, *chunks[kind])
    vectors = _read_array(found, view, *chunks[_TABLE], "<QII")
    norms = _read_array(found, view, *chunks[_NORMS], "<QI") if _NORMS in chunks else None
    for name, array in (("vectors", vectors), ("norms", norms)):
        if array is not None and len(array) < len(words):
            raise _bad(found, f"it has {len(words)} words and {len(array)} {name}")
    vectors = vectors[: len(words)]
    table = finished(words, vectors if norms is None else vectors * norms[: len(words), None], errors, repr(str(found)))
    if limit is None or limit >= len(table.vocabulary):
        return table
    return Table(table.vocabulary.first(limit), table.vectors[:limit])


def write_table(file: BinaryIO, table: Table) -> None:
    """Write words and vectors as finalfusion's programs read them."""
    num_words, size = table.vectors.shape
    lengths = np.diff(table.vocabulary.offsets)
    length = 8 + 4 * num_words + int(lengths.sum())
    data = _HEADER.size + 8 + 2 * _CHUNK.size + length + _MATRIX.size
    padding = -data % 4
    file.write(_HEADER.pack(MAGIC, 0, 2) + struct.pack("<II", _WORDS, _TABLE))
    file.write(_CHUNK.pack(_WORDS, length) + struct.pack("<Q", num_words))
    for start in range(0, num_words, _BLOCK):
        names = table.vocabulary.as_bytes(start, start + _BLOCK)
        file.write(b"".join([struct.pack("<I", len(name)) + name for name in names]))
    file.write(_CHUNK.pack(_TABLE, _MATRIX.size + padding + 4 * num_words * size))
    file.write(_MATRIX.pack(num_words, size, _FLOAT32) + bytes(padding))
    for start in range(0, num_words, _BLOCK):
        file.write(np.ascontiguousarray(table.vectors[start : start + _BLOCK], "<f4").tobytes())


def _bad(path: Path, what: str) -> ValueError:
    return ValueError(f"{str(path)!r} is not a valid finalfusion file: {what}")


def _chunks(path: Path, view: mmap.mmap) -> dict[int, tuple[int, int]]:
    """Return where the bytes of each kind of chunk begin and end."""
    if len(view) < _HEADER.size or view[:4] != MAGIC:
        raise _bad(path, "it does not begin with 'FiFu' and a header")
    _, version, number = _HEADER.unpack_from(view)
    if version != 0 or number > _MOST_CHUNKS:
        raise _bad(path, f"it is of version {version} and claims {number} chunks")
    found: dict[int, tuple[int, int]] = {}
    at = _HEADER.size + 4 * number
    for _ in range(number):
        if at + _CHUNK.size > len(view):
            raise _bad(path, f"a chunk begins at byte {at}, and the file has {len(view)}; is it truncated?")
        kind, length = _CHUNK.unpack_from(view, at)
        at += _CHUNK.size
        if length > len(view) - at:
            raise _bad(path, f"a chunk of {length} bytes begins at byte {at} of {len(view)}; is it truncated?")
        found.setdefault(kind, (at, at + length))
        at += length
    return found


def _read_words(path: Path, view: mmap.mmap, kind: int, begin: int, end: int) -> WordCollector:
    """Return the words of a vocabulary, which lie one after the other behind their lengths."""
    at = begin + 8 + _VOCABULARIES[kind]
    if at > end:
        raise _bad(path, "its vocabulary is too short")
    number = int.from_bytes(view[begin : begin + 8], "little")
    if number > (end - at) // 4:
        raise _bad(path, f"it claims {number} words, and {end - at} bytes follow")
    words, block = WordCollector(), []
    for place in range(number):
        stop = at + 4 + int.from_bytes(view[at : at + 4], "little")
        if stop > end:
            raise _bad(path, f"word {place} does not end within the vocabulary")
        block.append(view[at + 4 : stop])
        at = stop
        if len(block) == _BLOCK:
            words.extend(block)
            block = []
    words.extend(block)
    return words


def _read_array(path: Path, view: mmap.mmap, begin: int, end: int, head: str) -> np.ndarray:
    """Return the numbers of a chunk as a read-only memory map; `head` is "<QII" for a table, "<QI" for norms."""
    size = struct.calcsize(head)
    if end - begin < size:
        raise _bad(path, "its array is too short")
    *shape, kind = struct.unpack_from(head, view, begin)
    needed = 4 * math.prod(shape)
    # As many bytes as it takes to align the numbers; some writers put four where none are needed.
    padding = end - begin - size - needed
    if kind != _FLOAT32 or not 0 <= padding <= 4:
        raise _bad(path, f"an array of shape {tuple(shape)} and type {kind} has {end - begin - size} bytes")
    return np.frombuffer(view, "<f4", math.prod(shape), end - needed if needed else 0).reshape(shape)
