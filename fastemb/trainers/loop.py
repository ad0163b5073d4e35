"""The training loop of word vectors: epochs, threads, the learning rate and the kernel that they drive."""

import math
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.reader import Corpus
from fastemb.engine.backend import is_cached, kernels, simd_width
from fastemb.engine.huffman import huffman_paths
from fastemb.engine.parallel import ordered_map
from fastemb.engine.sampling import keep_probabilities, noise_table, sigmoid_table
from fastemb.engine.tuning import Tuner
from fastemb.trainers.arithmetic import Arithmetic
from fastemb.trainers.device_loop import BLOCK_IDS, DeviceTrainer, Text, row_uses, scattered_block
from fastemb.trainers.schedule import Monitor, Rate, longest_sentence, sentence_ranges, turns

__all__ = ["Loop", "Tables"]

# A thread trains a range of some milliseconds before it asks for more: so many multiply-adds of a pass over the rows at
# most, and few enough ids that all threads get several ranges.
RANGE_WORK = 170_000_000
SCATTERED_WORK = 50_000_000  # the same where ranges are trained in a random order: more of them, and better mixed
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
class Tables:
    """What is trained, in place: padded tables, see `tables.allocate_table`.

    Parameters
    ----------
    weight_in : float32 (number of rows, row length)
        A row for each word, and after them the rows of subwords.
    weight_out : float32 (num_words, row length), optional
        The words' output rows; None without negative sampling.
    weight_inner : float32 (num_words - 1, row length), optional
        The rows of the inner nodes; None without hierarchical softmax.
    subwords : (int32 (num_values,), int64 (num_words + 1,)), optional
        Values and offsets: the rows of `weight_in` whose mean is a word's input. None: its own row alone.
    rates : float32 (number of rows,), optional
        Factors on the learning rate of the rows of `weight_in`; 0 freezes a row.
    """

    weight_in: NDArray[np.float32]
    weight_out: NDArray[np.float32] | None
    weight_inner: NDArray[np.float32] | None = None
    subwords: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None
    rates: NDArray[np.float32] | None = None


@dataclass
class Loop:
    """Tables and hyper-parameters of skip-gram or CBOW, and the loop over epochs.

    Parameters
    ----------
    counts : int64 (num_words,)
        Occurrences of each word: for subsampling, for drawing negatives and for the tree.
    tables : Tables
    sg : bool
        Skip-gram rather than CBOW.
    cbow_mean, window, shrink_windows, negative, sample, ns_exponent, seed
        As for `Word2Vec`. `negative` is 0 where there is no `weight_out`.
    arithmetic : Arithmetic
    workers : int
        Threads.
    device : {"cpu", "cuda"}
    """

    counts: NDArray[np.int64]
    tables: Tables
    sg: bool
    cbow_mean: bool
    window: int
    shrink_windows: bool
    negative: int
    sample: float
    ns_exponent: float
    seed: int
    arithmetic: Arithmetic
    workers: int
    device: str = "cpu"

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
        mapped, tuner, on_device = self._way(corpus, monitor)
        num_ids = len(corpus.ids)
        rate = Rate(alpha, min_alpha, epochs, num_ids)
        words_per_id = corpus.num_words / num_ids
        ranges = list(sentence_ranges(corpus.offsets, self._range_size(num_ids)))
        monitor.begin("training", corpus.num_words * epochs, epochs, alpha)
        for epoch in range(epochs):
            monitor.begin_epoch()
            monitor.call("on_epoch_begin")
            first, slope = rate.line(epoch)
            seed = kernels("reference", "random").random_u64(self.seed, epochs_before + epoch)
            kept = done = 0
            work = self._work(corpus.offsets, ranges, epochs_before + epoch, Task(0, 0, first, slope, seed, 0), tuner)
            # Closed here and now, also after Ctrl-C: no thread may train on when the caller goes on.
            with on_device(), closing(mapped(work)) as done_tasks:
                for task, result, seconds in done_tasks:
                    size = int(corpus.offsets[task.stop]) - int(corpus.offsets[task.start])
                    tuner.record(task.num_private, size, seconds)
                    done += size
                    words = round((epoch * num_ids + done) * words_per_id)
                    self._check(result, epoch, words, alpha)
                    monitor.add_loss(result[0], result[1])
                    kept += int(result[2])
                    monitor.report(words, epoch, first + slope * done)
            self._check_tables(epoch, words, alpha)
            yield kept, monitor.loss
        monitor.report(corpus.num_words * epochs, epochs - 1, min_alpha, force=True)

    def _work(
        self, offsets: NDArray[np.int64], ranges: list[tuple[int, int]], epoch: int, like: Task, tuner: Tuner[int]
    ) -> Iterator[Task]:
        """Yield the ranges of an epoch, in the order that `arithmetic` tells.

        What a text treats of changes along it, and rows of n-grams are shared by words of all of it: measured, an
        epoch in the text's order is much worse than one in a random order.
        """
        places = turns(len(ranges), self.workers if self.arithmetic.order == "starts" else 1)
        if self.arithmetic.order == "random":
            places = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(places).tolist()
        done = 0
        for place in places:
            start, stop = ranges[place]
            first, last = int(offsets[start]), int(offsets[stop])
            # Kernels count the ids from the start of the text.
            alpha = like.alpha + like.slope * (done - first)
            yield like._replace(start=start, stop=stop, alpha=alpha, num_private=tuner.next_way())
            done += last - first

    def _way(self, corpus: Corpus, monitor: Monitor) -> tuple[Callable, Tuner[int], Callable]:
        """Return what maps tasks to results, what chooses their private rows, and what an epoch is trained in."""
        if self.device != "cuda":
            step, tuner = self._step(corpus, monitor)
            return partial(ordered_map, step, workers=self.workers), tuner, nullcontext
        monitor.begin("compiling")
        trainer = self._device_trainer(corpus)
        mapped = partial(trainer.map, corpus.ids, corpus.offsets)
        for _ in mapped([Task(0, 0, 0.0, 0.0, np.uint64(0), 0)]):
            pass
        return mapped, Tuner([0], phase=1), trainer.epoch

    def _device_trainer(self, corpus: Corpus) -> DeviceTrainer:
        offsets, size = corpus.offsets, self._range_size(len(corpus.ids))
        ranges = list(sentence_ranges(offsets, size))
        _, before, after = self._kernel(corpus)
        text, tables = Text(*before[5:]), before[:5]
        uses = row_uses(self.counts, text, self.ns_exponent, tables[2], tables[4] is not None)
        most_ids = max((int(offsets[stop] - offsets[start]) for start, stop in ranges), default=0)
        most_sentences = max((stop - start for start, stop in ranges), default=0)
        return DeviceTrainer("skipgram" if self.sg else "cbow", tables, text, after, uses, most_ids, most_sentences)

    def _step(self, corpus: Corpus, monitor: Monitor) -> tuple[Step, Tuner[int]]:
        """Return a compiled function that trains a range of sentences, and what chooses its private rows."""
        kernel, before, after = self._kernel(corpus)
        pairwise = self.arithmetic.pairwise
        most_private = 0 if pairwise or self.workers == 1 else min(PRIVATE_ROWS, len(self.counts))
        ids, offsets = corpus.ids, corpus.offsets  # the corpus may be closed while a thread is at work
        free: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.workers):
            free.put(
                kernels("cpu", "scratch").allocate_scratch(
                    self.tables.weight_in.shape[1], self.window, self.negative, longest_sentence(offsets), most_private
                )
            )
        staleness = max(1, STALENESS // self.workers)

        def step(task: Task) -> tuple[Task, NDArray[np.float64], float]:
            result = np.zeros(3)
            scratch = free.get()
            began = time.perf_counter()
            try:
                how: tuple = (result, scratch, simd_width())
                if not pairwise:
                    how = (staleness, result, scratch, task.num_private, staleness, simd_width())
                kernel(ids, offsets, task.start, task.stop, *before, task.alpha, task.slope, task.seed, *after, *how)
            finally:
                free.put(scratch)
            return task, result, time.perf_counter() - began

        if not is_cached(kernel):
            monitor.begin("compiling")
        step(Task(0, 0, 0.0, 0.0, np.uint64(0), 0))
        return step, Tuner(sorted({0, most_private}), phase=4 * self.workers)

    def _kernel(self, corpus: Corpus) -> tuple[Callable, tuple, tuple]:
        """Return the kernel and the arguments that stay the same, before the learning rate and after the seed."""
        how, tables, counts = self.arithmetic, self.tables, self.counts
        model = "skipgram" if self.sg else "cbow"
        kernel = getattr(kernels("cpu", model), f"{model}_pairwise" if how.pairwise else f"{model}_shared")
        none = np.zeros((0, tables.weight_in.shape[1]), np.float32)
        before = (
            tables.weight_in,
            none if tables.weight_out is None else tables.weight_out,
            tables.subwords,
            tables.rates,
            None if tables.weight_inner is None else (*huffman_paths(counts, how.code_is_label), tables.weight_inner),
            keep_probabilities(counts, self.sample, corpus.num_words if how.keep_share_of == "all" else None),
            noise_table(counts, self.ns_exponent) if self.negative else np.zeros((0, 2), np.uint32),
            self.window,
            self.shrink_windows,
            self.negative,
        )
        after: tuple = ()
        if not self.sg:
            divided = how.cbow_update == "corrected" if self.cbow_mean else how.divides_sum
            after = (self.cbow_mean, divided)
        if how.pairwise:
            after += (sigmoid_table(how.sigmoid_limit, how.sigmoid_size), how.rule)
        return kernel, before, after

    def _range_size(self, num_ids: int) -> int:
        """Return the ids of a range."""
        if self.device == "cuda":
            return scattered_block(num_ids) if self.arithmetic.order == "random" else BLOCK_IDS
        inputs = self.window if self.sg else 2
        outputs = self.negative + 1 + (16 if self.tables.weight_inner is not None else 0)
        work_per_id = inputs * outputs * self.tables.weight_in.shape[1]
        work = RANGE_WORK if self.arithmetic.order == "text" else SCATTERED_WORK
        return max(1, min(work // work_per_id, num_ids // (RANGES_PER_WORKER * self.workers)))

    def _check(self, result: NDArray[np.float64], epoch: int, words: int, alpha: float) -> None:
        if not math.isfinite(result[0]):
            raise _diverged(epoch, words, alpha)

    def _check_tables(self, epoch: int, words: int, alpha: float) -> None:
        for table in (self.tables.weight_in, self.tables.weight_out, self.tables.weight_inner):
            if table is not None and table.size and not (np.isfinite(table.min()) and np.isfinite(table.max())):
                raise _diverged(epoch, words, alpha)


def _diverged(epoch: int, words: int, alpha: float) -> FloatingPointError:
    return FloatingPointError(
        f"training met a value that is not finite in epoch {epoch + 1} after {words:,} words, at alpha={alpha:g}; "
        "try a lower alpha"
    )
