"""What the layers must reach beside their peers: ratios of time, of each kind of measurement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """A ratio that cases of one kind must reach.

    Attributes
    ----------
    kind
        The kind of measurement.
    title
        A line of the table.
    peers
        Sides to compare with: where several, the fastest of them in each case.
    mean
        What the geometric mean of the cases must reach.
    worst
        What each case must reach; None where nothing is asked.
    where
        Fields that a case must have.

    Examples
    --------
    >>> from fastemb.bench.layers.targets import TARGETS
    >>> TARGETS[0].matches({"variant": "sum"})
    True
    """

    kind: str
    title: str
    peers: tuple[str, ...]
    mean: float | None
    worst: float | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, case: Mapping[str, Any]) -> bool:
        """Return whether `case` has the fields in `where`."""
        return all(case[name] == value for name, value in self.where.items())


def _bits(variant: str, mean: float) -> Target:
    return Target(
        "low-precision", f"bags from {variant} rows, torch's float32", ("torch",), mean, None, {"variant": variant}
    )


TARGETS = (
    Target("bags", "sum, mean and weighted bags, torch's fast path", ("torch",), 1.05, 0.95),
    Target("off-path", "bags with padding_idx, max, float64", ("torch",), 8, 1.5),
    Target("lookup", "lookup into `out`, torch.index_select", ("torch",), 1.2, None, {"variant": "out"}),
    Target("lookup", "lookup, F.embedding", ("torch",), 1.5, None, {"variant": "allocating"}),
    Target("small", "small work, up to 64 bags", ("torch",), 1.3),
    Target("backward", "scatter_add", ("torch", "torch index_add"), 2, None, {"variant": "scatter_add"}),
    Target("backward", "dense backward of a lookup", ("torch",), 2, None, {"variant": "embedding"}),
    Target("backward", "dense backward of bags", ("torch",), 2, None, {"variant": "bag"}),
    Target("step-sgd", "step, SGD, FBGEMM", ("fbgemm",), 2.5),
    Target("step-sgd", "step, SGD, the better of torch sparse and FBGEMM", ("torch sparse", "fbgemm"), 2.5),
    Target("step-rowwise-adagrad", "step, RowwiseAdagrad, FBGEMM", ("fbgemm",), 2.5),
    Target("step-adagrad", "step, Adagrad, the better of torch sparse and FBGEMM", ("torch sparse", "fbgemm"), 7),
    Target("step-adam", "step, Adam, SparseAdam", ("torch sparse",), 9),
    Target("step-adam", "step, Adam, dense Adam at V=10^6", ("torch dense",), 120, None, {"num_embeddings": 1_000_000}),
    _bits("float16", 1.6),
    _bits("bfloat16", 1.6),
    _bits("int8", 2.5),
    _bits("int4", 3.5),
    Target("collection", "26 tables, forward, 26 nn.EmbeddingBag", ("torch",), 2, None, {"variant": "forward"}),
    Target("collection", "26 tables, step, sparse Adagrad", ("torch",), 8, None, {"variant": "step"}),
    Target("torch-loop", "fastemb.torch.EmbeddingBag, best optimizer", ("torch sparse", "torch dense"), 4),
    Target("limit", "bandwidth of large bags, of a random-row read", ("read", "torch read"), None, 0.85),
)
