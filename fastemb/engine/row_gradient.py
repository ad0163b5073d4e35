"""The gradient of a table, as the rows that were looked up: summed when asked for, or in the optimizer's kernel."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _indices, gpu, operations, updates
from fastemb.engine.arrays import accumulator
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.device import empty as empty_on_gpu
from fastemb.engine.memory import empty_rows, zeroed
from fastemb.engine.ragged import Bags

__all__ = ["RowGradient", "check_rows"]


@dataclass(slots=True)
class RowGradient:
    """The gradient of a table's rows: their sums, or what is to be summed.

    Either `values` is there, or the other arrays are: the gradient of ``rows[r]`` is then the sum of
    ``coefficients[n] * grad_output[sources[n]]`` for n in ``[starts[r], starts[r + 1])``.

    Parameters
    ----------
    rows : int32 or int64 (num_rows,)
        Distinct, ascending. All others have no gradient.
    values : array (num_rows, embedding_dim), optional
        In the accumulator dtype of the table.
    grad_output : array (num_bags, embedding_dim), optional
        Of the table's dtype or its accumulator dtype.
    sources : int32 or int64 (num_grouped,), optional
    starts : int64 (num_rows + 1,), optional
    coefficients : array (num_grouped,), optional
        In the accumulator dtype; None for ones.
    """

    rows: NDArray
    values: NDArray | None = None
    grad_output: NDArray | None = None
    sources: NDArray | None = None
    starts: NDArray[np.int64] | None = None
    coefficients: NDArray | None = None

    def collect(self, *, device: str = "cpu") -> NDArray:
        """Return the gradient of each of `rows`, (num_rows, embedding_dim), in the accumulator dtype; keep it.

        Examples
        --------
        >>> from fastemb.engine.gradients import gradient_of_lookup
        >>> gradient = gradient_of_lookup(np.array([[1.0], [2.0], [4.0]]), np.array([7, 3, 7]), 10)
        >>> gradient.rows, gradient.collect()
        (array([3, 7]), array([[2.],
               [5.]]))
        """
        grad_output, sources, starts, coefficients = self.grad_output, self.sources, self.starts, self.coefficients
        if self.values is None:  # read last: a thread that has summed sets it before it lets go of the others
            assert grad_output is not None and sources is not None and starts is not None
            is_there = isinstance(grad_output, DeviceArray)
            dim, dtype = grad_output.shape[1], accumulator(grad_output.dtype)
            values: Any = (
                empty_on_gpu((len(self.rows), dim), dtype) if is_there else empty_rows(len(self.rows), dim, dtype)
            )
            bags = Bags(sources, starts, coefficients)
            self.values = operations.reduce(grad_output, bags, "sum", out=values, device=device)
            self.grad_output = self.sources = self.starts = self.coefficients = None
        return self.values

    def to_dense(self, num_embeddings: int, dtype: np.dtype | None = None, *, device: str = "cpu") -> NDArray:
        """Return the gradient of the whole table, with zeros where nothing was looked up.

        Parameters
        ----------
        num_embeddings : int
            Rows of the table.
        dtype : numpy.dtype, optional
            Of the table; default the accumulator dtype.

        Examples
        --------
        >>> from fastemb.engine.gradients import gradient_of_lookup
        >>> gradient_of_lookup(np.array([[1.0], [4.0]]), np.array([1, 1]), 3).to_dense(3)
        array([[0.],
               [5.],
               [0.]])
        """
        shape = num_embeddings, self._given.shape[1]
        dense = zeroed(shape, self.dtype if dtype is None else dtype, device)
        self.add_to(dense, device=device)
        return dense

    def add_to(self, weight: NDArray, factor: float = 1.0, *, device: str = "cpu") -> None:
        """Add the gradient, times a factor, to a table, in place and in the accumulator dtype.

        Parameters
        ----------
        weight : array (num_embeddings, embedding_dim)
            Of the gradient's accumulator dtype, or a short dtype if that is float32.
        factor : float, default 1

        Raises
        ------
        ValueError
            If a row is outside the table, or the gradient has other columns.

        Examples
        --------
        >>> from fastemb.engine.gradients import gradient_of_lookup
        >>> weight = np.ones((3, 1))
        >>> gradient_of_lookup(np.array([[1.0], [4.0]]), np.array([1, 1]), 3).add_to(weight, -0.1)
        >>> weight
        array([[1. ],
               [0.5],
               [1. ]])
        """
        check_rows(self.rows, len(weight))
        columns, sums = self._given.shape[1], len(self.rows if self.values is None else self.values)
        if columns != weight.shape[1] or sums != len(self.rows):
            wanted = len(self.rows), weight.shape[1]
            raise ValueError(f"a gradient's values must be of shape {wanted}, got {(sums, columns)}")
        no_state = np.zeros((0, 1), self.dtype)
        updates.apply(device, weight, (no_state, no_state), self, np.array([0, 0, 0, factor], self.dtype), "ADD")

    def apply_to(self, weight: DeviceArray, state: tuple[Any, Any], hyper: NDArray, rule: str) -> None:
        """Apply a rule to a table in a GPU's memory, for which the gradient was checked."""
        if self.values is not None:
            gpu.update(weight, state, self.rows, self.values, hyper, rule)
        else:
            gpu.step(weight, state, self.rows, updates.lookups_of(self), hyper, rule)

    @property
    def dtype(self) -> np.dtype:
        """The accumulator dtype."""
        return accumulator(self._given.dtype)

    @property
    def _given(self) -> NDArray:
        given = self.grad_output if self.values is None else self.values
        if given is None:
            raise ValueError("a gradient must have values or grad_output")
        return given

    def norm(self, *, device: str = "cpu") -> float:
        """Return the Euclidean norm of the gradient.

        Examples
        --------
        >>> from fastemb.engine.gradients import gradient_of_lookup
        >>> gradient_of_lookup(np.array([[3.0], [4.0]]), np.array([1, 2]), 3).norm()
        5.0
        """
        values = on_host(self.collect(device=device))
        return float(np.sqrt(np.einsum("rd,rd->", values, values, dtype=np.float64)))


def check_rows(rows: NDArray, num_embeddings: int) -> None:
    """Raise a ValueError if the rows of a gradient are not distinct, ascending and in the table.

    Examples
    --------
    >>> check_rows(np.array([1, 3]), 3)
    Traceback (most recent call last):
        ...
    ValueError: a gradient's rows must be in [0, 3), got 3 at position 1
    """
    place = _indices.misplaced(rows, num_embeddings)
    if place == -1:
        return
    wanted = "distinct and ascending" if 0 <= rows[place] < num_embeddings else f"in [0, {num_embeddings})"
    raise ValueError(f"a gradient's rows must be {wanted}, got {rows[place]} at position {place}")
