"""Reading text."""

import collections

import numpy as np
import pytest

from fastemb.corpus.reader import read_corpus


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Ten thousand lines of fifty words, as frequent as words are (Zipf), and what is in them."""
    ids = np.random.default_rng(0).zipf(1.2, (10_000, 50)) % 1_000_003
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("".join(" ".join(f"w{word}" for word in row) + "\n" for row in ids))
    return path, collections.Counter(f"w{word}" for word in ids.ravel())


def bench_scan(benchmark, text):
    path, expected = text

    def scan():
        with read_corpus(path, min_count=5, workers=1) as corpus:
            return corpus.num_words, dict(zip(corpus.vocabulary.words, corpus.vocabulary.counts.tolist(), strict=True))

    num_words, counts = scan()
    assert num_words == expected.total()
    assert counts == {word: count for word, count in expected.items() if count >= 5}

    def timed():
        with read_corpus(path, min_count=5, workers=1) as corpus:
            return corpus.num_words

    assert benchmark(timed) == num_words
    benchmark.extra_info["bytes"] = path.stat().st_size


def bench_encode_token_lists(benchmark, text):
    path, expected = text
    sentences = [line.split() for line in path.read_text().splitlines()]

    def encode():
        with read_corpus(sentences, min_count=5) as corpus:
            return corpus.num_words, len(corpus.vocabulary)

    assert benchmark(encode) == (expected.total(), sum(count >= 5 for count in expected.values()))
