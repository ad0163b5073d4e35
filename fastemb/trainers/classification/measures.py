"""How good predictions are: precision, recall and F1, in all and label by label."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Measure", "Report", "Tally"]


@dataclass(frozen=True)
class Measure:
    """How well labels were found.

    Attributes
    ----------
    true : int
        How often they should have been predicted.
    predicted : int
        How often they were.
    correct : int
        How often both.
    """

    true: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float:
        """The part of the predictions that is correct; NaN of none."""
        return self.correct / self.predicted if self.predicted else float("nan")

    @property
    def recall(self) -> float:
        """The part of the true labels that was found; NaN of none."""
        return self.correct / self.true if self.true else float("nan")

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; NaN where there is neither."""
        both = self.predicted + self.true
        return 2 * self.correct / both if both else float("nan")


@dataclass(frozen=True)
class Report:
    """What a test of a classifier gave.

    Attributes
    ----------
    num_texts : int
        Texts tested: those with a known label.
    total : Measure
        Over all texts and labels.
    labels : dict of label to Measure
    """

    num_texts: int
    total: Measure
    labels: Mapping[object, Measure] = field(repr=False)

    @property
    def precision(self) -> float:
        """The part of the predictions that is correct: fastText's ``P@k``."""
        return self.total.precision

    @property
    def recall(self) -> float:
        """The part of the true labels that was found: fastText's ``R@k``."""
        return self.total.recall

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return self.total.f1


class Tally:
    """Counts of true, predicted and correct labels.

    Parameters
    ----------
    num_labels : int

    Examples
    --------
    >>> tally = Tally(3)
    >>> tally.add(np.array([[0, 2], [1, -1]]), np.array([2, 0]), np.array([0, 1, 2]))
    >>> tally.total()
    Measure(true=2, predicted=3, correct=1)
    """

    def __init__(self, num_labels: int) -> None:
        self.num_texts = 0
        self._counts = np.zeros((3, num_labels), np.int64)

    def add(self, predicted: NDArray[np.int32], labels: NDArray[np.int32], offsets: NDArray[np.int64]) -> None:
        """Count the texts that have labels.

        Parameters
        ----------
        predicted : int32 (num_texts, k)
            -1 where there is no more prediction.
        labels, offsets
            Text `i` has ``labels[offsets[i]:offsets[i + 1]]``.
        """
        size = self._counts.shape[1]
        lengths = np.diff(offsets)
        has_labels = lengths > 0
        self.num_texts += int(has_labels.sum())
        kept = (predicted >= 0) & has_labels[:, None]
        texts, _ = np.nonzero(kept)
        guesses = predicted[kept].astype(np.int64)
        true = np.repeat(np.arange(len(lengths)), lengths) * size + labels
        is_correct = np.isin(texts * size + guesses, true)
        counted: list[NDArray] = [labels, guesses, guesses[is_correct]]
        for kind, found in enumerate(counted):
            self._counts[kind] += np.bincount(found, minlength=size)

    def total(self) -> Measure:
        """Return the measure over all labels."""
        return Measure(*self._counts.sum(axis=1).tolist())

    def of_label(self, label: int) -> Measure:
        """Return the measure of one label."""
        return Measure(*self._counts[:, label].tolist())

    def report(self, names: list[object]) -> Report:
        """Return everything, the labels under their names."""
        measures = {name: self.of_label(label) for label, name in enumerate(names)}
        return Report(self.num_texts, self.total(), measures)
