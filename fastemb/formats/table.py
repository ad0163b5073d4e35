"""What every format reads and writes: words, their vectors and counts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats.words import WordCollector, decoded, drop_rows


@dataclass
class Table:
    """Words and their vectors.

    Parameters
    ----------
    vocabulary : Vocabulary
        The words, in the order of the rows, and their counts where the format keeps them.
    vectors : float32 array, or CompactVectors, of shape (num_words, vector_size)
        One row a word; may be a read-only memory map.
    metadata : dict of str to str
        Free text, where the format keeps it.
    attributes : dict of str to array of shape (num_words,)
        What else is known about the words, where the format keeps it.
    """

    vocabulary: Vocabulary
    vectors: Any
    metadata: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.vocabulary):
            raise ValueError(f"vectors must have shape ({len(self.vocabulary)}, vector_size), got {self.vectors.shape}")
        if self.vectors.dtype != np.float32:
            raise ValueError(f"vectors must be float32, got {self.vectors.dtype}")

    @property
    def words(self) -> list[str]:
        """The words as a list of str, decoded when first asked for."""
        return self.vocabulary.words

    @property
    def vector_size(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    @property
    def counts(self) -> np.ndarray | None:
        """How often each word was in the text, int64 of shape (num_words,); None where that is not known."""
        return self.vocabulary.counts


def as_float32(vectors: np.ndarray) -> np.ndarray:
    """Return `vectors` as C-contiguous, aligned, native float32, without a copy where they are that already."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(vectors, np.float32, ["C", "ALIGNED"])


def finished(collector: WordCollector, vectors: np.ndarray, errors: str, place: str) -> Table:
    """Return the table of a file that was read row by row: words decoded, repeated ones dropped."""
    words, repeated = collector.finish()
    readable = decoded(words, errors)
    if readable is not words:
        again = WordCollector()
        again.extend(readable.as_bytes())
        words, repeated = again.finish()
    words, vectors = drop_rows(words, vectors, repeated, place)
    return Table(words, vectors)
