"""The best few of many scores: the CPU's kernels against the reference, and laws that need none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.backend import kernels
from fastemb.kernels.cpu.simd import W8, W16

cpu = kernels("cpu", "top_k")
DEVICES = ("cpu", "reference")
devices = pytest.mark.parametrize("device", DEVICES)


def free_rows(num_queries, k):
    return np.full((num_queries, k), -np.inf, np.float32), np.full((num_queries, k), -1)


def in_order(scores, ids):
    order = np.lexsort((ids, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1).tolist(), np.take_along_axis(ids, order, axis=1).tolist()


def is_heap(scores, ids):
    """Whether the first of a row is the worst of it."""
    worst = [max(zip(-row, number, strict=True)) for row, number in zip(scores, ids, strict=True)]
    return worst == list(zip(-scores[:, 0], ids[:, 0], strict=True))


def draw(seed, num_queries, num_candidates, levels):
    """Scores with ties, NaN and infinities, factors with NaN, and ids that are not to be found."""
    rng = np.random.default_rng(seed)
    products = rng.integers(-levels, levels + 1, (num_queries, num_candidates)).astype(np.float32)
    for value, share in ((np.nan, 0.05), (-np.inf, 0.02), (np.inf, 0.01)):
        products[rng.random(products.shape) < share] = value
    factors = rng.choice([0.5, 1, 2, np.nan], num_candidates, p=[0.2, 0.6, 0.1, 0.1]).astype(np.float32)
    lengths = rng.integers(0, 4, num_queries)
    own = rng.integers(0, max(1, 2 * num_candidates), lengths.sum())
    return products, factors, own, np.concatenate([[0], np.cumsum(lengths)])


shapes = {
    "seed": st.integers(0, 2**31), "num_queries": st.integers(0, 4), "k": st.sampled_from([1, 2, 3, 7, 40]),
    "num_candidates": st.sampled_from([0, 1, 5, 63, 64, 65, 130, 500]), "levels": st.sampled_from([0, 2, 1000]),
}  # fmt: skip


@settings(deadline=None, max_examples=150, derandomize=True)
@given(**shapes)
def test_scans_are_the_reference(seed, num_queries, k, num_candidates, levels):
    products, factors, own, offsets = draw(seed, num_queries, num_candidates, levels)
    found = {}
    for device in DEVICES:
        rows = free_rows(num_queries, k)
        for first in (0, num_candidates):  # the same block again, as other candidates
            for start, stop in ((num_queries // 2, num_queries), (0, num_queries // 2)):
                kernels(device, "top_k").scan(*rows, products, factors, first, own, offsets, start, stop)
        found[device] = in_order(*rows)
        assert is_heap(*rows)
    assert found["cpu"] == found["reference"]


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    **{**shapes, "num_queries": st.integers(0, 14)}, dim=st.sampled_from([1, 3, 16]), width=st.sampled_from([W8, W16])
)
def test_the_nearest_are_the_reference(seed, num_queries, k, num_candidates, levels, dim, width):
    """Of small integers, whose products are exact whatever the order of the sums."""
    _, factors, own, offsets = draw(seed, num_queries, num_candidates, levels)
    rng = np.random.default_rng(seed)
    vectors, queries = (
        rng.integers(-min(levels, 9), min(levels, 9) + 1, (size, dim)).astype(np.float32)
        for size in (num_candidates, num_queries)
    )
    vectors[rng.random(vectors.shape) < 0.02] = np.nan
    found = {}
    for device in DEVICES:
        rows = free_rows(num_queries, k)
        for first in (0, num_candidates):
            for start, stop in ((num_queries // 3, num_queries), (0, num_queries // 3)):
                arguments = (*rows, vectors, factors, first, queries, own, offsets, start, stop)
                tools = (cpu.allocate_scratch(stop - start, dim), width) if device == "cpu" else ()
                kernels(device, "top_k").nearest(*arguments, *tools)
        found[device] = in_order(*rows)
        assert is_heap(*rows)
    assert found["cpu"] == found["reference"]


def test_the_nearest_stay_in_their_scratch():
    rng = np.random.default_rng(0)
    for num_queries, dim in ((1, 1), (6, 5), (13, 30)):
        vectors, queries = (rng.standard_normal((size, dim)).astype(np.float32) for size in (70, num_queries))
        room = cpu.allocate_scratch(num_queries, dim)
        guarded = np.full(len(room) + 64, 12345, np.float32)
        factors, offsets, own = np.ones(70, np.float32), np.zeros(num_queries + 1, np.int64), np.zeros(0, np.int64)
        rows = free_rows(num_queries, 4)
        cpu.nearest(*rows, vectors, factors, 0, queries, own, offsets, 0, num_queries, guarded[: len(room)], W16)
        assert (guarded[len(room) :] == 12345).all() and (rows[1] >= 0).all()


@settings(deadline=None, max_examples=80, derandomize=True)
@given(**shapes, dim=st.sampled_from([1, 3, 16, 37]))
def test_measured_rows_are_the_reference(seed, num_queries, k, num_candidates, levels, dim):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, k)
    vectors = rng.standard_normal((num_queries, rng.integers(1, k - first + 1), dim)).astype(np.float32)
    queries = rng.standard_normal((num_queries, dim)).astype(np.float32)
    lengths = rng.integers(0, 3, num_candidates + k).astype(np.float32)
    ids = rng.integers(-1, num_candidates + k, (num_queries, k))
    before = rng.standard_normal(ids.shape).astype(np.float32)
    found = {device: before.copy() for device in DEVICES}
    for device, scores in found.items():
        kernels(device, "top_k").measure(scores, ids, vectors, lengths, queries, first, 0, num_queries)
    np.testing.assert_allclose(found["cpu"], found["reference"], rtol=1e-6)
    other = np.ones(k, bool)
    other[first : first + vectors.shape[1]] = False
    np.testing.assert_array_equal(found["cpu"][:, other], before[:, other])


@settings(deadline=None, max_examples=80, derandomize=True)
@given(**shapes)
def test_sorted_rows_are_the_reference(seed, num_queries, k, num_candidates, levels):
    rng = np.random.default_rng(seed)
    ids = np.argsort(rng.random((num_queries, num_candidates + k)), axis=1)[:, :k]
    scores = rng.integers(-levels, levels + 1, ids.shape).astype(np.float32)
    free = rng.random(ids.shape) < 0.2
    scores[free], ids[free] = -np.inf, -1
    found = {device: (scores.copy(), ids.copy()) for device in DEVICES}
    for device, rows in found.items():
        kernels(device, "top_k").sort(*rows, 0, num_queries)
    for theirs, ours in zip(found["reference"], found["cpu"], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@devices
def test_what_is_measured_is_exact(device):
    """1 + 1e-9 - 1 is lost in float32."""
    scores, ids = np.zeros((1, 3), np.float32), np.array([[4, 9, -1]])
    vectors = np.array([[[1, 1, 1], [2, 0, 0], [0, 0, 0]]], np.float32)
    queries = np.array([[1, 1e-9, -1]], np.float32)
    kernels(device, "top_k").measure(scores, ids, vectors, np.full(10, 4, np.float32), queries, 0, 0, 1)
    np.testing.assert_allclose(scores, [[0.25e-9, 0.5, 0]], rtol=1e-6)


@devices
def test_a_row_may_be_all_that_there_is(device):
    products = np.array([[3, np.nan, 1, 2]], np.float32)
    scores, ids = free_rows(1, 6)
    own = np.zeros(0, np.int64)
    kernels(device, "top_k").scan(scores, ids, products, np.ones(4, np.float32), 7, own, np.zeros(2, np.int64), 0, 1)
    assert sorted(ids[0].tolist()) == [-1, -1, -1, 7, 9, 10]
