"""What every format reads and writes: words, their vectors and counts."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fastemb.formats.words import WordCollector, Words, decoded, drop_rows


class PackedWords(Protocol):
    """What a table needs of its words; `fastemb.corpus.vocabulary.Vocabulary` and `Words` have it."""

    @property
    def packed(self) -> np.ndarray:
        """The bytes of all words, uint8."""

    @property
    def offsets(self) -> np.ndarray:
        """Where each word begins and ends, int64, shape (num_words + 1,)."""

    @property
    def words(self) -> list[str]:
        """The words."""

    @property
    def key_to_index(self) -> dict[str, int]:
        """Where each word is."""

    def __len__(self) -> int:
        """Return the number of words."""


@dataclass
class Table:
    """Words and their vectors.

    Parameters
    ----------
    vocabulary : PackedWords
        The words, in the order of the rows.
    vectors : float32 array of shape (num_words, vector_size)
        One row a word; may be a read-only memory map.
    counts : int64 array of shape (num_words,), optional
        How often each word was in the text, where the format keeps it.
    metadata : dict of str to str
        Free text, where the format keeps it.
    """

    vocabulary: PackedWords
    vectors: np.ndarray
    counts: np.ndarray | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.vocabulary):
            raise ValueError(f"vectors must have shape ({len(self.vocabulary)}, vector_size), got {self.vectors.shape}")
        if self.vectors.dtype != np.float32:
            raise ValueError(f"vectors must be float32, got {self.vectors.dtype}")
        if self.counts is not None and self.counts.shape != (len(self.vocabulary),):
            raise ValueError(f"counts must have shape ({len(self.vocabulary)},), got {self.counts.shape}")

    @property
    def words(self) -> list[str]:
        """The words as a list of str, decoded when first asked for."""
        return self.vocabulary.words


def as_float32(vectors: np.ndarray) -> np.ndarray:
    """Return `vectors` as C-contiguous, aligned, native float32, without a copy where they are that already."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(vectors, np.float32, ["C", "ALIGNED"])


def packed_words(table: Table) -> Words:
    """Return a table's words as the formats' own class, without a copy."""
    words = table.vocabulary
    return words if isinstance(words, Words) else Words(np.asarray(words.packed), np.asarray(words.offsets))


def finished(collector: WordCollector, vectors: np.ndarray, errors: str, place: str) -> Table:
    """Return the table of a file that was read row by row: words decoded, repeated ones dropped."""
    words, repeated = collector.finish()
    readable = decoded(words, errors)
    if readable is not words:
        again = WordCollector()
        again.extend(readable.as_bytes(0, len(readable)))
        words, repeated = again.finish()
    words, vectors = drop_rows(words, vectors, repeated, place)
    return Table(words, vectors)
