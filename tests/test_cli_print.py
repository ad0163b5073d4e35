"""`fastemb vectors`, and what else people of fastText's, word2vec.c's and GloVe's programs ask the shell for."""

import io
import json
import sys

import numpy as np
import pytest

from fastemb import FastText, FastTextClassifier, KeyedVectors, Phrases
from fastemb.cli import main
from fastemb.cli.app import app
from fastemb.cli.errors import ELSEWHERE
from fastemb.formats.cooccurrence import read_vocabulary
from fastemb.formats.fasttext import read_model

LINES = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "text.txt").write_text("\n".join(LINES) + "\n")
    labelled = [f"__label__{'b' if 'log' in line else 'a'} {line}" for line in LINES]
    (folder / "labelled.txt").write_text("\n".join(labelled) + "\n")
    options = {"corpus_file": folder / "text.txt", "vector_size": 4, "epochs": 1, "workers": 1}
    FastText(**options, bucket=50, min_n=3, max_n=3).save(folder / "model.bin")
    options = {"vector_size": 4, "epochs": 1, "workers": 1}
    FastTextClassifier(**options).fit(corpus_file=folder / "labelled.txt").save(folder / "classifier.bin")
    KeyedVectors.from_words(["cat", "dog"], np.array([[0.5, 1], [2, 0]])).save(folder / "plain.txt")
    return folder


def answer(argv, capsys, monkeypatch, typed=""):
    """Return the lines that a command prints."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
    assert main(list(map(str, argv))) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_words(folder, capsys, monkeypatch):
    assert answer(["vectors", folder / "plain.txt", "dog", "cat"], capsys, monkeypatch) == ["dog 2 0", "cat 0.5 1"]
    typed = answer(["vectors", folder / "plain.txt"], capsys, monkeypatch, typed="dog\ncat dog\n")
    assert typed == ["dog 2 0", "cat 0.5 1", "dog 2 0"]
    (line,) = answer(["vectors", folder / "model.bin", "cats", "--json"], capsys, monkeypatch)
    wanted = KeyedVectors.load(folder / "model.bin")["cats"]
    assert json.loads(line) == {"word": "cats", "vector": pytest.approx(wanted.tolist())}


def test_sentences(folder, capsys, monkeypatch):
    for name in ("model.bin", "classifier.bin"):
        lines = answer(["vectors", folder / name, "--sentences"], capsys, monkeypatch, typed="the cat\n\ndogs\n")
        assert [len(line.split()) for line in lines] == [4, 4, 4]
    (found,) = answer(["vectors", folder / "classifier.bin", "--sentences"], capsys, monkeypatch, typed="the cat\n")
    wanted = FastTextClassifier.load(folder / "classifier.bin").get_sentence_vector("the cat")
    np.testing.assert_allclose(np.array(found.split(), float), wanted, rtol=1e-4)
    lines = answer(["vectors", folder / "plain.txt", "--sentences"], capsys, monkeypatch, typed="dog x\nx\n\n")
    assert lines == ["1 0", "0 0", "0 0"]


def test_ngrams(folder, capsys, monkeypatch):
    lines = answer(["vectors", folder / "model.bin", "--ngrams", "cat"], capsys, monkeypatch)
    assert [line.split()[0] for line in lines] == ["cat", "<ca", "cat", "at>"]
    rows = np.array([line.split()[1:] for line in lines], float)
    np.testing.assert_allclose(rows.mean(axis=0), KeyedVectors.load(folder / "model.bin")["cat"], atol=1e-5)


def test_errors(folder, capsys):
    cases = {
        ("vectors", "plain.txt", "mouse"): "word 'mouse' is not in the vocabulary",
        ("vectors", "plain.txt", "cat", "--ngrams"): "have no n-grams",
        ("vectors", "model.bin", "cat", "--sentences"): "--sentences takes lines of standard input",
        ("vectors", "missing.bin", "cat"): "no such file",
    }
    for (command, name, *rest), message in cases.items():
        assert main([command, str(folder / name), *rest]) != 0
        assert message in capsys.readouterr().err


def test_commands_of_other_programs(capsys):
    assert main(["print-word-vectors", "model.bin"]) == 2
    assert "No such command 'print-word-vectors': it is `fastemb vectors`" in capsys.readouterr().err
    ours = {command.name for command in app.registered_commands} | {"classify"}
    assert {meant.split()[0] for meant in ELSEWHERE.values()} <= ours
    assert not ELSEWHERE.keys() & ours


def test_trained_model_is_written_whole(folder, tmp_path, capsys):
    options = [
        "--model",
        "fasttext-cbow",
        "--vector-size",
        "4",
        "--epochs",
        "2",
        "--bucket",
        "50",
        "--negative",
        "3",
        "-q",
    ]
    text, out, vocab = str(folder / "text.txt"), str(tmp_path / "model.bin"), str(tmp_path / "vocab.txt")
    assert main(["train", text, "-o", out, "--save-vocab", vocab, *options]) == 0
    told = read_model(out)
    arguments = told.arguments
    assert (arguments.model, arguments.epochs, arguments.negative, arguments.bucket) == ("cbow", 2, 3, 50)
    assert np.abs(told.output).max() > 0
    words = read_vocabulary(vocab)
    assert words.words == told.dictionary.words.words
    assert words.counts.tolist() == told.dictionary.words.counts.tolist()
    capsys.readouterr()
    assert main(["info", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["epochs"] == 2


def test_classifiers_join_phrases(folder, tmp_path, capsys):
    Phrases(corpus_file=folder / "text.txt", min_count=1, threshold=0.5).save(tmp_path / "phrases.pkl")
    out = str(tmp_path / "model.safetensors")
    options = ["--phrases", str(tmp_path / "phrases.pkl"), "--workers", "1", "--max-memory", "1k", "-q"]
    assert main(["classify", "train", str(folder / "labelled.txt"), "-o", out, "--vector-size", "4", *options]) == 0
    classifier = FastTextClassifier.load(out)
    assert classifier.phrases is not None and classifier.max_memory == "1k"
    assert any("_" in word for word in classifier.wv.index_to_key)
    options = [*options, "--trials", "1", "--max-table-memory", "1M"]
    assert main(["classify", "autotune", *[str(folder / "labelled.txt")] * 2, "-o", out, *options]) == 0
    assert FastTextClassifier.load(out).phrases is not None
