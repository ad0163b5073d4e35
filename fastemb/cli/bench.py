"""`fastemb bench`: fastemb beside its peers on this machine."""

from typing import Annotated

import typer

from fastemb.cli.console import Console
from fastemb.cli.files import check_output
from fastemb.cli.options import JsonOption, QuietOption

EXAMPLE = "fastemb bench training --corpus text.txt --peers gensim,fasttext"
LAYERS_EXAMPLE = "fastemb bench layers --peers torch,fbgemm --what bags,step-sgd"

app = typer.Typer(help="Measure fastemb beside its peers on this machine.", no_args_is_help=True)


@app.callback(epilog=f"Example: {EXAMPLE}")
def bench() -> None:
    """Measure fastemb beside its peers on this machine."""


@app.command(epilog=f"Example: {EXAMPLE}")
def training(
    corpus: Annotated[str, typer.Option(metavar="FILE", help="Text to train on, one sentence a line; or a .gz.")],
    peers: Annotated[str, typer.Option(metavar="NAME,...", help="Of gensim and fasttext.")] = "gensim,fasttext",
    what: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="Of speed, quality, scan, start, memory, threads, time-to-quality, fasttext, open; or all.",
        ),
    ] = "speed",
    vector_size: Annotated[int, typer.Option(help="Dimensions of a vector.")] = 100,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 1,
    seeds: Annotated[int, typer.Option(help="Rounds where quality is the question.")] = 3,
    repeats: Annotated[int, typer.Option(help="Rounds where speed is the question.")] = 3,
    threads: Annotated[int, typer.Option(help="Threads of each program.")] = 2,
    alpha: Annotated[float | None, typer.Option(help="Rate of fastemb's second row; default, gensim's.")] = None,
    analogies: Annotated[str | None, typer.Option(metavar="FILE", help="Questions to measure quality by.")] = None,
    pairs: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Scored pairs to measure quality by. May be repeated.")
    ] = None,
    evaluator: Annotated[str, typer.Option(help="Whose code scores all vectors: fastemb or gensim.")] = "fastemb",
    max_words: Annotated[int | None, typer.Option(metavar="N", help="Use only the first N words of the text.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One round on a million words: to see that it works.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results, JSON.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train with fastemb and its peers in turn; compare speed and quality."""
    from fastemb.bench.tables import render
    from fastemb.bench.training import run

    console = Console(quiet=quiet, json=json)
    if output is not None:
        check_output(output)
    kinds = _names(what)
    results = run(
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
    console.result(results, render(results))


@app.command(epilog=f"Example: {LAYERS_EXAMPLE}")
def layers(
    peers: Annotated[
        str, typer.Option(metavar="NAME,...", help="Of torch and fbgemm; torch checks every result.")
    ] = "torch,fbgemm",
    what: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="Of bags, off-path, lookup, small, backward, step-sgd, step-rowwise-adagrad, step-adagrad, step-adam, "
            "low-precision, collection, torch-loop, limit, memory; or all.",
        ),
    ] = "bags",
    threads: Annotated[int, typer.Option(help="Threads of each side.")] = 2,
    seconds: Annotated[float | None, typer.Option(help="For each case; default 1.2.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small case of each variant: to see that it works.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results, JSON.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Look up, reduce and train with fastemb, torch and FBGEMM in turn; compare speed."""
    from fastemb.bench.layers.run import run
    from fastemb.bench.tables import render

    console = Console(quiet=quiet, json=json)
    if output is not None:
        check_output(output)
    kinds = _names(what)
    results = run(
        _names(peers),
        what="all" if kinds == ["all"] else kinds,
        threads=threads,
        seconds=seconds,
        quick=quick,
        output=output,
        log=console.say,
    )
    console.result(results, render(results))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
