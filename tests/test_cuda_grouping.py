"""Lookups grouped on the GPU, and what is done with them there: in the simulator on small cases, or on a GPU."""

import gc
from contextlib import contextmanager

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag, functional, optim
from fastemb.engine import faults, gpu_gradients, gpu_grouping
from fastemb.engine.backend import kernels
from fastemb.engine.device import DeviceArray, upload
from fastemb.engine.gpu_grouping import group
from fastemb.engine.grouping import group as group_on_host

pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

TILE, PIECE = kernels("cuda", "sorting").TILE, kernels("cuda", "pieces").PIECE


def lookups(seed, size, num_embeddings, dtype=np.int64):
    """Indices of which about one in ten is outside the table, and half of the others are one row."""
    random = np.random.default_rng(seed)
    frequent = np.where(random.random(size) < 0.5, num_embeddings // 2, random.integers(0, num_embeddings, size))
    outside = np.where(random.random(size) < 0.5, -1, num_embeddings)
    return np.where(random.random(size) < 0.1, outside, frequent).astype(dtype)


# Up to a tile is one block's work; more are several kernels', once for each digit of the number of rows.
@pytest.mark.parametrize(
    ("size", "num_embeddings", "options"),
    [
        (0, 5, {}),
        (1, 1, {"padding_idx": 0}),
        (TILE - 3, 5, {"padding_idx": 2, "labels": True}),
        (TILE, 300, {"frozen": True}),
        (TILE + 1, 7, {"frozen": True, "labels": True}),
        (2 * TILE, 20, {"padding_idx": 3}),
        (2 * TILE + 5, 3, {}),
    ],
)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_groups_are_the_references(size, num_embeddings, options, dtype):
    indices, random = lookups(size, size, num_embeddings, dtype), np.random.default_rng(0)
    frozen = random.random(num_embeddings) < 0.3 if "frozen" in options else None
    labels = np.sort(random.integers(0, 5, size)).astype(np.int32) if "labels" in options else None
    padding = options.get("padding_idx")
    expected = group_on_host(
        indices, num_embeddings, padding_idx=padding, frozen=frozen, labels=labels, device="reference"
    )
    given = None if labels is None else upload(labels)
    found = group(upload(indices), num_embeddings, padding_idx=padding, frozen=frozen, labels=given)
    num_rows, num_taken = len(expected.rows), len(expected.order)
    assert found.count.to_host().tolist() == [num_rows]
    assert found.rows.dtype == dtype
    np.testing.assert_array_equal(found.rows.to_host()[:num_rows], expected.rows)
    np.testing.assert_array_equal(found.starts.to_host()[: num_rows + 1], expected.starts)
    np.testing.assert_array_equal(found.order.to_host()[:num_taken], expected.order)
    keys = np.repeat(expected.rows, np.diff(expected.starts))
    np.testing.assert_array_equal(found.keys.to_host(), [*keys, *[num_embeddings] * (size - num_taken)])


def test_indices_in_order_and_in_reverse_and_all_left_out():
    for indices in (np.arange(TILE + 2), np.arange(TILE + 2)[::-1].copy(), np.full(TILE + 2, -1)):
        expected, found = group_on_host(indices, len(indices)), group(indices, len(indices))
        num_rows = len(expected.rows)
        assert found.count.to_host().tolist() == [num_rows]
        np.testing.assert_array_equal(found.starts.to_host()[: num_rows + 1], expected.starts)
        np.testing.assert_array_equal(found.order.to_host()[: len(expected.order)], expected.order)


def test_a_scan_is_of_any_length():
    sorting = kernels("cuda", "sorting")
    numbers = np.random.default_rng(0).integers(0, 9, (2, 2 * sorting.THREADS + 1)).astype(np.int32)
    there, totals = upload(numbers), upload(np.zeros(2, np.int64))
    sorting.scan_rows[2, sorting.THREADS](there.made, totals.made)
    np.testing.assert_array_equal(there.to_host(), np.cumsum(numbers, axis=1) - numbers)
    np.testing.assert_array_equal(totals.to_host(), numbers.sum(axis=1))


# A row of more than two pieces' lookups is summed by several teams; the cuts lie where they may.
HOT = [0] * (PIECE - 1) + [1] * (3 * PIECE) + [2] + [3] * PIECE + [4] * (PIECE + 1) + [5, 5]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_frequent_rows_are_summed_in_pieces(mode, dtype):
    random, dim = np.random.default_rng(1), 8
    ids, offsets = random.permutation(HOT), np.array([0, 5, 5, len(HOT) - 2])
    weight = random.integers(-8, 8, (7, dim)).astype(dtype)
    grad, results = random.integers(-8, 8, (4, dim)).astype(dtype), []
    for where in ("reference", "cuda"):
        layer = EmbeddingBag(7, dim, mode=mode, W=weight.copy(), dtype=dtype, optimizer=optim.SGD(lr=0.5), device=where)
        collected = EmbeddingBag(7, dim, mode=mode, W=weight.copy(), dtype=dtype, scale_grad_by_freq=True, device=where)
        for each in (layer, collected):
            each(ids, offsets)
            each.backward(grad)
        gradient = collected.grad
        results.append([np.asarray(layer.weight), np.asarray(gradient.collect()), gradient.rows, gradient.to_dense(7)])
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        tolerance = 1e-5 if dtype == "float32" else 2e-3
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), tolerance, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scatter_add(dtype):
    random = np.random.default_rng(0)
    weight, source = random.integers(-8, 8, (7, 4)).astype(dtype), random.integers(-8, 8, (len(HOT), 4)).astype(dtype)
    ids, there = random.permutation(HOT), upload(weight)
    expected = functional.scatter_add(weight.copy(), ids, source, alpha=0.5)
    assert functional.scatter_add(there, upload(ids), upload(source), alpha=0.5) is there
    np.testing.assert_array_equal(there.to_host(), expected)
    assert functional.scatter_add(there, [[7, 1]], np.zeros((1, 2, 4), dtype), on_invalid="clip") is there
    np.testing.assert_array_equal(there.to_host(), expected)
    with pytest.raises(IndexError, match=r"indices must be in \[0, 7\), got 7 at position \(0, 1\)"):
        functional.scatter_add(there, upload(np.array([[1, 7]])), np.ones((1, 2, 4), dtype))
    np.testing.assert_array_equal(there.to_host(), expected)
    with pytest.raises(TypeError, match="indices is on a GPU, and weight is not"):
        functional.scatter_add(weight, upload(ids), source)


@contextmanager
def nothing_waits(monkeypatch):
    """Fail if anything is copied to the host; errors are put off, and never looked at."""

    def refuse(*arguments):
        raise AssertionError("a copy to the host, which waits for the GPU")

    with monkeypatch.context() as patch:
        patch.setattr(DeviceArray, "to_host", refuse)
        patch.setattr(faults._local, "put_off", [])
        yield


OPTIMIZERS = {
    "sgd": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "exact decay": lambda: optim.SGD(lr=0.1, weight_decay=0.1, decay="exact"),
    "rowwise": lambda: optim.RowwiseAdagrad(lr=0.1),
    "adam": lambda: optim.Adam(lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_waits_for_nothing(name, monkeypatch):
    weight = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    frozen = [False, False, False, True, False, False]
    ids, factors = np.array([[1, 2], [3, 2], [2, 5]]), np.float32([[1, 2], [3, 4], [5, 6]])
    there, told = upload(ids), upload(factors)
    grad, of_rows = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), np.ones((3, 2, 4), np.float32)
    results = []
    for where in ("reference", "cuda"):
        rows = Embedding(6, 4, W=weight.copy(), optimizer=OPTIMIZERS[name](), max_norm=1.5, freeze=frozen, device=where)
        bags = EmbeddingBag(
            6, 4, W=weight.copy(), optimizer=OPTIMIZERS[name](), mode="mean", padding_idx=5, freeze=frozen, device=where
        )
        for _ in range(2):
            if where == "reference":
                rows(ids)
                bags(ids, per_sample_weights=factors)
                rows.backward(of_rows)
                bags.backward(grad)
            else:
                given, each = upload(grad), upload(of_rows)
                with nothing_waits(monkeypatch):
                    found = rows(there), bags(there, per_sample_weights=told)
                    rows.backward(each)
                    of_factors = bags.backward(given)
                assert all(isinstance(array, DeviceArray) for array in (*found, of_factors))
        for layer in (rows, bags):
            layer.flush()
        results.append([np.asarray(rows.weight), np.asarray(bags.weight)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, 1e-5, 1e-5)


def test_offsets_and_policies_wait_for_nothing(monkeypatch):
    weight, results = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32), []
    ids, starts, ends = np.array([1, 9, 2, -7, 5]), np.array([0, 2, 2]), np.array([0, 2, 2, 5], np.int32)
    for where in ("reference", "cuda"):
        put = upload if where == "cuda" else np.asarray
        found = []
        for policy, padding in (("clip", None), ("pad", None), ("pad", 3), ("hash", None)):
            options = {"on_invalid": policy, "padding_idx": padding, "device": where}
            bags = EmbeddingBag(6, 4, W=weight.copy(), mode="mean", optimizer=optim.SGD(lr=0.5), **options)
            rows = Embedding(6, 4, W=weight.copy(), optimizer=optim.SGD(lr=0.5), **options)
            given = put(ids), put(starts), put(ends), put(np.ones((3, 4), np.float32)), put(np.ones((5, 4), np.float32))
            with nothing_waits(monkeypatch):
                found += [bags(given[0], given[1]), bags((given[0], given[2])), rows(given[0])]
                bags.backward(given[3])
                rows.backward(given[4])
            found += [bags.weight, rows.weight]
        results.append([np.asarray(array) for array in found])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, 1e-6, 1e-6)


def test_errors_of_offsets_are_the_cpus():
    layers = [EmbeddingBag(6, 4, device=where) for where in ("reference", "cuda")]
    layers += [EmbeddingBag(6, 4, include_last_offset=True, device=where) for where in ("reference", "cuda")]
    for offsets in ([1, 2], [0, 3, 2], [0, 9], [], [[0, 2]], [0, 2], [0, 3, 3]):
        told = []
        for layer, put in zip(layers, (np.asarray, upload) * 2, strict=True):
            try:
                told.append(np.asarray(layer(put(np.array([1, 2, 3])), put(np.array(offsets, int)))).shape)
            except ValueError as error:
                told.append(str(error))
        assert told[0] == told[1] and told[2] == told[3], offsets


def test_collected_gradients_are_summed_and_stepped_without_waiting(monkeypatch):
    layer = EmbeddingBag(6, 4, mode="sum", device="cuda", W=np.ones((6, 4), np.float32))
    layer(upload(np.array([[1, 2], [2, 5]])))
    optimizer = optim.SGD(layer, lr=0.5)
    grad = upload(np.ones((2, 4), np.float32))
    with nothing_waits(monkeypatch):
        layer.backward(grad)
        assert isinstance(layer.grad, gpu_gradients.DeviceGradient)
        optimizer.step()
    np.testing.assert_array_equal(layer.weight[:], np.outer([1, 0.5, 0, 1, 1, 0.5], np.ones(4)))
    np.testing.assert_array_equal(layer.grad.rows, [1, 2, 5])
    np.testing.assert_array_equal(layer.grad.collect().to_host(), np.outer([1, 2, 1], np.ones(4)))
    assert layer.grad.norm() == pytest.approx(np.sqrt(24))
    with pytest.raises(ValueError, match=r"rows must be in \[0, 5\), got 5 at position 2"):
        layer.grad.add_to(np.zeros((5, 4), np.float32))
    dense = np.zeros((6, 4), np.float32)
    layer.grad.add_to(dense, 2.0)
    np.testing.assert_array_equal(dense, np.outer([0, 2, 4, 0, 0, 2], np.ones(4)))


def test_functional_gradients_wait_for_nothing(monkeypatch):
    weight, ids, grad = upload(np.ones((6, 4), np.float32)), upload(np.array([[1, 2], [2, 5]])), np.ones((2, 4))
    given, each = upload(grad.astype(np.float32)), upload(np.ones((2, 2, 4), np.float32))
    with nothing_waits(monkeypatch):
        dense = functional.embedding_bag_backward(given, ids, weight, mode="mean")
        rows = functional.embedding_backward(each, ids, weight, padding_idx=5)
    np.testing.assert_array_equal(dense.to_host(), np.outer([0, 0.5, 1, 0, 0, 0.5], np.ones(4)))
    np.testing.assert_array_equal(rows.to_host(), np.outer([0, 1, 2, 0, 0, 0], np.ones(4)))


def test_a_mask_that_cannot_change_is_copied_once():
    gc.collect()  # layers of other tests, and their masks
    layer = Embedding(6, 4, freeze=[False, True] * 3, device="cuda")
    for _ in range(2):
        layer([0, 1, 2])
        layer.backward(np.ones((3, 4), np.float32))
    assert layer.grad.rows.tolist() == [0, 2]
    mask = layer.frozen
    assert [key[0] for key in gpu_grouping._masks] == [id(mask)]
    layer.frozen = [True, False] * 3
    layer.zero_grad()
    layer([0, 1, 2])
    layer.backward(np.ones((3, 4), np.float32))
    assert layer.grad.rows.tolist() == [1]
    del mask
    gc.collect()
    assert [key[0] for key in gpu_grouping._masks] == [id(layer.frozen)]
    with pytest.raises(ValueError, match="read-only"):
        layer.frozen[0] = False
