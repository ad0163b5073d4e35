"""Kinds without a gradient: bags on and off torch's fast path, lookups, small work, short rows."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb import functional
from fastemb.bench.layers.cases import ROWS, SIZES, Case, in_turn, small_cases, sweep
from fastemb.bench.layers.comparison import OURS, Comparison
from fastemb.bench.layers.needs import torch
from fastemb.bench.layers.read import reader
from fastemb.bench.layers.setup import Setup
from fastemb.bench.layers.torch_side import tensors
from fastemb.layers.quantized import QuantizedEmbeddingBag

SHORT = ("float16", "bfloat16", "int8", "int4")
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
    table, batches, offsets = setup.inputs.table(case, dtype), setup.inputs.batches(case), setup.inputs.offsets(case)
    mode = next((mode for mode in ("mean", "max") if mode in case.variant), "sum")
    options: dict[str, Any] = {"mode": mode}
    if "padding_idx" in case.variant:
        options["padding_idx"] = int(batches[0][0])
    weights: dict[str, Any] = (
        {"per_sample_weights": setup.inputs.normal(case.num_lookups)} if case.variant == "weighted" else {}
    )
    factors: dict[str, Any] = {name: torch.from_numpy(values) for name, values in weights.items()}
    weight, starts = map(torch.from_numpy, (table, offsets))
    indices, ids = in_turn(batches), in_turn(tensors(batches))
    return {
        OURS: lambda: functional.embedding_bag(indices(), table, offsets, **options, **weights),
        "torch": lambda: torch.nn.functional.embedding_bag(ids(), weight, starts, **options, **factors),
    }


def lookup_sides(setup: Setup, case: Case, into: bool = False) -> Sides:
    """Return fastemb's and torch's ``embedding``, or lookups into arrays that are given."""
    table, batches = setup.inputs.table(case), setup.inputs.batches(case)
    weight, indices, ids = torch.from_numpy(table), in_turn(batches), in_turn(tensors(batches))
    if not into:
        return {
            OURS: lambda: functional.embedding(indices(), table),
            "torch": lambda: torch.nn.functional.embedding(ids(), weight),
        }
    shape = case.num_lookups, case.embedding_dim
    ours, theirs = np.empty(shape, np.float32), torch.empty(shape)
    return {
        OURS: lambda: functional.embedding(indices(), table, out=ours),
        "torch": lambda: torch.index_select(weight, 0, ids(), out=theirs),
    }


def low_precision(setup: Setup) -> Iterator[Comparison]:
    """Yield bags of short rows at random places of large tables, beside torch's bags of the same rows as float32.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import low_precision
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(low_precision(Setup(quick=True))).verify()
    """
    rows, size = (min(ROWS), 250_000) if setup.quick else (max(ROWS), 128_000_000)
    for width, variant, length in product((64, 100, 128, 256), SHORT, (20, 50)):
        if not setup.quick or (width, length) == (64, 20):
            yield _short_rows(setup, Case(rows, width, length, size // (4 * width * length), "uniform", variant))


def _short_rows(setup: Setup, case: Case) -> Comparison:
    table, batches, offsets = setup.inputs.table(case), setup.inputs.batches(case), setup.inputs.offsets(case)
    bag, restored, row_bytes = short_table(table, case.variant)
    weight, starts = map(torch.from_numpy, (restored, offsets))
    indices, ids = in_turn(batches), in_turn(tensors(batches))
    return Comparison(
        case,
        {
            OURS: lambda: bag(indices(), offsets),
            "torch": lambda: torch.nn.functional.embedding_bag(ids(), weight, starts, mode="sum"),
        },
        tolerance=1e-4,  # torch rounds a code times its scale before it adds the bias
        bytes=case.num_lookups * row_bytes,
    )


def short_table(
    table: NDArray[np.float32], variant: str
) -> tuple[Callable[[NDArray, NDArray], Any], NDArray[np.float32], int]:
    """Return what sums bags of `table` kept as `variant`, the numbers that torch says are kept, and a row's bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastemb.bench.layers.forward import short_table
    >>> bag, restored, row_bytes = short_table(np.array([[0.0, 15.0], [4.0, 19.0]], np.float32), "int4")
    >>> bag(np.array([0, 1]), np.array([0])), restored[1], row_bytes
    (array([[ 4., 34.]], dtype=float32), array([ 4., 19.], dtype=float32), 5)
    """
    if variant in ("int8", "int4"):
        bag = QuantizedEmbeddingBag.from_weight(table, bits=int(variant[3:]), mode="sum")
        packed = torch.from_numpy(bag.table)
        unpack = "embedding_bag_byte_unpack" if variant == "int8" else "embedding_bag_4bit_unpack"
        restored = getattr(torch.ops.quantized, unpack)(packed).numpy()
    else:
        bag = QuantizedEmbeddingBag.from_weight(table, dtype=variant, mode="sum")
        restored = torch.from_numpy(table).to(getattr(torch, variant)).float().numpy()
    return bag, restored, bag.table.shape[1] * bag.table.itemsize


def limit(setup: Setup) -> Iterator[Comparison]:
    """Yield large bags beside reads of the same rows that do nothing else: by a plain loop, and by torch as two bags.

    Examples
    --------
    >>> from fastemb.bench.layers.forward import limit
    >>> from fastemb.bench.layers.setup import Setup
    >>> next(limit(Setup(quick=True))).verify()
    """
    sizes = (128_000_000, 512_000_000)
    for case in sweep(sizes, per_table=2, rows=(100_000, 1_000_000), lengths=(20, 50), quick=setup.quick):
        yield Comparison(case, {**bag_sides(setup, case), **_readers(setup, case)}, unchecked=("read", "torch read"))


def _readers(setup: Setup, case: Case) -> Sides:
    table, batches = setup.inputs.table(case), setup.inputs.batches(case)
    weight, ids = torch.from_numpy(table), in_turn(tensors(batches))
    starts = torch.arange(setup.threads) * (case.num_lookups // setup.threads)
    return {
        "read": reader(table, batches, setup.threads),
        "torch read": lambda: torch.nn.functional.embedding_bag(ids(), weight, starts, mode="sum"),
    }
