"""Where the GPU's compiled kernels are kept; see `fastemb.kernels.caching`."""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import config

from fastemb.kernels.caching import FilesByContent, folder_of

__all__ = ["cache_folder", "keep"]


def cache_folder() -> Path | None:
    """Return the folder of the GPU's compiled kernels, or None where none can be written."""
    return folder_of(__package__, version("numba-cuda"), "cuda")


@cache
def keep(module: ModuleType) -> None:
    """Keep the machine code of a module's kernels on disk; the simulator has none."""
    if config.ENABLE_CUDASIM:
        return
    folder = cache_folder()
    if folder is not None:
        for kernel in vars(module).values():
            if hasattr(kernel, "enable_caching") and not kernel.targetoptions.get("device"):
                _keep_in(str(folder), kernel)


def _keep_in(folder: str, kernel: Any) -> None:
    from numba.cuda.core import config as configuration

    # Numba asks where to cache when it is told to, so this leaves the user's own kernels alone.
    saved = configuration.CACHE_DIR
    configuration.CACHE_DIR = folder
    try:
        kernel.enable_caching()
    finally:
        configuration.CACHE_DIR = saved
    kept = kernel._cache
    kept._cache_file = _files_of()(kept.cache_path, kept._impl.filename_base)


@cache
def _files_of() -> Any:
    from numba.cuda.core.caching import IndexDataCacheFile

    return type("_MachineCode", (FilesByContent, IndexDataCacheFile), {})
