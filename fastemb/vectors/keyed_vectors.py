"""Words and their vectors: look-up, similar words, evaluation, files."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastemb import formats
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.validate import integer
from fastemb.formats.files import PathLike
from fastemb.formats.table import Table, as_float32
from fastemb.vectors import evaluate, query, search, word2vec_format
from fastemb.vectors.query import KEY_TYPES, Key
from fastemb.vectors.unknown import UnknownWord


class KeyedVectors:
    """Word vectors, with the methods of gensim's KeyedVectors and their results.

    Parameters
    ----------
    vectors : float array of shape (num_words, vector_size)
        One row a word. float32 is kept as it is, a read-only memory map too; other floats are converted.
    vocabulary : Vocabulary
        The words in the order of the rows, and maybe their counts.
    metadata : dict of str to str, optional
        Free text, saved where the format keeps it.

    Raises
    ------
    TypeError
        If `vectors` is not an array of floats.
    ValueError
        If there is not one row a word.

    Examples
    --------
    >>> import numpy as np
    >>> kv = KeyedVectors.from_words(["king", "queen", "tea"], np.array([[2, 1], [2, 1.5], [-1, 2]], np.float32))
    >>> kv["tea"], "queen" in kv, len(kv)
    (array([-1.,  2.], dtype=float32), True, 3)
    >>> [(word, round(cosine, 3)) for word, cosine in kv.most_similar("king")]
    [('queen', 0.984), ('tea', 0.0)]
    >>> kv["kings"]
    Traceback (most recent call last):
        ...
    fastemb.vectors.unknown.UnknownWord: word 'kings' is not in the vocabulary (3 words); close matches: king
    """

    def __init__(
        self,
        vectors: np.ndarray,
        vocabulary: Vocabulary,
        metadata: dict[str, str] | None = None,
    ) -> None:
        array = np.asanyarray(vectors)
        if array.dtype.kind != "f":
            raise TypeError(f"vectors must be an array of floats, got {array.dtype}")
        if array.ndim != 2 or len(array) != len(vocabulary):
            raise ValueError(f"vectors must have shape ({len(vocabulary)}, vector_size), got {array.shape}")
        self.vectors: np.ndarray = array if array.dtype == np.float32 else as_float32(array)
        self.vocabulary = vocabulary
        self.metadata = dict(metadata or {})
        self._norms: np.ndarray | None = None

    @classmethod
    def from_words(
        cls, words: Sequence[str], vectors: np.ndarray, counts: Sequence[int] | np.ndarray | None = None
    ) -> "KeyedVectors":
        """Make KeyedVectors of a list of words and a table.

        Raises
        ------
        ValueError
            If a word is there twice, or `words`, `vectors` and `counts` differ in length.
        """
        return cls(np.asarray(vectors), Vocabulary.from_words(words, counts))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} words, vector_size={self.vector_size})"

    @property
    def vector_size(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    @property
    def index_to_key(self) -> list[str]:
        """The words, in the order of the rows of `vectors`."""
        return self.vocabulary.words

    @property
    def key_to_index(self) -> dict[str, int]:
        """The row of each word."""
        return self.vocabulary.key_to_index

    @property
    def counts(self) -> np.ndarray | None:
        """How often each word was in the text, int64 of shape (num_words,); None where that is not known."""
        return self.vocabulary.counts

    @property
    def norms(self) -> np.ndarray:
        """Length of every vector, float32 of shape (num_words,); computed once, see `fill_norms`."""
        self.fill_norms()
        assert self._norms is not None
        return self._norms

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths of the vectors if that was not done, or again with `force` (after a change)."""
        if self._norms is None or force:
            self._norms = search.norms_of(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, KEY_TYPES) and self.get_index(key, -1) >= 0

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
        result = self.vectors[row]
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
        rows = [self.get_index(key) for key in key_or_keys]
        return self.vectors[np.array(rows, np.int64)]

    def get_vecattr(self, key: Key, attr: str) -> int:
        """Return how often a word was in the text; the only `attr` is "count".

        Raises
        ------
        KeyError
            If the word is unknown, `attr` is something else, or the counts are not known.
        """
        row = self.get_index(key)
        if attr != "count":
            raise KeyError(f"the only attribute of words is 'count', got {attr!r}")
        if self.counts is None:
            raise KeyError("these vectors come without counts")
        return int(self.counts[row])

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """Return the words whose vectors are nearest to a mean of unit vectors, by the cosine of the angle.

        Parameters
        ----------
        positive, negative : word, vector, or list of them or of (word or vector, weight), optional
            What to add and to subtract. A list is one query; a list of lists is as many queries, answered by
            `most_similar_batch`.
        topn : int, optional
            How many words; with None, the similarities of all words as an array.
        restrict_vocab : int, optional
            Search only the first this many words.

        Returns
        -------
        list of (str, float), or float32 array of shape (num_words,)
            By falling similarity, equal ones in the order of the vocabulary. The query's own words are left out of the
            list. Of several queries, a list of these.

        Raises
        ------
        KeyError
            If a word is unknown.
        ValueError
            If there is no word or vector, or a vector has another size.
        """
        if (
            negative is None
            and isinstance(positive, list)
            and positive
            and all(isinstance(one, list) for one in positive)
        ):
            return self.most_similar_batch(positive, topn, restrict_vocab)
        vector, own = query.parse(self, positive, negative)
        return self._answer(vector[None], [own], topn, restrict_vocab)[0]

    def most_similar_batch(
        self, queries: Sequence[Any] | np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[list[tuple[str, float]]] | np.ndarray:
        """Answer many queries at once, much faster than one after the other.

        Parameters
        ----------
        queries : sequence, or array of shape (num_queries, vector_size)
            Each is what `most_similar` takes as `positive`: a word, a vector, or a list of them.
        topn, restrict_vocab
            As in `most_similar`.

        Returns
        -------
        list of list of (str, float), or float32 array of shape (num_queries, num_words)
            What `most_similar` returns, for each query.

        Raises
        ------
        TypeError
            If `queries` is a str.

        Examples
        --------
        >>> kv = KeyedVectors.from_words(["a", "b"], np.eye(2, dtype=np.float32))
        >>> kv.most_similar_batch(["a", ["a", "b"]])
        [[('b', 0.0)], []]
        """
        if isinstance(queries, str):
            raise TypeError(f"queries must be a list of queries, got a str: {queries!r:.80}")
        pairs = [query.parse(self, one) for one in queries]
        table = np.array([vector for vector, _ in pairs], np.float32).reshape(len(pairs), self.vector_size)
        return self._answer(table, [own for _, own in pairs], topn, restrict_vocab)

    def similar_by_word(
        self, word: Key, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]] | np.ndarray:
        """Return the words most similar to a word, as `most_similar` does."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_vector(
        self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[str, float]] | np.ndarray:
        """Return the words most similar to a vector, as `most_similar` does."""
        return self.most_similar([np.asarray(vector)], topn=topn, restrict_vocab=restrict_vocab)

    def _answer(self, queries: np.ndarray, own: list[list[int]], topn: int | None, restrict_vocab: int | None) -> Any:
        stop = len(self) if not restrict_vocab else min(integer("restrict_vocab", restrict_vocab, 1), len(self))
        vectors, norms = self.vectors[:stop], self.norms[:stop]
        if topn is None:
            return search.similarities(vectors, norms, queries)
        if integer("topn", topn, -(1 << 62)) < 1:
            return [[] for _ in own]
        words = self.index_to_key
        ids, scores = search.top_k(vectors, norms, queries, topn, own)
        return [[(words[row], cosine) for row, cosine in zip(r, c, strict=True) if row >= 0] for r, c in zip(ids.tolist(), scores.tolist(), strict=True)]

    def similarity(self, w1: Key, w2: Key) -> float:
        """Return the cosine of the angle between two words' vectors."""
        return evaluate.cosine(self.get_vector(w1), self.get_vector(w2))

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """Return the cosine of the angle between the means of two lists of words; unknown words are left out.

        Raises
        ------
        ZeroDivisionError
            If a list is empty, as in gensim.
        """
        if not len(ws1) or not len(ws2):
            raise ZeroDivisionError("n_similarity needs at least one word in each list")
        means = [self[[word for word in words if word in self]].sum(axis=0, dtype=np.float64) for words in (ws1, ws2)]
        return evaluate.cosine(*means)

    def doesnt_match(self, words: Sequence[Key]) -> Key:
        """Return the word that is farthest from the mean of some words' unit vectors; unknown words are left out.

        Raises
        ------
        ValueError
            If none of the words is known.
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError(f"doesnt_match needs at least one known word, got {list(words)!r:.200}")
        units = np.array([self.get_vector(word, norm=True) for word in known], np.float64)
        mean = units.mean(axis=0).astype(np.float32)
        return min(zip((units.astype(np.float32) @ mean).tolist(), known, strict=True))[1]

    def evaluate_word_analogies(
        self,
        analogies: PathLike,
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[float, list[dict[str, Any]]]:
        """Return the share of analogies answered right; see `fastemb.vectors.evaluate.word_analogies`."""
        return evaluate.word_analogies(self, analogies, restrict_vocab, case_insensitive, dummy4unknown)

    def evaluate_word_pairs(
        self,
        pairs: PathLike,
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[Any, Any, float]:
        """Return how similarities go with people's scores; see `fastemb.vectors.evaluate.word_pairs`."""
        options = (restrict_vocab, case_insensitive, dummy4unknown)
        return evaluate.word_pairs(self, pairs, delimiter, encoding, *options)

    def save(self, path: PathLike, format: str | None = None) -> None:
        """Write the vectors to a file whose suffix (or `format`) decides the format; see `fastemb.formats.write`."""
        formats.write(path, self._table(), format=format)

    @classmethod
    def load(
        cls, path: PathLike, format: str | None = None, errors: str = "strict", limit: int | None = None
    ) -> "KeyedVectors":
        """Read vectors from a file in any of the formats; see `fastemb.formats.read`."""
        table = formats.read(path, format=format, errors=errors, limit=limit)
        return cls(table.vectors, table.vocabulary, table.metadata)

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
    ) -> "KeyedVectors":
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
        write_header: bool = True,
        prefix: str = "",
        sort_attr: str = "count",
    ) -> None:
        """Write a word2vec file with gensim's arguments; `save` does it by the file's suffix.

        Rows are sorted by falling count where counts are known and `sort_attr` is "count"; `prefix` is put before each
        word; without `write_header` the text is GloVe's.
        """
        word2vec_format.save(fname, self._table(), fvocab, binary, write_header, prefix, sort_attr)

    def _table(self) -> Table:
        return Table(self.vocabulary, self.vectors, self.metadata)
