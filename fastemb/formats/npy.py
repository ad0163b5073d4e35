r"""NumPy's .npy with the words in a text file beside it: ``vectors.npy`` and ``vectors.vocab.txt``.

The vocabulary has a line a row: the word, and a tab and its count where counts are known. In words a newline, a
carriage return, a tab and a backslash are written ``\n``, ``\r``, ``\t`` and ``\\``.
"""

import ast
import mmap
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats.files import PathLike, reading, replacing, require_file
from fastemb.formats.safetensors import write_array
from fastemb.formats.table import Table, as_float32
from fastemb.formats.words import WordCollector, decoded

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16
_BLOCK = 1 << 12
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}


def vocabulary_path(path: PathLike) -> Path:
    """Return where the words of an .npy file are: ``vectors.vocab.txt`` for ``vectors.npy``.

    Examples
    --------
    >>> vocabulary_path("out/vectors.npy").name
    'vectors.vocab.txt'
    """
    return Path(path).with_suffix(".vocab.txt")


def read_table(path: PathLike, errors: str = "strict", limit: int | None = None) -> Table:
    """Read an .npy file and the words beside it.

    Parameters
    ----------
    path : str or PathLike
        The .npy file, a table of float16, float32 or float64.
    errors : str
        What to do with words that are not UTF-8, see `fastemb.formats.read`.
    limit : int, optional
        Give only this many words, the first ones.

    Returns
    -------
    Table
        Its vectors are a read-only memory map, or a copy if they are not float32 in C order.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If one of them is wrong, or they have different numbers of rows.
    """
    vectors = _read_array(require_file(path))
    place = vocabulary_path(path)
    if not place.exists():
        raise FileNotFoundError(f"no such file: {str(place)!r}; it must hold the words of {str(path)!r}, one a line")
    words = _read_vocabulary(place)
    if len(words) != len(vectors):
        raise ValueError(f"{str(path)!r} has {len(vectors)} rows and {str(place)!r} has {len(words)} words")
    stop = len(words) if limit is None else min(limit, len(words))
    return Table(decoded(words.first(stop), errors), as_float32(vectors[:stop]))


def write_table(path: PathLike, table: Table) -> None:
    """Write an .npy file and the words beside it."""
    header = {"descr": "<f4", "fortran_order": False, "shape": table.vectors.shape}
    with replacing(path) as file, replacing(vocabulary_path(path)) as vocabulary:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(table.vectors), _BLOCK):
            write_array(file, table.vectors[start : start + _BLOCK])
        _write_vocabulary(vocabulary, table)


def _read_array(path: Path) -> np.ndarray:
    """Map the array of an .npy file after a check of its header."""
    with open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if view[:6] != MAGIC or len(view) < 12 or view[6] not in (1, 2, 3):
        raise ValueError(f"{str(path)!r} is not an .npy file")
    width = 2 if view[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(view[8:start], "little")
    if length > min(_MAX_HEADER, len(view) - start):
        raise ValueError(f"{str(path)!r}: claims a header of {length} bytes; it is truncated or corrupt")
    dtype, shape, is_fortran = _parse_header(path, view[start : start + length])
    num_rows, dim = shape
    if num_rows * dim * dtype.itemsize != len(view) - start - length:
        raise ValueError(
            f"{str(path)!r}: {num_rows} rows of {dim} {dtype} need {num_rows * dim * dtype.itemsize} bytes, and "
            f"{len(view) - start - length} are there; it is truncated or corrupt"
        )
    if not num_rows * dim:
        return np.zeros(shape, np.float32)
    flat = np.frombuffer(view, dtype, num_rows * dim, start + length)
    return flat.reshape(dim, num_rows).T if is_fortran else flat.reshape(num_rows, dim)


def _parse_header(path: Path, text: bytes) -> tuple[np.dtype, tuple[int, int], bool]:
    try:
        header = ast.literal_eval(text.decode("utf-8").strip())
        descr, shape, is_fortran = header["descr"], header["shape"], header["fortran_order"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ValueError(f"{str(path)!r}: the .npy header cannot be read: {error}") from error
    if descr not in ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8"):
        raise ValueError(f"{str(path)!r}: must hold float16, float32 or float64, got dtype {descr!r:.80}")
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(_is_size(size) for size in shape):
        raise ValueError(f"{str(path)!r}: must have two dimensions, words and vector size, got {shape!r:.80}")
    return np.dtype(descr), shape, is_fortran is True


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _read_vocabulary(path: Path) -> Vocabulary:
    collector = WordCollector()
    counts: list[int] = []
    number = 0
    if not path.stat().st_size:
        return Vocabulary.from_bytes([])
    with reading(path) as (file, _):
        for line in file:
            number += 1
            word, tab, count = line.removesuffix(b"\n").partition(b"\t")
            if bool(tab) != bool(counts) and number > 1:
                raise ValueError(f"{str(path)!r}, line {number}: either all lines have a tab and a count or none")
            if tab:
                if not count.isdigit() or len(count) > 18:
                    raise ValueError(f"{str(path)!r}, line {number}: the count must be an integer, got {count!r:.80}")
                counts.append(int(count))
            collector.extend([_unescaped(word)])
    words, _ = collector.finish()
    return Vocabulary(words.packed, words.offsets, np.array(counts, np.int64) if counts else None)


def _unescaped(word: bytes) -> bytes:
    if b"\\" not in word:
        return word
    return re.sub(rb"\\[\\nrt]", lambda found: _UNESCAPES[found[0]], word)


def _escaped(word: bytes) -> bytes:
    return re.sub(rb"[\\\n\r\t]", lambda found: _ESCAPES[found[0]], word)


def _write_vocabulary(file: BinaryIO, table: Table) -> None:
    for start in range(0, len(table.vocabulary), _BLOCK):
        names = [_escaped(word) for word in table.vocabulary.as_bytes(start, start + _BLOCK)]
        if table.counts is None:
            file.write(b"".join([b"%b\n" % name for name in names]))
        else:
            counts = table.counts[start : start + _BLOCK].tolist()
            file.write(b"".join([b"%b\t%d\n" % pair for pair in zip(names, counts, strict=True)]))
