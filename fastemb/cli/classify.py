"""`fastemb classify`: texts into classes, as fastText's supervised commands."""

import sys
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console, columns, count, short
from fastemb.cli.files import check_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption
from fastemb.cli.progress import TrainingProgress

if TYPE_CHECKING:
    from fastemb import FastTextClassifier
    from fastemb.trainers.classification.autotune import Trial
    from fastemb.trainers.classification.measures import Measure
    from fastemb.trainers.phrasing import PhraseModel

app = typer.Typer(help="Put texts into classes: train, predict, test, quantize, autotune.", no_args_is_help=True)

TRAIN = "fastemb classify train train.txt -o model.bin --lr 0.5 --epochs 25 --word-ngrams 2"
PREDICT = "fastemb classify predict model.bin - -k 3 --probabilities < texts.txt"
TEST = "fastemb classify test model.bin test.txt --labels"
QUANTIZE = "fastemb classify quantize model.bin -o model.ftz --text train.txt --cutoff 100000 --retrain --qnorm"
AUTOTUNE = "fastemb classify autotune train.txt valid.txt -o model.bin --seconds 300 --metric f1:spam"

LINES = 4096  # predicted at a time

TextArgument = Annotated[
    str,
    typer.Argument(metavar="TEXT", help="A text a line, with labels such as __label__name: a file, or - for stdin."),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A classifier: .safetensors, .bin or .ftz.")]
OutputOption = Annotated[
    str, typer.Option("--output", "-o", metavar="OUT", help="File to write: .safetensors, or fastText's .bin.")
]
QuantizedOption = Annotated[
    str, typer.Option("--output", "-o", metavar="OUT", help="File to write: .safetensors, or fastText's .ftz.")
]
PhrasesOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Join phrases first: those that `fastemb phrases --save-model` wrote."),
]
PrefixOption = Annotated[str, typer.Option("--label-prefix", help="What a label begins with in the text.")]
KOption = Annotated[int, typer.Option("-k", metavar="K", help="Labels a text, at most; -1 for all.")]
ThresholdOption = Annotated[float, typer.Option("--threshold", help="Leave out labels of a lower probability.")]
MemoryOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Keep a larger encoded text on disk, such as 500M or 1G.")
]
WorkersOption = Annotated[int | None, typer.Option(help="Threads; default, every core of this process.")]


@app.callback(epilog=f"Example: {TRAIN}")
def classify() -> None:
    """Put texts into classes: train, predict, test, quantize, autotune."""


@app.command(epilog=f"Example: {TRAIN}")
def train(
    text: TextArgument,
    output: OutputOption,
    loss: Annotated[str, typer.Option(help="softmax, ova (several labels a text), hs or ns (very many).")] = "softmax",
    lr: Annotated[float, typer.Option(help="Learning rate at the start.")] = 0.1,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 5,
    vector_size: Annotated[int | None, typer.Option(help="Dimensions of a vector; default 100.")] = None,
    word_ngrams: Annotated[int, typer.Option(help="Most words of a word n-gram.")] = 1,
    min_n: Annotated[int, typer.Option(help="Fewest characters of a character n-gram.")] = 0,
    max_n: Annotated[int, typer.Option(help="Most characters of a character n-gram; 0 for none.")] = 0,
    bucket: Annotated[int, typer.Option(help="Rows for n-grams.")] = 2_000_000,
    min_count: Annotated[int, typer.Option(help="Drop words rarer than this.")] = 1,
    min_count_label: Annotated[int, typer.Option(help="Drop labels rarer than this.")] = 0,
    negative: Annotated[int, typer.Option(help="Labels drawn as counter-examples with --loss ns.")] = 5,
    pretrained_vectors: Annotated[
        str | None, typer.Option(metavar="FILE", help="Vectors to start from, in any format.")
    ] = None,
    phrases: PhrasesOption = None,
    label_prefix: PrefixOption = "__label__",
    shuffle: Annotated[bool, typer.Option(help="Train the texts of an epoch in a random order.")] = True,
    compat: Annotated[
        str | None, typer.Option(metavar="PROGRAM", help="fasttext: begin with its starting vectors, and its sigmoid.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers; with --workers 1 a run repeats.")] = 1,
    workers: WorkersOption = None,
    max_memory: MemoryOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a classifier on labelled text. Ctrl-C ends training early and keeps what was learned."""
    from fastemb import FastTextClassifier

    console = Console(quiet=quiet, json=json)
    _check_output(output, ".bin")
    progress = TrainingProgress(console)
    classifier = FastTextClassifier(
        loss=loss, lr=lr, epochs=epochs, vector_size=vector_size, word_ngrams=word_ngrams, min_n=min_n, max_n=max_n,
        bucket=bucket, min_count=min_count, min_count_label=min_count_label, negative=negative,
        pretrained_vectors=pretrained_vectors, label_prefix=label_prefix, shuffle=shuffle, seed=seed, workers=workers,
        max_memory=max_memory, errors=errors.value, phrases=_phrases(phrases), compat=compat, callbacks=[progress],
    )  # fmt: skip
    start, interrupted = time.perf_counter(), False
    with progress.shown():
        try:
            classifier.fit(corpus_file=text)
        except KeyboardInterrupt:
            if not progress.words_trained:
                raise
            interrupted = True
    seconds = time.perf_counter() - start
    _save(console, classifier, output, interrupted, seconds=seconds, losses=classifier.losses)
    speed = progress.last["training"].words_per_second
    console.say(f"Trained in {seconds:.1f} s, {short(speed)} words/s")
    if interrupted:
        raise typer.Exit(130)


@app.command(epilog=f"Example: {PREDICT}")
def predict(
    model: ModelArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A text a line: a file, or - for standard input.")] = "-",
    k: KOption = 1,
    threshold: ThresholdOption = 0.0,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", "-p", help="Print the probability after each label.")
    ] = False,
    label_prefix: PrefixOption = "__label__",
    workers: WorkersOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print the most probable labels of each line of a text, as fastText's predict and predict-prob."""
    console = Console(quiet=quiet, json=json)
    classifier = _load(model, label_prefix, workers, errors.value)
    prefix = classifier.label_prefix
    for lines in _batches(text, errors.value):
        for row in classifier.top_labels(lines, k, threshold):
            if json:
                console.result([{"label": label, "probability": p} for label, p in row])
                continue
            parts = [f"{prefix}{label} {p:.6g}" if probabilities else f"{prefix}{label}" for label, p in row]
            print(" ".join(parts))
        sys.stdout.flush()


@app.command(epilog=f"Example: {TEST}")
def test(
    model: ModelArgument,
    text: TextArgument,
    k: KOption = 1,
    threshold: ThresholdOption = 0.0,
    labels: Annotated[bool, typer.Option("--labels", help="Print a line for each label, too, as test-label.")] = False,
    label_prefix: PrefixOption = "__label__",
    workers: WorkersOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure precision and recall on labelled text, as fastText's test and test-label."""
    console = Console(quiet=quiet, json=json)
    report = _load(model, label_prefix, workers, errors.value).test(corpus_file=text, k=k, threshold=threshold)
    rows = [["N", count(report.num_texts)], [f"P@{k}", f"{report.precision:.4f}"], [f"R@{k}", f"{report.recall:.4f}"]]
    lines = columns([*rows, ["F1", f"{report.f1:.4f}"]])
    found = {str(label): _described(measure) for label, measure in report.labels.items()}
    if labels:
        head = [["label", "precision", "recall", "F1", "true"]]
        table = [
            [str(label), *(f"{value:.4f}" for value in (m.precision, m.recall, m.f1)), count(m.true)]
            for label, m in report.labels.items()
        ]
        lines += ["", *columns(head + table, right=[1, 2, 3, 4])]
    total = {"num_texts": report.num_texts, "k": k, **_described(report.total)}
    console.result({**total, "labels": found} if labels else total, lines)


@app.command(epilog=f"Example: {QUANTIZE}")
def quantize(
    model: ModelArgument,
    output: QuantizedOption,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Labelled text to retrain with, and to measure with.")
    ] = None,
    cutoff: Annotated[int, typer.Option(help="Words and n-grams to keep; 0 for all.")] = 0,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train what is kept once more, on --text.")] = False,
    qnorm: Annotated[bool, typer.Option("--qnorm", help="Quantize the vectors' lengths by themselves.")] = False,
    qout: Annotated[bool, typer.Option("--qout", help="Quantize the labels' vectors, too.")] = False,
    dsub: Annotated[int, typer.Option(help="Columns that become one byte.")] = 2,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text with --retrain.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate with --retrain.")] = None,
    label_prefix: PrefixOption = "__label__",
    workers: WorkersOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a classifier many times smaller; with --text, measure what it costs."""
    console = Console(quiet=quiet, json=json)
    _check_output(output, ".ftz")
    if retrain and text is None:
        raise typer.BadParameter("--retrain needs --text")
    classifier = _load(model, label_prefix, workers, errors.value)
    results: dict[str, Any] = {"bytes_before": classifier.nbytes}
    if text is not None:
        results["precision_before"] = classifier.test(corpus_file=text).precision
    classifier.quantize(
        corpus_file=text if retrain else None, cutoff=cutoff, retrain=retrain, qnorm=qnorm, qout=qout, dsub=dsub,
        epochs=epochs, lr=lr,
    )  # fmt: skip
    results["bytes"] = classifier.nbytes
    if text is not None:
        results["precision"] = classifier.test(corpus_file=text).precision
    before, after = results["bytes_before"], results["bytes"]
    console.say(f"Vectors: {before / 1e6:.2f} MB before, {after / 1e6:.2f} MB now, {before / after:.1f} times smaller")
    if text is not None:
        console.say(f"P@1 on {text}: {results['precision_before']:.4f} before, {results['precision']:.4f} now")
    _save(console, classifier, output, False, **results)


@app.command(epilog=f"Example: {AUTOTUNE}")
def autotune(
    text: TextArgument,
    validation: Annotated[str, typer.Argument(metavar="VALIDATION", help="Labelled text to measure with.")],
    output: OutputOption,
    seconds: Annotated[float | None, typer.Option(help="Time for the search; default 300.")] = None,
    trials: Annotated[int | None, typer.Option(help="Models to try, at most; default, what the time allows.")] = None,
    metric: Annotated[
        str, typer.Option(help="f1, f1:label, precisionAtRecall:30, recallAtPrecision:30:label ...")
    ] = "f1",
    k: KOption = 1,
    max_table_memory: Annotated[str, typer.Option(metavar="SIZE", help="Of a table of n-grams, at most.")] = "2G",
    model_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Quantize to a .ftz of so many bytes at most, such as 2M.")
    ] = None,
    loss: Annotated[str, typer.Option(help="softmax, ova, hs or ns.")] = "softmax",
    phrases: PhrasesOption = None,
    label_prefix: PrefixOption = "__label__",
    seed: Annotated[int, typer.Option(help="Of the search, and of each training.")] = 1,
    workers: WorkersOption = None,
    max_memory: MemoryOption = None,
    errors: ErrorsOption = Errors.STRICT,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search for hyper-parameters that do best on validation text, and write the best classifier.

    Ctrl-C ends the search early and keeps the best one.
    """
    from fastemb import FastTextClassifier

    console = Console(quiet=quiet, json=json)
    warnings.filterwarnings("ignore", "Ctrl-C ended the search")  # as is said below
    _check_output(output, ".bin" if model_size is None else ".ftz")  # of a size: it is quantized
    best = FastTextClassifier.autotune(
        text, validation, seconds=seconds, trials=trials, metric=metric, k=k, max_table_memory=max_table_memory,
        model_size=model_size, callbacks=[_Trials(console)], loss=loss, label_prefix=label_prefix, seed=seed,
        workers=workers, max_memory=max_memory, errors=errors.value, phrases=_phrases(phrases),
    )  # fmt: skip
    top = max((trial for trial in best.trials_ if trial.score == trial.score), key=lambda trial: trial.score)
    told = {"score": top.score, "trials": len(best.trials_), "parameters": top.parameters}
    _save(console, best, output, best.interrupted_, **told)
    if best.interrupted_:
        raise typer.Exit(130)


class _Trials:
    """Tells of each trial of a search."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._best = float("-inf")

    def on_trial_end(self, classifier: object, trial: "Trial") -> None:
        """Say how a trial went."""
        mark = " (best so far)" if trial.score > self._best else ""
        self._best = max(self._best, trial.score)
        told = ", ".join(f"{name} {value}" for name, value in trial.parameters.items())
        self._console.say(f"{trial.score:.4f}{mark} in {trial.seconds:.1f} s: {told}")


def _check_output(output: str, suffix: str) -> None:
    """Check that a classifier could be written, so that a long run does not end in an error."""
    check_output(output)
    if not output.endswith((".safetensors", suffix)):
        hint = "; classify quantize writes .ftz" if output.endswith(".ftz") else ""
        raise typer.BadParameter(f"--output must end in .safetensors or {suffix}, got {output!r}{hint}")


def _phrases(path: str | None) -> "PhraseModel | None":
    from fastemb import Phrases

    return None if path is None else Phrases.load(path)


def _load(path: str, label_prefix: str, workers: int | None, errors: str) -> "FastTextClassifier":
    from fastemb import FastTextClassifier

    return FastTextClassifier.load(path, label_prefix).set_params(workers=workers, errors=errors)


def _save(console: Console, classifier: "FastTextClassifier", output: str, interrupted: bool, **results: Any) -> None:
    if interrupted:
        console.say("Interrupted: saving what was learned so far.")
    classifier.save(output)
    words, labels = len(classifier.wv), len(classifier.classes_)
    console.say(f"Wrote {output}: {count(words)} words, {count(labels)} labels")
    console.result({"output": output, "words": words, "labels": labels, "interrupted": interrupted, **results})


def _described(measure: "Measure") -> dict[str, float]:
    return {
        "precision": measure.precision,
        "recall": measure.recall,
        "f1": measure.f1,
        "true": measure.true,
        "predicted": measure.predicted,
        "correct": measure.correct,
    }


def _batches(path: str, errors: str) -> Iterator[list[str]]:
    """Yield the lines of a file, many at a time, or as they come from a pipe or a terminal."""
    from fastemb.corpus.lines import line_batches

    return line_batches(path, errors, LINES)
