"""Draw the README's chart from results of `fastemb bench`: ``python bench/chart.py RESULTS.json... OUT.png``."""

import json
import statistics
import sys
from pathlib import Path

from matplotlib.figure import Figure

COLOURS = {"fastemb": "#0b7285", "gensim": "#adb5bd", "fasttext": "#ced4da"}


def speeds(paths: list[str]) -> dict[int, dict[str, float]]:
    """Return the median words a second of each program, by vector size."""
    found: dict[int, dict[str, float]] = {}
    for path in paths:
        runs = json.loads(Path(path).read_text(encoding="utf-8"))["measures"].get("speed", [])
        for program in COLOURS:
            values = [run["words_per_second"] for run in runs if run["label"] == program]
            if values:
                found.setdefault(runs[0]["vector_size"], {})[program] = statistics.median(values)
    return dict(sorted(found.items()))


def draw(found: dict[int, dict[str, float]], out: str) -> None:
    """Draw one row of bars for each vector size."""
    figure = Figure(figsize=(8, 1.2 + 1.25 * len(found)), layout="constrained")
    rows = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (size, programs) in zip(rows, found.items(), strict=True):
        names = list(programs)
        millions = [programs[name] / 1e6 for name in names]
        bars = axes.barh(names, millions, color=[COLOURS[name] for name in names], height=0.72)
        ours = programs["fastemb"] / 1e6
        notes = [f"{value:.2f} M" + ("" if name == "fastemb" else f"  (fastemb {ours / value:.0f}x)")
                 for name, value in zip(names, millions, strict=True)]  # fmt: skip
        axes.bar_label(bars, notes, padding=4, fontsize=9)
        axes.set_title(f"vector size {size}", loc="left", fontsize=10)
        axes.set_xlim(0, max(millions) * 1.25)
        axes.invert_yaxis()
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
    figure.suptitle("Skip-gram training, words a second on two threads", x=0.01, ha="left", fontsize=12)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    draw(speeds(sys.argv[1:-1]), sys.argv[-1])
