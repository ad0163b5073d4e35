"""How much memory a training step takes besides the table and the optimizer's state, by the size of the table."""

import ctypes
import re
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from fastemb.bench.layers import ours, torch_side
from fastemb.bench.layers.cases import ROWS, Case
from fastemb.bench.layers.comparison import OURS
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.work import Step, Work

OPTIMIZERS = ("sgd", "adagrad", "adam")
STEPS = 3
SLACK = 1_000_000
"""Bytes by which two steps may differ without a reason."""
Maker = Callable[[Work, str], Step]


class Allocated(TypedDict):
    """What a step of one side allocated, in bytes, at most at a time."""

    side: str
    optimizer: str
    num_embeddings: int
    bytes: int


def memory(setup: Setup, optimizers: Sequence[str] = OPTIMIZERS) -> list[Allocated]:
    """Return what a step allocates, of each side, optimizer and number of rows; the batch is always the same.

    The optimizer's state is made by the first steps, which are not counted.

    Parameters
    ----------
    setup : Setup
    optimizers : sequence of str, default all
        Of ``"sgd"``, ``"adagrad"`` and ``"adam"``.

    Raises
    ------
    RuntimeError
        If a step of fastemb allocates more for a larger table.

    Examples
    --------
    >>> from fastemb.bench.layers.memory import memory
    >>> from fastemb.bench.layers.setup import Setup
    >>> len(memory(Setup(quick=True, log=lambda line: None), optimizers=("sgd",)))
    6
    """
    makers: dict[str, Maker] = {
        OURS: ours.bag_step,
        "torch sparse": lambda work, optimizer: torch_side.bag_step(work, optimizer, sparse=True),
        "torch dense": lambda work, optimizer: torch_side.bag_step(work, optimizer, sparse=False),
    }
    found = []
    for num_embeddings in ROWS[:2] if setup.quick else ROWS:
        work = Work.of(setup.inputs, Case(num_embeddings, 64, bag_length=20, num_bags=256))
        for side, make in makers.items():
            for optimizer in optimizers:
                amount = allocated(make(work, optimizer).run)
                found.append(Allocated(side=side, optimizer=optimizer, num_embeddings=num_embeddings, bytes=amount))
                setup.log(f"memory: V={num_embeddings} {side} {optimizer}: {amount / 1e6:.2f} MB")
    _require_constant([each for each in found if each["side"] == OURS])
    return found


def _require_constant(found: list[Allocated]) -> None:
    for optimizer in {each["optimizer"] for each in found}:
        amounts = [each["bytes"] for each in found if each["optimizer"] == optimizer]
        if max(amounts) > 2 * min(amounts) + SLACK:
            raise RuntimeError(f"a step of {optimizer} allocates more for a larger table: {amounts} bytes")


def allocated(run: Callable[[], object]) -> int:
    """Return the most bytes that `run`, which has run before, has at a time.

    It is the larger of what Python's allocators count and, on Linux, of what the process' memory grows by; of a few
    runs the least, for in one of them something may have been compiled.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.bench.layers.memory import allocated
    >>> allocated(lambda: np.ones(1_000_000)) >= 8e6
    True
    """
    for _ in range(STEPS):
        run()
    return min(max(_counted(run), _growth(run)) for _ in range(STEPS))


def _counted(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _growth(run: Callable[[], object]) -> int:
    status, references = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None or not references.exists():
        return 0
    trim(0)  # gives back what is free, so that taking it again is seen
    try:
        references.write_text("5", encoding="ascii")  # resets the peak, VmHWM
    except OSError:
        return 0
    before = _field(status, "VmRSS")
    run()
    return max(0, _field(status, "VmHWM") - before)


def _field(status: Path, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
