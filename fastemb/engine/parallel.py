"""Threads: how many, and how ranges of work are handed to them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from types import ModuleType
from typing import Any, TypeVar

from fastemb.engine.backend import announce
from fastemb.engine.validate import integer

__all__ = ["get_num_threads", "num_threads", "ordered_map", "run", "run_whole", "set_num_threads"]

MAX_THREADS = 1024
SERIAL_BYTES = 128 << 10  # below, waking a thread costs more than it saves
POOLED_BYTES = 2 << 20  # the same for a thread pool, where Numba's threads may not be used

T = TypeVar("T")
R = TypeVar("R")

_chosen: int | None = None


def get_num_threads() -> int:
    """Return how many threads fastemb uses where a call does not say: the cores that this process may use.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return _available() if _chosen is None else _chosen


@cache
def _available() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on, in every call that does not say otherwise.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer in that range.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(3)
    >>> get_num_threads()
    3
    >>> set_num_threads(before)
    """
    global _chosen
    _chosen = integer("n", n, 1, MAX_THREADS)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Examples
    --------
    >>> with num_threads(3):
    ...     get_num_threads()
    3
    """
    global _chosen
    before = _chosen
    set_num_threads(n)
    try:
        yield
    finally:
        _chosen = before


def run(module: ModuleType, name: str, arguments: tuple, size: int, cost: int) -> int:
    """Run a range kernel over ``[0, size)`` in as many threads as pay.

    Parameters
    ----------
    module : module
        The kernel's, as `fastemb.engine.backend.kernels` returns it.
    name : str
        The kernel, which takes `arguments` and a range. If the module has ``parallel_`` + name, that is its twin, which
        hands parts of the range to Numba's own threads.
    arguments : tuple
        The kernel's arguments before the range.
    size : int
        The end of the range.
    cost : int
        About how many bytes the kernel reads and writes.

    Returns
    -------
    int
        -1, or the status of the first part of the range in which something is wrong, whatever the number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.engine.backend import kernels
    >>> out, weight = np.empty((2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(4, 3)
    >>> run(kernels("cpu", "lookup"), "lookup", (out, weight, np.array([3, 0]), -2), size=2, cost=96)
    -1
    >>> out
    array([[ 9., 10., 11.],
           [ 0.,  1.,  2.]], dtype=float32)
    """
    kernel = getattr(module, name)
    team = 1 if cost < SERIAL_BYTES else min(get_num_threads(), size)
    twin = getattr(module, f"parallel_{name}", None) if team > 1 else None
    if not getattr(twin or kernel, "overloads", True):
        announce(twin or kernel)
    if twin is None:
        status = kernel(*arguments, 0, size)
        return -1 if status is None else status
    if _forked or not _prange_is_safe():
        return _run_pooled(kernel, arguments, size, team if cost > POOLED_BYTES else 1)
    if _congestion.is_passing(perf_counter()):
        status = kernel(*arguments, 0, size)
        return -1 if status is None else status
    if not _run_twin(twin, (*arguments, 0, size), team, cost):
        return -1
    return kernel(*arguments, 0, size)  # again and in order, for the first fault


def run_whole(module: ModuleType, name: str, arguments: tuple, cost: int, most: int) -> Any:
    """Run a kernel that takes whole arrays, once, in as many threads as pay, and return what it returns.

    Parameters
    ----------
    module, name, arguments, cost
        As `run` takes them. Where Numba's threads may not be used, one thread does it all.
    most : int
        Threads for which there is scratch memory: `get_num_threads` may say more when another thread has set it.
    """
    team = 1 if cost < SERIAL_BYTES else most
    twin = getattr(module, f"parallel_{name}", None) if team > 1 else None
    if twin is None or _forked or not _prange_is_safe() or _congestion.is_passing(perf_counter()):
        return getattr(module, name)(*arguments)
    return _run_twin(twin, arguments, team, cost)


class _Congestion:
    """Notices when all cores are busy with something else.

    A launch then waits for a time slice, thousands of times what the work takes. After two such launches in a row one
    thread does the work for a while, for longer and longer until a launch is quick again.
    """

    SLOW_SECONDS, SLOW_BYTES = 1e-3, 3e9  # slower than this, and than so many bytes a second, is not the work itself
    FIRST, LAST = 0.005, 0.5  # seconds

    def __init__(self) -> None:
        self._until, self._length, self._slow = 0.0, self.FIRST, 0

    def is_passing(self, now: float) -> bool:
        """Return whether to do without threads, for now."""
        return now < self._until

    def note(self, start: float, stop: float, cost: int) -> None:
        """Take note of when a launch began and ended."""
        seconds = stop - start
        if seconds < self.SLOW_SECONDS or seconds * self.SLOW_BYTES < cost:
            self._slow, self._length = 0, self.FIRST
            return
        self._slow += 1
        if self._slow > 1:
            self._until, self._length = stop + self._length, min(2 * self._length, self.LAST)


_congestion = _Congestion()


def _run_twin(twin: Any, arguments: tuple, team: int, cost: int) -> Any:
    start, compiled = perf_counter(), len(twin.overloads)
    result = _launch(twin, arguments, team)
    if len(twin.overloads) == compiled:  # what compiling takes says nothing
        _congestion.note(start, perf_counter(), cost)
    return result


def _launch(twin: Any, arguments: tuple, team: int) -> Any:
    numba, most = _numba_threads()
    if team >= most:
        return twin(*arguments, most)
    before = numba.get_num_threads()
    numba.set_num_threads(team)
    try:
        return twin(*arguments, team)
    finally:
        numba.set_num_threads(before)


@cache
def _numba_threads() -> tuple[ModuleType, int]:
    import numba

    return numba, numba.config.NUMBA_NUM_THREADS


def _run_pooled(kernel: Any, arguments: tuple, size: int, team: int) -> int:
    parts = [(size * i // team, size * (i + 1) // team) for i in range(team)]
    statuses = ordered_map(lambda part: kernel(*arguments, *part), parts, team)
    return next((status for status in statuses if status not in (None, -1)), -1)


@cache
def _prange_is_safe() -> bool:
    """Whether several Python threads may start Numba's threads at once: its workqueue ends the process then."""
    import numba
    from numba.np.ufunc.parallel import _launch_threads

    try:
        _launch_threads()
        return numba.threading_layer() in ("omp", "tbb")
    except ValueError:  # the layer that the user asked for is not there
        return False


def _in_child() -> None:
    """GNU's OpenMP ends a forked child at its first parallel region."""
    global _forked
    _forked = True
    _available.cache_clear()


_forked = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Generator[R, None, None]:
    """Yield ``function(item)`` of each item, in order, computed by a team of threads.

    Items are taken lazily, in order, and no more than two a thread are under way at a time. The first exception (of
    `function`, of `items`, or Ctrl-C in the caller's thread) ends the map once the calls under way have returned. With
    one worker everything runs in the caller's thread. The threads live as long as the iteration, so nothing is left
    that a later ``fork`` could break.

    Parameters
    ----------
    function : callable
        Runs in several threads at once, so it should release the GIL.
    items : iterable
    workers : int, optional
        Threads; default `get_num_threads`.

    Yields
    ------
    object

    Examples
    --------
    >>> list(ordered_map(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    team = get_num_threads() if workers is None else workers
    if team == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(team, thread_name_prefix="fastemb") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * team:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
