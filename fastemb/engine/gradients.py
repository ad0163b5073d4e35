"""Gradients of lookups and of bags."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _indices, gpu_gradients, operations
from fastemb.engine.arrays import accumulator
from fastemb.engine.backend import kernels
from fastemb.engine.device import on_host
from fastemb.engine.grouping import Groups, group
from fastemb.engine.memory import empty_rows
from fastemb.engine.parallel import run
from fastemb.engine.ragged import Bags
from fastemb.engine.row_gradient import RowGradient, check_rows

__all__ = ["RowGradient", "check_rows", "gradient_of_bags", "gradient_of_coefficients", "gradient_of_lookup", "merge"]


def gradient_of_lookup(
    grad_output: NDArray,
    indices: NDArray,
    num_embeddings: int,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    frozen: NDArray[np.bool_] | None = None,
    *,
    device: str = "cpu",
) -> RowGradient:
    """Return the gradient of the table of which `operations.lookup` returned rows.

    Parameters
    ----------
    grad_output : array (num_lookups, embedding_dim)
        C-contiguous; of the table's dtype or its accumulator dtype. Kept until the gradient is collected.
    indices : int32 or int64 (num_lookups,)
        Those outside the table are left out.
    num_embeddings : int
    padding_idx : int, optional
        A row without a gradient.
    scale_grad_by_freq : bool, default False
        Divide the gradient of each row by the number of its lookups.
    frozen : bool (num_embeddings,), optional
        Rows without a gradient are True.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Examples
    --------
    >>> grad_output = np.array([[1.0], [2.0], [4.0]])
    >>> gradient_of_lookup(grad_output, np.array([7, 3, 7]), 10, scale_grad_by_freq=True).collect()
    array([[2. ],
           [2.5]])
    """
    if device == "cuda":
        return gpu_gradients.of_lookup(grad_output, indices, num_embeddings, padding_idx, scale_grad_by_freq, frozen)
    groups = group(indices, num_embeddings, padding_idx=padding_idx, frozen=frozen, device=device)
    coefficients = _inverse_counts(groups, grad_output.dtype) if scale_grad_by_freq else None
    return RowGradient(groups.rows, None, grad_output, groups.order, groups.starts, coefficients)


def gradient_of_bags(
    grad_output: NDArray,
    bags: Bags,
    num_embeddings: int,
    mode: str,
    scale_grad_by_freq: bool = False,
    frozen: NDArray[np.bool_] | None = None,
    winners: NDArray | None = None,
    *,
    places: NDArray[np.int32] | None = None,
    device: str = "cpu",
) -> RowGradient:
    """Return the gradient of the table of which `operations.reduce` or `operations.extremes` returned bags.

    Parameters
    ----------
    grad_output : array (num_bags, embedding_dim)
        C-contiguous; of the table's dtype or its accumulator dtype. Kept until the gradient is collected.
    bags : Bags
        That the forward has accepted.
    num_embeddings : int
    mode : {"sum", "mean", "sqrtn", "max", "min"}
    scale_grad_by_freq : bool, default False
        Divide the gradient of each row by the number of its lookups, in all bags together.
    frozen : bool (num_embeddings,), optional
        Rows without a gradient are True.
    winners : array (num_bags, embedding_dim)
        Of `operations.extremes`; for modes "max" and "min".
    places : int32 (num_bags,), optional
        The row of `grad_output` that is each bag's, as `features.as_one` has them; for modes that sum.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Examples
    --------
    >>> bags = Bags(np.array([7, 3, 7]), np.array([0, 2, 3]))
    >>> gradient = gradient_of_bags(np.array([[1.0], [4.0]]), bags, 10, "mean")
    >>> gradient.rows, gradient.collect()
    (array([3, 7]), array([[0.5],
           [4.5]]))
    """
    if device == "cuda":
        return gpu_gradients.of_bags(grad_output, bags, num_embeddings, mode, scale_grad_by_freq, frozen, winners)
    ordered = bags.coefficients is not None or mode in operations.EXTREMES
    groups, sources = _grouped(bags, num_embeddings, frozen, ordered, device)
    frequency = _inverse_counts(groups, grad_output.dtype) if scale_grad_by_freq else None
    if mode in operations.EXTREMES:
        values = _sum_winners(grad_output, winners, groups, sources, device)
        if frequency is not None:
            values *= frequency[groups.starts[:-1], None]
        return RowGradient(groups.rows, values)
    coefficients = None if bags.coefficients is None else bags.coefficients[groups.order]
    if mode != "sum":
        scales = operations.scales(bags, mode, accumulator(grad_output.dtype), device=device)[sources]
        coefficients = scales if coefficients is None else coefficients * scales
    if frequency is not None:
        coefficients = frequency if coefficients is None else coefficients * frequency
    if places is not None:
        sources = places[sources]
    return RowGradient(groups.rows, None, grad_output, sources, groups.starts, coefficients)


def gradient_of_coefficients(
    grad_output: NDArray, weight: NDArray, bags: Bags, mode: str, *, device: str = "cpu"
) -> NDArray:
    """Return the gradient of the coefficients of `operations.reduce`.

    It is ``s * g @ w`` for mode "sum", where w is the row, g the bag's row of `grad_output` and s the bag's scale; less
    ``s * g @ out`` for "mean" and less ``s * s * c * g @ out`` for "sqrtn", whose scales depend on the coefficients c.

    Parameters
    ----------
    grad_output : array (num_bags, embedding_dim)
        C-contiguous; of the table's dtype or its accumulator dtype.
    weight : array (num_embeddings, embedding_dim)
    bags : Bags
        Without coefficients, the gradient at ones.
    mode : {"sum", "mean", "sqrtn"}
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Returns
    -------
    array (num_lookups,), accumulator dtype
        In the GPU's memory, if the table is. 0 where a lookup is left out.

    Raises
    ------
    IndexError, ValueError
        As `operations.reduce`.

    Examples
    --------
    >>> bags = Bags(np.array([2, 0, 1]), np.array([0, 2, 3]), np.array([3.0, 1.0, 1.0]))
    >>> gradient_of_coefficients(np.array([[8.0], [8.0]]), np.array([[0.0], [1.0], [2.0]]), bags, "mean")
    array([ 1., -3.,  0.])
    """
    if device == "cuda":
        return gpu_gradients.of_coefficients(grad_output, weight, bags, mode)
    gradient = operations.dots(weight, bags, grad_output, device=device)
    if mode == "sum":
        return gradient
    coefficients = gradient.dtype.type(1) if bags.coefficients is None else bags.coefficients
    counts = np.diff(bags.offsets)
    scales = operations.scales(bags, mode, gradient.dtype, device=device)
    sources = np.repeat(np.arange(len(counts)), counts)
    products = np.bincount(sources, coefficients * gradient, minlength=len(counts)).astype(gradient.dtype) * scales
    if mode == "mean":
        gradient -= products[sources]
    else:
        gradient -= coefficients * (products * scales)[sources]
    gradient *= scales[sources]
    if bags.padding_idx is not None:
        gradient[bags.indices == bags.padding_idx] = 0
    return gradient


def merge(gradients: Sequence[RowGradient], *, device: str = "cpu") -> RowGradient:
    """Return the sum of several gradients of one table.

    Parameters
    ----------
    gradients : sequence of RowGradient
        At least one; of one dtype.

    Examples
    --------
    >>> first = gradient_of_lookup(np.array([[1.0], [2.0]]), np.array([3, 7]), 10)
    >>> second = gradient_of_lookup(np.array([[4.0]]), np.array([7]), 10)
    >>> merged = merge([first, second])
    >>> merged.rows, merged.collect()
    (array([3, 7]), array([[1.],
           [6.]]))
    """
    if len(gradients) == 1:
        return gradients[0]
    rows = np.concatenate([gradient.rows for gradient in gradients])
    values = np.concatenate([on_host(gradient.collect(device=device)) for gradient in gradients])
    num_embeddings = int(rows.max()) + 1 if len(rows) else 0
    return gradient_of_lookup(values, rows, num_embeddings, device=device)


def _grouped(
    bags: Bags, num_embeddings: int, frozen: NDArray[np.bool_] | None, ordered: bool, device: str
) -> tuple[Groups, NDArray]:
    """Return the lookups grouped by row, and the bag of each; unless `ordered`, the groups may tell no other order."""
    options: dict[str, Any] = {"padding_idx": bags.padding_idx, "frozen": frozen, "device": device}
    if bags.shape is not None and len(bags.shape) == 2:
        groups = group(bags.indices, num_embeddings, **options)
        return groups, groups.order if bags.shape[1] == 1 else groups.order // max(bags.shape[1], 1)
    sources = _indices.bags_of_lookups(bags.offsets)
    groups = group(bags.indices, num_embeddings, labels=None if ordered else sources, **options)
    return groups, sources[groups.order] if ordered else groups.order


def _inverse_counts(groups: Groups, dtype: np.dtype) -> NDArray:
    """Return, for each grouped lookup, one over the number of lookups of its row."""
    counts = np.diff(groups.starts)
    return np.repeat((1 / np.maximum(counts, 1)).astype(accumulator(dtype)), counts)


def _sum_winners(
    grad_output: NDArray, winners: NDArray | None, groups: Groups, sources: NDArray, device: str
) -> NDArray:
    values = empty_rows(len(groups.rows), grad_output.shape[1], accumulator(grad_output.dtype))
    arguments = (values, operations.stored(grad_output), winners, groups.order, sources, groups.starts)
    cost = 2 * len(sources) * grad_output.shape[1] * grad_output.itemsize
    run(kernels(device, "bags"), "sum_winners", arguments, len(groups.rows), cost)
    return values
