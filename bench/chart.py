"""Draw the README's chart from results of `fastemb bench`: ``python bench/chart.py RESULTS.json... OUT.png``."""

import json
import statistics
import sys
from pathlib import Path

from matplotlib.figure import Figure

COLOURS = {"fastemb": "#0b7285", "gensim": "#adb5bd", "fasttext": "#ced4da"}
Speeds = dict[str, list[float]]


def speeds(paths: list[str]) -> dict[int, Speeds]:
    """Return the words a second of each program in each round, by vector size."""
    found: dict[int, Speeds] = {}
    for path in paths:
        for run in json.loads(Path(path).read_text(encoding="utf-8"))["measures"].get("speed", []):
            if run["label"] in COLOURS:
                programs = found.setdefault(run["vector_size"], {})
                programs.setdefault(run["label"], []).append(run["words_per_second"])
    return dict(sorted(found.items()))


def note(program: str, programs: Speeds) -> str:
    """Return a bar's label: the median speed, and the median of fastemb's ratio to it in the same round."""
    text = f"{statistics.median(programs[program]) / 1e6:.2f} M"
    if program == "fastemb":
        return text
    ratios = [ours / theirs for ours, theirs in zip(programs["fastemb"], programs[program], strict=True)]
    return f"{text}  (fastemb {statistics.median(ratios):.1f}x)"


def draw(found: dict[int, Speeds], out: str) -> None:
    """Draw a group of bars for each vector size."""
    figure = Figure(figsize=(8, 0.6 + 1.6 * len(found)), layout="constrained")
    groups = figure.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (size, programs) in zip(groups, found.items(), strict=True):
        names = [name for name in COLOURS if name in programs]
        millions = [statistics.median(programs[name]) / 1e6 for name in names]
        bars = axes.barh(names, millions, color=[COLOURS[name] for name in names], height=0.72)
        axes.bar_label(bars, [note(name, programs) for name in names], padding=4, fontsize=9)
        axes.set_title(f"vector size {size}", loc="left", fontsize=10)
        axes.margins(x=0.25)
        axes.invert_yaxis()
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
    figure.suptitle("Skip-gram training on two threads: words a second", x=0.01, ha="left", fontsize=12)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    draw(speeds(sys.argv[1:-1]), sys.argv[-1])
