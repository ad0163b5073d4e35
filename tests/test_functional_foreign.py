"""Functional calls and layers on other packages' arrays in the host's memory: no copy, and answers in kind."""

import gc

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag
from fastemb import functional as F
from fastemb.engine import dlpack

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
V, D = 6, 4
SHORT = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Array:
    """An array of a package that NumPy does not know: it has DLPack and nothing else."""

    def __init__(self, values, place=None, version=True):
        self.values, self.place, self.version, self.streams = np.asarray(values), place or (1, 0), version, []

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, *, stream=None, max_version=None):
        self.streams.append(stream)
        given = dlpack.Given(self.values, place=self.place)
        return given.__dlpack__(max_version=max_version if self.version else None)


def weight_of(dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(0).standard_normal((V, D))).to(dtype)


def calls(put):
    """Every function, on arrays as `put` makes them of NumPy's; what is on tensors is compared with what is not."""
    table, ids, offsets = put(weight_of().numpy()), put(np.array([1, 2, 5, 2])), put(np.array([0, 1]))
    grad, factors = put(np.linspace(-1, 1, 2 * D, dtype=np.float32).reshape(2, D)), put(np.float32([1, 2, 3, 4]))
    yield F.embedding(ids, table)
    yield F.embedding(put(np.array([[1, 2], [9, 0]])), table, on_invalid="clip")
    for mode in ("sum", "mean", "sqrtn", "max", "min"):
        yield F.embedding_bag(ids, table, offsets, mode=mode)
    yield F.embedding_bag((ids, put(np.array([0, 3, 4]))), table, mode="sum")
    told = {"offsets": offsets, "mode": "mean", "per_sample_weights": factors}
    yield F.embedding_bag(ids, table, **told)
    yield F.embedding_bag_backward(grad, ids, table, **told)
    yield from F.embedding_bag_backward(grad, ids, table, offsets, sparse=True)
    yield F.per_sample_weights_backward(grad, ids, table, **told)
    yield F.embedding_backward(grad, put(np.array([1, 1])), table, scale_grad_by_freq=True)
    yield F.one_hot(ids, 7)
    yield F.scatter_add(put(np.zeros((3, D), np.float32)), put(np.array([2, 0])), grad, alpha=0.5)
    yield F.scatter_add_backward(table, ids, alpha=0.5)
    yield F.embedding_renorm_(put(weight_of().numpy()), ids, 0.5)


def test_tensors_give_tensors():
    def put(array):
        return torch.from_numpy(array.copy())

    for expected, found in zip(calls(lambda a: a), calls(put), strict=True):
        assert type(found) is torch.Tensor and np.array_equal(found.numpy(), expected)


def test_an_unknown_package_is_read_and_gets_numpy():
    for expected, found in zip(calls(lambda a: a), calls(Array), strict=True):
        assert np.array_equal(getattr(found, "values", found), expected)


@pytest.mark.parametrize("dtype", SHORT)
def test_every_dtype_of_tables_in_place_and_back(dtype):
    weight, ids = weight_of(SHORT[dtype]), torch.tensor([4, 0, 4], dtype=torch.int32)
    found = F.embedding(ids, weight)
    assert found.dtype is weight.dtype and torch.equal(found, weight[ids])
    out = torch.empty_like(found)
    assert F.embedding(ids, weight, out=out) is out and torch.equal(out, found)
    apart = torch.empty(3, 2 * D, dtype=weight.dtype)[:, ::2]
    assert F.embedding(ids, weight, out=apart) is apart and torch.equal(apart, found)
    dense = F.embedding_backward(torch.ones(3, D, dtype=weight.dtype), ids, weight)
    assert dense.dtype is weight.dtype and dense.sum() == 3 * D and dense[4, 0] == 2
    given = torch.empty_like(weight)
    assert F.embedding_backward(torch.ones(3, D), ids, weight, out=given) is given and torch.equal(given, dense)
    assert F.embedding_renorm_(weight, ids, 0.25) is weight
    assert weight[4].double().norm() <= 0.26 < weight[1].double().norm()
    if weight.dtype is torch.bfloat16:
        wide = torch.empty(2, D)
        assert F.embedding_bag(ids.reshape(1, 3), weight, mode="sum", out=wide[:1]) is not None


def test_no_copy_is_made_and_the_owner_is_kept():
    values = np.zeros((V, D), np.float32)
    array = Array(values)
    layer = EmbeddingBag.from_pretrained(array, freeze=False, mode="sum")
    layer.weight[2] = 7
    assert (values[2] == 7).all() and np.shares_memory(layer.weight, values)
    tensor = weight_of(torch.bfloat16)
    other = Embedding(V, D, W=tensor)
    kept = tensor[3].clone()
    address = tensor.data_ptr()
    del tensor
    gc.collect()
    assert other.table.ctypes.data == address and torch.equal(torch.from_dlpack(dlpack.Given(other.weight))[3], kept)


def test_what_is_read_only_is_read_and_not_changed():
    values = weight_of().numpy()
    values.flags.writeable = False
    frozen, old = Array(values), Array(weight_of().numpy(), version=False)
    for array in (frozen, old):  # who is too old to tell may not want to be changed
        assert np.array_equal(F.embedding([3], array), values[3:4])
        with pytest.raises(ValueError, match="weight is changed in place, but it is read-only"):
            F.embedding_renorm_(array, [1], 1.0)
    with pytest.raises(ValueError, match="out is read-only"):
        F.embedding([1], values, out=Array(values[:1]))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("weight", lambda bad: F.embedding([1], bad)),
        ("input", lambda bad: F.embedding(bad, np.zeros((V, D)))),
        ("offsets", lambda bad: F.embedding_bag([1, 2], np.zeros((V, D)), bad)),
        ("per_sample_weights", lambda bad: F.embedding_bag([[1, 2]], np.zeros((V, D)), per_sample_weights=bad)),
        ("grad_output", lambda bad: F.embedding_backward(bad, [1], np.zeros((V, D)))),
        ("source", lambda bad: F.scatter_add(np.zeros((V, D)), [1], bad)),
        ("out", lambda bad: F.embedding([1], np.zeros((V, D)), out=bad)),
        ("W", lambda bad: Embedding(V, D, W=bad)),
    ],
)
def test_errors_name_the_argument(name, call):
    with pytest.raises(TypeError, match=f"^{name}, of Tensor, cannot be shared: .*grad"):
        call(torch.zeros(2, 2, requires_grad=True))
    with pytest.raises(TypeError, match=f"^{name} is on metal:1, and must be on the CPU or on an NVIDIA GPU"):
        call(Array(np.zeros((2, 2)), place=(8, 1)))
    with pytest.raises(TypeError, match=f"^{name}, of Tensor, cannot be shared: .*meta"):
        call(torch.zeros(2, 2, device="meta"))
