"""Gradients as kernels take them, and the launching of kernels."""

from bisect import bisect_left
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import backend, parallel
from fastemb.engine.arrays import accumulator, as_indices
from fastemb.engine.gradients import RowGradient
from fastemb.engine.operations import stored

__all__ = ["apply", "checked", "parts_of", "run_decay", "squared_norm", "summed", "without"]

BLOCK_ROWS, BLOCK_BYTES = 64, 1 << 15  # rows whose gradients are summed at a time, and what these may take


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
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(weight)):
        place = 0 if rows[0] < 0 else len(rows) - 1
        raise ValueError(f"a gradient's rows must be in [0, {len(weight)}), got {rows[place]} at position {place}")
    if not (rows[1:] > rows[:-1]).all():
        place = int(np.argmin(rows[1:] > rows[:-1])) + 1
        raise ValueError(f"a gradient's rows must be distinct and ascending, got {rows[place]} at position {place}")
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
    values = np.require(gradient.collect(device=device), accumulator(weight.dtype), ["C", "W"])
    _agree("values", values, (len(gradient.rows), weight.shape[1]))
    return values


def lookups_of(gradient: RowGradient) -> tuple[NDArray, NDArray, NDArray[np.int64], NDArray | None]:
    """Return what is to be summed.

    Raises
    ------
    ValueError
        If the gradient has neither that nor values.
    """
    if gradient.grad_output is None or gradient.sources is None or gradient.starts is None:
        raise ValueError("a gradient must have values, or grad_output, sources and starts")
    return gradient.grad_output, gradient.sources, gradient.starts, gradient.coefficients


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


def parts_of(starts: NDArray[np.int64], num_rows: int, num_parts: int, row_cost: int) -> NDArray[np.int64]:
    """Return the bounds of parts of the rows that are about as much work each: lookups to sum, and rows to update.

    Parameters
    ----------
    starts : int64 (num_rows + 1,)
        Where the lookups of each row begin.
    num_rows, num_parts : int
    row_cost : int
        What an update of a row costs, in lookups.

    Examples
    --------
    >>> parts_of(np.array([0, 90, 91, 92, 93]), 4, num_parts=2, row_cost=2)
    array([0, 1, 4])
    """

    def work(row: int) -> int:
        return int(starts[row]) + row_cost * row

    shares = [work(num_rows) * part // num_parts for part in range(1, num_parts)]
    cuts = [bisect_left(range(num_rows), share, key=work) for share in shares]
    return np.array([0, *cuts, num_rows], np.int64)


def apply(
    device: str,
    weight: NDArray,
    state: tuple[NDArray, NDArray],
    gradient: RowGradient,
    hyper: NDArray,
    rule: str,
) -> None:
    """Apply a rule to the rows of a gradient that was checked; a pending sum is made in the same pass."""
    kernels, table = backend.kernels(device, "updates"), stored(weight)
    rows, num_rows, dim = gradient.rows, len(gradient.rows), weight.shape[1]
    which = getattr(kernels, rule)
    row_bytes = dim * hyper.itemsize
    row_cost = 2 * (1 + (state[0].shape[1] == dim) + (state[1].shape[1] == dim))  # rows of weights and state, both ways
    cost = num_rows * row_bytes * row_cost
    if gradient.values is not None:
        parallel.run(kernels, "update", (table, *state, rows, gradient.values, 0, hyper, which), num_rows, cost)
        return
    grad_output, sources, starts, coefficients = lookups_of(gradient)
    cost += len(sources) * row_bytes
    num_parts = max(1, min(parallel.get_num_threads(), num_rows)) if cost >= parallel.SERIAL_BYTES else 1
    block = max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, row_bytes)))
    scratch = np.empty((num_parts, block, dim), hyper.dtype)
    bounds = parts_of(starts, num_rows, num_parts, row_cost)
    lookups = stored(np.require(grad_output, requirements="W")), sources, starts, coefficients
    arguments = (table, *state, rows, *lookups, hyper, which, bounds, scratch)
    if parallel.run(kernels, "step", arguments, num_parts, cost) != -1:
        raise ValueError(f"the lookups of a gradient do not fit its grad_output {grad_output.shape}")


def run_decay(device: str, weight: NDArray, reached: NDArray[np.float64], rows: NDArray, log_product: float) -> None:
    """Multiply distinct rows by the decay that they have missed."""
    kernels, cost = backend.kernels(device, "updates"), len(rows) * (weight.shape[1] * weight.itemsize + 64)
    parallel.run(kernels, "decay", (stored(weight), reached, rows, log_product), len(rows), cost)
