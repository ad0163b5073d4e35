"""The memory that one thread of a trainer needs beside the tables."""

from typing import NamedTuple

import numpy as np

from fastemb.kernels.cpu.simd import BLOCK

__all__ = ["FIRST", "IRREGULAR", "LAST", "MIDDLE", "OUTPUTS", "PATHS", "SINGLE", "Scratch", "allocate_scratch"]

OUTPUTS = 6  # as in the reference

# Places in `Scratch.coefficients`. Each entry is `BLOCK` long: the coefficients of a block's six outputs, for two
# inputs, then four empty lanes. The first block of negative sampling holds the centre word, the last one may be short.
# From `PATHS` on come the blocks of paths: entry b with the bits 1xyz is a block of nodes whose codes are x, y and z.
FIRST, MIDDLE, LAST, IRREGULAR, SINGLE, PATHS = range(0, 6 * BLOCK, BLOCK)


class Scratch(NamedTuple):
    """What one thread needs beside the tables; `allocate_scratch` makes it."""

    lent: np.ndarray  # float32 (2 * ring, row length): private input rows, then what they were when lent
    shares: np.ndarray  # float32 (2 * ring,): rows that a lent row is the mean of, then the factors on its rate
    hidden: np.ndarray  # float32 (2, row length): CBOW's input, or a pair's; what it was, or the change of its rows
    zero: np.ndarray  # float32 (row length,): an output that is none
    private: np.ndarray  # float32 (2 * most_private, row length): private output rows, then what they were
    private_inner: np.ndarray  # float32: the same for inner nodes
    touches: np.ndarray  # int32 (2 * most_private,): uses of a private row since it was added back
    words: np.ndarray  # int32 (longest sentence,)
    places: np.ndarray  # int64 (longest sentence,)
    negatives: np.ndarray  # int32 (2 * negative,): of this window and the next
    block: np.ndarray  # int32 (OUTPUTS,): the words or nodes of a block
    outputs: np.ndarray  # int64 (OUTPUTS + 1,): the addresses of their rows, and of CBOW's input
    context: np.ndarray  # int64 (2 * window,): the addresses of the context rows
    context_shares: np.ndarray  # float32 (4 * window,): their `shares`
    coefficients: np.ndarray  # float32, see FIRST
    gradients: np.ndarray  # float32, whole blocks: the gradients of a window, or the logits of some pairs


def allocate_scratch(row_length: int, window: int, negative: int, longest: int, most_private: int = 0) -> Scratch:
    """Return the scratch memory of one thread.

    Parameters
    ----------
    row_length : int
        Floats in a row of the tables, padding included.
    window, negative : int
    longest : int
        Words in the longest sentence that will be trained.
    most_private : int, default 0
        The largest `num_private` that it will be used with.
    """
    ring = 1 << (2 * window + 1).bit_length()
    return Scratch(
        lent=np.zeros((2 * ring, row_length), np.float32),
        shares=np.zeros(2 * ring, np.float32),
        hidden=np.zeros((2, row_length), np.float32),
        zero=np.zeros(row_length, np.float32),
        private=np.zeros((2 * most_private, row_length), np.float32),
        private_inner=np.zeros((2 * most_private, row_length), np.float32),
        touches=np.zeros(2 * most_private, np.int32),
        words=np.zeros(longest, np.int32),
        places=np.zeros(longest, np.int64),
        negatives=np.zeros(2 * negative, np.int32),
        block=np.zeros(OUTPUTS, np.int32),
        outputs=np.zeros(OUTPUTS + 1, np.int64),
        context=np.zeros(2 * window, np.int64),
        context_shares=np.zeros(4 * window, np.float32),
        coefficients=np.concatenate([_noise_coefficients(negative), _path_coefficients()]).reshape(-1),
        gradients=np.zeros((window + 1) * BLOCK, np.float32),
    )


def _noise_coefficients(negative: int) -> np.ndarray:
    rows = np.zeros((5, 2, OUTPUTS), np.float32)
    rows[:] = -1
    rows[FIRST // BLOCK, :, 0] = 1
    if negative < OUTPUTS:
        rows[LAST // BLOCK, :, 0] = 1
    rows[LAST // BLOCK, :, negative % OUTPUTS + 1 :] = 0
    rows[SINGLE // BLOCK] = [[1], [0]]
    return np.pad(rows.reshape(5, -1), [(0, 0), (0, BLOCK - 2 * OUTPUTS)])


def _path_coefficients() -> np.ndarray:
    rows = np.zeros((2 << OUTPUTS, 2, OUTPUTS), np.float32)
    for length in range(1, OUTPUTS + 1):
        codes = np.arange(1 << length)[:, None] >> np.arange(length)[::-1] & 1
        rows[1 << length : 2 << length, :, :length] = (1 - 2 * codes)[:, None]
    return np.pad(rows.reshape(len(rows), -1), [(0, 0), (0, BLOCK - 2 * OUTPUTS)])
