"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import ClassVar, Unpack

from fastemb.engine.validate import boolean, real
from fastemb.optim.arguments import LearningRate, Options
from fastemb.optim.optimizer import Optimizer
from fastemb.optim.state import Parameter

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, torch.optim.SGD's rule on the rows that were looked up.

    With momentum, the velocity of a row changes and moves it only when the row is looked up.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    lr : float or callable, default 0.001
        The learning rate; a callable gets the number of updates that a table has had, from 0.
    momentum : float, default 0
    dampening : float, default 0
        As in torch, the first update is not dampened.
    weight_decay : float, default 0
        Adds ``weight_decay * weight`` to the gradient.
    nesterov : bool, default False
    **options
        ``decay``, ``clip_value``, ``clip_norm``, ``device``: see `Optimizer`. ``decay="exact"`` needs a momentum of 0.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN.

    Examples
    --------
    >>> SGD(lr=0.1)
    SGD(lr=0.1, weight_decay=0.0, decay='touched')
    >>> SGD(lr=0.1, nesterov=True)
    Traceback (most recent call last):
        ...
    ValueError: nesterov needs a momentum > 0 and a dampening of 0, got 0.0 and 0.0
    """

    _names: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        lr: LearningRate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self.momentum = real("momentum", momentum, 0)
        self.dampening = real("dampening", dampening, -float("inf"))
        self.nesterov = boolean("nesterov", nesterov)
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ValueError(
                f"nesterov needs a momentum > 0 and a dampening of 0, got {self.momentum} and {self.dampening}"
            )
        super().__init__(parameters, lr, weight_decay=weight_decay, **options)

    def _rule(self) -> str:
        return "NESTEROV" if self.nesterov else "MOMENTUM" if self.momentum else "SGD"

    def _widths(self, dim: int) -> tuple[int, int]:
        return (dim if self.momentum else 0), 0

    def _rates(self, lr: float, step: int) -> tuple[float, ...]:
        return (lr, self.momentum, 1.0 if step == 1 else 1.0 - self.dampening) if self.momentum else (lr,)

    def _has_no_closed_form(self) -> str:
        return "SGD with momentum" if self.momentum else ""
