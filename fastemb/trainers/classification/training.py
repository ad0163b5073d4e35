"""The classifier's training loop: epochs, threads, the learning rate and the kernel that they drive."""

import math
import queue
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import is_cached, kernels, simd_width
from fastemb.engine.parallel import ordered_map
from fastemb.engine.sampling import noise_table
from fastemb.trainers.classification.features import Bags
from fastemb.trainers.classification.model import LOSSES, Model
from fastemb.trainers.schedule import Monitor, Rate, sentence_ranges

__all__ = ["Training"]

# A thread trains a range of some milliseconds before it asks for more: so many multiply-adds at most, and few enough
# lines that all threads get several ranges.
RANGE_WORK = 100_000_000
RANGES_PER_WORKER = 8
# What a thread learns of its private rows is added to the shared tables after at most STALENESS / workers lines.
STALENESS = 64
PRIVATE_BYTES = 1 << 18  # of the private rows of a thread: they should stay in its cache
PRIVATE_WORDS = 64  # input rows of the most frequent words among them
NOISE_EXPONENT = 0.5
CHECKED_ROWS = 1 << 14  # that are looked at together


class Task(NamedTuple):
    """A range of lines, and what differs from range to range."""

    start: int
    stop: int
    order: NDArray[np.int64]
    places: NDArray[np.int64]
    alpha: float
    slope: float
    seed: np.uint64


Step = Callable[[Task], tuple[Task, NDArray[np.float64]]]


@dataclass
class Training:
    """A model and the loop that trains it.

    Parameters
    ----------
    model : Model
        Its tables are trained in place.
    bags : Bags
        Lines with labels.
    tokens : int64 (num_lines,)
        Words and labels of each line: the learning rate falls with them.
    lr, epochs, negative, shuffle, seed
        As for `FastTextClassifier`.
    workers : int
        Threads.
    """

    model: Model
    bags: Bags
    tokens: NDArray[np.int64]
    lr: float
    epochs: int
    negative: int
    shuffle: bool
    seed: int
    workers: int

    def run(self, monitor: Monitor) -> Iterator[float]:
        """Train, and yield the mean loss of a line after each epoch.

        Raises
        ------
        FloatingPointError
            If the loss or the tables are no longer finite.
        """
        model, step = self.model, self._step(monitor)
        lines = np.flatnonzero((np.diff(self.bags.offsets) > 0) & (np.diff(self.bags.label_offsets) > 0))
        num_tokens = int(self.tokens[lines].sum())
        rate = Rate(self.lr, 0.0, self.epochs, num_tokens)
        monitor.begin("training", num_tokens * self.epochs, self.epochs, self.lr)
        for epoch in range(self.epochs):
            monitor.begin_epoch()
            monitor.call("on_epoch_begin")
            first, slope = rate.line(epoch)
            seed = kernels("reference", "random").random_u64(self.seed, epoch)
            order = self._shuffled(lines, epoch)
            places = np.zeros(len(order) + 1, np.int64)
            np.cumsum(self.tokens[order], out=places[1:])
            work = (
                Task(start, stop, order, places, first, slope, seed)
                for start, stop in sentence_ranges(places, self._range_size(num_tokens, len(lines)))
            )
            # Closed here and now, also after Ctrl-C: no thread may train on when the caller goes on.
            with closing(ordered_map(step, work, self.workers)) as done_tasks:
                for task, result in done_tasks:
                    done = int(places[task.stop])
                    self._check(epoch, result)
                    monitor.add_loss(result[0], result[1])
                    monitor.report(epoch * num_tokens + done, epoch, first + slope * done)
            self._check(epoch, model.weight_out)
            yield monitor.loss
        self._check_inputs()  # only now: they may be many, and what is wrong in them spreads to the outputs
        monitor.report(num_tokens * self.epochs, self.epochs - 1, 0.0, force=True)

    def _shuffled(self, lines: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return lines
        return np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(lines)

    def _step(self, monitor: Monitor) -> Step:
        """Return a compiled function that trains a range of lines."""
        module = kernels("cpu", "classify")
        model, bags, tree, table = self.model, self.bags, self.model.tree, self.model.dense_rows
        counts = model.features.labels.counts
        assert counts is not None
        noise = noise_table(counts, NOISE_EXPONENT) if model.loss == "ns" else np.zeros((0, 2), np.uint32)
        num_outputs = max(model.num_labels, self.negative + 1)
        private_in, private_out = self._private_rows()
        publish_every = max(1, STALENESS // self.workers)
        free: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.workers):
            free.put(module.allocate_scratch(table.shape[1], num_outputs, private_in + private_out))

        def step(task: Task) -> tuple[Task, NDArray[np.float64]]:
            result = np.zeros(2)
            scratch = free.get()
            try:
                module.classify_train(
                    bags.features, bags.offsets, bags.labels, bags.label_offsets, task.order, task.places, task.start,
                    task.stop, table, model.weight_out, LOSSES.index(model.loss), *tree, noise, self.negative,
                    task.alpha, task.slope, task.seed, result, scratch, private_in, private_out, publish_every,
                    simd_width(),
                )  # fmt: skip
            finally:
                free.put(scratch)
            return task, result

        if not is_cached(module.classify_train):
            monitor.begin("compiling")
        step(Task(0, 0, np.zeros(0, np.int64), np.zeros(1, np.int64), 0.0, 0.0, np.uint64(0)))
        return step

    def _private_rows(self) -> tuple[int, int]:
        """Return how many input and output rows each thread keeps to itself."""
        if self.workers == 1:
            return 0, 0
        rows = PRIVATE_BYTES // (4 * self.model.dense_rows.shape[1])
        private_out = min(self.model.num_labels, rows)
        return min(len(self.model.features.words), PRIVATE_WORDS, rows - private_out), private_out

    def _range_size(self, num_tokens: int, num_lines: int) -> int:
        """Return the tokens of a range."""
        outputs = self.model.num_labels if self.model.loss in ("softmax", "ova") else self.negative + 1
        work_per_line = (3 * outputs + 2 * len(self.bags.features) // max(1, len(self.bags))) * self.model.vector_size
        lines = max(1, min(RANGE_WORK // work_per_line, num_lines // (RANGES_PER_WORKER * self.workers)))
        return max(1, lines * num_tokens // max(1, num_lines))

    def _check_inputs(self) -> None:
        table = self.model.dense_rows
        rows = self.bags.used_rows(len(table))
        for first in range(0, len(rows), CHECKED_ROWS):
            self._check(self.epochs - 1, table[rows[first : first + CHECKED_ROWS]])

    def _check(self, epoch: int, values: NDArray) -> None:
        if not (math.isfinite(values.min()) and math.isfinite(values.max())):
            raise FloatingPointError(
                f"training met a value that is not finite in epoch {epoch + 1}, at lr={self.lr:g}; try a lower lr"
            )
