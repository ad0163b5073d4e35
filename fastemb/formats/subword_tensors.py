"""Tables of n-grams as tensors: what a safetensors file holds beside words and vectors."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from fastemb.corpus.subwords import Subwords
from fastemb.engine.means import Rows
from fastemb.engine.product import CENTROIDS, ProductRows
from fastemb.formats.compact import CompactVectors
from fastemb.formats.fasttext_file import LOSSES, MODELS, Arguments
from fastemb.formats.file_rows import FileRows
from fastemb.formats.subwords import Origin, SubwordTable
from fastemb.formats.table import Table

__all__ = ["KEY", "as_tensors", "of_tensors"]

KEY = "subwords"  # of the metadata


def as_tensors(table: SubwordTable) -> tuple[dict[str, np.ndarray], str]:
    """Return a table's rows as tensors, and the text that describes them.

    The tensors are ``subword_rows``, and what pruning and quantization need: ``subword_kept``, ``subword_kept_rows``,
    ``subword_centroids``, ``subword_norm_codes`` and ``subword_norm_centroids``.
    """
    told = table.subwords
    rows = table.rows
    described: dict[str, Any] = {
        "min_n": told.min_n,
        "max_n": told.max_n,
        "bucket": told.bucket,
        "hash_count": told.hash_count,
        "num_word_rows": table.num_word_rows,
        "arguments": None if table.origin is None else asdict(table.origin.arguments),
        "num_tokens": None if table.origin is None else table.origin.num_tokens,
    }
    found: dict[str, np.ndarray | None] = {"kept": told.kept, "kept_rows": told.kept_rows}
    if isinstance(rows, ProductRows):
        described |= {"storage": "product", "dsub": rows.dsub}
        found |= {"rows": rows.codes, "centroids": rows.centroids}
        found |= {"norm_codes": rows.norm_codes, "norm_centroids": rows.norm_centroids}
    elif isinstance(rows, CompactVectors):
        described |= {"storage": rows.kind}
        found |= {"rows": rows.stored}
    else:
        described |= {"storage": "float32"}
        found |= {"rows": rows.mapped() if isinstance(rows, FileRows) else np.asarray(rows)}
    tensors = {f"subword_{name}": array for name, array in found.items() if array is not None}
    return tensors, json.dumps(described)


def of_tensors(tensors: Mapping[str, np.ndarray], text: str, table: Table, num_words: int) -> SubwordTable:
    """Return the table that `as_tensors` described.

    Parameters
    ----------
    tensors : mapping of str to array
    text : str
        The description.
    table : Table
        The words and their vectors, or the first of them.
    num_words : int
        Words in the file.

    Raises
    ------
    ValueError
        If something is missing or does not fit.
    """
    try:
        told = json.loads(text)
        rows = _rows(tensors, told, table.vectors.shape[1])
        kept, kept_rows = (tensors.get(f"subword_{name}") for name in ("kept", "kept_rows"))
        _check_kept(kept, kept_rows)
        subwords = Subwords(told["min_n"], told["max_n"], told["bucket"], told["hash_count"], kept, kept_rows)
        if told["num_word_rows"] not in (0, num_words):
            raise ValueError(f"num_word_rows must be 0 or {num_words}, got {told['num_word_rows']!r}")
        return SubwordTable(
            table.vocabulary, rows, subwords, vectors=table.vectors, num_word_rows=told["num_word_rows"],
            metadata=table.metadata, attributes=table.attributes, origin=_origin(told),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its rows of n-grams cannot be read: {error}") from error


def _rows(tensors: Mapping[str, np.ndarray], told: Mapping[str, Any], dim: int) -> Rows:
    rows = tensors["subword_rows"]
    if rows.ndim != 2:
        raise ValueError(f"subword_rows must have two dimensions, got {rows.ndim}")
    if told["storage"] == "product":
        return _product(tensors, rows, told["dsub"])
    if told["storage"] != "float32":
        return CompactVectors(rows, told["storage"], dim)
    if rows.dtype != np.float32 or rows.shape[1] != dim:
        raise ValueError(f"subword_rows must be float32 of {dim} columns, got {rows.dtype} of shape {rows.shape}")
    return rows


def _product(tensors: Mapping[str, np.ndarray], codes: np.ndarray, dsub: int) -> ProductRows:
    centroids = tensors["subword_centroids"]
    dim = len(centroids) // CENTROIDS
    if centroids.dtype != np.float32 or centroids.shape != (dim * CENTROIDS,) or not 1 <= dsub <= dim:
        raise ValueError(f"subword_centroids must be float32 for pieces of {dsub}, got shape {centroids.shape}")
    if codes.dtype != np.uint8 or codes.shape[1] != -(-dim // dsub):
        raise ValueError(f"subword_rows must have {-(-dim // dsub)} codes a row, got shape {codes.shape}")
    if "subword_norm_codes" not in tensors:
        return ProductRows(codes, centroids, dsub)
    norm_codes, norms = tensors["subword_norm_codes"], tensors["subword_norm_centroids"]
    if norm_codes.dtype != np.uint8 or norm_codes.shape != codes.shape[:1]:
        raise ValueError(f"subword_norm_codes must be uint8, one a row, got shape {norm_codes.shape}")
    if norms.dtype != np.float32 or norms.shape != (CENTROIDS,):
        raise ValueError(f"subword_norm_centroids must be float32 of shape ({CENTROIDS},), got shape {norms.shape}")
    return ProductRows(codes, centroids, dsub, norm_codes, norms)


def _check_kept(kept: np.ndarray | None, kept_rows: np.ndarray | None) -> None:
    for name, array in (("subword_kept", kept), ("subword_kept_rows", kept_rows)):
        if array is not None and (array.dtype != np.int32 or array.ndim != 1):
            raise ValueError(f"{name} must be int32 of one dimension, got {array.dtype} of shape {array.shape}")
    if kept is not None and (np.diff(kept) <= 0).any():
        raise ValueError("subword_kept must rise")
    if kept_rows is not None and (kept is None or kept_rows.shape != kept.shape):
        raise ValueError("subword_kept_rows must have an entry for each of subword_kept")
    if kept_rows is not None and len(kept_rows) and not 0 <= kept_rows.min() <= kept_rows.max() < len(kept_rows):
        raise ValueError(f"subword_kept_rows must be in [0, {len(kept_rows)})")


def _origin(told: Mapping[str, Any]) -> Origin | None:
    if told["arguments"] is None:
        return None
    arguments = Arguments(**told["arguments"])
    if arguments.model not in MODELS.values() or arguments.loss not in LOSSES.values():
        raise ValueError(f"unknown model {arguments.model!r} or loss {arguments.loss!r}")
    return Origin(arguments, int(told["num_tokens"]))
