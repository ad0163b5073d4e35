"""Word2Vec: skip-gram and CBOW word vectors, with negative sampling and hierarchical softmax."""

import warnings
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.selection import TrimRule
from fastemb.engine import validate
from fastemb.trainers.arguments import check_training, check_vector_size, warn_of_totals, warn_without_effect
from fastemb.trainers.model_vectors import ModelVectors
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.prediction import Prediction
from fastemb.trainers.schedule import Monitor
from fastemb.trainers.storing import Stored
from fastemb.trainers.text import PathLike, Sentences, one_source
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["Word2Vec"]


class Word2Vec(Prediction, Stored):
    """Word vectors learnt from text with skip-gram or CBOW, on all cores.

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
    alpha : float, optional
        Learning rate at the start; default 0.035 for skip-gram, 0.075 for CBOW, 0.05 with ``cbow_mean=0`` and 0.2 for
        the corrected update, or that of the program that `compat` names. It falls linearly to `min_alpha`.
    window : int, default 5
        Most context words on each side, up to 100.
    min_count : int, default 5
        Words that occur less often are left out.
    max_vocab_size : int, optional
        Different words to hold while counting: it bounds the memory, after each megabyte of text, and `max_final_vocab`
        the vocabulary. Counts are exact while there is room; when there is none, the fewest of the rarest words go that
        free half of it, and a warning tells what was lost.
    max_final_vocab : int, optional
        Raise `min_count` until at most this many words are left.
    trim_rule : callable, optional
        Called as ``trim_rule(word, count, min_count)``; returns `fastemb.RULE_KEEP`, `RULE_DISCARD` or `RULE_DEFAULT`.
        Not saved with the model.
    sorted_vocab : {1, 0}, default 1
        Order words by falling count (1), or by first appearance (0).
    pretrained : KeyedVectors or path, optional
        Vectors of the same size, in a file of any format, from which the words that they have start. Not saved with the
        model.
    pretrained_lockf : float, default 1.0
        Factor on the learning rate of these words; 0 keeps their vectors as they are, bit for bit.
    sample : float, default 1e-3
        Words with a larger share of the text are dropped at times (see `engine.sampling`); 0 keeps all.
    seed : int, default 1
        Of all random numbers. With one worker a run repeats bit for bit.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`.
    min_alpha : float, optional
        Learning rate at the end; default 1e-4, or the program's.
    sg : {0, 1}, default 0
        CBOW (0): the context words together predict the centre word. Skip-gram (1): each by itself, which takes longer
        and is better for rare words.
    hs : {0, 1}, default 0
        Hierarchical softmax: a word is predicted by its path in a Huffman tree, whose nodes are shared by words of the
        whole text. Unless `compat` is given, parts of the text are therefore trained in a random order.
    negative : int, default 5
        Negative sampling: words drawn as counter-examples, up to 64; 0 for none. Both ways may be used together.
    ns_exponent : float, optional
        Negatives are drawn in proportion to ``count ** ns_exponent``; default 0.75, or the program's.
    cbow_mean : {0, 1}, default 1
        CBOW sums (0) or averages (1) the context words' vectors.
    cbow_update : {"corrected", "classic"}, optional
        Whether each context word gets its share of the average's change, as the gradient has it (Irsoy et al. 2021), or
        all of it, as in word2vec.c and gensim. Default "classic".
    epochs : int, default 5
        Passes through the text.
    shrink_windows : bool, default True
        Draw each window's size from 1 to `window`.
    shared_negatives : bool, default True
        One set of negatives for all context words of a window: several times faster at the same quality. False is
        word2vec.c's arithmetic, pair by pair.
    compat : {"word2vec.c", "gensim", "fasttext"}, optional
        Take on the arithmetic of another program, and its default rates: see the guide's page on semantics. Slower.
    lowercase : bool, default False
        Lower-case the text first, by Unicode's rules.
    max_sentence_length : int, default 1000
        Longer sentences are cut into several; nothing is dropped.
    max_memory : int or str, optional
        Bytes of memory for the text's word ids (4 bytes a word), such as ``"1G"``; what is more goes to a temporary
        file.
    errors : str, default "strict"
        What to do with bytes that are not UTF-8, as in ``bytes.decode``.
    phrases : Phrases, FrozenPhrases or a sequence of them, optional
        Join the phrases of the text first, as word numbers. The model keeps them, frozen, and saves them with itself:
        ``model.phrases[sentence]`` joins new text as the training text was.
    callbacks : sequence of object
        See `fastemb.CallbackAny2Vec`.
    compute_loss : bool, default False
        gensim's; the loss is computed in any case.
    comment : str, optional
        Free text, saved with the model.
    hashfxn, null_word, batch_words
        gensim's, without effect, of which a warning tells.
    device : {"cpu", "cuda"}, default "cpu"
        Train on an NVIDIA GPU ("cuda"), which ``pip install 'fastemb[cuda]'`` is for; only with shared negatives and
        without `compat`. The model and its vectors stay in the host's memory. Not saved with the model.

    Attributes
    ----------
    wv : ModelVectors
        The words and their vectors.
    syn1neg : float32 (num_words, vector_size)
        The output vectors of negative sampling.
    syn1 : float32 (num_words - 1, vector_size)
        The vectors of the tree's inner nodes, of hierarchical softmax.
    losses : list of float
        Mean loss of a (context, output) pair in each epoch trained.
    corpus_count, corpus_total_words : int
        Sentences and words read when the vocabulary was built or updated.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds, or the text is empty.
    FloatingPointError
        If training meets NaN or infinity, as with too large an `alpha`.
    ImportError, RuntimeError
        If ``device="cuda"`` and no GPU can be used; the message tells why.

    Notes
    -----
    Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space" and "Distributed Representations
    of Words and Phrases and their Compositionality". With several workers threads update shared tables without locks
    (Niu et al. 2011, "Hogwild!"), so runs differ in the last digits.

    Examples
    --------
    >>> days = [["monday", "tuesday", "work"], ["saturday", "sunday", "rest"]] * 100
    >>> model = Word2Vec(days, vector_size=8, min_count=1, epochs=3, workers=1)
    >>> model.wv.index_to_key
    ['monday', 'tuesday', 'work', 'saturday', 'sunday', 'rest']
    >>> model.wv["monday"].shape, len(model.losses)
    ((8,), 3)
    """

    _format = "fastemb.Word2Vec/1"

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        vector_size: int = 100,
        alpha: float | None = None,
        window: int = 5,
        min_count: int = 5,
        *,
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
    ) -> None:
        self.vector_size = vector_size
        self.alpha = alpha
        self.window = window
        self.min_count = min_count
        self.max_vocab_size = max_vocab_size
        self.max_final_vocab = max_final_vocab
        self.trim_rule = trim_rule
        self.sorted_vocab = sorted_vocab
        self.pretrained = pretrained
        self.pretrained_lockf = pretrained_lockf
        self.sample = sample
        self.seed = seed
        self.workers = workers
        self.min_alpha = min_alpha
        self.sg = sg
        self.hs = hs
        self.negative = negative
        self.ns_exponent = ns_exponent
        self.cbow_mean = cbow_mean
        self.cbow_update = cbow_update
        self.epochs = epochs
        self.shrink_windows = shrink_windows
        self.shared_negatives = shared_negatives
        self.compat = compat
        self.lowercase = lowercase
        self.max_sentence_length = max_sentence_length
        self.max_memory = max_memory
        self.errors = errors
        self.phrases = phrases
        self.callbacks = callbacks
        self.compute_loss = compute_loss
        self.comment = comment
        self.hashfxn = hashfxn
        self.null_word = null_word
        self.batch_words = batch_words
        self.device = device
        self._check()
        warn_without_effect(hashfxn=hashfxn, null_word=null_word, batch_words=batch_words)
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
        with self._read(one_source(sentences, corpus_file), monitor) as corpus:
            self._take_vocabulary(corpus.vocabulary, corpus.num_words, corpus.num_sentences_read)
            self._train(corpus, self.epochs, *self._rates(), monitor)
        return self

    def train(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        word_count: int = 0,
        queue_factor: int | None = None,
        report_delay: float | None = None,
        compute_loss: bool = False,
        callbacks: Sequence[object] | None = None,
        *,
        corpus_iterable: Sentences | None = None,
    ) -> tuple[int, int]:
        """Train, or go on training, with the vocabulary as it is; words that it does not have are left out.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; one of them. gensim's name `corpus_iterable` is taken for `sentences`, too.
        total_examples, total_words : int, optional
            Sentences and words of the text. The text is counted, so they need not be given; a warning tells where they
            are not what was counted.
        epochs : int, optional
            Default the model's.
        start_alpha, end_alpha : float, optional
            Default the model's `alpha` and `min_alpha`.
        callbacks : sequence of object, optional
            In place of the model's.
        word_count, queue_factor, report_delay, compute_loss
            gensim's, without effect.

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
        check_vector_size(self.vector_size, self._trained.vector_size)
        epochs = self.epochs if epochs is None else validate.integer("epochs", epochs, 1)
        alpha, end = self._rates()
        if start_alpha is not None:
            alpha = validate.real("start_alpha", start_alpha, 0, low_open=True)
        if end_alpha is not None:
            end = validate.real("end_alpha", end_alpha, 0)
        warn_without_effect(word_count=word_count, queue_factor=queue_factor, report_delay=report_delay)
        monitor = Monitor(self, self.callbacks if callbacks is None else callbacks)
        source = one_source(sentences if corpus_iterable is None else corpus_iterable, corpus_file)
        with self._read(source, monitor, vocabulary) as corpus:
            warn_of_totals(corpus, total_examples, total_words)
            return self._train(corpus, epochs, alpha, end, monitor)

    @property
    def syn1neg(self) -> NDArray[np.float32]:
        """The output vectors of negative sampling, float32 (num_words, vector_size), under gensim's name."""
        return self._outputs("syn1neg", self._trained.weight_out, "negative sampling (negative=0)")

    @property
    def syn1(self) -> NDArray[np.float32]:
        """The vectors of the tree's inner nodes, float32 (num_words - 1, vector_size), under gensim's name."""
        return self._outputs("syn1", self._trained.weight_inner, "hierarchical softmax (hs=0)")

    @property
    def losses(self) -> list[float]:
        """Mean loss of a pair in each epoch trained."""
        return self._trained.losses

    def get_latest_training_loss(self) -> float:
        """Return the sum of the loss over all pairs since the latest `fit` or `train` began; see `losses` for means."""
        return self._trained.running_loss

    def init_sims(self, replace: bool = False) -> None:
        """Do nothing but warn, as gensim does: lengths are computed where they are needed.

        Parameters
        ----------
        replace : bool, default False
            Give all vectors length one, for good.
        """
        warnings.warn(
            "init_sims is deprecated and has no effect without replace=True, which is wv.unit_normalize_all()",
            DeprecationWarning,
            stacklevel=2,
        )
        if replace:
            self.wv.unit_normalize_all()

    def __str__(self) -> str:
        size = 0 if self._state is None else len(self._state.vocabulary)
        return f"{type(self).__name__}<vocab={size}, vector_size={self.vector_size}, alpha={self._rates()[0]:g}>"

    def _check(self) -> None:
        check_training(self)
        self._check_vocabulary_options()

    @property
    def wv(self) -> ModelVectors:
        """The words and their vectors; they change as the model is trained."""
        vectors = self._trained.wv
        assert isinstance(vectors, ModelVectors)
        return vectors

    def _outputs(self, name: str, table: NDArray[np.float32] | None, without: str) -> NDArray[np.float32]:
        if table is None:
            raise AttributeError(f"a model without {without} has no {name}")
        return table[:, : self._trained.vector_size]
