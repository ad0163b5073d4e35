"""The kernels of optimizers' rules: the CPU's against the reference, and laws that need no oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules import RATES

from fastemb.engine.backend import kernels
from fastemb.kernels.cpu.prefetching import SHARED_CACHE
from fastemb.kernels.reference.lookup import narrow, widen

cpu = kernels("cpu", "updates")
reference = kernels("reference", "updates")

RULES = list(RATES)
DTYPES = [np.float64, np.float32, np.float16, np.uint16]
# Each compiles code of its own: all rules for float32, and each other type with one. Optimizers' tests need the same
# code of all but the third line.
VARIANTS = [(rule, np.float32, {}) for rule in RULES]
VARIANTS += [("ADAM", np.float16, {}), ("ADAM", np.float64, {}), ("ADAM", np.float32, {"strided": True})]
VARIANTS += [("ROWWISE_ADAGRAD", np.uint16, {"rows": np.int32, "bags": np.int64})]


class Case:
    """A table, its state after some use, and gradients of some of its rows, both summed and as lookups."""

    def __init__(self, rule, dtype=np.float32, dim=20, seed=0, num_rows=9, clip=1.5, keep=0.99, pull=0.1, **kind):
        random = np.random.default_rng(seed)
        accumulator = np.dtype(np.float64 if dtype == np.float64 else np.float32)
        self.rule = rule
        num_embeddings = 2 * num_rows + 3
        self.weight = self.table(random.normal(size=(num_embeddings, dim)), dtype, kind.get("strided", False))
        widths = {"SGD": (0, 0), "ADD": (0, 0), "ADAM": (dim, dim), "ROWWISE_ADAM": (dim, 1), "FTRL": (dim, dim)}
        widths |= {"ROWWISE_ADAGRAD": (1, 0)}
        shapes = [(num_embeddings, width) if width else (0, 1) for width in widths.get(rule, (dim, 0))]
        self.first, self.second = (random.uniform(0.1, 1, shape).astype(accumulator) for shape in shapes)
        self.rows = np.sort(random.choice(num_embeddings, num_rows, replace=False)).astype(kind.get("rows", np.int64))
        counts = random.integers(1, 4, num_rows)
        counts[: num_rows // 3] = 40  # frequent rows
        self.starts = np.array([0, *np.cumsum(counts)], np.int64)
        self.grad_output = self.table(random.normal(size=(6, dim)), dtype)
        self.bags = random.integers(0, 6, self.starts[-1]).astype(kind.get("bags", np.int32))
        weighted = kind.get("weighted", True)
        self.coefficients = random.uniform(-0.5, 0.5, self.starts[-1]).astype(accumulator) if weighted else None
        factors = np.ones(self.starts[-1]) if self.coefficients is None else self.coefficients
        lookups = factors[:, None] * widen(self.grad_output)[self.bags]
        ranges = zip(self.starts, self.starts[1:], strict=False)
        self.gradients = np.array([lookups[a:b].sum(axis=0) for a, b in ranges]).reshape(num_rows, dim)
        self.gradients = self.gradients.astype(accumulator)
        self.hyper = np.array([clip, keep, pull, *RATES[rule]], accumulator)

    @staticmethod
    def table(values, dtype, strided=False):
        accumulator = np.float64 if dtype == np.float64 else np.float32
        table = narrow(values.astype(accumulator), np.dtype(dtype))
        if strided:
            table = np.concatenate([table, table], axis=1)[:, : table.shape[1]]
        return table

    def update(self, module, start=0, stop=None, tables=None):
        """Run `update` on copies (or on `tables`); return the table and the state."""
        tables = self.copies() if tables is None else tables
        stop = len(self.rows) if stop is None else stop
        rule, weight = getattr(module, self.rule), as_given(tables[0], module)
        module.update(weight, *tables[1:], self.rows, self.gradients, 0, self.hyper, rule, start, stop)
        return tables

    def step(self, module, cuts=(), block=4, name="step", chunks=()):
        tables = self.copies()
        bounds = np.array([0, *cuts, len(self.rows)], np.int64)
        scratch = np.full((len(bounds) - 1, block, self.weight.shape[1]), np.nan, self.gradients.dtype)
        status = getattr(module, name)(
            as_given(tables[0], module), *tables[1:], self.rows, self.columns_of_gradients(module), self.bags,
            self.starts, self.coefficients, self.hyper, getattr(module, self.rule), bounds, scratch, 0,
            len(bounds) - 1, *chunks,
        )  # fmt: skip
        assert status == (0 if chunks else -1)
        return tables

    def columns_of_gradients(self, module):
        """Return `grad_output`, which may have more columns than the table: the CPU leaves the others out."""
        given = as_given(self.grad_output, module)
        return given if module is cpu else given[:, : self.weight.shape[1]]

    def copies(self):
        whole = self.weight if self.weight.base is None else self.weight.base
        return [whole.copy()[:, : self.weight.shape[1]], self.first.copy(), self.second.copy()]


def as_given(array, module):
    """Numba has no float16, so the CPU gets its bits."""
    return array.view(np.int16) if module is cpu and array.dtype == np.float16 else array


def assert_close(got, wanted):
    tolerance = {np.uint16: 2**-7, np.float16: 2**-10, np.float32: 2e-5, np.float64: 1e-12}[wanted[0].dtype.type]
    np.testing.assert_allclose(widen(got[0]), widen(wanted[0]), rtol=tolerance, atol=tolerance)
    tolerance = 1e-12 if wanted[1].dtype == np.float64 else 2e-5
    for state, expected in zip(got[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(state, expected, rtol=tolerance, atol=tolerance)


def assert_same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("rule", "dtype", "kind"), VARIANTS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    dim=st.sampled_from([1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 65, 80, 100, 129, 300]),
    num_rows=st.integers(0, 20),
    block=st.integers(1, 9),
    clip=st.sampled_from([0.5, np.inf]),
)
def test_cpu_equals_the_reference(rule, dtype, kind, seed, dim, num_rows, block, clip):
    case = Case(rule, dtype, dim, seed, num_rows, clip, **kind)
    middle = num_rows // 2
    assert_close(case.update(cpu, 0, middle), case.update(reference, 0, middle))
    assert_close(case.update(cpu), case.update(reference))
    assert_close(case.step(cpu, block=block), case.step(reference))


@pytest.mark.parametrize(("num_rows", "dim"), [(5000, 64), (14_000, 300)])
def test_cpu_prefetches_in_tables_in_the_caches_and_beyond(num_rows, dim):
    case = Case("ADAM", dim=dim, num_rows=num_rows)
    assert (case.weight.nbytes > SHARED_CACHE) == (num_rows > 5000) and case.weight.nbytes > cpu.SMALL_TABLE
    assert_close(case.update(cpu), case.update(reference))


@pytest.mark.parametrize("rule", ["SGD", "ADAGRAD", "ROWWISE_ADAGRAD"])
@pytest.mark.parametrize("dim", [5, 20, 100])
def test_cpu_takes_rows_with_one_lookup_as_they_are(rule, dim):
    case = Case(rule, dim=dim, num_rows=300, weighted=False)
    case.starts = np.arange(301)
    case.starts[100:] += 7  # one row has several
    case.grad_output = np.random.default_rng(0).standard_normal((310, 1000), dtype=np.float32)
    case.bags = np.random.default_rng(1).permutation(310)[: case.starts[-1]].astype(np.int32)
    for block in (1, 16, 64):
        assert_close(case.step(cpu, cuts=(99, 99, 250), block=block), case.step(reference, block=block))


@pytest.mark.parametrize(("name", "place", "value"), [("bags", 60, 6), ("bags", 60, -1), ("starts", 11, 1 << 40)])
def test_a_bad_single_lookup_is_told(name, place, value):
    case = Case("SGD", num_rows=12, weighted=False)
    case.starts = np.array([*range(0, 51, 5), 60, 61])
    case.bags = np.resize(case.bags, 61)
    getattr(case, name)[place] = value
    if name == "starts":
        case.starts[place + 1] = value + 1
    scratch, bounds = np.empty((1, 64, 20), np.float32), np.array([0, 12])
    statuses = [
        module.step(
            *case.copies(), case.rows, case.grad_output, case.bags, case.starts, None, case.hyper, module.SGD, bounds,
            scratch, 0, 1,
        )
        for module in (cpu, reference)
    ]  # fmt: skip
    assert statuses[0] == statuses[1] != -1


def test_cpu_threads_change_nothing():
    case = Case("ROWWISE_ADAM", num_rows=50)
    alone = case.step(cpu)
    for cuts in ((25,), (3, 3, 40)):
        assert_same(case.step(cpu, cuts), alone)
        assert_same(case.step(cpu, cuts, name="parallel_step", chunks=(2,)), alone)
    tables = case.copies()
    last = case.rows, case.gradients, 0, case.hyper, cpu.ROWWISE_ADAM, 0, 50
    assert cpu.parallel_update(*tables, *last, 3) == 0
    assert_same(tables, case.update(cpu))


@pytest.mark.parametrize("rule", RULES)
def test_cpu_keeps_nan_in_its_column(rule):
    case = Case(rule, dim=70)
    case.gradients[3, 5] = np.nan
    wanted, got = case.update(reference), case.update(cpu)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 5, 20, 80])
def test_cpu_decay_equals_the_reference(dtype, dim):
    results = []
    for module in (cpu, reference):
        weight = Case("SGD", dtype, dim, num_rows=5).weight.copy()
        reached = np.linspace(-1, 0, len(weight))
        rows = np.array([0, 1, 7])
        module.decay(as_given(weight, module), reached, rows, -2.0, 0, len(rows))
        results.append([weight, reached])
    assert_close(*results)


def test_a_bad_lookup_is_told():
    case = Case("SGD")
    case.bags[7] = 6
    for module in (cpu, reference):
        bounds, scratch = np.array([0, 9]), np.zeros((1, 4, 20), np.float32)
        arguments = case.starts, case.coefficients, case.hyper, module.SGD, bounds, scratch, 0, 1
        assert module.step(*case.copies(), case.rows, case.grad_output, case.bags, *arguments) == 7


@pytest.mark.parametrize("rule", RULES)
def test_splitting_the_range_changes_nothing(rule):
    case = Case(rule)
    tables = case.update(reference, 0, 4)
    case.update(reference, 4, tables=tables)
    assert_same(tables, case.update(reference))


@pytest.mark.parametrize("rule", RULES)
def test_rows_that_are_not_named_stay(rule):
    case = Case(rule)
    others = np.setdiff1d(np.arange(len(case.weight)), case.rows)
    for got, before in zip(case.update(reference), case.copies(), strict=True):
        if len(got):
            np.testing.assert_array_equal(got[others], before[others])
            assert (got[case.rows] != before[case.rows]).any(axis=1).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_is_a_sum_and_an_update(rule, dtype):
    case = Case(rule, dtype)
    assert_close(case.step(reference, cuts=(2, 2, 7)), case.update(reference))


@pytest.mark.parametrize("rule", RULES)
def test_nan_stays_in_its_row(rule):
    case = Case(rule)
    case.gradients[3, 5] = np.nan
    weight = case.update(reference)[0]
    assert np.isnan(weight[case.rows[3], 5])
    assert np.isfinite(np.delete(weight, case.rows[3], axis=0)).all()


def test_add_uses_its_factor_only():
    case = Case("ADD", np.float64, clip=np.nan, keep=np.nan, pull=np.nan)
    wanted = case.weight[case.rows] + 0.5 * case.gradients
    for module in (cpu, reference):
        np.testing.assert_allclose(case.update(module)[0][case.rows], wanted, rtol=1e-14)


def test_decay_catches_up_once():
    weight, reached = np.ones((5, 3), np.float32), np.zeros(5)
    reached[1] = np.log(0.5)
    reference.decay(weight, reached, np.array([0, 1]), np.log(0.25), 0, 2)
    np.testing.assert_allclose(weight[:, 0], [0.25, 0.5, 1, 1, 1])
    np.testing.assert_allclose(np.exp(reached), [0.25, 0.25, 1, 1, 1])
    once = weight.copy()
    reference.decay(weight, reached, np.array([1, 0]), np.log(0.25), 0, 2)
    np.testing.assert_array_equal(weight, once)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    dim=st.sampled_from([0, 1, 3, 7, 16, 17, 64, 100, 300]),
    num_embeddings=st.sampled_from([1, 5, 3000]),
    num_parts=st.integers(1, 5),
    block=st.integers(1, 70),
)
def test_scatter_add_equals_the_reference(seed, dim, num_embeddings, num_parts, block):
    random = np.random.default_rng(seed)
    weight = random.normal(size=(num_embeddings, dim)).astype(np.float32)
    rows = random.integers(-1, num_embeddings, 60)
    values, factor = random.normal(size=(60, dim)).astype(np.float32), np.array([0.7], np.float32)
    chosen = np.empty((num_parts, block), np.int64)
    wanted, got = weight.copy(), weight.copy()
    reference.scatter_add(wanted, rows, values, factor, chosen, 0, num_parts)
    for part in reversed(range(num_parts)):
        cpu.scatter_add(got, rows, values, factor, chosen, part, part + 1)
    assert [cpu.part_of_row(row, num_parts) for row in rows] == [reference.part_of_row(row, num_parts) for row in rows]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    others = np.setdiff1d(np.arange(num_embeddings), rows)
    np.testing.assert_array_equal(got[others], weight[others])
