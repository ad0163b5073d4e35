"""Training runs side by side: each program in turn, round after round, each run in a fresh process."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastemb.bench.machine import core_round_trip
from fastemb.bench.peers import Config
from fastemb.bench.prepare import Prepared
from fastemb.bench.process import PYTHON, Outcome, run_process
from fastemb.bench.quality import score

Run = dict[str, Any]

GENSIM_ALPHA = 0.025


@dataclass(frozen=True)
class Entry:
    """A program with its settings: one row of a comparison.

    Attributes
    ----------
    label
        The row's name.
    program
        A key of `fastemb.bench.peers.PROGRAMS`.
    alpha
        The learning rate; None for the program's default.
    options
        Further arguments of fastemb's `Word2Vec`.

    Examples
    --------
    >>> from fastemb.bench.compare import Entry
    >>> Entry("gensim", "gensim").alpha is None
    True
    """

    label: str
    program: str
    alpha: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


def entries(peers: Sequence[str], alpha: float | None = None) -> list[Entry]:
    """Return the rows of a comparison: fastemb at its own rate and at gensim's, then each of `peers`.

    Parameters
    ----------
    peers
        Names of programs.
    alpha
        A rate for fastemb's second row instead of gensim's 0.025.

    Raises
    ------
    ValueError
        If a peer is not known.

    Examples
    --------
    >>> from fastemb.bench.compare import entries
    >>> [entry.label for entry in entries(["gensim"])]
    ['fastemb', 'fastemb, alpha 0.025', 'gensim']
    """
    unknown = sorted(set(peers) - {"gensim", "fasttext"})
    if unknown:
        raise ValueError(f"peers must be of 'gensim', 'fasttext', got {unknown[0]!r}")
    rate = GENSIM_ALPHA if alpha is None else alpha
    ours = [Entry("fastemb", "fastemb"), Entry(f"fastemb, alpha {rate:g}", "fastemb", rate)]
    return ours + [Entry(name, name) for name in peers]


@dataclass
class Bench:
    """What all measurements of one benchmark share.

    Attributes
    ----------
    corpus
        The prepared text.
    vector_size, threads
        As the trainers' arguments.
    analogies, pairs, evaluator
        As `fastemb.bench.quality.score` takes them.
    log
        Called with a line of text about each run.
    trained
        The runs of comparisons, by label, epochs and seed.

    Examples
    --------
    >>> from fastemb.bench.compare import Bench
    >>> from fastemb.bench.prepare import Prepared
    >>> Bench(Prepared("text.txt", words=2, lines=1, bytes=12)).vector_size
    100
    """

    corpus: Prepared
    vector_size: int = 100
    threads: int = 2
    analogies: Path | None = None
    pairs: Sequence[Path] = ()
    evaluator: str = "fastemb"
    log: Callable[[str], None] = print
    trained: dict[tuple[str, int, int], Run] = field(default_factory=dict)

    def launch(self, program: str, config: Config, env: dict[str, str] | None = None) -> tuple[Run, Outcome]:
        """Run `program` of `fastemb.bench.peers` in a fresh process and return its result and what it took."""
        source, target = Path(config.folder, "config.json"), Path(config.folder, "result.json")
        config.save(source)
        command = [*PYTHON, "-m", "fastemb.bench.peers", program, str(source), str(target)]
        outcome = run_process(command, env)
        result: Run = json.loads(target.read_text(encoding="utf-8"))
        return result, outcome

    def train(
        self,
        entry: Entry,
        *,
        epochs: int = 1,
        seed: int = 1,
        threads: int | None = None,
        corpus: Prepared | None = None,
        scored: bool = True,
        env: dict[str, str] | None = None,
    ) -> Run:
        """Train once and score the vectors.

        Parameters
        ----------
        entry
            What to train with.
        epochs, seed, threads
            As the trainers' arguments; `threads` None for the benchmark's.
        corpus
            Another text than the benchmark's.
        scored
            Whether to score the vectors on the evaluation sets; that they are finite is checked always.
        env
            Variables to set for the process.

        Returns
        -------
        dict
            The run's figures: seconds of each stage, ``words_per_second`` of training (raw words times epochs over the
            seconds of training, for each program alike), bytes, scores, and nanoseconds of a round trip between cores.
        """
        text = corpus or self.corpus
        threads = threads or self.threads
        before, load = core_round_trip(), os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
            config = Config(text.path, folder, self.vector_size, epochs, threads, seed, entry.alpha, entry.options)
            result, outcome = self.launch(entry.program, config, env)
            after = core_round_trip()
            if entry.program in ("fasttext", "fasttext-subwords"):
                counted = outcome.time_of(b"Number of words")
                result["scan_seconds"] = counted - result.pop("called")
                result["train_seconds"] = result.pop("returned") - counted
            scores = score(folder, *((self.analogies, self.pairs) if scored else (None, ())), self.evaluator)
        run = {
            "label": entry.label,
            "program": entry.program,
            "vector_size": self.vector_size,
            "epochs": epochs,
            "seed": seed,
            "threads": threads,
            "wall_seconds": result.pop("saved") - outcome.started,
            **result,
            "words_per_second": text.words * epochs / result["train_seconds"],
            "peak_anonymous_bytes": outcome.peak_anonymous_bytes,
            "processor_seconds": outcome.processor_seconds,
            "load_before": load,
            "scores": scores,
            "round_trip_ns": [before, after],
        }
        self.log(describe_run(run))
        return run

    def compare(self, rows: Sequence[Entry], *, epochs: int, rounds: int, again: bool = True) -> list[Run]:
        """Train with each of `rows` in turn, `rounds` times, each round with a seed of its own.

        With `again` false, what an earlier comparison trained is taken from there: gensim's epochs take minutes.
        """
        runs = []
        for seed in range(1, rounds + 1):
            for entry in rows:
                key = (entry.label, epochs, seed)
                if again or key not in self.trained:
                    self.trained[key] = self.train(entry, epochs=epochs, seed=seed)
                runs.append(self.trained[key])
        return runs


def describe_run(run: Run) -> str:
    """Return one line about `run`.

    Examples
    --------
    >>> from fastemb.bench.compare import describe_run
    >>> describe_run({"label": "gensim", "vector_size": 100, "epochs": 1, "threads": 2, "seed": 1, "scan_seconds": 1.5,
    ...     "train_seconds": 4.0, "wall_seconds": 6.0, "words_per_second": 5e5, "peak_bytes": 3e8,
    ...     "round_trip_ns": [90.0, None], "scores": {}})  # doctest: +ELLIPSIS
    'gensim: D 100, epochs 1, threads 2, seed 1: 0.500 M words/s, ... wall 6.00 s, 300 MB, cores 90 ns'
    """
    trips = [trip for trip in run["round_trip_ns"] if trip is not None]
    parts = [
        f"{run['words_per_second'] / 1e6:.3f} M words/s",
        f"scan {run['scan_seconds']:.2f} s",
        f"train {run['train_seconds']:.2f} s",
        f"wall {run['wall_seconds']:.2f} s",
        f"{run['peak_bytes'] / 1e6:.0f} MB",
        *([f"cores {'-'.join(f'{trip:.0f}' for trip in trips)} ns"] if trips else []),
        *(f"{name} {value:.1f}" for name, value in run["scores"].items()),
    ]
    settings = f"D {run['vector_size']}, epochs {run['epochs']}, threads {run['threads']}, seed {run['seed']}"
    return f"{run['label']}: {settings}: {', '.join(parts)}"
