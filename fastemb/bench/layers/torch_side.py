"""torch's own layers and optimizers."""

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from fastemb.bench.layers.cases import in_turn
from fastemb.bench.layers.needs import torch
from fastemb.bench.layers.work import ADAGRAD_EPS, RATE, Step, Work

OPTIMIZERS: dict[tuple[str, bool], Any] = {
    ("sgd", True): lambda parameters: torch.optim.SGD(parameters, lr=RATE),
    ("sgd", False): lambda parameters: torch.optim.SGD(parameters, lr=RATE),
    ("adagrad", True): lambda parameters: torch.optim.Adagrad(parameters, lr=RATE, eps=ADAGRAD_EPS),
    ("adagrad", False): lambda parameters: torch.optim.Adagrad(parameters, lr=RATE, eps=ADAGRAD_EPS),
    ("adam", True): lambda parameters: torch.optim.SparseAdam(list(parameters), lr=RATE),
    ("adam", False): lambda parameters: torch.optim.Adam(parameters, lr=RATE),
}
"""The optimizer of a name, for sparse gradients or dense ones."""


def tensors(batches: Iterable[NDArray]) -> list[torch.Tensor]:
    """Return arrays as tensors of the same memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.bench.layers.torch_side import tensors
    >>> tensors([np.array([1, 2])])
    [tensor([1, 2])]
    """
    return [torch.from_numpy(batch) for batch in batches]


def bag_step(work: Work, optimizer: str, *, sparse: bool) -> Step:
    """Return a step of ``nn.EmbeddingBag`` with torch's own optimizer.

    Parameters
    ----------
    work
        What to do.
    optimizer
        ``"sgd"``, ``"adagrad"`` or ``"adam"``.
    sparse
        Whether the gradient is sparse.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import Case, Inputs
    >>> from fastemb.bench.layers.torch_side import bag_step
    >>> from fastemb.bench.layers.work import Work
    >>> work = Work.of(Inputs(), Case(100, 16, bag_length=2, num_bags=3))
    >>> step = bag_step(work, "adagrad", sparse=True)
    >>> step.run()
    >>> bool((step.rows(work.batches[0]).numpy() != work.table[work.batches[0]]).all())
    True
    """
    torch.sparse.check_sparse_tensor_invariants.disable()  # as it is by default, which torch warns of
    module = torch.nn.EmbeddingBag.from_pretrained(
        torch.from_numpy(work.table).clone(), freeze=False, mode="sum", sparse=sparse, include_last_offset=True
    )
    return module_step(work, module, OPTIMIZERS[optimizer, sparse](module.parameters()))


def module_step(work: Work, module: torch.nn.EmbeddingBag, optimizer: torch.optim.Optimizer | None) -> Step:
    """Return a training step of an ``nn.EmbeddingBag``; without an optimizer it updates itself."""
    offsets, gradient = torch.from_numpy(work.offsets), torch.from_numpy(work.gradient)
    indices = in_turn(tensors(work.batches))

    def run() -> None:
        module(indices(), offsets).backward(gradient)
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()  # here and not first, so that what a step allocates is free when it ends

    return Step(run, lambda rows: module.weight[torch.from_numpy(rows)].detach())
