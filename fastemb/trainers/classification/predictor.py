"""What a trained classifier says about texts, in scikit-learn's terms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.spool import parse_size
from fastemb.engine import validate
from fastemb.engine.parallel import get_num_threads
from fastemb.formats.files import PathLike
from fastemb.trainers.classification.features import Bags
from fastemb.trainers.classification.measures import Report, Tally
from fastemb.trainers.classification.model import Model
from fastemb.trainers.classification.targets import as_list, restored
from fastemb.trainers.classification.text import Text, read_text
from fastemb.trainers.frozen_phrases import FrozenPhrases, frozen
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.schedule import Monitor
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["Predictor"]


class Predictor:
    """Base of the classifier: predictions of its model."""

    _estimator_type = "classifier"
    _model: Model | None
    _kind: str  # what the labels were, see `targets.KINDS`
    errors: str
    workers: int | None
    phrases: PhraseModel | Sequence[PhraseModel] | None
    max_memory: int | str | None

    def predict(self, X: Any, *, k: int | None = None, threshold: float = 0.0) -> Any:
        """Return the labels of texts.

        Parameters
        ----------
        X : list, array, Series or Arrow column of str
        k : int, optional
            Most labels a text; -1 for all. Default, one label a text, whatever its probability.
        threshold : float, default 0
            With `k`: leave out labels of a lower probability.

        Returns
        -------
        array (num_texts,), or list of lists
            The most probable label of each text; with `k`, a list of up to `k` labels of each, the best first.
        """
        if k is None and threshold == 0:
            return self._names[self._predict(X, 1, 0.0)[0][:, 0]]
        return [[label for label, _ in row] for row in self.top_labels(X, 1 if k is None else k, threshold)]

    def top_labels(self, X: Any, k: int = 1, threshold: float = 0.0) -> list[list[tuple[Any, float]]]:
        """Return the most probable labels of texts with their probabilities, the best first.

        Parameters
        ----------
        X : list, array, Series or Arrow column of str
        k : int, default 1
            Most labels a text; -1 for all.
        threshold : float, default 0
            Leave out labels of a lower probability.

        Returns
        -------
        list of list of (label, float)

        Examples
        --------
        >>> from fastemb import FastTextClassifier
        >>> classifier = FastTextClassifier(vector_size=4, workers=1).fit(["good", "bad"] * 50, [1, 0] * 50)
        >>> [label for label, _ in classifier.top_labels(["good"], k=2)[0]]
        [1, 0]
        """
        labels, probabilities = self._predict(X, k, threshold)
        names = self._names.tolist()
        return [
            [(names[label], p) for label, p in zip(*row, strict=True) if label >= 0]
            for row in zip(labels.tolist(), probabilities.tolist(), strict=True)
        ]

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probability of every label, float32 (num_texts, num_labels), in the order of `classes_`.

        With softmax and hierarchical softmax a text's probabilities sum to 1; with one-vs-all and negative sampling
        each is that of a label by itself.
        """
        return self._scores(X, raw=False)

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Return the logit of every label, (num_texts, num_labels), in the order of `classes_`.

        Of two classes only that of the second, as scikit-learn has it, its distance to the first: (num_texts,). With
        hierarchical softmax a logit is the logarithm of the probability.
        """
        scores = self._scores(X, raw=True)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the hidden vectors of texts, float32 (num_texts, vector_size)."""
        model = self._trained
        parts = model.map_texts(as_list("X", X), model.hidden, self.errors, self._workers, self._phrases)
        rows = [part[:, : model.vector_size] for part in parts]
        return np.concatenate(rows) if rows else np.zeros((0, model.vector_size), np.float32)

    def get_sentence_vector(self, text: str) -> NDArray[np.float32]:
        """Return the hidden vector of one text, float32 (vector_size,)."""
        return self.transform([text])[0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the part of the texts whose most probable label is (one of) the true ones."""
        rows = as_list("y", y)
        hits = [
            label in truth if isinstance(truth, list | tuple | set | frozenset | np.ndarray) else label == truth
            for label, truth in zip(self.predict(X), rows, strict=True)
        ]
        return float(np.average(hits, weights=sample_weight))

    def test(
        self, X: Any = None, y: Any = None, *, corpus_file: PathLike | None = None, k: int = 1, threshold: float = 0.0
    ) -> Report:
        """Measure precision and recall, in all and label by label, as fastText's ``test`` and ``test-label``.

        Parameters
        ----------
        X, y, corpus_file
            As for `fit`. Labels that the classifier does not know, and texts without another, are passed over.
        k, threshold
            As for `top_labels`.

        Returns
        -------
        Report
            With ``num_texts``, ``precision``, ``recall``, ``f1``, and a measure of each label in ``labels``.
        """
        model = self._trained
        k, threshold = self._check_best(k, threshold)
        text = self._read(X, y, corpus_file, Monitor(self, ()))
        bags = text.bags(model.features, self._workers)
        tally = Tally(model.num_labels)
        tally.add(model.best(bags, k, threshold)[0], bags.labels, bags.label_offsets)
        return tally.report(self._names.tolist())

    @property
    def classes_(self) -> NDArray:
        """The labels, in order."""
        return np.sort(self._names)

    @property
    def losses(self) -> list[float]:
        """Mean loss of a text in each epoch."""
        return self._trained.losses

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors, or of their codes once they are quantized."""
        return self._trained.nbytes

    @property
    def wv(self) -> KeyedVectors:
        """The words and their vectors, without their n-grams."""
        return KeyedVectors(self._trained.word_vectors(), self._trained.features.words)

    def __sklearn_is_fitted__(self) -> bool:
        return self._model is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(string=True, two_d_array=False),
        )

    @property
    def _trained(self) -> Model:
        if self._model is None:
            raise RuntimeError("the classifier is not trained yet: call fit first")
        return self._model

    @property
    def _names(self) -> NDArray:
        """The labels by their numbers."""
        return restored(self._trained.features.labels.words, self._kind)

    @property
    def _workers(self) -> int:
        return self.workers or get_num_threads()

    @property
    def _phrases(self) -> FrozenPhrases | None:
        return frozen(self.phrases)

    def _read(self, X: Any, y: Any, corpus_file: PathLike | None, monitor: Monitor) -> Text:
        """Read texts with labels."""
        budget = None if self.max_memory is None else parse_size(self.max_memory, "max_memory")
        return read_text(X, y, corpus_file, self.errors, self._workers, monitor, self._phrases, budget)

    def _predict(self, X: Any, k: int, threshold: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        model = self._trained
        k, threshold = self._check_best(k, threshold)

        def best(bags: Bags) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
            return model.best(bags, k, threshold)

        parts = list(model.map_texts(as_list("X", X), best, self.errors, self._workers, self._phrases))
        if not parts:
            return np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32)
        labels, probabilities = zip(*parts, strict=True)
        return np.concatenate(labels), np.concatenate(probabilities)

    def _check_best(self, k: int, threshold: float) -> tuple[int, float]:
        num_labels = self._trained.num_labels
        k = num_labels if k == -1 else min(validate.integer("k", k, 1), num_labels)
        return k, validate.real("threshold", threshold, 0, 1)

    def _scores(self, X: Any, raw: bool) -> NDArray[np.float32]:
        model = self._trained

        def scores(bags: Bags) -> NDArray[np.float32]:
            return model.scores(bags, raw)

        parts = list(model.map_texts(as_list("X", X), scores, self.errors, self._workers, self._phrases))
        order = np.argsort(self._names)
        return np.concatenate(parts)[:, order] if parts else np.zeros((0, len(order)), np.float32)
