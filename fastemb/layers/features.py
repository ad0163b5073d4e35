"""Columns of a batch as arrays of indices: dicts, data frames and Arrow batches."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.foreign import host_of, is_foreign, is_of_others

__all__ = ["column_of", "foreign_column", "has_column", "rectangle", "rectangles"]


def column_of(batch: Any, name: str, what: str = "batch") -> Any:
    """Return a column of a dict, a data frame of pandas or polars, or a batch or table of Arrow; errors say `what`.

    Raises
    ------
    KeyError
        If there is no such column.
    TypeError
        If `batch` has no columns.

    Examples
    --------
    >>> column_of({"user": [1, 2]}, "user")
    [1, 2]
    """
    if type(batch) is dict and type(batch.get(name)) in (np.ndarray, list):  # most batches, in little time
        return batch[name]
    names = _names(batch, what)
    if name not in names:
        raise KeyError(f"{what} must have a feature {name!r}, got {', '.join(map(repr, names))}")
    return _plain(batch[name], name)


def has_column(batch: Any, name: str) -> bool:
    """Return whether a batch of weights has a column.

    Examples
    --------
    >>> has_column({"user": [1, 2]}, "item")
    False
    """
    return name in _names(batch, "per_sample_weights")


def _names(batch: Any, what: str) -> Any:
    if isinstance(batch, Mapping):
        return batch.keys()
    if hasattr(batch, "column_names"):  # Arrow
        return batch.column_names
    if hasattr(batch, "columns") and not hasattr(batch, "collect"):  # pandas, polars, but no plan of one
        return batch.columns
    raise TypeError(f"{what} must be a dict, a data frame or an Arrow batch, got {type(batch).__name__}")


def foreign_column(batch: Any, names: Iterable[str]) -> Any:
    """Return an array of another package in a GPU's memory among the columns of a dict, or None.

    Examples
    --------
    >>> foreign_column({"user": np.arange(3)}, ["user"])
    """
    if not isinstance(batch, Mapping):
        return None
    columns = (batch.get(name) for name in names)
    values = (column[0] if type(column) is tuple and len(column) else column for column in columns)
    return next((value for value in values if is_foreign(value)), None)


def _plain(column: Any, name: str) -> Any:
    """Return a column as an array of NumPy or Arrow where it is one of a data frame or of others, else as it is."""
    if type(column) is tuple:
        return tuple(host_of(part, f"feature {name!r}") if is_of_others(part) else part for part in column)
    if is_of_others(column):
        return host_of(column, f"feature {name!r}")
    if hasattr(column, "combine_chunks"):  # Arrow's ChunkedArray
        return column.combine_chunks()
    if hasattr(column, "to_arrow"):  # polars
        return column.to_arrow()
    if hasattr(column, "to_numpy") and hasattr(column, "iloc"):  # pandas
        return column.to_numpy()
    return column


def rectangles(columns: list[Any]) -> list[NDArray | None]:
    """Return each column as `rectangle` does; a pair of values and offsets of one index a row is one, too.

    Examples
    --------
    >>> offsets = np.arange(3)
    >>> [block.tolist() for block in rectangles([(np.array([3, 1]), offsets), (np.array([2, 2]), offsets)])]
    [[[3], [1]], [[2], [2]]]
    """
    single: dict[int, bool] = {}  # by the offsets, which features often share
    return [_pair(column, single) if type(column) is tuple else rectangle(column) for column in columns]


def _pair(column: tuple, single: dict[int, bool]) -> NDArray | None:
    if len(column) != 2 or not all(type(part) is np.ndarray for part in column):
        return None
    values, offsets = column
    if values.ndim != 1 or offsets.shape != (len(values) + 1,):
        return None
    if id(offsets) not in single:
        single[id(offsets)] = np.array_equal(offsets, np.arange(len(offsets)))
    return _as_rectangle(values) if single[id(offsets)] else None


def rectangle(column: Any) -> NDArray | None:
    """Return a column as an array (num_bags, length) where each of its bags has the same length, else None.

    An array of one dimension, and a list of integers, is a bag of one index a row.

    Examples
    --------
    >>> rectangle([3, 1]).tolist(), rectangle([[3], [1, 2]])
    ([[3], [1]], None)
    """
    if type(column) is np.ndarray:
        return _as_rectangle(column)
    if type(column).__module__.partition(".")[0] == "pyarrow":
        import pyarrow

        if not pyarrow.types.is_integer(column.type) or column.null_count:
            return None
        column = column.to_numpy(zero_copy_only=False)
    if not hasattr(column, "dtype"):
        first = column[0] if isinstance(column, Sequence) and not isinstance(column, tuple) and len(column) else None
        if not isinstance(first, int | np.integer):
            return None
    return _as_rectangle(np.asarray(column))


def _as_rectangle(array: NDArray) -> NDArray | None:
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        return None
    return array[:, None] if array.ndim == 1 else array
