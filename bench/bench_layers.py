"""Lookups, bags and training steps, each result checked against NumPy before it is timed."""

import numpy as np
import pytest

from fastemb import EmbeddingBag, functional, optim

NUM_EMBEDDINGS, BAG_LENGTH, NUM_BAGS = 100_000, 20, 2048
OPTIMIZERS = {"sgd": optim.SGD, "rowwise_adagrad": optim.RowwiseAdagrad, "adagrad": optim.Adagrad, "adam": optim.Adam}


@pytest.fixture(scope="module", params=[64, 100])
def table(request):
    return np.random.default_rng(0).standard_normal((NUM_EMBEDDINGS, request.param), dtype=np.float32)


@pytest.fixture(scope="module")
def indices():
    return np.random.default_rng(1).integers(0, NUM_EMBEDDINGS, (NUM_BAGS, BAG_LENGTH))


def bench_lookup(benchmark, table, indices):
    out = benchmark(functional.embedding, indices, table)
    assert np.array_equal(out, table[indices])


@pytest.mark.parametrize("mode", ["sum", "mean", "max", "sqrtn"])
def bench_bags(benchmark, table, indices, mode):
    out = benchmark(functional.embedding_bag, indices, table, mode=mode)
    rows = table[indices]
    wanted = rows.max(axis=1) if mode == "max" else rows.sum(axis=1)
    wanted = wanted / {"mean": BAG_LENGTH, "sqrtn": BAG_LENGTH**0.5}.get(mode, 1)
    assert np.allclose(out, wanted, atol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def bench_step(benchmark, table, indices, name):
    layer = EmbeddingBag.from_pretrained(table.copy(), freeze=False, mode="sum", optimizer=OPTIMIZERS[name](lr=0.01))
    gradient = np.random.default_rng(2).standard_normal((NUM_BAGS, table.shape[1]), dtype=np.float32)

    def step():
        layer(indices)
        layer.backward(gradient)

    step()
    rows = np.zeros_like(table)
    np.add.at(rows, indices.ravel(), np.repeat(gradient, BAG_LENGTH, axis=0))
    moved = np.sign(table - layer.weight)
    assert np.array_equal(moved[rows == 0], rows[rows == 0]), "rows that were not used must stay"
    assert (moved[np.abs(rows) > 1e-2] == np.sign(rows[np.abs(rows) > 1e-2])).all(), "others go against the gradient"
    benchmark(step)
