"""`fastemb.torch.replace_embeddings`: every embedding of a model, in place."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402

import fastemb.torch as ft  # noqa: E402
from fastemb import optim  # noqa: E402


class Scaled(nn.Embedding):
    """A class of a user's own, as language models have them."""

    def forward(self, input):
        return 2 * super().forward(input)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(20, 4)
        self.same_words = nn.EmbeddingBag(20, 4)
        self.same_words.weight = self.words.weight
        self.again = self.words
        self.tied = nn.Embedding(20, 4)
        self.head = nn.Linear(4, 20)
        self.head.weight = self.tied.weight
        self.scaled = Scaled(20, 4)
        self.layers = nn.ModuleList([nn.EmbeddingBag(20, 4, mode="max")])

    def forward(self, input):
        hidden = self.words(input).mean(1) + self.same_words(input) + self.scaled(input).sum(1)
        return self.head(hidden + self.tied(input).mean(1) + self.layers[0](input))


def test_what_is_replaced():
    model = Model()
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    with pytest.warns(UserWarning, match=r"^(tied has .* its weight is also head.weight|scaled has)"):
        found = {each.name: each for each in ft.replace_embeddings(model, fused_optimizer="sgd")}
    assert list(found) == ["words", "same_words", "tied", "scaled", "layers.0"]
    assert [each.replaced for each in found.values()] == [True, True, True, False, True]
    assert [each.fused for each in found.values()] == [True, True, False, False, True]
    assert "head.weight" in found["tied"].note and "Scaled is a class of its own" in found["scaled"].note
    assert all(found[name].module is modules[name] for name in found)
    assert type(model.words) is ft.Embedding and type(model.layers[0]) is ft.EmbeddingBag
    assert model.again is model.words and model.head.weight is model.tied.weight
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert model.words.fused_optimizer is model.layers[0].fused_optimizer


def test_same_losses_with_the_optimizer_that_was_there():
    losses = []
    for replaced in (False, True):
        model = Model()
        optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
        if replaced:
            with pytest.warns(UserWarning, match="no fused optimizer"):
                ft.replace_embeddings(model, fused_optimizer=optim.Adagrad(lr=0.1, eps=1e-10))
        curve = []
        for step in range(8):
            input = torch.randint(0, 20, (6, 3), generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(input), input[:, 0])
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        losses.append(curve)
        assert (model.words.weight.grad is None) is replaced and model.tied.weight.grad is not None
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]))


def test_hooks_mode_and_state_stay():
    model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2)).eval()
    model[0].note = "mine"
    calls = []
    model[0].register_forward_hook(lambda module, arguments, output: calls.append(output.shape))
    model[0].weight.register_hook(lambda gradient: calls.append(gradient.shape))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert [each.replaced for each in ft.replace_embeddings(model)] == [True]
    model(torch.tensor([1])).sum().backward()
    assert calls == [(1, 2), (5, 2)] and not model[0].training and model[0].note == "mine"
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_lone_module_and_a_second_time():
    module = nn.EmbeddingBag(5, 2)
    (found,) = ft.replace_embeddings(module)
    assert found == ("", module, True, False, "") and type(module) is ft.EmbeddingBag
    (found,) = ft.replace_embeddings(module, fused_optimizer="adam")
    assert found.replaced and found.fused and module.fused_optimizer is not None


def test_parametrized_tables_are_replaced_but_not_fused():
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    model = nn.Sequential(nn.Embedding(5, 2))
    parametrize.register_parametrization(model[0], "weight", Doubled())
    with pytest.warns(UserWarning, match="computed from other parameters"):
        (found,) = ft.replace_embeddings(model, fused_optimizer="sgd")
    assert found.replaced and not found.fused and isinstance(model[0], ft.Embedding)
    original = model[0].parametrizations.weight.original
    out = model(torch.tensor([1, 1]))
    torch.testing.assert_close(out, 2 * original[[1, 1]])
    out.sum().backward()
    assert original.grad[1].tolist() == [4, 4]


def test_save_optimizer_keeps_the_state():
    model = nn.Sequential(nn.Embedding(5, 2))
    ft.replace_embeddings(model, fused_optimizer="adagrad", save_optimizer=True)
    model(torch.tensor([1])).sum().backward()
    assert list(model.state_dict()) == ["0.fused_optimizer.Adagrad.step", "0.fused_optimizer.Adagrad.sum", "0.weight"]


def test_only_modules_are_taken():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got list"):
        ft.replace_embeddings([nn.Embedding(2, 2)])
