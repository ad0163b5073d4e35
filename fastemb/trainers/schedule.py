"""What every trainer shares: ranges of sentences, the learning rate, progress, callbacks."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Monitor", "Progress", "Rate", "longest_sentence", "sentence_ranges", "turns"]

REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Progress:
    """What a callback's ``on_progress(model, progress)`` is told.

    Attributes
    ----------
    stage : {"scanning", "counting", "compiling", "training"}
        Counting is GloVe's, of which words occur near each other.
    epoch, epochs : int
        The epoch under way, from 0, and how many there are.
    words : int
        Words of the corpus done in this stage, over all epochs; where `unit` says so, something else.
    total_words : int or None
        Words that the stage will do; None where that is not known, as when a pipe is read.
    seconds : float
        Since the stage began.
    words_per_second : float
    loss : float
        Mean over the pairs trained so far in this epoch; NaN before the first.
    alpha : float
        Learning rate of the latest sentences.
    unit : str, default "words"
        What `words` counts: GloVe trains "pairs" of words.
    """

    stage: str
    epoch: int
    epochs: int
    words: int
    total_words: int | None
    seconds: float
    words_per_second: float
    loss: float
    alpha: float
    unit: str = "words"


@dataclass(frozen=True)
class Rate:
    """A learning rate that falls linearly over `epochs` passes through `num_ids` ids, from `alpha` to `min_alpha`.

    Examples
    --------
    >>> rate = Rate(alpha=0.05, min_alpha=0.01, epochs=2, num_ids=1000)
    >>> alpha, slope = rate.line(epoch=1)
    >>> round(alpha, 6), round(alpha + 1000 * slope, 6)
    (0.03, 0.01)
    """

    alpha: float
    min_alpha: float
    epochs: int
    num_ids: int

    def line(self, epoch: int) -> tuple[float, float]:
        """Return the rate at the first id of an epoch, and its change for each further id."""
        fall = (self.min_alpha - self.alpha) / self.epochs
        return self.alpha + fall * epoch, fall / max(1, self.num_ids)


def sentence_ranges(offsets: NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of sentences, in order, of about `size` ids each and at least one sentence.

    Examples
    --------
    >>> list(sentence_ranges(np.array([0, 4, 5, 9, 30]), size=5))
    [(0, 2), (2, 3), (3, 4)]
    """
    start, last = 0, len(offsets) - 1
    while start < last:
        stop = int(np.searchsorted(offsets, offsets[start] + size, side="right")) - 1
        stop = max(start + 1, stop)
        yield start, stop
        start = stop


def turns(number: int, readers: int) -> list[int]:
    """Return the numbers below `number` as readers that begin at as many places take turns to read them.

    Examples
    --------
    >>> turns(7, readers=2)
    [0, 4, 1, 5, 2, 6, 3]
    """
    step = -(-number // readers)
    return [place for first in range(step) for place in range(first, number, step)]


def longest_sentence(offsets: NDArray[np.int64]) -> int:
    """Return the ids of the longest sentence, in a bounded amount of memory; at least 1.

    Examples
    --------
    >>> longest_sentence(np.array([0, 4, 5, 9]))
    4
    """
    step = 1 << 20
    blocks = (np.diff(offsets[first : first + step + 1]) for first in range(0, len(offsets) - 1, step))
    return max((int(lengths.max()) for lengths in blocks), default=1)


class Monitor:
    """Tells callbacks, from the caller's thread, what a model's training is doing.

    Parameters
    ----------
    model : object
        Handed to every callback.
    callbacks : sequence of object
        Each with any of gensim's ``on_train_begin(model)``, ``on_epoch_begin(model)``, ``on_epoch_end(model)``,
        ``on_train_end(model)``, and ``on_progress(model, progress)``.
    """

    def __init__(self, model: object, callbacks: Sequence[object]) -> None:
        self._model = model
        self._callbacks = callbacks
        self._stage = ""
        self._began = self._reported = 0.0

    def call(self, event: str, *arguments: object) -> None:
        """Call the method `event` of every callback that has it."""
        for callback in self._callbacks:
            method: Callable[..., Any] | None = getattr(callback, event, None)
            if method is not None:
                method(self._model, *arguments)

    def begin(
        self,
        stage: str,
        total_words: int | None = None,
        epochs: int = 1,
        alpha: float = math.nan,
        unit: str = "words",
    ) -> None:
        """Start a stage and report it."""
        self._stage, self._total, self._epochs, self._unit = stage, total_words, epochs, unit
        self._began = time.perf_counter()
        self._loss_sum = self._pairs = 0.0
        self.report(0, 0, alpha, force=True)

    def begin_epoch(self) -> None:
        """Start the mean of a new epoch's loss."""
        self._loss_sum = self._pairs = 0.0

    def add_loss(self, loss_sum: float, pairs: float) -> None:
        """Count the loss of some pairs."""
        self._loss_sum += loss_sum
        self._pairs += pairs

    @property
    def loss_sum(self) -> float:
        """Sum of the loss of this epoch's pairs so far."""
        return float(self._loss_sum)

    @property
    def loss(self) -> float:
        """Mean loss of this epoch's pairs so far; NaN before the first."""
        return float(self._loss_sum / self._pairs) if self._pairs else math.nan

    def report(self, words: int, epoch: int, alpha: float, *, total: int | None = None, force: bool = False) -> None:
        """Tell the callbacks how far the stage is, a few times a second at most unless `force`."""
        now = time.perf_counter()
        if not force and now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        seconds = now - self._began
        speed = words / seconds if seconds > 0 else 0.0
        total = self._total if total is None else total
        progress = Progress(
            self._stage, epoch, self._epochs, words, total, seconds, speed, self.loss, alpha, self._unit
        )
        self.call("on_progress", progress)
