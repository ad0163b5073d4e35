"""`fastemb convert`: from one file format to another."""

import os
import time
from enum import StrEnum
from typing import Annotated

import typer

from fastemb.cli.console import Console, count
from fastemb.cli.files import check_vectors_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption


class Kind(StrEnum):
    """How numbers are kept."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT4 = "int4"


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
    dtype: Annotated[
        Kind | None,
        typer.Option(help="Keep numbers so; less than float32 in .safetensors only. Default, as they are read."),
    ] = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Rewrite a file of vectors in another format."""
    from fastemb.formats import registry
    from fastemb.vectors.keyed_vectors import KeyedVectors

    console = Console(quiet=quiet, json=json)
    check_vectors_output(target, target_format)
    kept = registry.format_for(target, target_format)
    if dtype not in (None, Kind.FLOAT32) and kept != "safetensors":
        raise ValueError(f"{dtype.value} numbers can be kept in safetensors only, and {target} is {kept}")
    start = time.perf_counter()
    vectors = KeyedVectors.load(source, format=source_format, errors=errors.value, limit=limit)
    if dtype is not None:
        bits = {Kind.INT8: 8, Kind.INT4: 4}.get(dtype)
        vectors = vectors.quantize(bits, None if bits else dtype.value)
    vectors.save(target, format=target_format)
    seconds = time.perf_counter() - start
    words, size = len(vectors), vectors.vector_size
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
