"""What training changes, and its form in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.reader import Corpus
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.trainers.tables import allocate_table, uniform_table
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
    weight_in, weight_out : float32 (num_words, row length)
        Padded tables, see `tables.allocate_table`.
    num_words, num_sentences : int
        Read when the vocabulary was built.
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
    weight_out: NDArray[np.float32]
    num_words: int
    num_sentences: int
    epochs_trained: int = 0
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wv = KeyedVectors(self.weight_in[:, : self.vector_size], self.vocabulary)

    # A copy or a pickle would otherwise hold wv's table twice, and training would change only one of them.
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "wv"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @classmethod
    def of_corpus(cls, corpus: Corpus, vector_size: int, seed: int) -> Self:
        """Return word2vec.c's start: small random input vectors, output vectors of zero."""
        size = len(corpus.vocabulary), vector_size
        tables = uniform_table(*size, seed), allocate_table(*size)
        return cls(corpus.vocabulary, vector_size, *tables, corpus.num_words, corpus.num_sentences_read)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each word occurs."""
        assert self.vocabulary.counts is not None
        return self.vocabulary.counts

    def to_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return the arrays and the metadata of a model's file."""
        tensors: dict[str, np.ndarray] = {
            "vectors": self.weight_in[:, : self.vector_size],
            "output_vectors": self.weight_out[:, : self.vector_size],
            "losses": np.array(self.losses, np.float64),
            "words": self.vocabulary.packed,
            "words_offsets": self.vocabulary.offsets,
            "counts": self.counts,
        }
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
        size = len(vocabulary), vector_size
        tables = []
        for name in ("vectors", "output_vectors"):
            if tensors[name].shape != size:
                raise ValueError(f"{name} has shape {tensors[name].shape}, not {size}")
            table = allocate_table(*size)
            table[:, :vector_size] = tensors[name]
            tables.append(table)
        corpus = json.loads(metadata["corpus"])
        return cls(
            vocabulary,
            vector_size,
            tables[0],
            tables[1],
            num_words=int(corpus["num_words"]),
            num_sentences=int(corpus["num_sentences"]),
            epochs_trained=int(metadata["epochs_trained"]),
            losses=tensors["losses"].tolist(),
        )
