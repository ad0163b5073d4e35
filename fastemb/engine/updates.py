"""Rules applied to the rows of a table, summed gradients or not: the launching of the kernels of `updates`."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import backend, parallel
from fastemb.engine.arrays import writable
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.memory import empty
from fastemb.engine.operations import stored

if TYPE_CHECKING:
    from fastemb.engine.row_gradient import RowGradient

__all__ = ["add_rows", "apply", "lookups_of", "parts_of"]

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
    kernels, table = backend.kernels(device, "updates"), stored(weight)
    rows, num_rows, dim = gradient.rows, len(gradient.rows), weight.shape[1]
    which = getattr(kernels, rule)
    row_bytes = dim * hyper.itemsize
    row_cost = 2 * (1 + (state[0].shape[1] == dim) + (state[1].shape[1] == dim))  # rows of weights and state, both ways
    cost = num_rows * row_bytes * row_cost
    if gradient.values is not None:
        parallel.run(
            kernels, "update", (table, *state, rows, on_host(gradient.values), 0, hyper, which), num_rows, cost
        )
        return
    grad_output, sources, starts, coefficients = lookups_of(gradient)
    cost += len(sources) * row_bytes
    num_parts = max(1, min(parallel.get_num_threads(), num_rows)) if cost >= parallel.SERIAL_BYTES else 1
    block = max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, row_bytes)))
    scratch = empty((num_parts, block, dim), hyper.dtype)
    bounds = parts_of(starts, num_rows, num_parts, row_cost)
    lookups = stored(writable(on_host(grad_output))), sources, starts, coefficients
    arguments = (table, *state, rows, *lookups, hyper, which, bounds, scratch)
    if parallel.run(kernels, "step", arguments, num_parts, cost) != -1:
        raise ValueError(f"the lookups of a gradient do not fit its grad_output {grad_output.shape}")


def add_rows(weight: NDArray, rows: NDArray, values: NDArray, factor: float) -> None:
    """Add rows to rows of a table of float64 or float32, in order; `rows` were checked, and -1 is left out.

    Each thread owns some rows of the table, looks at all of `rows` and takes its own: that takes less time than to
    group them.
    """
    cost = 2 * values.nbytes
    num_parts = parallel.get_num_threads() if cost >= parallel.SERIAL_BYTES else 1
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
    if num_parts == 1:
        return np.array((0, num_rows), np.int64)

    def work(row: int) -> int:
        return int(starts[row]) + row_cost * row

    shares = [work(num_rows) * part // num_parts for part in range(1, num_parts)]
    cuts = [bisect_left(range(num_rows), share, key=work) for share in shares]
    return np.array([0, *cuts, num_rows], np.int64)
