"""The gradient of a table in a GPU's memory, whose rows only the GPU knows until the host asks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import gpu, operations
from fastemb.engine.arrays import INT32, accumulator
from fastemb.engine.backend import kernels
from fastemb.engine.device import DeviceArray, empty, on_host, there, upload, zeros
from fastemb.engine.gpu_grouping import DeviceGroups, group
from fastemb.engine.launch import run, width_of
from fastemb.engine.ragged import Bags, padding_number
from fastemb.engine.row_gradient import RowGradient

__all__ = ["DeviceGradient", "of_bags", "of_coefficients", "of_lookup"]

LANES_OF_BAG = 8  # threads that tell a bag's lookups which it is


@dataclass(slots=True)
class _Won:
    """Which lookups of bags that were compared get the gradient: see `kernels.reference.bags.sum_winners`."""

    grad_output: Any
    winners: DeviceArray
    sources: DeviceArray


class DeviceGradient(RowGradient):
    """The gradient of rows that the GPU has found: `rows` and `starts` are there once they are asked for, which waits.

    `apply_to` and `add_to` wait for nothing.

    Parameters
    ----------
    groups : DeviceGroups
    grad_output, sources, coefficients
        What is to be summed, or None.
    made : array (num_lookups, embedding_dim), optional
        Begins with the gradient of each row.
    """

    __slots__ = ("groups", "made")

    def __init__(
        self, groups: DeviceGroups, grad_output: Any, sources: Any = None, coefficients: Any = None, made: Any = None
    ) -> None:
        self.groups, self.made = groups, made
        self.values, self.grad_output, self.sources, self.coefficients = None, grad_output, sources, coefficients

    def __getattr__(self, name: str) -> Any:
        """Return what the host does not know yet: Python calls this for a slot that is not set."""
        if name not in ("rows", "starts"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        num_rows = int(self.groups.count.to_host()[0])
        self.rows = self.groups.rows.rows(slice(0, num_rows)).to_host()
        self.starts: Any = self.groups.starts.rows(slice(0, num_rows + 1))
        return getattr(self, name)

    @property
    def _given(self) -> Any:
        return self.grad_output if self.made is None else self.made

    def fits(self, weight: Any) -> bool:
        """Return whether the gradient can be applied to a table as it is; the rows are known to be in the table."""
        same = isinstance(weight, DeviceArray) and self.dtype == accumulator(weight.dtype)
        return same and self.groups.num_embeddings <= len(weight) and self._given.shape[1] == weight.shape[1]

    def collect(self, *, device: str = "cpu") -> Any:
        """Return the gradient of each of `rows`, (num_rows, embedding_dim), in the accumulator dtype; keep it."""
        if self.values is None:
            _, self.values = self.collect_as(self.dtype)
        return self.values

    def collect_as(self, dtype: np.dtype) -> tuple[DeviceArray, Any]:
        """Return the rows, as the GPU has them, and their gradients in a dtype, rounded to nearest."""
        num_rows = len(self.rows)
        rows = self.groups.rows.rows(slice(0, num_rows))
        if self.made is not None:
            values = self.made.rows(slice(0, num_rows))
            return rows, values if values.dtype == dtype else upload(operations.rounded(on_host(values), dtype))
        grad, columns = gpu.stored(self.grad_output), self._given.shape[1]
        values = empty((num_rows, columns), dtype)
        target, pieces = gpu.stored(values), self._pieces()
        arguments = target, grad, self.sources, self.groups.starts, self._factors(), pieces
        width = width_of(target, grad, pieces, most=gpu.MOST_OF_UPDATES)
        run("groups", "sum_groups", arguments, num_rows, columns=columns, width=width)
        return rows, values

    def to_dense(self, num_embeddings: int, dtype: np.dtype | None = None, *, device: str = "cpu") -> NDArray:
        """Return the gradient of the whole table in the host's memory: see `RowGradient.to_dense`."""
        dense: Any = zeros((num_embeddings, self._given.shape[1]), self.dtype if dtype is None else dtype)
        self.add_to(dense)
        return dense.to_host()

    def add_to(self, weight: Any, factor: float = 1.0, *, device: str = "cpu") -> None:
        """Add the gradient, times a factor, to a table on either side: see `RowGradient.add_to`."""
        if self.fits(weight):
            no_state = np.zeros((0, 1), self.dtype)
            self.apply_to(weight, (no_state, no_state), np.array([0, 0, 0, factor], self.dtype), "ADD")
            return
        values = self.collect()
        RowGradient(self.rows, values if isinstance(weight, DeviceArray) else on_host(values)).add_to(weight, factor)

    def apply_to(self, weight: DeviceArray, state: tuple[Any, Any], hyper: NDArray, rule: str) -> None:
        """Apply a rule to a table, which the gradient fits."""
        groups, values = self.groups, self.made if self.values is None else self.values
        if values is not None:
            gpu.update(weight, state, groups.rows, values, hyper, rule, groups.count)
            return
        lookups = self.grad_output, self.sources, groups.starts, self.coefficients
        gpu.step(weight, state, groups.rows, lookups, hyper, rule, groups.count, self._pieces())

    def _factors(self) -> Any:
        return np.empty(0, self.dtype) if self.coefficients is None else self.coefficients

    def _pieces(self) -> DeviceArray:
        """Return the sums of the pieces of what is to be summed."""
        grad, columns = gpu.stored(self.grad_output), self._given.shape[1]
        sums = _empty_pieces(self.groups, columns, self.dtype)
        arguments = sums, grad, self.sources, self._factors(), self.groups.keys, self.groups.num_embeddings
        run("groups", "sum_pieces", arguments, len(sums), columns=columns, width=width_of(sums, grad))
        return sums


def _empty_pieces(groups: DeviceGroups, columns: int, dtype: np.dtype) -> DeviceArray:
    return empty((len(groups.keys) // kernels("cuda", "pieces").PIECE, columns), dtype)


def of_lookup(
    grad_output: Any,
    indices: Any,
    num_embeddings: int,
    padding_idx: int | None,
    scale_grad_by_freq: bool,
    frozen: NDArray[np.bool_] | None,
) -> DeviceGradient:
    """Return the gradient of a table of which rows were looked up: see `gradients.gradient_of_lookup`."""
    groups, grad = group(indices, num_embeddings, padding_idx=padding_idx, frozen=frozen), there(grad_output)
    coefficients = None
    if scale_grad_by_freq:
        coefficients = _weighed(groups, groups.order, accumulator(grad.dtype), None, None, True)
    return DeviceGradient(groups, grad, groups.order, coefficients)


def of_bags(
    grad_output: Any,
    bags: Bags,
    num_embeddings: int,
    mode: str,
    scale_grad_by_freq: bool,
    frozen: NDArray[np.bool_] | None,
    winners: Any,
) -> DeviceGradient:
    """Return the gradient of a table of which bags were reduced: see `gradients.gradient_of_bags`."""
    given = _there(bags)
    grad, dtype = there(grad_output), accumulator(grad_output.dtype)
    labels = _bags_of_lookups(given)
    ordered = given.coefficients is not None or winners is not None
    groups = group(
        given.indices,
        num_embeddings,
        padding_idx=bags.padding_idx,
        frozen=frozen,
        labels=None if ordered else labels,
    )
    sources = groups.order
    if ordered:
        sources = empty((len(labels),), INT32)
        run("groups", "pick", (sources, labels, groups.order), len(sources))
    if winners is not None:
        return _of_winners(groups, _Won(grad, winners, sources), scale_grad_by_freq)
    scales = None if mode == "sum" else gpu.scales(given, operations.SUMS[mode], dtype)
    coefficients: Any = given.coefficients
    if not (coefficients is None and scales is None and not scale_grad_by_freq):
        coefficients = _weighed(groups, sources, dtype, coefficients, scales, scale_grad_by_freq)
    return DeviceGradient(groups, grad, sources, coefficients)


def of_coefficients(grad_output: Any, weight: Any, bags: Bags, mode: str) -> Any:
    """Return the gradient of the coefficients of bags: see `gradients.gradient_of_coefficients`."""
    given = _there(bags)
    products = gpu.dots(weight, given, there(grad_output))
    if mode != "sum":
        code = operations.SUMS[mode]
        scales, none = gpu.scales(given, code, products.dtype), np.empty(0, products.dtype)
        factors = none if given.coefficients is None else given.coefficients
        padding = padding_number(bags.padding_idx)
        arguments = products, given.indices, given.offsets, factors, scales, padding, code
        run("groups", "center", arguments, bags.num_bags, columns=LANES_OF_BAG)
    return products


def _there(bags: Bags) -> Bags:
    """Return bags whose arrays are the GPU's."""
    indices: Any = there(bags.indices)
    offsets: Any = there(bags.offsets)
    coefficients: Any = None if bags.coefficients is None else there(bags.coefficients)
    return Bags(indices, offsets, coefficients, bags.padding_idx, bags.shape)


def _bags_of_lookups(bags: Bags) -> DeviceArray:
    """Return the bag of each lookup; 0 of those in no bag, which a kernel has found faulty."""
    labels = zeros((len(bags.indices),), INT32)
    run("groups", "label", (labels, bags.offsets), bags.num_bags, columns=LANES_OF_BAG)
    return labels


def _weighed(
    groups: DeviceGroups, sources: DeviceArray, dtype: np.dtype, coefficients: Any, scales: Any, by_freq: bool
) -> DeviceArray:
    """Return what the gradient of each lookup is multiplied by."""
    made, none = empty((len(groups.keys),), dtype), np.empty(0, dtype)
    factors = none if coefficients is None else coefficients, none if scales is None else scales
    counted = groups.count if by_freq else np.empty(0, np.int64)
    arguments = made, factors[0], groups.order, factors[1], sources, groups.starts, counted
    run("groups", "weigh", arguments, len(made))
    return made


def _of_winners(groups: DeviceGroups, won: _Won, by_freq: bool) -> DeviceGradient:
    """Return the gradient of bags that were compared, which is summed at once."""
    grad, columns = gpu.stored(won.grad_output), won.winners.shape[1]
    dtype = accumulator(won.grad_output.dtype)
    sums, made = _empty_pieces(groups, columns, dtype), empty((len(groups.keys), columns), dtype)
    taken = grad, won.winners, groups.order, won.sources
    told = groups.keys, groups.num_embeddings
    run("groups", "sum_pieces_won", (sums, *taken, *told), len(sums), columns=columns)
    summed = made, *taken, groups.starts
    run("bags", "sum_winners", summed, len(made), end=groups.count, then=(sums,), columns=columns)
    if by_freq:
        run("groups", "divide", (made, groups.starts), len(made), end=groups.count, columns=columns)
    return DeviceGradient(groups, None, made=made)
