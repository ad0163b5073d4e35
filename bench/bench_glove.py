"""GloVe's kernels on one thread, each result checked before it is timed: ``pytest bench --benchmark-only``."""

import numpy as np
import pytest

from fastemb.corpus.cooccurrence import count_cooccurrences
from fastemb.corpus.reader import read_corpus
from fastemb.engine.backend import kernels, simd_width
from fastemb.trainers.glove_blocks import Blocks
from fastemb.trainers.glove_state import GloVeState


@pytest.fixture(scope="module")
def corpus():
    """A text of 200,000 words that are as frequent as words are (Zipf)."""
    ids = np.minimum(np.random.default_rng(0).zipf(1.2, (1000, 200)) - 1, 19_999)
    with read_corpus([[f"w{word}" for word in row] for row in ids.tolist()], min_count=1) as corpus:
        yield corpus


def bench_counting(benchmark, corpus):
    matrix = benchmark(lambda: count_cooccurrences(corpus, workers=1))
    near = sum(1 / distance for distance in range(1, 16) for _ in range(200 - distance))
    assert matrix.counts.sum(dtype=np.float64) == pytest.approx(2 * 1000 * near, rel=1e-6)
    benchmark.extra_info["words"] = len(corpus.ids)


@pytest.mark.parametrize("vector_size", [100, 300])
def bench_training(benchmark, corpus, vector_size):
    blocks = Blocks.of_matrix(count_cooccurrences(corpus, workers=1), 1, 1)
    state = GloVeState.start(corpus.vocabulary, vector_size, 1, 1.0)
    module = kernels("cpu", "glove")
    scratch = module.allocate_scratch()

    def train():
        result = np.zeros(1)
        module.train(
            blocks.rows, blocks.cols, blocks.counts, 0, len(blocks.rows), state.word, state.context, 100.0, 0.75, 0.05,
            100.0, result, scratch, 8, simd_width(),
        )  # fmt: skip
        return result[0]

    losses = [train() for _ in range(3)]
    assert losses[2] < losses[1] < losses[0], "training must lower the loss"
    benchmark(train)
    benchmark.extra_info["pairs"] = len(blocks.rows)
