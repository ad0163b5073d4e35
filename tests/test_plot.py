"""The map of words: a PNG file in which no word lies on another."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastemb.vectors import html_map, layout, plot
from fastemb.vectors.keyed_vectors import KeyedVectors

PNG = b"\x89PNG\r\n\x1a\n"


def clusters(num_words: int, dim: int = 10, num_clusters: int = 6) -> tuple[KeyedVectors, np.ndarray]:
    rng = np.random.default_rng(0)
    groups = np.arange(num_words) % num_clusters
    vectors = 3 * rng.standard_normal((num_clusters, dim))[groups] + rng.standard_normal((num_words, dim))
    words = [f"{'abcdefghij'[group]}{i}" for i, group in enumerate(groups)]
    return KeyedVectors.from_words(words, vectors.astype(np.float32)), groups


@pytest.mark.parametrize("num_words", [2, 3, 4, 5, 30, 120])
def test_draws_a_png(tmp_path: Path, num_words: int) -> None:
    kv, _ = clusters(num_words)
    plot.draw_map(kv, tmp_path / "map.png", title="A title with $ and _")
    content = (tmp_path / "map.png").read_bytes()
    assert content.startswith(PNG) and len(content) > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"]


def test_is_the_same_every_time(tmp_path: Path) -> None:
    kv, _ = clusters(40)
    for name in ("a.png", "b.png"):
        plot.draw_map(kv, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = "import sys, numpy, fastemb; from fastemb.vectors.plot import draw_map\n"
    code += "draw_map(fastemb.KeyedVectors.from_words(list('abc'), numpy.eye(3)), sys.argv[1])\n"
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "map.png")], check=True)
    assert (tmp_path / "map.png").exists()


@pytest.mark.parametrize("num_words", [10, 150, 400])
def test_words_do_not_overlap_and_are_inside(num_words: int) -> None:
    kv, _ = clusters(num_words)
    places = layout.spread(layout.tsne(kv.vectors))
    figure = plot._figure(kv.index_to_key, places, np.zeros(num_words, np.int64), None)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = np.array([text.get_window_extent(renderer).extents for text in figure.axes[0].texts])
    left, bottom, right, top = boxes.T
    assert left.min() >= 0 and bottom.min() >= 0
    assert right.max() <= figure.bbox.width and top.max() <= figure.bbox.height
    overlaps = (left[:, None] < right) & (left < right[:, None]) & (bottom[:, None] < top) & (bottom < top[:, None])
    assert overlaps.sum() == num_words
    assert min(text.get_fontsize() for text in figure.axes[0].texts) >= 7


def test_boxes_that_cannot_fit_stay_in_the_area() -> None:
    places, fits = layout.push_apart(np.zeros((30, 2)), np.ones((30, 2)), (5, 5))
    assert not fits and places.min() >= 0.5 and places.max() <= 4.5


def test_letters_shrink_until_long_words_fit() -> None:
    texts = [f"{'long word ' * 12}{i}" for i in range(60)]
    figure = plot._figure(texts, np.random.default_rng(0).random((60, 2)), np.zeros(60, np.int64), None)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = np.array([text.get_window_extent(renderer).extents for text in figure.axes[0].texts])
    left, bottom, right, top = boxes.T
    overlaps = (left[:, None] < right) & (left < right[:, None]) & (bottom[:, None] < top) & (bottom < top[:, None])
    assert overlaps.sum() == 60


def test_similar_words_are_near_each_other() -> None:
    kv, groups = clusters(120)
    places = layout.spread(layout.tsne(kv.vectors))
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.95


def test_colours_follow_the_map() -> None:
    kv, groups = clusters(120)
    colours = plot._groups(layout.tsne(kv.vectors))
    assert set(colours) == set(range(10))
    same = [len(set(groups[colours == colour])) for colour in range(10)]
    assert sum(same) <= 14


def test_chosen_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    figure = plot._figure
    monkeypatch.setattr(plot, "_figure", lambda texts, *rest: drawn.append(texts) or figure(texts, *rest))
    kv, _ = clusters(30)
    plot.draw_map(kv, tmp_path / "map.png", words=["b1", "a0", "b1", "c2"])
    plot.draw_map(kv, tmp_path / "map.png", top=7)
    plot.draw_map(kv, tmp_path / "map.png", top=1000)
    assert [len(texts) for texts in drawn] == [3, 7, 30]
    assert drawn[0] == ["b1", "a0", "c2"]


def test_words_in_any_script(tmp_path: Path) -> None:
    words = ["東京", "العربية", "नमस्ते", "a\nb", "\udcff", "$x_1$", "\\frac", "x" * 500, "", " ", "🙂", "ẞ", "\u202eabc"]
    kv = KeyedVectors.from_words(words, np.random.default_rng(0).standard_normal((len(words), 4)))
    plot.draw_map(kv, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)
    assert html_map.shown("a\nb") == "a\\nb" and html_map.shown("\udcff") == "\\udcff"
    assert html_map.shown("x" * 25) == "x" * 23 + "…"


@pytest.mark.parametrize("vectors", [np.ones((20, 5)), np.zeros((20, 5)), np.eye(20)[:, :1], np.eye(20)])
def test_vectors_that_are_all_alike(tmp_path: Path, vectors: np.ndarray) -> None:
    kv = KeyedVectors.from_words([f"word{i}" for i in range(20)], vectors)
    plot.draw_map(kv, tmp_path / "map.png")
    places = layout.tsne(vectors)
    assert places.shape == (20, 2) and np.isfinite(places).all()


def test_bad_arguments(tmp_path: Path) -> None:
    kv, _ = clusters(30)
    with pytest.raises(ValueError, match="words must be 2 to 1000 different words, got 1"):
        plot.draw_map(kv, tmp_path / "map.png", words=["a0", "a0"])
    with pytest.raises(KeyError, match="word 'zzz' is not in the vocabulary"):
        plot.draw_map(kv, tmp_path / "map.png", words=["a0", "zzz"])
    with pytest.raises(ValueError, match=r"top must be an integer in \[2, 1000\], got 1"):
        plot.draw_map(kv, tmp_path / "map.png", top=1)
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        plot.draw_map(kv, tmp_path / "missing/map.png")
    with pytest.raises(ValueError, match=r"path must end in '\.png' or '\.html'"):
        plot.draw_map(kv, tmp_path / "map.svg")
    kv.vectors[3] = np.nan
    with pytest.raises(ValueError, match="the vector of 'd3' is not finite"):
        plot.draw_map(kv, tmp_path / "map.png")
    assert not list(tmp_path.iterdir())
