"""`fastemb bench`: fastemb beside its peers on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from fastemb.cli.console import Console
from fastemb.cli.files import check_output
from fastemb.cli.options import JsonOption, QuietOption

EXAMPLE = "fastemb bench training --corpus text.txt --peers gensim,fasttext"
PHRASES_EXAMPLE = "fastemb bench phrases --corpus text.txt"
CLASSIFY_EXAMPLE = "fastemb bench classify --data train.csv --epochs 25"
GLOVE_EXAMPLE = "fastemb bench glove --corpus text.txt --glove-programs GloVe/build"
LAYERS_EXAMPLE = "fastemb bench layers --peers torch,fbgemm --what bags,step-sgd"
GPU_EXAMPLE = "fastemb bench gpu --peers torch --corpus text.txt --output gpu.json --page README.md"
VECTORS_EXAMPLE = "fastemb bench vectors --vectors vectors.safetensors --what all"

CorpusOption = Annotated[str, typer.Option(metavar="FILE", help="Text to train on, one sentence a line; or a .gz.")]
VectorSizeOption = Annotated[int, typer.Option(help="Dimensions of a vector.")]
ThreadsOption = Annotated[int, typer.Option(help="Threads of each program.")]
AnalogiesOption = Annotated[str | None, typer.Option(metavar="FILE", help="Questions to measure quality by.")]
PairsOption = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="Scored pairs to measure quality by. May be repeated.")
]
MaxWordsOption = Annotated[int | None, typer.Option(metavar="N", help="Use only the first N words of the text.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="One round on a million words: to see that it works.")]
OutputOption = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results, JSON.")]

app = typer.Typer(help="Measure fastemb beside its peers on this machine.", no_args_is_help=True)


@app.callback(epilog=f"Example: {EXAMPLE}")
def bench() -> None:
    """Measure fastemb beside its peers on this machine."""


@app.command(epilog=f"Example: {EXAMPLE}")
def training(
    corpus: CorpusOption,
    peers: Annotated[str, typer.Option(metavar="NAME,...", help="Of gensim and fasttext.")] = "gensim,fasttext",
    what: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="Of speed, quality, scan, start, memory, threads, time-to-quality, cbow, hierarchical, fasttext, "
            "open; or all.",
        ),
    ] = "speed",
    vector_size: VectorSizeOption = 100,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 1,
    seeds: Annotated[int, typer.Option(help="Rounds where quality is the question.")] = 3,
    repeats: Annotated[int, typer.Option(help="Rounds where speed is the question.")] = 3,
    threads: ThreadsOption = 2,
    alpha: Annotated[float | None, typer.Option(help="Rate of fastemb's second row; default, gensim's.")] = None,
    analogies: AnalogiesOption = None,
    pairs: PairsOption = None,
    evaluator: Annotated[str, typer.Option(help="Whose code scores all vectors: fastemb or gensim.")] = "fastemb",
    max_words: MaxWordsOption = None,
    quick: QuickOption = False,
    output: OutputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train with fastemb and its peers in turn; compare speed and quality."""
    from fastemb.bench.tables import render
    from fastemb.bench.training import run

    console = _console(output, json, quiet)
    kinds = _names(what)
    results = run(
        corpus,
        peers=_names(peers),
        what="all" if kinds == ["all"] else kinds,
        vector_size=vector_size,
        epochs=epochs,
        seeds=seeds,
        repeats=repeats,
        threads=threads,
        alpha=alpha,
        analogies=analogies,
        pairs=pairs or (),
        evaluator=evaluator,
        max_words=max_words,
        quick=quick,
        output=output,
        log=console.say,
    )
    console.result(results, render(results))


@app.command(epilog=f"Example: {PHRASES_EXAMPLE}")
def phrases(
    corpus: Annotated[str, typer.Option(metavar="FILE", help="Text, one sentence a line; or a .gz.")],
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each program.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of fastemb; gensim has one.")] = 2,
    max_words: MaxWordsOption = None,
    output: OutputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and join phrases in two passes with fastemb and gensim in turn; check that they are the same."""
    from fastemb.bench.phrases import render, run

    console = _console(output, json, quiet)
    results = run(corpus, repeats=repeats, threads=threads, max_words=max_words, output=output, log=console.say)
    console.result(results, render(results))


@app.command(epilog=f"Example: {LAYERS_EXAMPLE}")
def layers(
    peers: Annotated[
        str, typer.Option(metavar="NAME,...", help="Of torch and fbgemm; torch checks every result.")
    ] = "torch,fbgemm",
    what: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="Of bags, off-path, lookup, small, backward, step-sgd, step-rowwise-adagrad, step-adagrad, step-adam, "
            "low-precision, collection, torch-loop, limit, memory; or all.",
        ),
    ] = "bags",
    threads: ThreadsOption = 2,
    seconds: Annotated[float | None, typer.Option(help="For each case; default 1.2.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small case of each variant: to see that it works.")] = False,
    output: OutputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Look up, reduce and train with fastemb, torch and FBGEMM in turn; compare speed."""
    from fastemb.bench.layers.run import run
    from fastemb.bench.tables import render

    console = _console(output, json, quiet)
    kinds = _names(what)
    results = run(
        _names(peers),
        what="all" if kinds == ["all"] else kinds,
        threads=threads,
        seconds=seconds,
        quick=quick,
        output=output,
        log=console.say,
    )
    console.result(results, render(results))


@app.command(epilog=f"Example: {GLOVE_EXAMPLE}")
def glove(
    corpus: CorpusOption,
    glove_programs: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of vocab_count, cooccur, shuffle and glove; else fastemb only."),
    ] = None,
    what: Annotated[str, typer.Option(metavar="KIND,...", help="Of counting and training.")] = "counting,training",
    vector_size: VectorSizeOption = 100,
    window: Annotated[int, typer.Option(help="Words that are near, on either side.")] = 15,
    epochs: Annotated[int, typer.Option(help="Passes over the pairs.")] = 15,
    threads: ThreadsOption = 2,
    repeats: Annotated[int, typer.Option(help="Rounds.")] = 3,
    analogies: AnalogiesOption = None,
    pairs: PairsOption = None,
    max_words: MaxWordsOption = None,
    quick: QuickOption = False,
    output: OutputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Count co-occurrences and train with fastemb and the GloVe program in turn; compare speed and quality."""
    from fastemb.bench.glove import run
    from fastemb.bench.tables import render

    console = _console(output, json, quiet)
    results = run(
        corpus,
        programs=glove_programs,
        what=_names(what),
        vector_size=vector_size,
        window=window,
        epochs=epochs,
        threads=threads,
        repeats=repeats,
        analogies=analogies,
        pairs=pairs or (),
        max_words=max_words,
        quick=quick,
        output=output,
        log=console.say,
    )
    console.result(results, render(results))


@app.command(epilog=f"Example: {VECTORS_EXAMPLE}")
def vectors(
    file: Annotated[
        str | None, typer.Option("--vectors", metavar="FILE", help="Vectors to search; default, random ones.")
    ] = None,
    what: Annotated[
        str, typer.Option(metavar="KIND,...", help="Of neighbors, compact, indexes; or all.")
    ] = "neighbors",
    num_words: Annotated[int, typer.Option(help="Words of the table.")] = 100_000,
    vector_size: Annotated[int, typer.Option(help="Dimensions of a random vector.")] = 100,
    num_queries: Annotated[int, typer.Option(help="Words to search for.")] = 10_000,
    threads: ThreadsOption = 2,
    repeats: Annotated[int, typer.Option(help="Rounds.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="A small table, one round: to see that it works.")] = False,
    output: OutputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search near words with fastemb, NumPy and gensim in turn; measure smaller tables and approximate indexes."""
    from fastemb.bench.tables import render
    from fastemb.bench.vectors.run import run

    console = _console(output, json, quiet)
    kinds = _names(what)
    results = run(
        file,
        what="all" if kinds == ["all"] else kinds,
        num_words=num_words,
        vector_size=vector_size,
        num_queries=num_queries,
        threads=threads,
        repeats=repeats,
        quick=quick,
        output=output,
        log=console.say,
    )
    console.result(results, render(results))


@app.command(epilog=f"Example: {CLASSIFY_EXAMPLE}")
def classify(
    data: Annotated[str, typer.Option(metavar="FILE", help="CSV with a header, columns text and label (banking77).")],
    lr: Annotated[float, typer.Option(help="Learning rate of both programs.")] = 0.5,
    epochs: Annotated[int, typer.Option(help="Passes over the texts.")] = 25,
    word_ngrams: Annotated[int, typer.Option(help="Most words of a word n-gram.")] = 1,
    loss: Annotated[str, typer.Option(help="softmax, ova, hs or ns.")] = "softmax",
    threads: ThreadsOption = 2,
    rounds: Annotated[int, typer.Option(help="Runs of each program.")] = 5,
    output: OutputOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train classifiers with fastemb and fastText in turn; compare speed and accuracy."""
    from fastemb.bench.classify import render, run

    console = _console(output, json, quiet)
    results = run(
        data, lr=lr, epochs=epochs, word_ngrams=word_ngrams, loss=loss, threads=threads, rounds=rounds, output=output,
        log=console.say,
    )  # fmt: skip
    console.result(results, render(results))


@app.command(epilog=f"Example: {GPU_EXAMPLE}")
def gpu(
    peers: Annotated[str, typer.Option(metavar="NAME,...", help="torch, or none.")] = "torch",
    gigabytes: Annotated[float, typer.Option(help="Of the table that bags are read from.")] = 10.0,
    repeats: Annotated[int, typer.Option(help="Calls of which the median is taken.")] = 30,
    corpus: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text to train word vectors on, on the CPU and on the GPU.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small tables: to see that it works.")] = False,
    output: OutputOption = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, help="Fill the tables of this page, which are marked."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure bags, training steps and small calls on a GPU beside torch's, and word vectors beside the CPU's."""
    from fastemb.bench.gpu import run
    from fastemb.bench.tables import render, write

    console = _console(output, json, quiet)
    names = [name for name in _names(peers) if name != "none"]
    results = run(
        peers=names, gigabytes=gigabytes, repeats=repeats, corpus=corpus, quick=quick, output=output, log=console.say
    )
    if page is not None:
        write(page, [results])
    console.result(results, render(results))


def _console(output: str | None, json: bool, quiet: bool) -> Console:
    """Return the console of a run whose results can be written."""
    if output is not None:
        check_output(output)
    return Console(quiet=quiet, json=json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
