"""How every CPU kernel is compiled, and where its machine code is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import IndexDataCacheFile
from numba.extending import overload

from fastemb.kernels.caching import FilesByContent, folder_of
from fastemb.kernels.cpu.inlining import OPTIONS, taken_in

__all__ = [
    "MachineCode",
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
    cache._cache_file = MachineCode(cache.cache_path, cache._impl.filename_base)
    return compiled


class MachineCode(FilesByContent, IndexDataCacheFile):
    """The files that hold a CPU kernel's machine code."""


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


def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels, or None where none can be written."""
    return folder_of(__package__, numba.__version__, "kernels")
