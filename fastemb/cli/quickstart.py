"""`fastemb quickstart`: train on a text that every machine has, and show what came out."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console, columns, count, short
from fastemb.cli.options import JsonOption, QuietOption
from fastemb.cli.python_source import corpus, library_files
from fastemb.cli.similar import Similar, similar_words
from fastemb.cli.training import Outcome, train_model

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

EXAMPLE = "fastemb quickstart"

# Words to show neighbours of, as many as the text knows; and the themes that the map is drawn around.
_SHOWN = ("green", "monday", "seven", "lock", "float", "server", "encode", "width", "hour")
_THEMES = (
    *_SHOWN,
    *("january", "thread", "http", "bytes", "tuple", "gzip", "sha", "sqrt", "parent", "append", "file", "class"),
    *("regex", "exception", "test", "argument", "email", "unicode", "import", "random", "date", "error"),
)

# What a trial of window, epochs and rate found to give the neighbours that make most sense for the time. Some systems
# leave the library's tests out, which are more than half of it: then rarer words are kept, and gone over more often.
_WORDS_TO_TRAIN = 20_000_000
_SMALL_TEXT = 2_000_000


def quickstart(
    folder: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write; made if it does not exist.")
    ] = "fastemb-quickstart",
    workers: Annotated[int | None, typer.Option(help="Threads; default, every core of this process.")] = None,
    seed: Annotated[int, typer.Option(help="Start of the random numbers.")] = 1,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train vectors on the source of Python's standard library and show what they learned.

    Takes less than a minute the first time, and nothing is downloaded.
    """
    console = Console(quiet=quiet, json=json)
    start = time.perf_counter()
    text, vectors, picture = (os.path.join(folder, name) for name in ("text.txt", "vectors.safetensors", "map.png"))
    files = library_files()
    os.makedirs(folder, exist_ok=True)
    console.say(f"The text: the source of Python's standard library, {count(len(files))} files, nothing to download.")
    words = _write_text(text, files)
    console.say(f"Wrote {text}: {count(words)} words, lowercase, names split into words")
    outcome = train_model(text, _parameters(words) | {"workers": workers, "seed": seed}, console)
    outcome.model.wv.save(vectors)
    if outcome.interrupted:
        console.say(f"Interrupted: saved what was learned so far in {vectors}")
        raise typer.Exit(130)
    console.say(
        f"Trained on {count(outcome.words)} words in {outcome.training_seconds:.1f} s:"
        f" {short(outcome.words_per_second)} words/s"
    )
    found = _neighbors(outcome.model.wv)
    _draw(outcome.model.wv, picture, words)
    seconds = time.perf_counter() - start
    _report(console, found, outcome, seconds, (text, vectors, picture))


def _write_text(path: str, files: list[Path]) -> int:
    """Write the text and return its number of words."""
    from fastemb.formats.files import replacing

    lines = corpus(files)
    with replacing(path) as file:
        file.write(b"\n".join([*lines, b""]))
    return sum(line.count(b" ") + 1 for line in lines)


def _parameters(words: int) -> dict[str, Any]:
    return {
        "sg": 1,
        "vector_size": 100,
        "window": 8,
        "min_count": 20 if words >= _SMALL_TEXT else 10,
        "epochs": min(max(round(_WORDS_TO_TRAIN / max(words, 1)), 5), 20),
    }


def _neighbors(vectors: "KeyedVectors") -> dict[str, Similar]:
    return {word: similar_words(vectors, word, topn=6) for word in _SHOWN if word in vectors}


def _draw(vectors: "KeyedVectors", path: str, words: int) -> None:
    from fastemb.vectors.plot import draw_map

    # The rarer half of the words is odd names, which are correct neighbours but tell a reader nothing.
    common = len(vectors) // 2
    chosen: dict[str, None] = {}
    for theme in _THEMES:
        if theme in vectors:
            chosen |= dict.fromkeys(
                [theme, *(word for word, _ in similar_words(vectors, theme, topn=7, restrict_vocab=common))]
            )
    title = f"Words of Python's standard library, as {count(words)} words of its source place them"
    draw_map(vectors, path, words=list(chosen) or None, title=title)


def _report(
    console: Console,
    found: dict[str, Similar],
    outcome: Outcome,
    seconds: float,
    files: tuple[str, str, str],
) -> None:
    text, vectors, picture = files
    console.say("\nNearest words:")
    console.result(
        {
            "text": text,
            "vectors": vectors,
            "map": picture,
            "trained_words": outcome.words,
            "words_per_second": outcome.words_per_second,
            "seconds": seconds,
            "neighbors": {word: [other for other, _ in similar] for word, similar in found.items()},
        },
        columns([f"  {word}", " ".join(other for other, _ in similar)] for word, similar in found.items()),
    )
    console.say(
        f"""
Wrote {vectors} and its map, {picture}. All of it took {seconds:.1f} s.
Try next:
  fastemb neighbors {vectors} {" ".join(list(found)[:2]) or "WORD"}
  fastemb analogy {vectors} encode decode compress
  fastemb train {text} -o mine.safetensors --vector-size 200 --epochs 3
  fastemb train YOUR-TEXT.txt -o vectors.safetensors"""
    )
