"""The functions and the models of the ``fasttext`` package: ``import fastemb.fasttext as fasttext`` runs its scripts.

Classifiers and vectors train several times as fast as the package's, and vectors open as memory maps. The files are
the same. A model has fastText's methods; its `classifier` and `vectors` have fastemb's.
"""

from types import SimpleNamespace

from fastemb.fasttext.model import BOW, EOS, EOW, Model, load_model
from fastemb.fasttext.training import train_supervised, train_unsupervised

__all__ = ["BOW", "EOS", "EOW", "FastText", "Model", "load_model", "tokenize", "train_supervised", "train_unsupervised"]


def tokenize(text: str) -> list[str]:
    r"""Return the words of a text, with ``</s>`` for each line's end.

    Examples
    --------
    >>> tokenize("a cup of tea\nplease")
    ['a', 'cup', 'of', 'tea', '</s>', 'please']
    """
    lines = text.split("\n")
    return [word for number, line in enumerate(lines) for word in (*[EOS][: number > 0], *line.split())]


# The package's inner module, which scripts name to keep it from printing: FastText.eprint = lambda text: None.
FastText = SimpleNamespace(
    eprint=print, load_model=load_model, tokenize=tokenize, train_supervised=train_supervised,
    train_unsupervised=train_unsupervised,
)  # fmt: skip
