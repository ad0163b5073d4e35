"""How a model gets its vocabulary, with gensim's methods for it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastemb.corpus.merge import choose_vocabulary
from fastemb.corpus.reader import Corpus, read_corpus
from fastemb.corpus.selection import Selection, TrimRule
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.engine.sampling import keep_probabilities
from fastemb.formats.files import PathLike
from fastemb.trainers.arguments import check_vector_size
from fastemb.trainers.frozen_phrases import frozen
from fastemb.trainers.model_vectors import open_vectors
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.schedule import Monitor
from fastemb.trainers.state import State
from fastemb.trainers.tables import row_length
from fastemb.trainers.text import Sentences, one_source
from fastemb.trainers.text_model import TextModel

__all__ = ["VocabularyBuilder"]

WORD_BYTES = 200  # of a word in memory: its bytes, count and str, and its places in a list and a dict
COUNTING = ("min_count", "max_final_vocab", "max_vocab_size", "trim_rule")
OF_READING = (*COUNTING, "lowercase", "max_sentence_length", "phrases", "errors", "max_memory", "workers")
Source = Sentences | PathLike


class VocabularyBuilder(TextModel):
    """A model whose words come from text: builds its vocabulary, adds to it, and estimates what it will take."""

    vector_size: int
    min_count: int
    max_final_vocab: int | None
    max_vocab_size: int | None
    trim_rule: TrimRule | None
    sorted_vocab: int
    sample: float
    seed: int
    hs: int
    negative: int
    pretrained: Any
    pretrained_lockf: float
    lowercase: bool
    max_sentence_length: int
    max_memory: int | str | None
    errors: str
    workers: int | None
    phrases: PhraseModel | Sequence[PhraseModel] | None
    callbacks: Sequence[object]
    _raw: Vocabulary | None = None
    _scanned: tuple[int, int] = (0, 0)

    def build_vocab(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        update: bool = False,
        progress_per: int | None = None,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        *,
        corpus_iterable: Sentences | None = None,
    ) -> None:
        """Count the words of a text and make untrained vectors for them, or add words to those that there are.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; one of them. gensim's name `corpus_iterable` is taken for `sentences`, too.
        update : bool, default False
            Keep the words that there are, and their vectors as they are; count their occurrences in this text, too, and
            add the words that this text has often enough. The new ones follow the old ones, and their vectors begin as
            if they had been there from the start. Negatives, subsampling and the tree go by the new counts.
        progress_per : int, optional
            Without effect: callbacks are told a few times a second.
        keep_raw_vocab : bool, default False
            Keep all words and their counts in `raw_vocab`.
        trim_rule : callable, optional
            In place of the model's.

        Raises
        ------
        RuntimeError
            If there is no vocabulary to be updated.
        """
        self._check()
        known = self._trained.vocabulary if update else None
        source = one_source(sentences if corpus_iterable is None else corpus_iterable, corpus_file)
        monitor = Monitor(self, self.callbacks)
        options = {"extend": update, "keep_raw": keep_raw_vocab}
        with self._read(source, monitor, known, trim_rule=trim_rule or self.trim_rule, **options) as corpus:
            self._raw = corpus.raw_vocabulary
            self._take_vocabulary(corpus.vocabulary, corpus.num_words, corpus.num_sentences_read, update)

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[str, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Take the vocabulary from words and their counts rather than from a text.

        Parameters
        ----------
        word_freq : dict of str to int
        keep_raw_vocab, trim_rule, update
            As for `build_vocab`.
        corpus_count : int, optional
            What `corpus_count` shall be; default 0.

        Raises
        ------
        TypeError, ValueError
            If a word is not a str, or a count is not an integer of at least 0.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> model = Word2Vec(vector_size=8, min_count=2)
        >>> model.build_vocab_from_freq({"rare": 1, "cat": 3, "the": 10})
        >>> model.wv.index_to_key
        ['the', 'cat']
        """
        self._check()
        if not isinstance(word_freq, Mapping):
            raise TypeError(f"word_freq must be a dict of words and their counts, got {word_freq!r:.80}")
        counts = [validate.integer(f"word_freq[{word!r:.80}]", count, 0) for word, count in word_freq.items()]
        self._raw = Vocabulary.from_words(list(word_freq), np.array(counts, np.int64))
        self._scanned = sum(counts), validate.integer("corpus_count", corpus_count or 0, 0)
        self.prepare_vocab(update, keep_raw_vocab, trim_rule)

    def scan_vocab(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        progress_per: int | None = None,
        workers: int | None = None,
        trim_rule: TrimRule | None = None,
        *,
        corpus_iterable: Sentences | None = None,
    ) -> tuple[int, int]:
        """Count all words of a text, for `prepare_vocab` to choose from.

        Parameters
        ----------
        sentences, corpus_file, corpus_iterable, progress_per
            As for `build_vocab`.
        workers : int, optional
            Threads; default the model's.
        trim_rule : callable, optional
            Asked where `max_vocab_size` makes words drop out.

        Returns
        -------
        total_words, corpus_count : int
            Words and sentences read.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> model = Word2Vec(min_count=2)
        >>> model.scan_vocab([["the", "cat"], ["the", "dog"]])
        (4, 2)
        >>> model.raw_vocab
        {'the': 2, 'cat': 1, 'dog': 1}
        >>> model.prepare_vocab(dry_run=True)["num_retained_words"]
        1
        """
        self._check()
        source = one_source(sentences if corpus_iterable is None else corpus_iterable, corpus_file)
        options = {"min_count": 0, "max_final_vocab": None, "keep_raw": True, "workers": workers or self.workers}
        rule = trim_rule or self.trim_rule
        with self._read(source, Monitor(self, self.callbacks), None, trim_rule=rule, **options) as corpus:
            self._raw, self._scanned = corpus.raw_vocabulary, (corpus.num_words, corpus.num_sentences_read)
        return self._scanned

    def prepare_vocab(
        self,
        update: bool = False,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        min_count: int | None = None,
        sample: float | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Choose the vocabulary from what `scan_vocab` counted, or tell what would come of it.

        Parameters
        ----------
        update, keep_raw_vocab, trim_rule
            As for `build_vocab`.
        min_count, sample : optional
            In place of the model's, which become these unless it is a `dry_run`.
        dry_run : bool, default False
            Tell, and change nothing.

        Returns
        -------
        dict
            ``num_retained_words`` and ``drop_unique``: words kept and left out; ``retain_total``: occurrences of those
            kept; ``downsample_unique``: words that subsampling drops at times; ``downsample_total``: occurrences that
            it is expected to leave; ``memory``: see `estimate_memory`.

        Raises
        ------
        RuntimeError
            If nothing was scanned, or there is no vocabulary to be updated.
        """
        if self._raw is None:
            raise RuntimeError("there are no counts to choose from: call scan_vocab first")
        known = self._trained.vocabulary if update else None
        min_count = self.min_count if min_count is None else validate.integer("min_count", min_count, 0)
        sample = self.sample if sample is None else validate.real("sample", sample, 0)
        selection = self._selection(trim_rule, min_count)
        report = self._report(choose_vocabulary(self._raw, selection), len(self._raw), sample)
        if dry_run:
            return report
        self.min_count, self.sample = min_count, sample
        self._take_vocabulary(choose_vocabulary(self._raw, selection, known), *self._scanned, update)
        if not keep_raw_vocab:
            self._raw = None
        return report

    def _report(self, chosen: Vocabulary, num_words: int, sample: float) -> dict[str, Any]:
        assert chosen.counts is not None
        expected = chosen.counts * keep_probabilities(chosen.counts, sample).astype(np.float64)
        return {
            "drop_unique": num_words - len(chosen),
            "retain_total": int(chosen.counts.sum()),
            "downsample_unique": int(np.count_nonzero(expected < chosen.counts)),
            "downsample_total": int(expected.sum()),
            "num_retained_words": len(chosen),
            "memory": self.estimate_memory(len(chosen)),
        }

    def estimate_memory(self, vocab_size: int | None = None, report: dict[str, int] | None = None) -> dict[str, int]:
        """Estimate the bytes of a model of so many words; the text's word numbers are not among them, 4 bytes a word.

        Parameters
        ----------
        vocab_size : int, optional
            Default the model's.
        report : dict, optional
            Bytes of other things, to be added up with these.

        Returns
        -------
        dict of str to int
            ``vocab``, ``vectors``, ``syn1`` and ``syn1neg`` where there are such, and the ``total``.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> Word2Vec(sg=1, vector_size=100).estimate_memory(1_000_000)["vectors"]
        448000000
        """
        size = len(self._trained.vocabulary) if vocab_size is None else validate.integer("vocab_size", vocab_size, 0)
        table = size * row_length(self.vector_size) * np.dtype(np.float32).itemsize
        estimate = {**(report or {}), "vocab": size * WORD_BYTES, "vectors": table}
        estimate |= {name: table for name, used in (("syn1", self.hs), ("syn1neg", self.negative)) if used}
        return {**estimate, "total": sum(estimate.values())}

    def reset_from(self, other_model: "VocabularyBuilder") -> None:
        """Take the vocabulary of another model, and untrained vectors for it.

        Parameters
        ----------
        other_model : Word2Vec or the like
            Neither changes when the other is trained.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> first, second = Word2Vec(min_count=1, vector_size=8), Word2Vec(vector_size=16)
        >>> first.build_vocab([["a", "b"]])
        >>> second.reset_from(first)
        >>> second.wv.index_to_key, second.wv.vector_size
        (['a', 'b'], 16)
        """
        self._check()
        theirs = other_model._trained
        self._take_vocabulary(theirs.vocabulary, theirs.num_words, theirs.num_sentences, update=False)

    @property
    def raw_vocab(self) -> dict[str, int]:
        """All words of the text and their counts, if `scan_vocab` or ``keep_raw_vocab=True`` kept them; else empty."""
        if self._raw is None:
            return {}
        assert self._raw.counts is not None
        return dict(zip(self._raw.words, self._raw.counts.tolist(), strict=True))

    def _check_vocabulary_options(self) -> None:
        self.phrases = frozen(self.phrases)
        if self.max_vocab_size is not None:
            self.max_vocab_size = validate.integer("max_vocab_size", self.max_vocab_size, 1)
        self.sorted_vocab = int(validate.boolean("sorted_vocab", self.sorted_vocab))
        self.pretrained_lockf = validate.real("pretrained_lockf", self.pretrained_lockf, 0)
        self._selection()

    def _selection(self, trim_rule: TrimRule | None = None, min_count: int | None = None) -> Selection:
        return Selection(
            self.min_count if min_count is None else min_count,
            self.max_final_vocab,
            trim_rule or self.trim_rule,
            bool(self.sorted_vocab),
        )

    def _take_vocabulary(
        self, vocabulary: Vocabulary, num_words: int, num_sentences: int, update: bool = False
    ) -> None:
        """Make the rows of a vocabulary, or of its new words; they start from `pretrained` if that has them."""
        pretrained = None if self.pretrained is None else open_vectors(self.pretrained, self.vector_size)
        if update:
            check_vector_size(self.vector_size, self._trained.vector_size)
            first = len(self._trained.vocabulary)
            self._trained.extend(vocabulary, num_words, num_sentences, self.seed, self._start)
        else:
            first = 0
            counted = num_words, num_sentences
            self._state = self._new_state(vocabulary, *counted)
        self._trained.prepare(bool(self.hs), bool(self.negative))
        if pretrained is not None and self._trained.adopt(pretrained, self.pretrained_lockf, first) == 0 and not update:
            warnings.warn(
                f"pretrained has none of the vocabulary's {len(vocabulary):,} words, such as "
                f"{', '.join(map(repr, vocabulary.first(3).words))}: all vectors start at random",
                UserWarning,
                stacklevel=4,
            )

    def _new_state(self, vocabulary: Vocabulary, num_words: int, num_sentences: int) -> State:
        """Return untrained rows for the words of a text."""
        return State.of_vocabulary(vocabulary, self.vector_size, num_words, num_sentences, self.seed, self._start)

    @property
    def _start(self) -> float:
        """Input rows begin uniform in plus or minus this, over vector_size."""
        return 0.5

    def _read(self, source: Source, monitor: Monitor, vocabulary: Vocabulary | None = None, **options: Any) -> Corpus:
        """Read a text; `options` of `read_corpus` go before the model's."""
        monitor.begin("scanning")

        def progress(words: int, fraction: float | None) -> None:
            monitor.report(words, 0, math.nan, total=round(words / fraction) if fraction else None)

        ours = {name: getattr(self, name) for name in OF_READING} | {"sorted_vocab": bool(self.sorted_vocab)}
        corpus = read_corpus(source, vocabulary=vocabulary, progress=progress, **{**ours, **options})
        if corpus.num_words_pruned and (vocabulary is None or options.get("extend")):
            warnings.warn(
                f"there were more different words than max_vocab_size={self.max_vocab_size:,}, so rare ones were "
                f"dropped while counting, when they had occurred less than {corpus.pruning_threshold:,} times: "
                f"{corpus.num_words_pruned:,} of {corpus.num_words:,} words are neither counted nor trained",
                UserWarning,
                stacklevel=4,
            )
        monitor.report(corpus.num_words, 0, math.nan, total=corpus.num_words, force=True)
        return corpus
