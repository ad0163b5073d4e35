"""fastemb.torch among what torch users use: data loaders, threads, processes, torch.compile."""

import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

import fastemb.torch as ft  # noqa: E402

ROWS, DIM = 500, 16


class Looked(Dataset):
    """Looks up in the worker, as those who precompute features do."""

    def __init__(self, module):
        self.module = module

    def __len__(self):
        return 8

    def __getitem__(self, item):
        input = torch.arange(400).view(20, 20) + item
        loss = self.module(input).sum()
        loss.backward()
        return input, self.module(input).detach()


@pytest.fixture
def bag():
    torch.manual_seed(0)
    module = ft.EmbeddingBag(ROWS, DIM, mode="sum")
    module(torch.randint(0, ROWS, (3000, 40)))  # enough for all threads, before any fork
    return module


def test_forked_data_loader_workers(bag):
    loader = DataLoader(Looked(bag), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=600)
    for input, out in loader:
        torch.testing.assert_close(out, bag(input))


def test_spawned_data_loader_workers(tmp_path):
    """In a program of its own, as spawned workers import the main module again."""
    (tmp_path / "main.py").write_text(SPAWN)
    ran = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["4", "True"]


SPAWN = """
import torch
from torch.utils.data import DataLoader, Dataset
from fastemb.torch import EmbeddingBag

class Looked(Dataset):
    def __init__(self, module):
        self.module = module

    def __len__(self):
        return 4

    def __getitem__(self, item):
        input = torch.arange(100).view(10, 10)
        return input, self.module(input).detach()

if __name__ == "__main__":
    bag = EmbeddingBag(100, 8)
    batches = list(DataLoader(Looked(bag), batch_size=None, num_workers=1, multiprocessing_context="spawn"))
    print(len(batches), all(torch.allclose(out, bag(input)) for input, out in batches))
"""


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile looks at it
def test_compile_breaks_the_graph_and_goes_on():
    torch.manual_seed(0)
    model = nn.Sequential(ft.EmbeddingBag(ROWS, DIM, fused_optimizer="adagrad"), nn.Linear(DIM, 2))
    plain = nn.Sequential(nn.EmbeddingBag(ROWS, DIM), nn.Linear(DIM, 2))
    plain.load_state_dict(model.state_dict())
    compiled = torch.compile(model, backend="eager")
    steps = [torch.optim.Adagrad(plain.parameters()), torch.optim.Adagrad(model[1].parameters())]
    for step in range(3):
        input = torch.randint(0, ROWS, (10, 4), generator=torch.Generator().manual_seed(step))
        for optimizer in steps:
            optimizer.zero_grad()
        losses = [module(input).square().sum() for module in (plain, compiled)]
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
        for optimizer in steps:
            optimizer.step()
    torch.testing.assert_close(model[0].weight, plain[0].weight)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_compiled_lookup():
    module = ft.Embedding(ROWS, DIM)
    compiled = torch.compile(lambda input: module(input) * 2, backend="eager")
    assert torch.equal(compiled(torch.tensor([3, 4])), module.weight[[3, 4]] * 2)
    torch._dynamo.reset()


@pytest.mark.parametrize("fused", [None, "sgd"])
@pytest.mark.parametrize("kind", [ft.Embedding, ft.EmbeddingBag])
def test_graphs_for_serving(kind, fused):
    model, input = nn.Sequential(kind(ROWS, DIM, fused_optimizer=fused), nn.Linear(DIM, 2)), torch.tensor([[3, 4]])
    expected = model(input)
    torch.testing.assert_close(torch.export.export(model, (input,)).module()(input), expected)
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(traced(input), expected)
    traced(input).sum().backward()
    assert model[0].weight.grad is not None


def test_a_fused_table_is_traced_without_gradients():
    module, input = ft.EmbeddingBag(ROWS, DIM, fused_optimizer="sgd"), torch.tensor([[3, 4]])
    with pytest.warns(DeprecationWarning, match="torch.jit.trace"), torch.no_grad():
        traced = torch.jit.trace(module, input)
    torch.testing.assert_close(traced(input).detach(), module(input).detach())


def test_several_threads_call_one_module(bag):
    """Torch's own threads and ours at once; a step is made for each backward."""
    bag.fused_optimizer = "sgd"
    expected = nn.EmbeddingBag.from_pretrained(bag.weight.detach().clone(), mode="sum", freeze=False)
    input = torch.randint(0, ROWS, (2000, 30), generator=torch.Generator().manual_seed(3))
    errors = []

    def work():
        try:
            for _ in range(5):
                (torch.mm(torch.ones(300, 300), torch.ones(300, 300)).mean() * bag(input)).sum().backward()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (300 * expected(input)).sum().backward()
    with torch.no_grad():
        expected.weight -= 15 * bag.fused_optimizer.lr * expected.weight.grad
    torch.testing.assert_close(bag.weight, expected.weight, rtol=1e-3, atol=1e-3)


def test_without_torch_the_error_names_the_extra(tmp_path):
    code = """
import sys
sys.modules["torch"] = None
try:
    import fastemb.torch
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "fastemb.torch needs PyTorch: pip install 'fastemb[torch]'"


def test_shared_memory_tables(bag):
    bag.share_memory()
    input = torch.tensor([[1, 2]])
    torch.testing.assert_close(bag(input), bag.weight[[1, 2]].sum(0, keepdim=True))
