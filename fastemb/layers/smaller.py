"""Rows of tables for inference: made of a table, or taken from an array that holds them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import FLOAT16, as_table
from fastemb.engine.arrays import bits as bits_of
from fastemb.engine.backend import checked_device, indexing_device
from fastemb.engine.device import on_host
from fastemb.engine.memory import empty
from fastemb.engine.quantized import END_BYTES, CodedRows, ShortRows, placed, quantize, row_bytes, shorten
from fastemb.engine.ragged import Bags
from fastemb.engine.validate import choice, integer
from fastemb.layers.rows import kept_dtype

__all__ = ["kind_of", "reduced_rows", "rows_of_table", "shown_table", "smaller_rows"]

SHORT = ("float16", "bfloat16")


def smaller_rows(weight: Any, bits: int | None, dtype: Any, device: str) -> CodedRows | ShortRows:
    """Return the rows of a table as codes or as short floats: see `QuantizedTable.from_weight`."""
    place = indexing_device(checked_device(device))
    table = on_host(as_table(weight))
    if dtype is None:
        kind = 8 if bits is None else choice("bits", integer("bits", bits, 0), tuple(END_BYTES))
        return placed(quantize(table, kind, device=place), device)
    if bits is not None:
        raise ValueError(f"bits or dtype must be given, not both, got bits={bits} and dtype={dtype}")
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    short = empty(table.shape, kept_dtype(choice("dtype", name, SHORT))[0])
    return placed(shorten(table, short, device=place), device)


def rows_of_table(table: Any, bits: int | None, embedding_dim: int | None, device: str) -> CodedRows | ShortRows:
    """Return the rows that an array holds: see `QuantizedTable.from_table`."""
    checked_device(device)
    array = bits_of(np.asarray(table)).view(np.ndarray)
    if array.ndim != 2:
        raise ValueError(f"table must have 2 dimensions, got shape {array.shape}")
    array = np.require(array, requirements=("C", "A"))
    rows = _coded(array, bits, embedding_dim, device) if bits is not None else _short(array, embedding_dim, device)
    return placed(rows, device)


def shown_table(rows: CodedRows | ShortRows) -> NDArray:
    """Return the array of rows, bfloat16 in ml_dtypes' type where that can be imported."""
    array = rows.array
    return array.view(kept_dtype("bfloat16")[1]) if array.dtype == np.uint16 else array


def kind_of(rows: CodedRows | ShortRows) -> str:
    """Return what rows are kept in."""
    if isinstance(rows, CodedRows):
        return f"bits={rows.bits}"
    return "float16" if rows.array.dtype == FLOAT16 else "bfloat16"


def reduced_rows(rows: CodedRows | ShortRows, bags: Bags, mode: str) -> Any:
    """Return a row for each bag."""
    if mode in operations.EXTREMES:
        return rows.extremes(bags, operations.EXTREMES[mode])
    return rows.reduce(bags, mode)


def _coded(array: NDArray, bits: int, embedding_dim: int | None, device: str) -> CodedRows:
    bits = choice("bits", integer("bits", bits, 0), tuple(END_BYTES))
    if array.dtype != np.uint8:
        raise TypeError(f"table must be uint8 for bits={bits}, got {array.dtype}")
    most = (array.shape[1] - END_BYTES[bits]) * 8 // bits
    if most < 0:
        raise ValueError(f"table must have at least {END_BYTES[bits]} bytes a row, got shape {array.shape}")
    dim = most if embedding_dim is None else integer("embedding_dim", embedding_dim, 0)
    if row_bytes(dim, bits) != array.shape[1]:
        raise ValueError(
            f"a row of embedding_dim={dim} has {row_bytes(dim, bits)} bytes at bits={bits}, got {array.shape[1]}"
        )
    return CodedRows(array, bits, dim, device)


def _short(array: NDArray, embedding_dim: int | None, device: str) -> ShortRows:
    if array.dtype not in (FLOAT16, np.uint16):
        raise TypeError(f"table must be float16 or bfloat16, or uint8 with bits, got {array.dtype}")
    if embedding_dim not in (None, array.shape[1]):
        raise ValueError(f"embedding_dim must be that of the table, {array.shape[1]}, got {embedding_dim}")
    return ShortRows(array, device)
