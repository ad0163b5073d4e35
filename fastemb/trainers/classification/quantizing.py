"""Making a classifier small: the rows that matter, as codes of pieces."""

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.lines import END_OF_LINE
from fastemb.corpus.subwords import Subwords
from fastemb.engine.product import CENTROIDS, quantize_product
from fastemb.engine.validate import integer
from fastemb.trainers.classification.features import Features
from fastemb.trainers.classification.model import Model
from fastemb.trainers.tables import allocate_table

__all__ = ["TooLarge", "check_sizes", "prune", "quantize", "rows_that_fit"]

OUTPUT_DSUB = 2  # fastText's, whatever it is for the input

# Bytes in a .ftz: header, arguments and sizes; of a product's centroids; of an entry beside its word; of a kept bucket.
_FIXED, _CENTROIDS, _ENTRY, _BUCKET = 64 + 28 + 22 + 1, 16, 10, 8


class TooLarge(ValueError):
    """A classifier cannot be made as small as it should be."""


def prune(model: Model, cutoff: int) -> Model:
    """Return a model of the `cutoff` rows with the largest norms, and the end of a line's, which is always kept.

    Words and n-grams whose rows are left out are no features any more.
    """
    table, words = model.dense_rows, model.features.words
    rows = np.sort(_ranked(model)[:cutoff])
    weight_in = allocate_table(len(rows), model.vector_size)
    np.take(table, rows, axis=0, out=weight_in)
    kept_words = rows[rows < len(words)]
    kept_buckets = (rows[rows >= len(words)] - len(words)).astype(np.int32)
    old = model.features
    subwords = old.subwords
    if subwords.bucket:
        subwords = Subwords(subwords.min_n, subwords.max_n, subwords.bucket, kept=kept_buckets)
    features = Features(words.take(kept_words), subwords, old.word_ngrams, old.labels, old.label_prefix)
    return Model(
        features, model.vector_size, model.loss, weight_in, model.weight_out, model.fasttext_sigmoid, None, model.losses
    )


def _ranked(model: Model) -> NDArray[np.int64]:
    """Return the rows by their norms, the longest first, and the end of a line's before all."""
    norms = np.linalg.norm(model.dense_rows, axis=1)
    ends = [number for number, word in enumerate(model.features.words.as_bytes()) if word == END_OF_LINE]
    norms[ends] = np.inf
    return np.argsort(-norms, kind="stable")


def rows_that_fit(model: Model, num_bytes: int, dsub: int, qnorm: bool, qout: bool) -> int:
    """Return the largest `cutoff` with which fastText's file of the quantized classifier has so many bytes, at most.

    See `prune` for which rows these are; they may be none.
    """
    size, features = model.vector_size, model.features
    codes = 4 * CENTROIDS * size + _CENTROIDS
    labels = len(features.labels) * (_ENTRY + len(features.label_prefix.encode("utf-8", "surrogateescape")))
    fixed = _FIXED + codes + labels + int(features.labels.offsets[-1]) + (4 * CENTROIDS + _CENTROIDS if qnorm else 0)
    per_output = -(-size // OUTPUT_DSUB) + qnorm if qout else 4 * size
    fixed += 16 + model.num_labels * per_output + (codes + 5 + (4 * CENTROIDS + _CENTROIDS) * qnorm if qout else 0)
    costs = np.full(features.num_rows, -(-size // dsub) + qnorm + _BUCKET, np.int64)
    num_words = len(features.words)
    costs[:num_words] += _ENTRY - _BUCKET + np.diff(features.words.offsets)
    return int(np.searchsorted(np.cumsum(costs[_ranked(model)]), num_bytes - fixed, side="right"))


def quantize(model: Model, dsub: int, qnorm: bool, qout: bool, seed: int, workers: int) -> Model:
    """Return a model whose input rows, and output rows with `qout`, are codes. See `check_sizes`."""
    size = model.vector_size
    codes, weight_out = None, model.weight_out
    if qout:
        outputs = weight_out[:, :size]
        codes = quantize_product(outputs, min(OUTPUT_DSUB, size), qnorm=qnorm, seed=seed, workers=workers)
        weight_out = allocate_table(*codes.shape)
        weight_out[:, :size] = codes.dequantize()
    rows = quantize_product(model.dense_rows[:, :size], dsub, qnorm=qnorm, seed=seed, workers=workers)
    return Model(model.features, size, model.loss, rows, weight_out, model.fasttext_sigmoid, codes, model.losses)


def check_sizes(model: Model, cutoff: int, dsub: int, qout: bool) -> None:
    """Refuse what cannot be quantized.

    Raises
    ------
    ValueError
        If a table has less rows than there are centroids, or a piece more columns than a row.
    RuntimeError
        If the model is quantized already.
    """
    if model.is_quantized:
        raise RuntimeError("the classifier is quantized already: fit makes a new one")
    integer("dsub", dsub, 1, model.vector_size)
    if cutoff:
        integer("cutoff", cutoff, CENTROIDS)
    num_rows = model.features.num_rows
    if num_rows < CENTROIDS:
        raise ValueError(f"a classifier must have {CENTROIDS} words and n-grams to be quantized, got {num_rows}")
    if qout and model.num_labels < CENTROIDS:
        raise ValueError(f"qout needs at least {CENTROIDS} labels, got {model.num_labels}")
