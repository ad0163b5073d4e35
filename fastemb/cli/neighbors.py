"""`fastemb neighbors`: the words most similar to a word."""

from typing import Annotated

import typer

from fastemb.cli.console import Console, visible
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

EXAMPLE = "fastemb neighbors vectors.safetensors king green --topn 5"


def neighbors(
    vectors: VectorsArgument,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="One or more words.")],
    topn: TopOption = 10,
    restrict_vocab: RestrictOption = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print the words whose vectors are nearest to a word's, with the cosine of the angle between them."""
    console = Console(quiet=quiet, json=json)
    table = load_vectors(vectors, errors=errors.value, limit=limit)
    found = [similar_words(table, word, topn=topn, restrict_vocab=restrict_vocab) for word in words]
    lines: list[str] = []
    for word, similar in zip(words, found, strict=True):
        if len(words) > 1:
            lines += [*([""] if lines else []), visible(word)]
        lines += as_lines(similar)
    pairs = zip(words, found, strict=True)
    console.result([{"word": word, "neighbors": as_objects(similar)} for word, similar in pairs], lines)
