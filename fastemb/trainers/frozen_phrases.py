"""Phrases that are only to be joined: a dictionary of them, and its file."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import fastemb
from fastemb.corpus._joining import STORED, Joiner
from fastemb.corpus._terms import IS_WORD, TermTable, prepare_words
from fastemb.corpus.joining import Segmenter
from fastemb.corpus.terms import encode
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.formats.files import replacing, require_file
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.text import PathLike

__all__ = ["FrozenPhrases", "PhrasePass"]

FORMAT = "fastemb.FrozenPhrases/1"


@dataclass(frozen=True)
class PhrasePass:
    """The phrases that one pass joins.

    Attributes
    ----------
    phrasegrams : dict of str to float
        The phrases and their scores.
    threshold, min_count : float
    delimiter : str
    scoring : str
        "default", "npmi", "word2phrase" or the name of a function.
    connector_words : frozenset of str
    """

    phrasegrams: Mapping[str, float]
    threshold: float
    min_count: float
    delimiter: str
    scoring: str
    connector_words: frozenset[str]

    @cached_property
    def segmenter(self) -> Segmenter:
        """What joins them."""
        phrases = Vocabulary.from_words(list(self.phrasegrams))
        words = prepare_words(phrases.packed, phrases.offsets, encode(self.delimiter))
        table, numbers = TermTable(), np.arange(len(phrases))
        none = np.zeros(0, np.int32), np.zeros(1, np.int64)
        table.add_terms(words, IS_WORD | numbers, np.ones_like(numbers), numbers, *none)
        scores = np.fromiter(self.phrasegrams.values(), np.float64, len(phrases))
        joiner = Joiner(table, STORED, self.threshold, scores=scores)
        return Segmenter(joiner, phrases.packed, phrases.offsets, self.delimiter, self.connector_words)

    def to_json(self) -> dict[str, Any]:
        """Return what `of_json` takes."""
        return {
            "scoring": self.scoring,
            "threshold": self.threshold,
            "min_count": self.min_count,
            "delimiter": self.delimiter,
            "connector_words": sorted(self.connector_words),
            "phrases": dict(self.phrasegrams),
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
        All phrases and their scores.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or an empty sequence.

    Notes
    -----
    A phrase is a text: ``new_york_city`` is joined from ``new_york city`` and from ``new york_city``. Its score is the
    best one of the ways to split it.

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
        return {phrase: score for one in self.passes for phrase, score in one.phrasegrams.items()}

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
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a damaged model of phrases ({error!r})") from error
        return model

    def save(self, path: PathLike) -> None:
        """Write the model as JSON, which people can read.

        Parameters
        ----------
        path : path
            Must end in ``.json``.
        """
        if not os.fspath(path).endswith(".json"):
            raise ValueError(f"path must end in '.json', got {os.fspath(path)!r}")
        with replacing(path) as file:
            file.write(self.to_json().encode("ascii"))

    @classmethod
    def load(cls, path: PathLike) -> "FrozenPhrases":
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is not a model that `save` wrote.
        """
        try:
            return cls.of_json(Path(require_file(path)).read_bytes())
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error


def _passes_of(model: object) -> Sequence[PhrasePass]:
    if isinstance(model, FrozenPhrases):
        return model.passes
    if not isinstance(model, PhraseModel):
        raise TypeError(f"phrases_model must be Phrases, FrozenPhrases or a list of them, got {model!r:.80}")
    scoring = model.scoring if isinstance(model.scoring, str) else getattr(model.scoring, "__name__", "custom")
    return [
        PhrasePass(
            model.export_phrases(), model.threshold, model.min_count, model.delimiter, scoring, model.connector_words
        )
    ]


def check_delimiter(delimiter: object) -> str:
    """Return the delimiter if it is a str that is not empty."""
    if not isinstance(delimiter, str):
        raise TypeError(f"delimiter must be a str, got {delimiter!r:.80}")
    if not delimiter:
        raise ValueError("delimiter must not be empty")
    encode(delimiter)
    return delimiter
