"""``fastemb bench vectors``: near words of thousands of words beside gensim and NumPy, and what smaller tables lose."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastemb.bench.machine import core_round_trip, describe
from fastemb.bench.process import PYTHON, run_process
from fastemb.bench.training import save
from fastemb.engine.validate import choice, integer

KINDS = ("neighbors", "compact", "indexes")
LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What tells NumPy's products how many threads to use; they must be set before it is imported."""


def run(
    vectors: str | os.PathLike[str] | None = None,
    *,
    what: str | Sequence[str] = "neighbors",
    num_words: int = 100_000,
    vector_size: int = 100,
    num_queries: int = 10_000,
    threads: int = 2,
    repeats: int = 5,
    quick: bool = False,
    output: str | os.PathLike[str] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Search for the ten nearest words of many, with fastemb and its peers in turn; results are checked first.

    Parameters
    ----------
    vectors
        A file of vectors; its first `num_words` are used. By default random ones, on which smaller tables and
        approximate indexes do worse than on words: give a file for these.
    what
        Of ``"neighbors"`` (fastemb's batch, NumPy's matrix product alone, gensim word by word), ``"compact"`` (what
        tables of 8 and 4 bits and of short floats lose, and what they cost), ``"indexes"`` (usearch and faiss beside
        the exact search); or ``"all"``.
    num_words, vector_size
        Size of the random table.
    num_queries
        Words to search for.
    threads
        Of all programs.
    repeats
        Rounds, in which the programs take turns.
    quick
        A small table and one round: to see that it works, not to be believed.
    output
        A file for the results, as JSON.
    log
        Called with a line about each measurement.

    Returns
    -------
    dict
        What is written to `output`: ``machine``, ``load``, ``settings`` and ``measures``, of which
        `fastemb.bench.tables.render` makes tables.

    Raises
    ------
    ValueError
        If `what` holds an unknown name.
    RuntimeError
        If a peer is missing, or a result is wrong.

    Examples
    --------
    >>> from fastemb.bench.vectors.run import run
    >>> run(what="colour")
    Traceback (most recent call last):
        ...
    ValueError: what must be one of 'neighbors', 'compact', 'indexes', got 'colour'
    """
    wanted = KINDS if what == "all" else (what,) if isinstance(what, str) else tuple(what)
    for kind in wanted:
        choice("what", kind, KINDS)
    if quick:
        num_words, num_queries, repeats = min(num_words, 5000), min(num_queries, 500), 1
    settings = {
        "vectors": None if vectors is None else os.path.abspath(vectors),
        "num_words": integer("num_words", num_words, 100),
        "vector_size": integer("vector_size", vector_size, 1),
        "num_queries": integer("num_queries", num_queries, 1),
        "threads": integer("threads", threads, 1),
        "repeats": integer("repeats", repeats, 1),
        "quick": quick,
    }
    results: dict[str, Any] = {
        "benchmark": "vectors",
        "machine": describe(),
        "load": os.getloadavg()[0],
        "settings": settings | {"vectors": None if vectors is None else os.path.basename(vectors)},
        "measures": {},
    }
    for kind in wanted:
        results["measures"][kind] = _measured(kind, settings)
        for row in results["measures"][kind]["rows"]:
            log(f"{kind}: {row['label']}: {min(row['seconds']):.3f} s")
        if output is not None:
            save(output, results)
    return results


def _measured(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure one kind in a process of its own."""
    trips = [core_round_trip()]
    env = dict.fromkeys(LIBRARIES, str(settings["threads"]))
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
        source, target = Path(folder, "settings.json"), Path(folder, "result.json")
        source.write_text(json.dumps({**settings, "kind": kind}), encoding="utf-8")
        run_process([*PYTHON, "-m", "fastemb.bench.vectors.cases", str(source), str(target)], env)
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return {**found, "round_trip_ns": [*trips, core_round_trip()]}
