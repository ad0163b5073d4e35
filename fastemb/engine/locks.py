"""A lock that survives a fork, a copy and a pickle."""

import os
import threading
from typing import Any

__all__ = ["ForkedLock"]


class ForkedLock:
    """A lock that a forked child finds open, whatever another thread of its parent was doing.

    The thread that holds it may take it again. A copy is another lock, and open.

    Examples
    --------
    >>> with ForkedLock() as lock:
    ...     pass
    """

    __slots__ = ("_forks", "_lock")

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._forks = _forks  # last: from now on other threads take the lock as it is

    def __enter__(self) -> "ForkedLock":
        if self._forks != _forks:
            with _renewing:
                if self._forks != _forks:
                    self._renew()
        self._lock.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def __reduce__(self) -> Any:
        return ForkedLock, ()


def _in_child() -> None:
    global _forks, _renewing
    _forks, _renewing = _forks + 1, threading.Lock()


_forks = 0  # that made this process
_renewing = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
