"""What training of vectors with n-grams changes, and its form in files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats import subword_tensors
from fastemb.formats.fasttext import Arguments, FastTextModel
from fastemb.formats.subwords import Origin, SubwordTable
from fastemb.formats.table import Table
from fastemb.trainers.state import State
from fastemb.trainers.tables import large_uniform_table, padded_table, uniform_table
from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors

__all__ = ["SubwordState", "state_of_model", "table_of_state"]


@dataclass
class SubwordState(State):
    """Words, their n-grams' rows, and how far training is.

    Parameters
    ----------
    weight_in : float32 (num_words + num_buckets, row length)
        A row for each word and then one for each bucket; in floret's table buckets only.
    subwords : Subwords
        How words are taken apart.

    Attributes
    ----------
    wv : FastTextKeyedVectors
        Of a view of `weight_in`.
    """

    subwords: Subwords = field(default_factory=Subwords)

    def __post_init__(self) -> None:
        self.wv = FastTextKeyedVectors(self.table())

    def table(self, origin: Origin | None = None) -> SubwordTable:
        """Return the words and a view of their rows."""
        rows = self.weight_in[:, : self.vector_size]
        return SubwordTable(self.vocabulary, rows, self.subwords, origin=origin)

    @cached_property
    def parts(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Values and offsets of the rows of `weight_in` that make up each word."""
        return self.subwords.of_vocabulary(self.vocabulary)

    def refresh(self) -> None:
        """Have the words' vectors computed again when they are asked for."""
        assert isinstance(self.wv, FastTextKeyedVectors)
        self.wv.adjust_vectors()

    @classmethod
    def of_words(
        cls, vocabulary: Vocabulary, subwords: Subwords, vector_size: int, num_words: int, num_sentences: int, seed: int
    ) -> Self:
        """Return fastText's start: all rows uniform in ±1 / vector_size, those of buckets included."""
        table = large_uniform_table(subwords.table_rows(len(vocabulary)), vector_size, seed, 1.0)
        return cls(vocabulary, vector_size, table, num_words, num_sentences, subwords=subwords)

    def _longer_input(self, vocabulary: Vocabulary, seed: int, start: float) -> NDArray[np.float32]:
        """Put the rows of new words before those of buckets."""
        old, rows = len(self.vocabulary), self.subwords.table_rows(len(vocabulary))
        buckets = self.subwords.table_rows(0)
        if rows == buckets:  # floret's words have no rows of their own
            return self.weight_in
        table = uniform_table(rows, self.vector_size, seed, 1.0)
        table[:old] = self.weight_in[:old]
        table[rows - buckets :] = self.weight_in[old:]
        return table

    def renew(self) -> None:
        """Take the words apart anew."""
        self.__dict__.pop("parts", None)
        self.__post_init__()

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Refuse to change places: the n-grams' rows lie behind the words'."""
        raise NotImplementedError("the words of a model with n-grams cannot be sorted")

    def to_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return the arrays and the metadata of a model's file, which opens as vectors, too."""
        tensors, described = super().to_tensors()
        rows, text = subword_tensors.as_tensors(self.table())
        return {**tensors, "vectors": self.wv.vectors, **rows}, {**described, subword_tensors.KEY: text}

    @classmethod
    def _inputs(
        cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], vocabulary: Vocabulary, vector_size: int
    ) -> dict[str, Any]:
        """Return what the words' vectors are made of, as arguments of the class."""
        told = Table(vocabulary, tensors["vectors"])
        table = subword_tensors.of_tensors(tensors, metadata[subword_tensors.KEY], told, len(vocabulary))
        if not isinstance(table.rows, np.ndarray) or table.vector_size != vector_size:
            raise ValueError(f"subword_rows must be float32 of {vector_size} columns")
        return {"weight_in": padded_table(table.rows, vector_size), "subwords": table.subwords}


def state_of_model(model: FastTextModel) -> SubwordState:
    """Return what Facebook's program has trained, to go on with.

    Raises
    ------
    ValueError
        If it is a classifier, or quantized.
    """
    told, words = model.arguments, model.dictionary.words
    if told.model == "supervised":
        raise ValueError("the model is a classifier: FastTextClassifier reads it")
    if not isinstance(model.input, np.ndarray):
        raise ValueError("the model is quantized and cannot be trained: KeyedVectors.load reads its vectors")
    if not isinstance(model.output, np.ndarray):
        raise ValueError("the model has no output vectors")
    is_tree = told.loss == "hs"
    # fastText's inner nodes learn the code, ours one less the code.
    output = padded_table(-model.output[: max(0, len(words) - 1)] if is_tree else model.output, told.dim)
    return SubwordState(
        words,
        told.dim,
        padded_table(model.input, told.dim),
        num_words=model.dictionary.num_tokens,
        num_sentences=0,
        weight_out=None if is_tree else output,
        weight_inner=output if is_tree else None,
        subwords=model.subwords,
    )


def table_of_state(state: SubwordState, told: Arguments, code_is_label: bool) -> SubwordTable:
    """Return a table that is written as Facebook's program would: with all it needs to go on training."""
    if told.loss == "hs":
        inner = np.zeros((len(state.vocabulary), state.vector_size), np.float32)
        if state.weight_inner is not None:
            sign = np.float32(1 if code_is_label else -1)
            inner[:-1] = sign * state.weight_inner[:, : state.vector_size]
        output: Any = inner
    else:
        output = None if state.weight_out is None else state.weight_out[:, : state.vector_size]
    return state.table(Origin(told, state.num_words, output))
