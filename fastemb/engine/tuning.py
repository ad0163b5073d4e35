"""Choosing between ways to do the same work by how fast they are here and now."""

from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Tuner"]

T = TypeVar("T")

TRUST = 14  # phases for which the winner of a trial is used before the next trial


class Tuner(Generic[T]):
    """Chooses the fastest of several equivalent ways while the work goes on.

    Which way is best can depend on what a program cannot ask: whether the cores that its threads run on share a cache,
    which a virtual machine may change at any time. So work is cut in pieces; every way gets a phase of pieces in turn,
    the fastest gets the next `TRUST` phases, and then they are tried again.

    Parameters
    ----------
    ways : sequence
        At least one.
    phase : int
        Pieces in a phase.

    Examples
    --------
    >>> tuner = Tuner(["slow", "fast"], phase=1)
    >>> for seconds in (2.0, 1.0):
    ...     tuner.record(tuner.next_way(), 100, seconds)
    >>> tuner.next_way()
    'fast'
    """

    def __init__(self, ways: Sequence[T], phase: int) -> None:
        self._ways = ways
        self._phase = phase
        self._piece = 0
        self._begin_trial()

    def _begin_trial(self) -> None:
        self._units = dict.fromkeys(self._ways, 0)
        self._seconds = dict.fromkeys(self._ways, 0.0)

    def next_way(self) -> T:
        """Return the way for the next piece; to be called from one thread."""
        if len(self._ways) == 1:
            return self._ways[0]
        phase = self._piece // self._phase % (len(self._ways) + TRUST)
        if phase == 0 and self._piece % self._phase == 0:
            self._begin_trial()
        self._piece += 1
        if phase < len(self._ways):
            return self._ways[phase]
        return max(self._ways, key=self._speed)

    def record(self, way: T, units: int, seconds: float) -> None:
        """Count a piece that was done in a way; to be called from one thread."""
        self._units[way] += units
        self._seconds[way] += seconds

    def _speed(self, way: T) -> float:
        return self._units[way] / self._seconds[way] if self._seconds[way] else 0.0
