"""fastemb.torch's lookups and bags against torch's own: results, gradients, arguments, errors."""

import inspect
import random
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import fastemb.torch as ft  # noqa: E402

# Short floats are rounded at other places than torch's, which sums some of them in their own precision.
TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 2e-5, "atol": 2e-5},
    torch.float16: {"rtol": 1e-2, "atol": 2e-2},
    torch.bfloat16: {"rtol": 4e-2, "atol": 1e-1},
}


def close(actual, expected):
    if actual is None or expected is None:
        assert actual is None and expected is None
        return
    assert actual.layout == expected.layout and actual.dtype == expected.dtype and actual.shape == expected.shape
    if actual.is_sparse:
        assert actual.is_coalesced()
        actual, expected = actual.to_dense(), expected.to_dense()
    torch.testing.assert_close(actual, expected, **TOLERANCE[actual.dtype], equal_nan=True)


def table(num_embeddings, embedding_dim, dtype=torch.float64, seed=0):
    return torch.randn(num_embeddings, embedding_dim, generator=torch.Generator().manual_seed(seed)).to(dtype)


def outcomes(function, weight, samples=None):
    """The output and the gradients of a function of a weight and perhaps of weights of lookups."""
    weight = weight.clone().requires_grad_()
    samples = None if samples is None else samples.clone().requires_grad_()
    out = function(weight, samples)
    generator = torch.Generator().manual_seed(7)
    out.backward(torch.randn(out.shape, generator=generator).to(out.dtype))
    return out, weight.grad, None if samples is None else samples.grad, weight


def same_outcomes(ours, theirs, weight, samples=None):
    for actual, expected in zip(outcomes(ours, weight, samples), outcomes(theirs, weight, samples), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("seed", range(60))
def test_embedding_is_torchs(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    rows, dim = rng.choice([1, 5, 40]), rng.choice([1, 3, 8, 17, 64, 100])
    weight = table(rows, dim, rng.choice(list(TOLERANCE)), seed)
    shape = rng.choice([(), (0,), (1,), (7,), (4, 6), (2, 3, 5), (300,)])
    input = torch.randint(0, rows, shape, dtype=rng.choice([torch.int64, torch.int32]))
    options = {
        "padding_idx": rng.choice([None, 0, rows - 1, -1]),
        "max_norm": rng.choice([None, None, 1.5]),
        "norm_type": rng.choice([2.0, 1.0, 3.0]),
        "sparse": rng.random() < 0.4,
    }
    options["scale_grad_by_freq"] = not options["sparse"] and rng.random() < 0.4
    same_outcomes(lambda w, _: ft.embedding(input, w, **options), lambda w, _: F.embedding(input, w, **options), weight)


def draw_bags(rng, rows):
    """An input and its offsets, in one of torch's forms."""
    dtype = rng.choice([torch.int64, torch.int32])
    if rng.random() < 0.4:
        shape = rng.choice([(0, 3), (1, 1), (5, 4), (3, 20)])
        return torch.randint(0, rows, shape, dtype=dtype), {}
    sizes = [rng.choice([0, 1, 2, 5, 30]) for _ in range(rng.choice([1, 2, 9]))]
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    last = rng.random() < 0.4
    offsets = (offsets if last else offsets[:-1]).to(rng.choice([torch.int64, torch.int32]))
    return torch.randint(0, rows, (sum(sizes),), dtype=dtype), {"offsets": offsets, "include_last_offset": last}


@pytest.mark.parametrize("seed", range(120))
def test_embedding_bag_is_torchs(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    rows, dim = rng.choice([1, 5, 40]), rng.choice([1, 3, 8, 17, 64, 100])
    weight = table(rows, dim, rng.choice([*TOLERANCE, torch.float64, torch.float32]), seed)
    input, options = draw_bags(rng, rows)
    mode = rng.choice(["sum", "mean", "max"])
    options |= {
        "mode": mode,
        "padding_idx": rng.choice([None, 0, rows - 1, -1]),
        "max_norm": rng.choice([None, None, None, 1.5]),
        "sparse": mode != "max" and rng.random() < 0.4,
    }
    samples = None
    if mode == "sum" and rng.random() < 0.6:
        samples = torch.randn(input.shape, generator=torch.Generator().manual_seed(seed)).to(weight.dtype)
    same_outcomes(
        lambda w, s: ft.embedding_bag(input, w, per_sample_weights=s, **options),
        lambda w, s: F.embedding_bag(input, w, per_sample_weights=s, **options),
        weight,
        samples,
    )


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_gradients_are_scaled_by_the_frequency_of_their_own_row(mode, padding_idx):
    """Torch's bag divides by the frequency of another index of the batch; its lookup, and we, by the index's own."""
    weight, input = table(5, 3), torch.tensor([[1, 1, 2], [3, 1, 0]])

    def by_torchs_lookup(w, _):
        kept = torch.ones(2, 3) if padding_idx is None else (input != padding_idx) * 1.0
        rows = F.embedding(input, w, padding_idx=padding_idx, scale_grad_by_freq=True) * kept[..., None]
        return rows.sum(1) / (1 if mode == "sum" else kept.sum(1, keepdim=True))

    same_outcomes(
        lambda w, _: ft.embedding_bag(input, w, mode=mode, padding_idx=padding_idx, scale_grad_by_freq=True),
        by_torchs_lookup,
        weight,
    )


def plain_bag(input, weight, mode, samples=None, padding_idx=None):
    """What the modes that torch has not mean, one bag of a 2-D input after the other."""
    bags = []
    for b in range(len(input)):
        kept = torch.ones(len(input[b]), dtype=torch.bool) if padding_idx is None else input[b] != padding_idx
        rows = weight[input[b][kept]]
        if not len(rows):
            bags.append(torch.zeros_like(weight[0]))
        elif mode == "min":
            bags.append(rows.amin(0))
        else:
            c = torch.ones_like(rows[:, 0]) if samples is None else samples[b][kept]
            bags.append((c[:, None] * rows).sum(0) / (c.sum() if mode == "mean" else (c * c).sum().sqrt()))
    return torch.stack(bags)


@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize(("mode", "weighted"), [("min", False), ("sqrtn", False), ("sqrtn", True), ("mean", True)])
def test_modes_beyond_torch(mode, weighted, padding_idx):
    weight = table(9, 5)
    input = torch.randint(0, 9, (6, 4), generator=torch.Generator().manual_seed(1))
    input[3] = 2
    samples = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.1
    samples = samples if weighted else None
    same_outcomes(
        lambda w, s: ft.embedding_bag(input, w, mode=mode, per_sample_weights=s, padding_idx=padding_idx),
        lambda w, s: plain_bag(input, w, mode, s, padding_idx),
        weight,
        samples,
    )


# Extremes take no weights.
MODES_AND_WEIGHTS = [(mode, False) for mode in ("sum", "mean", "max", "min", "sqrtn")] + [
    (mode, True) for mode in ("sum", "mean", "sqrtn")
]


@pytest.mark.parametrize(("mode", "weighted"), MODES_AND_WEIGHTS)
def test_composed_bags_are_the_kernels(mode, weighted):
    """The formula for other devices and for second derivatives; NaN and ties, too."""
    from fastemb.torch.composite import embedding_bag

    weight = table(9, 3)
    weight[4], weight[5, 0] = weight[3], float("nan")
    input = torch.tensor([3, 4, 1, 5, 0, 0, 2, 5, 7, 2])
    offsets = torch.tensor([0, 3, 3, 5, 8, 10])
    samples = torch.rand(10, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.1
    samples = samples if weighted else None
    same_outcomes(
        lambda w, s: embedding_bag(input, w, offsets, mode, s, 2),
        lambda w, s: ft.embedding_bag(
            input, w, offsets, mode=mode, per_sample_weights=s, padding_idx=2, include_last_offset=True
        ),
        torch.nan_to_num(weight) if mode not in ("max", "min") else weight,
        samples,
    )


def samples_of(name):
    """Torch's own sample inputs for an operation."""
    pytest.importorskip("expecttest", reason="torch's sample inputs need expecttest")
    from torch.testing._internal.common_methods_invocations import op_db

    operation = next(each for each in op_db if each.name == name)
    torch.manual_seed(3)
    for dtype in TOLERANCE:
        yield from operation.sample_inputs("cpu", dtype, requires_grad=True)


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("nn.functional.embedding", ft.embedding, F.embedding),
        ("nn.functional.embedding_bag", ft.embedding_bag, F.embedding_bag),
    ],
)
def test_torchs_sample_inputs(name, ours, theirs):
    tried = 0
    for sample in samples_of(name):  # they hold the weight first and the indices next
        tried += 1
        options = dict(sample.kwargs)
        samples = options.pop("per_sample_weights", None)
        same_outcomes(
            *(
                lambda w, s, call=call, more=sample.args, options=options: call(
                    more[0], w, **options, **({} if s is None else {"per_sample_weights": s})
                )
                for call in (ours, theirs)
            ),
            sample.input.detach(),
            None if samples is None else samples.detach(),
        )
    assert tried > 10


def test_torchs_sample_modules():
    pytest.importorskip("expecttest", reason="torch's sample inputs need expecttest")
    from torch.testing._internal.common_modules import module_db

    (entry,) = (each for each in module_db if each.module_cls is nn.Embedding)
    for dtype in entry.dtypes:
        for sample in entry.module_inputs_func(entry, "cpu", dtype, True, True):
            made = []
            for kind in (ft.Embedding, nn.Embedding):
                torch.manual_seed(0)
                made.append(kind(*sample.constructor_input.args, **sample.constructor_input.kwargs, dtype=dtype))
            results = [module(*sample.forward_input.args) for module in made]
            close(*results)
            for result in results:
                result.sum().backward()
            close(made[0].weight.grad, made[1].weight.grad)


@pytest.mark.parametrize("padding_idx", [None, 1])
@pytest.mark.parametrize("scaled", [False, True])
def test_embedding_gradcheck(padding_idx, scaled):
    input = torch.tensor([[1, 4, 4], [0, 1, 2]])
    weight = table(5, 3).requires_grad_()

    def function(w):
        return ft.embedding(input, w, padding_idx=padding_idx, scale_grad_by_freq=scaled)

    if padding_idx is None and not scaled:  # else the gradient is another one, by intention
        assert torch.autograd.gradcheck(function, weight)
    assert torch.autograd.gradgradcheck(function, weight)


@pytest.mark.parametrize("padding_idx", [None, 1])
@pytest.mark.parametrize(("mode", "weighted"), MODES_AND_WEIGHTS)
def test_embedding_bag_gradcheck(mode, weighted, padding_idx):
    input, offsets = torch.tensor([1, 4, 4, 0, 1, 2]), torch.tensor([0, 3, 3, 5])
    inputs = [table(5, 3).requires_grad_()]
    if weighted:
        inputs.append(
            (torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.5).requires_grad_()
        )

    def function(w, s=None):
        return ft.embedding_bag(input, w, offsets, mode=mode, per_sample_weights=s, padding_idx=padding_idx)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_module_is_torchs(name):
    ours, theirs = getattr(ft, name), getattr(nn, name)
    assert issubclass(ours, theirs)
    own = list(inspect.signature(ours).parameters.values())
    torchs = list(inspect.signature(theirs).parameters.values())
    assert [(p.name, p.default, p.kind) for p in own[: len(torchs)]] == [(p.name, p.default, p.kind) for p in torchs]
    assert [(p.name, p.kind) for p in own[len(torchs) :]] == [
        ("fused_optimizer", inspect.Parameter.KEYWORD_ONLY),
        ("save_optimizer", inspect.Parameter.KEYWORD_ONLY),
    ]
    for options in (
        {},
        {"padding_idx": -2},
        {"max_norm": 2.0, "norm_type": 1.0, "sparse": True},
        {"dtype": torch.float64},
    ):
        modules = []
        for kind in (ours, theirs):
            torch.manual_seed(5)
            modules.append(kind(10, 3, **options))
        assert repr(modules[0]) == repr(modules[1])
        states = [module.state_dict() for module in modules]
        assert list(states[0]) == list(states[1])
        assert torch.equal(states[0]["weight"], states[1]["weight"])
        modules[0].load_state_dict(states[1])
        modules[1].load_state_dict(states[0])


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
@pytest.mark.parametrize("freeze", [True, False])
def test_from_pretrained(name, freeze):
    weight = table(4, 3, torch.float32)
    module = getattr(ft, name).from_pretrained(weight, freeze=freeze, padding_idx=1)
    assert type(module) is getattr(ft, name)
    assert module.weight.requires_grad is not freeze
    assert module.weight.data_ptr() == weight.data_ptr()
    input = torch.tensor([[0, 1], [3, 3]])
    close(module(input), getattr(nn, name).from_pretrained(weight, freeze=freeze, padding_idx=1)(input))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_memory_is_shared_both_ways(dtype):
    module = ft.Embedding(4, 3, dtype=dtype)
    input = torch.tensor([2])
    module(input)
    with torch.no_grad():
        module.weight[2] = 0.5
    assert (module(input) == 0.5).all()
    module.weight.data = torch.full((4, 3), 0.25, dtype=dtype)
    assert (module(input) == 0.25).all()
    module.max_norm = 0.125
    module(input)
    assert module.weight[2].norm() < 0.13 < module.weight[1].norm()


def test_max_norm_counts_as_a_change_of_the_weight():
    weight = table(4, 3).requires_grad_()
    squares = (weight * weight).sum()
    ft.embedding(torch.tensor([1]), weight, max_norm=0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()


def test_a_change_of_the_input_before_the_backward_is_noticed():
    input, weight = torch.tensor([[1, 2]]), table(4, 3).requires_grad_()
    for call in (ft.embedding, ft.embedding_bag):
        out = call(input, weight).sum()
        input[0, 0] = 3
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16])
def test_narrow_indices(dtype):
    weight = table(4, 3)
    input = torch.tensor([[3, 1], [0, 0]])
    assert torch.equal(ft.embedding(input.to(dtype), weight), F.embedding(input, weight))
    assert torch.equal(ft.embedding_bag(input.to(dtype), weight), ft.embedding_bag(input, weight))


@pytest.mark.parametrize("transposed", [False, True])
def test_strided_tensors(transposed):
    """Rows with gaps, columns instead of rows, inputs that are not contiguous, expanded gradients."""
    weight = table(3, 8)[:, ::2] if transposed else table(4, 8)[:, 2:7]
    weight = weight.T if transposed else weight
    input = torch.tensor([[0, 1], [2, 2], [1, 0]]).T
    for ours, theirs in ((ft.embedding, F.embedding), (ft.embedding_bag, F.embedding_bag)):
        close(ours(input, weight), theirs(input, weight))
        gradients = []
        for call in (ours, theirs):
            leaf = weight.detach().clone().requires_grad_()
            call(input, leaf).sum().backward()
            gradients.append(leaf.grad)
        close(*gradients)


def test_nested_bags():
    nested = torch.nested.nested_tensor([torch.tensor([1, 2, 3]), torch.tensor([0])], layout=torch.jagged)
    weight = table(4, 3)
    plain = ft.embedding_bag(torch.tensor([1, 2, 3, 0]), weight, torch.tensor([0, 3]), mode="sqrtn")
    assert torch.equal(ft.embedding_bag(nested, weight, mode="sqrtn"), plain)
    rows = ft.Embedding.from_pretrained(weight)(nested)
    assert torch.equal(rows.values(), weight[[1, 2, 3, 0]])


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_gradients_are_handed_over_without_a_copy(name):
    """Torch keeps a gradient that nobody else holds; a copy would be a pass over V x D."""
    module = getattr(ft, name)(1000, 4)
    seen = []
    module.weight.register_hook(lambda gradient: seen.append(gradient.data_ptr()))
    module(torch.tensor([[1, 2]])).sum().backward()
    assert module.weight.grad.data_ptr() == seen[0]
    module(torch.tensor([[1, 2]])).sum().backward()  # and adds the next one to it
    assert module.weight.grad[1].tolist() == [2.0 if name == "Embedding" else 1.0] * 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda w: ft.embedding(torch.tensor([[1, 2], [3, 4]]), w),
            IndexError,
            r"in \[0, 4\), got 4 at position \(1, 1\)",
        ),
        (lambda w: ft.embedding(torch.tensor([1, -1]), w), IndexError, r"in \[0, 4\), got -1 at position 1"),
        (lambda w: ft.embedding_bag(torch.tensor([[0, 9]]), w), IndexError, r"got 9 at position \(0, 1\)"),
        (lambda w: ft.embedding(torch.tensor([0.5]), w), TypeError, "input must be a tensor of integers, got one of"),
        (lambda w: ft.embedding(torch.tensor([True]), w), TypeError, "input must be a tensor of integers"),
        (lambda w: ft.embedding(torch.tensor([1]), w, padding_idx=4), ValueError, "padding_idx"),
        (lambda w: ft.embedding_bag(torch.tensor([1]), w), ValueError, "1 dimension needs offsets"),
        (lambda w: ft.embedding_bag(torch.tensor([[1]]), w, torch.tensor([0])), ValueError, "one dimension"),
        (lambda w: ft.embedding_bag(torch.tensor([1]), w, torch.tensor([1])), ValueError, "offsets must start at 0"),
        (lambda w: ft.embedding_bag(torch.tensor([1]), w, torch.tensor([0, 2])), ValueError, "offsets"),
        (lambda w: ft.embedding_bag(torch.tensor([1, 2]), w, torch.tensor([0, 2, 1])), ValueError, "offsets"),
        (lambda w: ft.embedding_bag(torch.tensor([[1]]), w, mode="median"), ValueError, "mode must be one of"),
        (
            lambda w: ft.embedding_bag(torch.tensor([[1]]), w, mode="max", sparse=True),
            ValueError,
            "sparse must be False",
        ),
        (
            lambda w: ft.embedding_bag(torch.tensor([[1]]), w, per_sample_weights=torch.ones(1)),
            ValueError,
            r"shape of input, \(1, 1\), got \(1,\)",
        ),
        (
            lambda w: ft.embedding_bag(torch.tensor([[1]]), w, per_sample_weights=torch.ones(1, 1)),
            TypeError,
            "must be of weight's torch.float64, got torch.float32",
        ),
        (
            lambda w: ft.embedding_bag(torch.tensor([1, 2]), w, torch.tensor([0, 1]), include_last_offset=True),
            ValueError,  # torch's mean divides the last bag by the wrong number here
            "offsets must end with the number of lookups, 2, got 1",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(table(4, 3))


def test_elsewhere_torch_does_the_work():
    weight = torch.empty(4, 3, device="meta")
    assert ft.embedding(torch.empty(5, dtype=torch.int64, device="meta"), weight).shape == (5, 3)
    weight = table(4, 3)
    input = torch.tensor([[1, 2], [3, 3]])
    for call in (ft.embedding, ft.embedding_bag):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of torch, that this is slow
            doubled = torch.func.vmap(lambda i, call=call: call(i, weight))(input[:, None, :])
        assert torch.equal(doubled[0], call(input[:1], weight))
    tangent = torch.ones_like(weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own scripts
        _, derivative = torch.func.jvp(lambda w: ft.embedding(input, w), (weight,), (tangent,))
    assert torch.equal(derivative, torch.ones(2, 2, 3, dtype=torch.float64))
    module = ft.EmbeddingBag(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, (input,))
    assert torch.equal(traced(input.flip(0)), module(input.flip(0)))


def test_modes_beyond_torch_on_other_devices():
    weight = torch.empty(4, 3, device="meta", requires_grad=True)
    input = torch.empty(5, 2, dtype=torch.int64, device="meta")
    assert F.embedding_bag(input, weight).shape == (5, 3)
    with pytest.raises((RuntimeError, NotImplementedError)):  # lengths are data, which meta tensors have not
        ft.embedding_bag(input, weight, mode="sqrtn")
