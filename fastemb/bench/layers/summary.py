"""Ratios of what was measured: how many times faster fastemb was, over all cases and in the worst."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastemb.bench.layers.cases import Case
from fastemb.bench.layers.comparison import OURS, Measured
from fastemb.bench.layers.targets import Target

DISTURBED = 1.5


@dataclass(frozen=True)
class Summary:
    """How many times faster fastemb was in the cases that a target speaks of.

    Attributes
    ----------
    target
        What had to be reached.
    records
        The cases.
    hot, alternating
        The ratio in each case.
    """

    target: Target
    records: Sequence[Measured]
    hot: Sequence[float]
    alternating: Sequence[float]

    @property
    def mean(self) -> float:
        """The geometric mean of the hot ratios."""
        return statistics.geometric_mean(self.hot)

    @property
    def worst(self) -> float:
        """The least of the hot ratios."""
        return min(self.hot)

    @property
    def worst_case(self) -> Case:
        """The case with the least ratio."""
        return Case(**self.records[self.hot.index(self.worst)]["case"])

    @property
    def disturbed(self) -> int:
        """In how many cases a side took half as long again in most blocks as it did at best: something else ran."""
        names = (OURS, *self.target.peers)
        compared = ([record["sides"][name] for name in names if name in record["sides"]] for record in self.records)
        return sum(
            any(statistics.median(side["hot"]) > DISTURBED * side["best"] for side in sides) for sides in compared
        )

    @property
    def reached(self) -> bool:
        """Whether mean and worst case are what the target asks."""
        asked = ((self.mean, self.target.mean), (self.worst, self.target.worst))
        return all(wanted is None or found >= wanted for found, wanted in asked)


def summarise(target: Target, records: Sequence[Measured]) -> Summary | None:
    """Return the ratios of the cases in `records` that `target` speaks of; None where there are none.

    Examples
    --------
    >>> from fastemb.bench.layers.summary import summarise
    >>> from fastemb.bench.layers.targets import Target
    >>> sides = {"fastemb": {"hot": [1.0, 1.0, 2.0], "alternating": 2.0}, "torch": {"hot": [3.0], "alternating": 3.0}}
    >>> record = {"case": {"num_embeddings": 10, "embedding_dim": 4}, "sides": sides}
    >>> found = summarise(Target("bags", "bags", ("torch",), mean=2), [record])
    >>> found.hot, found.alternating, found.reached
    ([3.0], [1.5], True)
    """
    found = [each for each in records if target.matches(each["case"]) and set(target.peers) & set(each["sides"])]
    if not found:
        return None
    return Summary(
        target,
        found,
        [ratio(each, target.peers) for each in found],
        [ratio(each, target.peers, hot=False) for each in found],
    )


def ratio(record: Measured, peers: Sequence[str], *, hot: bool = True) -> float:
    """Return how many times the seconds of fastemb's side the fastest of `peers` took.

    Examples
    --------
    >>> from fastemb.bench.layers.summary import ratio
    >>> sides = {"fastemb": {"hot": [1.0], "alternating": 1.0}, "torch": {"hot": [3.0], "alternating": 2.0}}
    >>> ratio({"sides": sides}, ["torch"]), ratio({"sides": sides}, ["torch"], hot=False)
    (3.0, 2.0)
    """
    times = {name: _seconds(record, name, hot) for name in (OURS, *peers) if name in record["sides"]}
    ours = times.pop(OURS)
    return min(times.values()) / ours


def _seconds(record: Measured, side: str, hot: bool) -> float:
    timing = record["sides"][side]
    return statistics.median(timing["hot"]) if hot else timing["alternating"]


def describe_case(record: Any) -> str:
    """Return a line about one case: what each side took, hot, and how many times fastemb's that is.

    Examples
    --------
    >>> from fastemb.bench.layers.summary import describe_case
    >>> sides = {"fastemb": {"hot": [1e-5], "alternating": 1e-5}, "torch": {"hot": [3e-5], "alternating": 2e-5}}
    >>> case = {"num_embeddings": 10, "embedding_dim": 4, "variant": "sum"}
    >>> describe_case({"sides": sides, "case": case, "bytes": 100_000})
    'V=10 D=4 L=1 B=64 uniform sum: fastemb 10 us (10.0 GB/s), torch 30 us (3.00x, alternating 2.00x)'
    """
    ours = _seconds(record, OURS, True)
    parts = [f"{OURS} {duration(ours)} ({record['bytes'] / ours / 1e9:.1f} GB/s)"]
    for name in record["sides"]:
        if name != OURS:
            ratios = f"{ratio(record, [name]):.2f}x, alternating {ratio(record, [name], hot=False):.2f}x"
            parts.append(f"{name} {duration(_seconds(record, name, True))} ({ratios})")
    return f"{Case(**record['case'])}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Return `seconds` in a unit that suits them.

    Examples
    --------
    >>> from fastemb.bench.layers.summary import duration
    >>> duration(1.5e-6), duration(0.0234)
    ('1.5 us', '23 ms')
    """
    unit, size = ("us", 1e-6) if seconds < 1e-3 else ("ms", 1e-3)
    value = seconds / size
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f} {unit}"
