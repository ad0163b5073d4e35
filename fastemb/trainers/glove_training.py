"""GloVe's training loop: epochs, threads, and the kernel that they drive."""

import math
import queue
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from fastemb.engine.backend import is_cached, kernels, simd_width
from fastemb.engine.parallel import ordered_map
from fastemb.trainers.glove_blocks import Blocks, block_order, most_workers
from fastemb.trainers.glove_state import GloVeState
from fastemb.trainers.schedule import Monitor

__all__ = ["CLIP", "GloVeTraining"]

CLIP = 100.0  # the GloVe program's bound of a gradient
AHEAD = 8  # pairs whose rows are asked for ahead


@dataclass
class GloVeTraining:
    """The hyper-parameters of GloVe, and the loop over epochs.

    Parameters
    ----------
    state : GloVeState
        Trained in place.
    x_max, alpha, eta
        As for `GloVe`.
    seed : int
        Of the order of the blocks.
    workers : int
        Threads at most. What is learned does not depend on it: no two threads ever train the same row.
    """

    state: GloVeState
    x_max: float
    alpha: float
    eta: float
    seed: int
    workers: int

    def run(self, blocks: Blocks, epochs: int, monitor: Monitor) -> Iterator[float]:
        """Train, and yield the mean loss of a pair after each epoch.

        Parameters
        ----------
        blocks : Blocks
        epochs : int
        monitor : Monitor

        Raises
        ------
        FloatingPointError
            If the loss or the tables are no longer finite.
        """
        num_pairs, before = len(blocks.rows), self.state.epochs_trained
        workers = min(self.workers, most_workers(blocks.num_strata))
        step = self._step(blocks, workers, monitor)
        monitor.begin("training", num_pairs * epochs, epochs, self.eta, unit="pairs")
        for epoch in range(epochs):
            monitor.begin_epoch()
            monitor.call("on_epoch_begin")
            done = epoch * num_pairs
            order = block_order(blocks.num_strata, self.seed, before + epoch)
            # Closed here and now, also after Ctrl-C: no thread may train on when the caller goes on.
            with closing(ordered_map(step, order, workers)) as results:
                for pairs, loss in results:
                    done += pairs
                    if not math.isfinite(loss):
                        raise self._diverged(epoch, done)
                    monitor.add_loss(loss, pairs)
                    monitor.report(done, epoch, self.eta)
            self._check_tables(epoch, done)
            yield monitor.loss
        monitor.report(num_pairs * epochs, epochs - 1, self.eta, force=True)

    def _step(self, blocks: Blocks, workers: int, monitor: Monitor) -> Callable[[int], tuple[int, float]]:
        """Return a compiled function that trains a block, and returns its pairs and their loss."""
        module = kernels("cpu", "glove")
        state, starts = self.state, blocks.starts
        free: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(workers):
            free.put(module.allocate_scratch())

        def train(start: int, stop: int) -> tuple[int, float]:
            result = np.zeros(1)
            scratch = free.get()
            try:
                module.train(
                    blocks.rows, blocks.cols, blocks.counts, start, stop, state.word, state.context, self.x_max,
                    self.alpha, self.eta, CLIP, result, scratch, AHEAD, simd_width(),
                )  # fmt: skip
            finally:
                free.put(scratch)
            return stop - start, float(result[0])

        if not is_cached(module.train):
            monitor.begin("compiling")
        train(0, 0)
        return lambda block: train(int(starts[block]), int(starts[block + 1]))

    def _check_tables(self, epoch: int, done: int) -> None:
        for table in (self.state.word, self.state.context):
            if not (np.isfinite(table.min()) and np.isfinite(table.max())):
                raise self._diverged(epoch, done)

    def _diverged(self, epoch: int, done: int) -> FloatingPointError:
        return FloatingPointError(
            f"training met a value that is not finite in epoch {epoch + 1} after {done:,} pairs, at eta={self.eta:g}; "
            "try a lower eta"
        )
