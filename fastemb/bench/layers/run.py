"""``fastemb bench layers``: lookups, bags and training steps beside torch's and FBGEMM's."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

from fastemb.bench.layers.setup import PEERS, Setup
from fastemb.bench.layers.targets import TARGETS
from fastemb.bench.machine import describe
from fastemb.bench.training import save
from fastemb.engine.parallel import num_threads
from fastemb.engine.validate import choice, integer

KINDS = (*dict.fromkeys(target.kind for target in TARGETS), "memory")
SECONDS = 1.2
QUICK_SECONDS = 0.05
MODULES = {"torch": "torch", "fbgemm": "fbgemm_gpu"}


def run(
    peers: Sequence[str] = PEERS,
    *,
    what: str | Sequence[str] = "bags",
    threads: int = 2,
    seconds: float | None = None,
    quick: bool = False,
    output: str | os.PathLike[str] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure fastemb's lookups, bags and steps beside torch's and FBGEMM's: same tables, same indices, in turn.

    Parameters
    ----------
    peers
        ``"torch"``, with which every result is compared before it is timed, and ``"fbgemm"`` or not.
    what
        Of `KINDS`, or ``"all"``.
    threads
        Of each side.
    seconds
        For each case; default 1.2, with which no kind takes much more than five minutes.
    quick
        One small case of each variant: to see that it works, not to be believed.
    output
        A file for the results, as JSON.
    log
        Called with a line about each case.

    Returns
    -------
    dict
        What is written to `output`: ``machine``, ``load`` (how many processes ran in the minute before), ``settings``,
        ``measures`` with each case's medians, and ``skipped``, the cases for which there was no memory.
        `fastemb.bench.tables.render` makes tables of it.

    Raises
    ------
    ImportError
        If a peer is not installed.
    ValueError
        If `what` or `peers` holds an unknown name.
    RuntimeError
        If a result is wrong.

    Examples
    --------
    >>> from fastemb.bench.layers.run import run
    >>> run(what="colour")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: what must be one of 'bags', 'off-path', ..., got 'colour'
    """
    wanted = KINDS if what == "all" else (what,) if isinstance(what, str) else tuple(what)
    for kind in wanted:
        choice("what", kind, KINDS)
    for peer in peers:
        choice("peers", peer, PEERS)
    _require(("torch", *peers))
    threads = integer("threads", threads, 1)
    setup = Setup(tuple(peers), quick, log, threads)
    each = seconds or (QUICK_SECONDS if quick else SECONDS)
    results: dict[str, Any] = {
        "benchmark": "layers",
        "machine": describe(),
        "load": os.getloadavg()[0],
        "settings": {"peers": list(peers), "threads": threads, "seconds": each, "quick": quick},
        "measures": {},
        "skipped": setup.skipped,
    }
    from fastemb.bench.layers.kinds import measure_kind, use_threads

    with num_threads(threads):
        use_threads(threads)
        for kind in wanted:
            results["measures"][kind] = measure_kind(kind, setup, each)
            if output is not None:  # after each kind: what was measured is not lost to a later one's failure
                save(output, results)
    return results


def _require(peers: Sequence[str]) -> None:
    for peer in peers:
        if importlib.util.find_spec(MODULES[peer]) is None:
            raise ImportError(f"{peer} is not installed: pip install 'fastemb[bench-layers]'")
