"""A picture of words: a map in the plane where similar words are near each other and have one colour."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastemb.engine.validate import integer
from fastemb.formats.files import PathLike, replacing
from fastemb.vectors.html_map import draw_html, shown
from fastemb.vectors.layout import push_apart, spread
from fastemb.vectors.projection import project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastemb.vectors.keyed_vectors import KeyedVectors

# Words on a map: at most, and where nobody says.
_MOST, _USUAL = {".png": 1000, ".html": 5000}, {".png": 300, ".html": 1000}
_SIZE = (14.0, 10.0)  # inches, and more for many words
_WORDS_A_SHEET = 300
_DPI = 150
_MARGIN = 0.35  # inches
_LARGEST, _SMALLEST = 15.0, 4.0  # points
_FILLED = 0.25  # of the area, at most
# Twelve hues of one darkness, in an order in which neighbours differ.
_COLOURS = (
    "#1f6fb4", "#c8441b", "#2a8a4a", "#8a3fb0", "#b07c00", "#0f8b8d",
    "#c2296f", "#5b6b00", "#4a4fc4", "#9a4a2a", "#3d7a8a", "#7a4a6a",
)  # fmt: skip
# Fonts with scripts that matplotlib's own lacks, where a machine has them.
_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "IPAGothic", "WenQuanYi Zen Hei",
    "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Devanagari",
)  # fmt: skip


def draw_map(
    kv: "KeyedVectors",
    path: PathLike,
    words: Sequence[str] | None = None,
    *,
    top: int | None = None,
    title: str | None = None,
    method: str = "tsne",
    clusters: int | None = None,
) -> None:
    """Draw words on a map, similar ones near each other: a PNG picture, or an HTML page to explore in a browser.

    On the picture all words are written out, moved until none lies on another; words near each other share a colour.
    On the page words are points with a colour a group; pointing at one shows its nearest words, zooming in brings out
    more names. It is one file that needs no network, made by plotly (``pip install 'fastemb[plot]'``). The same vectors
    give the same map.

    Parameters
    ----------
    kv : KeyedVectors
        The vectors.
    path : str or PathLike
        The file to write, ``.png`` or ``.html``; replaced as a whole.
    words : sequence of str, optional
        The words to draw, 2 to 1000 different ones, on a page to 5000; default the first `top` of the vocabulary, the
        most frequent.
    top : int, optional
        How many words to draw where `words` is not given; default 300, on a page 1000.
    title : str, optional
        A line above the map.
    method : {"tsne", "pca", "umap"}
        How words are placed, see `fastemb.vectors.projection.project`.
    clusters : int, optional
        Groups at most, 1 to 12; default one for some 12 words, on a page for some 25.

    Raises
    ------
    KeyError
        If one of the words is unknown.
    ValueError
        If there are too few words or too many, or `path` ends in something else.
    ImportError
        If plotly is not installed and `path` ends in ``.html``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb import KeyedVectors
    >>> kv = KeyedVectors.from_words(["red", "green", "blue"], np.eye(3, dtype=np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw_map(kv, pathlib.Path(folder, "map.png"))
    ...     pathlib.Path(folder, "map.png").stat().st_size > 1000
    True
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _MOST:
        raise ValueError(f"path must end in {' or '.join(map(repr, _MOST))}, got {str(path)!r}")
    if clusters is not None:
        integer("clusters", clusters, 1, len(_COLOURS))
    rows = _chosen(kv, words, top, _MOST[suffix], _USUAL[suffix])
    texts = [shown(kv.index_to_key[row]) for row in rows]
    if suffix == ".html":
        draw_html(kv, path, rows, texts, _COLOURS, title=title, method=method, num_clusters=clusters)
        return
    places = project(kv.vectors[np.array(rows)], method)
    figure = _figure(texts, spread(places), _groups(places, clusters), title)
    with replacing(Path(path)) as file, _no_font_warnings():
        figure.savefig(file, format="png", dpi=_DPI)


def _chosen(kv: "KeyedVectors", words: Sequence[str] | None, top: int | None, most: int, usual: int) -> list[int]:
    """Return the rows of the words to draw."""
    if words is None:
        rows = list(range(min(integer("top", usual if top is None else top, 2, most), len(kv))))
    else:
        rows = list(dict.fromkeys(kv.get_index(word) for word in words))
    if not 2 <= len(rows) <= most:
        raise ValueError(f"words must be 2 to {most} different words, got {len(rows)}")
    finite = np.isfinite(kv.vectors[np.array(rows)]).all(axis=1)
    if not finite.all():
        raise ValueError(f"the vector of {kv.index_to_key[rows[int(finite.argmin())]]!r} is not finite")
    return rows


def _groups(places: np.ndarray, most: int | None = None) -> np.ndarray:
    """Return a group number for each place, by Ward's method, a few words a group."""
    from scipy.cluster.hierarchy import fcluster, ward

    num_groups = int(np.clip(len(places) // 12, 1, len(_COLOURS))) if most is None else most
    return fcluster(ward(places), num_groups, "maxclust") - 1


def _figure(texts: list[str], places: np.ndarray, groups: np.ndarray, title: str | None) -> "Figure":
    """Return the map as a figure; a point of the coordinates is a typographic point on paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paper = np.array(_SIZE) * max(1.0, np.sqrt(len(texts) / _WORDS_A_SHEET))
    figure = Figure(figsize=tuple(paper), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    margin, inner = _MARGIN / paper, 1 - 2 * _MARGIN / paper
    width, height = 72 * inner * paper
    top = 30.0 if title else 0.0
    axes = figure.add_axes((*margin, *inner))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    fonts = _fonts()
    size, centres = _arrange(figure, texts, places, (width, height - top), fonts)
    for text, (x, y), group in zip(texts, centres, groups, strict=True):
        style: dict[str, Any] = {
            "color": _COLOURS[group % len(_COLOURS)],
            "fontsize": size,
            "family": fonts,
            "parse_math": False,
        }
        axes.text(x, y, text, ha="center", va="center", **style)
    if title:
        axes.text(0, height, title, ha="left", va="top", fontsize=16, color="#222222", family=fonts, parse_math=False)
    return figure


def _arrange(
    figure: "Figure", texts: list[str], places: np.ndarray, area: tuple[float, float], fonts: list[str]
) -> tuple[float, np.ndarray]:
    """Return a font size and the words' centres: the largest size at which all fit without touching."""
    unit = _box_sizes(figure, texts, 10.0, fonts) / 10
    fitting = np.sqrt(_FILLED * area[0] * area[1] / unit.prod(axis=1).sum())
    size = float(np.clip(fitting, _SMALLEST, _LARGEST))
    while True:
        centres, fits = push_apart(places * area, unit * size, area)
        if fits or size <= _SMALLEST:
            return size, centres
        size = max(_SMALLEST, 0.92 * size)


def _box_sizes(figure: "Figure", texts: list[str], size: float, fonts: list[str]) -> np.ndarray:
    """Return each text's width and height with some air, in points."""
    from matplotlib.font_manager import FontProperties

    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    font = FontProperties(family=fonts, size=size)
    with _no_font_warnings():
        widths = [renderer.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts]
    boxes = np.empty((len(texts), 2))
    boxes[:, 0] = np.array(widths) * 72 / _DPI + 0.6 * size
    boxes[:, 1] = 1.25 * size
    return boxes


@contextmanager
def _no_font_warnings() -> Iterator[None]:
    """Draw a box, silently, for a letter that no font has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        yield


def _fonts() -> list[str]:
    """Return the font families to use, matplotlib's own first."""
    from matplotlib.font_manager import fontManager

    present = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _FONTS if name in present)]
