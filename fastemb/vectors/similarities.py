"""How similar words are: one to another, to many, and lists of them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from fastemb.engine.validate import integer
from fastemb.vectors import search
from fastemb.vectors.evaluate import cosine
from fastemb.vectors.lookup import Lookup
from fastemb.vectors.query import KEY_TYPES, Key, checked


class Similarities(Lookup):
    """Similarities and distances; an angle with a vector of zeros counts as a right one."""

    def similarity(self, w1: Key, w2: Key) -> float:
        """Return the cosine of the angle between two words' vectors."""
        return cosine(self.get_vector(w1), self.get_vector(w2))

    def distance(self, w1: Key, w2: Key) -> float:
        """Return one minus the cosine of the angle between two words' vectors."""
        return 1 - self.similarity(w1, w2)

    def distances(self, word_or_vector: Key | np.ndarray, other_words: Iterable[Key] = ()) -> np.ndarray:
        """Return one minus the cosine of the angles between a word or vector and others.

        Parameters
        ----------
        word_or_vector : word or array of shape (vector_size,)
        other_words : iterable of words, optional
            Default: all of the vocabulary.

        Returns
        -------
        float32 array of shape (num_other_words,)

        Raises
        ------
        KeyError
            If a word is unknown.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "rum"], np.eye(2))
        >>> kv.distances("tea"), kv.distances("tea", ["rum"])
        (array([0., 1.], dtype=float32), array([1.], dtype=float32))
        """
        is_key = isinstance(word_or_vector, KEY_TYPES)
        vector = self.get_vector(word_or_vector) if is_key else checked(word_or_vector, self.vector_size)  # type: ignore[arg-type]
        words = list(other_words or ())
        vectors = self[words] if words else self._vectors
        norms = search.norms_of(vectors) if words else self.norms
        return 1 - search.similarities(vectors, norms, search.units(vector[None].astype(np.float32)))[0]

    @staticmethod
    def cosine_similarities(vector_1: np.ndarray, vectors_all: np.ndarray) -> np.ndarray:
        """Return the cosines of the angles between a vector and the rows of a table, float32 (num_vectors,)."""
        table = np.asarray(vectors_all, np.float32)
        return search.similarities(table, search.norms_of(table), search.units(np.asarray(vector_1, np.float32)[None]))[
            0
        ]

    def closer_than(self, key1: Key, key2: Key) -> list[str]:
        """Return the words that are nearer to `key1` than `key2` is, in the order of the vocabulary, without `key1`.

        Raises
        ------
        KeyError
            If a word is unknown.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "mate", "rum"], np.array([[0, 1], [1, 2], [1, 0]], np.float32))
        >>> kv.closer_than("tea", "rum"), kv.rank("tea", "rum")
        (['mate'], 2)
        """
        rows = search.nearer_rows(self._vectors, self.norms, self.get_vector(key1), self.get_vector(key2))
        own = self.get_index(key1, -1)
        return [self.index_to_key[row] for row in rows.tolist() if row != own]

    def rank(self, key1: Key, key2: Key) -> int:
        """Return the place of `key2` among the words by their distance from `key1`: 1 for the nearest."""
        return len(self.closer_than(key1, key2)) + 1

    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Key:
        """Return the word of a list that is most similar to `key1`, the first of equal ones.

        Raises
        ------
        KeyError
            If a word is unknown.
        ValueError
            If the list is empty.
        """
        if not len(keys_list):
            raise ValueError("keys_list must have at least one word")
        return keys_list[int(np.argmax([self.similarity(key1, key) for key in keys_list]))]

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """Return the cosine of the angle between the means of two lists of words; unknown words are left out.

        Raises
        ------
        ZeroDivisionError
            If a list is empty, as in gensim.
        """
        if not len(ws1) or not len(ws2):
            raise ZeroDivisionError("n_similarity needs at least one word in each list")
        return cosine(*(self.get_mean_vector(words, pre_normalize=False) for words in (ws1, ws2)))

    def rank_by_centrality(self, words: Sequence[Key], use_norm: bool = True) -> list[tuple[float, Key]]:
        """Return words and their similarity to the mean of them all, the most similar first.

        Parameters
        ----------
        words : sequence of words
            Unknown ones are left out.
        use_norm : bool, default True
            Take the vectors at length one.

        Raises
        ------
        ValueError
            If none of the words is known.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "mate", "rum"], np.array([[0, 1], [1, 2], [1, 0]], np.float32))
        >>> [word for _, word in kv.rank_by_centrality(["rum", "tea", "mate"])]
        ['mate', 'tea', 'rum']
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError(f"at least one word must be known, got {list(words)!r:.200}")
        vectors = np.array([self.get_vector(word, norm=use_norm) for word in known], np.float32)
        mean = self.get_mean_vector(vectors, post_normalize=True)
        return sorted(zip((vectors @ mean).tolist(), known, strict=True), reverse=True)

    def doesnt_match(self, words: Sequence[Key]) -> Key:
        """Return the word that is farthest from the mean of some words' unit vectors; unknown words are left out.

        Raises
        ------
        ValueError
            If none of the words is known.
        """
        return self.rank_by_centrality(words)[-1][1]

    def relative_cosine_similarity(self, wa: Key, wb: Key, topn: int = 10) -> float:
        """Return the similarity of two words over the sum of those of the `topn` words nearest to the first.

        Of synonyms it is greater than 0.1 with ten words (Leeuwenberg et al. 2016, equation 1).

        Raises
        ------
        KeyError
            If a word is unknown.
        ValueError
            If there is no other word.
        """
        integer("topn", topn, 1)
        vector, row = self.get_vector(wa, norm=True), self.get_index(wa, -1)
        query = search.units(vector[None])
        _, scores = search.top_k(self._vectors, self.norms, query, topn, [[row] if row >= 0 else []])
        nearest = scores[np.isfinite(scores)]
        if not len(nearest):
            raise ValueError("relative_cosine_similarity needs at least one other word")
        return self.similarity(wa, wb) / float(nearest.sum(dtype=np.float64))

    def wmdistance(self, document1: Sequence[Key], document2: Sequence[Key], norm: bool = True) -> float:
        """Return the word mover's distance of two lists of words (Kusner et al. 2015): the least way to carry one over.

        The optimal transport is POT's (``pip install 'fastemb[wmd]'``).

        Parameters
        ----------
        document1, document2 : sequence of words
            Unknown words are left out.
        norm : bool, default True
            Take the vectors at length one.

        Returns
        -------
        float
            Infinity where one of the lists has no known word.

        Raises
        ------
        ImportError
            If POT is not installed.
        TypeError
            If a document is a str, and not a list of words.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "rum"], np.array([[0, 3], [4, 0]], np.float32))
        >>> kv.wmdistance(["tea", "tea"], ["tea", "rum"], norm=False)  # doctest: +SKIP
        2.5
        """
        try:
            from ot import emd2
        except ImportError as error:
            raise ImportError("wmdistance needs POT: pip install 'fastemb[wmd]'") from error
        from scipy.spatial.distance import cdist

        for name, words in (("document1", document1), ("document2", document2)):
            if isinstance(words, str):
                raise TypeError(f"{name} must be a list of words, got {words!r:.80}")
        counts = [Counter(word for word in words if word in self) for words in (document1, document2)]
        if not all(counts):
            return math.inf
        first, second = (np.array([self.get_vector(word, norm=norm) for word in words], np.float64) for words in counts)
        shares = [np.array(list(words.values())) / words.total() for words in counts]
        return float(emd2(*shares, cdist(first, second)))
