"""Gradients as kernels take them, and what is done to them before and after."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _plain, backend, gpu, gpu_grouping, grouping, parallel
from fastemb.engine.arrays import accumulator, as_indices
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.gpu_gradients import DeviceGradient
from fastemb.engine.gradients import RowGradient, check_rows
from fastemb.engine.operations import stored
from fastemb.engine.updates import lookups_of

__all__ = ["checked", "clipped", "decay_looked_up", "run_decay", "without"]

NORM_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_'s


def checked(gradient: RowGradient, weight: NDArray, device: str) -> RowGradient:
    """Return a gradient whose rows and shape are known to fit a table, and whose dtypes are the kernels'.

    Raises
    ------
    ValueError
        If its rows are not ascending inside the table, or its arrays not of the shapes that go with them.
    """
    if _plain.fits(gradient, weight) or (isinstance(gradient, DeviceGradient) and gradient.fits(weight)):
        return gradient
    rows = as_indices(gradient.rows, "a gradient's rows")
    if rows is not gradient.rows:
        gradient = replace(gradient, rows=rows)
    check_rows(rows, len(weight))
    if gradient.values is not None:
        return RowGradient(rows, summed(gradient, weight, device))
    grad_output, sources, starts, coefficients = lookups_of(gradient)
    if grad_output.dtype is not weight.dtype and accumulator(grad_output.dtype) != accumulator(weight.dtype):
        return RowGradient(rows, summed(gradient, weight, device))
    _agree("grad_output", grad_output, (len(grad_output), weight.shape[1]))
    _agree("starts", starts, (len(rows) + 1,))
    if coefficients is not None:
        _agree("coefficients", coefficients, sources.shape)
    return gradient


def summed(gradient: RowGradient, weight: NDArray, device: str) -> NDArray:
    """Return the gradients of the rows, (num_rows, embedding_dim) in the table's accumulator dtype."""
    # Numba compiles for read-only arrays apart, which takes seconds; they are copied.
    values: Any = gradient.collect(device=device)
    if not (isinstance(values, DeviceArray) and values.dtype == accumulator(weight.dtype)):
        values = np.require(values, accumulator(weight.dtype), ["C", "W"])
    _agree("values", values, (len(gradient.rows), weight.shape[1]))
    return values


def _agree(name: str, array: NDArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"a gradient's {name} must be of shape {shape}, got {array.shape}")


def without(gradient: RowGradient, frozen: NDArray[np.bool_], device: str) -> RowGradient:
    """Return a gradient without the rows that are frozen."""
    if isinstance(gradient, DeviceGradient) and gradient.groups.frozen is frozen:
        return gradient  # which were left out as it was made
    kept = ~frozen[gradient.rows]
    if kept.all():
        return gradient
    return RowGradient(gradient.rows[kept], on_host(gradient.collect(device=device))[kept])


def clipped(
    gradients: Sequence[RowGradient], tables: Sequence[NDArray], bound: float, clip_norm: float, device: str
) -> list[RowGradient]:
    """Return gradients of tables clipped to `bound` and then scaled to `clip_norm`, which needs all of them in full."""
    found = zip(gradients, tables, strict=True)
    values = [np.clip(summed(gradient, table, device), -bound, bound) for gradient, table in found]
    norm = math.sqrt(sum(map(squared_norm, values)))
    factor = min(1.0, clip_norm / (norm + NORM_EPS)) if norm == norm else norm
    scaled = [array * array.dtype.type(factor) for array in values]
    return [RowGradient(gradient.rows, array) for gradient, array in zip(gradients, scaled, strict=True)]


def squared_norm(values: NDArray) -> float:
    """Return the sum of squares, in float64 row by row."""
    return float(np.einsum("ij,ij->i", values, values).sum(dtype=np.float64))


def run_decay(device: str, weight: Any, reached: Any, change: RowGradient, product: float) -> None:
    """Multiply the rows of a gradient by the decay that they have missed; `product` is the logarithm of it all."""
    if isinstance(change, DeviceGradient):
        gpu.decay(weight, reached, change.groups.rows, product, change.groups.count)
    else:
        _decay(device, weight, reached, change.rows, product)


def decay_looked_up(
    device: str,
    weight: NDArray,
    reached: NDArray[np.float64],
    indices: NDArray,
    frozen: NDArray[np.bool_] | None,
    product: float,
) -> None:
    """Multiply rows that are looked up, frozen ones apart, by the decay that they have missed."""
    if isinstance(weight, DeviceArray):
        groups = gpu_grouping.group(indices, len(weight), frozen=frozen)
        gpu.decay(weight, reached, groups.rows, product, groups.count)
    else:
        rows = grouping.group(indices, len(weight), frozen=frozen, device=device).rows
        _decay(device, weight, reached, rows, product)


def _decay(device: str, weight: NDArray, reached: NDArray[np.float64], rows: NDArray, log_product: float) -> None:
    if isinstance(weight, DeviceArray):
        gpu.decay(weight, reached, rows, log_product)
        return
    kernels, cost = backend.kernels(device, "updates"), len(rows) * (weight.shape[1] * weight.itemsize + 64)
    parallel.run(kernels, "decay", (stored(weight), reached, rows, log_product), len(rows), cost)
