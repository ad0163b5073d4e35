"""Errors that tell the name an argument has here: those of older gensims and of fastText, and slips of the pen."""

import difflib
import inspect
from collections.abc import Collection, Iterable
from typing import Any, Self

__all__ = ["NamedArguments", "check_keywords"]

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


def check_keywords(what: str, names: Collection[str], given: Iterable[str]) -> None:
    """Raise TypeError if keyword arguments are not among those that there are, and tell their right names.

    Examples
    --------
    >>> check_keywords("train", ["vector_size", "epochs"], ["size"])
    Traceback (most recent call last):
        ...
    TypeError: train() has no argument 'size': it is called vector_size here
    """
    for name in given:
        if name not in names:
            raise TypeError(f"{what}() has no argument {name!r}{_hint(name, names)}")


class NamedArguments:
    """A class that is made by arguments of certain names, and tells them where it gets others."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        signature = inspect.signature(cls.__init__)
        _, *parameters = signature.parameters.values()
        # Not a wrapper of __init__: warnings tell the caller's line by the number of calls between.
        cls.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the names of the arguments that `__init__` will get."""
        check_keywords(cls.__name__, cls.__signature__.parameters, kwargs)  # type: ignore[attr-defined]
        return super().__new__(cls)


def _hint(name: str, names: Collection[str]) -> str:
    meant = next((new for new in RENAMED.get(name, ()) if new in names), None)
    if meant is not None:
        return f": it is called {meant} here"
    if name in IS_HERE:
        return f": {IS_HERE[name]}"
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]}?" if close else ""
