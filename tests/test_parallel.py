"""Kernels in several threads: on each of Numba's threading layers, after a fork, from several Python threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastemb.engine import backend, parallel

SETUP = """
import os, sys, threading
import numpy as np
from fastemb.engine import backend, parallel

bags = backend.kernels("cpu", "bags")
parallel.set_num_threads(2)
weight = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
indices = np.random.default_rng(1).integers(0, 1000, 40_000)
offsets = np.arange(0, 40_001, 20)

def reduce(cost=1 << 30):
    out = np.zeros((2000, 64), np.float32)
    assert parallel.run(bags, "reduce", (out, weight, indices, offsets, None, -2, 0), 2000, cost) == -1
    return out

expected = reduce(cost=0)  # one thread
def check():
    np.testing.assert_array_equal(reduce(), expected)
"""
SEVERAL_THREADS = """
def several():
    failures = []
    def work():
        try:
            for _ in range(20):
                check()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not failures, failures
several()
"""
FORK = """
check()
child = os.fork()
if child == 0:
    check()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
check()
"""
NESTED = """
list(parallel.ordered_map(lambda _: check(), range(8), workers=3))
"""


def run_script(code, **environment):
    ran = subprocess.run(
        [sys.executable, "-c", SETUP + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("layer", ["default", "workqueue"])
@pytest.mark.parametrize("code", [SEVERAL_THREADS, NESTED], ids=["several threads", "nested"])
def test_kernels_may_be_run_by_several_threads_at_once(layer, code):
    run_script(code, NUMBA_THREADING_LAYER=layer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_kernels_run_after_a_fork(layer):
    run_script(FORK, NUMBA_THREADING_LAYER=layer)


def test_a_layer_that_is_not_there_is_done_without():
    run_script("check()", NUMBA_THREADING_LAYER="tbb")


def test_numbas_own_number_of_threads_is_left_alone():
    run_script("import numba; before = numba.get_num_threads(); check(); assert numba.get_num_threads() == before")


def test_the_first_fault_is_told_however_many_threads_find_one():
    weight, out = np.ones((10, 4), np.float32), np.zeros((1000, 4), np.float32)
    indices = np.zeros(1000, np.int64)
    indices[[400, 999]] = 10, -1
    lookups = backend.kernels("cpu", "lookup")
    for threads in (1, 2, 7):
        with parallel.num_threads(threads):
            assert parallel.run(lookups, "lookup", (out, weight, indices, -2), 1000, 1 << 30) == 400


def test_compiling_is_announced_on_a_terminal_once(monkeypatch, capsys):
    kernel = backend.kernels("cpu", "lookup").lookup
    monkeypatch.setattr(backend, "is_cached", lambda kernel: False)
    monkeypatch.setattr(backend, "_announced", False)
    backend.announce(kernel)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    backend.announce(kernel)
    backend.announce(kernel)
    assert capsys.readouterr().err.count("compiling") == 1


def test_a_machine_whose_cores_are_busy_is_noticed():
    congestion = parallel._Congestion()
    congestion.note(0.0, 0.050, 1 << 20)
    assert not congestion.is_passing(0.050)  # once may be chance
    lengths, now = [], 1.0
    for _ in range(9):
        congestion.note(now - 0.050, now, 1 << 20)
        assert congestion.is_passing(now)
        lengths.append(round(congestion._until - now, 6))
        now = congestion._until
        assert not congestion.is_passing(now)
    assert lengths == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    congestion.note(now, now + 0.050, 1 << 30)  # much work takes its time
    congestion.note(now, now + 0.050, 1 << 20)
    assert not congestion.is_passing(now + 0.050)
    congestion.note(now, now + 0.050, 1 << 20)
    assert congestion.is_passing(now + 0.050)


def test_compiling_is_not_taken_for_a_busy_machine(monkeypatch):
    congestion = parallel._Congestion()
    monkeypatch.setattr(parallel, "_congestion", congestion)
    monkeypatch.setattr(parallel, "perf_counter", iter(range(100)).__next__)  # each launch takes a second

    def twin(signature, team):
        twin.overloads[signature] = None

    twin.overloads = {}
    for signature, slow in (("a", 0), ("b", 0), ("b", 1), ("a", 2), ("c", 2)):
        parallel._run_twin(twin, (signature,), 2, 1)
        assert congestion._slow == slow


def test_results_are_the_same_without_threads(monkeypatch):
    monkeypatch.setattr(parallel._congestion, "_until", float("inf"))
    weight, out = np.ones((10, 4), np.float32), np.zeros((3, 4), np.float32)
    lookups = backend.kernels("cpu", "lookup")
    assert parallel.run(lookups, "lookup", (out, weight, np.array([1, 2, 10]), -2), 3, 1 << 30) == 2
    assert (out[:2] == 1).all()
