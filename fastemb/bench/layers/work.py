"""A training step to be done, and a side that does it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.bench.layers.cases import Case, Inputs
from fastemb.bench.layers.comparison import Comparison

RATE = 0.01
ADAGRAD_EPS = 1e-8
CHECKED_ROWS = 20_000
STEP_TOLERANCE = 1e-4
"""Of float32 sums of as many as 200,000 gradients in any order."""


@dataclass(frozen=True)
class Work:
    """What every side of a step is given.

    Attributes
    ----------
    case
        The size of the work.
    table
        The weights to begin with, float32 (num_embeddings, embedding_dim); each side trains a copy.
    batches
        Indices of one step after the other, each int64 (num_lookups,).
    offsets
        int64 (num_bags + 1,).
    gradient
        Of the bags, float32 (num_bags, embedding_dim).

    Examples
    --------
    >>> from fastemb.bench.layers.cases import Case, Inputs
    >>> from fastemb.bench.layers.work import Work
    >>> Work.of(Inputs(), Case(100, 16, bag_length=2, num_bags=3)).gradient.shape
    (3, 16)
    """

    case: Case
    table: NDArray[np.float32]
    batches: Sequence[NDArray[np.int64]]
    offsets: NDArray[np.int64]
    gradient: NDArray[np.float32]

    @classmethod
    def of(cls, inputs: Inputs, case: Case) -> "Work":
        """Draw the inputs of a case."""
        gradient = inputs.gradient(case.num_bags, case.embedding_dim)
        return cls(case, inputs.table(case), inputs.batches(case), inputs.offsets(case, include_last=True), gradient)

    def checked_rows(self) -> NDArray[np.int64]:
        """Return rows to compare after a step: some that were used, and some of which most were not."""
        used = np.unique(np.concatenate([self.batches[0], self.batches[-1]]))
        others = np.random.default_rng(0).integers(0, self.case.num_embeddings, 1000)
        return np.concatenate([used[:: len(used) // CHECKED_ROWS + 1], others])


class Step(NamedTuple):
    """A side: `run` does forward, backward and update, `rows` returns some rows of its table."""

    run: Callable[[], object]
    rows: Callable[[NDArray[np.int64]], object]


def compare_steps(work: Work, steps: Mapping[str, Step], unchecked: tuple[str, ...] = ()) -> Comparison:
    """Return the comparison of `steps`, which checks the tables after two steps: the second one uses what was kept.

    `unchecked` are sides that do something else, such as dense Adam, which also moves rows that were not used.
    """
    checked = work.checked_rows()

    def after_two(step: Step) -> Callable[[], object]:
        return lambda: (step.run(), step.run(), step.rows(checked))[-1]

    return Comparison(
        work.case,
        {name: step.run for name, step in steps.items()},
        results={name: after_two(step) for name, step in steps.items()},
        unchecked=unchecked,
        tolerance=STEP_TOLERANCE,
    )
