"""Bags of indices in a GPU's memory, made of what users have there; the host looks at it to tell an error."""

from typing import Any

import numpy as np

from fastemb.engine._indices import bad_bag
from fastemb.engine.arrays import INT32, INT64, accumulator, as_floats, as_indices
from fastemb.engine.backend import kernels
from fastemb.engine.checks import index_error
from fastemb.engine.device import DeviceArray, empty, on_host, there
from fastemb.engine.foreign import is_foreign, wrap
from fastemb.engine.launch import run
from fastemb.engine.ragged import NO_ROW, Bags, close_offsets, padding_row, settle_invalid

__all__ = ["bags_of", "settle"]


def bags_of(
    input: Any,
    offsets: Any,
    num_embeddings: int,
    dtype: np.dtype,
    padding_idx: int | None,
    include_last_offset: bool,
    weights: Any,
    on_invalid: str,
) -> Bags:
    """Return the bags of indices in a GPU's memory: see `ragged.as_bags`, whose other arguments may lie on either side.

    Raises
    ------
    TypeError, ValueError
        As there; what is wrong with offsets in a GPU's memory may be put off.
    """
    values, starts = input, offsets
    if isinstance(input, tuple):
        values, starts, include_last_offset = input[0], input[1], True
    indices: Any = as_indices(values)
    shape = indices.shape
    if starts is None:
        if indices.ndim != 2:
            raise ValueError("an input of 1 dimension needs offsets, got None" if indices.ndim == 1 else
                             f"input must have 1 or 2 dimensions, got shape {shape}")  # fmt: skip
        found: Any = there(np.arange(shape[0] + 1, dtype=INT64) * shape[1])
    elif indices.ndim != 1:
        raise ValueError(f"offsets go with an input of one dimension, got input of shape {shape}")
    elif is_foreign(starts):
        found = _closed(as_indices(starts, "offsets"), indices, include_last_offset, num_embeddings)
    else:
        bags = Bags(indices, close_offsets(starts, shape[0], include_last_offset))
        _check_falls(bags, num_embeddings)
        found = there(bags.offsets)
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, num_embeddings)
    indices, padding_idx = settle_invalid(indices, num_embeddings, padding_idx, on_invalid)
    coefficients: Any = None
    if weights is not None:
        coefficients = _coefficients(weights, shape, accumulator(dtype))
    return Bags(indices.reshape(-1), found, coefficients, padding_idx, shape)


def _closed(offsets: Any, indices: Any, include_last_offset: bool, num_embeddings: int) -> DeviceArray:
    """Return offsets with the last one; one that cannot be is told as `ragged` does."""
    num_lookups, size = len(indices), len(offsets) + (not include_last_offset)
    if offsets.ndim != 1 or size == 0:
        close_offsets(on_host(offsets), num_lookups, include_last_offset)  # tells what is wrong

    def error(place: int) -> Exception:
        _check_falls(Bags(indices, close_offsets(on_host(offsets), num_lookups, include_last_offset)), num_embeddings)
        return ValueError(f"offsets have changed since they were given: they were wrong at position {place}")

    made = empty((size,), INT64)
    run("indices", "close", (made, offsets, num_lookups), size, error)
    return made


def _check_falls(bags: Bags, num_embeddings: int) -> None:
    bad = bad_bag(bags.offsets, len(bags.indices))
    if bad != -1:
        raise index_error(-2 - bad, bags, num_embeddings)


def settle(
    indices: DeviceArray, num_embeddings: int, padding_idx: int | None, on_invalid: str
) -> tuple[Any, int | None]:
    """Return indices that are all valid: see `ragged.settle_invalid`."""
    if on_invalid == "pad":
        padding_idx = NO_ROW if padding_idx is None else padding_idx
    elif num_embeddings == 0 and indices.size:
        raise ValueError(f"on_invalid={on_invalid!r} needs a table with rows, got none")
    policy = getattr(kernels("cuda", "indices"), on_invalid.upper())
    made = empty((indices.size,), indices.dtype if num_embeddings <= np.iinfo(INT32).max else INT64)
    replacement = NO_ROW if padding_idx is None else padding_idx
    run("indices", "settle", (made, indices.reshape(-1), num_embeddings, replacement, policy), indices.size)
    return made.reshape(*indices.shape), padding_idx


def _coefficients(weights: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Return `per_sample_weights` that go with indices in a GPU's memory; they may lie on either side."""
    name = "per_sample_weights"
    given = wrap(weights, name) if is_foreign(weights) else as_floats(weights, dtype, name)
    if given.shape != shape:
        raise ValueError(f"per_sample_weights must have input's shape, {shape}, got {given.shape}")
    if given.dtype != dtype or not (isinstance(given, np.ndarray) or given.is_contiguous()):
        given = as_floats(on_host(given), dtype, name)
    return there(given.reshape(-1))
