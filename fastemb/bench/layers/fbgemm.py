"""FBGEMM's table on the CPU, whose update is fused into its backward."""

import importlib
import warnings
from types import ModuleType

from fastemb.bench.layers.cases import in_turn
from fastemb.bench.layers.needs import torch  # before fbgemm_gpu, which loads operators into it
from fastemb.bench.layers.torch_side import tensors
from fastemb.bench.layers.work import ADAGRAD_EPS, RATE, Step, Work

OPTIMIZERS = {"sgd": "EXACT_SGD", "rowwise-adagrad": "EXACT_ROWWISE_ADAGRAD", "adagrad": "EXACT_ADAGRAD"}
"""FBGEMM's names of those that it has on the CPU."""


def step(work: Work, optimizer: str) -> Step:
    """Return a step of ``SplitTableBatchedEmbeddingBagsCodegen`` with one table.

    Parameters
    ----------
    work
        What to do.
    optimizer
        A key of `OPTIMIZERS`.

    Raises
    ------
    ImportError
        If fbgemm-gpu-cpu is not installed, or not the one for this torch.

    Examples
    --------
    >>> from fastemb.bench.layers import fbgemm
    >>> sorted(fbgemm.OPTIMIZERS)
    ['adagrad', 'rowwise-adagrad', 'sgd']
    """
    training, common, configs = (
        _module(name)
        for name in (
            "split_table_batched_embeddings_ops_training",
            "split_table_batched_embeddings_ops_common",
            "split_embedding_configs",
        )
    )
    spec = (
        work.case.num_embeddings,
        work.case.embedding_dim,
        common.EmbeddingLocation.HOST,
        training.ComputeDevice.CPU,
    )
    module = training.SplitTableBatchedEmbeddingBagsCodegen(
        [spec],
        optimizer=getattr(configs.EmbOptimType, OPTIMIZERS[optimizer]),
        learning_rate=RATE,
        eps=ADAGRAD_EPS,
        weights_precision=configs.SparseType.FP32,
        output_dtype=configs.SparseType.FP32,
        pooling_mode=common.PoolingMode.SUM,
    )
    weight = module.split_embedding_weights()[0]
    with torch.no_grad():
        weight.copy_(torch.from_numpy(work.table))
    offsets, gradient = torch.from_numpy(work.offsets), torch.from_numpy(work.gradient)
    indices = in_turn(tensors(work.batches))
    return Step(
        lambda: module(indices(), offsets).backward(gradient), lambda rows: weight[torch.from_numpy(rows)].detach()
    )


def _module(name: str) -> ModuleType:
    with warnings.catch_warnings():  # it warns of operators that its CPU build does not have
        warnings.simplefilter("ignore")
        return importlib.import_module(f"fbgemm_gpu.{name}")
