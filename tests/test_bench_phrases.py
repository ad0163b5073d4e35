"""The benchmark of phrases beside gensim."""

import gzip
import json

import pytest

from fastemb.bench import phrases as bench
from fastemb.cli import main


@pytest.fixture(scope="module")
def corpus(data, tmp_path_factory):
    """The first 20,000 words of text8, 10 a line."""
    with gzip.open(data / "text" / "text8-prefix.txt.gz", "rt") as file:
        words = file.read(120_000).split()
    path = tmp_path_factory.mktemp("bench") / "text.txt"
    path.write_text("\n".join(" ".join(words[i : i + 10]) for i in range(0, len(words), 10)) + "\n")
    return path


def test_both_programs_join_the_same(corpus, tmp_path, capsys):
    pytest.importorskip("gensim", reason="gensim is not installed")
    out = tmp_path / "results.json"
    argv = ["bench", "phrases", "--corpus", str(corpus), "--repeats", "1", "--threads", "2", "-o", str(out)]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert "the phrases and their scores are the same" in captured.err
    rows = captured.out.splitlines()
    assert [row.split(" | ")[:2] for row in rows[2:]] == [["| gensim", "1"], ["| fastemb", "1"], ["| fastemb", "2"]]
    results = json.loads(out.read_text())
    assert len(results["runs"]) == 3 and set(results["ratios"]) == {"1", "2"} and results["ratios"]["1"] > 0
    assert bench.render(results) == captured.out.strip()


def test_a_difference_is_found(corpus, tmp_path, monkeypatch):
    pytest.importorskip("gensim", reason="gensim is not installed")
    (tmp_path / "gensim.txt").write_text("new_york\n")
    with pytest.raises(RuntimeError, match="joined text must be gensim's, and differs at line 1: b'anarchism"):
        bench._measure("fastemb", str(corpus), str(tmp_path), 1)
    import fastemb

    class Wrong(fastemb.Phrases):
        def find_phrases(self, sentences):
            return {}

    monkeypatch.setattr(fastemb, "Phrases", Wrong)
    with pytest.raises(RuntimeError, match="phrases and scores must be gensim's"):
        bench.check(str(corpus))
