"""Words and vectors that are added, replaced, sorted or chosen: gensim's results, and what gensim gets wrong."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastemb import KeyedVectors
from fastemb.corpus.vocabulary import Vocabulary


def make() -> KeyedVectors:
    return KeyedVectors.from_words(["a", "b", "c"], np.arange(6).reshape(3, 2).astype(np.float32), [5, 3, 3])


def as_gensim(kv: KeyedVectors) -> Any:
    gensim = pytest.importorskip("gensim.models", reason="gensim is the oracle")
    theirs = gensim.KeyedVectors(kv.vector_size)
    theirs.add_vectors(kv.index_to_key, np.array(kv.vectors))
    for word in kv.index_to_key:
        theirs.set_vecattr(word, "count", kv.get_vecattr(word, "count"))
    return theirs


def assert_same(ours: KeyedVectors, theirs: Any) -> None:
    assert ours.index_to_key == theirs.index_to_key and ours.key_to_index == theirs.key_to_index
    np.testing.assert_allclose(ours.vectors, theirs.vectors, rtol=1e-6)
    assert ours.vocabulary.words == ours.index_to_key


@pytest.mark.parametrize("replace", [True, False])
def test_added_vectors_are_gensims(replace: bool) -> None:
    ours = make()
    theirs = as_gensim(ours)
    for keys, weights in (
        (["b", "d", "e"], [[9, 9], [8, 8], [7, 7]]),
        ("f", [1, 2]),
        (["a", "a"], [[4, 4], [5, 5]]),
        ([], np.zeros((0, 2))),
    ):
        ours.add_vectors(keys, np.array(weights, np.float32), replace=replace)
        theirs.add_vectors(keys, np.array(weights, np.float32), replace=replace)
        assert_same(ours, theirs)
    ours["g"] = theirs["g"] = np.array([3, 3], np.float32)
    ours[["g", "h"]] = theirs[["g", "h"]] = np.array([[2, 3], [4, 4]], np.float32)
    assert_same(ours, theirs)
    assert ours.get_vecattr("f", "count") == 0 and ours.get_vecattr("a", "count") == 5
    assert ours.most_similar("h", topn=1)[0][0] == theirs.most_similar("h", topn=1)[0][0]


def test_a_word_that_is_added_twice_counts_once() -> None:
    kv = make()
    kv.add_vectors(["x", "x"], [[1, 1], [2, 2]])
    assert kv.index_to_key == ["a", "b", "c", "x"] and kv["x"].tolist() == [1, 1]
    kv.add_vectors(["y", "y"], [[1, 1], [2, 2]], replace=True)
    assert kv["y"].tolist() == [2, 2]


def test_adding_one_by_one_does_not_copy_everything_each_time() -> None:
    kv = KeyedVectors(vector_size=3)
    tables = set()
    for number in range(2000):
        assert kv.add_vector(f"w{number}", np.full(3, number)) == number
        tables.add(id(kv.vectors.base))
    assert len(tables) < 40 and len(kv) == 2000
    np.testing.assert_array_equal(kv.vectors[:, 1], np.arange(2000))
    with pytest.raises(ValueError, match="key must be a new word, got 'w7', which is word 7"):
        kv.add_vector("w7", [1, 2, 3])


def test_nothing_that_is_shared_changes(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_words(["a", "b"], [2, 1])
    np.save(tmp_path / "a.npy", np.eye(2, dtype=np.float32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    kv = KeyedVectors(mapped, vocabulary)
    kv["b"] = np.array([5, 5])
    kv.add_vector("c", [1, 1])
    kv.set_vecattr("a", "count", 9)
    kv.unit_normalize_all()
    assert vocabulary.words == ["a", "b"] and vocabulary.counts.tolist() == [2, 1]
    assert "c" not in vocabulary.key_to_index
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.eye(2))
    assert kv.counts.tolist() == [9, 1, 0] and kv.vocabulary.counts.tolist() == [9, 1, 0]


def test_attributes_are_gensims() -> None:
    ours = make()
    theirs = as_gensim(ours)
    for kv in (ours, theirs):
        kv.set_vecattr("b", "count", 8)
        kv.set_vecattr("a", "weight", 0.5)
        kv.set_vecattr("c", "tag", "noun")
        kv.add_vectors(["d"], np.ones((1, 2), np.float32))
        kv.allocate_vecattrs()
        kv.allocate_vecattrs(["fresh"], [np.float32])
        with pytest.raises(TypeError):
            kv.set_vecattr("a", "count", 1.5)
    for word in "abcd":
        for name in ("count", "weight", "tag", "fresh"):
            assert ours.get_vecattr(word, name) == theirs.get_vecattr(word, name)
    assert ours.expandos.keys() == theirs.expandos.keys()
    with pytest.raises(KeyError, match=r"no attribute 'none', the attributes there are: 'count', 'weight', 'tag'"):
        ours.get_vecattr("a", "none")


def test_extras_come_with_the_vectors() -> None:
    kv = make()
    kv.add_vectors(["a", "d"], np.ones((2, 2)), {"count": np.array([7, 2]), "p": np.array([0.5, 0.25])})
    assert [kv.get_vecattr(word, "count") for word in "abcd"] == [5, 3, 3, 2]
    assert [kv.get_vecattr(word, "p") for word in "abcd"] == [0, 0, 0, 0.25]
    kv.add_vectors(["a", "d"], np.zeros((2, 2)), {"p": np.array([0.5, 0.75])}, replace=True)
    assert [kv.get_vecattr(word, "p") for word in "abcd"] == [0.5, 0, 0, 0.75]


def test_sorting_is_gensims() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, 40)
    ours = KeyedVectors.from_words([f"w{i}" for i in range(40)], rng.standard_normal((40, 3)), counts)
    ours.set_vecattr("w3", "mark", 7)
    theirs = as_gensim(ours)
    ours.sort_by_descending_frequency()
    theirs.sort_by_descending_frequency()
    assert_same(ours, theirs)
    assert (np.diff(ours.counts) <= 0).all() and ours.get_vecattr("w3", "mark") == 7
    with pytest.raises(KeyError, match="no attribute 'count'"):
        KeyedVectors.from_words(["a"], np.eye(1)).sort_by_descending_frequency()


def test_unit_vectors_are_gensims() -> None:
    ours = KeyedVectors.from_words(["a", "b"], np.array([[3, 4], [0, 2]], np.float32), [1, 1])
    theirs = as_gensim(ours)
    ours.unit_normalize_all()
    theirs.unit_normalize_all()
    assert_same(ours, theirs)
    np.testing.assert_allclose(ours.norms, 1)
    with_zero = KeyedVectors.from_words(["a"], np.zeros((1, 2)))
    with_zero.unit_normalize_all()
    assert not with_zero.vectors.any()


@pytest.mark.parametrize("copy", [True, False])
def test_vectors_for_all_are_gensims(copy: bool) -> None:
    ours = make()
    theirs = as_gensim(ours)
    words = ["c", "missing", "a", "c"]
    found, wanted = ours.vectors_for_all(words, copy_vecattrs=copy), theirs.vectors_for_all(words, copy_vecattrs=copy)
    assert_same(found, wanted)
    if copy:  # else gensim makes counts up
        assert found.expandos.keys() == wanted.expandos.keys()
        assert found.get_vecattr("c", "count") == wanted.get_vecattr("c", "count") == 3
    assert len(ours.vectors_for_all([])) == 0
    with pytest.raises(TypeError, match="keys must be a list of words, got 'w1 w2'"):
        ours.vectors_for_all("w1 w2")


def test_another_table_may_be_assigned() -> None:
    kv = make()
    assert kv.norms.shape == (3,)
    kv.vectors = np.ones((3, 4))
    assert kv.vector_size == 4 and kv.vectors.dtype == np.float32 and kv.norms.tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match=r"vectors must have shape \(3, vector_size\), got \(2, 4\)"):
        kv.vectors = np.ones((2, 4))


def test_what_was_changed_is_saved_and_pickled(tmp_path: Path) -> None:
    kv = make()
    kv.add_vector("dé", [1, 2])
    kv.set_vecattr("dé", "count", 4)
    kv.set_vecattr("a", "weight", 0.25)
    kv.set_vecattr("a", "tag", "noun")
    kv.save(tmp_path / "a.safetensors")
    for again in (KeyedVectors.load(tmp_path / "a.safetensors"), pickle.loads(pickle.dumps(kv))):
        assert again.index_to_key == ["a", "b", "c", "dé"] and again.get_vecattr("dé", "count") == 4
        assert again.get_vecattr("a", "weight") == 0.25
        np.testing.assert_array_equal(again.vectors, kv.vectors)
    again = KeyedVectors.load(tmp_path / "a.safetensors", limit=2)
    assert again.expandos["weight"].tolist() == [0.25, 0]
    again.set_vecattr("b", "weight", 3.0)
    assert again.get_vecattr("b", "weight") == 3


def test_bad_arguments() -> None:
    kv = make()
    with pytest.raises(TypeError, match="keys must be str, got 5 at position 1"):
        kv.add_vectors(["x", 5], np.ones((2, 2)))  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"weights must be numbers of shape \(1, 2\), got float64 of shape \(1, 3\)"):
        kv.add_vectors(["x"], np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"extras\['count'\] must have 1 values, one a key, got shape \(2,\)"):
        kv.add_vectors(["x"], np.ones((1, 2)), {"count": np.ones(2, int)})
    with pytest.raises(TypeError, match="attribute 'count' is of type int64, cannot hold float64"):
        kv.add_vectors(["x"], np.ones((1, 2)), {"count": np.ones(1)})
    with pytest.raises(KeyError, match="word 'x' is not in the vocabulary"):
        kv.set_vecattr("x", "count", 1)
    assert kv.index_to_key == ["a", "b", "c"] and kv.vectors.shape == (3, 2)
    with pytest.raises(ValueError, match="vector_size must be an integer >= 0, got -1"):
        KeyedVectors(vector_size=-1)
