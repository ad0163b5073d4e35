"""A bar chart of scores: several tables of vectors side by side on several evaluation sets."""

from collections.abc import Sequence
from pathlib import Path

from fastemb.formats.files import PathLike, replacing

_COLOURS = ("#1f6fb4", "#c8441b", "#2a8a4a", "#8a3fb0", "#b07c00", "#0f8b8d", "#c2296f", "#5b6b00")
_BAR = 0.55  # inches
_HEIGHT = 4.2


def draw_scores(
    path: PathLike, names: Sequence[str], sets: Sequence[str], scores: Sequence[Sequence[float]], title: str = ""
) -> None:
    """Draw a group of bars for each evaluation set, a bar for each table of vectors, and write it as a PNG picture.

    Parameters
    ----------
    path : str or PathLike
        The picture to write; replaced as a whole.
    names : sequence of str
        The tables of vectors.
    sets : sequence of str
        The evaluation sets.
    scores : sequence of sequence of float
        For each table its scores on the sets, in [-100, 100]; NaN leaves a bar out.
    title : str
        A line above the chart.

    Raises
    ------
    ValueError
        If `path` does not end in ``.png``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw_scores(pathlib.Path(folder, "a.png"), ["mine", "theirs"], ["MEN", "analogies"], [[61, 40], [58, 37]])
    ...     pathlib.Path(folder, "a.png").stat().st_size > 1000
    True
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"path must end in '.png', got {str(path)!r}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(5.0, 1.5 + _BAR * (len(names) + 0.6) * len(sets))
    figure = Figure(figsize=(width, _HEIGHT), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    thickness = 1 / (len(names) + 0.6)
    for number, (name, values) in enumerate(zip(names, scores, strict=True)):
        places = [place + (number - (len(names) - 1) / 2) * thickness for place in range(len(sets))]
        bars = axes.bar(places, values, 0.92 * thickness, label=name, color=_COLOURS[number % len(_COLOURS)])
        labels = [f"{value:.1f}" if value == value else "" for value in values]
        axes.bar_label(bars, labels, padding=2, fontsize=8)
    axes.set_xticks(range(len(sets)), sets, parse_math=False)
    axes.set_ylabel("% right, or Spearman x 100", fontsize=9)
    axes.axhline(0, color="#222222", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    legend = axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    for text in (*legend.get_texts(), axes.set_title(title, loc="left", fontsize=11)):
        text.set_parse_math(False)
    with replacing(Path(path)) as file:
        figure.savefig(file, format="png", dpi=150)
