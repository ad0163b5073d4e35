"""What the compiler makes of the CUDA kernels, without a GPU: wide loads in the hot loops, and nothing in local memory.

It needs numba-cuda with its compiler; each test compiles in a process of its own, since this one has the simulator.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"),
]

# A type is spelled as "dtype dimensions", a tuple as its length, None as None, a scalar as its name.
COMPILE = """
import importlib, json, sys
from types import SimpleNamespace
from numba import cuda
import numba.cuda.dispatcher
from numba.cuda import types

cc, wanted = json.loads(sys.stdin.read())
# Functions that a kernel calls are compiled for the GPU at hand, which need not be there.
numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=tuple(cc))

def typed(spelled):
    if spelled is None:
        return types.none
    if isinstance(spelled, int):
        return types.UniTuple(types.int64, spelled)
    dtype, _, dimensions = spelled.partition(" ")
    return types.Array(getattr(types, dtype), int(dimensions), "C") if dimensions else getattr(types, dtype)

made = []
for module, name, arguments in wanted:
    kernel = getattr(importlib.import_module(f"fastemb.kernels.cuda.{module}"), name)
    ptx, _ = cuda.compile_ptx(kernel.py_func, tuple(map(typed, arguments)), cc=tuple(cc))
    made.append(ptx)
print(json.dumps(made))
"""


def compiled(cc, kernels):
    """The PTX of kernels, each a tuple (module, name, types of its arguments)."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], input=json.dumps([cc, kernels]), env=kept, capture_output=True, text=True
    )
    if done.returncode and ("libnvrtc" in done.stderr or "libnvvm" in done.stderr):
        pytest.skip("numba-cuda is installed without its compiler")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
