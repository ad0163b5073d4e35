"""`fastemb vectors`, and what else people of fastText's, word2vec.c's and GloVe's programs ask the shell for."""

import inspect
import io
import json
import sys

import numpy as np
import pytest

from fastemb import FastText, FastTextClassifier, KeyedVectors, Phrases
from fastemb.cli import classify, main
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


def test_dump(folder, capsys, monkeypatch):
    model = folder / "model.bin"
    read = read_model(model)
    wanted = ["dim 4", "ws 5", "epoch 1", "minCount 5", "neg 5", "wordNgrams 1", "loss ns", "model cbow", "bucket 50"]
    assert answer(["dump", model, "args"], capsys, monkeypatch)[:9] == wanted
    first, *words = answer(["dump", model, "dict"], capsys, monkeypatch)
    assert first == str(len(words)) and words[0] == "the 80 word"
    for part, matrix in (("input", read.input), ("output", read.output)):
        first, *rows = answer(["dump", model, part], capsys, monkeypatch)
        assert first == f"{len(matrix)} 4"
        np.testing.assert_allclose(np.array([row.split() for row in rows], float), matrix, rtol=1e-5)
    assert "loss softmax" in answer(["dump", folder / "classifier.bin", "args"], capsys, monkeypatch)
    assert "__label__a 40 label" in answer(["dump", folder / "classifier.bin", "dict"], capsys, monkeypatch)
    (told,) = answer(["dump", folder / "classifier.bin", "args", "--json"], capsys, monkeypatch)
    assert json.loads(told)["model"] == "sup"
    rows = answer(["dump", model, "output", "--json"], capsys, monkeypatch)
    assert [json.loads(row) for row in rows] == read.output.tolist()


def test_matrices_of_codes_are_not_dumped(folder, tmp_path, capsys):
    vectors = KeyedVectors.from_words(list(map(str, range(300))), np.random.default_rng(0).random((300, 4)))
    vectors.save(tmp_path / "plain.bin", format="fasttext")
    KeyedVectors.load(tmp_path / "plain.bin").quantize_product().save(tmp_path / "codes.ftz")
    assert main(["dump", str(tmp_path / "codes.ftz"), "input"]) == 1
    assert "codes.ftz is quantized" in capsys.readouterr().err
    assert main(["dump", str(folder / "plain.txt"), "args"]) == 1
    assert "plain.txt" in capsys.readouterr().err


def test_cluster(tmp_path, capsys, monkeypatch):
    rng, source, out = np.random.default_rng(0), tmp_path / "vectors.bin", tmp_path / "classes.txt"
    centres = np.eye(8)[:4]
    rows = np.repeat(centres, [9, 7, 5, 3], axis=0) + rng.normal(0, 0.05, (24, 8))
    KeyedVectors.from_words([f"w{row}" for row in range(24)], rows * rng.uniform(1, 9, (24, 1))).save(source)
    wanted = [f"w{row} {label}" for row, label in enumerate(np.repeat(range(4), [9, 7, 5, 3]).tolist())]
    assert answer(["cluster", source, "--classes", "4"], capsys, monkeypatch) == wanted
    told = json.loads(answer(["cluster", source, "-o", out, "--classes", "4", "-q", "--json"], capsys, monkeypatch)[0])
    assert out.read_text().splitlines() == wanted and (told["words"], told["classes"]) == (24, 4)
    assert len({line.split()[1] for line in answer(["cluster", source], capsys, monkeypatch)}) == 24
    assert main(["cluster", str(source), "--classes", "0"]) == 2
    assert "--classes" in capsys.readouterr().err
    bad = tmp_path / "bad.safetensors"
    KeyedVectors.from_words(["a", "b"], np.array([[1, 2], [np.nan, 0]])).save(bad)
    assert main(["cluster", str(bad)]) == 1
    assert "the vector of 'b' is not finite" in capsys.readouterr().err


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


def test_options_of_classifiers_are_the_library_s(folder, tmp_path):
    ours = {name: item.default for name, item in inspect.signature(classify.train).parameters.items()}
    theirs = {name: item.default for name, item in inspect.signature(FastTextClassifier).parameters.items()}
    ours["errors"] = ours["errors"].value
    assert theirs.keys() - ours.keys() == {"callbacks"}
    assert {name: ours[name] for name in theirs if name in ours} == {n: theirs[n] for n in theirs if n in ours}
    out = str(tmp_path / "model.safetensors")
    argv = ["classify", "train", str(folder / "labelled.txt"), "-o", out, "-q", "--vector-size", "4", "--no-shuffle"]
    assert main([*argv, "--compat", "fasttext", "--seed", "7", "--workers", "1"]) == 0
    got, default = FastTextClassifier.load(out).get_params(), FastTextClassifier().get_params()
    wanted = {"vector_size": 4, "shuffle": False, "compat": "fasttext", "seed": 7, "workers": 1}
    assert {name: got[name] for name in got if got[name] != default[name]} == wanted
