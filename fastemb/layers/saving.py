"""Numbers from a state dict into tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.device import DeviceArray, on_host
from fastemb.layers.rows import kept_dtype, stored

__all__ = ["load_tables"]


def load_tables(tables: Mapping[str, NDArray], state_dict: Mapping[str, Any], strict: bool) -> None:
    """Copy numbers into tables by name.

    Parameters
    ----------
    tables : dict
        What is written to.
    state_dict : dict
        Arrays of the same shapes.
    strict : bool
        Names that are missing or unknown are an error.

    Raises
    ------
    KeyError
        If names disagree, and `strict`.
    TypeError, ValueError
        If it is no dict, a value is not of real numbers, or a shape disagrees; nothing is copied then.

    Examples
    --------
    >>> tables = {"weight": np.zeros(2)}
    >>> load_tables(tables, {"weight": [1.0, 2.0]}, strict=True)
    >>> tables
    {'weight': array([1., 2.])}
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a dict from names to arrays, got {type(state_dict).__name__}")
    if strict and state_dict.keys() != tables.keys():
        raise KeyError(f"state_dict must have the names {sorted(tables)}, got {sorted(state_dict)}")
    values = {name: np.asarray(on_host(state_dict[name])) for name in tables if name in state_dict}
    for name, array in values.items():
        if array.shape != tables[name].shape:
            raise ValueError(f"{name} must be of shape {tables[name].shape}, got {array.shape}")
    ready = {name: _as_kept(array, tables[name].dtype) for name, array in values.items()}
    for name, array in ready.items():
        table = tables[name].view(array.dtype)
        if isinstance(table, DeviceArray):
            table.fill_from(array)
        else:
            table[:] = array


def _as_kept(array: NDArray, dtype: np.dtype) -> NDArray:
    """Return numbers as a table keeps them; the codes of quantized tables are bytes and stay so."""
    return array if array.dtype == dtype == np.uint8 else stored(array, kept_dtype(dtype)[0])
