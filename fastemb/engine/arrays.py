"""The arrays that users pass, as kernels take them: native dtypes, unit inner strides, no subclasses."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastemb.engine.device import DeviceArray, upload
from fastemb.engine.dlpack import bfloat16, has_dlpack, host_array
from fastemb.engine.foreign import host_of, in_kind, is_foreign, wrap

__all__ = [
    "accumulator",
    "as_floats",
    "as_indices",
    "as_integers",
    "as_output",
    "as_rows",
    "as_table",
    "bits",
    "give_back",
    "output_array",
    "shown_dtype",
    "writable",
]

FLOAT64, FLOAT32, FLOAT16 = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16)
BFLOAT16 = np.dtype(np.uint16)  # its bits: NumPy has no bfloat16
INT64, INT32 = np.dtype(np.int64), np.dtype(np.int32)

FLOAT_DTYPES = frozenset((FLOAT64, FLOAT32, FLOAT16))
INDEX_DTYPES = frozenset((INT64, INT32))

# As `array.flags.num` tells them.
CONTIGUOUS = 0x0001
ALIGNED = 0x0100
WRITEABLE = 0x0400
BEHAVED = CONTIGUOUS | ALIGNED


def accumulator(dtype: np.dtype) -> np.dtype:
    """Return the dtype of the arithmetic on rows of `dtype`: float64 for float64, float32 for all others."""
    return FLOAT64 if dtype == FLOAT64 else FLOAT32


def bits(array: NDArray) -> NDArray:
    """Return bfloat16, as ml_dtypes makes it, as its bits, and everything else as it is."""
    known = array.dtype in FLOAT_DTYPES  # a dtype's name takes a microsecond to make
    return array if known or array.dtype.name != "bfloat16" else array.view(BFLOAT16)


def give_back(array: NDArray, weight: ArrayLike) -> NDArray:
    """Return rows that a kernel made as an array of the package, and in the dtype, of the user's table."""
    if array.dtype is BFLOAT16:
        array = array.view(shown_dtype(array, weight))
    return array if type(weight) is np.ndarray else in_kind(array, weight)


def shown_dtype(table: NDArray, weight: ArrayLike) -> np.dtype:
    """Return the dtype that a user's table shows: bfloat16 where its bits were taken."""
    if table.dtype != BFLOAT16:
        return table.dtype
    return weight.dtype if isinstance(weight, np.ndarray | DeviceArray) else bfloat16("weight")


def as_table(weight: ArrayLike, name: str = "weight", *, change: bool = False) -> NDArray:
    """Return a table as the kernels take it, sharing memory wherever that can be.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
        float64, float32, float16, or bfloat16 as ml_dtypes makes it, whose bits are returned as uint16. Rows may lie
        apart; what has no unit inner stride, or is not aligned, is copied.
    name : str, default "weight"
        What errors call it.
    change : bool, default False
        The table is to be changed in place: it must be an array that can be, without a copy.

    Raises
    ------
    TypeError
        If it is of another dtype, or no array and `change`.
    ValueError
        If it has not two dimensions, or cannot be changed in place.

    Examples
    --------
    >>> as_table([[0.5, 1.5]])
    array([[0.5, 1.5]])
    >>> as_table(np.zeros(3))
    Traceback (most recent call last):
        ...
    ValueError: weight must have 2 dimensions, got shape (3,)
    """
    needed = BEHAVED | WRITEABLE if change else BEHAVED
    if (
        type(weight) is np.ndarray
        and weight.dtype in FLOAT_DTYPES
        and weight.ndim == 2
        and weight.flags.num & needed == needed
    ):
        return weight
    if is_foreign(weight):
        return _table_of_gpu(wrap(weight, name), name, change)
    if change and not (isinstance(weight, np.ndarray) or has_dlpack(weight)):
        raise TypeError(f"{name} is changed in place, so it must be a NumPy array, got {type(weight).__name__}")
    array = host_of(weight, name).view(np.ndarray)
    if array.dtype not in FLOAT_DTYPES and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be float64, float32, float16 or bfloat16, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {array.shape}")
    if change and not array.flags.writeable:
        raise ValueError(f"{name} is changed in place, but it is read-only")
    is_dense = array.strides[1] == array.itemsize or array.shape[1] == 1 or array.size == 0
    if array.flags.num & ALIGNED and is_dense:
        return bits(array)
    if change:
        raise ValueError(f"{name} is changed in place, so the numbers of a row must lie side by side and aligned")
    return bits(np.array(array, order="C"))


def _table_of_gpu(table: DeviceArray, name: str, change: bool) -> Any:
    """Return a table in a GPU's memory as kernels take it, not copied."""
    if table.dtype not in FLOAT_DTYPES and table.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be float64, float32, float16 or bfloat16, got {table.dtype}")
    if table.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got shape {table.shape}")
    if change and not table.writeable:
        raise ValueError(f"{name} is changed in place, but it is read-only")
    if table.shape[1] > 1 and table.size and table.strides[1] != table.itemsize:
        raise ValueError(f"{name} is on a GPU, so the numbers of a row must lie side by side")
    return table.view(BFLOAT16) if table.dtype.name == "bfloat16" else table


def as_rows(values: ArrayLike, shape: tuple[int, ...], dtype: np.dtype, name: str) -> NDArray:
    """Return rows that go with a table, such as `grad_output`, as a C-contiguous array (num_rows, embedding_dim).

    Parameters
    ----------
    values : array
        Floats of any type.
    shape : tuple of int
        What the shape must be; all but the last dimension are made one.
    dtype : numpy.dtype
        Of the table. Rows of this dtype are taken as they are, others are converted to its accumulator dtype.
    name : str
        What errors call it.

    Raises
    ------
    TypeError, ValueError
        If they are not numbers, or of another shape.
    """
    if (
        type(values) is np.ndarray
        and values.dtype is dtype
        and dtype in FLOAT_DTYPES
        and values.shape == shape
        and values.flags.num & BEHAVED == BEHAVED
    ):
        return values if values.ndim == 2 else values.reshape(prod(shape[:-1]), shape[-1])
    if is_foreign(values):
        return _rows_of_gpu(wrap(values, name), shape, dtype, name)
    array = host_of(values, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if array.dtype != dtype or dtype == BFLOAT16:
        is_short = array.dtype.name == "bfloat16" and dtype == BFLOAT16
        array = bits(array) if is_short else as_floats(array, accumulator(dtype), name)
    if array.flags.num & BEHAVED != BEHAVED:
        array = np.require(array, requirements=("C", "A"))
    return array if array.ndim == 2 else array.reshape(prod(shape[:-1]), shape[-1])


def writable(array: NDArray) -> NDArray:
    """Return an array as it is, or a copy if it is read-only: Numba compiles for such apart, which takes seconds."""
    return array if array.flags.num & WRITEABLE else array.copy()


def _rows_of_gpu(values: DeviceArray, shape: tuple[int, ...], dtype: np.dtype, name: str) -> Any:
    """Return rows in a GPU's memory as kernels take them; what must be converted goes through the host."""
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    if not (values.is_contiguous() and values.dtype in (dtype, accumulator(dtype)) and dtype != BFLOAT16):
        is_accumulated = values.is_contiguous() and values.dtype == FLOAT32 and dtype == BFLOAT16
        values = values if is_accumulated else upload(as_rows(values.to_host(), shape, dtype, name))
    return values if values.ndim == 2 else values.reshape(prod(shape[:-1]), shape[-1])


def as_floats(values: ArrayLike, dtype: np.dtype, name: str) -> NDArray:
    """Return `values` as a C-contiguous array of `dtype`.

    Raises
    ------
    TypeError
        If they are not real numbers.
    """
    array = host_of(values, name)
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be floats, got {array.dtype}")
    return np.require(array, dtype, ("C", "A"))


def as_integers(values: ArrayLike, name: str = "input") -> NDArray:
    """Return `values` as an array of whichever integer type; an empty list counts as integers.

    Raises
    ------
    TypeError
        If they are not integers (booleans are not).
    ValueError
        If a list is ragged, or a number has more than 64 bits.
    """
    try:
        array = host_of(values, name)
    except ValueError:
        raise ValueError(f"{name} must be rectangular, got rows of different lengths") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(value, int) for value in array.flat):
        raise ValueError(f"{name} must have at most 64 bits, got {max(array.flat, key=abs)}")
    if array.size == 0 and isinstance(values, Sequence):
        return array.astype(INT64)
    if array.dtype.kind not in "iu":
        nulls = getattr(values, "null_count", 0)  # of Arrow, which makes floats of integers that have some
        held = f", of which {nulls} are null" if isinstance(nulls, int) and nulls else ""
        raise TypeError(f"{name} must be integers, got {array.dtype}{held}")
    return array


def as_indices(values: ArrayLike, name: str = "input") -> NDArray:
    """Return integers of any shape as a C-contiguous int32 or int64 array of that shape.

    Types of up to 16 bits become int32, uint32 and uint64 become int64. Nothing is copied that need not be; indices in
    a GPU's memory stay there.

    Raises
    ------
    TypeError
        If they are not integers (booleans are not).
    ValueError
        If one is beyond 2**63 - 1, which no table has, or a list is ragged.

    Examples
    --------
    >>> as_indices(np.uint8([3, 255])).dtype
    dtype('int32')
    """
    if type(values) is np.ndarray and values.dtype in INDEX_DTYPES and values.flags.num & BEHAVED == BEHAVED:
        return values
    if is_foreign(values):
        found = wrap(values, name)
        if found.dtype in INDEX_DTYPES and found.is_contiguous():
            return found  # type: ignore[return-value]
        return upload(as_indices(found.to_host(), name))  # type: ignore[return-value]
    array = as_integers(values, name)
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 2**63:
        flat = int(array.argmax())
        place = flat if array.ndim == 1 else tuple(map(int, np.unravel_index(flat, array.shape)))
        raise ValueError(f"{name} must be below 2**63, got {array.max()} at position {place}")
    dtype = INT32 if np.can_cast(array.dtype, INT32) else INT64
    return np.require(array, dtype, ("C", "A"))


def output_array(out: Any) -> Any:
    """Return what the user passed as `out` for a result on the host as an array of NumPy, where it is any array.

    Raises
    ------
    TypeError
        If it is on a GPU.
    """
    if is_foreign(out):
        raise TypeError("out is on a GPU, and weight is not")
    return host_array(out, "out") if has_dlpack(out) else out


def as_output(out: Any, shape: tuple[int, ...], dtype: np.dtype, apart_from: NDArray) -> NDArray:
    """Return what the user passed as `out` if a result can be written to it.

    Parameters
    ----------
    out : numpy.ndarray
    shape : tuple of int
        What its shape must be.
    dtype : numpy.dtype
        What its dtype must be.
    apart_from : array
        The table, with which it must not share memory.

    Raises
    ------
    TypeError, ValueError
        If it is no array of that dtype and shape, is read-only, or overlaps the table.
    """
    out = output_array(out)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out must be {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if np.may_share_memory(out, apart_from):
        raise ValueError("out must not share memory with weight")
    return out
