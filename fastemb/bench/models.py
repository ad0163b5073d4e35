"""CBOW and hierarchical softmax beside gensim: speed and quality, for ``fastemb bench training``."""

from collections.abc import Callable, Sequence
from typing import Any

from fastemb.bench.compare import GENSIM_ALPHA, Bench, Entry, Run
from fastemb.bench.prepare import prepare

__all__ = ["MODELS", "by_epochs", "compare_models", "entries_of"]

CBOW_EPOCHS = (1, 5)

_CBOW, _TREE = {"sg": 0}, {"sg": 1, "hs": 1, "negative": 0}
MODELS: dict[str, tuple[Sequence[int], list[Entry]]] = {
    "cbow": (
        CBOW_EPOCHS,
        [
            Entry("fastemb", "fastemb", options=_CBOW),
            Entry("fastemb, alpha 0.025", "fastemb", alpha=GENSIM_ALPHA, options=_CBOW),
            Entry("fastemb, classic", "fastemb", options={**_CBOW, "cbow_update": "classic"}),
            Entry("fastemb, corrected", "fastemb", options={**_CBOW, "cbow_update": "corrected"}),
            Entry("gensim", "gensim", options=_CBOW),
        ],
    ),
    "hierarchical": (
        (1,),
        [Entry("fastemb", "fastemb", options=_TREE), Entry("gensim", "gensim", options=_TREE)],
    ),
}
"""The epochs and rows of each comparison; every program at its own rate, CBOW at gensim's, too."""


def entries_of(kind: str, default_update: str) -> list[Entry]:
    """Return the rows of a comparison, without one that would be the default's double.

    Parameters
    ----------
    kind
        ``"cbow"`` or ``"hierarchical"``.
    default_update
        What `Word2Vec` does where ``cbow_update`` is not given.

    Examples
    --------
    >>> from fastemb.bench.models import entries_of
    >>> [entry.label for entry in entries_of("cbow", "classic")]
    ['fastemb', 'fastemb, alpha 0.025', 'fastemb, corrected', 'gensim']
    """
    return [entry for entry in MODELS[kind][1] if entry.options.get("cbow_update") != default_update]


def compare_models(bench: Bench, kind: str, rounds: int) -> list[Run]:
    """Train with each row of a comparison in turn, round after round, for each number of epochs."""
    from fastemb.trainers.arithmetic import Arithmetic

    rows = entries_of(kind, Arithmetic.cbow_update)
    bench.train(rows[0], corpus=prepare(bench.corpus.path, max_words=20_000), scored=False)  # to compile
    return [
        bench.train(entry, epochs=epochs, seed=seed)
        for epochs in MODELS[kind][0]
        for seed in range(1, rounds + 1)
        for entry in rows
    ]


def by_epochs(runs: Sequence[Run], table: Callable[[list[Run]], str]) -> str:
    r"""Return the tables of the runs with 1, 2 ... epochs, one below the other.

    Examples
    --------
    >>> from fastemb.bench.models import by_epochs
    >>> by_epochs([{"epochs": 1}, {"epochs": 5}, {"epochs": 1}], lambda runs: f"{len(runs)} runs")
    '2 runs\n\n1 runs'
    """
    groups: dict[int, list[Any]] = {}
    for run in runs:
        groups.setdefault(run["epochs"], []).append(run)
    return "\n\n".join(table(group) for group in groups.values())
