"""The training functions of the ``fasttext`` package."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from fastemb.engine.validate import choice
from fastemb.fasttext.model import Model, vectors_of
from fastemb.trainers.classification.classifier import FastTextClassifier
from fastemb.trainers.fasttext import FastText
from fastemb.trainers.keywords import check_keywords

__all__ = ["train_supervised", "train_unsupervised"]

F = TypeVar("F", bound=Callable[..., Any])

SNAKE_CASE = {
    "min_count": "minCount",
    "word_ngrams": "wordNgrams",
    "lr_update_rate": "lrUpdateRate",
    "label_prefix": "label",
    "pretrained_vectors": "pretrainedVectors",
}


def _in_snake_case(function: F) -> F:
    """Return `function` with some of its arguments in snake case, too, as the package takes them."""
    names = inspect.signature(function).parameters

    @functools.wraps(function)
    def renaming(*args: Any, **kwargs: Any) -> Any:
        named = {SNAKE_CASE.get(name, name): value for name, value in kwargs.items()}
        check_keywords(function.__name__, names, named)
        return function(*args, **named)

    return cast(F, renaming)


@_in_snake_case
def train_supervised(
    input: str,
    lr: float = 0.1,
    dim: int = 100,
    ws: int = 5,
    epoch: int = 5,
    minCount: int = 1,
    minCountLabel: int = 0,
    minn: int = 0,
    maxn: int = 0,
    neg: int = 5,
    wordNgrams: int = 1,
    loss: str = "softmax",
    bucket: int = 2_000_000,
    thread: int | None = None,
    lrUpdateRate: int = 100,
    t: float = 1e-4,
    label: str = "__label__",
    verbose: int = 2,
    pretrainedVectors: str = "",
    seed: int = 0,
    autotuneValidationFile: str = "",
    autotuneMetric: str = "f1",
    autotunePredictions: int = 1,
    autotuneDuration: int = 300,
    autotuneModelSize: str | int = "",
) -> Model:
    r"""Train a classifier on a file of labelled lines; see `FastTextClassifier`.

    Parameters
    ----------
    input : path
    lr, dim, epoch, minCount, minCountLabel, minn, maxn, neg, wordNgrams, loss, bucket, label, pretrainedVectors, seed
        fastText's names of `FastTextClassifier`'s arguments; in snake case, too, where the package takes that.
    thread : int, optional
        Default, every core that the process may use.
    autotuneValidationFile, autotuneMetric, autotunePredictions, autotuneDuration, autotuneModelSize
        Search for the arguments that are not given, see `FastTextClassifier.autotune`.
    ws, lrUpdateRate, t, verbose
        Without effect.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If an argument is out of bounds, or no line has a label.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "train.txt")
    ...     _ = path.write_text("__label__tea a cup of tea\n__label__bus a late bus\n" * 50)
    ...     train_supervised(input=str(path), dim=8, lr=0.5, thread=1).test(str(path))
    (100, 1.0, 1.0)
    """
    given: dict[str, Any] = {
        "lr": lr, "vector_size": dim, "epochs": epoch, "min_count": minCount, "min_count_label": minCountLabel,
        "min_n": minn, "max_n": maxn, "negative": neg, "word_ngrams": wordNgrams, "loss": loss, "bucket": bucket,
        "workers": thread, "label_prefix": label, "pretrained_vectors": pretrainedVectors or None, "seed": seed,
    }  # fmt: skip
    if not autotuneValidationFile:
        classifier = FastTextClassifier(**given).fit(corpus_file=input)
    else:
        usual = FastTextClassifier(vector_size=100).get_params()
        fixed = {name: value for name, value in given.items() if value != usual[name]}
        classifier = FastTextClassifier.autotune(
            input, autotuneValidationFile, seconds=autotuneDuration, metric=autotuneMetric, k=autotunePredictions,
            model_size=autotuneModelSize or None, **fixed,
        )  # fmt: skip
    return Model(vectors_of(classifier), classifier)


@_in_snake_case
def train_unsupervised(
    input: str,
    model: str = "skipgram",
    lr: float = 0.05,
    dim: int = 100,
    ws: int = 5,
    epoch: int = 5,
    minCount: int = 5,
    minCountLabel: int = 0,
    minn: int = 3,
    maxn: int = 6,
    neg: int = 5,
    wordNgrams: int = 1,
    loss: str = "ns",
    bucket: int = 2_000_000,
    thread: int | None = None,
    lrUpdateRate: int = 100,
    t: float = 1e-4,
    label: str = "__label__",
    verbose: int = 2,
    pretrainedVectors: str = "",
    seed: int = 1,
) -> Model:
    r"""Train vectors of words on a text; see `FastText`.

    Parameters
    ----------
    input : path
    model : {"skipgram", "cbow"}, default "skipgram"
    loss : {"ns", "hs"}, default "ns"
        Negative sampling or hierarchical softmax.
    lr, dim, ws, epoch, minCount, minn, maxn, neg, wordNgrams, bucket, t, pretrainedVectors, seed
        fastText's names of `FastText`'s arguments; in snake case, too, where the package takes that.
    thread : int, optional
        Default, every core that the process may use.
    minCountLabel, lrUpdateRate, label, verbose
        Without effect.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If an argument is out of bounds, or the text is empty.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "text.txt")
    ...     _ = path.write_text("a cup of tea\na pot of tea\n" * 50)
    ...     model = train_unsupervised(str(path), model="cbow", dim=8, bucket=1000, epoch=1, t=0)
    >>> model.get_word_vector("teas").shape, "teas" in model
    ((8,), False)
    """
    choice("model", model, ("skipgram", "cbow"))
    is_tree = choice("loss", loss, ("ns", "hs")) == "hs"
    trained = FastText(
        corpus_file=input, sg=int(model == "skipgram"), alpha=lr, vector_size=dim, window=ws, epochs=epoch,
        min_count=minCount, min_n=minn, max_n=maxn, negative=0 if is_tree else neg, hs=int(is_tree),
        word_ngrams=wordNgrams, bucket=bucket, workers=thread, sample=t, seed=seed,
        pretrained=pretrainedVectors or None,
    )  # fmt: skip
    return Model(trained.wv, trained=trained)
