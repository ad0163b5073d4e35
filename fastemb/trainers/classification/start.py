"""A classifier before its training: vocabularies of a text, and starting vectors."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.subwords import Subwords
from fastemb.formats.files import PathLike
from fastemb.trainers.classification.features import Bags, Features
from fastemb.trainers.classification.model import Model
from fastemb.trainers.classification.text import Text
from fastemb.trainers.classification.vocabularies import count_words, with_words
from fastemb.trainers.tables import allocate_table, fill_uniform, uniform_table
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["Start"]

DEFAULT_SIZE = 100
START = 1.0  # input rows begin uniform in ±START / sqrt(vector_size)


@dataclass(frozen=True)
class Start:
    """What decides a model before its training; all as for `FastTextClassifier`."""

    loss: str
    vector_size: int | None
    word_ngrams: int
    min_n: int
    max_n: int
    bucket: int
    min_count: int
    min_count_label: int
    pretrained_vectors: KeyedVectors | PathLike | None
    label_prefix: str
    seed: int
    compat: str | None

    def model(self, text: Text, workers: int) -> tuple[Model, Bags]:
        """Return an untrained model, and the text as it reads it.

        Raises
        ------
        ValueError
            If no text has a label, or the pretrained vectors are of another size.
        """
        words, labels = count_words(text.lines, self.label_prefix, self.min_count, self.min_count_label)
        if text.targets is not None:
            labels = text.targets.names
            assert labels.counts is not None
            labels = labels.first(int(np.count_nonzero(labels.counts >= self.min_count_label)))
        vectors = self._pretrained()
        places = np.zeros(0, np.int64)
        if vectors is not None:
            words, places = with_words(words, vectors.vocabulary)
        size = self._size(vectors)
        uses_buckets = self.word_ngrams > 1 or self.max_n > 0
        subwords = Subwords(self.min_n, self.max_n, self.bucket if uses_buckets else 0)
        features = Features(words, subwords, self.word_ngrams, labels, self.label_prefix)
        bags = text.bags(features, workers)
        text.check_labels(bags, self.label_prefix)
        weight_in = self._inputs(features, bags, size)
        if vectors is not None:
            weight_in[places, :size] = vectors.vectors
        weight_out = allocate_table(len(labels), size)
        return Model(features, size, self.loss, weight_in, weight_out, self.compat == "fasttext"), bags

    def _inputs(self, features: Features, bags: Bags, size: int) -> NDArray[np.float32]:
        """Return the rows of features, those of the text and all words at random, others 0.

        The hidden vectors of texts that begin an epoch are as long as these rows make them, and how fast the first
        steps go is by the square of that: with fastText's ±1 / size few epochs leave a model half untrained. Rows that
        the text does not use would be noise in predictions, and most of the time and the memory of a small text.
        """
        if self.compat == "fasttext":
            return uniform_table(features.num_rows, size, self.seed, start=1)
        table = allocate_table(features.num_rows, size)
        used = bags.used_rows(len(table))
        num_words = len(features.words)
        rows = np.concatenate([np.arange(num_words), used[np.searchsorted(used, num_words) :]])
        fill_uniform(table, rows, size, self.seed, START / math.sqrt(size))
        return table

    def _pretrained(self) -> KeyedVectors | None:
        vectors = self.pretrained_vectors
        return vectors if vectors is None or isinstance(vectors, KeyedVectors) else KeyedVectors.load(vectors)

    def _size(self, vectors: KeyedVectors | None) -> int:
        if vectors is None:
            return self.vector_size or DEFAULT_SIZE
        if self.vector_size not in (None, vectors.vector_size):
            raise ValueError(
                f"vector_size is {self.vector_size}, and the pretrained vectors have {vectors.vector_size} numbers: "
                "leave it out"
            )
        return vectors.vector_size
