"""The skip-gram kernels: the CPU's against the reference, and laws that need no oracle."""

import platform
import re

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.backend import kernels, simd_width
from fastemb.engine.sampling import keep_probabilities, noise_table
from fastemb.kernels.cpu.simd import W8, W16
from fastemb.trainers.tables import allocate_table, row_length

cpu = kernels("cpu", "skipgram")
reference = kernels("reference", "skipgram")

WIDTHS = [W8, W16]
NUM_EMBEDDINGS = 30


class Case:
    """Small tables, a text with empty and one-word sentences and repeated words, and every argument of a kernel."""

    def __init__(self, seed=0, dim=20, window=5, negative=5, sample=1e-2, scale=0.5, shrink=True, ids=None):
        random = np.random.default_rng(seed)
        if ids is None:
            ids = (random.zipf(1.3, 150) % NUM_EMBEDDINGS).astype(np.int32)
        self.ids = ids
        cuts = np.sort(random.integers(0, len(ids) + 1, 6))
        self.offsets = np.array([0, *cuts, cuts[-1], len(ids)], np.int64)
        counts = np.bincount(ids, minlength=NUM_EMBEDDINGS) + 1
        self.keep = keep_probabilities(counts, sample)
        self.noise = noise_table(counts, 0.75)
        self.window, self.negative, self.shrink, self.dim = window, negative, shrink, dim
        self.tables = [allocate_table(NUM_EMBEDDINGS, dim) for _ in range(2)]
        for table in self.tables:
            table[:, :dim] = random.normal(0, scale, (NUM_EMBEDDINGS, dim))

    def arguments(self, alpha=0.05, seed=7):
        return (self.keep, self.noise, self.window, self.shrink, self.negative, alpha, -alpha / 1000, seed)

    def run(self, function, *how, start=0, stop=None, tables=None, result=None, alpha=0.05, tuning=()):
        """Run a kernel on copies of the tables; return the two tables and the result."""
        tables = [table.copy() for table in self.tables] if tables is None else tables
        result = np.zeros(3) if result is None else result
        stop = len(self.offsets) - 1 if stop is None else stop
        with np.errstate(all="ignore"):
            function(self.ids, self.offsets, start, stop, *tables, *self.arguments(alpha), *how, result, *tuning)
        return [*tables, result]

    def scratch(self, num_private=0):
        return cpu.allocate_scratch(row_length(self.dim), self.window, self.negative, len(self.ids), num_private)

    def shared(self, staleness=16, num_private=0, publish_every=4, width=W16, **options):
        tuning = (self.scratch(num_private), num_private, publish_every, width)
        return self.run(cpu.skipgram_shared, staleness, tuning=tuning, **options)

    def pairwise(self, width=W16, **options):
        return self.run(cpu.skipgram_pairwise, tuning=(self.scratch(), width), **options)


def assert_close(got, wanted, atol=2e-5):
    for table, expected in zip(got[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(table, expected, atol=atol, rtol=1e-4)
    np.testing.assert_allclose(got[2], wanted[2], rtol=1e-5)


sizes = st.sampled_from([1, 3, 7, 8, 15, 16, 17, 64, 100, 300])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    dim=sizes,
    window=st.integers(1, 12),
    negative=st.integers(1, 14),
    staleness=st.integers(1, 20),
    num_private=st.sampled_from([0, 1, 7, NUM_EMBEDDINGS]),
    publish_every=st.integers(1, 9),
    shrink=st.booleans(),
    width=st.sampled_from(WIDTHS),
)
def test_shared_equals_the_reference(seed, dim, window, negative, staleness, num_private, publish_every, shrink, width):
    case = Case(seed, dim, window, negative, shrink=shrink, scale=1 / np.sqrt(dim))
    wanted = case.run(reference.skipgram_shared, staleness)
    got = case.shared(staleness, num_private, publish_every, width)
    assert_close(got, wanted)
    assert not got[0][:, dim:].any() and not got[1][:, dim:].any(), "the padding changed"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    dim=sizes,
    window=st.integers(1, 12),
    negative=st.integers(1, 40),
    shrink=st.booleans(),
    width=st.sampled_from(WIDTHS),
)
def test_pairwise_equals_the_reference(seed, dim, window, negative, shrink, width):
    case = Case(seed, dim, window, negative, shrink=shrink, scale=1 / np.sqrt(dim))
    # A logit at the edge of a cell of the sigmoid's table may fall on either side: a cell is 0.003 high at most.
    assert_close(case.pairwise(width), case.run(reference.skipgram_pairwise), atol=1e-3)


@pytest.mark.parametrize("window", [1, 50, 100])
@pytest.mark.parametrize("negative", [1, 64])
def test_extreme_sizes_equal_the_reference(window, negative):
    # A small rate: thousands of pairs of thirty words would otherwise blow up rounding.
    case = Case(3, 16, window, negative, sample=0, scale=0.1)
    assert_close(case.shared(staleness=16, alpha=1e-3), case.run(reference.skipgram_shared, 16, alpha=1e-3))
    assert_close(case.pairwise(alpha=1e-3), case.run(reference.skipgram_pairwise, alpha=1e-3), atol=1e-4)


@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_large_logits_equal_the_reference(scale):
    case = Case(1, 16, scale=scale)
    assert_close(case.shared(), case.run(reference.skipgram_shared, 16), atol=1e-3)
    assert_close(case.pairwise(), case.run(reference.skipgram_pairwise), atol=2e-2)


@pytest.mark.parametrize("split", range(9))
@pytest.mark.parametrize("mode", ["shared", "pairwise"])
def test_splitting_the_range_changes_nothing(mode, split):
    case = Case(2)
    whole = getattr(case, mode)()
    first = getattr(case, mode)(stop=min(split, len(case.offsets) - 1))
    both = getattr(case, mode)(start=min(split, len(case.offsets) - 1), tables=first[:2], result=first[2])
    for got, wanted in zip(both[:2], whole[:2], strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(both[2], whole[2], rtol=1e-12)


@pytest.mark.parametrize("mode", ["shared", "pairwise"])
def test_rows_that_were_not_used_stay_bit_identical(mode):
    case = Case(4, ids=np.array([1, 2, 3] * 20, np.int32))
    used = [1, 2, 3]
    case.noise = np.stack([np.full(NUM_EMBEDDINGS, 2**32 - 1), np.resize(used, NUM_EMBEDDINGS)], 1).astype(np.uint32)
    case.noise[:, 0] = 0
    got = getattr(case, mode)()
    others = np.setdiff1d(np.arange(NUM_EMBEDDINGS), used)
    for table, before in zip(got[:2], case.tables, strict=True):
        np.testing.assert_array_equal(table[others], before[others])
        assert (table[used] != before[used]).any()


@pytest.mark.parametrize("kernel", ["skipgram_shared", "skipgram_pairwise"])
def test_the_update_is_the_gradient_of_the_loss(kernel):
    """Central differences in float64 of the reference's own loss, on one pair and one window."""
    case = Case(5, dim=4, window=1, negative=3, sample=0, scale=0.4, ids=np.array([1, 2], np.int32))
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    how = (16,) if kernel == "skipgram_shared" else ()
    function = getattr(reference, kernel)
    tables = [table.astype(np.float64) for table in case.tables]

    def loss(tables):
        return case.run(function, *how, tables=[table.copy() for table in tables], alpha=0.0)[2][0]

    alpha = 1e-4
    moved = case.run(function, *how, tables=[table.copy() for table in tables], alpha=alpha)
    for which in range(2):
        numeric = np.zeros_like(tables[which])
        for place in np.ndindex(NUM_EMBEDDINGS, 4):
            high, low = ([table.copy() for table in tables] for _ in range(2))
            high[which][place] += 1e-4
            low[which][place] -= 1e-4
            numeric[place] = (loss(high) - loss(low)) / 2e-4
        step = (tables[which] - moved[which]) / alpha
        np.testing.assert_allclose(step, numeric, atol=4e-3)
        assert np.abs(numeric).max() > 0.1


def test_first_step_of_pairwise_by_hand():
    """From output vectors of zero every sigmoid is 1/2: the centre's output row becomes alpha / 2 times the input."""
    case = Case(6, dim=8, window=1, negative=1, sample=0, ids=np.array([1, 2], np.int32))
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 5]  # every negative is word 5
    case.tables[1][:] = 0
    weight_in, weight_out, result = case.pairwise(alpha=0.1)
    first = case.tables[0]
    np.testing.assert_allclose(weight_out[1], 0.05 * first[2], rtol=1e-6)
    np.testing.assert_allclose(weight_out[2], 0.05 * first[1], atol=2e-3)
    np.testing.assert_allclose(weight_out[5], -0.05 * (first[1] + first[2]), atol=2e-3)
    assert result[1] == 4 and result[0] == pytest.approx(4 * np.log(2), rel=0.05)
    np.testing.assert_allclose(weight_in[2], first[2], rtol=1e-6)


@pytest.mark.parametrize("mode", ["shared", "pairwise"])
def test_a_negative_equal_to_the_centre_is_skipped(mode):
    case = Case(7, window=1, negative=2, sample=0, ids=np.array([1, 2], np.int32))
    case.offsets = np.array([0, 2], np.int64)
    case.keep[:] = 1
    case.noise[:] = [0, 1]  # every negative is word 1
    _, _, result = getattr(case, mode)()
    # Centre 1 meets itself only; centre 2 meets itself and word 1, which the shared mode counts once.
    assert result[1] == (3 if mode == "shared" else 4)
    assert_close(getattr(case, mode)(), case.run(getattr(reference, f"skipgram_{mode}"), *([16] * (mode == "shared"))))


@pytest.mark.parametrize("mode", ["shared", "pairwise"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_loss_or_the_tables_and_never_crashes(mode, poison):
    case = Case(8, window=3)
    case.tables[0][:, 0] = poison
    weight_in, _, result = getattr(case, mode)()
    assert np.isnan(result[0]) or not np.isfinite(weight_in).all()
    how = [16] if mode == "shared" else []
    assert np.isnan(result[0]) == np.isnan(case.run(getattr(reference, f"skipgram_{mode}"), *how)[2][0])


@pytest.mark.parametrize("mode", ["shared", "pairwise"])
def test_an_absurd_rate_never_crashes(mode):
    case = Case(9, scale=10.0)
    tables, result = [table.copy() for table in case.tables], np.zeros(3)
    for _ in range(30):
        getattr(case, mode)(tables=tables, result=result, alpha=50.0)
    assert not np.isfinite(result[0]) or np.abs(tables[0]).max() > 1e3


def test_ids_may_be_read_only_and_on_disk(tmp_path):
    case = Case(10)
    wanted = case.shared()
    np.save(tmp_path / "ids.npy", case.ids)
    case.ids = np.load(tmp_path / "ids.npy", mmap_mode="r")
    case.offsets.flags.writeable = False
    for got, expected in zip(case.shared(), wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_hot_loop_holds_vector_multiply_adds():
    """The block's arithmetic must be wide fused multiply-adds, not scalar code."""
    # Machine code that came from the cache cannot be read, so the kernel is compiled once more.
    options = {name: value for name, value in cpu.train_block.targetoptions.items() if name != "nopython"}
    fresh = numba.njit(**options)(cpu.train_block.py_func)
    address = np.int64(0)
    fresh.compile(
        tuple(map(numba.typeof, (address, address, address, address, address, address, np.float32(0), address,
                                 simd_width())))
    )  # fmt: skip
    lines = fresh.inspect_asm(fresh.signatures[0]).splitlines()
    if platform.machine() in ("x86_64", "AMD64"):
        wide = [line for line in lines if "vfmadd" in line and ("%ymm" in line or "%zmm" in line)]
    else:
        wide = [line for line in lines if "fmla" in line and ".4s" in line]
    scalar = [line for line in lines if re.search(r"v?(fmadd|mul|add)\w*ss\b", line)]
    assert len(wide) >= 12 + 6 + 12, "the block is not made of vector multiply-adds"
    assert len(scalar) < len(wide) / 2, "\n".join(scalar)
