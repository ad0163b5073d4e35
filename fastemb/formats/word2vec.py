"""word2vec's formats: a line with the number of words and the vector size, then a row a word, as text or binary.

A text row is the word, a space and the numbers (word2vec.c ends it with a space). A binary row is the word, a space and
little-endian float32 (word2vec.c ends it with a newline, gensim does not); both dialects are read.
"""

from typing import BinaryIO

import numpy as np

from fastemb.formats.files import PathLike, reading
from fastemb.formats.rows import checked_words, count_lines, parse_rows, require_finite, write_rows
from fastemb.formats.table import Table, finished
from fastemb.formats.words import WordCollector

_BLOCK = 1 << 20
_MAX_HEADER = 128
_MAX_WORD = 1 << 16
_FORBIDDEN = (b" ", b"\n")


def parse_header(line: bytes) -> tuple[int, int] | None:
    r"""Return the number of words and the vector size in a header line, or None where the line is not a header.

    Examples
    --------
    >>> parse_header(b"71291 200\n")
    (71291, 200)
    >>> parse_header(b"the 0.1\n")
    """
    fields = line.split()
    if len(fields) != 2 or len(line) > _MAX_HEADER or not all(field.isdigit() for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _read_header(path: PathLike, file: BinaryIO, most: int, row_bytes: int) -> tuple[int, int]:
    """Return a header's two numbers, after a check that a file of at most `most` bytes can hold such rows."""
    line = file.readline(_MAX_HEADER)
    header = parse_header(line)
    if header is None:
        raise ValueError(f"{str(path)!r}, line 1: must be the number of words and the vector size, got {line!r:.80}")
    num_words, dim = header
    if dim < 1:
        raise ValueError(f"{str(path)!r}, line 1: the vector size must be at least 1, got {dim}")
    if num_words * (1 + dim * row_bytes) > most:
        raise ValueError(
            f"{str(path)!r}, line 1: claims {num_words} words of size {dim}, and the file is too small for them; "
            "it is truncated or corrupt"
        )
    return num_words, dim


def read_text(path: PathLike, errors: str = "strict", limit: int | None = None) -> Table:
    """Read word2vec text with a header.

    Parameters
    ----------
    path : str or PathLike
        The file; may be packed by gzip.
    errors : str
        What to do with words that are not UTF-8, see `fastemb.formats.read`.
    limit : int, optional
        Read at most this many words.

    Raises
    ------
    ValueError
        If the file is not such a file; the message names the line.
    """
    with reading(path) as (file, most):
        num_words, dim = _read_header(path, file, most, 2)
        body = file.tell()
        wanted = num_words if limit is None else min(num_words, limit)
        lines = count_lines(file, wanted + 1)
        if lines < wanted:
            raise ValueError(f"{str(path)!r}: line 1 claims {num_words} words, and {lines} lines follow")
        file.seek(body)
        collector, vectors, left = parse_rows(path, file, dim, wanted, first_line=2)
        if len(collector) < wanted:
            raise ValueError(f"{str(path)!r}: line 1 claims {num_words} words, and {len(collector)} follow")
        if limit is None and (left + file.read(_BLOCK)).strip():
            raise ValueError(f"{str(path)!r}: line 1 claims {num_words} words, and more follow")
    return finished(collector, vectors, errors, repr(str(path)))


def write_text(file: BinaryIO, table: Table, header: bytes | None = None) -> None:
    """Write word2vec text to an open file, its header first, or what is given in its place."""
    file.write(header_of(table) if header is None else header)
    write_rows(file, table, _FORBIDDEN, "word2vec text")


def header_of(table: Table, num_words: int | None = None) -> bytes:
    """Return line 1 of a file of a table, or of one that will have so many words."""
    return b"%d %d\n" % (len(table.vectors) if num_words is None else num_words, table.vectors.shape[1])


def read_binary(path: PathLike, errors: str = "strict", limit: int | None = None) -> Table:
    """Read word2vec binary; parameters and errors as in `read_text`."""
    with reading(path) as (file, most):
        num_words, dim = _read_header(path, file, most, 4)
        wanted = num_words if limit is None else min(num_words, limit)
        vectors = np.empty((wanted, dim), np.float32)
        collector = WordCollector()
        rest = b""
        while len(collector) < wanted:
            chunk = file.read(max(_BLOCK, 8 * dim))
            row = len(collector)
            words, data, rest = _split_binary(rest + chunk, 4 * dim, wanted - row)
            collector.extend(words)
            vectors[row : row + len(words)] = np.frombuffer(data, "<f4").reshape(len(words), dim)
            _check_finite(path, vectors, row, words)
            if len(collector) == wanted:
                break
            if len(rest) > 4 * dim + _MAX_WORD:
                raise ValueError(f"{str(path)!r}: the word of row {len(collector)} does not end; the file is corrupt")
            if not chunk:
                raise ValueError(
                    f"{str(path)!r} ends in row {len(collector)} of the {num_words} that line 1 claims; "
                    "it is truncated or corrupt"
                )
        if limit is None and (rest + file.read(_BLOCK)).strip(b"\n"):
            raise ValueError(f"{str(path)!r}: line 1 claims {num_words} words, and more bytes follow")
    return finished(collector, vectors, errors, repr(str(path)))


def _split_binary(block: bytes, row_bytes: int, most: int) -> tuple[list[bytes], bytes, bytes]:
    """Return the words of at most `most` whole rows, their vectors' bytes, and what is left."""
    words: list[bytes] = []
    rows: list[bytes] = []
    start = 0
    while len(words) < most:
        space = block.find(b" ", start, start + _MAX_WORD)
        end = space + 1 + row_bytes
        if space < 0 or end > len(block):
            break
        words.append(block[start:space].lstrip(b"\n"))
        rows.append(block[space + 1 : end])
        start = end
    return words, b"".join(rows), block[start:]


def _check_finite(path: PathLike, vectors: np.ndarray, row: int, words: list[bytes]) -> None:
    finite = np.isfinite(vectors[row : row + len(words)]).all(axis=1)
    if not finite.all():
        bad = int(finite.argmin())
        raise ValueError(
            f"{str(path)!r}: the vector of row {row + bad} ({words[bad]!r:.80}) is not finite; the file is corrupt, "
            "or its training failed"
        )


def write_binary(file: BinaryIO, table: Table, header: bytes | None = None) -> None:
    """Write word2vec binary, with the newline after each vector that word2vec.c writes; `header` as in `write_text`."""
    num_words, dim = table.vectors.shape
    file.write(header_of(table) if header is None else header)
    step = max(1, _BLOCK // (4 * dim + 16))
    for start in range(0, num_words, step):
        block = np.ascontiguousarray(table.vectors[start : start + step], "<f4")
        data, size = block.tobytes(), 4 * dim
        names = checked_words(table.vocabulary, start, start + step, _FORBIDDEN, "word2vec binary")
        require_finite(table, start, start + step, "word2vec binary")
        file.write(b"".join(b"%b %b\n" % (name, data[i * size : i * size + size]) for i, name in enumerate(names)))
