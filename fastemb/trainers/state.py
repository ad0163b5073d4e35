"""What training changes, and its form in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.merge import places_of
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.trainers.model_vectors import ModelVectors
from fastemb.trainers.tables import allocate_table, padded_table, uniform_table
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["State"]

ADOPTED_AT_ONCE = 1 << 14  # rows whose copy is all the memory that taking on other vectors needs


@dataclass
class State:
    """Words, their two tables, and how far training is.

    Parameters
    ----------
    vocabulary : Vocabulary
        With counts.
    vector_size : int
    num_words, num_sentences : int
        Read when the vocabulary was built.
    weight_in : float32 (num_words, row length)
        Padded table, see `tables.allocate_table`.
    weight_out : float32 (num_words, row length) or None
        The same of negative sampling's output vectors, if it was ever used.
    weight_inner : float32 (num_words - 1, row length) or None
        The same of hierarchical softmax's inner nodes.
    epochs_trained : int, default 0
    losses : list of float
        Mean loss of a pair in each of these epochs.
    running_loss : float, default 0.0
        Sum of the loss since training began the last time.
    lockf : float32 (num_words,) or (1,)
        Factors on the learning rate of the words' input vectors, or one for all.

    Attributes
    ----------
    wv : ModelVectors
        A view of `weight_in`.
    """

    vocabulary: Vocabulary
    vector_size: int
    weight_in: NDArray[np.float32]
    num_words: int
    num_sentences: int
    weight_out: NDArray[np.float32] | None = None
    weight_inner: NDArray[np.float32] | None = None
    epochs_trained: int = 0
    losses: list[float] = field(default_factory=list)

    running_loss: float = 0.0
    lockf: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))

    def __post_init__(self) -> None:
        self.wv: KeyedVectors = ModelVectors(self)

    @property
    def parts(self) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
        """Values and offsets of the rows of `weight_in` that make up each word; None for its own row alone."""
        return None

    def refresh(self) -> None:
        """Make `wv` see what training has changed."""
        self.wv.fill_norms(force=True)

    # A copy or a pickle would otherwise hold wv's table twice, and training would change only one of them.
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "wv"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @classmethod
    def of_vocabulary(
        cls, vocabulary: Vocabulary, vector_size: int, num_words: int, num_sentences: int, seed: int, start: float = 0.5
    ) -> Self:
        """Return word2vec.c's start, input vectors that are uniform in ±start / vector_size, without output vectors."""
        table = uniform_table(len(vocabulary), vector_size, seed, start)
        return cls(vocabulary, vector_size, table, num_words, num_sentences)

    def prepare(self, hs: bool, negative: bool) -> None:
        """Make the output tables that training needs and that are not there yet, of zeros."""
        size = len(self.vocabulary)
        if negative and self.weight_out is None:
            self.weight_out = allocate_table(size, self.vector_size)
        if hs and self.weight_inner is None:
            self.weight_inner = allocate_table(max(0, size - 1), self.vector_size)

    def extend(self, vocabulary: Vocabulary, num_words: int, num_sentences: int, seed: int, start: float = 0.5) -> None:
        """Add rows for the words that follow the present ones in `vocabulary`; all others stay bit for bit.

        The new input rows are those that they would have been had the words been there from the start.
        """
        old, new = len(self.vocabulary), len(vocabulary)
        self.weight_in = self._longer_input(vocabulary, seed, start)
        if self.weight_out is not None:
            self.weight_out = _longer(self.weight_out, new, self.vector_size)
        if self.weight_inner is not None:
            self.weight_inner = _longer(self.weight_inner, max(0, new - 1), self.vector_size)
        if len(self.lockf) > 1:
            self.lockf = np.append(self.lockf, np.ones(new - old, np.float32))
        self.vocabulary, self.num_words, self.num_sentences = vocabulary, num_words, num_sentences
        self.renew()

    def _longer_input(self, vocabulary: Vocabulary, seed: int, start: float) -> NDArray[np.float32]:
        table = uniform_table(len(vocabulary), self.vector_size, seed, start)
        table[: len(self.weight_in)] = self.weight_in
        return table

    def renew(self) -> None:
        """Make `wv`, which others may hold, show other words and tables."""
        assert isinstance(self.wv, ModelVectors)
        self.wv.renew()

    @property
    def has_word_rows(self) -> bool:
        """Whether words have input rows of their own, the first ones of `weight_in`."""
        return True

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Put the words and their rows into another order."""
        if self.has_word_rows:
            self.weight_in[: len(order)] = self.weight_in[order]
        if self.weight_out is not None:
            self.weight_out[:] = self.weight_out[order]
        if len(self.lockf) > 1:
            self.lockf = np.asarray(self.lockf)[order]
        self.vocabulary = self.vocabulary.take(order)
        self.renew()

    def adopt(self, vectors: KeyedVectors, factor: float, first: int = 0) -> int:
        """Take the rows of the words from `first` on, where `vectors` has them; return how many.

        Parameters
        ----------
        vectors : KeyedVectors
            Of the same size.
        factor : float
            On the learning rate of these words from now on.
        first : int, default 0

        Raises
        ------
        ValueError
            If a vector holds a number that is not finite.
        """
        theirs = places_of(self.vocabulary, vectors.vocabulary)
        theirs[:first] = -1
        ours = np.flatnonzero(theirs >= 0)
        for start in range(0, len(ours), ADOPTED_AT_ONCE):
            rows = ours[start : start + ADOPTED_AT_ONCE]
            self.weight_in[rows, : self.vector_size] = self._finite(vectors.vectors[theirs[rows]], rows)
        if factor != 1:
            self.set_rates(ours, factor)
        self.refresh()
        return len(ours)

    def _finite(self, table: NDArray, rows: NDArray[np.int64]) -> NDArray:
        """Return vectors of words if they are finite."""
        bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
        if len(bad):
            word = self.vocabulary.words[rows[bad[0]]]
            raise ValueError(f"vectors to start from must be finite, got NaN or infinity for {word!r:.80}")
        return table

    def set_rates(self, rows: NDArray[np.int64], factor: float) -> None:
        """Set the factor on the learning rate of some words."""
        if len(self.lockf) != len(self.vocabulary):
            self.lockf = np.full(len(self.vocabulary), self.lockf[0], np.float32)
        self.lockf[rows] = factor

    def rates(self) -> NDArray[np.float32] | None:
        """Return the factor on each row's learning rate; None where all are 1.

        Raises
        ------
        TypeError, ValueError
            If `lockf`, which users may set, is no such thing.
        """
        factors = np.asarray(self.lockf)
        if factors.dtype.kind not in "fiub":
            raise TypeError(f"vectors_lockf must be an array of numbers, got {factors.dtype}")
        size = len(self.vocabulary)
        if factors.shape not in ((1,), (size,)):
            raise ValueError(f"vectors_lockf must have shape (1,) or ({size},), got {factors.shape}")
        bad = np.flatnonzero(~(np.isfinite(factors) & (factors >= 0)))
        if len(bad):
            raise ValueError(f"vectors_lockf must be finite and at least 0, got {factors[bad[0]]} at position {bad[0]}")
        if (factors == 1).all():
            return None
        rates = np.ones(len(self.weight_in), np.float32)
        rates[:size] = factors
        return rates

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each word occurs."""
        assert self.vocabulary.counts is not None
        return self.vocabulary.counts

    def to_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return the arrays and the metadata of a model's file."""
        tensors: dict[str, np.ndarray] = {
            "vectors": self.weight_in[:, : self.vector_size],
            "losses": np.array(self.losses, np.float64),
            "words": self.vocabulary.packed,
            "words_offsets": self.vocabulary.offsets,
            "counts": self.counts,
        }
        factors = self.rates()
        if factors is not None and self.has_word_rows:
            tensors["lockf"] = factors[: len(self.vocabulary)]
        for name, table in (("output_vectors", self.weight_out), ("inner_vectors", self.weight_inner)):
            if table is not None:
                tensors[name] = table[:, : self.vector_size]
        corpus = {"num_words": self.num_words, "num_sentences": self.num_sentences}
        return tensors, {"corpus": json.dumps(corpus), "epochs_trained": str(self.epochs_trained)}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], vector_size: int) -> Self:
        """Return the state that `to_tensors` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or does not fit.
        """
        vocabulary = Vocabulary(tensors["words"], tensors["words_offsets"], tensors["counts"])
        inputs = cls._inputs(tensors, metadata, vocabulary, vector_size)
        tables = {}
        for name, size in (("output_vectors", len(vocabulary)), ("inner_vectors", len(vocabulary) - 1)):
            if name in tensors:
                tables[name] = _padded(name, tensors[name], (size, vector_size))
        corpus = json.loads(metadata["corpus"])
        return cls(
            vocabulary,
            vector_size,
            **inputs,
            num_words=int(corpus["num_words"]),
            num_sentences=int(corpus["num_sentences"]),
            weight_out=tables.get("output_vectors"),
            weight_inner=tables.get("inner_vectors"),
            epochs_trained=int(metadata["epochs_trained"]),
            losses=tensors["losses"].tolist(),
            lockf=_factors(tensors, len(vocabulary)),
        )

    @classmethod
    def _inputs(
        cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], vocabulary: Vocabulary, vector_size: int
    ) -> dict[str, Any]:
        """Return what the words' vectors are made of, as arguments of the class."""
        return {"weight_in": _padded("vectors", tensors["vectors"], (len(vocabulary), vector_size))}


def _padded(name: str, rows: np.ndarray, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a copy of rows from a file, as training wants them."""
    if rows.shape != shape:
        raise ValueError(f"{name} has shape {rows.shape}, not {shape}")
    return padded_table(rows, shape[1])


def _longer(table: NDArray[np.float32], num_rows: int, vector_size: int) -> NDArray[np.float32]:
    longer = allocate_table(num_rows, vector_size)
    longer[: len(table)] = table
    return longer


def _factors(tensors: Mapping[str, np.ndarray], num_words: int) -> NDArray[np.float32]:
    if "lockf" not in tensors:
        return np.ones(1, np.float32)
    if tensors["lockf"].shape != (num_words,) or tensors["lockf"].dtype != np.float32:
        raise ValueError(f"lockf has shape {tensors['lockf'].shape} of {tensors['lockf'].dtype}, not ({num_words},)")
    return tensors["lockf"].copy()
