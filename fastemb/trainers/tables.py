"""Embedding tables as the trainers' kernels want them."""

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.parallel import ordered_map

__all__ = ["allocate_table", "fill_uniform", "large_uniform_table", "padded_table", "row_length", "uniform_table"]

LANES = 16  # a row is a whole number of cache lines, so that no row shares one with its neighbour
INIT_BLOCK = 1 << 16  # numbers drawn at a time: a temporary array of them is all the memory that it takes
LARGE_BLOCK = 1 << 19  # the same of each thread


def row_length(vector_size: int) -> int:
    """Return the floats of a row that holds `vector_size` numbers and padding.

    Examples
    --------
    >>> row_length(100)
    112
    """
    return -(-vector_size // LANES) * LANES


def allocate_table(num_embeddings: int, vector_size: int) -> NDArray[np.float32]:
    """Return a table of zeros, its rows padded with zeros to whole cache lines and aligned to them.

    Returns
    -------
    float32 (num_embeddings, row_length(vector_size))

    Examples
    --------
    >>> allocate_table(3, 20).shape
    (3, 32)
    """
    length = row_length(vector_size)
    memory = np.zeros(num_embeddings * length + LANES, np.float32)
    first = -(memory.ctypes.data // memory.itemsize) % LANES
    return memory[first : first + num_embeddings * length].reshape(num_embeddings, length)


def padded_table(rows: np.ndarray, vector_size: int) -> NDArray[np.float32]:
    """Return a copy of rows of `vector_size` numbers in a table of their own.

    Examples
    --------
    >>> padded_table(np.ones((2, 1), np.float32), 1).sum(axis=1)
    array([1., 1.], dtype=float32)
    """
    table = allocate_table(len(rows), vector_size)
    table[:, :vector_size] = rows
    return table


def uniform_table(num_embeddings: int, vector_size: int, seed: int, start: float = 0.5) -> NDArray[np.float32]:
    """Return a table of word2vec.c's starting vectors: uniform in ±start / vector_size, the padding zero.

    Parameters
    ----------
    num_embeddings, vector_size : int
    seed : int
        At least 0.
    start : float, default 0.5
        gensim and fastText have 1.

    Returns
    -------
    float32 (num_embeddings, row_length(vector_size))

    Examples
    --------
    >>> table = uniform_table(1000, 20, seed=1)
    >>> bool(abs(table).max() <= 0.5 / 20), bool((table[:, 20:] == 0).all())
    (True, True)
    """
    table = allocate_table(num_embeddings, vector_size)
    random = np.random.Generator(np.random.PCG64(seed))
    step = max(1, INIT_BLOCK // vector_size)
    for first in range(0, num_embeddings, step):
        rows = table[first : first + step, :vector_size]
        rows[:] = (random.random(rows.shape, dtype=np.float32) - np.float32(0.5)) * np.float32(2 * start / vector_size)
    return table


def large_uniform_table(num_embeddings: int, vector_size: int, seed: int, start: float) -> NDArray[np.float32]:
    """Return other numbers like those of `uniform_table`, made by all threads, the same for any number of them.

    Examples
    --------
    >>> table = large_uniform_table(1000, 20, seed=1, start=1.0)
    >>> bool(abs(table).max() <= 1 / 20), bool((table[:, 20:] == 0).all()), bool((table[:, :20] != 0).any(axis=1).all())
    (True, True, True)
    """
    table = allocate_table(num_embeddings, vector_size)
    step = max(1, LARGE_BLOCK // vector_size)
    scale = np.float32(2 * start / vector_size)

    def fill(first: int) -> None:
        rows = table[first : first + step, :vector_size]
        np.multiply(_centred(rows.shape, seed, first), scale, out=rows)

    for _ in ordered_map(fill, range(0, num_embeddings, step)):
        pass
    return table


def fill_uniform(
    table: NDArray[np.float32], rows: NDArray[np.integer], vector_size: int, seed: int, bound: float
) -> None:
    """Fill some rows of a table with numbers that are uniform in ±bound, and leave the others as they are.

    Memory that is not written takes no room, so a large table of which a text uses little is made at once.

    Parameters
    ----------
    table : float32 (num_embeddings, row length)
    rows : integers (num_rows,)
        Which, each once.
    vector_size, seed : int
    bound : float

    Examples
    --------
    >>> table = allocate_table(1000, 20)
    >>> fill_uniform(table, np.array([5, 700]), 20, seed=1, bound=0.5)
    >>> np.flatnonzero(table.any(axis=1)), bool((table[:, 20:] == 0).all())
    (array([  5, 700]), True)
    """
    step = max(1, LARGE_BLOCK // vector_size)

    def fill(first: int) -> None:
        chosen = rows[first : first + step]
        table[chosen, :vector_size] = _centred((len(chosen), vector_size), seed, first) * np.float32(2 * bound)

    for _ in ordered_map(fill, range(0, len(rows), step)):
        pass


def _centred(shape: tuple[int, ...], seed: int, block: int) -> NDArray[np.float32]:
    """Return numbers that are uniform in ±0.5, those of a block of a table."""
    numbers = np.random.Generator(np.random.PCG64([seed, block])).random(shape, dtype=np.float32)
    numbers -= np.float32(0.5)
    return numbers
