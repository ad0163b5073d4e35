"""`fastemb bench layers`: what it times, checks, sums up and writes; quick runs, no figure of which is believed."""

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from fastemb.bench.layers import tables, timing
from fastemb.bench.layers.cases import Case, Inputs, small_cases, sweep
from fastemb.bench.layers.comparison import Comparison
from fastemb.bench.layers.run import KINDS, run
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.summary import describe_case, duration, summarise
from fastemb.bench.layers.targets import TARGETS, Target
from fastemb.bench.layers.timing import measure
from fastemb.bench.tables import main, render, write
from fastemb.cli import main as command_line


def record(ours=1e-3, torch=2e-3, trip=60.0, sides=None, **case):
    timings = {"fastemb": ours, **(sides or {"torch": torch})}
    return {
        "case": Case(**{"num_embeddings": 1000, "embedding_dim": 16, **case}).as_dict(),
        "sides": {
            name: {"hot": [seconds] * 3, "alternating": 2 * seconds, "best": seconds}
            for name, seconds in timings.items()
        },
        "bytes": 1_000_000,
        "round_trip_ns": trip,
    }


def results(**measures):
    machine = {"processor": "P", "cores": 2, "memory_bytes": 2**30, "caches": [], "system": "S", "python": "3"}
    machine |= {"versions": {"torch": "2.13"}, "date": "2026-01-01T00:00:00"}
    return {"benchmark": "layers", "load": 0.1, "machine": machine, "settings": {"threads": 2}, "measures": measures}


def measure_quickly(kind, peers=("torch",)):
    pytest.importorskip("torch", reason="torch is not installed")
    from fastemb.bench.layers.kinds import measure_kind

    return measure_kind(kind, Setup(peers, quick=True, log=lambda line: None), 0.01)


class TestTiming:
    @pytest.fixture
    def takes(self, monkeypatch):
        """Return a function that makes calls of so many seconds, of which every fifth one is disturbed.

        They move the clock, and nothing else does but a look at it.
        """
        now, calls = [0.0], []

        def perf_counter():
            now[0] += 1e-8
            return now[0]

        def make(name, seconds):
            def call():
                calls.append(name)
                now[0] += seconds + 0.02 * (len(calls) % 5 == 0)

            return call

        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=perf_counter))
        make.calls = calls
        return make

    @pytest.mark.parametrize(("seconds", "blocks"), [(1.0, 7), (0.03, 3)])
    def test_ratio_of_known_times(self, takes, seconds, blocks):
        found = measure({"short": takes("short", 0.001), "long": takes("long", 0.003)}, seconds=seconds)
        for figure in (
            lambda side: np.median(side["hot"]),
            lambda side: side["alternating"],
            lambda side: side["best"],
        ):
            assert figure(found["long"]) / figure(found["short"]) == pytest.approx(3, rel=1e-3)
        assert len(found["short"]["hot"]) == blocks

    def test_blocks_take_turns(self, takes):
        measure({"a": takes("a", 1e-6), "b": takes("b", 1e-6)}, seconds=0.5)
        turns = [now for before, now in zip([None, *takes.calls], takes.calls, strict=False) if now != before]
        assert turns[:6] == ["a", "b"] * 3 and len(turns) > 14


class TestCases:
    def test_every_size_and_variant_comes(self):
        cases = sweep(variants=("sum", "mean"))
        assert len(cases) == len(set(cases)) == 90
        assert {case.variant for case in cases} == {"sum", "mean"}
        assert min(case.row_bytes for case in cases) < 300_000 and max(case.row_bytes for case in cases) > 9e8
        for name, values in {"bag_length": {1, 20, 50}, "embedding_dim": {16, 64, 100, 128, 256}}.items():
            assert {getattr(case, name) for case in cases} == values
        assert sweep() == sweep()

    def test_tables_come_one_after_another(self):
        shapes = [(case.num_embeddings, case.embedding_dim) for case in sweep(per_table=2)]
        assert len(set(shapes)) == 15 == 1 + sum(a != b for a, b in pairwise(shapes))

    def test_small_ones_are_small(self):
        assert all(case.num_bags <= 64 for case in small_cases(["sum", "lookup"]))

    @pytest.mark.parametrize("ids", ["uniform", "zipf"])
    def test_indices(self, ids):
        case = Case(1000, 16, bag_length=20, num_bags=2000, ids=ids)
        indices = np.concatenate(Inputs().batches(case)[:1])
        assert indices.shape == (40_000,) and indices.min() >= 0 and indices.max() < 1000
        counts = np.sort(np.bincount(indices, minlength=1000))[::-1]
        share = counts[0] / counts.sum()
        if ids == "uniform":
            assert share < 0.003
        else:  # the first of 1000 ranks has 1 / sum(r ** -1.05) of all
            assert share == pytest.approx(1 / np.sum(np.arange(1, 1001) ** -1.05), rel=0.1)
            assert counts[0] / counts[7] == pytest.approx(8**1.05, rel=0.2)


class TestComparison:
    def test_a_wrong_result_is_not_timed(self):
        sides = {"fastemb": lambda: np.array([1.0, np.nan]), "torch": lambda: np.array([1.0, 2.0])}
        with pytest.raises(RuntimeError, match=r"fastemb and torch differ by nan .*V=10 D=2"):
            Comparison(Case(10, 2), sides).measure(0.01)

    def test_nor_one_of_another_shape(self):
        with pytest.raises(RuntimeError, match=r"differ in shape, \(2,\) and \(3,\)"):
            Comparison(Case(10, 2), {"fastemb": lambda: np.ones(2), "torch": lambda: np.ones(3)}).verify()

    def test_sides_without_a_result(self):
        sides = {"fastemb": lambda: [1.0], "torch": lambda: [1.0], "read": lambda: 5.0}
        found = Comparison(Case(10, 2), sides, unchecked=("read",)).measure(0.01)
        assert set(found["sides"]) == set(sides) and found["bytes"] == 512


class TestSummary:
    def test_the_fastest_peer_counts(self):
        target = Target("step-sgd", "step", ("torch sparse", "fbgemm"), 2.5)
        records = [record(sides={"torch sparse": 4e-3, "fbgemm": 3e-3}), record(sides={"torch sparse": 12e-3})]
        found = summarise(target, records)
        assert found.hot == pytest.approx([3, 12]) and found.mean == pytest.approx(6) and found.reached
        assert found.worst == pytest.approx(3)

    @pytest.mark.parametrize(("mean", "worst", "reached"), [(2, 1.5, True), (3, 1.5, False), (2, 1.8, False)])
    def test_both_figures_must_be_reached(self, mean, worst, reached):
        records = [record(torch=1.6e-3), record(torch=4e-3, num_embeddings=500)]
        found = summarise(Target("bags", "bags", ("torch",), mean, worst), records)
        assert found.reached is reached and found.worst_case.num_embeddings == 1000

    def test_only_cases_that_a_target_speaks_of(self):
        target = Target("lookup", "lookup", ("torch",), 1.2, None, {"variant": "out"})
        assert len(summarise(target, [record(variant="out"), record(variant="allocating")]).hot) == 1
        assert summarise(target, [record()]) is None

    def test_cases_in_which_something_else_ran(self):
        quiet, loud = record(), record()
        loud["sides"]["torch"]["best"] /= 2
        assert summarise(Target("bags", "bags", ("torch",), 2), [quiet, loud]).disturbed == 1

    def test_durations(self):
        assert [duration(seconds) for seconds in (4.26e-6, 1.234e-4, 0.0999, 1.5)] == [
            "4.3 us", "123 us", "100 ms", "1500 ms",
        ]  # fmt: skip

    def test_a_line_for_each_case(self):
        assert describe_case(record()).endswith("fastemb 1.0 ms (1.0 GB/s), torch 2.0 ms (2.00x, alternating 2.00x)")


class TestTables:
    def test_targets_stand_beside_what_was_reached(self):
        table = render(results(bags=[record(), record(torch=0.9e-3, variant="sum")]))
        assert "| 2 | 1.34x (1.05x) | 0.90x (0.95x) | V=1000 D=16 L=1 B=64 uniform sum | 1.34x | 0 | no |" in table

    def test_by_size(self):
        records = [record(variant="sum"), record(torch=8e-3, variant="sum"), record(variant="sum", embedding_dim=64)]
        (grid,) = tables.grids(results(bags=records), "bags")
        assert grid[0][1:] == ["V", "D=16", "D=64"] and grid[1] == [["sum", "1,000", "4.0 (2.00 to 8.0)", "2.00"]]

    def test_limit_and_memory_and_machine(self):
        limit = [record(sides={"torch": 1.1e-3, "read": 0.9e-3})]
        memory = [{"side": "fastemb", "optimizer": "sgd", "num_embeddings": v, "bytes": 10**6} for v in (10, 20)]
        text = render(results(limit=limit, memory=memory))
        assert "| 1,000 | 16 | 1 | 64 | uniform | 1.0 | 0.9 | 1.1 | 0.90 |" in text
        assert "| fastemb | sgd | 1.00 | 1.00 |" in text
        assert "near (60 to 60 ns)" in render(results(limit=limit), ["machine"])

    def test_pages_take_the_last_file_of_a_kind(self, tmp_path):
        page = tmp_path / "page.md"
        page.write_text(
            "<!-- table: layers -->\n<!-- end of table -->\n<!-- table: layers small -->\n<!-- end of table -->\n"
        )
        files = []
        for number, found in enumerate([results(bags=[record()]), results(bags=[record(torch=5e-3)])]):
            files.append(tmp_path / f"{number}.json")
            files[-1].write_text(json.dumps(found))
        assert write(page, [json.loads(file.read_text()) for file in files]) == ["layers small"]
        assert "5.0x (1.05x)" in page.read_text() and "2.00x" not in page.read_text()
        assert main([str(page), *map(str, files)]) == 1

    def test_results_of_training_are_another_matter(self, tmp_path):
        page = tmp_path / "page.md"
        page.write_text(
            "<!-- table: machine 100 -->\n<!-- end of table -->\n<!-- table: layers -->\n<!-- end of table -->\n"
        )
        assert write(page, [results(bags=[record()])]) == ["machine 100"]


class TestRun:
    def test_unknown_names(self):
        with pytest.raises(ValueError, match=r"what must be one of 'bags', .*, got 'colour'"):
            run(what=["bags", "colour"])
        with pytest.raises(ValueError, match="peers must be one of 'torch', 'fbgemm', got 'gensim'"):
            run(["gensim"])

    def test_every_target_has_a_kind(self):
        pytest.importorskip("torch", reason="torch is not installed")
        from fastemb.bench.layers.kinds import COMPARISONS

        assert {*COMPARISONS, "memory"} == set(KINDS) == {*(target.kind for target in TARGETS), "memory"}

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"])
    def test_quick_run(self, kind):
        found = measure_quickly(kind)
        assert found
        for each in found:
            assert all(seconds > 0 for side in each["sides"].values() for seconds in side["hot"])
        wanted = [target for target in TARGETS if target.kind == kind and target.peers != ("fbgemm",)]
        summaries = [summarise(target, found) for target in wanted if "num_embeddings" not in target.where]
        assert all(summary is not None for summary in summaries)

    @pytest.mark.parametrize("optimizer", ["sgd", "rowwise-adagrad", "adagrad"])
    def test_beside_fbgemm(self, optimizer):
        pytest.importorskip("fbgemm_gpu", reason="fbgemm-gpu-cpu is not installed")
        (found,) = measure_quickly(f"step-{optimizer}", ("torch", "fbgemm"))
        assert "fbgemm" in found["sides"]

    def test_memory_does_not_grow_with_the_table(self):
        found = measure_quickly("memory")
        dense = [each["bytes"] for each in found if each["side"] == "torch dense" and each["optimizer"] == "sgd"]
        assert dense[1] > 2e7  # torch's gradient of 100,000 rows: the measurement sees what is there

    def test_from_the_command_line(self, tmp_path, capsys):
        pytest.importorskip("torch", reason="torch is not installed")
        output = tmp_path / "results.json"
        argv = ["bench", "layers", "--peers", "torch", "--what", "small", "--quick", "--output", str(output)]
        assert command_line(argv) == 0
        captured = capsys.readouterr()
        assert "small work, up to 64 bags | 4 |" in captured.out and captured.err.count("small: V=10000") == 4
        saved = json.loads(output.read_text())
        assert saved["benchmark"] == "layers" and len(saved["measures"]["small"]) == 4
        assert saved["settings"]["threads"] == 2 and "torch" in saved["machine"]["versions"]

    def test_a_peer_that_is_not_installed(self, monkeypatch):
        monkeypatch.setattr("fastemb.bench.layers.run.MODULES", {"torch": "torch_that_is_missing"})
        with pytest.raises(ImportError, match=r"torch is not installed: pip install 'fastemb\[bench-layers\]'"):
            run(["torch"])
