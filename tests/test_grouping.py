"""Grouping lookups by row: the CPU's kernel against the reference, in any number of threads."""

import multiprocessing
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastemb.engine import grouping, parallel
from fastemb.engine.backend import kernels
from fastemb.engine.grouping import Groups, group
from fastemb.engine.parallel import num_threads
from fastemb.kernels.cpu.simd import W8, W16

cpu = kernels("cpu", "grouping")
reference = kernels("reference", "grouping")

NO_MASK, NO_LABELS = np.empty(0, np.bool_), np.empty(0, np.int32)
FREE = 12345  # what outputs hold before and, where they are not used, after
SIZES = [0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 200, 1000, 5000, 20_000]  # of many, few rows are counted


def lookups(num_lookups, num_embeddings, dtype, seed, skew=False, outside=0.1):
    """Indices with duplicates, and some outside the table."""
    random = np.random.default_rng(seed)
    indices = (
        random.zipf(1.2, num_lookups) % num_embeddings if skew else random.integers(0, num_embeddings, num_lookups)
    )
    bad = random.random(num_lookups) < outside
    limits = np.iinfo(dtype)
    wrong = [-1, -2, limits.min, limits.max, min(num_embeddings, limits.max)]
    return np.where(bad, random.choice(wrong, num_lookups), indices).astype(dtype)


def bags_of(num_lookups, seed):
    """A label for each lookup: never falling, with gaps and repetitions."""
    return np.sort(np.random.default_rng(seed).integers(0, 2 + num_lookups // 3, num_lookups)).astype(np.int32)


def run_kernel(kernel, indices, num_embeddings, padding_idx, frozen, labels, *tuning):
    """Call a kernel on outputs with guards behind them; return what it says and check that it wrote nothing else."""
    n = len(indices)
    rows, starts = np.full(n + 8, FREE, indices.dtype), np.full(n + 9, FREE, np.int64)
    order = np.full(n + 8, FREE, np.int32)
    outputs = rows[:n], starts[: n + 1], order[:n]
    num_rows = kernel(*outputs, indices, num_embeddings, padding_idx, frozen, labels, *tuning)
    assert (rows[n:] == FREE).all() and (starts[n + 1 :] == FREE).all() and (order[n:] == FREE).all()
    return rows[:num_rows], starts[: num_rows + 1], order[: starts[num_rows]]


def run_cpu(indices, num_embeddings, padding_idx, frozen, labels, width, chunks):
    scratch = cpu.allocate_scratch(len(indices), max(chunks, 1))
    scratch[:] = FREE * (2**33 + 1)
    arguments = (indices, num_embeddings, padding_idx, frozen, labels, scratch, width)
    if chunks == 0:
        return run_kernel(cpu.group, *arguments)
    return run_kernel(cpu.parallel_group, *arguments, chunks)


def assert_same(got, wanted):
    for found, expected in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def parts(groups: Groups):
    return groups.rows, groups.starts, groups.order


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    num_lookups=st.sampled_from(SIZES),
    num_embeddings=st.sampled_from([1, 2, 3, 100, 10**5, 2**31 - 1, 2**32 - 1]),
    dtype=st.sampled_from([np.int32, np.int64]),
    seed=st.integers(0, 1000),
    skew=st.booleans(),
    outside=st.sampled_from([0.0, 0.1, 1.0]),
    padding=st.sampled_from([None, 0, "last"]),
    share_frozen=st.sampled_from([None, 0.0, 0.3, 1.0]),
    labelled=st.booleans(),
    width=st.sampled_from([W8, W16]),
    chunks=st.sampled_from([0, 1, 2, 3, 7]),
)
def test_cpu_equals_the_reference(
    num_lookups, num_embeddings, dtype, seed, skew, outside, padding, share_frozen, labelled, width, chunks
):
    if dtype == np.int32:
        num_embeddings = min(num_embeddings, 2**31 - 1)
    indices = lookups(num_lookups, num_embeddings, dtype, seed, skew, outside)
    padding_idx = {None: -1, 0: 0, "last": num_embeddings - 1}[padding]
    frozen, labels = NO_MASK, bags_of(num_lookups, seed) if labelled else NO_LABELS
    if share_frozen is not None and num_embeddings <= 10**5:
        frozen = np.random.default_rng(seed).random(num_embeddings) < share_frozen
    arguments = indices, num_embeddings, padding_idx, frozen, labels
    assert_same(run_cpu(*arguments, width, chunks), run_kernel(reference.group, *arguments))


@pytest.mark.parametrize("num_embeddings", [1, 2**11, 2**11 + 1, 20_000, 60_000, 10**6])
@pytest.mark.parametrize("num_lookups", [100_000, 2**18 + 1])
def test_many_lookups(num_lookups, num_embeddings):
    indices = lookups(num_lookups, num_embeddings, np.int32, seed=1)
    arguments = indices, num_embeddings, 0, NO_MASK, NO_LABELS
    wanted = run_kernel(reference.group, *arguments)
    for width, chunks in [(W8, 0), (W16, 0), (W16, 2)]:
        assert_same(run_cpu(*arguments, width, chunks), wanted)


@pytest.mark.parametrize("chunks", [0, 1, 3])
@pytest.mark.parametrize("num_lookups", [0, 5, 500])
def test_a_table_without_rows(num_lookups, chunks):
    indices = np.zeros(num_lookups, np.int64)
    rows, starts, order = run_cpu(indices, 0, -1, NO_MASK, NO_LABELS, W16, chunks)
    assert (len(rows), starts.tolist(), len(order)) == (0, [0], 0)


def test_what_groups_are():
    """The law, without the reference: sorted, complete, stable."""
    indices = lookups(3000, 500, np.int64, seed=4, outside=0)
    groups = group(indices, 500)
    assert (np.diff(groups.rows) > 0).all()
    assert (np.diff(groups.starts) > 0).all()
    np.testing.assert_array_equal(np.sort(groups.order), np.arange(3000))
    for row, begin, end in zip(groups.rows, groups.starts[:-1], groups.starts[1:], strict=True):
        np.testing.assert_array_equal(groups.order[begin:end], np.flatnonzero(indices == row))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    num_lookups=st.sampled_from([0, 1, 50, 4096, 20_000]), padding=st.sampled_from([None, 3]), seed=st.integers(0, 9)
)
@example(num_lookups=100_000, padding=None, seed=0)
def test_engine_gives_the_same_in_any_number_of_threads(num_lookups, padding, seed):
    indices = lookups(num_lookups, 5000, np.int32, seed, skew=True)
    frozen = np.random.default_rng(seed).random(5000) < 0.2
    for mask in (None, frozen):
        wanted = parts(group(indices, 5000, padding_idx=padding, frozen=mask, device="reference"))
        for threads in (1, 2, 3, 7):
            with num_threads(threads):
                got = group(indices, 5000, padding_idx=padding, frozen=mask)
            assert got.rows.dtype == np.int32 and got.starts.dtype == np.int64 and got.order.dtype == np.int32
            assert all(part.flags.aligned for part in parts(got))
            assert_same(parts(got), wanted)


@pytest.mark.parametrize("num_embeddings", [2**32 - 1, 2**32, 2**33, 2**62])
def test_tables_of_billions_of_rows(num_embeddings):
    indices = np.array([num_embeddings - 1, 5, -1, num_embeddings - 1, num_embeddings, 0])
    groups = group(indices, num_embeddings)
    assert_same(parts(groups), ([0, 5, num_embeddings - 1], [0, 1, 2, 4], [5, 1, 0, 3]))


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_labels_stand_for_places(device):
    indices = lookups(9000, 700, np.int64, seed=5)
    labels = bags_of(9000, seed=5)
    places = group(indices, 700, padding_idx=3)
    groups = group(indices, 700, padding_idx=3, labels=labels, device=device)
    assert_same(parts(groups), (places.rows, places.starts, labels[places.order]))


def test_a_mask_for_each_row_and_a_label_for_each_lookup():
    for short in (0, 9):
        with pytest.raises(ValueError, match=f"frozen must have one entry a row, 10, got {short}"):
            group(np.zeros(3, np.int64), 10, frozen=np.zeros(short, np.bool_))
    with pytest.raises(ValueError, match="labels must have one entry a lookup, 3, got 2"):
        group(np.zeros(3, np.int64), 1, labels=np.zeros(2, np.int32))


def test_results_outlive_the_next_call():
    indices = lookups(20_000, 100, np.int64, seed=2)
    first = group(indices, 100)
    copies = [part.copy() for part in parts(first)]
    group(indices[::-1].copy(), 100)
    assert_same(parts(first), copies)


def test_read_only_indices():
    indices = lookups(500, 100, np.int32, seed=3)
    wanted = parts(group(indices, 100))
    frozen = np.zeros(100, np.bool_)
    indices.flags.writeable = frozen.flags.writeable = False
    assert_same(parts(group(indices, 100, frozen=frozen)), wanted)


def test_memory_is_kept_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(grouping, "_kept", threading.local())
    monkeypatch.setattr(grouping, "_KEPT_LOOKUPS", 1024)
    group(np.zeros(1000, np.int64), 10)
    kept = grouping._kept.scratch
    assert group(np.zeros(1000, np.int64), 10).starts.tolist() == [0, 1000]
    assert grouping._kept.scratch is kept
    assert group(np.zeros(5000, np.int64), 10).starts.tolist() == [0, 5000]
    assert grouping._kept.scratch is kept


def test_several_python_threads_at_once():
    cases = [lookups(n, 3000, np.int32, seed) for seed, n in enumerate([30_000, 64, 50_000, 700])]
    wanted = [parts(group(indices, 3000, device="reference")) for indices in cases]
    failures = []

    def work(indices, expected):
        try:
            for _ in range(5):
                assert_same(parts(group(indices, 3000)), expected)
        except BaseException as error:
            failures.append(error)

    with num_threads(2):
        threads = [threading.Thread(target=work, args=case) for case in zip(cases, wanted, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_another_thread_may_set_the_number_of_threads(monkeypatch):
    teams = []

    def allocate(num_lookups, num_parts, empty):
        teams.append(num_parts)
        parallel.set_num_threads(7)  # when this thread is about to group in what it gets
        return cpu.allocate_scratch(num_lookups, num_parts, empty)

    def run_twin(twin, arguments, team, cost):
        teams.append(team)
        return twin(*arguments, team)

    monkeypatch.setattr(grouping, "_kept", threading.local())
    module = SimpleNamespace(**(vars(cpu) | {"allocate_scratch": allocate}))
    monkeypatch.setattr(grouping, "kernels", lambda device, name: module)
    monkeypatch.setattr(parallel, "_congestion", parallel._Congestion())
    monkeypatch.setattr(parallel, "_run_twin", run_twin)
    indices = lookups(50_000, 3000, np.int32, seed=3)
    with num_threads(2):
        got = parts(group(indices, 3000))
    assert teams == [2, 2]
    monkeypatch.undo()
    assert_same(got, parts(group(indices, 3000, device="reference")))


def group_in_child(indices, queue):
    queue.put(parts(group(indices, 3000)))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork():
    indices = lookups(50_000, 3000, np.int32, seed=8)
    with num_threads(2):
        wanted = parts(group(indices, 3000))
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=group_in_child, args=(indices, queue))
        child.start()
        got = queue.get(timeout=600)
        child.join(600)
    assert child.exitcode == 0
    assert_same(got, wanted)
