"""`fastemb plot`: a map of the words."""

from enum import StrEnum
from typing import Annotated

import typer

from fastemb.cli.console import Console
from fastemb.cli.files import check_output, load_vectors
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption, VectorsArgument

EXAMPLE = "fastemb plot vectors.safetensors -o map.html --words red,green,blue,january,may"


class Method(StrEnum):
    """How words are placed."""

    TSNE = "tsne"
    PCA = "pca"
    UMAP = "umap"


def plot(
    vectors: VectorsArgument,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="A picture, .png, or a page to explore, .html.")
    ],
    words: Annotated[
        str | None, typer.Option(metavar="WORD,...", help="The words to draw; default, the most frequent.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="How many words to draw without --words; default 300, on a page 1000."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Line above the map.")] = None,
    method: Annotated[Method, typer.Option(help="How words are placed; umap needs umap-learn.")] = Method.TSNE,
    clusters: Annotated[
        int | None, typer.Option(min=1, max=12, metavar="N", help="How many groups of one colour there may be.")
    ] = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw a map in two dimensions on which similar words lie close together."""
    console = Console(quiet=quiet, json=json)
    check_output(output)
    table = load_vectors(vectors, errors=errors.value, limit=limit)
    from fastemb.vectors.plot import draw_map

    chosen = [word.strip() for word in words.split(",") if word.strip()] if words is not None else None
    draw_map(table, output, words=chosen, top=top, title=title, method=method.value, clusters=clusters)
    console.say(f"Wrote {output}")
    console.result({"output": output})
