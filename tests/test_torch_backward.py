"""Backwards out of the ordinary: gradients added to others, weights frozen in between, checkpoints, several threads."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


import fastemb.torch as ft  # noqa: E402


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
