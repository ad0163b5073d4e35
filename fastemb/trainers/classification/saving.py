"""A classifier's form in a safetensors file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import CENTROIDS, ProductRows
from fastemb.trainers.classification.features import Features
from fastemb.trainers.classification.model import LOSSES, Model
from fastemb.trainers.tables import allocate_table

__all__ = ["model_of", "tensors_of"]

Tensors = dict[str, np.ndarray]


def tensors_of(model: Model) -> tuple[Tensors, dict[str, Any]]:
    """Return the arrays of a model's file, and what else it must say.

    A model that is not quantized opens as `KeyedVectors`, too: its words' rows are the tensor ``vectors``.
    """
    features = model.features
    tensors: Tensors = {"losses": np.array(model.losses, np.float64)}
    for name, vocabulary in (("words", features.words), ("labels", features.labels)):
        tensors[name], tensors[f"{name}_offsets"] = vocabulary.packed, vocabulary.offsets
    for name, counts in (("counts", features.words.counts), ("label_counts", features.labels.counts)):
        assert counts is not None
        tensors[name] = counts
    if features.subwords.kept is not None:
        tensors["kept"] = features.subwords.kept
        if features.subwords.kept_rows is not None:
            tensors["kept_rows"] = features.subwords.kept_rows
    size, num_words = model.vector_size, len(features.words)
    if isinstance(model.weight_in, ProductRows):
        tensors |= _product_tensors("vector", model.weight_in)
    else:
        tensors["vectors"] = model.weight_in[:num_words, :size]
        tensors["ngram_vectors"] = model.weight_in[num_words:, :size]
    if model.output_codes is None:
        tensors["output_vectors"] = model.weight_out[:, :size]
    else:
        tensors |= _product_tensors("output", model.output_codes)
    return tensors, {
        "vector_size": size,
        "loss": model.loss,
        "fasttext_sigmoid": model.fasttext_sigmoid,
        "word_ngrams": features.word_ngrams,
        "min_n": features.subwords.min_n,
        "max_n": features.subwords.max_n,
        "bucket": features.subwords.bucket,
        "label_prefix": features.label_prefix,
        "dsub": _dsub(model.weight_in),
        "output_dsub": _dsub(model.output_codes),
    }


def model_of(tensors: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> Model:
    """Return the model that `tensors_of` described.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing or does not fit.
    """
    words = Vocabulary(tensors["words"], tensors["words_offsets"], tensors["counts"])
    labels = Vocabulary(tensors["labels"], tensors["labels_offsets"], tensors["label_counts"])
    kept, kept_rows = (None if name not in tensors else np.array(tensors[name]) for name in ("kept", "kept_rows"))
    bucket, size, loss = int(described["bucket"]), int(described["vector_size"]), described["loss"]
    subwords = Subwords(int(described["min_n"]), int(described["max_n"]), bucket, kept=kept, kept_rows=kept_rows)
    _check_kept(subwords)
    features = Features(words, subwords, int(described["word_ngrams"]), labels, str(described["label_prefix"]))
    if loss not in LOSSES or not len(labels) or size < 1 or features.word_ngrams < 1:
        raise ValueError(f"loss {loss!r}, {len(labels)} labels and vectors of {size} numbers make no model")
    codes, weight_in = None, _product_rows("vector", tensors, described["dsub"], features.num_rows, size)
    if "output_codes" in tensors:
        codes = _product_rows("output", tensors, described["output_dsub"], len(labels), size)
        weight_out = _padded(len(labels), size, {"output": codes.dequantize()})
    else:
        weight_out = _padded(len(labels), size, {"output_vectors": tensors["output_vectors"]})
    if weight_in is None:
        parts = {name: tensors[name] for name in ("vectors", "ngram_vectors")}
        weight_in = _padded(features.num_rows, size, parts)
    sigmoid = bool(described["fasttext_sigmoid"])
    return Model(features, size, loss, weight_in, weight_out, sigmoid, codes, tensors["losses"].tolist())


def _dsub(rows: object) -> int:
    return rows.dsub if isinstance(rows, ProductRows) else 0


def _product_tensors(name: str, rows: ProductRows) -> Tensors:
    tensors: Tensors = {f"{name}_codes": rows.codes, f"{name}_centroids": rows.centroids}
    if rows.norm_codes is not None and rows.norm_centroids is not None:
        tensors |= {f"{name}_norm_codes": rows.norm_codes, f"{name}_norm_centroids": rows.norm_centroids}
    return tensors


def _product_rows(
    name: str, tensors: Mapping[str, np.ndarray], dsub: int, num_rows: int, size: int
) -> Any:  # fmt: skip
    """Return the rows of codes of that name, None if there are none."""
    if f"{name}_codes" not in tensors:
        return None
    if not 1 <= dsub <= size:
        raise ValueError(f"pieces of {dsub} columns do not fit vectors of {size} numbers")
    num_pieces = -(-size // dsub)
    codes = _checked(tensors, f"{name}_codes", np.uint8, (num_rows, num_pieces))
    centroids = _checked(tensors, f"{name}_centroids", np.float32, (CENTROIDS * size,))
    if f"{name}_norm_codes" not in tensors:
        return ProductRows(codes, centroids, dsub)
    norm_codes = _checked(tensors, f"{name}_norm_codes", np.uint8, (num_rows,))
    norms = _checked(tensors, f"{name}_norm_centroids", np.float32, (CENTROIDS,))
    return ProductRows(codes, centroids, dsub, norm_codes, norms)


def _checked(
    tensors: Mapping[str, np.ndarray], name: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray:  # fmt: skip
    array = tensors[name]
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, got {array.dtype} of shape {array.shape}")
    return np.array(array)


def _padded(num_rows: int, size: int, parts: Mapping[str, NDArray]) -> NDArray[np.float32]:
    """Return a padded table of rows that stand in several arrays."""
    table = allocate_table(num_rows, size)
    first = 0
    for name, part in parts.items():
        if part.ndim != 2 or part.shape[1] != size or part.dtype != np.float32 or first + len(part) > num_rows:
            raise ValueError(f"{name} has shape {part.shape} and dtype {part.dtype}, not {size} columns of float32")
        table[first : first + len(part), :size] = part
        first += len(part)
    if first != num_rows:
        raise ValueError(f"there are {first} rows of vectors, and must be {num_rows}")
    return table


def _check_kept(subwords: Subwords) -> None:
    kept, rows = subwords.kept, subwords.kept_rows
    if kept is None:
        return
    rising = kept.ndim == 1 and kept.dtype == np.int32 and bool((np.diff(kept) > 0).all())
    if not rising or (len(kept) and not (kept[0] >= 0 and kept[-1] < subwords.bucket)):
        raise ValueError(f"kept must be int32, rise and lie in [0, {subwords.bucket})")
    if rows is not None and (rows.dtype != np.int32 or not np.array_equal(np.sort(rows), np.arange(len(kept)))):
        raise ValueError("kept_rows must be an order of the rows that are kept")
