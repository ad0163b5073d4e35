"""FastText: word vectors made of the vectors of their n-grams, without labels."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from fastemb.corpus.selection import TrimRule
from fastemb.corpus.subwords import MAX_BUCKET, Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.formats.fasttext import MAGIC_BYTES, Arguments, read_model
from fastemb.formats.registry import detect, write
from fastemb.trainers.arithmetic import Arithmetic
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.state import State
from fastemb.trainers.subword_state import SubwordState, state_of_model, table_of_state
from fastemb.trainers.text import PathLike, Sentences
from fastemb.trainers.word2vec import Word2Vec
from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["FastText"]

MODES = ("fasttext", "floret")
ALPHA = 0.05


class FastText(Word2Vec):
    """Word vectors that are means of the vectors of their n-grams, so that words that were never seen have them, too.

    The arguments are those of `Word2Vec`, and what follows; gensim's and fastText's names. Facebook's program reads
    what ``save("model.bin")`` writes.

    Parameters
    ----------
    sentences, corpus_file, vector_size, window, min_count, ...
        As for `Word2Vec`.
    pretrained : KeyedVectors or path, optional
        Where these have n-grams of the same `min_n`, `max_n`, `bucket` and `mode`, as a fastText ``.bin`` may, the rows
        of n-grams are taken over, and words' own rows. Of other vectors, words' own rows become their vectors, and the
        n-grams' begin at random.
    pretrained_lockf : float, default 1.0
        Factor on the learning rate of the rows that are taken over: 0 keeps them as they are.
    alpha : float, optional
        Learning rate at the start; default 0.05, as fastText's, or that of the program that `compat` names.
    min_n, max_n : int, default 3 and 6
        Characters of an n-gram; with ``max_n=0`` there are none.
    bucket : int, default 2,000,000
        Rows that n-grams are hashed to.
    word_ngrams : {1}, default 1
        Longer n-grams of words are the classifier's: see `FastTextClassifier`.
    mode : {"fasttext", "floret"}, default "fasttext"
        floret hashes words like n-grams, into a table that can be much smaller, without rows of their own.
    hash_count : int, default 1
        floret's: rows of each word and n-gram, 1 to 4.

    Attributes
    ----------
    wv : FastTextKeyedVectors
        The words and their vectors, and those of any other word.

    Notes
    -----
    Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information". All rows begin uniform in
    ±1 / vector_size, those of n-grams included; each of a word's rows gets the whole change of their mean, as in
    fastText. Parts of the text are trained in a random order unless `compat` is given: with one epoch of five million
    words of Wikipedia this raised the correlation with SimLex-999 from 15 to 23 and with WS-353 from 37 to 42.

    Examples
    --------
    >>> days = [["monday", "tuesday", "work"], ["saturday", "sunday", "rest"]] * 100
    >>> model = FastText(days, vector_size=8, min_count=1, epochs=3, workers=1, bucket=1000)
    >>> model.wv["mondays"].shape, "mondays" in model.wv
    ((8,), True)
    """

    _format = "fastemb.FastText/1"
    _state_type = SubwordState

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        *,
        vector_size: int = 100,
        alpha: float | None = None,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        trim_rule: TrimRule | None = None,
        sorted_vocab: int = 1,
        pretrained: KeyedVectors | PathLike | None = None,
        pretrained_lockf: float = 1.0,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int | None = None,
        min_alpha: float | None = None,
        sg: int = 0,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float | None = None,
        cbow_mean: int = 1,
        cbow_update: str | None = None,
        epochs: int = 5,
        shrink_windows: bool = True,
        shared_negatives: bool = True,
        compat: str | None = None,
        lowercase: bool = False,
        max_sentence_length: int = 1000,
        max_memory: int | str | None = None,
        errors: str = "strict",
        phrases: PhraseModel | Sequence[PhraseModel] | None = None,
        callbacks: Sequence[object] = (),
        compute_loss: bool = False,
        comment: str | None = None,
        hashfxn: Callable | None = None,
        null_word: int = 0,
        batch_words: int | None = None,
        device: str = "cpu",
        min_n: int = 3,
        max_n: int = 6,
        bucket: int = 2_000_000,
        word_ngrams: int = 1,
        mode: str = "fasttext",
        hash_count: int = 1,
    ) -> None:
        self.min_n = min_n
        self.max_n = max_n
        self.bucket = bucket
        self.word_ngrams = word_ngrams
        self.mode = mode
        self.hash_count = hash_count
        super().__init__(
            sentences, corpus_file, vector_size, alpha, window, min_count, sample=sample, seed=seed, workers=workers,
            min_alpha=min_alpha, sg=sg, hs=hs, negative=negative, ns_exponent=ns_exponent, cbow_mean=cbow_mean,
            cbow_update=cbow_update, epochs=epochs, shrink_windows=shrink_windows, shared_negatives=shared_negatives,
            compat=compat, lowercase=lowercase, max_sentence_length=max_sentence_length, max_memory=max_memory,
            errors=errors, phrases=phrases, callbacks=callbacks, max_vocab_size=max_vocab_size,
            max_final_vocab=max_final_vocab, trim_rule=trim_rule, sorted_vocab=sorted_vocab, pretrained=pretrained,
            pretrained_lockf=pretrained_lockf, compute_loss=compute_loss, comment=comment, hashfxn=hashfxn,
            null_word=null_word, batch_words=batch_words, device=device,
        )  # fmt: skip

    @property
    def wv(self) -> FastTextKeyedVectors:  # type: ignore[override]
        """The words and their vectors; they change as the model is trained."""
        vectors = self._trained.wv
        assert isinstance(vectors, FastTextKeyedVectors)
        return vectors

    def save(self, path: PathLike) -> None:
        """Write the model; the suffix decides how.

        Parameters
        ----------
        path : path
            ``.safetensors`` (or ``.model``, or none) for everything, to go on training later; ``.bin`` for fastText's
            format, which Facebook's program and gensim load; any other suffix writes the vectors, as ``wv.save`` does:
            ``.vec``, ``.floret``.
        """
        suffix = os.path.splitext(os.fspath(path))[1].lower()
        if suffix == ".bin":
            self.save_fasttext(path)
        elif suffix in (".safetensors", ".model", ""):
            super().save(path)
        else:
            self.wv.save(path)

    def save_fasttext(self, path: PathLike) -> None:
        """Write fastText's format under any name."""
        table = table_of_state(self._subword_state, self._arguments(), self._arithmetic.code_is_label)
        write(path, table, format="fasttext")

    @classmethod
    def load(cls, path: PathLike, mmap: Any = None) -> Self:
        """Read what `save` wrote as ``.safetensors`` or ``.bin``, or Facebook's program, to train it further.

        gensim's argument `mmap` has no effect.

        Raises
        ------
        ValueError
            If the file is neither, or a classifier or a quantized model.
        """
        with open(path, "rb") as file:
            is_fasttext = file.read(len(MAGIC_BYTES)) == MAGIC_BYTES
        if not is_fasttext and (not os.fspath(path).lower().endswith(".bin") or detect(path) != "fasttext"):
            return super().load(path)
        found = read_model(path)
        try:
            state = state_of_model(found)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} cannot be trained: {error}") from error
        told = found.arguments
        model = cls(
            vector_size=told.dim, window=told.window, min_count=told.min_count, sample=told.sample,
            sg=int(told.model == "skipgram"), hs=int(told.loss == "hs"),
            negative=0 if told.loss == "hs" else told.negative, epochs=max(1, told.epochs), min_n=told.min_n,
            max_n=told.max_n, bucket=told.bucket,
        )  # fmt: skip
        model._state = state
        return model

    def _arguments(self) -> Arguments:
        """Return what fastText's format says of the model."""
        loss = "ns" if self.negative else "hs"
        model = "skipgram" if self.sg else "cbow"
        return Arguments(
            self.vector_size, self.window, self.epochs, self.min_count, self.negative, 1, loss, model, self.bucket,
            self.min_n, self.max_n, sample=self.sample,
        )  # fmt: skip

    @property
    def _subword_state(self) -> SubwordState:
        state = self._trained
        assert isinstance(state, SubwordState)
        return state

    @property
    def _subwords(self) -> Subwords:
        hash_count = self.hash_count if self.mode == "floret" else 0
        return Subwords(self.min_n, self.max_n, self.bucket, hash_count)

    def _check(self) -> None:
        super()._check()
        for name in ("min_n", "max_n"):
            setattr(self, name, validate.integer(name, getattr(self, name), 0, MAX_BUCKET))
        self.bucket = validate.integer("bucket", self.bucket, 0, MAX_BUCKET)
        self.hash_count = validate.integer("hash_count", self.hash_count, 1, 4)
        validate.choice("mode", self.mode, MODES)
        if validate.integer("word_ngrams", self.word_ngrams, 1) != 1:
            raise ValueError(f"word_ngrams must be 1 for vectors of words, got {self.word_ngrams}")
        if self.mode == "floret" and not self.bucket:
            raise ValueError("bucket must be at least 1 with mode='floret', got 0")

    @property
    def _arithmetic(self) -> Arithmetic:
        return super()._arithmetic if self.compat else replace(super()._arithmetic, order="random")

    def _rates(self) -> tuple[float, float]:
        """Return the learning rate at the start and at the end."""
        first, last = super()._rates()
        return (ALPHA if self.alpha is None and self.compat is None else first), last

    def _new_state(self, vocabulary: Vocabulary, num_words: int, num_sentences: int) -> State:
        """Return untrained rows for the words of a text and for n-grams."""
        counted = num_words, num_sentences
        return SubwordState.of_words(vocabulary, self._subwords, self.vector_size, *counted, self.seed)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments that the model was made with, as scikit-learn's estimators do.

        Examples
        --------
        >>> FastText(min_n=2).get_params()["min_n"]
        2
        """
        return super().get_params(deep)
