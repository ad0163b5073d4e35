"""Words and their vectors: look-up, similar words, evaluation, files."""

from typing import Any

from fastemb.formats.files import PathLike
from fastemb.vectors import evaluate
from fastemb.vectors.changes import Changes
from fastemb.vectors.neighbors import Neighbors
from fastemb.vectors.similarities import Similarities
from fastemb.vectors.storage import Storage


class KeyedVectors(Neighbors, Similarities, Changes, Storage):
    """Word vectors, with the methods of gensim's KeyedVectors and their results.

    Parameters
    ----------
    vectors : float array of shape (num_words, vector_size), or CompactVectors, or int
        One row a word. float32 is kept as it is, a read-only memory map too; other floats are converted. A number is
        the `vector_size` of a table without words.
    vocabulary : Vocabulary
        The words in the order of the rows, and maybe their counts.
    metadata : dict of str to str, optional
        Free text, saved where the format keeps it.
    vector_size : int, optional
        Of a table without words.

    Raises
    ------
    TypeError
        If `vectors` is not an array of floats.
    ValueError
        If there is not one row a word.

    Examples
    --------
    >>> import numpy as np
    >>> kv = KeyedVectors.from_words(["king", "queen", "tea"], np.array([[2, 1], [2, 1.5], [-1, 2]], np.float32))
    >>> kv["tea"], "queen" in kv, len(kv)
    (array([-1.,  2.], dtype=float32), True, 3)
    >>> [(word, round(cosine, 3)) for word, cosine in kv.most_similar("king")]
    [('queen', 0.984), ('tea', 0.0)]
    >>> kv["kings"]
    Traceback (most recent call last):
        ...
    fastemb.vectors.unknown.UnknownWord: word 'kings' is not in the vocabulary (3 words); close matches: king
    """

    def evaluate_word_analogies(
        self,
        analogies: PathLike,
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
    ) -> tuple[float, list[dict[str, Any]]]:
        """Return the share of analogies answered right; see `fastemb.vectors.evaluate.word_analogies`."""
        options = (restrict_vocab, case_insensitive, dummy4unknown, similarity_function)
        return evaluate.word_analogies(self, analogies, *options)

    def evaluate_word_pairs(
        self,
        pairs: PathLike,
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[Any, Any, float]:
        """Return how similarities go with people's scores; see `fastemb.vectors.evaluate.word_pairs`."""
        options = (restrict_vocab, case_insensitive, dummy4unknown)
        return evaluate.word_pairs(self, pairs, delimiter, encoding, *options)
