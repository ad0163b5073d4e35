"""Gradients as kernels take them, and what is done to them before and after."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import backend, gpu, parallel
from fastemb.engine.arrays import accumulator, as_indices
from fastemb.engine.device import DeviceArray, upload
from fastemb.engine.gradients import RowGradient, check_rows
from fastemb.engine.operations import stored
from fastemb.engine.updates import lookups_of

__all__ = ["checked", "run_decay", "squared_norm", "summed", "without"]


def checked(gradient: RowGradient, weight: NDArray, device: str) -> RowGradient:
    """Return a gradient whose rows and shape are known to fit a table, and whose dtypes are the kernels'.

    Raises
    ------
    ValueError
        If its rows are not ascending inside the table, or its arrays not of the shapes that go with them.
    """
    rows = as_indices(gradient.rows, "a gradient's rows")
    if rows is not gradient.rows:
        gradient = replace(gradient, rows=rows)
    check_rows(rows, len(weight))
    if gradient.values is not None:
        return RowGradient(rows, summed(gradient, weight, device))
    grad_output, sources, starts, coefficients = lookups_of(gradient)
    if accumulator(grad_output.dtype) != accumulator(weight.dtype):
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
    kept = ~frozen[gradient.rows]
    return gradient if kept.all() else RowGradient(gradient.rows[kept], gradient.collect(device=device)[kept])


def squared_norm(values: NDArray) -> float:
    """Return the sum of squares, in float64 row by row."""
    return float(np.einsum("ij,ij->i", values, values).sum(dtype=np.float64))


def run_decay(device: str, weight: NDArray, reached: NDArray[np.float64], rows: NDArray, log_product: float) -> None:
    """Multiply distinct rows by the decay that they have missed."""
    if isinstance(weight, DeviceArray):
        there = upload(reached)
        gpu.decay(weight, there, rows, log_product)
        reached[:] = there.to_host()
        return
    kernels, cost = backend.kernels(device, "updates"), len(rows) * (weight.shape[1] * weight.itemsize + 64)
    parallel.run(kernels, "decay", (stored(weight), reached, rows, log_product), len(rows), cost)
