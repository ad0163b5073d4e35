"""`fastemb train`: vectors from a text."""

import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from fastemb.cli import glove
from fastemb.cli.console import Console
from fastemb.cli.files import check_output, check_vectors_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption
from fastemb.cli.phrases import find_phrases
from fastemb.cli.training import save, train_model

EXAMPLE = "fastemb train text.txt.gz -o vectors.safetensors --vector-size 300 --epochs 3"

_TEXT, _MODEL, _RUN, _NGRAMS = "Text", "Model", "Run", "N-grams of characters"


class Model(StrEnum):
    """What `--model` chooses."""

    SKIPGRAM = "skipgram"
    CBOW = "cbow"
    FASTTEXT = "fasttext"
    FASTTEXT_CBOW = "fasttext-cbow"
    GLOVE = "glove"


# What --continue takes from the model's file: another value would not fit its vectors or its vocabulary.
_FIXED = (
    "vector_size", "min_count", "max_vocab_size", "max_final_vocab", "sorted_vocab", "pretrained", "pretrained_lockf",
)  # fmt: skip
_OPTIONS = {"sg": "model"}  # parameters that an option of another name tells


def train(
    context: typer.Context,
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            help="Text, one sentence a line: a file (also .gz, .bz2, .xz, .zst), a folder, or - (standard input).",
        ),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="OUT", help="File for the vectors; its suffix decides the format."),
    ],
    model: Annotated[
        Model,
        typer.Option(
            help="Each context word by itself, all together; either with n-grams of characters; or how often words "
            "meet.",
            rich_help_panel=_MODEL,
        ),
    ] = Model.SKIPGRAM,
    vector_size: Annotated[int, typer.Option(help="Dimensions of a vector.", rich_help_panel=_MODEL)] = 100,
    window: Annotated[int, typer.Option(help="Words of context on each side, at most.", rich_help_panel=_MODEL)] = 5,
    negative: Annotated[
        int, typer.Option(help="Noise words a pair is set against; 0: none.", rich_help_panel=_MODEL)
    ] = 5,
    hs: Annotated[bool, typer.Option("--hs", help="Hierarchical softmax.", rich_help_panel=_MODEL)] = False,
    epochs: Annotated[int, typer.Option(help="Passes over the text.", rich_help_panel=_MODEL)] = 5,
    alpha: Annotated[
        float | None,
        typer.Option(help="Learning rate at the start; default 0.035, CBOW 0.075.", rich_help_panel=_MODEL),
    ] = None,
    min_alpha: Annotated[
        float | None, typer.Option(help="Learning rate at the end; default 1e-4.", rich_help_panel=_MODEL)
    ] = None,
    sample: Annotated[
        float, typer.Option(help="Words more frequent than this share are thinned; 0: none.", rich_help_panel=_MODEL)
    ] = 1e-3,
    ns_exponent: Annotated[
        float | None,
        typer.Option(help="Noise words are drawn by their count to this power; default 0.75.", rich_help_panel=_MODEL),
    ] = None,
    cbow_mean: Annotated[
        bool, typer.Option(help="CBOW averages the context's vectors, or sums them.", rich_help_panel=_MODEL)
    ] = True,
    cbow_update: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Of CBOW: classic or corrected.", rich_help_panel=_MODEL),
    ] = None,
    shrink_windows: Annotated[
        bool, typer.Option(help="Draw each window's size, from 1 to --window.", rich_help_panel=_MODEL)
    ] = True,
    shared_negatives: Annotated[
        bool,
        typer.Option(
            help="One set of noise words a window (fast), or one a pair (word2vec.c).", rich_help_panel=_MODEL
        ),
    ] = True,
    compat: Annotated[
        str | None,
        typer.Option(
            metavar="PROGRAM",
            help="Train as word2vec.c, gensim or fasttext does, slower; glove-1.2: with --model glove.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Vectors to start from, in any format, for those words it has.", rich_help_panel=_MODEL
        ),
    ] = None,
    pretrained_lockf: Annotated[
        float,
        typer.Option(
            metavar="FACTOR", help="On the learning rate of these words: 0 freezes them.", rich_help_panel=_MODEL
        ),
    ] = 1.0,
    min_n: Annotated[int, typer.Option(help="Least characters of an n-gram.", rich_help_panel=_NGRAMS)] = 3,
    max_n: Annotated[int, typer.Option(help="Most characters of an n-gram.", rich_help_panel=_NGRAMS)] = 6,
    bucket: Annotated[int, typer.Option(help="Rows that n-grams share.", rich_help_panel=_NGRAMS)] = 2_000_000,
    mode: Annotated[
        str, typer.Option(metavar="KIND", help="fasttext, or floret's one small table.", rich_help_panel=_NGRAMS)
    ] = "fasttext",
    hash_count: Annotated[int, typer.Option(help="floret's rows of each n-gram.", rich_help_panel=_NGRAMS)] = 1,
    min_count: Annotated[int, typer.Option(help="Drop words rarer than this.", rich_help_panel=_TEXT)] = 5,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase the text.", rich_help_panel=_TEXT)] = False,
    max_sentence_length: Annotated[
        int, typer.Option(help="Cut longer sentences into pieces of so many words.", rich_help_panel=_TEXT)
    ] = 1000,
    phrases: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|N",
            help="Join phrases first: those that `fastemb phrases --save-model` wrote, or those found in N passes.",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    max_vocab_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Hold so many different words while counting; the rarest drop out.", rich_help_panel=_TEXT
        ),
    ] = None,
    max_final_vocab: Annotated[
        int | None, typer.Option(metavar="N", help="Drop rare words until at most N are left.", rich_help_panel=_TEXT)
    ] = None,
    sorted_vocab: Annotated[
        bool, typer.Option(help="The most frequent words first, or as they come.", rich_help_panel=_TEXT)
    ] = True,
    errors: ErrorsOption = Errors.STRICT,
    workers: Annotated[
        int | None, typer.Option(help="Threads; default, every core of this process.", rich_help_panel=_RUN)
    ] = None,
    device: Annotated[
        str,
        typer.Option(metavar="cpu|cuda", help="Where to train: cuda is an NVIDIA GPU.", rich_help_panel=_RUN),
    ] = "cpu",
    seed: Annotated[
        int, typer.Option(help="Start of the random numbers; with --workers 1 a run repeats.", rich_help_panel=_RUN)
    ] = 1,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Keep a larger encoded text on disk, such as 500M or 1G.", rich_help_panel=_RUN
        ),
    ] = None,
    save_model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the whole model too, to train it further.", rich_help_panel=_RUN),
    ] = None,
    save_vocab: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the words and their counts, a word a line.", rich_help_panel=_RUN),
    ] = None,
    continue_model: Annotated[
        str | None,
        typer.Option(
            "--continue",
            metavar="FILE",
            help="Go on with a model that --save-model wrote: its words, and its options where none is given here.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    x_max: glove.XMaxOption = 100.0,
    exponent: glove.ExponentOption = 0.75,
    eta: glove.EtaOption = 0.05,
    symmetric: glove.SymmetricOption = True,
    distance_weighting: glove.DistanceOption = True,
    vectors: glove.VectorsOption = "sum",
    checkpoint: glove.CheckpointOption = None,
    vocab: glove.VocabOption = None,
    unk: glove.UnkOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train word vectors on a text.

    With --model glove, --window is 15 and --epochs 25 by default, and CORPUS may be a file of co-occurrences.

    Ctrl-C ends training early and keeps what was learned.
    """
    console = Console(quiet=quiet, json=json)
    _check_files(corpus, output, save_model)
    if save_vocab is not None:
        check_output(save_vocab)
    parameters: dict[str, Any] = {
        "sg": int(model in (Model.SKIPGRAM, Model.FASTTEXT)),
        "vector_size": vector_size,
        "window": window,
        "hs": int(hs),
        "negative": negative,
        "epochs": epochs,
        "alpha": alpha,
        "min_alpha": min_alpha,
        "sample": sample,
        "ns_exponent": ns_exponent,
        "cbow_mean": int(cbow_mean),
        "cbow_update": cbow_update,
        "compat": compat,
        "shrink_windows": shrink_windows,
        "shared_negatives": shared_negatives,
        "min_count": min_count,
        "lowercase": lowercase,
        "max_sentence_length": max_sentence_length,
        "phrases": phrases,
        "errors": errors.value,
        "workers": workers,
        "device": device,
        "seed": seed,
        "max_memory": max_memory,
        "max_vocab_size": max_vocab_size,
        "max_final_vocab": max_final_vocab,
        "sorted_vocab": int(sorted_vocab),
        "pretrained": pretrained,
        "pretrained_lockf": pretrained_lockf,
    }
    own = {
        "x_max": x_max,
        "exponent": exponent,
        "eta": eta,
        "symmetric": symmetric,
        "distance_weighting": distance_weighting,
        "vectors": vectors,
        "checkpoint": checkpoint,
    }
    ngrams = {"min_n": min_n, "max_n": max_n, "bucket": bucket, "mode": mode, "hash_count": hash_count}
    if model in (Model.FASTTEXT, Model.FASTTEXT_CBOW):
        parameters |= ngrams
    elif wrong := [name for name in ngrams if _is_given(context, name)]:
        raise typer.BadParameter(f"--{wrong[0].replace('_', '-')} needs --model fasttext")
    given = {name: value for name, value in (parameters | own).items() if _is_given(context, _OPTIONS.get(name, name))}
    if model is Model.GLOVE:
        given.pop("sg", None)
        parameters = glove.parameters(given)
    elif wrong := [name for name in (*own, "vocab", "unk") if _is_given(context, name)]:
        raise typer.BadParameter(f"--{wrong[0].replace('_', '-')} needs --model glove")
    elif continue_model is not None:
        parameters = given
    if continue_model is not None:
        for name in set(_FIXED) & set(parameters):
            raise typer.BadParameter(f"--{name.replace('_', '-')} is the saved model's own with --continue")
    if corpus == "-" and sys.stdin.isatty():
        console.say("Reading from this terminal: end the text with Ctrl-D.")
    if phrases is not None:
        parameters["phrases"] = find_phrases(phrases, corpus, parameters, console)
    outcome = train_model(corpus, parameters, console, continue_model, model.value, vocab)
    save(outcome, output, save_model, save_vocab, console, **({"unk": True} if unk else {}))
    if outcome.interrupted:
        raise typer.Exit(130)


def _check_files(corpus: str, output: str, save_model: str | None) -> None:
    check_vectors_output(output)
    if os.path.exists(output) and os.path.exists(corpus) and os.path.samefile(output, corpus):
        raise typer.BadParameter(f"--output {output} would overwrite the text")
    for option, file in (("--output", output), ("--save-model", save_model)):
        if file is not None and os.path.isdir(corpus) and _is_below(file, corpus):
            raise typer.BadParameter(
                f"{option} {file} lies in the folder of the text, and would be read as text next time"
            )
    if save_model is None:
        return
    if os.path.realpath(save_model) == os.path.realpath(output):
        raise typer.BadParameter(f"--output and --save-model are the same file, {output}")
    if not save_model.endswith(".safetensors"):
        raise typer.BadParameter(f"--save-model must end in .safetensors, got {save_model!r}")
    check_output(save_model)


def _is_below(file: str, folder: str) -> bool:
    return os.path.realpath(file).startswith(os.path.join(os.path.realpath(folder), ""))


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
