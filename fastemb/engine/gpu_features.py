"""What a collection does with the features of a batch in a GPU's memory; the host waits for nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastemb.engine.arrays import INT32, INT64
from fastemb.engine.device import DeviceArray, empty
from fastemb.engine.gpu import stored
from fastemb.engine.launch import run, width_of
from fastemb.engine.ragged import Bags, padding_number

__all__ = ["concatenate", "join_bags", "put_rows", "side_by_side"]

Fault = Callable[[int], Exception]


def join_bags(
    parts: Sequence[Bags], firsts: Sequence[int], sizes: Sequence[int], errors: Sequence[Fault], *, wide: bool
) -> tuple[DeviceArray, DeviceArray]:
    """Return the indices and offsets of the bags of all features, those of a feature side by side.

    Parameters
    ----------
    parts : sequence of Bags
        Of each feature, in a GPU's memory, as many bags each.
    firsts, sizes : sequence of int
        Where the table of each begins in the array of tables, and its rows.
    errors : sequence of callable
        For each, what makes an exception of the place of an index that is outside its table.
    wide : bool
        Whether a row's number may need more than 32 bits.

    Returns
    -------
    indices : int32 or int64 (num_lookups,)
        Rows of the array of tables; -1 for those that are left out.
    offsets : int64 (num_bags of all features + 1,)
    """
    num_bags, total = parts[0].num_bags, sum(len(part.indices) for part in parts)
    indices = empty((total,), INT64 if wide else INT32)
    offsets = empty((num_bags * len(parts) + 1,), INT64)
    done = 0
    for n, (part, first, size, error) in enumerate(zip(parts, firsts, sizes, errors, strict=True)):
        stop = done + len(part.indices)
        given = indices.rows(slice(done, stop)), part.indices, first, size, padding_number(part.padding_idx)
        run("lookup", "shift", given, stop - done, error)
        run("indices", "append", (offsets, part.offsets, n * num_bags, done), num_bags + 1)
        done = stop
    return indices, offsets


def concatenate(parts: Sequence[DeviceArray]) -> DeviceArray:
    """Return arrays (size, columns) or (size,) of one dtype one after the other."""
    first, done = parts[0], 0
    made = empty((sum(map(len, parts)), *first.shape[1:]), first.dtype)
    for part in parts:
        put_rows(made.rows(slice(done, done + len(part))), part)
        done += len(part)
    return made


def side_by_side(parts: Sequence[DeviceArray]) -> DeviceArray:
    """Return arrays (num_rows, columns) of one dtype side by side."""
    made = empty((len(parts[0]), sum(part.shape[1] for part in parts)), parts[0].dtype)
    done = 0
    for part in parts:
        put_rows(made.columns(slice(done, done + part.shape[1])), part)
        done += part.shape[1]
    return made


def put_rows(out: DeviceArray, values: DeviceArray) -> None:
    """Write all rows of an array of the same shape and dtype."""
    target, source = (_as_table(array) for array in (out, values))
    arguments: Any = target, source
    run("rows", "place", arguments, len(out), columns=target.shape[1], width=width_of(target, source))


def _as_table(array: DeviceArray) -> DeviceArray:
    """Return an array as kernels move it: of two dimensions, and numbers as their bits where they are of 16."""
    table = array if array.ndim == 2 else array.reshape(len(array), 1)
    return table.view(np.int16) if table.itemsize == 2 else stored(table)
