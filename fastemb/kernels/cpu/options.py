"""How every CPU kernel is compiled, and where its machine code is kept."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import IndexDataCacheFile
from numba.extending import overload

from fastemb.kernels.cpu.inlining import OPTIONS, taken_in

__all__ = [
    "cache_folder",
    "chosen",
    "exact_inline",
    "exact_kernel",
    "inline",
    "kernel",
    "parallel_kernel",
    "part_of",
]

# NaN and infinity keep their meaning; a kernel never holds the GIL and never raises on division.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz", "arcp"}}


def kernel(function: Callable) -> Any:
    """Compile `function` when it is first called, and keep the machine code in `cache_folder`."""
    return _compiled(function, _OPTIONS)


def parallel_kernel(function: Callable) -> Any:
    """Compile a kernel whose ``prange`` runs in Numba's own threads, which start work within microseconds.

    It may only be called where `fastemb.engine.parallel` finds that these threads are safe.
    """
    return _compiled(function, {**_OPTIONS, "parallel": True})


def exact_kernel(function: Callable) -> Any:
    """Compile a kernel without fastmath, as one whose results must be another program's to the last bit."""
    return _compiled(function, {**_OPTIONS, "fastmath": False})


def _compiled(function: Callable, options: dict[str, Any]) -> Any:
    folder = cache_folder()
    if folder is None:
        return numba.njit(**options)(function)
    # Numba asks where to cache when a function is decorated, so this leaves the user's own functions alone.
    saved = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        compiled = numba.njit(**options, cache=True)(function)
    finally:
        config.CACHE_DIR = saved
    cache = compiled._cache
    cache._cache_file = _MachineCode(cache.cache_path, cache._impl.filename_base)
    return compiled


class _MachineCode(IndexDataCacheFile):
    """The files that hold a kernel's machine code, one for each signature and processor.

    Numba numbers them and keeps an index. Two processes that compile one kernel at once can take the same number for
    two signatures, and a later one then runs code that is for other arguments. Here a file's name tells what it holds.
    """

    def __init__(self, folder: str, name: str) -> None:
        super().__init__(folder, name, None)
        self._name = name

    def save(self, key: Any, data: Any) -> None:
        """Write the machine code of a signature."""
        self._save_data(self._file_of(key), (repr(key), data))

    def load(self, key: Any) -> Any:
        """Return the machine code of a signature; None if there is none that can be read."""
        try:
            kept_for, data = self._load_data(self._file_of(key))
        except Exception:  # none yet; or cut off by a full disk, for which reading it raises many kinds
            return None
        return data if kept_for == repr(key) else None

    def _file_of(self, key: Any) -> str:
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"


def inline(function: Callable) -> Any:
    """Compile `function` into the kernels that call it; it is not cached by itself."""
    return taken_in(function, _OPTIONS)


def chosen(function: Callable) -> Callable:
    """Decorate a choice: it gets the types of a call of `function`, and returns what is compiled into the caller."""
    return overload(function, jit_options={**_OPTIONS, **OPTIONS})


def exact_inline(function: Callable) -> Any:
    """Compile `function` into the exact kernels that call it."""
    return taken_in(function, {**_OPTIONS, "fastmath": False})


@inline
def part_of(start, stop, c, chunks):
    """Return where chunk `c` of ``[start, stop)`` begins."""
    return start + (stop - start) * c // chunks


@cache
def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels, or None where none can be written.

    Its name holds a hash of all kernel sources: Numba itself does not see a change in a function that another file's
    kernel calls. The environment variable ``FASTEMB_CACHE_DIR`` names another place than the user's cache folder.
    """
    package = Path(__file__).parent
    sources = hashlib.sha256(numba.__version__.encode())
    for file in sorted(package.glob("*.py")):
        sources.update(file.read_bytes())
    name = f"kernels-{sources.hexdigest()[:16]}"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    chosen = os.environ.get("FASTEMB_CACHE_DIR")
    for parent in [Path(chosen)] if chosen else [Path(base, "fastemb"), package / "__cache__"]:
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK):
            return parent / name
    return None
