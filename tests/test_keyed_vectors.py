"""KeyedVectors: gensim's results on the same vectors, and clear errors."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats.safetensors import write_tensors
from fastemb.vectors.keyed_vectors import KeyedVectors

WORDS = ["king", "queen", "tea", "coffee", "King", "naïve", "東京", "new york"]


def random_vectors(num_words: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num_words, dim)).astype(np.float32)


def make(num_words: int = 500, dim: int = 30, seed: int = 0) -> KeyedVectors:
    return KeyedVectors.from_words([f"w{i}" for i in range(num_words)], random_vectors(num_words, dim, seed))


def as_gensim(kv: KeyedVectors) -> Any:
    gensim = pytest.importorskip("gensim.models", reason="needs gensim")
    theirs = gensim.KeyedVectors(kv.vector_size)
    theirs.add_vectors(kv.index_to_key, np.array(kv.vectors))
    return theirs


def assert_same_answers(ours: Any, theirs: Any) -> None:
    """Compare lists of words and similarities; where similarities are equal to rounding, either order is right."""
    assert len(ours) == len(theirs)
    np.testing.assert_allclose([cosine for _, cosine in ours], [cosine for _, cosine in theirs], atol=1e-6)
    other = dict(theirs)
    for word, cosine in ours:
        assert abs(other.get(word, theirs[-1][1]) - cosine) < 1e-6


@pytest.fixture(params=["random", "tiny", "strided", "real"])
def kv(request: pytest.FixtureRequest) -> KeyedVectors:
    if request.param == "real":
        data = request.getfixturevalue("data")
        return KeyedVectors.load(data / "formats/gensim/word2vec_pre_kv_c")
    if request.param == "tiny":
        return make(5, 3)
    if request.param == "strided":
        return KeyedVectors(random_vectors(300, 48)[:, :37], Vocabulary.from_words([f"w{i}" for i in range(300)]))
    return make()


def queries(kv: KeyedVectors) -> list[dict[str, Any]]:
    a, b, c = kv.index_to_key[:3]
    vector = random_vectors(1, kv.vector_size, 7)[0]
    return [
        {"positive": a},
        {"positive": [a]},
        {"positive": [a, b], "negative": [c]},
        {"positive": [a, b], "negative": c},
        {"positive": [(a, 0.5), (b, -2.0)]},
        {"positive": [a, (b, 3.0)], "negative": [(c, -0.5)]},
        {"positive": vector},
        {"positive": [vector, a]},
        {"positive": [(vector, 2.0), a], "negative": [random_vectors(1, kv.vector_size, 8)[0]]},
        {"positive": 1},
        {"positive": [np.int64(1), a]},
        {"positive": np.stack([vector, kv.vectors[0]])},
        {"negative": [a]},
        {"positive": [a, a]},
    ]


@pytest.mark.parametrize(
    "options", [{}, {"topn": 1}, {"topn": 100_000}, {"restrict_vocab": 4}, {"topn": 0}, {"topn": -1}]
)
def test_most_similar_is_gensims(kv: KeyedVectors, options: dict[str, Any]) -> None:
    theirs = as_gensim(kv)
    for query in queries(kv):
        assert_same_answers(kv.most_similar(**query, **options), theirs.most_similar(**query, **options))


def test_all_similarities_are_gensims(kv: KeyedVectors) -> None:
    theirs = as_gensim(kv)
    for query in queries(kv):
        for options in ({}, {"restrict_vocab": 4}):
            ours = kv.most_similar(**query, topn=None, **options)
            assert isinstance(ours, np.ndarray) and ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs.most_similar(**query, topn=None, **options), atol=1e-6)


def test_similarities_are_gensims(kv: KeyedVectors) -> None:
    theirs, words = as_gensim(kv), kv.index_to_key[:5]
    for first in words:
        for second in words:
            assert kv.similarity(first, second) == pytest.approx(float(theirs.similarity(first, second)), abs=1e-6)
    for one, two in ((words[:2], words[2:]), (words[:1], words), (words, words), ([words[0], "missing"], words)):
        assert kv.n_similarity(one, two) == pytest.approx(float(theirs.n_similarity(one, two)), abs=1e-6)
    for size in range(1, 6):
        assert kv.doesnt_match(words[:size]) == theirs.doesnt_match(words[:size])
    assert kv.doesnt_match([*words, "missing"]) == theirs.doesnt_match([*words, "missing"])
    vector = kv.vectors[3]
    assert_same_answers(kv.similar_by_word(words[0], 3), theirs.similar_by_word(words[0], 3))
    assert_same_answers(kv.similar_by_vector(vector, 3, 4), theirs.similar_by_vector(vector, 3, 4))


def test_batch_is_each_alone(kv: KeyedVectors) -> None:
    a, b, c = kv.index_to_key[:3]
    vector = random_vectors(1, kv.vector_size, 7)[0]
    batch = [a, [b, c], vector, [(a, 2.0), (b, -1.0)], 2, [vector, c]]
    for options in ({}, {"topn": 2}, {"restrict_vocab": 4}):
        assert kv.most_similar_batch(batch, **options) == [kv.most_similar(query, **options) for query in batch]
    table = kv.most_similar_batch(batch, topn=None)
    assert isinstance(table, np.ndarray) and table.shape == (6, len(kv))
    for row, query in zip(table, batch, strict=True):
        np.testing.assert_allclose(row, kv.most_similar(query, topn=None), atol=1e-6)
    np.testing.assert_array_equal(
        [[word for word, _ in row] for row in kv.most_similar_batch(kv.vectors[:4], topn=1)],
        np.array([kv.index_to_key[:4]]).T,
    )
    assert kv.most_similar_batch([]) == []
    assert kv.most_similar_batch([], topn=None).shape == (0, len(kv))
    assert kv.most_similar_batch([a, b], topn=0) == [[], []]
    with pytest.raises(TypeError, match="queries must be a list of queries, got a str: 'king'"):
        kv.most_similar_batch("king")


@pytest.mark.parametrize("num_words", [63, 64, 65, 1000, 20_000])
def test_search_is_exact_and_ties_are_in_order(num_words: int) -> None:
    few = random_vectors(20, 8)
    rows = np.random.default_rng(1).integers(0, 20, num_words)
    kv = KeyedVectors.from_words([f"w{i}" for i in range(num_words)], few[rows])
    units = few.astype(np.float64) / np.linalg.norm(few.astype(np.float64), axis=1)[:, None]
    for own in (0, num_words // 2, num_words - 1):
        cosines = (units @ units[rows[own]])[rows].round(6)
        expected = sorted((row for row in range(num_words) if row != own), key=lambda row: (-cosines[row], row))
        for topn in (1, 10, num_words):
            found = [kv.key_to_index[word] for word, _ in kv.most_similar(f"w{own}", topn=topn)]
            assert found == expected[:topn]


def test_search_in_blocks_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    kv = make(5000, 20)
    batch = kv.index_to_key[:50]
    whole, norms = kv.most_similar_batch(batch), kv.norms
    monkeypatch.setattr("fastemb.vectors.search.MEMORY", 1 << 12)
    assert kv.most_similar_batch(batch) == whole
    kv.fill_norms(force=True)
    np.testing.assert_array_equal(kv.norms, norms)


def test_zero_and_broken_vectors_are_harmless() -> None:
    vectors = random_vectors(300, 5)
    vectors[1] = 0
    vectors[2] = np.nan
    vectors[3, 2] = np.inf
    vectors[4] = 3e38
    kv = KeyedVectors.from_words([f"w{i}" for i in range(300)], vectors)
    words = [word for word, _ in kv.most_similar("w0", topn=400)]
    assert len(words) == 296 and not {"w0", "w2", "w3", "w4"} & set(words)
    assert dict(kv.most_similar("w0", topn=400))["w1"] == 0
    assert kv.most_similar("w1", topn=2) == [("w0", 0.0), ("w5", 0.0)]
    assert kv.similarity("w0", "w1") == 0
    assert len(kv.most_similar_batch(["w2", "w0"])) == 2
    with pytest.raises(ValueError, match="a query must be a word or a finite vector of size 5"):
        kv.most_similar(vectors[2])


def test_look_up() -> None:
    kv = KeyedVectors.from_words(WORDS, random_vectors(8, 4), range(80, 0, -10))
    assert len(kv) == 8 and kv.vector_size == 4
    assert kv.index_to_key == WORDS and kv.key_to_index["tea"] == 2
    np.testing.assert_array_equal(kv["tea"], kv.vectors[2])
    np.testing.assert_array_equal(kv[["tea", "king", "tea"]], kv.vectors[[2, 0, 2]])
    np.testing.assert_array_equal(kv[2], kv.vectors[2])
    assert kv[[]].shape == (0, 4)
    assert "new york" in kv and "york" not in kv and 7 in kv and 8 not in kv and None not in kv and ("tea",) not in kv
    assert kv.get_vecattr("tea", "count") == 60
    assert kv.get_index("york", default=-7) == -7
    np.testing.assert_allclose(np.linalg.norm(kv.get_vector("tea", norm=True)), 1, rtol=1e-6)
    assert repr(kv) == "KeyedVectors(8 words, vector_size=4)"
    with pytest.raises(ValueError, match="read-only"):
        kv["tea"][0] = 1
    kv[["tea"]][0] = 1  # a copy


def test_unknown_words_name_close_ones() -> None:
    kv = KeyedVectors.from_words(WORDS, random_vectors(8, 4))
    calls: list[Any] = [
        lambda: kv["kng"],
        lambda: kv[["tea", "kng"]],
        lambda: kv.most_similar("kng"),
        lambda: kv.most_similar(negative=["kng"]),
        lambda: kv.most_similar_batch(["tea", "kng"]),
        lambda: kv.similarity("tea", "kng"),
        lambda: kv.get_vecattr("kng", "count"),
    ]
    for call in calls:
        with pytest.raises(KeyError) as error:
            call()
        assert str(error.value) == "word 'kng' is not in the vocabulary (8 words); close matches: king"
        assert error.value.args == ("kng",)
    with pytest.raises(KeyError) as error:
        kv["TEA"]
    assert str(error.value) == "word 'TEA' is not in the vocabulary (8 words); close matches: tea"
    with pytest.raises(KeyError) as error:
        kv["zzzzzz"]
    assert str(error.value) == "word 'zzzzzz' is not in the vocabulary (8 words)"
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    with pytest.raises(KeyError, match=r"word 8 is not in the vocabulary \(8 words\)"):
        kv[8]
    with pytest.raises(KeyError, match="word -1 is not"):
        kv[-1]


def test_bad_queries() -> None:
    kv = make(10, 4)
    with pytest.raises(ValueError, match="a query must have at least one word or vector"):
        kv.most_similar([])
    with pytest.raises(ValueError, match="a query must be a word or a finite vector of size 4, got array"):
        kv.most_similar(np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="a query must be a word or a finite vector of size 4, got None"):
        kv.most_similar([None])
    with pytest.raises(ValueError, match="restrict_vocab must be an integer >= 1, got -3"):
        kv.most_similar("w1", restrict_vocab=-3)
    with pytest.raises(TypeError, match="topn must be an integer"):
        kv.most_similar("w1", topn=2.5)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError, match="at least one word in each list"):
        kv.n_similarity([], ["w1"])
    with pytest.raises(ValueError, match="at least one word must be known, got \\['x'\\]"):
        kv.doesnt_match(["x"])
    with pytest.raises(KeyError, match="words have no attribute 'rank', the attributes there are: none"):
        kv.get_vecattr("w1", "rank")
    with pytest.raises(KeyError, match="words have no attribute 'count'"):
        kv.get_vecattr("w1", "count")


def test_bad_tables() -> None:
    with pytest.raises(ValueError, match=r"vectors must have shape \(2, vector_size\), got \(3, 4\)"):
        KeyedVectors.from_words(["a", "b"], random_vectors(3, 4))
    with pytest.raises(ValueError, match=r"vectors must have shape \(2, vector_size\), got \(2,\)"):
        KeyedVectors.from_words(["a", "b"], np.zeros(2))
    with pytest.raises(TypeError, match="vectors must be an array of floats, got int64"):
        KeyedVectors.from_words(["a", "b"], np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match="words must differ, got 'a' at positions 0 and 2"):
        KeyedVectors.from_words(["a", "b", "a"], random_vectors(3, 4))
    with pytest.raises(ValueError, match="counts must have 2 entries, one a word, got 3"):
        KeyedVectors.from_words(["a", "b"], random_vectors(2, 4), [1, 2, 3])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floats_are_converted(dtype: Any) -> None:
    kv = KeyedVectors.from_words(["a", "b"], np.array([[1, 2], [3, 4]], dtype))
    assert kv.vectors.dtype == np.float32 and kv.vectors.dtype.isnative
    assert kv["b"].tolist() == [3, 4]


def test_float32_is_not_copied() -> None:
    vectors = random_vectors(4, 3)
    assert KeyedVectors.from_words(list("abcd"), vectors).vectors is vectors


def test_read_only_memory_maps_work(tmp_path: Path) -> None:
    kv = make(100, 8)
    np.save(tmp_path / "a.npy", kv.vectors)
    mapped = KeyedVectors(np.load(tmp_path / "a.npy", mmap_mode="r"), kv.vocabulary)
    assert mapped.most_similar("w3") == kv.most_similar("w3")
    assert mapped.most_similar(["w3", "w4"], topn=None).tolist() == kv.most_similar(["w3", "w4"], topn=None).tolist()
    np.testing.assert_array_equal(mapped["w3"], kv["w3"])
    assert mapped.n_similarity(["w1"], ["w2", "w3"]) == kv.n_similarity(["w1"], ["w2", "w3"])


@pytest.mark.parametrize("name", ["a.safetensors", "a.vec", "a.bin", "a.npy", "a.glove"])
def test_save_and_load(tmp_path: Path, name: str) -> None:
    kv = KeyedVectors.from_words(["a", "b"], random_vectors(2, 4), [7, 3])
    kv.metadata["made by"] = "a test"
    kv.save(tmp_path / name)
    again = KeyedVectors.load(tmp_path / name)
    assert again.index_to_key == ["a", "b"]
    np.testing.assert_array_equal(again.vectors, kv.vectors)
    if name in ("a.safetensors", "a.npy"):
        assert again.get_vecattr("b", "count") == 3
    if name == "a.safetensors":
        assert again.metadata == {"made by": "a test"}
    assert KeyedVectors.load(tmp_path / name, limit=1).index_to_key == ["a"]
    kv.save(tmp_path / "other", format="word2vec")
    assert KeyedVectors.load(tmp_path / "other", format="word2vec").index_to_key == ["a", "b"]


def test_load_a_models_file(tmp_path: Path) -> None:
    kv = KeyedVectors.from_words(["a", "b"], random_vectors(2, 4), [7, 3])
    words = kv.vocabulary
    tensors = {"vectors": kv.vectors, "words": words.packed, "words_offsets": words.offsets, "counts": kv.counts}
    write_tensors(tmp_path / "m.safetensors", tensors | {"outputs": kv.vectors + 1}, {"kind": "model"})
    again = KeyedVectors.load(tmp_path / "m.safetensors")
    assert again.most_similar("a") == kv.most_similar("a")
    assert again.get_vecattr("a", "count") == 7


def test_vocabulary_of_a_corpus_will_do() -> None:
    vocabulary = Vocabulary.from_words(["a", "b"], [5, 4])
    kv = KeyedVectors(random_vectors(2, 3), vocabulary)
    assert kv.index_to_key == ["a", "b"] and kv.get_vecattr("b", "count") == 4 and "a" in kv


def test_pickle() -> None:
    kv = make(20, 4)
    again = pickle.loads(pickle.dumps(kv))
    assert again.most_similar("w3") == kv.most_similar("w3")


class TestWord2vecFormat:
    """gensim's names for word2vec files."""

    kv = KeyedVectors.from_words(["b", "a", "naïve"], random_vectors(3, 4), [2, 9, 5])

    # gensim leaves files without a header open.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize(
        "options", [{}, {"binary": True}, {"write_header": False}, {"prefix": "x_"}, {"sort_attr": "no"}]
    )
    def test_gensim_loads_what_is_saved(self, tmp_path: Path, options: dict[str, Any]) -> None:
        gensim = pytest.importorskip("gensim.models", reason="needs gensim")
        self.kv.save_word2vec_format(tmp_path / "a", fvocab=tmp_path / "v", **options)
        theirs = gensim.KeyedVectors.load_word2vec_format(
            str(tmp_path / "a"),
            fvocab=str(tmp_path / "v"),
            binary="binary" in options,
            no_header="write_header" in options,
        )
        order = ["b", "a", "naïve"] if "sort_attr" in options else ["a", "naïve", "b"]
        assert theirs.index_to_key == [options.get("prefix", "") + word for word in order]
        for word in order:
            np.testing.assert_array_equal(theirs[options.get("prefix", "") + word], self.kv[word])
            count = theirs.get_vecattr(options.get("prefix", "") + word, "count")
            assert count == self.kv.get_vecattr(word, "count")

    def test_load(self, tmp_path: Path) -> None:
        self.kv.save_word2vec_format(tmp_path / "a", fvocab=tmp_path / "v")
        kv = KeyedVectors.load_word2vec_format(tmp_path / "a", fvocab=tmp_path / "v")
        assert kv.index_to_key == ["a", "naïve", "b"] and kv.get_vecattr("b", "count") == 2
        assert KeyedVectors.load_word2vec_format(tmp_path / "a", limit=2).index_to_key == ["a", "naïve"]
        self.kv.save_word2vec_format(tmp_path / "a", binary=True)
        assert KeyedVectors.load_word2vec_format(tmp_path / "a", binary=True).index_to_key == ["a", "naïve", "b"]
        self.kv.save_word2vec_format(tmp_path / "a", write_header=False)
        assert KeyedVectors.load_word2vec_format(tmp_path / "a", no_header=True).index_to_key == ["a", "naïve", "b"]

    def test_other_encodings(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes("2 1\nnaïve 1\nb 2\n".encode("latin-1"))
        kv = KeyedVectors.load_word2vec_format(tmp_path / "a", encoding="latin-1")
        assert kv.index_to_key == ["naïve", "b"]
        assert KeyedVectors.load_word2vec_format(tmp_path / "a", unicode_errors="ignore").index_to_key == ["nave", "b"]
        with pytest.raises(ValueError, match="word 0 is not UTF-8"):
            KeyedVectors.load_word2vec_format(tmp_path / "a")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"binary": True, "no_header": True}, "no_header=True works only with binary=False"),
            ({"datatype": np.float16}, "datatype must be float32, got float16"),
            ({"unicode_errors": "no"}, "unicode_errors must be one of 'strict'"),
            ({"fvocab": "half"}, "has no count of the word 'b'"),
            ({"fvocab": "wrong"}, "line 2: must be a word and its count, got b'b two"),
        ],
    )
    def test_bad_arguments(self, tmp_path: Path, options: dict[str, Any], message: str) -> None:
        (tmp_path / "a").write_text("2 1\na 1\nb 2\n")
        (tmp_path / "half").write_text("a 1\n")
        (tmp_path / "wrong").write_text("a 1\nb two\n")
        if "fvocab" in options:
            options = {"fvocab": tmp_path / options["fvocab"]}
        with pytest.raises(ValueError, match=message):
            KeyedVectors.load_word2vec_format(tmp_path / "a", **options)

    def test_bad_saves(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="write_header=False works only with binary=False"):
            self.kv.save_word2vec_format(tmp_path / "a", binary=True, write_header=False)
        with pytest.raises(ValueError, match="fvocab needs counts"):
            make(3).save_word2vec_format(tmp_path / "a", fvocab=tmp_path / "v")
        with pytest.raises(ValueError, match="word 0, 'new york', holds ' ', which word2vec text cannot store"):
            KeyedVectors.from_words(["new york"], random_vectors(1, 2)).save_word2vec_format(tmp_path / "a")
        assert not list(tmp_path.iterdir())


def test_a_list_of_lists_is_a_batch():
    kv = KeyedVectors.from_words(["a", "b", "c"], np.array([[1, 0], [1, 1], [0, 1]], np.float32))
    assert kv.most_similar([["a"], ["a", "c"]], topn=1) == kv.most_similar_batch(["a", ["a", "c"]], topn=1)
    assert kv.most_similar([["a"]]) == [kv.most_similar(["a"])]
