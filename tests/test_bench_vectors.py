"""`fastemb bench vectors`: quick runs, no figure of which is believed, and the tables made of known figures."""

import json

import numpy as np
import pytest

from fastemb import KeyedVectors
from fastemb.bench.tables import render, write
from fastemb.bench.vectors import cases, tables
from fastemb.bench.vectors.run import run
from fastemb.cli import main


def results(**measures):
    machine = {"processor": "P", "cores": 2, "memory_bytes": 2**30, "system": "S", "python": "3", "versions": {}}
    machine |= {"date": "2026-01-01T00:00:00"}
    settings = {"threads": 2, "vectors": "mine.safetensors"}
    return {"benchmark": "vectors", "load": 0.1, "machine": machine, "settings": settings, "measures": measures}


def row(label, seconds, queries=1000, **more):
    return {"label": label, "queries": queries, "seconds": [seconds, 3 * seconds, seconds / 2], **more}


NEIGHBORS = {
    "num_words": 5000,
    "vector_size": 50,
    "round_trip_ns": [60.0, None],
    "rows": [
        row("fastemb, arrays", 2.0),
        row("NumPy's product alone, 64 queries at a time", 1.5),
        row("NumPy's product alone, 256 queries at a time", 1.0),
        row("gensim, word by word", 10.0, queries=100),
    ],
}


def test_table_of_a_batch():
    ((header, rows),) = tables.grids(results(neighbors=NEIGHBORS), "neighbors")
    assert header[:2] == ["5,000 x 50, 2 threads", "1,000 queries, s"]
    assert rows == [
        ["fastemb, arrays", "2.00", "2.00", "1.00x"],
        ["NumPy's product alone, 256 queries at a time", "1.00", "1.00", "0.50x"],
        ["gensim, word by word", "", "100.00", "50.0x"],
    ]


def test_pages_hold_the_tables(tmp_path):
    compact = {
        "num_words": 10,
        "vector_size": 4,
        "rows": [row(name, time, bytes_per_word=12, recall=0.5) for name, time in (("int8", 1), ("int8, one word", 4))],
    }
    page = tmp_path / "page.md"
    page.write_text(
        "".join(f"<!-- table: vectors{kind} -->\n<!-- end of table -->\n" for kind in ("", " compact", " x"))
    )
    first, second = results(neighbors=NEIGHBORS), results(compact=compact)
    assert write(page, [first, second]) == ["vectors x"]
    text = page.read_text()
    assert text.count("| int8 | 12 | 50.00 | 1.000 | 4.00 |") == 2 and text.count("fastemb, arrays") == 1
    assert "fastemb, arrays" in render(first) and "| threads | 2 |" in render(first, ["machine"])


def test_recall():
    assert cases.recall(np.array([[1, 2], [3, 4]]), np.array([[2, 7], [4, 3]])) == 0.75


def test_a_wrong_answer_is_not_timed():
    kv = KeyedVectors.from_words([f"w{i}" for i in range(100)], np.random.default_rng(0).standard_normal((100, 5)))
    rows = np.arange(3)
    right, _ = kv.most_similar_batch(["w0", "w1", "w2"], arrays=True)
    cases._check(kv, rows, right)
    with pytest.raises(RuntimeError, match="the nearest words of word 1 must have cosines"):
        cases._check(kv, rows, np.where(rows[:, None] == 1, 50, right))


def test_quick_run(tmp_path, capsys):
    path, out = tmp_path / "a.safetensors", tmp_path / "out.json"
    vectors = np.random.default_rng(0).standard_normal((600, 12))
    KeyedVectors.from_words([f"w{i}" for i in range(600)], vectors).save(path)
    argv = ["bench", "vectors", "--vectors", str(path), "--what", "neighbors,compact", "--quick", "-o", str(out)]
    assert main([*argv, "--num-queries", "60"]) == 0
    printed = capsys.readouterr().out
    assert "| 600 x 12, 2 threads | 60 queries, s |" in printed and "recall@10, %" in printed
    found = json.loads(out.read_text())
    assert found["settings"]["vectors"] == "a.safetensors"
    labels = [one["label"] for one in found["measures"]["neighbors"]["rows"]]
    assert labels[0] == "fastemb, arrays" and any(label.startswith("NumPy") for label in labels)
    recalls = {one["label"]: one["recall"] for one in found["measures"]["compact"]["rows"]}
    assert recalls["float32"] == 1 and recalls["int8"] > recalls["int4"] > 0.5
    with pytest.raises(ValueError, match="what must be one of 'neighbors'"):
        run(what="colour")
