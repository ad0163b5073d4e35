"""Words and their vectors: what the parts of `KeyedVectors` stand on."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.validate import integer
from fastemb.formats.compact import CompactVectors
from fastemb.formats.table import as_float32
from fastemb.vectors import query, search
from fastemb.vectors.query import KEY_TYPES, Key
from fastemb.vectors.unknown import UnknownWord

Vectors = np.ndarray | CompactVectors


class Lookup:
    """Words, their vectors, and what else is known about them."""

    def __init__(
        self,
        vectors: Any = None,
        vocabulary: Vocabulary | None = None,
        metadata: dict[str, str] | None = None,
        *,
        vector_size: int | None = None,
    ) -> None:
        if vector_size is not None or isinstance(vectors, int | np.integer):
            size = integer("vector_size", vectors if vector_size is None else vector_size, 0)
            vectors = np.zeros((0, size), np.float32)
        self._vocabulary = Vocabulary.from_words([]) if vocabulary is None else vocabulary
        self._words: list[str] | None = None  # our own, once they are changed
        self._rows: dict[str, int] = {}
        self._changed = False  # since `_vocabulary` was made
        self._attributes: dict[str, np.ndarray] = {}
        if self._vocabulary.counts is not None:
            self._attributes["count"] = self._vocabulary.counts
        self._vectors = _table(vectors, len(self._vocabulary))
        self._room: np.ndarray | None = None  # where the table lies once words were added, with some rows to spare
        self._norms: np.ndarray | None = None
        self.metadata = dict(metadata or {})

    @classmethod
    def from_words(
        cls, words: Sequence[str], vectors: np.ndarray, counts: Sequence[int] | np.ndarray | None = None
    ) -> Self:
        """Make KeyedVectors of a list of words and a table.

        Raises
        ------
        ValueError
            If a word is there twice, or `words`, `vectors` and `counts` differ in length.
        """
        return cls(np.asarray(vectors), Vocabulary.from_words(words, counts))

    def __repr__(self) -> str:
        kind = f", {self.vectors.kind}" if isinstance(self.vectors, CompactVectors) else ""
        return f"{type(self).__name__}({len(self)} words, vector_size={self.vector_size}{kind})"

    @property
    def vectors(self) -> Any:
        """One row a word: a float32 array, or `CompactVectors`, whose rows and slices are float32 arrays.

        After a change of numbers in it call ``fill_norms(force=True)``; another table of as many rows may be assigned.
        """
        return self._vectors

    @vectors.setter
    def vectors(self, vectors: Any) -> None:
        self._vectors = _table(vectors, len(self))
        self._norms = None

    @property
    def vector_size(self) -> int:
        """Numbers in a vector."""
        return int(self._vectors.shape[1])

    @property
    def vocabulary(self) -> Vocabulary:
        """The words and their counts."""
        if self._changed:
            packed = [word.encode("utf-8", "surrogateescape") for word in self.index_to_key]
            self._vocabulary, self._changed = Vocabulary.from_bytes(packed, self.counts), False
        return self._vocabulary

    @property
    def index_to_key(self) -> list[str]:
        """The words, in the order of the rows of `vectors`."""
        return self._vocabulary.words if self._words is None else self._words

    @property
    def key_to_index(self) -> dict[str, int]:
        """The row of each word."""
        return self._vocabulary.key_to_index if self._words is None else self._rows

    @property
    def counts(self) -> np.ndarray | None:
        """How often each word was in the text, int64 of shape (num_words,); None where that is not known."""
        return self._attributes.get("count")

    @property
    def expandos(self) -> dict[str, np.ndarray]:
        """What `set_vecattr` has set, "count" included: an array a name, in the order of the words."""
        return self._attributes

    @property
    def norms(self) -> np.ndarray:
        """Length of every vector, float32 of shape (num_words,); computed once, see `fill_norms`."""
        self.fill_norms()
        assert self._norms is not None
        return self._norms

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths of the vectors if that was not done, or again with `force` (after a change)."""
        if self._norms is None or force:
            self._norms = search.norms_of(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, KEY_TYPES) and self.has_index_for(key)

    def has_index_for(self, key: Key) -> bool:
        """Return whether there is a row for a word, rather than a vector that is made when it is asked for."""
        return self.get_index(key, -1) >= 0

    def get_index(self, key: Key, default: int | None = None) -> int:
        """Return the row of a word; a number that is a row stands for itself.

        Raises
        ------
        KeyError
            If the word is unknown and there is no `default`; the message names similar words.
        """
        row = self.key_to_index.get(key, -1)  # type: ignore[arg-type]
        if row >= 0:
            return row
        if not isinstance(key, str) and 0 <= key < len(self):
            return int(key)
        if default is not None:
            return default
        raise UnknownWord(key, self.index_to_key)

    def get_vector(self, key: Key, norm: bool = False) -> np.ndarray:
        """Return a word's vector as a read-only array of shape (vector_size,), of length one with `norm`."""
        row = self.get_index(key)
        result = self._vectors[row]
        if norm and self.norms[row] > 0:
            result = result / self.norms[row]
        result.flags.writeable = False
        return result

    def __getitem__(self, key_or_keys: Key | Iterable[Key]) -> np.ndarray:
        """Return the vector of one word, or of a list of words as the rows of a table.

        Raises
        ------
        KeyError
            If a word is unknown.
        """
        if isinstance(key_or_keys, KEY_TYPES):
            return self.get_vector(key_or_keys)
        keys = list(key_or_keys)
        rows = np.array([self.get_index(key, -1) for key in keys], np.int64)
        if len(rows) and rows.min() < 0:
            return np.stack([self.get_vector(key) for key in keys])  # a subclass may know more words
        return self._vectors[rows]

    def get_normed_vectors(self) -> np.ndarray:
        """Return a copy of the table with rows of length one, float32; a row of zeros stays one."""
        result = np.array(self._vectors, np.float32)
        return normalise(result, self.norms)

    def get_mean_vector(
        self,
        keys: Sequence[Key | np.ndarray] | np.ndarray,
        weights: Sequence[float] | np.ndarray | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> np.ndarray:
        """Return a weighted mean of vectors.

        Parameters
        ----------
        keys : sequence of words and vectors, or array of shape (num_vectors, vector_size)
        weights : sequence of float, optional
            One a key; default 1. The sum is divided by the sum of their magnitudes.
        pre_normalize : bool, default True
            Take words' vectors at length one; vectors are taken as they are.
        post_normalize : bool, default False
            Give the result length one.
        ignore_missing : bool, default True
            Leave out unknown words, rather than raise.

        Returns
        -------
        float32 array of shape (vector_size,)
            Zeros where no key is known.

        Raises
        ------
        ValueError
            If there is no key, or not one weight a key.
        KeyError
            If a word is unknown, and not `ignore_missing`.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["up", "right"], np.array([[0, 2], [4, 0]], np.float32))
        >>> kv.get_mean_vector(["up", "right", "left"], weights=[1, 3, 1])
        array([0.75, 0.25], dtype=float32)
        """
        if not len(keys):
            raise ValueError("keys must have at least one word or vector")
        shares = np.ones(len(keys)) if weights is None else np.asarray(weights, np.float64)
        if shares.shape != (len(keys),):
            raise ValueError(f"weights must be {len(keys)} numbers, one a key, got shape {shares.shape}")
        mean, total = np.zeros(self.vector_size), 0.0
        for key, share in zip(keys, shares.tolist(), strict=True):
            if isinstance(key, np.ndarray):
                vector = query.checked(key, self.vector_size)
            elif not ignore_missing or key in self:
                vector = self.get_vector(key, norm=pre_normalize).astype(np.float64)
            else:
                continue
            mean += share * vector
            total += abs(share)
        mean /= total or 1.0
        length = np.linalg.norm(mean) if post_normalize else 1.0
        return (mean / (length or 1.0)).astype(np.float32)

    def get_vecattr(self, key: Key, attr: str) -> Any:
        """Return what is known about a word: "count", how often it was in the text, or what `set_vecattr` set.

        Raises
        ------
        KeyError
            If the word is unknown, or no word has this attribute.
        """
        row = self.get_index(key)
        if attr not in self._attributes:
            known = ", ".join(map(repr, self._attributes)) or "none"
            raise KeyError(f"words have no attribute {attr!r}, the attributes there are: {known}")
        value = self._attributes[attr][row]
        return value.item() if isinstance(value, np.generic) else value


def normalise(table: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Divide the rows of a table by their lengths in place, but for those of length 0."""
    with np.errstate(invalid="ignore"):
        table /= np.where(norms == 0, np.float32(1), norms)[:, None]
    return table


def _table(vectors: Any, num_words: int) -> Vectors:
    """Return a table of `num_words` rows: as it is where it is float32 or compact."""
    if not isinstance(vectors, CompactVectors):
        vectors = np.asanyarray(vectors)
        if vectors.dtype.kind != "f":
            raise TypeError(f"vectors must be an array of floats, got {vectors.dtype}")
    if vectors.ndim != 2 or len(vectors) != num_words:
        raise ValueError(f"vectors must have shape ({num_words}, vector_size), got {vectors.shape}")
    return vectors if vectors.dtype == np.float32 else as_float32(vectors)
