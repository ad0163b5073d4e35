"""What GloVe's training changes, and its form in a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.spool import require_memory
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.backend import kernels
from fastemb.trainers.tables import allocate_table, row_length

__all__ = ["VECTORS", "GloVeState"]

VECTORS = ("sum", "word", "context", "concat")
SIDES = ("word", "context")
INIT_BLOCK = 1 << 16


@dataclass
class GloVeState:
    """Words, their two tables, and how far training is.

    Parameters
    ----------
    vocabulary : Vocabulary
    vector_size : int
    word, context : float32 (num_words, 2, row length)
        Parameters and sums of squares, see `kernels.reference.glove`.
    num_words, num_sentences : int
        Read when the words were counted; 0 where a matrix was given.
    epochs_trained : int, default 0
    losses : list of float
        Mean loss of a pair in each of these epochs.
    """

    vocabulary: Vocabulary
    vector_size: int
    word: NDArray[np.float32]
    context: NDArray[np.float32]
    num_words: int = 0
    num_sentences: int = 0
    epochs_trained: int = 0
    losses: list[float] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        vocabulary: Vocabulary,
        vector_size: int,
        seed: int,
        bias_squares: float,
        num_words: int = 0,
        num_sentences: int = 0,
    ) -> Self:
        """Return the GloVe program's start: vectors and biases uniform in ±0.5 / (vector_size + 1), squares of one.

        Parameters
        ----------
        vocabulary : Vocabulary
        vector_size, seed : int
        bias_squares : float
            What the sums of squares of biases start with.
        num_words, num_sentences : int
            As for the class.
        """
        word, context = _tables(len(vocabulary), vector_size)
        state = cls(vocabulary, vector_size, word, context, num_words, num_sentences)
        random = np.random.Generator(np.random.PCG64(seed))
        step = max(1, INIT_BLOCK // (vector_size + 1))
        for side in SIDES:
            vectors, biases = state.vectors_of(side), state.biases_of(side)
            for first in range(0, len(vocabulary), step):
                part = slice(first, first + step)
                drawn = random.random((len(biases[part]), vector_size + 1), dtype=np.float32)
                drawn = (drawn - np.float32(0.5)) / np.float32(vector_size + 1)
                vectors[part], biases[part] = drawn[:, :-1], drawn[:, -1]
            state.bias_squares_of(side)[:] = bias_squares - 1
        return state

    def vectors_of(self, side: str) -> NDArray[np.float32]:
        """Return the vectors of the words or of the context words, a view of shape (num_words, vector_size)."""
        return getattr(self, side)[:, 0, : self.vector_size]

    def biases_of(self, side: str) -> NDArray[np.float32]:
        """Return their biases, a view of shape (num_words,)."""
        return getattr(self, side)[:, 0, self.vector_size + SIDES.index(side)]

    def squares_of(self, side: str) -> NDArray[np.float32]:
        """Return the vectors' sums of squares less one, a view of shape (num_words, vector_size)."""
        return getattr(self, side)[:, 1, : self.vector_size]

    def bias_squares_of(self, side: str) -> NDArray[np.float32]:
        """Return the biases' sums of squares less one, a view of shape (num_words,)."""
        return getattr(self, side)[:, 1, self.vector_size + SIDES.index(side)]

    def vectors(self, kind: str) -> NDArray[np.float32]:
        """Return a new table of one of the kinds `VECTORS`."""
        if kind in SIDES:
            return self.vectors_of(kind).copy()
        pair = self.vectors_of("word"), self.vectors_of("context")
        return np.add(*pair) if kind == "sum" else np.concatenate(pair, axis=1)

    def to_tensors(self, kind: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return the arrays and the metadata of a model's file; ``"vectors"`` are of a kind of `VECTORS`."""
        tensors: dict[str, np.ndarray] = {
            "vectors": self.vectors(kind),
            "losses": np.array(self.losses, np.float64),
            "words": self.vocabulary.packed,
            "words_offsets": self.vocabulary.offsets,
        }
        if self.vocabulary.counts is not None:
            tensors["counts"] = self.vocabulary.counts
        for side in SIDES:
            tensors |= {name: view(side) for name, view in self._views(side).items()}
        corpus = {"num_words": self.num_words, "num_sentences": self.num_sentences}
        return tensors, {"corpus": json.dumps(corpus), "epochs_trained": str(self.epochs_trained)}

    def _views(self, side: str) -> dict[str, Any]:
        return {
            f"{side}_vectors": self.vectors_of,
            f"{side}_biases": self.biases_of,
            f"{side}_squares": self.squares_of,
            f"{side}_bias_squares": self.bias_squares_of,
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], vector_size: int) -> Self:
        """Return the state that `to_tensors` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or does not fit.
        """
        vocabulary = Vocabulary(tensors["words"], tensors["words_offsets"], tensors.get("counts"))
        corpus = json.loads(metadata["corpus"])
        word, context = _tables(len(vocabulary), vector_size)
        state = cls(
            vocabulary,
            vector_size,
            word,
            context,
            num_words=int(corpus["num_words"]),
            num_sentences=int(corpus["num_sentences"]),
            epochs_trained=int(metadata["epochs_trained"]),
            losses=tensors["losses"].tolist(),
        )
        for side in SIDES:
            for name, view in state._views(side).items():
                target = view(side)
                if tensors[name].shape != target.shape:
                    raise ValueError(f"{name} has shape {tensors[name].shape}, not {target.shape}")
                target[:] = tensors[name]
        return state


def _tables(num_words: int, vector_size: int) -> list[NDArray[np.float32]]:
    """Return tables of zeros, but for the constants."""
    length = row_length(vector_size + 2)
    need = num_words * 4 * length * 4
    require_memory(need, f"the tables of {num_words:,} words", "a higher min_count or a smaller vector_size needs less")
    tables = [allocate_table(num_words, 2 * length).reshape(num_words, 2, length) for _ in SIDES]
    for table, place in zip(tables, (vector_size + 1, vector_size), strict=True):
        table[:, 0, place] = 1
        table[:, 1, place] = kernels("reference", "glove").CONSTANT
    return tables
