"""`fastemb cluster`: the classes of words, as word2vec.c's -classes writes them."""

import time
from typing import Annotated

import typer

from fastemb.cli.console import Console, count, visible
from fastemb.cli.files import check_output, load_vectors
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, LimitOption, QuietOption, VectorsArgument

EXAMPLE = "fastemb cluster vectors.bin -o classes.txt --classes 500"


def cluster(
    vectors: VectorsArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT", help="File for the classes; default, print them.")
    ] = None,
    classes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Classes, at most; those without words are left out.")
    ] = 500,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Times that the centres of classes are moved.")] = 10,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put words into classes by k-means of their vectors' directions: a word and its class a line, as word2vec.c.

    Classes are numbered by their size, the largest is 0; the same vectors give the same classes.
    """
    import numpy as np

    from fastemb.formats.files import replacing
    from fastemb.vectors.clusters import clusters

    console = Console(quiet=quiet, json=json)
    if output is not None:
        check_output(output)
    table = load_vectors(vectors, errors=errors.value, limit=limit)
    rows = np.asarray(table.vectors[np.arange(len(table))], np.float32)
    is_finite = np.isfinite(rows).all(axis=1)
    if not is_finite.all():
        raise ValueError(f"the vector of {table.index_to_key[int(is_finite.argmin())]!r} is not finite")
    start = time.perf_counter()
    found = clusters(rows, min(classes, len(rows)), starts=1, rounds=rounds)
    pairs = list(zip(table.index_to_key, found.labels.tolist(), strict=True))
    central = [table.index_to_key[members[0]] for members in found.central]
    if output is None:
        console.result(dict(pairs), (f"{visible(word)} {number}" for word, number in pairs))
        return
    with replacing(output) as file:
        file.write("".join(f"{word} {number}\n" for word, number in pairs).encode("utf-8", "surrogateescape"))
    seconds = time.perf_counter() - start
    console.say(f"Wrote {output}: {count(len(pairs))} words in {count(len(central))} classes, {seconds:.1f} s")
    console.result({"output": output, "words": len(pairs), "classes": len(central), "central": central})
