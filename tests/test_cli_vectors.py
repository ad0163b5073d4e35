"""The commands that read vectors: neighbors, analogy, evaluate, convert, info, plot."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastemb import KeyedVectors
from fastemb.cli import main

RUN = [sys.executable, "-m", "fastemb"]
WORDS = {
    "man": [1, 0, 0, 0.1],
    "woman": [1, 1, 0, 0.1],
    "king": [1, 0, 1, 0.1],
    "queen": [1, 1, 1, 0.1],
    "green": [0, 0, 0, 1],
    "café": [0, 0.1, 0, 1],
    "tea": [0, 0, 0.3, 1],
}


@pytest.fixture
def vector_file(tmp_path):
    path = tmp_path / "vectors.safetensors"
    counts = np.arange(len(WORDS), 0, -1)
    KeyedVectors.from_words(list(WORDS), np.array(list(WORDS.values()), np.float32), counts).save(path)
    return str(path)


def run_json(argv, capsys):
    assert main([*argv, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def fails(argv, capsys, *parts, code=1):
    """Check that a command fails with one line that has `parts`, and prints no result."""
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fastemb: ")
    assert captured.err.count("\n") == 1
    for part in parts:
        assert part in captured.err


def test_neighbors(vector_file, capsys):
    assert main(["neighbors", vector_file, "green", "--topn", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "café  0.9950\ntea   0.9578\n"
    assert captured.err == ""


def test_neighbors_of_several_words(vector_file, capsys):
    assert main(["neighbors", vector_file, "king", "green", "-n", "1"]) == 0
    assert capsys.readouterr().out == "king\nqueen  0.8172\n\ngreen\ncafé  0.9950\n"


def test_control_characters_are_not_sent_to_a_terminal(tmp_path, capsys):
    path = str(tmp_path / "vectors.safetensors")
    KeyedVectors.from_words(["a\x1b[2J", "b"], np.ones((2, 2), np.float32)).save(path)
    assert main(["neighbors", path, "b"]) == 0
    assert capsys.readouterr().out == "a\\x1b[2J  1.0000\n"


def test_neighbors_side_by_side(vector_file, tmp_path, capsys):
    other = str(tmp_path / "other.txt")
    KeyedVectors.from_words(["green", "tea"], np.eye(2)).save(other)
    argv = ["neighbors", vector_file, "green", "--beside", other, "-n", "2"]
    assert main(argv) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.split() == [vector_file, other]
    assert (second.split(), third.split()) == (["café", "0.9950", "tea", "0.0000"], ["tea", "0.9578"])
    answer = run_json(argv, capsys)
    assert [(item["vectors"], item["neighbors"][0]["word"]) for item in answer] == [
        (vector_file, "café"),
        (other, "tea"),
    ]
    fails(["neighbors", vector_file, "king", "--beside", other], capsys, other, "'king' is not in the vocabulary")


def test_neighbors_json_is_what_the_library_answers(vector_file, capsys):
    answer = run_json(["neighbors", vector_file, "king", "green"], capsys)
    assert [item["word"] for item in answer] == ["king", "green"]
    expected = KeyedVectors.load(vector_file).most_similar("green")
    assert [(item["word"], item["similarity"]) for item in answer[1]["neighbors"]] == expected


def test_restrict_and_limit(vector_file, capsys):
    near = run_json(["neighbors", vector_file, "green", "--restrict-vocab", "4"], capsys)[0]["neighbors"]
    assert {item["word"] for item in near} == {"man", "woman", "king", "queen"}
    near = run_json(["neighbors", vector_file, "man", "--limit", "2"], capsys)[0]["neighbors"]
    assert [item["word"] for item in near] == ["woman"]
    fails(["neighbors", vector_file, "man", "--limit", "0"], capsys, "--limit", code=2)


def test_analogy(vector_file, capsys):
    assert main(["analogy", vector_file, "man", "king", "woman", "-n", "1"]) == 0
    assert capsys.readouterr().out.split()[0] == "queen"
    answer = run_json(["analogy", vector_file, "man", "king", "woman"], capsys)
    assert (answer["a"], answer["b"], answer["c"]) == ("man", "king", "woman")
    assert answer["answers"][0]["word"] == "queen"


def test_unknown_word_names_close_ones(vector_file, capsys):
    fails(["neighbors", vector_file, "king", "quen"], capsys, "'quen'", "close matches", "queen")
    fails(["analogy", vector_file, "man", "kng", "woman"], capsys, "'kng'", "king")


def test_evaluate(vector_file, tmp_path, capsys):
    questions = tmp_path / "questions.txt"
    questions.write_text(": royal\nman king woman queen\nman woman king green\n: other\nman woman king nosuch\n")
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("king\tqueen\t9\nking\tgreen\t1\nman\twoman\t8\nman\tnosuch\t2\n")
    files = ["--analogies", str(questions), "--pairs", str(pairs)]
    first, second = run_json(["evaluate", vector_file, *files], capsys)
    assert (first["correct"], first["asked"], first["accuracy"]) == (1, 2, 0.5)
    assert first["sections"][0] == {"section": "royal", "correct": 1, "asked": 2}
    assert second["spearman"] == pytest.approx(1) or second["spearman"] == pytest.approx(0.5)
    assert second["unknown_percent"] == 25
    _, third = run_json(["evaluate", vector_file, *files, "--count-unknown"], capsys)
    assert third["spearman"] != second["spearman"] or third["pearson"] != second["pearson"]
    assert main(["evaluate", vector_file, *files, "--sections"]) == 0
    out = capsys.readouterr().out
    assert "questions.txt" in out
    assert "50.00%" in out
    assert "  royal" in out


def test_evaluate_side_by_side(vector_file, tmp_path, capsys):
    (tmp_path / "questions.txt").write_text(": royal\nman king woman queen\n: other\nman woman king nosuch\n")
    (tmp_path / "pairs.tsv").write_text("king\tqueen\t9\nking\tgreen\t1\nman\twoman\t8\nman\ttea\t2\n")
    files = ["--analogies", str(tmp_path / "questions.txt"), "--pairs", str(tmp_path / "pairs.tsv")]
    other, chart = str(tmp_path / "other.txt"), tmp_path / "chart.png"
    some = ["man", "woman", "king", "queen", "green"]
    rng = np.random.default_rng(0)
    KeyedVectors.from_words(some, rng.standard_normal((5, 3))).save(other)
    argv = ["evaluate", vector_file, other, *files]
    answer = run_json([*argv, "--plot", str(chart), "-q"], capsys)
    assert [(item["vectors"], item["kind"]) for item in answer] == [
        (vector_file, "analogies"), (vector_file, "pairs"), (other, "analogies"), (other, "pairs")
    ]  # fmt: skip
    assert [item["coverage_percent"] for item in answer] == [50, 100, 50, 75]
    assert answer[1]["spearman"] == run_json(["evaluate", vector_file, *files], capsys)[1]["spearman"]
    assert chart.read_bytes().startswith(b"\x89PNG")
    same = run_json([*argv, "--common-words"], capsys)
    assert [item["coverage_percent"] for item in same] == [50, 75, 50, 75]
    assert main([*argv, "--sections"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["questions", "known", "pairs", "known"]
    assert lines[1].split()[0] == vector_file and lines[1].split()[1:4] == ["100.00", "50", "%"]
    assert lines[4].split() == ["questions", vector_file, other] and lines[5].split()[:2] == ["royal", "100.00"]
    fails([*argv, "--plot", str(tmp_path / "chart.svg")], capsys, "path must end in '.png'")
    fails([*argv, "--plot", str(tmp_path / "no" / "chart.png")], capsys, "does not exist")
    (tmp_path / "none.txt").write_text(": x\ntea rum ale gin\n")
    fails(["evaluate", vector_file, other, "--analogies", str(tmp_path / "none.txt")], capsys, vector_file, "none.txt")


def test_evaluate_by_products(vector_file, tmp_path, capsys):
    (tmp_path / "questions.txt").write_text(": royal\nman king woman queen\n")
    argv = ["evaluate", vector_file, "--analogies", str(tmp_path / "questions.txt"), "--cosmul"]
    assert run_json(argv, capsys)[0]["accuracy"] == 1


def test_evaluate_repeats(vector_file, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).write_text("king\tqueen\t9\nking\tgreen\t1\nman\twoman\t8\n")
    answer = run_json(["evaluate", vector_file, "--pairs", str(tmp_path / "a"), "--pairs", str(tmp_path / "b")], capsys)
    assert [item["file"] for item in answer] == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_evaluate_bad_files(vector_file, tmp_path, capsys):
    fails(["evaluate", vector_file, "--pairs", str(tmp_path / "nosuch")], capsys, "nosuch")
    (tmp_path / "empty").touch()
    fails(["evaluate", vector_file, "--analogies", str(tmp_path / "empty")], capsys, "empty")
    (tmp_path / "unknown").write_text(": section\nun kn ow n\n")
    fails(["evaluate", vector_file, "--analogies", str(tmp_path / "unknown")], capsys, "no question has all its words")
    fails(["evaluate", vector_file, "--pairs", str(tmp_path / "empty")], capsys, "empty")
    fails(["evaluate", vector_file, "--pairs", vector_file], capsys, "vectors.safetensors", "not UTF-8")
    fails(["evaluate", vector_file, "--analogies", str(tmp_path)], capsys, str(tmp_path), "directory")


def test_evaluate_delimiter(vector_file, tmp_path, capsys):
    path = tmp_path / "pairs.csv"
    path.write_text("king,queen,9\nking,green,1\nman,woman,8\n")
    fails(["evaluate", vector_file, "--pairs", str(path)], capsys, "pairs.csv")
    (answer,) = run_json(["evaluate", vector_file, "--pairs", str(path), "--delimiter", ","], capsys)
    assert answer["unknown_percent"] == 0


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".bin", ".npy", ".glove", ".vec", ".fifu"])
def test_convert_there_and_back(suffix, vector_file, tmp_path, capsys):
    target, back = str(tmp_path / f"out{suffix}"), str(tmp_path / "back.safetensors")
    assert main(["convert", vector_file, target]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert target in captured.err
    assert main(["convert", target, back, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    ours, theirs = KeyedVectors.load(back), KeyedVectors.load(vector_file)
    assert ours.index_to_key == theirs.index_to_key
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


def test_convert_options(vector_file, tmp_path, capsys):
    target = str(tmp_path / "out.dat")
    answer = run_json(["convert", vector_file, target, "--to", "word2vec", "--limit", "3", "-q"], capsys)
    assert (answer["words"], answer["vector_size"], answer["bytes"]) == (3, 4, os.path.getsize(target))
    again = run_json(
        ["convert", target, str(tmp_path / "again.npy"), "--from", "word2vec", "-q"],
        capsys,
    )
    assert again["words"] == 3


@pytest.mark.parametrize("dtype", ["int8", "int4", "float16", "bfloat16", "float32"])
def test_convert_dtype(dtype, vector_file, tmp_path, capsys):
    small = str(tmp_path / "small.safetensors")
    answer = run_json(["convert", vector_file, small, "--dtype", dtype, "-q"], capsys)
    assert answer["bytes"] == os.path.getsize(small)
    assert run_json(["info", small], capsys)["dtype"] == dtype
    ours, theirs = KeyedVectors.load(small), KeyedVectors.load(vector_file)
    np.testing.assert_allclose(ours[ours.index_to_key], theirs.vectors, atol=0.07)
    assert main(["convert", small, str(tmp_path / "again.txt"), "--dtype", "float32", "-q"]) == 0
    if dtype != "float32":
        fails(
            ["convert", vector_file, str(tmp_path / "a.txt"), "--dtype", dtype], capsys, "safetensors only", "word2vec"
        )


def test_convert_errors(vector_file, tmp_path, capsys):
    out = str(tmp_path / "out.txt")
    fails(["convert", vector_file, str(tmp_path / "out.xyz")], capsys, "out.xyz", ".safetensors")
    fails(["convert", vector_file, str(tmp_path / "no" / "out.txt")], capsys, "no", "does not exist")
    fails(["convert", vector_file, str(tmp_path)], capsys, "folder")
    fails(["convert", vector_file, out, "--from", "csv"], capsys, "format", "'csv'")
    fails(["convert", str(tmp_path / "nosuch.bin"), out], capsys, "nosuch.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors.safetensors"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.txt", b""),
        ("binary.txt", bytes(range(256)) * 4),
        ("short.bin", b"1000000000000 300\nword \0\0\0\0"),
        ("cut.safetensors", (1 << 40).to_bytes(8, "little") + b'{"a":'),
        ("cut.txt", b"3 2\na 1 2\nb 1\n"),
        ("cut.txt.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b"),
    ],
)
@pytest.mark.parametrize("command", ["neighbors", "info"])
def test_bad_vector_files(command, name, content, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    fails([command, str(path), *(["word"] if command == "neighbors" else [])], capsys, name)


def test_missing_file_and_folder(tmp_path, capsys):
    fails(["neighbors", str(tmp_path / "nosuch.txt"), "word"], capsys, "nosuch.txt")
    fails(["info", str(tmp_path)], capsys, "folder")


def test_errors_option(tmp_path, capsys):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"3 2\ncaf\xe9 1 2\ntea 1 2.5\nsugar 1 0\n")
    fails(["neighbors", str(path), "tea"], capsys, "UTF-8")
    answer = run_json(["neighbors", str(path), "tea", "--errors", "surrogateescape"], capsys)
    assert answer[0]["neighbors"][0]["word"] == "caf\udce9"
    assert main(["neighbors", str(path), "tea", "--errors", "surrogateescape"]) == 0
    assert capsys.readouterr().out.startswith("caf\\udce9")


def test_info_of_a_file(vector_file, capsys):
    answer = run_json(["info", vector_file], capsys)
    assert answer["format"] == "safetensors"
    assert (answer["words"], answer["vector_size"], answer["total_count"]) == (len(WORDS), 4, 28)
    assert answer["first_words"] == list(WORDS)
    assert main(["info", vector_file]) == 0
    assert "first words" in capsys.readouterr().out


def test_info_of_the_machine(capsys):
    import numba

    import fastemb

    answer = run_json(["info"], capsys)
    assert (answer["fastemb"], answer["numba"]) == (fastemb.__version__, numba.__version__)
    assert {"torch", "keras", "pyarrow", "ml_dtypes"} <= answer.keys()
    assert answer["threads"] == fastemb.get_num_threads()
    assert answer["cache_folder"] is None or os.path.isdir(answer["cache_folder"])
    assert main(["info"]) == 0
    assert "threads" in capsys.readouterr().out


def test_plot(vector_file, tmp_path, capsys):
    target = tmp_path / "map.png"
    assert main(["plot", vector_file, "-o", str(target), "--words", "man, king,green", "--title", "three"]) == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert str(target) in capsys.readouterr().err
    assert run_json(["plot", vector_file, "-o", str(target), "-q", "--top", "5"], capsys) == {"output": str(target)}
    page = str(tmp_path / "map.html")
    if importlib.util.find_spec("plotly") is not None:
        assert main(["plot", vector_file, "-o", page, "--method", "pca", "--clusters", "2", "-q"]) == 0
        assert "Placed by principal components" in (tmp_path / "map.html").read_text()
    fails(["plot", vector_file, "-o", page, "--clusters", "13"], capsys, "--clusters", code=2)
    fails(["plot", vector_file, "-o", str(target), "--words", "man,nosuch"], capsys, "nosuch")
    fails(["plot", vector_file, "-o", str(tmp_path / "no" / "map.png")], capsys, "does not exist")


def test_a_narrow_encoding_is_no_error(vector_file):
    done = subprocess.run(
        [*RUN, "neighbors", vector_file, "green"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\xe9" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a shell's pipes")
def test_a_closed_pipe_ends_quietly(vector_file):
    argv = [*RUN, "neighbors", vector_file, *["green"] * 5000]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode != 0
