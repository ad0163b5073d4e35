"""Trainers that join phrases first, and keep them beside the vectors."""

import numpy as np
import pytest

from fastemb import FrozenPhrases, GloVe, KeyedVectors, Phrases, Word2Vec
from fastemb.cli import main

LINES = [
    *["in new york city", "she likes new york city", "a city in france", "new ideas", "old york minster"] * 30,
    *["york and france", "a new minster", "she likes old ideas"] * 20,
]
SMALL = {"vector_size": 8, "epochs": 1, "min_count": 5, "workers": 1, "seed": 3}
WORD2VEC = {**SMALL, "sample": 0}


@pytest.fixture(scope="module")
def phrases():
    text = [line.split() for line in LINES]
    first = Phrases(text, min_count=1, threshold=0.15)
    second = Phrases(text, phrases=first, min_count=1, threshold=0.15)
    return FrozenPhrases([first, second])


@pytest.fixture(scope="module")
def files(phrases, tmp_path_factory):
    """The text, the joined text and the phrases."""
    folder = tmp_path_factory.mktemp("phrases")
    (folder / "text.txt").write_text("\n".join(LINES) + "\n")
    joined = (" ".join(phrases[line.split()]) for line in LINES)
    (folder / "joined.txt").write_text("\n".join(joined) + "\n")
    phrases.save(folder / "phrases.json")
    return folder


@pytest.fixture(scope="module")
def model(files, phrases):
    return Word2Vec(corpus_file=files / "text.txt", phrases=phrases, **WORD2VEC)


def test_training_with_phrases_is_training_on_the_joined_text(files, model):
    wanted = Word2Vec(corpus_file=files / "joined.txt", **WORD2VEC)
    assert "old_york_minster" in wanted.wv
    assert model.wv.index_to_key == wanted.wv.index_to_key
    assert np.array_equal(model.wv.vectors, wanted.wv.vectors)
    assert model.corpus_total_words == wanted.corpus_total_words


def test_a_model_keeps_its_phrases(files, model, phrases, tmp_path):
    model.save(tmp_path / "model.safetensors")
    loaded = Word2Vec.load(tmp_path / "model.safetensors")
    assert loaded.phrases.passes == phrases.passes
    assert loaded.phrases[["an", "old", "york", "minster"]] == model.phrases[["an", "old", "york", "minster"]]
    assert "old_york_minster" in KeyedVectors.load(tmp_path / "model.safetensors")
    for further in (model, loaded):
        further.train(corpus_file=files / "text.txt", epochs=1)
    assert np.array_equal(loaded.wv.vectors, model.wv.vectors)
    plain = Word2Vec([["a", "b"]] * 10, **WORD2VEC)
    plain.save(tmp_path / "plain.safetensors")
    assert plain.phrases is None and Word2Vec.load(tmp_path / "plain.safetensors").phrases is None


def test_models_are_frozen_and_checked(phrases):
    first = Phrases([["a", "b"]] * 9, min_count=1, threshold=0.1)
    assert Word2Vec(phrases=[first, phrases]).phrases.passes == (*first.freeze().passes, *phrases.passes)
    with pytest.raises(TypeError, match="phrases_model must be Phrases, FrozenPhrases or a list of them, got 'a_b'"):
        Word2Vec(phrases="a_b")
    with pytest.raises(ValueError, match="max_vocab_size cannot be used with phrases"):
        Word2Vec([["a", "b"]] * 9, phrases=first, max_vocab_size=10)


def test_glove(files, phrases, tmp_path):
    model = GloVe(corpus_file=files / "text.txt", phrases=phrases, **SMALL)
    wanted = GloVe(corpus_file=files / "joined.txt", **SMALL)
    assert model.wv.index_to_key == wanted.wv.index_to_key and np.array_equal(model.wv.vectors, wanted.wv.vectors)
    model.save(tmp_path / "model.safetensors")
    assert GloVe.load(tmp_path / "model.safetensors").phrases.passes == phrases.passes


@pytest.mark.parametrize("given", ["2", "phrases.json"])
def test_the_command_line(files, tmp_path, capsys, given):
    out = str(tmp_path / "out.safetensors")
    options = [
        "--vector-size",
        "8",
        "--epochs",
        "1",
        "--workers",
        "1",
        "--seed",
        "3",
        "--save-model",
        str(tmp_path / "m.safetensors"),
    ]
    asked = given if given.isdecimal() else str(files / given)
    assert main(["train", str(files / "text.txt"), "-o", out, *options, "--phrases", asked]) == 0
    saved = Word2Vec.load(tmp_path / "m.safetensors").phrases
    if given == "2":
        assert len(saved.passes) == 2 and "Pass 2 of 2" in capsys.readouterr().err
    else:
        assert "old_york_minster" in KeyedVectors.load(out) and "old_york_minster" in saved
    for wrong, message in (("0", "a number of passes from 1 on"), ("none.json", "no such file")):
        assert main(["train", str(files / "text.txt"), "-o", out, "--phrases", wrong]) != 0
        assert message in capsys.readouterr().err
    assert main(["train", "-", "-o", out, "--phrases", "1"]) == 2
    assert "standard input is read once" in capsys.readouterr().err
