"""The base of the CUDA path: memory, streams, launches, vectors and random numbers, in the simulator or on a GPU."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from fastemb.engine import backend, device, foreign, launch, streams

cuda = pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")

# In the simulator kernels are Python, where NumPy warns of what wraps around.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")]


def ran(code, **environment):
    """What a fresh process prints, in which there is neither a simulator nor, where there is none, a GPU."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=kept | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16, np.int64])
def test_arrays_go_there_and_back(dtype):
    values = np.arange(12).astype(dtype).reshape(4, 3)
    array = device.upload(values)
    assert (array.shape, array.dtype, array.size, array.nbytes) == ((4, 3), values.dtype, 12, values.nbytes)
    assert np.array_equal(np.asarray(array), values)
    assert np.array_equal(array[1], values[1]) and np.array_equal(array[-1], values[-1])
    assert np.array_equal(array[1:3], values[1:3]) and np.array_equal(array[[3, 0]], values[[3, 0]])
    assert np.array_equal(array.reshape(2, -1).to_host(), values.reshape(2, -1))
    copy = array.copy()
    array.fill_from(values + values.dtype.type(1))
    assert np.array_equal(copy.to_host(), values) and np.array_equal(array.to_host(), values + 1)


def test_arrays_without_entries():
    for shape in ((0, 3), (3, 0), (0,)):
        assert device.zeros(shape, np.float32).to_host().shape == shape


def test_errors_of_arrays():
    array = device.zeros((2, 3), np.float32)
    with pytest.raises(IndexError, match="index 2 is out of bounds for axis 0 with size 2"):
        array[2]
    with pytest.raises(ValueError, match=r"cannot reshape an array of shape \(2, 3\) into \(4, 2\)"):
        array.reshape(4, 2)
    with pytest.raises(ValueError, match="without a copy"):
        np.array(array, copy=False)
    with pytest.raises(ValueError, match="float32 of shape"):
        array.fill_from(np.zeros((2, 3)))


def test_foreign_arrays_share_memory():
    array = device.upload(np.arange(6, dtype=np.float32))

    class Foreign:
        __cuda_array_interface__ = array.__cuda_array_interface__

    shared = foreign.wrap(Foreign())
    array.fill_from(np.full(6, 7, np.float32))
    assert np.array_equal(shared.to_host(), np.full(6, 7))
    assert foreign.is_foreign(Foreign()) and not foreign.is_foreign(np.zeros(2))


def test_a_strided_array_is_packed_for_the_host():
    array = device.upload(np.arange(12, dtype=np.float32).reshape(4, 3))
    columns = device.DeviceArray(array.made[:, 1:2])
    assert not columns.is_contiguous()
    assert np.array_equal(columns.to_host(), [[1], [4], [7], [10]])
    assert np.array_equal(columns.copy().to_host(), [[1], [4], [7], [10]])


def test_widths_divide_columns_and_addresses():
    def table(columns, dtype):
        return device.zeros((3, columns), dtype)

    assert [launch.width_of(table(d, np.float32)) for d in (1, 2, 3, 4, 6, 8, 100)] == [1, 2, 1, 4, 2, 4, 4]
    assert [launch.width_of(table(d, np.float16)) for d in (1, 4, 8, 12, 16)] == [1, 4, 8, 4, 8]
    assert [launch.width_of(table(d, np.float64)) for d in (2, 3, 4)] == [2, 1, 2]
    assert launch.width_of(table(8, np.float32), table(8, np.float16)) == 8
    shifted = device.DeviceArray(table(8, np.float32).made[:, 1:5])
    assert launch.width_of(shifted) == 1
    assert launch.width_of(device.DeviceArray(table(8, np.float32).made[:, 2:6])) == 2


def test_random_numbers_are_the_references():
    random = backend.kernels("cuda", "random")
    reference = backend.kernels("reference", "random")

    @cuda.jit
    def fill(out, seed):
        for i in range(cuda.grid(1), len(out), cuda.gridsize(1)):
            out[i] = random.random_u64(seed, np.uint64(i))

    out = device.zeros((5,), np.uint64)
    fill[1, 2](out.made, np.uint64(2**63 + 5))
    assert [int(n) for n in out.to_host()] == [int(reference.random_u64(2**63 + 5, i)) for i in range(5)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint16])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_vectors(dtype, width):
    vector = backend.kernels("cuda", "vector")
    reference = backend.kernels("reference", "lookup")
    load, store, multiply_add = vector.load, vector.store, vector.multiply_add
    scale, add, dot, select, zeros, team_sum = (
        vector.scale, vector.add, vector.dot, vector.select, vector.zeros, vector.team_sum,
    )  # fmt: skip

    @cuda.jit
    def kernel(out, sums, table, width):
        column = cuda.threadIdx.x * len(width)
        row = load(table, 1, column, width)
        total = multiply_add(row, row[0] * 0 + 2, zeros(table, width))
        total = add(total, scale(row, row[0] * 0 + 3))
        store(out, 0, column, select(column >= 0, total, row))
        sums[cuda.threadIdx.x] = team_sum(dot(row, row, row[0] * 0))

    values = reference.narrow((np.arange(4 * width).reshape(2, -1) / 4 - 3).astype(np.float32), np.dtype(dtype))
    wide = reference.widen(values)
    table, out, sums = device.upload(values), device.zeros((1, 2 * width), dtype), device.zeros((2,), wide.dtype)
    kernel[1, 2](out.made, sums.made, table.made, (0,) * width)
    assert np.array_equal(out.to_host(), reference.narrow(5 * wide[1:], np.dtype(dtype)))
    np.testing.assert_allclose(sums.to_host(), np.full(2, (wide[1] ** 2).sum()), rtol=1e-5)


def test_atomic_add():
    vector, near = backend.kernels("cuda", "vector"), backend.kernels("cuda", "near")
    load, atomic_add = vector.load, near.atomic_add

    @cuda.jit
    def kernel(out, values, atomics):
        atomic_add(out, 0, 0, load(values, cuda.grid(1), 0, (0, 0, 0, 0)), atomics)

    values = device.upload(np.arange(16, dtype=np.float32).reshape(4, 4))
    for atomics in [vector.ATOMIC_SCALARS, vector.ATOMIC_VECTORS][: 1 + launch.has_vector_atomics()]:
        out = device.zeros((1, 4), np.float32)
        kernel[2, 2](out.made, values.made, atomics)
        assert out.to_host().tolist() == [[24, 28, 32, 36]]


def test_a_stream_is_of_one_thread():
    stream = cuda.stream()
    with streams.using_stream(stream):
        assert streams.current_stream() is stream
        assert np.array_equal(device.upload(np.arange(3)).to_host(), [0, 1, 2])
        seen = []
        thread = threading.Thread(target=lambda: seen.append(streams.current_stream()))
        thread.start()
        thread.join()
    assert seen == [0] and streams.current_stream() == 0


def test_the_cpu_path_does_not_touch_cuda():
    code = (
        "import sys, numpy as np, fastemb\nlayer = fastemb.Embedding(4, 2)\nlayer([1])\nlayer.backward(np.ones((1, 2)))"
    )
    assert ran(f"{code}\nprint('numba.cuda' in sys.modules)") == "False"


def test_a_missing_gpu_is_explained():
    """The error names what is missing; on a machine with a GPU and the package there is none."""
    code = "from fastemb.engine.backend import gpu_problem, kernels\nprint(gpu_problem())"
    problem = ran(code)
    assert problem == "None" or problem.startswith(
        ("no package numba-cuda: pip install 'fastemb[cuda]'", "no driver: ", "no device: ", "no usable device: ")
    )
    if problem != "None":
        code = "from fastemb import Embedding\ntry:\n    Embedding(3, 2, device='cuda')\n"
        told = ran(f"{code}except (ImportError, RuntimeError) as error:\n    print(error)")
        assert told == f"device='cuda' cannot be used: {problem}"


def test_a_missing_package_is_explained(monkeypatch):
    monkeypatch.setattr("numba.config.ENABLE_CUDASIM", 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    backend.gpu_problem.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"pip install 'fastemb\[cuda\]'"):
            backend.require_gpu()
    finally:
        backend.gpu_problem.cache_clear()
