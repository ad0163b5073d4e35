"""Rows of a table as numbers that NumPy can work with: bfloat16 is kept as its bits, short floats are summed wide."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine import gpu
from fastemb.engine.backend import kernels
from fastemb.engine.device import DeviceArray

__all__ = ["add_rows", "kept_dtype", "read_rows", "stored", "write_rows"]

KEPT = ("float64", "float32", "float16", "bfloat16")


def kept_dtype(dtype: DTypeLike) -> tuple[np.dtype, np.dtype]:
    """Return the dtype in which a table is kept, and the one that it is shown in.

    They differ for bfloat16 only, which is kept as uint16, its bits, and shown in ml_dtypes' type where that package
    can be imported, else as its bits too.

    Raises
    ------
    TypeError
        If `dtype` is no dtype of a table.

    Examples
    --------
    >>> kept_dtype(np.float16)
    (dtype('float16'), dtype('float16'))
    >>> kept_dtype("bfloat16")[0]
    dtype('uint16')
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name == "bfloat16":
        return np.dtype(np.uint16), _shown_bfloat16()
    if name not in KEPT and name != "uint16":
        raise TypeError(f"dtype must be one of {', '.join(KEPT)}, got {name}")
    return np.dtype(name), np.dtype(name)


def _shown_bfloat16() -> np.dtype:
    try:
        import ml_dtypes
    except ImportError:
        return np.dtype(np.uint16)
    return np.dtype(ml_dtypes.bfloat16)


def stored(values: Any, dtype: np.dtype) -> NDArray:
    """Return numbers as a table of `dtype` keeps them; those of bfloat16 are rounded to nearest, ties to even.

    Raises
    ------
    TypeError
        If they are not real numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise TypeError(f"a table must be filled with real numbers, got {array.dtype}")
    if dtype == np.uint16 and array.dtype.name in ("bfloat16", "uint16"):
        return array.view(np.uint16)
    if dtype == np.uint16:
        return kernels("reference", "lookup").narrow(array.astype(np.float32, copy=False), dtype)
    return array.astype(dtype, copy=False)


def read_rows(weight: NDArray, rows: Any) -> NDArray:
    """Return rows of a table in its accumulator dtype: float64 for float64, else float32."""
    found = (
        gpu.rows_of(weight, rows) if isinstance(weight, DeviceArray) and isinstance(rows, np.ndarray) else weight[rows]
    )
    return kernels("reference", "lookup").widen(found)


def write_rows(weight: NDArray, rows: Any, values: NDArray) -> None:
    """Write numbers to rows of a table."""
    if isinstance(weight, DeviceArray):
        gpu.write_rows(weight, rows, stored(values, weight.dtype))
    else:
        weight[rows] = stored(values, weight.dtype)


def add_rows(weight: NDArray, rows: Any, values: NDArray) -> None:
    """Add numbers to rows of a table: short floats are rounded once, after the sum.

    Examples
    --------
    >>> table = np.array([[1.5], [2.0]], np.float16)
    >>> add_rows(table, slice(1, 2), np.float32([[0.25]]))
    >>> table[:, 0]
    array([1.5 , 2.25], dtype=float16)
    """
    write_rows(weight, rows, read_rows(weight, rows) + values)
