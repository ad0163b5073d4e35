"""floret's text format: a hashed table for words and n-grams, as spaCy reads it.

The first line has the number of rows, the vector size, the least and the most characters of an n-gram, the rows of each
n-gram, the hash's seed, and what stands for a word's beginning and end; then follows a line a row: its number and its
numbers. There are no words in it: every word is hashed.
"""

from typing import BinaryIO

import numpy as np

from fastemb.corpus.subwords import FLORET_SEED, MAX_BUCKET, Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.means import gather
from fastemb.formats.files import PathLike, reading
from fastemb.formats.rows import count_lines, parse_rows, write_rows
from fastemb.formats.subwords import SubwordTable
from fastemb.formats.table import Table

__all__ = ["parse_header", "read_text", "write_text"]

_FRAME = (b"<", b">")
_MAX_HEADER = 256
_BLOCK = 1 << 14


def parse_header(line: bytes) -> tuple[list[int], tuple[bytes, bytes]] | None:
    r"""Return the six numbers of a header line and what frames a word, or None where the line is not a header.

    Examples
    --------
    >>> parse_header(b"50000 300 4 5 2 2166136261 < >\n")
    ([50000, 300, 4, 5, 2, 2166136261], (b'<', b'>'))
    >>> parse_header(b"50000 300\n")
    """
    fields = line.split()
    if len(fields) != 8 or len(line) > _MAX_HEADER or not all(field.isdigit() for field in fields[:6]):
        return None
    return [int(field) for field in fields[:6]], (fields[6], fields[7])


def read_text(path: PathLike, errors: str = "strict", limit: int | None = None) -> SubwordTable:
    """Read floret's table; it has no words, and a vector for every word.

    Parameters
    ----------
    path : str or PathLike
        The file; may be packed by gzip.
    errors, limit
        Ignored: there are no words.

    Raises
    ------
    ValueError
        If the file is not such a file; the message names the line.
    """
    place = repr(str(path))
    with reading(path) as (file, most):
        line = file.readline(_MAX_HEADER)
        header = parse_header(line)
        if header is None:
            raise ValueError(f"{place}, line 1: must be floret's eight settings, got {line!r:.80}")
        (bucket, dim, min_n, max_n, hash_count, seed), frame = header
        if frame != _FRAME or seed != FLORET_SEED:
            raise ValueError(
                f"{place}, line 1: words must be framed by < and >, hashed from {FLORET_SEED}, got {line!r}"
            )
        if dim < 1 or not 1 <= bucket <= MAX_BUCKET or not 1 <= hash_count <= 4 or max(min_n, max_n) > MAX_BUCKET:
            raise ValueError(f"{place}, line 1: must be floret's settings, got {line!r:.80}")
        if bucket * (2 + 2 * dim) > most:
            raise ValueError(f"{place}, line 1: claims {bucket} rows of size {dim}, and the file is too small for them")
        body = file.tell()
        lines = count_lines(file, bucket + 1)
        file.seek(body)
        if lines < bucket:
            raise ValueError(f"{place}: line 1 claims {bucket} rows, and {lines} lines follow")
        collector, rows, left = parse_rows(path, file, dim, bucket, first_line=2)
        if len(collector) < bucket or (left + file.read(_BLOCK)).strip():
            raise ValueError(f"{place}: line 1 claims {bucket} rows, and another number follows")
    _check_numbers(place, collector.finish()[0])
    return SubwordTable(Vocabulary.from_bytes([]), rows, Subwords(min_n, max_n, bucket, hash_count))


def _check_numbers(place: str, names: Vocabulary) -> None:
    for start in range(0, len(names), _BLOCK):
        for row, name in enumerate(names.as_bytes(start, start + _BLOCK), start):
            if name != b"%d" % row:
                raise ValueError(f"{place}, line {row + 2}: must begin with the row's number {row}, got {name!r:.80}")


def write_text(file: BinaryIO, table: Table) -> None:
    """Write floret's table to an open file; its words are left out, as the format has no place for them.

    Raises
    ------
    ValueError
        If the table is not one of floret's, or a number is not finite.
    """
    if not isinstance(table, SubwordTable) or not table.subwords.hash_count or table.subwords.kept is not None:
        raise ValueError("floret's format holds whole tables of mode='floret' only")
    told = table.subwords
    settings = told.bucket, table.vector_size, told.min_n, told.max_n, told.hash_count, FLORET_SEED
    file.write(b"%d %d %d %d %d %d < >\n" % settings)
    for start in range(0, told.bucket, _BLOCK):
        numbers = range(start, min(start + _BLOCK, told.bucket))
        names = Vocabulary.from_bytes([b"%d" % number for number in numbers])
        write_rows(file, Table(names, gather(table.rows, np.array(numbers))), (b" ", b"\n"), "floret's text")
