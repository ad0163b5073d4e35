"""Trying hyper-parameters of a classifier on texts that are read once."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastemb.engine import validate
from fastemb.trainers.classification.autotune import OutOfTime, Search, Trial, tuned
from fastemb.trainers.classification.features import Bags
from fastemb.trainers.classification.metrics import Metric
from fastemb.trainers.classification.quantizing import TooLarge
from fastemb.trainers.classification.text import Text
from fastemb.trainers.schedule import Monitor, Progress

if TYPE_CHECKING:
    from fastemb.trainers.classification.classifier import FastTextClassifier

__all__ = ["Tuner"]

SECONDS = 300.0


class _Deadline:
    """A callback that ends training when the time is up."""

    def __init__(self, end: float) -> None:
        self._end = end

    def on_progress(self, model: object, progress: Progress) -> None:
        """Look at the clock."""
        if time.monotonic() > self._end:
            raise OutOfTime


C = TypeVar("C", bound="FastTextClassifier")


class Tuner(Generic[C]):
    """What the trials of a search share.

    Parameters
    ----------
    kind : type
        `FastTextClassifier`.
    fixed : mapping of str
        Its arguments that are not searched.
    metric : Metric
    k : int
    callbacks : sequence of object
    model_size : int, optional
        Quantize each classifier so that its file has so many bytes at most.
    """

    def __init__(
        self,
        kind: type[C],
        fixed: Mapping[str, Any],
        metric: Metric,
        k: int,
        callbacks: Sequence[object],
        model_size: int | None = None,
    ) -> None:
        self._kind, self._fixed, self._metric = kind, dict(fixed), metric
        self._k = validate.integer("k", k, 1)
        self._callbacks = callbacks
        self._model_size = model_size
        self._best: C | None = None
        self._best_score = -math.inf

    def run(
        self, train: Any, validation: Any, seconds: float | None, trials: int | None, max_table_memory: int
    ) -> tuple[C, list[Trial], bool]:
        """Search; return the best classifier, all trials, and whether Ctrl-C ended the search."""
        if seconds is None and trials is None:
            seconds = SECONDS
        if seconds is not None:
            validate.real("seconds", seconds, 0, low_open=True)
        if trials is not None:
            validate.integer("trials", trials, 1)
        first = self._kind(**self._fixed)
        text, held_out = self._read(train, first), self._read(validation, first)
        end = math.inf if seconds is None else time.monotonic() + seconds
        search = Search(first.seed, self._fixed, max_table_memory // 4, self._model_size is not None)

        def evaluate(parameters: dict[str, Any]) -> float:
            return self._try(dict(parameters), text, held_out, _Deadline(end))

        done = tuned(search, evaluate, seconds, trials, self._tell)
        assert self._best is not None
        return self._best, *done

    def _read(self, source: Any, first: "FastTextClassifier") -> Text:
        X, y, file = (None, None, source) if isinstance(source, str | os.PathLike) else (*source, None)
        return first._read(X, y, file, Monitor(first, ()))

    def _try(self, parameters: dict[str, Any], train: Text, validation: Text, deadline: _Deadline) -> float:
        dsub = parameters.pop("dsub", 2)
        classifier = self._kind(**self._fixed, **parameters)
        monitor = Monitor(classifier, (deadline,))
        try:
            classifier._fit(train, monitor)
            if self._model_size is not None:
                classifier._fit_into(self._model_size, dsub, train, monitor)
        except (FloatingPointError, MemoryError, TooLarge):
            return math.nan
        model = classifier._trained
        bags: Bags = validation.bags(model.features, classifier._workers)
        score = self._metric.score(model, bags, min(self._k, model.num_labels))
        if score > self._best_score:
            self._best, self._best_score = classifier, score
        return score

    def _tell(self, trial: Trial, best: int) -> None:
        for callback in self._callbacks:
            method = getattr(callback, "on_trial_end", None)
            if method is not None:
                method(self._best, trial)
