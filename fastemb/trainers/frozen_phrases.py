"""Phrases that are only to be joined: a dictionary of them, and its file."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import fastemb
from fastemb.corpus._joining import STORED, Joiner, split_table
from fastemb.corpus._terms import IS_WORD, TermTable, prepare_words
from fastemb.corpus.joining import Segmenter
from fastemb.corpus.terms import encode
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.formats.files import replacing, require_file
from fastemb.trainers.phrase_scores import Split
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.text import PathLike

__all__ = ["FrozenPhrases", "PhrasePass", "frozen", "phrases_of", "phrases_tensors"]

FORMAT = "fastemb.FrozenPhrases/1"


@dataclass(frozen=True)
class PhrasePass:
    """The phrases that one pass joins.

    Attributes
    ----------
    phrasegrams : dict of str to float
        The phrases and their scores.
    splits : dict of str to list of (str, str, float)
        Of phrases that must be joined from certain words: those at the ends, and the score.
    threshold, min_count : float
    delimiter : str
    scoring : str
        "default", "npmi", "word2phrase" or the name of a function.
    connector_words : frozenset of str
    """

    phrasegrams: Mapping[str, float]
    splits: Mapping[str, list[Split]]
    threshold: float
    min_count: float
    delimiter: str
    scoring: str
    connector_words: frozenset[str]

    @cached_property
    def segmenter(self) -> Segmenter:
        """What joins them."""
        phrases = Vocabulary.from_words(list(self.phrasegrams))
        table, numbers = TermTable(), np.arange(len(phrases))
        none = np.zeros(0, np.int32), np.zeros(1, np.int64)
        table.add_terms(self._prepared(self.phrasegrams), IS_WORD | numbers, np.ones_like(numbers), numbers, *none)
        splits = [(phrase, *split) for phrase, ways in self.splits.items() for split in ways]
        texts, a, b, split_scores = zip(*splits, strict=True) if splits else ((), (), (), ())
        scores = [math.nan if phrase in self.splits else score for phrase, score in self.phrasegrams.items()]
        joiner = Joiner(
            table,
            STORED,
            self.threshold,
            scores=np.array(scores, np.float64),
            splits=split_table(*map(self._prepared, (texts, a, b))),
            split_scores=np.array(split_scores, np.float64),
        )
        return Segmenter(joiner, phrases.packed, phrases.offsets, self.delimiter, self.connector_words)

    # What joins is made anew from the phrases.
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "segmenter"}

    def _prepared(self, terms: Iterable[str]) -> np.ndarray:
        words = Vocabulary.from_bytes([encode(term) for term in terms])
        return prepare_words(words.packed, words.offsets, encode(self.delimiter))

    def to_json(self) -> dict[str, Any]:
        """Return what `of_json` takes."""
        return {
            "scoring": self.scoring,
            "threshold": self.threshold,
            "min_count": self.min_count,
            "delimiter": self.delimiter,
            "connector_words": sorted(self.connector_words),
            "phrases": dict(self.phrasegrams),
            "splits": {phrase: [list(split) for split in ways] for phrase, ways in self.splits.items()},
        }

    @classmethod
    def of_json(cls, described: Any) -> "PhrasePass":
        """Return the pass that a file describes.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or not what it should be.
        """
        phrases, connectors = described["phrases"], described["connector_words"]
        if not isinstance(phrases, dict) or not all(isinstance(score, int | float) for score in phrases.values()):
            raise TypeError("phrases must map text to numbers")
        if not isinstance(connectors, list) or not all(isinstance(word, str) for word in connectors):
            raise TypeError("connector_words must be a list of text")
        return cls(
            {phrase: float(score) for phrase, score in phrases.items()},
            {phrase: [_checked_split(*split) for split in ways] for phrase, ways in described["splits"].items()},
            validate.real("threshold", described["threshold"], -math.inf),
            validate.real("min_count", described["min_count"], 0),
            check_delimiter(described["delimiter"]),
            str(described["scoring"]),
            frozenset(connectors),
        )


class FrozenPhrases(PhraseModel):
    """Phrases that were learnt, in one or several passes, without what they were learnt from.

    Parameters
    ----------
    phrases_model : Phrases, FrozenPhrases, or a sequence of them
        Of several the first one's phrases are joined first, and the second one's in what comes of that, and so on.

    Attributes
    ----------
    passes : tuple of PhrasePass
    threshold, min_count, delimiter, scoring, connector_words
        The last pass's.
    phrasegrams : dict of str to float
        All phrases and their scores, the first one of a phrase that several passes join.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or an empty sequence.

    Notes
    -----
    What is joined is what the models themselves join, in second passes too: ``of_the_city`` may be a phrase when it is
    joined from ``of_the city``, and none from ``of the_city``.

    Examples
    --------
    >>> from fastemb import Phrases
    >>> text = [["new", "york", "city"], ["new", "york", "times"], ["york", "minster"]] * 10
    >>> bigrams = Phrases(text, min_count=1, threshold=0.28)
    >>> trigrams = Phrases(bigrams[text], min_count=1, threshold=0.28)
    >>> frozen = FrozenPhrases([bigrams, trigrams])
    >>> frozen[["new", "york", "city"]]
    ['new_york_city']
    """

    def __init__(self, phrases_model: PhraseModel | Sequence[PhraseModel]) -> None:
        models = phrases_model if isinstance(phrases_model, list | tuple) else [phrases_model]
        self._set([one for model in models for one in _passes_of(model)])

    def _set(self, passes: Sequence[PhrasePass]) -> None:
        if not passes:
            raise ValueError("there must be at least one pass, got none")
        self.passes = tuple(passes)
        last = self.passes[-1]
        self.threshold, self.min_count, self.delimiter = last.threshold, last.min_count, last.delimiter
        self.scoring, self.connector_words = last.scoring, last.connector_words

    @property
    def phrasegrams(self) -> dict[str, float]:
        """All phrases and their scores."""
        found: dict[str, float] = {}
        for one in self.passes:
            for phrase, score in one.phrasegrams.items():
                found.setdefault(phrase, score)
        return found

    def export_phrases(self) -> dict[str, float]:
        """Return all phrases and their scores."""
        return self.phrasegrams

    def freeze(self) -> "FrozenPhrases":
        """Return the model itself."""
        return self

    def _segmenters(self) -> list[Segmenter]:
        return [one.segmenter for one in self.passes]

    def __len__(self) -> int:
        return len(self.phrasegrams)

    def __iter__(self) -> Iterator[str]:
        return iter(self.phrasegrams)

    def __contains__(self, phrase: object) -> bool:
        return any(phrase in one.phrasegrams for one in self.passes)

    def __repr__(self) -> str:
        passes = f" in {len(self.passes)} passes" if len(self.passes) > 1 else ""
        return f"FrozenPhrases({len(self):,} phrases{passes})"

    def to_json(self) -> str:
        """Return the model as JSON.

        Examples
        --------
        >>> from fastemb import Phrases
        >>> text = Phrases([["new", "york"]] * 2, min_count=1, threshold=0.1).freeze().to_json()
        >>> FrozenPhrases.of_json(text).phrasegrams
        {'new_york': 0.75}
        """
        described = {
            "format": FORMAT,
            "fastemb": fastemb.__version__,
            "passes": [one.to_json() for one in self.passes],
        }
        return json.dumps(described, indent=1)

    @classmethod
    def of_json(cls, text: str | bytes) -> "FrozenPhrases":
        """Return the model that `to_json` described.

        Raises
        ------
        ValueError
            If it is not one.
        """
        try:
            described = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not a model of phrases: no JSON ({error})") from error
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise ValueError(f"not a model of phrases, which is JSON with the format {FORMAT!r}")
        try:
            model = cls.__new__(cls)
            model._set([PhrasePass.of_json(one) for one in described["passes"]])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a damaged model of phrases ({error!r})") from error
        return model

    def save(self, path: PathLike) -> None:
        """Write the model as JSON, which people can read.

        Parameters
        ----------
        path : path
            Such as ``phrases.json``; of any name but ``.safetensors``, gensim's ``phrases.pkl`` too: it is no pickle.
        """
        if os.fspath(path).endswith(".safetensors"):
            raise ValueError(
                f"path must not end in '.safetensors', got {os.fspath(path)!r}: frozen phrases are written as JSON, "
                "such as '.json'"
            )
        with replacing(path) as file:
            file.write(self.to_json().encode("ascii"))

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str] = ()
    ) -> tuple[str, float] | tuple[None, None]:
        """Return the phrase of two words and those between them, and its score, or None for both if it is none.

        Examples
        --------
        >>> from fastemb import Phrases
        >>> frozen = Phrases([["new", "york"]] * 2, min_count=1, threshold=0.1).freeze()
        >>> frozen.score_candidate("new", "york"), frozen.score_candidate("old", "york")
        (('new_york', 0.75), (None, None))
        """
        phrase = self.delimiter.join([word_a, *in_between, word_b])
        score = self.phrasegrams.get(phrase)
        return (None, None) if score is None else (phrase, score)

    @classmethod
    def load(cls, path: PathLike) -> "FrozenPhrases":
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is not a model that `save` wrote.
        """
        is_json(path)  # a pickle is told of as such
        try:
            return cls.of_json(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error


def is_json(path: PathLike) -> bool:
    """Return whether a file of phrases is JSON, and so frozen ones.

    Raises
    ------
    ValueError
        If it is a pickle.
    """
    with open(require_file(path), "rb") as file:
        start = file.read(9)
    if start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5":
        raise ValueError(
            f"{os.fspath(path)}: a Python pickle, as gensim's save writes, and could run any code if it was read; "
            "learn the phrases again"
        )
    return start[:1] == b"{" and b"\0" not in start


def frozen(phrases: PhraseModel | Sequence[PhraseModel] | None) -> FrozenPhrases | None:
    """Return what a trainer keeps of its argument `phrases`."""
    if phrases is None or isinstance(phrases, FrozenPhrases):
        return phrases
    return FrozenPhrases(phrases)


def phrases_tensors(phrases: FrozenPhrases | None) -> dict[str, np.ndarray]:
    """Return what a trainer's file holds of its phrases."""
    return {} if phrases is None else {"phrases": np.frombuffer(phrases.to_json().encode("ascii"), np.uint8)}


def phrases_of(tensors: Mapping[str, np.ndarray]) -> FrozenPhrases | None:
    """Return the phrases in a trainer's file.

    Raises
    ------
    ValueError
        If they are damaged.
    """
    return FrozenPhrases.of_json(tensors["phrases"].tobytes()) if "phrases" in tensors else None


def _checked_split(a: object, b: object, score: object) -> Split:
    if not (isinstance(a, str) and isinstance(b, str) and isinstance(score, int | float)):
        raise TypeError(f"a split must be two words and a score, got {a!r:.40}, {b!r:.40} and {score!r:.40}")
    return a, b, float(score)


def _passes_of(model: object) -> Sequence[PhrasePass]:
    if isinstance(model, FrozenPhrases):
        return model.passes
    if not isinstance(model, PhraseModel):
        raise TypeError(f"phrases_model must be Phrases, FrozenPhrases or a list of them, got {model!r:.80}")
    scoring = model.scoring if isinstance(model.scoring, str) else getattr(model.scoring, "__name__", "custom")
    phrases, splits = model._exported()
    settings = model.threshold, model.min_count, model.delimiter, scoring, model.connector_words
    return [PhrasePass(phrases, splits, *settings)]


def check_delimiter(delimiter: object) -> str:
    """Return the delimiter if it is a str that is not empty."""
    if not isinstance(delimiter, str):
        raise TypeError(f"delimiter must be a str, got {delimiter!r:.80}")
    if not delimiter:
        raise ValueError("delimiter must not be empty")
    encode(delimiter)
    return delimiter
