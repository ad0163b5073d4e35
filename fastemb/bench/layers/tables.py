"""Tables of what `fastemb bench layers` measured."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fastemb.bench.layers.comparison import Measured
from fastemb.bench.layers.summary import Summary, ratio, summarise
from fastemb.bench.layers.targets import TARGETS
from fastemb.bench.machine import placement

Grid = tuple[list[str], list[list[str]]]


def merge(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one result of several files: of a kind that several hold, the last one's.

    Examples
    --------
    >>> from fastemb.bench.layers.tables import merge
    >>> merge([{"measures": {"bags": [1]}, "machine": {}}, {"measures": {"bags": [2]}, "machine": {}}])["measures"]
    {'bags': [2]}
    """
    measures = {kind: found for result in results for kind, found in result["measures"].items()}
    return {**results[-1], "measures": measures}


def grids(results: Mapping[str, Any], name: str = "") -> list[Grid] | None:
    """Return the tables called `name`, each as a header and rows; None where `results` do not hold them.

    Parameters
    ----------
    results
        As `fastemb.bench.layers.run.run` returns them.
    name
        Empty for one line for each target, ``"machine"``, or a kind of measurement for its ratios by size.

    Examples
    --------
    >>> from fastemb.bench.layers.tables import grids
    >>> sides = {"fastemb": {"hot": [1.0], "alternating": 1.0}, "torch": {"hot": [3.0], "alternating": 2.0}}
    >>> case = {"num_embeddings": 10, "embedding_dim": 4, "variant": "sum"}
    >>> record = {"case": case, "sides": sides, "round_trip_ns": 60.0, "bytes": 1}
    >>> (header, rows), = grids({"measures": {"bags": [record]}}, "bags")
    >>> header[1:], rows
    (['V', 'D=4'], [['sum', '10', '3.0']])
    """
    if name == "machine":
        return [_machine(results)]
    measures = results["measures"]
    if not name:
        return [_targets(measures)] if measures else None
    if name not in measures:
        return None
    if name == "memory":
        return [_memory(measures[name])]
    if name == "limit":
        return [_limit(measures[name])]
    found = (summarise(target, measures[name]) for target in TARGETS if target.kind == name)
    return [_by_size(summary) for summary in found if summary is not None]


def _times(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def _targets(measures: Mapping[str, Sequence[Measured]]) -> Grid:
    rows = []
    for target in TARGETS:
        summary = summarise(target, measures.get(target.kind, ()))
        if summary is None:
            continue
        mean = f"{_times(summary.mean)}x" + ("" if target.mean is None else f" ({target.mean:g}x)")
        worst = f"{_times(summary.worst)}x" + ("" if target.worst is None else f" ({target.worst:g}x)")
        alternating = f"{_times(statistics.geometric_mean(summary.alternating))}x"
        cases, reached = str(len(summary.hot)), "yes" if summary.reached else "no"
        at, disturbed = str(summary.worst_case), str(summary.disturbed)
        rows.append([target.title, cases, mean, worst, at, alternating, disturbed, reached])
    figures = ["mean (target)", "worst (target)", "worst at", "alternating, mean"]
    return ["what, against", "cases", *figures, "disturbed", "reached"], rows


def _by_size(summary: Summary) -> Grid:
    """Return the mean ratio and the range of each table's cases: a row for each variant and V, a column for each D."""
    groups: dict[tuple[str, int], dict[int, list[float]]] = {}
    for record, value in zip(summary.records, summary.hot, strict=True):
        case = record["case"]
        columns = groups.setdefault((case["variant"], case["num_embeddings"]), {})
        columns.setdefault(case["embedding_dim"], []).append(value)
    widths = sorted({width for columns in groups.values() for width in columns})
    rows = [
        [variant, f"{size:,}", *(_range(columns.get(width, [])) for width in widths)]
        for (variant, size), columns in sorted(groups.items())
    ]
    return [f"times {summary.target.title}", "V", *(f"D={width}" for width in widths)], rows


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = _times(statistics.geometric_mean(values))
    return mean if len(values) == 1 else f"{mean} ({_times(min(values))} to {_times(max(values))})"


def _limit(records: Sequence[Measured]) -> Grid:
    readers = next(target.peers for target in TARGETS if target.kind == "limit")
    rows = []
    for record in records:
        case, sides = record["case"], record["sides"]
        rates = [f"{record['bytes'] / statistics.median(sides[name]['hot']) / 1e9:.1f}" for name in sides]
        sizes = [f"{case[name]:,}" for name in ("num_embeddings", "embedding_dim", "bag_length", "num_bags")]
        rows.append([*sizes, case["ids"], *rates, f"{ratio(record, readers):.2f}"])
    return ["V", "D", "L", "B", "indices", *(f"{name}, GB/s" for name in records[0]["sides"]), "of the read"], rows


def _memory(records: Sequence[Mapping[str, Any]]) -> Grid:
    """Return the megabytes that a step allocates: a row for each side and optimizer, a column for each V."""
    groups: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        groups.setdefault((record["side"], record["optimizer"]), {})[record["num_embeddings"]] = record["bytes"] / 1e6
    sizes = sorted({size for columns in groups.values() for size in columns})
    rows = [[*key, *(f"{columns[size]:.2f}" for size in sizes)] for key, columns in groups.items()]
    return ["a step allocates, MB", "optimizer", *(f"V={size:,}" for size in sizes)], rows


def _machine(results: Mapping[str, Any]) -> Grid:
    machine = results["machine"]
    trips = [
        record["round_trip_ns"]
        for records in results["measures"].values()
        for record in records
        if record.get("round_trip_ns") is not None
    ]
    met = " and ".join(sorted({placement(trip) for trip in trips}, reverse=True)) or "unknown"
    cores = f"{met} ({min(trips):.0f} to {max(trips):.0f} ns)" if trips else met
    rows = [
        ["threads", str(results["settings"]["threads"])],
        ["processor", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"],
        ["cores", cores],
        ["other programs", f"load {results['load']:.1f} in the minute before"],
        ["caches", "; ".join(machine["caches"]) or "unknown"],
        ["system", f"{machine['system']}, Python {machine['python']}"],
        ["versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())],
        ["date", machine["date"][:10]],
    ]
    return ["what", "on"], rows
