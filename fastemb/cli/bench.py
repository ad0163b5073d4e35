"""`fastemb bench`: fastemb beside its peers on this machine."""

from typing import Annotated, Any

import typer

from fastemb.cli.console import Console
from fastemb.cli.options import JsonOption, QuietOption

app = typer.Typer(
    help="Measure fastemb beside its peers on this machine.",
    no_args_is_help=True,
    epilog="Example: fastemb bench training --corpus text.txt --peers gensim,fasttext",
)


@app.callback()
def bench() -> None:
    """Measure fastemb beside its peers on this machine."""


@app.command(epilog="Example: fastemb bench training --corpus text.txt --peers gensim,fasttext")
def training(
    corpus: Annotated[str, typer.Option(metavar="FILE", help="Text to train on, one sentence a line.")],
    peers: Annotated[str, typer.Option(metavar="NAME,...", help="Programs to run beside fastemb.")] = "gensim",
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train with fastemb and its peers in turn; compare speed and quality."""
    from fastemb.bench.training import run

    console = Console(quiet=quiet, json=json)
    names = [name.strip() for name in peers.split(",") if name.strip()]
    result: Any = run(corpus, peers=names)
    console.result(result, str(result))
