"""The skip-gram training loop: epochs, threads, the learning rate and the kernel that they drive."""

import math
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.reader import Corpus
from fastemb.engine.backend import is_cached, kernels, simd_width
from fastemb.engine.parallel import ordered_map
from fastemb.engine.sampling import keep_probabilities, noise_table
from fastemb.engine.tuning import Tuner
from fastemb.trainers.schedule import Monitor, Rate, longest_sentence, sentence_ranges

__all__ = ["SkipGram"]

# A thread trains a range of some milliseconds before it asks for more: so many multiply-adds of a pass over the rows at
# most, and few enough ids that all threads get several ranges.
RANGE_WORK = 170_000_000
RANGES_PER_WORKER = 8
# What a thread learns of a row is added to the shared table after at most STALENESS / workers windows: measured, the
# quality falls when the product grows beyond 64.
STALENESS = 64
# Output rows of the most frequent words that a thread may keep to itself. Where the cores are far apart this keeps
# cache lines from travelling; where they share a cache it costs a little.
PRIVATE_ROWS = 1024


class Task(NamedTuple):
    """A range of sentences, and what differs from range to range."""

    start: int
    stop: int
    alpha: float
    slope: float
    seed: np.uint64
    num_private: int


Step = Callable[[Task], tuple[Task, NDArray[np.float64], float]]


@dataclass
class SkipGram:
    """Tables and hyper-parameters of a skip-gram model with negative sampling, and the loop over epochs.

    Parameters
    ----------
    counts : int64 (num_embeddings,)
        Occurrences of each word, for subsampling and for drawing negatives.
    weight_in, weight_out : float32 (num_embeddings, row length)
        Padded tables, see `tables.allocate_table`; trained in place.
    window, shrink_windows, negative, shared_negatives, sample, ns_exponent, seed
        As for `Word2Vec`.
    workers : int
        Threads.
    """

    counts: NDArray[np.int64]
    weight_in: NDArray[np.float32]
    weight_out: NDArray[np.float32]
    window: int
    shrink_windows: bool
    negative: int
    shared_negatives: bool
    sample: float
    ns_exponent: float
    seed: int
    workers: int

    def run(
        self, corpus: Corpus, epochs: int, alpha: float, min_alpha: float, epochs_before: int, monitor: Monitor
    ) -> Iterator[tuple[int, float]]:
        """Train, and yield the words kept and the mean loss after each epoch.

        Parameters
        ----------
        corpus : Corpus
        epochs : int
        alpha, min_alpha : float
            Learning rate at the start and at the end.
        epochs_before : int
            Epochs that the tables have been trained for; every epoch has random numbers of its own.
        monitor : Monitor

        Raises
        ------
        FloatingPointError
            If the loss or the tables are no longer finite.
        """
        self._keep = keep_probabilities(self.counts, self.sample)
        self._noise = noise_table(self.counts, self.ns_exponent)
        step, tuner = self._step(corpus, monitor)
        num_ids = len(corpus.ids)
        rate = Rate(alpha, min_alpha, epochs, num_ids)
        words_per_id = corpus.num_words / num_ids
        monitor.begin("training", corpus.num_words * epochs, epochs, alpha)
        for epoch in range(epochs):
            monitor.begin_epoch()
            monitor.call("on_epoch_begin")
            first, slope = rate.line(epoch)
            seed = kernels("reference", "random").random_u64(self.seed, epochs_before + epoch)
            kept = 0
            work = (
                Task(start, stop, first, slope, seed, tuner.next_way())
                for start, stop in sentence_ranges(corpus.offsets, self._range_size(num_ids))
            )
            # Closed here and now, also after Ctrl-C: no thread may train on when the caller goes on.
            with closing(ordered_map(step, work, self.workers)) as done_tasks:
                for task, result, seconds in done_tasks:
                    done = int(corpus.offsets[task.stop])
                    tuner.record(task.num_private, done - int(corpus.offsets[task.start]), seconds)
                    words = round((epoch * num_ids + done) * words_per_id)
                    self._check(result, epoch, words, alpha)
                    monitor.add_loss(result[0], result[1])
                    kept += int(result[2])
                    monitor.report(words, epoch, first + slope * done)
            self._check_tables(epoch, words, alpha)
            yield kept, monitor.loss
        monitor.report(corpus.num_words * epochs, epochs - 1, min_alpha, force=True)

    def _step(self, corpus: Corpus, monitor: Monitor) -> tuple[Step, Tuner[int]]:
        """Return a compiled function that trains a range of sentences, and what chooses its private rows."""
        module = kernels("cpu", "skipgram")
        kernel = module.skipgram_shared if self.shared_negatives else module.skipgram_pairwise
        most_private = min(PRIVATE_ROWS, len(self.counts)) if self.shared_negatives and self.workers > 1 else 0
        ids, offsets = corpus.ids, corpus.offsets  # the corpus may be closed while a thread is at work
        free: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.workers):
            free.put(
                module.allocate_scratch(
                    self.weight_in.shape[1], self.window, self.negative, longest_sentence(offsets), most_private
                )
            )
        staleness = max(1, STALENESS // self.workers)

        def step(task: Task) -> tuple[Task, NDArray[np.float64], float]:
            result = np.zeros(3)
            scratch = free.get()
            began = time.perf_counter()
            try:
                how: tuple = (result, scratch, simd_width())
                if self.shared_negatives:
                    how = (staleness, result, scratch, task.num_private, staleness, simd_width())
                kernel(
                    ids, offsets, task.start, task.stop, self.weight_in, self.weight_out, self._keep,
                    self._noise, self.window, self.shrink_windows, self.negative, task.alpha, task.slope, task.seed,
                    *how,
                )  # fmt: skip
            finally:
                free.put(scratch)
            return task, result, time.perf_counter() - began

        if not is_cached(kernel):
            monitor.begin("compiling")
        step(Task(0, 0, 0.0, 0.0, np.uint64(0), 0))
        return step, Tuner(sorted({0, most_private}), phase=4 * self.workers)

    def _range_size(self, num_ids: int) -> int:
        """Return the ids of a range."""
        work_per_id = self.window * (self.negative + 1) * self.weight_in.shape[1]
        return max(1, min(RANGE_WORK // work_per_id, num_ids // (RANGES_PER_WORKER * self.workers)))

    def _check(self, result: NDArray[np.float64], epoch: int, words: int, alpha: float) -> None:
        if not math.isfinite(result[0]):
            raise _diverged(epoch, words, alpha)

    def _check_tables(self, epoch: int, words: int, alpha: float) -> None:
        for table in (self.weight_in, self.weight_out):
            if not (np.isfinite(table.min()) and np.isfinite(table.max())):
                raise _diverged(epoch, words, alpha)


def _diverged(epoch: int, words: int, alpha: float) -> FloatingPointError:
    return FloatingPointError(
        f"training met a value that is not finite in epoch {epoch + 1} after {words:,} words, at alpha={alpha:g}; "
        "try a lower alpha"
    )
