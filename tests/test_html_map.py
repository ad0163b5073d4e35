"""The interactive map: one file with all words, that asks no network, whatever the words hold."""

import html
import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastemb import KeyedVectors
from fastemb.vectors import plot, projection
from fastemb.vectors.clusters import clusters


class Tags(HTMLParser):
    """The tags of a page, and the addresses that they name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def planted(num_words: int = 120, dim: int = 10, num_groups: int = 4) -> tuple[KeyedVectors, np.ndarray]:
    rng = np.random.default_rng(0)
    groups = np.arange(num_words) % num_groups
    vectors = 4 * rng.standard_normal((num_groups, dim))[groups] + rng.standard_normal((num_words, dim))
    words = [f"{'abcdefghij'[group]}{i}" for i, group in enumerate(groups)]
    return KeyedVectors.from_words(words, vectors, np.arange(num_words, 0, -1)), groups


def words_in(page: str) -> list[dict[str, Any]]:
    return json.loads(re.search(r"^const words = (.*);$", page, re.MULTILINE)[1])  # type: ignore[index]


def test_page(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="plotly draws the map")
    kv, groups = planted()
    for name in ("a.html", "b.html"):
        plot.draw_map(kv, tmp_path / name, title="A <b> title & more", method="pca", clusters=4)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert "<title>A &lt;b&gt; title &amp; more</title>" in page
    assert Tags(page).addresses == [] and {"script", "input", "h1"} <= set(Tags(page).names)
    words = words_in(page)
    assert [word["text"] for word in words] == kv.index_to_key
    found = np.array([word["group"] for word in words])
    assert all(len(set(found[groups == group])) == 1 for group in range(4)) and len(set(found)) == 4
    for word, group in zip(words, found, strict=True):
        assert word["colour"] == plot._COLOURS[group]
    nearest, cosine = kv.most_similar("a0", topn=1)[0]
    assert f"\\u003cb\\u003ea0\\u003c\\u002fb\\u003e (word 1, 120 times)\\u003cbr\\u003e{cosine:.2f} {nearest}" in page


def test_words_that_are_markup_stay_text(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="plotly draws the map")
    strange = ["</script><script>alert(1)</script>", "<b>", "&amp;", "a\nb", "\udcff", '"', "\\", "東京", "{title}"]
    kv = KeyedVectors.from_words(strange, np.random.default_rng(0).standard_normal((9, 4)))
    plot.draw_map(kv, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    plain = KeyedVectors.from_words(list("abcdefghi"), kv.vectors)
    plot.draw_map(plain, tmp_path / "b.html")
    assert Tags(page).names == Tags((tmp_path / "b.html").read_text(encoding="utf-8")).names
    words = words_in(page)
    assert [word["text"] for word in words[1:3]] == ["<b>", "&amp;"] and words[7]["text"] == "東京"
    assert words[1]["shown"] == html.escape("<b>") and words[3]["text"] == "a\\nb"


def check_that_near_words_lie_near(method: str, num_words: int) -> None:
    kv, groups = planted(num_words)
    places = projection.project(kv.vectors, method)
    assert places.shape == (num_words, 2) and np.isfinite(places).all()
    gaps = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(gaps, np.inf)
    assert (groups[gaps.argmin(axis=1)] == groups).mean() > (0.7 if method == "pca" else 0.9)
    for few in (2, 3, 4):
        assert projection.project(kv.vectors[:few], method).shape == (few, 2)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_near_words_lie_near(method: str) -> None:
    check_that_near_words_lie_near(method, num_words=120)


def test_near_words_lie_near_by_umap() -> None:
    """Uncompiled, in a process of its own: UMAP's functions take half a minute to compile, and few words no time."""
    if importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    code = "import test_html_map as tests; tests.check_that_near_words_lie_near('umap', num_words=40)"
    folders = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": folders, "NUMBA_DISABLE_JIT": "1"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_pca_keeps_the_most_variance() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 6)) * [5, 3, 1, 1, 1, 1]
    centred = rows - rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    places = projection.pca(rows)
    np.testing.assert_allclose(np.abs(places), np.abs(centred @ axes[:2].T), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(places, axis=0), lengths[:2])
    assert projection.pca(np.array([[1.0], [4.0]]))[:, 1].tolist() == [0, 0]


def test_groups_are_found_and_named_by_their_centre() -> None:
    kv, groups = planted(90, num_groups=3)
    found = clusters(kv.vectors, 3)
    assert [len(set(groups[members])) for members in found.central] == [1, 1, 1]
    assert sorted(row for members in found.central for row in members) == list(range(90))
    for members in found.central:
        units = kv.get_normed_vectors()[members]
        assert (np.diff(units @ units.mean(axis=0)) <= 1e-6).all()
    assert set(clusters(np.ones((9, 3)), 5).labels) == {0}  # no more groups than there are vectors


def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kv, _ = planted(30)
    with pytest.raises(ValueError, match=r"clusters must be an integer in \[1, 12\], got 13"):
        plot.draw_map(kv, tmp_path / "a.html", clusters=13)
    with pytest.raises(ValueError, match="method must be one of 'tsne', 'pca', 'umap', got 'som'"):
        plot.draw_map(kv, tmp_path / "a.png", method="som")
    with pytest.raises(ValueError, match=r"top must be an integer in \[2, 5000\], got 6000"):
        plot.draw_map(kv, tmp_path / "a.html", top=6000)
    with pytest.raises(ValueError, match="t-SNE places up to 2000 words, got 2001; PCA and UMAP place more"):
        projection.project(np.ones((2001, 2)), "tsne")
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"a map in HTML needs plotly: pip install 'fastemb\[plot\]'"):
        plot.draw_map(kv, tmp_path / "a.html")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"needs umap-learn: pip install 'fastemb\[umap\]'"):
        plot.draw_map(kv, tmp_path / "a.png", method="umap")
    assert not list(tmp_path.iterdir())
