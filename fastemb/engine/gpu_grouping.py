"""Lookups grouped by row in a GPU's memory: the host learns nothing of them, and waits for nothing."""

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import INT32, INT64
from fastemb.engine.backend import kernels
from fastemb.engine.device import DeviceArray, empty, there, zeros
from fastemb.engine.launch import launch_blocks, run
from fastemb.engine.ragged import padding_number
from fastemb.engine.streams import current_stream, device_number, number_of

__all__ = ["DeviceGroups", "group"]

_masks: dict[tuple[int, int, int], DeviceArray] = {}  # copies of read-only arrays, by these, GPU and stream


@dataclass(slots=True)
class DeviceGroups:
    """The rows that were looked up, and the lookups of each, as the GPU knows them.

    Parameters
    ----------
    rows : int32 or int64 (num_lookups,)
        Begins with the distinct rows, ascending, in the dtype of the indices.
    starts : int64 (num_lookups + 1,)
        The lookups of ``rows[r]`` are ``order[starts[r] : starts[r + 1]]``.
    order : int32 or int64 (num_lookups,)
        Places of the lookups, or their labels, by row and then ascending; those that are left out come last.
    keys : int32 or int64 (num_lookups,)
        The row of each lookup in that order; `num_embeddings` for those that are left out.
    count : int64 (1,)
        The number of distinct rows.
    num_embeddings : int
    frozen : bool (num_embeddings,) or None
        As `group` was given it.
    """

    rows: DeviceArray
    starts: DeviceArray
    order: DeviceArray
    keys: DeviceArray
    count: DeviceArray
    num_embeddings: int
    frozen: NDArray[np.bool_] | None


def group(
    indices: Any,
    num_embeddings: int,
    *,
    padding_idx: int | None = None,
    frozen: NDArray[np.bool_] | None = None,
    labels: DeviceArray | None = None,
) -> DeviceGroups:
    """Return the lookups grouped by row: see `grouping.group`.

    Parameters
    ----------
    indices : int32 or int64 (num_lookups,)
        Of NumPy or of the GPU.
    num_embeddings, padding_idx, frozen, labels
        As there; labels are the GPU's.
    """
    size, ids = len(indices), there(indices)
    narrow = INT32 if num_embeddings < 2**31 else INT64
    made = DeviceGroups(
        empty((size,), ids.dtype),
        empty((size + 1,), INT64) if size else zeros((1,), INT64),
        empty((size,), INT32 if size < 2**31 else INT64),
        empty((size,), narrow),
        empty((1,), INT64) if size else zeros((1,), INT64),
        num_embeddings,
        frozen,
    )
    told = np.empty(0, INT32) if labels is None else labels
    passive = np.empty(0, np.bool_) if frozen is None else _on_gpu(frozen)
    taken = ids, num_embeddings, padding_number(padding_idx), passive, told
    module, sorting = kernels("cuda", "grouping"), kernels("cuda", "sorting")
    num_bits = num_embeddings.bit_length()
    if 0 < size <= sorting.TILE:
        outputs = made.rows, made.starts, made.order
        launch_blocks(module.group, (*outputs, *taken, made.keys, made.count, num_bits), 1, sorting.THREADS)
    elif size:
        _sort(made, taken, num_bits)
        heads = empty((1, _num_tiles(size)), INT64)
        given = made.keys, num_embeddings
        launch_blocks(module.count_heads, (heads, *given), _num_tiles(size), sorting.THREADS)
        launch_blocks(sorting.scan_rows, (heads, made.count), 1, sorting.THREADS)
        cut = made.rows, made.starts, *given, heads, made.count
        launch_blocks(module.write_heads, cut, _num_tiles(size), sorting.THREADS)
    return made


def _on_gpu(mask: NDArray[np.bool_]) -> DeviceArray:
    """Return a copy in the GPU's memory: of a read-only array one for as long as it lives."""
    if mask.flags.writeable:
        return there(mask)
    key = id(mask), device_number(), number_of(current_stream())
    found = _masks.get(key)
    if found is None:
        found = _masks[key] = there(mask)
        weakref.finalize(mask, _masks.pop, key, None)
    return found


def _sort(made: DeviceGroups, taken: tuple, num_bits: int) -> None:
    """Fill the keys and the order, as many bits of the keys at a time as there are digits."""
    sorting, size = kernels("cuda", "sorting"), len(made.keys)
    shifts = range(0, num_bits, sorting.DIGIT_BITS)
    given = made.keys, made.order
    spare = empty((size,), made.keys.dtype), empty((size,), made.order.dtype)
    if len(shifts) % 2:  # so that the last pass writes where the result is to be
        given, spare = spare, given
    run("grouping", "make_keys", (*given, *taken), size)
    tiles = _num_tiles(size)
    histogram = empty((sorting.DIGITS, tiles), INT32 if size < 2**31 else INT64)
    totals = empty((sorting.DIGITS,), INT64)
    for shift in shifts:
        launch_blocks(sorting.count, (histogram, given[0], shift), tiles, sorting.THREADS)
        launch_blocks(sorting.scan_rows, (histogram, totals), sorting.DIGITS, sorting.THREADS)
        launch_blocks(sorting.scatter, (*spare, *given, histogram, totals, shift), tiles, sorting.THREADS)
        given, spare = spare, given


def _num_tiles(size: int) -> int:
    return -(-size // kernels("cuda", "sorting").TILE)
