"""All kinds of measurement by name."""

from collections.abc import Callable, Iterator
from typing import Any

from fastemb.bench.layers.backward import backward
from fastemb.bench.layers.collection import collection
from fastemb.bench.layers.comparison import Comparison
from fastemb.bench.layers.forward import bags, limit, lookup, low_precision, off_path, small
from fastemb.bench.layers.loop import torch_loop
from fastemb.bench.layers.memory import memory
from fastemb.bench.layers.needs import torch
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.steps import step_kind
from fastemb.bench.layers.summary import describe_case

COMPARISONS: dict[str, Callable[[Setup], Iterator[Comparison]]] = {
    "bags": bags,
    "off-path": off_path,
    "lookup": lookup,
    "small": small,
    "backward": backward,
    "step-sgd": step_kind("sgd"),
    "step-rowwise-adagrad": step_kind("rowwise-adagrad"),
    "step-adagrad": step_kind("adagrad"),
    "step-adam": step_kind("adam"),
    "low-precision": low_precision,
    "collection": collection,
    "torch-loop": torch_loop,
    "limit": limit,
}


def measure_kind(kind: str, setup: Setup, seconds: float) -> list[Any]:
    """Return what one kind gave: a record for each case, of which a line goes to the log.

    Examples
    --------
    >>> from fastemb.bench.layers.kinds import measure_kind
    >>> from fastemb.bench.layers.setup import Setup
    >>> len(measure_kind("small", Setup(quick=True, log=lambda line: None), 0.01))
    4
    """
    if kind == "memory":
        return memory(setup)
    found = []
    for comparison in COMPARISONS[kind](setup):
        found.append(comparison.measure(seconds))
        del comparison  # its tables, before the next ones are made
        setup.log(f"{kind}: {describe_case(found[-1])}")
    return found


def use_threads(threads: int) -> None:
    """Let torch, and FBGEMM with it, use so many threads.

    Examples
    --------
    >>> from fastemb.bench.layers.kinds import use_threads
    >>> use_threads(2)
    """
    torch.set_num_threads(threads)
