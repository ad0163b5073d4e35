"""Word vectors with n-grams: words that were never seen have vectors, too."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import ProductRows, quantize_product
from fastemb.engine.validate import integer
from fastemb.formats.compact import CompactVectors
from fastemb.formats.file_rows import FileRows
from fastemb.formats.subwords import SubwordTable
from fastemb.vectors.keyed_vectors import KeyedVectors
from fastemb.vectors.query import KEY_TYPES, Key
from fastemb.vectors.search import norms_of
from fastemb.vectors.unknown import UnknownWord

__all__ = ["FastTextKeyedVectors"]

_NORM_ROWS = 1 << 16


class FastTextKeyedVectors(KeyedVectors):
    """Word vectors and those of n-grams of characters, with the methods of gensim's class of the same name.

    A word of the vocabulary has the mean of its own row and of its n-grams' rows; any other word that of its n-grams,
    zeros if there are none. ``word in kv`` is therefore true for all words. Vectors of the vocabulary are computed when
    all are needed; until then a word that is asked for reads its own rows only, so that a large file that was opened as
    a memory map costs what is used of it.

    Parameters
    ----------
    table : SubwordTable
        Words, rows, and how words are taken apart.

    Examples
    --------
    >>> from fastemb.corpus.subwords import Subwords
    >>> rows = np.random.default_rng(2).standard_normal((102, 8)).astype(np.float32)
    >>> kv = FastTextKeyedVectors(SubwordTable(Vocabulary.from_words(["cat", "dog"]), rows, Subwords(bucket=100)))
    >>> kv
    FastTextKeyedVectors(2 words, vector_size=8, n-grams of 3 to 6 characters in 100 rows)
    >>> "cats" in kv, kv.has_index_for("cats"), kv["cats"].shape
    (True, False, (8,))
    >>> kv.most_similar("cats", topn=1)[0][0]
    'cat'
    """

    def __init__(self, table: SubwordTable) -> None:
        self._subword_table = table
        # Takes no memory, and gives way to the table's vectors.
        super().__init__(np.broadcast_to(np.float32(0), (len(table.vocabulary), table.vector_size)), table.vocabulary)
        self._own: Any = None
        self.metadata = table.metadata
        self._attributes |= table.attributes

    @property
    def _vectors(self) -> Any:
        return self._subword_table.vectors if self._own is None else self._own

    @_vectors.setter
    def _vectors(self, vectors: Any) -> None:
        self._own = vectors

    @property
    def vector_size(self) -> int:
        """Numbers in a vector."""
        return self._subword_table.vector_size

    @property
    def min_n(self) -> int:
        """Least characters of an n-gram."""
        return self._subword_table.subwords.min_n

    @property
    def max_n(self) -> int:
        """Most characters of an n-gram."""
        return self._subword_table.subwords.max_n

    @property
    def bucket(self) -> int:
        """Rows that n-grams are hashed to, those that were pruned included."""
        return self._subword_table.subwords.bucket

    @property
    def hash_count(self) -> int:
        """Rows of a word or n-gram in floret's table; 0 for fastText's."""
        return self._subword_table.subwords.hash_count

    @property
    def vectors_vocab(self) -> Any:
        """The words' own rows, (num_words, vector_size), without their n-grams'; none in floret's and pruned tables."""
        return self._all_rows[: self._subword_table.num_word_rows]

    @property
    def vectors_ngrams(self) -> Any:
        """The rows of n-grams, (bucket, vector_size), or those that pruning has left."""
        return self._all_rows[self._subword_table.num_word_rows :]

    @property
    def _all_rows(self) -> Any:
        rows = self._subword_table.rows
        return rows.mapped() if isinstance(rows, FileRows) else rows

    def __len__(self) -> int:
        return len(self._subword_table.vocabulary) if self._own is None else len(self._own)

    def __repr__(self) -> str:
        told = self._subword_table
        kind = (
            "" if isinstance(told.rows, np.ndarray | FileRows) else f" of {getattr(told.rows, 'kind', 'product codes')}"
        )
        return (
            f"{type(self).__name__}({len(self)} words, vector_size={self.vector_size}, n-grams of {self.min_n} to "
            f"{self.max_n} characters in {told.subwords.num_rows} rows{kind})"
        )

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, str) and self._has_ngrams)

    @property
    def _has_ngrams(self) -> bool:
        return self._subword_table.subwords.num_rows > 0

    def get_vector(self, key: Key, norm: bool = False) -> np.ndarray:
        """Return a word's vector as a read-only array of shape (vector_size,), of length one with `norm`.

        Raises
        ------
        KeyError
            If the word is unknown, and there are no n-grams or it is no str.
        """
        row = self.get_index(key, -1)
        if row >= 0 and self._own is not None:
            return super().get_vector(row, norm)
        result = self._made(key) if row < 0 else np.array(self._subword_table.vector_at(row))
        length = np.linalg.norm(result) if norm else 0
        if length > 0:
            result /= np.float32(length)
        result.flags.writeable = False
        return result

    def __getitem__(self, key_or_keys: Key | Iterable[Key]) -> np.ndarray:
        """Return the vector of one word, or of a list of words as the rows of a table."""
        if isinstance(key_or_keys, KEY_TYPES):
            return self.get_vector(key_or_keys)
        keys = list(key_or_keys)
        rows = np.array([self.get_index(key, -1) for key in keys], np.int64)
        known = rows >= 0
        out = np.empty((len(keys), self.vector_size), np.float32)
        if known.any():
            out[known] = self._vectors[rows[known]]
        if not known.all():
            out[~known] = self._made_all([key for key, row in zip(keys, rows, strict=True) if row < 0])
        return out

    def _made(self, key: Key) -> np.ndarray:
        """Return the vector of a word that has no row."""
        return self._made_all([key])[0]

    def _made_all(self, keys: list[Key]) -> np.ndarray:
        for key in keys:
            if not isinstance(key, str) or not self._has_ngrams:
                raise UnknownWord(key, self.index_to_key)
        packed = [str(key).encode("utf-8", "surrogateescape") for key in keys]
        return self._subword_table.vectors_of(Vocabulary.from_bytes(packed))

    def get_sentence_vector(self, sentence: Sequence[Key]) -> np.ndarray:
        """Return the mean of the unit vectors of a sentence's words, as gensim does; see `get_mean_vector`.

        Examples
        --------
        >>> from fastemb.corpus.subwords import Subwords
        >>> rows = np.array([[0, 2], [0, 2], [4, 0]], np.float32)
        >>> kv = FastTextKeyedVectors(SubwordTable(Vocabulary.from_words(["a", "b"]), rows, Subwords(3, 3, bucket=1)))
        >>> kv.get_sentence_vector(["a", "bcd"])
        array([0.9472136, 0.2236068], dtype=float32)
        """
        return self.get_mean_vector(sentence)

    def adjust_vectors(self) -> None:
        """Compute the vocabulary's vectors again, after a change of the rows."""
        self._subword_table.refresh()
        self._own = self._norms = None

    @classmethod
    def _of_table(cls, table: Any) -> Self:
        if not isinstance(table, SubwordTable):
            raise ValueError("the file holds no n-grams: KeyedVectors.load reads it")
        return cls(table)

    def _as_table(self) -> SubwordTable:
        table = self._subword_table
        attributes = {name: array for name, array in self._attributes.items() if name != "count"}
        if self._own is None and not self._changed:
            table.metadata, table.attributes = self.metadata, attributes
            return table
        # Words were added or changed, so that their rows and their vectors are no longer the same thing.
        return SubwordTable(
            self.vocabulary, _left(table.rows, slice(table.num_word_rows, None)), table.subwords,
            vectors=self._vectors, num_word_rows=0, metadata=self.metadata, attributes=attributes, origin=table.origin,
        )  # fmt: skip

    def without_subwords(self) -> KeyedVectors:
        """Return the vocabulary's vectors alone, which do not hold on to the rows or their file.

        Examples
        --------
        >>> from fastemb.corpus.subwords import Subwords
        >>> table = SubwordTable(Vocabulary.from_words(["a"]), np.ones((3, 2), np.float32), Subwords(bucket=2))
        >>> FastTextKeyedVectors(table).without_subwords()
        KeyedVectors(1 words, vector_size=2)
        """
        result = KeyedVectors(self._vectors, self.vocabulary, self.metadata)
        result._attributes = dict(self._attributes)
        return result

    def prune(self, keep: int | None = None, *, word_rows: bool = False) -> "FastTextKeyedVectors":
        """Return vectors with fewer buckets: only those that a word of the vocabulary uses, the longest of these.

        An n-gram in a bucket that no word uses was never trained. The vocabulary's own vectors stay as they are.

        Parameters
        ----------
        keep : int, optional
            Keep so many buckets, those whose rows are longest; default all that are used.
        word_rows : bool, default False
            Keep the words' own rows besides their vectors, as fastText's files need them.

        Returns
        -------
        FastTextKeyedVectors

        Raises
        ------
        ValueError
            If these were pruned before.

        Examples
        --------
        >>> from fastemb.corpus.subwords import Subwords
        >>> rows = np.random.default_rng(0).standard_normal((10_001, 8)).astype(np.float32)
        >>> kv = FastTextKeyedVectors(SubwordTable(Vocabulary.from_words(["cat"]), rows, Subwords(3, 3, 10_000)))
        >>> kv.prune()
        FastTextKeyedVectors(1 words, vector_size=8, n-grams of 3 to 3 characters in 3 rows)
        >>> kv.prune(keep=1)
        FastTextKeyedVectors(1 words, vector_size=8, n-grams of 3 to 3 characters in 1 rows)
        """
        table = self._subword_table
        if table.subwords.kept is not None:
            raise ValueError("these vectors were pruned before")
        first = table.num_word_rows
        used = np.unique(table.parts()[0])
        used = used[used >= first]
        if keep is not None and integer("keep", keep, 0) < len(used):
            lengths = np.concatenate(
                [norms_of(table.rows[used[a : a + _NORM_ROWS]]) for a in range(0, len(used), _NORM_ROWS)]
            )
            used = np.sort(used[np.argsort(-lengths, kind="stable")[:keep]])
        rows = used if not word_rows else np.concatenate([np.arange(first, dtype=used.dtype), used])
        kept = used - first
        return self._with_rows(_left(table.rows, rows), table.subwords.pruned(kept), first if word_rows else 0)

    def quantize(self, bits: int | None = None, dtype: DTypeLike | None = None) -> "FastTextKeyedVectors":
        """Return the same words and n-grams in an eighth to a half of the memory; see `KeyedVectors.quantize`.

        Parameters
        ----------
        bits : {8, 4}, optional
            Codes with a scale and a bias a row. Default 8, unless there is a `dtype`.
        dtype : {"float16", "bfloat16", "float32"}, optional
            Short floats instead; "float32" makes an ordinary table of a compact one.

        Returns
        -------
        FastTextKeyedVectors
            Its ``metadata["subword_error"]`` is the error of the n-grams' rows: the root of the mean square of the
            differences over that of the numbers.
        """
        whole = self.without_subwords().quantize(bits, dtype)
        table = self._subword_table
        rows = _left(table.rows, slice(table.num_word_rows, None))
        if isinstance(whole.vectors, CompactVectors):
            small: Any = CompactVectors.of(rows, whole.vectors.kind)
        else:
            small = np.array(rows[:], np.float32)
        result = self._with_rows(small, table.subwords, 0, vectors=whole.vectors)
        result.metadata["subword_error"] = f"{_relative_error(rows, small):.3g}"
        return result

    def quantize_product(
        self, dsub: int = 2, *, qnorm: bool = False, seed: int = 1, workers: int | None = None
    ) -> "FastTextKeyedVectors":
        """Return the same vectors, with the rows of n-grams and words as product codes, as fastText quantizes.

        The vocabulary's vectors stay as they are; words that are not in it get approximate ones. Saved as ``.ftz`` the
        rows alone are kept, so that Facebook's program loads them, and computes the vocabulary's vectors from them.

        Parameters
        ----------
        dsub : int, default 2
            Numbers of a row that become one byte.
        qnorm : bool, default False
            Quantize the rows' lengths apart from their directions, at a byte more a row.
        seed, workers
            See `fastemb.engine.product.quantize_product`.

        Returns
        -------
        FastTextKeyedVectors
            With ``metadata["subword_error"]``, as from `quantize`.

        Raises
        ------
        ValueError
            If there are fewer than 256 rows.
        """
        table = self._subword_table
        rows = self._all_rows if isinstance(self._all_rows, np.ndarray) else np.asarray(table.rows)
        codes = quantize_product(rows, dsub, qnorm=qnorm, seed=seed, workers=workers)
        result = self._with_rows(codes, table.subwords, table.num_word_rows)
        result.metadata["subword_error"] = f"{_relative_error(table.rows, codes):.3g}"
        return result

    def _with_rows(
        self, rows: Any, subwords: Any, num_word_rows: int, vectors: Any = None
    ) -> "FastTextKeyedVectors":  # fmt: skip
        """Return the same words and vectors with other rows."""
        told = self._as_table()
        table = SubwordTable(
            self.vocabulary, rows, subwords, vectors=self._vectors if vectors is None else vectors,
            num_word_rows=num_word_rows, spelling=told.spelling, metadata=told.metadata, attributes=told.attributes,
            origin=told.origin,
        )  # fmt: skip
        return FastTextKeyedVectors(table)


def _left(rows: Any, which: np.ndarray | slice) -> Any:
    """Return some rows of a table in its own kind."""
    if isinstance(rows, FileRows) and isinstance(which, slice):
        return rows.mapped()[which]
    return rows.take(which) if isinstance(rows, CompactVectors | ProductRows) else rows[which]


def _relative_error(rows: Any, small: Any) -> float:
    """Return the root mean square of what quantization changed, relative to that of the numbers."""
    change = whole = 0.0
    for first in range(0, len(rows), _NORM_ROWS):
        block = np.asarray(rows[first : first + _NORM_ROWS], np.float64)
        change += float(((small[first : first + _NORM_ROWS] - block) ** 2).sum())
        whole += float((block**2).sum())
    return (change / whole) ** 0.5 if whole else 0.0
