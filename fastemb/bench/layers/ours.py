"""fastemb's sides of the comparisons that train."""

from collections.abc import Callable
from typing import Any

import fastemb.torch
from fastemb import EmbeddingBag, optim
from fastemb.bench.layers.cases import in_turn
from fastemb.bench.layers.needs import torch
from fastemb.bench.layers.torch_side import module_step
from fastemb.bench.layers.work import ADAGRAD_EPS, RATE, Step, Work

OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.SGD(lr=RATE),
    "rowwise-adagrad": lambda: optim.RowwiseAdagrad(lr=RATE, eps=ADAGRAD_EPS),
    "adagrad": lambda: optim.Adagrad(lr=RATE, eps=ADAGRAD_EPS),
    "adam": lambda: optim.Adam(lr=RATE),
}


def bag_step(work: Work, optimizer: str) -> Step:
    """Return a step of `fastemb.EmbeddingBag` whose update is fused into its backward.

    Parameters
    ----------
    work
        What to do.
    optimizer
        A key of `OPTIMIZERS`.
    """
    layer = EmbeddingBag(
        work.case.num_embeddings,
        work.case.embedding_dim,
        mode="sum",
        include_last_offset=True,
        embeddings_initializer=work.table,
        optimizer=OPTIMIZERS[optimizer](),
    )

    indices = in_turn(work.batches)

    def run() -> None:
        layer(indices(), work.offsets)
        layer.backward(work.gradient)

    return Step(run, lambda rows: layer.weight[rows])


def torch_step(work: Work, optimizer: str) -> Step:
    """Return a step of `fastemb.torch.EmbeddingBag` in torch's training loop."""
    module: Any = fastemb.torch.EmbeddingBag.from_pretrained(
        torch.from_numpy(work.table).clone(), freeze=False, mode="sum", include_last_offset=True
    )
    module.fused_optimizer = OPTIMIZERS[optimizer]
    return module_step(work, module, None)
