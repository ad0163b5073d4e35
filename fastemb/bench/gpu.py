"""fastemb on a GPU beside torch on the same card: bags, training steps, small calls, and what the card itself can do.

Kernels are timed by the card's own events, after a warm-up, with a warm second-level cache and with one that other
memory has just gone through; small calls by the host's clock. A bag's bandwidth is that of the rows that it reads and
writes; beside it stands the bandwidth of a copy, measured in the same run.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastemb import EmbeddingBag, functional, optim
from fastemb.bench.gpu_training import compare
from fastemb.bench.layers.cases import ZIPF_EXPONENT
from fastemb.bench.machine import describe
from fastemb.engine import backend, device, faults, streams
from fastemb.formats.files import replacing

__all__ = ["Clock", "run"]

IDS = ("uniform", "zipf")
DIM, LENGTH, NUM_BAGS = 128, 20, 65_536
FLUSH_BYTES, COPY_BYTES = 256 << 20, 2 << 30
BLOCK_ROWS = 1 << 17  # rows of random numbers, of which a large table repeats copies
OPTIMIZERS: dict[str, tuple[Callable[[], optim.Optimizer], str | None, int]] = {
    "SGD": (lambda: optim.SGD(lr=0.01), "SGD", 0),
    "RowwiseAdagrad": (lambda: optim.RowwiseAdagrad(lr=0.01), None, 0),
    "Adam": (lambda: optim.Adam(lr=0.01), "SparseAdam", 2),
}
"""Ours, torch's for sparse gradients, and rows of state that an update reads and writes."""


class Size(NamedTuple):
    """How much work is measured.

    Attributes
    ----------
    table_bytes, step_rows
        Of the table that bags are read from, and rows of the one that is trained.
    num_bags, call_bags
        Of `LENGTH` lookups each; of large work, and of small calls.
    flush_bytes, copy_bytes
        What empties the second-level cache, and what is copied.
    """

    table_bytes: int
    step_rows: int
    num_bags: int
    call_bags: int
    flush_bytes: int
    copy_bytes: int


class Clock:
    """Times what a GPU does.

    Parameters
    ----------
    flush_bytes : int
        Memory to write between calls, so that the next begins with a cold cache.
    repeats : int
        Calls of which the median is taken.
    warmup : int, default 2
        Calls before them.
    """

    def __init__(self, flush_bytes: int, repeats: int, warmup: int = 2) -> None:
        from numba import cuda

        self._cuda, self._repeats, self._warmup = cuda, repeats, warmup
        self._from = device.zeros((flush_bytes // 4, 1), np.float32)
        self._to = device.zeros((flush_bytes // 4, 1), np.float32)

    def seconds(self, call: Callable[[], object], *, cold: bool = False) -> float:
        """Return the median of the seconds between events around a call that queues work in the default stream."""
        for _ in range(self._warmup):
            call()
        found = []
        for _ in range(self._repeats):
            call()  # which keeps the GPU at work while the host queues what is timed
            if cold:
                self._to.made.copy_to_device(self._from.made)
            begin, end = self._cuda.event(), self._cuda.event()
            began = time.perf_counter()
            begin.record()
            call()
            end.record()
            end.synchronize()
            elapsed = time.perf_counter() - began
            # The simulator's events keep no time.
            found.append(elapsed if streams.is_simulated() else self._cuda.event_elapsed_time(begin, end) / 1e3)
        return statistics.median(found)

    def call_seconds(self, call: Callable[[], object]) -> float:
        """Return the host's seconds for a call, of many in a row that do not wait for the GPU."""
        for _ in range(10):
            call()
        streams.synchronize()
        calls = 20 * self._repeats
        began = time.perf_counter()
        for _ in range(calls):
            call()
        elapsed = time.perf_counter() - began
        streams.synchronize()
        return elapsed / calls


def run(
    *,
    peers: Sequence[str] = ("torch",),
    gigabytes: float = 10.0,
    repeats: int = 30,
    corpus: str | Path | None = None,
    quick: bool = False,
    output: str | Path | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure, and compare with torch on the same arrays.

    Parameters
    ----------
    peers : sequence of str
        ``"torch"``, or none.
    gigabytes : float, default 10
        Of the table that bags are read from.
    repeats : int, default 30
        Calls of which the median is taken.
    corpus : path, optional
        Text to train word vectors on, on the CPU and on the GPU.
    quick : bool, default False
        Small tables: to see that it works.
    output : path, optional
        File for the results, JSON.
    log : callable, default print
        Called with a line for each measurement.

    Returns
    -------
    dict
        ``benchmark``, ``machine`` with the card's name, driver and bandwidth of a copy, ``settings``, and ``measures``:
        ``bags``, ``steps``, ``calls`` and, with a corpus, ``training``.

    Raises
    ------
    ImportError, RuntimeError
        If no GPU can be used: with the reason; or if torch is asked for and does not see the GPU.
        If a kind of measurement fails: the others are made all the same, and written to `output`.
    """
    backend.require_gpu()
    if "torch" in peers:
        _require_torch()
    size = Size(int(gigabytes * 1e9), 1_000_000, NUM_BAGS, 64, FLUSH_BYTES, COPY_BYTES)
    if quick:
        size, repeats = Size(1 << 16, 200, 4, 1, 1 << 12, 1 << 12), 1
    clock = Clock(size.flush_bytes, repeats, warmup=0 if quick else 2)
    copied = _copy_bandwidth(clock, size.copy_bytes)
    log(f"copy: {copied / 1e9:.0f} GB/s")
    measures: dict[str, Any] = {}
    results: dict[str, Any] = {
        "benchmark": "gpu",
        "machine": {**describe(), "gpu": backend.gpu_name(), "driver": _driver(), "copy_bytes_per_second": copied},
        "settings": {"gigabytes": gigabytes, "repeats": repeats, "dim": DIM, "length": LENGTH, "quick": quick},
        "measures": measures,
    }
    cases: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "calls": lambda: _calls(clock, size.call_bags, peers),
        "bags": lambda: (_bags(clock, size, peers, *case) for case in product((np.float32, np.float16), IDS)),
        "steps": lambda: (_step(clock, size, peers, name) for name in OPTIMIZERS),
    }
    if corpus is not None:
        cases["training"] = lambda: iter(compare(corpus, vector_size=DIM, log=log))
    failed: list[tuple[str, Exception]] = []
    for kind, measure in cases.items():
        measures[kind] = []
        try:
            for found in measure():
                measures[kind].append(found if kind == "training" else _logged(log, found))
        except Exception as error:  # the time on a card is dear: the others are measured all the same
            failed.append((kind, error))
            log(f"{kind}: {type(error).__name__}: {error}")
        if output is not None:  # what there is, in case the next ends the process
            with replacing(output) as file:
                file.write(json.dumps(results, indent=1).encode())
    if failed:
        raise RuntimeError(f"not all could be measured: {', '.join(kind for kind, _ in failed)}") from failed[0][1]
    return results


def _logged(log: Callable[[str], None], found: dict[str, Any]) -> dict[str, Any]:
    log(", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{value}" for name, value in found.items()))
    return found


def _require_torch() -> None:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("peers has torch, but torch does not see a GPU: install its build for CUDA, or leave it out")


def _driver() -> str:
    from numba import cuda

    return "none" if streams.is_simulated() else ".".join(map(str, cuda.cudadrv.driver.driver.get_version()))


def _copy_bandwidth(clock: Clock, size: int) -> float:
    """Return the bytes a second that a copy of an array in the GPU's memory reads and writes."""
    source, target = device.zeros((size // 4, 1), np.float32), device.empty((size // 4, 1), np.float32)
    return 2 * source.nbytes / clock.seconds(lambda: target.made.copy_to_device(source.made))


def _indices(num_rows: int, count: int, ids: str, seed: int) -> np.ndarray:
    """Return indices, uniform or by Zipf's law with the frequent rows anywhere in the table."""
    random = np.random.default_rng(seed)
    if ids == "uniform":
        return random.integers(0, num_rows, count)
    # The inverse of the cumulative sum, by its integral: a table of many million rows would take too long to sum.
    tail = num_rows ** (1 - ZIPF_EXPONENT) - 1
    ranks = np.minimum((1 + random.random(count) * tail) ** (1 / (1 - ZIPF_EXPONENT)), num_rows).astype(np.int64) - 1
    return (ranks * 0x9E3779B1 + 12345) % num_rows


def _bags(clock: Clock, size: Size, peers: Sequence[str], dtype: Any, ids: str) -> dict[str, Any]:
    """Sum bags of a table too large for any cache."""
    item = np.dtype(dtype).itemsize
    num_rows = max(1, size.table_bytes // (DIM * item))
    block = np.random.default_rng(0).standard_normal((min(BLOCK_ROWS, num_rows), DIM)).astype(dtype)
    table = device.empty((num_rows, DIM), dtype)
    for first in range(0, num_rows, len(block)):
        part = block[: num_rows - first]
        table.rows(slice(first, first + len(part))).fill_from(part)
    given = _indices(num_rows, size.num_bags * LENGTH, ids, seed=1)
    indices, offsets = device.upload(given), device.upload(np.arange(size.num_bags) * LENGTH)

    def ours() -> Any:
        return functional.embedding_bag(indices, table, offsets, mode="sum")

    wanted = block[given[: 4 * LENGTH] % len(block)].astype(np.float64).reshape(4, LENGTH, DIM).sum(axis=1)
    np.testing.assert_allclose(ours()[:4], wanted, rtol=1e-2 if item == 2 else 1e-5, atol=2e-2 if item == 2 else 1e-4)
    moved = (len(given) + size.num_bags) * DIM * item + given.nbytes
    with faults.deferred_errors():
        found = {"case": f"bags, {np.dtype(dtype).name}, {ids}", **_timed(clock, "fastemb", ours)}
        if "torch" in peers:
            import torch

            weight, places, starts = (torch.as_tensor(array, device="cuda") for array in (table, indices, offsets))
            found |= _timed(
                clock, "torch", lambda: torch.nn.functional.embedding_bag(places, weight, starts, mode="sum")
            )
    return {**found, "bytes": float(moved)}


def _timed(clock: Clock, name: str, call: Callable[[], object]) -> dict[str, float]:
    return {f"{name} warm": clock.seconds(call), f"{name} cold": clock.seconds(call, cold=True)}


def _step(clock: Clock, size: Size, peers: Sequence[str], name: str) -> dict[str, Any]:
    """Train a table: forward, backward and update."""
    make, theirs, state_rows = OPTIMIZERS[name]
    num_bags = max(1, size.num_bags // 8)
    given = _indices(size.step_rows, num_bags * LENGTH, "uniform", seed=2)
    indices, offsets = device.upload(given), device.upload(np.arange(num_bags) * LENGTH)
    gradient = device.upload(np.random.default_rng(3).standard_normal((num_bags, DIM)).astype(np.float32))
    layer = EmbeddingBag(size.step_rows, DIM, mode="sum", optimizer=make(), device="cuda")

    def ours() -> None:
        layer(indices, offsets)
        layer.backward(gradient)

    with faults.deferred_errors():
        found = {"case": f"step, {name}", **_timed(clock, "fastemb", ours)}
        if "torch" in peers and theirs is not None:
            found |= _timed(clock, "torch", _torch_step(size.step_rows, theirs, indices, offsets, gradient))
    num_distinct = len(np.unique(given))
    rows = 2 * len(given) + 2 * num_bags + 2 * (1 + state_rows) * num_distinct
    return {**found, "bytes": float(4 * DIM * rows)}


def _torch_step(num_rows: int, optimizer: str, *arrays: device.DeviceArray) -> Callable[[], None]:
    import torch

    indices, offsets, gradient = (torch.as_tensor(array, device="cuda") for array in arrays)
    module = torch.nn.EmbeddingBag(num_rows, DIM, mode="sum", sparse=True, device="cuda")
    stepper = getattr(torch.optim, optimizer)(module.parameters(), lr=0.01)

    def step() -> None:
        stepper.zero_grad()
        module(indices, offsets).backward(gradient)
        stepper.step()

    return step


def _calls(clock: Clock, num_bags: int, peers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Time calls on little work: on fastemb's arrays, and on torch's."""
    table = device.upload(np.random.default_rng(0).standard_normal((10_000, 64)).astype(np.float32))
    indices = device.upload(_indices(10_000, num_bags * LENGTH, "uniform", seed=1))
    offsets = device.upload(np.arange(num_bags) * LENGTH)

    def ours(*arrays: Any) -> Callable[[], object]:
        places, weight, starts = arrays
        return lambda: functional.embedding_bag(places, weight, starts, mode="sum")

    with faults.deferred_errors():
        held = {"case": "a small call, fastemb's arrays"}
        yield {**held, "fastemb": clock.call_seconds(ours(indices, table, offsets))}
        if "torch" in peers:
            import torch

            places, weight, starts = (torch.as_tensor(array, device="cuda") for array in (indices, table, offsets))
            other = {"fastemb": clock.call_seconds(ours(places, weight, starts))}
            other["torch"] = clock.call_seconds(
                lambda: torch.nn.functional.embedding_bag(places, weight, starts, mode="sum")
            )
            yield {"case": "a small call, torch's arrays", **other}
