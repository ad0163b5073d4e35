"""Sequences of sequences, lists or Arrow's, as values and offsets."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.dlpack import has_dlpack

__all__ = ["flatten", "is_array"]


def is_array(values: Any) -> bool:
    """Return whether `values` are numbers in an array, rather than a sequence of sequences.

    Examples
    --------
    >>> is_array(np.zeros((2, 3))), is_array([[1], [2, 3]])
    (True, False)
    """
    if isinstance(values, np.ndarray) or has_dlpack(values):
        return True
    return hasattr(values, "__array__") and not _is_arrow(values)


def flatten(
    name: str, rows: Any, convert: Callable[[Any], NDArray], null: int | None = None
) -> tuple[NDArray, NDArray[np.int64]]:
    """Return a sequence of sequences as one array and its ``num_rows + 1`` offsets.

    Parameters
    ----------
    name : str
        What errors call it.
    rows : sequence of sequences, or Arrow list array
        Arrow's values are not copied; a null among its lists is an empty one. Whatever has Arrow's C interface will do.
    convert : callable
        Makes an array of a row, or of all Arrow's values.
    null : int, optional
        What a null among Arrow's values becomes; without it a null is an error.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or holds nulls.

    Examples
    --------
    >>> flatten("input", [[3, 1], [2]], np.asarray)
    (array([3, 1, 2]), array([0, 2, 3]))
    """
    if _is_arrow(rows):
        return _flatten_arrow(name, rows, convert, null)
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise TypeError(
            f"{name} must be an array, a sequence of sequences or an Arrow array, got {type(rows).__name__}"
        )
    arrays = [convert(row) for row in rows]
    for b, array in enumerate(arrays):
        if array.ndim != 1:
            if array.ndim == 0:
                raise ValueError(f"{name} of one dimension needs offsets, got a number at position {b}")
            raise ValueError(f"{name} must hold flat sequences, got one of shape {array.shape} at position {b}")
    offsets = np.zeros(len(arrays) + 1, np.int64)
    np.cumsum([len(array) for array in arrays], out=offsets[1:])
    return np.concatenate(arrays) if arrays else convert([]), offsets


def _is_arrow(values: Any) -> bool:
    return hasattr(values, "__arrow_c_array__") or hasattr(values, "__arrow_c_stream__")


def _flatten_arrow(
    name: str, rows: Any, convert: Callable[[Any], NDArray], null: int | None
) -> tuple[NDArray, NDArray[np.int64]]:
    import pyarrow as pa

    array = pa.array(rows) if hasattr(rows, "__arrow_c_array__") else pa.chunked_array(rows).combine_chunks()
    types = pa.types
    kind = array.type
    if types.is_fixed_size_list(kind):
        lengths = np.where(array.is_valid(), kind.list_size, 0)
    elif types.is_list(kind) or types.is_large_list(kind):
        lengths = array.value_lengths().fill_null(0).to_numpy()
    else:
        if types.is_integer(kind) and array.null_count:
            raise TypeError(f"{name} must hold no null among its integers, got {array.null_count}")
        raise TypeError(f"{name} must be an Arrow array of lists, got {kind}")
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = array.flatten()
    if values.null_count:
        if null is None:
            raise ValueError(f"{name} must hold no null inside its lists, got {values.null_count}")
        values = values.cast(pa.int64()).fill_null(null)
    return convert(values.to_numpy()), offsets
