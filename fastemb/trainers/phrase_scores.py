"""Which terms are phrases: scores of all candidates of a model, and what joins those that pass."""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from fastemb.corpus._joining import CUSTOM, DEFAULT, NPMI, WORD2PHRASE, Joiner, score_all
from fastemb.corpus._strings import decode_words
from fastemb.corpus._terms import IS_WORD, TermTable, compound_words
from fastemb.corpus.joining import Segmenter
from fastemb.corpus.terms import TermCounts, encode, is_word
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate

__all__ = ["PhraseScores", "Scorer", "Split", "checked_scoring", "checked_threshold"]

Scorer = Callable[..., float]
Split = tuple[str, str, float]
"""The words at the ends of a phrase, and its score."""

# What is told by a name, with its default threshold.
_SCORINGS = {"default": (DEFAULT, 10.0), "npmi": (NPMI, 0.5), "word2phrase": (WORD2PHRASE, 100.0)}
_ARGUMENTS = ("worda_count", "wordb_count", "bigram_count", "len_vocab", "min_count", "corpus_word_count")


def checked_scoring(scoring: object) -> str | Scorer:
    """Return `scoring` if it is a name or a function that takes what scorers are given."""
    if isinstance(scoring, str):
        return validate.choice("scoring", scoring, tuple(_SCORINGS))
    if not callable(scoring):
        raise TypeError(f"scoring must be {', '.join(map(repr, _SCORINGS))} or a function, got {scoring!r:.80}")
    parameters = inspect.signature(scoring).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    missing = [name for name in _ARGUMENTS if name not in parameters]
    if missing and not takes_all:
        raise ValueError(f"scoring must be a function of {', '.join(_ARGUMENTS)}; it lacks {', '.join(missing)}")
    return scoring


def checked_threshold(threshold: float | None, scoring: str | Scorer) -> float:
    """Return a threshold that fits the scoring, its default for None."""
    if threshold is None:
        return _SCORINGS[scoring][1] if isinstance(scoring, str) else 10.0
    if scoring == "npmi":
        return validate.real("threshold", threshold, -1, 1)
    if isinstance(scoring, str):
        return validate.real("threshold", threshold, 0, low_open=True)
    return validate.real("threshold", threshold, -math.inf)


@dataclass
class _Candidates:
    """Terms that may be phrases.

    `parts` and `counts` are as in `TermTable`, `scores` those by the words that a term was first joined from, -inf for
    single words, and `ambiguous` tells which may be split in other ways.
    """

    parts: np.ndarray
    counts: np.ndarray
    scores: np.ndarray
    ambiguous: np.ndarray


class PhraseScores:
    """The scores of a model's phrases.

    Parameters
    ----------
    counts : TermCounts
    scoring : str or callable
    min_count, threshold : float
    """

    def __init__(self, counts: TermCounts, scoring: str | Scorer, min_count: float, threshold: float) -> None:
        self._counts, self._min_count = counts, min_count
        self._kind = _SCORINGS[scoring][0] if isinstance(scoring, str) else CUSTOM
        # word2phrase compares in single precision.
        self.threshold = float(np.float32(threshold)) if scoring == "word2phrase" else threshold
        self._function: Callable[[int, int, int], float] | None = None
        if not isinstance(scoring, str):
            sizes = {"len_vocab": len(counts), "min_count": min_count, "corpus_word_count": counts.num_words}
            function = partial(scoring, **sizes)
            self._function = lambda a, b, both: function(worda_count=a, wordb_count=b, bigram_count=both)

    def of_counts(self, a: np.ndarray, b: np.ndarray, both: np.ndarray) -> np.ndarray:
        """Return the scores of phrases by the counts of the words at their ends and their own, int64 each."""
        if self._function is None:
            sizes = len(self._counts), self._counts.num_words
            return score_all(self._kind, a, b, both, self._min_count, *sizes)
        triples = zip(a.tolist(), b.tolist(), both.tolist(), strict=True)
        return np.array([self._function(*counts) if min(counts) > 0 else -math.inf for counts in triples], np.float64)

    def phrases(self) -> tuple[dict[str, float], dict[str, list[Split]]]:
        """Return all phrases and their scores, the best ones first, and how some may be split.

        Of a phrase that holds a word which holds the delimiter, as after a second pass, the score depends on the words
        that it is joined from. It has the best one's, and the ways to split it that pass are told.
        """
        found = self._candidates(self._counts.prepared())
        found.scores[is_word(found.parts)] = -math.inf
        doubtful = np.flatnonzero(found.ambiguous & ~is_word(found.parts))
        splits = self._best_scores(found, doubtful)
        accepted = np.flatnonzero(found.scores > self.threshold)
        accepted = accepted[np.argsort(-found.scores[accepted], kind="stable")]
        texts = decode_words(*self._counts.spell(found.parts[accepted]), "surrogateescape")
        return dict(zip(texts, found.scores[accepted].tolist(), strict=True)), splits

    def segmenter(self) -> Segmenter:
        """Return what joins the phrases; a phrase's score depends on the words that it is joined from."""
        counts, words = self._counts, self._counts.prepared()
        if self._function is None:
            found = self._candidates(words)
            kept = found.ambiguous | (found.scores > self.threshold)
            parts, occurrences = found.parts[kept], found.counts[kept]
        else:  # each is scored when it is met
            parts, occurrences = counts.table.terms()
        table = TermTable()
        table.add_terms(words, parts, occurrences, np.arange(len(parts)), counts.long_words, counts.long_offsets)
        sizes = self._min_count, len(counts), counts.num_words
        joiner = Joiner(table, self._kind, self.threshold, *sizes, function=self._function)
        return Segmenter(joiner, *counts.spell(parts), counts.delimiter, counts.connectors, counts.table)

    def _candidates(self, words: np.ndarray) -> _Candidates:
        counts = self._counts
        parts, occurrences = counts.table.terms(1 if self._kind == CUSTOM else self._min_count)
        compound, alone = compound_words(words), is_word(parts)
        # A word may be a phrase if it has the text of one.
        kept = np.flatnonzero(~alone | compound[np.where(alone, parts - IS_WORD, 0)])
        parts, occurrences, alone = parts[kept], occurrences[kept], alone[kept]
        first, last = counts.ends(np.where(alone, 0, parts))
        ambiguous = alone | compound[first] | compound[last]
        if len(counts.long_words):
            inside = np.logical_or.reduceat(compound[counts.long_words], counts.long_offsets[:-1])
            long = np.flatnonzero(parts < 0)
            ambiguous[long] |= inside[~parts[long]]
        scores, pairs = np.full(len(parts), -math.inf), np.flatnonzero(~alone)
        word_counts = counts.table.counts_of(words)
        scores[pairs] = self.of_counts(word_counts[first[pairs]], word_counts[last[pairs]], occurrences[pairs])
        return _Candidates(parts, occurrences, scores, ambiguous)

    def _best_scores(self, found: _Candidates, which: np.ndarray) -> dict[str, list[Split]]:
        """Give some candidates the best score of all splits into words that were counted; return those that pass."""
        delimiter, count_of = encode(self._counts.delimiter), self._counts.table.count_of
        connectors = {encode(word) for word in self._counts.connectors}
        packed, offsets = self._counts.vocabulary.packed, self._counts.vocabulary.offsets
        first, last = self._counts.ends(found.parts[which])
        own = zip(*(Vocabulary(packed, offsets).take(words).as_bytes() for words in (first, last)), strict=True)
        texts = Vocabulary(*self._counts.spell(found.parts[which])).as_bytes()
        ways = []
        for text, pair in zip(texts, own, strict=True):
            ways.append({pair, *_splits(text.split(delimiter), delimiter, connectors)})
        both = found.counts[which].repeat([len(pairs) for pairs in ways])
        a, b = (np.array([count_of(pair[end]) for pairs in ways for pair in pairs], np.int64) for end in (0, 1))
        scores = iter(self.of_counts(a, b, both).tolist())
        passed: dict[str, list[Split]] = {}
        for place, text, pairs in zip(which.tolist(), texts, ways, strict=True):
            scored = [(_decode(a), _decode(b), next(scores)) for a, b in pairs]
            found.scores[place] = max(score for _, _, score in scored)
            kept = sorted(split for split in scored if split[2] > self.threshold)
            if kept:
                passed[_decode(text)] = kept
        return passed


def _decode(term: bytes) -> str:
    return term.decode("utf-8", "surrogateescape")


def _splits(atoms: list[bytes], delimiter: bytes, connectors: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the ways to split a phrase into a first and a last word, with none or connectors between them."""
    for i in range(1, len(atoms)):
        first = delimiter.join(atoms[:i])
        if first in connectors:
            continue
        for j in range(i, len(atoms)):
            last = delimiter.join(atoms[j:])
            if last not in connectors:
                yield first, last
            if atoms[j] not in connectors:
                break
