"""Rules applied to the rows of a table, summed gradients or not: the launching of the kernels of `updates`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _indices, _plain, backend, parallel
from fastemb.engine.arrays import writable
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.memory import empty
from fastemb.engine.operations import stored

if TYPE_CHECKING:
    from fastemb.engine.row_gradient import RowGradient

__all__ = ["add_rows", "apply", "lookups_of"]

BLOCK_ROWS, BLOCK_BYTES = 64, 1 << 15  # rows whose gradients are summed at a time, and what these may take
PLACES = 1024  # lookups among which a thread finds its own at a time


def apply(
    device: str,
    weight: NDArray,
    state: tuple[NDArray, NDArray],
    gradient: RowGradient,
    hyper: NDArray,
    rule: str,
) -> None:
    """Apply a rule to the rows of a gradient that was checked; a pending sum is made in the same pass."""
    if isinstance(weight, DeviceArray):
        gradient.apply_to(weight, state, hyper, rule)
        return
    kernels = backend.kernels(device, "updates")
    which = getattr(kernels, rule)
    if device == "cpu" and kernels.step.overloads:  # what compiles is announced elsewhere
        threads = parallel.get_num_threads()
        status = _plain.step(parallel.run, kernels, weight, *state, gradient, hyper, which, threads)
        if status is not None:
            _check_status(status, gradient)
            return
    table = stored(weight)
    rows, num_rows, dim = gradient.rows, len(gradient.rows), weight.shape[1]
    row_bytes = dim * hyper.itemsize
    row_cost = 2 * (1 + (state[0].shape[1] == dim) + (state[1].shape[1] == dim))  # rows of weights and state, both ways
    cost, held = num_rows * row_bytes * row_cost, weight.nbytes + state[0].nbytes + state[1].nbytes
    if gradient.values is not None:
        arguments: tuple = (table, *state, rows, on_host(gradient.values), 0, hyper, which)
        parallel.run(kernels, "update", arguments, num_rows, cost if _plain.pays(cost, held) else 0)
        return
    grad_output, sources, starts, coefficients = lookups_of(gradient)
    cost += len(sources) * row_bytes
    if _plain.pays(cost, held):
        num_parts = max(1, min(parallel.get_num_threads(), num_rows))
        bounds = _indices.parts_of(np.ascontiguousarray(starts, np.int64), num_rows, num_parts, row_cost)
    else:
        num_parts, bounds = 1, np.array((0, num_rows), np.int64)
    block = max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, row_bytes)))
    scratch = empty((num_parts, block, dim), hyper.dtype)
    lookups = _contiguous(stored(writable(on_host(grad_output)))), sources, starts, coefficients
    arguments = (table, *state, rows, *lookups, hyper, which, bounds, scratch)
    _check_status(parallel.run(kernels, "step", arguments, num_parts, cost), gradient)


def _contiguous(rows: NDArray) -> NDArray:
    """Return rows that overlap, as `features.as_one` returns them, as rows of as many columns as they lie apart.

    Numba would compile the kernels once more for what is not contiguous; they read the table's columns.
    """
    row_bytes, column_bytes = rows.strides
    if rows.flags.c_contiguous or row_bytes <= 0 or column_bytes != rows.itemsize:
        return np.ascontiguousarray(rows)
    return np.lib.stride_tricks.as_strided(rows, (len(rows), row_bytes // rows.itemsize))


def _check_status(status: int, gradient: RowGradient) -> None:
    if status != -1:
        assert gradient.grad_output is not None
        raise ValueError(f"the lookups of a gradient do not fit its grad_output {gradient.grad_output.shape}")


def add_rows(weight: NDArray, rows: NDArray, values: NDArray, factor: float) -> None:
    """Add rows to rows of a table of float64 or float32, in order; `rows` were checked, and -1 is left out.

    Each thread owns some rows of the table, looks at all of `rows` and takes its own: that takes less time than to
    group them.
    """
    cost = 2 * values.nbytes
    num_parts = parallel.get_num_threads() if _plain.pays(cost, weight.nbytes) else 1
    chosen = np.empty((num_parts, min(PLACES, len(rows) + 1)), np.int64)
    arguments = weight, writable(rows), writable(values), np.array([factor], weight.dtype), chosen
    parallel.run(backend.kernels("cpu", "updates"), "scatter_add", arguments, num_parts, cost)


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
