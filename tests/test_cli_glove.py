"""`fastemb cooccur`, and `fastemb train --model glove`, from the command line."""

import inspect
import json

import numpy as np
import pytest

from fastemb import GloVe, KeyedVectors
from fastemb.cli import glove as glove_options
from fastemb.cli import main
from fastemb.cli import train as train_module
from fastemb.corpus.cooccurrence import count_cooccurrences
from fastemb.corpus.reader import read_corpus
from fastemb.formats.cooccurrence import read_cooccurrence, read_vocabulary

LINES = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 20


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES) + "\n")
    return str(path)


@pytest.fixture
def files(tmp_path):
    return str(tmp_path / "cooccurrence.bin"), str(tmp_path / "vocab.txt")


def fails(argv, capsys, *parts, code=1):
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    last = captured.err.splitlines()[-1]
    assert last.startswith("fastemb: ") and all(part in last for part in parts), last


def counted(**options):
    text = {name: options.pop(name) for name in ("min_count", "max_final_vocab", "vocabulary") if name in options}
    with read_corpus([line.split() for line in LINES], **text) as corpus:
        return count_cooccurrences(corpus, dtype=np.float64, **options)


def assert_same(files, matrix):
    found = read_cooccurrence(files[0], matrix.vocabulary, dtype=np.float64)
    for name in ("offsets", "cols", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(matrix, name))


def test_cooccur(text, files, capsys):
    assert main(["cooccur", text, "-o", files[0], "--vocab", files[1]]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and f"Wrote {files[1]}: 9 words" in captured.err
    matrix = counted()
    assert f"Wrote {files[0]}: {matrix.num_pairs} pairs of 9 words" in captured.err
    assert_same(files, matrix)
    assert read_vocabulary(files[1]).words == matrix.vocabulary.words


@pytest.mark.parametrize(
    ("option", "how"),
    [
        (["--window", "2"], {"window": 2}),
        (["--no-symmetric"], {"symmetric": False}),
        (["--no-distance-weighting"], {"distance_weighting": False}),
        (["--min-count", "30"], {"min_count": 30}),
        (["--max-memory", "0"], {}),
        (["--workers", "2"], {}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_option_of_cooccur(option, how, text, files):
    assert main(["cooccur", text, "-o", files[0], "-q", *option]) == 0
    assert_same(files, counted(**how))


def test_cooccur_of_chosen_words(text, files, capsys):
    with open(files[1], "w") as file:
        file.write("sat 3\ncat 2\n")
    assert main(["cooccur", text, "-o", files[0], "--words", files[1], "--json", "-q"]) == 0
    summary = json.loads(capsys.readouterr().out)
    matrix = counted(vocabulary=read_vocabulary(files[1]))
    assert_same(files, matrix)
    assert (summary["words"], summary["pairs"], summary["corpus_words"]) == (2, matrix.num_pairs, 340)
    assert main(["cooccur", text, "-o", files[0], "--max-final-vocab", "7", "--vocab", files[1], "-q"]) == 0
    assert read_vocabulary(files[1]).words == counted(max_final_vocab=7).vocabulary.words
    assert 1 <= len(read_vocabulary(files[1])) <= 7


def test_cooccur_says_what_is_wrong(text, files, tmp_path, capsys):
    fails(["cooccur", text, "-o", text], capsys, "would overwrite the text", code=2)
    fails(["cooccur", text, "-o", files[0], "--vocab", files[0]], capsys, "are the same file", code=2)
    fails(["cooccur", text, "-o", str(tmp_path / "no" / "x")], capsys, "the folder to write to does not exist")
    fails(["cooccur", "missing.txt", "-o", files[0]], capsys, "missing.txt")
    fails(["cooccur", text, "-o", files[0], "--words", "missing.txt"], capsys, "missing.txt")
    fails(["cooccur", text, "-o", files[0], "--window", "0"], capsys, "window must be an integer in [1, 255], got 0")
    option = ["--words", files[1], "--max-final-vocab", "3"]
    fails(["cooccur", text, "-o", files[0], *option], capsys, "--max-final-vocab has no meaning with --words", code=2)


SMALL = ["--model", "glove", "--vector-size", "8", "--epochs", "3"]


def test_train(text, tmp_path, capsys):
    out = str(tmp_path / "vectors.txt")
    assert main(["train", text, "-o", out, *SMALL]) == 0
    captured = capsys.readouterr()
    pairs = counted().num_pairs
    assert captured.out == "" and "Epoch 3 of 3" in captured.err and " pairs/s, loss " in captured.err
    assert f"Trained on {3 * pairs} pairs in " in captured.err
    expected = GloVe(corpus_file=text, vector_size=8, epochs=3).wv
    found = KeyedVectors.load(out)
    assert found.index_to_key == expected.index_to_key
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    with open(out) as file:
        assert len(file.readline().split()) == 9, "the program writes no header"


@pytest.mark.parametrize(
    ("option", "parameter", "value"),
    [
        (["--window", "2"], "window", 2),
        (["--x-max", "7"], "x_max", 7.0),
        (["--exponent", "0.5"], "alpha", 0.5),
        (["--eta", "0.1"], "eta", 0.1),
        (["--no-symmetric"], "symmetric", False),
        (["--no-distance-weighting"], "distance_weighting", False),
        (["--max-final-vocab", "4"], "max_final_vocab", 4),
        (["--vectors", "context"], "vectors", "context"),
        (["--compat", "glove-1.2"], "compat", "glove-1.2"),
        (["--min-count", "2"], "min_count", 2),
        (["--lowercase"], "lowercase", True),
        (["--errors", "ignore"], "errors", "ignore"),
        (["--seed", "3"], "seed", 3),
        (["--workers", "2"], "workers", 2),
        (["--max-memory", "1G"], "max_memory", "1G"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_option_of_train_reaches_the_model(option, parameter, value, text, tmp_path):
    model, out = str(tmp_path / "model.safetensors"), str(tmp_path / "out.bin")
    assert main(["train", text, "-o", out, "-q", "--save-model", model, *SMALL, *option]) == 0
    got, default = GloVe.load(model).get_params(), GloVe(vector_size=8, epochs=3).get_params()
    assert {name: got[name] for name in got if got[name] != default[name]} == {parameter: value}


def test_defaults_of_train_are_the_librarys():
    ours = {name: item.default for name, item in inspect.signature(train_module.train).parameters.items()}
    theirs = {name: item.default for name, item in inspect.signature(GloVe).parameters.items()}
    for option, argument in glove_options.OWN.items():
        assert ours[option] == theirs[argument]


def test_train_from_the_programs_files(text, files, tmp_path, capsys):
    out, model = str(tmp_path / "vectors.glove"), str(tmp_path / "model.safetensors")
    assert main(["cooccur", text, "-o", files[0], "--vocab", files[1], "-q"]) == 0
    assert (
        main(["train", files[0], "--vocab", files[1], "-o", out, *SMALL, "--unk", "--json", "--save-model", model]) == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert summary["trained_pairs"] == 3 * counted().num_pairs and len(summary["losses"]) == 3
    found, expected = KeyedVectors.load(out), GloVe(corpus_file=text, vector_size=8, epochs=3)
    np.testing.assert_array_equal(found.vectors[:-1], expected.wv.vectors)
    assert found.index_to_key[-1] == "<unk>"
    further = ["--continue", model, "--model", "glove", "--epochs", "4", "-q"]
    assert main(["train", files[0], "--vocab", files[1], "-o", out, *further]) == 0
    expected = GloVe(corpus_file=text, vector_size=8, epochs=4)
    np.testing.assert_array_equal(KeyedVectors.load(out).vectors, expected.wv.vectors)


def test_a_checkpoint(text, tmp_path):
    out, path = str(tmp_path / "out.txt"), str(tmp_path / "checkpoint.safetensors")
    assert main(["train", text, "-o", out, "-q", *SMALL, "--epochs", "7", "--checkpoint", path]) == 0
    assert GloVe.load(path).epochs_trained == 5


def test_options_of_another_model(text, tmp_path, capsys):
    out = str(tmp_path / "out.txt")
    fails(["train", text, "-o", out, *SMALL, "--negative", "3"], capsys, "--negative has no meaning", code=2)
    fails(["train", text, "-o", out, *SMALL, "--alpha", "0.1"], capsys, "its rate is --eta", code=2)
    for option in (["--x-max", "3"], ["--unk"], ["--vocab", "vocab.txt"]):
        fails(["train", text, "-o", out, *option], capsys, f"{option[0]} needs --model glove", code=2)
    fails(["train", text, "-o", out, *SMALL, "--vectors", "both"], capsys, "vectors must be one of 'sum', 'word'")
    fails(["train", text, "-o", out, *SMALL, "--unk", "--vocab", "missing"], capsys, "missing")
