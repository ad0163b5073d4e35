"""Words and vectors that are added, replaced, sorted or chosen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastemb.formats.compact import CompactVectors
from fastemb.vectors.lookup import Lookup, normalise
from fastemb.vectors.query import Key

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors


class Changes(Lookup):
    """Changes of a table of words."""

    def add_vector(self, key: str, vector: Any) -> int:
        """Add a word that is not there yet, and return its row.

        Room is made for half as many words again, so that words may be added one by one.

        Raises
        ------
        ValueError
            If the word is there already, or the vector has another size.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors(vector_size=2)
        >>> kv.add_vector("one", [1, 2]), kv.add_vector("two", [3, 4]), kv["two"]
        (0, 1, array([3., 4.], dtype=float32))
        """
        if key in self.key_to_index:
            raise ValueError(f"key must be a new word, got {key!r:.80}, which is word {self.key_to_index[key]}")
        self.add_vectors([key], [vector])
        return len(self) - 1

    def add_vectors(
        self,
        keys: str | Sequence[str],
        weights: Any,
        extras: Mapping[str, np.ndarray] | None = None,
        replace: bool = False,
    ) -> None:
        """Add words and their vectors at the end.

        Parameters
        ----------
        keys : str or sequence of str
        weights : float array of shape (num_keys, vector_size)
            Their vectors; of one word, of shape (vector_size,).
        extras : mapping of str to array of shape (num_keys,), optional
            Their attributes, see `set_vecattr`.
        replace : bool, default False
            Give words that are there already the new vector and attributes; they keep the old ones otherwise.

        Raises
        ------
        TypeError
            If a key is not a str.
        ValueError
            If the arrays do not fit; nothing is added then.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["one"], np.array([[1.0]]))
        >>> kv.add_vectors(["one", "two"], [[5], [2]], extras={"count": np.array([7, 3])})
        >>> kv["one"], kv["two"], kv.get_vecattr("two", "count")
        (array([1.], dtype=float32), array([2.], dtype=float32), 3)
        """
        names = [keys] if isinstance(keys, str) else list(keys)
        table = np.asarray(weights, np.float32).reshape(1, -1) if isinstance(keys, str) else np.asarray(weights)
        self._changeable()
        self._check_added(names, table)
        values = {name: np.asarray(array) for name, array in (extras or {}).items()}
        for name, array in values.items():
            if array.shape[:1] != (len(names),):
                raise ValueError(f"extras[{name!r}] must have {len(names)} values, one a key, got shape {array.shape}")
        self.allocate_vecattrs(list(values), [array.dtype for array in values.values()])
        new, old = self._new_and_old(names)
        rows = self._append([names[place] for place in new])
        if replace:
            new = np.append(new, old)
            rows = np.append(rows, np.array([self.key_to_index[names[place]] for place in old], np.int64))
        if not len(rows):
            return
        self._own_table()[rows] = table[new]
        self._norms = None
        self.allocate_vecattrs()
        for name, array in values.items():
            self._own_attribute(name)[rows] = array[new]

    def __setitem__(self, keys: str | Sequence[str], weights: Any) -> None:
        """Give one word, or a list of words, a vector; words that are not there yet are added."""
        self.add_vectors(keys, weights, replace=True)

    def _check_added(self, names: list[str], table: np.ndarray) -> None:
        for place, name in enumerate(names):
            if not isinstance(name, str):
                raise TypeError(f"keys must be str, got {name!r:.80} at position {place}")
        if table.shape != (len(names), self.vector_size) or table.dtype.kind not in "fiu":
            wanted = f"({len(names)}, {self.vector_size})"
            raise ValueError(f"weights must be numbers of shape {wanted}, got {table.dtype} of shape {table.shape}")

    def _new_and_old(self, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of words to add, and of words that are there by then."""
        known, places = self.key_to_index, dict[str, int]()
        new = [
            place for place, name in enumerate(names) if name not in known and places.setdefault(name, place) == place
        ]
        return np.array(new, np.int64), np.setdiff1d(np.arange(len(names)), new)

    def _own_words(self) -> tuple[list[str], dict[str, int]]:
        """Return the words and their rows for changes: a vocabulary may be shared."""
        if self._words is None:
            self._rows, self._words = dict(self.key_to_index), list(self.index_to_key)
        self._changed = True
        return self._words, self._rows

    def _append(self, names: list[str]) -> np.ndarray:
        """Make room for new words and return their rows."""
        rows = np.arange(len(self), len(self) + len(names))
        if names:
            words, numbers = self._own_words()
            words += names
            numbers.update(zip(names, rows.tolist(), strict=True))
            self._own_table(len(words))
        return rows

    def _changeable(self) -> np.ndarray:
        if isinstance(self._vectors, CompactVectors):
            kind = self._vectors.kind
            raise TypeError(f"{kind} vectors cannot be changed; quantize(dtype='float32') makes some that can")
        return self._vectors

    def _own_table(self, num_words: int | None = None) -> np.ndarray:
        """Make the table one that may be written to, of `num_words` rows, and return it."""
        table = self._changeable()
        size = len(table) if num_words is None else num_words
        if table.flags.writeable and size == len(table):
            return table
        if self._room is None or table.base is not self._room or len(self._room) < size:
            more = len(table) // 2 if size > len(table) else 0
            self._room = np.zeros((max(size, len(table) + more), self.vector_size), np.float32)
            self._room[: len(table)] = table
        self._vectors = self._room[:size]
        return self._vectors

    def allocate_vecattrs(self, attrs: Sequence[str] | None = None, types: Sequence[Any] | None = None) -> None:
        """Make arrays for attributes, zeros of the given types, or make those that there are as long as the words.

        Raises
        ------
        TypeError
            If an attribute is of another type already.
        """
        if attrs is None:
            attrs, types = list(self._attributes), [array.dtype for array in self._attributes.values()]
        for name, kind in zip(attrs, types or (), strict=True):
            dtype = np.dtype(object if kind is str else kind)
            array = self._attributes.setdefault(name, np.zeros(len(self), dtype))
            if not np.issubdtype(dtype, array.dtype):
                raise TypeError(f"attribute {name!r} is of type {array.dtype}, cannot hold {dtype}")
            if len(array) < len(self):
                longer = np.zeros(len(self), array.dtype)
                longer[: len(array)] = array
                self._attributes[name] = longer

    def set_vecattr(self, key: Key, attr: str, val: Any) -> None:
        """Keep a value beside a word: its count as "count", or anything under another name.

        The first value of a name decides the type of all; words without one have 0.

        Raises
        ------
        KeyError
            If the word is unknown.
        TypeError
            If the attribute is of another type.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "rum"], np.eye(2))
        >>> kv.set_vecattr("rum", "proof", 40.0)
        >>> kv.get_vecattr("rum", "proof"), kv.get_vecattr("tea", "proof")
        (40.0, 0.0)
        """
        row = self.get_index(key)
        self.allocate_vecattrs([attr], [type(val)])
        self._own_attribute(attr)[row] = val

    def _own_attribute(self, name: str) -> np.ndarray:
        """Return an attribute's array for changes."""
        array = self._attributes[name]
        if not array.flags.writeable:
            array = self._attributes[name] = array.copy()
        if name == "count":
            self._own_words()
        return array

    def unit_normalize_all(self) -> None:
        """Give every vector length one, in place (a read-only table is copied); a vector of zeros stays one."""
        norms = self.norms
        normalise(self._own_table(), norms)
        self._norms = None

    def sort_by_descending_frequency(self) -> None:
        """Sort the words by falling "count"; of equal ones, as in gensim, the last comes first.

        Raises
        ------
        KeyError
            If there are no counts.
        """
        if not len(self):
            return
        if self.counts is None:
            raise KeyError("words have no attribute 'count' to sort them by")
        order = np.lexsort((-np.arange(len(self)), -self.counts))
        words, rows = self._own_words()
        self._words = [words[row] for row in order.tolist()]
        rows.clear()
        rows.update(zip(self._words, range(len(self)), strict=True))
        self.vectors = self._vectors[order] if isinstance(self._vectors, np.ndarray) else self._vectors.take(order)
        self._attributes = {name: array[order] for name, array in self._attributes.items()}

    def vectors_for_all(
        self, keys: Iterable[str], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> "KeyedVectors":
        """Return the vectors of some words as KeyedVectors of their own, in the order of the first of each.

        Parameters
        ----------
        keys : iterable of str
            Unknown words are left out.
        allow_inference : bool, default True
            Where vectors can be made for words that are not in the vocabulary (fastText's), take these words too.
        copy_vecattrs : bool, default False
            Take the words' attributes along. What is inferred has zeros.

        Raises
        ------
        TypeError
            If `keys` is a str.

        Examples
        --------
        >>> from fastemb import KeyedVectors
        >>> kv = KeyedVectors.from_words(["tea", "rum"], np.eye(2))
        >>> kv.vectors_for_all(["rum", "ale", "rum"]).index_to_key
        ['rum']
        """
        from fastemb.vectors.keyed_vectors import KeyedVectors

        known = self if allow_inference else self.key_to_index
        if isinstance(keys, str):
            raise TypeError(f"keys must be a list of words, got {keys!r:.80}")
        words = [key for key in dict.fromkeys(keys) if key in known]
        rows = np.array([self.get_index(word, -1) for word in words], np.int64)
        table = self[words] if words else np.zeros((0, self.vector_size), np.float32)
        chosen = KeyedVectors.from_words(words, table)
        if copy_vecattrs:
            there = rows >= 0
            for name, array in self._attributes.items():
                chosen._attributes[name] = np.zeros(len(words), array.dtype)
                chosen._attributes[name][there] = array[rows[there]]
            chosen._changed = True
        return chosen
