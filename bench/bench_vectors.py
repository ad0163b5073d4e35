"""Looking up, saving and loading vectors."""

import numpy as np
import pytest

from fastemb import KeyedVectors

NUM_WORDS, VECTOR_SIZE = 20_000, 100


@pytest.fixture(scope="module")
def vectors():
    rows = np.random.default_rng(0).normal(size=(NUM_WORDS, VECTOR_SIZE)).astype(np.float32)
    return KeyedVectors.from_words([f"w{number}" for number in range(NUM_WORDS)], rows)


def nearest(vectors, number, topn):
    """What most_similar must say, by the definition."""
    unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[number]))
    return [f"w{other}" for other in order if other != number][:topn]


def bench_most_similar(benchmark, vectors):
    found = benchmark(lambda: vectors.most_similar("w7", topn=10))
    assert [word for word, _ in found] == nearest(vectors, 7, 10)


def bench_most_similar_batch(benchmark, vectors):
    queries = [f"w{number}" for number in range(64)]
    found = benchmark(lambda: vectors.most_similar_batch(queries, topn=10))
    assert [word for word, _ in found[7]] == nearest(vectors, 7, 10)


@pytest.mark.parametrize("suffix", ["safetensors", "npy", "bin", "txt", "glove"])
def bench_save(benchmark, vectors, tmp_path, suffix):
    path = tmp_path / f"vectors.{suffix}"
    benchmark(lambda: vectors.save(path))
    assert np.allclose(KeyedVectors.load(path)["w7"], vectors["w7"], rtol=1e-4)


@pytest.mark.parametrize("suffix", ["safetensors", "npy", "bin", "txt", "glove"])
def bench_load(benchmark, vectors, tmp_path, suffix):
    path = tmp_path / f"vectors.{suffix}"
    vectors.save(path)
    loaded = benchmark(lambda: KeyedVectors.load(path))
    assert len(loaded) == NUM_WORDS and np.allclose(loaded["w7"], vectors["w7"], rtol=1e-4)
