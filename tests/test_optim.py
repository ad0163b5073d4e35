"""The optimizers: the same numbers fused and collected, state, arguments, errors."""

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest

from fastemb import Embedding
from fastemb.engine.backend import kernels
from fastemb.engine.gradients import RowGradient
from fastemb.optim import FTRL, SGD, Adagrad, Adam, AdamW, Optimizer, RowwiseAdagrad

DEVICES = ["reference", "cpu"]
MAKERS = [
    pytest.param(lambda **options: SGD(lr=0.1, weight_decay=0.1, **options), id="SGD"),
    pytest.param(lambda **options: SGD(lr=0.1, momentum=0.9, dampening=0.3, **options), id="momentum"),
    pytest.param(lambda **options: SGD(lr=0.1, momentum=0.9, nesterov=True, **options), id="nesterov"),
    pytest.param(lambda **options: Adagrad(lr=0.1, lr_decay=0.1, **options), id="Adagrad"),
    pytest.param(lambda **options: RowwiseAdagrad(lr=0.1, weight_decay=0.1, **options), id="RowwiseAdagrad"),
    pytest.param(lambda **options: Adam(lr=0.1, **options), id="Adam"),
    pytest.param(lambda **options: Adam(lr=0.1, rowwise=True, **options), id="rowwise Adam"),
    pytest.param(lambda **options: AdamW(lr=0.1, **options), id="AdamW"),
    pytest.param(lambda **options: FTRL(l1=0.1, **options), id="FTRL"),
    pytest.param(lambda **options: SGD(lr=0.1, weight_decay=0.1, decay="exact", **options), id="SGD, exact decay"),
    pytest.param(lambda **options: AdamW(lr=0.1, decay="exact", **options), id="AdamW, exact decay"),
    pytest.param(
        lambda **options: RowwiseAdagrad(lr=0.1, weight_decay=0.1, decoupled=True, decay="exact", **options),
        id="RowwiseAdagrad, exact decay",
    ),
]


class Table:
    """The least that an optimizer takes for a parameter."""

    def __init__(self, num_embeddings=50, dim=20, dtype=np.float32, seed=0):
        self.weight = np.random.default_rng(seed).normal(size=(num_embeddings, dim)).astype(dtype)
        self.grad = None


def pending(seed, num_embeddings=50, dim=20, dtype=np.float32, num_lookups=60, num_bags=8):
    """A gradient that is yet to be summed, with rows that are looked up often and seldom."""
    random = np.random.default_rng(seed)
    indices = random.zipf(1.3, num_lookups) % num_embeddings
    order = np.argsort(indices, kind="stable")
    rows, starts = np.unique(indices[order], return_index=True)
    return RowGradient(
        rows=rows,
        grad_output=random.normal(size=(num_bags, dim)).astype(dtype),
        sources=random.integers(0, num_bags, num_lookups, dtype=np.int32),  # as grouping gives them
        starts=np.append(starts, num_lookups),
        coefficients=random.normal(size=num_lookups).astype(np.float64 if dtype == np.float64 else np.float32),
    )


def train(optimizer, table, steps=4, **kind):
    for seed in range(steps):
        optimizer.update(table, pending(seed, *table.weight.shape, table.weight.dtype, **kind))
    return table.weight


@pytest.mark.parametrize(
    ("device", "dtype"), [("cpu", np.float32), *(("reference", t) for t in (np.float64, np.float16))]
)
@pytest.mark.parametrize("make", MAKERS)
def test_step_on_collected_gradients_equals_update(make, device, dtype):
    fused, table = Table(dtype=dtype), Table(dtype=dtype)
    train(make(device=device, clip_value=2.0), fused)
    optimizer = make(parameters=[table], device=device, clip_value=2.0)
    for seed in range(4):
        gradient = pending(seed, dtype=dtype)
        table.grad = RowGradient(gradient.rows, gradient.collect(device=device))
        optimizer.step()
        optimizer.zero_grad()
        assert table.grad is None
    np.testing.assert_array_equal(table.weight, fused.weight)
    assert (fused.weight != Table(dtype=dtype).weight).any()


@pytest.mark.parametrize("make", MAKERS)
def test_the_cpu_equals_the_reference(make):
    on_cpu, reference = Table(), Table()
    train(make(device="cpu"), on_cpu)
    train(make(device="reference"), reference)
    np.testing.assert_allclose(on_cpu.weight, reference.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_the_cpu_equals_the_reference_in_other_types(dtype):
    on_cpu, reference = Table(dtype=dtype), Table(dtype=dtype)
    train(Adam(device="cpu"), on_cpu)
    train(Adam(device="reference"), reference)
    np.testing.assert_allclose(on_cpu.weight, reference.weight, rtol=1e-3 if dtype == np.float16 else 1e-10)


def test_read_only_gradients_compile_nothing():
    optimizer, table, compiled = SGD(), Table(), kernels("cpu", "updates")
    gradients = [pending(0), RowGradient(np.array([3]), np.ones((1, 20), np.float32))]
    for gradient in gradients:
        optimizer.update(table, gradient)
    before = len(compiled.step.signatures), len(compiled.update.signatures)
    gradients[0] = pending(0)
    gradients[0].grad_output.flags.writeable = gradients[1].values.flags.writeable = False
    for gradient in gradients:
        optimizer.update(table, gradient)
    assert (len(compiled.step.signatures), len(compiled.update.signatures)) == before


@pytest.mark.parametrize("make", MAKERS)
def test_rows_that_are_not_looked_up_stay(make):
    table, before = Table(), Table().weight
    train(make(device="reference"), table, num_lookups=20)
    touched = np.unique(np.concatenate([pending(seed, num_lookups=20).rows for seed in range(4)]))
    others = np.setdiff1d(np.arange(50), touched)
    assert len(others) > 5
    np.testing.assert_array_equal(table.weight[others], before[others])


@pytest.mark.parametrize("make", MAKERS)
def test_frozen_rows_stay(make):
    table, before = Table(), Table().weight
    table.frozen = np.arange(50) % 2 == 0
    train(make(device="reference"), table)
    np.testing.assert_array_equal(table.weight[::2], before[::2])
    assert (table.weight[1::2] != before[1::2]).any()


def test_a_frozen_table_is_not_stepped():
    table = Table()
    table.frozen = True
    with pytest.raises(ValueError, match="the table is frozen"):
        SGD().update(table, pending(0))


@pytest.mark.parametrize("make", MAKERS)
def test_bfloat16_is_taken_as_ml_dtypes_makes_it_and_as_bits(make):
    bfloat16 = pytest.importorskip("ml_dtypes", reason="makes the arrays").bfloat16
    native, bits = Table(dtype=bfloat16), Table(dtype=bfloat16)
    bits.weight = bits.weight.view(np.uint16)
    for table in (native, bits):
        train_float32_gradients(make(device="reference"), table)
    assert native.weight.dtype == bfloat16
    np.testing.assert_array_equal(native.weight.view(np.uint16), bits.weight)
    whole = Table(dtype=bfloat16)
    whole.weight = whole.weight.astype(np.float32)
    train_float32_gradients(make(device="reference"), whole)
    np.testing.assert_allclose(native.weight.astype(np.float32), whole.weight, rtol=0.05, atol=0.05)


def train_float32_gradients(optimizer, table):
    for seed in range(4):
        optimizer.update(table, pending(seed))


@pytest.mark.parametrize("make", MAKERS)
def test_state_dict_goes_on_where_it_was(make):
    straight, broken = Table(), Table()
    train(make(device="reference"), straight, steps=6)
    first, second = make(device="reference"), make(device="reference")
    train(first, broken, steps=3)
    saved = first.state_dict()
    second.load_state_dict(saved)
    for entry in saved["state"]:  # what was loaded is a copy
        for value in entry.values():
            if isinstance(value, np.ndarray):
                value[:] = np.nan
    for seed in range(3, 6):
        second.update(broken, pending(seed))
    np.testing.assert_array_equal(broken.weight, straight.weight)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_where_the_original_was(duplicate):
    optimizer, table = Adam(device="reference"), Table()
    train(optimizer, table, steps=2)
    other, same = duplicate((optimizer, table))
    for each, its in ((optimizer, table), (other, same)):
        its.grad = pending(9)
        each.bind(its)
        each.step()
    np.testing.assert_array_equal(table.weight, same.weight)
    assert other.state_dict()["state"][0]["step"] == 3 == optimizer.state_dict()["state"][0]["step"]


def test_the_state_of_one_parameter():
    optimizer, other, tables = Adam(device="reference"), Adam(device="reference"), [Table(seed=0), Table(seed=1)]
    for table in tables:
        train(optimizer, table, steps=2)
    state = optimizer.state_of(tables[1])
    assert sorted(state) == ["exp_avg", "exp_avg_sq", "step"] and state["step"] == 2
    copied = Table()
    copied.weight[:] = tables[1].weight
    other.load_state_of(copied, state)
    for each, table in ((optimizer, tables[1]), (other, copied)):
        each.update(table, pending(5))
    np.testing.assert_array_equal(copied.weight, tables[1].weight)


def test_a_parameter_is_told_what_was_changed():
    table, told = Table(), []
    table.after_update = told.append
    SGD(device="reference").update(table, pending(0))
    np.testing.assert_array_equal(told[0], pending(0).rows)


def test_state_is_forgotten_with_its_parameter():
    optimizer, table = Adam(device="reference"), Table()
    train(optimizer, table)
    assert len(optimizer.state_dict()["state"]) == 1
    del table
    assert optimizer.state_dict()["state"] == []


def test_a_table_that_grew_keeps_the_state_of_its_rows():
    optimizer, table = Adagrad(device="reference"), Table(num_embeddings=30)
    train(optimizer, table)
    before = optimizer.state_dict()["state"][0]["sum"].copy()
    table.weight = np.concatenate([table.weight, np.zeros((20, 20), np.float32)])
    optimizer.update(table, RowGradient(np.array([40]), np.ones((1, 20), np.float32)))
    after = optimizer.state_dict()["state"][0]["sum"]
    np.testing.assert_array_equal(after[:30], before)
    np.testing.assert_array_equal(after[40], 1)


def test_load_state_dict_refuses_what_does_not_fit():
    table = Table()
    optimizer = Adagrad([table], device="reference")
    train(optimizer, table, steps=1)
    saved = optimizer.state_dict()
    with pytest.raises(ValueError, match="must be of Adam, got 'Adagrad'"):
        Adam().load_state_dict(saved)
    with pytest.raises(ValueError, match=r"sum must be of shape \(50, 7\), got \(50, 20\)"):
        Adagrad([Table(dim=7)]).load_state_dict(saved)
    with pytest.raises(ValueError, match="must have 2 states or more, got 1"):
        Adagrad([Table(), Table()]).load_state_dict(saved)


@pytest.mark.parametrize("device", DEVICES)
def test_a_schedule_is_asked_for_each_step(device):
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.5 / (step + 1)

    table, gradient = Table(), RowGradient(np.array([2]), np.ones((1, 20), np.float32))
    before = table.weight.copy()
    optimizer = SGD(lr=schedule, device=device)
    for _ in range(3):
        optimizer.update(table, gradient)
    assert asked == [0, 1, 2]
    np.testing.assert_allclose(table.weight[2], before[2] - 0.5 * (1 + 1 / 2 + 1 / 3), rtol=1e-5, atol=1e-6)


def test_an_empty_gradient_is_a_step():
    optimizer, table = Adam(device="reference"), Table()
    optimizer.update(table, RowGradient(np.zeros(0, np.int64), np.zeros((0, 20), np.float32)))
    assert optimizer.state_dict()["state"][0]["step"] == 1
    np.testing.assert_array_equal(table.weight, Table().weight)


def test_clip_value():
    table, before = Table(), Table().weight
    gradient = RowGradient(np.array([1]), np.linspace(-5, 5, 20, dtype=np.float32)[None])
    SGD(lr=1.0, clip_value=2.0, device="reference").update(table, gradient)
    np.testing.assert_allclose(before[1] - table.weight[1], np.clip(gradient.values[0], -2, 2), atol=1e-6)


def test_clip_norm_of_one_parameter_needs_no_step():
    by_update, by_step = Table(), Table()
    SGD(lr=1.0, clip_norm=0.1, device="reference").update(by_update, pending(0))
    optimizer = SGD([by_step], lr=1.0, clip_norm=0.1, device="reference")
    by_step.grad = pending(0)
    optimizer.step()
    np.testing.assert_array_equal(by_update.weight, by_step.weight)
    np.testing.assert_allclose(np.linalg.norm(by_step.weight - Table().weight), 0.1, rtol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_decoupled_decay_of_rowwise_adagrad(device):
    table, gradient = Table(4, 3, np.float64), RowGradient(np.array([2]), np.array([[1.0, -2.0, 3.0]]))
    before, g = table.weight.copy(), gradient.values[0]
    RowwiseAdagrad(lr=0.1, weight_decay=0.5, decoupled=True, eps=0.0, device=device).update(table, gradient)
    expected = before[2] * (1 - 0.1 * 0.5) - 0.1 * g / np.sqrt(np.mean(g * g))
    np.testing.assert_allclose(table.weight[2], expected, rtol=1e-12)
    np.testing.assert_array_equal(table.weight[[0, 1, 3]], before[[0, 1, 3]])
    with pytest.raises(ValueError, match="decay='exact' has no closed form for RowwiseAdagrad without decoupled=True"):
        RowwiseAdagrad(decay="exact")


def test_clip_norm_of_several_parameters_needs_step():
    optimizer = SGD([Table(), Table()], clip_norm=1.0)
    with pytest.raises(ValueError, match="needs the gradients of all parameters"):
        optimizer.update(Table(), pending(0))


@pytest.mark.parametrize("fused", [True, False])
def test_layers_read_rows_that_are_caught_up(fused):
    exact = SGD(lr=0.1, weight_decay=0.5, decay="exact", device="reference")
    layer = Embedding(6, 3, W=np.ones((6, 3)), device="reference", optimizer=exact if fused else None)
    if not fused:
        exact.bind(layer)
    for _ in range(3):
        layer([1])
        layer.backward(np.zeros((1, 3)))
        if not fused:
            exact.step()
            exact.zero_grad()
    np.testing.assert_allclose(layer([4, 1, 4]), 0.95**3)
    assert (layer.weight[5] == 1).all()


NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=NAN), "lr must be a finite number >= 0, got nan"),
        (lambda: SGD(lr=-0.1), "lr must be a finite number >= 0, got -0.1"),
        (lambda: SGD(momentum=-1), "momentum must be a finite number >= 0, got -1"),
        (lambda: SGD(weight_decay=NAN), "weight_decay must be a finite number >= 0, got nan"),
        (lambda: Adagrad(lr_decay=-1), "lr_decay must be a finite number >= 0"),
        (lambda: Adagrad(eps=-1), "eps must be a finite number >= 0"),
        (lambda: Adagrad(initial_accumulator_value=NAN), "initial_accumulator_value must be"),
        (lambda: Adam(betas=(1.0, 0.9)), r"betas\[0\] must be in \[0, 1\), got 1.0"),
        (lambda: Adam(betas=(0.9, -0.1)), r"betas\[1\] must be a number in \[0, 1\], got -0.1"),
        (lambda: FTRL(beta=0), "beta must be a finite number > 0, got 0"),
        (lambda: SGD(clip_value=0), "clip_value must be a finite number > 0, got 0"),
        (lambda: SGD(clip_norm=NAN), "clip_norm must be a finite number > 0, got nan"),
        (lambda: SGD(decay="all"), "decay must be one of 'touched', 'exact', got 'all'"),
        (lambda: SGD(device="tpu"), "device must be one of"),
        (lambda: SGD(momentum=0.9, decay="exact"), "no closed form for SGD with momentum"),
        (lambda: Adam(decay="exact"), "no closed form for Adam"),
        (lambda: Adagrad(decay="exact"), "no closed form for Adagrad"),
        (lambda: RowwiseAdagrad(decay="exact"), "no closed form for RowwiseAdagrad"),
        (lambda: SGD(nesterov=True), "nesterov needs a momentum > 0"),
    ],
)
def test_arguments_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_that_gives_no_rate():
    table = Table()
    optimizer = SGD(lr=lambda step: NAN, device="reference")
    with pytest.raises(ValueError, match=r"lr\(0\) must be a finite number >= 0, got nan"):
        optimizer.update(table, pending(0))
    np.testing.assert_array_equal(table.weight, Table().weight)
    assert optimizer.state_dict()["state"][0]["step"] == 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        ([50], (1, 20), r"rows must be in \[0, 50\), got 50 at position 0"),
        ([-1, 3], (2, 20), r"rows must be in \[0, 50\), got -1 at position 0"),
        ([3, 3], (2, 20), "distinct and ascending, got 3 at position 1"),
        ([3], (2, 20), r"of shape \(1, 20\), got \(2, 20\)"),
        ([3], (1, 19), r"of shape \(1, 20\), got \(1, 19\)"),
    ],
)
def test_a_gradient_that_does_not_fit(rows, shape, message, device):
    table = Table()
    with pytest.raises(ValueError, match=message):
        SGD(device=device).update(table, RowGradient(np.array(rows), np.ones(shape, np.float32)))
    np.testing.assert_array_equal(table.weight, Table().weight)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("grad_output", np.ones((8, 19), np.float32), r"grad_output must be of shape \(8, 20\), got \(8, 19\)"),
        ("starts", np.array([0, 60]), "starts must be of shape"),
        ("coefficients", np.ones(59, np.float32), r"coefficients must be of shape \(60,\), got \(59,\)"),
        ("sources", np.full(60, 8, np.int32), r"do not fit its grad_output \(8, 20\)"),
        ("sources", np.full(60, -1, np.int32), r"do not fit its grad_output \(8, 20\)"),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_pending_gradient_that_does_not_fit(name, value, message, device):
    gradient = pending(0)
    setattr(gradient, name, value)
    with pytest.raises(ValueError, match=message):
        SGD(device=device).update(Table(), gradient)


def test_rows_that_are_no_integers():
    with pytest.raises(TypeError, match="a gradient's rows must be integers, got float64"):
        SGD().update(Table(), RowGradient(np.ones(1), np.ones((1, 20), np.float32)))


def test_a_gradient_of_nothing():
    with pytest.raises(ValueError, match="must have values, or grad_output, sources and starts"):
        SGD().update(Table(), RowGradient(np.array([3])))


def test_tables_that_cannot_be_updated():
    gradient = RowGradient(np.array([0]), np.ones((1, 20), np.float32))
    table = Table()
    table.weight.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        SGD().update(table, gradient)
    table.weight = np.zeros((50, 40), np.float32)[:, ::2]
    with pytest.raises(ValueError, match="side by side"):
        SGD().update(table, gradient)
    table.weight = np.zeros((50, 20), np.int32)
    with pytest.raises(TypeError, match="got int32"):
        SGD().update(table, gradient)
    with pytest.raises(TypeError, match="must have an array as its weight"):
        SGD([3])


@pytest.mark.parametrize("device", DEVICES)
def test_a_table_with_gaps_between_rows(device):
    gaps, dense = Table(), Table()
    whole = np.full((50, 30), 7, np.float32)
    whole[:, :20] = gaps.weight
    gaps.weight = whole[:, :20]
    train(Adam(device=device), gaps)
    train(Adam(device=device), dense)
    np.testing.assert_array_equal(gaps.weight, dense.weight)
    assert (whole[:, 20:] == 7).all()


@pytest.mark.parametrize("make", MAKERS)
def test_a_step_allocates_nothing_as_large_as_the_table(make):
    table = Table(num_embeddings=100_000, dim=20)
    optimizer = make(device="cpu")
    gradients = [pending(seed, num_embeddings=100_000) for seed in range(2)]
    for gradient in gradients:  # the first round makes the state, and compiles
        optimizer.update(table, gradient)
        optimizer.catch_up(table, gradient.rows)
    tracemalloc.start()
    for gradient in gradients:
        optimizer.update(table, gradient)
        optimizer.catch_up(table, gradient.rows)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000  # bytes; a bool for each row would be more


def test_two_threads_make_all_their_updates():
    table = Table()
    before = table.weight.copy()
    optimizer = SGD(lr=1.0)
    gradient = RowGradient(np.arange(50), np.ones((50, 20), np.float32))
    team = [threading.Thread(target=lambda: [optimizer.update(table, gradient) for _ in range(20)]) for _ in range(2)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    np.testing.assert_allclose(table.weight, before - 40, atol=1e-4)


def test_repr_and_rate():
    optimizer: Optimizer = SGD(lr=0.5)
    assert repr(optimizer) == "SGD(lr=0.5, weight_decay=0.0, decay='touched')"
    optimizer.lr = 0.25
    assert optimizer.lr == 0.25
    with pytest.raises(ValueError, match="lr must be"):
        optimizer.lr = -1


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: SGD(3), TypeError, "parameters must be a layer or an iterable of layers, got 3"),
        (lambda: SGD(lr=10**400), ValueError, "lr must be a finite number >= 0, got 1000"),
        (lambda: Adam(betas=(0.9,)), TypeError, r"betas must be a pair of numbers in \[0, 1\), got \(0.9,\)"),
        (lambda: Adam(betas=0.9), TypeError, r"betas must be a pair of numbers in \[0, 1\), got 0.9"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_arguments_of_other_optimizers_are_named():
    with pytest.raises(
        TypeError, match=r"Adam has no argument 'amsgrad', only parameters, lr, betas, eps, .*clip_norm"
    ):
        Adam(amsgrad=True)
    with pytest.raises(TypeError, match=r"SGD has no argument 'foreach', only parameters, lr, momentum"):
        SGD(foreach=True)


@pytest.mark.parametrize("strides", ["backwards", "spread", "repeated"])
def test_a_gradient_whose_rows_lie_anyhow(strides):
    given = np.arange(24.0).reshape(4, 6)
    rows = {"backwards": given[::-1, :3], "spread": given[:, ::2], "repeated": np.broadcast_to(given[1, :3], (4, 3))}
    places, starts = np.array([3, 0, 2], np.int32), np.array([0, 1, 3])
    layers = [Embedding(5, 3, W=np.zeros((5, 3))) for _ in range(2)]
    for layer, grad in zip(layers, (rows[strides], np.array(rows[strides])), strict=True):
        SGD(lr=1.0).update(layer, RowGradient(np.array([1, 4]), None, grad, places, starts))
    np.testing.assert_array_equal(layers[0].weight, layers[1].weight)
    assert layers[0].weight[1:].any()
