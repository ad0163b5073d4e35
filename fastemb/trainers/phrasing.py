"""What models of phrases have in common: joining sentences, texts and streams of sentences."""

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastemb.corpus.joining import Segmenter, Token
from fastemb.corpus.phrased import PhrasedSentences, PhraseJoiner, joiners_of
from fastemb.corpus.reader import WHOLE, Corpus, join_all, read_corpus
from fastemb.trainers.text import Sentences

__all__ = ["ENGLISH_CONNECTOR_WORDS", "PhraseModel", "read_words"]

#: Articles, prepositions and conjunctions that may stand inside an English phrase, as in "bank_of_america".
ENGLISH_CONNECTOR_WORDS = frozenset(
    ["a", "an", "the", "for", "of", "with", "without", "at", "from", "to", "in", "on", "by", "and", "or"]
)


class PhraseModel:
    """Joins the words of phrases, in one or several passes."""

    threshold: float
    min_count: float
    delimiter: str
    scoring: str | Callable[..., float]
    connector_words: frozenset[str]

    def export_phrases(self) -> dict[str, float]:
        """Return all phrases and their scores, the best ones first."""
        raise NotImplementedError

    def _exported(self) -> tuple[dict[str, float], dict[str, list[tuple[str, str, float]]]]:
        """Return the phrases and, of those whose score depends on how they are split, the words at the ends."""
        raise NotImplementedError

    def _segmenters(self) -> Sequence[Segmenter]:
        """Return what joins, one a pass."""
        raise NotImplementedError

    def analyze_sentence(self, sentence: Iterable[str]) -> list[Token]:
        """Find the phrases of a sentence, from left to right.

        Parameters
        ----------
        sentence : iterable of str

        Returns
        -------
        list of (str, float or None)
            Each word or phrase, and the score of a phrase.

        Examples
        --------
        >>> from fastemb import Phrases
        >>> phrases = Phrases([["new", "york"], ["a", "new", "york"]], min_count=1, threshold=0.1)
        >>> [tuple(token) for token in phrases.analyze_sentence(["in", "new", "york"])]
        [('in', None), ('new_york', 1.25)]
        """
        tokens = [Token(word, None) for word in sentence]
        for segmenter in self._segmenters():
            tokens = segmenter.analyze(tokens)
        return tokens

    def __getitem__(self, sentences: Iterable[Any]) -> Any:
        """Join the phrases of a sentence, or of each one of an iterable of sentences, as they are asked for."""
        if isinstance(sentences, str | bytes | os.PathLike):
            raise TypeError(
                f"a sentence must be a list of str, got {sentences!r:.80}; split it into words first, for example with "
                "sentence.split()"
            )
        if isinstance(sentences, PhrasedSentences):
            return PhrasedSentences(self, sentences)
        first, replayed = _peek(sentences)
        if first is None or isinstance(first, str):
            return [token.text for token in self.analyze_sentence(replayed)]
        return PhrasedSentences(self, replayed)

    def find_phrases(self, sentences: Sentences) -> dict[str, float]:
        """Return the phrases that occur in some sentences, and their scores.

        Parameters
        ----------
        sentences : iterable of list of str

        Returns
        -------
        dict of str to float

        Examples
        --------
        >>> from fastemb import Phrases
        >>> phrases = Phrases([["new", "york"], ["a", "new", "york"]], min_count=1, threshold=0.1)
        >>> phrases.find_phrases([["in", "new", "york"]])
        {'new_york': 1.25}
        """
        found = {}
        for sentence in sentences:
            for text, score in self.analyze_sentence(sentence):
                if score is not None:
                    found[text] = score
        return found

    def join(self, corpus: Corpus, *, max_memory: int | None = None, workers: int | None = None) -> Corpus:
        """Join the phrases of a text of word numbers; the result has a new vocabulary.

        Parameters
        ----------
        corpus : Corpus
            With all of its words in the vocabulary: words that were left out would make neighbours of others. It is
            not changed.
        max_memory : int, optional
            Bytes: keep more word numbers than fit into them in a temporary file.
        workers : int, optional
            Threads; the result does not depend on them.

        Returns
        -------
        Corpus
            The phrases come after the words in its vocabulary, and words and phrases that do not occur have a count of
            0.
        """
        for segmenter in self._segmenters():
            corpus = segmenter.join(corpus, max_memory=max_memory, workers=workers)
        return corpus


def _peek(sentences: Iterable[Any]) -> tuple[Any, Iterable[Any]]:
    """Return the first item, None if there is none, and what yields all of them."""
    iterator = iter(sentences)
    first = next(iterator, None)
    if iterator is sentences:
        return first, [] if first is None else itertools.chain([first], iterator)
    return first, sentences


def read_words(source: Any, phrases: PhraseJoiner | Iterable[PhraseJoiner] | None = None, **options: Any) -> Corpus:
    """Read a text with all of its words and join phrases, without going back to words in between.

    Parameters
    ----------
    source : iterable of list of str, path or column
        As `read_corpus` takes it. Of `PhrasedSentences` what they are made from is read.
    phrases : PhraseJoiner or iterable of PhraseJoiner, optional
        Applied in their order.
    **options
        Of `read_corpus`.
    """
    source, models = joiners_of(source, phrases)
    corpus = read_corpus(source, min_count=1, max_sentence_length=WHOLE, **options)
    return join_all(corpus, models, options.get("max_memory"), options.get("workers"))
