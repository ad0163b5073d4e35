"""What the functions share: indices, norms, `out` and gradients as the user wants them."""

import math
import numbers

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastemb.engine import gradients, operations
from fastemb.engine.arrays import BEHAVED, as_indices, as_integers, as_output, bits, give_back
from fastemb.engine.grouping import group
from fastemb.engine.ragged import Bags, check_indices, padding_row, settle_invalid

__all__ = ["limit_norms", "settle", "table_gradient", "table_indices", "target"]


def table_indices(
    input: ArrayLike, num_embeddings: int, padding_idx: int | None, on_invalid: str, name: str = "input"
) -> tuple[NDArray, int | None, int | None]:
    """Return indices for kernels, the row without a gradient, and the index that stands for no row, if there are."""
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, num_embeddings)
    if on_invalid == "raise":
        return as_indices(input, name), padding_idx, None
    settled, left_out = settle_invalid(as_integers(input, name), num_embeddings, padding_idx, on_invalid)
    return as_indices(settled), padding_idx, left_out if padding_idx is None else None


def limit_norms(table: NDArray, bags: Bags, max_norm: float, norm_type: float) -> None:
    """Check the arguments, and then renormalise the rows that are looked up."""
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be a number >= 0, got {max_norm}")
    if math.isnan(norm_type):
        raise ValueError("norm_type must be a number, got nan")
    check_indices(bags.indices, len(table), bags.padding_idx, bags.shape, bags.offsets)
    operations.renormalise(table, group(bags.indices, len(table)).rows, float(max_norm), float(norm_type))


def target(out: NDArray, shape: tuple[int, ...], table: NDArray, weight: ArrayLike, mode: str | None = None) -> NDArray:
    """Return what a kernel is to fill: `out` itself or, if a kernel cannot, an array that `settle` copies."""
    dtype = np.asarray(weight).dtype
    if mode in operations.SUMS and getattr(out, "dtype", None) == np.float32 and table.itemsize == 2:
        dtype = out.dtype
    array = bits(as_output(out, shape, dtype, table)).view(np.ndarray)
    return array if array.flags.num & BEHAVED == BEHAVED else np.empty(shape, array.dtype)


def settle(out: NDArray, filled: NDArray) -> NDArray:
    """Return `out`, with what a kernel made."""
    if not np.may_share_memory(out, filled):
        bits(out)[...] = filled
    return out


def table_gradient(
    gradient: gradients.RowGradient, table: NDArray, weight: ArrayLike, sparse: bool, out: NDArray | None
) -> NDArray | tuple[NDArray, NDArray]:
    """Return a table's gradient as the user wants it, in the dtype of the table."""
    if sparse:
        if out is not None:
            raise ValueError("out is for dense gradients, so sparse must be False")
        return gradient.rows, give_back(operations.rounded(gradient.collect(), table.dtype), weight)
    if out is None:
        return give_back(gradient.to_dense(len(table), table.dtype), weight)
    dense = bits(as_output(out, table.shape, np.asarray(weight).dtype, table)).view(np.ndarray)
    if gradient.grad_output is not None and np.may_share_memory(dense, gradient.grad_output):
        raise ValueError("out must not share memory with grad_output")
    if dense.flags.num & BEHAVED != BEHAVED:
        dense[...] = gradient.to_dense(len(table), table.dtype)
    else:
        dense[...] = 0
        gradient.add_to(dense)
    return out
