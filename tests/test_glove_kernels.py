"""GloVe's kernels, and those that count co-occurrences: the CPU's against the reference, and the reference itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.backend import kernels
from fastemb.kernels.cpu.simd import W8, W16
from fastemb.trainers.tables import allocate_table

counting, glove = kernels("cpu", "cooccurrence"), kernels("cpu", "glove")
counting_reference, glove_reference = kernels("reference", "cooccurrence"), kernels("reference", "glove")

WORDS = 40
X_MAX, ALPHA, ETA, CLIP = 4.0, 0.75, 0.05, 100.0


class Pairs:
    """Small tables, and co-occurrences of which some repeat, some have one word twice, and some pass `X_MAX`."""

    def __init__(self, seed, dim, number=150, scale=0.3, dtype=np.float32):
        random = np.random.default_rng(seed)
        self.rows, self.cols = random.integers(0, WORDS, (2, number)).astype(np.int32)
        self.cols[::7] = self.rows[::7]
        self.counts = random.choice([1 / 15, 0.5, 1, 3, 4, 5, 250], number).astype(np.float32)
        length = allocate_table(1, dim + 2).shape[1]
        self.dim = dim
        self.tables = []
        for bias, one in ((dim, dim + 1), (dim + 1, dim)):
            table = allocate_table(WORDS, 2 * length).reshape(WORDS, 2, length).astype(dtype)
            table[:, 0, :dim] = random.normal(0, scale, (WORDS, dim))
            table[:, 0, bias] = random.normal(0, 1, WORDS)
            table[:, 1, :dim] = random.exponential(0.1, (WORDS, dim))
            table[:, 0, one], table[:, 1, one] = 1, glove_reference.CONSTANT
            self.tables.append(table)

    def run(self, function, *tuning, start=0, stop=None, clip=CLIP, tables=None):
        tables = [table.copy() for table in self.tables] if tables is None else tables
        result = np.zeros(1)
        stop = len(self.rows) if stop is None else stop
        function(
            self.rows, self.cols, self.counts, start, stop, *tables, X_MAX, ALPHA, ETA, clip, result, *tuning
        )  # fmt: skip
        return [*tables, result]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    dim=st.sampled_from([1, 6, 14, 15, 16, 17, 62, 100, 300]),
    clip=st.sampled_from([CLIP, 0.05]),
    ahead=st.integers(0, 20),
    width=st.sampled_from([W8, W16]),
)
def test_training_equals_the_reference(seed, dim, clip, ahead, width):
    pairs = Pairs(seed, dim, scale=1 / np.sqrt(dim))
    wanted = pairs.run(glove_reference.train, clip=clip)
    got = pairs.run(glove.train, glove.allocate_scratch(), ahead, width, clip=clip)
    for table, expected in zip(got[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(table, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(got[2], wanted[2], rtol=1e-4)
    for table, one in zip(got[:2], (dim + 1, dim), strict=True):
        assert (table[:, 0, one] == 1).all(), "a constant moved"
        assert not table[:, :, dim + 2 :].any(), "the padding changed"


def test_a_split_range_changes_nothing():
    pairs = Pairs(1, 20)
    tuning = glove.allocate_scratch(), 8, W16
    whole = pairs.run(glove.train, *tuning)
    tables = [table.copy() for table in pairs.tables]
    losses = 0
    for start, stop in ((0, 1), (1, 1), (1, 100), (100, 150)):
        losses += pairs.run(glove.train, *tuning, start=start, stop=stop, tables=tables)[2]
    for table, expected in zip(tables, whole[:2], strict=True):
        np.testing.assert_array_equal(table, expected)
    np.testing.assert_allclose(losses, whole[2], rtol=1e-12)


def test_the_step_is_the_losss_gradient():
    """One step of the reference in float64, with sums of squares of zero, is eta times a finite difference."""
    pairs = Pairs(2, 5, number=1, dtype=np.float64)
    pairs.rows[:], pairs.cols[:], pairs.counts[:] = 3, 4, 2.5
    for table in pairs.tables:
        table[:, 1, :5] = 0

    def loss(tables):
        return pairs.run(glove_reference.train, tables=[table.copy() for table in tables])[2][0]

    after = pairs.run(glove_reference.train)
    for side, row, bias in ((0, 3, 5), (1, 4, 6)):
        for place in (*range(5), bias):
            moved = []
            for change in (1e-5, -1e-5):
                tables = [table.copy() for table in pairs.tables]
                tables[side][row, 0, place] += change
                moved.append(loss(tables))
            gradient = (moved[0] - moved[1]) / 2e-5
            step = pairs.tables[side][row, 0, place] - after[side][row, 0, place]
            np.testing.assert_allclose(step, ETA * gradient, rtol=1e-7)
            np.testing.assert_allclose(after[side][row, 1, place], step**2, rtol=1e-7)


def test_the_program_s_arithmetic_written_down_plainly():
    """Vectors, biases and sums of squares of their own, in float64, as the GloVe program keeps them.

    The program's sums begin at one. Its newer versions forget the rate in the step of a bias: that is the same as a sum
    of squares that begins at the square of the rate.
    """
    for forgets in (False, True):
        pairs = Pairs(3, 7, number=60, dtype=np.float64)
        word, context = pairs.tables
        w, c = word[:, 0, :7].copy(), context[:, 0, :7].copy()
        b, d = word[:, 0, 7].copy(), context[:, 0, 8].copy()
        w_sum, c_sum = 1 + word[:, 1, :7], 1 + context[:, 1, :7]
        b_sum, d_sum = np.ones((2, WORDS))
        if forgets:
            word[:, 1, 7] = context[:, 1, 8] = ETA**2 - 1
        got = pairs.run(glove_reference.train)
        for i, j, x in zip(pairs.rows, pairs.cols, pairs.counts.astype(float), strict=True):
            difference = w[i] @ c[j] + b[i] + d[j] - np.log(x)
            weighted = difference if x > X_MAX else (x / X_MAX) ** ALPHA * difference
            w_step, c_step = np.clip(weighted * c[j], -100, 100) * ETA, np.clip(weighted * w[i], -100, 100) * ETA
            bias_step = weighted if forgets else weighted * ETA
            w[i] -= w_step / np.sqrt(w_sum[i])
            c[j] -= c_step / np.sqrt(c_sum[j])
            b[i] -= bias_step / np.sqrt(b_sum[i])
            d[j] -= bias_step / np.sqrt(d_sum[j])
            w_sum[i], c_sum[j] = w_sum[i] + w_step**2, c_sum[j] + c_step**2
            b_sum[i], d_sum[j] = b_sum[i] + bias_step**2, d_sum[j] + bias_step**2
        np.testing.assert_allclose(got[0][:, 0, :7], w, rtol=1e-10)
        np.testing.assert_allclose(got[1][:, 0, :7], c, rtol=1e-10)
        np.testing.assert_allclose(got[0][:, 0, 7], b, rtol=1e-10)
        np.testing.assert_allclose(got[1][:, 0, 8], d, rtol=1e-10)
        np.testing.assert_allclose(1 + got[0][:, 1, :7], w_sum, rtol=1e-10)


def test_small_squares_add_up_in_float32():
    """A million squares of 1e-10 are 1e-4: a float32 that begins at one would lose every one of them."""
    pairs = Pairs(0, 1, number=1)
    pairs.rows, pairs.cols = np.zeros((2, 100_000), np.int32)
    pairs.counts = np.full(100_000, 4.0, np.float32)
    for table in pairs.tables:
        table[:, 1, 0] = 0
        table[:, 0, 0] = 1e-5
        table[:, 0, 1:3] = [[1.0, 1.0]]
    got = pairs.run(glove.train, glove.allocate_scratch(), 8, W16)
    assert 0 < got[0][0, 1, 0] < 1e-3


def test_a_number_that_is_not_finite_shows_in_the_loss():
    pairs = Pairs(4, 16)
    pairs.tables[0][:, 0, 3] = np.nan
    assert np.isnan(pairs.run(glove.train, glove.allocate_scratch(), 8, W16)[2])


class Text:
    """A small text, empty and one-word sentences among it, and its matrix in both implementations."""

    def __init__(self, seed, window, symmetric, words=WORDS):
        random = np.random.default_rng(seed)
        self.words, self.window, self.symmetric = words, window, symmetric
        self.ids = (random.zipf(1.3, 300) % words).astype(np.int32)
        cuts = np.sort(random.integers(0, 301, 8))
        self.offsets = np.array([0, *cuts, cuts[-1], 300], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(self.ids, minlength=words))])
        self.weights = np.concatenate([[0], 1 / np.arange(1, window + 1)])

    def occurrences(self, module, parts):
        found, ends = np.zeros(300, np.int64), self.starts[:-1].copy()
        for places in ((0, 100), (100, 300)):
            for words in parts:
                module.list_occurrences(found, ends, self.ids, self.offsets, *places, self.window, *words)
        np.testing.assert_array_equal(ends, self.starts[1:])
        return found

    def rows(self, module, occurrences, start, stop, *tuning):
        cols, counts, ends = np.zeros(9999, np.int32), np.zeros(9999), np.zeros(stop - start, np.int64)
        module.count_rows(
            cols, counts, ends, occurrences, self.starts, self.ids, self.weights, self.symmetric, 3.0, start, stop,
            *tuning,
        )  # fmt: skip
        return cols, counts, ends

    def dense(self):
        """The matrix, counted pair by pair."""
        matrix = np.zeros((self.words, self.words))
        for begin, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            for i in range(begin, end):
                for j in range(i + 1, min(end, i + self.window + 1)):
                    matrix[self.ids[i], self.ids[j]] += 1 / (j - i)
                    if self.symmetric:
                        matrix[self.ids[j], self.ids[i]] += 1 / (j - i)
        return matrix


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    window=st.sampled_from([1, 2, 5, 15, 100, 255]),
    symmetric=st.booleans(),
    words=st.sampled_from([1, WORDS, 64, 65, 1000]),
    cut=st.integers(0, 1000),
)
def test_counting_equals_the_reference(seed, window, symmetric, words, cut):
    text = Text(seed, window, symmetric, words)
    cut = min(cut, words)
    wanted = text.occurrences(counting_reference, [(0, words)])
    got = text.occurrences(counting, [(cut, words), (0, cut)])
    np.testing.assert_array_equal(got, wanted)
    scratch = counting.allocate_scratch(words)
    dense = text.dense()
    for start, stop in ((0, cut), (cut, words)):
        arrays = text.rows(counting, got, start, stop, scratch)
        for array, expected in zip(arrays, text.rows(counting_reference, got, start, stop), strict=True):
            np.testing.assert_array_equal(array, expected)
        cols, counts, ends = arrays
        found = np.zeros((stop - start, words))
        for row, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
            found[row, cols[begin:end]] = counts[begin:end]
        np.testing.assert_allclose(found, dense[start:stop] / 3, rtol=1e-12)
    assert not scratch.sums.any() and not scratch.marks.any()


def test_merging_equals_the_reference():
    random = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(random.integers(0, 9, 3 * WORDS))])
    offsets = np.stack([offsets[m * WORDS : (m + 1) * WORDS + 1] for m in range(3)])
    cols = random.integers(0, WORDS, offsets[-1, -1]).astype(np.int32)
    counts = random.random(len(cols))
    for start, stop in ((0, WORDS), (7, 9)):
        outputs = [
            (np.zeros(9999, np.int32), np.zeros(9999), np.zeros(stop - start, np.int64)) for _ in range(2)
        ]  # fmt: skip
        counting.merge_rows(*outputs[0], offsets, cols, counts, 7.0, start, stop, counting.allocate_scratch(WORDS))
        counting_reference.merge_rows(*outputs[1], offsets, cols, counts, 7.0, start, stop)
        for array, expected in zip(*outputs, strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("num_strata", [1, 3, 8])
def test_blocks_equal_the_reference(num_strata):
    random = np.random.default_rng(num_strata)
    offsets = np.concatenate([[0], np.cumsum(random.integers(0, 30, WORDS))])
    cols = random.integers(0, WORDS, offsets[-1]).astype(np.int32)
    counts = random.random(len(cols)).astype(np.float32)
    sizes = np.full((2, num_strata, num_strata), -1)
    glove_reference.count_blocks(sizes[0], offsets, cols, num_strata, 0, num_strata)
    for start, stop in ((num_strata - 1, num_strata), (0, num_strata - 1)):
        glove.count_blocks(sizes[1], offsets, cols, num_strata, start, stop)
    np.testing.assert_array_equal(*sizes)
    starts = np.concatenate([[0], np.cumsum(sizes[0])])
    outputs = [(np.zeros_like(cols), np.zeros_like(cols), np.zeros_like(counts)) for _ in range(2)]
    glove_reference.fill_blocks(*outputs[0], starts, offsets, cols, counts, num_strata, 5, 0, num_strata)
    for start, stop in ((num_strata - 1, num_strata), (0, num_strata - 1)):
        glove.fill_blocks(
            *outputs[1], starts, offsets, cols, counts, num_strata, np.uint64(5), start, stop,
            np.zeros(num_strata, np.int64),
        )  # fmt: skip
    for array, expected in zip(*outputs, strict=True):
        np.testing.assert_array_equal(array, expected)
    rows, cols_out, counts_out = outputs[1]
    block = np.repeat(np.arange(num_strata**2), np.diff(starts))
    np.testing.assert_array_equal(rows % num_strata * num_strata + cols_out % num_strata, block)
    entries = zip(np.repeat(np.arange(WORDS), np.diff(offsets)), cols, counts, strict=True)
    assert sorted(entries) == sorted(zip(rows, cols_out, counts_out, strict=True))
    assert (np.diff(rows) < 0).any(), "a block should not be in order"
