"""Other packages' arrays in a GPU's memory, through DLPack: streams, devices, and answers in kind."""

import sys
import types

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag, EmbeddingBagCollection, deferred_errors, functional, optim
from fastemb.engine import backend, device, dlpack, foreign, streams

pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]
V, D = 6, 4
GPU = (dlpack.CUDA, 0)


class Array:
    """An array of a package, `package`, that has DLPack and nothing else; its memory is the GPU's."""

    __module__ = "package.arrays"

    def __init__(self, values, number=0):
        self.array, self.number, self.streams = device.upload(np.asarray(values)), number, []
        self.writeable = True

    def __dlpack_device__(self):
        return dlpack.CUDA, self.number

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        self.streams.append(stream)
        self.array.writeable = self.writeable
        given = dlpack.Given(self.array, self.array.pointer, self.__dlpack_device__())
        return given.__dlpack__(max_version=max_version)


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """The package: what it takes over is told by its class, and where it lies by its device."""

    def from_dlpack(given):
        found = Array.__new__(Array)
        found.array, found.number, found.streams, found.writeable = given, 0, [], True
        return found

    made = types.ModuleType("package")
    made.from_dlpack = from_dlpack
    monkeypatch.setitem(sys.modules, "package", made)
    foreign._taker.cache_clear()
    yield
    foreign._taker.cache_clear()


def weight_of(dtype=np.float32):
    return np.random.default_rng(0).standard_normal((V, D)).astype(dtype)


def test_functional_calls_answer_in_kind():
    weight, ids, offsets = weight_of(), np.array([1, 2, 5, 2]), np.array([0, 1])
    grad, factors = np.linspace(-1, 1, 2 * D, dtype=np.float32).reshape(2, D), np.float32([1, 2, 3, 4])

    def script(put):
        yield functional.embedding(put(ids), put(weight))
        told = {"offsets": put(offsets), "mode": "mean", "per_sample_weights": put(factors)}
        yield functional.embedding_bag(put(ids), put(weight), **told)
        yield functional.embedding_bag_backward(put(grad), put(ids), put(weight), **told)
        yield from functional.embedding_bag_backward(put(grad), put(ids), put(weight), put(offsets), sparse=True)
        yield functional.per_sample_weights_backward(put(grad), put(ids), put(weight), **told)
        yield functional.one_hot(put(ids), 7)
        yield functional.scatter_add(put(np.zeros((3, D), np.float32)), put(np.array([2, 2])), put(grad), alpha=0.5)
        yield functional.scatter_add_backward(put(weight), put(ids), alpha=0.5)

    for expected, found in zip(script(lambda a: a), script(Array), strict=True):
        assert type(found) is Array
        np.testing.assert_allclose(found.array.to_host(), expected, rtol=1e-5)


def test_layers_answer_as_their_indices_are():
    ids = np.array([[1, 5], [0, 2]])
    for layer in (Embedding(V, D, W=weight_of(), device="cuda"), EmbeddingBag(V, D, W=weight_of(), device="cuda")):
        found, expected = layer(Array(ids)), layer(ids)
        assert type(found) is Array and type(expected) is np.ndarray
        assert np.array_equal(found.array.to_host(), expected)
        layer.backward(Array(np.ones(expected.shape, np.float32)))
        layer.backward(np.ones(expected.shape, np.float32))
        assert layer.grad.to_dense(V).sum() == 2 * expected.size
    shared = Array(weight_of())
    layer = Embedding.from_pretrained(shared, freeze=False)
    assert layer.device == "cuda" and layer.weight.pointer == shared.array.pointer


def test_bfloat16_goes_there_and_back():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is a dtype of ml_dtypes")
    weight = weight_of().astype(ml_dtypes.bfloat16)
    array = Array(weight.view(np.uint16))
    array.array = array.array.view(ml_dtypes.bfloat16)
    assert foreign.wrap(array).dtype == ml_dtypes.bfloat16
    found = functional.embedding(Array(np.array([3, 1])), array)
    assert found.array.dtype == ml_dtypes.bfloat16 and np.array_equal(found.array.to_host(), weight[[3, 1]])
    dense = functional.embedding_backward(np.ones((2, D)), Array(np.array([3, 3])), array)
    assert dense.array.dtype == ml_dtypes.bfloat16 and dense.array.to_host()[3].astype(float).tolist() == [2] * D


def test_the_owner_is_told_the_stream_in_which_work_is_queued(monkeypatch):
    array = Array(weight_of())
    functional.embedding(Array([1]), array)
    assert array.streams == [1]  # the default stream
    monkeypatch.setattr(foreign, "number_of", lambda stream: 77)
    foreign.wrap(array)
    assert array.streams == [1, 77]


def test_other_packages_streams_wait_for_ours(monkeypatch):
    """What is asked of CUDA: an event in the current stream, for which the taker's stream waits."""
    told = []

    class Event:
        def __init__(self, timing):
            assert not timing

        def record(self, stream):
            told.append(("record", stream))

        def wait(self, stream):
            told.append(("wait", stream))

    monkeypatch.setattr(streams, "is_simulated", lambda: False)
    monkeypatch.setattr(streams, "cuda", lambda: types.SimpleNamespace(event=Event))
    monkeypatch.setattr(streams, "_external", lambda number: number)
    monkeypatch.setattr(streams, "_default_is_per_thread", lambda: False)
    for number, expected in ((-1, []), (None, []), (1, []), (2, [1, 2]), (99, [1, 99])):
        streams.let_wait(number)
        assert [stream for _, stream in told] == expected
        told.clear()
    with streams.using_stream(types.SimpleNamespace(handle=5)):
        streams.let_wait(None)
        streams.wait_for(8)
        streams.wait_for(5)
    assert told == [("record", 5), ("wait", 1), ("record", 8), ("wait", 5)]
    with pytest.raises(BufferError, match="stream 0 may mean either default stream"):
        streams.let_wait(0)
    monkeypatch.setattr(streams, "_default_is_per_thread", lambda: True)
    assert streams.number_of(0) == 2


def test_our_arrays_are_given():
    array = device.upload(weight_of())
    assert array.__dlpack_device__() == (dlpack.CPU, 0) or not streams.is_simulated()
    if streams.is_simulated():  # whose memory the host can read
        shared = np.from_dlpack(array)
        shared[1, 2] = 7
        assert array[1, 2] == 7
        columns = device.DeviceArray(array.made[:, 1:3], writeable=False)
        assert np.from_dlpack(columns).strides == (4 * D, 4) and not np.from_dlpack(columns).flags.writeable


def test_read_only_arrays_and_strides():
    array = Array(weight_of())
    array.writeable = False
    assert functional.embedding(Array([1]), array).array.shape == (1, D)
    with pytest.raises(ValueError, match="weight is changed in place, but it is read-only"):
        functional.embedding_renorm_(array, [1], 1.0)
    array = Array(weight_of())
    array.array = device.DeviceArray(array.array.made[:, ::2])
    with pytest.raises(ValueError, match="weight is on a GPU, so the numbers of a row must lie side by side"):
        functional.embedding(Array([1]), array)
    apart = Array(np.arange(8))
    apart.array = device.DeviceArray(apart.array.made[::2])
    assert np.array_equal(functional.embedding(apart, Array(np.eye(8))).array.to_host(), np.eye(8)[::2])


def test_errors_name_the_argument_and_the_device(monkeypatch):
    table = Array(weight_of())
    for name, call in {
        "weight": lambda: functional.embedding(Array([1]), Array(weight_of(), number=1)),
        "input": lambda: functional.embedding(Array([1], number=1), table),
        "per_sample_weights": lambda: functional.embedding_bag(
            Array([[1]]), table, per_sample_weights=Array([[1.0]], number=1)
        ),
        "grad_output": lambda: functional.embedding_backward(Array([[1.0] * D], number=1), Array([1]), table),
        "out": lambda: functional.embedding(Array([1]), table, out=Array(np.zeros((1, D)), number=1)),
        "W": lambda: Embedding(V, D, W=Array(weight_of(), number=1), device="cuda"),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} is on cuda:1, and the GPU in use is cuda:0$"):
            call()
    with pytest.raises(TypeError, match="input is on a GPU, and weight is not"):
        functional.embedding(Array([1]), weight_of())
    with pytest.raises(TypeError, match="out is on a GPU, and weight is not"):
        functional.embedding([1], weight_of(), out=Array(np.zeros((1, D))))
    monkeypatch.setattr(foreign, "gpu_problem", lambda: "no driver: none")
    with pytest.raises(RuntimeError, match=r"^weight is on a GPU, and none can be used: no driver: none$"):
        functional.embedding([1], table)


def test_a_mask_is_refused():
    interface = device.upload(weight_of()).__cuda_array_interface__
    masked = type("Masked", (), {"__cuda_array_interface__": {**interface, "mask": 3}})()
    with pytest.raises(TypeError, match="weight has a mask"):
        functional.embedding([1], masked)
    assert backend.gpu_problem() is None


@pytest.mark.parametrize("output", ["dict", "concatenate"])
def test_a_collection_answers_in_kind(output):
    def script(put):
        layer = EmbeddingBagCollection(
            {"user": (4, 2), "item": (3, D)}, features={"user": "user", "seen": "item", "bought": "item"},
            seed=1, optimizer=optim.Adagrad(lr=0.1), device="cuda", output=output,
        )  # fmt: skip
        seen = put(np.array([1, 2, 2])), put(np.array([0, 3, 3]))
        batch = {"user": put(np.array([1, 2])), "seen": seen, "bought": put(np.array([[0, 1], [2, 1]]))}
        weights = {"user": np.ones(2), "seen": put(np.array([1.0, 2.0, 3.0])), "bought": put(np.ones((2, 2)))}
        found = layer(batch, weights)
        yield from found.values() if output == "dict" else [found]
        put_like = {"user": 2, "seen": D, "bought": D}
        grad = {name: put(np.ones((2, columns))) for name, columns in put_like.items()}
        yield from layer.backward(grad if output == "dict" else put(np.ones((2, 2 + 2 * D)))).values()
        found = layer(batch)
        yield from found.values() if output == "dict" else [found]

    for expected, found in zip(script(lambda a: a), script(Array), strict=True):
        assert type(expected) is np.ndarray and type(found) is Array
        np.testing.assert_allclose(found.array.to_host(), expected, rtol=1e-6)
    layer = EmbeddingBagCollection({"user": (4, 2)})
    with pytest.raises(ValueError, match="the batch is on a GPU, and the tables on device 'cpu'"):
        layer({"user": Array(np.array([1]))})


KINDS = {
    "bounded": {"max_norm": {"item": 0.8}, "padding_idx": {"item": 1}, "mode": "mean"},
    "compared": {"mode": "max", "freeze": {"user": [True, False, False, True]}},
    "settled": {"on_invalid": "pad", "padding_idx": {"item": 0}, "scale_grad_by_freq": True},
    "float16": {"dtype": "float16", "freeze": ["item"]},
}


@pytest.mark.parametrize(
    ("kind", "output"),
    [("bounded", "concatenate"), ("compared", "dict"), ("settled", "dict"), ("float16", "concatenate")],
)
def test_nothing_of_a_collection_goes_through_the_host(kind, output, monkeypatch):
    def script(put, batch):
        layer = EmbeddingBagCollection(
            {"user": (4, D), "item": (5, D)}, features={"user": "user", "seen": "item", "bought": "item"},
            seed=1, optimizer=optim.Adam(lr=0.1, weight_decay=0.1), device="cuda", output=output, **KINDS[kind],
        )  # fmt: skip
        grads = np.linspace(-1, 1, 9 * D).reshape(3, 3 * D).astype(layer.weights["user"].dtype)
        given = {name: put(grads[:, n * D : (n + 1) * D].copy()) for n, name in enumerate(batch)}
        whole = put(grads)
        with deferred_errors(), monkeypatch.context() as patch:
            if put is Array:
                patch.setattr(device.DeviceArray, "to_host", lambda self: pytest.fail("waits for the GPU"))
            for _ in range(2):
                found = layer(batch)
                layer.backward(given if output == "dict" else whole)
        yield from found.values() if output == "dict" else [found]
        yield from layer.state_dict().values()

    high = 9 if kind == "settled" else 4
    seen = np.array([1, 2, 2, high]), np.array([0, 3, 3, 4])
    host = {"user": np.array([1, 2, 3]), "seen": seen, "bought": np.array([[0, 1], [2, 1], [0, 0]])}
    there = {"user": Array(host["user"]), "seen": tuple(map(Array, seen)), "bought": host["bought"]}
    for expected, found in zip(script(lambda a: a, host), script(Array, there), strict=True):
        values = found.array.to_host() if type(found) is Array else np.asarray(found)
        np.testing.assert_allclose(values, np.asarray(expected), rtol=1e-5, atol=1e-6)


def test_a_collection_names_the_feature_that_is_wrong():
    layer = EmbeddingBagCollection({"user": (4, 2), "item": (3, 2)}, device="cuda")
    users = Array(np.array([1, 2]))
    with pytest.raises(IndexError, match=r"feature 'item': indices must be in \[0, 3\), got 3 at position \(1, 0\)"):
        layer({"user": users, "item": Array(np.array([[0], [3]]))})
    with pytest.raises(ValueError, match=r"feature 'item' must have 2 rows as 'user' has, got 3"):
        layer({"user": users, "item": Array(np.array([0, 1, 2]))})
    with pytest.raises(KeyError, match="feature 'item'"):
        layer({"user": users})
    np.testing.assert_array_equal(
        layer({"user": users, "item": [1, 2]})["item"].array.to_host(), layer.weights["item"][1:]
    )


def test_gradients_that_were_collected_are_stepped_where_they_lie():
    results = []
    for put, back in ((lambda a: a, lambda a: a), (Array, lambda a: a.array.to_host())):
        layer = Embedding(V, D, W=weight_of(), device="cuda")
        stepper = optim.Adam(layer, lr=0.1, weight_decay=0.1)
        for ids in ([1, 2, 2], [2, 5, 0]):
            back(layer(put(np.array(ids))))
            layer.backward(put(np.linspace(-1, 1, 3 * D, dtype=np.float32).reshape(3, D)))
        stepper.step()
        results.append(np.asarray(layer.weight))
    assert np.array_equal(*results)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_offsets_stay_on_the_gpu_and_are_checked(dtype, last, monkeypatch):
    weight, ids = Array(weight_of()), Array(np.array([1, 2, 5, 2]))
    ends = [4] if last else []
    told = {"mode": "mean", "include_last_offset": last}

    def offsets(*values):
        return Array(np.array([*values, *ends], dtype))

    expected = functional.embedding_bag([1, 2, 5, 2], weight_of(), [0, 1, 1], mode="mean")
    given = offsets(0, 1, 1)
    assert np.array_equal(functional.embedding_bag(ids, weight, given, **told).array.to_host(), expected)
    with deferred_errors(), monkeypatch.context() as patched:
        if dtype is np.int64:
            patched.setattr(device.DeviceArray, "to_host", lambda self: pytest.fail("something waits"))
        found = functional.embedding_bag(ids, weight, given, **told)
    assert np.array_equal(found.array.to_host(), expected)
    for wrong, message in (
        (offsets(1, 2), "offsets must start at 0, got 1"),
        (offsets(0, 3, 2), "offsets must not fall, got 2 after 3 at position 2"),
        (offsets(0, 9), "offsets must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            functional.embedding_bag(ids, weight, wrong, **told)
        with pytest.raises(ValueError, match=message):
            functional.embedding_bag_backward(np.ones((len(wrong.array) - last, D)), ids, weight, wrong, **told)
    with pytest.raises(ValueError, match="offsets must have 1 dimension"):
        functional.embedding_bag(ids, weight, Array(np.zeros((1, 1), dtype)))
    with pytest.raises(ValueError, match="offsets must"):
        functional.embedding_bag(ids, weight, Array(np.zeros(0, dtype)), **told)
    # Nothing is read outside an array, whatever the offsets are.
    with pytest.raises(ValueError, match="offsets must"), deferred_errors():
        wild = Array(np.array([0, 9, 2][: 2 + last], dtype))
        functional.embedding_bag_backward(np.ones((2, D)), ids, weight, wild, **told)
