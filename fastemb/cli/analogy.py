"""`fastemb analogy`: the word that is to C as B is to A."""

from typing import Annotated

import typer

from fastemb.cli.console import Console
from fastemb.cli.files import load_vectors
from fastemb.cli.options import (
    Errors,
    ErrorsOption,
    JsonOption,
    LimitOption,
    QuietOption,
    RestrictOption,
    TopOption,
    VectorsArgument,
)
from fastemb.cli.similar import as_lines, as_objects, similar_words

EXAMPLE = "fastemb analogy vectors.safetensors man king woman"


def analogy(
    vectors: VectorsArgument,
    a: Annotated[str, typer.Argument(metavar="A", help="A is to B ...")],
    b: Annotated[str, typer.Argument(metavar="B", help="... as C is to the word asked for.")],
    c: Annotated[str, typer.Argument(metavar="C")],
    topn: TopOption = 5,
    restrict_vocab: RestrictOption = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print the words nearest to B - A + C: "A is to B as C is to ?"."""
    console = Console(quiet=quiet, json=json)
    table = load_vectors(vectors, errors=errors.value, limit=limit)
    similar = similar_words(table, [b, c], [a], topn=topn, restrict_vocab=restrict_vocab)
    console.result({"a": a, "b": b, "c": c, "answers": as_objects(similar)}, as_lines(similar))
