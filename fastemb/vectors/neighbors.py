"""The words nearest to words, vectors and sums of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastemb.engine.parallel import MAX_THREADS
from fastemb.engine.validate import integer
from fastemb.vectors import query, search
from fastemb.vectors.lookup import Lookup
from fastemb.vectors.query import KEY_TYPES, Key

Similar = list[tuple[str, float]]


class Neighbors(Lookup):
    """Searches for near words, exact ones."""

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        indexer: Any = None,
    ) -> Any:
        """Return the words whose vectors are nearest to a mean of unit vectors, by the cosine of the angle.

        Parameters
        ----------
        positive, negative : word, vector, or list of them or of (word or vector, weight), optional
            What to add and to subtract. A list is one query; a list of lists is as many queries, answered by
            `most_similar_batch`.
        topn : int, optional
            How many words; with None, the similarities of all words as an array.
        clip_start, clip_end : int, optional
            Search only the words of the rows ``[clip_start, clip_end)``.
        restrict_vocab : int, optional
            Search only the first this many words; `clip_start` and `clip_end` do not count then.
        indexer : object, optional
            Asked instead of the table, if there is a `topn`: its ``most_similar(vector, topn)``, as gensim's indexers
            have it.

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
        lists = isinstance(positive, list) and bool(positive) and all(isinstance(one, list) for one in positive)
        if negative is None and lists:
            return self.most_similar_batch(positive, topn, restrict_vocab)
        vector, own = query.parse(self, positive, negative)
        if indexer is not None and topn is not None:
            return indexer.most_similar(vector, topn)
        start, stop = self._range(clip_start, clip_end, restrict_vocab)
        return self._answers(vector[None], [own], topn, start, stop)[0]

    def most_similar_batch(
        self,
        queries: Sequence[Any] | np.ndarray,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
        *,
        arrays: bool = False,
        memory: int = search.MEMORY,
        workers: int | None = None,
    ) -> Any:
        """Answer many queries at once, much faster than one after the other.

        Parameters
        ----------
        queries : sequence, or array of shape (num_queries, vector_size)
            Each is what `most_similar` takes as `positive`: a word, a vector, or a list of them.
        topn, restrict_vocab
            As in `most_similar`.
        arrays : bool, default False
            Return arrays of rows and of similarities, rather than lists of words.
        memory : int, default 64 MiB
            About how many bytes the search may use besides its answer.
        workers : int, optional
            Threads; default `fastemb.get_num_threads`.

        Returns
        -------
        list of list of (str, float)
            What `most_similar` returns, for each query.
        (int64 array, float32 array) of shape (num_queries, topn)
            With `arrays`: rows, with -1 where there are no more, and their similarities, with NaN there. No wider than
            the number of words.
        float32 array of shape (num_queries, num_words)
            Without `topn`: all similarities.

        Raises
        ------
        TypeError
            If `queries` is a str.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["a", "b"], np.eye(2, dtype=np.float32))
        >>> kv.most_similar_batch(["a", ["a", "b"]])
        [[('b', 0.0)], []]
        >>> kv.most_similar_batch(["a", "b"], topn=1, arrays=True)
        (array([[1], [0]]), array([[0.], [0.]], dtype=float32))
        """
        if isinstance(queries, str):
            raise TypeError(f"queries must be a list of queries, got a str: {queries!r:.80}")
        integer("memory", memory, 1)
        if workers is not None:
            integer("workers", workers, 1, MAX_THREADS)
        vectors, own = query.parse_many(self, queries)
        start, stop = self._range(0, None, restrict_vocab)
        if not arrays or topn is None:
            return self._answers(vectors, own, topn, start, stop, memory, workers)
        return self._nearest(vectors, own, max(0, integer("topn", topn, -(1 << 62))), start, stop, memory, workers)

    def similar_by_key(self, key: Key, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Return the words most similar to a word, as `most_similar` does."""
        return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_word(self, word: Key, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Return the words most similar to a word: another name of `similar_by_key`."""
        return self.similar_by_key(word, topn, restrict_vocab)

    def similar_by_vector(self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Return the words most similar to a vector, as `most_similar` does."""
        return self.most_similar([np.asarray(vector)], topn=topn, restrict_vocab=restrict_vocab)

    def most_similar_cosmul(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """Return the words that are similar to all of `positive` and to none of `negative`, by a quotient of products.

        A cosine counts as (1 + cosine) / 2, in [0, 1]; the score is the product of those with `positive` over that of
        those with `negative`, plus 1e-6 (Levy and Goldberg 2014, equation 4: 3CosMul).

        Parameters
        ----------
        positive, negative : word, vector, or list of them, optional
            Vectors are taken as they are, words' vectors at length one.
        topn : int, optional
            How many words; with None, the scores of all words as an array.
        restrict_vocab : int, optional
            Search only the first this many words.

        Returns
        -------
        list of (str, float), or float32 array of shape (num_words,)
            As `most_similar`, with scores for similarities.

        Raises
        ------
        KeyError
            If a word is unknown.
        ValueError
            If `positive` is empty, or a vector has another size.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> rows = np.array([[1, 0], [1, 1], [0, 1]], np.float32)
        >>> kv = KeyedVectors.from_words(["king", "queen", "woman"], rows)
        >>> [(word, round(score, 3)) for word, score in kv.most_similar_cosmul("queen", "king")]
        [('woman', 1.707)]
        """
        added, taken = query.listed(positive), query.listed(negative)
        if not added:
            raise ValueError("positive must have at least one word or vector")
        own = [self.get_index(key, -1) for key in added + taken if isinstance(key, KEY_TYPES)]
        if topn is not None and integer("topn", topn, -(1 << 62)) < 1:
            return []
        _, stop = self._range(0, None, restrict_vocab)
        vectors = np.array([self._term(one) for one in added + taken], np.float32)
        with np.errstate(all="ignore"):
            part = search.part_of(self._vectors, 0, stop)
            shifted = (1 + search.similarities(part, self.norms[:stop], vectors)) / 2
            scores = shifted[: len(added)].prod(axis=0) / (shifted[len(added) :].prod(axis=0) + np.float32(1e-6))
        if topn is None:
            return scores
        ids, values = search.best(scores[None].astype(np.float32), topn, [own])
        words = self.index_to_key
        return [(words[row], score) for row, score in zip(ids[0].tolist(), values[0].tolist(), strict=True) if row >= 0]

    def _term(self, item: Any) -> np.ndarray:
        if isinstance(item, KEY_TYPES):
            return self.get_vector(item, norm=True)
        return query.checked(item, self.vector_size)

    def _range(self, clip_start: int, clip_end: int | None, restrict_vocab: int | None) -> tuple[int, int]:
        """Return the first and the last row, exclusive, to search."""
        if restrict_vocab:
            return 0, min(integer("restrict_vocab", restrict_vocab, 1), len(self))
        stop = min(integer("clip_end", clip_end, 0), len(self)) if clip_end else len(self)
        return min(integer("clip_start", clip_start, 0), stop), stop

    def _answers(
        self,
        queries: np.ndarray,
        own: list[list[int]],
        topn: int | None,
        start: int,
        stop: int,
        memory: int = search.MEMORY,
        workers: int | None = None,
    ) -> Any:
        """Return for each query a list of words and similarities, or without `topn` all similarities."""
        if topn is None:
            return search.similarities(search.part_of(self._vectors, start, stop), self.norms[start:stop], queries)
        if integer("topn", topn, -(1 << 62)) < 1:
            return [[] for _ in own]
        words = self.index_to_key
        ids, scores = self._nearest(queries, own, topn, start, stop, memory, workers)
        return [
            [(words[row], score) for row, score in zip(rows, values, strict=True) if row >= 0]
            for rows, values in zip(ids.tolist(), scores.tolist(), strict=True)
        ]

    def _nearest(
        self,
        queries: np.ndarray,
        own: list[list[int]],
        topn: int,
        start: int,
        stop: int,
        memory: int,
        workers: int | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows in ``[start, stop)`` nearest to each query, and their similarities."""
        if start > 0:
            own = [[row - start for row in rows] for rows in own]
        part = search.part_of(self._vectors, start, stop)
        ids, scores = search.top_k(part, self.norms[start:stop], queries, topn, own, memory, workers)
        ids[ids >= 0] += start
        return ids, scores
