"""Penalties on the numbers of a table, whose gradient is taken on the rows that were touched.

Keras adds the penalty of the whole table to the loss, and so moves every row at each step; here a row is moved when it
is looked up, and `value` is still the whole table's.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.validate import choice, real

__all__ = ["L1L2", "Regularizer", "get", "l1", "l2"]


class Regularizer(Protocol):
    """What `embeddings_regularizer` may be: called with rows it returns their penalty, and it knows the gradient."""

    def __call__(self, rows: NDArray) -> float:
        """Return the penalty of rows (U, D)."""

    def gradient(self, rows: NDArray) -> NDArray:
        """Return the penalty's gradient (U, D)."""


@dataclass(frozen=True)
class L1L2:
    """``l1 * sum(abs(rows)) + l2 * sum(rows ** 2)``.

    Examples
    --------
    >>> rows = np.array([[1.0, -2.0]])
    >>> L1L2(0.5, 0.25)(rows)
    2.75
    >>> L1L2(0.5, 0.25).gradient(rows)
    array([[ 1. , -1.5]])
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        real("l1", self.l1, 0)
        real("l2", self.l2, 0)

    def __call__(self, rows: NDArray) -> float:
        """Return the penalty of rows (U, D), summed in float64."""
        l1 = self.l1 and self.l1 * np.abs(rows).sum(dtype=np.float64)
        l2 = self.l2 and self.l2 * np.square(rows).sum(dtype=np.float64)
        return float(l1 + l2)

    def gradient(self, rows: NDArray) -> NDArray:
        """Return the penalty's gradient (U, D), in the rows' dtype; that of ``abs`` at 0 is 0."""
        return self.l1 * np.sign(rows) + 2 * self.l2 * rows


def l1(l1: float = 0.01) -> L1L2:
    """Return the penalty ``l1 * sum(abs(rows))``.

    Examples
    --------
    >>> l1(0.5)(np.array([[1.0, -2.0]]))
    1.5
    """
    return L1L2(l1=l1)


def l2(l2: float = 0.01) -> L1L2:
    """Return the penalty ``l2 * sum(rows ** 2)``.

    Examples
    --------
    >>> l2(0.5)(np.array([[1.0, -2.0]]))
    2.5
    """
    return L1L2(l2=l2)


# Keras' names, and what its documentation says they stand for.
NAMES: dict[str, L1L2] = {"l1": l1(), "l2": l2(), "l1_l2": L1L2(0.01, 0.01)}


def get(regularizer: Any) -> Regularizer | None:
    """Return what `embeddings_regularizer` means: None, a name of Keras or its L1, L2 or L1L2, or a `Regularizer`.

    Raises
    ------
    TypeError, ValueError
        If it is none of these; a function has a value, but no gradient.

    Examples
    --------
    >>> get("l2")
    L1L2(l1=0.0, l2=0.01)
    """
    if isinstance(regularizer, str):
        return NAMES[choice("embeddings_regularizer", regularizer, NAMES)]
    if regularizer is None or (callable(regularizer) and callable(getattr(regularizer, "gradient", None))):
        return regularizer
    strengths = {name: float(getattr(regularizer, name)) for name in ("l1", "l2") if hasattr(regularizer, name)}
    if strengths and callable(regularizer):  # Keras' own
        return L1L2(**strengths)
    raise TypeError(f"embeddings_regularizer must be a name, or a callable with a `gradient`, got {regularizer!r}")
