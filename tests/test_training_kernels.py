"""The kernels of skip-gram and CBOW: the CPU's against the reference, and laws that need no oracle."""

import platform
import re

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine import staging
from fastemb.engine.backend import kernels, simd_width
from fastemb.engine.sampling import keep_probabilities, noise_table
from fastemb.kernels.cpu import blocks
from fastemb.kernels.cpu.scratch import allocate_scratch
from fastemb.kernels.cpu.simd import W8, W16
from fastemb.trainers.tables import allocate_table, row_length

NUM_WORDS = 30
NUM_ROWS = 50  # of the input table: the words' own, and those of subwords
MODES = ["skipgram_shared", "skipgram_pairwise", "cbow_shared", "cbow_pairwise"]


def module_of(mode, device="cpu"):
    return getattr(kernels(device, mode.split("_")[0]), mode)


class Case:
    """Small tables, a text with empty and one-word sentences and repeated words, and every argument of a kernel."""

    def __init__(
        self, seed=0, dim=20, window=5, negative=5, sample=1e-2, scale=0.5, shrink=True, ids=None, extras=(),
        limit=6.0, rule=(True, False, False, False), cbow=(True, False),
    ):  # fmt: skip
        random = np.random.default_rng(seed)
        if ids is None:
            ids = (random.zipf(1.3, 150) % NUM_WORDS).astype(np.int32)
        self.ids = ids
        cuts = np.sort(random.integers(0, len(ids) + 1, 6))
        self.offsets = np.array([0, *cuts, cuts[-1], len(ids)], np.int64)
        counts = np.bincount(ids, minlength=NUM_WORDS) + 1
        self.keep = keep_probabilities(counts, sample)
        self.noise = noise_table(counts, 0.75)
        self.window, self.negative, self.shrink, self.dim, self.cbow = window, negative, shrink, dim, cbow
        self.limit, self.rule = limit, (limit, {6.0: 1000 / 12, 8.0: 32.0}[limit], *rule)
        # Weights in, weights out, inner nodes.
        self.tables = [allocate_table(rows, dim) for rows in (NUM_ROWS, NUM_WORDS, NUM_WORDS - 1)]
        for table in self.tables:
            table[:, :dim] = random.normal(0, scale, (len(table), dim))
        self.subwords = self._subwords(random) if "subwords" in extras else None
        self.rates = random.choice([0, 0.5, 1, 1.5], NUM_ROWS).astype(np.float32) if "rates" in extras else None
        self.tree = self._tree(random) if "tree" in extras else None

    def _subwords(self, random):
        lists = [[word, *random.integers(NUM_WORDS, NUM_ROWS, random.integers(0, 5))] for word in range(NUM_WORDS)]
        lists[3] = [3, 40, 40, 41]  # two n-grams of one bucket
        offsets = np.cumsum([0, *map(len, lists)])
        return np.concatenate(lists).astype(np.int32), offsets.astype(np.int64)

    def _tree(self, random):
        lengths = random.integers(1, 15, NUM_WORDS)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        points = np.concatenate([random.permutation(NUM_WORDS - 1)[:length] for length in lengths]).astype(np.int32)
        return points, random.integers(0, 2, offsets[-1]).astype(np.uint8), offsets

    def arguments(self, mode, tables, alpha, staleness):
        size = {6.0: 1000, 8.0: 512}[self.limit]
        curve = (1 / (1 + np.exp(-(2 * np.arange(size) / size - 1) * self.limit))).astype(np.float32)
        return (
            tables[0], tables[1], self.subwords, self.rates, None if self.tree is None else (*self.tree, tables[2]),
            self.keep, self.noise, self.window, self.shrink, self.negative, alpha, -alpha / 1000, np.uint64(7),
            *(self.cbow if mode.startswith("cbow") else ()),
            *((staleness,) if mode.endswith("shared") else (curve, self.rule)),
        )  # fmt: skip

    def run(
        self, mode, device="cpu", start=0, stop=None, tables=None, result=None, alpha=0.05, staleness=16,
        num_private=0, publish_every=4, width=W16, **options,
    ):  # fmt: skip
        """Run a kernel on copies of the tables; return the tables and the result."""
        tables = [table.copy() for table in self.tables] if tables is None else tables
        result = np.zeros(3) if result is None else result
        stop = len(self.offsets) - 1 if stop is None else stop
        if device == "cuda":
            return self.run_on_gpu(mode, start, stop, tables, result, alpha, staleness, **options)
        tuning = ()
        if device == "cpu":
            scratch = allocate_scratch(row_length(self.dim), self.window, self.negative, len(self.ids), num_private)
            tuning = (scratch, num_private, publish_every, width) if mode.endswith("shared") else (scratch, width)
        with np.errstate(all="ignore"):
            module_of(mode, device)(
                self.ids, self.offsets, start, stop, *self.arguments(mode, tables, alpha, staleness), result, *tuning
            )
        return [*tables, result]

    def run_on_gpu(self, mode, start, stop, tables, result, alpha, staleness, sentences=1, shared=True):
        """Run a kernel with so many sentences in flight, their memory in shared or in global memory."""
        given = list(self.arguments(mode, tables, alpha, staleness))
        none = [np.zeros(1, dtype) for dtype in (np.int32, np.uint8, np.int64)]
        given[2] = given[2] or (none[0], none[2])
        given[3] = np.ones(1, np.float32) if given[3] is None else given[3]
        given[4] = given[4] or (*none, np.zeros((1, tables[0].shape[1]), np.float32))
        floats = kernels("cuda", "blocks").layout_of.py_func(tables[0].shape[1], self.window)[-1]
        near = () if shared else (np.zeros((sentences, -(-floats // 4) * 4), np.float32),)

        def placed(value):
            if isinstance(value, tuple):
                return tuple(map(placed, value))
            return staging.fixed(value) if isinstance(value, np.ndarray) else value

        first = int(self.offsets[start])  # only the range's part of the text is there
        arguments = (self.ids[first:], self.offsets, start, stop, *given, result, first, near, (0,))
        on_device = placed(arguments)
        staging.launch_blocks(module_of(mode, "cuda"), sentences, floats if shared else 0, 0, on_device)
        for values, made in [(tables[0], on_device[4]), (tables[1], on_device[5]), (result, on_device[-4])]:
            made.copy_to_host(values)
        if self.tree is not None:
            on_device[8][3].copy_to_host(tables[2])
        return [*tables, result]

    def reference(self, mode, **options):
        return self.run(mode, "reference", **options)


def assert_close(got, wanted, atol=2e-5):
    for table, expected in zip(got[:-1], wanted[:-1], strict=True):
        np.testing.assert_allclose(table, expected, atol=atol, rtol=1e-4)
    np.testing.assert_allclose(got[-1], wanted[-1], rtol=max(1e-5, atol / 100))


sizes = st.sampled_from([1, 3, 7, 8, 15, 16, 17, 64, 100, 300])
# What a kernel is compiled for anew: few, since each takes seconds.
variants = st.sampled_from([((), W16), ((), W8), (("subwords",), W16), (("subwords", "rates", "tree"), W16)])


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000), variant=variants, dim=sizes, window=st.integers(1, 12), negative=st.integers(0, 14),
    staleness=st.integers(1, 20), num_private=st.sampled_from([0, 1, 7, NUM_WORDS]), publish_every=st.integers(1, 9),
    shrink=st.booleans(), mean=st.booleans(), divided=st.booleans(),
)  # fmt: skip
def test_shared_equals_the_reference(
    model, seed, variant, dim, window, negative, staleness, num_private, publish_every, shrink, mean, divided
):
    extras, width = variant
    case = Case(
        seed, dim, window, negative, shrink=shrink, scale=0.3 / np.sqrt(dim), extras=extras,
        cbow=(mean, mean or divided), sample=1e-2,
    )  # fmt: skip
    wanted = case.reference(f"{model}_shared", staleness=staleness)
    got = case.run(
        f"{model}_shared", staleness=staleness, num_private=num_private, publish_every=publish_every, width=width
    )
    assert_close(got, wanted, atol=1e-4)
    assert not any(table[:, dim:].any() for table in got[:-1]), "the padding changed"


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000), variant=variants, dim=sizes, window=st.integers(1, 12), negative=st.integers(0, 20),
    shrink=st.booleans(), limit=st.sampled_from([6.0, 8.0]), rule=st.tuples(*[st.booleans()] * 4),
    cbow=st.tuples(*[st.booleans()] * 2),
)  # fmt: skip
def test_pairwise_equals_the_reference(model, seed, variant, dim, window, negative, shrink, limit, rule, cbow):
    extras, width = variant
    case = Case(
        seed, dim, window, negative, shrink=shrink, extras=extras, limit=limit, rule=rule, cbow=cbow,
        scale=0.5 / np.sqrt(window) if dim < 16 else 1 / np.sqrt(dim * window),
    )  # fmt: skip
    # A logit at the edge of a cell of the sigmoid's table may fall on either side: a cell is 0.008 high at most.
    assert_close(case.run(f"{model}_pairwise", width=width), case.reference(f"{model}_pairwise"), atol=1e-3)


def on_gpu(test):
    """Mark a test that runs kernels on a GPU, or in Numba's simulator: as Python, in which NumPy warns of overflow."""
    return pytest.mark.gpu(pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")(test))


def short_case(seed, extras=(), **options):
    """A case that the simulator runs in a second or two."""
    ids = (np.random.default_rng(seed).zipf(1.3, 30) % NUM_WORDS).astype(np.int32)
    return Case(seed, ids=ids, extras=extras, **{"dim": 20, "window": 2, "scale": 0.07, "sample": 0.05} | options)


@on_gpu
@pytest.mark.parametrize(
    ("mode", "extras", "options", "how"),
    [
        ("skipgram_shared", (), {"window": 3, "negative": 5}, {}),
        (
            "skipgram_shared",
            (),
            {"window": 3, "dim": 3, "negative": 13, "shrink": False},
            {"staleness": 1, "shared": False},
        ),
        ("skipgram_shared", ("subwords", "rates", "tree"), {"negative": 2}, {"staleness": 3}),
        ("skipgram_shared", ("rates", "tree"), {"negative": 0}, {}),
        ("cbow_shared", (), {"dim": 33, "cbow": (False, True)}, {"staleness": 2}),
        ("cbow_shared", ("subwords", "rates"), {"negative": 7, "cbow": (True, True)}, {"shared": False}),
        ("cbow_shared", ("subwords", "tree"), {"negative": 1, "cbow": (True, False)}, {}),
    ],
)
def test_one_sentence_in_flight_on_a_gpu_equals_the_reference(mode, extras, options, how):
    case = short_case(3, extras, **options)
    got = case.run(mode, "cuda", **how)
    assert_close(got, case.reference(mode, staleness=how.get("staleness", 16)), atol=1e-6)
    assert not any(table[:, case.dim :].any() for table in got[:-1]), "the padding changed"


@on_gpu
def test_splitting_the_range_changes_nothing_on_a_gpu():
    case = short_case(2)
    whole = case.run("skipgram_shared", "cuda")
    first = case.run("skipgram_shared", "cuda", stop=4)
    both = case.run("skipgram_shared", "cuda", start=4, tables=first[:-1], result=first[-1])
    for got, wanted in zip(both[:-1], whole[:-1], strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(both[-1], whole[-1], rtol=1e-7)


@on_gpu
@pytest.mark.parametrize("mode", ["skipgram_shared", "cbow_shared"])
def test_many_sentences_in_flight_train_each_once(mode):
    """With so small a rate that what sentences learn adds up, in whichever order they come."""
    case = short_case(4)
    got = case.run(mode, "cuda", alpha=1e-4, sentences=3)
    assert_close(got, case.reference(mode, alpha=1e-4), atol=1e-7)
    assert abs(got[0] - case.tables[0]).max() > 1e-6


@on_gpu
def test_rows_of_rate_0_and_rows_not_used_stay_bit_identical_on_a_gpu():
    case = short_case(12, ("rates",))
    case.tables[0][case.rates == 0, 3] = -0.0  # adding 0 would make it 0.0
    got = case.run("skipgram_shared", "cuda")[0]
    same = (case.rates == 0) | ~np.isin(np.arange(NUM_ROWS), case.ids)
    np.testing.assert_array_equal(got[same].view(np.uint32), case.tables[0][same].view(np.uint32))
    assert (got[~same] != case.tables[0][~same]).any(axis=1).sum() > 3


@on_gpu
def test_what_is_not_finite_shows_in_the_loss_on_a_gpu():
    case = short_case(8)
    case.tables[0][:, 0] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(case.run("skipgram_shared", "cuda")[-1][0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("window", [1, 50, 100])
@pytest.mark.parametrize("negative", [1, 64])
def test_extreme_sizes_equal_the_reference(mode, window, negative):
    # A small rate: thousands of pairs of thirty words would otherwise blow up rounding.
    case = Case(3, 16, window, negative, sample=0, scale=0.1)
    assert_close(case.run(mode, alpha=1e-3), case.reference(mode, alpha=1e-3), atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_large_logits_equal_the_reference(mode, scale):
    case = Case(1, 16, scale=scale)
    assert_close(case.run(mode), case.reference(mode), atol=2e-2 if "pairwise" in mode else 1e-3)


@pytest.mark.parametrize("split", range(9))
@pytest.mark.parametrize("mode", MODES)
def test_splitting_the_range_changes_nothing(mode, split):
    case = Case(2, extras=("subwords", "rates", "tree"))
    whole = case.run(mode)
    cut = min(split, len(case.offsets) - 1)
    first = case.run(mode, stop=cut)
    both = case.run(mode, start=cut, tables=first[:-1], result=first[-1])
    for got, wanted in zip(both[:-1], whole[:-1], strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(both[-1], whole[-1], rtol=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_were_not_used_stay_bit_identical(mode):
    case = Case(4, ids=np.array([1, 2, 3] * 20, np.int32))
    used = [1, 2, 3]
    case.noise = np.stack([np.zeros(NUM_WORDS), np.resize(used, NUM_WORDS)], 1).astype(np.uint32)
    got = case.run(mode)
    for table, before in zip(got[:2], case.tables, strict=False):
        others = np.setdiff1d(np.arange(len(table)), used)
        np.testing.assert_array_equal(table[others], before[others])
        assert (table[used] != before[used]).any()


@pytest.mark.parametrize("extras", [("rates",), ("subwords", "rates", "tree")])
@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_rate_0_stays_bit_identical(mode, extras):
    case = Case(12, extras=extras)
    case.tables[0][case.rates == 0, 3] = -0.0  # adding 0 would make it 0.0
    weight_in = case.run(mode)[0]
    frozen = case.rates == 0
    np.testing.assert_array_equal(weight_in[frozen].view(np.uint32), case.tables[0][frozen].view(np.uint32))
    used = np.unique(case.ids) if case.subwords is None else np.arange(NUM_WORDS, NUM_ROWS)
    used = used[case.rates[used] > 0]
    assert (weight_in[used] != case.tables[0][used]).any(axis=1).sum() > len(used) / 2


@pytest.mark.parametrize("mode", MODES)
def test_rates_of_1_are_none(mode):
    case = Case(13, extras=("rates",))
    case.rates[:] = 1
    got = case.run(mode)
    case.rates = None
    assert_close(got, case.run(mode), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_subwords_of_the_word_alone_are_none(mode):
    case = Case(14, extras=("subwords",))
    case.subwords = np.arange(NUM_WORDS, dtype=np.int32), np.arange(NUM_WORDS + 1)
    got = case.run(mode)
    case.subwords = None
    assert_close(got, case.run(mode), atol=1e-6)


def gradient_case(mode, extras, negative):
    case = Case(5, 4, 2, negative, sample=0, scale=0.4, ids=np.array([1, 2, 4], np.int32), extras=extras,
                cbow=(True, True), shrink=False)  # fmt: skip
    case.offsets = np.array([0, 3], np.int64)
    case.keep[:] = 1
    case.rates = None
    if case.tree is not None:  # short paths: one block, as the gradient of all outputs at once
        points, codes, _ = case.tree
        case.tree = points, codes, np.minimum(np.arange(NUM_WORDS + 1) * 3, len(points)).astype(np.int64)
        case.tree[0][:] = np.arange(len(points)) % (NUM_WORDS - 1)
    return case


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("extras", "negative"), [((), 3), (("tree",), 0), (("subwords",), 3)])
def test_the_update_is_the_gradient_of_the_loss(mode, extras, negative):
    """Central differences in float64 of the reference's own loss, on a sentence of three words."""
    case = gradient_case(mode, extras, negative)
    tables = [table.astype(np.float64) for table in case.tables]

    def loss(tables):
        return case.reference(mode, tables=[table.copy() for table in tables], alpha=0.0)[-1][0]

    alpha = 1e-4
    moved = case.reference(mode, tables=[table.copy() for table in tables], alpha=alpha)
    for which in range(3):
        numeric = np.zeros_like(tables[which])
        for place in np.ndindex(len(numeric), 4):
            high, low = ([table.copy() for table in tables] for _ in range(2))
            high[which][place] += 1e-4
            low[which][place] -= 1e-4
            numeric[place] = (loss(high) - loss(low)) / 2e-4
        step = (tables[which] - moved[which]) / alpha
        if which == 0 and case.subwords is not None:  # fastText adds the whole gradient to each row of a mean
            continue
        np.testing.assert_allclose(step, numeric, atol=2e-2 if "pairwise" in mode else 4e-3)
        assert which == (2 if case.tree is None else 1) or np.abs(numeric).max() > 0.05


@pytest.mark.parametrize("mode", MODES)
def test_subwords_get_the_whole_gradient_of_their_mean(mode):
    """Composed rows as words' own rows move as the mean of the subwords does."""
    case = gradient_case(mode, ("subwords",), 3)
    case.cbow = (False, False)  # the sum: each word's mean would weigh as the number of its rows
    case.subwords = np.array([1, 30, 31, 2, 32, 33, 4, 34, 35], np.int32), np.repeat([0, 3, 6, 9], [2, 1, 2, 26])
    case.subwords = case.subwords[0], np.concatenate([case.subwords[1][:3], [6, 6, 9], np.full(NUM_WORDS - 5, 9)])
    got = case.run(mode, alpha=0.05)
    composed = Case.__new__(Case)
    composed.__dict__.update(case.__dict__)
    composed.subwords = None
    composed.tables = [table.copy() for table in case.tables]
    scale = 3 if mode.startswith("cbow") else 1
    for rows in ([1, 30, 31], [2, 32, 33], [4, 34, 35]):
        composed.tables[0][rows[0]] = case.tables[0][rows].mean(axis=0) * scale
    wanted = composed.run(mode, alpha=0.05)
    for rows in ([1, 30, 31], [2, 32, 33], [4, 34, 35]):
        change = got[0][rows] - case.tables[0][rows]
        expected = wanted[0][rows[0]] - composed.tables[0][rows[0]]
        if scale == 1:
            np.testing.assert_allclose(change, np.broadcast_to(expected, change.shape), atol=1e-6)
            assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("mode", ["skipgram_pairwise", "cbow_pairwise"])
def test_first_step_of_pairwise_by_hand(mode):
    """From output vectors of zero every sigmoid is 1/2: the centre's output row becomes alpha / 2 times the input."""
    case = Case(6, dim=8, window=1, negative=1, sample=0, ids=np.array([1, 2], np.int32))
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 5]  # every negative is word 5
    case.tables[1][:] = 0
    weight_in, weight_out, _, result = case.run(mode, alpha=0.1)
    first = case.tables[0]
    np.testing.assert_allclose(weight_out[1], 0.05 * first[2], rtol=1e-6)
    np.testing.assert_allclose(weight_out[2], 0.05 * first[1], atol=2e-3)
    np.testing.assert_allclose(weight_out[5], -0.05 * (first[1] + first[2]), atol=2e-3)
    assert result[1] == 4 and result[0] == pytest.approx(4 * np.log(2), rel=0.05)
    np.testing.assert_allclose(weight_in[2], first[2], rtol=1e-6)


@pytest.mark.parametrize(("mean", "divided", "factor"), [(1, 0, 1), (1, 1, 1 / 2), (0, 0, 1), (0, 1, 1 / 2)])
@pytest.mark.parametrize("mode", ["cbow_shared", "cbow_pairwise"])
def test_cbows_updates_by_hand(mode, mean, divided, factor):
    """The middle of three words: its two neighbours' rows make the input, and each gets its change or half of it."""
    case = Case(6, dim=8, window=1, negative=1, sample=0, ids=np.array([1, 2, 3], np.int32), shrink=False,
                cbow=(bool(mean), bool(divided)))  # fmt: skip
    case.offsets = np.array([0, 3], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 5]
    case.tables[1][[1, 3, 5]] = 0  # so that only word 2 teaches anything, once its own outputs are met
    weight_in, weight_out, _, _ = case.run(mode, alpha=1e-3)
    rows, output = case.tables[0].astype(np.float64), case.tables[1][2].astype(np.float64)
    hidden = (rows[1] + rows[3]) / (2 if mean else 1)
    gradient = 1e-3 / (1 + np.exp(hidden @ output))
    np.testing.assert_allclose(weight_out[2] - output, gradient * hidden, atol=1e-5)
    np.testing.assert_allclose(weight_in[1] - rows[1], factor * gradient * output, atol=4e-6)
    np.testing.assert_allclose(weight_in[3] - rows[3], factor * gradient * output, atol=4e-6)


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_hierarchical_softmax_by_hand(model):
    """From nodes of zero every sigmoid is 1/2, and the label is 1 less the code."""
    case = Case(6, dim=8, window=1, negative=0, sample=0, ids=np.array([1, 2], np.int32), extras=("tree",))
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    ends = np.array([0, 0, 2, 4] + [4] * (NUM_WORDS - 3), np.int64)
    case.tree = np.array([9, 3, 9, 4], np.int32), np.array([0, 1, 1, 1], np.uint8), ends
    case.tables[2][:] = 0
    for mode in (f"{model}_shared", f"{model}_pairwise"):
        _, _, inner, result = case.run(mode, alpha=0.1)
        first = case.tables[0]
        np.testing.assert_allclose(inner[3], -0.05 * first[2], rtol=1e-3)
        np.testing.assert_allclose(inner[4], -0.05 * first[1], atol=2e-3)
        np.testing.assert_allclose(inner[9], 0.05 * (first[2] - first[1]), atol=2e-3)
        assert result[1] == 4 and result[0] == pytest.approx(4 * np.log(2), rel=0.05)


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_inputs_meet_a_path_in_turn_by_hand(device):
    """The neighbours of the middle word, the only one with a path: the second meets its node as the first has left it,
    with the gradient of the node as it was."""
    case = Case(6, dim=8, window=1, negative=0, sample=0, ids=np.array([1, 2, 3], np.int32), shrink=False)
    case.offsets = np.array([0, 3], np.int64)
    case.keep[:] = 1
    case.tree = np.array([9], np.int32), np.zeros(1, np.uint8), np.array([0] * 3 + [1] * (NUM_WORDS - 2), np.int64)
    weight_in, _, inner, _ = case.run("skipgram_shared", device, alpha=0.1)
    (first, second), node = case.tables[0][[1, 3]].astype(np.float64), case.tables[2][9].astype(np.float64)
    by_first, by_second = 0.1 / (1 + np.exp(first @ node)), 0.1 / (1 + np.exp(second @ node))
    np.testing.assert_allclose(weight_in[1], first + by_first * node, atol=1e-6)
    np.testing.assert_allclose(weight_in[3], second + by_second * (node + by_first * first), atol=1e-6)
    np.testing.assert_allclose(inner[9], node + by_first * first + by_second * second, atol=1e-6)


@pytest.mark.parametrize("saturates", [True, False])
@pytest.mark.parametrize("hierarchical", [True, False])
def test_beyond_the_limit(hierarchical, saturates):
    """A centre word that is sure to be wrong: its pair gets a gradient of alpha, or is skipped."""
    case = Case(6, dim=8, window=1, negative=int(not hierarchical), sample=0, ids=np.array([1, 2], np.int32),
                extras=("tree",), rule=(saturates, saturates, False, False))  # fmt: skip
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 5]
    ends = np.array([0, 0, 1, 2] + [2] * (NUM_WORDS - 3), np.int64)
    case.tree = (np.array([1, 2], np.int32), np.zeros(2, np.uint8), ends) if hierarchical else None
    for table in case.tables[1:]:
        table[1] = -1e3 * case.tables[0][2]
    outputs = case.run("skipgram_pairwise", alpha=0.1)[2 if hierarchical else 1]
    change = outputs[1] - case.tables[1][1]
    np.testing.assert_allclose(change, 0.1 * case.tables[0][2] * saturates, rtol=1e-3)


def test_the_centre_as_input_is_trained_with_one_context_word_after_the_other():
    """fastText's way: the second context word meets the input that the first has changed."""
    case = Case(6, dim=8, window=1, negative=1, sample=0, ids=np.array([1, 2, 3], np.int32), extras=("subwords",),
                rule=(True, False, True, True), limit=8.0)  # fmt: skip
    case.offsets = np.array([0, 3], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 9]  # every negative is word 9
    rows, outputs = case.tables[0][:, :8].astype(float), case.tables[1][:, :8].astype(float)
    values, ends = case.subwords
    for centre, context in ((1, 2), (2, 1), (2, 3), (3, 2)):
        members = values[ends[centre] : ends[centre + 1]]
        hidden, error = rows[members].mean(axis=0), np.zeros(8)
        for output, label in ((context, 1), (9, 0)):
            gradient = 0.1 * (label - 1 / (1 + np.exp(-hidden @ outputs[output])))
            error += gradient * outputs[output]
            outputs[output] += gradient * hidden
        np.add.at(rows, members, error)
    got = case.run("skipgram_pairwise", alpha=0.1)
    np.testing.assert_allclose(got[0][:, :8], rows, atol=3e-3)
    np.testing.assert_allclose(got[1][:, :8], outputs, atol=3e-3)


@pytest.mark.parametrize("mode", MODES)
def test_a_negative_equal_to_the_centre_is_skipped(mode):
    case = Case(7, window=1, negative=2, sample=0, ids=np.array([1, 2], np.int32))
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 1]  # every negative is word 1
    # Centre 1 meets itself only; centre 2 meets itself and word 1, which the shared modes count once.
    assert case.run(mode)[-1][1] == (3 if mode.endswith("shared") else 4)
    assert_close(case.run(mode), case.reference(mode))


@pytest.mark.parametrize("mode", ["skipgram_pairwise", "cbow_pairwise"])
def test_a_negative_equal_to_the_centre_is_drawn_again(mode):
    case = Case(7, negative=3, sample=0, ids=np.arange(2, dtype=np.int32).repeat(40), rule=(True, False, True, False))
    case.noise = np.array([[2**31, 1], [2**31, 0]], np.uint32)  # two words, equally likely
    redrawn = case.run(mode)[-1][1]
    case.rule = (6.0, 83.0, True, False, False, False)
    skipped = case.run(mode)[-1][1]
    assert redrawn % 4 == 0 and skipped < 0.8 * redrawn
    case.noise[:] = [0, 0]  # word 0 alone: there is nothing else to draw
    case.rule = (6.0, 83.0, True, False, True, False)
    assert_close(case.run(mode), case.reference(mode), atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_loss_or_the_tables_and_never_crashes(mode, poison):
    case = Case(8, window=3)
    case.tables[0][:, 0] = poison
    weight_in, _, _, result = case.run(mode)
    assert np.isnan(result[0]) or not np.isfinite(weight_in).all()
    assert np.isnan(result[0]) == np.isnan(case.reference(mode)[-1][0])


@pytest.mark.parametrize("mode", MODES)
def test_an_absurd_rate_never_crashes(mode):
    case = Case(9, scale=10.0)
    tables, result = [table.copy() for table in case.tables], np.zeros(3)
    for _ in range(30):
        case.run(mode, tables=tables, result=result, alpha=50.0)
    assert not np.isfinite(result[0]) or np.abs(tables[0]).max() > 1e3


def test_ids_may_be_read_only_and_on_disk(tmp_path):
    case = Case(10)
    wanted = case.run("cbow_shared")
    np.save(tmp_path / "ids.npy", case.ids)
    case.ids = np.load(tmp_path / "ids.npy", mmap_mode="r")
    case.offsets.flags.writeable = False
    for got, expected in zip(case.run("cbow_shared"), wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("in_turn", [None, ()], ids=["at once", "in turn"])
def test_the_hot_loop_holds_vector_multiply_adds(in_turn):
    """The block's arithmetic must be wide fused multiply-adds, not scalar code."""
    # Machine code that came from the cache cannot be read, so the kernel is compiled once more.
    options = {name: value for name, value in blocks.train_block.targetoptions.items() if name != "nopython"}
    fresh = numba.njit(**options)(blocks.train_block.py_func)
    address = np.int64(0)
    fresh.compile(
        tuple(map(numba.typeof, (address, address, address, address, address, address, np.float32(0), None, in_turn,
                                 address, simd_width())))
    )  # fmt: skip
    lines = fresh.inspect_asm(fresh.signatures[0]).splitlines()
    if platform.machine() in ("x86_64", "AMD64"):
        wide = [line for line in lines if "vfmadd" in line and ("%ymm" in line or "%zmm" in line)]
    else:
        wide = [line for line in lines if "fmla" in line and ".4s" in line]
    scalar = [line for line in lines if re.search(r"v?(fmadd|mul|add)\w*ss\b", line)]
    assert len(wide) >= 12 + 6 + 12, "the block is not made of vector multiply-adds"
    assert len(scalar) < len(wide) / 2, "\n".join(scalar)
