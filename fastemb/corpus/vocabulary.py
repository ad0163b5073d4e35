"""The words of a corpus or of a table of vectors, and how often each occurs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastemb.corpus._strings import decode_words


class Vocabulary:
    """Words with their counts; a word's place is its number. Not to be changed.

    The words are kept as they lie in a file, their UTF-8 bytes one after the other, and become str when they are
    first asked for, so that a large vocabulary opens at once. Bytes that are not UTF-8 survive as Python's surrogate
    escapes.

    Parameters
    ----------
    packed : uint8 array
        The UTF-8 bytes of all words.
    offsets : int64 array of shape (num_words + 1,)
        Word `i` is ``packed[offsets[i]:offsets[i + 1]]``.
    counts : int64 array of shape (num_words,)
        How often each word occurs.

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

    __slots__ = ("_key_to_index", "_words", "counts", "offsets", "packed")

    def __init__(self, packed: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> None:
        self.packed = _array("packed", packed, np.uint8)
        self.offsets = _array("offsets", offsets, np.int64)
        self.counts = _array("counts", counts, np.int64)
        _check_offsets(self.offsets, len(self.packed))
        if len(self.counts) != len(self.offsets) - 1:
            raise ValueError(f"counts must have {len(self.offsets) - 1} entries, one a word, got {len(self.counts)}")
        self._words: list[str] | None = None
        self._key_to_index: dict[str, int] | None = None

    @classmethod
    def from_words(
        cls, words: Sequence[str], counts: Sequence[int] | np.ndarray | None = None, errors: str = "strict"
    ) -> "Vocabulary":
        """Make a vocabulary of words in their order.

        Parameters
        ----------
        words
            Different words.
        counts
            How often each occurs; zeros when not given.
        errors
            What to do with surrogates in a word, as in ``str.encode``.

        Raises
        ------
        TypeError
            If a word is not a str.
        ValueError
            If a word occurs twice, cannot be encoded, or the counts do not fit.
        """
        words = list(words)
        encoded = [_encode(word, place, errors) for place, word in enumerate(words)]
        if len(set(encoded)) < len(encoded):
            raise ValueError(_first_duplicate(words))
        offsets = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
        packed = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(packed, offsets, np.zeros(len(words), np.int64) if counts is None else np.asarray(counts))

    @property
    def words(self) -> list[str]:
        """The words as str, in the order of their numbers. The list is the vocabulary's own: do not change it."""
        if self._words is None:
            self._words = decode_words(self.packed, self.offsets, "surrogateescape")
        return self._words

    @property
    def key_to_index(self) -> dict[str, int]:
        """The number of each word. The dict is the vocabulary's own: do not change it."""
        if self._key_to_index is None:
            self._key_to_index = {word: number for number, word in enumerate(self.words)}
        return self._key_to_index

    def __len__(self) -> int:
        return len(self.counts)

    def __contains__(self, word: object) -> bool:
        return word in self.key_to_index

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} words, {int(self.counts.sum()):,} occurrences)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Vocabulary, (self.packed, self.offsets, self.counts)


def _array(name: str, values: Any, dtype: type[np.generic]) -> np.ndarray:
    """Return `values` as a contiguous, read-only vector of `dtype`, without a copy where it is one already."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}")
    if array.dtype != dtype and not (array.size == 0 or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name} must hold integers, got {array.dtype}")
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def _check_offsets(offsets: np.ndarray, size: int) -> None:
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != size:
        shown = f"{offsets[0]} to {offsets[-1]}" if len(offsets) else "none"
        raise ValueError(f"offsets must rise from 0 to {size}, the number of bytes, got {shown}")
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(falls):
        raise ValueError(f"offsets must not fall, got {offsets[falls[0] + 1]} at position {falls[0] + 1}")


def _encode(word: object, place: int, errors: str) -> bytes:
    if not isinstance(word, str):
        raise TypeError(f"words must be str, got {word!r} at position {place}")
    try:
        return word.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        raise ValueError(f"words must be valid Unicode, got {word!r} at position {place} ({error.reason})") from None


def _first_duplicate(words: Sequence[str]) -> str:
    seen: dict[str, int] = {}
    for place, word in enumerate(words):
        if word in seen:
            return f"words must differ, got {word!r} at positions {seen[word]} and {place}"
        seen[word] = place
    return "words must differ, but some become equal when they are encoded"
