"""``fastemb bench phrases``: two passes of phrases beside gensim's, on one text.

A pass learns phrases and joins them; the second one learns from the joined text, and what it joins is written. Each run
is a process of its own: ``python -m fastemb.bench.phrases PROGRAM TEXT OUT THREADS``.
"""

import filecmp
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastemb.bench.machine import describe
from fastemb.bench.prepare import prepare
from fastemb.bench.process import PYTHON, run_process
from fastemb.bench.training import save

CHECK_WORDS = 300_000
"""How much of the text the phrases themselves are compared on, beside the whole joined text."""


def run(
    corpus: str | os.PathLike[str],
    *,
    repeats: int = 3,
    threads: int = 2,
    max_words: int | None = None,
    output: str | os.PathLike[str] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure two passes of phrases, fastemb's and gensim's in turn, once their results have been found equal.

    Parameters
    ----------
    corpus
        A text file, one sentence a line, or a ``.gz`` of one. Its lines are cut at 1000 words.
    repeats
        Runs of each program.
    threads
        Of fastemb, besides a run with one; gensim has one.
    max_words
        Use only the first so many words of the corpus.
    output
        A file for the results, as JSON.
    log
        Called with a line about each run.

    Returns
    -------
    dict
        ``machine``, ``corpus``, ``settings`` and ``runs``: for each run ``program``, ``threads``, ``seconds`` from the
        start of reading to the end of writing, ``processor_seconds`` and ``peak_bytes`` of the process; ``ratios``
        gives how often fastemb's median time goes into gensim's.

    Raises
    ------
    FileNotFoundError
        If the corpus is not there.
    RuntimeError
        If a program fails, or the joined texts differ, or the phrases or their scores.

    Examples
    --------
    >>> from fastemb.bench.phrases import run
    >>> run("none.txt")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'none.txt'
    """
    text = prepare(corpus, max_words=max_words)
    check(prepare(corpus, max_words=min(max_words or CHECK_WORDS, CHECK_WORDS)).path)
    log("the phrases and their scores are the same")
    sides = [("gensim", 1), *(("fastemb", count) for count in sorted({1, threads}))]
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
        for _ in range(repeats):
            for program, count in sides:
                runs.append(_measure(program, text.path, folder, count))
                log(
                    "{program}, threads: {threads}, {seconds:.2f} s, {processor_seconds:.2f} s of CPU".format(
                        **runs[-1]
                    )
                )
    results = {
        "benchmark": "phrases",
        "machine": describe(),
        "corpus": text.as_dict(),
        "settings": {"threads": threads, "repeats": repeats, "passes": 2},
        "runs": runs,
        "ratios": {str(count): _median(runs, "gensim", 1) / _median(runs, "fastemb", count) for _, count in sides[1:]},
    }
    if output is not None:
        save(output, results)
    return results


def _measure(program: str, path: str, folder: str, threads: int) -> dict[str, Any]:
    out = Path(folder, f"{program}.txt")
    outcome = run_process([*PYTHON, "-m", "fastemb.bench.phrases", program, path, str(out), str(threads)])
    if program != "gensim" and not filecmp.cmp(Path(folder, "gensim.txt"), out, shallow=False):
        raise RuntimeError(f"fastemb's joined text must be gensim's, and differs at {_difference(folder)}")
    return {
        "program": program,
        "threads": threads,
        "seconds": json.loads(outcome.stdout)["seconds"],
        "processor_seconds": outcome.processor_seconds,
        "peak_bytes": outcome.peak_bytes,
    }


def render(results: dict[str, Any]) -> str:
    """Return the results as a table in Markdown.

    Examples
    --------
    >>> runs = [{"program": "gensim", "threads": 1, "seconds": 100.0, "processor_seconds": 99.0, "peak_bytes": 2e9},
    ...         {"program": "fastemb", "threads": 2, "seconds": 4.0, "processor_seconds": 6.0, "peak_bytes": 1e9}]
    >>> print(render({"corpus": {"words": 10**7}, "runs": runs}))
    | two passes of phrases | threads | seconds | M words/s | CPU seconds | peak memory | times gensim |
    |---|---|---|---|---|---|---|
    | gensim | 1 | 100.0 | 0.10 | 99.0 | 2.00 GB | 1.0 |
    | fastemb | 2 | 4.0 | 2.50 | 6.0 | 1.00 GB | 25.0 |
    """
    runs, words = results["runs"], results["corpus"]["words"]
    header = ["two passes of phrases", "threads", "seconds", "M words/s", "CPU seconds", "peak memory", "times gensim"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for program, threads in dict.fromkeys((run["program"], run["threads"]) for run in runs):
        seconds = _median(runs, program, threads)
        cells = [
            program,
            str(threads),
            f"{seconds:.1f}",
            f"{words / seconds / 1e6:.2f}",
            f"{_median(runs, program, threads, 'processor_seconds'):.1f}",
            f"{_median(runs, program, threads, 'peak_bytes') / 1e9:.2f} GB",
            f"{_median(runs, 'gensim', 1) / seconds:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def check(path: str) -> None:
    """Compare the phrases of both programs, and their scores, on a text.

    Raises
    ------
    RuntimeError
        If they differ.
    """
    from gensim.models import phrases as gensim

    from fastemb import Phrases

    text = list(_Lines(path))
    for scoring, threshold in (("default", 10.0), ("npmi", 0.5)):
        theirs = gensim.Phrases(text, scoring=scoring, threshold=threshold)
        ours = Phrases(corpus_file=path, scoring=scoring, threshold=threshold)
        if dict(ours.vocab) != theirs.vocab:
            raise RuntimeError("fastemb's counts must be gensim's")
        if ours.find_phrases(text) != theirs.find_phrases(text):
            raise RuntimeError(f"fastemb's phrases and scores must be gensim's ({scoring})")


def _median(runs: list[dict[str, Any]], program: str, threads: int, what: str = "seconds") -> float:
    return statistics.median(run[what] for run in runs if (run["program"], run["threads"]) == (program, threads))


def _difference(folder: str) -> str:
    """Return where two texts differ."""
    with open(Path(folder, "gensim.txt"), "rb") as theirs, open(Path(folder, "fastemb.txt"), "rb") as ours:
        for number, (wanted, got) in enumerate(zip(theirs, ours, strict=False)):
            if wanted != got:
                return f"line {number + 1}: {got[:200]!r}, gensim's {wanted[:200]!r}"
    return "the end"


class _Lines:
    """A text file as lists of words, as often as it is asked for: gensim's LineSentence without its cut."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __iter__(self) -> Iterator[list[str]]:
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                yield line.split()


def two_passes_gensim(path: str, out: str, threads: int) -> None:
    """Learn, join and write with gensim."""
    from gensim.models.phrases import Phraser, Phrases

    text = _Lines(path)
    bigrams = Phraser(Phrases(text))
    trigrams = Phrases(bigrams[text])
    with open(out, "w", encoding="utf-8") as file:
        for sentence in trigrams[bigrams[text]]:
            file.write(" ".join(sentence) + "\n")


def two_passes_fastemb(path: str, out: str, threads: int) -> None:
    """Learn, join and write with fastemb: the same models on the same text."""
    from fastemb import Phrases
    from fastemb.corpus.joining import text_blocks
    from fastemb.trainers.phrasing import read_words

    text = read_words(path, workers=threads)
    for _ in range(2):
        model = Phrases(workers=threads)
        model.add_corpus(text)
        text = model.join(text, workers=threads)
    with open(out, "wb") as file:
        for block in text_blocks(text, threads):
            file.write(block)


def main(program: str, path: str, out: str, threads: str) -> None:
    """Run one program and print its seconds as JSON."""
    passes = {"gensim": two_passes_gensim, "fastemb": two_passes_fastemb}[program]
    start = time.monotonic()
    passes(path, out, int(threads))
    print(json.dumps({"seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
