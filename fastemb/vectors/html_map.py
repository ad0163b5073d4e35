"""An interactive map of words: one HTML file that opens in a browser, without a network."""

import html
import json
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fastemb.formats.files import PathLike, replacing
from fastemb.vectors.clusters import Clusters, clusters
from fastemb.vectors.projection import project

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

_NEAREST = 6
_NAMING = 3  # words that name a group
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  html, body {{ height: 100%; margin: 0; font-family: system-ui, sans-serif; color: #222; background: #fff; }}
  body {{ display: flex; flex-direction: column; }}
  header {{ display: flex; gap: 1.5em; align-items: baseline; flex-wrap: wrap; padding: .6em 1em 0; }}
  h1 {{ font-size: 1.15em; margin: 0; }}
  p {{ margin: 0; color: #666; font-size: .85em; flex: 1; }}
  input {{ font: inherit; padding: .2em .5em; border: 1px solid #bbb; border-radius: .3em; }}
  input.unknown {{ border-color: #c00; }}
  main {{ flex: 1; min-height: 0; }}
  main > div, #map {{ height: 100%; }}
</style>
</head>
<body>
<header><h1>{title}</h1><p>{about}</p>
<label>Find <input id="find" list="words" placeholder="a word, then Enter" autocomplete="off"></label>
<datalist id="words"></datalist></header>
<main>{map}</main>
<script>{script}</script>
</body>
</html>
"""
# Labels are shown, in the order of the words, wherever they do not touch one that is shown already, so that zooming in
# brings out more of them. The last trace of the map holds them.
_SCRIPT = """
const words = __WORDS__;
const map = document.getElementById("map");
const labels = map.data.length - 1;
const place = new Map(words.map((word, i) => [word.text, i]));
let marked = -1, drawing = false;

function visibleLabels() {
  const x = map._fullLayout.xaxis, y = map._fullLayout.yaxis, cell = 16, taken = new Map();
  const shown = {x: [], y: [], text: [], colour: []};
  const hidden = map.data.map(trace => trace.visible === "legendonly" || trace.visible === false);
  const order = marked < 0 ? words : [words[marked], ...words];
  for (const word of order) {
    if (hidden[word.group]) continue;
    const left = x.d2p(word.x), top = y.d2p(word.y) - 11;
    const width = 6.6 * word.label.length + 4;
    if (left < 0 || top < 0 || left > x._length || top > y._length) continue;
    const box = [left - width / 2, top - 8, left + width / 2, top + 8];
    const cells = [];
    let free = true;
    for (let row = Math.floor(box[1] / cell); free && row <= Math.floor(box[3] / cell); row++)
      for (let column = Math.floor(box[0] / cell); column <= Math.floor(box[2] / cell); column++)
        cells.push(row * 65536 + column);
    for (const key of cells)
      for (const other of taken.get(key) || [])
        if (box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]) free = false;
    if (!free) continue;
    for (const key of cells) taken.set(key, [...(taken.get(key) || []), box]);
    shown.x.push(word.x); shown.y.push(word.y); shown.text.push(word.shown); shown.colour.push(word.colour);
  }
  return shown;
}

async function draw() {
  if (drawing) return;
  drawing = true;
  const shown = visibleLabels();
  const change = {x: [shown.x], y: [shown.y], text: [shown.text], "textfont.color": [shown.colour]};
  await Plotly.restyle(map, change, [labels]);
  drawing = false;
}

map.on("plotly_relayout", draw);
map.on("plotly_restyle", draw);
window.addEventListener("resize", () => setTimeout(draw, 200));

const find = document.getElementById("find");
const list = document.getElementById("words");
for (const word of words) {
  const option = document.createElement("option");
  option.value = word.text;
  list.append(option);
}
find.addEventListener("change", () => {
  const i = place.get(find.value.trim());
  find.classList.toggle("unknown", i === undefined && find.value.trim() !== "");
  marked = i === undefined ? -1 : i;
  if (marked < 0) { Plotly.relayout(map, {annotations: []}); return; }
  const word = words[i], xs = words.map(w => w.x), ys = words.map(w => w.y);
  const half = [xs, ys].map(values => (Math.max(...values) - Math.min(...values)) / 12);
  Plotly.relayout(map, {
    "xaxis.range": [word.x - half[0], word.x + half[0]], "yaxis.range": [word.y - half[1], word.y + half[1]],
    annotations: [{x: word.x, y: word.y, text: "<b>" + word.shown + "</b>", showarrow: true, arrowhead: 2, ay: -40}],
  });
});
draw();
"""


def draw_html(
    kv: "KeyedVectors",
    path: PathLike,
    rows: Sequence[int],
    texts: Sequence[str],
    colours: Sequence[str],
    *,
    title: str | None = None,
    method: str = "tsne",
    num_clusters: int | None = None,
) -> None:
    """Write a map on which words can be pointed at, zoomed into, and shown or hidden group by group.

    See `fastemb.vectors.plot.draw_map`, which chooses the words.

    Parameters
    ----------
    kv : KeyedVectors
    path : str or PathLike
    rows : sequence of int
        The words' rows.
    texts : sequence of str
        The words, as they are shown.
    colours : sequence of str
        Of the groups; there are no more groups than colours.
    title : str, optional
    method : {"tsne", "pca", "umap"}
        See `fastemb.vectors.projection.project`.
    num_clusters : int, optional
        Groups at most; default one for every 25 words.
    """
    graphs = _plotly("graph_objects")
    vectors = np.asarray(kv.vectors[np.array(rows)], np.float64)
    places = project(vectors, method)
    wanted = len(rows) // 25 if num_clusters is None else num_clusters
    groups = clusters(vectors, int(np.clip(wanted, 1, len(colours))))
    names = [", ".join(texts[row] for row in central[:_NAMING]) for central in groups.central]
    figure = graphs.Figure(layout=_layout())
    hover = _hover_texts(kv, rows, texts)
    for group, name in enumerate(names):
        members = np.flatnonzero(groups.labels == group)
        figure.add_trace(_points(graphs, places[members], [hover[row] for row in members], name, colours[group]))
    figure.add_trace(graphs.Scatter(**_NO_LABELS))
    drawn = figure.to_html(full_html=False, include_plotlyjs=True, div_id="map", config=_CONFIG)
    heading = html.escape(title or f"{len(rows):,} words")
    how = {"tsne": "t-SNE", "pca": "principal components", "umap": "UMAP"}[method]
    about = f"Placed by {how}, coloured by k-means. Scroll to zoom, drag to move, click a group to hide it."
    words = _words_for_script(texts, places, groups, colours)
    page = _PAGE.format(title=heading, about=about, map=drawn, script=_SCRIPT.replace("__WORDS__", words))
    with replacing(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))


_NO_LABELS = {
    "x": [],
    "y": [],
    "text": [],
    "mode": "text",
    "textposition": "top center",
    "textfont": {"size": 12},
    "hoverinfo": "skip",
    "showlegend": False,
}
_CONFIG = {"scrollZoom": True, "displaylogo": False, "responsive": True}


def _plotly(part: str) -> Any:
    try:
        return import_module(f"plotly.{part}")
    except ImportError as error:
        raise ImportError("a map in HTML needs plotly: pip install 'fastemb[plot]'") from error


def _layout() -> dict[str, Any]:
    axis = {"visible": False, "zeroline": False}
    return {
        "template": "none",
        "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
        "xaxis": axis,
        "yaxis": axis,
        "dragmode": "pan",
        "hovermode": "closest",
        "legend": {"title": {"text": "Groups, by their central words"}, "itemsizing": "constant"},
        "hoverlabel": {"align": "left"},
    }


def _points(graphs: Any, places: np.ndarray, hover: list[str], name: str, colour: str) -> Any:
    return graphs.Scatter(
        x=places[:, 0].round(4).tolist(),
        y=places[:, 1].round(4).tolist(),
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        mode="markers",
        marker={"color": colour, "size": 6, "opacity": 0.75},
        name=html.escape(name, quote=False),
    )


def _hover_texts(kv: "KeyedVectors", rows: Sequence[int], texts: Sequence[str]) -> list[str]:
    """Return for each word itself, how often it occurs, and the words nearest to it in the whole vocabulary."""
    ids, scores = kv.most_similar_batch([int(row) for row in rows], topn=_NEAREST, arrays=True)
    lines = []
    for row, text, near, cosines in zip(rows, texts, ids.tolist(), scores.tolist(), strict=True):
        count = "" if kv.counts is None else f", {int(kv.counts[row]):,} times"
        others = [
            f"{cosine:.2f} {html.escape(shown(kv.index_to_key[other]), quote=False)}"
            for other, cosine in zip(near, cosines, strict=True)
            if other >= 0
        ]
        head = f"<b>{html.escape(text, quote=False)}</b> (word {row + 1:,}{count})"
        lines.append("<br>".join([head, *others]))
    return lines


def _words_for_script(texts: Sequence[str], places: np.ndarray, groups: Clusters, colours: Sequence[str]) -> str:
    words = [
        {
            "text": text, "label": text, "shown": html.escape(text, quote=False), "x": round(float(x), 4),
            "y": round(float(y), 4), "group": int(group), "colour": colours[group],
        }
        for text, (x, y), group in zip(texts, places, groups.labels, strict=True)
    ]  # fmt: skip
    # A word may hold "</script>", which would end the script.
    return json.dumps(words).replace("<", "\\u003c")


def shown(word: str, longest: int = 24) -> str:
    """Return a word as text that can be drawn on one line.

    Examples
    --------
    >>> shown("x" * 40)
    'xxxxxxxxxxxxxxxxxxxxxxx…'
    """
    text = word.encode("utf-8", "backslashreplace").decode()
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
