"""What compiler and assembler make of the CUDA kernels, without a GPU: wide loads in the hot loops, all in registers.

It needs numba-cuda with its compiler and nvJitLink, in processes of their own, since this one has the simulator.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"),
]

# A type is spelled as "dtype dimensions", a tuple as its length or its types, None as None, a scalar as its name.
COMPILE = """
import importlib, json, sys
from types import SimpleNamespace
from numba.cuda import dispatcher, types
from numba.cuda.cudadrv import devices
from cuda.bindings import nvjitlink

wanted = json.loads(sys.stdin.read())
# Kernels are compiled for the GPU at hand, which need not be there; what NVVM gets is the same for all.
card = SimpleNamespace(compute_capability=(8, 0))
dispatcher.get_current_device = lambda: card
devices.get_context = lambda *_: SimpleNamespace(device=card)
dispatcher._Kernel.bind = lambda self: None

def typed(spelled):
    if spelled is None:
        return types.none
    if isinstance(spelled, int):
        return types.UniTuple(types.int64, spelled)
    if isinstance(spelled, list):
        return types.Tuple(tuple(map(typed, spelled)))
    dtype, _, dimensions = spelled.partition(" ")
    return types.Array(getattr(types, dtype), int(dimensions), "C") if dimensions else getattr(types, dtype)

def assembled(ptx, cc):  # what nvJitLink, which numba-cuda uses too, says of making machine code of it
    link = nvjitlink.create(3, [f"-arch=sm_{cc[0]}{cc[1]}", "-verbose", "-Xptxas=-v"])
    given = ptx.encode()
    try:
        nvjitlink.add_data(link, nvjitlink.InputType.PTX, given, len(given), "kernel")
        nvjitlink.complete(link)
    except nvjitlink.nvJitLinkError:
        told = bytearray(nvjitlink.get_error_log_size(link))
        nvjitlink.get_error_log(link, told)
        raise SystemExit(f"not assembled: {told.decode()}")
    told = bytearray(nvjitlink.get_info_log_size(link))
    nvjitlink.get_info_log(link, told)
    return told.decode()

made = []
for ccs, module, name, arguments in wanted:
    kernel = getattr(importlib.import_module(f"fastemb.kernels.cuda.{module}"), name)
    library = kernel.compile(tuple(map(typed, arguments)))._codelibrary
    texts = [library.get_asm_str(cc=tuple(cc)) for cc in ccs]
    made.append([(ptx, assembled(ptx, cc)) for ptx, cc in zip(texts, ccs)])
print(json.dumps(made))
"""
# Numba-cuda and its compiler's packages, without what a test needs of them.
MISSING = "libnvrtc", "libnvvm", "nvjitlink", "nvJitLink"


def compiled(kernels):
    """The PTX of kernels and what its assembler says, for each of the compute capabilities asked for.

    A kernel is a tuple (compute capabilities, module, name, types of its arguments).
    """
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], input=json.dumps(kernels), env=kept, capture_output=True, text=True
    )
    lacks = any(name in done.stderr for name in MISSING) and "not assembled" not in done.stderr
    if done.returncode and lacks:
        pytest.skip("numba-cuda is installed without its compiler")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


N, IDS, FAULT, TABLE, HALF, BFLOAT = "int64", "int64 1", "int64 1", "float32 2", "int16 2", "uint16 2"
F, PLACES, ROWS = "float32 1", "int32 1", "int64 1"  # the end of the rows is known to the GPU only
UPDATE = (TABLE, TABLE, TABLE, IDS)


def step_of(weight, rule):
    lookups = (TABLE, PLACES, IDS, F, F, rule, IDS, TABLE)
    return "updates", "step", (weight, TABLE, TABLE, IDS, *lookups, N, ROWS, FAULT, 4)


# What must be in the PTX of each: 16 bytes at once, or 8 of a short row beside its float32 state.
HOT = {
    "sum of float32": (("bags", "reduce", (TABLE, TABLE, IDS, IDS, F, N, N, N, N, FAULT, 4)), "ld.global.v4.f32"),
    "sum of float16": (("bags", "reduce", (TABLE, HALF, IDS, IDS, F, N, N, N, N, FAULT, 8)), "ld.global.v4"),
    "sum of bfloat16": (("bags", "reduce", (TABLE, BFLOAT, IDS, IDS, F, N, N, N, N, FAULT, 8)), "ld.global.v4"),
    "sum of float64": (
        ("bags", "reduce", ("float64 2", "float64 2", IDS, IDS, "float64 1", N, N, N, N, FAULT, 2)), "ld.global.v2"
    ),
    "lookup": (("lookup", "lookup", (TABLE, TABLE, IDS, N, N, N, FAULT, 4)), "ld.global.v4"),
    "dots": (("bags", "dots", (F, TABLE, TABLE, IDS, IDS, N, N, N, FAULT, 4)), "ld.global.v4.f32"),
    "SGD": (step_of(TABLE, 1), "ld.global.v4.f32"),
    "row-wise Adagrad": (step_of(TABLE, 5), "ld.global.v4.f32"),
    "Adam": (step_of(TABLE, 6), "st.global.v4.f32"),
    "Adam of float16": (step_of(HALF, 6), "st.global.v4.f32"),
    "FTRL": (("updates", "update", (*UPDATE, TABLE, N, F, 8, N, ROWS, 4)), "ld.global.v4.f32"),
    "pieces": (("groups", "sum_pieces", (TABLE, TABLE, PLACES, F, PLACES, N, N, N, 4)), "ld.global.v4.f32"),
    "pieces of float16": (("groups", "sum_pieces", (TABLE, HALF, PLACES, F, PLACES, N, N, N, 8)), "ld.global.v4"),
    "groups": (("groups", "sum_groups", (TABLE, TABLE, PLACES, IDS, F, TABLE, N, N, 4)), "ld.global.v4.f32"),
}  # fmt: skip
OTHERS = [
    ("lookup", "shift", (IDS, IDS, N, N, N, N, N, FAULT)),
    ("bags", "extremes", (TABLE, "int32 2", TABLE, IDS, IDS, N, "float64", N, N, FAULT)),
    ("bags", "scales", (F, IDS, IDS, F, N, N, N, N)),
    ("bags", "sum_winners", (TABLE, TABLE, "int32 2", PLACES, PLACES, IDS, N, ROWS, TABLE)),
    ("renorm", "renormalise", (TABLE, IDS, "float64", "float64", N, ROWS)),
    ("updates", "decay", (TABLE, "float64 1", IDS, "float64", N, ROWS)),
    ("grouping", "group", (IDS, IDS, PLACES, IDS, N, N, "boolean 1", PLACES, PLACES, IDS, N)),
    ("grouping", "group", (PLACES, IDS, IDS, PLACES, N, N, "boolean 1", PLACES, IDS, IDS, N)),
    ("grouping", "make_keys", (PLACES, PLACES, IDS, N, N, "boolean 1", PLACES, N, N)),
    ("grouping", "count_heads", ("int64 2", PLACES, N)),
    ("grouping", "write_heads", (IDS, IDS, PLACES, N, "int64 2", IDS)),
    ("sorting", "count", ("int32 2", PLACES, N)),
    ("sorting", "scan_rows", ("int32 2", IDS)),
    ("sorting", "scatter", (PLACES, PLACES, PLACES, PLACES, "int32 2", IDS, N)),
    ("groups", "sum_pieces_won", (TABLE, TABLE, "int32 2", PLACES, PLACES, PLACES, N, N, N)),
    ("indices", "close", (IDS, PLACES, N, N, N, FAULT)),
    ("indices", "settle", (IDS, IDS, N, N, N, N, N)),
    ("groups", "label", (PLACES, IDS, N, N)),
    ("groups", "pick", (PLACES, PLACES, PLACES, N, N)),
    ("groups", "weigh", (F, F, PLACES, F, PLACES, IDS, IDS, N, N)),
    ("groups", "divide", (TABLE, IDS, N, ROWS)),
    ("groups", "center", (F, IDS, IDS, F, F, N, N, N, N)),
    ("rows", "assign", (TABLE, IDS, TABLE, N, N, 4)),
    *(("quantized", "reduce", (TABLE, "uint8 2", halves, IDS, IDS, F, N, N, N, N, FAULT, 4)) for halves in (1, 2)),
    ("quantized", "lookup", (TABLE, "uint8 2", 1, IDS, N, N, N, FAULT, 1)),
    ("quantized", "extremes", (TABLE, "uint8 2", 2, IDS, IDS, N, "float64", N, N, FAULT)),
    ("quantized", "dequantize", (TABLE, "uint8 2", 2, N, N, 1)),
]


def check_assembled(told, name, threads):
    """Check that the assembler keeps a kernel in registers, of which a block of so many threads gets enough."""
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in told, (name, told)
    registers = int(re.findall(r"used (\d+) registers", told, re.IGNORECASE)[-1])
    assert threads * registers <= 1 << 16, (name, registers)


CCS = [(8, 0), (9, 0)]


@pytest.fixture(scope="module")
def assembled():
    """What becomes of `HOT` and `OTHERS`, for each of `CCS`; NVVM gets the same for both, which is made once."""
    made = compiled([(CCS, *kernel) for kernel in [*(kernel for kernel, _ in HOT.values()), *OTHERS]])
    return dict(zip(CCS, zip(*made, strict=True), strict=True))


@pytest.mark.parametrize("cc", CCS)
def test_hot_loops_move_vectors_and_keep_them_in_registers(cc, assembled):
    kernels, made = [kernel for kernel, _ in HOT.values()] + OTHERS, assembled[cc]
    for (name, (_, wanted)), (ptx, _) in zip(HOT.items(), made, strict=False):
        assert wanted in ptx, name
        assert "div.s64" not in ptx, name  # a loop of a step that is no constant, as `range` makes it
    for (_, name, _), (ptx, told) in zip(kernels, made, strict=True):
        check_assembled(told, name, threads=256)
        assert f".target sm_{cc[0]}{cc[1]}" in ptx
        assert ".local" not in ptx
        shared = re.findall(r"\.shared [^;]*\[(\d+)\];", ptx)
        assert sum(map(int, shared)) <= 48 << 10  # bytes: what every GPU gives without asking
        assert "ld.u8" not in ptx and "st.u8" not in ptx  # an address that is not known to be global


def training_types(model, in_shared_memory, atomics, table=TABLE):
    """The types of the arguments of skip-gram's or CBOW's kernel, as `trainers.device_loop` gives them."""
    lists, tree = ["int32 1", "int64 1"], ["int32 1", "uint8 1", "int64 1", TABLE]
    text, rate = [F, "uint32 2", N, "boolean", N], "float64"
    updates = ["boolean", "boolean"] if model == "cbow" else []
    near = [] if in_shared_memory else [TABLE]
    head = ["int32 1", IDS, N, N, table, table, lists, F, tree, *text, rate, rate]
    return [*head, "uint64", *updates, N, "float64 1", N, near, atomics]


TRAINING = {  # compute capability, model, whether its rows are in shared memory, and atomics
    f"{model}, {'shared' if shared else 'global'}, sm_{cc[0]}{cc[1]}": (cc, model, shared, atomics)
    for cc, atomics in (((8, 0), 1), ((9, 0), 2))
    for model, shared in (("skipgram", True), ("cbow", True), ("skipgram", False))
}


@pytest.fixture(scope="module")
def trained():
    """What becomes of the kernels of `TRAINING`, and last of skip-gram's with a table in two parts."""
    kernels = [
        ([cc], model, f"{model}_shared", training_types(model, shared, atomics))
        for cc, model, shared, atomics in TRAINING.values()
    ]
    kernels.append(([(9, 0)], "skipgram", "skipgram_shared", training_types("skipgram", True, 1, [TABLE, TABLE])))
    return [made for (made,) in compiled(kernels)]


@pytest.mark.parametrize("name", TRAINING)
def test_training_moves_rows_by_vectors(name, trained):
    _, model, shared, atomics = TRAINING[name]
    ptx, told = trained[list(TRAINING).index(name)]
    check_assembled(told, model, threads=32)
    assert ".local" not in ptx, "something does not fit in registers"
    assert f"red.global.add.{'f32' if atomics == 1 else 'v4.f32'} " in ptx
    # Rows of tables, as other blocks leave them; then the block's own rows, of which no access is narrower.
    assert ptx.count("ld.relaxed.gpu.global.v4.f32") >= 7
    kind = ".shared" if shared else ""
    assert ptx.count(f"ld{kind}.v4.f32") >= 20 and ptx.count(f"st{kind}.v4.f32") >= 10
    assert (".extern .shared .align 16" in ptx) == shared


def test_training_with_rows_in_the_hosts_memory(trained):
    ptx, told = trained[-1]
    check_assembled(told, "skipgram", threads=32)
    assert ".local" not in ptx and ptx.count("ld.relaxed.gpu.global.v4.f32") >= 7


KEEP = """
import importlib, json, sys
from types import SimpleNamespace
from numba.cuda import dispatcher, types
from numba.cuda.cudadrv import devices, runtime
from fastemb.kernels import caching

# What a GPU, which need not be here, would tell; code is made for it and not loaded.
card = SimpleNamespace(compute_capability=(9, 0))
dispatcher.get_current_device = lambda: card
devices.get_context = lambda *_: SimpleNamespace(device=card)
runtime.runtime.get_version = lambda: (13, 0)
dispatcher._Kernel.bind = lambda self: self._codelibrary.get_cubin(cc=card.compute_capability)
module = importlib.import_module("fastemb.kernels.cuda.lookup")
caching.keep_of_gpu(module)
table, ids, n = types.Array(types.float32, 2, "C"), types.Array(types.int64, 1, "C"), types.int64
module.lookup.compile((table, table, ids, n, n, n, ids, types.UniTuple(n, 4)))
print(sum(module.lookup.stats.cache_hits.values()), sum(module.lookup.stats.cache_misses.values()))
"""


def test_kernels_are_kept_on_disk(tmp_path):
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    environment = kept | {"FASTEMB_CACHE_DIR": str(tmp_path)}
    told = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KEEP], env=environment, capture_output=True, text=True)
        if done.returncode and ("libnvrtc" in done.stderr or "libnvvm" in done.stderr):
            pytest.skip("numba-cuda is installed without its compiler")
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.split())
    assert told == [["0", "1"], ["1", "0"]]  # found, and compiled
    assert len(list(tmp_path.glob("cuda-*/**/lookup.lookup-*.nbc"))) == 1
