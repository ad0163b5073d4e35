"""What a layer remembers of its forwards until they are undone."""

import threading
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _memory
from fastemb.engine.device import DeviceArray
from fastemb.engine.foreign import is_foreign
from fastemb.engine.validate import boolean

__all__ = ["Remembering", "Tape", "apart"]


def apart(array: NDArray, *given: Any) -> NDArray:
    """Return an array that does not change when the user's arrays do: copied only where it may be theirs.

    Examples
    --------
    >>> theirs = np.arange(3)
    >>> apart(theirs[:2], theirs) is theirs, apart(theirs, [0, 1, 2]) is theirs
    (False, True)
    """
    if isinstance(array, DeviceArray):
        return array.copy()
    return _memory.copied(array) if array is given[0] or any(_shares(array, one) for one in given) else array


def _shares(array: NDArray, given: Any) -> bool:
    """Return whether an array may lie in what a user passed, or in the parts of a pair of values and offsets."""
    if type(given) is np.ndarray:
        return np.may_share_memory(array, given)
    if isinstance(given, tuple):
        return any(_shares(array, part) for part in given)
    is_arrow = type(given).__module__.partition(".")[0] == "pyarrow"  # which does not change
    if is_arrow or not hasattr(given, "__array__") or is_foreign(given):
        return False
    return np.may_share_memory(array, np.asarray(given))


class Tape(threading.local):
    """A stack of forwards for each thread, and a lock for what the threads share.

    It is not copied or pickled: a copy begins with an empty one.

    Examples
    --------
    >>> tape = Tape()
    >>> tape.calls.append("forward")
    >>> tape.calls.pop()
    'forward'
    """

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __reduce__(self) -> Any:
        return Tape, ()


class Remembering:
    """What remembers forwards in training, in each thread its own, so that ``backward`` can undo them, last first.

    Examples
    --------
    >>> Remembering().eval().training
    False
    """

    def __init__(self) -> None:
        self.training = True
        self._tape = Tape()

    def train(self, mode: bool = True) -> Self:
        """Remember forwards from now on; with ``mode=False`` as `eval`."""
        self.training = boolean("mode", mode)
        return self

    def eval(self) -> Self:
        """Remember no forwards from now on: for inference, which would else fill the memory."""
        return self.train(False)

    def forget(self) -> None:
        """Forget the forwards of this thread that ``backward`` has not undone."""
        self._tape.calls.clear()

    @property
    def remembers(self) -> bool:
        """Whether a forward is remembered."""
        return self.training

    def _remembered(self) -> Any:
        """Return the last forward of this thread, for a backward that is about to undo it."""
        if not self._tape.calls:
            raise RuntimeError("backward needs a forward to undo, in training and in the same thread: there is none")
        return self._tape.calls[-1]

    # A copy begins with nothing remembered.

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tape": Tape()}  # type: ignore[dict-item]
