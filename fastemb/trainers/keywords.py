"""Errors that tell the name an argument has here: those of older gensims and of fastText, and slips of the pen."""

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

__all__ = ["naming_keywords"]

F = TypeVar("F", bound=Callable[..., Any])

# Names of gensim before 4, of the fasttext package and of scikit-learn; the first that a function has is meant.
RENAMED = {
    "size": ("vector_size",),
    "iter": ("epochs",),
    "input": ("corpus_file",),
    "dim": ("vector_size",),
    "ws": ("window",),
    "window_size": ("window",),
    "epoch": ("epochs",),
    "n_epochs": ("epochs",),
    "lr": ("alpha",),
    "alpha": ("lr",),
    "learning_rate": ("eta", "alpha", "lr"),
    "neg": ("negative",),
    "t": ("sample",),
    "minCount": ("min_count",),
    "minCountLabel": ("min_count_label",),
    "minn": ("min_n",),
    "maxn": ("max_n",),
    "wordNgrams": ("word_ngrams",),
    "thread": ("workers",),
    "threads": ("workers",),
    "n_jobs": ("workers",),
    "random_state": ("seed",),
    "pretrainedVectors": ("pretrained", "pretrained_vectors"),
    "pretrained_vectors": ("pretrained",),
    "pretrained": ("pretrained_vectors",),
    "label": ("label_prefix",),
    "common_terms": ("connector_words",),
}
IS_HERE = {
    "model": "sg=1 is skip-gram, sg=0 is CBOW",
    "loss": "hs=1, negative=0 is hierarchical softmax, negative=5 negative sampling",
    "verbose": "callbacks tell of the progress",
    "docs": "there are no vectors of documents",
}


def naming_keywords(function: F) -> F:
    """Return `function` with errors that tell the right names of keyword arguments that it does not have.

    Examples
    --------
    >>> @naming_keywords
    ... def train(vector_size, epochs=5): ...
    >>> train(size=100)
    Traceback (most recent call last):
        ...
    TypeError: train() has no argument 'size': it is called vector_size here
    """
    parameters = inspect.signature(function).parameters
    names = [name for name, one in parameters.items() if one.kind is not one.POSITIONAL_ONLY]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs.keys() - set(names):
            what = function.__qualname__.removesuffix(".__init__")
            raise TypeError(f"{what}() has no argument {name!r}{_hint(name, names)}")
        return function(*args, **kwargs)

    return cast(F, checked)


def _hint(name: str, names: Collection[str]) -> str:
    meant = next((new for new in RENAMED.get(name, ()) if new in names), None)
    if meant is not None:
        return f": it is called {meant} here"
    if name in IS_HERE:
        return f": {IS_HERE[name]}"
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]}?" if close else ""
