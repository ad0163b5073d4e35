"""`fastemb dump`: print a part of a fastText model, as fastText's dump does."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption

if TYPE_CHECKING:
    import numpy as np

    from fastemb.formats.fasttext_file import Arguments, Dictionary

EXAMPLE = "fastemb dump model.bin dict"

ROWS = 1024  # of a matrix that are printed at a time
# fastText's names of arguments and of their values.
NAMES = {
    "dim": "dim", "window": "ws", "epochs": "epoch", "min_count": "minCount", "negative": "neg",
    "word_ngrams": "wordNgrams", "loss": "loss", "model": "model", "bucket": "bucket", "min_n": "minn",
    "max_n": "maxn", "lr_update_rate": "lrUpdateRate", "sample": "t",
}  # fmt: skip
VALUES = {"skipgram": "sg", "supervised": "sup", "ova": "one-vs-all"}


class Part(StrEnum):
    """What of a model is printed."""

    ARGS = "args"
    DICT = "dict"
    INPUT = "input"
    OUTPUT = "output"


def dump(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="fastText's .bin or .ftz.")],
    part: Annotated[
        Part,
        typer.Argument(
            metavar="args|dict|input|output",
            help="Its arguments, its words and labels with their counts, or the matrix of its inputs or outputs.",
        ),
    ],
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print a part of a fastText model, as fastText's dump does."""
    from fastemb.engine.product import ProductRows
    from fastemb.formats.fasttext import read_model

    console = Console(quiet=quiet, json=json)
    read = read_model(model)
    if part is Part.ARGS:
        lines = list(_arguments(read.arguments))
        console.result(dict(lines), (f"{name} {_number(value)}" for name, value in lines))
    elif part is Part.DICT:
        _print_words(console, read.dictionary, errors.value)
    else:
        matrix: Any = read.input if part is Part.INPUT else read.output
        if isinstance(matrix, ProductRows):
            raise ValueError(f"the {part.value} of {model} is quantized, and has no rows of numbers to print")
        _print_rows(console, matrix)


def _arguments(told: "Arguments") -> Iterator[tuple[str, Any]]:
    for ours, theirs in NAMES.items():
        value = getattr(told, ours)
        yield theirs, VALUES.get(value, value)


def _print_words(console: Console, told: "Dictionary", errors: str) -> None:
    kinds = (("word", told.words), ("label", told.labels))
    if not console.json:
        console.result(None, str(sum(len(words) for _, words in kinds)))
    for kind, words in kinds:
        assert words.counts is not None
        for word, count in zip(words.as_bytes(), words.counts.tolist(), strict=True):
            spelt = word.decode("utf-8", errors)
            console.result({"text": spelt, "count": count, "kind": kind}, f"{spelt} {count} {kind}")


def _print_rows(console: Console, matrix: "np.ndarray") -> None:
    if not console.json:
        console.result(None, f"{len(matrix)} {matrix.shape[1]}")
    for start in range(0, len(matrix), ROWS):
        for row in matrix[start : start + ROWS].tolist():
            console.result(row, _line(row))


def _line(row: Iterable[float]) -> str:
    return " ".join(map(_number, row))


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
