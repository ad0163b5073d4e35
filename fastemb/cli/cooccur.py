"""`fastemb cooccur`: which words of a text occur near each other, as the GloVe program counts it."""

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console, count, short
from fastemb.cli.files import check_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption
from fastemb.cli.progress import TrainingProgress

if TYPE_CHECKING:
    from fastemb.corpus.reader import Corpus
    from fastemb.corpus.vocabulary import Vocabulary

EXAMPLE = "fastemb cooccur text.txt -o cooccurrence.bin --vocab vocab.txt --window 10"


def cooccur(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            help="Text, one sentence or document a line: a file (also .gz, .bz2, .xz, .zst), a folder, or -.",
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="File for the pairs of words.")],
    vocab: Annotated[str | None, typer.Option(metavar="FILE", help="Write the words and their counts here.")] = None,
    words: Annotated[
        str | None, typer.Option(metavar="FILE", help="Count these words only: a file as --vocab writes it.")
    ] = None,
    window: Annotated[int, typer.Option(help="Words that are near, on either side.")] = 15,
    symmetric: Annotated[bool, typer.Option(help="Count words on both sides, or on the right only.")] = True,
    distance_weighting: Annotated[bool, typer.Option(help="Count a pair at distance d as 1/d, or as 1.")] = True,
    min_count: Annotated[int, typer.Option(help="Drop words rarer than this.")] = 5,
    max_final_vocab: Annotated[
        int | None, typer.Option(metavar="N", help="Drop rare words until at most N are left.")
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase the text.")] = False,
    errors: ErrorsOption = Errors.STRICT,
    workers: Annotated[int | None, typer.Option(help="Threads; default, every core of this process.")] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Count in pieces and on disk beyond this, such as 500M or 4G.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Count which words occur near each other, into files that GloVe reads."""
    from fastemb.formats.cooccurrence import write_vocabulary

    console = Console(quiet=quiet, json=json)
    _check_files(corpus, output, vocab)
    if words is not None and max_final_vocab is not None:
        raise typer.BadParameter("--max-final-vocab has no meaning with --words, which are taken as they are")
    start = time.perf_counter()
    text: dict[str, Any] = {"lowercase": lowercase, "errors": errors.value}
    if words is None:
        text |= {"min_count": min_count, "max_final_vocab": max_final_vocab}
    how = {"window": window, "symmetric": symmetric, "distance_weighting": distance_weighting}
    limits = {"max_memory": max_memory, "workers": workers}
    num_pairs, vocabulary, num_words = _count(corpus, output, words, text, how, limits, console)
    if vocab is not None:
        write_vocabulary(vocab, vocabulary)
        console.say(f"Wrote {vocab}: {count(len(vocabulary))} words")
    seconds = time.perf_counter() - start
    console.say(
        f"Wrote {output}: {count(num_pairs)} pairs of {count(len(vocabulary))} words, in {seconds:.1f} s, "
        f"{short(num_words / seconds)} words/s"
    )
    console.result(
        {
            "output": output,
            "vocab": vocab,
            "words": len(vocabulary),
            "corpus_words": num_words,
            "pairs": num_pairs,
            "bytes": os.path.getsize(output),
            "seconds": seconds,
        }
    )


def _check_files(corpus: str, output: str, vocab: str | None) -> None:
    files = [output] if vocab is None else [output, vocab]
    if len({os.path.realpath(file) for file in files}) < len(files):
        raise typer.BadParameter(f"--output and --vocab are the same file, {output}")
    for file in files:
        check_output(file)
        if os.path.exists(file) and os.path.exists(corpus) and os.path.samefile(file, corpus):
            raise typer.BadParameter(f"{file} would overwrite the text")


def _count(
    corpus: str,
    output: str,
    words: str | None,
    text: dict[str, Any],
    how: dict[str, Any],
    limits: dict[str, Any],
    console: Console,
) -> "tuple[int, Vocabulary, int]":
    """Write the pairs of a text; return how many there are, of which words, and the words read."""
    from fastemb.formats.cooccurrence import count_to_file, read_vocabulary
    from fastemb.trainers.glove_matrix import count_text
    from fastemb.trainers.schedule import Monitor

    def into_file(read: "Corpus", **options: Any) -> "tuple[int, Vocabulary]":
        return count_to_file(output, read, **options), read.vocabulary

    if words is not None:
        text = {**text, "vocabulary": read_vocabulary(words, text["errors"])}
    progress = TrainingProgress(console)
    with progress.shown():
        counted, read = count_text(corpus, Monitor(None, (progress,)), text, how, limits, into_file)
    return *counted, read["num_words"]
