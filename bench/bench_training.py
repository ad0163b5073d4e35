"""Our own kernels on one thread, each result checked before it is timed: ``pytest bench --benchmark-only``."""

import numpy as np
import pytest

from fastemb.corpus.reader import read_corpus
from fastemb.engine.backend import kernels, simd_width
from fastemb.engine.huffman import huffman_tree
from fastemb.engine.sampling import keep_probabilities, noise_table, sigmoid_table
from fastemb.trainers.tables import allocate_table, uniform_table

NUM_WORDS = 20_000
NUM_SENTENCES = 1000
SENTENCE = 50
WINDOW, NEGATIVE = 5, 5


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text whose words are as frequent as words are (Zipf), and the ids of its words."""
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.zipf(1.2, (NUM_SENTENCES, SENTENCE)) - 1, NUM_WORDS - 1)
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("".join(" ".join(f"w{word}" for word in row) + "\n" for row in ids))
    return path


@pytest.mark.parametrize("vector_size", [100, 300])
@pytest.mark.parametrize("name", ["skipgram_shared", "skipgram_pairwise", "cbow_shared"])
@pytest.mark.parametrize("hs", [False, True])
def bench_words(benchmark, text, name, vector_size, hs):
    with read_corpus(text, min_count=1) as corpus:
        counts = corpus.vocabulary.counts
        weight_in, weight_out = uniform_table(len(counts), vector_size, 1), allocate_table(len(counts), vector_size)
        tree = (*huffman_tree(counts), allocate_table(len(counts) - 1, vector_size)) if hs else None
        scratch = kernels("cpu", "scratch").allocate_scratch(weight_in.shape[1], WINDOW, NEGATIVE, SENTENCE, 0)
        keep, noise = keep_probabilities(counts, 1e-3), noise_table(counts, 0.75)
        model, mode = name.split("_")

        def train():
            result = np.zeros(3)
            how = (True, False) if model == "cbow" else ()
            if mode == "shared":
                staleness, num_private = 32, 0
                how += (staleness, result, scratch, num_private, staleness)
            else:
                how += (sigmoid_table(6.0, 1000), (6.0, 1000 / 12, True, False, False, False), result, scratch)
            getattr(kernels("cpu", model), name)(
                corpus.ids, corpus.offsets, 0, len(corpus.offsets) - 1, weight_in, weight_out, None, None, tree, keep,
                noise, WINDOW, True, 0 if hs else NEGATIVE, 0.05, 0.0, np.uint64(1), *how, simd_width(),
            )  # fmt: skip
            return result

        losses = [result[0] / result[1] for result in (train() for _ in range(3))]
        assert losses[2] < losses[1] < losses[0] < 0.7, "training must lower the loss"
        assert np.isfinite(weight_in).all() and not weight_in[:, vector_size:].any()
        benchmark(train)
        benchmark.extra_info["words"] = len(corpus.ids)


def bench_initial_table(benchmark):
    table = benchmark(lambda: uniform_table(NUM_WORDS, 100, 1))
    assert table.shape[0] == NUM_WORDS and 0 < np.abs(table).max() <= 0.5
