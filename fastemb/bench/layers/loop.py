"""fastemb's module in torch's training loop."""

from collections.abc import Iterator

from fastemb.bench.layers import ours, torch_side
from fastemb.bench.layers.cases import SIZES, sweep
from fastemb.bench.layers.comparison import OURS, Comparison
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.work import Work, compare_steps

DENSE_ROWS = 100_000
"""Beyond so many rows torch's dense gradients are never its best way."""


def torch_loop(setup: Setup) -> Iterator[Comparison]:
    """Yield training steps of `fastemb.torch.EmbeddingBag` beside those of ``nn.EmbeddingBag``.

    Examples
    --------
    >>> from fastemb.bench.layers.loop import torch_loop
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(torch_loop(Setup(quick=True))).verify()
    """
    for case in sweep(SIZES[:4], variants=("sgd", "adagrad", "adam"), per_table=2, quick=setup.quick):
        if setup.has_room(case, 4 * case.num_embeddings * case.embedding_dim * 9):
            yield _loop(Work.of(setup.inputs, case))


def _loop(work: Work) -> Comparison:
    optimizer = work.case.variant
    steps = {OURS: ours.torch_step(work, optimizer), "torch sparse": torch_side.bag_step(work, optimizer, sparse=True)}
    # SparseAdam moves touched rows only, Adam all of them: their results are not the same.
    if work.case.num_embeddings <= DENSE_ROWS:
        steps["torch dense"] = torch_side.bag_step(work, optimizer, sparse=False)
    return compare_steps(work, steps, unchecked=("torch dense",) if optimizer == "adam" else ())
