"""``fastemb bench glove``: counting of co-occurrences and training beside the GloVe program.

The program's four tools (``vocab_count``, ``cooccur``, ``shuffle``, ``glove``) are looked for in a folder that the user
names; without one only fastemb is measured. Each run is a fresh process, and both sides read the same files.
"""

import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastemb.bench.machine import core_round_trip, describe
from fastemb.bench.peers import export
from fastemb.bench.prepare import Prepared, prepare
from fastemb.bench.process import PYTHON, Outcome, run_process
from fastemb.bench.quality import find_sets, score
from fastemb.bench.training import QUICK_WORDS, save

Run = dict[str, Any]

KINDS = ("counting", "training")
TOOLS = ("vocab_count", "cooccur", "shuffle", "glove")
MIN_COUNT = 5
PROGRAM_MEMORY = 4.0  # gigabytes, the program's -memory; its own default is 3
_ITERATION = re.compile(rb"iter: \d+, cost: ([\d.]+)")


@dataclass
class _Work:
    """What all runs share: the text, the settings, and a folder for files."""

    text: Prepared
    folder: Path
    programs: Path | None
    vector_size: int
    window: int
    epochs: int
    threads: int
    analogies: Path | None
    pairs: Sequence[Path]
    log: Callable[[str], None]

    @property
    def vocab(self) -> Path:
        return self.folder / "vocab.txt"

    @property
    def matrix(self) -> Path:
        return self.folder / "cooccurrence.bin"


def run(
    corpus: str | os.PathLike[str],
    *,
    programs: str | os.PathLike[str] | None = None,
    what: str | Sequence[str] = KINDS,
    vector_size: int = 100,
    window: int = 15,
    epochs: int = 15,
    threads: int = 2,
    repeats: int = 3,
    analogies: str | os.PathLike[str] | None = None,
    pairs: Sequence[str | os.PathLike[str]] = (),
    max_words: int | None = None,
    quick: bool = False,
    output: str | os.PathLike[str] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure counting and training beside the GloVe program, in turn, round after round.

    Parameters
    ----------
    corpus
        A text file, one sentence a line, or a ``.gz`` of one.
    programs
        The folder of the GloVe program's tools; without it only fastemb is measured.
    what
        Of ``"counting"`` (from the text and its words to ``cooccurrence.bin``) and ``"training"`` (of that file).
    vector_size, window, epochs
        For both sides; the others of their parameters are at the defaults, `min_count` is 5.
    threads
        For both sides; ``cooccur`` knows one only.
    repeats
        Rounds; those of training differ by their seed.
    analogies, pairs
        Evaluation sets. By default those in the folder ``eval`` of the folder that FASTEMB_DATA names, if that is set.
    max_words
        Use only the first so many words of the corpus.
    quick
        One round of two epochs on the first million words: to see that it works, not to be believed.
    output
        A file for the results, as JSON.
    log
        Called with a line about each run.

    Returns
    -------
    dict
        What is written to `output`: ``benchmark``, ``machine``, ``corpus``, ``settings`` and ``measures`` with each
        run's raw figures.

    Raises
    ------
    FileNotFoundError
        If the corpus, an evaluation set or one of the tools is not there.
    ValueError
        If `what` holds an unknown name.
    RuntimeError
        If a program fails, or both sides count differently.

    Examples
    --------
    >>> from fastemb.bench.glove import run
    >>> run("text.txt", what="colour")
    Traceback (most recent call last):
        ...
    ValueError: what must be of 'counting', 'training', got 'colour'
    """
    wanted = (what,) if isinstance(what, str) else tuple(what)
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown:
        raise ValueError(f"what must be of {', '.join(map(repr, KINDS))}, got {unknown[0]!r}")
    folder = None if programs is None else Path(programs).resolve()
    for file in () if folder is None else (folder / tool for tool in TOOLS):
        file.stat()
    if analogies is None and not pairs:
        analogies, pairs = find_sets()
    for file in (*([Path(analogies)] if analogies else []), *map(Path, pairs)):
        file.stat()
    rounds, epochs = (1, min(2, epochs)) if quick else (repeats, epochs)
    text = prepare(corpus, max_words=QUICK_WORDS if quick and max_words is None else max_words)
    settings = {
        "vector_size": vector_size, "window": window, "epochs": epochs, "threads": threads, "rounds": rounds,
        "min_count": MIN_COUNT, "quick": quick,
    }  # fmt: skip
    results: dict[str, Any] = {
        "benchmark": "glove", "machine": describe(), "corpus": text.as_dict(), "settings": settings, "measures": {},
    }  # fmt: skip
    sets = Path(analogies) if analogies else None, [Path(file) for file in pairs]
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as scratch:
        work = _Work(text, Path(scratch), folder, vector_size, window, epochs, threads, *sets, log)
        _fastemb(work, "cooccur", work.text.path, "-o", work.matrix, "--vocab", work.vocab, *_counting_options(work))
        for kind in wanted:
            results["measures"][kind] = {"counting": _counting, "training": _training}[kind](work, rounds)
            if output is not None:
                save(output, results)
    return results


def _fastemb(work: _Work, *arguments: Any) -> tuple[dict[str, Any], Outcome]:
    outcome = run_process([*PYTHON, "-m", "fastemb", *map(str, arguments), "--json", "--quiet"])
    return json.loads(outcome.stdout), outcome


def _counting_options(work: _Work) -> list[Any]:
    return ["--window", work.window, "--min-count", MIN_COUNT, "--workers", work.threads]


def _tool(
    work: _Work, name: str, *arguments: Any, source: Path | str | None = None, target: Path | None = None
) -> Outcome:
    assert work.programs is not None
    command = shlex.join([str(work.programs / name), *map(str, arguments)])
    ends = (f" < {shlex.quote(str(source))}" if source else "") + (f" > {shlex.quote(str(target))}" if target else "")
    return run_process(["sh", "-c", f"cd {shlex.quote(str(work.folder))} && exec {command}{ends}"])


def _figures(work: _Work, label: str, outcome: Outcome, **figures: Any) -> Run:
    run = {
        "label": label,
        "seconds": outcome.seconds,
        "processor_seconds": outcome.processor_seconds,
        "peak_bytes": outcome.peak_bytes,
        "round_trip_ns": core_round_trip(),
        **figures,
    }
    shown = [f"{name} {value:,.4g}" for name, value in run.items() if isinstance(value, float | int)]
    work.log(f"{label}: {', '.join(shown)}")
    return run


def _counting(work: _Work, rounds: int) -> list[Run]:
    """Count with words that are given, from the text to the file: fastemb, and the program's ``cooccur``, in turn."""
    runs = []
    ours, theirs = work.folder / "ours.bin", work.folder / "theirs.bin"
    for _ in range(rounds):
        options = _counting_options(work)
        summary, outcome = _fastemb(work, "cooccur", work.text.path, "-o", ours, "--words", work.vocab, *options)
        runs.append(_figures(work, "fastemb", outcome, words=work.text.words, pairs=summary["pairs"]))
        if work.programs is not None:
            options = ["-vocab-file", work.vocab, "-window-size", work.window, "-memory", PROGRAM_MEMORY]
            outcome = _tool(work, "cooccur", *options, source=work.text.path, target=theirs)
            _compare(ours, theirs)
            runs.append(_figures(work, "GloVe program", outcome, words=work.text.words, pairs=summary["pairs"]))
    return runs


def _compare(ours: Path, theirs: Path) -> None:
    from fastemb.formats.cooccurrence import RECORD

    mine, other = np.memmap(ours, RECORD, "r"), np.memmap(theirs, RECORD, "r")
    same = len(mine) == len(other) and all((mine[name] == other[name]).all() for name in ("row", "col"))
    if not same or not np.allclose(mine["count"], other["count"], rtol=1e-9):
        raise RuntimeError(f"both must count the same pairs, got {len(mine)} and {len(other)}, or other counts")


def _training(work: _Work, rounds: int) -> list[Run]:
    """Train on the same file: fastemb, fastemb with the biases' step of the program's release 1.2, and the program."""
    runs = []
    num_pairs = work.matrix.stat().st_size // 16
    shuffled = work.folder / "shuffled.bin"
    if work.programs is not None:
        _tool(work, "shuffle", "-memory", PROGRAM_MEMORY, source=work.matrix, target=shuffled)
    for seed in range(1, rounds + 1):
        for label, options in (("fastemb", []), ('fastemb, compat="glove-1.2"', ["--compat", "glove-1.2"])):
            runs.append(_train_fastemb(work, label, seed, options))
        if work.programs is not None:
            runs.append(_train_program(work, shuffled, seed, num_pairs))
    return runs


def _train_fastemb(work: _Work, label: str, seed: int, options: Sequence[str]) -> Run:
    target = work.folder / "vectors.safetensors"
    summary, outcome = _fastemb(
        work, "train", work.matrix, "--vocab", work.vocab, "--model", "glove", "-o", target, "--vector-size",
        work.vector_size, "--epochs", work.epochs, "--workers", work.threads, "--seed", seed, *options,
    )  # fmt: skip
    return _figures(
        work, label, outcome, train_seconds=summary["training_seconds"], pairs_per_second=summary["pairs_per_second"],
        loss=summary["losses"][-1], seed=seed, scores=_score(work, target),
    )  # fmt: skip


def _train_program(work: _Work, shuffled: Path, seed: int, num_pairs: int) -> Run:
    options = [
        "-input-file", shuffled, "-vocab-file", work.vocab, "-save-file", "vectors", "-vector-size", work.vector_size,
        "-iter", work.epochs, "-threads", work.threads, "-seed", seed, "-binary", 0, "-verbose", 2,
    ]  # fmt: skip
    outcome = _tool(work, "glove", *options)
    said = b"".join(piece for _, piece in outcome.stderr)
    costs = _ITERATION.findall(said)
    # From the last line before the first epoch to that of the last one: reading words and saving are left out.
    began, ended = outcome.time_of(b"alpha:"), outcome.time_of(b"iter: %03d" % work.epochs)
    return _figures(
        work, "GloVe program", outcome, train_seconds=ended - began,
        pairs_per_second=num_pairs * work.epochs / (ended - began), loss=float(costs[-1]), seed=seed,
        scores=_score(work, work.folder / "vectors.txt"),
    )  # fmt: skip


def _score(work: _Work, path: Path) -> dict[str, float]:
    from fastemb.bench.peers import Config
    from fastemb.formats import read

    table = read(path)
    stop = len(table.words) - (table.words[-1] == "<unk>")
    export(Config(corpus="", folder=str(work.folder)), table.words[:stop], table.vectors[:stop])
    return score(work.folder, work.analogies, work.pairs)
