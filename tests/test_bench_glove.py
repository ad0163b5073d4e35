"""The benchmark beside the GloVe program: stand-ins for its tools show what is run, compared and rendered."""

import json
import sys

import numpy as np
import pytest

from fastemb.bench.glove import run
from fastemb.bench.tables import render, write

# What the tools do, slowly: the pairs are counted with a dict; the vectors are random.
COOCCUR = """
import struct, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
words = {line.split()[0]: i for i, line in enumerate(open(options["-vocab-file"]), 1)}
pairs, window = {}, int(options["-window-size"])
for line in sys.stdin:
    ids = [words[word] for word in line.split() if word in words]
    for i, left in enumerate(ids):
        for distance, right in enumerate(ids[i + 1 : i + 1 + window], 1):
            for pair in ((left, right), (right, left)):
                pairs[pair] = pairs.get(pair, 0) + FACTOR / distance
for (row, col), count in sorted(pairs.items()):
    sys.stdout.buffer.write(struct.pack("<iid", row, col, count))
"""
SHUFFLE = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
GLOVE = """
import fcntl, os, random, sys, termios, time
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert os.path.getsize(options["-input-file"]) % 16 == 0
print("alpha: 0.75", file=sys.stderr, flush=True)
while fcntl.ioctl(2, termios.FIONREAD, bytes(4)) != bytes(4):  # what has not been read gets the time of what follows
    time.sleep(0.01)
for i in range(int(options["-iter"])):
    time.sleep(0.02)
    print(f"iter: {i + 1:03d}, cost: {1 / (i + 1):f}", file=sys.stderr, flush=True)
with open(options["-save-file"] + ".txt", "w") as file:
    for word in [line.split()[0] for line in open(options["-vocab-file"])] + ["<unk>"]:
        print(word, *[random.random() for _ in range(int(options["-vector-size"]))], file=file)
"""


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("FASTEMB_DATA", raising=False)
    random = np.random.default_rng(0)
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(f"w{n % 30}" for n in random.zipf(1.3, 20)) for _ in range(200)) + "\n")
    return path


def tools(folder, factor=1.0):
    folder.mkdir()
    for name, code in (("cooccur", COOCCUR.replace("FACTOR", str(factor))), ("shuffle", SHUFFLE), ("glove", GLOVE),
                       ("vocab_count", "")):  # fmt: skip
        (folder / name).write_text(f"#!{sys.executable}\n{code}")
        (folder / name).chmod(0o755)
    return folder


def test_both_sides_are_measured_and_rendered(corpus, tmp_path):
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("w1\tw2\t9\nw2\tw3\t5\nw3\tw4\t1\nw4\tw5\t2\n")
    lines, output = [], tmp_path / "results.json"
    found = run(
        corpus, programs=tools(tmp_path / "tools"), vector_size=8, window=4, epochs=3, repeats=1, pairs=[pairs],
        output=output, log=lines.append,
    )  # fmt: skip
    counting, training = found["measures"]["counting"], found["measures"]["training"]
    assert [each["label"] for each in counting] == ["fastemb", "GloVe program"]
    assert [each["label"] for each in training] == ["fastemb", 'fastemb, compat="glove-1.2"', "GloVe program"]
    assert len(lines) == 5 and found["benchmark"] == "glove"
    for each in (*counting, *training):
        assert each["seconds"] > 0 and each["peak_bytes"] > 0  # sampled, and stand-ins are short
    for each in training:
        assert each["pairs_per_second"] > 0 and set(each["scores"]) == {"pairs"}
    assert training[2]["loss"] == pytest.approx(1 / 3, abs=1e-6)
    assert json.loads(output.read_text())["measures"] == json.loads(json.dumps(found["measures"]))
    text = render(found)
    assert "| counting, window 4, 2 threads | seconds | M words/s | times the program |" in text
    assert "| training, D 8, 2 threads, epochs 3 | M pairs/s | times the program | loss | pairs |" in text
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- table: glove counting -->\n<!-- end of table -->\n<!-- table: speed -->\n<!-- end of table -->\n"
    )
    assert write(page, [found]) == ["speed"]
    assert "| GloVe program |" in page.read_text()


def test_without_the_program_only_ours_is_measured(corpus):
    found = run(corpus, what="counting", window=4, repeats=1, log=lambda line: None)
    assert [each["label"] for each in found["measures"]["counting"]] == ["fastemb"]
    assert "| fastemb |" in render(found)


def test_other_counts_are_found(corpus, tmp_path):
    folder = tools(tmp_path / "tools", factor=1.0001)
    with pytest.raises(RuntimeError, match="both must count the same pairs"):
        run(corpus, programs=folder, what="counting", window=4, repeats=1, log=lambda line: None)


def test_what_is_missing(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match="vocab_count"):
        run(corpus, programs=tmp_path)
    with pytest.raises(FileNotFoundError):
        run(corpus, pairs=[tmp_path / "missing.txt"])
    with pytest.raises(ValueError, match="what must be of 'counting', 'training', got 'colour'"):
        run(corpus, what="colour")
