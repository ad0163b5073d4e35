"""Rows of text, a word and its numbers: what word2vec text and GloVe text share."""

import warnings
from typing import BinaryIO

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats.files import PathLike
from fastemb.formats.table import Table
from fastemb.formats.words import WordCollector

_BLOCK = 1 << 20
_VALUES = 1 << 14  # numbers written at a time
_MAX_LINE = 1 << 20
_MAX_NUMBER = 64
_SPACES = b" \t\r\n"


def count_lines(file: BinaryIO, most: int | None = None) -> int:
    """Return how many lines are left in `file`, stopping soon after `most`."""
    lines, last = 0, b"\n"
    while block := file.read(_BLOCK):
        lines += block.count(b"\n")
        last = block[-1:]
        if most is not None and lines >= most:
            return lines
    return lines + (last != b"\n")


def parse_rows(
    path: PathLike, file: BinaryIO, dim: int, num_rows: int, first_line: int
) -> tuple[WordCollector, np.ndarray, bytes]:
    """Read at most `num_rows` rows of a word and `dim` numbers.

    Parameters
    ----------
    path : str or PathLike
        For messages.
    file : BinaryIO
        Where the rows begin.
    dim : int
        Numbers a row.
    num_rows : int
        Rows to make room for.
    first_line : int
        The number of the first line, for messages.

    Returns
    -------
    collector : WordCollector
        The words.
    vectors : float32 array of shape (rows read, dim)
    left : bytes
        What was read beyond the last row.

    Raises
    ------
    ValueError
        If a row is wrong; the message names the line.
    """
    vectors = np.empty((num_rows, dim), np.float32)
    collector = WordCollector()
    left, at_end = b"", False
    while len(collector) < num_rows and not at_end:
        chunk = file.read(_BLOCK)
        at_end = not chunk
        lines = (left + chunk).split(b"\n")
        left = b"" if at_end else lines.pop()
        if len(left) > _MAX_LINE + dim * _MAX_NUMBER:
            raise ValueError(f"{str(path)!r}, line {first_line + len(lines)}: is too long; is this a file of vectors?")
        row = len(collector)
        used = _first_rows(lines, num_rows - row)
        words, values = _parse_block(path, used, dim, first_line)
        collector.extend(words)
        vectors[row : row + len(words)] = values
        first_line += len(used)
        left = b"\n".join([*lines[len(used) :], left])
    return collector, vectors[: len(collector)], left


def _first_rows(lines: list[bytes], room: int) -> list[bytes]:
    """Return as many of `lines` as hold `room` rows; blank ones do not count."""
    if len(lines) <= room:
        return lines
    rows = 0
    for i, line in enumerate(lines):
        if rows == room:
            return lines[:i]
        rows += bool(line.strip())
    return lines


def _parse_block(path: PathLike, lines: list[bytes], dim: int, first_line: int) -> tuple[list[bytes], np.ndarray]:
    """Return the words and the vectors of some lines."""
    stripped = [line.rstrip(_SPACES) for line in lines]
    if all(line.count(b" ") == dim for line in stripped):
        pairs = [line.split(b" ", 1) for line in stripped]
        values = _parse_numbers(b" ".join([pair[1] for pair in pairs]))
        if values is not None and len(values) == len(lines) * dim:
            return [pair[0] for pair in pairs], values.reshape(-1, dim)
    words, rows = [], []
    for i, line in enumerate(stripped):
        if line:
            word, row = _parse_line(path, line, dim, first_line + i)
            words.append(word)
            rows.append(row)
    return words, np.array(rows, np.float32).reshape(-1, dim)


def _parse_numbers(text: bytes) -> np.ndarray | None:
    """Return numbers that single spaces separate, or None where something else is between them."""
    if b"  " in text or b"\t" in text or b"\r" in text or b"\v" in text or b"\f" in text:
        return None
    try:
        with warnings.catch_warnings():
            # NumPy stops at text that is no number, with this warning; a later version will raise ValueError.
            warnings.simplefilter("error", DeprecationWarning)
            values = np.fromstring(text, np.float32, sep=" ")
    except (DeprecationWarning, ValueError):
        return None
    return values if np.isfinite(values).all() else None


def _parse_line(path: PathLike, line: bytes, dim: int, number: int) -> tuple[bytes, np.ndarray]:
    """Return the word and the vector of one line, taking the numbers from the right."""
    place = f"{str(path)!r}, line {number}"
    fields = line.replace(b"\t", b" ").rsplit(b" ", dim)
    if len(fields) != dim + 1:
        raise ValueError(f"{place}: must be a word and {dim} numbers, got {len(fields)} fields")
    word = line[: len(fields[0])]
    # A word may end with a number such as 95, and hardly with one such as 0.5.
    _, space, last = word.rpartition(b" ")
    if space and is_number(last) and not last.isdigit():
        raise ValueError(f"{place}: must be a word and {dim} numbers, got more numbers: {line!r:.80}")
    with np.errstate(over="ignore"):
        row = np.array([_number(place, field) for field in fields[1:]]).astype(np.float32)
    if not np.isfinite(row).all():
        bad = fields[1 + int(np.isfinite(row).argmin())]
        raise ValueError(f"{place}: {bad!r:.80} is not a finite float32")
    return word, row


def _number(place: str, field: bytes) -> float:
    try:
        return float(field.replace(b"_", b"x"))
    except ValueError:
        raise ValueError(f"{place}: {field!r:.80} is not a number") from None


def is_number(field: bytes) -> bool:
    """Return whether a field is a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def checked_words(words: Vocabulary, start: int, stop: int, forbidden: tuple[bytes, ...], what: str) -> list[bytes]:
    """Return words as bytes after a check that the format can hold them.

    Raises
    ------
    ValueError
        If one of them holds one of the `forbidden` bytes.
    """
    block = words.as_bytes(start, stop)
    joined = b"".join(block)
    for text in forbidden:
        if text in joined:
            row = next(i for i, word in enumerate(block) if text in word)
            shown = block[row].decode("utf-8", "backslashreplace")
            raise ValueError(
                f"word {start + row}, {shown!r:.80}, holds {text.decode()!r}, which {what} cannot store; "
                "safetensors and npy can"
            )
    return block


def write_rows(file: BinaryIO, table: Table, forbidden: tuple[bytes, ...], what: str) -> None:
    """Write a line a word; the numbers are as short as they can be without losing a bit.

    Raises
    ------
    ValueError
        If a word holds one of the `forbidden` bytes, or a number is not finite; the message names the word.
    """
    num_words, dim = table.vectors.shape
    step = max(1, _VALUES // dim)
    line = b"%b " + b" ".join([b"%.9g"] * dim) + b"\n"
    for start in range(0, num_words, step):
        names = checked_words(table.vocabulary, start, start + step, forbidden, what)
        require_finite(table, start, start + step, what)
        values = shortest(table.vectors[start : start + step]).tolist()
        file.write(b"".join([line % (name, *row) for name, row in zip(names, values, strict=True)]))


def require_finite(table: Table, start: int, stop: int, what: str) -> None:
    """Raise ValueError if one of the vectors ``[start, stop)`` is not finite, which text and binary readers refuse."""
    finite = np.isfinite(table.vectors[start:stop]).all(axis=1)
    if not finite.all():
        row = start + int(finite.argmin())
        raise ValueError(f"vector {row}, of {table.words[row]!r:.80}, is not finite, and {what} cannot hold it")


def shortest(values: np.ndarray) -> np.ndarray:
    """Return float64 numbers with the fewest decimal digits (6 to 9) that are still equal to `values` as float32.

    Nine digits tell all float32 apart, and fewer are mostly enough: 0.1 is 0.100000001 with nine. Printed with ``%.9g``
    the result shows no more digits than it has.
    """
    exact = np.asarray(values, np.float32)
    result = exact.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(result)))
    exponent[~np.isfinite(exponent)] = 0
    done = np.zeros(exact.shape, bool)
    for digits in (6, 7, 8):
        scale = 10.0 ** (digits - 1 - exponent)
        rounded = np.rint(exact * scale) / scale
        found = ~done & (rounded.astype(np.float32) == exact)
        result[found] = rounded[found]
        done |= found
    return result
