"""The arguments that all optimizers take."""

from collections.abc import Callable
from typing import TypedDict

__all__ = ["LearningRate", "Options"]

LearningRate = float | Callable[[int], float]


class Options(TypedDict, total=False):
    """What all optimizers take besides: see `fastemb.optim.optimizer.Optimizer`."""

    decay: str
    clip_value: float | None
    clip_norm: float | None
    device: str
