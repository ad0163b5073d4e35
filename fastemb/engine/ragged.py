"""Bags of indices, in whichever form users have them, as two arrays: values and offsets."""

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastemb.engine import _plain
from fastemb.engine.arrays import BEHAVED, INDEX_DTYPES, INT64, accumulator, as_floats, as_indices, as_integers
from fastemb.engine.device import DeviceArray
from fastemb.engine.foreign import is_foreign
from fastemb.engine.sequences import flatten, is_array
from fastemb.engine.validate import choice, integer

__all__ = [
    "NO_PADDING",
    "NO_ROW",
    "POLICIES",
    "Bags",
    "as_bags",
    "close_offsets",
    "padding_number",
    "padding_row",
    "settle_invalid",
]

POLICIES = ("raise", "clip", "pad", "hash")
NO_ROW, NO_PADDING = -1, -2  # as kernels call them


@dataclass(slots=True)
class Bags:
    """Bags of lookups, as kernels take them: bag b holds ``indices[offsets[b]:offsets[b + 1]]``.

    Parameters
    ----------
    indices : int32 or int64 (num_lookups,)
        C-contiguous. Not checked against a table: the kernel that reads them does that.
    offsets : int64 (num_bags + 1,)
        C-contiguous; the first is 0 and the last is `num_lookups`. What lies between is checked by kernels.
    coefficients : float32 or float64 (num_lookups,), optional
        What each row is multiplied by; the accumulator dtype of the table.
    padding_idx : int, optional
        Lookups of it are left out of their bags; -1 where it marks those that have no row.
    shape : tuple of int, optional
        Of what the user passed, so that a bad index is told at its place there; None for ragged rows.
    """

    indices: NDArray
    offsets: NDArray[np.int64]
    coefficients: NDArray | None = None
    padding_idx: int | None = None
    shape: tuple[int, ...] | None = None

    @property
    def num_bags(self) -> int:
        """How many bags there are."""
        return len(self.offsets) - 1


def as_bags(
    input: Any,
    offsets: ArrayLike | None,
    num_embeddings: int,
    dtype: np.dtype,
    *,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
    per_sample_weights: Any = None,
    on_invalid: str = "raise",
) -> Bags:
    """Return bags from whatever `functional.embedding_bag` takes.

    Parameters
    ----------
    input : array, sequence of sequences, pyarrow array, or tuple (values, offsets)
        Integers: one dimension with `offsets`, or two; lists of any lengths; an Arrow list array, whose memory is used
        as it is; or a tuple of values and the ``num_bags + 1`` offsets of a CSR matrix.
    offsets : array (num_bags,), or (num_bags + 1,) with `include_last_offset`
        Where each bag begins, for an `input` of one dimension.
    num_embeddings : int
        Rows of the table.
    dtype : numpy.dtype
        Of the table; coefficients are made of its accumulator dtype.
    padding_idx : int, optional
        From ``-num_embeddings`` to ``num_embeddings - 1``.
    include_last_offset : bool, default False
        `offsets` ends with the number of lookups. Ignored for an `input` of two dimensions, as torch documents.
    per_sample_weights : array, sequence of sequences, or pyarrow array, optional
        In the form of `input`, or as many as there are lookups, in one dimension.
    on_invalid : {"raise", "clip", "pad", "hash"}
        See `settle_invalid`.

    Raises
    ------
    TypeError, ValueError, IndexError
        If anything is of the wrong type or shape; see each argument. An index outside the table is left for the
        kernel to find.

    Examples
    --------
    >>> bags = as_bags([[3, 1], [], [2]], None, 10, np.dtype(np.float32))
    >>> bags.indices, bags.offsets
    (array([3, 1, 2]), array([0, 2, 2, 3]))
    """
    if type(input) is np.ndarray and per_sample_weights is None and on_invalid == "raise":
        starts = _plain.starts_of(input, offsets, include_last_offset)
        if starts is not None:
            row = None if padding_idx is None else padding_row(padding_idx, num_embeddings)
            return Bags(input if input.ndim == 1 else input.reshape(-1), starts, None, row, input.shape)
    shape: tuple[int, ...] | None
    if type(input) is not np.ndarray and is_foreign(input[0] if type(input) is tuple and len(input) == 2 else input):
        from fastemb.engine.gpu_ragged import bags_of

        return bags_of(
            input, offsets, num_embeddings, dtype, padding_idx, include_last_offset, per_sample_weights, on_invalid
        )
    if offsets is not None:
        if isinstance(input, tuple) and len(input) == 2 and np.ndim(input[0]) == 1:
            raise ValueError("offsets must be None where input is a tuple of values and offsets")
        values = input if type(input) is np.ndarray else as_integers(input)
        if values.ndim != 1:
            raise ValueError(f"offsets go with an input of one dimension, got input of shape {values.shape}")
        shape = values.shape
        starts = close_offsets(offsets, shape[0], include_last_offset)
    else:
        values, starts, shape = _split(input, on_invalid)
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, num_embeddings)
    if on_invalid != "raise":
        values, padding_idx = settle_invalid(values, num_embeddings, padding_idx, on_invalid)
    if not (type(values) is np.ndarray and values.dtype in INDEX_DTYPES and values.flags.num & BEHAVED == BEHAVED):
        values = as_indices(values)
    if values.ndim != 1:
        values = values.reshape(-1)
    coefficients = None
    if per_sample_weights is not None:
        coefficients = _coefficients(per_sample_weights, starts, shape, accumulator(dtype))
    return Bags(values, starts, coefficients, padding_idx, shape)


def padding_row(padding_idx: int, num_embeddings: int) -> int:
    """Return `padding_idx` counted from the first row.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer in ``[-num_embeddings, num_embeddings)``.

    Examples
    --------
    >>> padding_row(-1, 10)
    9
    """
    row = integer("padding_idx", padding_idx, -num_embeddings, num_embeddings - 1)
    return row + num_embeddings if row < 0 else row


def padding_number(padding_idx: int | None) -> int:
    """Return `padding_idx` as kernels take it, who have a number for none, too: then less is compiled.

    Examples
    --------
    >>> padding_number(3), padding_number(None)
    (3, -2)
    """
    return NO_PADDING if padding_idx is None else padding_idx


def settle_invalid(
    values: NDArray, num_embeddings: int, padding_idx: int | None, on_invalid: str
) -> tuple[NDArray, int | None]:
    """Return indices that are all valid, and the index that is left out, if any.

    Parameters
    ----------
    values : integer array
    num_embeddings : int
    padding_idx : int, optional
    on_invalid : {"raise", "clip", "pad", "hash"}
        What becomes of an index that is outside ``[0, num_embeddings)``. "raise" lets a kernel find it; "clip" takes
        the nearest row; "pad" takes `padding_idx`, or leaves it out (as -1) where there is none; "hash" takes row
        ``splitmix64(index) % num_embeddings``, where ``splitmix64(x)`` is `kernels.reference.random.random_u64(x, 0)`.

    Raises
    ------
    ValueError
        If `on_invalid` is none of these, or there are no rows to clip or hash to.
    TypeError
        If the values are not integers.

    Examples
    --------
    >>> settle_invalid(np.array([5, -7, 12]), 10, None, "clip")
    (array([5, 0, 9]), None)
    >>> settle_invalid(np.array([5, -7, 12]), 10, None, "pad")
    (array([ 5, -1, -1]), -1)
    """
    choice("on_invalid", on_invalid, POLICIES)
    if on_invalid == "raise":
        return values, padding_idx
    if isinstance(values, DeviceArray):
        from fastemb.engine.gpu_ragged import settle

        return settle(values, num_embeddings, padding_idx, on_invalid)
    values = as_integers(values)
    outside = (values < 0) | (values >= num_embeddings)
    if on_invalid == "pad" and padding_idx is None:
        padding_idx = NO_ROW
    if not outside.any():
        return values, padding_idx
    if on_invalid == "pad":
        replacement: Any = padding_idx
    elif num_embeddings == 0:
        raise ValueError(f"on_invalid={on_invalid!r} needs a table with rows, got none")
    elif on_invalid == "clip":
        replacement = np.where(values[outside] < 0, 0, num_embeddings - 1)
    else:
        replacement = (_splitmix64(values[outside]) % np.uint64(num_embeddings)).astype(INT64)
    settled = np.where(outside, 0, values).astype(INT64)
    settled[outside] = replacement
    return settled, padding_idx


def _splitmix64(values: NDArray) -> NDArray[np.uint64]:
    """Return `kernels.reference.random.random_u64(value, 0)` of each value."""
    z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def close_offsets(offsets: ArrayLike, num_lookups: int, include_last_offset: bool) -> NDArray[np.int64]:
    """Return offsets with the last one, having checked both ends."""
    given = offsets if type(offsets) is np.ndarray else as_integers(offsets, "offsets")
    if given.ndim != 1:
        raise ValueError(f"offsets must have 1 dimension, got shape {given.shape}")
    if given.dtype is INT64 and include_last_offset and given.flags.num & BEHAVED == BEHAVED:
        starts = given
    else:
        if given.dtype not in INDEX_DTYPES:
            given = as_indices(given, "offsets")
        num_bags = len(given) - include_last_offset
        if num_bags < 0:
            raise ValueError("offsets must end with the number of lookups, got no offsets")
        starts = np.empty(num_bags + 1, INT64)
        if include_last_offset:
            starts[:] = given
        else:
            starts[:-1] = given
            starts[num_bags] = num_lookups
    if len(starts) == 0:
        raise ValueError("offsets must end with the number of lookups, got no offsets")
    if starts.item(0) != 0:
        got = starts[0] if len(given) else f"no offsets for {num_lookups} lookups"
        raise ValueError(f"offsets must start at 0, got {got}")
    if include_last_offset and starts.item(-1) != num_lookups:
        raise ValueError(f"offsets must end with the number of lookups, {num_lookups}, got {starts[-1]}")
    return starts


def _split(input: Any, on_invalid: str) -> tuple[Any, NDArray[np.int64], tuple[int, ...] | None]:
    """Return the values of an input that has no offsets beside it, their offsets, and its shape if it has one."""
    if isinstance(input, tuple) and len(input) == 2:
        values = as_integers(input[0])
        if values.ndim != 1:
            raise ValueError(f"values that go with offsets must have 1 dimension, got shape {values.shape}")
        return values, close_offsets(input[1], len(values), True), values.shape
    if not is_array(input) or getattr(getattr(input, "dtype", None), "kind", "") == "O":
        return *flatten("input", input, as_indices, NO_ROW if on_invalid == "pad" else None), None
    values = as_integers(input)
    if values.ndim == 1:
        raise ValueError("an input of 1 dimension needs offsets, got None")
    if values.ndim != 2:
        raise ValueError(f"input must have 1 or 2 dimensions, got shape {values.shape}")
    num_bags, size = values.shape
    return values, np.arange(num_bags + 1, dtype=INT64) * size, values.shape


def _disagreement(found: NDArray, wanted: NDArray) -> str:
    """Return where the offsets of weights and of indices part."""
    if len(found) != len(wanted):
        return f"got {len(found) - 1} bags of weights for {len(wanted) - 1}"
    bag = int(np.argmax(np.diff(found) != np.diff(wanted)))
    return f"got {found[bag + 1] - found[bag]} for {wanted[bag + 1] - wanted[bag]} in bag {bag}"


def _coefficients(weights: Any, offsets: NDArray, shape: tuple[int, ...] | None, dtype: np.dtype) -> NDArray:
    """Return `per_sample_weights` as one array that goes with the indices."""
    if type(weights) is np.ndarray and weights.dtype is dtype and weights.flags.num & BEHAVED == BEHAVED:
        array = weights
    elif shape is not None or is_array(weights) or _is_flat(weights):
        array = as_floats(weights, dtype, "per_sample_weights")
    else:
        array, lengths = flatten("per_sample_weights", weights, lambda row: as_floats(row, dtype, "per_sample_weights"))
        if not np.array_equal(lengths, offsets):
            found = _disagreement(lengths, offsets)
            raise ValueError(f"per_sample_weights must have as many weights a bag as input has indices, {found}")
    if shape is None and array.ndim == 2 and np.array_equal(offsets, np.arange(len(array) + 1) * array.shape[1]):
        array = array.reshape(-1)  # the lists are of one length
    wanted = (int(offsets[-1]),) if shape is None else shape
    if array.shape != wanted:
        raise ValueError(f"per_sample_weights must have input's shape, {wanted}, got {array.shape}")
    return array if array.ndim == 1 else array.reshape(-1)


def _is_flat(weights: Any) -> bool:
    """Return whether `weights` are numbers in a sequence."""
    return isinstance(weights, Sequence) and len(weights) > 0 and isinstance(weights[0], numbers.Real)
