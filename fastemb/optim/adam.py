"""Adam, lazy: the moments of a row change when the row is looked up."""

import math
from collections.abc import Iterable
from typing import ClassVar, Unpack

from fastemb.engine.validate import boolean, real
from fastemb.optim.arguments import LearningRate, Options
from fastemb.optim.optimizer import Optimizer
from fastemb.optim.state import Parameter

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), torch.optim.SparseAdam's rule.

    Only the moments of rows that were looked up decay; the step number of the bias corrections is the table's. As in
    SparseAdam, and unlike torch.optim.Adam, `eps` is added before the second moment's bias is corrected.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    lr : float or callable, default 0.001
        The learning rate; a callable gets the number of updates that a table has had, from 0.
    betas : pair of float, default (0.9, 0.999)
        How much is kept of the means of the gradient and of its square, each in ``[0, 1)``.
    eps : float, default 1e-8
    weight_decay : float, default 0
        Adds ``weight_decay * weight`` to the gradient.
    rowwise : bool, default False
        Keep one second moment for each row, of the mean over its columns of the squared gradient: a third less memory.
    **options
        ``clip_value``, ``clip_norm``, ``device``: see `Optimizer`.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN.

    Examples
    --------
    >>> Adam(betas=(0.9, 1))
    Traceback (most recent call last):
        ...
    ValueError: betas[1] must be in [0, 1), got 1
    """

    _names: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        rowwise: bool = False,
        **options: Unpack[Options],
    ) -> None:
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise TypeError(f"betas must be a pair of numbers in [0, 1), got {betas!r}") from None
        self.betas = _beta(0, beta1), _beta(1, beta2)
        self.eps = real("eps", eps, 0)
        self.rowwise = boolean("rowwise", rowwise)
        super().__init__(parameters, lr, weight_decay=weight_decay, **options)

    def _rule(self) -> str:
        return "ROWWISE_ADAM" if self.rowwise else "ADAM"

    def _widths(self, dim: int) -> tuple[int, int]:
        return dim, (1 if self.rowwise else dim)

    def _rates(self, lr: float, step: int) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        rate = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        return rate, beta1, 1 - beta1, self.eps, beta2, 1 - beta2


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): ``weight *= 1 - lr * weight_decay``.

    Everything else is as in `Adam`, lazy.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    lr : float or callable, default 0.001
        The learning rate; a callable gets the number of updates that a table has had, from 0.
    betas : pair of float, default (0.9, 0.999)
        How much is kept of the means of the gradient and of its square, each in ``[0, 1)``.
    eps : float, default 1e-8
    weight_decay : float, default 0.01
    rowwise : bool, default False
        Keep one second moment for each row, of the mean over its columns of the squared gradient.
    **options
        ``decay``, ``clip_value``, ``clip_norm``, ``device``: see `Optimizer`.

    Raises
    ------
    ValueError
        If an argument is out of bounds, or NaN.

    Examples
    --------
    >>> AdamW(decay="exact")
    AdamW(lr=0.001, weight_decay=0.01, decay='exact')
    """

    _decoupled: bool = True

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        rowwise: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, rowwise, **options)

    def _has_no_closed_form(self) -> str:
        return ""


def _beta(place: int, value: float) -> float:
    beta = real(f"betas[{place}]", value, 0, 1)
    if beta == 1:
        raise ValueError(f"betas[{place}] must be in [0, 1), got {value}")
    return beta
