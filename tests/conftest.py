"""What all tests share: the installed fastemb, where real data lies, and a GPU or what stands for one."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# How long examples take says how busy the machine is, and nothing of the code. Every run tries the same examples;
# `pytest --hypothesis-profile=search` tries others.
for name, is_same in (("fastemb", True), ("search", False)):
    settings.register_profile(name, suppress_health_check=[HealthCheck.too_slow], deadline=None, derandomize=is_same)
settings.load_profile("fastemb")

# `python -m pytest` puts the current folder first on the path: its fastemb/ would hide the installed package, and has
# compiled modules only where it is the installed one. Child processes get the same treatment through the variable.
if Path(sys.path[0]).resolve() == ROOT:
    del sys.path[0]
os.environ["PYTHONSAFEPATH"] = "1"


def has_gpu() -> bool:
    """Return whether there is an NVIDIA driver with a device, without Numba, which looks only once."""
    try:
        driver, found = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    except OSError:
        return False
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(found)) == 0 and found.value > 0


# Without a GPU, `device="cuda"` means Numba's simulator, which must be chosen before Numba is imported.
if not has_gpu():
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real texts, evaluation sets and other programs' files, or skip the test."""
    folder = os.environ.get("FASTEMB_DATA")
    if not folder:
        pytest.skip("FASTEMB_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def one_shared_array() -> Iterator[None]:
    """Let all threads of a block have one shared array: two that ask the simulator at once may get one each."""
    try:
        from numba import config
        from numba.cuda.simulator.kernelapi import FakeCUDAShared
    except ImportError:  # Numba has no simulator
        yield
        return
    original, lock = FakeCUDAShared.array, threading.Lock()

    def array(self: Any, shape: Any, dtype: Any) -> Any:
        if shape == 0:  # dynamic shared memory, of which there is one
            return original(self, shape, dtype)
        caller = sys._getframe(1)
        with lock:
            key = caller.f_code.co_filename, caller.f_lineno
            if key not in self._allocations:
                self._allocations[key] = np.empty(shape, np.dtype(getattr(dtype, "name", dtype)))
            return self._allocations[key]

    if config.ENABLE_CUDASIM:
        FakeCUDAShared.array = array
    yield
    FakeCUDAShared.array = original


@pytest.fixture(autouse=True)
def quick_simulator(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the simulator's threads, which wait for each other all the time, take turns more often than others."""
    before = sys.getswitchinterval()
    if request.node.get_closest_marker("gpu"):
        sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)
