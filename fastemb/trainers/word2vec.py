"""Word2Vec: skip-gram word vectors with negative sampling."""

import json
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

import fastemb
from fastemb.corpus.reader import Corpus, read_corpus
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.engine.parallel import MAX_THREADS, get_num_threads
from fastemb.formats.safetensors import read_tensors, write_tensors
from fastemb.trainers.estimator import Estimator
from fastemb.trainers.schedule import Monitor
from fastemb.trainers.skipgram import SkipGram
from fastemb.trainers.state import State
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["Word2Vec"]

PathLike = str | os.PathLike[str]
Sentences = Iterable[Sequence[str]]

DEFAULT_ALPHA = 0.035
MAX_VECTOR_SIZE = 1 << 16
MODEL_FORMAT = "fastemb.Word2Vec/1"


class Word2Vec(Estimator):
    """Word vectors learnt from text with skip-gram and negative sampling, on all cores.

    The arguments are gensim 4's where it has them. Given `sentences` or `corpus_file` the model is trained at once;
    otherwise call `fit`, or `build_vocab` and `train`.

    Parameters
    ----------
    sentences : iterable of list of str, optional
        Read once; a generator will do.
    corpus_file : path, optional
        A text file, one sentence a line, words between spaces; ``.gz``, ``.bz2``, ``.xz`` or ``.zst`` of one; a folder
        of them; ``"-"`` for standard input.
    vector_size : int, default 100
        Numbers in a vector.
    alpha : float, default 0.035
        Learning rate at the start; gensim's is 0.025. It falls linearly to `min_alpha`.
    window : int, default 5
        Most context words on each side, up to 100.
    min_count : int, default 5
        Words that occur less often are left out.
    sample : float, default 1e-3
        Words with a larger share of the text are dropped at times (see `engine.sampling`); 0 keeps all.
    seed : int, default 1
        Of all random numbers. With one worker a run repeats bit for bit.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`.
    min_alpha : float, default 1e-4
        Learning rate at the end.
    sg : {1}, default 1
        Skip-gram. CBOW (0) is not there yet.
    negative : int, default 5
        Words drawn as counter-examples, 1 to 64.
    ns_exponent : float, default 0.75
        Negatives are drawn in proportion to ``count ** ns_exponent``.
    epochs : int, default 5
        Passes through the text.
    shrink_windows : bool, default True
        Draw each window's size from 1 to `window`.
    shared_negatives : bool, default True
        One set of negatives for all context words of a window: several times faster at the same quality. False is
        word2vec.c's arithmetic, pair by pair.
    lowercase : bool, default False
        Lower-case the text first, by Unicode's rules.
    max_sentence_length : int, default 1000
        Longer sentences are cut into several; nothing is dropped.
    max_memory : int or str, optional
        Bytes of memory for the text's word ids (4 bytes a word), such as ``"1G"``; what is more goes to a temporary
        file.
    errors : str, default "strict"
        What to do with bytes that are not UTF-8, as in ``bytes.decode``.
    callbacks : sequence of object
        See `fastemb.trainers.schedule.Monitor`.

    Attributes
    ----------
    wv : KeyedVectors
        The words and their vectors.
    syn1neg : float32 (num_words, vector_size)
        The output vectors.
    losses : list of float
        Mean loss of a (context, output) pair in each epoch trained.
    corpus_count, corpus_total_words : int
        Sentences and words read when the vocabulary was built.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds, or the text is empty.
    FloatingPointError
        If training meets NaN or infinity, as with too large an `alpha`.

    Notes
    -----
    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality". With several
    workers threads update shared tables without locks (Niu et al. 2011, "Hogwild!"), so runs differ in the last digits.

    Examples
    --------
    >>> days = [["monday", "tuesday", "work"], ["saturday", "sunday", "rest"]] * 100
    >>> model = Word2Vec(days, vector_size=8, min_count=1, epochs=3, workers=1)
    >>> model.wv.index_to_key
    ['monday', 'tuesday', 'work', 'saturday', 'sunday', 'rest']
    >>> model.wv["monday"].shape, len(model.losses)
    ((8,), 3)
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        vector_size: int = 100,
        alpha: float = DEFAULT_ALPHA,
        window: int = 5,
        min_count: int = 5,
        *,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int | None = None,
        min_alpha: float = 1e-4,
        sg: int = 1,
        negative: int = 5,
        ns_exponent: float = 0.75,
        epochs: int = 5,
        shrink_windows: bool = True,
        shared_negatives: bool = True,
        lowercase: bool = False,
        max_sentence_length: int = 1000,
        max_memory: int | str | None = None,
        errors: str = "strict",
        callbacks: Sequence[object] = (),
    ) -> None:
        self.vector_size = vector_size
        self.alpha = alpha
        self.window = window
        self.min_count = min_count
        self.sample = sample
        self.seed = seed
        self.workers = workers
        self.min_alpha = min_alpha
        self.sg = sg
        self.negative = negative
        self.ns_exponent = ns_exponent
        self.epochs = epochs
        self.shrink_windows = shrink_windows
        self.shared_negatives = shared_negatives
        self.lowercase = lowercase
        self.max_sentence_length = max_sentence_length
        self.max_memory = max_memory
        self.errors = errors
        self.callbacks = callbacks
        self._check()
        self._state: State | None = None
        if sentences is not None or corpus_file is not None:
            self.fit(sentences, corpus_file=corpus_file)

    def fit(self, sentences: Sentences | None = None, y: None = None, *, corpus_file: PathLike | None = None) -> Self:
        """Build the vocabulary and train from the start, reading the text once.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; one of them.
        y : None
            Ignored; scikit-learn's interface has it.

        Returns
        -------
        Word2Vec
            The model itself. After Ctrl-C (KeyboardInterrupt) it holds what was learnt until then.
        """
        self._check()
        monitor = Monitor(self, self.callbacks)
        with self._read(_one_source(sentences, corpus_file), monitor) as corpus:
            self._state = State.of_corpus(corpus, self.vector_size, self.seed)
            self._train(corpus, self.epochs, self.alpha, self.min_alpha, monitor)
        return self

    def build_vocab(self, sentences: Sentences | None = None, corpus_file: PathLike | None = None) -> None:
        """Count the words of a text and make untrained vectors for them.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; one of them.
        """
        self._check()
        with self._read(_one_source(sentences, corpus_file), Monitor(self, self.callbacks)) as corpus:
            self._state = State.of_corpus(corpus, self.vector_size, self.seed)

    def train(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        *,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
    ) -> tuple[int, int]:
        """Train, or go on training, with the vocabulary as it is; words that it does not have are left out.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; one of them.
        total_examples, total_words : int, optional
            Ignored: the text is counted. gensim's interface has them.
        epochs : int, optional
            Default the model's.
        start_alpha, end_alpha : float, optional
            Default the model's `alpha` and `min_alpha`.

        Returns
        -------
        trained_words, raw_words : int
            Words after subsampling and in all, over the epochs, as gensim returns them.

        Raises
        ------
        RuntimeError
            If there is no vocabulary yet.
        KeyboardInterrupt
            On Ctrl-C, within a second; the model holds what was learnt until then.
        """
        self._check()
        vocabulary = self._trained.vocabulary
        self._check_vector_size()
        epochs = self.epochs if epochs is None else validate.integer("epochs", epochs, 1)
        alpha = self.alpha if start_alpha is None else validate.real("start_alpha", start_alpha, 0, low_open=True)
        end = self.min_alpha if end_alpha is None else validate.real("end_alpha", end_alpha, 0)
        monitor = Monitor(self, self.callbacks)
        with self._read(_one_source(sentences, corpus_file), monitor, vocabulary) as corpus:
            return self._train(corpus, epochs, alpha, end, monitor)

    @property
    def wv(self) -> KeyedVectors:
        """The words and their vectors; they change as the model is trained."""
        return self._trained.wv

    @property
    def syn1neg(self) -> NDArray[np.float32]:
        """The output vectors, float32 (num_words, vector_size), under gensim's name."""
        return self._trained.weight_out[:, : self._trained.vector_size]

    @property
    def losses(self) -> list[float]:
        """Mean loss of a pair in each epoch trained."""
        return self._trained.losses

    @property
    def corpus_count(self) -> int:
        """Sentences read when the vocabulary was built."""
        return self._trained.num_sentences

    @property
    def corpus_total_words(self) -> int:
        """Words read when the vocabulary was built, those left out included."""
        return self._trained.num_words

    def save(self, path: PathLike) -> None:
        """Write everything, to go on training later, as one safetensors file.

        The file opens as `KeyedVectors` too. Only ``wv.save`` writes other formats.

        Parameters
        ----------
        path : path
            Must end in ``.safetensors``.
        """
        if not os.fspath(path).endswith(".safetensors"):
            raise ValueError(
                f"path must end in '.safetensors', got {os.fspath(path)!r}; model.wv.save writes other formats"
            )
        tensors, described = self._trained.to_tensors()
        self._check_vector_size()
        parameters = {name: value for name, value in self.get_params().items() if name != "callbacks"}
        metadata = {
            "format": MODEL_FORMAT,
            "fastemb": fastemb.__version__,
            "parameters": json.dumps(parameters),
            **described,
        }
        write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is not a model that `save` wrote.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != MODEL_FORMAT:
            raise ValueError(
                f"{os.fspath(path)}: not a Word2Vec model, which has the format {MODEL_FORMAT!r}, "
                f"got {metadata.get('format')!r}; KeyedVectors.load reads word vectors"
            )
        try:
            model = cls(**json.loads(metadata["parameters"]))
            model._state = State.of_tensors(tensors, metadata, model.vector_size)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)}: a damaged model ({error})") from error
        return model

    def _check(self) -> None:
        """Check the arguments; NumPy's numbers become Python's, which the kernels and the model's file ask for."""
        self.vector_size = validate.integer("vector_size", self.vector_size, 1, MAX_VECTOR_SIZE)
        self.alpha = validate.real("alpha", self.alpha, 0, low_open=True)
        self.min_alpha = validate.real("min_alpha", self.min_alpha, 0, self.alpha)
        self.window = validate.integer("window", self.window, 1, 100)
        self.min_count = validate.integer("min_count", self.min_count, 0)
        self.sample = validate.real("sample", self.sample, 0, 1)
        self.seed = validate.integer("seed", self.seed, 0, 2**63 - 1)
        if self.workers is not None:
            self.workers = validate.integer("workers", self.workers, 1, MAX_THREADS)
        if self.sg != 1:
            validate.choice("sg", self.sg, (0, 1))
            raise ValueError("sg=0 asks for CBOW, which fastemb does not have yet; sg=1 trains skip-gram")
        self.sg = int(self.sg)
        self.negative = validate.integer("negative", self.negative, 1, 64)
        self.ns_exponent = validate.real("ns_exponent", self.ns_exponent, -10, 10)
        self.epochs = validate.integer("epochs", self.epochs, 1)
        self.max_sentence_length = validate.integer("max_sentence_length", self.max_sentence_length, 1, 1_000_000)
        for name in ("shrink_windows", "shared_negatives", "lowercase"):
            setattr(self, name, validate.boolean(name, getattr(self, name)))

    def _check_vector_size(self) -> None:
        size = self._trained.vector_size
        if self.vector_size != size:
            raise ValueError(
                f"vector_size was changed to {self.vector_size}, and the model's vectors have {size} numbers: "
                "fit makes new ones"
            )

    @property
    def _trained(self) -> State:
        if self._state is None:
            raise RuntimeError("the model has no vocabulary yet: call fit, or build_vocab and train, first")
        return self._state

    def _read(self, source: Sentences | PathLike, monitor: Monitor, vocabulary: Vocabulary | None = None) -> Corpus:
        monitor.begin("scanning")

        def progress(words: int, fraction: float | None) -> None:
            monitor.report(words, 0, math.nan, total=round(words / fraction) if fraction else None)

        corpus = read_corpus(
            source,
            vocabulary=vocabulary,
            min_count=self.min_count,
            lowercase=self.lowercase,
            max_sentence_length=self.max_sentence_length,
            errors=self.errors,
            max_memory=self.max_memory,
            workers=self.workers,
            progress=progress,
        )
        monitor.report(corpus.num_words, 0, math.nan, total=corpus.num_words, force=True)
        return corpus

    def _train(self, corpus: Corpus, epochs: int, alpha: float, min_alpha: float, monitor: Monitor) -> tuple[int, int]:
        state = self._trained
        loop = SkipGram(
            counts=state.counts,
            weight_in=state.weight_in,
            weight_out=state.weight_out,
            window=self.window,
            shrink_windows=self.shrink_windows,
            negative=self.negative,
            shared_negatives=self.shared_negatives,
            sample=self.sample,
            ns_exponent=self.ns_exponent,
            seed=self.seed,
            workers=self.workers or get_num_threads(),
        )
        monitor.call("on_train_begin")
        trained = 0
        try:
            for kept, loss in loop.run(corpus, epochs, alpha, min_alpha, state.epochs_trained, monitor):
                trained += kept
                state.epochs_trained += 1
                state.losses.append(loss)
                monitor.call("on_epoch_end")
        finally:
            state.wv.fill_norms(force=True)
        if all(map(math.isnan, state.losses[-epochs:])):
            warnings.warn(
                f"no two words met in training: subsampling (sample={self.sample:g}) and min_count={self.min_count} "
                "left no sentence of two words, so the vectors are random",
                UserWarning,
                stacklevel=3,
            )
        monitor.call("on_train_end")
        return trained, corpus.num_words * epochs


def _one_source(sentences: Sentences | None, corpus_file: PathLike | None) -> Sentences | PathLike:
    if (sentences is None) == (corpus_file is None):
        given = "neither" if sentences is None else "both"
        raise TypeError(f"one of sentences and corpus_file must be given, got {given}")
    if corpus_file is not None:
        if not isinstance(corpus_file, str | os.PathLike):
            raise TypeError(f"corpus_file must be a path or '-', got {corpus_file!r:.80}")
        return corpus_file
    assert sentences is not None
    if isinstance(sentences, str | bytes | os.PathLike):
        raise TypeError(
            f"sentences must be an iterable of lists of words, got {str(sentences)!r:.80}; "
            "a file's name goes into corpus_file="
        )
    if not isinstance(sentences, Iterable):
        raise TypeError(f"sentences must be an iterable of lists of words, got {sentences!r:.80}")
    return sentences
