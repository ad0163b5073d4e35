"""The words of a file: gathered as bytes, checked to be UTF-8, and repeated ones dropped."""

import warnings
from array import array
from collections.abc import Iterable

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary, offsets_of

ERRORS = ("strict", "surrogateescape", "replace", "ignore")
_BLOCK = 1 << 16
_CHECKED = 1 << 12  # words that are decoded at a time


def decoded(words: Vocabulary, errors: str) -> Vocabulary:
    r"""Return `words` with the bytes that are not UTF-8 treated as `errors` says.

    Parameters
    ----------
    words : Vocabulary
        As they are in a file.
    errors : {"strict", "surrogateescape", "replace", "ignore"}
        As for ``bytes.decode``.

    Raises
    ------
    ValueError
        With "strict", if a word is not UTF-8; the message names its row and bytes.

    Examples
    --------
    >>> decoded(Vocabulary.from_bytes([b"caf\xe9"]), "ignore").words
    ['caf']
    >>> decoded(Vocabulary.from_bytes([b"caf\xe9"]), "strict").words
    Traceback (most recent call last):
        ...
    ValueError: word 0 is not UTF-8: b'caf\xe9'; errors='surrogateescape', 'replace' or 'ignore' read it
    """
    if errors == "surrogateescape" or _is_utf8(words):
        return words
    if errors != "strict":
        return Vocabulary.from_bytes([w.decode("utf-8", errors).encode() for w in words.as_bytes()], words.counts)
    for row, word in enumerate(words.as_bytes()):
        try:
            word.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"word {row} is not UTF-8: {word!r:.200}; errors='surrogateescape', 'replace' or 'ignore' read it"
            ) from None
    raise AssertionError("unreachable")


def _is_utf8(words: Vocabulary) -> bool:
    """Return whether every word is UTF-8: all bytes together are, and no word starts inside a character."""
    for start in range(0, len(words), _CHECKED):
        ends = words.offsets[start : start + _CHECKED + 1]
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

    def finish(self) -> tuple[Vocabulary, np.ndarray]:
        """Return the words and the rows (int64, rising) of words that an earlier row holds already."""
        offsets = offsets_of(np.frombuffer(self._lengths, np.int64))
        words = Vocabulary(np.frombuffer(self._packed, np.uint8), offsets)
        hashes = np.frombuffer(self._hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        same = hashes[order[1:]] == hashes[order[:-1]]
        if not same.any():
            return words, np.zeros(0, np.int64)
        return words, _confirmed(words, np.sort(order[1:][same]), order[:-1][same])


def _confirmed(words: Vocabulary, later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
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


def drop_rows(
    words: Vocabulary, vectors: np.ndarray, repeated: np.ndarray, place: str
) -> tuple[Vocabulary, np.ndarray]:
    """Drop repeated words and their vectors, moving the others up in place where that may be done, and warn."""
    if not len(repeated):
        return words, vectors
    if not vectors.flags.writeable:
        vectors = vectors.copy()
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
    return words.take(rows), vectors[: len(rows)]
