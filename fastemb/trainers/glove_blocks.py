"""Co-occurrences in the order in which GloVe trains them, and the order itself.

The matrix is cut into a grid of blocks by the remainders of word numbers, so that each block has words of every
frequency, about as many entries, and rows that fit into a cache. Within a block the order is random, once; the order of
the blocks is drawn anew for each epoch.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.cooccurrence import Cooccurrence
from fastemb.corpus.spool import TemporaryArray, require_memory
from fastemb.engine.backend import kernels
from fastemb.engine.parallel import ordered_map

__all__ = ["Blocks", "block_order", "most_workers"]

BLOCK_PAIRS = 1 << 14  # entries of a block: about a millisecond of work
MAX_STRATA = 256
ENTRY_BYTES = 12


@dataclass
class Blocks:
    """The entries of a matrix, block by block.

    Attributes
    ----------
    rows, cols : int32 (num_pairs,)
    counts : float32 (num_pairs,)
    starts : int64 (num_strata ** 2 + 1,)
        Block b is ``[starts[b], starts[b + 1])``: rows of the stratum ``b // num_strata``, columns of
        ``b % num_strata``.
    num_strata : int
    """

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    counts: NDArray[np.float32]
    starts: NDArray[np.int64]
    num_strata: int

    @classmethod
    def of_matrix(cls, matrix: Cooccurrence, seed: int, workers: int, max_memory: int | None = None) -> "Blocks":
        """Put the entries of a matrix into blocks; the result does not depend on `workers`.

        Parameters
        ----------
        matrix : Cooccurrence
        seed : int
        workers : int
        max_memory : int, optional
            Bytes: more goes to temporary files.

        Raises
        ------
        MemoryError
            If they do not fit into memory and there is no `max_memory`.
        OSError
            If the disk is full.
        """
        module = kernels("cpu", "glove")
        num_pairs = matrix.num_pairs
        strata = max(1, min(math.isqrt(num_pairs // BLOCK_PAIRS), MAX_STRATA, len(matrix.vocabulary)))
        sizes = np.zeros((strata, strata), np.int64)

        def count(stratum: int) -> None:
            module.count_blocks(sizes, matrix.offsets, matrix.cols, strata, stratum, stratum + 1)

        _map(count, strata, workers)
        starts = np.zeros(strata**2 + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        counts = matrix.counts.astype(np.float32, copy=False)
        on_disk = max_memory is not None and num_pairs * ENTRY_BYTES > max_memory
        if not on_disk:
            require_memory(num_pairs * ENTRY_BYTES, f"{num_pairs:,} pairs of words")
        arrays: list[Any] = [
            TemporaryArray().finish(num_pairs, kind, writable=True) if on_disk else np.empty(num_pairs, kind)
            for kind in (np.int32, np.int32, np.float32)
        ]

        def fill(stratum: int) -> None:
            ends = np.zeros(strata, np.int64)
            entries = matrix.offsets, matrix.cols, counts
            module.fill_blocks(*arrays, starts, *entries, strata, np.uint64(seed), stratum, stratum + 1, ends)

        _map(fill, strata, workers)
        return cls(arrays[0], arrays[1], arrays[2], starts, strata)


def _map(work: Callable[[int], None], num_strata: int, workers: int) -> None:
    with closing(ordered_map(work, range(num_strata), workers)) as done:
        for _ in done:
            pass


def most_workers(num_strata: int) -> int:
    """Return how many threads can train blocks at once in the order of `block_order`.

    `ordered_map` takes an item only when all but the ``2 * workers - 1`` items before it are done; two blocks that
    share rows or columns are at least ``num_strata - 1`` places apart.

    Examples
    --------
    >>> most_workers(1), most_workers(5), most_workers(28)
    (1, 2, 13)
    """
    return max(1, (num_strata - 1) // 2)


def block_order(num_strata: int, seed: int, epoch: int) -> Iterator[int]:
    """Yield every block once: diagonal by diagonal of the grid, whose rows and columns are shuffled for each epoch.

    The blocks of a diagonal share no row and no column. In a diagonal and the next one, those that do are at least
    ``num_strata - 1`` places apart.

    Examples
    --------
    >>> sorted(block_order(3, seed=1, epoch=0)) == list(range(9))
    True
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    rows, cols = random.permutation(num_strata).tolist(), random.permutation(num_strata).tolist()
    for diagonal in range(num_strata):
        for i in range(num_strata):
            yield rows[i] * num_strata + cols[(i + diagonal) % num_strata]
