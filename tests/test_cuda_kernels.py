"""The kernels for a GPU against the reference: in the simulator on small cases, or on a GPU."""

import numpy as np
import pytest
from rules import RATES

from fastemb.engine import device, launch
from fastemb.engine.backend import kernels

pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
# In the simulator kernels are Python, where NumPy warns of what becomes infinite.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

lookups, bags = kernels("reference", "lookup"), kernels("reference", "bags")
updates, renorm = kernels("reference", "updates"), kernels("reference", "renorm")
quantized, grouping = kernels("reference", "quantized"), kernels("reference", "grouping")
DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": np.uint16}
DIMS = (4, 1, 16, 3, 8, 10, 7, 20)
NO_PADDING, ALL_WELL = lookups.NO_PADDING, -1


def stored(array):
    return array.view(np.int16) if isinstance(array, np.ndarray) and array.dtype == np.float16 else array


def launched(module, name, arguments, size, columns=0, width=1, **told):
    """Run a kernel on copies of arrays; return them as it leaves them, and the first item that it finds faulty."""
    given = [device.upload(stored(a)) if isinstance(a, np.ndarray) else a for a in arguments]
    found = []

    def error(item):
        found.append(item)
        return RuntimeError("found")

    try:
        launch.run(module, name, tuple(given), size, error, columns=columns, width=width, **told)
    except RuntimeError:
        assert found
    outputs = [
        a.to_host().view(b.dtype) if isinstance(b, np.ndarray) else a for a, b in zip(given, arguments, strict=True)
    ]
    return outputs, (found[0] if found else ALL_WELL)


def close(found, expected):
    tolerance = 1e-5 if expected.dtype in (np.float32, np.float64) else 2e-2
    np.testing.assert_allclose(lookups.widen(found), lookups.widen(expected), rtol=tolerance, atol=tolerance)


class Case:
    """A table and bags of 0 to 6 lookups of it, some of them repeated or left out, or with a fault."""

    def __init__(self, seed, dtype="float32", fault=None):
        random = np.random.default_rng(seed)
        self.dim, num_embeddings, num_bags = DIMS[seed % len(DIMS)], int(random.integers(1, 9)), 5
        lengths = random.integers(0, 7, num_bags)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        ids = np.int64 if seed % 2 else np.int32
        self.indices = random.integers(0, num_embeddings, self.offsets[-1]).astype(ids)
        table = random.standard_normal((num_embeddings, self.dim)).astype(np.float32)
        self.weight = lookups.narrow(table, np.dtype(DTYPES[dtype]))
        self.accumulator = np.dtype(np.float64 if dtype == "float64" else np.float32)
        weights = random.standard_normal(len(self.indices)).astype(self.accumulator)
        self.coefficients = weights if seed % 3 == 1 else None
        self.padding_idx = int(random.choice([0, num_embeddings - 1, -1])) if seed % 2 else NO_PADDING
        if fault == "index":
            self.indices[len(self.indices) // 2] = random.choice([num_embeddings, -5])
        if fault == "offsets":
            self.offsets[3] = len(self.indices) + 2
        self.width = launch.width_of(device.upload(stored(self.weight)))

    @property
    def given_coefficients(self):
        return np.empty(0, self.accumulator) if self.coefficients is None else self.coefficients

    def new(self, rows, dtype=None):
        return np.full((rows, self.dim), 7, dtype or self.weight.dtype)

    def bag_of(self, status):
        """The bag in which a status of the reference says that something is wrong."""
        if status < 0:
            return status if status == ALL_WELL else -2 - status
        return int(np.searchsorted(self.offsets, status, side="right")) - 1


FAULTS = [None, None, None, None, "index", "offsets"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(6))
def test_reduce(dtype, number):
    case = Case(number, dtype, FAULTS[number])
    out, mode = case.new(5, case.accumulator if number == 2 else None), number % 3
    arguments = (case.indices, case.offsets, case.coefficients, case.padding_idx, mode)
    status = bags.reduce(out, case.weight, *arguments, 0, 5)
    arguments = (case.new(5, out.dtype), case.weight, *arguments[:2], case.given_coefficients, *arguments[3:])
    found, fault = launched("bags", "reduce", arguments, 5, case.dim, case.width)
    assert fault == case.bag_of(status)
    if status == ALL_WELL:
        close(found[0], out)
        factors = np.empty(5, case.accumulator), np.empty(5, case.accumulator)
        bags.scales(factors[0], *arguments[2:4], case.coefficients, *arguments[5:], 0, 5)
        close(launched("bags", "scales", (factors[1], *arguments[2:]), 5)[0][0], factors[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extremes_and_their_gradient(dtype, sign):
    case = Case(3 + (sign > 0), dtype)
    out, winners = case.new(5), np.full((5, case.dim), 9, np.int32)
    if dtype == "float32":
        case.weight[0, 0] = np.nan
    arguments = (case.weight, case.indices, case.offsets, case.padding_idx, sign)
    assert bags.extremes(out, winners, *arguments, 0, 5) == ALL_WELL
    found, fault = launched("bags", "extremes", (case.new(5), np.zeros_like(winners), *arguments), 5, case.dim)
    assert fault == ALL_WELL
    np.testing.assert_array_equal(found[0], out)
    np.testing.assert_array_equal(found[1], winners)
    order = np.argsort(case.indices, kind="stable").astype(np.int32)
    sources = np.repeat(np.arange(5, dtype=np.int32), np.diff(case.offsets))[order]
    starts = np.searchsorted(case.indices[order], np.arange(len(case.weight) + 1))
    grad = np.random.default_rng(0).standard_normal(winners.shape).astype(case.accumulator)
    sums = np.zeros(case.weight.shape, case.accumulator)
    bags.sum_winners(sums, grad, winners, order, sources, starts, 0, len(sums))
    arguments = (np.ones_like(sums), grad, winners, order, sources, starts)
    no_pieces = (device.upload(np.empty((0, case.dim), case.accumulator)),)
    close(launched("bags", "sum_winners", arguments, len(sums), case.dim, then=no_pieces)[0][0], sums)


@pytest.mark.parametrize("fault", [None, "index", "offsets"])
def test_extremes_and_dots_tell_of_faults(fault):
    case = Case(5, fault=fault)
    grad, products = np.random.default_rng(0).standard_normal((5, case.dim)).astype(np.float32), {}
    products = np.zeros(len(case.indices), np.float32)
    arguments = (grad, case.weight, case.indices, case.offsets, case.padding_idx)
    status = bags.dots(products, *arguments, 0, 5)
    assert (status == ALL_WELL) == (fault is None)
    found, item = launched("bags", "dots", (products * 0 + 3, *arguments), 5, case.dim, case.width)
    assert item == case.bag_of(status)
    if fault is None:
        close(found[0], products)
    arguments = (case.new(5), np.zeros((5, case.dim), np.int32), *arguments[1:], 1.0)
    assert launched("bags", "extremes", arguments, 5, case.dim)[1] == item


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", [None, "index"])
def test_lookup_and_shift(dtype, fault):
    case = Case(4 + (dtype == "float32"), dtype, fault)
    size = len(case.indices)
    out, moved = case.new(size), np.zeros(size, np.int64)
    status = lookups.lookup(out, case.weight, case.indices, case.padding_idx, 0, size)
    arguments = (case.new(size), case.weight, case.indices, case.padding_idx)
    found, item = launched("lookup", "lookup", arguments, size, case.dim, case.width)
    assert item == status
    assert lookups.shift(moved, case.indices, 100, len(case.weight), case.padding_idx, 0, size) == status
    arguments = (moved * 0, case.indices, 100, len(case.weight), case.padding_idx)
    shifted, item = launched("lookup", "shift", arguments, size)
    assert item == status
    if status == ALL_WELL:
        np.testing.assert_array_equal(found[0].view(np.uint8), out.view(np.uint8))
        np.testing.assert_array_equal(shifted[0], moved)


def test_a_table_without_rows():
    out, weight, indices, offsets = np.ones((2, 4)), np.zeros((0, 4)), np.array([-1, 0]), np.array([0, 1, 2])
    found, item = launched("bags", "reduce", (out, weight, indices, offsets, np.empty(0), -1, 0), 2, 4, 2)
    assert item == 1
    np.testing.assert_array_equal(found[0][0], np.zeros(4))
    assert launched("lookup", "lookup", (out, weight, indices, -1), 2, 4, 2)[1] == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 0.0, np.inf, -np.inf, 3.0])
def test_renormalise(dtype, norm_type):
    random = np.random.default_rng(0)
    weight = lookups.narrow(random.normal(size=(6, 5)).astype(np.float32), np.dtype(DTYPES[dtype]))
    if dtype == "float32":
        weight[2, 3] = np.nan
    rows, expected = np.array([4, 0, 2]), weight.copy()
    renorm.renormalise(expected, rows, 0.7, norm_type, 0, 3)
    found, _ = launched("renorm", "renormalise", (weight, rows, 0.7, norm_type), 3, 5)
    close(found[0], expected)
    np.testing.assert_array_equal(found[0][[1, 3, 5]], weight[[1, 3, 5]])


WIDTHS = {"SGD": (0, 0), "ADD": (0, 0), "ROWWISE_ADAGRAD": (1, 0), "ADAM": (6, 6), "ROWWISE_ADAM": (6, 1)}
VARIANTS = [(rule, "float32", 12) for rule in RATES] + [
    ("SGD", "bfloat16", 6), ("ROWWISE_ADAGRAD", "float16", 8), ("ADAM", "float64", 3),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "dtype", "dim"), VARIANTS)
def test_update_and_step(rule, dtype, dim):
    random, accumulator = np.random.default_rng(0), np.dtype(np.float64 if dtype == "float64" else np.float32)
    weight = lookups.narrow(random.normal(size=(7, dim)).astype(accumulator), np.dtype(DTYPES[dtype]))
    widths = [dim if width == 6 else width for width in WIDTHS.get(rule, (6, 6 if rule == "FTRL" else 0))]
    shapes = [(7, width) if width else (0, 1) for width in widths]
    state = [random.uniform(0.1, 1, shape).astype(accumulator) for shape in shapes]
    rows, starts = np.array([1, 2, 5], np.int32), np.array([0, 1, 7, 9])
    sources, grad = random.integers(0, 4, 9).astype(np.int32), random.normal(size=(4, dim)).astype(accumulator)
    coefficients = random.uniform(-0.5, 0.5, 9).astype(accumulator)
    sums = np.array([(coefficients[a:b, None] * grad[sources[a:b]]).sum(0) for a, b in ((0, 1), (1, 7), (7, 9))])
    hyper = np.array([0.8, 0.99, 0.1, *RATES[rule]], accumulator)
    expected = [weight.copy(), *(a.copy() for a in state)]
    updates.update(*expected, rows, sums, 0, hyper, getattr(updates, rule), 0, 3)
    width = launch.width_of(device.upload(stored(weight)), most=4)
    arguments = (weight, *state, rows, sums.astype(accumulator), 0, hyper, getattr(updates, rule))
    found, _ = launched("updates", "update", arguments, 3, dim, width)
    unused = np.empty(0, np.int64), np.empty((0, dim), accumulator)
    arguments = (*arguments[:4], grad, sources, starts, coefficients, *arguments[6:], *unused)
    stepped, fault = launched("updates", "step", arguments, 3, dim, width)
    assert fault == ALL_WELL
    for n in range(3):
        close(found[n], expected[n])
        close(stepped[n], expected[n])
    np.testing.assert_array_equal(stepped[0][[0, 3, 4, 6]], weight[[0, 3, 4, 6]])
    sources[3] = 4
    assert launched("updates", "step", arguments, 3, dim, width)[1] == 1


def test_a_gradient_with_a_nan_spoils_its_own_elements_only():
    weight, none, hyper = np.ones((2, 3)), np.zeros((0, 1)), np.array([1.0, 1.0, 0.0, 1.0])
    gradients = np.array([[np.nan, 5.0, -5.0]])
    arguments = (weight, none, none, np.array([1]), gradients, 0, hyper, updates.SGD)
    np.testing.assert_array_equal(launched("updates", "update", arguments, 1, 3)[0][0], [[1, 1, 1], [np.nan, 0.0, 2.0]])


def test_decay():
    weight, reached = np.ones((4, 5), np.float32), np.array([0.0, -0.5, -0.1, 0.0])
    rows, expected = np.array([3, 1]), (weight.copy(), reached.copy())
    updates.decay(*expected, rows, -0.5, 0, 2)
    found, _ = launched("updates", "decay", (weight, reached, rows, -0.5), 2, 5)
    close(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("halves", [quantized.BYTES, quantized.HALVES], ids=["8 bits", "4 bits"])
@pytest.mark.parametrize("dim", [1, 5, 8, 12])
def test_quantized_rows(halves, dim):
    random = np.random.default_rng(dim)
    weight = random.normal(size=(5, dim)).astype(np.float32)
    table = np.zeros((5, dim + 8 if len(halves) == 2 else (dim + 1) // 2 + 4), np.uint8)
    assert quantized.quantize(table, weight, halves, 0, 5) == ALL_WELL
    width = launch.width_of_codes(device.upload(table), dim, len(halves))
    assert width == (1 if dim % 4 or (len(halves) == 2 and dim % 4) else 8 if len(halves) == 1 and dim == 8 else 4)
    indices, offsets = np.array([3, 0, 1, 1, 4, 0]), np.array([0, 4, 4, 6])
    weights = random.normal(size=6).astype(np.float32)

    def check(name, shape, arguments, **launch):
        expected, out = (np.ones((shape, dim), np.float32) for _ in range(2))
        before = (None,) if name == "reduce" and not len(arguments[3]) else ()
        given = (*arguments[:3], *before, *arguments[4:]) if before else arguments
        status = getattr(quantized, name)(expected, *given, 0, shape)
        found, fault = launched("quantized", name, (out, *arguments), shape, dim, **launch)
        assert fault == (ALL_WELL if status is None else status)
        close(found[0], expected)

    check("dequantize", 5, (table, halves), width=width)
    check("lookup", 6, (table, halves, indices, 0), width=width)
    for mode in range(3):
        weighting = weights if mode == 1 else np.empty(0, np.float32)
        given = (table, halves, indices, offsets, weighting, 0, mode)
        expected, out = (np.ones((3, dim), np.float32) for _ in range(2))
        told = weights if mode == 1 else None
        quantized.reduce(expected, table, halves, indices, offsets, told, 0, mode, 0, 3)
        close(launched("quantized", "reduce", (out, *given), 3, dim, width)[0][0], expected)
    check("extremes", 3, (table, halves, indices, offsets, 0, -1.0))
    indices[5] = 5
    out = np.ones((6, dim), np.float32)
    assert launched("quantized", "lookup", (out, table, halves, indices, 0), 6, dim, width)[1] == 5
