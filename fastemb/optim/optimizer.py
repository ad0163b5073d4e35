"""What all optimizers share: state, learning rate, weight decay, clipping, and how a rule is applied to rows."""

import math
from collections.abc import Iterable
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import as_indices
from fastemb.engine.backend import checked_device, indexing_device
from fastemb.engine.gradients import RowGradient
from fastemb.engine.updates import apply
from fastemb.engine.validate import choice, real
from fastemb.optim.arguments import LearningRate
from fastemb.optim.changes import checked, clipped, decay_looked_up, run_decay, without
from fastemb.optim.state import Parameter, State, frozen_rows, listed, table_of
from fastemb.optim.states import States

__all__ = ["Optimizer"]

FLUSH_ROWS = 1 << 16


class Optimizer(States):
    """The base of all optimizers; a subclass says which kernel applies its rule, and with what numbers.

    Parameters
    ----------
    parameters : layer or iterable of layers, optional
        What `step` updates. A layer that was given this optimizer need not be named.
    lr : float or callable
        The learning rate; a callable gets the number of updates that a table has had, from 0, and returns the rate of
        the next one.
    weight_decay : float, default 0
    decay : {"touched", "exact"}, default "touched"
        Which rows weight decay reaches. "touched": the rows that an update touches. "exact": all rows, as if each
        update decayed the whole table; a row that was not touched is caught up when it is next looked up, so nothing
        passes over the table. Call `flush` before the table is read by other ways than a layer.
    clip_value : float, optional
        Limit each element of a gradient to ``[-clip_value, clip_value]``.
    clip_norm : float, optional
        Scale the gradients of a step so that their norm over all parameters is at most this, as
        ``torch.nn.utils.clip_grad_norm_`` does, after `clip_value`.
    device : {"cpu", "reference", "cuda"}, default "cpu"
        For tables in the host's memory; one in a GPU's memory is always updated there, and its state lies beside it.

    Notes
    -----
    Arithmetic and state are float64 for float64 tables, float32 for all others. State takes memory as rows are first
    touched. One optimizer may be used from several threads: updates are made one after the other.

    Examples
    --------
    Fused into a layer's ``backward``, and on the gradients that it has collected:

    >>> from fastemb import Embedding
    >>> from fastemb.optim import SGD
    >>> layer = Embedding(3, 2, W=np.ones((3, 2)), optimizer=SGD(lr=0.5))
    >>> _ = layer([1])
    >>> layer.backward(np.ones((1, 2)))
    >>> layer.weight
    array([[1. , 1. ],
           [0.5, 0.5],
           [1. , 1. ]])
    >>> layer = Embedding(3, 2, W=np.ones((3, 2)))
    >>> optimizer = SGD(layer, lr=0.5)
    >>> _ = layer([1])
    >>> layer.backward(np.ones((1, 2)))
    >>> optimizer.step()
    >>> layer.weight[1]
    array([0.5, 0.5])
    """

    _decoupled: bool = False

    def __init__(
        self,
        parameters: Parameter | Iterable[Parameter] | None = None,
        lr: LearningRate = 1e-3,
        *,
        weight_decay: float = 0.0,
        decay: str = "touched",
        clip_value: float | None = None,
        clip_norm: float | None = None,
        device: str = "cpu",
        **unknown: Any,
    ) -> None:
        if unknown:
            known = dict.fromkeys((*signature(type(self)).parameters, *signature(Optimizer).parameters))
            names = ", ".join(name for name in known if name not in ("options", "unknown"))
            raise TypeError(f"{type(self).__name__} has no argument {next(iter(unknown))!r}, only {names}")
        self.lr = lr
        self.weight_decay = real("weight_decay", weight_decay, 0)
        self.decay = choice("decay", decay, ("touched", "exact"))
        self.clip_value = None if clip_value is None else real("clip_value", clip_value, 0, low_open=True)
        self.clip_norm = None if clip_norm is None else real("clip_norm", clip_norm, 0, low_open=True)
        self.device = indexing_device(checked_device(device))
        if decay == "exact" and self._has_no_closed_form():
            raise ValueError(
                f"decay='exact' has no closed form for {self._has_no_closed_form()}: use decay='touched', "
                "SGD without momentum, or AdamW"
            )
        self._parameters: list[Parameter] = []
        super().__init__()
        for parameter in listed(parameters):
            self.bind(parameter)

    # What a subclass tells.

    def _rule(self) -> str:
        """Return the name of the kernel's rule."""
        raise NotImplementedError

    def _rates(self, lr: float, step: int) -> tuple[float, ...]:
        """Return what the rule takes as ``hyper[RULE:]`` in the update number `step`, from 1."""
        raise NotImplementedError

    def _before(self, state: State, weight: NDArray, change: RowGradient, lr: float) -> None:
        """Do what a rule needs besides its kernel, before it is applied to the rows of a gradient."""

    def _has_no_closed_form(self) -> str:
        """Return what stands against exact decay, or an empty string."""
        return type(self).__name__

    # What a user sees.

    @property
    def lr(self) -> LearningRate:
        """The learning rate, or the callable that tells it."""
        return self._lr

    @lr.setter
    def lr(self, lr: LearningRate) -> None:
        self._lr = lr if callable(lr) else real("lr", lr, 0)

    def bind(self, parameter: Parameter) -> None:
        """Let `step` update a parameter, too.

        Parameters
        ----------
        parameter : layer
            Anything with ``weight`` and ``grad``.

        Raises
        ------
        ValueError
            If it has another optimizer, which leaves no gradient for this one.
        """
        table_of(parameter)
        if getattr(parameter, "optimizer", self) not in (None, self):
            raise ValueError("parameters must have no optimizer of their own, which steps them in backward")
        if all(known is not parameter for known in self._parameters):
            self._parameters.append(parameter)
        if self.decay == "exact" and hasattr(parameter, "caught_up_by"):
            parameter.caught_up_by = self
        self._state(parameter)

    def register(self, parameter: Parameter) -> None:
        """Give a parameter its place in `state_dict`, by when it was made; a layer that is given an optimizer calls it.

        Parameters
        ----------
        parameter : layer
        """
        self._state(parameter)

    def update(self, parameter: Parameter, gradient: RowGradient) -> None:
        """Apply one gradient to one parameter; a layer's ``backward`` calls it.

        Parameters
        ----------
        parameter : layer
        gradient : RowGradient
            Of distinct rows, ascending. A sum that is yet to be made is made here, in the same pass.

        Raises
        ------
        ValueError
            If the table cannot be changed, the gradient does not fit it, or `clip_norm` is set and the optimizer has
            other parameters, whose gradients would have to be known.
        """
        if self.clip_norm is None:
            self._apply(parameter, gradient)
        else:
            self.update_together([(parameter, gradient)])

    def update_together(self, found: list[tuple[Parameter, RowGradient]]) -> None:
        """Apply gradients of one backward, one for each parameter: see `update`.

        Parameters
        ----------
        found : list of (layer, RowGradient)
            With `clip_norm`, of all parameters but those that are frozen.
        """
        if self.clip_norm is not None:
            with self._lock:
                seen = {id(parameter) for parameter, _ in found}
                others = [p for p in self._states if id(p) not in seen and getattr(p, "frozen", False) is not True]
            if others:
                raise ValueError("clip_norm needs the gradients of all parameters: collect them, then call step()")
        self.step_with(found)

    def step(self) -> None:
        """Apply to each parameter the gradient that it holds as ``grad``; those that hold None are left as they are."""
        held = [(parameter, parameter.grad) for parameter in self._parameters]
        self.step_with([(parameter, gradient) for parameter, gradient in held if gradient is not None])

    def step_with(self, found: list[tuple[Parameter, RowGradient]]) -> None:
        """Apply gradients to parameters, as `step` does those that parameters hold; others are left as they are.

        Parameters
        ----------
        found : list of (layer, RowGradient)
        """
        if self.clip_norm is not None:
            self._step_clipped(found)
            return
        for parameter, gradient in found:
            self._apply(parameter, gradient)

    def zero_grad(self) -> None:
        """Forget the gradients that the parameters hold."""
        for parameter in self._parameters:
            parameter.grad = None

    def catch_up(self, parameter: Parameter, rows: NDArray) -> None:
        """Bring rows up to date with exact weight decay before they are read; a layer's ``forward`` calls it.

        Parameters
        ----------
        parameter : layer
        rows : int32 or int64 (num_rows,)
            In any order, repeated or not; what is outside the table is left out.
        """
        if self.decay != "exact":
            return
        with self._lock:
            state = self._state(parameter) if parameter in self._states else None
            if state is not None and state.log_product:
                weight = table_of(parameter)
                indices, frozen = as_indices(rows, "rows").reshape(-1), frozen_rows(parameter, len(weight))
                reached = state.fit_reached(weight)
                decay_looked_up(self.device, weight, reached, indices, frozen, state.log_product)

    def flush(self, parameter: Parameter | None = None) -> None:
        """Bring all rows up to date with exact weight decay: before a table is saved, or its frozen rows are changed.

        Parameters
        ----------
        parameter : layer, optional
            Default all.
        """
        if self.decay != "exact":
            return
        with self._lock:
            for known in list(self._states) if parameter is None else [parameter]:
                state, weight = self._state(known), table_of(known)
                num_embeddings = len(weight)
                frozen = frozen_rows(known, num_embeddings)
                for start in range(0, num_embeddings, FLUSH_ROWS):
                    self.catch_up(known, np.arange(start, min(start + FLUSH_ROWS, num_embeddings)))
                if frozen is not None:  # what they have missed is not theirs
                    state.reach(weight, frozen)

    def __repr__(self) -> str:
        """Return the class and what is always of interest."""
        return f"{type(self).__name__}(lr={self.lr}, weight_decay={self.weight_decay}, decay={self.decay!r})"

    # How a gradient is applied.

    def _apply(self, parameter: Parameter, gradient: RowGradient) -> None:
        with self._lock:
            weight, state = table_of(parameter), self._state(parameter)
            change = checked(gradient, weight, self.device)
            frozen = frozen_rows(parameter, len(weight))
            if frozen is not None:
                change = without(change, frozen, self.device)
            lr = self._rate_at(state.step)
            keep, pull = self._decay_at(lr)
            if self.decay == "exact" and self.weight_decay:
                state.log_product += math.log(keep)
                run_decay(self.device, weight, state.fit_reached(weight), change, state.log_product)
                keep = 1.0
            state.step += 1
            hyper = state.hyper((self._bound(), keep, pull, *self._rates(lr, state.step)), weight.dtype)
            arrays = state.fit(weight, self._widths(weight.shape[1]))
            self._before(state, weight, change, lr)
            apply(self.device, weight, arrays, change, hyper, self._rule())
            after_update = getattr(parameter, "after_update", None)
            if after_update is not None:
                after_update(change.rows)

    def _step_clipped(self, found: list[tuple[Parameter, RowGradient]]) -> None:
        """Apply gradients scaled to `clip_norm`, which needs all of them in full."""
        assert self.clip_norm is not None
        tables = [table_of(parameter) for parameter, _ in found]
        gradients = clipped([gradient for _, gradient in found], tables, self._bound(), self.clip_norm, self.device)
        for (parameter, _), gradient in zip(found, gradients, strict=True):
            self._apply(parameter, gradient)

    def _bound(self) -> float:
        """Return what each element of a gradient is limited to."""
        return math.inf if self.clip_value is None else self.clip_value

    def _rate_at(self, step: int) -> float:
        return real(f"lr({step})", self._lr(step), 0) if callable(self._lr) else self._lr

    def _decay_at(self, lr: float) -> tuple[float, float]:
        """Return what the weights are multiplied by, and their coefficient in the gradient."""
        exact = self.decay == "exact"
        if not (self._decoupled or exact):
            return 1.0, self.weight_decay
        keep = 1 - lr * self.weight_decay
        if exact and keep <= 0:
            raise ValueError(f"lr * weight_decay must be below 1 for exact decay, got {lr} * {self.weight_decay}")
        return keep, 0.0
