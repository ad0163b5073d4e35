"""Phrases: pairs of words that occur together more often than apart, learnt from text."""

import json
import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fastemb.corpus.joining import Segmenter
from fastemb.corpus.reader import Corpus
from fastemb.corpus.spool import parse_size
from fastemb.corpus.terms import TermCounts
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.engine.parallel import MAX_THREADS
from fastemb.trainers.frozen_phrases import FrozenPhrases, check_delimiter, is_json
from fastemb.trainers.keywords import NamedArguments
from fastemb.trainers.model_files import reading_model, write_model
from fastemb.trainers.phrase_scores import PhraseScores, Scorer, Split, checked_scoring, checked_threshold
from fastemb.trainers.phrasing import PhraseModel, read_words
from fastemb.trainers.text import PathLike, Sentences, one_source

__all__ = ["FrozenPhrases", "Phraser", "Phrases"]

FORMAT = "fastemb.Phrases/1"

Phraser = FrozenPhrases


class Phrases(NamedArguments, PhraseModel):
    """Learns phrases of two words, with connector words between them: those that score more than a threshold.

    The arguments and the scores are gensim 4's; `scoring="word2phrase"` is the arithmetic of the program that comes
    with word2vec. Learn again from text with its phrases joined for longer ones.

    Parameters
    ----------
    sentences : iterable of list of str, optional
        Read once. What ``model[sentences]`` returns is read as word numbers and joined as such.
    min_count : float, default 5
        Phrases must occur more often (with "npmi" and your own function: as often).
    threshold : float, optional
        Phrases must score more. Default 10; 0.5 for "npmi", 100 for "word2phrase".
    max_vocab_size : int, default 40_000_000
        Most words and phrases to count: where a sentence ends with more, the rarest are dropped, and a warning says
        what they were. 40 million take 2 to 4 GB.
    delimiter : str, default "_"
        What comes between the words of a phrase.
    progress_per : int, default 10000
        Ignored; gensim's interface has it.
    scoring : {"default", "npmi", "word2phrase"} or callable, default "default"
        How much more often words occur together than apart. A function gets gensim's keyword arguments
        ``worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count``.
    connector_words : collection of str, optional
        Words that may stand inside a phrase, as in ``bank_of_america``, but not at its ends; such as
        `ENGLISH_CONNECTOR_WORDS`.
    corpus_file : path, optional
        Instead of `sentences`: a text file, one sentence a line, words between spaces; ``.gz``, ``.bz2``, ``.xz`` or
        ``.zst`` of one; a folder of them; ``"-"`` for standard input.
    phrases : PhraseModel or sequence of PhraseModel, optional
        Join these in the text before learning from it.
    lowercase : bool, default False
        Lower-case the text first, by Unicode's rules.
    errors : str, default "strict"
        What to do with bytes that are not UTF-8, as in ``bytes.decode``.
    max_memory : int or str, optional
        Bytes of memory for the text's word ids (4 bytes a word), such as ``"1G"``; what is more goes to a temporary
        file.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`. The result does not depend on them.

    Attributes
    ----------
    vocab : mapping of str to int
        How often words and phrases occur, connector words left out.
    corpus_word_count : int
        Words read.
    min_reduce : int
        What stays occurs so often at least when terms are dropped the next time.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds, or the text is empty.

    Notes
    -----
    With n(a), n(b), n(ab) counts, V different words and phrases and N words the scores are (n(ab) - min_count) / (n(a)
    n(b)) times V (Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality";
    "word2phrase": times N, in single precision, phrases across sentences counted but not joined) or ln(p(ab) / (p(a)
    p(b))) / -ln p(ab) (Bouma 2009, "Normalized (Pointwise) Mutual Information in Collocation Extraction").

    Examples
    --------
    >>> text = [["new", "york", "is", "large"], ["she", "likes", "new", "york"], ["a", "new", "book"]] * 5
    >>> phrases = Phrases(text, min_count=1, threshold=0.5)
    >>> phrases[["in", "new", "york"]]
    ['in', 'new_york']
    >>> phrases.vocab["new_york"]
    10
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        min_count: float = 5,
        threshold: float | None = None,
        max_vocab_size: int = 40_000_000,
        delimiter: str = "_",
        progress_per: int = 10000,
        scoring: str | Scorer = "default",
        connector_words: Collection[str] = frozenset(),
        *,
        corpus_file: PathLike | None = None,
        phrases: PhraseModel | Sequence[PhraseModel] | None = None,
        lowercase: bool = False,
        errors: str = "strict",
        max_memory: int | str | None = None,
        workers: int | None = None,
    ) -> None:
        self.scoring = checked_scoring(scoring)
        self.min_count = _number("min_count", min_count)
        self.threshold = checked_threshold(threshold, self.scoring)
        self.max_vocab_size = validate.integer("max_vocab_size", max_vocab_size, 1)
        self.delimiter = check_delimiter(delimiter)
        self.progress_per = progress_per
        if isinstance(connector_words, str):
            raise TypeError(f"connector_words must be a collection of words, got the str {connector_words!r:.80}")
        self.connector_words = frozenset(connector_words)
        self.lowercase = validate.boolean("lowercase", lowercase)
        self.errors = errors
        self.max_memory = max_memory if max_memory is None else parse_size(max_memory, "max_memory")
        self.workers = workers if workers is None else validate.integer("workers", workers, 1, MAX_THREADS)
        self._counts = TermCounts.empty(self.delimiter, self.connector_words)
        self._joining: tuple[Any, Segmenter] | None = None
        if sentences is not None or corpus_file is not None:
            self.add_vocab(sentences, corpus_file=corpus_file, phrases=phrases)

    @property
    def vocab(self) -> TermCounts:
        """How often words and phrases occur."""
        return self._counts

    @property
    def corpus_word_count(self) -> int:
        """Words read."""
        return self._counts.num_words

    @property
    def min_reduce(self) -> int:
        """What stays occurs so often at least when terms are dropped the next time."""
        return self._counts.min_reduce

    def add_vocab(
        self,
        sentences: Sentences | None = None,
        *,
        corpus_file: PathLike | None = None,
        phrases: PhraseModel | Sequence[PhraseModel] | None = None,
    ) -> None:
        """Learn from more text.

        Parameters
        ----------
        sentences, corpus_file, phrases
            As for the class.

        Examples
        --------
        >>> phrases = Phrases([["new", "york"]], min_count=1)
        >>> phrases.add_vocab([["new", "york"], ["new", "jersey"]])
        >>> phrases.vocab["new_york"], phrases.vocab["new_jersey"]
        (2, 1)
        """
        source = one_source(sentences, corpus_file)
        options = {"lowercase": self.lowercase, "errors": self.errors, "max_memory": self.max_memory}
        with read_words(source, phrases, **options, workers=self.workers) as corpus:
            self.add_corpus(corpus)

    def add_corpus(self, corpus: Corpus) -> None:
        """Learn from a text of word numbers.

        Parameters
        ----------
        corpus : Corpus
            With all of its words in the vocabulary. It is not changed.

        Examples
        --------
        >>> from fastemb.corpus.reader import read_corpus
        >>> phrases = Phrases(min_count=1)
        >>> phrases.add_corpus(read_corpus([["new", "york"]], min_count=1))
        >>> len(phrases.vocab)
        3
        """
        counts = TermCounts.of_corpus(
            corpus,
            self.delimiter,
            self.connector_words,
            across=self.scoring == "word2phrase",
            max_vocab_size=self.max_vocab_size,
            workers=self.workers,
        )
        with self._counts.lock as lock:
            self._joining = None
            if len(self._counts) == 0:
                counts.min_reduce = self._counts.min_reduce  # as gensim: dropping starts anew with each text
                counts.lock = lock  # for which other threads may be waiting
                self._counts = counts
            else:
                self._counts.merge(counts, self.max_vocab_size)

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Sequence[str] = ()
    ) -> tuple[str, float] | tuple[None, None]:
        """Return the phrase of two words and those between them, and its score, or None for both if it is none.

        Examples
        --------
        >>> phrases = Phrases([["new", "york"]] * 2, min_count=1, threshold=0.1)
        >>> phrases.score_candidate("new", "york"), phrases.score_candidate("old", "york")
        (('new_york', 0.75), (None, None))
        """
        phrase = self.delimiter.join([word_a, *in_between, word_b])
        counts = (np.array([self._counts.get(term, 0)]) for term in (word_a, word_b, phrase))
        score = float(self._scores().of_counts(*counts)[0])
        return (phrase, score) if score > self._scores().threshold else (None, None)

    def export_phrases(self) -> dict[str, float]:
        """Return all phrases and their scores, the best ones first.

        A phrase that can be split in several ways, as after a second pass, has the best one's score.
        """
        return self._exported()[0]

    def _exported(self) -> tuple[dict[str, float], dict[str, list[Split]]]:
        with self._counts.lock:
            return self._scores().phrases()

    def freeze(self) -> FrozenPhrases:
        """Return a model that joins these phrases and knows nothing else."""
        return FrozenPhrases(self)

    def save(self, path: PathLike) -> None:
        """Write everything, to learn from more text later, as one safetensors file.

        Parameters
        ----------
        path : path
            Of any name but ``.json``, gensim's ``phrases.pkl`` too: it is no pickle. ``freeze().save`` writes only the
            phrases, as JSON.

        Raises
        ------
        ValueError
            If `scoring` is a function, which is not written, or the path ends in ``.json``.
        """
        if os.fspath(path).endswith(".json"):
            raise ValueError(
                f"path must not end in '.json', got {os.fspath(path)!r}: freeze().save writes phrases as JSON, and "
                "'.safetensors' is for all that was counted"
            )
        if not isinstance(self.scoring, str):
            raise ValueError("a function cannot be written to a file: save what freeze() returns, which has its scores")
        with self._counts.lock:
            parts, counts = self._counts.table.terms()
            tensors = {
                "words": self._counts.vocabulary.packed,
                "words_offsets": self._counts.vocabulary.offsets,
                "terms": parts,
                "counts": counts,
                "long_phrases": self._counts.long_words,
                "long_phrases_offsets": self._counts.long_offsets,
            }
            names = "min_count", "threshold", "max_vocab_size", "delimiter", "scoring", "lowercase", "errors"
            parameters = {name: getattr(self, name) for name in names}
            described = {
                "parameters": {**parameters, "connector_words": sorted(self.connector_words)},
                "num_words": self._counts.num_words,
                "min_reduce": self._counts.min_reduce,
            }
        write_model(path, FORMAT, tensors, {"model": json.dumps(described)})

    @classmethod
    def load(cls, path: PathLike) -> "Phrases | FrozenPhrases":
        """Read what `Phrases.save` or `FrozenPhrases.save` wrote, whatever its name.

        Raises
        ------
        ValueError
            If the file is neither.
        """
        if is_json(path):
            return FrozenPhrases.load(path)
        with reading_model(path, FORMAT, "model of phrases", hint="") as (tensors, told):
            described = json.loads(told["model"])
            model = cls(**described["parameters"])
            model._counts = TermCounts.of_terms(
                Vocabulary(tensors["words"], tensors["words_offsets"]),
                model.delimiter,
                model.connector_words,
                (_typed("terms", tensors, np.int64), _typed("counts", tensors, np.int64)),
                (_typed("long_phrases", tensors, np.int32), _typed("long_phrases_offsets", tensors, np.int64)),
                validate.integer("num_words", described["num_words"], 0),
                validate.integer("min_reduce", described["min_reduce"], 1),
            )
        return model

    # What joins is made anew from the counts.
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_joining": None}

    def __repr__(self) -> str:
        return (
            f"Phrases({len(self._counts):,} words and phrases, min_count={self.min_count}, threshold={self.threshold})"
        )

    def _scores(self) -> PhraseScores:
        return PhraseScores(self._counts, self.scoring, self.min_count, self.threshold)

    def _segmenters(self) -> list[Segmenter]:
        settings = self.scoring, self.min_count, self.threshold
        joining = self._joining
        if joining is None or joining[0] != settings:
            with self._counts.lock:
                self._joining = joining = settings, self._scores().segmenter()
        return [joining[1]]


def _number(name: str, value: float) -> float:
    """Return a positive number, an integer as such."""
    number = validate.real(name, value, 0, low_open=True)
    return int(number) if number.is_integer() else number


def _typed(name: str, tensors: Any, dtype: type[np.generic]) -> np.ndarray:
    if tensors[name].dtype != dtype or tensors[name].ndim != 1:
        raise ValueError(f"{name} must be a vector of {np.dtype(dtype)}, got {tensors[name].dtype}")
    return np.ascontiguousarray(tensors[name])
