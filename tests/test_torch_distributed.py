"""DistributedDataParallel: torch's numbers where gradients are averaged, an error where there is none to average."""

import subprocess
import sys
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

WORKER = """
import os
import sys
import time
from pathlib import Path
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
import fastemb.torch as ft

rank = int(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)

def model(kind, **options):
    torch.manual_seed(0)
    return nn.Sequential(kind.EmbeddingBag(20, 4, mode="sum", **options), nn.Linear(4, 1))

def batch(step, rank):
    return torch.randint(20, (6, 3), generator=torch.Generator().manual_seed(10 * step + rank))

def train(model, optimizer, wrapped, steps):
    for step in range(steps):
        optimizer.zero_grad()
        wrapped(batch(step, rank)).square().mean().backward()
        optimizer.step()
    return model[0].weight.detach()

def of_all(weight):
    found = [torch.empty_like(weight) for _ in range(2)]
    dist.all_gather(found, weight)
    return found

for sparse in (False, True):
    made = {kind: model(kind, sparse=sparse) for kind in (nn, ft)}
    steps = 300 if sparse else 3  # many: the thread that averages sparse gradients reads them as they become `.grad`
    weights = {k: train(m, torch.optim.Adagrad(m.parameters(), lr=0.1), DDP(m), steps) for k, m in made.items()}
    torch.testing.assert_close(weights[ft], weights[nn])
    assert torch.equal(*of_all(weights[ft]))
    assert made[ft][0].weight.grad.is_sparse is sparse
    print("same", sparse)

fused = model(ft, fused_optimizer="sgd")
before = fused[0].weight.detach().clone()
wrapped = DDP(fused)
try:
    wrapped(batch(0, rank)).sum().backward()
except RuntimeError as error:
    print(error)
assert torch.equal(fused[0].weight, before)
with torch.no_grad():
    wrapped(batch(0, rank))

own = model(ft, fused_optimizer="sgd")
DDP._set_params_and_buffers_to_ignore_for_model(own, ["0.weight"])
step = torch.optim.SGD(own[1].parameters(), lr=0.1)
first, second = of_all(train(own, step, DDP(own), 3))
assert not torch.equal(first, second)
print("own", flush=True)

# Gloo may end a process whose peer is gone: none leaves before both are through, and none clears away.
Path(f"through {rank}").touch()
for _ in range(6000):
    if Path(f"through {1 - rank}").exists():
        break
    time.sleep(0.01)
os._exit(0)
"""


def test_two_processes(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, "-W", "ignore", "worker.py"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=600) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], "\n".join(err for _, err in printed)
        for out, _ in printed:
            lines = out.splitlines()
            assert lines[:2] == ["same False", "same True"] and lines[3] == "own"
            assert lines[2].startswith("DistributedDataParallel averages gradients, and a fused table has none")
    finally:
        for process in processes:
            process.kill()


def test_a_sparse_gradient_stays_coalesced_and_leaves_no_hook():
    import fastemb.torch as ft

    bag = ft.EmbeddingBag(20, 4, mode="sum", sparse=True)
    batch = torch.tensor([[3, 1, 3]])
    (asked,) = torch.autograd.grad(bag(batch).sum(), bag.weight)
    assert asked.is_coalesced() and not bag.weight._post_accumulate_grad_hooks
    bag(batch).sum().backward()
    assert bag.weight.grad.is_coalesced() and not bag.weight._post_accumulate_grad_hooks


def test_only_the_gradient_itself_is_marked_coalesced_again():
    import fastemb.torch as ft

    weight = torch.nn.Parameter(torch.zeros(20, 4))
    other = torch.tensor([[3, 3]])
    weight.register_hook(lambda grad: torch.sparse_coo_tensor(other, grad._values(), (20, 4), check_invariants=False))
    ft.embedding(torch.tensor([1, 7]), weight, sparse=True).sum().backward()
    assert not weight.grad.is_coalesced() and weight.grad.coalesce()._nnz() == 1


def test_no_other_gradient_comes_to_lie_where_one_that_is_to_be_marked_does():
    from fastemb.torch.autograd import _keep_coalesced

    weight, values = torch.nn.Parameter(torch.zeros(20, 4)), np.zeros((2, 4), np.float32)
    memory = weakref.ref(values)
    gradient = torch.sparse_coo_tensor(
        torch.tensor([[1, 7]]), torch.from_numpy(values), (20, 4), check_invariants=False, is_coalesced=True
    )
    _keep_coalesced(weight, gradient)
    del gradient, values
    assert memory() is not None
    weight.grad = torch.zeros(20, 4)
    weight.sum().backward()  # whatever comes next lets go of it
    assert memory() is None
