"""Tables of what `fastemb bench vectors` measured."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fastemb.bench.machine import placement

Grid = tuple[list[str], list[list[str]]]
PRODUCT, OURS, PEER = "NumPy's product alone", "fastemb, arrays", "gensim"


def grids(results: Mapping[str, Any], name: str = "") -> list[Grid] | None:
    """Return the tables called `name`, each as a header and rows; None where `results` do not hold them.

    Parameters
    ----------
    results
        As `fastemb.bench.vectors.run.run` returns them.
    name
        A kind of measurement, ``"machine"``, or empty for all.

    Examples
    --------
    >>> rows = [{"label": "fastemb, arrays", "queries": 100, "seconds": [1.0]},
    ...         {"label": "gensim, word by word", "queries": 10, "seconds": [2.0]}]
    >>> found = {"neighbors": {"num_words": 1000, "vector_size": 50, "rows": rows}}
    >>> (header, rows), = grids({"measures": found, "settings": {"threads": 2}}, "neighbors")
    >>> rows
    [['fastemb, arrays', '1.00', '10.00', '1.00x'], ['gensim, word by word', '', '200.00', '20.0x']]
    """
    if name == "machine":
        return [_machine(results)]
    measures = results["measures"]
    if not name:
        return [_TABLES[kind](found, results) for kind, found in measures.items()]
    return [_TABLES[name](measures[name], results)] if name in measures else None


def _title(found: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    threads = results["settings"]["threads"]
    return f"{found['num_words']:,} x {found['vector_size']}, {threads} threads"


def _per_query(row: Mapping[str, Any]) -> float:
    return statistics.median(row["seconds"]) / row["queries"]


def _neighbors(found: Mapping[str, Any], results: Mapping[str, Any]) -> Grid:
    """Return a row a program; of NumPy's products the fastest."""
    products = [row for row in found["rows"] if row["label"].startswith(PRODUCT)]
    fastest = min(products, key=_per_query, default=None)
    rows = [row for row in found["rows"] if row not in products or row is fastest]
    ours = next(_per_query(row) for row in rows if row["label"] == OURS)
    most = max(row["queries"] for row in rows)
    cells = [
        [
            row["label"],
            f"{statistics.median(row['seconds']):.2f}" if row["queries"] == most else "",
            f"{1e3 * _per_query(row):.2f}",
            f"{_per_query(row) / ours:.{1 if _per_query(row) > ours else 2}f}x",
        ]
        for row in rows
    ]
    return [_title(found, results), f"{most:,} queries, s", "a query, ms", "times fastemb's batch"], cells


def _compact(found: Mapping[str, Any], results: Mapping[str, Any]) -> Grid:
    by_label = {row["label"]: row for row in found["rows"]}
    cells = []
    for label, row in by_label.items():
        if "," in label:
            continue
        one = by_label[f"{label}, one word"]
        cells.append(
            [
                label,
                f"{row['bytes_per_word']:.0f}",
                f"{100 * row['recall']:.2f}",
                f"{1e3 * _per_query(row):.3f}",
                f"{1e3 * _per_query(one):.2f}",
            ]
        )
    return [
        _title(found, results),
        "bytes a word",
        "recall@10, %",
        "a query of a batch, ms",
        "a query alone, ms",
    ], cells


def _indexes(found: Mapping[str, Any], results: Mapping[str, Any]) -> Grid:
    cells = [
        [
            row["label"],
            f"{row['build_seconds']:.1f}" if row["build_seconds"] else "",
            f"{100 * row['recall']:.1f}",
            f"{1e3 * _per_query(row):.3f}",
        ]
        for row in found["rows"]
    ]
    return [_title(found, results), "to build, s", "recall@10, %", "a query of a batch, ms"], cells


def _machine(results: Mapping[str, Any]) -> Grid:
    machine, settings = results["machine"], results["settings"]
    trips = [
        trip for found in results["measures"].values() for trip in found.get("round_trip_ns", []) if trip is not None
    ]
    met = " and ".join(sorted({placement(trip) for trip in trips}, reverse=True)) or "unknown"
    rows = [
        ["threads", str(settings["threads"])],
        ["processor", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"],
        ["cores", met],
        ["other programs", f"load {results['load']:.1f} in the minute before"],
        ["system", f"{machine['system']}, Python {machine['python']}"],
        ["versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())],
        ["date", machine["date"][:10]],
    ]
    return ["what", "on"], rows


def merge(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one result of several files: of a kind that several hold, the last one's.

    Examples
    --------
    >>> merge([{"measures": {"neighbors": 1}}, {"measures": {"compact": 2}}])["measures"]
    {'neighbors': 1, 'compact': 2}
    """
    return {**results[-1], "measures": {kind: one for result in results for kind, one in result["measures"].items()}}


_TABLES = {"neighbors": _neighbors, "compact": _compact, "indexes": _indexes}
