"""The application: its commands and the options that stand before them."""

from typing import Annotated

import typer

from fastemb import __version__
from fastemb.cli import (
    analogy,
    bench,
    classify,
    cluster,
    convert,
    cooccur,
    dump,
    evaluate,
    info,
    neighbors,
    phrases,
    plot,
    quickstart,
    train,
    vectors,
    warmup,
)
from fastemb.cli.errors import Commands

app = typer.Typer(
    cls=Commands,
    help="Word vectors on a CPU, fast: train them, look at them, measure them, convert them.",
    epilog="Start with: fastemb quickstart",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"fastemb {__version__}")
        raise typer.Exit


@app.callback()
def fastemb(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Word vectors on a CPU, fast: train them, look at them, measure them, convert them."""


_COMMANDS = (
    quickstart, train, phrases, neighbors, analogy, evaluate, cluster, vectors, convert, cooccur, info, dump, plot,
    warmup,
)  # fmt: skip
for _module in _COMMANDS:
    _name = _module.__name__.rpartition(".")[2]
    app.command(_name, epilog=f"Example: {_module.EXAMPLE}")(getattr(_module, _name))
app.add_typer(classify.app, name="classify")
app.add_typer(bench.app, name="bench")
