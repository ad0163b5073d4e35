"""The words of a corpus or of a table of vectors, and how often each occurs."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from fastemb.corpus._strings import decode_words


class Vocabulary:
    """Words, maybe with their counts; a word's place is its number. Not to be changed.

    The words are kept as they lie in a file, their UTF-8 bytes one after the other, and become str when they are
    first asked for, so that a large vocabulary opens at once. Bytes that are not UTF-8 survive as Python's surrogate
    escapes.

    Parameters
    ----------
    packed : uint8 array
        The UTF-8 bytes of all words.
    offsets : int64 array of shape (num_words + 1,)
        Word `i` is ``packed[offsets[i]:offsets[i + 1]]``.
    counts : int64 array of shape (num_words,), optional
        How often each word occurs; None where that is not known.

    Raises
    ------
    ValueError
        If the arrays do not fit together.

    Examples
    --------
    >>> vocabulary = Vocabulary.from_words(["the", "cat"], [2, 1])
    >>> len(vocabulary), vocabulary.words, vocabulary.key_to_index["cat"], "dog" in vocabulary
    (2, ['the', 'cat'], 1, False)
    """

    def __init__(self, packed: np.ndarray, offsets: np.ndarray, counts: np.ndarray | None = None) -> None:
        self.packed = _array("packed", packed, np.uint8)
        self.offsets = _array("offsets", offsets, np.int64)
        _check_offsets(self.offsets, len(self.packed))
        self.counts = None if counts is None else _array("counts", counts, np.int64)
        if self.counts is not None and len(self.counts) != len(self):
            raise ValueError(f"counts must have {len(self)} entries, one a word, got {len(self.counts)}")

    @classmethod
    def from_words(cls, words: Sequence[str], counts: Sequence[int] | np.ndarray | None = None) -> "Vocabulary":
        """Make a vocabulary of different words in their order; surrogate escapes stand for bytes that are not UTF-8.

        Raises
        ------
        TypeError
            If a word is not a str.
        ValueError
            If a word occurs twice, holds a surrogate that stands for no byte, or the counts do not fit.
        """
        encoded = [_encode(word, place) for place, word in enumerate(words)]
        if len(set(encoded)) < len(encoded):
            raise ValueError(_first_duplicate(encoded))
        return cls.from_bytes(encoded, None if counts is None else np.asarray(counts))

    @classmethod
    def from_bytes(cls, words: Sequence[bytes], counts: np.ndarray | None = None) -> "Vocabulary":
        """Make a vocabulary of words as a file holds them, repeated ones too."""
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        return cls(np.frombuffer(b"".join(words), np.uint8), offsets_of(lengths), counts)

    @cached_property
    def words(self) -> list[str]:
        """The words as str, in the order of their numbers. The list is the vocabulary's own: do not change it."""
        return decode_words(self.packed, self.offsets, "surrogateescape")

    @cached_property
    def key_to_index(self) -> dict[str, int]:
        """The number of each word, the first of a repeated one. The dict is the vocabulary's own: do not change it."""
        numbers = dict(zip(self.words, range(len(self)), strict=True))
        if len(numbers) < len(self):
            numbers.update(zip(reversed(self.words), reversed(range(len(self))), strict=True))
        return numbers

    def as_bytes(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """Return the words `start` to `stop` (exclusive; all by default) as bytes."""
        ends = self.offsets[start : None if stop is None else stop + 1].tolist()
        if len(ends) < 2:
            return []
        first = ends[0]
        block = self.packed[first : ends[-1]].tobytes()
        return [block[a - first : b - first] for a, b in pairwise(ends)]

    def first(self, num_words: int) -> "Vocabulary":
        """Return the first `num_words` words, without a copy."""
        offsets = self.offsets[: num_words + 1]
        return Vocabulary(self.packed[: offsets[-1]], offsets, None if self.counts is None else self.counts[:num_words])

    def take(self, numbers: np.ndarray) -> "Vocabulary":
        """Return the words of these numbers, in this order."""
        words = self.as_bytes()
        counts = None if self.counts is None else self.counts[numbers]
        return Vocabulary.from_bytes([words[number] for number in numbers.tolist()], counts)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __contains__(self, word: object) -> bool:
        return word in self.key_to_index

    def __repr__(self) -> str:
        occurrences = "" if self.counts is None else f", {int(self.counts.sum()):,} occurrences"
        return f"Vocabulary({len(self):,} words{occurrences})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Vocabulary, (self.packed, self.offsets, self.counts)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Return where words of these lengths begin when they are packed, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _array(name: str, values: Any, dtype: type[np.generic]) -> np.ndarray:
    """Return `values` as a contiguous, read-only vector of `dtype`, without a copy where it is one already."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if array.size and not (array.dtype == dtype or (dtype == np.int64 and np.issubdtype(array.dtype, np.integer))):
        raise ValueError(f"{name} must hold {'integers' if dtype == np.int64 else 'uint8'}, got {array.dtype}")
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def _check_offsets(offsets: np.ndarray, size: int) -> None:
    expected = f"offsets must rise from 0 to {size}, the number of bytes"
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != size:
        raise ValueError(f"{expected}, got {f'{offsets[0]} to {offsets[-1]}' if len(offsets) else 'none'}")
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(falls):
        raise ValueError(f"{expected}, got {offsets[falls[0] + 1]} at position {falls[0] + 1}")


def _encode(word: object, place: int) -> bytes:
    if not isinstance(word, str):
        raise TypeError(f"words must be str, got {word!r:.80} at position {place}")
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(
            f"words must be valid Unicode, got a surrogate that stands for no byte in {word!r:.80} at position {place}"
        ) from None


def _first_duplicate(words: Sequence[bytes]) -> str:
    seen: dict[bytes, int] = {}
    place = next(place for place, word in enumerate(words) if seen.setdefault(word, place) < place)
    shown = words[place].decode("utf-8", "surrogateescape")
    return f"words must differ, got {shown!r:.80} at positions {seen[words[place]]} and {place}"
