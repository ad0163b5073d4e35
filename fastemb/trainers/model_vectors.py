"""A model's own vectors: those of the words, with what only a model has, and how they take on other vectors."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import validate
from fastemb.formats.files import PathLike
from fastemb.vectors.keyed_vectors import KeyedVectors

if TYPE_CHECKING:
    from fastemb.trainers.state import State

__all__ = ["ModelVectors", "open_vectors"]


class ModelVectors(KeyedVectors):
    """The input vectors of a model: `KeyedVectors` that change when the model is trained.

    A copy or a pickle of them is of the plain kind.

    Attributes
    ----------
    vectors_lockf : float32 (num_words,), or (1,) for one that all words share
        Factors on the learning rate of the words' vectors: 0 keeps a vector as it is, bit for bit. An array of one's
        own may be put in place of it.

    Examples
    --------
    >>> from fastemb import Word2Vec
    >>> model = Word2Vec(vector_size=8, min_count=1)
    >>> model.build_vocab([["a", "b"]])
    >>> model.wv.vectors_lockf = np.array([0, 1], np.float32)
    >>> before = model.wv["a"].copy()
    >>> _ = model.train([["a", "b"]] * 100)
    >>> bool((model.wv["a"] == before).all())
    True
    """

    def __init__(self, state: "State") -> None:
        super().__init__(state.weight_in[:, : state.vector_size], state.vocabulary)
        self._state = state

    def renew(self) -> None:
        """Take on the model's words and table after a change of them."""
        KeyedVectors.__init__(self, self._state.weight_in[:, : self._state.vector_size], self._state.vocabulary)

    _vectors: NDArray[np.float32]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """One row a word, float32 (num_words, vector_size): the model's own table, into which assigned numbers go."""
        return self._vectors

    @vectors.setter
    def vectors(self, vectors: Any) -> None:
        self._vectors[:] = vectors
        self._norms = None

    def _append(self, names: list[str]) -> np.ndarray:
        if names:
            raise TypeError(
                f"{names[0]!r:.80} cannot be added to a model's vectors: build_vocab(..., update=True) adds words, and "
                "KeyedVectors(wv.vectors.copy(), wv.vocabulary) are vectors without a model"
            )
        return np.empty(0, np.int64)

    @property
    def vectors_lockf(self) -> NDArray[np.float32]:
        """Factors on the learning rate of the words' vectors."""
        return self._state.lockf

    @vectors_lockf.setter
    def vectors_lockf(self, factors: Any) -> None:
        self._state.lockf = factors

    def intersect_word2vec_format(
        self,
        fname: PathLike,
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> None:
        """Take the vectors of a word2vec file for those words that the model has; no words are added.

        Parameters
        ----------
        fname : path
        lockf : float, default 0.0
            What `vectors_lockf` becomes for these words: by default training leaves them as they are.
        binary, encoding, unicode_errors
            As for `KeyedVectors.load_word2vec_format`. ``Word2Vec(pretrained=...)`` takes any format.

        Raises
        ------
        ValueError
            If the vectors have another size, or hold numbers that are not finite.
        """
        vectors = KeyedVectors.load_word2vec_format(
            fname, binary=binary, encoding=encoding, unicode_errors=unicode_errors
        )
        check_size(os.fspath(fname), vectors, self.vector_size)
        self._state.adopt(vectors, validate.real("lockf", lockf, 0))

    def sort_by_descending_frequency(self) -> None:
        """Put the most frequent words first, in all tables of the model; words of one count keep their order."""
        self._state.reorder(np.argsort(-self._state.counts, kind="stable"))

    def __reduce__(self) -> tuple[Any, ...]:
        return KeyedVectors, (np.array(self.vectors), self.vocabulary, self.metadata)

    def __deepcopy__(self, memo: dict[int, Any]) -> KeyedVectors:
        return KeyedVectors(np.array(self.vectors), self.vocabulary, self.metadata)


def open_vectors(pretrained: KeyedVectors | PathLike, vector_size: int) -> KeyedVectors:
    """Return vectors that a model shall start from, read from a file of any format if need be.

    Raises
    ------
    TypeError
        If they are neither KeyedVectors nor a path.
    ValueError
        If they have another size.
    """
    if isinstance(pretrained, str | os.PathLike):
        pretrained = KeyedVectors.load(pretrained)
    if not isinstance(pretrained, KeyedVectors):
        raise TypeError(f"pretrained must be KeyedVectors or a path, got {pretrained!r:.80}")
    check_size("pretrained", pretrained, vector_size)
    return pretrained


def check_size(name: str, vectors: KeyedVectors, vector_size: int) -> None:
    """Check that vectors have the size of a model's.

    Raises
    ------
    ValueError
        If they have not.
    """
    if vectors.vector_size != vector_size:
        raise ValueError(f"{name} must have vectors of vector_size={vector_size}, got {vectors.vector_size}")
