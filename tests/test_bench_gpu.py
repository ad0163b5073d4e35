"""The benchmark of a GPU: in the simulator, which shows that it runs, checks its results and renders them."""

import json

import numpy as np
import pytest

from fastemb.bench import gpu, gpu_check
from fastemb.bench.gpu import Clock, run
from fastemb.bench.gpu_check import check
from fastemb.bench.tables import render, write
from fastemb.cli import main
from fastemb.engine import backend

# In the simulator kernels are Python, where NumPy warns of what wraps around.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::RuntimeWarning")]


def test_one_command_measures_all_kinds_and_fills_a_page(tmp_path, capsys):
    output, page = tmp_path / "gpu.json", tmp_path / "page.md"
    page.write_text("".join(f"<!-- table: gpu {name} -->\n<!-- end of table -->\n" for name in ("bags", "training")))
    assert main(["bench", "gpu", "--peers", "none", "--quick", "--output", str(output), "--page", str(page)]) == 0
    found, told = json.loads(output.read_text()), capsys.readouterr()
    measures = found["measures"]
    assert [case["case"] for case in measures["bags"]][::3] == ["bags, float32, uniform", "bags, float16, zipf"]
    assert [case["case"] for case in measures["steps"]] == ["step, SGD", "step, RowwiseAdagrad", "step, Adam"]
    for case in (*measures["bags"], *measures["steps"]):
        assert case["fastemb warm"] > 0 and case["fastemb cold"] > 0 and case["bytes"] > 0
        assert f"{case['case']}, fastemb warm" in told.err
    assert measures["calls"][0]["fastemb"] > 0 and found["machine"]["copy_bytes_per_second"] > 0
    assert f"| {found['machine']['gpu']}, driver {found['machine']['driver']} | us | us, cold |" in render(found)
    assert render(found) in told.out and "| bags, float16, zipf |" in page.read_text()
    page.write_text(page.read_text() + "<!-- table: gpu steps -->\n<!-- end of table -->\n")
    assert write(page, [found]) == ["gpu training"]
    assert "| step, Adam |" in page.read_text()


def test_what_fails_stops_nothing_else(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("a step")

    monkeypatch.setattr(gpu, "_step", fail)
    monkeypatch.setattr(gpu, "_bags", lambda *arguments: {"case": "bags"})
    lines, output = [], tmp_path / "gpu.json"
    with pytest.raises(RuntimeError, match="not all could be measured: steps"):
        run(peers=(), quick=True, output=output, log=lines.append)
    measures = json.loads(output.read_text())["measures"]
    assert len(measures["bags"]) == 4 and measures["steps"] == [] and "steps: ValueError: a step" in lines


def test_the_clock_takes_the_median():
    calls = []
    assert Clock(1 << 12, repeats=5).seconds(lambda: calls.append(1), cold=True) >= 0
    assert len(calls) == 2 + 2 * 5
    Clock(1 << 12, repeats=1, warmup=0).seconds(lambda: calls.append(1))
    assert len(calls) == 2 + 2 * 5 + 2


def test_without_a_gpu_it_says_why(monkeypatch):
    monkeypatch.setattr(backend, "gpu_problem", lambda: "no driver: none is here")
    with pytest.raises(RuntimeError, match="no driver: none is here"):
        run(quick=True)


def test_the_gpu_is_compared_with_the_cpu(monkeypatch, capsys):
    lines = []
    found = check(log=lines.append)
    assert set(found.values()) == {"ok"} and len(lines) == len(found) == 15
    cases = dict(gpu_check._cases())
    few = {name: cases[name] for name in ("an index outside the table", "8 and 4 bits")}
    monkeypatch.setattr(gpu_check, "_cases", few.items)
    assert main(["info", "--check-gpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == dict.fromkeys(few, "ok")
    wrong = {"one": lambda device: [np.float32([1, 2 + (device == "cuda")])], "none": lambda device: [np.zeros(1) / 0]}
    monkeypatch.setattr(gpu_check, "_cases", wrong.items)
    assert main(["info", "--check-gpu"]) == 1
    told = capsys.readouterr().out
    assert "2 of 2 cases differ" in told


def test_torch_without_a_gpu():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU")
    with pytest.raises(RuntimeError, match="torch does not see a GPU"):
        run(quick=True)
