"""`fastemb phrases`: find the phrases of a text and join them."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from fastemb.cli.console import Console, columns, count, visible
from fastemb.cli.files import check_beside, check_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption, is_given

if TYPE_CHECKING:
    from fastemb.corpus.reader import Corpus
    from fastemb.trainers.frozen_phrases import FrozenPhrases

EXAMPLE = "fastemb phrases text.txt -o joined.txt --passes 2 --connector-words en --save-model phrases.json"

_PHRASES, _RUN = "Phrases", "Run"
# What tells how to learn, and says nothing about joining.
_LEARNING = ("passes", "min_count", "threshold", "scoring", "delimiter", "connector_words", "max_vocab_size")


class Scoring(StrEnum):
    """How counts become a score."""

    DEFAULT = "default"
    NPMI = "npmi"
    WORD2PHRASE = "word2phrase"


def phrases(
    context: typer.Context,
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            help="Text, one sentence a line: a file (also .gz, .bz2, .xz, .zst), a folder, or - (standard input).",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="File for the joined text, or - (standard output)."),
    ] = None,
    passes: Annotated[
        int,
        typer.Option(
            min=1, help="Times to learn and join: 2 gives phrases of 3 and 4 words.", rich_help_panel=_PHRASES
        ),
    ] = 1,
    min_count: Annotated[
        float, typer.Option(help="A phrase must occur more often than this.", rich_help_panel=_PHRASES)
    ] = 5,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            help="A phrase must score more; several times, one a pass. Default 10; npmi 0.5, word2phrase 100.",
            rich_help_panel=_PHRASES,
        ),
    ] = None,
    scoring: Annotated[
        Scoring,
        typer.Option(
            help="Mikolov's score (gensim's default), npmi, or the program word2phrase's.", rich_help_panel=_PHRASES
        ),
    ] = Scoring.DEFAULT,
    delimiter: Annotated[str, typer.Option(help="What joins words.", rich_help_panel=_PHRASES)] = "_",
    connector_words: Annotated[
        str | None,
        typer.Option(
            metavar="en|FILE",
            help="Words that may stand inside a phrase, as in bank_of_america: English ones, or those in a file.",
            rich_help_panel=_PHRASES,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Join what --save-model wrote, and learn nothing.", rich_help_panel=_PHRASES),
    ] = None,
    save_model: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the phrases as .json.", rich_help_panel=_PHRASES)
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--list", "-l", min=1, metavar="N", help="Print the N best phrases of the text.", rich_help_panel=_PHRASES
        ),
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase the text.", rich_help_panel=_RUN)] = False,
    errors: ErrorsOption = Errors.STRICT,
    max_vocab_size: Annotated[
        int, typer.Option(min=1, help="Most words and phrases to count.", rich_help_panel=_RUN)
    ] = 40_000_000,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Keep a larger encoded text on disk, such as 500M or 1G.", rich_help_panel=_RUN
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; default, every core of this process.", rich_help_panel=_RUN)
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find the phrases of a text, such as new_york, and join their words.

    Lines stay lines; blank ones are left out, and words are separated by one space.
    """
    console = Console(quiet=quiet, json=json)
    _check_options(context, corpus, output, model, save_model, top, json)
    start = time.perf_counter()
    if corpus == "-" and sys.stdin.isatty():
        console.say("Reading from this terminal: end the text with Ctrl-D.")
    reading = {"lowercase": lowercase, "errors": errors.value, "workers": workers}
    text, num_words = _read(corpus, max_memory, reading, console)
    if model is not None:
        found, text = _apply(model, text, max_memory, workers)
    else:
        options = {
            "min_count": min_count,
            "scoring": scoring.value,
            "delimiter": delimiter,
            "connector_words": _connectors(connector_words),
            "max_vocab_size": max_vocab_size,
            "max_memory": max_memory,
            "workers": workers,
        }
        found, text = _learn(text, _thresholds(threshold, passes), options, console)
    if output is not None:
        _write(output, text, workers)
        console.say(f"Wrote {'standard output' if output == '-' else output}: {count(len(text.ids))} words and phrases")
    if save_model is not None:
        found.save(save_model)
        console.say(f"Wrote {save_model}: {count(len(found))} phrases")
    seconds = time.perf_counter() - start
    console.say(f"Joined {count(num_words - len(text.ids))} of {count(num_words)} words to others in {seconds:.1f} s")
    _report(found, text, num_words, seconds, top, output, console)


def find_phrases(given: str, corpus: str, reading: dict[str, Any], console: Console) -> "FrozenPhrases":
    """Return the phrases that ``train --phrases`` asks for: of a file, or of the text in a number of passes.

    Parameters
    ----------
    given : str
        A file's name or a number.
    corpus : str
        The text; read here, too, so that it cannot be standard input if `given` is a number.
    reading : dict
        The trainer's parameters, of which those that tell how to read are taken.
    console : Console
    """
    if not given.isdecimal():
        from fastemb.trainers.phrases import Phrases

        return Phrases.load(given).freeze()
    if corpus == "-":
        raise typer.BadParameter("--phrases N reads the text twice, and standard input is read once; give a file")
    if int(given) < 1:
        raise typer.BadParameter("--phrases must be a file, or a number of passes from 1 on, got 0")
    options: dict[str, Any] = {name: reading[name] for name in ("lowercase", "errors", "workers") if name in reading}
    text, _ = _read(corpus, reading.get("max_memory"), options, console)
    return _learn(text, [None] * int(given), {"workers": options.get("workers")}, console)[0]


def _check_options(
    context: typer.Context,
    corpus: str,
    output: str | None,
    model: str | None,
    save_model: str | None,
    top: int | None,
    json: bool,
) -> None:
    if output is None and save_model is None and top is None and not json:
        raise typer.BadParameter("nothing to do: one of --output, --save-model and --list must be given")
    if output == "-" and (top is not None or json):
        raise typer.BadParameter("--output - takes standard output, where --list and --json print")
    if model is not None:
        for name in _LEARNING:
            if is_given(context, name):
                raise typer.BadParameter(f"--{name.replace('_', '-')} is the saved model's own with --model")
    if save_model is not None and not save_model.endswith(".json"):
        raise typer.BadParameter(f"--save-model must end in .json, got {save_model!r}")
    for option, file in (("--output", output), ("--save-model", save_model)):
        if file is None or file == "-":
            continue
        check_output(file)
        check_beside(option, file, corpus)
    if output is not None and save_model is not None and os.path.realpath(output) == os.path.realpath(save_model):
        raise typer.BadParameter(f"--output and --save-model are the same file, {output}")


def _thresholds(given: list[float] | None, passes: int) -> list[float | None]:
    if not given:
        return [None] * passes
    if len(given) not in (1, passes):
        raise typer.BadParameter(f"--threshold must be given once, or once a pass: {passes} times, got {len(given)}")
    return list(given) if len(given) == passes else [given[0]] * passes


def _connectors(given: str | None) -> frozenset[str]:
    from fastemb.trainers.phrasing import ENGLISH_CONNECTOR_WORDS

    if given is None:
        return frozenset()
    if given == "en":
        return ENGLISH_CONNECTOR_WORDS
    with open(given, encoding="utf-8") as file:
        return frozenset(file.read().split())


def _read(corpus: str, max_memory: str | None, reading: dict[str, Any], console: Console) -> "tuple[Corpus, int]":
    from fastemb.trainers.phrasing import read_words

    start = time.perf_counter()
    text = read_words(corpus, max_memory=max_memory, **reading)
    console.say(f"Read {count(text.num_words)} words in {time.perf_counter() - start:.1f} s")
    return text, text.num_words


def _apply(model: str, text: "Corpus", max_memory: str | None, workers: int | None) -> "tuple[FrozenPhrases, Corpus]":
    from fastemb.corpus.spool import parse_size
    from fastemb.trainers.phrases import Phrases

    found = Phrases.load(model).freeze()
    budget = None if max_memory is None else parse_size(max_memory)
    return found, found.join(text, max_memory=budget, workers=workers)


def _learn(
    text: "Corpus", thresholds: list[float | None], options: dict[str, Any], console: Console
) -> "tuple[FrozenPhrases, Corpus]":
    """Learn and join, once for each threshold."""
    from fastemb.trainers.frozen_phrases import FrozenPhrases
    from fastemb.trainers.phrases import Phrases

    models = []
    for number, threshold in enumerate(thresholds):
        start = time.perf_counter()
        model = Phrases(threshold=threshold, **options)
        model.add_corpus(text)
        text = model.join(text, max_memory=model.max_memory, workers=model.workers)
        models.append(model.freeze())
        seconds = time.perf_counter() - start
        console.say(f"Pass {number + 1} of {len(thresholds)}: {count(len(models[-1]))} phrases in {seconds:.1f} s")
    return FrozenPhrases(models), text


def _write(output: str, text: "Corpus", workers: int | None) -> None:
    from fastemb.corpus.joining import text_blocks

    with _opened(output) as file:
        for block in text_blocks(text, workers):
            file.write(block)


@contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    from fastemb.formats.files import replacing

    if output != "-":
        with replacing(output) as file:
            yield file
        return
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _report(
    found: "FrozenPhrases",
    text: "Corpus",
    num_words: int,
    seconds: float,
    top: int | None,
    output: str | None,
    console: Console,
) -> None:
    if output == "-":
        return
    best = _best(found, text, top or 0)
    counts = text.vocabulary.counts
    assert counts is not None
    console.result(
        {
            "output": output,
            "phrases": len(found),
            "words_read": num_words,
            "words_written": len(text.ids),
            "seconds": seconds,
            "best": [{"phrase": phrase, "score": score, "count": number} for phrase, score, number in best],
        },
        columns([[visible(phrase), f"{score:.4g}", str(number)] for phrase, score, number in best], right=[1, 2]),
    )


def _best(found: "FrozenPhrases", text: "Corpus", top: int) -> list[tuple[str, float, int]]:
    """Return the phrases with the best scores, and how often they occur in the joined text."""
    counts = text.vocabulary.counts
    assert counts is not None
    scores = found.phrasegrams
    best = sorted(scores, key=lambda phrase: -scores[phrase])
    occurring = ((phrase, int(counts[text.vocabulary.key_to_index[phrase]])) for phrase in best)
    listed = [(phrase, scores[phrase], number) for phrase, number in occurring if number]
    return listed[:top]
