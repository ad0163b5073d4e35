"""`fastemb vectors`: print vectors of words, of lines of text, or of a word's n-grams."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from fastemb.cli.console import Console
from fastemb.cli.files import load_vectors
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption

EXAMPLE = "fastemb vectors model.bin king kingly"


def vectors(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="File of vectors in any format, or a classifier's .bin or .ftz.")
    ],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Words; default, those of standard input.")
    ] = None,
    sentences: Annotated[
        bool, typer.Option("--sentences", help="Print the vector of each line of standard input.")
    ] = False,
    ngrams: Annotated[
        bool, typer.Option("--ngrams", help="Print the n-grams of each word, and their vectors.")
    ] = False,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print vectors of words: fastText's print-word-vectors, print-sentence-vectors and print-ngrams.

    The vector of a line is the mean of its words' unit vectors; of a classifier, the mean of its features' vectors.
    """
    if sentences and (ngrams or words):
        raise typer.BadParameter("--sentences takes lines of standard input, and no words or --ngrams")
    console = Console(quiet=quiet, json=json)
    source = _open(model, errors.value)
    if not words and sys.stdin.isatty():
        console.say("Reading from this terminal: end with Ctrl-D.")
    if sentences:
        for line in _lines(errors.value):
            _print(console, "text", line, source.get_sentence_vector(line))
        return
    for word in words or (word for line in _lines(errors.value) for word in line.split()):
        if not ngrams:
            _print(console, "word", word, source.get_word_vector(word))
            continue
        for ngram, row in zip(*source.get_subwords(word), strict=True):
            _print(console, "ngram", ngram, source.get_input_vector(row))


def _open(path: str, errors: str) -> Any:
    """Return a model with fastText's methods."""
    from fastemb.fasttext import Model, load_model
    from fastemb.formats.registry import detect
    from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors

    if detect(path) == "fasttext":
        return load_model(path)
    table = load_vectors(path, errors=errors)
    return Model(table) if isinstance(table, FastTextKeyedVectors) else _Words(table)


class _Words:
    """Vectors without n-grams, with some of the methods of fastText's model."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.get_word_vector = table.get_vector

    def get_sentence_vector(self, text: str) -> Any:
        return self._table.get_mean_vector(text.split() or [""])

    def get_subwords(self, word: str) -> Any:
        raise ValueError("these vectors have no n-grams: --ngrams needs a model of fastText")


def _lines(errors: str) -> Iterator[str]:
    from fastemb.corpus.lines import line_batches

    for batch in line_batches("-", errors):
        yield from batch


def _print(console: Console, kind: str, name: str, vector: Any) -> None:
    numbers = vector.tolist()
    label = [] if kind == "text" else [name]
    console.result({kind: name, "vector": numbers}, " ".join([*label, *(f"{number:.6g}" for number in numbers)]))
