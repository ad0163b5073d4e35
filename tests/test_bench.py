"""The benchmark beside the peers: what it prepares, measures, concludes and writes."""

import gzip
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastemb.bench import machine, measures, process
from fastemb.bench.compare import Bench, Entry, entries
from fastemb.bench.peers import Config, export
from fastemb.bench.prepare import MAX_LINE_WORDS, Prepared, prepare
from fastemb.bench.process import run_process
from fastemb.bench.quality import score
from fastemb.bench.tables import main, render, write
from fastemb.bench.training import run

ROOT = Path(__file__).parent.parent


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A text of 20,000 words in which the words of a topic stand together; all temporary files go beside it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rng = np.random.default_rng(0)
    topics = rng.integers(20, size=2000)
    lines = [" ".join(f"t{topic}w{word}" for word in rng.integers(10, size=10)) for topic in topics]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def speed_run(label, seed, words_per_second, scores, trip=90.0):
    return {
        "label": label, "program": label.split(",")[0], "vector_size": 100, "epochs": 1, "seed": seed, "threads": 2,
        "words_per_second": words_per_second, "wall_seconds": 2.0, "train_seconds": 1.0, "peak_bytes": 2e8,
        "peak_anonymous_bytes": 1e8, "scores": scores, "round_trip_ns": [trip, trip],
    }  # fmt: skip


class TestPrepare:
    def test_long_lines_are_cut_and_no_word_is_lost(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        words = [f"w{number}" for number in range(2 * MAX_LINE_WORDS + 1)]
        path = tmp_path / "text.txt.gz"
        path.write_bytes(gzip.compress(b"\n \n" + " ".join(words).encode() + b"\nlast line\n"))
        text = prepare(path)
        lines = Path(text.path).read_text().splitlines()
        assert [len(line.split()) for line in lines] == [MAX_LINE_WORDS, MAX_LINE_WORDS, 1, 2]
        assert " ".join(lines).split() == [*words, "last", "line"]
        assert (text.words, text.lines, text.bytes) == (len(words) + 2, 4, Path(text.path).stat().st_size)

    def test_a_limit_and_copies(self, corpus):
        assert prepare(corpus, max_words=1234).words == 1234
        assert prepare(corpus, max_words=1234, copies=3).words == 3 * 1234

    def test_a_changed_corpus_is_prepared_anew(self, corpus):
        assert prepare(corpus).words == 20_000
        corpus.write_text("only three words\n")
        assert prepare(corpus).words == 3

    def test_an_empty_corpus(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        path = tmp_path / "empty.txt"
        path.write_text("\n\n")
        with pytest.raises(ValueError, match=r"corpus must hold words, got none in .*empty\.txt"):
            prepare(path)

    def test_a_missing_corpus(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            prepare(tmp_path / "missing.txt")


class TestProcess:
    @pytest.fixture
    def until_looked_at(self, tmp_path, monkeypatch):
        """Return code that ends once somebody has looked at its process' memory, however long that takes."""
        waits, ends = tmp_path / "waits", tmp_path / "ends"

        def sleep(seconds):  # between two looks
            if waits.exists():
                (ends if ends.with_suffix(".soon").exists() else ends.with_suffix(".soon")).touch()
            time.sleep(seconds)

        monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
        return f"""
import pathlib, time
pathlib.Path({str(waits)!r}).touch()
while not pathlib.Path({str(ends)!r}).exists(): time.sleep(0.01)
"""

    def test_time_and_memory(self, until_looked_at):
        code = f"block = b'x' * 50_000_000\n{until_looked_at}\ntime.sleep(0.3)"
        outcome = run_process([sys.executable, "-c", code])
        assert 0.3 < outcome.seconds < 100
        assert 50e6 < outcome.peak_bytes < 300e6

    def test_memory_is_not_the_parents(self, until_looked_at):
        mine = np.ones(60_000_000, dtype=np.float32)  # 240 MB, which a child's ru_maxrss would begin with
        outcome = run_process([sys.executable, "-c", until_looked_at])
        assert outcome.peak_bytes < mine.nbytes / 2

    def test_when_something_was_written(self):
        """What is written after the first piece was read has a later time."""
        code = """
import fcntl, sys, termios, time
sys.stderr.write("first")
sys.stderr.flush()
while fcntl.ioctl(2, termios.FIONREAD, bytes(4)) != bytes(4): time.sleep(0.01)
time.sleep(0.05)
sys.stderr.write("x")
"""
        outcome = run_process([sys.executable, "-c", code])
        assert outcome.time_of(b"firstx") > outcome.time_of(b"first")

    def test_a_failure_says_what_it_wrote(self):
        with pytest.raises(RuntimeError, match=r"must end with exit code 0, got 3: gone wrong"):
            run_process([sys.executable, "-c", "import sys; sys.stderr.write('gone wrong'); sys.exit(3)"])


class TestMachine:
    def test_it_is_described(self):
        found = machine.describe()
        assert found["processor"] and found["versions"]["fastemb"] and json.dumps(found)

    def test_round_trip(self):
        trip = machine.core_round_trip(batches=10, trips=100)
        assert trip is None or 5 < trip < 1e9  # of a busy machine, too, but in nanoseconds
        assert machine.placement(trip) in {"near", "far", "unknown"}


class TestQuality:
    @pytest.mark.parametrize(("rows", "message"), [(np.full((3, 2), np.inf), "be finite"), (np.ones((3, 2)), "differ")])
    def test_vectors_that_failed_are_refused(self, tmp_path, rows, message):
        export(Config(corpus="", folder=str(tmp_path)), ["a", "b", "c"], rows)
        with pytest.raises(ValueError, match=f"vectors must {message}"):
            score(tmp_path, None)

    @pytest.mark.parametrize("evaluator", ["fastemb", "gensim"])
    def test_scores(self, tmp_path, evaluator):
        pytest.importorskip(evaluator, reason=f"{evaluator} is not installed")
        rows = np.array([[1, 0], [1, 0.1], [1, 0.5], [0, 1]], dtype=np.float32)
        export(Config(corpus="", folder=str(tmp_path)), ["a", "b", "c", "d"], rows)
        pairs = tmp_path / "pairs.txt"
        pairs.write_text("a\tb\t9\na\tc\t5\na\td\t1\n")
        assert score(tmp_path, None, [pairs], evaluator) == {"pairs": pytest.approx(100)}

    def test_both_evaluators_agree(self, tmp_path, data):
        pytest.importorskip("gensim", reason="gensim is not installed")
        analogies, pairs = data / "eval" / "questions-words.txt", data / "eval" / "EN-MEN-TR-3k.txt"
        words = dict.fromkeys(word for line in pairs.read_text().splitlines() for word in line.split("\t")[:2])
        lines = (line for line in analogies.read_text().lower().splitlines()[:2000] if not line.startswith(":"))
        words |= dict.fromkeys(word for line in lines for word in line.split())
        rows = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
        export(Config(corpus="", folder=str(tmp_path)), list(words), rows)
        few = tmp_path / "questions-words.txt"
        few.write_text("\n".join(analogies.read_text().splitlines()[:500]) + "\n")
        ours, theirs = (score(tmp_path, few, [pairs], evaluator) for evaluator in ("fastemb", "gensim"))
        assert ours == pytest.approx(theirs, abs=1e-3) and set(ours) == {"MEN", "analogies"}


class TestConclusions:
    def test_reaching_a_quality_allows_for_noise(self):
        ours = [{"scores": {"MEN": value}} for value in (40.0, 42.0, 41.0)]
        target = [{"scores": {"MEN": value}} for value in (41.0, 43.0, 42.0)]
        assert measures.reaches(ours, target)  # 1 below, with a standard error of 0.8
        assert not measures.reaches(ours, [{"scores": {"MEN": value}} for value in (45.0, 45.1, 44.9)])

    def test_every_set_counts(self):
        ours, target = {"scores": {"MEN": 60.0, "SimLex": 20.0}}, {"scores": {"MEN": 50.0, "SimLex": 28.0}}
        assert not measures.reaches([ours] * 3, [target] * 3)

    def test_a_fast_row_of_low_quality_is_marked(self):
        runs = []
        for seed in (1, 2):
            runs.append(speed_run("fastemb", seed, 5e6, {"MEN": 30.0 + seed / 5}))
            runs.append(speed_run("gensim", seed, 5e5, {"MEN": 43.0 + seed / 10}, trip=300.0))
        table = render({"measures": {"speed": runs}, "settings": {}})
        assert "| fastemb (under gensim: MEN) | 5.00 (5.00 to 5.00) | 10.0 (10.0 to 10.0)x |" in table
        assert "fastemb over gensim, round by round: changing cores 10.0x, 10.0x." in table
        assert "30.3 ± 0.1 | near (90 to 90 ns) |" in table and "far (300 to 300 ns) |" in table

    def test_a_good_row_is_not(self):
        runs = [speed_run("fastemb", 1, 5e6, {"MEN": 42.5}), speed_run("gensim", 1, 5e5, {"MEN": 43.0})]
        table = render({"measures": {"speed": runs}, "settings": {}})
        assert "under gensim" not in table and table.endswith("round by round: near cores 10.0x.")


class TestCompare:
    @pytest.fixture
    def bench(self, monkeypatch):
        bench = Bench(Prepared("text.txt", words=2, lines=1, bytes=12))
        bench.calls = []
        monkeypatch.setattr(
            bench,
            "train",
            lambda entry, epochs, seed: bench.calls.append((entry.label, epochs, seed)) or len(bench.calls),
        )
        return bench

    def test_programs_take_turns(self, bench):
        assert bench.compare(entries(["gensim"])[::2], epochs=1, rounds=2) == [1, 2, 3, 4]
        assert bench.calls == [("fastemb", 1, 1), ("gensim", 1, 1), ("fastemb", 1, 2), ("gensim", 1, 2)]

    def test_earlier_runs_are_used_where_asked(self, bench):
        rows = entries(["gensim"])[::2]
        bench.compare(rows, epochs=1, rounds=1)
        assert bench.compare(rows, epochs=1, rounds=2, again=False) == [1, 2, 3, 4]
        assert bench.calls[2:] == [("fastemb", 1, 2), ("gensim", 1, 2)]
        assert bench.compare(rows, epochs=1, rounds=1) == [5, 6]


class TestTables:
    def test_only_marked_places_change(self, tmp_path):
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- table: speed 100 -->\nold\n<!-- end of table -->\nafter\n")
        results = [
            {"measures": {"speed": [speed_run("fastemb", 1, 1e6, {})]}, "settings": {"vector_size": 300}},
            {"measures": {"speed": [speed_run("fastemb", 1, 2e6, {})]}, "settings": {"vector_size": 100}},
        ]
        assert write(page, results) == []
        text = page.read_text()
        assert text.startswith("before\n<!-- table") and text.endswith("<!-- end of table -->\nafter\n")
        assert "| fastemb | 2.00 |" in text and "old" not in text
        assert write(page, results) == [] and page.read_text() == text

    def test_the_pages_hold_what_the_results_say(self, tmp_path):
        """No figure in a page was typed by hand."""
        files = sorted((ROOT / "bench" / "results").glob("*.json"))
        if not files:
            pytest.skip("no results are kept")
        for name in ("README.md", "docs/benchmark.md"):
            page = tmp_path / "page.md"
            page.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
            assert main([str(page), *map(str, files)]) == 0, name
            assert page.read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8"), name


class TestRun:
    def test_unknown_names(self, corpus):
        with pytest.raises(ValueError, match=r"peers must be of 'gensim', 'fasttext', got 'word2vec'"):
            run(corpus, peers=["word2vec"])
        with pytest.raises(ValueError, match=r"what must be of .*, got 'colour'"):
            run(corpus, what=["speed", "colour"])

    def test_missing_evaluation_set(self, corpus, tmp_path):
        with pytest.raises(FileNotFoundError):
            run(corpus, peers=[], pairs=[tmp_path / "missing.txt"])

    def test_rows(self):
        assert [(entry.label, entry.alpha) for entry in entries(["gensim", "fasttext"], alpha=0.03)] == [
            ("fastemb", None), ("fastemb, alpha 0.03", 0.03), ("gensim", None), ("fasttext", None),
        ]  # fmt: skip

    @pytest.mark.parametrize("peer", ["gensim", "fasttext"])
    def test_beside_a_peer(self, corpus, tmp_path, peer, monkeypatch):
        pytest.importorskip(peer, reason=f"{peer} is not installed")
        monkeypatch.delenv("FASTEMB_DATA", raising=False)
        pairs = tmp_path / "pairs.txt"
        pairs.write_text("t1w1\tt1w2\t9\nt2w1\tt2w2\t8\nt3w1\tt4w2\t2\nt5w1\tt6w2\t1\n")
        lines, output = [], tmp_path / "results.json"
        # fastText leaves a part of its table as the memory was: zero where a large table's is always fresh.
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
        size = 256
        found = run(
            corpus, [peer], seeds=1, repeats=1, vector_size=size, pairs=[pairs], output=output, log=lines.append
        )
        runs = found["measures"]["speed"]
        assert [each["label"] for each in runs] == ["fastemb", "fastemb, alpha 0.025", peer]
        assert len(lines) == 4  # the first compiles
        for each in runs:
            assert 0 < each["train_seconds"] < each["wall_seconds"]
            assert each["words_per_second"] == pytest.approx(20_000 / each["train_seconds"])
            assert 0 < each["scan_seconds"] < each["wall_seconds"] and each["peak_bytes"] > 2e7
            assert set(each["scores"]) == {"pairs"}
        assert json.loads(output.read_text())["measures"] == json.loads(json.dumps(found["measures"]))
        assert f"| {peer} |" in render(found)

    def test_scan_counts_what_gensim_counts(self, corpus):
        pytest.importorskip("gensim", reason="gensim is not installed")
        found = measures.scan(Bench(prepare(corpus), log=lambda line: None), rounds=1)
        assert set(found) == {"fastemb", "gensim", "wc -w"}

    def test_threads_and_memory(self, corpus):
        bench = Bench(prepare(corpus), vector_size=16, log=lambda line: None)
        runs = measures.threads(bench, rounds=1)
        assert runs[0]["threads"] == 1 and {each["threads"] for each in runs} >= {1}
        bounded = bench.train(Entry("bounded", "fastemb", options={"max_memory": 1000}), scored=False)
        assert bounded["train_seconds"] > 0
