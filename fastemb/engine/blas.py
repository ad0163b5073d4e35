"""How many threads NumPy's matrix products may use.

A library of linear algebra starts as many threads as there are cores, whatever a caller wants. Where NumPy brought
OpenBLAS along, as its wheels for Linux and Windows do, it can be told; elsewhere it is left alone.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

__all__ = ["product_threads"]

_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_")


class _Library(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], None]


class _Users:
    """How many blocks of code want a number of threads, and how many there were before."""

    def __init__(self) -> None:
        self.lock, self.count, self.before = Lock(), 0, 1


_users = _Users()


@contextmanager
def product_threads(most: int) -> Iterator[bool]:
    """Let NumPy's matrix products use no more than `most` threads inside a ``with`` block.

    It holds for all threads of the process. Where blocks overlap the last one to begin decides, and the last one to end
    restores what was.

    Yields
    ------
    bool
        Whether that was possible.

    Examples
    --------
    >>> with product_threads(1) as bounded:
    ...     bounded in (True, False)
    True
    """
    library = _openblas()
    if library is None:
        yield False
        return
    with _users.lock:
        if _users.count == 0:
            _users.before = library.get()
        library.set(min(most, _users.before))
        _users.count += 1
    try:
        yield True
    finally:
        with _users.lock:
            _users.count -= 1
            if _users.count == 0:
                library.set(_users.before)


@cache
def _openblas() -> _Library | None:
    """Return the library that NumPy's own files hold, loaded already; None if there is none."""
    import numpy

    package = Path(numpy.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for file in sorted(folder.glob("*openblas*")):
            try:
                found = ctypes.CDLL(str(file))
            except OSError:
                continue
            for name in _NAMES:
                if hasattr(found, name.format("set")) and hasattr(found, name.format("get")):
                    return _Library(getattr(found, name.format("get")), getattr(found, name.format("set")))
    return None
