"""Threads: how many, and how ranges of work are handed to them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fastemb.engine.validate import integer

__all__ = ["get_num_threads", "num_threads", "ordered_map", "set_num_threads"]

MAX_THREADS = 1024

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
    if _chosen is not None:
        return _chosen
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
