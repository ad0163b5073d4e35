"""`fastemb bench`: fastemb beside its peers on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fastemb.cli.console import Console
from fastemb.cli.options import JsonOption, QuietOption

app = typer.Typer(
    help="Measure fastemb beside its peers on this machine.",
    no_args_is_help=True,
    epilog="Example: fastemb bench training --corpus text.txt --peers gensim,fasttext",
)

KINDS = "speed, quality, scan, start, memory, threads, time-to-quality or all"


@app.callback()
def bench() -> None:
    """Measure fastemb beside its peers on this machine."""


@app.command(epilog="Example: fastemb bench training --corpus text.txt --peers gensim,fasttext")
def training(
    corpus: Annotated[str, typer.Option(metavar="FILE", help="Text to train on, one sentence a line; or a .gz of it.")],
    peers: Annotated[str, typer.Option(metavar="NAME,...", help="Programs to run beside fastemb.")] = "gensim,fasttext",
    what: Annotated[str, typer.Option(metavar="KIND,...", help=f"What to measure: {KINDS}.")] = "speed",
    vector_size: Annotated[int, typer.Option(help="Length of a vector.")] = 100,
    epochs: Annotated[int, typer.Option(help="Passes over the text, for speed.")] = 1,
    seeds: Annotated[int, typer.Option(help="Runs of each program where quality is measured.")] = 3,
    repeats: Annotated[int, typer.Option(help="Runs of each program where time is measured.")] = 3,
    threads: Annotated[int, typer.Option(help="Threads of each program.")] = 2,
    alpha: Annotated[float | None, typer.Option(help="Rate of fastemb's second row; gensim's by default.")] = None,
    analogies: Annotated[Path | None, typer.Option(metavar="FILE", help="Analogies to score the vectors on.")] = None,
    pairs: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Pairs of words with scores.")] = None,
    evaluator: Annotated[str, typer.Option(help="Whose code scores: fastemb or gensim.")] = "fastemb",
    max_words: Annotated[int | None, typer.Option(help="Use only the first so many words.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One round on a million words: a trial.")] = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all figures here, as JSON.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train with fastemb and its peers in turn; compare speed and quality."""
    from fastemb.bench.tables import render
    from fastemb.bench.training import run

    console = Console(quiet=quiet, json=json)
    kinds = _names(what)
    result: dict[str, Any] = run(
        corpus,
        peers=_names(peers),
        what="all" if kinds == ["all"] else kinds,
        vector_size=vector_size,
        epochs=epochs,
        seeds=seeds,
        repeats=repeats,
        threads=threads,
        alpha=alpha,
        analogies=analogies,
        pairs=pairs or (),
        evaluator=evaluator,
        max_words=max_words,
        quick=quick,
        output=output,
        log=console.say,
    )
    console.result(result, render(result))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
