"""One case of a kind: sides that do the same work, whose results are compared before they are timed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from fastemb.bench.layers.cases import Case
from fastemb.bench.layers.timing import Timing, measure
from fastemb.bench.machine import core_round_trip

OURS = "fastemb"


class Measured(TypedDict):
    """What a comparison gave: the case, each side's times, the bytes a call reads and how near the cores were."""

    case: dict[str, Any]
    sides: dict[str, Timing]
    bytes: int
    round_trip_ns: float | None


@dataclass
class Comparison:
    """Sides that do the same work.

    Attributes
    ----------
    case
        The size of the work.
    sides
        A call for each side, which is what is timed.
    results
        What to compare of a side: a function that returns an array; its call's own result where there is none.
    unchecked
        Sides without a result that could be compared.
    tolerance
        The largest difference allowed of a number, relative to it or to torch's mean magnitude, whichever is larger.
    bytes
        That a call must read, where that is not the case's rows in float32.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import Case
    >>> from fastemb.bench.layers.comparison import Comparison
    >>> sides = {"fastemb": lambda: [1.0, 2.0], "torch": lambda: [1.0, 2.5]}
    >>> Comparison(Case(10, 2), sides).verify()
    Traceback (most recent call last):
        ...
    RuntimeError: fastemb and torch differ by 0.2 of the value: V=10 D=2 L=1 B=64 uniform
    """

    case: Case
    sides: Mapping[str, Callable[[], Any]]
    results: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()
    tolerance: float = 1e-5
    bytes: int | None = None

    def verify(self) -> None:
        """Compare all sides' results with those of the first one that is not fastemb's.

        Raises
        ------
        RuntimeError
            If one differs.
        """
        found = {
            name: _plain(self.results.get(name, call)())
            for name, call in self.sides.items()
            if name not in self.unchecked
        }
        reference = next((name for name in found if name != OURS), OURS)
        wanted = found[reference]
        sizes = np.abs(wanted)
        scale = np.maximum(sizes, sizes.mean()) + 1e-30
        for name, values in found.items():
            if values.shape != wanted.shape:
                raise RuntimeError(
                    f"{name} and {reference} differ in shape, {values.shape} and {wanted.shape}: {self.case}"
                )
            difference = float((np.abs(values - wanted) / scale).max())
            if not difference <= self.tolerance:
                raise RuntimeError(f"{name} and {reference} differ by {difference:.2g} of the value: {self.case}")

    def measure(self, seconds: float) -> Measured:
        """Verify, then time all sides for about `seconds`."""
        self.verify()
        return {
            "case": self.case.as_dict(),
            "sides": measure(self.sides, seconds),
            "bytes": self.case.row_bytes if self.bytes is None else self.bytes,
            "round_trip_ns": core_round_trip(),
        }


def _plain(values: Any) -> NDArray:
    """Return an array of what a side gave: an array, a tensor (with a gradient or of bfloat16, too), or a list."""
    if hasattr(values, "detach"):
        values = values.detach()
        values = values.float() if values.element_size() == 2 else values
    return np.asarray(values)
