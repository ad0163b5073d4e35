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
from fastemb.trainers.state import ADOPTED_AT_ONCE, State
from fastemb.trainers.subword_vectors import ModelSubwordVectors, rows_alike
from fastemb.trainers.tables import large_uniform_table, padded_table, uniform_table
from fastemb.vectors.keyed_vectors import KeyedVectors

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
    bucket_rate : float, default 1.0
        Factor on the learning rate of the n-grams' rows.

    Attributes
    ----------
    wv : ModelSubwordVectors
        Of a view of `weight_in`.
    """

    subwords: Subwords = field(default_factory=Subwords)
    bucket_rate: float = 1.0

    def __post_init__(self) -> None:
        self.wv = ModelSubwordVectors(self)

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
        assert isinstance(self.wv, ModelSubwordVectors)
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
        assert isinstance(self.wv, ModelSubwordVectors)
        self.wv.renew()

    @property
    def has_word_rows(self) -> bool:
        """Whether words have rows of their own; floret's have not."""
        return self.subwords.has_word_rows

    def adopt(self, vectors: KeyedVectors, factor: float, first: int = 0) -> int:
        """Take the words' own rows, and those of n-grams where `vectors` are made of the same ones, see `rows_alike`.

        Of other vectors the words' own rows become their vectors, and the n-grams' rows begin at random.
        """
        alike = rows_alike(vectors, self)
        if alike is None:
            if not self.has_word_rows:
                raise ValueError(
                    "floret's words have no rows of their own: pretrained must be floret's table of the same min_n, "
                    "max_n, bucket and hash_count"
                )
            return super().adopt(vectors, factor, first)
        if not first:
            self._adopt_buckets(alike, factor)
        if not self.has_word_rows:
            self.refresh()
            return len(self.vocabulary) - first
        own = KeyedVectors(alike.rows[: len(alike.vocabulary)], alike.vocabulary)
        return super().adopt(own, factor, first)

    def _adopt_buckets(self, table: SubwordTable, factor: float) -> None:
        buckets = self.weight_in[len(self.weight_in) - self.subwords.bucket :, : self.vector_size]
        for start in range(0, len(buckets), ADOPTED_AT_ONCE):
            rows = np.arange(start, min(start + ADOPTED_AT_ONCE, len(buckets)))
            found = table.rows[rows + table.num_word_rows]
            if not np.isfinite(found).all():
                raise ValueError("vectors to start from must be finite, got NaN or infinity for an n-gram")
            buckets[rows] = found
        self.bucket_rate = factor

    def set_rates(self, rows: NDArray[np.int64], factor: float) -> None:
        """Set the factor on the learning rate of some words' own rows."""
        if not self.has_word_rows:
            raise ValueError("floret's words have no rows of their own that could be frozen")
        super().set_rates(rows, factor)

    def rates(self) -> NDArray[np.float32] | None:
        """Return the factor on each row's learning rate; None where all are 1."""
        rates = super().rates()
        if rates is not None and not self.has_word_rows:
            raise ValueError("floret's words have no rows of their own, so that vectors_lockf must be 1")
        if self.bucket_rate == 1:
            return rates
        rates = np.ones(len(self.weight_in), np.float32) if rates is None else rates
        rates[len(rates) - self.subwords.bucket :] = self.bucket_rate
        return rates

    def to_tensors(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return the arrays and the metadata of a model's file, which opens as vectors, too."""
        tensors, described = super().to_tensors()
        rows, text = subword_tensors.as_tensors(self.table())
        described |= {subword_tensors.KEY: text, "bucket_rate": repr(self.bucket_rate)}
        return {**tensors, "vectors": self.wv.vectors, **rows}, described

    @classmethod
    def _inputs(
        cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], vocabulary: Vocabulary, vector_size: int
    ) -> dict[str, Any]:
        """Return what the words' vectors are made of, as arguments of the class."""
        told = Table(vocabulary, tensors["vectors"])
        table = subword_tensors.of_tensors(tensors, metadata[subword_tensors.KEY], told, len(vocabulary))
        if not isinstance(table.rows, np.ndarray) or table.vector_size != vector_size:
            raise ValueError(f"subword_rows must be float32 of {vector_size} columns")
        rate = float(metadata.get("bucket_rate", 1))
        return {"weight_in": padded_table(table.rows, vector_size), "subwords": table.subwords, "bucket_rate": rate}


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
