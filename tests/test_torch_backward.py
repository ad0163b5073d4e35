"""Backwards out of the ordinary: gradients added to others, weights frozen in between, checkpoints, several threads."""

import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastemb.torch as ft  # noqa: E402
from fastemb import optim  # noqa: E402
from fastemb.torch import fused  # noqa: E402


@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
@pytest.mark.parametrize("first", [[9, 9], []])
def test_sparse_gradients_are_added_to_one_of_no_rows(kind, first):
    options = {"padding_idx": 9, "sparse": True} | ({"mode": "sum"} if kind == "EmbeddingBag" else {})
    layer = getattr(ft, kind)(10, 4, **options)
    for indices in (first, [3, 9], [5, 3]):
        layer(torch.tensor([indices], dtype=torch.long)).sum().backward()
    assert layer.weight.grad.to_dense()[:, 0].tolist() == [0, 0, 0, 2, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("options", [{}, {"sparse": True}, {"fused_optimizer": "sgd"}], ids=str)
@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_a_weight_that_was_frozen_after_the_forward_gets_no_gradient(kind, options):
    layer = getattr(ft, kind)(10, 4, **options)
    before = layer.weight.detach().clone()
    loss = layer(torch.tensor([[1, 2]])).sum()
    layer.weight.requires_grad_(False)
    loss.backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.weight.detach(), before, rtol=0, atol=0)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, lambda: optim.SGD(clip_norm=0.1)])
def test_a_table_in_several_checkpoints_makes_one_step(make, reentrant):
    """What is computed again is computed with the weights of the forward."""
    first, second = torch.tensor([[1, 2, 2]]), torch.tensor([[2, 7, 3]])

    def train(again, layer):
        state = again(lambda x: x + layer(first).tanh(), torch.ones((), dtype=torch.float64, requires_grad=True))
        state = again(lambda x: (x * layer(second)).tanh(), state)
        again(lambda x: (x * layer(first)).square().sum(), state).backward()

    found = []
    for again in (
        lambda function, x: function(x),
        lambda function, x: checkpoint(function, x, use_reentrant=reentrant),
    ):
        torch.manual_seed(0)
        layer = ft.Embedding(10, 4, dtype=torch.float64, fused_optimizer=make)
        for _ in range(3):
            train(again, layer)
        found.append(layer.weight.detach())
    torch.testing.assert_close(*found)


def test_threads_that_clip_by_the_norm_do_not_take_each_others_gradients(monkeypatch):
    optimizer = optim.SGD(lr=1.0, clip_norm=100.0)
    layers = [ft.Embedding(2, 4, fused_optimizer=optimizer) for _ in range(2)]
    for layer in layers:
        layer.weight.data.zero_()
    meet, merge = threading.Barrier(2), fused.merge

    def merge_at_once(gradients):
        meet.wait(100)
        return merge(gradients)

    monkeypatch.setattr(fused, "merge", merge_at_once)

    def work(row):
        sum(layer(torch.tensor([row])).sum() for layer in layers).backward()

    threads = [threading.Thread(target=work, args=(row,)) for row in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for layer in layers:
        assert layer.weight[:, 0].tolist() == [-1, -1]
