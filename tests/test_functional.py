"""Lookups, bags and their gradients against the reference, and the laws that need no oracle."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastemb
import fastemb.functional as F
from fastemb.engine import gradients, operations
from fastemb.engine.arrays import accumulator, as_table, bits
from fastemb.engine.ragged import as_bags
from fastemb.kernels.reference.lookup import widen

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

SUMS, EXTREMES = ["sum", "mean", "sqrtn"], ["max", "min"]
# A kind of table goes with one kind of index, so that half as many kernels are compiled.
KINDS = [(np.float32, np.int64), (np.float64, np.int32), (np.float16, np.int32)] + [(bfloat16, np.int64)] * bool(
    bfloat16
)
ROUNDING = {8: 1e-12, 4: 2e-5, 2: 1e-2}
dims = st.sampled_from([1, 3, 7, 8, 16, 17, 64, 100, 300])


class Case:
    """Random arguments: a table, bags of uneven sizes, weights, a gradient."""

    def __init__(self, seed, kind=KINDS[0], dim=5, num_embeddings=7, num_bags=6, weighted=False, padding_idx=None):
        rng = np.random.default_rng(seed)
        self.dtype, integer = np.dtype(kind[0]), kind[1]
        self.weight = rng.standard_normal((num_embeddings, dim)).astype(self.dtype)
        sizes = rng.integers(0, 6, num_bags) * (rng.random(num_bags) < 0.8)
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.input = rng.integers(0, num_embeddings, self.offsets[-1]).astype(integer)
        self.grad = rng.standard_normal((num_bags, dim)).astype(accumulator(bits(self.weight).dtype))
        self.coefficients = rng.uniform(0.5, 2, len(self.input)).astype(self.grad.dtype) if weighted else None
        self.padding_idx = padding_idx
        self.options = {
            "include_last_offset": True,
            "padding_idx": padding_idx,
            "per_sample_weights": self.coefficients,
        }

    def bags(self):
        table = as_table(self.weight)
        return table, as_bags(self.input, self.offsets, len(table), table.dtype, **self.options)

    def close(self, got, wanted):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        got, wanted = widen(bits(got)), widen(bits(wanted))
        limit = ROUNDING[self.dtype.itemsize]
        np.testing.assert_allclose(got, wanted, rtol=limit, atol=limit)


cases = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    dim=dims,
    num_embeddings=st.sampled_from([1, 2, 7, 50]),
    num_bags=st.integers(0, 12),
    weighted=st.booleans(),
    padding_idx=st.sampled_from([None, 0, -1]),
)
quick = settings(max_examples=40, deadline=None, derandomize=True)


@quick
@given(case=cases, mode=st.sampled_from(SUMS))
def test_bags_equal_the_reference(case, mode):
    table, bags = case.bags()
    got = F.embedding_bag(case.input, case.weight, case.offsets, mode=mode, **case.options)
    assert got.dtype == case.dtype
    wanted = operations.reduce(table, bags, mode, device="reference")
    case.close(bits(got), wanted)


@quick
@given(case=cases, mode=st.sampled_from(EXTREMES))
def test_extreme_bags_equal_the_reference(case, mode):
    case.options["per_sample_weights"] = None
    table, bags = case.bags()
    got = F.embedding_bag(case.input, case.weight, case.offsets, mode=mode, **case.options)
    sign = operations.EXTREMES[mode]
    wanted, winners = operations.extremes(table, bags, sign, device="reference")
    np.testing.assert_array_equal(bits(got), wanted)
    np.testing.assert_array_equal(operations.extremes(table, bags, sign)[1], winners)


@quick
@given(case=cases, mode=st.sampled_from(SUMS + EXTREMES), by_frequency=st.booleans(), sparse=st.booleans())
def test_gradients_of_bags_equal_the_reference(case, mode, by_frequency, sparse):
    winners = None
    if mode in EXTREMES:
        case.options["per_sample_weights"] = None
    table, bags = case.bags()
    if mode in EXTREMES:
        winners = operations.extremes(table, bags, operations.EXTREMES[mode], device="reference")[1]
    got = F.embedding_bag_backward(
        case.grad, case.input, case.weight, case.offsets, mode=mode, scale_grad_by_freq=by_frequency, sparse=sparse,
        **case.options,
    )  # fmt: skip
    wanted = gradients.gradient_of_bags(
        case.grad, bags, len(table), mode, by_frequency, winners=winners, device="reference"
    )
    if sparse:
        np.testing.assert_array_equal(got[0], wanted.rows)
        assert set(got[0]) == set(case.input) - {bags.padding_idx}
        case.close(bits(got[1]), operations.rounded(wanted.collect(device="reference"), table.dtype))
    else:
        case.close(bits(got), wanted.to_dense(len(table), table.dtype, device="reference"))


@quick
@given(case=cases, mode=st.sampled_from(SUMS))
def test_gradients_of_weights_equal_the_reference(case, mode):
    table, bags = case.bags()
    got = F.per_sample_weights_backward(case.grad, case.input, case.weight, case.offsets, mode=mode, **case.options)
    wanted = gradients.gradient_of_coefficients(case.grad, table, bags, mode, device="reference")
    limit = 1e-11 if case.dtype.itemsize == 8 else 1e-3
    np.testing.assert_allclose(got, wanted, rtol=limit, atol=limit)
    assert got.dtype == case.grad.dtype and not got[bags.indices == bags.padding_idx].any()


@quick
@given(case=cases, shape=st.sampled_from([(-1,), (1, -1), (-1, 1, 1)]), data=st.data())
def test_lookups_equal_indexing(case, shape, data):
    input = case.input.reshape(shape)
    got = F.embedding(input, case.weight, case.padding_idx)
    np.testing.assert_array_equal(bits(got), bits(case.weight)[input])
    assert got.dtype == case.dtype and got.shape == (*input.shape, case.weight.shape[1])
    grad = np.random.default_rng(0).standard_normal(got.shape).astype(case.grad.dtype)
    by_frequency = data.draw(st.booleans())
    dense = F.embedding_backward(
        grad, input, case.weight, padding_idx=case.padding_idx, scale_grad_by_freq=by_frequency
    )
    wanted = np.zeros(case.weight.shape)
    counts = np.bincount(case.input, minlength=len(wanted))
    for row, index in zip(grad.reshape(-1, case.weight.shape[1]), case.input, strict=True):
        wanted[index] += row / (counts[index] if by_frequency else 1)
    if case.padding_idx is not None:
        wanted[case.padding_idx] = 0
    limit = max(ROUNDING[case.dtype.itemsize], 1e-12)
    np.testing.assert_allclose(widen(bits(dense)), wanted, rtol=limit, atol=limit)


@quick
@given(case=cases, mode=st.sampled_from(SUMS))
def test_the_gradient_is_the_adjoint_of_the_forward(case, mode):
    case.weight = case.weight.astype(np.float64)
    grad = case.grad.astype(np.float64)
    change = np.random.default_rng(1).standard_normal(case.weight.shape)
    forward = F.embedding_bag(case.input, change, case.offsets, mode=mode, **case.options)
    backward = F.embedding_bag_backward(grad, case.input, case.weight, case.offsets, mode=mode, **case.options)
    assert np.vdot(forward, grad) == pytest.approx(np.vdot(change, backward), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("mode", SUMS)
def test_the_gradient_of_weights_is_the_slope(mode):
    case = Case(3, (np.float64, np.int32), weighted=True, padding_idx=2)
    got = F.per_sample_weights_backward(case.grad, case.input, case.weight, case.offsets, mode=mode, **case.options)

    def loss(j, change):
        weights = case.coefficients.copy()
        weights[j] += change
        options = {**case.options, "per_sample_weights": weights}
        return np.vdot(case.grad, F.embedding_bag(case.input, case.weight, case.offsets, mode=mode, **options))

    slopes = [(loss(j, 1e-6) - loss(j, -1e-6)) / 2e-6 for j in range(len(case.input))]
    np.testing.assert_allclose(got, slopes, atol=1e-7)
    assert np.abs(got).max() > 0.1


@quick
@given(case=cases, mode=st.sampled_from(SUMS + EXTREMES), form=st.sampled_from(["lists", "pair", "torch", "padded"]))
def test_forms_of_input_give_the_same_bags(case, mode, form):
    if mode in EXTREMES:
        case.options["per_sample_weights"] = None
    wanted = F.embedding_bag(case.input, case.weight, case.offsets, mode=mode, **case.options)
    options = {**case.options, "include_last_offset": False}
    cuts = case.offsets[1:-1]
    if form == "lists":
        if case.coefficients is not None and mode in SUMS:
            options["per_sample_weights"] = [part.tolist() for part in np.split(case.coefficients, cuts)]
        rows = [part.tolist() for part in np.split(case.input, cuts)] if len(case.offsets) > 1 else []
        if not rows:
            options["per_sample_weights"] = None
        got = F.embedding_bag(rows, case.weight, mode=mode, **options)
    elif form == "pair":
        got = F.embedding_bag((case.input, case.offsets), case.weight, mode=mode, **options)
    elif form == "torch":
        got = F.embedding_bag(case.input, case.weight, case.offsets[:-1], mode=mode, **options)
    else:
        if case.coefficients is not None or case.padding_idx is not None:
            return
        sizes = np.diff(case.offsets)
        padded = np.full((len(sizes), max(sizes, default=0) + 1), 999)
        padded[np.arange(padded.shape[1]) < sizes[:, None]] = case.input
        got = F.embedding_bag(padded, case.weight, mode=mode, on_invalid="pad")
    case.close(got, wanted)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((1000, 64)).astype(np.float32)
    input, grad = rng.integers(0, 1000, (600, 20)), rng.standard_normal((600, 64)).astype(np.float32)
    with fastemb.num_threads(1):
        wanted = (
            F.embedding_bag(input, weight),
            F.embedding_bag_backward(grad, input, weight),
            F.embedding(input, weight),
        )
    with fastemb.num_threads(threads):
        got = F.embedding_bag(input, weight), F.embedding_bag_backward(grad, input, weight), F.embedding(input, weight)
        with pytest.raises(IndexError, match=r"got 1000 at position \(300, 3\)"):
            wrong = input.copy()
            wrong[300, 3] = wrong[301, 0] = wrong[599, 19] = 1000
            F.embedding_bag(wrong, weight)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", SUMS + EXTREMES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: np.dtype(kind[0]).name)
def test_out_is_filled_and_returned(mode, kind):
    case = Case(6, kind)
    wanted = F.embedding_bag(case.input, case.weight, case.offsets, mode=mode, **case.options)
    for out in (np.ones_like(wanted), np.ones((*wanted.shape, 2), case.dtype)[..., 0], np.ones_like(wanted).T.copy().T):
        assert F.embedding_bag(case.input, case.weight, case.offsets, mode=mode, out=out, **case.options) is out
        np.testing.assert_array_equal(bits(out), bits(wanted))
    rows = F.embedding(case.input[:4].reshape(2, 2), case.weight)
    for out in (np.ones_like(rows), np.ones((*rows.shape, 2), case.dtype)[..., 0]):
        assert F.embedding(case.input[:4].reshape(2, 2), case.weight, out=out) is out
        np.testing.assert_array_equal(bits(out), bits(rows))
    dense = F.embedding_bag_backward(case.grad, case.input, case.weight, case.offsets, mode=mode, **case.options)
    out = np.ones_like(dense)
    options = {**case.options, "out": out}
    assert F.embedding_bag_backward(case.grad, case.input, case.weight, case.offsets, mode=mode, **options) is out
    np.testing.assert_array_equal(bits(out), bits(dense))


@pytest.mark.parametrize("kind", KINDS[2:], ids=lambda kind: np.dtype(kind[0]).name)
def test_short_tables_may_be_summed_into_float32(kind):
    case = Case(7, kind)
    out = np.zeros((len(case.offsets) - 1, 5), np.float32)
    F.embedding_bag(case.input, case.weight, case.offsets, mode="sum", out=out, **case.options)
    wide = widen(bits(case.weight))
    wanted = F.embedding_bag(case.input, wide, case.offsets, mode="sum", **case.options)
    np.testing.assert_allclose(out, wanted, rtol=1e-6, atol=1e-6)
    with pytest.raises(TypeError, match=f"out must be {case.dtype.name}, got float32"):
        F.embedding_bag(case.input, case.weight, case.offsets, mode="max", out=out, **case.options)


def test_sums_of_short_tables_are_formed_in_float32():
    """2048 + 1 + 1 is 2050 in float32 and 2048 step by step in float16."""
    weight = np.array([[2048.0], [1.0]], np.float16)
    assert F.embedding_bag([[0, 1, 1]], weight, mode="sum") == 2050


@pytest.mark.parametrize("mode", SUMS + EXTREMES)
def test_bags_without_lookups_are_zero(mode):
    weight = np.full((3, 4), 5.0)
    assert not F.embedding_bag([[], [], []], weight, mode=mode).any()
    assert not F.embedding_bag([[1, 1], [1]], weight, mode=mode, padding_idx=1).any()
    assert F.embedding_bag(np.zeros(0, int), weight, [], mode=mode).shape == (0, 4)
    grad = np.ones((2, 4))
    assert not F.embedding_bag_backward(grad, [[1, 1], []], weight, mode=mode, padding_idx=1).any()


def test_means_with_weights():
    weight = np.array([[1.0], [2.0], [4.0]])
    weights = [[1.0, 3.0], [1.0, -1.0]]
    bags = [[0, 2], [1, 2]]
    mean = F.embedding_bag(bags, weight, mode="mean", per_sample_weights=weights)
    np.testing.assert_allclose(mean, [[13 / 4], [0]])  # weights that sum to zero give zero, not infinity
    root = F.embedding_bag(bags, weight, mode="sqrtn", per_sample_weights=weights)
    np.testing.assert_allclose(root, [[13 / np.sqrt(10)], [-2 / np.sqrt(2)]])


def test_policies_of_lookups_and_bags():
    weight = np.array([[1.0], [2.0], [4.0]])
    input = [0, 7, -3]
    assert F.embedding(input, weight, on_invalid="clip").ravel().tolist() == [1, 4, 1]
    assert F.embedding(input, weight, on_invalid="pad").ravel().tolist() == [1, 0, 0]
    assert F.embedding(input, weight, 1, on_invalid="pad").ravel().tolist() == [1, 2, 2]
    hashed = F.embedding(input, weight, on_invalid="hash").ravel()
    assert hashed[0] == 1 and set(hashed) <= {1, 2, 4}
    for policy, total in (("clip", 6.0), ("pad", 1.0), ("hash", hashed.sum())):
        assert F.embedding_bag([input], weight, mode="sum", on_invalid=policy) == total
    assert F.embedding_bag([input], weight, mode="mean", on_invalid="pad") == 1
    assert F.embedding_bag([input], weight, mode="min", on_invalid="pad", padding_idx=1) == 1
    grad = F.embedding_backward([[1.0], [10.0], [100.0]], input, weight, on_invalid="clip")
    assert grad.ravel().tolist() == [101, 0, 10]
    grad = F.embedding_backward([[1.0], [10.0], [100.0]], input, weight, on_invalid="pad")
    assert grad.ravel().tolist() == [1, 0, 0]
    grad = F.embedding_bag_backward([[1.0]], [input], weight, mode="sum", on_invalid="pad", sparse=True)
    assert grad[0].tolist() == [0] and grad[1].tolist() == [[1.0]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64])
def test_integers_of_all_sizes_are_indices(dtype):
    weight = np.arange(10.0).reshape(5, 2)
    input = np.array([[4, 0], [1, 4]], dtype)
    np.testing.assert_array_equal(F.embedding(input, weight), weight[input])
    np.testing.assert_array_equal(F.embedding_bag(input, weight, mode="sum"), weight[input].sum(1))
    np.testing.assert_array_equal(F.one_hot(input, 5, dtype=float) @ weight, weight[input])


@quick
@given(case=cases, alpha=st.sampled_from([1.0, -0.5]), data=st.data())
def test_scatter_add_is_a_loop(case, alpha, data):
    source = np.random.default_rng(2).standard_normal((len(case.input), case.weight.shape[1])).astype(case.grad.dtype)
    wanted = widen(bits(case.weight)).astype(np.float64)
    for row, index in zip(source, case.input, strict=True):
        wanted[index] += alpha * row
    weight = case.weight.copy()
    lead = data.draw(st.sampled_from([(), (1,)]))
    indices, rows = case.input.reshape(*lead, -1), source.reshape(*lead, *source.shape)
    got = F.scatter_add(weight, indices, rows, alpha=alpha)
    assert got is weight
    limit = ROUNDING[case.dtype.itemsize]
    np.testing.assert_allclose(widen(bits(weight)), wanted, rtol=limit, atol=10 * limit)
    others = np.setdiff1d(np.arange(len(weight)), case.input)
    np.testing.assert_array_equal(bits(weight)[others], bits(case.weight)[others])


def test_scatter_add_of_infinities_and_its_gradient():
    weight = np.array([[np.inf], [-np.inf], [0.0]])
    F.scatter_add(weight, [0, 1, 2], [[1.0], [1.0], [1.0]])
    assert weight.ravel().tolist() == [np.inf, -np.inf, 1]
    grad = np.array([[1.0], [2.0], [4.0]])
    assert F.scatter_add_backward(grad, [[2, 0]], alpha=3).tolist() == [[[12.0], [3.0]]]
    assert F.scatter_add_backward(grad, [2, 7], on_invalid="pad").tolist() == [[4.0], [0.0]]
    F.scatter_add(weight, [7, 2], [[9.0], [1.0]], on_invalid="pad")
    assert weight[2] == 2
    short = np.ones((2, 1), np.float16)
    assert F.scatter_add_backward(short, [1], alpha=0.5).dtype == np.float16


def test_one_hot():
    assert F.one_hot([[1], [0]]).tolist() == [[[0, 1]], [[1, 0]]]
    assert F.one_hot(2).tolist() == [0, 0, 1]
    assert F.one_hot([], 3).shape == (0, 3) and F.one_hot(np.zeros((2, 0), int), 0).shape == (2, 0, 0)
    assert F.one_hot([5, -1], 2, on_invalid="pad").tolist() == [[0, 0], [0, 0]]
    assert F.one_hot([5, -1], 2, on_invalid="clip").tolist() == [[0, 1], [1, 0]]
    for out in (np.ones((2, 3), np.float32), np.ones((2, 6), np.float32)[:, ::2]):
        assert F.one_hot([2, 0], 3, dtype=np.float32, out=out) is out
        assert out.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_norms_are_limited_once_and_in_place():
    weight = np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]], np.float32)
    untouched = weight[2].copy()
    rows = F.embedding([0, 1, 0], weight, max_norm=1.0)
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(weight[2], untouched)
    bags = F.embedding_bag([[2, 2]], weight, mode="sum", max_norm=2.0, padding_idx=0)
    np.testing.assert_allclose(bags, [[2.4, 3.2]], rtol=1e-6)
    weight = np.array([[3.0, 4.0]])
    assert F.embedding_renorm_(weight, [[0], [0]], 3.5, norm_type=1) is weight
    np.testing.assert_allclose(weight, [[1.5, 2.0]])
    np.testing.assert_allclose(F.embedding([0], np.array([[3.0, 4.0]]), None, 2.0, np.inf), [[1.5, 2.0]])
    strided = np.ones((4, 6))[::2, :3]
    F.embedding_renorm_(strided, [1], 1.0)
    np.testing.assert_allclose(strided, [[1] * 3, [3**-0.5] * 3], rtol=1e-6)


def test_a_bad_index_leaves_the_norms_alone():
    weight = np.full((3, 2), 9.0)
    for call in (
        lambda: F.embedding([0, 3], weight, max_norm=1.0),
        lambda: F.embedding_bag([[0, -1]], weight, max_norm=1.0),
        lambda: F.embedding_bag([0, 1], weight, [0, 2, 1], max_norm=1.0),
        lambda: F.embedding_renorm_(weight, [0, 3], 1.0),
        lambda: F.scatter_add(weight, [0, 3], np.ones((2, 2))),
    ):
        with pytest.raises((IndexError, ValueError)):
            call()
        assert (weight == 9).all()
    F.embedding([0, 3], weight, max_norm=1.0, on_invalid="pad")
    assert (weight[1:] == 9).all() and (weight[0] < 1).all()


def test_gradients_are_summed_and_measured():
    case = Case(8, (np.float64, np.int32), num_bags=9)
    table, bags = case.bags()
    first = gradients.gradient_of_bags(case.grad, bags, len(table), "sum")
    pending = replace(first)
    merged = gradients.merge([first, gradients.gradient_of_bags(case.grad, bags, len(table), "mean")])
    wanted = first.to_dense(len(table)) + F.embedding_bag_backward(
        case.grad, case.input, case.weight, case.offsets, include_last_offset=True
    )
    np.testing.assert_allclose(merged.to_dense(len(table)), wanted, rtol=1e-12)
    assert gradients.merge([first]) is first
    assert pending.values is None and pending.norm() == pytest.approx(np.linalg.norm(first.collect()))
    empty = gradients.gradient_of_lookup(np.zeros((0, 3)), np.zeros(0, int), 5)
    assert gradients.merge([empty, empty]).to_dense(5).tolist() == [[0.0] * 3] * 5 and empty.norm() == 0


def test_frozen_rows_have_no_gradient():
    frozen = np.array([True, False, False])
    gradient = gradients.gradient_of_lookup(np.ones((3, 2)), np.array([0, 1, 0]), 3, frozen=frozen)
    assert gradient.rows.tolist() == [1]
    bags = as_bags([[0, 1, 1]], None, 3, np.dtype(np.float64))
    gradient = gradients.gradient_of_bags(np.ones((1, 2)), bags, 3, "mean", frozen=frozen)
    assert gradient.rows.tolist() == [1]
    np.testing.assert_allclose(gradient.collect(), [[2 / 3, 2 / 3]])


def test_nothing_but_a_dense_gradient_is_as_large_as_the_table():
    weight = np.zeros((10**6, 4), np.float32)
    input, grad = np.arange(40).reshape(10, 4) * 20_000, np.ones((10, 4), np.float32)

    def calls():
        F.embedding(input, weight, max_norm=1.0)
        F.embedding_bag(input, weight, max_norm=1.0)
        F.embedding_bag_backward(grad, input, weight, sparse=True, scale_grad_by_freq=True)
        F.per_sample_weights_backward(grad, input, weight)
        F.scatter_add(weight, input[:, 0], grad)

    calls()  # compiles
    tracemalloc.start()
    try:
        calls()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
