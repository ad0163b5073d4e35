"""Arguments and options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer


class Errors(StrEnum):
    """What to do with bytes that are not UTF-8."""

    STRICT = "strict"
    IGNORE = "ignore"
    REPLACE = "replace"
    SURROGATEESCAPE = "surrogateescape"


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter is on the command line, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


VectorsArgument = Annotated[
    str, typer.Argument(metavar="VECTORS", help="File of vectors: .safetensors, .txt, .vec, .bin, .npy ...")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No messages: only results and errors.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ErrorsOption = Annotated[Errors, typer.Option("--errors", help="What to do with bytes that are not UTF-8.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Read only the first N words of the file.")
]
TopOption = Annotated[int, typer.Option("--topn", "-n", min=1, metavar="N", help="How many words to print.")]
RestrictOption = Annotated[
    int | None, typer.Option("--restrict-vocab", min=1, metavar="N", help="Search only the first N words of the file.")
]
