"""The same script on device "cpu" and "cuda": layers, optimizers, functional calls and quantized tables."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag, EmbeddingBagCollection, functional, optim
from fastemb.engine import device, faults
from fastemb.layers.quantized import QuantizedEmbedding, QuantizedEmbeddingBag

pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

V, D = 6, 4
BOTH = ("cpu", "cuda")


def table(dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal((V, D)).astype(dtype)


class Foreign:
    """An array of some other package in the GPU's memory."""

    def __init__(self, values):
        self._array = device.upload(np.asarray(values))

    @property
    def __cuda_array_interface__(self):
        return self._array.__cuda_array_interface__


def same(results, tolerance=1e-6):
    """Check that what a script gives on both devices is the same, in arrays of NumPy."""
    for expected, found in zip(*results, strict=True):
        assert type(found) is np.ndarray and found.dtype == expected.dtype
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), tolerance, tolerance)


OPTIMIZERS = {
    "sgd": lambda: optim.SGD(lr=0.1),
    "momentum": lambda: optim.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "exact decay": lambda: optim.SGD(lr=0.1, weight_decay=0.1, decay="exact"),
    "adagrad": lambda: optim.Adagrad(lr=0.1),
    "rowwise": lambda: optim.RowwiseAdagrad(lr=0.1),
    "adam": lambda: optim.Adam(lr=0.1, clip_value=0.5),
    "adamw": lambda: optim.AdamW(lr=0.1),
    "clip_norm": lambda: optim.SGD(lr=0.1, clip_norm=0.5),
    "ftrl": lambda: optim.FTRL(),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_embedding_and_every_optimizer(name):
    results = []
    for where in BOTH:
        layer = Embedding(V, D, padding_idx=0, W=table(), optimizer=OPTIMIZERS[name](), device=where)
        found = []
        for ids in ([[1, 2], [2, 0]], [[2, 5], [5, 5]]):
            found.append(layer(ids))
            layer.backward(np.linspace(-1, 1, 4 * D).reshape(2, 2, D))
        layer.flush()
        state = layer.optimizer.state_of(layer)
        arrays = [value for value in state.values() if isinstance(value, np.ndarray)]
        results.append([*found, np.asarray(layer.weight), *arrays])
    same(results)


@pytest.mark.parametrize(
    ("mode", "weighted"),
    [
        *((mode, weighted) for mode in ("sum", "mean", "sqrtn") for weighted in (False, True)),
        ("max", False),
        ("min", False),
    ],
)
def test_bags_of_every_mode(mode, weighted):
    ids, offsets, weights = [1, 2, 0, 5, 2], [0, 3, 3], np.array([1.0, -2.0, 3.0, 0.5, 0.25], np.float32)
    results = []
    for where in BOTH:
        layer = EmbeddingBag(V, D, mode=mode, padding_idx=0, scale_grad_by_freq=True, W=table(), device=where)
        out = layer(ids, offsets, weights if weighted else None)
        of_weights = layer.backward(np.linspace(-1, 1, 3 * D).reshape(3, D))
        found = [out, np.asarray(layer.grad.to_dense(V)), *([of_weights] if weighted else [])]
        optimizer = optim.SGD(layer, lr=0.5)
        optimizer.step()
        results.append([*found, np.asarray(layer.weight)])
    same(results)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype):
    results = []
    for where in BOTH:
        layer = EmbeddingBag(V, D, mode="sum", dtype=dtype, seed=1, optimizer=optim.SGD(lr=0.5), device=where)
        out = layer([[1, 2], [3, 3]])
        layer.backward(np.ones((2, D)))
        results.append([out, np.asarray(layer.weight)])
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        assert np.array_equal(found.view(np.uint8), expected.view(np.uint8))


def test_everything_else_that_a_layer_does_to_rows():
    results = []
    for where in BOTH:
        layer = Embedding(
            V, D, max_norm=1.0, W=table(), freeze=[False, True, False, False, False, False], optimizer=optim.SGD(lr=1),
            embeddings_regularizer="l2", embeddings_constraint="non_neg", device=where, on_invalid="clip",
        )  # fmt: skip
        out = layer([1, 2, 99])
        layer.backward(np.ones((3, D)))
        penalty = np.array([layer.regularization()])
        layer.resize(V - 1)
        results.append([out, penalty, np.asarray(layer.weight), layer.eval()([0])])
    same(results)


def test_errors_are_the_cpus():
    def message(call):
        with pytest.raises((IndexError, ValueError)) as caught:
            call()
        return type(caught.value), str(caught.value)

    layers = [Embedding(V, D, device=where) for where in BOTH]
    bags = [EmbeddingBag(V, D, device=where) for where in BOTH]
    for ids in ([[1, 2], [V, 3]], [-1]):
        told = [message(partial(layer, ids)) for layer in layers]
        assert told[0] == told[1]
    for ids, offsets in (([1, 2, 7], [0, 2]), ([1, 2, 3], [0, 3, 2]), ([1, -2], [0, 1])):
        told = [message(partial(layer, ids, offsets)) for layer in bags]
        assert told[0] == told[1]
    assert layers[1]([1]).shape == (1, D)  # the context is whole


def test_deferred_errors():
    layer, ids = Embedding(V, D, device="cuda").eval(), Foreign(np.array([1, V]))
    with pytest.raises(IndexError, match=r"indices must be in \[0, 6\), got 6 at position 1"), faults.deferred_errors():
        layer(ids)
        layer(Foreign(np.array([-1])))
    with faults.deferred_errors():
        assert layer(Foreign(np.array([2]))).shape == (1, D)


def test_moving_a_layer_and_its_state():
    results = []
    for places in (("cpu",) * 4, ("cpu", "cuda", "cpu", "cuda"), ("cuda", "cuda", "cpu", "cpu")):
        layer = Embedding(V, D, W=table(), optimizer=optim.Adam(lr=0.1), device=places[0])
        for place in places:
            assert layer.to(place) is layer and layer.device == place
            layer([1, 2, 2])
            layer.backward(np.ones((3, D)))
        results.append(np.asarray(layer.weight))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-6)


def test_saving_and_copying():
    layer = Embedding(V, D, W=table(), optimizer=optim.Adagrad(lr=0.1), device="cuda")
    layer([1])
    layer.backward(np.ones((1, D)))
    saved, state = layer.state_dict(), layer.optimizer.state_dict()
    assert type(saved["weight"]) is np.ndarray
    for where in BOTH:
        other = Embedding(V, D, optimizer=optim.Adagrad(lr=0.1), device=where)
        other.load_state_dict(saved)
        other.optimizer.load_state_dict(state)
        for each in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
            each([1, 2])
            each.backward(np.ones((2, D)))
            np.testing.assert_allclose(np.asarray(each.weight)[0], saved["weight"][0])
            expected = saved["weight"][1] - 0.1 / (np.sqrt(2) + 1e-10)
            np.testing.assert_allclose(np.asarray(each.weight)[1], expected, rtol=1e-5)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="lora is not there for device 'cuda'"):
        Embedding(V, D, device="cuda", lora_rank=2)
    with pytest.raises(ValueError, match="a table in a file or in shared memory cannot be on device 'cuda'"):
        Embedding(V, D, device="cuda", storage=tmp_path / "table.npy")
    with pytest.raises(ValueError, match="input is on a GPU and the table on device 'cpu'"):
        Embedding(V, D)(Foreign(np.array([1])))
    with pytest.raises(TypeError, match="input is on a GPU, and weight is not"):
        functional.embedding(Foreign(np.array([1])), table())


def test_foreign_indices_are_answered_in_kind():
    ids = np.array([[1, 2], [5, 2]])
    expected, weights = [], table()
    for layer in (Embedding(V, D, W=weights), EmbeddingBag(V, D, W=weights)):
        expected.append(layer(ids))
        layer.backward(np.ones(expected[-1].shape))
        expected.append(layer.grad.to_dense(V))
    found = []
    shared = Foreign(weights)
    for layer in (Embedding(V, D, W=shared, device="cuda"), EmbeddingBag(V, D, W=shared, device="cuda")):
        out = layer(Foreign(ids.astype(np.int32)))
        assert isinstance(out, device.DeviceArray)
        found.append(out.to_host())
        layer.backward(Foreign(np.ones(out.shape, np.float32)))
        found.append(layer.grad.to_dense(V))
    same((expected, found))
    optimizer = optim.SGD(layer, lr=1.0)
    optimizer.step()
    np.testing.assert_allclose(shared._array.to_host(), weights - found[-1], rtol=1e-6)  # the user's own memory


def test_functional_calls_on_foreign_arrays():
    weight, ids, offsets = table(), np.array([1, 2, 5, 2]), np.array([0, 1])
    grad, factors = np.linspace(-1, 1, 2 * D).astype(np.float32).reshape(2, D), np.float32([1, 2, 3, 4])

    def script(put, back):
        call = [put(ids), put(weight)]
        yield back(functional.embedding(*call))
        yield back(functional.embedding_bag(*call, put(offsets), mode="max"))
        yield back(functional.embedding_bag(*call, put(offsets), mode="sum", per_sample_weights=put(factors)))
        told = {"offsets": put(offsets), "mode": "mean", "per_sample_weights": put(factors)}
        yield back(functional.embedding_bag_backward(put(grad), *call, **told))
        rows, values = functional.embedding_bag_backward(put(grad), *call, offsets=put(offsets), sparse=True)
        yield back(rows)
        yield back(values)
        yield back(functional.embedding_backward(put(grad), put(ids[:2]), put(weight), scale_grad_by_freq=True))
        yield back(functional.per_sample_weights_backward(put(grad), *call, **told))
        limited = put(weight.copy())
        yield back(functional.embedding(put(ids), limited, max_norm=0.5))

    expected = list(script(lambda a: a, lambda a: a))
    found = list(script(Foreign, lambda a: a.to_host()))
    same((expected, found), 1e-5)
    out = Foreign(np.zeros((4, D), np.float32))
    assert functional.embedding(Foreign(ids), Foreign(weight), out=out) is out
    np.testing.assert_array_equal(out._array.to_host(), weight[ids])


@pytest.mark.parametrize(("kind", "tolerance"), [({"bits": 8}, 0.05), ({"bits": 4}, 0.5), ({"dtype": "float16"}, 1e-2)])
def test_quantized_tables(kind, tolerance):
    weight, results = table(), []
    for where in BOTH:
        rows = QuantizedEmbedding.from_weight(weight, device=where, **kind)
        bags = QuantizedEmbeddingBag.from_weight(weight, device=where, mode="mean", **kind)
        largest = EmbeddingBag(V, D, mode="max", W=weight, device=where).quantize(**kind)
        results.append([rows([[1], [5]]), bags([[1, 2, 2], [3]]), largest([[1, 2]]), rows.dequantize()])
        with pytest.raises(IndexError, match=r"indices must be in \[0, 6\), got 6 at position \(0, 1\)"):
            bags([[1, V]])
    same(results, 1e-5)
    np.testing.assert_allclose(results[1][3], weight, atol=tolerance)


def test_collection():
    batch = {"user": [1, 2], "seen": [[1, 2, 2], []], "bought": [[0], [2, 1]]}
    results = []
    for where in BOTH:
        layer = EmbeddingBagCollection(
            {"user": (4, 2), "item": (3, D)}, features={"user": "user", "seen": "item", "bought": "item"},
            seed=1, optimizer=optim.Adagrad(lr=0.1), device=where, output="concatenate",
        )  # fmt: skip
        found = [layer(batch)]
        layer.backward(np.linspace(-1, 1, found[0].size).reshape(found[0].shape))
        saved = {name: values.copy() for name, values in layer.state_dict().items()}
        found += [*saved.values(), layer(batch)]
        layer.load_state_dict({name: values * 2 for name, values in saved.items()})
        results.append([*found, layer(batch)])
    same(results)


def test_a_schedule_of_ftrl_is_refused():
    layer = Embedding(V, D, W=table(), optimizer=optim.FTRL(alpha=lambda step: 0.1), device="cuda")
    layer([1])
    with pytest.raises(ValueError, match="alpha must be a number for a table on a GPU"):
        layer.backward(np.ones((1, D), np.float32))
    np.testing.assert_array_equal(layer.weight[:], table())
