"""What the functions share: indices, norms, `out` and gradients as the user wants them."""

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastemb.engine import gpu, gradients, operations
from fastemb.engine.arrays import (
    BEHAVED,
    as_indices,
    as_integers,
    as_output,
    bits,
    give_back,
    output_array,
    shown_dtype,
)  # fmt: skip
from fastemb.engine.checks import check_indices
from fastemb.engine.device import DeviceArray, zeros
from fastemb.engine.foreign import in_kind, is_foreign, wrap
from fastemb.engine.memory import clear
from fastemb.engine.ragged import Bags, padding_row, settle_invalid

__all__ = [
    "check_lookups",
    "device_of",
    "limit_norms",
    "same_place",
    "settle",
    "table_gradient",
    "table_indices",
    "target",
]


def table_indices(
    input: ArrayLike, num_embeddings: int, padding_idx: int | None, on_invalid: str, name: str = "input"
) -> tuple[NDArray, int | None, int | None]:
    """Return indices for kernels, the row without a gradient, and the index that stands for no row, if there are."""
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, num_embeddings)
    if on_invalid == "raise":
        return as_indices(input, name), padding_idx, None
    given = as_indices(input, name) if is_foreign(input) else as_integers(input, name)
    settled, left_out = settle_invalid(given, num_embeddings, padding_idx, on_invalid)
    return as_indices(settled), padding_idx, left_out if padding_idx is None else None


def device_of(table: NDArray) -> str:
    """Return where the gradient of a table is made."""
    return "cuda" if isinstance(table, DeviceArray) else "cpu"


def check_lookups(table: NDArray, bags: Bags) -> None:
    """Raise an IndexError if an index is outside the table, before it is used."""
    if isinstance(table, DeviceArray):
        gpu.check_indices(bags, len(table))
    else:
        check_indices(bags.indices, len(table), bags.padding_idx, bags.shape, bags.offsets)


def limit_norms(table: NDArray, bags: Bags, max_norm: float, norm_type: float) -> None:
    """Check the arguments, and then renormalise the rows that are looked up."""
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be a number >= 0, got {max_norm}")
    if math.isnan(norm_type):
        raise ValueError("norm_type must be a number, got nan")
    check_lookups(table, bags)
    operations.limit_norms(table, bags.indices, float(max_norm), float(norm_type))


def target(out: NDArray, shape: tuple[int, ...], table: NDArray, weight: ArrayLike, mode: str | None = None) -> NDArray:
    """Return what a kernel is to fill: `out` itself or, if a kernel cannot, an array that `settle` copies."""
    if isinstance(table, DeviceArray):
        return _target_on_gpu(out, shape, table)
    array = output_array(out)
    dtype = shown_dtype(table, weight)
    if mode in operations.SUMS and getattr(array, "dtype", None) == np.float32 and table.itemsize == 2:
        dtype = array.dtype
    array = bits(as_output(array, shape, dtype, table)).view(np.ndarray)
    return array if array.flags.num & BEHAVED == BEHAVED else np.empty(shape, array.dtype)


def _target_on_gpu(out: Any, shape: tuple[int, ...], table: DeviceArray) -> Any:
    """Return what the user passed as `out`, which must be on the GPU as the table is."""
    if not is_foreign(out):
        raise TypeError(f"out must be on the GPU, as weight is, got {type(out).__name__}")
    array = wrap(out, "out")
    if array.shape != shape or array.dtype != table.dtype:
        raise ValueError(f"out must be {table.dtype} of shape {shape}, got {array.dtype} of shape {array.shape}")
    if not array.writeable or not array.is_contiguous():
        raise ValueError("out on a GPU must be writeable and in C order")
    return array


def same_place(table: NDArray, indices: NDArray, name: str = "input") -> None:
    """Raise a TypeError if indices are on a GPU and the table is not."""
    if isinstance(indices, DeviceArray) and not isinstance(table, DeviceArray):
        raise TypeError(f"{name} is on a GPU, and weight is not: copy one of them to where the other is")


def settle(out: NDArray, filled: NDArray) -> NDArray:
    """Return `out`, with what a kernel made."""
    if isinstance(filled, DeviceArray):
        return out
    array = output_array(out)
    if not np.may_share_memory(array, filled):
        bits(array)[...] = filled
    return out


def table_gradient(
    gradient: gradients.RowGradient, table: NDArray, weight: ArrayLike, sparse: bool, out: NDArray | None
) -> NDArray | tuple[NDArray, NDArray]:
    """Return a table's gradient as the user wants it, in the dtype of the table."""
    if isinstance(table, DeviceArray):
        return _gradient_on_gpu(gradient, table, weight, sparse, out)
    if sparse:
        if out is not None:
            raise ValueError("out is for dense gradients, so sparse must be False")
        values = operations.rounded(gradient.collect(), table.dtype)
        return in_kind(gradient.rows, weight), give_back(values, weight)
    if out is None:
        return give_back(gradient.to_dense(len(table), table.dtype), weight)
    dense = bits(as_output(out, table.shape, shown_dtype(table, weight), table)).view(np.ndarray)
    if gradient.grad_output is not None and np.may_share_memory(dense, gradient.grad_output):
        raise ValueError("out must not share memory with grad_output")
    if dense.flags.num & BEHAVED != BEHAVED:
        dense[...] = gradient.to_dense(len(table), table.dtype)
    else:
        clear(dense)
        gradient.add_to(dense)
    return out


def _gradient_on_gpu(gradient: Any, table: DeviceArray, weight: Any, sparse: bool, out: Any) -> Any:
    """Return a gradient as `table_gradient` does, of a table on a GPU and in its package's arrays."""
    if out is not None:
        raise ValueError("out of a gradient is not there for a table on a GPU")
    if not sparse:
        dense: Any = zeros(table.shape, table.dtype)
        gradient.add_to(dense)
        return give_back(dense, weight)
    rows, values = gradient.collect_as(table.dtype)
    return in_kind(rows, weight), give_back(values, weight)
