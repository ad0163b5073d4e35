"""What autotune makes as large as it can: F1, or a point of the curve of precision over recall."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fastemb.trainers.classification.features import Bags
from fastemb.trainers.classification.measures import Tally
from fastemb.trainers.classification.model import Model

__all__ = ["Metric"]

_CURVES = ("precisionAtRecall", "recallAtPrecision")


@dataclass(frozen=True)
class Metric:
    """A number that tells how good a model is.

    Parameters
    ----------
    kind : {"f1", "precisionAtRecall", "recallAtPrecision"}
    level : float
        What the other of precision and recall must reach.
    label : str, optional
        The one label that counts; default all.

    Examples
    --------
    >>> Metric.parse("precisionAtRecall:30:tea")
    Metric(kind='precisionAtRecall', level=0.3, label='tea')
    """

    kind: str
    level: float = 0.0
    label: str | None = None

    @classmethod
    def parse(cls, text: str, label_prefix: str = "__label__") -> Self:
        """Read fastText's notation: ``f1``, ``f1:label``, ``precisionAtRecall:30``, ``recallAtPrecision:30:label``.

        Raises
        ------
        ValueError
            If it is something else.
        """
        kind, *rest = text.split(":")
        level = 0.0
        try:
            if kind in _CURVES:
                level = float(rest.pop(0)) / 100
        except (IndexError, ValueError):
            kind = ""
        if kind not in ("f1", *_CURVES) or not 0 <= level <= 1 or rest == [""]:
            raise ValueError(
                f"metric must be f1, f1:label, or precisionAtRecall or recallAtPrecision with per cent and maybe a "
                f"label, such as precisionAtRecall:30:label, got {text!r}"
            )
        return cls(kind, level, ":".join(rest).removeprefix(label_prefix) if rest else None)

    def number(self, model: Model) -> int | None:
        """Return the number of the label, None for all labels.

        Raises
        ------
        ValueError
            If the model does not know it.
        """
        if self.label is None:
            return None
        known = model.features.label_numbers
        name = self.label.encode("utf-8", "surrogateescape")
        if name not in known:
            raise ValueError(f"metric's label {self.label!r} is none of the {len(known)} labels of the text")
        return known[name]

    def score(self, model: Model, bags: Bags, k: int) -> float:
        """Return how good the predictions for lines are; with "f1", the `k` most probable labels of each."""
        label = self.number(model)
        if self.kind == "f1":
            tally = Tally(model.num_labels)
            tally.add(model.best(bags, k, 0.0)[0], bags.labels, bags.label_offsets)
            found = (tally.total() if label is None else tally.of_label(label)).f1
            return 0.0 if np.isnan(found) else found
        has_labels = np.diff(bags.label_offsets) > 0
        truth = np.zeros((len(bags), model.num_labels), bool)
        truth[np.repeat(np.arange(len(bags)), np.diff(bags.label_offsets)), bags.labels] = True
        columns = slice(None) if label is None else [label]
        scores = model.scores(bags)[has_labels][:, columns].ravel()
        precision, recall = _curve(scores, truth[has_labels][:, columns].ravel())
        if self.kind == "precisionAtRecall":
            return float(np.max(precision[recall >= self.level], initial=0.0))
        return float(np.max(recall[precision >= self.level], initial=0.0))


def _curve(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Return precision and recall at every threshold that there is."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    correct = np.cumsum(truth[order])[ends]
    return correct / (ends + 1), correct / max(1, int(truth.sum()))
