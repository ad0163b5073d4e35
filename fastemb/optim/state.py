"""What an optimizer remembers of a table, and the table as kernels take it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import device, memory
from fastemb.engine.arrays import BFLOAT16, FLOAT16, FLOAT_DTYPES, accumulator, as_table

__all__ = ["Parameter", "State", "array_of", "frozen_rows", "listed", "table_of"]


class Parameter(Protocol):
    """What an optimizer changes: a layer, or anything else with these two.

    An attribute ``frozen`` is heeded where there is one: a bool array of which rows never change, or True for all. A
    method ``after_update`` is called where there is one, with the rows that have changed. Where there is an attribute
    ``caught_up_by``, it is set to an optimizer with exact decay, whose `catch_up` is due before rows are read. An
    attribute ``moves`` tells how rows have changed their places: see `State.follow`.
    """

    grad: Any

    @property
    def weight(self) -> NDArray:
        """The table, (num_embeddings, embedding_dim)."""


@dataclass(slots=True)
class State:
    """What is remembered of one table.

    Parameters
    ----------
    step : int
        Updates so far.
    arrays : pair of arrays or None
        As the rule's kernel takes them; None before the first update.
    log_product : float
        The logarithm of the product of all factors of exact weight decay so far.
    reached : float64 (num_embeddings,) or None
        What `log_product` was when each row was last caught up.
    num_moves : int
        How many of the parameter's moves of rows the arrays have followed.
    fitted : tuple or None
        For what table the arrays are known to fit.
    told : tuple
        What `hyper` was last asked for, and what it returned.
    """

    step: int = 0
    arrays: tuple[NDArray, NDArray] | None = None
    log_product: float = 0.0
    reached: NDArray[np.float64] | None = None
    num_moves: int = 0
    fitted: tuple[Any, ...] | None = None
    told: tuple[Any, Any] = (None, None)

    def fit(self, weight: NDArray, widths: tuple[int, int]) -> tuple[NDArray, NDArray]:
        """Return the arrays for a table of this shape and dtype, made if there are none.

        A width of 0 stands for no array. Of a table that was resized, the rows that it still has keep what is known of
        them. Memory is zeroed lazily by the system, so making an array does not touch its rows.
        """
        wanted = type(weight), weight.shape, weight.dtype, widths
        if self.arrays is not None and self.fitted == wanted:
            return self.arrays
        dtype, is_on_gpu = accumulator(weight.dtype), isinstance(weight, device.DeviceArray)
        size = len(weight)
        shapes = [(size, width) if width else (0, 1) for width in widths]
        if self.arrays is None:
            zeros: Any = device.zeros if is_on_gpu else memory.zeros
            self.arrays = (zeros(shapes[0], dtype), zeros(shapes[1], dtype))
        first, second = self.arrays
        if first.shape != shapes[0] or second.shape != shapes[1] or first.dtype != dtype:
            first, second = device.on_host(first), device.on_host(second)
            self.arrays = first, second = resized(first, shapes[0], dtype), resized(second, shapes[1], dtype)
        self.arrays, self.fitted = (_beside(first, is_on_gpu), _beside(second, is_on_gpu)), wanted
        return self.arrays

    def hyper(self, numbers: tuple[float, ...], dtype: np.dtype) -> NDArray:
        """Return numbers as kernels take them, for a table of this dtype: an array that is made when they change."""
        wanted = numbers, dtype
        if self.told[0] != wanted:
            self.told = wanted, np.array(numbers, accumulator(dtype))
        return self.told[1]

    def fit_reached(self, weight: NDArray) -> NDArray[np.float64]:
        """Return `reached` for a table of this many rows, beside it; rows that are new have missed no decay."""
        num_embeddings, is_on_gpu = len(weight), isinstance(weight, device.DeviceArray)
        if self.reached is None:
            self.reached = np.zeros(num_embeddings)
        elif len(self.reached) != num_embeddings:
            old, self.reached = device.on_host(self.reached), np.full(num_embeddings, self.log_product)
            self.reached[: len(old)] = old[:num_embeddings]
        self.reached = _beside(self.reached, is_on_gpu)
        return self.reached

    def follow(self, moves: Sequence[tuple[int, list[tuple[int, int, int]]]]) -> None:
        """Let what is known of rows follow them to other places.

        Parameters
        ----------
        moves : sequence of (num_embeddings, spans)
            All of the table so far: its rows afterwards, and ``(source, target, length)`` of neighbours that moved.
        """
        for num_embeddings, spans in moves[self.num_moves :]:
            if self.arrays is not None:
                first, second = (moved(device.on_host(array), num_embeddings, spans) for array in self.arrays)
                self.arrays, self.fitted = (first, second), None
            if self.reached is not None:
                old, reached = device.on_host(self.reached), np.full(num_embeddings, self.log_product)
                for source, target, length in spans:
                    reached[target : target + length] = old[source : source + length]
                self.reached = reached
        self.num_moves = len(moves)

    def reach(self, weight: NDArray, frozen: NDArray[np.bool_]) -> None:
        """Let the rows of a table that are frozen have missed no decay."""
        reached = device.on_host(self.fit_reached(weight))
        reached[frozen] = self.log_product
        self.reached = reached


def moved(array: NDArray, num_embeddings: int, spans: list[tuple[int, int, int]]) -> NDArray:
    """Return an array of state whose rows are in other places, new ones zeros; one of no rows as it is.

    Examples
    --------
    >>> moved(np.array([[1.0], [2.0]]), 3, [(0, 0, 1), (1, 2, 1)])[:, 0]
    array([1., 0., 2.])
    """
    if not len(array):
        return array
    new = memory.zeros((num_embeddings, array.shape[1]), array.dtype)
    for source, target, length in spans:
        new[target : target + length] = array[source : source + length]
    return new


def _beside(array: Any, is_on_gpu: bool) -> Any:
    """Return an array of state where its table is."""
    if isinstance(array, device.DeviceArray) == is_on_gpu:
        return array
    return device.upload(array) if is_on_gpu else device.on_host(array)


def resized(array: NDArray, shape: tuple[int, int], dtype: np.dtype) -> NDArray:
    """Return zeros of a shape and dtype, with the rows of `array` where there are such.

    Examples
    --------
    >>> resized(np.ones((3, 1)), (2, 1), np.dtype(np.float32))
    array([[1.],
           [1.]], dtype=float32)
    """
    new = memory.zeros(shape, dtype)
    kept = min(len(array), len(new))
    if kept:
        new[:kept] = array[:kept]
    return new


def array_of(name: str, values: Any, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Return a copy of an array of state, which must be of this shape.

    Raises
    ------
    ValueError
        If it is of another shape.
    """
    given = np.asarray(values)
    if given.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, got {given.shape}")
    array = memory.empty(shape, dtype)
    array[...] = given
    return array


def table_of(parameter: Parameter) -> NDArray:
    """Return a parameter's table, the bits of bfloat16 as uint16, after the checks that a change in place needs.

    Raises
    ------
    TypeError
        If ``weight`` is no array of a dtype that tables have.
    ValueError
        If it is not two-dimensional, cannot be written to, or has gaps between a row's elements.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> table_of(SimpleNamespace(weight=np.zeros(3)))
    Traceback (most recent call last):
        ...
    ValueError: weight must have 2 dimensions, got shape (3,)
    """
    weight = getattr(parameter, "weight", None)
    if type(weight) is np.ndarray and weight.dtype in FLOAT_DTYPES:
        return as_table(weight, change=True)
    if isinstance(weight, device.DeviceArray):
        return _table_of_gpu(weight)
    if not isinstance(weight, np.ndarray):
        raise TypeError(f"a parameter must have an array as its weight, got {parameter!r}")
    if weight.dtype == BFLOAT16:  # the checks are those of another type of two bytes
        return as_table(weight.view(FLOAT16), change=True).view(BFLOAT16)
    return as_table(weight, change=True)


def _table_of_gpu(weight: device.DeviceArray) -> Any:
    """Return a table in a GPU's memory, the bits of bfloat16 as uint16."""
    if weight.ndim != 2:
        raise ValueError(f"weight must have 2 dimensions, got shape {weight.shape}")
    if not weight.writeable:
        raise ValueError("weight is changed in place, but it is read-only")
    return weight.view(BFLOAT16) if weight.dtype.name == "bfloat16" else weight


def frozen_rows(parameter: Parameter, num_embeddings: int) -> NDArray[np.bool_] | None:
    """Return which rows of a parameter never change, or None.

    Raises
    ------
    ValueError
        If all do, or if the mask has another length than the table.
    """
    frozen = getattr(parameter, "frozen", None)
    if frozen is None or frozen is False:
        return None
    mask = np.asarray(frozen, bool)
    if mask.shape == ():
        if mask:
            raise ValueError("the table is frozen, so it cannot be updated")
        return None
    if mask.shape != (num_embeddings,):
        raise ValueError(f"frozen must be of shape ({num_embeddings},), got {mask.shape}")
    return mask


def listed(parameters: Any) -> list[Parameter]:
    """Return the parameters that a user passed: none, one or several.

    Raises
    ------
    TypeError
        If they are something else.
    """
    if parameters is None:
        return []
    if hasattr(parameters, "weight"):
        return [parameters]
    if hasattr(parameters, "parameters"):
        return list(parameters.parameters())
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be a layer or an iterable of layers, got {parameters!r}")
    return list(parameters)
