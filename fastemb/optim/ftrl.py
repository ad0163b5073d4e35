"""Follow the regularised leader."""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import kernels
from fastemb.engine.device import DeviceArray
from fastemb.engine.gradients import RowGradient
from fastemb.engine.validate import real
from fastemb.optim.arguments import LearningRate
from fastemb.optim.optimizer import Optimizer
from fastemb.optim.state import Parameter, State

__all__ = ["FTRL"]


class FTRL(Optimizer):
    """FTRL-Proximal with a rate for each weight (McMahan et al. 2013, "Ad Click Prediction", algorithm 1).

    A weight is exactly 0 while ``abs(z) <= l1``. Weights are a function of the state, so what a row holds before its
    first update leaves a trace in ``z`` only: begin with zeros, as the paper does.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    alpha : float or callable, default 0.1
        The scale of the rates, which are ``alpha / (beta + sqrt(sum of squared gradients))``; a callable gets the
        number of updates that a table has had, from 0, and returns the scale of the next one.
    beta : float, default 1
        Above 0.
    l1, l2 : float, default 0
        Strengths of the regularisation.
    clip_value, clip_norm : float, optional
    device : {"cpu", "reference"}, default "cpu"
        See `Optimizer`.

    Notes
    -----
    FTRL-Proximal is defined by the strengths sigma with which the weight of each update is held, whose sum is the
    inverse of the rate. So where a callable changes alpha, an update's sigma is the inverse of its rate less that of
    the row's last update, and ``z`` has ``(beta + sqrt(n)) * (1 / alpha - 1 / last alpha) * weight`` taken off besides.
    A row that was not looked up meanwhile would not have moved, so it is enough that this is made up for when it is.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN; and, at an update, if `alpha` is a callable and the table on a GPU.

    Examples
    --------
    >>> FTRL(alpha=0)
    Traceback (most recent call last):
        ...
    ValueError: alpha must be a finite number > 0, got 0
    """

    _names: ClassVar[tuple[str, ...]] = ("z", "n")

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        alpha: LearningRate = 0.1,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        device: str = "cpu",
    ) -> None:
        self.alpha = alpha if callable(alpha) else real("alpha", alpha, 0, low_open=True)
        self.beta = real("beta", beta, 0, low_open=True)
        self.l1 = real("l1", l1, 0)
        self.l2 = real("l2", l2, 0)
        super().__init__(parameters, clip_value=clip_value, clip_norm=clip_norm, device=device)

    def __repr__(self) -> str:
        """Return the class and what is always of interest."""
        return f"FTRL(alpha={self.alpha}, beta={self.beta}, l1={self.l1}, l2={self.l2})"

    def _rule(self) -> str:
        return "FTRL"

    def _widths(self, dim: int) -> tuple[int, int]:
        return dim, dim

    def _rates(self, lr: float, step: int) -> tuple[float, ...]:
        return 1 / lr, self.beta, self.l1, self.l2

    def _rate_at(self, step: int) -> float:
        return real(f"alpha({step})", self.alpha(step), 0, low_open=True) if callable(self.alpha) else self.alpha

    def _before(self, state: State, weight: NDArray, change: RowGradient, lr: float) -> None:
        """Let z of the rows know of a new alpha; `state.reached` is the inverse of that of their last update."""
        if not callable(self.alpha):
            return
        if isinstance(weight, DeviceArray):
            raise ValueError("alpha must be a number for a table on a GPU, got a callable")
        rows, last = change.rows, state.fit_reached(weight)
        moved = rows[(last[rows] != 0) & (last[rows] != 1 / lr)]
        if len(moved):
            z, n = state.fit(weight, self._widths(weight.shape[1]))
            missed = (1 / lr - last[moved]).astype(z.dtype)[:, None]
            w = kernels("reference", "lookup").widen(weight[moved])
            # Where n is 0 there was no gradient yet, and nothing that holds the weight.
            z[moved] -= np.where(n[moved] > 0, (self.beta + np.sqrt(n[moved])) * missed * w, 0)
        last[rows] = 1 / lr
