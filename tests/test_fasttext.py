"""FastText: training, its files and arguments."""

import inspect
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fastemb import FastText, FastTextKeyedVectors, KeyedVectors, Word2Vec
from fastemb.cli.app import app
from fastemb.formats.fasttext import read_model

WEEK = ["monday", "tuesday", "wednesday", "thursday", "friday"]
FRUIT = ["apple", "pear", "plum", "cherry", "quince"]
UNSEEN = ["mondays", "plums", "東京"]


def text(lines=400, seed=0):
    """Sentences of one kind of word or the other."""
    random = np.random.default_rng(seed)
    return [[*random.choice(WEEK if line % 2 else FRUIT, 6)] for line in range(lines)]


def train(**how):
    options = {"vector_size": 12, "min_count": 1, "bucket": 500, "workers": 1, "sample": 0, "epochs": 12, "sg": 1}
    return FastText(text(), **{**options, **how})


@pytest.fixture(scope="module")
def model():
    return train()


def test_vectors_know_the_kinds(model):
    near = [word for word, _ in model.wv.most_similar("monday", topn=4)]
    assert set(near) < set(WEEK)
    assert "mondays" in model.wv
    assert not model.wv.has_index_for("mondays")
    near = [word for word, _ in model.wv.most_similar("wednesdays", topn=3)]
    assert set(near) < set(WEEK)
    assert model.losses[-1] < model.losses[0]
    assert isinstance(model.wv, FastTextKeyedVectors)


def test_vectors_are_those_of_the_rows(model):
    values, offsets = model._subword_state.parts
    rows = model.wv._subword_table.rows
    for number, word in enumerate(model.wv.index_to_key):
        mean = rows[values[offsets[number] : offsets[number + 1]]].mean(axis=0)
        np.testing.assert_allclose(model.wv[word], mean, atol=1e-6)
    assert model.wv.vectors_vocab.shape == (10, 12)
    assert model.wv.vectors_ngrams.shape == (500, 12)


def test_all_rows_begin_at_random():
    untrained = FastText(vector_size=10, min_count=1, bucket=2000, seed=3)
    untrained.build_vocab(text(4))
    rows = untrained.wv.vectors_ngrams
    assert 0.09 < np.abs(rows).max() <= 0.1
    assert abs(np.abs(rows).mean() - 0.05) < 0.002
    assert (rows != 0).any(axis=1).all()


def test_facebooks_program_loads_it(model, tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fasttext is not installed")
    model.save(tmp_path / "a.bin")
    theirs = fasttext.load_model(str(tmp_path / "a.bin"))
    assert theirs.get_words() == model.wv.index_to_key
    for word in (*WEEK, *UNSEEN):
        np.testing.assert_array_equal(theirs.get_word_vector(word), model.wv[word])
    np.testing.assert_array_equal(theirs.get_output_matrix(), model.syn1neg)
    told = theirs.f.getArgs()
    assert (told.dim, told.bucket, told.minn, told.maxn, told.epoch) == (12, 500, 3, 6, 12)


def test_gensim_loads_it(model, tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed")
    model.save(tmp_path / "a.bin")
    theirs = gensim.load_facebook_model(str(tmp_path / "a.bin"))
    for word in (*WEEK, *UNSEEN):
        np.testing.assert_allclose(theirs.wv[word], model.wv[word], atol=1e-6)
    np.testing.assert_array_equal(theirs.syn1neg, model.syn1neg)


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_going_on_from_a_file(model, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / name)
    again = FastText.load(tmp_path / name)
    np.testing.assert_array_equal(again.wv[[*WEEK, *UNSEEN]], model.wv[[*WEEK, *UNSEEN]])
    np.testing.assert_array_equal(again.syn1neg, model.syn1neg)
    assert (again.min_n, again.max_n, again.bucket, again.sg) == (3, 6, 500, 1)
    vectors = KeyedVectors.load(tmp_path / name)
    np.testing.assert_array_equal(vectors[[*WEEK, *UNSEEN]], model.wv[[*WEEK, *UNSEEN]])
    before = again.wv["mondays"].copy()
    again.set_params(workers=1, sample=0)
    again.train(text(40), epochs=1)
    assert not np.array_equal(again.wv["mondays"], before)
    assert np.isfinite(again.losses).all()


def test_hierarchical_softmax_through_facebooks_format(tmp_path: Path) -> None:
    model = train(sg=0, hs=1, negative=0, epochs=2)
    model.save(tmp_path / "a.bin")
    told = read_model(tmp_path / "a.bin")
    assert (told.arguments.loss, told.arguments.model) == ("hs", "cbow")
    np.testing.assert_array_equal(told.output[:-1], -model.syn1)  # fastText's nodes learn the code itself
    again = FastText.load(tmp_path / "a.bin")
    np.testing.assert_array_equal(again.syn1, model.syn1)
    assert (again.hs, again.negative, again.sg) == (1, 0, 0)


def test_cbow_learns():
    model = train(sg=0, epochs=20)
    assert {word for word, _ in model.wv.most_similar("apple", topn=3)} < set(FRUIT)


def test_floret(tmp_path: Path) -> None:
    model = train(mode="floret", hash_count=2, bucket=200)
    assert model.wv.vectors_ngrams.shape == (200, 12)
    assert {word for word, _ in model.wv.most_similar("monday", topn=3)} < set(WEEK)
    model.save(tmp_path / "a.floret")
    np.testing.assert_allclose(KeyedVectors.load(tmp_path / "a.floret")[UNSEEN], model.wv[UNSEEN], atol=1e-6)
    model.save(tmp_path / "a.safetensors")
    again = FastText.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.wv[UNSEEN], model.wv[UNSEEN])
    model.save(tmp_path / "a.vec")
    assert KeyedVectors.load(tmp_path / "a.vec").index_to_key == model.wv.index_to_key
    with pytest.raises(ValueError, match="cannot hold floret's table"):
        model.save(tmp_path / "a.bin")


def test_a_copy_is_trained_alone(model):
    twin = pickle.loads(pickle.dumps(model))
    before = model.wv["mondays"].copy()
    twin.train(text(20), epochs=1)
    np.testing.assert_array_equal(model.wv["mondays"], before)
    assert not np.array_equal(twin.wv["mondays"], before)


def test_same_seed_same_vectors():
    one, two = (train(epochs=1, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.wv[UNSEEN], two.wv[UNSEEN])


def test_takes_all_that_word2vec_takes():
    ours, theirs = (inspect.signature(one).parameters for one in (FastText, Word2Vec))
    assert {name: ours[name].default for name in theirs} == {name: theirs[name].default for name in theirs}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"min_n": -1}, "min_n must be an integer in"),
        ({"bucket": 2**31}, "bucket must be an integer in"),
        ({"word_ngrams": 2}, "word_ngrams must be 1"),
        ({"mode": "bloom"}, "mode must be one of 'fasttext', 'floret'"),
        ({"mode": "floret", "hash_count": 5}, "hash_count must be an integer in"),
        ({"mode": "floret", "bucket": 0}, "bucket must be at least 1"),
    ],
)
def test_bad_arguments(how: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FastText(**how)


def test_files_that_cannot_be_trained(data: Path, model, tmp_path: Path) -> None:
    model.wv.quantize_product().save(tmp_path / "a.ftz")
    with pytest.raises(ValueError, match="quantized and cannot be trained"):
        FastText.load(tmp_path / "a.ftz")
    model.wv.save(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="not a FastText model"):
        FastText.load(tmp_path / "a.safetensors")
    again = FastText.load(data / "formats/gensim/lee_fasttext_new.bin")
    assert len(again.wv) == 1763


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(" ".join(line) for line in text(100)))
    how = ["--model", "fasttext", "--vector-size", "12", "--min-count", "1", "--bucket", "500", "--epochs", "1"]
    saved = [
        "-o",
        str(tmp_path / "a.bin"),
        "--save-model",
        str(tmp_path / "m.safetensors"),
        "--workers",
        "1",
        "--quiet",
    ]
    result = CliRunner().invoke(app, ["train", str(tmp_path / "text.txt"), *how, *saved])
    assert result.exit_code == 0, result.output
    assert read_model(tmp_path / "a.bin").arguments.bucket == 500
    assert FastText.load(tmp_path / "m.safetensors").bucket == 500
    result = CliRunner().invoke(app, ["neighbors", str(tmp_path / "a.bin"), "mondays", "--json", "--quiet"])
    assert len(json.loads(result.output)[0]["neighbors"]) == 10


class TestRowsOfWordsAndNgrams:
    """Sorting, freezing and taking over: the words' own rows and the n-grams' stay with what they belong to."""

    @pytest.fixture
    def unsorted(self):
        return train(sorted_vocab=0, epochs=2, negative=3, hs=0)

    def test_sorting_changes_places_only(self, unsorted):
        model, held = unsorted, unsorted.wv
        before = {word: (held[word].copy(), model.syn1neg[place]) for place, word in enumerate(held.index_to_key)}
        before = {word: (vector, output.copy()) for word, (vector, output) in before.items()}
        counts = dict(zip(held.index_to_key, held.counts.tolist(), strict=True))
        unseen = held["mondays"].copy()
        model.freeze(["plum"])
        held.sort_by_descending_frequency()
        assert held is model.wv and held.index_to_key == sorted(before, key=lambda word: -counts[word])
        assert held.index_to_key != list(before)
        for place, word in enumerate(held.index_to_key):
            np.testing.assert_array_equal(held[word], before[word][0])
            np.testing.assert_array_equal(model.syn1neg[place], before[word][1])
            assert held.get_vecattr(word, "count") == counts[word]
        np.testing.assert_array_equal(held["mondays"], unseen)
        place = held.get_index("plum")
        row = held.vectors_vocab[place].copy()
        model.train(text())
        np.testing.assert_array_equal(held.vectors_vocab[place], row)
        assert (held["pear"] != before["pear"][0]).any()

    def test_a_copy_is_no_models(self, unsorted):
        copy = pickle.loads(pickle.dumps(unsorted.wv))
        assert type(copy) is FastTextKeyedVectors and type(unsorted.wv) is not FastTextKeyedVectors
        np.testing.assert_array_equal(copy["mondays"], unsorted.wv["mondays"])
        with pytest.raises(TypeError, match=r"build_vocab\(\.\.\., update=True\) adds words"):
            unsorted.wv.add_vector("new", np.zeros(12))

    @pytest.mark.parametrize("factor", [1.0, 0.0])
    def test_ngrams_are_taken_over(self, model, tmp_path, factor):
        model.save(tmp_path / "a.bin")
        words = [[*WEEK, "strawberry"]] * 20
        started = FastText(
            vector_size=12, min_count=1, bucket=500, workers=1, sg=1, pretrained=tmp_path / "a.bin",
            pretrained_lockf=factor, epochs=1, sample=0,
        )  # fmt: skip
        started.build_vocab(words)
        for word in [*WEEK, "mondays"]:
            np.testing.assert_allclose(started.wv[word], model.wv[word], atol=1e-6)
        before = {word: started.wv[word].copy() for word in [*WEEK, "mondays", "strawberry"]}
        started.save(tmp_path / "b.safetensors")
        for trained in (started, FastText.load(tmp_path / "b.safetensors")):
            trained.train(words)
            kept = [word for word in before if (trained.wv[word] == before[word]).all()]
            assert kept == ([*WEEK, "mondays"] if factor == 0 else [])

    def test_other_vectors_become_words_own_rows(self, model):
        started = FastText(vector_size=12, min_count=1, bucket=400, pretrained=model.wv, sg=1)
        started.build_vocab(text())
        np.testing.assert_array_equal(started.wv.vectors_vocab[0], model.wv[started.wv.index_to_key[0]])

    def test_florets_table(self, model):
        options = {"vector_size": 12, "min_count": 1, "mode": "floret", "bucket": 300, "workers": 1}
        first = FastText(text(40), **options)
        started = FastText(**options, pretrained=first.wv, pretrained_lockf=0.0)
        started.build_vocab(text(40))
        started.build_vocab([["strawberry"] * 5], update=True)
        np.testing.assert_array_equal(started.wv.vectors_ngrams, first.wv.vectors_ngrams)
        started.train(text(40))
        np.testing.assert_array_equal(started.wv.vectors_ngrams, first.wv.vectors_ngrams)
        started.wv.sort_by_descending_frequency()
        np.testing.assert_array_equal(started.wv["monday"], first.wv["monday"])
        with pytest.raises(ValueError, match="no rows of their own"):
            first.freeze(["monday"])
        with pytest.raises(ValueError, match="must be floret's table of the same"):
            FastText(text(40), **options, pretrained=model.wv)
