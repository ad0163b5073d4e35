"""What a benchmark can measure beside the speed and quality of training; each returns figures ready for JSON."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from fastemb.bench.compare import Bench, Entry, Run
from fastemb.bench.machine import usable_cores
from fastemb.bench.peers import MIN_COUNT, NEGATIVE, SAMPLE, WINDOW, Config
from fastemb.bench.prepare import prepare
from fastemb.bench.process import PYTHON, run_process

FASTEMB = Entry("fastemb", "fastemb")
GENSIM = Entry("gensim", "gensim")
MARGIN_BYTES = 200_000_000
"""What a training process may use besides its tables and four bytes a token."""

GENSIM_SCRIPT = """
from gensim.models import Word2Vec
model = Word2Vec(corpus_file={corpus!r}, sg=1, vector_size={vector_size}, window={window}, negative={negative},
                 sample={sample}, min_count={min_count}, epochs=1, workers={threads}, seed=1)
model.wv.save({out!r})
"""


def scan(bench: Bench, rounds: int) -> dict[str, Any]:
    """Count the words: fastemb (which also encodes them), gensim's `scan_vocab` and ``wc -w``, in turn.

    Returns
    -------
    dict
        For each program ``seconds`` of each round, and the median's ``words_per_second`` and ``gigabytes_per_second``.

    Raises
    ------
    RuntimeError
        If fastemb and gensim do not count the same words and vocabulary.
    """
    seconds: dict[str, list[float]] = {"fastemb": [], "gensim": [], "wc -w": []}
    for _ in range(rounds):
        counted = {}
        for program in ("fastemb", "gensim"):
            with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
                config = Config(bench.corpus.path, folder, threads=bench.threads)
                result, _ = bench.launch(f"{program}-scan", config)
            seconds[program].append(result["scan_seconds"])
            counted[program] = (result["words"], result["vocabulary"])
        if counted["fastemb"] != counted["gensim"]:
            raise RuntimeError(f"fastemb and gensim must count the same words and vocabulary, got {counted}")
        seconds["wc -w"].append(run_process(["wc", "-w", bench.corpus.path]).seconds)
        bench.log("scan: " + ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items()))
    return {
        name: {
            "seconds": values,
            "words_per_second": bench.corpus.words / statistics.median(values),
            "gigabytes_per_second": bench.corpus.bytes / 1e9 / statistics.median(values),
        }
        for name, values in seconds.items()
    }


def start(bench: Bench, rounds: int) -> dict[str, Any]:
    """Time what a user waits for: a whole command, an import, the help, compiling.

    Returns
    -------
    dict
        Seconds of each round: ``train`` of ``fastemb train`` and of a gensim script from start to saved file, one epoch
        each; ``import``, less what Python itself takes; ``help``; ``compile`` with an empty cache and ``cached`` with a
        full one.
    """
    return {"train": _command(bench, rounds), **_imports(max(rounds, 5)), **_compiling(bench)}


def _command(bench: Bench, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {"fastemb train": [], "gensim script": []}
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
        out = str(Path(folder, "vectors"))
        ours = [*PYTHON, "-m", "fastemb", "train", bench.corpus.path, "-o", f"{out}.safetensors", "--quiet"]
        ours += ["--vector-size", str(bench.vector_size), "--workers", str(bench.threads), "--epochs", "1"]
        script = GENSIM_SCRIPT.format(
            corpus=bench.corpus.path, vector_size=bench.vector_size, window=WINDOW, negative=NEGATIVE, sample=SAMPLE,
            min_count=MIN_COUNT, threads=bench.threads, out=f"{out}.kv",
        )  # fmt: skip
        commands = {"fastemb train": ours, "gensim script": [*PYTHON, "-c", script]}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(run_process(command).seconds)
                bench.log(f"start to saved file: {name} {seconds[name][-1]:.2f} s")
    return seconds


def _imports(rounds: int) -> dict[str, list[float]]:
    def timed(*arguments: str) -> float:
        begin = time.perf_counter()
        subprocess.run([*PYTHON, *arguments], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    seconds: dict[str, list[float]] = {"import": [], "help": []}
    for _ in range(rounds):
        seconds["import"].append(timed("-c", "import fastemb") - timed("-c", "pass"))
        seconds["help"].append(timed("-m", "fastemb", "--help"))
    return seconds


def _compiling(bench: Bench) -> dict[str, list[float]]:
    small = prepare(bench.corpus.path, max_words=20_000)
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as cache:
        runs = [
            bench.train(FASTEMB, corpus=small, scored=False, env={"FASTEMB_CACHE_DIR": cache, "NUMBA_CACHE_DIR": cache})
            for _ in range(2)
        ]
    return {"compile": [runs[0]["compile_seconds"]], "cached": [runs[1]["compile_seconds"]]}


def memory(bench: Bench) -> dict[str, Any]:
    """Measure the peak memory of training, and train a text three times as large as `max_memory` allows.

    Returns
    -------
    dict
        ``runs``, of which fastemb's have ``limit_bytes``: both tables, 4 bytes a token and 200 MB; `max_memory` takes
        the place of the tokens where it is given.
    """
    tripled = prepare(bench.corpus.path, copies=3)
    plain = bench.train(FASTEMB, scored=False)
    budget = bench.corpus.words * 4
    bounded = Entry("fastemb, max_memory", "fastemb", options={"max_memory": budget})
    large = bench.train(bounded, corpus=tripled, scored=False)
    peer = bench.train(GENSIM, scored=False)
    for run in (plain, large):
        tables = 2 * run["vocabulary"] * 4 * -(-bench.vector_size // 16) * 16
        run["limit_bytes"] = tables + budget + MARGIN_BYTES
    return {"runs": [plain, large, peer], "max_memory": budget, "words": [bench.corpus.words, tripled.words]}


def threads(bench: Bench, rounds: int) -> list[Run]:
    """Train with 1, 2, 4 ... threads, up to the cores that there are, each in turn."""
    cores = len(usable_cores())
    counts = sorted({cores, *(2**power for power in range(cores.bit_length()) if 2**power <= cores)})
    return [bench.train(FASTEMB, seed=seed, threads=count) for seed in range(1, rounds + 1) for count in counts]


def time_to_quality(bench: Bench, rounds: int, epochs: int = 5, most: int = 5) -> dict[str, Any]:
    """Find how soon fastemb reaches gensim's quality after `epochs` epochs, on every evaluation set.

    fastemb trains for 1, 2, 3 ... epochs, each a whole run with its own schedule, until its mean score over the rounds
    is on no set under gensim's by more than twice the standard error of the difference.

    Returns
    -------
    dict
        All ``runs``, ``epochs`` that fastemb needed (None if `most` were not enough), and ``ratio``: gensim's seconds
        of training over fastemb's, medians.

    Raises
    ------
    ValueError
        If there are no evaluation sets.
    """
    if bench.analogies is None and not bench.pairs:
        raise ValueError("analogies or pairs must be given to measure the time to a quality, got neither")
    target = bench.compare([GENSIM], epochs=epochs, rounds=rounds, again=False)
    runs = list(target)
    for count in range(1, most + 1):
        ours = bench.compare([FASTEMB], epochs=count, rounds=rounds, again=False)
        runs += ours
        if reaches(ours, target):
            ratio = statistics.median(r["train_seconds"] for r in target) / statistics.median(
                r["train_seconds"] for r in ours
            )
            return {"runs": runs, "epochs": count, "ratio": ratio}
    return {"runs": runs, "epochs": None, "ratio": None}


def reaches(ours: list[Run], target: list[Run], slack: float = 0.0) -> bool:
    """Tell whether the mean scores of `ours` are level with those of `target`.

    Parameters
    ----------
    ours, target
        Runs with scores, of one seed each.
    slack
        Points by which a score may be lower, besides twice the standard error of the difference.

    Examples
    --------
    >>> from fastemb.bench.measures import reaches
    >>> low, high = [{"scores": {"MEN": 40.0}}] * 3, [{"scores": {"MEN": 43.0}}] * 3
    >>> reaches(high, low), reaches(low, high), reaches(low, high, slack=3)
    (True, False, True)
    """
    for name in target[0]["scores"]:
        mine, theirs = ([run["scores"][name] for run in runs] for runs in (ours, target))
        if statistics.fmean(mine) < statistics.fmean(theirs) - slack - 2 * difference_error(mine, theirs):
            return False
    return True


def difference_error(first: list[float], second: list[float]) -> float:
    """Return the standard error of the difference of two means; zero where a list holds one value only.

    Examples
    --------
    >>> from fastemb.bench.measures import difference_error
    >>> difference_error([1.0, 3.0], [2.0, 4.0])
    1.4142135623730951
    """
    if len(first) < 2 or len(second) < 2:
        return 0.0
    return (statistics.variance(first) / len(first) + statistics.variance(second) / len(second)) ** 0.5
