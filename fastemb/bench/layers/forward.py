"""Kinds without a gradient: bags on and off torch's fast path, lookups, small work, short rows."""

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as torch_functional

from fastemb import functional
from fastemb.bench.layers.cases import SIZES, Case, small_cases, sweep
from fastemb.bench.layers.comparison import OURS, Comparison
from fastemb.bench.layers.read import reader
from fastemb.bench.layers.setup import Setup

FAST_PATH = ("sum", "mean", "weighted")
OFF_PATH = ("padding_idx sum", "padding_idx mean", "max", "float64 sum")
Sides = dict[str, Callable[[], Any]]


def bags(setup: Setup) -> Iterator[Comparison]:
    """Yield bags that torch computes with vector instructions.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import bags
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(bags(Setup(quick=True))).verify()
    """
    for case in sweep(variants=FAST_PATH, quick=setup.quick):
        yield Comparison(case, bag_sides(setup, case))


def off_path(setup: Setup) -> Iterator[Comparison]:
    """Yield bags that torch computes with a serial loop.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import off_path
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(off_path(Setup(quick=True))).verify()
    """
    for case in sweep(SIZES[:4], variants=OFF_PATH, quick=setup.quick):
        item = 8 if case.variant.startswith("float64") else 4
        yield Comparison(case, bag_sides(setup, case), bytes=case.num_lookups * case.embedding_dim * item)


def small(setup: Setup) -> Iterator[Comparison]:
    """Yield calls that take microseconds.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import small
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(small(Setup(quick=True))).verify()
    """
    for case in small_cases((*FAST_PATH, "lookup"), setup.quick):
        sides = lookup_sides(setup, case) if case.variant == "lookup" else bag_sides(setup, case)
        yield Comparison(case, sides)


def lookup(setup: Setup) -> Iterator[Comparison]:
    """Yield lookups, into an array that is given and into one that each side allocates.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import lookup
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(lookup(Setup(quick=True))).verify()
    """
    sizes = [size for size in SIZES if size <= 128_000_000]
    for case in sweep(sizes, variants=("out", "allocating"), lengths=(1,), quick=setup.quick):
        yield Comparison(case, lookup_sides(setup, case, into=case.variant == "out"))


def bag_sides(setup: Setup, case: Case) -> Sides:
    """Return fastemb's and torch's ``embedding_bag`` with the arguments that the case's variant asks for."""
    dtype = np.float64 if case.variant.startswith("float64") else np.float32
    table, indices, offsets = setup.inputs.table(case, dtype), setup.inputs.indices(case), setup.inputs.offsets(case)
    mode = next((mode for mode in ("mean", "max") if mode in case.variant), "sum")
    options: dict[str, Any] = {"mode": mode}
    if "padding_idx" in case.variant:
        options["padding_idx"] = int(indices[0])
    weights: dict[str, Any] = (
        {"per_sample_weights": setup.inputs.normal(len(indices))} if case.variant == "weighted" else {}
    )
    tensors: dict[str, Any] = {name: torch.from_numpy(values) for name, values in weights.items()}
    weight, ids, starts = map(torch.from_numpy, (table, indices, offsets))
    return {
        OURS: lambda: functional.embedding_bag(indices, table, offsets, **options, **weights),
        "torch": lambda: torch_functional.embedding_bag(ids, weight, starts, **options, **tensors),
    }


def lookup_sides(setup: Setup, case: Case, into: bool = False) -> Sides:
    """Return fastemb's and torch's ``embedding``, or lookups into arrays that are given."""
    table, indices = setup.inputs.table(case), setup.inputs.indices(case)
    weight, ids = torch.from_numpy(table), torch.from_numpy(indices)
    if not into:
        return {
            OURS: lambda: functional.embedding(indices, table),
            "torch": lambda: torch_functional.embedding(ids, weight),
        }
    ours, theirs = np.empty((len(indices), case.embedding_dim), np.float32), torch.empty(len(ids), case.embedding_dim)
    return {
        OURS: lambda: functional.embedding(indices, table, out=ours),
        "torch": lambda: torch.index_select(weight, 0, ids, out=theirs),
    }


def low_precision(setup: Setup) -> Iterator[Comparison]:
    """Yield bags of short rows from large tables, beside torch's bags of the same rows as float32.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import low_precision
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(low_precision(Setup(quick=True))).verify()
    """
    tables = {"rows": (100_000, 1_000_000), "widths": (64, 128, 256), "lengths": (20, 50)}
    variants = ("float16", "bfloat16")
    for case in sweep((16_000_000, 128_000_000), variants=variants, per_table=4, **tables, quick=setup.quick):
        yield _short_rows(setup, case)


def _short_rows(setup: Setup, case: Case) -> Comparison:
    table, indices, offsets = setup.inputs.table(case), setup.inputs.indices(case), setup.inputs.offsets(case)
    bag, restored, row_bytes = short_table(table, case.variant)
    weight, ids, starts = map(torch.from_numpy, (restored, indices, offsets))
    return Comparison(
        case,
        {
            OURS: lambda: bag(indices, offsets),
            "torch": lambda: torch_functional.embedding_bag(ids, weight, starts, mode="sum"),
        },
        tolerance={"float16": 1e-3, "bfloat16": 1e-2}.get(case.variant, 1e-5),
        bytes=case.num_lookups * row_bytes,
    )


def short_table(
    table: NDArray[np.float32], variant: str
) -> tuple[Callable[[NDArray, NDArray], Any], NDArray[np.float32], int]:
    """Return what sums bags of `table` kept as `variant`, the numbers that are kept, and the bytes of a row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.bench.layers.forward import short_table
    >>> bag, restored, row_bytes = short_table(np.array([[1.0, 2.0], [4.0, 8.0]], np.float32), "float16")
    >>> bag(np.array([0, 1]), np.array([0])), restored[1], row_bytes
    (array([[ 5., 10.]], dtype=float16), array([4., 8.], dtype=float32), 4)
    """
    short = torch.from_numpy(table).to(getattr(torch, variant))
    restored = short.float().numpy()
    kept = short.view(torch.uint16).numpy().view(ml_dtypes.bfloat16) if variant == "bfloat16" else short.numpy()
    return (
        lambda indices, offsets: functional.embedding_bag(indices, kept, offsets, mode="sum"),
        restored,
        kept.itemsize * kept.shape[1],
    )


def limit(setup: Setup) -> Iterator[Comparison]:
    """Yield large bags beside a read of the same rows that does nothing else.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import limit
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(limit(Setup(quick=True))).verify()
    """
    sizes = (128_000_000, 512_000_000)
    for case in sweep(sizes, per_table=2, rows=(100_000, 1_000_000), lengths=(20, 50), quick=setup.quick):
        table, indices = setup.inputs.table(case), setup.inputs.indices(case)
        sides = {**bag_sides(setup, case), "read": reader(table, indices, setup.threads)}
        yield Comparison(case, sides, unchecked=("read",))
