"""What training changes, and its form in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.reader import Corpus
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.trainers.tables import allocate_table, padded_table, uniform_table
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["State"]


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

    Attributes
    ----------
    wv : KeyedVectors
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

    def __post_init__(self) -> None:
        self.wv = KeyedVectors(self.weight_in[:, : self.vector_size], self.vocabulary)

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
    def of_corpus(cls, corpus: Corpus, vector_size: int, seed: int, start: float = 0.5) -> Self:
        """Return word2vec.c's start, input vectors that are uniform in ±start / vector_size, without output vectors."""
        table = uniform_table(len(corpus.vocabulary), vector_size, seed, start)
        return cls(corpus.vocabulary, vector_size, table, corpus.num_words, corpus.num_sentences_read)

    def prepare(self, hs: bool, negative: bool) -> None:
        """Make the output tables that training needs and that are not there yet, of zeros."""
        size = len(self.vocabulary)
        if negative and self.weight_out is None:
            self.weight_out = allocate_table(size, self.vector_size)
        if hs and self.weight_inner is None:
            self.weight_inner = allocate_table(max(0, size - 1), self.vector_size)

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
