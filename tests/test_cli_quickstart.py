"""`fastemb quickstart`: the words of Python source, and the whole run on a small library."""

import json
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from fastemb import KeyedVectors
from fastemb.cli import main, python_source, quickstart
from fastemb.cli.python_source import corpus, library_files, sentences

FILES = ("text.txt", "vectors.safetensors", "map.png")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"is_alive", b"is alive"),
        (b"HTTPServer", b"http server"),
        (b"getHTTPResponse2ndTry", b"get http response nd try"),
        (b"x = utf8_mode + 0x41  # Two words.", b"utf mode words two"),
        (b"'caf\xc3\xa9'", b"caf"),
        (b"first line\nsecond line", b"first line second line"),
    ],
)
def test_words(source, words):
    (sentence,) = sentences(source)
    assert sorted(sentence.split()) == sorted(words.split())


def test_sentences_end_at_blank_lines():
    assert list(sentences(b"one two\n    \nthree four\r\n\r\n\r\nfive six\n\n")) == [
        b"one two",
        b"three four",
        b"five six",
    ]
    assert list(sentences(b"")) == list(sentences(b"\n\n1 2 3\n\nx\n")) == []


def test_library_leaves_out_installed_packages(tmp_path):
    for name in ("b.py", "a.py", "c.txt", "inner/d.py", "site-packages/e.py", "__pycache__/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in library_files(str(tmp_path))] == [
        "a.py",
        "b.py",
        "inner/d.py",
    ]


def test_library_of_this_python():
    files = library_files()
    assert Path(sysconfig.get_paths()["stdlib"], "threading.py") in files
    assert len(files) > 300


def test_a_python_without_source_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(python_source.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    assert main(["quickstart", "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "no Python source" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_corpus_holds_each_sentence_once_and_passes_over_what_cannot_be_read(tmp_path):
    (tmp_path / "a.py").write_bytes(b"one two\n\nthree four\n")
    (tmp_path / "b.py").write_bytes(b"three four\n\nfive six\n")
    files = [tmp_path / "a.py", tmp_path / "nosuch.py", tmp_path / "b.py"]
    assert sorted(corpus(files)) == [b"five six", b"one two", b"three four"]
    assert corpus(files) == corpus(files)


@pytest.mark.parametrize(
    ("words", "epochs", "min_count"), [(3_300_000, 6, 20), (1_240_000, 16, 10), (10, 20, 10), (10**9, 5, 20)]
)
def test_effort_fits_the_text(words, epochs, min_count):
    parameters = quickstart._parameters(words)
    assert (parameters["epochs"], parameters["min_count"]) == (epochs, min_count)


@pytest.fixture
def small_library(monkeypatch):
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [*sorted((library / "json").glob("*.py")), library / "threading.py", library / "calendar.py"]
    monkeypatch.setattr(quickstart, "library_files", lambda: files)


def test_quickstart(small_library, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--workers", "1"]) == 0
    captured = capsys.readouterr()
    folder = tmp_path / "fastemb-quickstart"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (folder / "map.png").read_bytes().startswith(b"\x89PNG")
    vectors = KeyedVectors.load(folder / "vectors.safetensors")
    assert vectors.vector_size == 100
    assert np.isfinite(vectors.vectors).all()
    nearest = [word for word, _ in vectors.most_similar("lock", topn=6)]
    assert " ".join(["lock", *nearest]) in " ".join(captured.out.split())
    for part in ("standard library", "words/s", "loss", "Try next", "map.png", " s."):
        assert part in captured.err


def test_what_to_try_next_works(small_library, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--workers", "1"]) == 0
    commands = [line.split()[1:] for line in capsys.readouterr().err.splitlines() if line.startswith("  fastemb ")]
    assert [command[0] for command in commands] == ["neighbors", "analogy", "train", "train"]
    known = KeyedVectors.load("fastemb-quickstart/vectors.safetensors")
    for command in commands[:3]:
        if all(word in known for word in command[2:] if command[0] == "analogy"):
            assert main(command) == 0
    assert Path("mine.safetensors").exists()


def test_quickstart_again_quiet_and_json(small_library, tmp_path, capsys):
    folder = tmp_path / "deep" / "folder"
    for _ in range(2):
        assert main(["quickstart", "-o", str(folder), "--workers", "1", "-q", "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        result = json.loads(captured.out)
        assert [result[name] for name in ("text", "vectors", "map")] == [str(folder / name) for name in FILES]
        assert result["neighbors"]["lock"]


def test_a_text_without_the_words_to_show(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.py").write_text(
        "alpha beta gamma delta epsilon zeta\n\n" + "\n\n".join(f"alpha beta word{chr(97 + i)}" for i in range(26)) * 2
    )
    monkeypatch.setattr(quickstart, "library_files", lambda: [tmp_path / "a.py"])
    assert main(["quickstart", "-o", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)


def test_a_file_in_the_way(small_library, tmp_path, capsys):
    (tmp_path / "out").touch()
    assert main(["quickstart", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"fastemb: {tmp_path / 'out'}: ")
