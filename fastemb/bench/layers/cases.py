"""What is measured: sizes of tables and bags, the indices, and the tables themselves."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.memory import empty

T = TypeVar("T")

ROWS = (10_000, 100_000, 1_000_000)
WIDTHS = (16, 64, 100, 128, 256)
LENGTHS = (1, 20, 50)
IDS = ("uniform", "zipf")
ZIPF_EXPONENT = 1.05
SIZES = (250_000, 2_000_000, 16_000_000, 128_000_000, 1_000_000_000)
"""Bytes of rows that a call reads: from about 10 microseconds to 100 milliseconds."""
MOST_LOOKUPS = 4_000_000
MOST_BATCHES = 1000
MOST_OUTPUT = 64_000_000
"""Bytes of a result: a larger one would time the system's pages, and nothing else."""
SMALL_BAGS = (1, 8, 64)


@dataclass(frozen=True)
class Case:
    """One size of work.

    Attributes
    ----------
    num_embeddings, embedding_dim
        The table's shape.
    bag_length, num_bags
        How many lookups a bag has, and how many bags a call.
    ids
        How the indices are drawn: ``"uniform"`` or ``"zipf"`` (exponent 1.05, the frequent rows anywhere in the table).
    variant
        What else a kind tells its cases apart by, such as the mode of its bags.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import Case
    >>> Case(1000, 16, bag_length=5, num_bags=4).num_lookups
    20
    """

    num_embeddings: int
    embedding_dim: int
    bag_length: int = 1
    num_bags: int = 64
    ids: str = "uniform"
    variant: str = ""

    @property
    def num_lookups(self) -> int:
        """How many rows a call reads."""
        return self.bag_length * self.num_bags

    @property
    def row_bytes(self) -> int:
        """Bytes of the rows that a call reads, in float32."""
        return 4 * self.embedding_dim * self.num_lookups

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        text = f"V={self.num_embeddings} D={self.embedding_dim} L={self.bag_length} B={self.num_bags} {self.ids}"
        return f"{text} {self.variant}".rstrip()


def sweep(
    sizes: Sequence[int] = SIZES,
    *,
    variants: Sequence[str] = ("",),
    per_table: int = 6,
    rows: Sequence[int] = ROWS,
    widths: Sequence[int] = WIDTHS,
    lengths: Sequence[int] = LENGTHS,
    quick: bool = False,
) -> list[Case]:
    """Return the cases of a kind, ordered so that each table has to be made once.

    Every table (rows and width) meets `per_table` of the pairs of bag length and kind of indices; sizes and variants
    are dealt to them as from a shuffled deck, so that each comes equally often. The draw is always the same.

    Parameters
    ----------
    sizes
        Bytes of rows that a call reads; the number of bags follows.
    variants
        Each case gets one of them.
    per_table
        At most the number of pairs; fewer make the sweep shorter.
    rows, widths, lengths
        Tables' sizes and bags' lengths.
    quick
        One small case for each variant.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import sweep
    >>> len(sweep()), len(sweep(per_table=2)), len(sweep(variants=("sum", "mean"), quick=True))
    (90, 30, 2)
    """
    if quick:
        return [Case(min(rows), 64, max(lengths), 32, "zipf", variant) for variant in variants]
    generator = random.Random(0)
    draw = _deck(list(product(sizes, variants)), generator)
    found = []
    for num_embeddings, width in product(rows, widths):
        pairs = list(product(lengths, IDS))
        for length, ids in generator.sample(pairs, min(per_table, len(pairs))):
            size, variant = draw()
            lookups = min(size // (4 * width), MOST_LOOKUPS, length * MOST_OUTPUT // (4 * width))
            found.append(Case(num_embeddings, width, length, max(1, lookups // length), ids, variant))
    return found


def small_cases(variants: Sequence[str], quick: bool = False) -> list[Case]:
    """Return cases of up to 64 bags.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import small_cases
    >>> max(case.num_bags for case in small_cases(["sum"]))
    64
    """
    if quick:
        return [Case(min(ROWS), 64, 20, 8, "uniform", variant) for variant in variants]
    draw = _deck(list(product(IDS, variants)), random.Random(0))
    cases = []
    for rows, width, length, bags in product(ROWS[:2], WIDTHS, LENGTHS, SMALL_BAGS):
        ids, variant = draw()
        cases.append(Case(rows, width, length, bags, ids, variant))
    return cases


def _deck(cards: list[Any], generator: random.Random) -> Any:
    """Return a function that deals `cards` in a random order, all of them before one comes again."""
    left: list[Any] = []

    def draw() -> Any:
        if not left:
            left.extend(generator.sample(cards, len(cards)))
        return left.pop()

    return draw


def in_turn(batches: Iterable[T]) -> Callable[[], T]:
    """Return a function that returns one of `batches` after the other, and then the first one again.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import in_turn
    >>> batch = in_turn("ab")
    >>> batch(), batch(), batch()
    ('a', 'b', 'a')
    """
    return cycle(batches).__next__


@dataclass
class Inputs:
    """Tables, indices and gradients, of which those made last are kept.

    Examples
    --------
    >>> from fastemb.bench.layers.cases import Case, Inputs
    >>> inputs = Inputs()
    >>> case = Case(1000, 16, bag_length=5, num_bags=4)
    >>> inputs.table(case).shape, len(inputs.batches(case)), inputs.offsets(case)
    ((1000, 16), 200, array([ 0,  5, 10, 15]))
    """

    seed: int = 0
    _tables: dict[Any, NDArray] = field(default_factory=dict)
    _pools: dict[Any, NDArray] = field(default_factory=dict)

    def table(self, case: Case, dtype: Any = np.float32) -> NDArray:
        """Return random normal numbers (V, D), float32 or float64; not to be written to."""
        key = (case.num_embeddings, case.embedding_dim, np.dtype(dtype))
        if key not in self._tables:
            self._tables.clear()
            generator = np.random.default_rng(self.seed)
            table = empty(key[:2], key[2])  # as torch's own tables are
            self._tables[key] = generator.standard_normal(dtype=dtype, out=table)
        return self._tables[key]

    def batches(self, case: Case) -> list[NDArray[np.int64]]:
        """Return the indices of several calls, each int64 (num_lookups,): enough for every row to come four times.

        A call that gets the same rows again and again would find all of them in a cache, however large the table.
        """
        key, size = (case.num_embeddings, case.ids), case.num_lookups
        count = max(1, min(4 * case.num_embeddings // size, MOST_LOOKUPS // size, MOST_BATCHES))
        if key not in self._pools or len(self._pools[key]) < count * size:
            self._pools[key] = _draw_ids(case.num_embeddings, case.ids, count * size, self.seed)
        return [self._pools[key][batch * size : (batch + 1) * size] for batch in range(count)]

    def offsets(self, case: Case, include_last: bool = False) -> NDArray[np.int64]:
        """Return where the bags begin, int64."""
        return np.arange(case.num_bags + include_last, dtype=np.int64) * case.bag_length

    def normal(self, *shape: int, dtype: Any = np.float32) -> NDArray:
        """Return random normal numbers, such as weights of samples."""
        return np.random.default_rng(self.seed + 1).standard_normal(shape, dtype=dtype)

    def gradient(self, *shape: int) -> NDArray[np.float32]:
        """Return numbers from 0.5 to 1.5: their sums do not cancel, so that rounding does not decide a step."""
        return np.random.default_rng(self.seed + 2).random(shape, dtype=np.float32) + np.float32(0.5)


def _draw_ids(rows: int, ids: str, size: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    if ids == "uniform":
        return generator.integers(0, rows, size)
    places = generator.permutation(rows)
    cumulative = np.cumsum(np.arange(1, rows + 1) ** -ZIPF_EXPONENT)
    ranks = np.searchsorted(cumulative, generator.random(size) * cumulative[-1], side="right")
    return places[ranks]
