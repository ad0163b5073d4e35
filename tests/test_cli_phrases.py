"""`fastemb phrases`, from the command line."""

import gzip
import io
import json
import sys

import pytest

from fastemb import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phrases
from fastemb.cli import main

LINES = [
    *["in new york city", "", "is  new\tyork large", "bank of america in new york", "the city bank of america"] * 20,
    *["large city", "in the city", "is the bank", "in america", "is large in", "york minster"] * 10,
]
OPTIONS = ["--min-count", "1", "--threshold", "0.1"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def sentences():
    return [line.split() for line in LINES if line]


def joined(lines):
    return "".join(" ".join(line) + "\n" for line in lines)


def fails(argv, capsys, message, code=2):
    assert main(["phrases", *map(str, argv)]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and "Traceback" not in captured.err


def test_one_pass(text, tmp_path, capsys):
    out = tmp_path / "joined.txt"
    assert main(["phrases", str(text), "-o", str(out), *OPTIONS]) == 0
    model = Phrases(sentences(), min_count=1, threshold=0.1)
    assert out.read_text() == joined(model[sentences()])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"Pass 1 of 1: {len(model.freeze())} phrases" in captured.err
    assert f"Wrote {out}: " in captured.err and "of 530 words to others" in captured.err


def test_passes_a_model_and_standard_streams(text, tmp_path, capsys, monkeypatch):
    out, saved = tmp_path / "joined.txt", tmp_path / "phrases.json"
    options = [
        "--passes",
        "2",
        "--connector-words",
        "en",
        "--min-count",
        "1",
        "--threshold",
        "0.2",
        "--threshold",
        "0.1",
    ]
    assert main(["phrases", str(text), "-o", str(out), "--save-model", str(saved), *options]) == 0
    first = Phrases(sentences(), min_count=1, threshold=0.2, connector_words=ENGLISH_CONNECTOR_WORDS)
    second = Phrases(first[sentences()], min_count=1, threshold=0.1, connector_words=ENGLISH_CONNECTOR_WORDS)
    wanted = joined(second[first[sentences()]])
    assert out.read_text() == wanted and "bank_of_america_in_new_york" in wanted
    assert FrozenPhrases.load(saved).passes == FrozenPhrases([first, second]).passes
    capsys.readouterr()
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(io.BytesIO(text.read_bytes() if stream == "stdin" else b"")))
    assert main(["phrases", "-", "-o", "-", "--model", str(saved)]) == 0
    written = sys.stdout.buffer.getvalue()
    monkeypatch.undo()
    assert written.decode() == wanted


def test_the_best_phrases(text, capsys):
    assert main(["phrases", str(text), "--list", "3", *OPTIONS, "--quiet"]) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    model = Phrases(sentences(), min_count=1, threshold=0.1)
    found = model.find_phrases(sentences())
    best = sorted(found.values(), reverse=True)[:3]
    assert [row[1] for row in rows] == [f"{score:.4g}" for score in best] and captured.err == ""
    assert main(["phrases", str(text), "--list", "2", "--json", *OPTIONS]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["words_read"] == 530 and told["phrases"] == len(model.freeze()) and len(told["best"]) == 2
    best = told["best"][0]
    assert best["score"] == found[best["phrase"]]
    assert best["count"] == sum(line.count(best["phrase"]) for line in model[sentences()])


def test_word2phrase_and_connectors_of_a_file(text, tmp_path):
    (tmp_path / "connectors.txt").write_text("of\nthe a\n")
    out, packed = tmp_path / "joined.txt", tmp_path / "text.gz"
    packed.write_bytes(gzip.compress(text.read_bytes()))
    connectors = ["--connector-words", str(tmp_path / "connectors.txt"), "--delimiter", "+", "--lowercase"]
    argv = ["phrases", str(packed), "-o", str(out), "--scoring", "word2phrase", *OPTIONS, *connectors]
    assert main([*argv, "--max-memory", "10", "--workers", "2"]) == 0
    options = {"connector_words": ["of", "the", "a"], "delimiter": "+", "min_count": 1, "threshold": 0.1}
    model = Phrases(sentences(), scoring="word2phrase", **options)
    assert out.read_text() == joined(model[sentences()]) and "in+the+city" in out.read_text()


def test_what_is_refused(text, tmp_path, capsys):
    fails([text], capsys, "nothing to do: one of --output, --save-model and --list")
    fails([text, "-o", "-", "--list", 3], capsys, "--output - takes standard output")
    fails([text, "-o", text], capsys, "would overwrite the text")
    fails([tmp_path, "-o", tmp_path / "new.txt"], capsys, "lies in the folder of the text")
    fails([text, "--save-model", tmp_path / "model.pkl"], capsys, "--save-model must end in .json")
    fails([text, "-l", 3, "--model", "x.json", "--passes", 2], capsys, "--passes is the saved model's own")
    fails([text, "-l", 3, "--threshold", 1, "--threshold", 2], capsys, "--threshold must be given once, or once a pass")
    fails([text, "-l", 3, "--model", text], capsys, "text.txt", code=1)
    fails([text, "-l", 3, "--model", tmp_path / "none.json"], capsys, "no such file", code=1)
    fails([text, "-o", tmp_path / "none" / "x.txt"], capsys, "the folder to write to does not exist", code=1)
    fails(
        [text, "-l", 3, "--scoring", "npmi", "--threshold", 3], capsys, "threshold must be a number in [-1, 1]", code=1
    )
    fails([text, "-l", 3, "--connector-words", "none.txt"], capsys, "none.txt: No such file", code=1)
