"""Follow the regularised leader."""

from collections.abc import Iterable
from typing import ClassVar

from fastemb.engine.validate import real
from fastemb.optim.optimizer import Optimizer
from fastemb.optim.state import Parameter

__all__ = ["FTRL"]


class FTRL(Optimizer):
    """FTRL-Proximal with a rate for each weight (McMahan et al. 2013, "Ad Click Prediction", algorithm 1).

    A weight is exactly 0 while ``abs(z) <= l1``. Weights are a function of the state, so what a row holds before its
    first update leaves a trace in ``z`` only: begin with zeros, as the paper does.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    alpha : float, default 0.1
        The scale of the rates, which are ``alpha / (beta + sqrt(sum of squared gradients))``.
    beta : float, default 1
        Above 0.
    l1, l2 : float, default 0
        Strengths of the regularisation.
    clip_value, clip_norm : float, optional
    device : {"cpu", "reference"}, default "cpu"
        See `Optimizer`.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN.

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
        alpha: float = 0.1,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        device: str = "cpu",
    ) -> None:
        self.alpha = real("alpha", alpha, 0, low_open=True)
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
        return 1 / self.alpha, self.beta, self.l1, self.l2
