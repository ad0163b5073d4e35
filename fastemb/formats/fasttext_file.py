"""fastText's .bin and .ftz files, part by part: checked numbers of a memory map, and the writers of the same parts.

All numbers are little-endian. A file is

- the magic number and the version, 11 or 12 (files of 2016 have neither, and lack what is in brackets below);
- twelve int32 and a double of arguments, see `Arguments`;
- the dictionary: words and labels together, words, labels (int32), tokens, [pruned buckets, -1 for not pruned] (int64),
  an entry for each, and for each pruned bucket its number and its row (int32);
- [whether the input is quantized, a byte], the input matrix;
- [whether the output is, a byte], the output matrix.
"""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import CENTROIDS, ProductRows
from fastemb.formats._entries import parse_entries
from fastemb.formats.files import PathLike, require_file, write_array
from fastemb.formats.rows import checked_words

__all__ = ["LOSSES", "MAGIC", "MODELS", "Arguments", "Dictionary", "Reader", "Writer"]

MAGIC = 793712314
VERSIONS = (11, 12)
MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
MAX_DIM = 1 << 16
_BLOCK = 1 << 14
_ENTRY = np.dtype([("count", "<i8"), ("kind", "i1")])


@dataclass(frozen=True)
class Arguments:
    """What a model was trained with, in the order of the file, under fastemb's names.

    Parameters
    ----------
    dim : int
        Numbers in a vector.
    window, epochs, min_count, negative : int
    word_ngrams : int
        Most words of an n-gram.
    loss : {"hs", "ns", "softmax", "ova"}
    model : {"cbow", "skipgram", "supervised"}
    bucket, min_n, max_n : int
        Of the character n-grams, and, for `bucket`, word n-grams.
    lr_update_rate : int
    sample : float
    """

    dim: int
    window: int = 5
    epochs: int = 5
    min_count: int = 5
    negative: int = 5
    word_ngrams: int = 1
    loss: str = "ns"
    model: str = "skipgram"
    bucket: int = 2_000_000
    min_n: int = 3
    max_n: int = 6
    lr_update_rate: int = 100
    sample: float = 1e-4


@dataclass(frozen=True)
class Dictionary:
    """The words of a file.

    Parameters
    ----------
    words, labels : Vocabulary
        With counts.
    num_tokens : int
        Words read in training.
    pruned : int32 (num_kept, 2), optional
        The buckets that were kept, rising, and the row of each among the n-grams'; None if all were.
    """

    words: Vocabulary
    labels: Vocabulary
    num_tokens: int
    pruned: np.ndarray | None = None


class Reader:
    """Takes the parts of a file off its memory map, one after the other; each size is checked before it is believed.

    Parameters
    ----------
    path : str or PathLike

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it is empty; from the methods, if it is not what fastText writes.
    """

    def __init__(self, path: PathLike) -> None:
        self.path: Path = require_file(path)
        with open(self.path, "rb") as file:
            # A private map: rows may be looked at as arrays of any kind, and nothing is ever written.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._data = np.frombuffer(self._map, np.uint8)
        self.place = 0
        self.version = 0

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return len(self._data) - self.place

    def bad(self, what: str) -> ValueError:
        """Return the error that the file is not valid."""
        return ValueError(f"{str(self.path)!r} is not a valid fastText model: {what}")

    def array(self, dtype: str, count: int, what: str) -> np.ndarray:
        """Return the next numbers, a read-only view of the map that need not be aligned."""
        kind = np.dtype(dtype)
        if not 0 <= count <= self.left // kind.itemsize:
            raise self.bad(
                f"its {what} would have {count:,} numbers of {kind.itemsize} bytes, and {self.left:,} bytes are left; "
                "is it truncated?"
            )
        values = np.frombuffer(self._map, kind, count, self.place) if count else np.zeros(0, kind)
        self.place += values.nbytes
        return values

    def number(self, dtype: str, what: str) -> int:
        """Return the next number."""
        return int(self.array(dtype, 1, what)[0])

    def flag(self, what: str) -> bool:
        """Return the next byte, which must be 0 or 1."""
        value = self.number("u1", what)
        if value > 1:
            raise self.bad(f"its {what} must be 0 or 1, got {value}")
        return bool(value)

    def arguments(self) -> Arguments:
        """Return the arguments; `version` is known then."""
        first = self.array("<i4", 2, "header")
        self.version = int(first[1]) if first[0] == MAGIC else 0
        if first[0] == MAGIC:
            if self.version not in VERSIONS:
                raise self.bad(f"its version must be 11 or 12, got {self.version}")
            first = self.array("<i4", 2, "arguments")
        dim, window = first.tolist()
        epochs, min_count, negative, word_ngrams, loss, model, bucket, min_n, max_n, rate = self.array(
            "<i4", 10, "arguments"
        ).tolist()
        sample = float(self.array("<f8", 1, "arguments")[0])
        if not 1 <= dim <= MAX_DIM:
            raise self.bad(f"its vectors' size must be in [1, {MAX_DIM}], got {dim}")
        if model not in MODELS or loss not in LOSSES:
            raise self.bad(f"its model must be in [1, 3] and its loss in [1, 4], got {model} and {loss}")
        if bucket < 0 or min_n < 0 or max_n < 0:
            raise self.bad(f"its bucket, minn and maxn must not be negative, got {bucket}, {min_n}, {max_n}")
        if self.version == 11 and MODELS[model] == "supervised":
            max_n = 0  # such classifiers had no character n-grams, whatever their arguments say
        return Arguments(
            dim, window, epochs, min_count, negative, word_ngrams, LOSSES[loss], MODELS[model], bucket, min_n, max_n,
            rate, sample,
        )  # fmt: skip

    def dictionary(self) -> Dictionary:
        """Return the words and the labels."""
        size, num_words, num_labels = self.array("<i4", 3, "dictionary").tolist()
        num_tokens = self.number("<i8", "dictionary")
        num_pruned = self.number("<i8", "dictionary") if self.version else -1
        if min(num_words, num_labels) < 0 or size != num_words + num_labels or num_pruned < -1:
            raise self.bad(
                f"it claims {size} entries, {num_words} words and {num_labels} labels, {num_pruned} pruned buckets"
            )
        packed, offsets, counts, kinds = self._entries(size)
        if kinds[:num_words].any() or (kinds[num_words:] != 1).any():
            raise self.bad("its words must come before its labels, and nothing else may be there")
        everything = Vocabulary(packed, offsets, counts)
        cut = int(offsets[num_words])
        labels = Vocabulary(packed[cut:], offsets[num_words:] - cut, counts[num_words:])
        pruned = self._pruned(num_pruned) if num_pruned >= 0 else None
        return Dictionary(everything.first(num_words), labels, num_tokens, pruned)

    def _entries(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the bytes, offsets, counts and kinds of the dictionary's entries, read a block at a time.

        The map's pages are let go after each block: they would count as memory beside what was taken of them.
        """
        if not 0 <= size <= self.left // (_ENTRY.itemsize + 1):
            raise self.bad(f"in its dictionary there is no room for {size} words; is it truncated?")
        packed, offsets = bytearray(), np.zeros(size + 1, np.int64)
        counts, kinds = np.empty(size, np.int64), np.empty(size, np.int8)
        for first in range(0, size, _BLOCK):
            block = slice(first, min(first + _BLOCK, size))
            try:
                text, ends, counts[block], kinds[block], stop = parse_entries(
                    self._data, self.place, block.stop - first, first
                )
            except ValueError as error:
                raise self.bad(f"in its dictionary {error}; is it truncated?") from None
            offsets[first + 1 : block.stop + 1] = ends[1:] + len(packed)
            packed += text.data
            self._let_go(self.place, stop)
            self.place = stop
        return np.frombuffer(packed, np.uint8), offsets, counts, kinds

    def _let_go(self, start: int, stop: int) -> None:
        start -= start % mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)

    def _pruned(self, size: int) -> np.ndarray:
        pairs = self.array("<i4", 2 * size, "pruned buckets").reshape(-1, 2)
        pairs = pairs[pairs[:, 0].argsort(kind="stable")].astype(np.int32)
        rows = pairs[:, 1]
        if size and (pairs[0, 0] < 0 or (np.diff(pairs[:, 0]) == 0).any() or rows.min() < 0 or rows.max() >= size):
            raise self.bad(f"its {size} pruned buckets must differ and have rows in [0, {size})")
        return pairs

    def matrix(self, quantized: bool, what: str) -> np.ndarray | ProductRows:
        """Return the next matrix: a read-only float32 view of the map, or codes."""
        if quantized:
            return self._product(what)
        num_rows, dim = self.array("<i8", 2, what).tolist()
        if num_rows < 0 or dim < 0:
            raise self.bad(f"its {what} must not have a negative size, got {num_rows} and {dim}")
        return self.array("<f4", num_rows * dim, what).reshape(num_rows, dim)

    def _product(self, what: str) -> ProductRows:
        with_norms = self.flag(what)
        num_rows, dim = self.array("<i8", 2, what).tolist()
        size = self.number("<i4", what)
        if num_rows < 0 or dim < 1:
            raise self.bad(f"its {what} must have a size, got {num_rows} and {dim}")
        codes = self.array("u1", size, what)
        centroids, dsub = self._centroids(dim, what)
        pieces = -(-dim // dsub)
        if size != num_rows * pieces:
            raise self.bad(f"its {what} must have {pieces} codes for each of {num_rows} rows, got {size}")
        codes = codes.reshape(num_rows, pieces)
        if not with_norms:
            return ProductRows(codes, centroids, dsub)
        norm_codes = self.array("u1", num_rows, what)
        return ProductRows(codes, centroids, dsub, norm_codes, self._centroids(1, what)[0])

    def _centroids(self, dim: int, what: str) -> tuple[np.ndarray, int]:
        """Return centroids, as a copy that is aligned, and the columns of a piece."""
        found, pieces, dsub, last = self.array("<i4", 4, what).tolist()
        if found != dim or not 1 <= dsub <= dim or pieces != -(-dim // dsub) or last != dim - dsub * (pieces - 1):
            raise self.bad(
                f"the centroids of its {what} do not fit vectors of size {dim}: "
                f"{found} columns, {pieces} pieces of {dsub}, the last of {last}"
            )
        return self.array("<f4", dim * CENTROIDS, what).astype(np.float32), dsub

    def end(self) -> None:
        """Check that the file ends here."""
        if self.left:
            raise self.bad(f"{self.left:,} bytes follow its end")


class Writer:
    """Writes the parts of a file, as version 12.

    Parameters
    ----------
    file : BinaryIO
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def numbers(self, dtype: str, *values: float) -> None:
        """Write numbers."""
        self._file.write(np.array(values, dtype).tobytes())

    def arguments(self, told: Arguments) -> None:
        """Write the header and the arguments."""
        code_of = {name: code for names in (MODELS, LOSSES) for code, name in names.items()}
        self.numbers(
            "<i4", MAGIC, VERSIONS[-1], told.dim, told.window, told.epochs, told.min_count, told.negative,
            told.word_ngrams, code_of[told.loss], code_of[told.model], told.bucket, told.min_n, told.max_n,
            told.lr_update_rate,
        )  # fmt: skip
        self.numbers("<f8", told.sample)

    def dictionary(self, told: Dictionary) -> None:
        """Write the words and the labels.

        Raises
        ------
        ValueError
            If a word holds a NUL byte.
        """
        words, labels = told.words, told.labels
        self.numbers("<i4", len(words) + len(labels), len(words), len(labels))
        self.numbers("<i8", told.num_tokens, -1 if told.pruned is None else len(told.pruned))
        for kind, entries in enumerate((words, labels)):
            counts = np.zeros(len(entries), np.int64) if entries.counts is None else entries.counts
            for start in range(0, len(entries), _BLOCK):
                names = checked_words(entries, start, start + _BLOCK, (b"\0",), "fastText's format")
                tails = np.zeros(len(names), _ENTRY)
                tails["count"], tails["kind"] = counts[start : start + _BLOCK], kind
                text, step = tails.tobytes(), _ENTRY.itemsize
                self._file.write(
                    b"".join([b"%b\0%b" % (name, text[i * step : i * step + step]) for i, name in enumerate(names)])
                )
        if told.pruned is not None:
            write_array(self._file, told.pruned.astype("<i4"))

    def matrix(self, told: np.ndarray | ProductRows) -> None:
        """Write whether a matrix is quantized, and the matrix."""
        self.numbers("u1", isinstance(told, ProductRows))
        if isinstance(told, ProductRows):
            self.numbers("u1", told.norm_codes is not None)
            self.numbers("<i8", *told.shape)
            self.numbers("<i4", told.codes.size)
            write_array(self._file, told.codes)
            self._centroids(told.centroids, told.shape[1], told.dsub)
            if told.norm_codes is not None and told.norm_centroids is not None:
                write_array(self._file, told.norm_codes)
                self._centroids(told.norm_centroids, 1, 1)
            return
        self.numbers("<i8", *told.shape)
        write_array(self._file, told if told.dtype == np.float32 else told.astype(np.float32))

    def zeros(self, num_rows: int, dim: int) -> None:
        """Write a matrix of zeros, which takes no room on a disk that can leave holes in files."""
        self.numbers("u1", 0)
        self.numbers("<i8", num_rows, dim)
        end = self._file.seek(4 * num_rows * dim, 1)
        self._file.truncate(end)

    def _centroids(self, centroids: np.ndarray, dim: int, dsub: int) -> None:
        pieces = math.ceil(dim / dsub)
        self.numbers("<i4", dim, pieces, dsub, dim - dsub * (pieces - 1))
        write_array(self._file, centroids)
