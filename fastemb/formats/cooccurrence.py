"""The GloVe program's files of co-occurrences and of words: ``cooccurrence.bin`` and ``vocab.txt``.

The first is a row of records, two words and a float64: little-endian int32 numbers of words, the first one 1. The
second has a word and its count a line.
"""

import os
from typing import Any

import numpy as np

from fastemb.corpus.cooccurrence import Cooccurrence, Rows, counting
from fastemb.corpus.reader import Corpus, parse_size
from fastemb.corpus.spool import Output, TemporaryArray
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.validate import choice
from fastemb.formats.files import PathLike, reading, replacing, require_file
from fastemb.formats.words import ERRORS, decoded

__all__ = ["count_to_file", "read_cooccurrence", "read_vocabulary", "write_cooccurrence", "write_vocabulary"]

RECORD = np.dtype([("row", "<i4"), ("col", "<i4"), ("count", "<f8")])
_BLOCK = 1 << 20  # records
_MAX_DIGITS = 18
_SPACES = b" \t\n\v\f\r\0"


def read_cooccurrence(
    path: PathLike,
    vocabulary: Vocabulary,
    *,
    max_memory: int | str | None = None,
    dtype: type[np.generic] = np.float32,
) -> Cooccurrence:
    """Read what the GloVe program's ``cooccur`` wrote, shuffled or not.

    Parameters
    ----------
    path : path
    vocabulary : Vocabulary
        The words by number, as `read_vocabulary` reads them.
    max_memory : int or str, optional
        Bytes, or text such as "1G": a larger matrix goes to temporary files.
    dtype : {float32, float64}
        Of the counts.

    Returns
    -------
    Cooccurrence
        A row's entries are in the order of the file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the file is empty or cut, or a record has a number that is no word's or a count that is not above 0; the
        message names the record.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "cooccurrence.bin")
    ...     _ = path.write_bytes(np.array([(1, 2, 0.5), (2, 1, 0.5)], RECORD).tobytes())
    ...     read_cooccurrence(path, Vocabulary.from_words(["to", "be"])).to_scipy().toarray()
    array([[0. , 0.5],
           [0.5, 0. ]], dtype=float32)
    """
    found = require_file(path)
    size = found.stat().st_size
    if size % RECORD.itemsize:
        raise ValueError(f"{str(found)!r} must hold records of {RECORD.itemsize} bytes, got {size:,} bytes: is it cut?")
    budget = None if max_memory is None else parse_size(max_memory, "max_memory")
    records = np.memmap(found, RECORD, "r")
    num_words = len(vocabulary)
    offsets = np.zeros(num_words + 1, np.int64)
    in_order, last = True, 0
    for start in range(0, len(records), _BLOCK):
        block = records[start : start + _BLOCK]
        _check(str(found), block, start, num_words, dtype)
        rows = block["row"]
        in_order &= bool(last <= rows[0] and (rows[1:] >= rows[:-1]).all())
        last = rows[-1]
        offsets[1:] += np.bincount(rows - 1, minlength=num_words)
    np.cumsum(offsets, out=offsets)
    on_disk = budget is not None and len(records) * (4 + np.dtype(dtype).itemsize) > budget
    read = _read_in_order if in_order else _read_shuffled
    return Cooccurrence(offsets, *read(records, offsets, dtype, on_disk), vocabulary)


def _check(path: str, block: np.ndarray, start: int, num_words: int, dtype: type[np.generic]) -> None:
    """Raise ValueError at the first record that is wrong."""
    with np.errstate(over="ignore", under="ignore"):
        counts = block["count"].astype(dtype)
    wrong = ~((counts > 0) & (counts < np.inf))
    for name in ("row", "col"):
        wrong |= (block[name] < 1) | (block[name] > num_words)
    if wrong.any():
        place = int(wrong.argmax())
        row, col, count = block[place].tolist()
        raise ValueError(
            f"{path!r}, record {start + place}: must be two words in [1, {num_words}] and a count above 0, "
            f"got {row}, {col} and {count:g}"
        )


def _read_in_order(
    records: np.ndarray, offsets: np.ndarray, dtype: type[np.generic], on_disk: bool
) -> tuple[np.ndarray, np.ndarray]:
    cols, counts = (
        Output(kind, len(records), TemporaryArray() if on_disk else None) for kind in (np.int32, dtype)
    )  # fmt: skip
    for start in range(0, len(records), _BLOCK):
        block = records[start : start + _BLOCK]
        cols.append(block["col"] - np.int32(1))
        counts.append(block["count"].astype(dtype))
    return cols.finish(), counts.finish()


def _read_shuffled(
    records: np.ndarray, offsets: np.ndarray, dtype: type[np.generic], on_disk: bool
) -> tuple[np.ndarray, np.ndarray]:
    cols, counts = (
        TemporaryArray().finish(len(records), kind, writable=True) if on_disk else np.empty(len(records), kind)
        for kind in (np.int32, dtype)
    )
    ends = offsets[:-1].copy()
    for start in range(0, len(records), _BLOCK):
        block = records[start : start + _BLOCK]
        block = block[np.argsort(block["row"], kind="stable")]
        rows, first, sizes = np.unique(block["row"] - 1, return_index=True, return_counts=True)
        places = np.arange(len(block)) + np.repeat(ends[rows] - first, sizes)
        ends[rows] += sizes
        cols[places] = block["col"] - np.int32(1)
        counts[places] = block["count"]
    return cols, counts


def write_cooccurrence(path: PathLike, matrix: Cooccurrence) -> None:
    """Write co-occurrences as the GloVe program's ``cooccur`` does; its ``shuffle`` and ``glove`` read the file.

    Parameters
    ----------
    path : path
    matrix : Cooccurrence

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> words = Vocabulary.from_words(["to", "be"])
    >>> matrix = Cooccurrence(np.array([0, 1, 1]), np.array([1], np.int32), np.array([0.5]), words)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_cooccurrence(folder + "/cooccurrence.bin", matrix)
    ...     np.fromfile(folder + "/cooccurrence.bin", RECORD)
    array([(1, 2, 0.5)], dtype=[('row', '<i4'), ('col', '<i4'), ('count', '<f8')])
    """
    with replacing(path) as file:
        for start in range(0, matrix.num_pairs, _BLOCK):
            file.write(_records(matrix.part(start, min(start + _BLOCK, matrix.num_pairs))).data)


def count_to_file(path: PathLike, corpus: Corpus, **options: Any) -> int:
    """Count co-occurrences and write them as the GloVe program's ``cooccur`` does, without a matrix in memory.

    Parameters
    ----------
    path : path
    corpus : Corpus
        A text as word numbers.
    **options
        Those of `count_cooccurrences` but `dtype`: a file has float64.

    Returns
    -------
    int
        The pairs of words written.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    TypeError, ValueError
        If an argument is out of bounds.
    OSError
        If the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from fastemb.corpus.reader import read_corpus
    >>> with tempfile.TemporaryDirectory() as folder, read_corpus([["to", "be"]], min_count=1) as corpus:
    ...     count_to_file(folder + "/cooccurrence.bin", corpus, window=5)
    ...     np.fromfile(folder + "/cooccurrence.bin", RECORD)
    2
    array([(1, 2, 1.), (2, 1, 1.)], dtype=[('row', '<i4'), ('col', '<i4'), ('count', '<f8')])
    """
    num_pairs = 0
    with replacing(path) as file, counting(corpus, _records, **options) as (parts, _):
        for records in parts:
            file.write(records.data)
            num_pairs += len(records)
    return num_pairs


def _records(rows: Rows) -> np.ndarray:
    records = np.empty(len(rows.cols), RECORD)
    numbers = np.arange(rows.first + 1, rows.first + 1 + len(rows.ends), dtype=np.int32)
    records["row"] = np.repeat(numbers, np.diff(rows.ends, prepend=0))
    np.add(rows.cols, 1, out=records["col"])
    records["count"] = rows.counts
    return records


def read_vocabulary(path: PathLike, errors: str = "strict") -> Vocabulary:
    r"""Read a word and its count a line, as the GloVe program's ``vocab_count`` and gensim's `fvocab` have them.

    Parameters
    ----------
    path : path
        May be packed by gzip.
    errors : {"strict", "surrogateescape", "replace", "ignore"}
        What to do with words that are not UTF-8, see `fastemb.formats.read`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If a line is something else, or a word is there twice; the message names it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "vocab.txt")
    ...     _ = path.write_text("to 4\nbe 2\n")
    ...     words = read_vocabulary(path)
    >>> words.words, words.counts
    (['to', 'be'], array([4, 2]))
    """
    choice("errors", errors, ERRORS)
    words, counts = [], []
    lines: dict[bytes, int] = {}
    with reading(path) as (file, _):
        for number, line in enumerate(file, 1):
            word, _, count = line.rstrip().rpartition(b" ")
            if not word or not count.isdigit() or len(count) > _MAX_DIGITS:
                raise ValueError(f"{os.fspath(path)!r}, line {number}: must be a word and its count, got {line!r:.80}")
            if lines.setdefault(word, number) < number:
                raise ValueError(f"{os.fspath(path)!r}, line {number}: repeats the word of line {lines[word]}")
            words.append(word)
            counts.append(int(count))
    return decoded(Vocabulary.from_bytes(words, np.array(counts, np.int64)), errors)


def write_vocabulary(path: PathLike, vocabulary: Vocabulary) -> None:
    r"""Write a word and its count a line, as the GloVe program's ``vocab_count`` does.

    Raises
    ------
    ValueError
        If there are no counts, or a word cannot be read by the program: it holds a space, or is ``<unk>``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_vocabulary(folder + "/vocab.txt", Vocabulary.from_words(["to", "be"], [4, 2]))
    ...     pathlib.Path(folder, "vocab.txt").read_text()
    'to 4\nbe 2\n'
    """
    if vocabulary.counts is None:
        raise ValueError("a vocabulary file needs counts, and these words come without them")
    words = vocabulary.as_bytes()
    for place, word in enumerate(words):
        if word == b"<unk>" or not word or len(word.translate(None, _SPACES)) < len(word):
            shown = word.decode("utf-8", "backslashreplace")
            raise ValueError(f"word {place}, {shown!r:.80}, cannot stand in a vocabulary file that GloVe reads")
    with replacing(path) as file:
        file.write(b"".join([b"%b %d\n" % pair for pair in zip(words, vocabulary.counts.tolist(), strict=True)]))
