"""``fastemb bench training``: fastemb beside its peers on one text."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastemb.bench import measures, subwords
from fastemb.bench.compare import Bench, entries
from fastemb.bench.machine import describe
from fastemb.bench.models import compare_models
from fastemb.bench.prepare import prepare
from fastemb.bench.quality import find_sets

KINDS = (
    "speed", "quality", "scan", "start", "memory", "threads", "time-to-quality", "cbow", "hierarchical", "fasttext",
    "open",
)  # fmt: skip
QUICK_WORDS = 1_000_000


def run(
    corpus: str | os.PathLike[str],
    peers: Sequence[str] = ("gensim", "fasttext"),
    *,
    what: str | Sequence[str] = "speed",
    vector_size: int = 100,
    epochs: int = 1,
    seeds: int = 3,
    repeats: int = 3,
    threads: int = 2,
    alpha: float | None = None,
    analogies: str | os.PathLike[str] | None = None,
    pairs: Sequence[str | os.PathLike[str]] = (),
    evaluator: str = "fastemb",
    max_words: int | None = None,
    quick: bool = False,
    output: str | os.PathLike[str] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure fastemb beside its peers: same text, same settings, in turn, each run in a fresh process.

    Parameters
    ----------
    corpus
        A text file, one sentence a line, or a ``.gz`` of one. Its lines are cut at 1000 words for all programs.
    peers
        Of ``"gensim"`` and ``"fasttext"`` (without subwords); each must be installed.
    what
        Of ``"speed"`` (with quality, at `epochs`), ``"quality"`` (against gensim, after 1 and after 5 epochs),
        ``"scan"``, ``"start"``, ``"memory"``, ``"threads"``, ``"time-to-quality"``, ``"cbow"`` and ``"hierarchical"``
        (speed and quality against gensim), ``"fasttext"`` (skip-gram and CBOW with n-grams), ``"open"`` (a fastText
        model of 2.5 GB, made for it); or ``"all"``.
    vector_size, epochs, threads
        As the trainers' arguments; window is 5, negative 5, sample 1e-3 and min_count 5.
    seeds, repeats
        Rounds, each with a seed of its own: `seeds` where quality is the question, the larger of both for speed.
    alpha
        The rate of fastemb's second row; gensim's 0.025 by default.
    analogies, pairs
        Evaluation sets. By default those in the folder ``eval`` of the folder that FASTEMB_DATA names, if that is set.
    evaluator
        Whose ``KeyedVectors`` scores all vectors, ``"fastemb"`` or ``"gensim"``.
    max_words
        Use only the first so many words of the corpus.
    quick
        One round on the first million words: to see that it works, not to be believed.
    output
        A file for the results, as JSON.
    log
        Called with a line about each run.

    Returns
    -------
    dict
        What is written to `output`: ``machine``, ``corpus``, ``settings`` and ``measures`` with each run's raw figures.
        `fastemb.bench.tables.render` makes tables of it.

    Raises
    ------
    FileNotFoundError
        If the corpus or an evaluation set is not there.
    ValueError
        If `what` or `peers` holds an unknown name.
    RuntimeError
        If a program fails, or a result is wrong.

    Examples
    --------
    >>> from fastemb.bench.training import run
    >>> run("text.txt", what="colour")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: what must be of 'speed', 'quality', 'scan', ..., got 'colour'
    """
    wanted = _kinds(what)
    rows = entries(peers, alpha)
    if analogies is None and not pairs:
        analogies, pairs = find_sets()
    for file in (*([analogies] if analogies else []), *pairs):
        Path(file).stat()
    rounds = 1 if quick else max(repeats, seeds)
    text = prepare(corpus, max_words=QUICK_WORDS if quick and max_words is None else max_words)
    bench = Bench(
        text, vector_size, threads, Path(analogies) if analogies else None, [Path(p) for p in pairs], evaluator, log
    )
    settings = {"vector_size": vector_size, "epochs": epochs, "threads": threads, "rounds": rounds, "quick": quick}
    results: dict[str, Any] = {
        "machine": describe(),
        "corpus": text.as_dict(),
        "settings": {**settings, "window": 5, "negative": 5, "sample": 1e-3, "min_count": 5, "evaluator": evaluator},
        "measures": {},
    }
    _warm_up(bench)
    actions: dict[str, Callable[[], Any]] = {
        "speed": lambda: bench.compare(rows, epochs=epochs, rounds=rounds),
        "quality": lambda: _quality(bench, alpha, 1 if quick else seeds),
        "scan": lambda: measures.scan(bench, rounds),
        "start": lambda: measures.start(bench, rounds),
        "memory": lambda: measures.memory(bench),
        "threads": lambda: measures.threads(bench, rounds),
        "time-to-quality": lambda: measures.time_to_quality(bench, 1 if quick else seeds),
        "cbow": lambda: compare_models(bench, "cbow", rounds),
        "hierarchical": lambda: compare_models(bench, "hierarchical", rounds),
        "fasttext": lambda: subwords.compare(bench, rounds, epochs),
        "open": lambda: subwords.open_large(bench, rounds),
    }
    for kind in wanted:
        results["measures"][kind] = actions[kind]()
        if output is not None:  # after each measure: hours of runs are not lost to the last one's failure
            save(output, results)
    return results


def save(path: str | os.PathLike[str], results: dict[str, Any]) -> None:
    """Write `results` as JSON to `path`, whole or not at all.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb.bench.training import save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(pathlib.Path(folder, "results.json"), {"measures": {}})
    """
    unfinished = Path(f"{os.fspath(path)}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _kinds(what: str | Sequence[str]) -> Sequence[str]:
    wanted = KINDS if what == "all" else (what,) if isinstance(what, str) else tuple(what)
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown:
        raise ValueError(f"what must be of {', '.join(map(repr, KINDS))} or 'all', got {unknown[0]!r}")
    return wanted


def _quality(bench: Bench, alpha: float | None, seeds: int) -> list[dict[str, Any]]:
    rows = entries(["gensim"], alpha)
    return [run for epochs in (1, 5) for run in bench.compare(rows, epochs=epochs, rounds=seeds, again=False)]


def _warm_up(bench: Bench) -> None:
    """Let fastemb compile before the clock runs: what that takes is measured on its own (``"start"``)."""
    bench.train(measures.FASTEMB, corpus=prepare(bench.corpus.path, max_words=20_000), scored=False)
