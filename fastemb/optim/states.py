"""The states of all parameters of an optimizer: kept, saved and restored."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from fastemb.engine.arrays import accumulator
from fastemb.engine.device import on_host
from fastemb.engine.locks import ForkedLock
from fastemb.engine.validate import integer
from fastemb.optim.state import Parameter, State, array_of, table_of

__all__ = ["States"]


class States:
    """The states of the parameters that an optimizer has seen, in the order in which they came; under one lock.

    Examples
    --------
    >>> States().state_dict()
    {'optimizer': 'States', 'state': []}
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._lock = ForkedLock()
        self._states: WeakKeyDictionary[Any, State] = WeakKeyDictionary()
        self._loaded: list[dict[str, Any]] = []

    def _widths(self, dim: int) -> tuple[int, int]:
        """Return the columns of the rule's two state arrays, 0 for none."""
        raise NotImplementedError

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
        return {"optimizer": type(self).__name__, "state": [self._named(state) for _, state in self._known()]}

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

    # Weak references cannot be pickled: a copy knows the parameters that are copied along.

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_states": self._known()}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._states = WeakKeyDictionary()
        for parameter, state in attributes["_states"]:
            self._states[parameter] = state

    def _known(self) -> list[tuple[Parameter, State]]:
        with self._lock:  # a layer that another thread makes is not added meanwhile
            return list(self._states.items())

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

    def _named(self, state: State) -> dict[str, Any]:
        return named(state, self._names)

    def _restored(self, parameter: Parameter, saved: dict[str, Any]) -> State:
        return restored(parameter, saved, self._names, self._widths(table_of(parameter).shape[1]))


def named(state: State, names: Sequence[str]) -> dict[str, Any]:
    """Return what is remembered of a table by name, the arrays in the host's memory; `names` are those of the rule's.

    Examples
    --------
    >>> named(State(3, (np.ones((1, 2)), np.zeros((0, 1)))), ["sum"])
    {'step': 3, 'sum': array([[1., 1.]])}
    """
    found: dict[str, Any] = {"step": state.step}
    if state.arrays is not None:
        pairs = zip(names, state.arrays, strict=False)
        found |= {name: on_host(array) for name, array in pairs if array.shape != (0, 1)}
    if state.reached is not None:
        found |= {"log_product": state.log_product, "reached": on_host(state.reached)}
    return found


def restored(parameter: Parameter, saved: dict[str, Any], names: Sequence[str], widths: tuple[int, int]) -> State:
    """Return what `named` gave as a state of a parameter, for a rule with state of these widths.

    Raises
    ------
    ValueError
        If an array does not fit the table.
    """
    weight = table_of(parameter)
    dtype = accumulator(weight.dtype)
    state = State(integer("step", saved["step"], 0), None, float(saved.get("log_product", 0.0)))
    state.num_moves = len(getattr(parameter, "moves", ()))
    if "reached" in saved:
        state.reached = array_of("reached", saved["reached"], (len(weight),), np.dtype(np.float64))
    if any(name in saved for name in names):
        arrays = [np.zeros((0, 1), dtype)] * 2
        for n, (name, width) in enumerate(zip(names, widths, strict=False)):
            if width:
                arrays[n] = array_of(name, saved[name], (len(weight), width), dtype)
        state.arrays = (arrays[0], arrays[1])
    return state
