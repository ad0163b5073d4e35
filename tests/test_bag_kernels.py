"""The kernels of lookups and bags: the CPU's against the reference, and laws that need no oracle."""

import numpy as np
import pytest

from fastemb.engine.backend import kernels

bags, lookups = kernels("cpu", "bags"), kernels("cpu", "lookup")
bags_reference, lookups_reference = kernels("reference", "bags"), kernels("reference", "lookup")

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": np.uint16}
DIMS = (1, 3, 7, 8, 15, 16, 17, 31, 64, 100, 127, 128, 130, 144, 256, 257, 300, 400)
MODES = (bags.SUM, bags.MEAN, bags.SQRTN)
NO_PADDING, NO_ROW = lookups.NO_PADDING, lookups.NO_ROW


def stored(array):
    """Hand float16 to the CPU's kernels as they take it."""
    return array.view(np.int16) if array is not None and array.dtype == np.float16 else array


def values(array):
    return lookups_reference.widen(array)


class Case:
    """A table, bags of 0 to 5 lookups, some of them repeated, and everything that a kernel takes."""

    def __init__(self, seed, dtype="float32", ids=np.int64, weighted=False, padded=False, fault=None, dim=None):
        random = np.random.default_rng(seed)
        dim = DIMS[seed % len(DIMS)] if dim is None else dim
        num_embeddings, num_bags = int(random.integers(1, 40)), int(random.integers(1, 7))
        lengths = random.integers(0, 6, num_bags)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.indices = random.integers(0, num_embeddings, self.offsets[-1]).astype(ids)
        table = random.standard_normal((num_embeddings, dim)).astype(np.float32)
        self.weight = lookups_reference.narrow(table, np.dtype(DTYPES[dtype]))
        self.accumulator = np.dtype(np.float64 if dtype == "float64" else np.float32)
        self.coefficients = random.standard_normal(len(self.indices)).astype(self.accumulator) if weighted else None
        self.padding_idx = int(random.choice([0, num_embeddings - 1, -1])) if padded else NO_PADDING
        self.tolerance = 1e-5 if dtype in ("float32", "float64") else 2e-2
        if fault is not None and len(self.indices):
            self.indices[random.integers(len(self.indices))] = num_embeddings if fault == "high" else -5

    def close(self, a, b):
        np.testing.assert_allclose(values(a), values(b), rtol=self.tolerance, atol=self.tolerance)

    def new(self, rows, dtype=None):
        return np.full((rows, self.weight.shape[1]), 7, dtype or self.weight.dtype)

    def reduce(self, kernel, mode, out, start=0, stop=None):
        stop = len(self.offsets) - 1 if stop is None else stop
        arguments = (self.weight, self.indices, self.offsets, self.coefficients, self.padding_idx)
        return kernel(stored(out), *map(stored_or_same, arguments), mode, start, stop)


def stored_or_same(argument):
    return stored(argument) if isinstance(argument, np.ndarray) else argument


# Each combination of types is compiled, so not all are tried: four of float32, of others a plain one and a full one.
COMBINATIONS = [
    *(("float32", *each) for each in ((np.int32, 0, 0), (np.int32, 1, 1), (np.int64, 0, 1), (np.int64, 1, 0))),
    *((dtype, np.int64, full, full) for dtype in ("float64", "float16", "bfloat16") for full in (0, 1)),
]


@pytest.mark.parametrize(("dtype", "ids", "weighted", "padded"), COMBINATIONS)
@pytest.mark.parametrize("fault", [None, "low", "high"])
def test_reduce_matches_the_reference(dtype, ids, weighted, padded, fault):
    for seed in range(2 * len(DIMS)):
        case = Case(seed, dtype, ids, weighted, padded, fault)
        expected, found = (case.new(len(case.offsets) - 1) for _ in range(2))
        status = case.reduce(bags_reference.reduce, MODES[seed % 3], expected)
        assert case.reduce(bags.reduce, MODES[seed % 3], found) == status
        if status == -1:
            case.close(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_reduce_of_short_rows_into_float32_is_not_rounded(dtype):
    for seed in range(8):
        case = Case(seed, dtype)
        expected, found = (case.new(len(case.offsets) - 1, np.float32) for _ in range(2))
        assert case.reduce(bags_reference.reduce, bags.MEAN, expected) == case.reduce(bags.reduce, bags.MEAN, found)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offsets", [[0, 3, 2, 5], [0, -1, 3, 5], [0, 2, 9, 5], [1, 7, 8, 9]])
def test_bad_offsets_are_told_by_their_bag(offsets):
    case = Case(1, dim=20)
    case.indices, case.offsets = np.zeros(5, np.int64), np.array(offsets)
    out = case.new(3)
    status = case.reduce(bags_reference.reduce, bags.SUM, out)
    assert status <= -2
    assert case.reduce(bags.reduce, bags.SUM, out) == status
    winners = np.zeros(out.shape, np.int32)
    assert bags.extremes(out, winners, case.weight, case.indices, case.offsets, NO_PADDING, 1.0, 0, 3) == status
    products = np.zeros(5, np.float32)
    assert bags.dots(products, out, case.weight, case.indices, case.offsets, NO_PADDING, 0, 3) == status


@pytest.mark.parametrize("mode", MODES)
def test_scales_match_the_reference(mode):
    for seed in range(20):
        case = Case(seed, weighted=seed % 2, padded=True)
        expected, found = (np.zeros(len(case.offsets) - 1, np.float32) for _ in range(2))
        arguments = (case.indices, case.offsets, case.coefficients, case.padding_idx, mode, 0, len(expected))
        bags_reference.scales(expected, *arguments)
        bags.scales(found, *arguments)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extremes_and_their_gradient_match_the_reference(dtype, sign):
    for seed in range(2 * len(DIMS)):
        case = Case(seed, dtype, padded=True, fault="high" if seed % 9 == 8 else None)
        num_bags = len(case.offsets) - 1
        results = []
        for kernel, convert in ((bags_reference.extremes, lambda a: a), (bags.extremes, stored)):
            out, winners = case.new(num_bags), np.full((num_bags, case.weight.shape[1]), 9, np.int32)
            arguments = (case.indices, case.offsets, case.padding_idx, sign, 0, num_bags)
            results.append((kernel(convert(out), winners, convert(case.weight), *arguments), out, winners))
        (status, expected, winners), (found_status, found, found_winners) = results
        assert found_status == status
        if status == -1:
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(found_winners, winners)
            check_sum_winners(case, winners)


def check_sum_winners(case, winners):
    order = np.argsort(case.indices, kind="stable").astype(np.int32)
    sources = np.repeat(np.arange(len(winners), dtype=np.int32), np.diff(case.offsets))[order]
    starts = np.searchsorted(case.indices[order], np.arange(len(case.weight) + 1))
    grad_output = np.random.default_rng(0).standard_normal(winners.shape).astype(case.accumulator)
    expected, found = (np.zeros(case.weight.shape, case.accumulator) for _ in range(2))
    for out, kernel in ((expected, bags_reference.sum_winners), (found, bags.sum_winners)):
        kernel(out, grad_output, winners, order, sources, starts, 0, len(out))
    case.close(found, expected)


def test_a_later_nan_never_wins_and_a_first_one_stays():
    weight = np.tile(np.array([[1.0], [np.nan], [3.0]], np.float32), 20)
    indices, offsets = np.array([0, 1, 2, 1, 2]), np.array([0, 3, 5])
    out, winners = np.zeros((2, 20), np.float32), np.zeros((2, 20), np.int32)
    assert bags.extremes(out, winners, weight, indices, offsets, NO_PADDING, 1.0, 0, 2) == -1
    assert (out[0] == 3).all()
    assert np.isnan(out[1]).all()
    assert (winners == [[2], [3]]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dots_match_the_reference(dtype):
    for seed in range(2 * len(DIMS)):
        case = Case(seed, dtype, padded=True, fault="low" if seed % 9 == 8 else None)
        grad_output = np.random.default_rng(0).standard_normal((len(case.offsets) - 1, case.weight.shape[1]))
        grad_output = grad_output.astype(case.accumulator)
        expected, found = (np.full(len(case.indices), 7, case.accumulator) for _ in range(2))
        arguments = (case.indices, case.offsets, case.padding_idx, 0, len(grad_output))
        status = bags_reference.dots(expected, grad_output, case.weight, *arguments)
        assert bags.dots(found, grad_output, stored(case.weight), *arguments) == status
        if status == -1:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padded", [False, True])
def test_lookup_matches_the_reference(dtype, padded):
    for seed in range(3 * len(DIMS)):
        case = Case(seed, dtype, padded=padded, fault="high" if seed % 5 == 4 else None)
        expected, found = (case.new(len(case.indices)) for _ in range(2))
        arguments = (case.indices, case.padding_idx, 0, len(case.indices))
        status = lookups_reference.lookup(expected, case.weight, *arguments)
        assert lookups.lookup(stored(found), stored(case.weight), *arguments) == status
        if status == -1:
            np.testing.assert_array_equal(found, expected)


def test_rows_may_be_part_of_longer_ones():
    """A table, and what is filled, may be columns of a wider array; the others are left alone."""
    random = np.random.default_rng(0)
    wide, wide_out = random.standard_normal((9, 50)).astype(np.float32), np.full((2, 60), 7, np.float32)
    weight, out = wide[:, 10:43], wide_out[:, 5:38]
    indices, offsets = np.array([8, 1, 1, 0]), np.array([0, 3, 4])
    assert bags.reduce(out, weight, indices, offsets, None, NO_PADDING, bags.SUM, 0, 2) == -1
    np.testing.assert_allclose(out, [weight[[8, 1, 1]].sum(0), weight[0]], rtol=1e-6)
    assert (wide_out[:, :5] == 7).all()
    assert (wide_out[:, 38:] == 7).all()
    rows = np.full((4, 60), 7, np.float32)
    assert lookups.lookup(rows[:, 5:38], weight, indices, NO_PADDING, 0, 4) == -1
    np.testing.assert_array_equal(rows[:, 5:38], weight[indices])
    assert (rows[:, 38:] == 7).all()


@pytest.mark.parametrize("dim", [5, 100])
def test_ranges_can_be_cut_anywhere_and_run_by_any_number_of_threads(dim):
    case = Case(3, dim=dim)
    num_bags = len(case.offsets) - 1
    whole = case.new(num_bags)
    assert case.reduce(bags.reduce, bags.MEAN, whole) == -1
    for cut in range(num_bags + 1):
        parts = case.new(num_bags)
        assert case.reduce(bags.reduce, bags.MEAN, parts, 0, cut) == -1
        assert (parts[cut:] == 7).all()
        assert case.reduce(bags.reduce, bags.MEAN, parts, cut, num_bags) == -1
        np.testing.assert_array_equal(parts, whole)
    for chunks in (1, 2, 5):
        found = case.new(num_bags)
        arguments = (case.weight, case.indices, case.offsets, None, NO_PADDING, bags.MEAN, 0, num_bags, chunks)
        assert bags.parallel_reduce(found, *arguments) == 0
        np.testing.assert_array_equal(found, whole)


def test_large_tables_are_fetched_ahead_without_reading_beyond_them():
    """Rows are prefetched by indices that nothing has checked yet, to the last one and beyond the end."""
    weight = np.ones((3000, 64), np.float32)
    indices = np.array([0, 2999, 2**62, 5])
    out = np.zeros((4, 64), np.float32)
    assert bags.reduce(out, weight, indices, np.arange(5), None, NO_PADDING, bags.SUM, 0, 4) == 2
    assert lookups.lookup(out, weight, indices, NO_PADDING, 0, 4) == 2
    assert (out[:2] == 1).all()


@pytest.mark.parametrize("index", [-1, -2, -3, -(2**63), 5, 2**63 - 1])
@pytest.mark.parametrize("padding_idx", [NO_PADDING, NO_ROW, 3])
def test_what_is_not_in_the_table_is_told_unless_it_is_no_row(index, padding_idx):
    weight, indices, offsets = np.ones((5, 4), np.float32), np.array([1, index, 3]), np.array([0, 3])
    out, rows, found = np.zeros((1, 4), np.float32), np.zeros((3, 4), np.float32), np.zeros(3, np.int64)
    winners, products = np.zeros((1, 4), np.int32), np.zeros(3, np.float32)
    status = -1 if index == padding_idx == NO_ROW else 1
    for b, k in ((bags, lookups), (bags_reference, lookups_reference)):
        assert b.reduce(out, weight, indices, offsets, None, padding_idx, bags.SUM, 0, 1) == status
        assert b.extremes(out, winners, weight, indices, offsets, padding_idx, 1.0, 0, 1) == status
        assert b.dots(products, out, weight, indices, offsets, padding_idx, 0, 1) == status
        assert k.lookup(rows, weight, indices, padding_idx, 0, 3) == status
        assert k.shift(found, indices, 10, 5, padding_idx, 0, 3) == status


@pytest.mark.parametrize("padding_idx", [NO_PADDING, 3, NO_ROW])
def test_shift_matches_the_reference(padding_idx):
    random = np.random.default_rng(0)
    for size in (0, 1, 7, 64, 100):
        for fault in (False, True):
            indices = random.integers(0, 10, size)
            if padding_idx != NO_PADDING and size:
                indices[0] = padding_idx
            if fault and size > 1:
                indices[random.integers(1, size)] = random.choice([-2, 10])
            expected, found = np.zeros(size, np.int32), np.zeros(size, np.int32)
            status = lookups_reference.shift(expected, indices, 1000, 10, padding_idx, 0, size)
            assert lookups.shift(found, indices, 1000, 10, padding_idx, 0, size) == status
            if status == -1:
                np.testing.assert_array_equal(found, expected)


def test_clear_matches_the_reference():
    for start, stop in ((0, 0), (0, 100), (3, 68), (99, 100)):
        expected, found, split = (np.full(100, 7, np.uint8) for _ in range(3))
        lookups_reference.clear(expected, start, stop)
        lookups.clear(found, start, stop)
        lookups.parallel_clear(split, start, stop, 3)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(split, expected)


def test_indices_of_a_table_without_columns_are_checked():
    weight, indices, offsets = np.zeros((3, 0), np.float32), np.array([2, 0, 3]), np.array([0, 1, 3])
    out, winners = np.zeros((2, 0), np.float32), np.zeros((2, 0), np.int32)
    assert lookups.lookup(np.zeros((3, 0), np.float32), weight, indices, NO_PADDING, 0, 3) == 2
    assert bags.reduce(out, weight, indices, offsets, None, NO_PADDING, bags.SUM, 0, 2) == 2
    assert bags.extremes(out, winners, weight, indices, offsets, NO_PADDING, 1.0, 0, 2) == 2
    assert bags.extremes(out, winners, weight, indices, offsets, NO_PADDING, 1.0, 0, 1) == -1
