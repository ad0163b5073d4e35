"""Which implementation of the kernels runs; nothing else imports a kernel package."""

import importlib
import importlib.util
import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any

from fastemb.engine.validate import choice

__all__ = [
    "DEVICES",
    "announce",
    "checked_device",
    "gpu_name",
    "gpu_problem",
    "has_cache",
    "indexing_device",
    "is_cached",
    "kernels",
    "require_gpu",
    "require_half",
    "simd_width",
]

DEVICES = ("cpu", "reference", "cuda")


@cache
def kernels(device: str, name: str) -> ModuleType:
    """Return one kernel module of a device.

    Parameters
    ----------
    device : {"cpu", "reference", "cuda"}
        Numba on this machine's processor, the NumPy specification, or Numba-CUDA on an NVIDIA GPU.
    name : str
        The module, such as ``"skipgram"``.

    Raises
    ------
    ValueError
        If there is no such device.
    RuntimeError
        If ``NUMBA_DISABLE_JIT`` is set: the CPU's kernels exist only compiled; or no GPU can be used.
    ImportError
        If the package for GPUs is not installed.

    Examples
    --------
    >>> kernels("reference", "random").__name__
    'fastemb.kernels.reference.random'
    """
    choice("device", device, DEVICES)
    if device == "cpu":
        _require_compiler()
    elif device == "cuda":
        require_gpu()
        if importlib.util.find_spec(f"fastemb.kernels.cuda.{name}") is None:
            raise ValueError(f"device='cuda' has no {name}: use device='cpu'")
    module = importlib.import_module(f"fastemb.kernels.{device}.{name}")
    if device == "cpu":
        _warn_if_not_cached()
    elif device == "cuda":
        importlib.import_module("fastemb.kernels.caching").keep_of_gpu(module)
    return module


def checked_device(device: str) -> str:
    """Return the name of a device that can be used.

    Raises
    ------
    ValueError
        If there is no such device.
    ImportError, RuntimeError
        As `require_gpu`, for "cuda".

    Examples
    --------
    >>> checked_device("cpu")
    'cpu'
    """
    if choice("device", device, DEVICES) == "cuda":
        require_gpu()
    return device


def indexing_device(device: str) -> str:
    """Return where the indices of a device's gradients are grouped: those of a GPU on the CPU.

    Examples
    --------
    >>> indexing_device("cuda"), indexing_device("reference")
    ('cpu', 'reference')
    """
    return "cpu" if device == "cuda" else device


def require_gpu() -> None:
    """Check that a GPU can be used.

    Raises
    ------
    ImportError
        If numba-cuda is not installed.
    RuntimeError
        If there is no driver, no device, or no compiler for it: with what the driver says.
    """
    problem = gpu_problem()
    if problem is not None:
        kind = ImportError if problem.startswith("no package") else RuntimeError
        raise kind(f"device='cuda' cannot be used: {problem}")


@cache
def gpu_problem() -> str | None:
    """Return why no GPU can be used; None if one can.

    Numba's simulator, ``NUMBA_ENABLE_CUDASIM=1``, counts as one: kernels run in it as Python, to be tested.
    """
    from numba import config

    if config.ENABLE_CUDASIM:
        return None
    if importlib.util.find_spec("numba_cuda") is None:
        return "no package numba-cuda: pip install 'fastemb[cuda]'"
    from numba import cuda

    try:
        if not len(cuda.gpus):
            return "no device: the NVIDIA driver finds none"
        _ = cuda.current_context()
    except Exception as error:  # the driver's own kinds, which differ between versions
        told = " ".join(str(error).replace("Error at driver init:", "").split()).strip(" :")
        kind = "no driver" if "cannot be found" in told or "libcuda" in told else "no usable device"
        return f"{kind}: {told}"
    return _compiler_problem()


def gpu_name() -> str:
    """Return which GPU ``device="cuda"`` uses, or why none can be used."""
    problem = gpu_problem()
    if problem is not None:
        return f"not usable: {problem}"
    from numba import config, cuda

    if config.ENABLE_CUDASIM:
        return "Numba's simulator"
    found = cuda.get_current_device()
    name = found.name.decode() if isinstance(found.name, bytes) else found.name
    major, minor = found.compute_capability
    return f"{name}, compute capability {major}.{minor}"


def _compiler_problem() -> str | None:
    """Return what is missing of the compiler that turns kernels into the GPU's code."""
    from numba.cuda.cudadrv import nvrtc, nvvm

    try:
        nvvm.NVVM()
        nvrtc.get_supported_ccs()
    except Exception as error:
        told = " ".join(str(error).split())
        return f"no compiler, NVVM or NVRTC: pip install 'fastemb[cuda]' brings it ({told})"
    return None


def _require_compiler() -> None:
    from numba import config

    if config.DISABLE_JIT:
        raise RuntimeError("fastemb's kernels must be compiled, and NUMBA_DISABLE_JIT forbids it: unset it")


@cache
def _warn_if_not_cached() -> None:
    if not has_cache():
        warnings.warn(
            "no folder for compiled kernels can be written, so they are compiled again in every process; "
            "set FASTEMB_CACHE_DIR to a folder that can",
            RuntimeWarning,
            stacklevel=4,
        )


def has_cache() -> bool:
    """Return whether there is a folder where compiled kernels are kept."""
    from fastemb.kernels.cpu.options import cache_folder

    return cache_folder() is not None


def is_cached(kernel: Any) -> bool:
    """Return whether a CPU kernel has been compiled, in this process or before, so that its first call is quick."""
    from fastemb.kernels.cpu.options import cache_folder

    folder = cache_folder()
    name = f"{kernel.py_func.__module__.rpartition('.')[2]}.{kernel.py_func.__name__}-"
    return bool(kernel.signatures) or (folder is not None and any(folder.rglob(f"{name}*.nbc")))


def announce(kernel: Any) -> None:
    """Say on a terminal, once, that `kernel` is about to be compiled, if it was not compiled before."""
    global _announced
    if not _announced and sys.stderr is not None and sys.stderr.isatty() and not is_cached(kernel):
        _announced = True
        kept = "; later starts take the kernels from the cache" if has_cache() else ""
        print(f"fastemb: compiling for this processor, some seconds{kept}", file=sys.stderr)


_announced = False


def require_half() -> None:
    """Check that float16 can be computed with.

    Raises
    ------
    RuntimeError
        If the processor that Numba compiles for has no instructions for it: LLVM would end the process.
    """
    if not _converts_half():
        raise RuntimeError(
            "float16 and 4-bit tables need a processor with F16C, and Numba compiles for one without it: "
            "is NUMBA_CPU_NAME or NUMBA_CPU_FEATURES set?"
        )


@cache
def _converts_half() -> bool:
    triple, _, features = _target()
    return not triple.startswith(("x86_64", "i686")) or "+f16c" in features.split(",")


@cache
def simd_width() -> tuple[int, ...]:
    """Return the width, as `kernels.cpu.simd` tells it, that the processor's registers hold twelve times and more.

    It is the processor that Numba compiles for: ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` may name another one.
    """
    from fastemb.kernels.cpu.simd import W8, W16

    _, _, features = _target()
    return W16 if "+avx512f" in features.split(",") else W8


def _target() -> tuple[str, str, str]:
    """Return what Numba compiles for: a triple, a processor and its features."""
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen().magic_tuple()
