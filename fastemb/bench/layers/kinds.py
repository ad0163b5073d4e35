"""All kinds of measurement by name."""

from collections.abc import Callable, Iterator

from fastemb.bench.layers.backward import backward
from fastemb.bench.layers.collection import collection
from fastemb.bench.layers.comparison import Comparison
from fastemb.bench.layers.forward import bags, limit, lookup, low_precision, off_path, small
from fastemb.bench.layers.loop import torch_loop
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.steps import step_kind

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
