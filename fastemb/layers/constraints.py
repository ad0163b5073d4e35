"""What the rows of a table must satisfy after an update: Keras' constraints, on the rows that were touched.

Norms are those of rows, as Keras' with ``axis=1``: a column's norm would need the whole table at each step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.validate import choice, real

__all__ = ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get", "norm_bound"]

EPSILON = 1e-7  # Keras' own, against a division by zero

Constraint = Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class MaxNorm:
    """Rows with a norm above `max_value` are scaled down to it.

    Examples
    --------
    >>> MaxNorm(1)(np.array([[3.0, 4.0], [0.3, 0.4]])).round(4)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """

    max_value: float = 2.0

    def __post_init__(self) -> None:
        real("max_value", self.max_value, 0)

    def __call__(self, rows: NDArray) -> NDArray:
        """Return the rows (U, D), constrained."""
        return _rescaled(rows, lambda norms: np.minimum(norms, self.max_value))


@dataclass(frozen=True)
class MinMaxNorm:
    """Rows are moved towards a norm in ``[min_value, max_value]``, at once where `rate` is 1.

    Examples
    --------
    >>> MinMaxNorm(0.5, 1, rate=0.5)(np.array([[3.0, 4.0]])).round(4)  # from a norm of 5 to one of 3
    array([[1.8, 2.4]])
    """

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        real("max_value", self.max_value, real("min_value", self.min_value, 0))
        real("rate", self.rate, 0, 1)

    def __call__(self, rows: NDArray) -> NDArray:
        """Return the rows (U, D), constrained."""
        rate = self.rate
        return _rescaled(rows, lambda norms: rate * np.clip(norms, self.min_value, self.max_value) + (1 - rate) * norms)


@dataclass(frozen=True)
class UnitNorm:
    """Rows have a norm of 1.

    Examples
    --------
    >>> UnitNorm()(np.array([[3.0, 4.0]])).round(4)
    array([[0.6, 0.8]])
    """

    def __call__(self, rows: NDArray) -> NDArray:
        """Return the rows (U, D), constrained."""
        return _rescaled(rows, np.ones_like)


@dataclass(frozen=True)
class NonNeg:
    """Negative numbers become 0.

    Examples
    --------
    >>> NonNeg()(np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    def __call__(self, rows: NDArray) -> NDArray:
        """Return the rows (U, D), constrained."""
        return np.maximum(rows, 0)


def _rescaled(rows: NDArray, desired: Callable[[NDArray], NDArray]) -> NDArray:
    norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows * (desired(norms) / (EPSILON + norms))


NAMES: dict[str, Constraint] = {
    "max_norm": MaxNorm(),
    "min_max_norm": MinMaxNorm(),
    "unit_norm": UnitNorm(),
    "non_neg": NonNeg(),
}


def get(constraint: Any) -> Constraint | None:
    """Return what `embeddings_constraint` means: None, one of Keras' names, or a callable from rows to rows.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.

    Examples
    --------
    >>> get("non_neg")
    NonNeg()
    """
    if isinstance(constraint, str):
        return NAMES[choice("embeddings_constraint", constraint, NAMES)]
    if getattr(constraint, "axis", 1) in (0, [0], (0,)):  # Keras' own begin so
        raise ValueError(
            f"embeddings_constraint must be one of rows, as Keras' with axis=1, got axis=0 of {constraint!r}"
        )
    if constraint is None or callable(constraint):
        return constraint
    raise TypeError(f"embeddings_constraint must be a name or a callable, got {constraint!r}")


def norm_bound(max_norm: Any, norm_type: Any) -> tuple[float | None, float]:
    """Return the `max_norm` and `norm_type` of lookups, checked.

    Examples
    --------
    >>> norm_bound(1, math.inf)
    (1.0, inf)
    """
    bound = None if max_norm is None else real("max_norm", max_norm, 0)
    return bound, norm_type if norm_type in (math.inf, -math.inf) else real("norm_type", norm_type, -math.inf)
