"""`fastemb convert`: from one file format to another."""

import os
import time
from typing import Annotated

import typer

from fastemb.cli.console import Console, count
from fastemb.cli.files import check_vectors_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption

EXAMPLE = "fastemb convert GoogleNews-vectors.bin vectors.safetensors --limit 100000"


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="File of vectors to read.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="File to write; its suffix decides the format.")],
    source_format: Annotated[
        str | None, typer.Option("--from", metavar="FORMAT", help="Format of IN; default, by suffix and content.")
    ] = None,
    target_format: Annotated[
        str | None, typer.Option("--to", metavar="FORMAT", help="Format of OUT; default, by suffix.")
    ] = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Rewrite a file of vectors in another format."""
    from fastemb.formats import registry

    console = Console(quiet=quiet, json=json)
    check_vectors_output(target, target_format)
    start = time.perf_counter()
    table = registry.read(source, format=source_format, errors=errors.value, limit=limit)
    registry.write(target, table, format=target_format)
    seconds = time.perf_counter() - start
    words, size = len(table.vocabulary), table.vector_size
    console.say(f"Wrote {target}: {count(words)} words, {size} dimensions, in {seconds:.1f} s")
    console.result(
        {
            "input": source,
            "output": target,
            "words": words,
            "vector_size": size,
            "bytes": os.path.getsize(target),
            "seconds": seconds,
        }
    )
