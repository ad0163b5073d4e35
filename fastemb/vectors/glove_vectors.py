"""KeyedVectors whose text is the GloVe program's."""

import os

import numpy as np

from fastemb import formats
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats.files import PathLike
from fastemb.formats.table import Table
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["GloVeVectors"]

UNKNOWN = b"<unk>"
RAREST = 100


class GloVeVectors(KeyedVectors):
    """Word vectors that `GloVe` learned: ``save("vectors.txt")`` writes what the GloVe program would.

    Everything else is as in `KeyedVectors`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> wv = GloVeVectors.from_words(["to", "be"], np.array([[1, 2], [3, 4]], np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "vectors.txt")
    ...     wv.save(path, unk=True)
    ...     print(path.read_text(), end="")
    to 1 2
    be 3 4
    <unk> 2 3
    """

    def save(self, path: PathLike, format: str | None = None, *, unk: bool = False) -> None:
        """Write the vectors to a file whose suffix (or `format`) decides the format; see `fastemb.formats.write`.

        Parameters
        ----------
        path : path
            ``.txt`` is text without a header, one word a line, as the GloVe program writes it; ``.vec`` has word2vec's
            header.
        format : str, optional
            Another format than the suffix tells.
        unk : bool, default False
            Add a row ``<unk>``, the mean of the last 100 words' vectors (the rarest ones), as the program does.

        Raises
        ------
        ValueError
            If the suffix tells no format, or the format cannot hold a word.
        """
        if format is None and os.fspath(path).lower().removesuffix(".gz").endswith(".txt"):
            format = "glove"
        formats.write(path, self._with_unknown() if unk else self._as_table(), format=format)

    def _with_unknown(self) -> Table:
        words = self.vocabulary.as_bytes()
        if UNKNOWN in words:
            raise ValueError("unk=True adds a word '<unk>', and there is one already")
        counts = None if self.counts is None else np.append(self.counts, 0)
        mean = self.vectors[-RAREST:].mean(axis=0, dtype=np.float64).astype(np.float32)
        vectors = np.concatenate([self.vectors, mean[None]])
        return Table(Vocabulary.from_bytes([*words, UNKNOWN], counts), vectors, self.metadata)
