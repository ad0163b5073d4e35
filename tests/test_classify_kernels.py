"""The classifier's kernels: the CPU's against the reference, and laws that need no oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.backend import kernels, simd_width
from fastemb.engine.huffman import huffman_tree
from fastemb.engine.sampling import noise_table
from fastemb.trainers.tables import allocate_table, row_length

cpu = kernels("cpu", "classify")
reference = kernels("reference", "classify")

SOFTMAX, ONE_VS_ALL, HIERARCHICAL, NEGATIVE = LOSSES = range(4)
NAMES = ["softmax", "one-vs-all", "hierarchical", "negative"]
NO_TABLE = np.zeros(0, np.float32)
sizes = st.sampled_from([1, 3, 8, 15, 16, 17, 64, 100, 300])
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=NAMES)


def ragged(random, num_lines, most, high):
    """Random numbers below `high` in lines of up to `most`, as values and offsets."""
    offsets = np.zeros(num_lines + 1, np.int64)
    np.cumsum(random.integers(0, most + 1, num_lines), out=offsets[1:])
    return random.integers(0, high, offsets[-1]).astype(np.int32), offsets


class Case:
    """Small tables, lines without features, without labels and with several, and every argument of a kernel."""

    def __init__(self, seed=0, dim=20, num_labels=23, num_rows=50, num_lines=40, negative=5, scale=0.5):
        random = np.random.default_rng(seed)
        self.features, self.offsets = ragged(random, num_lines, 12, num_rows)
        self.labels, self.label_offsets = ragged(random, num_lines, 3, num_labels)
        self.order = random.permutation(num_lines)
        self.places = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[self.order])])
        counts = np.sort(random.integers(1, 50, num_labels))[::-1]
        self.tree, self.noise, self.negative = huffman_tree(counts), noise_table(counts, 0.5), negative
        self.tables = [allocate_table(rows, dim) for rows in (num_rows, num_labels)]
        for table in self.tables:
            table[:, :dim] = random.normal(0, scale, (len(table), dim))
        self.dim, self.num_lines = dim, num_lines

    def train(self, function, loss, tuning=(), start=0, stop=None, tables=None, result=None, alpha=0.2):
        tables = [table.copy() for table in self.tables] if tables is None else tables
        result = np.zeros(2) if result is None else result
        stop = self.num_lines if stop is None else stop
        with np.errstate(all="ignore"):
            function(
                self.features, self.offsets, self.labels, self.label_offsets, self.order, self.places, start, stop,
                *tables, loss, *self.tree, self.noise, self.negative, alpha, -alpha / 1000, 7, result, *tuning,
            )  # fmt: skip
        return [*tables, result]

    def fast(self, loss, private_in=0, private_out=0, publish_every=1, **options):
        outputs = max(len(self.tables[1]), self.negative + 1)
        scratch = cpu.allocate_scratch(row_length(self.dim), outputs, private_in + private_out)
        tuning = (scratch, private_in, private_out, publish_every, simd_width())
        return self.train(cpu.classify_train, loss, tuning, **options)


def assert_close(got, wanted, atol=2e-5):
    for table, expected in zip(got[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(table, expected, atol=atol, rtol=1e-4)
    np.testing.assert_allclose(got[2], wanted[2], rtol=1e-5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    loss=st.sampled_from(LOSSES),
    dim=sizes,
    num_labels=st.sampled_from([1, 2, 3, 6, 15, 16, 17, 33, 77]),
    negative=st.integers(1, 20),
    private_in=st.sampled_from([0, 1, 50]),
    private_out=st.booleans(),
    publish_every=st.integers(1, 5),
)
def test_training_equals_the_reference(
    seed, loss, dim, num_labels, negative, private_in, private_out, publish_every
):  # fmt: skip
    case = Case(seed, dim, num_labels, negative=negative, scale=1 / np.sqrt(dim))
    got = case.fast(loss, private_in, num_labels * private_out, publish_every)
    assert_close(got, case.train(reference.classify_train, loss))
    assert not got[0][:, dim:].any() and not got[1][:, dim:].any(), "the padding changed"


@every_loss
def test_large_logits_equal_the_reference(loss):
    case = Case(1, 16, scale=8.0)
    assert_close(case.fast(loss), case.train(reference.classify_train, loss), atol=1e-3)


@every_loss
def test_splitting_the_range_changes_nothing(loss):
    case = Case(2)
    whole = case.fast(loss)
    first = case.fast(loss, stop=17)
    both = case.fast(loss, start=17, tables=first[:2], result=first[2])
    for got, wanted in zip(both[:2], whole[:2], strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(both[2], whole[2], rtol=1e-12)


@every_loss
def test_the_update_is_the_gradient_of_the_loss(loss):
    """Central differences in float64 of the reference's own loss, on one line."""
    case = Case(3, dim=4, num_labels=7, num_rows=6, num_lines=1, negative=3, scale=0.4)
    case.features, case.offsets = np.array([1, 4, 4, 2], np.int32), np.array([0, 4])
    case.labels, case.label_offsets = np.array([2, 5], np.int32), np.array([0, 2])
    tables = [table.astype(np.float64) for table in case.tables]

    def loss_of(tables):
        return case.train(reference.classify_train, loss, tables=[t.copy() for t in tables], alpha=0.0)[2][0]

    alpha = 1e-6
    moved = case.train(reference.classify_train, loss, tables=[t.copy() for t in tables], alpha=alpha)
    for which, table in enumerate(tables):
        numeric = np.zeros_like(table)
        for place in np.ndindex(len(table), 4):
            high, low = ([t.copy() for t in tables] for _ in range(2))
            high[which][place] += 1e-5
            low[which][place] -= 1e-5
            numeric[place] = (loss_of(high) - loss_of(low)) / 2e-5
        np.testing.assert_allclose((table - moved[which]) / alpha, numeric, atol=1e-5)
        assert np.abs(numeric).max() > 0.05


@every_loss
def test_rows_that_were_not_used_stay_bit_identical(loss):
    case = Case(4, num_rows=80)
    case.features %= 30
    case.labels %= 3
    case.noise[:] = [0, 5]  # every negative is label 5
    weight_in, weight_out, _ = case.fast(loss, private_in=20)
    np.testing.assert_array_equal(weight_in[30:], case.tables[0][30:])
    assert (weight_in[:30] != case.tables[0][:30]).any()
    if loss == NEGATIVE:
        others = np.setdiff1d(np.arange(23), [0, 1, 2, 5])
        np.testing.assert_array_equal(weight_out[others], case.tables[1][others])


def test_a_negative_is_never_the_target():
    """With one other label, that one is drawn, even if the table would nearly always give the target."""
    case = Case(5, num_labels=2)
    case.noise[:] = [[2**32 - 1, 0], [0, 0]]  # always label 0
    assert_close(case.fast(NEGATIVE), case.train(reference.classify_train, NEGATIVE))
    negatives = reference._draw_negatives(case.noise, 1, 3, 4, 0)
    assert negatives == [1, 1, 1, 1]


@every_loss
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_loss_or_the_tables(loss, poison):
    case = Case(6)
    case.tables[0][:, 0] = poison
    weight_in, _, result = case.fast(loss)
    assert np.isnan(result[0]) or not np.isfinite(weight_in).all()


@every_loss
def test_an_absurd_rate_never_crashes(loss):
    case = Case(7, scale=10.0)
    tables, result = [table.copy() for table in case.tables], np.zeros(2)
    for _ in range(20):
        case.fast(loss, private_in=5, tables=tables, result=result, alpha=1e4)
    assert not np.isfinite(result[0]) or np.abs(tables[0]).max() > 1e3


@pytest.mark.parametrize("dim", [1, 100])
def test_hidden_vectors_equal_the_reference(dim):
    case = Case(8, dim)
    got, wanted = (np.full((case.num_lines, row_length(dim)), 9, np.float32) for _ in range(2))
    bags = case.features, case.offsets, case.tables[0]
    cpu.classify_hidden(*bags, got, 3, case.num_lines, simd_width())
    reference.classify_hidden(*bags, wanted, 3, case.num_lines)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert (np.diff(case.offsets) == 0).any() and (got[:3] == 9).all()


class Scores:
    """Hidden vectors and output rows, and both backends' predictions."""

    def __init__(self, seed=0, dim=20, num_labels=23, num_lines=9, scale=0.5):
        random = np.random.default_rng(seed)
        self.hidden, self.weight = allocate_table(num_lines, dim), allocate_table(num_labels, dim)
        for table in (self.hidden, self.weight):
            table[:, :dim] = random.normal(0, scale, (len(table), dim))
        self.tree = huffman_tree(np.sort(random.integers(1, 50, num_labels))[::-1])
        self.children = children_of(self.tree, num_labels)
        self.scratch = cpu.allocate_scratch(row_length(dim), num_labels)

    def scores(self, module, loss, sigmoid=NO_TABLE, raw=False):
        out = np.full((len(self.hidden), len(self.weight)), 9, np.float32)
        tuning = () if module is reference else (self.scratch, simd_width())
        module.classify_scores(
            self.hidden, self.weight, loss, *self.tree, sigmoid, raw, out, 0, len(out), *tuning
        )  # fmt: skip
        return out

    def best(self, module, loss, k, threshold=0.0, sigmoid=NO_TABLE):
        labels = np.full((len(self.hidden), k), 99, np.int32)
        probabilities = np.full(labels.shape, 9, np.float32)
        tuning = () if module is reference else (self.scratch, simd_width())
        after = (np.float32(threshold), labels, probabilities, 0, len(labels), *tuning)
        if loss == HIERARCHICAL:
            module.classify_best_in_tree(self.hidden, self.weight, self.children, *after)
        else:
            module.classify_best(self.hidden, self.weight, loss, sigmoid, *after)
        return labels, probabilities


def children_of(tree, num_labels):
    """What follows each inner node, walked label by label."""
    children = np.zeros((num_labels - 1, 2), np.int32)
    for label in range(num_labels):
        path = range(tree.offsets[label], tree.offsets[label + 1])
        for j in path:
            children[tree.points[j], tree.codes[j]] = tree.points[j + 1] if j + 1 < path.stop else ~label
    return children


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    loss=st.sampled_from(LOSSES),
    dim=sizes,
    num_labels=st.sampled_from([1, 2, 6, 7, 16, 17, 77]),
    k=st.sampled_from([1, 2, 5, 90]),
    threshold=st.sampled_from([0.0, 0.05, 0.5]),
)
def test_predictions_equal_the_reference(seed, loss, dim, num_labels, k, threshold):
    case = Scores(seed, dim, num_labels, scale=dim**-0.25)
    labels, probabilities = case.best(cpu, loss, k, threshold)
    wanted, expected = case.best(reference, loss, k, threshold)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-7)
    # Labels of nearly one probability may change places.
    full = case.scores(reference, loss)
    for i, j in zip(*np.nonzero(labels != wanted), strict=True):
        assert abs(full[i, labels[i, j]] - full[i, wanted[i, j]]) < 1e-6
    np.testing.assert_allclose(case.scores(cpu, loss), full, rtol=1e-4, atol=1e-7)
    raw = case.scores(reference, loss, raw=True)
    np.testing.assert_allclose(case.scores(cpu, loss, raw=True), raw, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [SOFTMAX, HIERARCHICAL], ids=["softmax", "hierarchical"])
def test_probabilities_sum_to_one(loss):
    case = Scores(3, num_labels=40)
    np.testing.assert_allclose(case.scores(cpu, loss).sum(axis=1), 1, rtol=1e-5)


def test_fasttexts_table_of_the_sigmoid():
    case = Scores(4, scale=2.5)
    cells = np.arange(513) / 32 - 8
    table = (1 / (1 + np.exp(-cells))).astype(np.float32)
    got, wanted = case.scores(cpu, ONE_VS_ALL, table), case.scores(reference, ONE_VS_ALL, table)
    assert (got == 0).any() and (got == 1).any()
    np.testing.assert_array_equal(got, wanted)
    assert 1e-3 < np.abs(got - case.scores(cpu, ONE_VS_ALL)).max() < 8e-3
    np.testing.assert_array_equal(
        case.best(cpu, ONE_VS_ALL, 3, sigmoid=table)[1], case.best(reference, ONE_VS_ALL, 3, sigmoid=table)[1]
    )


@every_loss
def test_equal_labels_come_in_order_and_nan_ends(loss):
    case = Scores(5, num_labels=4)
    case.weight[:] = 0
    case.children = np.array([[~0, ~1], [~2, ~3], [0, 1]], np.int32)
    assert case.best(cpu, loss, 3)[0].tolist() == [[0, 1, 2]] * 9
    case.hidden[:, 0] = np.nan
    case.weight[:, 0] = 1
    labels, _ = case.best(cpu, loss, 2)
    assert ((labels >= -1) & (labels < 4)).all()
