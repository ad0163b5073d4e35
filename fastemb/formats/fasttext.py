"""fastText's models: what Facebook's program and gensim save in .bin, and quantized in .ftz.

A file is opened as a memory map: its words are read, its matrices are not until their rows are looked at. Tables of
words' vectors read row by row.
"""

from dataclasses import dataclass, replace

import numpy as np

from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import ProductRows
from fastemb.formats.fasttext_file import MAGIC, Arguments, Dictionary, Reader, Writer
from fastemb.formats.file_rows import FileRows
from fastemb.formats.files import PathLike, replacing
from fastemb.formats.subwords import Origin, SubwordTable
from fastemb.formats.table import Table
from fastemb.formats.words import decoded

__all__ = ["MAGIC_BYTES", "FastTextModel", "looks_old", "read_model", "read_table", "write_model", "write_table"]

MAGIC_BYTES = MAGIC.to_bytes(4, "little")
_MAX_CODES = 2**31 - 1


@dataclass(frozen=True)
class FastTextModel:
    """A whole file.

    Parameters
    ----------
    arguments : Arguments
    dictionary : Dictionary
    input : float32 (num_words + num_buckets, dim), or ProductRows
        Rows of the words, then of the buckets.
    output : float32 (num_outputs, dim), or ProductRows, optional
        A row a label in classifiers, a row a word in other models. None is written as zeros.
    version : int, default 12
        11 or 12, or 0 for files of 2016.
    place : int, default 0
        Where in its file the first row of a dense input begins.
    """

    arguments: Arguments
    dictionary: Dictionary
    input: np.ndarray | ProductRows
    output: np.ndarray | ProductRows | None = None
    version: int = 12
    place: int = 0

    @property
    def subwords(self) -> Subwords:
        """How words are taken apart. Word n-grams have the same buckets."""
        told, pruned = self.arguments, self.dictionary.pruned
        sizes = told.min_n, told.max_n, told.bucket
        return Subwords(*sizes) if pruned is None else Subwords(*sizes, kept=pruned[:, 0], kept_rows=pruned[:, 1])

    @property
    def num_outputs(self) -> int:
        """Rows that the output has."""
        is_classifier = self.arguments.model == "supervised"
        return len(self.dictionary.labels if is_classifier else self.dictionary.words)

    @property
    def problem(self) -> str | None:
        """What does not fit together, None if all does."""
        words, dim = len(self.dictionary.words), self.arguments.dim
        wanted = self.subwords.table_rows(words), dim
        if self.input.shape != wanted:
            return f"its input must have {wanted[0]} rows of {dim} numbers, got {self.input.shape}"
        if self.output is not None and self.output.shape != (self.num_outputs, dim):
            return f"its output must have {self.num_outputs} rows of {dim} numbers, got {self.output.shape}"
        if self.dictionary.pruned is not None and not isinstance(self.input, ProductRows):
            return "it is pruned and not quantized, which fastText does not allow"
        return None


def read_model(path: PathLike) -> FastTextModel:
    """Open a fastText model.

    Parameters
    ----------
    path : str or PathLike

    Returns
    -------
    FastTextModel
        Its dense matrices are read-only views of a memory map, which need not be aligned.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the file is not what fastText writes, or is truncated; the message says what is wrong.

    Examples
    --------
    >>> import tempfile
    >>> words, labels = Vocabulary.from_words(["to", "be"], [3, 2]), Vocabulary.from_words([])
    >>> model = FastTextModel(Arguments(dim=1, bucket=1), Dictionary(words, labels, 5), np.ones((3, 1), np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_model(folder + "/a.bin", model)
    ...     again = read_model(folder + "/a.bin")
    >>> again.dictionary.words.words, again.dictionary.num_tokens, again.input.tolist()
    (['to', 'be'], 5, [[1.0], [1.0], [1.0]])
    """
    reader = Reader(path)
    arguments = reader.arguments()
    dictionary = reader.dictionary()
    quantized = reader.version > 0 and reader.flag("mark of quantization")
    input = reader.matrix(quantized, "input")
    place = reader.place - input.nbytes
    # fastText believes the second mark only where the input is quantized.
    output_quantized = reader.version > 0 and reader.flag("mark of the output's quantization") and quantized
    output = reader.matrix(output_quantized, "output")
    reader.end()
    model = FastTextModel(arguments, dictionary, input, output, reader.version, place)
    if model.problem is not None:
        raise reader.bad(model.problem)
    return model


def write_model(path: PathLike, model: FastTextModel) -> None:
    """Write a model as Facebook's program does, version 12; the `fasttext` package and gensim load it.

    Raises
    ------
    ValueError
        If the parts do not fit together, a word holds a NUL byte, or the format cannot hold the model.
    """
    if model.problem is not None:
        raise ValueError(f"this model cannot be written: {model.problem}")
    if isinstance(model.input, ProductRows) and model.input.codes.size > _MAX_CODES:
        raise ValueError(f"fastText's format holds {_MAX_CODES:,} codes, got {model.input.codes.size:,}")
    with replacing(path) as file:
        writer = Writer(file)
        writer.arguments(model.arguments)
        writer.dictionary(model.dictionary)
        writer.matrix(model.input)
        if model.output is None:
            writer.zeros(model.num_outputs, model.arguments.dim)
        else:
            writer.matrix(model.output)


def read_table(path: PathLike, errors: str = "strict", limit: int | None = None) -> SubwordTable:
    """Open a fastText model for its words' vectors; a classifier's labels are left out.

    Parameters
    ----------
    path : str or PathLike
    errors : str
        What to do with words that are not UTF-8, see `fastemb.formats.read`. They are hashed as the file has them.
    limit : int, optional
        Give only this many words, the first ones.

    Returns
    -------
    SubwordTable
        Its rows stay in the file, and are read when vectors are asked for.

    Raises
    ------
    ValueError
        As `read_model`.
    """
    model = read_model(path)
    words = model.dictionary.words
    spelling = words if limit is None else words.first(min(limit, len(words)))
    told = model.arguments
    return SubwordTable(
        decoded(spelling, errors),
        model.input if isinstance(model.input, ProductRows) else FileRows(path, model.place, model.input.shape),
        model.subwords,
        num_word_rows=len(words),
        spelling=spelling,
        origin=Origin(told, model.dictionary.num_tokens, None if told.model == "supervised" else model.output),
    )


def write_table(path: PathLike, table: Table) -> None:
    """Write words and the rows of their n-grams as a model of fastText.

    A table without n-grams is written with none, so that only its own words have vectors.

    Raises
    ------
    ValueError
        If the format cannot hold the table.
    """
    words, none = table.vocabulary, Vocabulary.from_bytes([])
    total = 1 if words.counts is None else max(1, int(words.counts.sum()))
    if not isinstance(table, SubwordTable):
        arguments = Arguments(table.vectors.shape[1], bucket=0, min_n=0, max_n=0)
        write_model(path, FastTextModel(arguments, Dictionary(words, none, total), table.vectors))
        return
    _require_whole(table)
    origin = table.origin or Origin(Arguments(table.vector_size), total)
    rows = table.rows.mapped() if isinstance(table.rows, FileRows) else table.rows
    rows = rows if isinstance(rows, ProductRows) else np.asarray(rows, np.float32)
    dictionary = Dictionary(table.spelling, none, origin.num_tokens, _pruned(table.subwords))
    write_model(path, FastTextModel(_arguments(table, origin.arguments), dictionary, rows, origin.output))


def _pruned(subwords: Subwords) -> np.ndarray | None:
    """Return the pairs of a bucket and its row that a file of a pruned table has."""
    if subwords.kept is None:
        return None
    rows = np.arange(len(subwords.kept)) if subwords.kept_rows is None else subwords.kept_rows
    return np.column_stack([subwords.kept, rows]).astype(np.int32)


def _arguments(table: SubwordTable, told: Arguments) -> Arguments:
    """Return a table's arguments; what was a classifier's is written as vectors of words."""
    subwords = table.subwords
    told = replace(told, bucket=subwords.bucket, min_n=subwords.min_n, max_n=subwords.max_n)
    return replace(told, model="skipgram", loss="ns") if told.model == "supervised" else told


def _require_whole(table: SubwordTable) -> None:
    if not table.subwords.has_word_rows:
        raise ValueError("fastText's format cannot hold floret's table, whose words have no rows of their own")
    if table.num_word_rows != len(table.vocabulary):
        what = "the words' own rows were left out" if not table.num_word_rows else "only the first words were read"
        raise ValueError(f"fastText's format needs a row for each word and each bucket, and {what}")


def looks_old(sample: bytes) -> bool:
    """Return whether a file may be a fastText model of 2016, which has no magic number.

    Examples
    --------
    >>> header = np.array([100, 5, 5, 5, 5, 1, 2, 2, 2000000, 3, 6, 100, 0, 0, 7, 7, 0], "<i4")
    >>> looks_old(header.tobytes() + bytes(8))
    True
    >>> looks_old(b"71291 200" + bytes(100))
    False
    """
    if len(sample) < 76:
        return False
    dim, window, epochs, _, negative, ngrams, loss, model, bucket, min_n, max_n, _ = np.frombuffer(
        sample, "<i4", 12
    ).tolist()
    size, words, labels = np.frombuffer(sample, "<i4", 3, 56).tolist()
    return (
        all(0 < value < 1 << 16 for value in (dim, window, epochs))
        and all(0 <= value < 1 << 16 for value in (negative, ngrams, min_n, max_n))
        and loss in (1, 2, 3)
        and model in (1, 2, 3)
        and bucket >= 0
        and 0 < size == words + labels
        and min(words, labels) >= 0
    )
