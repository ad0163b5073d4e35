"""Words and their vectors: look-up, similar words, evaluation, files."""

from collections.abc import Iterable
from typing import Any

from fastemb.formats.files import PathLike
from fastemb.formats.subwords import SubwordTable
from fastemb.formats.table import Table
from fastemb.vectors import evaluate
from fastemb.vectors.align import Alignment, align
from fastemb.vectors.neighbors import Neighbors
from fastemb.vectors.older_names import OlderNames
from fastemb.vectors.storage import Storage


class KeyedVectors(Neighbors, OlderNames, Storage):
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

    def align_to(
        self,
        target: "KeyedVectors",
        pairs: Iterable[tuple[str, str]] | None = None,
        *,
        restrict_vocab: int | None = None,
        normalize: bool = True,
        center: bool = False,
        scale: bool = False,
    ) -> Alignment:
        """Return a copy in another table's space, so that words of two periods or languages can be compared.

        Two trainings give spaces that are turned against each other. The rotation that brings words nearest to their
        partners (orthogonal Procrustes, Schönemann 1966) changes no similarity within the table.

        Parameters
        ----------
        target : KeyedVectors
            Of the same vector size.
        pairs : iterable of (str, str), optional
            Words of this table and of the target that mean the same; unknown ones are left out. Default: the words that
            both have.
        restrict_vocab : int, optional
            Fit to words among the first this many of each table: frequent words' vectors are steadier.
        normalize : bool, default True
            Take all vectors at length one first; the copy's have length one, too.
        center : bool, default False
            Move the mean of the pairs of this table to that of the target's. Similarities within the table change.
        scale : bool, default False
            Stretch by the factor that fits best.

        Returns
        -------
        Alignment
            The copy as `vectors`, and how well the pairs fit as `residual`.

        Raises
        ------
        ValueError
            If the sizes differ, there is no pair, or a vector is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> now = KeyedVectors.from_words(["tea", "rum", "ale"], np.array([[1, 0], [0, 1], [1, 1]], np.float32))
        >>> then = KeyedVectors.from_words(["tea", "rum"], np.array([[0, 2], [-2, 0]], np.float32))
        >>> turned = then.align_to(now)
        >>> turned.vectors["rum"].round(3) + 0, round(turned.residual, 6)
        (array([0., 1.], dtype=float32), 0.0)
        """
        return align(
            self, target, pairs, restrict_vocab=restrict_vocab, normalize=normalize, center=center, scale=scale
        )

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

    @classmethod
    def _of_table(cls, table: Table) -> Any:
        if cls is KeyedVectors and isinstance(table, SubwordTable):
            from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors

            return FastTextKeyedVectors(table)
        return super()._of_table(table)
