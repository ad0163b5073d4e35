"""Words packed as bytes and offsets: decoded when they are first asked for, and checked as they are read."""

import warnings
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

ERRORS = ("strict", "surrogateescape", "replace", "ignore")
_BLOCK = 1 << 16


class Words:
    """An immutable list of words, packed into one array of bytes.

    Parameters
    ----------
    packed : uint8 array of shape (num_bytes,)
        The bytes of all words, one after another.
    offsets : int64 array of shape (num_words + 1,)
        Word `i` is ``packed[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> words = Words.from_words(["to", "be"])
    >>> words.words, words.key_to_index, len(words)
    (['to', 'be'], {'to': 0, 'be': 1}, 2)
    """

    def __init__(self, packed: np.ndarray, offsets: np.ndarray) -> None:
        self.packed = packed
        self.offsets = offsets

    @classmethod
    def from_words(cls, words: Sequence[str]) -> "Words":
        """Pack a sequence of str; lone surrogates stand for bytes that are not UTF-8.

        Raises
        ------
        TypeError
            If something in `words` is not a str.
        ValueError
            If a word holds a surrogate that does not stand for a byte.
        """
        return cls.from_bytes([_encoded(i, word) for i, word in enumerate(words)])

    @classmethod
    def from_bytes(cls, words: Sequence[bytes]) -> "Words":
        """Pack a sequence of bytes."""
        offsets = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=offsets[1:])
        return cls(np.frombuffer(b"".join(words), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __contains__(self, word: object) -> bool:
        return word in self.key_to_index

    def as_bytes(self, start: int, stop: int) -> list[bytes]:
        """Return the words `start` to `stop` (exclusive) as bytes."""
        ends = self.offsets[start : stop + 1].tolist()
        if len(ends) < 2:
            return []
        first = ends[0]
        block = self.packed[first : ends[-1]].tobytes()
        return [block[a - first : b - first] for a, b in pairwise(ends)]

    @cached_property
    def words(self) -> list[str]:
        """The words as a list of str."""
        result: list[str] = []
        for start in range(0, len(self), _BLOCK):
            result += [w.decode("utf-8", "surrogateescape") for w in self.as_bytes(start, start + _BLOCK)]
        return result

    @cached_property
    def key_to_index(self) -> dict[str, int]:
        """Where each word is; the first place of a word that is there twice."""
        result = dict(zip(self.words, range(len(self)), strict=True))
        if len(result) < len(self):
            last = len(self) - 1
            result = {word: last - i for i, word in enumerate(reversed(self.words))}
        return result


def _encoded(row: int, word: object) -> bytes:
    if not isinstance(word, str):
        raise TypeError(f"words[{row}] must be a str, got {word!r:.80}")
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"words[{row}] holds a surrogate that stands for no byte: {word!r:.80}") from None


def decoded(words: Words, errors: str) -> Words:
    r"""Return `words` with the bytes that are not UTF-8 treated as `errors` says.

    Parameters
    ----------
    words : Words
        As they are in a file.
    errors : {"strict", "surrogateescape", "replace", "ignore"}
        As for ``bytes.decode``.

    Raises
    ------
    ValueError
        With "strict", if a word is not UTF-8; the message names its row and bytes.

    Examples
    --------
    >>> decoded(Words.from_bytes([b"caf\xe9"]), "ignore").words
    ['caf']
    >>> decoded(Words.from_bytes([b"caf\xe9"]), "strict").words
    Traceback (most recent call last):
        ...
    ValueError: word 0 is not UTF-8: b'caf\xe9'; errors='surrogateescape', 'replace' or 'ignore' read it
    """
    if errors == "surrogateescape" or _is_utf8(words):
        return words
    if errors != "strict":
        return Words.from_bytes([w.decode("utf-8", errors).encode() for w in words.as_bytes(0, len(words))])
    for row in range(len(words)):
        word = words.as_bytes(row, row + 1)[0]
        try:
            word.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"word {row} is not UTF-8: {word!r:.200}; errors='surrogateescape', 'replace' or 'ignore' read it"
            ) from None
    raise AssertionError("unreachable")


def _is_utf8(words: Words) -> bool:
    """Return whether every word is UTF-8: all bytes together are, and no word starts inside a character."""
    for start in range(0, len(words), _BLOCK):
        ends = words.offsets[start : start + _BLOCK + 1]
        block = words.packed[ends[0] : ends[-1]]
        try:
            block.tobytes().decode()
        except UnicodeDecodeError:
            return False
        starts = ends[:-1][ends[:-1] < ends[-1]] - ends[0]
        if ((block[starts] & 0xC0) == 0x80).any():
            return False
    return True


class WordCollector:
    """Gathers the words of a file block by block, 16 bytes a word beside their own."""

    def __init__(self) -> None:
        self._packed = bytearray()
        self._lengths = array("q")
        self._hashes = array("q")

    def extend(self, words: Iterable[bytes]) -> None:
        """Add words."""
        block = list(words)
        self._packed += b"".join(block)
        self._lengths.extend(map(len, block))
        self._hashes.extend(map(hash, block))

    def __len__(self) -> int:
        return len(self._lengths)

    def finish(self) -> tuple[Words, np.ndarray]:
        """Return the words and the rows (int64, rising) of words that an earlier row holds already."""
        offsets = np.zeros(len(self._lengths) + 1, np.int64)
        np.cumsum(np.frombuffer(self._lengths, np.int64), out=offsets[1:])
        words = Words(np.frombuffer(self._packed, np.uint8), offsets)
        hashes = np.frombuffer(self._hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        same = hashes[order[1:]] == hashes[order[:-1]]
        if not same.any():
            return words, np.zeros(0, np.int64)
        return words, _confirmed(words, np.sort(order[1:][same]), order[:-1][same])


def _confirmed(words: Words, later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Return the rows among `later` whose word is in an earlier row; equal hashes only suggest it."""
    rows = sorted({*later.tolist(), *earlier.tolist()})
    seen: set[bytes] = set()
    repeated = []
    for row in rows:
        word = words.as_bytes(row, row + 1)[0]
        if word in seen:
            repeated.append(row)
        seen.add(word)
    return np.array(repeated, np.int64)


def drop_rows(words: Words, vectors: np.ndarray, repeated: np.ndarray, place: str) -> tuple[Words, np.ndarray]:
    """Drop repeated words and their vectors, moving the others up in place, and warn."""
    if not len(repeated):
        return words, vectors
    first = words.as_bytes(repeated[0], repeated[0] + 1)[0].decode("utf-8", "replace")
    warnings.warn(
        f"{place}: {len(repeated)} rows repeat an earlier word and are ignored, first row {repeated[0]}, {first!r:.80}",
        UserWarning,
        stacklevel=2,
    )
    keep = np.ones(len(words), bool)
    keep[repeated] = False
    rows = np.flatnonzero(keep)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        vectors[start : start + len(block)] = vectors[block]
    kept = [word for word, is_kept in zip(words.as_bytes(0, len(words)), keep.tolist(), strict=True) if is_kept]
    return Words.from_bytes(kept), vectors[: len(rows)]
