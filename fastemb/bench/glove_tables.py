"""Tables of what `fastemb.bench.glove.run` measured."""

import statistics
from collections.abc import Sequence
from typing import Any

from fastemb.bench.vectors.tables import merge

__all__ = ["grid", "grids", "merge"]

Grid = tuple[list[str], list[list[str]]]


def grids(results: dict[str, Any], name: str = "") -> list[Grid] | None:
    """Return the tables of a kind, or of all; None where `results` do not hold it.

    Examples
    --------
    >>> grids({"measures": {}}, "counting") is None
    True
    """
    if name and name not in results["measures"]:
        return None
    return [grid(results, kind) for kind in ([name] if name else results["measures"])]


def grid(results: dict[str, Any], kind: str) -> Grid:
    """Return the header and the rows of one kind of measurement.

    Examples
    --------
    >>> runs = [{"label": "fastemb", "seconds": 2.0, "peak_bytes": 2e9, "words": 8e6},
    ...         {"label": "GloVe program", "seconds": 8.0, "peak_bytes": 4e9, "words": 8e6}]
    >>> header, rows = grid({"measures": {"counting": runs}, "settings": {"window": 15, "threads": 2}}, "counting")
    >>> rows[0]
    ['fastemb', '2.0', '4.0', '4.0x', '2000']
    """
    settings = results["settings"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in results["measures"][kind]:
        groups.setdefault(run["label"], []).append(run)
    if kind == "counting":
        title = f"counting, window {settings['window']}, {settings['threads']} threads"
        header = [title, "seconds", "M words/s", "times the program", "memory, MB"]
        return header, [[label, *_counting(group, groups)] for label, group in groups.items()]
    sets = list(next(iter(groups.values()))[0]["scores"])
    title = f"training, D {settings['vector_size']}, {settings['threads']} threads, epochs {settings['epochs']}"
    header = [title, "M pairs/s", "times the program", "loss", *sets, "memory, MB"]
    return header, [[label, *_training(group, groups, sets)] for label, group in groups.items()]


def _counting(group: Sequence[dict[str, Any]], groups: dict[str, list[dict[str, Any]]]) -> list[str]:
    seconds = _median(group, "seconds")
    speed = f"{group[0]['words'] / seconds / 1e6:.1f}"
    return [f"{seconds:.1f}", speed, _times(group, groups, "seconds", True), _memory(group)]


def _training(
    group: Sequence[dict[str, Any]], groups: dict[str, list[dict[str, Any]]], sets: Sequence[str]
) -> list[str]:
    scores = [f"{statistics.fmean(run['scores'][name] for run in group):.1f}" for name in sets]
    speed = f"{_median(group, 'pairs_per_second') / 1e6:.2f}"
    times = _times(group, groups, "pairs_per_second", False)
    return [speed, times, f"{_median(group, 'loss'):.5f}", *scores, _memory(group)]


def _times(
    group: Sequence[dict[str, Any]], groups: dict[str, list[dict[str, Any]]], name: str, less_is_better: bool
) -> str:
    """Return the median over the rounds of the ratio to the program."""
    program = groups.get("GloVe program")
    if program is None or program is group:
        return ""
    ratios = [ours[name] / theirs[name] for ours, theirs in zip(group, program, strict=False)]
    return f"{statistics.median(1 / ratio if less_is_better else ratio for ratio in ratios):.1f}x"


def _median(group: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in group)


def _memory(group: Sequence[dict[str, Any]]) -> str:
    return f"{_median(group, 'peak_bytes') / 1e6:.0f}"
