"""How long a call takes beside others: in blocks of its own (hot), and call by call (alternating)."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict

BLOCKS = 7
FEW_BLOCKS = 3
WARM_SECONDS = 3e-3
"""A block begins with so long a warm-up: threads of the side before spin for about a millisecond after their work."""
GROUP_SECONDS = 2e-4
"""Calls are timed in groups of about so long, so that reading the clock costs nothing."""
HOT_SHARE = 0.75


class Timing(TypedDict):
    """One side's seconds for a call.

    Attributes
    ----------
    hot
        The median of each block.
    alternating
        The median of the calls that took turns with the other sides.
    best
        The shortest of all, from blocks: what it takes where nothing else runs on the machine.
    """

    hot: list[float]
    alternating: float
    best: float


def measure(sides: Mapping[str, Callable[[], object]], seconds: float = 1.0) -> dict[str, Timing]:
    """Time each of `sides`, in blocks that take turns and then call by call.

    Parameters
    ----------
    sides
        A name and a call for each. Calls are repeated hundreds of times.
    seconds
        How long the whole measurement should take. Calls too long for it are made a few times all the same.

    Returns
    -------
    dict
        A `Timing` for each side.

    Examples
    --------
    >>> from fastemb.bench.layers.timing import measure
    >>> found = measure({"ours": lambda: sum(range(10)), "theirs": lambda: sum(range(1000))}, seconds=0.05)
    >>> found["ours"]["alternating"] < found["theirs"]["alternating"]
    True
    """
    with _no_collection():
        expected = {name: _expect(call) for name, call in sides.items()}
        blocks = BLOCKS if 4 * BLOCKS * sum(expected.values()) < 2 * seconds else FEW_BLOCKS
        share = HOT_SHARE * seconds / (blocks * len(sides))
        groups: dict[str, list[list[float]]] = {name: [] for name in sides}
        for _ in range(blocks):
            for name, call in sides.items():
                groups[name].append(_block(call, expected[name], share))
        alternating = _alternate(sides, int((1 - HOT_SHARE) * seconds / sum(expected.values())))
    return {
        name: {
            "hot": [statistics.median(block) for block in groups[name]],
            "alternating": alternating[name],
            "best": min(map(min, groups[name])),
        }
        for name in sides
    }


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collection out of what is timed, as `timeit` does."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _seconds(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _expect(call: Callable[[], object]) -> float:
    """Return about how long a call takes; the first ones may compile, or make an optimizer's state."""
    first = min(_seconds(call, 1) for _ in range(2))
    return first if first > GROUP_SECONDS else min(_seconds(call, 10) for _ in range(3))


def _block(call: Callable[[], object], expected: float, seconds: float) -> list[float]:
    """Return the seconds of calls in a row, after a warm-up, group by group."""
    warm = min(WARM_SECONDS, seconds / 3)
    start = time.perf_counter()
    call()
    while time.perf_counter() - start < warm:
        call()
    calls = max(1, int(GROUP_SECONDS / expected))
    groups = min(max(2, int((seconds - warm) / (calls * expected))), 1000)
    return [_seconds(call, calls) for _ in range(groups)]


def _alternate(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(min(max(rounds, 3), 300)):
        for name, call in sides.items():
            times[name].append(_seconds(call, 1))
    return {name: statistics.median(values) for name, values in times.items()}
