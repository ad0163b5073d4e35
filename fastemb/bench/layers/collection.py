"""A collection of 26 tables in one call, beside 26 calls of torch's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb import EmbeddingBagCollection, optim
from fastemb.bench.layers.cases import Case, Inputs, in_turn
from fastemb.bench.layers.comparison import OURS, Comparison
from fastemb.bench.layers.needs import torch
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.torch_side import tensors
from fastemb.bench.layers.work import ADAGRAD_EPS, RATE, STEP_TOLERANCE

CRITEO = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652,
    2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
"""Rows of the 26 tables of DLRM on Criteo's Kaggle set."""
MOST_ROWS = 250_000
BATCH = 2048
BATCHES = 20
Forward = Callable[[], Sequence[Any]]
Step = Callable[[], None]


@dataclass
class Tables:
    """The work of a collection: for each table its rows, indices, offsets and gradient.

    Attributes
    ----------
    case
        Its size; `num_embeddings` is that of all tables together.
    weights, offsets, gradients
        One array for each table, as in `Work`.
    batches
        Of each call, indices for each table.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import Case, Inputs, in_turn
    >>> from fastemb.bench.layers.collection import Tables
    >>> len(Tables.of(Inputs(), Case(1000, 16, bag_length=1, num_bags=8)).weights)
    26
    """

    case: Case
    weights: Sequence[NDArray[np.float32]]
    batches: Sequence[Sequence[NDArray[np.int64]]]
    offsets: NDArray[np.int64]
    gradients: Sequence[NDArray[np.float32]]

    @classmethod
    def of(cls, inputs: Inputs, case: Case) -> "Tables":
        """Draw tables of Criteo's sizes, none larger than the case's `num_embeddings`."""
        sizes = [min(size, case.num_embeddings) for size in CRITEO]
        cases = [Case(size, case.embedding_dim, case.bag_length, case.num_bags, case.ids) for size in sizes]
        gradient = inputs.gradient(case.num_bags, case.embedding_dim)
        return cls(
            case,
            [inputs.normal(size, case.embedding_dim) for size in sizes],
            list(zip(*(islice(cycle(inputs.batches(each)), BATCHES) for each in cases), strict=True)),
            inputs.offsets(case, include_last=True),
            [gradient * np.float32(1 + number) for number in range(len(sizes))],
        )


def collection(setup: Setup) -> Iterator[Comparison]:
    """Yield one call for 26 tables beside 26 calls of ``nn.EmbeddingBag``.

    Examples
    --------
    >>> from fastemb.bench.layers.collection import collection
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(collection(Setup(quick=True))).verify()
    """
    choices = product(("forward", "step"), (16, 64, 128), (1, 20), ("uniform", "zipf"))
    most, batch = (1000, 64) if setup.quick else (MOST_ROWS, BATCH)
    for variant, width, length, ids in choices:
        if not setup.quick or (width, length, ids) == (16, 20, "zipf"):
            case = Case(most, width, length, batch, ids, variant)
            compare = _compare_forward if variant == "forward" else _compare_steps
            yield compare(Tables.of(setup.inputs, case))


def _compare_forward(tables: Tables) -> Comparison:
    (ours, _), (theirs, _) = our_side(tables), torch_side(tables)

    def without_gradient() -> Sequence[torch.Tensor]:
        with torch.no_grad():
            return theirs()

    sides = {OURS: ours, "torch": without_gradient}
    results = {name: lambda call=call: _joined(call()) for name, call in sides.items()}
    return Comparison(tables.case, sides, results, bytes=tables.case.row_bytes * len(CRITEO))


def _compare_steps(tables: Tables) -> Comparison:
    sides = {OURS: our_side(tables, train=True), "torch": torch_side(tables)}

    def after_two(forward: Forward, step: Step) -> Callable[[], NDArray]:
        def result() -> NDArray:
            step()
            step()
            return _joined(forward())

        return result

    return Comparison(
        tables.case,
        {name: step for name, (_, step) in sides.items()},
        {name: after_two(*calls) for name, calls in sides.items()},
        tolerance=STEP_TOLERANCE,
        bytes=tables.case.row_bytes * len(CRITEO),
    )


def our_side(tables: Tables, train: bool = False) -> tuple[Forward, Step]:
    """Return a forward, and a step with Adagrad, of `fastemb.EmbeddingBagCollection`."""
    names = [f"table {number}" for number in range(len(tables.weights))]
    layer = EmbeddingBagCollection(
        {name: weight.shape for name, weight in zip(names, tables.weights, strict=True)},
        mode="sum",
        embeddings_initializer=dict(zip(names, tables.weights, strict=True)),
        optimizer=optim.Adagrad(lr=RATE, eps=ADAGRAD_EPS),
    )
    layer.train(train)
    columns = [[(indices, tables.offsets) for indices in indices_of_tables] for indices_of_tables in tables.batches]
    batch = in_turn([dict(zip(names, of_tables, strict=True)) for of_tables in columns])
    gradients = dict(zip(names, tables.gradients, strict=True))

    def step() -> None:
        layer(batch())
        layer.backward(gradients)

    return lambda: list(layer(batch()).values()), step


def torch_side(tables: Tables) -> tuple[Forward, Step]:
    """Return a forward, and a step with sparse Adagrad, of an ``nn.EmbeddingBag`` for each table."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # as it is by default, which torch warns of
    modules = [
        torch.nn.EmbeddingBag.from_pretrained(
            torch.from_numpy(weight).clone(), freeze=False, mode="sum", sparse=True, include_last_offset=True
        )
        for weight in tables.weights
    ]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.Adagrad(parameters, lr=RATE, eps=ADAGRAD_EPS)
    offsets, gradients = torch.from_numpy(tables.offsets), list(map(torch.from_numpy, tables.gradients))
    batch = in_turn([tensors(indices) for indices in tables.batches])

    def forward() -> list[torch.Tensor]:
        return [module(indices, offsets) for module, indices in zip(modules, batch(), strict=True)]

    def step() -> None:
        torch.autograd.backward(forward(), gradients)
        optimizer.step()
        optimizer.zero_grad()

    return forward, step


def _joined(outputs: Sequence[Any]) -> NDArray:
    return np.concatenate([each.detach() if hasattr(each, "detach") else each for each in outputs])
