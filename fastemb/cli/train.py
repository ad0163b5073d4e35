"""`fastemb train`: vectors from a text."""

import os
import sys
from enum import StrEnum
from typing import Any

import typer

from fastemb.cli import glove
from fastemb.cli import train_options as options
from fastemb.cli.console import Console
from fastemb.cli.files import check_beside, check_output, check_vectors_output
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption, is_given
from fastemb.cli.phrases import find_phrases
from fastemb.cli.train_options import Model
from fastemb.cli.training import save, train_model, trainer_of

EXAMPLE = "fastemb train text.txt.gz -o vectors.safetensors --vector-size 300 --epochs 3"

# What --continue takes from the model's file: another value would not fit its vectors or its vocabulary.
_FIXED = (
    "vector_size", "min_count", "max_vocab_size", "max_final_vocab", "sorted_vocab", "read_vocab", "pretrained",
    "pretrained_lockf",
)  # fmt: skip
# Options that some models have only, and those of the command itself, which are no argument of any trainer.
_NGRAMS = ("min_n", "max_n", "bucket", "mode", "hash_count")
_COMMAND = (
    "corpus", "output", "model", "save_model", "save_vocab", "read_vocab", "continue_model", "phrases", "vocab", "unk",
    "json", "quiet",
)  # fmt: skip


def train(
    context: typer.Context,
    corpus: options.CorpusArgument,
    output: options.OutputOption,
    model: options.ModelOption = Model.SKIPGRAM,
    vector_size: options.VectorSizeOption = 100,
    window: options.WindowOption = 5,
    negative: options.NegativeOption = 5,
    hs: options.HsOption = False,
    epochs: options.EpochsOption = 5,
    alpha: options.AlphaOption = None,
    min_alpha: options.MinAlphaOption = None,
    sample: options.SampleOption = 1e-3,
    ns_exponent: options.NsExponentOption = None,
    cbow_mean: options.CbowMeanOption = True,
    cbow_update: options.CbowUpdateOption = None,
    shrink_windows: options.ShrinkWindowsOption = True,
    shared_negatives: options.SharedNegativesOption = True,
    compat: options.CompatOption = None,
    pretrained: options.PretrainedOption = None,
    pretrained_lockf: options.PretrainedLockfOption = 1.0,
    min_n: options.MinNOption = 3,
    max_n: options.MaxNOption = 6,
    bucket: options.BucketOption = 2_000_000,
    mode: options.ModeOption = "fasttext",
    hash_count: options.HashCountOption = 1,
    min_count: options.MinCountOption = 5,
    lowercase: options.LowercaseOption = False,
    max_sentence_length: options.MaxSentenceLengthOption = 1000,
    phrases: options.PhrasesOption = None,
    max_vocab_size: options.MaxVocabSizeOption = None,
    max_final_vocab: options.MaxFinalVocabOption = None,
    sorted_vocab: options.SortedVocabOption = True,
    read_vocab: options.ReadVocabOption = None,
    errors: ErrorsOption = Errors.STRICT,
    workers: options.WorkersOption = None,
    device: options.DeviceOption = "cpu",
    seed: options.SeedOption = 1,
    max_memory: options.MaxMemoryOption = None,
    save_model: options.SaveModelOption = None,
    save_vocab: options.SaveVocabOption = None,
    continue_model: options.ContinueOption = None,
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

    With --model glove, --window is 15 and --epochs 25 by default, those that a model of --continue has had among them,
    and CORPUS may be a file of co-occurrences.

    Ctrl-C ends training early and keeps what was learned.
    """
    console = Console(quiet=quiet, json=json)
    _check_files(corpus, output, save_model, save_vocab)
    parameters = _parameters(context, model, continue_model is not None)
    if corpus == "-" and sys.stdin.isatty():
        console.say("Reading from this terminal: end the text with Ctrl-D.")
    if phrases is not None:
        parameters["phrases"] = find_phrases(phrases, corpus, parameters, console)
    words = read_vocab if vocab is None else vocab
    outcome = train_model(corpus, parameters, console, continue_model, model.value, words)
    save(outcome, output, save_model, save_vocab, console, **({"unk": True} if unk else {}))
    if outcome.interrupted:
        raise typer.Exit(130)


def _parameters(context: typer.Context, model: Model, goes_on: bool) -> dict[str, Any]:
    """Return the arguments of the trainer that the options given stand for: others have the trainer's defaults."""
    given = {name: value for name, value in context.params.items() if is_given(context, name)}
    needed = dict.fromkeys(_NGRAMS, "fasttext") | dict.fromkeys((*glove.ALONE, "vocab", "unk"), "glove")
    for name in given:
        option = f"--{name.replace('_', '-')}"
        if name in needed and not model.startswith(needed[name]):
            raise typer.BadParameter(f"{option} needs --model {needed[name]}")
        if goes_on and name in _FIXED:
            raise typer.BadParameter(f"{option} is the saved model's own with --continue")
        if model is Model.GLOVE and name == "read_vocab":
            raise typer.BadParameter(
                "--read-vocab has no meaning with --model glove; --vocab goes with a file of pairs"
            )
    found = {name: _plain(value) for name, value in given.items() if name not in _COMMAND}
    if model is Model.GLOVE:
        return glove.parameters(found)
    if "model" in given or not goes_on:
        found["sg"] = int(model in (Model.SKIPGRAM, Model.FASTTEXT))
    known = trainer_of(model)._parameter_names()
    return {name: value for name, value in found.items() if name in known}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


def _check_files(corpus: str, output: str, save_model: str | None, save_vocab: str | None) -> None:
    check_vectors_output(output)
    written = {"--output": output, "--save-model": save_model, "--save-vocab": save_vocab}
    places: dict[str, str] = {}
    for option, file in written.items():
        if file is None:
            continue
        check_output(file)
        check_beside(option, file, corpus)
        other = places.setdefault(os.path.realpath(file), option)
        if other != option:
            raise typer.BadParameter(f"{other} and {option} are the same file, {file}")
    if save_model is not None and not save_model.endswith(".safetensors"):
        raise typer.BadParameter(f"--save-model must end in .safetensors, got {save_model!r}")
