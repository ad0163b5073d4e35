"""torch as the oracle: random arguments, its own sample inputs, and where fastemb differs from it on purpose."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastemb.functional as F

torch = pytest.importorskip("torch", reason="torch is the oracle")
NF = torch.nn.functional
quick = settings(max_examples=60, deadline=None, derandomize=True)


def numpy_of(value):
    """torch's bfloat16 as ml_dtypes', everything else that is a tensor as an array."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype == torch.bfloat16:
        ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 arrays are made by ml_dtypes")
        return value.detach().view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
    return value.detach().numpy().copy()


def close(got, wanted):
    wanted = numpy_of(wanted)
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    limit = {8: 1e-12, 4: 2e-5, 2: 2e-2}[got.itemsize]
    np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=limit, atol=limit)


def torch_gradients(function, input, weight, options):
    """The result and the gradients of `weight` and `per_sample_weights`, dense, for a fixed gradient of the result."""
    weight = weight.detach().clone().requires_grad_()
    options = dict(options)
    samples = options.get("per_sample_weights")
    if samples is not None:
        samples = options["per_sample_weights"] = samples.detach().clone().requires_grad_()
    sparse = options.pop("sparse", False) and not options.get("scale_grad_by_freq")  # torch cannot do both
    by_frequency = function is NF.embedding_bag and options.pop(
        "scale_grad_by_freq", False
    )  # torch is wrong: see below
    result = function(input, weight, sparse=sparse, **options)
    grad = torch.randn(result.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(result.dtype)
    if result.requires_grad:
        result.backward(grad)
    found = torch.zeros_like(weight) if weight.grad is None else weight.grad.to_dense()
    if by_frequency:
        found = found / input.flatten().bincount(minlength=len(weight)).clamp(min=1)[:, None]
    return result, grad, found, None if samples is None else samples.grad, weight


def compare_bag(input, weight, **options):
    ours = {name: numpy_of(value) for name, value in options.items()}
    table = numpy_of(weight)
    result, grad, grad_weight, grad_samples, renormed = torch_gradients(NF.embedding_bag, input, weight, options)
    close(F.embedding_bag(numpy_of(input), table, **ours), result)
    close(table, renormed)  # max_norm changes the table, in both
    for name in ("max_norm", "norm_type"):
        ours.pop(name, None)
    for sparse in (False, True):
        got = F.embedding_bag_backward(numpy_of(grad), numpy_of(input), table, **{**ours, "sparse": sparse})
        close(dense_of(got, table), grad_weight)
    if grad_samples is not None:
        for name in ("sparse", "scale_grad_by_freq"):
            ours.pop(name, None)
        got = F.per_sample_weights_backward(numpy_of(grad), numpy_of(input), table, **ours)
        close(got.astype(table.dtype), grad_samples)


def compare_lookup(input, weight, **options):
    ours = {name: numpy_of(value) for name, value in options.items()}
    table = numpy_of(weight)
    result, grad, grad_weight, _, renormed = torch_gradients(NF.embedding, input, weight, options)
    close(F.embedding(numpy_of(input), table, **ours), result)
    close(table, renormed)
    for name in ("max_norm", "norm_type"):
        ours.pop(name, None)
    for sparse in (False, True):
        got = F.embedding_backward(numpy_of(grad), numpy_of(input), table, **{**ours, "sparse": sparse})
        close(dense_of(got, table), grad_weight)


def dense_of(gradient, table):
    if not isinstance(gradient, tuple):
        return gradient
    dense = np.zeros(table.shape, table.dtype)
    dense[gradient[0]] = gradient[1]
    return dense


@quick
@given(data=st.data())
def test_bags_of_random_arguments(data):
    seed = data.draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    num_embeddings, dim = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([1, 3, 16, 50]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    weight = torch.from_numpy(rng.standard_normal((num_embeddings, dim))).to(dtype)
    mode = data.draw(st.sampled_from(["sum", "mean", "max"]))
    options = {"mode": mode}
    if data.draw(st.booleans()):
        input = torch.from_numpy(rng.integers(0, num_embeddings, (rng.integers(1, 5), rng.integers(1, 6))))
    else:
        sizes = rng.integers(0, 4, rng.integers(1, 6))
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        with_last = data.draw(st.booleans())
        input = torch.from_numpy(rng.integers(0, num_embeddings, offsets[-1]))
        options["offsets"] = torch.from_numpy(offsets if with_last else offsets[:-1])
        options["include_last_offset"] = with_last
    if data.draw(st.booleans()):
        options["padding_idx"] = data.draw(st.integers(-num_embeddings, num_embeddings - 1))
    if mode == "sum" and data.draw(st.booleans()):
        options["per_sample_weights"] = torch.from_numpy(rng.standard_normal(tuple(input.shape))).to(dtype)
    if mode != "max" and data.draw(st.booleans()):
        options["scale_grad_by_freq"] = True
    if data.draw(st.booleans()):
        options["max_norm"], options["norm_type"] = 1.0, data.draw(st.sampled_from([1.0, 2.0, 3.0, float("inf")]))
    compare_bag(input, weight, **options)


@quick
@given(data=st.data())
def test_lookups_of_random_arguments(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    num_embeddings, dim = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([1, 3, 16, 50]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    weight = torch.from_numpy(rng.standard_normal((num_embeddings, dim))).to(dtype)
    input = torch.from_numpy(
        rng.integers(0, num_embeddings, data.draw(st.sampled_from([(), (0,), (5,), (3, 4), (2, 1, 3)])))
    )
    options = {"scale_grad_by_freq": data.draw(st.booleans())}
    if data.draw(st.booleans()):
        options["padding_idx"] = data.draw(st.integers(-num_embeddings, num_embeddings - 1))
    if data.draw(st.booleans()):
        options["max_norm"], options["norm_type"] = 0.9, data.draw(st.sampled_from([1.0, 2.0, 3.0, float("inf")]))
    compare_lookup(input, weight, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_short_tables(dtype, mode):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn((6, 17), generator=generator).to(dtype)
    input = torch.randint(0, 6, (4, 3), generator=generator)
    close(F.embedding_bag(input.numpy(), numpy_of(weight), mode=mode), NF.embedding_bag(input, weight, mode=mode))


def samples_of(name):
    """torch's own sample inputs of an operator, gradients apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        internal = pytest.importorskip("torch.testing._internal.common_methods_invocations", reason="torch's samples")
        return next(op for op in internal.op_db if op.name == name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "compare"), [("embedding", compare_lookup), ("embedding_bag", compare_bag)])
def test_samples_of_torch(name, compare, dtype):
    samples = list(samples_of(f"nn.functional.{name}").sample_inputs("cpu", dtype, requires_grad=False))
    assert len(samples) >= 10
    for sample in samples:
        compare(sample.args[0], sample.input, **sample.kwargs)


def test_one_hot_samples_of_torch():
    for sample in samples_of("nn.functional.one_hot").sample_inputs("cpu", torch.long):
        close(F.one_hot(numpy_of(sample.input), **sample.kwargs), NF.one_hot(sample.input, **sample.kwargs))


def test_errors_of_torch_are_errors():
    errors = list(samples_of("nn.functional.embedding").error_inputs("cpu"))
    assert errors
    for error in errors:
        sample = error.sample_input
        with pytest.raises((TypeError, ValueError, IndexError)):
            F.embedding(numpy_of(sample.args[0]), numpy_of(sample.input), *sample.args[1:], **sample.kwargs)


def test_module_samples_of_torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = pytest.importorskip("torch.testing._internal.common_modules", reason="torch's samples")
    for module in modules.module_db:
        if module.name not in ("nn.Embedding", "nn.EmbeddingBag"):
            continue
        function = F.embedding if module.name == "nn.Embedding" else F.embedding_bag
        for sample in module.module_inputs_func(
            module, device="cpu", dtype=torch.float32, requires_grad=False, training=True
        ):
            layer = module.module_cls(*sample.constructor_input.args, **sample.constructor_input.kwargs)
            (input,) = sample.forward_input.args
            close(function(input.numpy(), numpy_of(layer.weight)), layer(input))


@pytest.mark.parametrize("alpha", [1.0, -2.5])
def test_row_addition_is_index_add(alpha):
    generator = torch.Generator().manual_seed(2)
    weight, source = torch.randn((5, 3), generator=generator), torch.randn((9, 3), generator=generator)
    indices = torch.randint(0, 5, (9,), generator=generator)
    table = numpy_of(weight)
    F.scatter_add(table, indices.numpy(), source.numpy(), alpha=alpha)
    inner = source.clone().requires_grad_()
    wanted = weight.index_add(0, indices, inner, alpha=alpha)
    close(table, wanted)
    grad = torch.randn((5, 3), generator=generator)
    wanted.backward(grad)
    close(F.scatter_add_backward(grad.numpy(), indices.numpy(), alpha=alpha), inner.grad)


@pytest.mark.parametrize("norm_type", [0.5, 1.0, 2.0, 3.0, float("inf"), 0.0, -1.0])
def test_norms_are_torch_s(norm_type):
    weight = torch.randn((6, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    table = numpy_of(weight)
    input = torch.tensor([[0, 3], [3, 5]])
    F.embedding_renorm_(table, input.numpy(), 0.4, norm_type)
    close(table, torch.embedding_renorm_(weight, input, 0.4, norm_type))


def test_the_padding_row_is_returned_by_a_lookup_and_left_out_of_a_bag():
    weight = torch.arange(6.0).reshape(3, 2)
    for function, ours in ((NF.embedding, F.embedding), (NF.embedding_bag, F.embedding_bag)):
        input = torch.tensor([[1, 2], [1, 1]])
        close(ours(input.numpy(), weight.numpy(), padding_idx=1), function(input, weight, padding_idx=1))
    assert F.embedding([1], weight.numpy(), padding_idx=1).tolist() == [[2.0, 3.0]]
    assert F.embedding_bag([[1, 2]], weight.numpy(), padding_idx=1).tolist() == [[4.0, 5.0]]


def test_max_norm_sees_the_padding_row():
    for function, ours in ((NF.embedding, F.embedding), (NF.embedding_bag, F.embedding_bag)):
        weight = torch.full((2, 2), 9.0)
        table = weight.numpy().copy()
        input = torch.tensor([[0, 0]])
        function(input, weight, padding_idx=0, max_norm=1.0)
        ours(input.numpy(), table, padding_idx=0, max_norm=1.0)
        close(table, weight)
        assert table[0, 0] < 1


def test_ties_and_nans_of_extreme_bags():
    nan = float("nan")
    weight = torch.tensor([[1.0, nan], [2.0, 1.0], [2.0, 3.0]], dtype=torch.float64)
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2], [2, 1], [0]):
        result, grad, grad_weight, _, _ = torch_gradients(
            NF.embedding_bag, torch.tensor([order]), weight, {"mode": "max"}
        )
        close(F.embedding_bag([order], weight.numpy(), mode="max"), result)
        close(F.embedding_bag_backward(grad.numpy(), [order], weight.numpy(), mode="max"), grad_weight)
        least = NF.embedding_bag(torch.tensor([order]), -weight, mode="max")
        close(F.embedding_bag([order], weight.numpy(), mode="min"), -least)


def test_last_offset_is_the_end_of_the_last_bag():
    """torch divides a mean's last bag by all that follows its start, whatever the last offset says: both must agree."""
    weight = torch.tensor([[1.0], [3.0]])
    input, offsets = torch.tensor([1, 0, 0]), torch.tensor([0, 1])
    assert NF.embedding_bag(input, weight, offsets, include_last_offset=True).tolist() == [[1.0]]  # 3 / 3
    with pytest.raises(ValueError, match="offsets must end with the number of lookups, 3, got 1"):
        F.embedding_bag(input.numpy(), weight.numpy(), offsets.numpy(), include_last_offset=True)
    assert F.embedding_bag([1], weight.numpy(), [0, 1], include_last_offset=True).tolist() == [[3.0]]


def test_frequencies_are_those_of_the_row():
    """torch's bags divide by the frequency of a row before: row 4 is looked up once. Its lookups do as documented."""
    weight = torch.zeros((5, 1), requires_grad=True)
    input = torch.tensor([[1, 1, 4]])
    NF.embedding_bag(input, weight, mode="sum", scale_grad_by_freq=True).backward(torch.ones((1, 1)))
    assert weight.grad.ravel().tolist() == [0, 1, 0, 0, 0.5]
    table = weight.detach().numpy()
    got = F.embedding_bag_backward(np.ones((1, 1)), input.numpy(), table, mode="sum", scale_grad_by_freq=True)
    assert got.ravel().tolist() == [0, 1, 0, 0, 1]


def test_lookups_that_no_bag_holds_are_an_error():
    """torch returns no bags, and drops the lookups."""
    weight = torch.ones((2, 1))
    assert NF.embedding_bag(torch.tensor([0, 1]), weight, torch.tensor([], dtype=torch.long)).shape == (0, 1)
    with pytest.raises(ValueError, match="offsets must start at 0, got no offsets for 2 lookups"):
        F.embedding_bag([0, 1], weight.numpy(), [])


def test_bags_of_no_columns_are_empty():
    """torch fails: "step must be nonzero"."""
    assert F.embedding_bag(np.zeros((3, 0), int), np.ones((2, 4))).tolist() == [[0.0] * 4] * 3


def test_what_torch_refuses_and_fastemb_does():
    weight = np.arange(6.0).reshape(3, 2)
    grad = np.ones((1, 2))
    by_frequency = F.embedding_bag_backward(grad, [[2, 2]], weight, mode="max", scale_grad_by_freq=True)
    assert by_frequency.tolist() == [[0, 0], [0, 0], [0.5, 0.5]]
    rows, values = F.embedding_bag_backward(grad, [[2, 1]], weight, mode="max", sparse=True)
    assert rows.tolist() == [1, 2] and values.tolist() == [[0, 0], [1, 1]]
    rows, values = F.embedding_backward(np.ones((2, 2)), [2, 2], weight, sparse=True, scale_grad_by_freq=True)
    assert rows.tolist() == [2] and values.tolist() == [[1, 1]]
    short = F.embedding_bag([[1, 2]], weight.astype(np.float32), mode="sum", per_sample_weights=np.array([[1.0, 2.0]]))
    assert short.tolist() == [[10, 13]]
