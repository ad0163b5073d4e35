"""``fastemb bench classify``: classifiers of fastemb and fastText on one labelled text."""

import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastemb.bench.machine import describe
from fastemb.bench.process import PYTHON, run_process
from fastemb.bench.training import save

ATTEMPTS = 20  # fastText starts from memory as it finds it where it has few threads, and then may meet NaN
PREDICTIONS = 7
Run = dict[str, Any]


def run(
    data: str | os.PathLike[str],
    *,
    lr: float = 0.5,
    epochs: int = 25,
    word_ngrams: int = 1,
    loss: str = "softmax",
    threads: int = 2,
    rounds: int = 5,
    output: str | os.PathLike[str] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train and predict with both programs in turn, each run in a fresh process.

    Parameters
    ----------
    data
        A CSV file with a header and the columns text and label, such as banking77's ``train.csv``. A fifth of the
        texts, the same ones always, is kept to measure accuracy.
    lr, epochs, word_ngrams, loss
        As for `FastTextClassifier`, and the same for fastText.
    threads
        Threads of both programs. fastText predicts with one: it knows no other way.
    rounds
        Runs of each program, each with a seed of its own.
    output
        A file for the results, as JSON.
    log
        Called with a line about each run.

    Returns
    -------
    dict
        ``machine``, ``settings``, ``runs`` and ``summary``: medians of both programs, and their ratios.

    Raises
    ------
    RuntimeError
        If a program fails.

    Examples
    --------
    >>> from fastemb.bench.classify import run
    >>> run("missing.csv")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'
    """
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
        sizes = split(data, folder)
        settings = {"lr": lr, "epochs": epochs, "word_ngrams": word_ngrams, "loss": loss, "threads": threads}
        for seed in range(1, rounds + 1):
            for program in ("fastemb", "fasttext"):
                runs.append(_launch(program, folder, {**settings, "seed": seed}))
                log(_line(runs[-1]))
    results = {
        "benchmark": "classify",
        "machine": describe(),
        "settings": {**settings, **sizes, "rounds": rounds},
        "runs": runs,
        "summary": _summary(runs),
    }
    if output is not None:
        save(output, results)
    return results


def split(data: str | os.PathLike[str], folder: str) -> dict[str, int]:
    """Write ``train.txt`` and ``test.txt`` in fastText's form into a folder; return how many texts each has."""
    with open(data, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(rows))
    lines = [f"__label__{rows[n][1].replace(' ', '_')} {' '.join(rows[n][0].split())}\n" for n in order]
    cut = len(lines) * 4 // 5
    Path(folder, "train.txt").write_text("".join(lines[:cut]), encoding="utf-8")
    Path(folder, "test.txt").write_text("".join(lines[cut:]), encoding="utf-8")
    return {"train_texts": cut, "test_texts": len(lines) - cut}


def render(results: dict[str, Any]) -> str:
    """Return a table of the results, in Markdown."""
    told = results["settings"]
    title = f"{told['train_texts']:,} texts, {told['epochs']} epochs, {told['threads']} threads, {told['loss']}"
    lines = [f"| {title} | training, texts/s | prediction, texts/s | accuracy |", "|---|---|---|---|"]
    for program in ("fastemb", "fasttext"):
        row = results["summary"][program]
        lines.append(
            f"| {program} | {row['train_texts_per_second']:,.0f} | {row['predict_texts_per_second']:,.0f} | "
            f"{100 * row['accuracy']:.2f} % |"
        )
    ratio = results["summary"]["ratios"]
    lines.append(
        f"| times fastText | {ratio['train']:.1f}x | {ratio['predict']:.1f}x | {ratio['points']:+.2f} points |"
    )
    return "\n".join(lines)


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    names = ("train_texts_per_second", "predict_texts_per_second", "accuracy")
    found: dict[str, Any] = {
        program: {name: statistics.median(run[name] for run in runs if run["program"] == program) for name in names}
        for program in ("fastemb", "fasttext")
    }
    ours, theirs = found["fastemb"], found["fasttext"]
    found["ratios"] = {
        "train": ours[names[0]] / theirs[names[0]],
        "predict": ours[names[1]] / theirs[names[1]],
        "points": 100 * (ours["accuracy"] - theirs["accuracy"]),
    }
    return found


def _line(run: Run) -> str:
    return (
        f"{run['program']}: {run['train_texts_per_second']:,.0f} texts/s trained, "
        f"{run['predict_texts_per_second']:,.0f} texts/s predicted, accuracy {100 * run['accuracy']:.2f} %"
    )


def _launch(program: str, folder: str, settings: dict[str, Any]) -> Run:
    """Run one program in a process of its own."""
    command = [*PYTHON, "-m", "fastemb.bench.classify", program, folder, json.dumps(settings)]
    for attempt in range(ATTEMPTS):
        try:
            return dict(json.loads(run_process(command).stdout.splitlines()[-1]), program=program)
        except RuntimeError as error:
            if program == "fastemb" or "NaN" not in str(error) or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _read(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of a file."""
    pairs = [line.rstrip("\n").split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return [text for _, text in pairs], [label for label, _ in pairs]


def _fastemb(folder: Path, told: dict[str, Any]) -> tuple[float, Callable[[list[str]], list[str]]]:
    from fastemb import FastTextClassifier

    options = {name: told[name] for name in ("lr", "epochs", "word_ngrams", "loss", "seed")}
    FastTextClassifier(workers=1).fit(["a b", "c d"], ["x", "y"]).predict(["a"])  # compiles before the clock runs
    start = time.perf_counter()
    model = FastTextClassifier(**options, workers=told["threads"]).fit(corpus_file=folder / "train.txt")
    seconds = time.perf_counter() - start
    return seconds, lambda texts: [f"__label__{label}" for label in model.predict(texts)]


def _fasttext(folder: Path, told: dict[str, Any]) -> tuple[float, Callable[[list[str]], list[str]]]:
    import fasttext

    start = time.perf_counter()
    model = fasttext.train_supervised(
        str(folder / "train.txt"), lr=told["lr"], epoch=told["epochs"], wordNgrams=told["word_ngrams"],
        loss=told["loss"], thread=told["threads"], seed=told["seed"], verbose=0,
    )  # fmt: skip
    seconds = time.perf_counter() - start

    def predict(texts: list[str]) -> list[str]:
        labels, _ = model.f.multilinePredict([text + "\n" for text in texts], 1, 0.0, "strict")
        return [row[0] for row in labels]

    return seconds, predict


def main(argv: Sequence[str]) -> int:
    """Run one program, as ``python -m fastemb.bench.classify PROGRAM FOLDER SETTINGS``, and print what it took."""
    program, folder, settings = argv
    told = json.loads(settings)
    texts, _ = _read(Path(folder, "train.txt"))
    unseen, labels = _read(Path(folder, "test.txt"))
    seconds, predict = {"fastemb": _fastemb, "fasttext": _fasttext}[program](Path(folder), told)
    predict(texts[:100])
    times = []
    for _ in range(PREDICTIONS):
        start = time.perf_counter()
        predict(texts)
        times.append(time.perf_counter() - start)
    correct = sum(found == label for found, label in zip(predict(unseen), labels, strict=True))
    figures = {
        "train_texts_per_second": len(texts) * told["epochs"] / seconds,
        "predict_texts_per_second": len(texts) / min(times),
        "accuracy": correct / len(labels),
        "train_seconds": seconds,
        "predict_seconds": times,
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
