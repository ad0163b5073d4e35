"""Where compiled kernels are kept, and in which files: what the packages of kernels share."""

import hashlib
import os
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["FilesByContent", "folder_of", "keep_of_gpu"]


@cache
def folder_of(package: str, version: str, prefix: str) -> Path | None:
    """Return the folder of a package's compiled kernels, or None where none can be written.

    Its name holds a hash of all kernel sources: Numba itself does not see a change in a function that another file's
    kernel calls. The environment variable ``FASTEMB_CACHE_DIR`` names another place than the user's cache folder.

    Parameters
    ----------
    package : str
        Its name.
    version : str
        Of what compiles.
    prefix : str
        Of the folder's name.
    """
    found = find_spec(package)
    assert found is not None and found.origin is not None
    place = Path(found.origin).parent
    sources = hashlib.sha256(version.encode())
    for file in sorted(place.glob("*.py")):
        sources.update(file.read_bytes())
    name = f"{prefix}-{sources.hexdigest()[:16]}"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    chosen = os.environ.get("FASTEMB_CACHE_DIR")
    for parent in [Path(chosen)] if chosen else [Path(base, "fastemb"), place / "__cache__"]:
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK):
            return parent / name
    return None


class FilesByContent:
    """The files that hold a kernel's machine code, one for each signature and processor: for a class of Numba's files.

    Numba numbers them and keeps an index. Two processes that compile one kernel at once can take the same number for
    two signatures, and a later one then runs code that is for other arguments. Here a file's name tells what it holds.
    """

    def __init__(self, folder: str, name: str) -> None:
        super().__init__(folder, name, None)  # type: ignore[call-arg]
        self._name = name

    def save(self, key: Any, data: Any) -> None:
        """Write the machine code of a signature."""
        self._save_data(self._file_of(key), (repr(key), data))  # type: ignore[attr-defined]

    def load(self, key: Any) -> Any:
        """Return the machine code of a signature; None if there is none that can be read."""
        try:
            kept_for, data = self._load_data(self._file_of(key))  # type: ignore[attr-defined]
        except Exception:  # none yet; or cut off by a full disk, for which reading it raises many kinds
            return None
        return data if kept_for == repr(key) else None

    def _file_of(self, key: Any) -> str:
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"


@cache
def keep_of_gpu(module: ModuleType) -> None:
    """Keep the machine code of a module of kernels for a GPU on disk; the simulator has none."""
    from numba import config

    folder = None if config.ENABLE_CUDASIM else folder_of(module.__package__ or "", version("numba-cuda"), "cuda")
    if folder is not None:
        for kernel in vars(module).values():
            if hasattr(kernel, "enable_caching") and not kernel.targetoptions.get("device"):
                _keep_in(str(folder), kernel)


def _keep_in(folder: str, kernel: Any) -> None:
    from numba.cuda.core import config

    # Numba asks where to cache when it is told to, so this leaves the user's own kernels alone.
    saved = config.CACHE_DIR
    config.CACHE_DIR = folder
    try:
        kernel.enable_caching()
    finally:
        config.CACHE_DIR = saved
    kept = kernel._cache
    kept._cache_file = _files_of_gpu()(kept.cache_path, kept._impl.filename_base)


@cache
def _files_of_gpu() -> Any:
    from numba.cuda.core.caching import IndexDataCacheFile

    return type("MachineCode", (FilesByContent, IndexDataCacheFile), {})
