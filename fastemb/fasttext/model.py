"""A model with the methods of the ``fasttext`` package's."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.subwords import hash_words
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import ProductRows
from fastemb.formats.fasttext import read_table
from fastemb.formats.registry import write
from fastemb.formats.subwords import SubwordTable
from fastemb.trainers.classification.classifier import FastTextClassifier
from fastemb.trainers.classification.fasttext_files import write_fasttext
from fastemb.trainers.fasttext import FastText
from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors

__all__ = ["BOW", "EOS", "EOW", "Model", "load_model", "vectors_of"]

EOS, BOW, EOW = "</s>", "<", ">"


class Model:
    r"""A model as the ``fasttext`` package has it: vectors of words, or a classifier.

    Parameters
    ----------
    vectors : FastTextKeyedVectors
        The words, and the rows of words and n-grams.
    classifier : FastTextClassifier, optional
        Where it is one.
    trained : FastText, optional
        What the vectors were trained by.

    Attributes
    ----------
    vectors, classifier, trained

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb.fasttext import train_supervised
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "train.txt")
    ...     _ = path.write_text("__label__card where is my card\n__label__payment how do I pay\n" * 50)
    ...     model = train_supervised(str(path), dim=8, lr=0.5, epoch=5, thread=1)
    >>> model.predict("my card is lost")[0], model.labels
    (('__label__card',), ['__label__card', '__label__payment'])
    """

    def __init__(
        self,
        vectors: FastTextKeyedVectors,
        classifier: FastTextClassifier | None = None,
        trained: FastText | None = None,
    ) -> None:
        self.vectors = vectors
        self.classifier = classifier
        self.trained = trained

    def is_quantized(self) -> bool:
        """Return whether the rows are codes."""
        return isinstance(self._table.rows, ProductRows)

    def get_dimension(self) -> int:
        """Return the numbers in a vector."""
        return self.vectors.vector_size

    def get_word_vector(self, word: str) -> NDArray[np.float32]:
        """Return the vector of a word, seen or not; zeros if it has neither a row nor n-grams."""
        if word not in self.vectors:
            return np.zeros(self.get_dimension(), np.float32)
        return np.array(self.vectors.get_vector(word))

    def get_sentence_vector(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a line: of words the mean of their unit vectors, of a classifier that of its features.

        Raises
        ------
        ValueError
            If there is a line end in the text.
        """
        _one_line(text, "get_sentence_vector")
        if self.classifier is not None:
            return self.classifier.get_sentence_vector(_to_end(text))
        rows = np.array([self.get_word_vector(word) for word in text.split()], np.float32)
        norms = np.linalg.norm(rows, axis=1) if len(rows) else np.zeros(0, np.float32)
        if not norms.any():
            return np.zeros(self.get_dimension(), np.float32)
        return (rows[norms > 0] / norms[norms > 0, None]).mean(axis=0, dtype=np.float32)

    def get_nearest_neighbors(
        self, word: str, k: int = 10, on_unicode_error: str = "strict"
    ) -> list[tuple[float, str]]:  # fmt: skip
        """Return the `k` words nearest to a word, and the cosine before each."""
        return [(cosine, found) for found, cosine in self.vectors.most_similar(word, topn=k)]

    def get_analogies(
        self, wordA: str, wordB: str, wordC: str, k: int = 10, on_unicode_error: str = "strict"
    ) -> list[tuple[float, str]]:
        """Return the `k` words nearest to A - B + C of unit vectors, and the cosine before each."""
        found = self.vectors.most_similar(positive=[wordA, wordC], negative=[wordB], topn=k)
        return [(cosine, word) for word, cosine in found]

    def get_word_id(self, word: str) -> int:
        """Return the number of a word, -1 if it was not seen."""
        return self.vectors.get_index(word, -1) if isinstance(word, str) else -1

    def get_label_id(self, label: str) -> int:
        """Return the number of a label, -1 if there is none."""
        labels = [] if self.classifier is None else self.labels
        return labels.index(label) if label in labels else -1

    def get_subword_id(self, subword: str) -> int:
        """Return the row of an n-gram in the input."""
        told = self._table
        packed = Vocabulary.from_bytes([subword.encode("utf-8", "surrogateescape")])
        return told.num_word_rows + int(hash_words(packed.packed, packed.offsets)[0] % np.uint32(told.subwords.bucket))

    def get_subwords(self, word: str, on_unicode_error: str = "strict") -> tuple[list[str], NDArray[np.int64]]:
        """Return the parts of a word, the word itself first where it was seen, and their rows in the input."""
        told, number = self._table, self.get_word_id(word)
        parts = [] if number < 0 else [word]
        if word != EOS or number < 0:
            framed = f"{BOW}{word}{EOW}"
            parts += [
                framed[start : start + n]
                for start in range(len(framed))
                for n in range(max(told.subwords.min_n, 1), min(told.subwords.max_n, len(framed) - start) + 1)
                if n > 1 or 0 < start < len(framed) - 1
            ]
        if number >= 0:
            rows = told.subwords.of_range(told.spelling, number, number + 1, told.num_word_rows)[0]
        else:
            packed = Vocabulary.from_bytes([word.encode("utf-8", "surrogateescape")])
            rows = told.subwords.of_words(packed, told.num_word_rows)[0]
        return parts, rows.astype(np.int64)

    def get_input_vector(self, ind: int) -> NDArray[np.float32]:
        """Return a row of the input, float32 (dimension,).

        Raises
        ------
        IndexError
            If there is no such row.
        """
        rows = self._table.rows
        if not 0 <= ind < len(rows):
            raise IndexError(f"ind must be in [0, {len(rows)}), got {ind}")
        return np.array(rows[np.array([ind])][0])

    def get_input_matrix(self) -> NDArray[np.float32]:
        """Return the rows of words and of n-grams.

        Raises
        ------
        ValueError
            If they are quantized.
        """
        rows = self._table.rows
        if isinstance(rows, ProductRows):
            raise ValueError("the input is quantized, so there is no matrix of it")
        return np.asarray(rows)

    def get_output_matrix(self) -> NDArray[np.float32]:
        """Return the rows that training compares with, of words or of labels.

        Raises
        ------
        ValueError
            If the model is quantized.
        """
        if self.is_quantized():
            raise ValueError("the model is quantized, so there is no matrix of its output")
        if self.classifier is not None:
            model = self.classifier._trained
            return np.array(model.weight_out[:, : model.vector_size])
        if self.trained is not None:
            return np.array(self.trained.syn1neg if self.trained.negative else self.trained.syn1)
        origin = self._table.origin
        return np.zeros((0, self.get_dimension()), np.float32) if origin is None else np.array(origin.output)

    def get_words(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the words, and with `include_freq` how often each occurs."""
        return _with_counts(self._table.spelling, include_freq, on_unicode_error)

    def get_labels(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the labels of a classifier, and with `include_freq` how often each occurs; else the words."""
        if self.classifier is None:
            return self.get_words(include_freq, on_unicode_error)
        features = self.classifier._trained.features
        names = [features.label_prefix.encode() + name for name in features.labels.as_bytes()]
        return _with_counts(Vocabulary.from_bytes(names, features.labels.counts), include_freq, on_unicode_error)

    @property
    def words(self) -> list[str]:
        """The words."""
        return self.get_words(on_unicode_error="replace")

    @property
    def labels(self) -> list[str]:
        """The labels, or, of vectors, the words."""
        return self.get_labels(on_unicode_error="replace")

    def __getitem__(self, word: str) -> NDArray[np.float32]:
        """Return the vector of a word."""
        return self.get_word_vector(word)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.get_word_id(word) >= 0

    def __repr__(self) -> str:
        return f"Model({self.vectors!r})" if self.classifier is None else f"Model({len(self.labels)} labels)"

    def get_line(self, text: Any, on_unicode_error: str = "strict") -> tuple[list, list]:
        """Return the words of a line, its end among them, and the labels that are known; of a list, lists of these."""
        if isinstance(text, list):
            lines = [self.get_line(line) for line in text]
            return [words for words, _ in lines], [labels for _, labels in lines]
        tokens = _to_end(_one_line(text, "get_line")).split()
        prefix = "__label__" if self.classifier is None else self.classifier.label_prefix
        known = set() if self.classifier is None else set(self.labels)
        words = [token for token in tokens if not token.startswith(prefix)]
        return [*words, EOS], [token for token in tokens if token in known]

    def predict(self, text: Any, k: int = 1, threshold: float = 0.0, on_unicode_error: str = "strict") -> Any:
        """Return the most probable labels of a line and their probabilities; of a list of lines, lists of these.

        Parameters
        ----------
        text : str or list of str
        k : int, default 1
            Most labels; -1 for all.
        threshold : float, default 0.0
            Leave out labels of a lower probability.

        Returns
        -------
        labels : tuple of str, or list of lists
        probabilities : float array, or list of arrays

        Raises
        ------
        ValueError
            If there is a line end in a text, or the model is no classifier.
        """
        classifier = self._classifier("prediction")
        many = isinstance(text, list)
        lines = [_to_end(_one_line(line, "predict")) for line in (text if many else [text])]
        rows = classifier.top_labels(lines, k, min(max(threshold, 0.0), 1.0))
        labels = [[f"{classifier.label_prefix}{label}" for label, _ in row] for row in rows]
        chances = [np.array([p for _, p in row], np.float32 if many else np.float64) for row in rows]
        return (labels, chances) if many else (tuple(labels[0]), chances[0])

    def test(self, path: str, k: int = 1, threshold: float = 0.0) -> tuple[int, float, float]:
        """Return the number of labelled lines of a file, and precision and recall."""
        report = self._classifier("testing").test(corpus_file=path, k=k, threshold=threshold)
        return report.num_texts, report.precision, report.recall

    def test_label(self, path: str, k: int = 1, threshold: float = 0.0) -> dict[str, dict[str, float]]:
        """Return precision, recall and F1 of each label on a file."""
        classifier = self._classifier("testing")
        report = classifier.test(corpus_file=path, k=k, threshold=threshold)
        return {
            f"{classifier.label_prefix}{label}": {"precision": m.precision, "recall": m.recall, "f1score": m.f1}
            for label, m in report.labels.items()
        }

    def quantize(
        self,
        input: str | None = None,
        qout: bool = False,
        cutoff: int = 0,
        retrain: bool = False,
        epoch: int | None = None,
        lr: float | None = None,
        thread: int | None = None,
        verbose: int | None = None,
        dsub: int = 2,
        qnorm: bool = False,
    ) -> None:
        """Make a classifier many times smaller, in place; see `FastTextClassifier.quantize`."""
        classifier = self._classifier("quantization")
        if retrain and not input:
            raise ValueError("retrain needs input, the text to train with")
        if thread is not None:
            classifier.set_params(workers=thread)
        classifier.quantize(
            corpus_file=input if retrain else None, qout=qout, cutoff=cutoff, retrain=retrain, epochs=epoch or None,
            lr=lr or None, dsub=dsub, qnorm=qnorm,
        )  # fmt: skip
        self.vectors = vectors_of(classifier)

    def save_model(self, path: str) -> None:
        """Write the model as fastText's program does."""
        if self.classifier is not None:
            write_fasttext(path, self.classifier._trained, self.classifier.get_params())
        elif self.trained is not None:
            self.trained.save_fasttext(path)
        else:
            write(path, self._table, format="fasttext")

    def _classifier(self, purpose: str) -> FastTextClassifier:
        if self.classifier is None:
            raise ValueError(f"the model must be supervised for {purpose}, and holds vectors of words")
        return self.classifier

    @property
    def _table(self) -> SubwordTable:
        return self.vectors._as_table()


def load_model(path: str | os.PathLike[str], *, label: str = "__label__") -> Model:
    """Open a model of fastText's program or of this one, ``.bin`` or ``.ftz``.

    Parameters
    ----------
    path : path
    label : str, default "__label__"
        What the labels of a classifier begin with.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> model = FastText([["to", "be"]] * 5, vector_size=4, bucket=10, epochs=1, sample=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(pathlib.Path(folder, "model.bin"))
    ...     load_model(pathlib.Path(folder, "model.bin")).words
    ['to', 'be']
    """
    table = read_table(path, "surrogateescape")
    if table.origin is None or table.origin.arguments.model != "supervised":
        return Model(FastTextKeyedVectors(table))
    classifier = FastTextClassifier.load(path, label)
    return Model(vectors_of(classifier), classifier)


def _one_line(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} takes a str, got {text!r:.80}")
    if "\n" in text:
        raise ValueError(f"{what} takes one line at a time, got a line end in {text!r:.80}")
    return text


def _to_end(line: str) -> str:
    """Return a line as far as the word ``</s>``, where it ends for fastText."""
    words = line.split() if EOS in line else []
    return " ".join(words[: words.index(EOS)]) if EOS in words else line


def _with_counts(words: Vocabulary, include_freq: bool, errors: str) -> Any:
    names = [word.decode("utf-8", errors) for word in words.as_bytes()]
    if not include_freq:
        return names
    return names, np.zeros(len(names), np.int64) if words.counts is None else np.array(words.counts)


def vectors_of(classifier: FastTextClassifier) -> FastTextKeyedVectors:
    """Return the words of a classifier, and its rows."""
    model = classifier._trained
    rows = model.weight_in if isinstance(model.weight_in, ProductRows) else model.weight_in[:, : model.vector_size]
    return FastTextKeyedVectors(SubwordTable(model.features.words, rows, model.features.subwords))
