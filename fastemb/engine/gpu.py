"""The operations of `operations` and `updates` on tables in a GPU's memory: validated arrays in, arrays of the GPU out.

Indices, offsets, coefficients and gradients may lie on either side; what is NumPy's is copied to the GPU for the call.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import FLOAT16, INT32, INT64, accumulator
from fastemb.engine.checks import first_fault, index_error
from fastemb.engine.device import DeviceArray, empty, on_host, upload
from fastemb.engine.launch import run, width_of, width_of_codes
from fastemb.engine.ragged import Bags, padding_number

__all__ = [
    "check_indices",
    "coded",
    "decay",
    "dots",
    "extremes",
    "lookup",
    "reduce",
    "renormalise",
    "rows_of",
    "scales",
    "step",
    "update",
    "write_rows",
]

MOST_OF_UPDATES = 4  # columns that a thread updates at a time


def stored(array: Any) -> Any:
    """Return float16 as kernels take it: its bits, int16."""
    return array.view(np.int16) if array.dtype == FLOAT16 else array


def bags_on_host(bags: Bags) -> Bags:
    """Return bags whose arrays are NumPy's."""
    arrays = bags.indices, bags.offsets, bags.coefficients
    if not any(isinstance(array, DeviceArray) for array in arrays):
        return bags
    indices, offsets, coefficients = map(on_host, arrays)
    return Bags(indices, offsets, coefficients, bags.padding_idx, bags.shape)


def lookup(
    weight: DeviceArray,
    indices: Any,
    padding_idx: int | None,
    out: DeviceArray | None,
    shape: tuple[int, ...] | None,
) -> DeviceArray:
    """Return ``weight[indices]``: see `operations.lookup`."""
    made = empty((len(indices), weight.shape[1]), weight.dtype) if out is None else out
    target, table = stored(made), stored(weight)

    def error(place: int) -> Exception:
        host = on_host(indices)
        return index_error(place, Bags(host, host, shape=shape or host.shape), len(weight))

    arguments = (target, table, indices, padding_number(padding_idx))
    columns = weight.shape[1]
    run("lookup", "lookup", arguments, len(indices), error, columns=columns, width=width_of(target, table))
    return made


def reduce(weight: DeviceArray, bags: Bags, mode: int, out: DeviceArray | None) -> DeviceArray:
    """Return the reduced rows of each bag: see `operations.reduce`."""
    made = empty((bags.num_bags, weight.shape[1]), weight.dtype) if out is None else out
    target, table = stored(made), stored(weight)
    arguments = (target, table, *_bags(bags, weight.dtype), padding_number(bags.padding_idx), mode)
    _run_bags("reduce", arguments, bags, weight, width_of(target, table))
    return made


def extremes(weight: DeviceArray, bags: Bags, sign: float, out: DeviceArray | None) -> tuple[DeviceArray, DeviceArray]:
    """Return the extreme values of each bag, and which lookups won: see `operations.extremes`."""
    shape = bags.num_bags, weight.shape[1]
    made, winners = empty(shape, weight.dtype) if out is None else out, empty(shape, INT32)
    places = bags.indices, bags.offsets
    arguments = (stored(made), winners, stored(weight), *places, padding_number(bags.padding_idx), float(sign))
    _run_bags("extremes", arguments, bags, weight, 1)
    return made, winners


def dots(weight: DeviceArray, bags: Bags, grad_output: Any) -> DeviceArray:
    """Return the gradient of the coefficients of a sum: see `operations.dots`."""
    made = empty((len(bags.indices),), accumulator(weight.dtype))
    grad, table = stored(grad_output), stored(weight)
    arguments = (made, grad, table, bags.indices, bags.offsets, padding_number(bags.padding_idx))
    _run_bags("dots", arguments, bags, weight, width_of(grad, table))
    return made


def scales(bags: Bags, mode: int, dtype: np.dtype) -> DeviceArray:
    """Return what the sum of each bag is multiplied by: see `operations.scales`."""
    made = empty((bags.num_bags,), dtype)
    none = np.empty(0, dtype)
    given = bags.indices, bags.offsets, none if bags.coefficients is None else bags.coefficients
    run("bags", "scales", (made, *given, padding_number(bags.padding_idx), mode), bags.num_bags)
    return made


def check_indices(bags: Bags, num_embeddings: int) -> None:
    """Raise an IndexError, or put that off, if an index is neither in the table nor left out."""

    def error(place: int) -> Exception:
        return index_error(place, bags_on_host(bags), num_embeddings)

    unused = empty((len(bags.indices),), INT64)
    arguments = (unused, bags.indices, 0, num_embeddings, padding_number(bags.padding_idx))
    run("lookup", "shift", arguments, len(bags.indices), error)


def _bags(bags: Bags, dtype: np.dtype) -> tuple[Any, Any, Any]:
    """Return the indices, offsets and coefficients of bags as kernels take them: none of these for ones."""
    none = np.empty(0, accumulator(dtype))
    return bags.indices, bags.offsets, none if bags.coefficients is None else bags.coefficients


def _run_bags(name: str, arguments: tuple, bags: Bags, weight: DeviceArray, width: int) -> None:
    run("bags", name, arguments, bags.num_bags, _error_of(bags, len(weight)), columns=weight.shape[1], width=width)


def _error_of(bags: Bags, num_embeddings: int) -> Callable[[int], Exception]:
    """Return what makes the error of a bag in which something is wrong."""

    def error(bag: int) -> Exception:
        host = bags_on_host(bags)
        return index_error(first_fault(host, bag, num_embeddings), host, num_embeddings)

    return error


def coded(
    name: str, table: DeviceArray, halves: tuple, dim: int, bags: Bags, arguments: tuple, size: int
) -> DeviceArray:
    """Run a kernel of `quantized`, and return the float32 that it has made.

    Parameters
    ----------
    name : {"dequantize", "lookup", "reduce", "extremes"}
    table : uint8 (num_embeddings, bytes of a row)
    halves : {BYTES, HALVES}
    dim : int
        Columns of values.
    bags : Bags
        What an error is told of: for "lookup", each index is a bag of its own.
    arguments : tuple
        The kernel's, after `halves`.
    size : int
        Rows of the result.
    """
    made = empty((size, dim), np.float32)

    def error(item: int) -> Exception:
        host = bags_on_host(bags)
        status = item if name == "lookup" else first_fault(host, item, len(table))
        return index_error(status, host, len(table))

    width = width_of_codes(table, dim, len(halves))
    run("quantized", name, (made, table, halves, *arguments), size, error, columns=dim, width=width)
    return made


def renormalise(weight: DeviceArray, rows: Any, max_norm: float, norm_type: float, end: Any = None) -> None:
    """Limit the norm of rows: see `operations.renormalise`; `end` is as `launch.run` takes it."""
    arguments = (stored(weight), rows, float(max_norm), float(norm_type))
    run("renorm", "renormalise", arguments, len(rows), end=end, columns=weight.shape[1])


def update(
    weight: DeviceArray,
    state: tuple[Any, Any],
    rows: Any,
    values: Any,
    hyper: NDArray,
    rule: str,
    end: DeviceArray | None = None,
) -> None:
    """Apply a rule with gradients that are summed: see `kernels.reference.updates.update`."""
    table = stored(weight)
    width = width_of(table, values, *_rows_of_state(state, weight), most=MOST_OF_UPDATES)
    arguments = (table, *state, rows, values, 0, hyper, _rule(rule))
    run("updates", "update", arguments, len(rows), end=end, columns=weight.shape[1], width=width)


def step(
    weight: DeviceArray,
    state: tuple[Any, Any],
    rows: Any,
    lookups: tuple[Any, Any, Any, Any],
    hyper: NDArray,
    rule: str,
    end: DeviceArray | None = None,
    pieces: DeviceArray | None = None,
) -> None:
    """Apply a rule with gradients that are yet to be summed: see `kernels.reference.updates.step`.

    With `end` and `pieces` the lookups are those of `gpu_grouping`, which fit.
    """
    grad_output, sources, starts, coefficients = lookups
    table, grad = stored(weight), stored(grad_output)
    factors = np.empty(0, hyper.dtype) if coefficients is None else coefficients
    sums = np.empty((0, weight.shape[1]), hyper.dtype) if pieces is None else pieces
    width = width_of(table, grad, *_rows_of_state(state, weight), most=MOST_OF_UPDATES)
    arguments = (table, *state, rows, grad, sources, starts, factors, hyper, _rule(rule), np.empty(0, INT64), sums)

    def error(row: int) -> Exception:
        return ValueError(f"the lookups of a gradient do not fit its grad_output {grad_output.shape}")

    told = error if end is None else None
    run("updates", "step", arguments, len(rows), told, end=end, columns=weight.shape[1], width=width)


def _rows_of_state(state: tuple[Any, Any], weight: DeviceArray) -> list[Any]:
    """Return the arrays of state that have a row like the table's."""
    return [array for array in state if array.shape == weight.shape]


def _rule(name: str) -> tuple[int, ...]:
    from fastemb.engine.backend import kernels

    return getattr(kernels("reference", "updates"), name)


def decay(weight: DeviceArray, reached: DeviceArray, rows: Any, log_product: float, end: Any = None) -> None:
    """Catch up on weight decay: see `kernels.reference.updates.decay`; `end` is as `launch.run` takes it."""
    arguments = (stored(weight), reached, rows, float(log_product))
    run("updates", "decay", arguments, len(rows), end=end, columns=weight.shape[1])


def rows_of(weight: DeviceArray, rows: NDArray) -> NDArray:
    """Return rows of a table, which are known to be in it, in the host's memory."""
    return lookup(weight, np.asarray(rows), None, None, None).to_host()


def write_rows(weight: DeviceArray, rows: NDArray, values: NDArray) -> None:
    """Write rows of a table: distinct ones that are known to be in it."""
    given = upload(np.ascontiguousarray(values))
    table, source = stored(weight), stored(given)
    run("rows", "assign", (table, rows, source), len(rows), columns=weight.shape[1], width=width_of(table, source))
