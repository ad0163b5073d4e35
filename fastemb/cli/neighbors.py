"""`fastemb neighbors`: the words most similar to a word."""

from typing import Annotated

import typer

from fastemb.cli.console import Console, columns, visible
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
from fastemb.cli.similar import Similar, as_lines, as_objects, similar_words

EXAMPLE = "fastemb neighbors vectors.safetensors king green --topn 5"


def neighbors(
    vectors: VectorsArgument,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="One or more words.")],
    beside: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Ask these vectors too, side by side. May be repeated.")
    ] = None,
    topn: TopOption = 10,
    restrict_vocab: RestrictOption = None,
    limit: LimitOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print the words whose vectors are nearest to a word's, with the cosine of the angle between them."""
    console = Console(quiet=quiet, json=json)
    names = [vectors, *(beside or ())]
    found = [_ask(name, words, topn, restrict_vocab, errors.value, limit) for name in names]
    lines: list[str] = []
    for place, word in enumerate(words):
        answers = [similar[place] for similar in found]
        if len(words) > 1:
            lines += [*([""] if lines else []), visible(word)]
        lines += as_lines(answers[0]) if len(names) == 1 else _side_by_side(names, answers)
    results = [
        {**({"vectors": name} if len(names) > 1 else {}), "word": word, "neighbors": as_objects(answer)}
        for name, similar in zip(names, found, strict=True)
        for word, answer in zip(words, similar, strict=True)
    ]
    console.result(results, lines)


def _ask(
    name: str, words: list[str], topn: int, restrict_vocab: int | None, errors: str, limit: int | None
) -> list[Similar]:
    table = load_vectors(name, errors=errors, limit=limit)
    try:
        return [similar_words(table, word, topn=topn, restrict_vocab=restrict_vocab) for word in words]
    except KeyError as error:
        raise KeyError(f"{name}: {error}") from error


def _side_by_side(names: list[str], answers: list[Similar]) -> list[str]:
    """Return a table of two columns a file: words and cosines."""
    rows = [[cell for name in names for cell in (visible(name), "")]]
    for place in range(max(map(len, answers))):
        cells: list[str] = []
        for similar in answers:
            word, cosine = similar[place] if place < len(similar) else ("", None)
            cells += [visible(word), "" if cosine is None else f"{cosine:.4f}"]
        rows.append(cells)
    return columns(rows, right=range(1, 2 * len(names), 2))
