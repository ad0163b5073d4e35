"""FastTextClassifier: text into classes, by the mean of its features' vectors and a linear layer."""

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.lines import Lines, read_lines
from fastemb.corpus.reader import ERRORS
from fastemb.corpus.subwords import MAX_BUCKET, Subwords
from fastemb.engine import validate
from fastemb.engine.parallel import MAX_THREADS
from fastemb.trainers.classification.features import Bags, Features
from fastemb.trainers.classification.measures import Report, Tally
from fastemb.trainers.classification.model import LOSSES, Model
from fastemb.trainers.classification.predictor import Predictor
from fastemb.trainers.classification.targets import Targets, as_list, read_targets
from fastemb.trainers.classification.training import Training
from fastemb.trainers.classification.vocabularies import count_words, with_words
from fastemb.trainers.estimator import Estimator
from fastemb.trainers.schedule import Monitor
from fastemb.trainers.tables import allocate_table, uniform_table
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["FastTextClassifier"]

PathLike = str | os.PathLike[str]

DEFAULT_SIZE = 100
MAX_VECTOR_SIZE = 1 << 16


class FastTextClassifier(Predictor, Estimator):
    """Puts texts into classes: fastText's supervised model, on all cores, with scikit-learn's interface.

    A text's hidden vector is the mean of the vectors of its words, and of their character n-grams and its word n-grams
    where these are asked for; a linear layer makes a score a label of it.

    Parameters
    ----------
    loss : {"softmax", "ova", "hs", "ns"}, default "softmax"
        Softmax: one of the labels is the right one. One-vs-all: each label is right or wrong by itself, for texts with
        any number of labels. Hierarchical softmax and negative sampling: for very many labels.
    vector_size : int, optional
        Numbers in a vector; default 100, or that of `pretrained_vectors`.
    lr : float, default 0.1
        Learning rate at the start; it falls linearly to 0.
    epochs : int, default 5
        Passes through the text.
    word_ngrams : int, default 1
        Most words of a word n-gram; with 2, pairs of neighbours are features, too.
    min_n, max_n : int, default 0
        Characters of the n-grams of a word (3 and 6, say); with `max_n` 0 there are none.
    bucket : int, default 2,000,000
        Rows of the table that n-grams share by their hash; there are none without n-grams.
    min_count : int, default 1
        Words that occur less often have no vector.
    min_count_label : int, default 0
        Labels that occur less often are left out.
    negative : int, default 5
        Labels drawn as counter-examples with ``loss="ns"``.
    pretrained_vectors : KeyedVectors or path, optional
        Vectors to start from. Their words are kept, also those that the text does not have.
    label_prefix : str, default "__label__"
        What tells a label from a word in a text. In texts to classify, such tokens are passed over.
    shuffle : bool, default True
        Train the texts of an epoch in a random order; False trains them as they stand, as fastText does.
    seed : int, default 1
        Of all random numbers. With one worker a run repeats bit for bit.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`.
    errors : str, default "strict"
        What to do with bytes that are not UTF-8, as in ``bytes.decode``.
    compat : {None, "fasttext"}, default None
        "fasttext" predicts with fastText's table of the sigmoid (with "ova" and "ns"), as models read from its files
        do.
    callbacks : sequence of object
        See `fastemb.trainers.schedule.Monitor`.

    Attributes
    ----------
    classes_ : array (num_labels,)
        The labels, in order, as they were given to `fit`.
    losses : list of float
        Mean loss of a text in each epoch.

    Notes
    -----
    Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification". Words stand between ASCII white space, and a
    word ``</s>`` ends every text, as in fastText.

    Examples
    --------
    >>> texts = ["a cup of tea", "a pot of tea", "the train is late", "a late bus"] * 20
    >>> classifier = FastTextClassifier(vector_size=8, epochs=10, lr=0.5, workers=1)
    >>> classifier.fit(texts, ["drink", "drink", "travel", "travel"] * 20).predict(["tea", "the late train"])
    array(['drink', 'travel'], dtype='<U6')
    """

    def __init__(
        self,
        *,
        loss: str = "softmax",
        vector_size: int | None = None,
        lr: float = 0.1,
        epochs: int = 5,
        word_ngrams: int = 1,
        min_n: int = 0,
        max_n: int = 0,
        bucket: int = 2_000_000,
        min_count: int = 1,
        min_count_label: int = 0,
        negative: int = 5,
        pretrained_vectors: KeyedVectors | PathLike | None = None,
        label_prefix: str = "__label__",
        shuffle: bool = True,
        seed: int = 1,
        workers: int | None = None,
        errors: str = "strict",
        compat: str | None = None,
        callbacks: Sequence[object] = (),
    ) -> None:
        self.loss = loss
        self.vector_size = vector_size
        self.lr = lr
        self.epochs = epochs
        self.word_ngrams = word_ngrams
        self.min_n = min_n
        self.max_n = max_n
        self.bucket = bucket
        self.min_count = min_count
        self.min_count_label = min_count_label
        self.negative = negative
        self.pretrained_vectors = pretrained_vectors
        self.label_prefix = label_prefix
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers
        self.errors = errors
        self.compat = compat
        self.callbacks = callbacks
        self._check()
        self._model: Model | None = None

    def fit(self, X: Any = None, y: Any = None, *, corpus_file: PathLike | None = None) -> Self:
        """Build the vocabularies and train from the start.

        Parameters
        ----------
        X : list, array, Series or Arrow column of str, optional
            Texts. Line ends in them are white space.
        y : list, array, Series or Arrow column, optional
            For each text a label, or a list of labels. Without, labels are the tokens of the texts that begin with
            `label_prefix`.
        corpus_file : path, optional
            Instead of `X` and `y`, a file (also ``.gz``, ``.bz2``, ``.xz``, ``.zst``, a folder, or ``"-"``) in
            fastText's form: a text a line, its labels anywhere in it, as ``__label__name``.

        Returns
        -------
        FastTextClassifier
            The classifier itself. After Ctrl-C (KeyboardInterrupt) it holds what was learnt until then.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of bounds, a text or a label is none (the message names its place), or no text has a
            label.
        FloatingPointError
            If training meets NaN or infinity, as with too large an `lr`.

        Warns
        -----
        UserWarning
            If texts have no label: they are left out.
        """
        self._check()
        monitor = Monitor(self, self.callbacks)
        lines, targets = self._read(X, y, corpus_file, monitor)
        model, bags = self._start(lines, targets)
        tokens = np.diff(lines.ends, prepend=0) + 1
        if targets is not None:
            tokens += np.diff(bags.label_offsets)
        self._train(model, bags, tokens, monitor)
        return self

    def _start(self, lines: Lines, targets: Targets | None) -> tuple[Model, Bags]:
        """Return a model with starting vectors, and the text as it reads it."""
        words, labels = count_words(lines, self.label_prefix, self.min_count, self.min_count_label)
        self._kind = "str" if targets is None else targets.kind
        if targets is not None:
            labels = targets.names
        vectors = self._pretrained()
        places = np.zeros(0, np.int64)
        if vectors is not None:
            words, places = with_words(words, vectors.vocabulary)
        size = self._size(vectors)
        uses_buckets = self.word_ngrams > 1 or self.max_n > 0
        subwords = Subwords(self.min_n, self.max_n, self.bucket if uses_buckets else 0)
        features = Features(words, subwords, self.word_ngrams, labels, self.label_prefix)
        bags = features.of_lines(lines, self._workers)
        if targets is not None:
            bags = Bags(bags.features, bags.offsets, targets.labels, targets.offsets)
        self._check_labels(lines, bags)
        weight_in = uniform_table(features.num_rows, size, self.seed, bound=1)
        if vectors is not None:
            weight_in[places, :size] = vectors.vectors
        table = self.compat == "fasttext"
        return Model(features, size, self.loss, weight_in, allocate_table(len(labels), size), table), bags

    def _train(self, model: Model, bags: Bags, tokens: NDArray[np.int64], monitor: Monitor) -> None:
        self._model = model
        loop = Training(
            model, bags, tokens, self.lr, self.epochs, self.negative, self.shuffle, self.seed, self._workers
        )  # fmt: skip
        monitor.call("on_train_begin")
        for loss in loop.run(monitor):
            model.losses.append(loss)
            monitor.call("on_epoch_end")
        monitor.call("on_train_end")

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
        lines, targets = self._read(X, y, corpus_file, Monitor(self, ()))
        bags = model.features.of_lines(lines, self._workers)
        if targets is not None:
            known = {name: number for number, name in enumerate(model.features.labels.words)}
            ids = np.array([known.get(name, -1) for name in targets.names.words], np.int32)[targets.labels]
            ends = np.concatenate([[0], np.cumsum(ids >= 0)])[targets.offsets]
            bags = Bags(bags.features, bags.offsets, ids[ids >= 0], ends)
        tally = Tally(model.num_labels)
        tally.add(model.best(bags, k, threshold)[0], bags.labels, bags.label_offsets)
        return tally.report(self._names.tolist())

    def _read(
        self, X: Any, y: Any, corpus_file: PathLike | None, monitor: Monitor
    ) -> tuple[Lines, Targets | None]:  # fmt: skip
        if (X is None) == (corpus_file is None):
            raise TypeError(f"one of X and corpus_file must be given, got {'neither' if X is None else 'both'}")
        if corpus_file is not None and y is not None:
            raise TypeError("y goes with X: corpus_file holds the labels")
        texts: str | list[str] = os.fspath(corpus_file) if corpus_file is not None else as_list("X", X)
        targets = None if y is None else read_targets(y, len(texts), self.min_count_label)
        monitor.begin("scanning")

        def progress(words: int, fraction: float | None) -> None:
            monitor.report(words, 0, math.nan, total=round(words / fraction) if fraction else None)

        lines = read_lines(texts, errors=self.errors, workers=self._workers, progress=progress)
        monitor.report(len(lines.numbers), 0, math.nan, total=len(lines.numbers), force=True)
        if not len(lines.numbers):
            raise ValueError("there are no texts" if corpus_file is None else f"{corpus_file} holds no words")
        return lines, targets

    def _check_labels(self, lines: Lines, bags: Bags) -> None:
        """Refuse a text without any label, and warn of lines without one."""
        has_words = np.diff(lines.ends, prepend=0) > 0
        missing = np.flatnonzero((np.diff(bags.label_offsets) == 0) & has_words)
        if not len(missing):
            return
        first = int(missing[0])
        start = lines.ends[first - 1] if first else 0
        words = [lines.words.words[number] for number in lines.numbers[start : min(start + 8, lines.ends[first])]]
        where = f"first in line {first + 1}: {' '.join(words)!r:.80}"
        if not len(bags.labels):
            raise ValueError(f"no text has a label, which begins with {self.label_prefix!r}; {where}")
        warnings.warn(f"{len(missing):,} texts have no label and are left out, {where}", UserWarning, stacklevel=4)

    def _pretrained(self) -> KeyedVectors | None:
        vectors = self.pretrained_vectors
        return vectors if vectors is None or isinstance(vectors, KeyedVectors) else KeyedVectors.load(vectors)

    def _size(self, vectors: KeyedVectors | None) -> int:
        if vectors is None:
            return self.vector_size or DEFAULT_SIZE
        if self.vector_size not in (None, vectors.vector_size):
            raise ValueError(
                f"vector_size is {self.vector_size}, and the pretrained vectors have {vectors.vector_size} numbers: "
                "leave it out"
            )
        return vectors.vector_size

    def _check(self) -> None:
        """Check the arguments."""
        validate.choice("loss", self.loss, LOSSES)
        if self.vector_size is not None:
            validate.integer("vector_size", self.vector_size, 1, MAX_VECTOR_SIZE)
        validate.real("lr", self.lr, 0, low_open=True)
        validate.integer("epochs", self.epochs, 1)
        validate.integer("word_ngrams", self.word_ngrams, 1, 100)
        validate.integer("min_n", self.min_n, 0, 100)
        validate.integer("max_n", self.max_n, 0, 100)
        validate.integer("bucket", self.bucket, 1, MAX_BUCKET)
        for name in ("min_count", "min_count_label"):
            validate.integer(name, getattr(self, name), 0)
        validate.integer("negative", self.negative, 1, 64)
        if (
            not isinstance(self.label_prefix, str)
            or not self.label_prefix
            or self.label_prefix.split() != [self.label_prefix]
        ):
            raise ValueError(f"label_prefix must be a str without white space, got {self.label_prefix!r}")
        validate.boolean("shuffle", self.shuffle)
        validate.integer("seed", self.seed, 0, 2**63 - 1)
        if self.workers is not None:
            validate.integer("workers", self.workers, 1, MAX_THREADS)
        validate.choice("errors", self.errors, ERRORS)
        validate.choice("compat", self.compat, (None, "fasttext"))
