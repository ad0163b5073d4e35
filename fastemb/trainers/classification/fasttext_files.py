"""A classifier's form in fastText's files, .bin and, quantized, .ftz."""

import os
from typing import Any

import numpy as np

from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import ProductRows
from fastemb.formats.fasttext import FastTextModel, read_model, write_model
from fastemb.formats.fasttext_file import Arguments, Dictionary
from fastemb.formats.files import PathLike
from fastemb.trainers.classification.features import Features
from fastemb.trainers.classification.model import Model
from fastemb.trainers.tables import allocate_table

__all__ = ["read_fasttext", "write_fasttext"]


def read_fasttext(path: PathLike, label_prefix: str) -> tuple[Model, dict[str, Any]]:
    """Return the model of a file that fastText's ``supervised`` or ``quantize`` wrote, and arguments of the classifier.

    Raises
    ------
    ValueError
        If the file is no classifier, or its labels do not begin with `label_prefix`.
    """
    file = read_model(path)
    told = file.arguments
    if told.model != "supervised":
        raise ValueError(f"{os.fspath(path)}: a fastText model of {told.model} vectors, not a classifier")
    labels, prefix = file.dictionary.labels, label_prefix.encode("utf-8", "surrogateescape")
    for name in labels.as_bytes():
        if not name.startswith(prefix) or name == prefix:
            raise ValueError(
                f"{os.fspath(path)}: its labels must begin with label_prefix={label_prefix!r}, got "
                f"{name.decode('utf-8', 'replace')!r}"
            )
    if not len(labels) or file.output is None:
        raise ValueError(f"{os.fspath(path)}: a classifier without labels")
    names = Vocabulary.from_bytes([name[len(prefix) :] for name in labels.as_bytes()], labels.counts)
    word_ngrams = max(1, told.word_ngrams)
    features = Features(file.dictionary.words, file.subwords, word_ngrams, names, label_prefix)
    weight_in: Any = file.input
    if not isinstance(file.input, ProductRows):
        weight_in = allocate_table(len(file.input), told.dim)
        weight_in[:, : told.dim] = file.input
    output: Any = file.output
    codes = output if isinstance(output, ProductRows) else None
    weight_out = allocate_table(len(names), told.dim)
    weight_out[:, : told.dim] = output if codes is None else codes.dequantize()
    model = Model(features, told.dim, told.loss, weight_in, weight_out, True, codes)
    return model, {
        "loss": told.loss,
        "vector_size": told.dim,
        "epochs": max(1, told.epochs),
        "word_ngrams": word_ngrams,
        "min_n": told.min_n,
        "max_n": told.max_n,
        "bucket": max(1, told.bucket),
        "min_count": max(0, told.min_count),
        "negative": min(max(1, told.negative), 64),
        "label_prefix": label_prefix,
        "compat": "fasttext",
    }


def write_fasttext(path: PathLike, model: Model, parameters: dict[str, Any]) -> None:
    """Write a file that fastText's program and its Python package load.

    Raises
    ------
    ValueError
        If a word or a label holds a NUL byte.
    """
    features, size = model.features, model.vector_size
    prefix = features.label_prefix.encode("utf-8", "surrogateescape")
    labels = Vocabulary.from_bytes([prefix + name for name in features.labels.as_bytes()], features.labels.counts)
    words, subwords = features.words, features.subwords
    assert words.counts is not None and labels.counts is not None
    tokens = int(words.counts.sum() + labels.counts.sum())
    write_model(
        path,
        FastTextModel(
            Arguments(
                size,
                epochs=parameters["epochs"],
                min_count=parameters["min_count"],
                negative=parameters["negative"],
                word_ngrams=features.word_ngrams,
                loss=model.loss,
                model="supervised",
                bucket=subwords.bucket,
                min_n=subwords.min_n,
                max_n=subwords.max_n,
            ),
            Dictionary(words, labels, tokens, _pruned(subwords)),
            model.weight_in if isinstance(model.weight_in, ProductRows) else model.weight_in[:, :size],
            model.weight_out[:, :size] if model.output_codes is None else model.output_codes,
        ),
    )


def _pruned(subwords: Subwords) -> np.ndarray | None:
    if subwords.kept is None:
        return None
    rows = np.arange(len(subwords.kept), dtype=np.int32) if subwords.kept_rows is None else subwords.kept_rows
    return np.stack([subwords.kept, rows], axis=1)
