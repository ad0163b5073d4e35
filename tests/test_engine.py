"""Threads, the choice between ways, ranges of sentences."""

import os
import platform
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastemb
from fastemb.engine import backend
from fastemb.engine.parallel import ordered_map
from fastemb.engine.tuning import TRUST, Tuner
from fastemb.trainers.schedule import Rate, sentence_ranges


def test_number_of_threads():
    before = fastemb.get_num_threads()
    with fastemb.num_threads(7):
        assert fastemb.get_num_threads() == 7
        with pytest.raises(RuntimeError), fastemb.num_threads(3):
            raise RuntimeError
        assert fastemb.get_num_threads() == 7
    assert fastemb.get_num_threads() == before
    with pytest.raises(ValueError, match=r"n must be an integer in \[1, 1024\], got 0"):
        fastemb.set_num_threads(0)
    with pytest.raises(TypeError):
        fastemb.set_num_threads(1.5)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_ordered_map_keeps_the_order(workers):
    def slow_when_even(x):
        time.sleep(0.002 * (x % 2 == 0))
        return x * x

    assert list(ordered_map(slow_when_even, range(40), workers)) == [x * x for x in range(40)]


def test_ordered_map_is_lazy():
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = ordered_map(lambda x: x, items(), 2)
    assert next(results) == 0
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5


@pytest.mark.parametrize("workers", [1, 3])
def test_ordered_map_passes_the_first_exception_on(workers):
    began = []

    def fail(x):
        began.append(x)
        if x == 3:
            raise ZeroDivisionError("three")
        return x

    got = []
    with pytest.raises(ZeroDivisionError, match="three"):
        got.extend(ordered_map(fail, range(1000), workers))
    assert len(began) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastemb")]


def test_ordered_map_nests_and_serves_several_threads():
    def inner(x):
        return sum(ordered_map(lambda y: x * y, range(10), 2))

    results = {}

    def run(number):
        results[number] = list(ordered_map(inner, range(10), 2))

    team = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert all(results[number] == [45 * x for x in range(10)] for number in range(4))


def test_ordered_map_uses_several_threads():
    barrier = threading.Barrier(3, timeout=100)
    assert len(set(ordered_map(lambda _: barrier.wait(), range(3), 3))) == 3


def test_tuner_tries_all_trusts_the_fastest_and_tries_again():
    tuner = Tuner(["a", "b", "c"], phase=2)
    speed = {"a": 1.0, "b": 3.0, "c": 2.0}
    used = []
    for _ in range(2 * (3 + TRUST)):
        way = tuner.next_way()
        used.append(way)
        tuner.record(way, 100, 100 / speed[way])
    assert used == list("aabbcc") + ["b"] * (2 * TRUST)
    speed["c"] = 9.0
    for _ in range(2 * 3):
        way = tuner.next_way()
        tuner.record(way, 100, 100 / speed[way])
    assert tuner.next_way() == "c"


def test_tuner_with_one_way():
    tuner = Tuner([5], phase=1)
    assert {tuner.next_way() for _ in range(100)} == {5}


@given(
    lengths=st.lists(st.integers(1, 50), max_size=60),
    size=st.integers(1, 200),
)
def test_sentence_ranges_cover_everything_in_order(lengths, size):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ranges = list(sentence_ranges(offsets, size))
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(len(lengths)))
    for start, stop in ranges:
        assert stop - start == 1 or offsets[stop] - offsets[start] <= size


def test_rate_is_one_line_over_all_epochs():
    rate = Rate(0.05, 0.001, epochs=4, num_ids=100)
    ends = [alpha + slope * 100 for alpha, slope in map(rate.line, range(4))]
    starts = [rate.line(epoch)[0] for epoch in range(4)]
    np.testing.assert_allclose(starts[1:], ends[:-1])
    assert starts[0] == 0.05 and ends[-1] == pytest.approx(0.001)


def test_unknown_device():
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'reference', 'cuda', got 'tpu'"):
        backend.kernels("tpu", "skipgram")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names features of x86")
@pytest.mark.parametrize(("features", "width"), [("+avx2,+fma", (0,)), ("+avx2,+fma,+avx512f", (0, 0))])
def test_the_width_is_that_of_the_processor_compiled_for(features, width):
    code = "from fastemb.engine.backend import simd_width; print(simd_width())"
    environment = {**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(width)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of x86")
@pytest.mark.parametrize(
    "work",
    [
        "Embedding(4, 20, dtype=np.float16)([1])",
        "EmbeddingBag(4, 20).quantize(bits=4)",
        "EmbeddingBag(4, 20).quantize(dtype=np.float16)([[1]])",
    ],
)
def test_a_processor_without_float16_is_told(work):
    code = f"import numpy as np; from fastemb import Embedding, EmbeddingBag; Embedding(4, 20)([1]); {work}"
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "need a processor with F16C" in done.stderr.strip().splitlines()[-1]


def test_a_forbidden_compiler_is_told():
    code = "from fastemb import Word2Vec; Word2Vec([['a', 'b']] * 9, min_count=1)"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr.strip().endswith("and NUMBA_DISABLE_JIT forbids it: unset it")
