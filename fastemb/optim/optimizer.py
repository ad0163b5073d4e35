"""What all optimizers share: state, learning rate, weight decay, clipping, and how a rule is applied to rows."""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from inspect import signature
from typing import Any, ClassVar, TypedDict
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import accumulator, as_indices
from fastemb.engine.backend import checked_device, indexing_device
from fastemb.engine.device import on_host
from fastemb.engine.gradients import RowGradient
from fastemb.engine.locks import ForkedLock
from fastemb.engine.updates import apply
from fastemb.engine.validate import choice, integer, real
from fastemb.optim.changes import checked, decay_looked_up, run_decay, squared_norm, summed, without
from fastemb.optim.state import Parameter, State, array_of, frozen_rows, listed, table_of

__all__ = ["LearningRate", "Optimizer", "Options"]

LearningRate = float | Callable[[int], float]

FLUSH_ROWS = 1 << 16
NORM_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_'s


class Options(TypedDict, total=False):
    """What all optimizers take besides: see `Optimizer`."""

    decay: str
    clip_value: float | None
    clip_norm: float | None
    device: str


class Optimizer:
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

    _names: ClassVar[tuple[str, ...]] = ()
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
        self._lock = ForkedLock()
        self._parameters: list[Parameter] = []
        self._states: WeakKeyDictionary[Any, State] = WeakKeyDictionary()
        self._loaded: list[dict[str, Any]] = []
        for parameter in listed(parameters):
            self.bind(parameter)

    # What a subclass tells.

    def _rule(self) -> str:
        """Return the name of the kernel's rule."""
        raise NotImplementedError

    def _widths(self, dim: int) -> tuple[int, int]:
        """Return the columns of the rule's two state arrays, 0 for none."""
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
        """
        table_of(parameter)
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
        self.update_together([(parameter, gradient)])

    def update_together(self, found: list[tuple[Parameter, RowGradient]]) -> None:
        """Apply gradients of one backward, one for each parameter: see `update`.

        Parameters
        ----------
        found : list of (layer, RowGradient)
            With `clip_norm`, of all parameters but those that are frozen.
        """
        if self.clip_norm is None:
            for parameter, gradient in found:
                self._apply(parameter, gradient)
            return
        with self._lock:
            seen = {id(parameter) for parameter, _ in found}
            others = [p for p in self._states if id(p) not in seen and getattr(p, "frozen", False) is not True]
            if others:
                raise ValueError("clip_norm needs the gradients of all parameters: collect them, then call step()")
        self._step_clipped(found)

    def step(self) -> None:
        """Apply to each parameter the gradient that it holds as ``grad``; those that hold None are left as they are."""
        found = [(p, p.grad) for p in self._parameters if p.grad is not None]
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

    def state_of(self, parameter: Parameter) -> dict[str, Any]:
        """Return what the optimizer remembers of a parameter.

        Returns
        -------
        dict
            ``{"step": int, an array's name: array, ...}``. The arrays are the optimizer's own, not copies.
        """
        return self._named(self._state(parameter))

    def load_state_of(self, parameter: Parameter, state: dict[str, Any]) -> None:
        """Take over what an optimizer of this kind has remembered of a parameter of the same shape.

        Parameters
        ----------
        parameter : layer
        state : dict
            From `state_of`; its arrays are copied.

        Raises
        ------
        ValueError
            If an array does not fit the table.
        """
        restored = self._restored(parameter, state)
        with self._lock:
            self._states[parameter] = restored

    def state_dict(self) -> dict[str, Any]:
        """Return what the optimizer remembers, parameter by parameter in the order in which they were made or bound.

        Returns
        -------
        dict
            ``{"optimizer": name, "state": [what state_of returns, ...]}``
        """
        return {"optimizer": type(self).__name__, "state": [self._named(state) for state in self._states.values()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what another optimizer of this kind has remembered.

        Parameters
        ----------
        state_dict : dict
            From `state_dict`; its arrays are copied. What is left over, when each parameter has its share, is for the
            parameters that will come, in their order.

        Raises
        ------
        ValueError
            If it is of another optimizer, has too few states, or arrays that do not fit the tables.
        """
        if state_dict.get("optimizer") != type(self).__name__:
            raise ValueError(f"state_dict must be of {type(self).__name__}, got {state_dict.get('optimizer')!r}")
        states = list(state_dict["state"])
        with self._lock:
            known = list(self._states)
            if len(states) < len(known):
                raise ValueError(f"state_dict must have {len(known)} states or more, got {len(states)}")
            restored = [self._restored(p, saved) for p, saved in zip(known, states, strict=False)]
            for parameter, state in zip(known, restored, strict=True):
                self._states[parameter] = state
            self._loaded = deepcopy(states[len(known) :])

    def __repr__(self) -> str:
        """Return the class and what is always of interest."""
        return f"{type(self).__name__}(lr={self.lr}, weight_decay={self.weight_decay}, decay={self.decay!r})"

    # Weak references cannot be pickled: a copy knows the parameters that are copied along.

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_states": list(self._states.items())}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._states = WeakKeyDictionary()
        for parameter, state in attributes["_states"]:
            self._states[parameter] = state

    # How a gradient is applied.

    def _state(self, parameter: Parameter) -> State:
        state = self._states.get(parameter)
        if state is None:
            with self._lock:
                if parameter not in self._states:
                    saved = self._loaded.pop(0) if self._loaded else None
                    self._states[parameter] = State() if saved is None else self._restored(parameter, saved)
                state = self._states[parameter]
        moves = getattr(parameter, "moves", ())
        if state.num_moves != len(moves):
            state.follow(moves)
        return state

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
            clip = math.inf if self.clip_value is None else self.clip_value
            hyper = np.array([clip, keep, pull, *self._rates(lr, state.step)], accumulator(weight.dtype))
            arrays = state.fit(weight, self._widths(weight.shape[1]))
            self._before(state, weight, change, lr)
            apply(self.device, weight, arrays, change, hyper, self._rule())
            after_update = getattr(parameter, "after_update", None)
            if after_update is not None:
                after_update(change.rows)

    def _step_clipped(self, found: list[tuple[Parameter, RowGradient]]) -> None:
        """Apply gradients scaled to `clip_norm`, which needs all of them in full."""
        assert self.clip_norm is not None
        bound = math.inf if self.clip_value is None else self.clip_value
        rows = [gradient.rows for _, gradient in found]
        values = [np.clip(summed(gradient, table_of(p), self.device), -bound, bound) for p, gradient in found]
        norm = math.sqrt(sum(map(squared_norm, values)))
        factor = min(1.0, self.clip_norm / (norm + NORM_EPS)) if norm == norm else norm
        for n, (parameter, _) in enumerate(found):
            self._apply(parameter, RowGradient(rows[n], values[n] * values[n].dtype.type(factor)))

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

    def _named(self, state: State) -> dict[str, Any]:
        named: dict[str, Any] = {"step": state.step}
        if state.arrays is not None:
            named |= {name: on_host(a) for name, a in zip(self._names, state.arrays, strict=False) if a.shape != (0, 1)}
        if state.reached is not None:
            named |= {"log_product": state.log_product, "reached": on_host(state.reached)}
        return named

    def _restored(self, parameter: Parameter, saved: dict[str, Any]) -> State:
        weight = table_of(parameter)
        widths = self._widths(weight.shape[1])
        state = State(integer("step", saved["step"], 0), None, float(saved.get("log_product", 0.0)))
        state.num_moves = len(getattr(parameter, "moves", ()))
        if "reached" in saved:
            state.reached = array_of("reached", saved["reached"], (len(weight),), np.dtype(np.float64))
        if any(name in saved for name in self._names):
            arrays = [np.zeros((0, 1), accumulator(weight.dtype))] * 2
            for n, (name, width) in enumerate(zip(self._names, widths, strict=False)):
                if width:
                    arrays[n] = array_of(name, saved[name], (len(weight), width), accumulator(weight.dtype))
            state.arrays = (arrays[0], arrays[1])
        return state
