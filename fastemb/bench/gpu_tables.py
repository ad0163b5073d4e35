"""Tables of what `fastemb.bench.gpu.run` measured."""

from typing import Any

__all__ = ["grids", "merge"]

Grid = tuple[list[str], list[list[str]]]


def merge(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the results that count where several files hold some: the last."""
    return results[-1]


def grids(results: dict[str, Any], name: str = "") -> list[Grid] | None:
    """Return the table of a kind of measurement, or all tables; None where `results` do not hold it.

    Examples
    --------
    >>> case = {"case": "bags, float32, uniform", "fastemb warm": 1e-3, "fastemb cold": 1e-3, "bytes": 3e9}
    >>> machine = {"gpu": "a card", "driver": "13.0", "copy_bytes_per_second": 4e12}
    >>> grids({"measures": {"bags": [case]}, "machine": machine}, "bags")[0][1]
    [['bags, float32, uniform', '1000', '1000', '3000', '75 %', '', '']]
    """
    measures, machine = results["measures"], results["machine"]
    makers = {"bags": _bandwidth, "steps": _bandwidth, "calls": _calls, "training": _training}
    if name and name not in measures:
        return None
    title = f"{machine['gpu']}, driver {machine['driver']}"
    kinds = [name] if name else [kind for kind in makers if kind in measures]
    return [makers[kind](measures[kind], title, machine["copy_bytes_per_second"]) for kind in kinds]


def _bandwidth(cases: list[dict[str, Any]], title: str, copy: float) -> Grid:
    header = [title, "us", "us, cold", "GB/s", "of a copy's", "times torch", "times torch, cold"]
    rows = []
    for case in cases:
        speed = case["bytes"] / case["fastemb warm"]
        times = [f"{case[f'fastemb {way}'] * 1e6:.0f}" for way in ("warm", "cold")]
        ratios = [_ratio(case, f"torch {way}", f"fastemb {way}") for way in ("warm", "cold")]
        rows.append([case["case"], *times, f"{speed / 1e9:.0f}", f"{100 * speed / copy:.0f} %", *ratios])
    return header, rows


def _calls(cases: list[dict[str, Any]], title: str, copy: float) -> Grid:
    header = [title, "us a call", "torch, us"]
    return header, [
        [case["case"], f"{case['fastemb'] * 1e6:.0f}", f"{case['torch'] * 1e6:.0f}" if "torch" in case else ""]
        for case in cases
    ]


def _training(rows: list[dict[str, Any]], title: str, copy: float) -> Grid:
    sets = list(rows[0]["scores"])
    header = [title, "M words/s", *sets]
    return header, [
        [
            f"{row['model']} on {row['device']}",
            f"{row['words_per_second'] / 1e6:.2f}",
            *(f"{row['scores'][name]:.1f}" for name in sets),
        ]
        for row in rows
    ]


def _ratio(case: dict[str, Any], theirs: str, ours: str) -> str:
    return f"{case[theirs] / case[ours]:.1f}x" if theirs in case else ""
