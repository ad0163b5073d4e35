"""Adagrad, with a sum of squares for each weight or for each row."""

from collections.abc import Iterable
from typing import ClassVar, Unpack

from fastemb.engine.validate import boolean, real
from fastemb.optim.arguments import LearningRate, Options
from fastemb.optim.optimizer import Optimizer
from fastemb.optim.state import Parameter

__all__ = ["Adagrad", "RowwiseAdagrad"]


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011), torch.optim.Adagrad's rule on the rows that were looked up.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    lr : float or callable, default 0.01
        The learning rate; a callable gets the number of updates that a table has had, from 0.
    lr_decay : float, default 0
        The rate of update t, from 1, is ``lr / (1 + (t - 1) * lr_decay)``.
    weight_decay : float, default 0
        Adds ``weight_decay * weight`` to the gradient.
    initial_accumulator_value : float, default 0
        What the sums of squares begin with. It is added when they are read, so the state's ``sum`` is without it.
    eps : float, default 1e-10
        Added to the root of the sum.
    **options
        ``clip_value``, ``clip_norm``, ``device``: see `Optimizer`.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN.

    Examples
    --------
    >>> Adagrad(lr=0.1)
    Adagrad(lr=0.1, weight_decay=0.0, decay='touched')
    """

    _names: ClassVar[tuple[str, ...]] = ("sum",)

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        lr: LearningRate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **options: Unpack[Options],
    ) -> None:
        self.lr_decay = real("lr_decay", lr_decay, 0)
        self.initial_accumulator_value = real("initial_accumulator_value", initial_accumulator_value, 0)
        self.eps = real("eps", eps, 0)
        super().__init__(parameters, lr, weight_decay=weight_decay, **options)

    def _rule(self) -> str:
        return "ADAGRAD"

    def _widths(self, dim: int) -> tuple[int, int]:
        return dim, 0

    def _rates(self, lr: float, step: int) -> tuple[float, ...]:
        return lr / (1 + (step - 1) * self.lr_decay), self.eps, self.initial_accumulator_value


class RowwiseAdagrad(Optimizer):
    """Adagrad with one sum for each row, of the mean over its columns of the squared gradient: FBGEMM's rule.

    The state of a row is one number, so an update moves little more memory than SGD's.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    lr : float or callable, default 0.01
        The learning rate; a callable gets the number of updates that a table has had, from 0.
    weight_decay : float, default 0
        Adds ``weight_decay * weight`` to the gradient, before it is squared.
    eps : float, default 1e-8
        Added to the root of the sum.
    decoupled : bool, default False
        Multiply the weights by ``1 - lr * weight_decay`` instead, as AdamW does; ``decay="exact"`` needs it.
    **options
        ``decay``, ``clip_value``, ``clip_norm``, ``device``: see `Optimizer`.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN.

    Examples
    --------
    >>> RowwiseAdagrad(lr=-1)
    Traceback (most recent call last):
        ...
    ValueError: lr must be a finite number >= 0, got -1
    """

    _names: ClassVar[tuple[str, ...]] = ("sum",)

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        lr: LearningRate = 1e-2,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        decoupled: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self.eps = real("eps", eps, 0)
        self._decoupled = boolean("decoupled", decoupled)
        super().__init__(parameters, lr, weight_decay=weight_decay, **options)

    def _rule(self) -> str:
        return "ROWWISE_ADAGRAD"

    def _widths(self, dim: int) -> tuple[int, int]:
        return 1, 0

    def _rates(self, lr: float, step: int) -> tuple[float, ...]:
        return lr, self.eps

    def _has_no_closed_form(self) -> str:
        return "" if self._decoupled else "RowwiseAdagrad without decoupled=True"
