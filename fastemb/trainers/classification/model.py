"""A trained classifier: its tables, and what it says about text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.lines import read_texts
from fastemb.engine.backend import announce, kernels, simd_width
from fastemb.engine.huffman import HuffmanTree, huffman_tree
from fastemb.engine.means import mean_rows
from fastemb.engine.parallel import ordered_map
from fastemb.engine.product import ProductRows
from fastemb.trainers.classification.features import Bags, Features
from fastemb.trainers.classification.text import join_phrases
from fastemb.trainers.frozen_phrases import FrozenPhrases
from fastemb.trainers.tables import allocate_table

__all__ = ["LOSSES", "Model", "children_of"]

T = TypeVar("T")

LOSSES = ("softmax", "ova", "hs", "ns")  # in the order of the kernels' numbers
TEXTS = 1 << 12  # that a thread takes at a time
MOST_SORTED = 32  # best labels that are kept in order one by one; for more all are sorted
_NO_TABLE = np.zeros(0, np.float32)


def children_of(tree: HuffmanTree) -> NDArray[np.int32]:
    """Return what follows each inner node of a tree by its code: another inner node, or ``~leaf``.

    Examples
    --------
    >>> children_of(huffman_tree(np.array([5, 2, 2])))
    array([[-3, -2],
           [ 0, -1]], dtype=int32)
    """
    ends = tree.offsets[1:][np.diff(tree.offsets) > 0] - 1
    following = np.append(tree.points[1:], np.int32(0))
    following[ends] = ~np.arange(len(ends), dtype=np.int32)
    children = np.zeros((len(tree.offsets) - 2, 2), np.int32)
    children[tree.points, tree.codes] = following
    return children


def fasttext_sigmoid() -> NDArray[np.float32]:
    """Return fastText's table of the sigmoid: the values at the left ends of 512 cells over [-8, 8], and at 8."""
    return (1 / (1 + np.exp(-(np.arange(513) / 32 - 8)))).astype(np.float32)


@dataclass
class Model:
    """What training makes, and predictions need.

    Parameters
    ----------
    features : Features
    vector_size : int
    loss : {"softmax", "ova", "hs", "ns"}
    weight_in : float32 (num_rows, row length), or ProductRows
        A padded table, see `tables.allocate_table`; of codes once it is quantized.
    weight_out : float32 (num_labels, row length)
    fasttext_sigmoid : bool, default False
        Predict with fastText's table of the sigmoid where it does.
    output_codes : ProductRows, optional
        What `weight_out` was made from, where it is quantized.
    losses : list of float
        Mean loss of a text in each epoch of training.
    """

    features: Features
    vector_size: int
    loss: str
    weight_in: NDArray[np.float32] | ProductRows
    weight_out: NDArray[np.float32]
    fasttext_sigmoid: bool = False
    output_codes: ProductRows | None = None
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        counts = self.features.labels.counts
        assert counts is not None
        self.tree = huffman_tree(counts)
        self._children = children_of(self.tree) if self.loss == "hs" else np.zeros((0, 2), np.int32)
        self._sigmoid = fasttext_sigmoid() if self.fasttext_sigmoid and self.loss in ("ova", "ns") else _NO_TABLE

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        return len(self.features.labels)

    @property
    def is_quantized(self) -> bool:
        """Whether the input rows are codes, which cannot be trained."""
        return isinstance(self.weight_in, ProductRows)

    @property
    def dense_rows(self) -> NDArray[np.float32]:
        """The padded table of input rows.

        Raises
        ------
        RuntimeError
            If it is quantized.
        """
        if isinstance(self.weight_in, ProductRows):
            raise RuntimeError("the classifier is quantized, and cannot be changed any more")
        return self.weight_in

    def word_vectors(self) -> NDArray[np.float32]:
        """Return the rows of the words, (num_words, vector_size)."""
        num_words = len(self.features.words)
        if isinstance(self.weight_in, ProductRows):
            return self.weight_in[:num_words]
        return self.weight_in[:num_words, : self.vector_size]

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers, the padding of rows left out."""
        size = 4 * self.vector_size
        rows = self.weight_in.nbytes if isinstance(self.weight_in, ProductRows) else size * len(self.weight_in)
        return rows + (size * len(self.weight_out) if self.output_codes is None else self.output_codes.nbytes)

    def map_texts(
        self,
        texts: list[str],
        function: Callable[[Bags], T],
        errors: str,
        workers: int,
        phrases: FrozenPhrases | None = None,
    ) -> Iterator[T]:
        """Yield what `function` returns for the features of some texts after the other, in order."""
        starts = range(0, len(texts), TEXTS)

        def apply(start: int) -> T:
            lines = join_phrases(read_texts(texts[start : start + TEXTS], errors), phrases)
            return function(self.features.of_lines(lines))

        return ordered_map(apply, starts, min(workers, len(starts)) or 1)

    def hidden(self, bags: Bags) -> NDArray[np.float32]:
        """Return the hidden vectors of lines, float32 (num_lines, row length)."""
        out = allocate_table(len(bags), self.vector_size)
        if isinstance(self.weight_in, ProductRows):
            out[:, : self.vector_size] = mean_rows(self.weight_in, bags.features, bags.offsets, 1)
            return out
        module = kernels("cpu", "classify")
        announce(module.classify_hidden)
        module.classify_hidden(bags.features, bags.offsets, self.weight_in, out, 0, len(bags), simd_width())
        return out

    def scores(self, bags: Bags, raw: bool = False) -> NDArray[np.float32]:
        """Return the probability, or the logit, of every label, float32 (num_lines, num_labels)."""
        out = np.empty((len(bags), self.num_labels), np.float32)
        module = kernels("cpu", "classify")
        scratch = module.allocate_scratch(self.weight_out.shape[1], self.num_labels)
        module.classify_scores(
            self.hidden(bags), self.weight_out, LOSSES.index(self.loss), *self.tree, self._sigmoid, raw, out, 0,
            len(bags), scratch, simd_width(),
        )  # fmt: skip
        return out

    def best(self, bags: Bags, k: int, threshold: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the `k` most probable labels of lines, and their probabilities, each (num_lines, k).

        Labels below `threshold` are left out: -1 and 0 stand where there are no more.
        """
        k = min(k, self.num_labels)
        if k > MOST_SORTED:
            return self._sorted(self.scores(bags), k, threshold)
        labels = np.empty((len(bags), k), np.int32)
        probabilities = np.empty((len(bags), k), np.float32)
        module = kernels("cpu", "classify")
        scratch = module.allocate_scratch(self.weight_out.shape[1], self.num_labels)
        last = np.float32(threshold), labels, probabilities, 0, len(bags), scratch, simd_width()
        if self.loss == "hs":
            module.classify_best_in_tree(self.hidden(bags), self.weight_out, self._children, *last)
        else:
            number = LOSSES.index(self.loss)
            module.classify_best(self.hidden(bags), self.weight_out, number, self._sigmoid, *last)
        return labels, probabilities

    def _sorted(self, scores: NDArray[np.float32], k: int, threshold: float) -> tuple[NDArray, NDArray]:
        labels = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
        probabilities = np.take_along_axis(scores, labels, axis=1)
        kept = probabilities >= np.float32(threshold)
        return np.where(kept, labels, np.int32(-1)), np.where(kept, probabilities, np.float32(0))
