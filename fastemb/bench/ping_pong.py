"""Two threads that hand a counter to and fro: the time a cache line takes between two cores."""

import os
import threading
import time
from typing import Any

import numba as nb
import numpy as np
from numba.core import types
from numba.extending import intrinsic

SPINS = 200_000_000
"""Give up after so many looks at the counter: the other thread does not run."""


@intrinsic
def _load(typing_context: Any, array: Any) -> Any:
    """Read ``array[0]`` from memory, each time anew."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array), build


@intrinsic
def _store(typing_context: Any, array: Any, value: Any) -> Any:
    """Write ``array[0]`` so that other cores see it."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = context.make_array(signature.args[0])(context, builder, args[0]).data
        builder.store_atomic(args[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64), build


@nb.njit(nogil=True)
def _play(counter, mine, trips):  # type: ignore[no-untyped-def]
    """Wait `trips` times for a number that is `mine` modulo two and answer with the next; False if no one plays."""
    for trip in range(trips):
        wanted = np.int64(2 * trip + mine)
        spins = 0
        while _load(counter) != wanted:
            spins += 1
            if spins > SPINS:
                return False
        _store(counter, wanted + np.int64(1))
    return True


def round_trips(first: int, second: int, batches: int, trips: int) -> list[float]:
    """Time round trips between the cores `first` and `second`.

    Returns
    -------
    list of float
        Seconds for a round trip, the mean of `trips`, for each of `batches`; NaN where the other thread did not run.

    Examples
    --------
    >>> import os
    >>> from fastemb.bench.ping_pong import round_trips
    >>> len(round_trips(0, 1, 3, 10)) if hasattr(os, "sched_setaffinity") and os.cpu_count() > 1 else 3
    3
    """
    counters = np.zeros((batches + 1, 64), dtype=np.int64)  # 512 bytes each: no two share a cache line
    _play(np.zeros(1, dtype=np.int64), 0, 1)  # compiles before the clock runs
    seconds: list[float] = []

    def serve() -> None:
        os.sched_setaffinity(0, {second})
        for counter in counters:
            _play(counter, 1, trips)

    def measure() -> None:
        os.sched_setaffinity(0, {first})
        for counter in counters:
            start = time.perf_counter()
            answered = _play(counter, 0, trips)
            seconds.append((time.perf_counter() - start) / trips if answered else float("nan"))

    threads = [threading.Thread(target=serve, daemon=True), threading.Thread(target=measure, daemon=True)]
    for thread in threads:  # threads of their own, so that the caller's is not pinned
        thread.start()
    for thread in threads:
        thread.join()
    return seconds[1:]  # the first waited for the other thread to start
