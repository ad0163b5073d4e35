"""fastemb.torch on a GPU: on its tensors where there is one, else on the CPU's, with the simulator's kernels."""

import copy
import warnings
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")

import fastemb  # noqa: E402
import fastemb.torch as ft  # noqa: E402
from fastemb import optim  # noqa: E402
from fastemb.engine import gpu, operations, streams  # noqa: E402
from fastemb.torch import devices  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]
V, D = 6, 4
HAS_GPU = torch.cuda.is_available() and not streams.is_simulated()
PLACE = "cuda" if HAS_GPU else "cpu"


class StandIn(devices.Gpu):
    """Tensors of the CPU for those of a GPU: all but the memory, the stream and the flag's way is the same."""

    def __init__(self):
        self.asked, self.has_come, self.used = 0, True, []

    def holds(self, tensor):
        return tensor.is_cpu

    def using(self, tensor):
        return nullcontext()

    def stream(self, tensor):
        self.asked += 1
        made = streams.cuda().stream()
        self.used.append(made)
        return made

    def on_its_way(self, flag):
        return lambda: self.has_come, lambda: int(flag.to_host()[0])


@pytest.fixture(autouse=True)
def card(monkeypatch):
    """What stands for a GPU; where there is one, it is itself."""
    devices._waiting.clear()
    if HAS_GPU:
        yield devices._gpu
    else:
        monkeypatch.setattr(devices, "_gpu", StandIn())
        yield devices._gpu
    devices._waiting.clear()


@pytest.fixture(autouse=True)
def on_gpu_only(monkeypatch):
    """No kernel of the CPU reads or steps a table here."""

    def refuse(*arguments, **options):
        raise AssertionError("the CPU's kernels ran on a GPU's tensors")

    for name in ("plain_lookup", "plain_reduce"):
        monkeypatch.setattr(operations, name, refuse)
    seen = []
    for name in ("lookup", "reduce", "extremes", "step", "update"):
        run = getattr(gpu, name)
        monkeypatch.setattr(gpu, name, lambda *a, run=run, name=name, **o: (seen.append(name), run(*a, **o))[1])
    return seen


def weight_of(dtype=torch.float32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((V, D))).to(PLACE, dtype)


def there(values):
    return torch.tensor(values, device=PLACE)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_lookups_and_their_gradients(dtype, sparse, on_gpu_only):
    weights = [weight_of(dtype).requires_grad_() for _ in range(2)]
    ids = there([[1, 5], [5, 0]])
    found = [call(ids, weight, padding_idx=0, sparse=sparse) for call, weight in
             zip((ft.embedding, torch.nn.functional.embedding), weights, strict=True)]  # fmt: skip
    assert torch.equal(*found) and found[0].device == weights[0].device
    for out in found:
        out.backward(torch.arange(16.0, device=PLACE).reshape(2, 2, D).to(dtype))
    grads = [weight.grad.to_dense() for weight in weights]
    assert weights[0].grad.is_sparse == sparse and grads[0].dtype is dtype
    close(grads[0], grads[1], 1e-2 if dtype.itemsize == 2 else 1e-6)
    assert "lookup" in on_gpu_only


@pytest.mark.parametrize("form", ["offsets", "last", "rows"])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_and_their_gradients(mode, form):
    weights = [weight_of().requires_grad_() for _ in range(2)]
    ids, offsets = there([1, 5, 5, 0, 2, 5]), there([0, 4, 4])
    told = {"mode": mode, "padding_idx": 0, "offsets": offsets}
    if form == "last":
        told |= {"offsets": there([0, 4, 4, 6]), "include_last_offset": True}
    elif form == "rows":
        ids, told["offsets"] = ids.reshape(3, 2), None
    found = [call(ids, weight, **told) for call, weight in
             zip((ft.embedding_bag, torch.nn.functional.embedding_bag), weights, strict=True)]  # fmt: skip
    close(*found)
    for out in found:
        out.backward(torch.linspace(-1, 1, 3 * D, device=PLACE).reshape(3, D))
    close(weights[0].grad, weights[1].grad)


def test_weights_of_samples_learn():
    given = [(weight_of().requires_grad_(), there([1.0, -2.0, 0.5]).requires_grad_()) for _ in range(2)]
    ids, offsets = there([1, 5, 2]), there([0, 2])
    for (weight, samples), call in zip(given, (ft.embedding_bag, torch.nn.functional.embedding_bag), strict=True):
        call(ids, weight, offsets, mode="sum", per_sample_weights=samples).square().sum().backward()
    for found, expected in zip(*given, strict=True):
        close(found.grad, expected.grad)


def test_second_derivatives_and_modes_that_torch_lacks():
    weight, ids = weight_of(torch.float64).requires_grad_(), there([[1, 5], [2, 2]])
    for mode in ("sqrtn", "min"):
        call = partial(ft.embedding_bag, ids, mode=mode)
        assert torch.autograd.gradcheck(call, weight, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, weight, fast_mode=True)


OPTIMIZERS = {
    "sgd": lambda: optim.SGD(lr=0.1),
    "rowwise": lambda: optim.RowwiseAdagrad(lr=0.1),
    "adam": lambda: optim.Adam(lr=0.1),
    "clipped": lambda: optim.SGD(lr=0.1, clip_norm=0.5),
    "exact decay": lambda: optim.SGD(lr=0.1, weight_decay=0.1, decay="exact"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_optimizers_step_as_layers_do(name, on_gpu_only):
    module = ft.EmbeddingBag(V, D, mode="sum", fused_optimizer=OPTIMIZERS[name](), _weight=weight_of().clone())
    layer = fastemb.EmbeddingBag(V, D, mode="sum", W=weight_of().cpu().numpy(), optimizer=OPTIMIZERS[name]())
    grad = torch.linspace(-1, 1, 2 * D, device=PLACE).reshape(2, D)
    for ids in ([[1, 2], [2, 0]], [[2, 5], [5, 5]]):
        close(module(there(ids)).detach().cpu(), torch.from_numpy(layer(ids)))
        module(there(ids)).backward(grad)
        layer.backward(grad.cpu().numpy())
        layer.forget()
    assert module.weight.grad is None and {"step", "update"} & set(on_gpu_only)
    module.state_dict()
    layer.flush()
    close(module.weight.detach().cpu(), torch.from_numpy(np.asarray(layer.weight)))


def test_state_is_saved_and_moves(card):
    module = ft.Embedding(V, D, fused_optimizer="adam", save_optimizer=True, _weight=weight_of().clone())
    ids = there([1, 5])
    module(ids).sum().backward()
    saved = copy.deepcopy(module.state_dict())
    arrays = [value for key, value in saved.items() if key.startswith("fused_optimizer.") and value.dim() == 2]
    assert len(arrays) == 2 and all(value.device == module.weight.device for value in arrays)
    other = ft.Embedding(V, D, fused_optimizer="adam", save_optimizer=True, device=PLACE)
    other.load_state_dict(saved)
    for each in (module, other):
        each(ids).sum().backward()
    assert torch.equal(module.weight, other.weight)
    moved = copy.deepcopy(module)
    if HAS_GPU:
        moved.to("cpu")
    else:
        card.holds = lambda tensor: False  # the module is on the CPU now
    moved(ids.cpu()).sum().backward()
    if HAS_GPU:
        moved.to("cuda")
    else:
        del card.holds
    moved(ids).sum().backward()
    for _ in range(2):
        module(ids).sum().backward()
    close(moved.weight, module.weight)


def test_work_is_queued_in_torchs_stream(card):
    weight = weight_of().requires_grad_()
    side = torch.cuda.Stream() if HAS_GPU else None
    with torch.cuda.stream(side) if HAS_GPU else nullcontext():
        ft.embedding(there([1, 2]), weight).sum().backward()
    if HAS_GPU:
        side.synchronize()
    else:
        assert card.asked == 2  # the forward's, and the backward's, of whichever thread
    assert weight.grad.sum() == 2 * D
    assert streams.current_stream() == 0 or HAS_GPU


def test_nothing_waits(card, monkeypatch):
    """Neither a forward nor a look at a flag that has not come copies anything to the host."""
    from fastemb.engine.device import DeviceArray

    weight, ids = weight_of(), there([[1, 2], [3, 4]])
    monkeypatch.setattr(DeviceArray, "to_host", lambda self: pytest.fail("something was copied to the host"))
    if not HAS_GPU:
        card.has_come = False
    ft.embedding(ids, weight)
    ft.embedding_bag(ids.reshape(-1), weight, there([0, 2]), mode="mean")
    ft.embedding_bag(ids, weight, mode="max", padding_idx=1)
    for made in (ft.Embedding, ft.EmbeddingBag):
        for optimizer in (None, "adam", "rowwise_adagrad"):
            module = made(V, D, padding_idx=0, fused_optimizer=optimizer, device=PLACE)
            for _ in range(2):
                module(ids).sum().backward()


def test_a_bad_index_is_told_by_a_later_call(card):
    weight = weight_of()
    if not HAS_GPU:
        card.has_come = False
    ft.embedding(there([[1, 2], [V, 3]]), weight)
    ft.embedding_bag(there([1, -7]), weight, there([0, 1]))
    ft.embedding(there([1]), weight)
    if HAS_GPU:
        torch.cuda.synchronize()
    else:
        card.has_come = True
    with pytest.raises(IndexError, match=r"indices must be in \[0, 6\), got 6 at position \(1, 0\)") as caught:
        ft.embedding(there([1]), weight)
    assert caught.value.__notes__ == [
        "An earlier call is at fault: put it in `with fastemb.deferred_errors():` to find it."
    ]
    with pytest.raises(IndexError, match="got -7 at position 1"):
        ft.embedding(there([1]), weight)
    assert torch.equal(ft.embedding(there([1]), weight), weight[1:2])
    with pytest.raises(IndexError, match="got 9 at position 0"), fastemb.deferred_errors():
        ft.embedding(there([9]), weight)
    with pytest.raises(ValueError, match="offsets must not fall"), fastemb.deferred_errors():
        ft.embedding_bag(there([1, 2]), weight, there([0, 2, 1]))


def test_memory_is_torchs(card, monkeypatch):
    made = []
    empty = torch.empty

    def counted(*arguments, **options):
        made.append(options.get("dtype"))
        return empty(*arguments, **options)

    monkeypatch.setattr(devices.torch, "empty", counted)
    found = ft.embedding(there([1, 2]), weight_of())
    assert torch.uint8 in made and found.untyped_storage().nbytes() >= 2 * D * 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing_that_torch_does_not(dtype):
    weight, ids = weight_of().requires_grad_(), there([[1, 2]])
    if PLACE == "cpu" and dtype is torch.float16 and not torch.amp.is_autocast_available("cpu"):
        dtype = torch.bfloat16
    with torch.autocast(PLACE, dtype):
        found, expected = ft.embedding_bag(ids, weight), torch.nn.functional.embedding_bag(ids, weight)
        assert found.dtype is expected.dtype
        out = torch.nn.functional.linear(found, torch.eye(D, device=PLACE))
    out.sum().backward()
    assert weight.grad.dtype is torch.float32 and torch.equal(weight.grad[1], torch.full((D,), 0.5, device=PLACE))


def test_norms_are_limited():
    weights = [weight_of() for _ in range(2)]
    ids = there([1, 5, 5])
    found = ft.embedding(ids, weights[0], max_norm=0.5)
    expected = torch.nn.functional.embedding(ids, weights[1], max_norm=0.5)
    close(found, expected)
    close(*weights)


def test_errors():
    weight = weight_of()
    for call, message in (
        (lambda: ft.embedding_bag(there([1]), weight), "an input of 1 dimension needs offsets"),
        (lambda: ft.embedding_bag(there([[1]]), weight, there([0])), "offsets go with an input of one dimension"),
        (lambda: ft.embedding_bag(there([1]), weight, there([[0]])), "offsets must have 1 dimension"),
        (lambda: ft.embedding_bag(there([1]), weight, there([0])[:0], include_last_offset=True), "no offsets"),
        (lambda: ft.embedding(there([1]), weight, padding_idx=V), "padding_idx must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="input must be a tensor of integers"):
        ft.embedding(there([1.0]), weight)


def test_where_kernels_cannot_run_torchs_do(monkeypatch):
    """On a GPU without numba-cuda: torch's own operations, without a word; a fused optimizer tells why it cannot."""

    class Cuda:
        is_cpu, is_cuda, device = False, True, "cuda:0"

    monkeypatch.setattr(devices, "gpu_problem", lambda: "no package numba-cuda")
    monkeypatch.setattr(devices, "_gpu", devices.Gpu())
    assert not devices.on_gpu(Cuda) and not devices.on_gpu(torch.zeros(2))
    assert devices.why_not_on_gpu(Cuda) == (
        "it is on cuda:0, where fastemb's kernels cannot run: no package numba-cuda"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meta = ft.embedding(torch.tensor([1], device="meta"), torch.zeros(2, 3, device="meta"))
    assert meta.device.type == "meta"
