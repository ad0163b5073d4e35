"""GloVe: word vectors from counts of which words occur near each other."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

from fastemb.corpus.cooccurrence import MAX_WINDOW, Cooccurrence, count_cooccurrences
from fastemb.corpus.reader import parse_size
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine import validate
from fastemb.engine.parallel import MAX_THREADS, get_num_threads
from fastemb.trainers.arguments import check_vector_size
from fastemb.trainers.frozen_phrases import frozen
from fastemb.trainers.glove_blocks import Blocks
from fastemb.trainers.glove_matrix import Matrix, Words, count_text, to_cooccurrence
from fastemb.trainers.glove_model import GloVeModel, check_suffix
from fastemb.trainers.glove_state import VECTORS, GloVeState
from fastemb.trainers.glove_training import GloVeTraining
from fastemb.trainers.phrasing import PhraseModel
from fastemb.trainers.schedule import Monitor
from fastemb.trainers.text import PathLike, Sentences, one_source

__all__ = ["GloVe"]

MAX_VECTOR_SIZE = 1 << 16
COMPAT = (None, "glove", "glove-1.2")


class GloVe(GloVeModel):
    """Word vectors learned from a matrix of co-occurrences, on all cores: the GloVe program's model.

    Given `sentences` or `corpus_file` the model is trained at once; otherwise call `fit`, or `fit_cooccurrence` with a
    matrix that was counted before. A seed gives the same vectors to the last bit, whatever the number of threads.

    Parameters
    ----------
    sentences : iterable of list of str, optional
        Read once; a generator will do. No pair of words reaches beyond a sentence.
    corpus_file : path, optional
        A text file, one sentence or document a line, words between spaces; ``.gz``, ``.bz2``, ``.xz`` or ``.zst`` of
        one; a folder of them; ``"-"`` for standard input. Lines are not cut.
    vector_size : int, default 100
        Numbers in a vector.
    window : int, default 15
        Words that count as near, on either side, up to 255.
    min_count : int, default 5
        Words that occur less often are left out.
    symmetric : bool, default True
        Count words on the left and on the right of a word; with False, those on its right only.
    distance_weighting : bool, default True
        Count a pair of words at distance d as 1 / d; with False, as 1.
    x_max : float, default 100
        Count from which a pair has its full weight.
    alpha : float, default 0.75
        A pair that met x times weighs ``min(1, (x / x_max) ** alpha)``. gensim's `alpha`, the learning rate, is `eta`
        here.
    eta : float, default 0.05
        Learning rate of the vectors at the start; each number's own falls as Adagrad has it. That of the biases is 1.
    epochs : int, default 25
        Passes through the matrix. The program's own example takes 15, its authors 50 for vectors of 300 and more.
    max_final_vocab : int, optional
        Raise `min_count` until at most this many words are left.
    vectors : {"sum", "word", "context", "concat"}, default "sum"
        What `wv` holds: the sum of a word's two vectors (as the program's output), one of them, or both side by side.
    compat : {None, "glove", "glove-1.2"}
        The GloVe program's release 1.2 multiplies the biases' step by `eta`, too: ``"glove-1.2"``. In its sources
        since 2020 their rate is 1, as it is here; ``"glove"`` is the same as None.
    seed : int, default 1
        Of all random numbers.
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`. A small matrix is trained by fewer.
    lowercase : bool, default False
        Lower-case the text first, by Unicode's rules.
    max_memory : int or str, optional
        Bytes, such as ``"4G"``, for each of the word ids, the lists and the matrix that counting makes, and the matrix
        in training order (12 bytes a pair of words); what is larger goes to temporary files.
    errors : str, default "strict"
        What to do with bytes that are not UTF-8, as in ``bytes.decode``.
    phrases : Phrases, FrozenPhrases or a sequence of them, optional
        Join the phrases of the text first. The model keeps them, frozen, and saves them with itself.
    checkpoint : path, optional
        Save the model there while it is trained; must end in ``.safetensors``.
    checkpoint_epochs : int, default 5
        After every so many epochs.
    callbacks : sequence of object
        See `fastemb.trainers.schedule.Monitor`.

    Attributes
    ----------
    wv : GloVeVectors
        The words and their vectors, of the kind `vectors`.
    word_vectors, context_vectors : float32 (num_words, vector_size)
        Both sets of vectors.
    word_biases, context_biases : float32 (num_words,)
        Their biases.
    losses : list of float
        Mean loss of a pair of words in each epoch trained: the program's "cost".
    epochs_trained : int
        How many these are.
    corpus_count, corpus_total_words : int
        Sentences and words read when the vocabulary was built; 0 where a matrix was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds, or the text is empty.
    FloatingPointError
        If training meets NaN or infinity, as with too large an `eta`.
    MemoryError
        If the matrix does not fit into memory, and there is no `max_memory`.

    Notes
    -----
    Pennington, Socher and Manning 2014, "GloVe: Global Vectors for Word Representation". The loss of a pair is
    ``0.5 * min(1, (x / x_max) ** alpha) * (w . c + b + d - log x) ** 2``. Threads train blocks of the matrix that share
    no row and no column (Gemulla et al. 2011, "Large-scale matrix factorization with distributed stochastic gradient
    descent").

    Examples
    --------
    >>> days = [["monday", "tuesday", "work"], ["saturday", "sunday", "rest"]] * 100
    >>> model = GloVe(days, vector_size=8, min_count=1, epochs=3)
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
        window: int = 15,
        min_count: int = 5,
        *,
        symmetric: bool = True,
        distance_weighting: bool = True,
        x_max: float = 100.0,
        alpha: float = 0.75,
        eta: float = 0.05,
        epochs: int = 25,
        max_final_vocab: int | None = None,
        vectors: str = "sum",
        compat: str | None = None,
        seed: int = 1,
        workers: int | None = None,
        lowercase: bool = False,
        max_memory: int | str | None = None,
        errors: str = "strict",
        phrases: PhraseModel | Sequence[PhraseModel] | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_epochs: int = 5,
        callbacks: Sequence[object] = (),
    ) -> None:
        self.vector_size = vector_size
        self.window = window
        self.min_count = min_count
        self.symmetric = symmetric
        self.distance_weighting = distance_weighting
        self.x_max = x_max
        self.alpha = alpha
        self.eta = eta
        self.epochs = epochs
        self.max_final_vocab = max_final_vocab
        self.vectors = vectors
        self.compat = compat
        self.seed = seed
        self.workers = workers
        self.lowercase = lowercase
        self.max_memory = max_memory
        self.errors = errors
        self.phrases = phrases
        self.checkpoint = checkpoint
        self.checkpoint_epochs = checkpoint_epochs
        self.callbacks = callbacks
        self._check()
        super().__init__()
        if sentences is not None or corpus_file is not None:
            self.fit(sentences, corpus_file=corpus_file)

    def fit(self, sentences: Sentences | None = None, y: None = None, *, corpus_file: PathLike | None = None) -> Self:
        """Count the words and which are near each other, and train from the start, reading the text once.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; one of them.
        y : None
            Ignored; scikit-learn's interface has it.

        Returns
        -------
        GloVe
            The model itself. After Ctrl-C (KeyboardInterrupt) it holds what was learned until then.
        """
        self._check()
        monitor = Monitor(self, self.callbacks)
        matrix, read = self._count(one_source(sentences, corpus_file), monitor)
        with matrix:
            self._begin(matrix.vocabulary, **read)
            blocks = self._blocks(matrix)
        self._train(blocks, self.epochs, monitor)
        return self

    def fit_cooccurrence(self, matrix: Matrix, vocabulary: Words | None = None) -> Self:
        """Train from the start on a matrix that was counted before.

        Parameters
        ----------
        matrix : scipy sparse matrix or array, Cooccurrence, or path
            Square, a row and a column a word, its entries above 0; or the GloVe program's ``cooccurrence.bin``,
            shuffled or not.
        vocabulary : sequence of str, Vocabulary, or path, optional
            The words of the rows; or the GloVe program's ``vocab.txt``. Default for a scipy matrix: "0", "1", ...

        Returns
        -------
        GloVe
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If the matrix is something else, or an entry is not above 0.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> matrix = csr_array([[0, 2.0, 0.5], [2, 0, 1], [0.5, 1, 0]])
        >>> GloVe(vector_size=2, epochs=1).fit_cooccurrence(matrix, ["to", "be", "or"]).wv["be"].shape
        (2,)
        """
        self._check()
        with to_cooccurrence(matrix, vocabulary, self.max_memory) as given:
            self._begin(given.vocabulary)
            blocks = self._blocks(given)
        self._train(blocks, self.epochs, Monitor(self, self.callbacks))
        return self

    def train(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        *,
        cooccurrence: Matrix | None = None,
        epochs: int | None = None,
    ) -> None:
        """Go on training, with the vocabulary as it is; words that it does not have are left out.

        With the text or matrix of before the result is that of training which was never interrupted, to the last bit.

        Parameters
        ----------
        sentences, corpus_file
            As for the class.
        cooccurrence : scipy sparse matrix or array, Cooccurrence, or path
            As for `fit_cooccurrence`, in place of a text.
        epochs : int, optional
            Default: those of the model's `epochs` that it has not been trained for.

        Raises
        ------
        RuntimeError
            If there is no vocabulary yet.
        ValueError
            If nothing is left to train, or the matrix is of other words.
        """
        self._check()
        state = self._trained
        check_vector_size(self.vector_size, state.vector_size)
        left = self.epochs - state.epochs_trained
        if epochs is None and left < 1:
            raise ValueError(
                f"nothing is left to train: the model has had {state.epochs_trained} epochs, and its epochs="
                f"{self.epochs} counts these; train(epochs=...) trains so many more"
            )
        epochs = left if epochs is None else validate.integer("epochs", epochs, 1)
        monitor = Monitor(self, self.callbacks)
        if cooccurrence is None:
            matrix, _ = self._count(one_source(sentences, corpus_file), monitor, state.vocabulary)
        elif sentences is None and corpus_file is None:
            matrix = to_cooccurrence(cooccurrence, state.vocabulary, self.max_memory)
        else:
            raise TypeError("one of sentences, corpus_file and cooccurrence must be given, got several")
        with matrix:
            blocks = self._blocks(matrix)
        self._train(blocks, epochs, monitor)

    def _check(self) -> None:
        """Check the arguments; NumPy's numbers become Python's, which the kernels and the model's file ask for."""
        self.vector_size = validate.integer("vector_size", self.vector_size, 1, MAX_VECTOR_SIZE)
        self.window = validate.integer("window", self.window, 1, MAX_WINDOW)
        self.min_count = validate.integer("min_count", self.min_count, 0)
        for name in ("symmetric", "distance_weighting", "lowercase"):
            setattr(self, name, validate.boolean(name, getattr(self, name)))
        self.x_max = validate.real("x_max", self.x_max, 0, 1e30, low_open=True)
        self.alpha = validate.real("alpha", self.alpha, 0, 10)
        self.eta = validate.real("eta", self.eta, 0, 1e6, low_open=True)
        self.epochs = validate.integer("epochs", self.epochs, 1)
        if self.max_final_vocab is not None:
            self.max_final_vocab = validate.integer("max_final_vocab", self.max_final_vocab, 1)
        validate.choice("vectors", self.vectors, VECTORS)
        validate.choice("compat", self.compat, COMPAT)
        self.seed = validate.integer("seed", self.seed, 0, 2**63 - 1)
        if self.workers is not None:
            self.workers = validate.integer("workers", self.workers, 1, MAX_THREADS)
        self.phrases = frozen(self.phrases)
        if self.max_memory is not None:
            parse_size(self.max_memory, "max_memory")
        if self.checkpoint is not None:
            check_suffix("checkpoint", self.checkpoint)
        self.checkpoint_epochs = validate.integer("checkpoint_epochs", self.checkpoint_epochs, 1)

    def _count(
        self, source: Sentences | PathLike, monitor: Monitor, vocabulary: Vocabulary | None = None
    ) -> tuple[Cooccurrence, dict[str, int]]:
        """Return the matrix of a text, and how many words and sentences were read."""
        text: dict[str, Any] = {"lowercase": self.lowercase, "errors": self.errors, "phrases": self.phrases}
        if vocabulary is None:
            text |= {"min_count": self.min_count, "max_final_vocab": self.max_final_vocab}
        else:
            text |= {"vocabulary": vocabulary}
        how = {"window": self.window, "symmetric": self.symmetric, "distance_weighting": self.distance_weighting}
        limits: dict[str, Any] = {"max_memory": self.max_memory, "workers": self.workers}
        return count_text(source, monitor, text, how, limits, count_cooccurrences)

    def _begin(self, vocabulary: Vocabulary, **read: int) -> None:
        # A step of a bias without the rate, divided by the root of one and the squares of such steps, is a step with
        # the rate, divided by the root of the rate's square and the squares of these.
        bias_squares = 1.0 if self.compat == "glove-1.2" else self.eta**2
        self._state = GloVeState.start(vocabulary, self.vector_size, self.seed, bias_squares, **read)
        self._wv = None

    def _blocks(self, matrix: Cooccurrence) -> Blocks:
        budget = None if self.max_memory is None else parse_size(self.max_memory)
        return Blocks.of_matrix(matrix, self.seed, self.workers or get_num_threads(), budget)

    def _train(self, blocks: Blocks, epochs: int, monitor: Monitor) -> None:
        state = self._trained
        if not len(blocks.rows):
            warnings.warn(
                f"no two words met (min_count={self.min_count} left no sentence of two), so the vectors are random",
                UserWarning,
                stacklevel=3,
            )
        workers = self.workers or get_num_threads()
        loop = GloVeTraining(state, self.x_max, self.alpha, self.eta, self.seed, workers)
        monitor.call("on_train_begin")
        try:
            for loss in loop.run(blocks, epochs, monitor):
                state.epochs_trained += 1
                state.losses.append(loss)
                self._wv = None
                if self.checkpoint is not None and state.epochs_trained % self.checkpoint_epochs == 0:
                    self.save(self.checkpoint)
                monitor.call("on_epoch_end")
        finally:
            self._wv = None
        monitor.call("on_train_end")
