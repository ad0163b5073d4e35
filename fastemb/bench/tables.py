"""Tables of a benchmark's results, which ``python -m fastemb.bench.tables PAGE.md... RESULTS.json...`` writes to pages.

A page marks the place of a table with ``<!-- table: NAME -->`` and ``<!-- end of table -->``; NAME is a kind of
measurement, or ``machine``, and, where several files hold it, the vector size: ``speed 300``. Of what `fastemb bench
layers`, `vectors`, `glove` and `gpu` measured it is that name, alone or with a kind or, but for the last two,
``machine``; of `classify` and `phrases`, that name. What stands between is replaced.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastemb.bench import classify, glove_tables, gpu_tables, phrases
from fastemb.bench.compare import Run
from fastemb.bench.layers import tables as layers
from fastemb.bench.machine import placement
from fastemb.bench.measures import difference_error
from fastemb.bench.models import by_epochs
from fastemb.bench.vectors import tables as vectors

MARKED = re.compile(r"(<!-- table: ([\w ,.-]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
SLACK = 1.0
"""Points by which a score may be under the peer's, besides twice the standard error, before its speed is doubted."""


def render(results: dict[str, Any], kinds: Sequence[str] | None = None) -> str:
    """Return Markdown tables of what the ``run`` of one of the benchmarks gave.

    Parameters
    ----------
    results
        As `run` returns it, or as it is in its file.
    kinds
        Which measurements; all by default.

    Examples
    --------
    >>> from fastemb.bench.tables import render
    >>> scan = {"fastemb": {"seconds": [1.0], "words_per_second": 8e6, "gigabytes_per_second": 0.05},
    ...     "gensim": {"seconds": [8.0], "words_per_second": 1e6, "gigabytes_per_second": 0.00625}}
    >>> print(render({"measures": {"scan": scan}, "settings": {"threads": 2}}))
    | scan | seconds | M words/s | GB/s | fastemb is faster |
    |---|---|---|---|---|
    | fastemb | 1.00 | 8.0 | 0.050 | |
    | gensim | 8.00 | 1.0 | 0.006 | 8.0x |
    """
    found = results["measures"]
    module = _MODULES.get(results.get("benchmark", ""))
    if module is not None:
        names = kinds or (["", *found] if module is layers else found)
        return "\n\n".join(_own_grids(module, results, name) or "" for name in names)
    return "\n\n".join(_TABLES[kind](found.get(kind), results) for kind in (kinds or found))


def write(page: Path, results: Sequence[dict[str, Any]]) -> list[str]:
    r"""Replace the marked tables of `page` and return the names of those that none of `results` holds.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb.bench.tables import write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = pathlib.Path(folder, "page.md")
    ...     _ = page.write_text("<!-- table: speed 100 -->\n<!-- end of table -->\n")
    ...     write(page, [])
    ['speed 100']
    """
    missing = []

    def replace(match: re.Match[str]) -> str:
        table = _find(match[2], results)
        if table is None:
            missing.append(match[2])
            return match[0]
        return f"{match[1]}{table}\n{match[3]}"

    old = page.read_text(encoding="utf-8")
    new = MARKED.sub(replace, old)
    if new != old:
        page.write_text(new, encoding="utf-8")
    return missing


def _find(name: str, results: Sequence[dict[str, Any]]) -> str | None:
    """Return the table that a page calls `name`: the last one where several of `results` hold it."""
    kind, _, rest = name.partition(" ")
    if kind in _WHOLE:
        found = [result for result in results if result.get("benchmark") == kind]
        return _WHOLE[kind](found[-1]) if found else None
    if kind in _MODULES:
        found = [result for result in results if result.get("benchmark") == kind]
        return _own_grids(_MODULES[kind], _MODULES[kind].merge(found), rest) if found else None
    for result in reversed(results):
        held = "benchmark" not in result and (kind == "machine" or kind in result["measures"])
        if held and (not rest or int(rest) == result["settings"]["vector_size"]):
            return render(result, [kind])
    return None


_WHOLE: dict[str, Callable[[dict[str, Any]], str]] = {"classify": classify.render, "phrases": phrases.render}
_MODULES: dict[str, Any] = {"glove": glove_tables, "gpu": gpu_tables, "layers": layers, "vectors": vectors}


def _own_grids(module: Any, results: dict[str, Any], name: str) -> str | None:
    """Return the tables that a benchmark's own module makes of its results."""
    grids = module.grids(results, name)
    return None if grids is None else "\n\n".join(_grid(*grid) for grid in grids)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"

    return "\n".join([line(header), "|---" * len(header) + "|", *map(line, rows)])


def _groups(runs: Sequence[Run], *keys: str) -> dict[tuple[Any, ...], list[Run]]:
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run[key] for key in keys), []).append(run)
    return groups


def _spread(values: Sequence[float], digits: int = 2) -> str:
    middle = f"{statistics.median(values):.{digits}f}"
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else middle


def _score(runs: Sequence[Run], name: str) -> str:
    values = [run["scores"][name] for run in runs]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.1f}" + (f" ± {error:.1f}" if len(values) > 1 else "")


def _cores(runs: Sequence[Run]) -> str:
    trips = [trip for run in runs for trip in run["round_trip_ns"] if trip is not None]
    if not trips:
        return "unknown"
    met = sorted({placement(trip) for trip in trips}, reverse=True)
    return f"{' and '.join(met)} ({min(trips):.0f} to {max(trips):.0f} ns)"


def _deficits(runs: Sequence[Run], peers: Sequence[Run]) -> list[str]:
    """Name the sets on which `runs` are under `peers` by more than the noise and `SLACK`."""
    below = []
    for name in peers[0]["scores"]:
        mine, theirs = ([run["scores"][name] for run in group] for group in (runs, peers))
        if statistics.fmean(mine) < statistics.fmean(theirs) - SLACK - 2 * difference_error(mine, theirs):
            below.append(name)
    return below


def _machine(nothing: None, results: dict[str, Any]) -> str:
    machine, corpus, settings = (results[key] for key in ("machine", "corpus", "settings"))
    rows = [
        ["text", f"{corpus['words']:,} words, {corpus['lines']:,} lines, {corpus['bytes']:,} bytes"],
        ["settings", ", ".join(f"{key} {settings[key]}" for key in ("window", "negative", "sample", "min_count"))],
        ["threads", str(settings["threads"])],
        ["processor", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"],
        ["caches", "; ".join(machine["caches"]) or "unknown"],
        ["system", f"{machine['system']}, Python {machine['python']}"],
        ["versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())],
        ["date", machine["date"][:10]],
    ]
    return _grid(["what", "on"], rows)


def _speed(runs: list[Run], results: dict[str, Any]) -> str:
    labels = {label: group for (label,), group in _groups(runs, "label").items()}
    peers = [label for label in labels if not label.startswith("fastemb")]
    sets = list(runs[0]["scores"])
    rows = []
    for label, group in labels.items():
        ratios = []
        for peer in peers:
            pairs = zip(group, labels[peer], strict=False)
            ratio = [ours["words_per_second"] / theirs["words_per_second"] for ours, theirs in pairs]
            ratios.append("" if label in peers else f"{_spread(ratio, 1)}x")
        gensim = labels.get("gensim")
        below = [] if label in peers or gensim is None else _deficits(group, gensim)
        doubt = f" (under gensim: {', '.join(below)})" if below else ""
        speed = _spread([run["words_per_second"] / 1e6 for run in group])
        memory = f"{statistics.median(run['peak_bytes'] for run in group) / 1e6:.0f}"
        wall = f"{statistics.median(run['wall_seconds'] for run in group):.1f}"
        scores = [_score(group, name) for name in sets]
        rows.append([label + doubt, speed, *ratios, wall, memory, *scores, _cores(group)])
    first = runs[0]
    title = f"D {first['vector_size']}, {first['threads']} threads, epochs {first['epochs']}"
    times = [f"times {peer}" for peer in peers]
    table = _grid([title, "M words/s", *times, "start to file, s", "memory, MB", *sets, "cores"], rows)
    return "\n\n".join([table, *(_by_placement(labels["fastemb"], labels[peer], peer) for peer in peers)])


def _by_placement(ours: Sequence[Run], theirs: Sequence[Run], peer: str) -> str:
    """Say how many times faster each round was, by where the cores lay in it."""
    found: dict[str, list[str]] = {}
    for mine, other in zip(ours, theirs, strict=False):
        ratio = mine["words_per_second"] / other["words_per_second"]
        met = {placement(trip) for trip in (*mine["round_trip_ns"], *other["round_trip_ns"])}
        found.setdefault(met.pop() if len(met) == 1 else "changing", []).append(f"{ratio:.1f}x")
    rounds = "; ".join(f"{met} cores {', '.join(ratios)}" for met, ratios in sorted(found.items()))
    return f"fastemb over {peer}, round by round: {rounds}."


def _quality(runs: list[Run], results: dict[str, Any]) -> str:
    sets = list(runs[0]["scores"])
    rows = []
    for (epochs, label), group in _groups(runs, "epochs", "label").items():
        seconds = statistics.median(run["train_seconds"] for run in group)
        mean = statistics.fmean(value for run in group for value in run["scores"].values()) if sets else float("nan")
        rows.append([str(epochs), label, f"{seconds:.1f}", *(_score(group, name) for name in sets), f"{mean:.1f}"])
    return _grid(["epochs", f"D {runs[0]['vector_size']}", "training, s", *sets, "mean"], rows)


def _scan(found: dict[str, Any], results: dict[str, Any]) -> str:
    ours = statistics.median(found["fastemb"]["seconds"])
    rows = []
    for name, figures in found.items():
        seconds = statistics.median(figures["seconds"])
        ratio = "" if name == "fastemb" else f"{seconds / ours:.1f}x"
        words, rate = figures["words_per_second"] / 1e6, figures["gigabytes_per_second"]
        rows.append([name, f"{seconds:.2f}", f"{words:.1f}", f"{rate:.3f}", ratio])
    return _grid(["scan", "seconds", "M words/s", "GB/s", "fastemb is faster"], rows)


def _start(found: dict[str, Any], results: dict[str, Any]) -> str:
    names = {
        "import": "`import fastemb`, beyond Python's own start",
        "help": "`fastemb --help`",
        "compile": "compiling, the first time on a machine",
        "cached": "compiling, from the cache",
    }
    rows = [[f"{name}, start to saved file", _spread(values)] for name, values in found["train"].items()]
    rows += [[text, _spread(found[name])] for name, text in names.items()]
    return _grid(["what", "seconds"], rows)


def _memory(found: dict[str, Any], results: dict[str, Any]) -> str:
    rows = []
    for run, words in zip(found["runs"], [found["words"][0], found["words"][1], found["words"][0]], strict=True):
        limit = f"{run['limit_bytes'] / 1e6:.0f}" if "limit_bytes" in run else ""
        own = f"{run['peak_anonymous_bytes'] / 1e6:.0f}"
        rows.append([run["label"], f"{words / 1e6:.1f}", f"{run['peak_bytes'] / 1e6:.0f}", own, limit])
    return _grid(
        ["program", "M words", "peak, MB", "without pages of files", "tables + 4 bytes a token + 200 MB"], rows
    )


def _threads(runs: list[Run], results: dict[str, Any]) -> str:
    groups = _groups(runs, "threads")
    one = groups[(1,)]
    sets = list(runs[0]["scores"])
    rows = []
    for (count,), group in groups.items():
        ratios = [ours["words_per_second"] / base["words_per_second"] for ours, base in zip(group, one, strict=True)]
        speed = _spread([run["words_per_second"] / 1e6 for run in group])
        scores = [_score(group, name) for name in sets]
        rows.append([str(count), speed, f"{_spread(ratios)}x", *scores, _cores(group)])
    return _grid(["threads", "M words/s", "times one thread", *sets, "cores"], rows)


def _time_to_quality(found: dict[str, Any], results: dict[str, Any]) -> str:
    table = _quality(found["runs"], results)
    if found["epochs"] is None:
        return f"{table}\n\nfastemb did not reach gensim's scores on every set."
    return (
        f"{table}\n\nfastemb reaches gensim's scores on every set after {found['epochs']} epochs, "
        f"in 1/{found['ratio']:.1f} of gensim's time."
    )


def _models(runs: list[Run], results: dict[str, Any]) -> str:
    return by_epochs(runs, lambda group: _speed(group, results))


def _fasttext(runs: list[Run], results: dict[str, Any]) -> str:
    labels = {label: group for (label,), group in _groups(runs, "label").items()}
    sets = list(dict.fromkeys(name for run in runs for name in run["scores"]))
    rows = []
    for label, group in labels.items():
        program, model = label.split(", ")
        peers = labels.get(f"fasttext, {model}", [])
        ratios = [a["words_per_second"] / b["words_per_second"] for a, b in zip(group, peers, strict=False)]
        times = f"{_spread(ratios, 1)}x" if program == "fastemb" and ratios else ""
        scores = [_score(group, name) if name in group[0]["scores"] else "" for name in sets]
        memory = f"{statistics.median(run['peak_bytes'] for run in group) / 1e6:.0f}"
        speed = _spread([run["words_per_second"] / 1e6 for run in group])
        rows.append([label, speed, times, memory, *scores, _cores(group)])
    title = f"D {runs[0]['vector_size']}, {runs[0]['threads']} threads, epochs {runs[0]['epochs']}, n-grams 3 to 6"
    return _grid([title, "M words/s", "times fasttext", "memory, MB", *sets, "cores"], rows)


def _open(runs: list[Run], results: dict[str, Any]) -> str:
    def middle(group: Sequence[Run], name: str, scale: float, digits: int) -> str:
        return f"{statistics.median(run[name] / scale for run in group):.{digits}f}" if name in group[0] else ""

    rows = []
    for (program,), group in _groups(runs, "program").items():
        seconds = [middle(group, name, 1, 3) for name in ("open_seconds", "lookups_seconds", "all_seconds")]
        memory = [middle(group, name, 1e6, 0) for name in ("open_bytes", "open_used_bytes", "lookups_bytes")]
        rest = [middle(group, name, 1e6, 0) for name in ("all_bytes", "all_used_bytes")]
        rows.append([program.removesuffix("-open"), *seconds, *memory, *rest])
    title = f"a model of {runs[0]['file_bytes'] / 1e9:.2f} GB"
    header = [title, "open, s", "2000 look-ups, s", "all words, s", "open, MB", "of it used", "look-ups, MB"]
    return _grid([*header, "all words, MB", "of it used"], rows)


NEED_GPU = ("gpu",)
"""Tables that stay as they are without results, since few machines can measure them."""

_TABLES: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "cbow": _models,
    "hierarchical": _models,
    "machine": _machine,
    "speed": _speed,
    "quality": _quality,
    "scan": _scan,
    "start": _start,
    "memory": _memory,
    "threads": _threads,
    "time-to-quality": _time_to_quality,
    "fasttext": _fasttext,
    "open": _open,
}


def main(argv: list[str]) -> int:
    """Write the tables of files of results into pages, as the command line `argv` says: pages and JSON files.

    Returns
    -------
    int
        Zero, or one where a table that a page asks for is in no file, but for those that wait for a GPU.

    Examples
    --------
    >>> from fastemb.bench.tables import main
    >>> main([])
    Traceback (most recent call last):
        ...
    SystemExit: usage: python -m fastemb.bench.tables PAGE.md... RESULTS.json...
    """
    sources = [path for path in argv if path.endswith(".json")]
    pages = [path for path in argv if path not in sources]
    if not sources or not pages:
        raise SystemExit("usage: python -m fastemb.bench.tables PAGE.md... RESULTS.json...")
    results = [json.loads(Path(path).read_text(encoding="utf-8")) for path in sources]
    missing = [(page, name) for page in pages for name in write(Path(page), results) if name not in NEED_GPU]
    for page, name in missing:
        print(f"{page}: no results for the table {name!r}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
