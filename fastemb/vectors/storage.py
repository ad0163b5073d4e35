"""Vectors on disk, in less memory, and in other libraries' indexes."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from fastemb import formats
from fastemb.engine.validate import choice, integer
from fastemb.formats.compact import CompactVectors
from fastemb.formats.files import PathLike
from fastemb.formats.table import Table
from fastemb.vectors import indexes, word2vec_format
from fastemb.vectors.lookup import Lookup

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors


class Storage(Lookup):
    """Files, compact tables and exports."""

    def save(self, path: PathLike, format: str | None = None) -> None:
        """Write the vectors to a file whose suffix (or `format`) decides the format; see `fastemb.formats.write`.

        safetensors keeps compact vectors as they are, and attributes that are numbers; other formats do not.
        """
        formats.write(path, self._as_table(), format=format)

    @classmethod
    def load(
        cls,
        path: PathLike,
        format: str | None = None,
        errors: str = "strict",
        limit: int | None = None,
        mmap: str | None = None,
        *,
        subwords: bool = True,
    ) -> Self:
        """Read vectors from a file in any of the formats; see `fastemb.formats.read`.

        Files that have rows of n-grams, as fastText's, give `FastTextKeyedVectors`, or, with ``subwords=False``, the
        vocabulary's vectors only. gensim's argument `mmap` has no effect: files that can be mapped always are.
        """
        table = formats.read(path, format=format, errors=errors, limit=limit)
        if not subwords:
            table = Table(table.vocabulary, table.vectors, table.metadata, table.attributes)
        return cls._of_table(table)

    @classmethod
    def _of_table(cls, table: Table) -> Any:
        result = cls(table.vectors, table.vocabulary, table.metadata)
        result._attributes |= table.attributes
        return result

    @classmethod
    def load_word2vec_format(
        cls,
        fname: PathLike,
        fvocab: PathLike | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = np.float32,
        no_header: bool = False,
    ) -> Self:
        """Read a word2vec file with gensim's arguments; `load` finds the format itself.

        Counts are read from `fvocab` (a word and its count a line); without it there are none (gensim makes some up).
        """
        options = (fvocab, binary, encoding, unicode_errors, limit, datatype, no_header)
        table = word2vec_format.load(fname, *options)
        return cls(table.vectors, table.vocabulary, table.metadata)

    def save_word2vec_format(
        self,
        fname: PathLike,
        fvocab: PathLike | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Write a word2vec file with gensim's arguments; `save` does it by the file's suffix.

        Rows are sorted by falling count where counts are known and `sort_attr` is "count"; `prefix` is put before each
        word; without `write_header` the text is GloVe's. `append` adds the words to a file that there is, whose header
        must have told of them: `total_vec` is the number of words that it tells of.
        """
        options = (fvocab, binary, total_vec, write_header, prefix, append, sort_attr)
        word2vec_format.save(fname, self._as_table(), *options)

    def _as_table(self) -> Table:
        kept = {name: array for name, array in self._attributes.items() if name != "count"}
        return Table(self.vocabulary, self._vectors, self.metadata, kept)

    def quantize(self, bits: int | None = None, dtype: DTypeLike | None = None) -> "KeyedVectors":
        """Return the same words with vectors that take a half to an eighth of the memory.

        They answer the same questions, decoded row by row or block by block, and are saved to safetensors as they are,
        which opens as a memory map. They cannot be changed.

        Parameters
        ----------
        bits : {8, 4}, optional
            Codes with a scale and a bias a row. Default 8, unless there is a `dtype`.
        dtype : {"float16", "bfloat16", "float32"}, optional
            Short floats instead; "float32" makes an ordinary table of a compact one.

        Returns
        -------
        KeyedVectors

        Raises
        ------
        ValueError
            If both `bits` and `dtype` are given, or a vector cannot be held; its row is named.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "rum"], np.random.default_rng(0).normal(size=(2, 100)))
        >>> small = kv.quantize(bits=8)
        >>> small, small.vectors.nbytes / kv.vectors.nbytes
        (KeyedVectors(2 words, vector_size=100, int8), 0.27)
        >>> bool(abs(small.similarity("tea", "rum") - kv.similarity("tea", "rum")) < 0.01)
        True
        """
        if bits is not None and dtype is not None:
            raise ValueError(f"bits or dtype must be given, not both, got bits={bits} and dtype={dtype}")
        if dtype is None:
            kind = f"int{8 if bits is None else choice('bits', integer('bits', bits, 0), (8, 4))}"
        else:
            name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
            kind = choice("dtype", name, ("float16", "bfloat16", "float32"))
        vectors: Any = np.array(self._vectors) if kind == "float32" else CompactVectors.of(self._vectors, kind)
        from fastemb.vectors.keyed_vectors import KeyedVectors

        result = KeyedVectors(vectors, self.vocabulary, self.metadata)
        result._attributes = dict(self._attributes)
        return result

    def to_usearch(self, **options: Any) -> Any:
        """Return an index of the vectors for fast approximate search; see `fastemb.vectors.indexes.to_usearch`."""
        return indexes.to_usearch(self._vectors, self.norms, **options)

    def to_faiss(self, factory: str = "HNSW32") -> Any:
        """Return an index of the vectors for fast approximate search; see `fastemb.vectors.indexes.to_faiss`."""
        return indexes.to_faiss(self._vectors, self.norms, factory)

    def to_annoy(self, num_trees: int = 20, seed: int = 1) -> Any:
        """Return an index of the vectors for fast approximate search; see `fastemb.vectors.indexes.to_annoy`."""
        return indexes.to_annoy(self._vectors, self.norms, num_trees, seed)
