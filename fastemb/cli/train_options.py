"""The options of `fastemb train`, less those that only GloVe has."""

from enum import StrEnum
from typing import Annotated

import typer

_TEXT, _MODEL, _RUN, _NGRAMS = "Text", "Model", "Run", "N-grams of characters"


class Model(StrEnum):
    """What `--model` chooses."""

    SKIPGRAM = "skipgram"
    CBOW = "cbow"
    FASTTEXT = "fasttext"
    FASTTEXT_CBOW = "fasttext-cbow"
    GLOVE = "glove"


CorpusArgument = Annotated[
    str,
    typer.Argument(
        metavar="CORPUS",
        help="Text, one sentence a line: a file (also .gz, .bz2, .xz, .zst), a folder, or - (standard input).",
    ),
]
OutputOption = Annotated[
    str, typer.Option("--output", "-o", metavar="OUT", help="File for the vectors; its suffix decides the format.")
]

ModelOption = Annotated[
    Model,
    typer.Option(
        help="Each context word by itself, all together; either with n-grams of characters; or how often words meet.",
        rich_help_panel=_MODEL,
    ),
]
VectorSizeOption = Annotated[int, typer.Option(help="Dimensions of a vector.", rich_help_panel=_MODEL)]
WindowOption = Annotated[int, typer.Option(help="Words of context on each side, at most.", rich_help_panel=_MODEL)]
NegativeOption = Annotated[
    int, typer.Option(help="Noise words a pair is set against; 0: none.", rich_help_panel=_MODEL)
]
HsOption = Annotated[bool, typer.Option("--hs", help="Hierarchical softmax.", rich_help_panel=_MODEL)]
EpochsOption = Annotated[int, typer.Option(help="Passes over the text.", rich_help_panel=_MODEL)]
AlphaOption = Annotated[
    float | None, typer.Option(help="Learning rate at the start; default 0.035, CBOW 0.075.", rich_help_panel=_MODEL)
]
MinAlphaOption = Annotated[
    float | None, typer.Option(help="Learning rate at the end; default 1e-4.", rich_help_panel=_MODEL)
]
SampleOption = Annotated[
    float, typer.Option(help="Words more frequent than this share are thinned; 0: none.", rich_help_panel=_MODEL)
]
NsExponentOption = Annotated[
    float | None,
    typer.Option(help="Noise words are drawn by their count to this power; default 0.75.", rich_help_panel=_MODEL),
]
CbowMeanOption = Annotated[
    bool, typer.Option(help="CBOW averages the context's vectors, or sums them.", rich_help_panel=_MODEL)
]
CbowUpdateOption = Annotated[
    str | None, typer.Option(metavar="KIND", help="Of CBOW: classic or corrected.", rich_help_panel=_MODEL)
]
ShrinkWindowsOption = Annotated[
    bool, typer.Option(help="Draw each window's size, from 1 to --window.", rich_help_panel=_MODEL)
]
SharedNegativesOption = Annotated[
    bool,
    typer.Option(help="One set of noise words a window (fast), or one a pair (word2vec.c).", rich_help_panel=_MODEL),
]
CompatOption = Annotated[
    str | None,
    typer.Option(
        metavar="PROGRAM",
        help="Train as word2vec.c, gensim or fasttext does, slower; glove-1.2: with --model glove.",
        rich_help_panel=_MODEL,
    ),
]
PretrainedOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Vectors to start from, in any format, for those words it has.", rich_help_panel=_MODEL
    ),
]
PretrainedLockfOption = Annotated[
    float,
    typer.Option(metavar="FACTOR", help="On the learning rate of these words: 0 freezes them.", rich_help_panel=_MODEL),
]

MinNOption = Annotated[int, typer.Option(help="Least characters of an n-gram.", rich_help_panel=_NGRAMS)]
MaxNOption = Annotated[int, typer.Option(help="Most characters of an n-gram.", rich_help_panel=_NGRAMS)]
BucketOption = Annotated[int, typer.Option(help="Rows that n-grams share.", rich_help_panel=_NGRAMS)]
ModeOption = Annotated[
    str, typer.Option(metavar="KIND", help="fasttext, or floret's one small table.", rich_help_panel=_NGRAMS)
]
HashCountOption = Annotated[int, typer.Option(help="floret's rows of each n-gram.", rich_help_panel=_NGRAMS)]

MinCountOption = Annotated[int, typer.Option(help="Drop words rarer than this.", rich_help_panel=_TEXT)]
LowercaseOption = Annotated[bool, typer.Option("--lowercase", help="Lowercase the text.", rich_help_panel=_TEXT)]
MaxSentenceLengthOption = Annotated[
    int, typer.Option(help="Cut longer sentences into pieces of so many words.", rich_help_panel=_TEXT)
]
PhrasesOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|N",
        help="Join phrases first: those that `fastemb phrases --save-model` wrote, or those found in N passes.",
        rich_help_panel=_TEXT,
    ),
]
MaxVocabSizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Hold so many different words while counting; the rarest drop out.", rich_help_panel=_TEXT
    ),
]
MaxFinalVocabOption = Annotated[
    int | None, typer.Option(metavar="N", help="Drop rare words until at most N are left.", rich_help_panel=_TEXT)
]
SortedVocabOption = Annotated[
    bool, typer.Option(help="The most frequent words first, or as they come.", rich_help_panel=_TEXT)
]
ReadVocabOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Take the words and their counts from a file, as --save-vocab writes it; the text is not counted.",
        rich_help_panel=_TEXT,
    ),
]

WorkersOption = Annotated[
    int | None, typer.Option(help="Threads; default, every core of this process.", rich_help_panel=_RUN)
]
DeviceOption = Annotated[
    str, typer.Option(metavar="cpu|cuda", help="Where to train: cuda is an NVIDIA GPU.", rich_help_panel=_RUN)
]
SeedOption = Annotated[
    int, typer.Option(help="Start of the random numbers; with --workers 1 a run repeats.", rich_help_panel=_RUN)
]
MaxMemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Keep a larger encoded text on disk, such as 500M or 1G.", rich_help_panel=_RUN),
]
SaveModelOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write the whole model too, to train it further.", rich_help_panel=_RUN),
]
SaveVocabOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write the words and their counts, a word a line.", rich_help_panel=_RUN),
]
ContinueOption = Annotated[
    str | None,
    typer.Option(
        "--continue",
        metavar="FILE",
        help="Go on with a model that --save-model wrote: its words, and its options where none is given here.",
        rich_help_panel=_RUN,
    ),
]
