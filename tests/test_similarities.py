"""Similarities, distances and ranks: gensim's answers on the same vectors."""

import math
from typing import Any

import numpy as np
import pytest

from fastemb import KeyedVectors

gensim = pytest.importorskip("gensim.models", reason="gensim is the oracle")

CASES = {"random": (500, 30, None), "tiny": (5, 3, None), "twins": (60, 8, 20), "real": None}


@pytest.fixture(scope="module", params=CASES)
def both(request: pytest.FixtureRequest) -> tuple[KeyedVectors, Any]:
    if request.param == "real":
        kv = KeyedVectors.load(request.getfixturevalue("data") / "formats/gensim/word2vec_pre_kv_c")
    else:
        num_words, dim, distinct = CASES[request.param]
        rng = np.random.default_rng(1)
        rows = rng.standard_normal((distinct or num_words, dim)).astype(np.float32)
        kv = KeyedVectors.from_words([f"w{i}" for i in range(num_words)], np.resize(rows, (num_words, dim)))
    theirs = gensim.KeyedVectors(kv.vector_size)
    theirs.add_vectors(kv.index_to_key, np.array(kv.vectors))
    return kv, theirs


def assert_same_answers(ours: Any, theirs: Any) -> None:
    """Compare lists of words and scores; of scores equal to rounding either order is right."""
    assert len(ours) == len(theirs)
    np.testing.assert_allclose([score for _, score in ours], [score for _, score in theirs], rtol=1e-5, atol=1e-6)
    other = dict(theirs)
    for word, score in ours:
        assert abs(other.get(word, theirs[-1][1]) - score) < 1e-5 * max(1, abs(score))


@pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`:DeprecationWarning")
def test_cosmul(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    a, b, c, d, e = ours.index_to_key[:5]
    vector = ours.get_vector(d, norm=True)
    queries: list[dict[str, Any]] = [
        {"positive": a}, {"positive": [a, b], "negative": [c]}, {"positive": a, "negative": b},
        {"positive": [a, b, c], "negative": [d, e]}, {"positive": [vector, a], "negative": [b]},
        {"positive": [a, a]}, {"positive": vector},
    ]  # fmt: skip
    for query in queries:
        for topn in (1, 3, 10, 100_000, 0):
            found = ours.most_similar_cosmul(**query, topn=topn)
            assert_same_answers(found, theirs.most_similar_cosmul(**query, topn=topn))
        everything = ours.most_similar_cosmul(**query, topn=None)
        np.testing.assert_allclose(everything, theirs.most_similar_cosmul(**query, topn=None), rtol=1e-5)


def test_cosmul_restricts_the_vocabulary_as_gensim_promises_to() -> None:
    rng = np.random.default_rng(0)
    kv = KeyedVectors.from_words([f"w{i}" for i in range(50)], rng.standard_normal((50, 5)))
    few = kv.most_similar_cosmul(["w1", "w40"], "w2", restrict_vocab=10)
    assert [word for word, _ in few] == [
        word for word, _ in kv.most_similar_cosmul(["w1", "w40"], "w2", topn=50) if int(word[1:]) < 10
    ]
    assert kv.most_similar_cosmul("w1", topn=None, restrict_vocab=10).shape == (10,)


def test_distances(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    words = ours.index_to_key[:5]
    np.testing.assert_allclose(ours.distances(words[0]), theirs.distances(words[0]), atol=1e-6)
    np.testing.assert_allclose(ours.distances(words[0], words), theirs.distances(words[0], words), atol=1e-6)
    vector = np.arange(ours.vector_size, dtype=np.float32)
    np.testing.assert_allclose(ours.distances(vector, words[:2]), theirs.distances(vector, words[:2]), atol=1e-6)
    assert ours.distance(words[0], words[1]) == pytest.approx(float(theirs.distance(words[0], words[1])), abs=1e-6)
    found = KeyedVectors.cosine_similarities(vector, ours.vectors)
    np.testing.assert_allclose(found, theirs.cosine_similarities(vector, ours.vectors), atol=1e-6)


def test_ranks(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    words = ours.index_to_key
    for first in words[:4]:
        for second in words[-4:]:
            if len(words) == 60:  # equal vectors: gensim's answer depends on how rounding falls
                continue
            assert ours.closer_than(first, second) == theirs.closer_than(first, second)
            assert ours.rank(first, second) == theirs.rank(first, second)
    assert ours.rank(words[0], words[0]) == 1


def test_equal_vectors_are_equally_near() -> None:
    rng = np.random.default_rng(0)
    few = rng.standard_normal((9, 33)).astype(np.float32)
    kv = KeyedVectors.from_words([f"w{i}" for i in range(9000)], np.resize(few, (9000, 33)))
    for second in ("w3", "w3000", "w8994"):
        closer = kv.closer_than("w0", second)
        assert "w0" not in closer and not {f"w{i}" for i in range(3, 9000, 9)} & set(closer)
        assert (len(closer) + 1) % 1000 == 0 or not closer  # whole groups of a thousand, less w0 itself


def test_centrality(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    words = [*ours.index_to_key[:5], "missing"]
    for use_norm in (True, False):
        found, wanted = ours.rank_by_centrality(words, use_norm), theirs.rank_by_centrality(words, use_norm)
        assert [word for _, word in found] == [word for _, word in wanted]
        np.testing.assert_allclose([score for score, _ in found], [score for score, _ in wanted], rtol=1e-5)
    assert ours.doesnt_match(words) == theirs.doesnt_match(words)


def test_means(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    a, b, c = ours.index_to_key[:3]
    vector = np.arange(ours.vector_size, dtype=np.float32)
    calls: list[dict[str, Any]] = [
        {"keys": [a, b, c]}, {"keys": [a, "missing", c]}, {"keys": [a, vector, 2]}, {"keys": ["missing"]},
        {"keys": [a, b], "weights": [2.0, -1.0]}, {"keys": [a, b, "missing"], "weights": np.array([0.5, 3, 9])},
        {"keys": ours.vectors[:4]},
    ]  # fmt: skip
    for call in calls:
        for pre in (True, False):
            for post in (True, False):
                found = ours.get_mean_vector(**call, pre_normalize=pre, post_normalize=post)
                wanted = theirs.get_mean_vector(**call, pre_normalize=pre, post_normalize=post)
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(KeyError, match="word 'missing' is not in the vocabulary"):
        ours.get_mean_vector([a, "missing"], ignore_missing=False)
    with pytest.raises(ValueError, match="keys must have at least one"):
        ours.get_mean_vector([])
    with pytest.raises(ValueError, match=r"weights must be 2 numbers, one a key, got shape \(3,\)"):
        ours.get_mean_vector([a, b], weights=[1, 2, 3])


def test_relative_similarity_and_the_most_similar_of_a_list(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    a, b, c, d = ours.index_to_key[:4]
    for topn in (1, 3, 10):
        wanted = theirs.relative_cosine_similarity(a, b, topn)
        assert ours.relative_cosine_similarity(a, b, topn) == pytest.approx(wanted, rel=1e-4)
    assert ours.most_similar_to_given(a, [b, c, d]) == theirs.most_similar_to_given(a, [b, c, d])
    assert_same_answers(ours.similar_by_key(a, 3), theirs.similar_by_key(a, 3))
    assert_same_answers(
        ours.most_similar(a, clip_start=1, clip_end=4), theirs.most_similar(a, clip_start=1, clip_end=4)
    )


def test_normed_vectors(both: tuple[KeyedVectors, Any]) -> None:
    ours, theirs = both
    np.testing.assert_allclose(ours.get_normed_vectors(), theirs.get_normed_vectors(), rtol=1e-5)


def test_wmdistance(both: tuple[KeyedVectors, Any]) -> None:
    pytest.importorskip("ot", reason="POT finds the optimal transport")
    ours, theirs = both
    a, b, c, d, e = ours.index_to_key[:5]
    pairs = [([a, b, c], [d, e]), ([a, a, b], [b, c, "missing"]), ([a], [a, a]), ([a], ["missing"]), ([a, b], [b, a])]
    for one, two in pairs:
        for norm in (True, False):
            wanted = theirs.wmdistance(one, two, norm=norm)
            if len(ours) == 60 and wanted == math.inf and "missing" not in two:
                continue
            assert ours.wmdistance(one, two, norm=norm) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_wmdistance_of_twins_is_zero() -> None:
    pytest.importorskip("ot", reason="POT finds the optimal transport")
    kv = KeyedVectors.from_words(["tea", "chai"], np.ones((2, 3)))
    assert kv.wmdistance(["tea"], ["chai"]) == 0
    with pytest.raises(TypeError, match="document2 must be a list of words, got 'the tea'"):
        kv.wmdistance(["tea"], "the tea")


def test_zero_vectors_are_at_right_angles() -> None:
    kv = KeyedVectors.from_words(["none", "x", "y"], np.array([[0, 0], [1, 0], [0, 1]], np.float32))
    assert kv.distances("none").tolist() == [1, 1, 1]
    assert kv.distance("none", "x") == 1
    assert kv.get_normed_vectors().tolist() == [[0, 0], [1, 0], [0, 1]]
    assert kv.rank("x", "y") == 1  # nothing is nearer than a right angle but x itself


def test_an_indexer_answers_instead() -> None:
    class Indexer:
        def most_similar(self, vector: np.ndarray, topn: int) -> list[tuple[str, float]]:
            return [("asked", float(vector[0]))] * topn

    kv = KeyedVectors.from_words(["x", "y"], np.array([[3, 0], [0, 1]], np.float32))
    assert kv.most_similar("x", topn=2, indexer=Indexer()) == [("asked", 1.0)] * 2
    assert isinstance(kv.most_similar("x", topn=None, indexer=Indexer()), np.ndarray)


def test_bad_arguments() -> None:
    kv = KeyedVectors.from_words(["x", "y"], np.eye(2))
    with pytest.raises(KeyError, match="word 'z' is not in the vocabulary"):
        kv.closer_than("x", "z")
    with pytest.raises(KeyError, match="word 'z' is not in the vocabulary"):
        kv.distances("x", ["z"])
    with pytest.raises(KeyError, match="word 'z' is not in the vocabulary"):
        kv.most_similar_cosmul("z")
    with pytest.raises(ValueError, match="positive must have at least one word or vector"):
        kv.most_similar_cosmul(negative="x")
    with pytest.raises(ValueError, match="keys_list must have at least one word"):
        kv.most_similar_to_given("x", [])
    with pytest.raises(ValueError, match="needs at least one other word"):
        KeyedVectors.from_words(["x"], np.eye(1)).relative_cosine_similarity("x", "x")
    with pytest.raises(ValueError, match="a query must be a word or a finite vector of size 2"):
        kv.distances(np.ones(3))
