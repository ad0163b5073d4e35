"""Gradients of a whole table: scatter_add, and the dense backward of lookups and bags."""

from collections.abc import Callable, Iterator
from typing import Any

from fastemb import functional
from fastemb.bench.layers.cases import SIZES, Case, in_turn, sweep
from fastemb.bench.layers.comparison import OURS, Comparison
from fastemb.bench.layers.needs import torch
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.torch_side import tensors
from fastemb.bench.layers.work import STEP_TOLERANCE

Sides = dict[str, Callable[[], Any]]


def backward(setup: Setup) -> Iterator[Comparison]:
    """Yield gradients of a whole table, which each side allocates; scatter_add adds to a table that is given.

    Examples
    --------
    >>> from fastemb.bench.layers.backward import backward
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(backward(Setup(quick=True))).verify()
    """
    makers = {"scatter_add": _scatter_sides, "embedding": _lookup_sides, "bag": _bag_sides}
    for case in sweep(SIZES[:4], variants=tuple(makers), per_table=4, quick=setup.quick):
        yield Comparison(case, makers[case.variant](setup, case), tolerance=STEP_TOLERANCE)


def _scatter_sides(setup: Setup, case: Case) -> Sides:
    table, batches = setup.inputs.table(case), setup.inputs.batches(case)
    source = setup.inputs.gradient(case.num_lookups, case.embedding_dim)
    ours, theirs, others = table.copy(), torch.from_numpy(table).clone(), torch.from_numpy(table).clone()
    rows, indices, ids = torch.from_numpy(source), in_turn(batches), in_turn(tensors(batches))
    columns = in_turn([batch[:, None].expand(-1, case.embedding_dim) for batch in tensors(batches)])
    return {
        OURS: lambda: functional.scatter_add(ours, indices(), source),
        "torch": lambda: theirs.scatter_add_(0, columns(), rows),
        "torch index_add": lambda: others.index_add_(0, ids(), rows),
    }


def _lookup_sides(setup: Setup, case: Case) -> Sides:
    table, batches = setup.inputs.table(case), setup.inputs.batches(case)
    gradient = setup.inputs.gradient(case.num_lookups, case.embedding_dim)
    grad, indices, ids = torch.from_numpy(gradient), in_turn(batches), in_turn(tensors(batches))
    return {
        OURS: lambda: functional.embedding_backward(gradient, indices(), table),
        "torch": lambda: torch.ops.aten.embedding_dense_backward(grad, ids(), case.num_embeddings, -1, False),
    }


def _bag_sides(setup: Setup, case: Case) -> Sides:
    table, offsets = setup.inputs.table(case), setup.inputs.offsets(case)
    indices = setup.inputs.batches(case)[0]  # one batch only: torch keeps a graph for each
    gradient = setup.inputs.gradient(case.num_bags, case.embedding_dim)
    weight = torch.from_numpy(table).detach().requires_grad_()
    ids, starts, grad = map(torch.from_numpy, (indices, offsets, gradient))
    output = torch.nn.functional.embedding_bag(ids, weight, starts, mode="sum")
    return {
        OURS: lambda: functional.embedding_bag_backward(gradient, indices, table, offsets, mode="sum"),
        "torch": lambda: torch.autograd.grad(output, weight, grad, retain_graph=True)[0],
    }
