"""Kinds that train one table: forward, backward and update, by torch, FBGEMM and fastemb."""

from collections.abc import Callable, Iterator

from fastemb.bench.layers import fbgemm, ours, torch_side
from fastemb.bench.layers.cases import ROWS, SIZES, Case, sweep
from fastemb.bench.layers.comparison import OURS, Comparison
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.work import Step, Work, compare_steps

COPIES = {"sgd": 1, "rowwise-adagrad": 1, "adagrad": 2, "adam": 3}
"""How many arrays of its table's size a side keeps."""
Makers = dict[str, Callable[[Work], Step]]


def step_kind(optimizer: str) -> Callable[[Setup], Iterator[Comparison]]:
    """Return the kind that measures steps of `optimizer`, a key of `COPIES`.

    Examples
    --------
    >>> from fastemb.bench.layers.setup import Setup
    >>> from fastemb.bench.layers.steps import step_kind
    >>> for comparison in step_kind("sgd")(Setup(peers=("torch",), quick=True)):
    ...     comparison.verify()
    """

    def kind(setup: Setup) -> Iterator[Comparison]:
        for case in sweep(SIZES[:4], variants=(optimizer,), per_table=2, quick=setup.quick):
            makers = step_makers(setup, case)
            if setup.has_room(case, 4 * case.num_embeddings * case.embedding_dim * COPIES[optimizer] * len(makers)):
                yield _compare(Work.of(setup.inputs, case), makers)

    return kind


def step_makers(setup: Setup, case: Case) -> Makers:
    """Return how to make each side of a step."""
    optimizer = case.variant
    makers: Makers = {OURS: lambda work: ours.bag_step(work, optimizer)}
    if (optimizer, True) in torch_side.OPTIMIZERS:
        makers["torch sparse"] = lambda work: torch_side.bag_step(work, optimizer, sparse=True)
    if optimizer == "adam" and case.num_embeddings == ROWS[-1]:
        makers["torch dense"] = lambda work: torch_side.bag_step(work, optimizer, sparse=False)
    if "fbgemm" in setup.peers and optimizer in fbgemm.OPTIMIZERS:
        makers["fbgemm"] = lambda work: fbgemm.step(work, optimizer)
    return makers


def _compare(work: Work, makers: Makers) -> Comparison:
    # SparseAdam and fastemb move touched rows only, dense Adam all of them.
    return compare_steps(work, {name: make(work) for name, make in makers.items()}, unchecked=("torch dense",))
