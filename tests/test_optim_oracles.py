"""The optimizers' numbers beside torch's, FBGEMM's rule, and FTRL in closed form, in float64."""

import numpy as np
import pytest

from fastemb.engine.gradients import RowGradient
from fastemb.optim import FTRL, SGD, Adagrad, Adam, AdamW, RowwiseAdagrad

V, D, STEPS = 12, 5, 7

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")  # of torch.optim


class Table:
    def __init__(self, seed=0, dtype=np.float64):
        self.weight = np.random.default_rng(seed).normal(size=(V, D)).astype(dtype)
        self.grad = None


def gradients(all_rows=False):
    """Gradients of STEPS updates: distinct rows and their values."""
    random = np.random.default_rng(1)
    for _ in range(STEPS):
        rows = np.arange(V) if all_rows else np.sort(random.choice(V, 5, replace=False))
        yield RowGradient(rows, random.normal(size=(len(rows), D)))


def ours(optimizer, all_rows=False):
    table = Table()
    for gradient in gradients(all_rows):
        optimizer.update(table, gradient)
    optimizer.flush()
    return table.weight


def theirs(name, all_rows=False, sparse=False, schedule=None, **arguments):
    torch = pytest.importorskip("torch", reason="the oracle")
    weight = torch.nn.Parameter(torch.from_numpy(Table().weight))
    optimizer = getattr(torch.optim, name)([weight], **arguments)
    for step, gradient in enumerate(gradients(all_rows)):
        if schedule:
            optimizer.param_groups[0]["lr"] = schedule(step)
        rows, values = torch.from_numpy(gradient.rows), torch.from_numpy(gradient.values)
        weight.grad = torch.sparse_coo_tensor(rows[None], values, (V, D), check_invariants=True)
        if not sparse:
            weight.grad = weight.grad.to_dense()
        optimizer.step()
    return weight.detach().numpy()


def assert_equal(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.fixture(params=["reference", "cpu"])
def device(request):
    return request.param


@pytest.mark.parametrize("sparse", [False, True])
def test_sgd(device, sparse):
    assert_equal(ours(SGD(lr=0.1, device=device)), theirs("SGD", lr=0.1, sparse=sparse))


@pytest.mark.parametrize(
    "arguments",
    [
        {"weight_decay": 0.2},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
)
def test_sgd_on_touched_rows(device, arguments):
    assert_equal(ours(SGD(lr=0.1, device=device, **arguments), True), theirs("SGD", True, lr=0.1, **arguments))


@pytest.mark.parametrize("arguments", [{}, {"lr_decay": 0.3}, {"initial_accumulator_value": 0.5, "eps": 1e-3}])
def test_adagrad(device, arguments):
    assert_equal(ours(Adagrad(lr=0.1, device=device, **arguments)), theirs("Adagrad", sparse=True, lr=0.1, **arguments))


def test_adagrad_decays_touched_rows(device):
    arguments = {"lr": 0.1, "weight_decay": 0.2}
    assert_equal(ours(Adagrad(device=device, **arguments), True), theirs("Adagrad", True, **arguments))


@pytest.mark.parametrize("arguments", [{}, {"betas": (0.5, 0.7), "eps": 0.1}])
def test_adam_is_sparse_adam(device, arguments):
    wanted = theirs("SparseAdam", sparse=True, lr=0.1, **arguments)
    assert_equal(ours(Adam(lr=0.1, device=device, **arguments)), wanted)


@pytest.mark.parametrize(("name", "kind"), [("Adam", Adam), ("AdamW", AdamW)])
def test_adam_on_touched_rows_but_for_eps(device, name, kind):
    arguments = {"lr": 0.1, "eps": 0.0, "weight_decay": 0.2}
    assert_equal(ours(kind(device=device, **arguments), True), theirs(name, True, **arguments))


def schedule(step):
    return 0.3 / (1 + step)


@pytest.mark.parametrize("lr", [0.1, schedule])
def test_exact_decay_of_sgd_is_dense(device, lr):
    rate = {"lr": 0.1} if lr == 0.1 else {"lr": 0.1, "schedule": schedule}
    optimizer = SGD(lr=lr, weight_decay=0.2, decay="exact", device=device)
    assert_equal(ours(optimizer), theirs("SGD", weight_decay=0.2, **rate))


@pytest.mark.parametrize("lr", [0.1, schedule])
def test_exact_decay_of_adamw_is_dense(device, lr):
    """Without memory, dense AdamW moves a row that was not touched by its decay only."""
    rate = {"lr": 0.1} if lr == 0.1 else {"lr": 0.1, "schedule": schedule}
    arguments = {"betas": (0.0, 0.0), "eps": 0.01, "weight_decay": 0.2}
    assert_equal(ours(AdamW(lr=lr, decay="exact", device=device, **arguments)), theirs("AdamW", **arguments, **rate))


def test_exact_decay_leaves_the_moments_lazy(device):
    dense_decay = Table()
    optimizer = AdamW(lr=0.1, weight_decay=0.0, device=device)
    for gradient in gradients():
        dense_decay.weight *= 1 - 0.1 * 0.2
        optimizer.update(dense_decay, gradient)
    exact = ours(AdamW(lr=0.1, weight_decay=0.2, decay="exact", device=device))
    assert_equal(exact, dense_decay.weight)


def test_rows_are_caught_up_before_they_are_read(device):
    table, dense = Table(), Table()
    lazy = SGD(lr=0.1, weight_decay=0.2, decay="exact", device=device)
    plain = SGD(lr=0.1, device=device)
    for gradient in gradients():
        read = np.array([3, 0, 3, 7, -1, V, 3])
        lazy.catch_up(table, read)
        assert_equal(table.weight[[0, 3, 7]], dense.weight[[0, 3, 7]])
        lazy.update(table, gradient)
        dense.weight *= 1 - 0.1 * 0.2
        plain.update(dense, gradient)
    assert not np.allclose(table.weight, dense.weight)
    lazy.flush(table)
    assert_equal(table.weight, dense.weight)


def test_exact_decay_leaves_frozen_rows(device):
    table, before = Table(), Table().weight
    table.frozen = np.arange(V) < 4
    optimizer = SGD(lr=0.1, weight_decay=0.2, decay="exact", device=device)
    for gradient in gradients():
        optimizer.update(table, gradient)
    optimizer.flush()
    np.testing.assert_array_equal(table.weight[:4], before[:4])
    assert (table.weight[4:] != before[4:]).all()
    table.frozen = None
    optimizer.flush()
    np.testing.assert_array_equal(table.weight[:4], before[:4])


def test_exact_decay_of_rows_that_are_new(device):
    table = Table()
    optimizer = SGD(lr=0.1, weight_decay=0.2, decay="exact", device=device)
    last = None
    for last in gradients():
        optimizer.update(table, last)
    table.weight = np.concatenate([table.weight, np.ones((2, D))])
    optimizer.flush()
    np.testing.assert_array_equal(table.weight[V:], 1)
    optimizer.update(table, last)
    optimizer.flush()
    assert_equal(table.weight[V:], np.full((2, D), 0.98))


def test_exact_decay_must_leave_something(device):
    table = Table()
    optimizer = SGD(lr=2.0, weight_decay=0.5, decay="exact", device=device)
    with pytest.raises(ValueError, match=r"below 1 for exact decay, got 2.0 \* 0.5"):
        optimizer.update(table, next(gradients()))


def test_exact_decay_survives_saving(device):
    arguments = {"lr": 0.1, "weight_decay": 0.2, "decay": "exact", "device": device}
    table, first, second = Table(), SGD(**arguments), SGD(**arguments)
    for n, gradient in enumerate(gradients()):
        if n == 3:
            second.load_state_dict(first.state_dict())
        (first if n < 3 else second).update(table, gradient)
    second.flush()
    assert_equal(table.weight, ours(SGD(**arguments)))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rowwise_adagrad_is_fbgemms(device, weight_decay):
    """FBGEMM's rule, its L2 mode: the sum gets the mean of (g + wd w)^2, the row is scaled by 1 - rate wd."""
    lr, eps = 0.1, 1e-8
    wanted, sums = Table().weight, np.zeros(V)
    for gradient in gradients():
        for row, g in zip(gradient.rows, gradient.values, strict=True):
            sums[row] += np.mean((g + weight_decay * wanted[row]) ** 2)
            rate = lr / (np.sqrt(sums[row]) + eps)
            wanted[row] = (1 - rate * weight_decay) * wanted[row] - rate * g
    assert_equal(ours(RowwiseAdagrad(lr=lr, weight_decay=weight_decay, device=device)), wanted)


def test_rowwise_adam(device):
    lr, beta1, beta2, eps = 0.1, 0.8, 0.9, 1e-3
    wanted, m, v = Table().weight, np.zeros((V, D)), np.zeros(V)
    for t, gradient in enumerate(gradients(), 1):
        for row, g in zip(gradient.rows, gradient.values, strict=True):
            m[row] = beta1 * m[row] + (1 - beta1) * g
            v[row] = beta2 * v[row] + (1 - beta2) * np.mean(g**2)
            step = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
            wanted[row] -= step * m[row] / (np.sqrt(v[row]) + eps)
    assert_equal(ours(Adam(lr=lr, betas=(beta1, beta2), eps=eps, rowwise=True, device=device)), wanted)


def test_ftrl_minimises_its_objective(device):
    """Each w is the least of ``sum of g w + sigma (w - w_s)^2 / 2``, over the history, ``+ l1 |w| + l2' w^2 / 2``.

    The objective is convex, so its minimum is where its slope changes sign: found by bisection, coordinate by
    coordinate, knowing nothing of z.
    """
    alpha, beta, l1, l2 = 0.5, 0.7, 0.4, 0.3
    table = Table()
    table.weight[:] = 0
    optimizer = FTRL(alpha=alpha, beta=beta, l1=l1, l2=l2, device=device)
    history = [[[] for _ in range(D)] for _ in range(V)]
    for gradient in gradients():
        for row, values in zip(gradient.rows, gradient.values, strict=True):
            for d in range(D):
                history[row][d].append((values[d], table.weight[row, d]))
        optimizer.update(table, gradient)
    for row in range(V):
        for d in range(D):
            wanted = least(history[row][d], alpha, beta, l1, l2) if history[row][d] else 0
            assert table.weight[row, d] == pytest.approx(wanted, abs=1e-9)
    assert (table.weight == 0).mean() > 0.1 and (table.weight != 0).mean() > 0.3


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_ftrl_with_a_schedule_minimises_its_objective(device, dtype, error):
    def alpha(step):
        return 0.5 / (1 + step) ** 0.5

    beta, l1, l2 = 0.7, 0.4, 0.3
    table = Table(dtype=dtype)
    table.weight[:] = 0
    optimizer = FTRL(alpha=alpha, beta=beta, l1=l1, l2=l2, device=device)
    history = [[[] for _ in range(D)] for _ in range(V)]
    for step, gradient in enumerate(gradients()):
        for row, values in zip(gradient.rows, gradient.values, strict=True):
            for d in range(D):
                history[row][d].append((values[d], table.weight[row, d], alpha(step)))
        optimizer.update(table, gradient)
    for row in range(V):
        for d in range(D):
            if history[row][d]:
                known = [(g, at) for g, at, _ in history[row][d]]
                wanted = least(known, [scale for _, _, scale in history[row][d]], beta, l1, l2)
                assert table.weight[row, d] == pytest.approx(wanted, abs=error)
    assert (table.weight != 0).mean() > 0.3


def test_ftrl_checks_its_schedule(device):
    with pytest.raises(ValueError, match=r"alpha\(0\) must be a finite number > 0, got 0"):
        FTRL(alpha=lambda step: 0, device=device).update(Table(), next(iter(gradients())))


def least(history, alpha, beta, l1, l2):
    scales = alpha if isinstance(alpha, list) else [alpha] * len(history)

    def slope(w):
        squares, total, before = 0.0, l1 * np.sign(w) + (l2 + beta / scales[0]) * w, beta / scales[0]
        for (g, at), scale in zip(history, scales, strict=True):
            squares += g * g
            inverse = (beta + np.sqrt(squares)) / scale
            total += g + (inverse - before) * (w - at)
            before = inverse
        return total

    low, high = -100.0, 100.0
    if slope(-1e-300) <= 0 <= slope(1e-300):
        return 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return middle


@pytest.mark.parametrize("clip", [0.5, 100.0])
def test_clip_norm_is_torchs(device, clip):
    torch = pytest.importorskip("torch", reason="the oracle")
    tables = [Table(0), Table(1)]
    optimizer = SGD(tables, lr=0.1, clip_norm=clip, device=device)
    weights = [torch.nn.Parameter(torch.from_numpy(Table(seed).weight)) for seed in (0, 1)]
    other = torch.optim.SGD(weights, lr=0.1)
    for first, second in zip(gradients(), gradients(all_rows=True), strict=True):
        for table, weight, gradient in zip(tables, weights, (first, second), strict=True):
            table.grad = gradient
            weight.grad = torch.zeros(V, D, dtype=torch.float64)
            weight.grad[gradient.rows] = torch.from_numpy(gradient.values)
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(weights, clip)
        other.step()
    for table, weight in zip(tables, weights, strict=True):
        assert_equal(table.weight, weight.detach().numpy())
