"""FastTextClassifier: text into classes, by the mean of its features' vectors and a linear layer."""

import warnings
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.reader import ERRORS
from fastemb.corpus.spool import parse_size
from fastemb.corpus.subwords import MAX_BUCKET
from fastemb.engine import validate
from fastemb.engine.parallel import MAX_THREADS
from fastemb.engine.product import CENTROIDS
from fastemb.formats.files import PathLike
from fastemb.trainers.classification.autotune import Trial
from fastemb.trainers.classification.features import Bags
from fastemb.trainers.classification.metrics import Metric
from fastemb.trainers.classification.model import LOSSES, Model
from fastemb.trainers.classification.quantizing import TooLarge, check_sizes, prune, quantize, rows_that_fit
from fastemb.trainers.classification.start import Start
from fastemb.trainers.classification.storing import Stored
from fastemb.trainers.classification.text import Text
from fastemb.trainers.classification.training import Training
from fastemb.trainers.classification.tuner import Tuner
from fastemb.trainers.frozen_phrases import frozen
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.schedule import Monitor
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["FastTextClassifier"]

Source = PathLike | tuple[Any, Any]

MAX_VECTOR_SIZE = 1 << 16
BOUNDS = {
    "epochs": (1,), "word_ngrams": (1, 100), "min_n": (0, 100), "max_n": (0, 100), "bucket": (1, MAX_BUCKET),
    "min_count": (0,), "min_count_label": (0,), "negative": (1, 64), "seed": (0, 2**63 - 1),
}  # fmt: skip


class FastTextClassifier(Stored):
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
    max_memory : int or str, optional
        Bytes of memory for the text as numbers of words and of features (4 bytes each), such as ``"1G"``; what is more
        goes to temporary files.
    errors : str, default "strict"
        What to do with bytes that are not UTF-8, as in ``bytes.decode``.
    phrases : Phrases, FrozenPhrases or a sequence of them, optional
        Join phrases in every text, to learn from and to predict, the first model's first. Kept in ``.safetensors``, not
        in fastText's files.
    compat : {None, "fasttext"}, default None
        "fasttext" begins with fastText's starting vectors, uniform in ±1 / vector_size, and predicts with its table of
        the sigmoid (with "ova" and "ns"), as models read from its files do.
    callbacks : sequence of object
        See `fastemb.trainers.schedule.Monitor`.

    Attributes
    ----------
    classes_ : array (num_labels,)
        The labels, in order, as they were given to `fit`.
    losses : list of float
        Mean loss of a text in each epoch.
    trials_ : list of Trial
        What `autotune` tried.
    interrupted_ : bool
        Whether Ctrl-C ended `autotune`.

    Notes
    -----
    Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification". The features' vectors begin uniform in
    ±1 / sqrt(vector_size), with which few epochs do more than with fastText's; n-grams that the text does not have stay
    0. Words stand between ASCII white space, and a word ``</s>`` ends every text, as in fastText.

    Examples
    --------
    >>> texts = ["a cup of tea", "a pot of tea", "the train is late", "a late bus"] * 20
    >>> classifier = FastTextClassifier(vector_size=8, epochs=10, lr=0.5, workers=1)
    >>> classifier.fit(texts, ["drink", "drink", "travel", "travel"] * 20).predict(["tea", "the late train"])
    array(['drink', 'travel'], dtype='<U6')
    """

    trials_: list[Trial]
    interrupted_: bool

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
        max_memory: int | str | None = None,
        errors: str = "strict",
        phrases: PhraseModel | Sequence[PhraseModel] | None = None,
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
        self.max_memory = max_memory
        self.errors = errors
        self.phrases = phrases
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
        self._fit(self._read(X, y, corpus_file, monitor), monitor)
        return self

    def _fit(self, text: Text, monitor: Monitor) -> None:
        start = Start(**{field.name: getattr(self, field.name) for field in fields(Start)})
        self._model, bags = start.model(text, self._workers)
        self._kind = "str" if text.targets is None else text.targets.kind
        self._train(self._model, text.num_tokens(bags), bags, self.lr, self.epochs, monitor)

    def _train(
        self, model: Model, tokens: NDArray[np.int64], bags: Bags, lr: float, epochs: int, monitor: Monitor
    ) -> None:  # fmt: skip
        loop = Training(model, bags, tokens, lr, epochs, self.negative, self.shuffle, self.seed, self._workers)
        monitor.call("on_train_begin")
        for loss in loop.run(monitor):
            model.losses.append(loss)
            monitor.call("on_epoch_end")
        monitor.call("on_train_end")

    def quantize(
        self,
        X: Any = None,
        y: Any = None,
        *,
        corpus_file: PathLike | None = None,
        cutoff: int = 0,
        retrain: bool = False,
        qnorm: bool = False,
        qout: bool = False,
        dsub: int = 2,
        epochs: int | None = None,
        lr: float | None = None,
    ) -> Self:
        """Make the classifier many times smaller, in place, as fastText's ``quantize``.

        A row of the table becomes a byte for each `dsub` of its columns (product quantization). `nbytes` tells the
        size, `test` what it costs. A quantized classifier predicts, and is not trained any further.

        Parameters
        ----------
        X, y, corpus_file
            As for `fit`, with `retrain`.
        cutoff : int, default 0
            Keep only so many words and n-grams, those with the longest vectors; 0 keeps all.
        retrain : bool, default False
            Train the rows that are kept once more, on the text.
        qnorm : bool, default False
            Quantize the vectors' lengths apart from their directions, a byte more a row.
        qout : bool, default False
            Quantize the labels' vectors, too.
        dsub : int, default 2
            Columns of a piece.
        epochs, lr : optional
            Of the training; default the classifier's.

        Raises
        ------
        RuntimeError
            If it is quantized already.
        ValueError
            If there are fewer than 256 words and n-grams, or labels with `qout`.
        """
        model = self._trained
        check_sizes(model, validate.integer("cutoff", cutoff, 0), dsub, qout)
        if retrain != (X is not None or corpus_file is not None):
            raise TypeError("retrain goes with a text, X or corpus_file")
        if cutoff and cutoff < model.features.num_rows:
            model = prune(model, cutoff)
            if retrain:
                rate = self.lr if lr is None else validate.real("lr", lr, 0, low_open=True)
                passes = self.epochs if epochs is None else validate.integer("epochs", epochs, 1)
                monitor = Monitor(self, self.callbacks)
                self._retrain(model, self._read(X, y, corpus_file, monitor), passes, rate, monitor)
        self._model = quantize(model, dsub, qnorm, qout, self.seed, self._workers)
        return self

    def _retrain(self, model: Model, text: Text, epochs: int, lr: float, monitor: Monitor) -> None:
        bags = text.bags(model.features, self._workers)
        self._train(model, text.num_tokens(bags), bags, lr, epochs, monitor)

    def _fit_into(self, num_bytes: int, dsub: int, text: Text, monitor: Monitor) -> None:
        """Quantize, with as many rows as fastText's file of so many bytes can have; they are trained once more.

        Raises
        ------
        TooLarge
            If these are too few.
        """
        model = self._trained
        qout, dsub = model.num_labels >= CENTROIDS, min(dsub, model.vector_size)
        check_sizes(model, 0, dsub, qout)
        cutoff = rows_that_fit(model, num_bytes, dsub, True, qout)
        if cutoff < CENTROIDS:
            raise TooLarge(f"a file of {num_bytes:,} bytes has room for {cutoff} words and n-grams only")
        if cutoff < model.features.num_rows:
            model = prune(model, cutoff)
            self._retrain(model, text, self.epochs, self.lr, monitor)
        self._model = quantize(model, dsub, True, qout, self.seed, self._workers)

    @classmethod
    def autotune(
        cls,
        train: Source,
        validation: Source,
        *,
        seconds: float | None = None,
        trials: int | None = None,
        metric: str = "f1",
        k: int = 1,
        max_table_memory: int | str = "2G",
        model_size: int | str | None = None,
        callbacks: Sequence[object] = (),
        **fixed: Any,
    ) -> Self:
        """Search for the hyper-parameters that do best on validation texts, and return the best classifier.

        It is fastText's search, over `lr`, `epochs`, `vector_size`, `word_ngrams`, `min_n`, `max_n` and `bucket`.

        Parameters
        ----------
        train, validation : path or tuple (X, y)
            Texts to train and to measure with: a file, or texts and labels, as for `fit`.
        seconds : float, optional
            Time for the search; default 300, or no limit if `trials` is given.
        trials : int, optional
            Most models to try. Given this alone, and one worker, a search repeats.
        metric : str, default "f1"
            What to make as large as possible: ``"f1"``, ``"f1:label"``, ``"precisionAtRecall:30"`` (the best precision
            at a recall of at least 30 %), ``"precisionAtRecall:30:label"``, and ``recallAtPrecision`` in the same way.
        k : int, default 1
            Predictions a text with F1.
        max_table_memory : int or str, default "2G"
            Bytes of a table of n-grams, at most.
        model_size : int or str, optional
            Most bytes of the classifier's ``.ftz``, such as ``"2M"``: each one is pruned, trained once more and
            quantized, as by `quantize` with `retrain` and `qnorm`, before it is measured; `dsub` is searched, too.
        callbacks : sequence of object
            ``on_trial_end(classifier, trial)`` is called after each trial, with the best classifier so far (None if
            there is none) and a `Trial`.
        **fixed
            Arguments of the classifier, which are not searched.

        Returns
        -------
        FastTextClassifier
            Trained; its `trials_` holds a `Trial` for each model that was tried. After Ctrl-C it is the best until
            then, as of fastText, and a warning says so.

        Raises
        ------
        RuntimeError
            If there was no time to train once, or every trial failed: diverged, or could not be so small.
        KeyboardInterrupt
            On Ctrl-C before one model was trained.

        Examples
        --------
        >>> texts, labels = ["a cup of tea", "a late train"] * 50, ["drink", "travel"] * 50
        >>> best = FastTextClassifier.autotune(
        ...     (texts, labels), (texts, labels), trials=2, workers=1, vector_size=8, word_ngrams=1, max_n=0)
        >>> best.score(texts, labels), len(best.trials_)
        (1.0, 2)
        """
        most = None if model_size is None else parse_size(model_size, "model_size")
        tuner = Tuner(cls, fixed, Metric.parse(metric, fixed.get("label_prefix", "__label__")), k, callbacks, most)
        most_memory = parse_size(max_table_memory, "max_table_memory")
        best, done, interrupted = tuner.run(train, validation, seconds, trials, most_memory)
        if interrupted:
            warnings.warn(f"Ctrl-C ended the search: this is the best of {len(done)} models", UserWarning, stacklevel=2)
        best.trials_, best.interrupted_ = done, interrupted
        return best

    def _check(self) -> None:
        """Check the arguments."""
        self.phrases = frozen(self.phrases)
        validate.choice("loss", self.loss, LOSSES)
        if self.vector_size is not None:
            validate.integer("vector_size", self.vector_size, 1, MAX_VECTOR_SIZE)
        validate.real("lr", self.lr, 0, low_open=True)
        for name, bounds in BOUNDS.items():
            validate.integer(name, getattr(self, name), *bounds)
        if (
            not isinstance(self.label_prefix, str)
            or not self.label_prefix
            or self.label_prefix.split() != [self.label_prefix]
        ):
            raise ValueError(f"label_prefix must be a str without white space, got {self.label_prefix!r}")
        validate.boolean("shuffle", self.shuffle)
        if self.workers is not None:
            validate.integer("workers", self.workers, 1, MAX_THREADS)
        if self.max_memory is not None:
            parse_size(self.max_memory, "max_memory")
        validate.choice("errors", self.errors, ERRORS)
        validate.choice("compat", self.compat, (None, "fasttext"))
