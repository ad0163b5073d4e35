"""`fastemb plot`: a picture of the words."""

from typing import Annotated

import typer

from fastemb.cli.console import Console
from fastemb.cli.files import check_output, load_vectors
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption, VectorsArgument

EXAMPLE = "fastemb plot vectors.safetensors -o map.png --words red,green,blue,january,may"


def plot(
    vectors: VectorsArgument,
    output: Annotated[str, typer.Option("--output", "-o", metavar="PNG", help="File for the picture.")],
    words: Annotated[
        str | None, typer.Option(metavar="WORD,...", help="The words to draw; default, the most frequent.")
    ] = None,
    top: Annotated[int, typer.Option(min=2, metavar="N", help="How many words to draw without --words.")] = 300,
    title: Annotated[str | None, typer.Option(help="Line above the picture.")] = None,
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
    draw_map(table, output, words=chosen, top=top, title=title)
    console.say(f"Wrote {output}")
    console.result({"output": output})
