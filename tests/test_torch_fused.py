"""Optimizers that step in the backward against torch's optimizers, and what becomes of gradients then."""

import copy
import functools
import io
import pickle
import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastemb.torch as ft  # noqa: E402
from fastemb import optim  # noqa: E402

ROWS, DIM = 30, 6


def batches(number=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        yield (
            torch.randint(0, ROWS, (8, 5), generator=generator),
            torch.randn(8, 1, generator=generator, dtype=torch.float64),
        )


class Model(nn.Module):
    """A bag and a lookup of one table, and a linear layer."""

    def __init__(self, kind=nn):
        super().__init__()
        torch.manual_seed(1)
        self.bag = kind.EmbeddingBag(ROWS, DIM, mode="mean", dtype=torch.float64)
        self.rows = kind.Embedding(ROWS, DIM, dtype=torch.float64, padding_idx=3)
        self.out = nn.Linear(2 * DIM, 1, dtype=torch.float64)

    def forward(self, input):
        return self.out(torch.cat([self.bag(input), self.rows(input).prod(1)], 1))


def loss_curve(model, optimizers):
    losses = []
    for input, target in batches():
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = (model(input) - target).square().mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses


SAME = [
    (optim.SGD, {"lr": 0.1}, torch.optim.SGD, {"lr": 0.1}, False),
    (optim.SGD, {"lr": 0.1}, torch.optim.SGD, {"lr": 0.1}, True),
    (optim.Adagrad, {"lr": 0.1}, torch.optim.Adagrad, {"lr": 0.1}, True),
    (optim.Adagrad, {"lr": 0.1, "eps": 1e-10}, torch.optim.Adagrad, {"lr": 0.1}, False),
    (optim.Adam, {"lr": 0.01}, torch.optim.SparseAdam, {"lr": 0.01}, True),
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch's own Adagrad
@pytest.mark.parametrize(("ours", "options", "theirs", "their_options", "sparse"), SAME)
def test_same_loss_curve_as_torchs_optimizer(ours, options, theirs, their_options, sparse):
    """Sparse gradients and lazy optimizers touch the same rows; dense SGD and Adagrad leave the others alone, too."""
    expected = Model()
    expected.bag.sparse = expected.rows.sparse = sparse
    tables = [expected.bag.weight, expected.rows.weight]
    expected_losses = loss_curve(
        expected, [theirs(tables, **their_options), torch.optim.SGD(expected.out.parameters(), lr=0.1)]
    )
    for fused in (True, False):
        model = Model(ft)
        if fused:
            model.bag.fused_optimizer = model.rows.fused_optimizer = ours(**options)
            optimizers = [torch.optim.SGD(model.parameters(), lr=0.1)]  # it passes over the tables
        else:
            model.bag.sparse = model.rows.sparse = sparse
            optimizers = [
                theirs([model.bag.weight, model.rows.weight], **their_options),
                torch.optim.SGD(model.out.parameters(), lr=0.1),
            ]
        np.testing.assert_allclose(loss_curve(model, optimizers), expected_losses, rtol=1e-9)
        torch.testing.assert_close(model.bag.weight, expected.bag.weight, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(model.rows.weight, expected.rows.weight, rtol=1e-9, atol=1e-9)
        assert fused is (model.bag.weight.grad is None) is (model.rows.weight.grad is None)


def table(optimizer=None, **options):
    torch.manual_seed(2)
    return ft.Embedding(ROWS, DIM, dtype=torch.float64, fused_optimizer=optimizer or optim.Adagrad(lr=0.1), **options)


def plain_table():
    torch.manual_seed(2)
    return nn.Embedding(ROWS, DIM, dtype=torch.float64)


def test_several_lookups_in_one_backward_make_one_step():
    ours, theirs = table(), plain_table()
    step = torch.optim.Adagrad(theirs.parameters(), lr=0.1)
    first, second = torch.tensor([1, 2, 3]), torch.tensor([[3, 3], [4, 5]])
    for module in (ours, theirs):
        (module(first).square().sum() + module(second).sum()).backward()
    step.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert ours.fused_optimizer.state_of(ours._fused)["step"] == 1


def test_tied_modules_make_one_step():
    ours, theirs = table(), plain_table()
    bag = ft.EmbeddingBag.from_pretrained(ours.weight, freeze=False)
    bag.weight = ours.weight
    bag.fused_optimizer = ours.fused_optimizer
    assert bag._fused is ours._fused
    their_bag = nn.EmbeddingBag(ROWS, DIM, dtype=torch.float64)
    their_bag.weight = theirs.weight
    step = torch.optim.Adagrad(theirs.parameters(), lr=0.1)
    input = torch.tensor([[1, 2], [2, 9]])
    (ours(input).sum() + bag(input).square().sum()).backward()
    (theirs(input).sum() + their_bag(input).square().sum()).backward()
    step.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_backward_twice_steps_twice():
    ours, theirs = table(), plain_table()
    step = torch.optim.Adagrad(theirs.parameters(), lr=0.1)
    loss = ours(torch.tensor([4, 4])).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    for _ in range(2):
        step.zero_grad()
        theirs(torch.tensor([4, 4])).sum().backward()
        step.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_forwards_of_two_graphs_before_their_backwards():
    ours = table(optim.SGD(lr=1.0))
    before = ours.weight.detach().clone()
    losses = [ours(torch.tensor([row])).sum() for row in (1, 2)]
    for loss in losses:
        loss.backward()
    assert (before - ours.weight).sum(1).detach().round().tolist()[:4] == [0, DIM, DIM, 0]


def test_nothing_steps_without_a_backward_for_parameters():
    ours = table()
    before = ours.weight.detach().clone()
    input = torch.tensor([1, 2])
    with torch.no_grad():
        assert not ours(input).requires_grad
    ours.eval()
    factor = torch.ones(2, DIM, dtype=torch.float64, requires_grad=True)
    torch.autograd.grad((ours(input) * factor).sum(), factor)
    ours(input).sum()
    ours.weight.requires_grad_(False)
    (ours(input) * factor).sum().backward()
    assert torch.equal(ours.weight, before) and ours.weight.grad is None


def test_autograd_grad_of_the_weight_gives_it():
    ours, theirs = table(), plain_table()
    before = ours.weight.detach().clone()
    input = torch.tensor([1, 2, 2])
    (actual,) = torch.autograd.grad(ours(input).square().sum(), ours.weight)
    (expected,) = torch.autograd.grad(theirs(input).square().sum(), theirs.weight)
    torch.testing.assert_close(actual, expected)
    assert torch.equal(ours.weight, before)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant):
    ours, theirs = table(), plain_table()
    step = torch.optim.Adagrad(theirs.parameters(), lr=0.1)
    input, seed = torch.tensor([[1, 2], [2, 7]]), torch.ones(1, dtype=torch.float64, requires_grad=True)
    loss = checkpoint(lambda x: (ours(input) * x).square().sum(), seed, use_reentrant=reentrant)
    loss.backward()
    (theirs(input) * seed).square().sum().backward()
    step.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_a_backward_that_fails_leaves_nothing_behind():
    ours = table(optim.SGD(lr=1.0))
    before = ours.weight.detach().clone()
    rows = ours(torch.tensor([1]))
    rows.register_hook(lambda gradient: gradient)

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ArithmeticError("on purpose")

    early = Fails.apply(torch.ones(1, dtype=torch.float64, requires_grad=True))
    late = ours(torch.tensor([2]))  # made last, so its backward comes first
    with pytest.raises(ArithmeticError, match="on purpose"):
        (early + late.sum()).sum().backward()
    assert torch.equal(ours.weight, before)
    rows.sum().backward()
    changed = (ours.weight != before).any(1).nonzero().flatten()
    assert changed.tolist() == [1]


def test_a_use_of_the_weight_elsewhere_is_refused():
    ours = table()
    before = ours.weight.detach().clone()
    with pytest.raises(RuntimeError, match=r"of shape \(30, 6\), has a .grad, from its use outside"):
        (ours(torch.tensor([1])) @ ours.weight.T).sum().backward()
    assert torch.equal(ours.weight, before)


def test_steps_count_as_changes_of_the_weight():
    ours = table()
    rows = ours(torch.tensor([1]))
    squares = ours.weight.detach().requires_grad_(False) * torch.ones((), dtype=torch.float64, requires_grad=True)
    rows.sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.sum().backward()


def test_gradients_of_sample_weights_come_with_the_step():
    torch.manual_seed(2)
    ours = ft.EmbeddingBag(ROWS, DIM, mode="sum", fused_optimizer=optim.SGD(lr=1.0), dtype=torch.float64)
    theirs = nn.EmbeddingBag.from_pretrained(ours.weight.detach().clone(), mode="sum", freeze=False)
    input = torch.tensor([[1, 2], [2, 7]])
    samples = [torch.rand(2, 2, dtype=torch.float64).requires_grad_() for _ in range(1)]
    other = samples[0].detach().clone().requires_grad_()
    ours(input, per_sample_weights=samples[0]).square().sum().backward()
    theirs(input, per_sample_weights=other).square().sum().backward()
    torch.testing.assert_close(samples[0].grad, other.grad)
    torch.testing.assert_close(ours.weight, theirs.weight - theirs.weight.grad)


def test_clipping_by_the_norm_over_all_tables():
    ours, theirs = Model(ft), Model()
    ours.bag.fused_optimizer = ours.rows.fused_optimizer = optim.SGD(lr=1.0, clip_norm=0.01)
    tables = [theirs.bag.weight, theirs.rows.weight]
    step = torch.optim.SGD(tables, lr=1.0)
    for model in (ours, theirs):
        model(torch.tensor([[1, 2, 3], [4, 4, 5]])).square().sum().backward()
    assert nn.utils.clip_grad_norm_(tables, 0.01) > 0.01
    step.step()
    torch.testing.assert_close(ours.bag.weight, theirs.bag.weight)
    torch.testing.assert_close(ours.rows.weight, theirs.rows.weight)


def test_exact_weight_decay_is_caught_up_before_rows_are_read():
    ours = table(optim.SGD(lr=0.1, weight_decay=0.5, decay="exact"))
    theirs = plain_table()
    step = torch.optim.SGD(theirs.parameters(), lr=0.1, weight_decay=0.5)
    for rows in ([1], [2], [3, 1], [9]):
        step.zero_grad()
        for module in (ours, theirs):
            module(torch.tensor(rows)).square().sum().backward()
        step.step()
    torch.testing.assert_close(ours(torch.tensor([1, 20])), theirs(torch.tensor([1, 20])))
    torch.testing.assert_close(ours.state_dict()["weight"], theirs.weight.detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tables_of_all_dtypes_step(dtype):
    module = ft.EmbeddingBag(5, 3, mode="sum", dtype=dtype, fused_optimizer=functools.partial(optim.SGD, lr=0.5))
    before = module.weight.detach().clone()
    module(torch.tensor([[1, 1, 4]])).sum().backward()
    expected = before.clone()
    expected[1] -= 1
    expected[4] -= 0.5
    torch.testing.assert_close(module.weight.detach(), expected)


def test_empty_input_and_max_norm():
    module = table(max_norm=0.5)
    before = module.weight.detach().clone()
    module(torch.empty(0, dtype=torch.int64)).sum().backward()
    assert torch.equal(module.weight, before)
    module(torch.tensor([[1]])).sum().backward()
    assert not torch.equal(module.weight, before)


def test_learning_rate_can_be_changed():
    module = table(optim.SGD(lr=0.0))
    before = module.weight.detach().clone()
    module(torch.tensor([1])).sum().backward()
    assert torch.equal(module.weight, before)
    module.fused_optimizer.lr = 1.0
    module(torch.tensor([1])).sum().backward()
    torch.testing.assert_close(module.weight[1], before[1] - 1)


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_a_step_takes_no_memory_in_proportion_to_the_table(name):
    module = getattr(ft, name)(200_000, 32, fused_optimizer="adagrad")  # 25 MB, and as much of the optimizer's
    input = torch.arange(0, 200_000, 1000).view(10, 20)
    module(input).sum().backward()
    tracemalloc.start()
    for _ in range(3):
        module(input).sum().backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def copies():
    def saved(module):
        buffer = io.BytesIO()
        torch.save(module, buffer)
        buffer.seek(0)
        return torch.load(buffer, weights_only=False)

    return {"deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m)), "save": saved}


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_copies_go_on_with_the_state(how):
    model = Model(ft)
    model.bag.fused_optimizer = model.rows.fused_optimizer = optim.Adam(lr=0.1)
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    other = copies()[how](model)
    assert other.bag.fused_optimizer is other.rows.fused_optimizer is not model.bag.fused_optimizer
    assert other.bag._fused.parameter is other.bag.weight is not model.bag.weight
    for each in (model, other):
        each(torch.tensor([[1, 2, 9]])).sum().backward()
    torch.testing.assert_close(other.bag.weight, model.bag.weight, rtol=0, atol=0)
    torch.testing.assert_close(other.rows.weight, model.rows.weight, rtol=0, atol=0)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adagrad, optim.Adam, optim.FTRL, optim.RowwiseAdagrad])
def test_state_in_the_state_dict_on_request(kind, kept):
    first = table(kind(), save_optimizer=kept)
    first(torch.tensor([1, 2])).sum().backward()
    state = copy.deepcopy(first.state_dict())
    assert (len(state) > 1) is kept
    second = table(kind(), save_optimizer=kept)
    with torch.no_grad():
        second.weight.zero_()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    assert str(second.load_state_dict(torch.load(buffer))) == "<All keys matched successfully>"
    for module in (first, second):
        module(torch.tensor([2, 5])).square().sum().backward()
    assert torch.equal(first.weight, second.weight) is (kept or kind is optim.SGD)


def test_state_that_does_not_fit_is_told():
    state = table(optim.Adam(), save_optimizer=True)
    state(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match=r"the state must be of FTRL, got Adam.step"):
        table(optim.FTRL()).load_state_dict(state.state_dict())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        plain_table().load_state_dict(state.state_dict())


def test_a_weight_that_is_replaced_gets_a_state_of_its_own():
    module = table(optim.Adam(lr=0.1))
    module(torch.tensor([1])).sum().backward()
    module.weight = nn.Parameter(torch.zeros(ROWS, DIM, dtype=torch.float64))
    module(torch.tensor([1])).sum().backward()
    assert module.weight[1].abs().max() > 0
    assert module.fused_optimizer.state_of(module._fused)["step"] == 1
    module.float()
    module(torch.tensor([1])).sum().backward()
    assert module.fused_optimizer.state_of(module._fused)["exp_avg"].dtype == np.float32
    module.fused_optimizer = None
    module(torch.tensor([1])).sum().backward()
    assert module.weight.grad is not None and repr(module) == f"Embedding({ROWS}, {DIM})"


@pytest.mark.parametrize("kind", [ft.Embedding, ft.EmbeddingBag])
def test_a_pretrained_table_takes_an_optimizer(kind):
    weight = torch.ones(4, 2)
    module = kind.from_pretrained(weight, freeze=False, fused_optimizer=optim.SGD(lr=0.5))
    module(torch.tensor([[1]])).sum().backward()
    assert module.weight.grad is None and weight[:, 0].tolist() == [1, 0.5, 1, 1]
    with pytest.raises(ValueError, match="fused_optimizer would change the table, but it is frozen"):
        kind.from_pretrained(weight, fused_optimizer="sgd")


def test_repr_shows_the_optimizer():
    assert "fused_optimizer=Adagrad(lr=0.1" in repr(table())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ft.Embedding(3, 2, fused_optimizer="lion"), ValueError, "fused_optimizer must be one of 'adagrad'"),
        (lambda: ft.Embedding(3, 2, fused_optimizer=3), TypeError, "fused_optimizer must be an optimizer"),
        (lambda: ft.Embedding(3, 2, fused_optimizer=lambda: 3), TypeError, "fused_optimizer must be an optimizer"),
        (lambda: ft.Embedding(3, 2, device="meta", fused_optimizer="sgd"), ValueError, "it is on meta, not on cpu"),
        (
            lambda: ft.Embedding(3, 2, _weight=torch.zeros(2, 3).T, fused_optimizer="sgd"),
            ValueError,
            "do not lie side by side",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_fused_table_that_left_the_cpu_is_refused():
    module = ft.Embedding(3, 2, fused_optimizer="sgd").to("meta")
    with pytest.raises((RuntimeError, ValueError), match="meta"):
        module(torch.tensor([1], device="meta"))


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_hook_on_a_fused_weight_is_told_what_to_do(register):
    module = ft.Embedding(10, 3, fused_optimizer="sgd")
    before = module.weight.detach().clone()
    hook = getattr(module.weight, register)(lambda _: None)
    with pytest.raises(
        RuntimeError, match=r"has a hook, which would get None.*set the module's fused_optimizer to None"
    ):
        module(torch.tensor([1, 2])).sum().backward()
    assert torch.equal(module.weight, before)
    hook.remove()
    module(torch.tensor([1, 2])).sum().backward()
    assert not torch.equal(module.weight, before)


def test_an_optimizer_that_has_fused_tables_only_is_told_of_once():
    module = ft.Embedding(10, 3, fused_optimizer="sgd")
    idle, mixed = (
        torch.optim.Adam(parameters)
        for parameters in (module.parameters(), [*module.parameters(), nn.Parameter(torch.ones(1))])
    )
    module(torch.tensor([1])).sum().backward()
    mixed.step()  # it has something to do
    with pytest.warns(UserWarning, match=r"Adam.step\(\) does nothing: all its parameters are tables with a fused"):
        idle.step()
    idle.step()
    module.fused_optimizer = None
    module(torch.tensor([1])).sum().backward()
    before = module.weight.detach().clone()
    idle.step()
    assert not torch.equal(module.weight, before)


def test_torchs_clipping_sees_no_gradient_of_a_fused_table():
    model = Model(ft)
    model.bag.fused_optimizer = model.rows.fused_optimizer = optim.SGD(lr=1.0)
    model(torch.tensor([[1, 2, 3]])).square().sum().backward()
    of_the_rest = nn.utils.get_total_norm([p.grad for p in model.out.parameters()])
    assert nn.utils.clip_grad_norm_(model.parameters(), 1e9) == of_the_rest


def test_a_scale_of_the_loss_is_the_tables_too():
    ours = table(optim.SGD(lr=1.0))
    before = ours.weight.detach().clone()
    (8 * ours(torch.tensor([1])).sum()).backward()
    torch.testing.assert_close(ours.weight[1], before[1] - 8)


def test_functional_call_with_another_tensor_gives_its_gradient():
    ours, theirs = table(), plain_table()
    before, input = ours.weight.detach().clone(), torch.tensor([1, 2, 2])
    other = torch.ones(ROWS, DIM, dtype=torch.float64, requires_grad=True)
    torch.func.functional_call(ours, {"weight": other}, (input,)).square().sum().backward()
    assert other.grad[2].tolist() == [4.0] * DIM

    def gradient(module):
        def loss(parameters):
            return torch.func.functional_call(module, parameters, (input,)).square().sum()

        return torch.func.grad(loss)({"weight": module.weight.detach()})["weight"]

    torch.testing.assert_close(gradient(ours), gradient(theirs))
    assert torch.equal(ours.weight, before)
    ours(input).sum().backward()
    assert ours.weight.grad is None and not torch.equal(ours.weight, before)


@pytest.mark.parametrize("register", ["parametrize", "weight_norm"])
def test_a_computed_weight_is_refused_where_it_would_learn(register):
    module = table()
    if register == "parametrize":
        nn.utils.parametrize.register_parametrization(module, "weight", nn.Tanh())
    else:
        nn.utils.parametrizations.weight_norm(module)
    with torch.no_grad():
        module(torch.tensor([1]))
    assert not any("fused" in name for name in module.state_dict())
    with pytest.raises(ValueError, match=r"it is computed from other parameters\. With fused_optimizer=None"):
        module(torch.tensor([1]))
    module.fused_optimizer = None
    module(torch.tensor([1])).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_table_goes_on_in_another_dtype(dtype):
    module = ft.Embedding(5, 3, fused_optimizer=optim.Adagrad(lr=0.5))
    module(torch.tensor([1])).sum().backward()
    module.to(dtype)
    before = module.weight.detach().clone()
    module(torch.tensor([1])).sum().backward()
    state = module.fused_optimizer.state_of(module._fused)
    assert state["step"] == 2 and state["sum"][1].tolist() == [2.0] * 3
    torch.testing.assert_close(module.weight[1], before[1] - 0.5 / 2**0.5, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("fused", [None, "sgd"])
def test_inference_mode(fused):
    module = ft.EmbeddingBag(10, 3, fused_optimizer=fused)
    with torch.inference_mode():
        out = module(torch.tensor([[1, 2]]))
    assert out.is_inference() and not out.requires_grad
    torch.testing.assert_close(out.clone(), module(torch.tensor([[1, 2]])).detach())
