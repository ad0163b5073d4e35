"""GloVe (Pennington, Socher and Manning 2014, "GloVe: Global Vectors for Word Representation").

The specification of `kernels/cpu/glove.py`: obvious and slow.

A table's row is two rows of floats: parameters, then the sums of squared steps that Adagrad divides by, less one. The
parameters of a word are its vector, its bias and a constant one; those of a context word are its vector, a constant one
and its bias; zeros follow. So the product of two rows is that of the vectors and both biases. A constant is a parameter
whose sum of squares is `CONSTANT`: no step moves it.
"""

import numpy as np

from fastemb.kernels.reference.random import random_u64

__all__ = ["CONSTANT", "count_blocks", "fill_blocks", "train"]

CONSTANT = 1e30


def train(rows, cols, counts, start, stop, word, context, x_max, alpha, eta, clip, result):
    """Take one step for each co-occurrence in ``[start, stop)``, in order.

    The loss of a co-occurrence is ``0.5 * f * (w . c + bias of w + bias of c - log x) ** 2`` with
    ``f = min(1, (x / x_max) ** alpha)``. As in the GloVe program the step uses the sums of squares from before it.

    Parameters
    ----------
    rows, cols : int32 (num_pairs,)
        Words and context words.
    counts : float32 (num_pairs,)
        How often they met, above 0.
    start, stop : int
    word, context : float32 (num_words, 2, row length)
        Changed in place.
    x_max, alpha, eta : float
    clip : float
        A gradient beyond ±clip is taken for ±clip.
    result : float64 (1,)
        Added to: the loss.
    """
    for n in range(start, stop):
        (w, w_squares), (c, c_squares) = word[rows[n]], context[cols[n]]
        x = np.float64(counts[n])
        difference = np.float64(w @ c) - np.log(x)
        weighted = min(1.0, (x / x_max) ** alpha) * difference
        result[0] += 0.5 * weighted * difference
        w_step = eta * np.clip(weighted * c, -clip, clip)
        c_step = eta * np.clip(weighted * w, -clip, clip)
        w -= w_step / np.sqrt(1 + w_squares)
        c -= c_step / np.sqrt(1 + c_squares)
        w_squares += w_step**2
        c_squares += c_step**2


def count_blocks(sizes, offsets, cols, num_strata, start, stop):
    """Count the entries of a matrix in each block of a grid; the strata are those of the remainders of word numbers.

    Parameters
    ----------
    sizes : int64 (num_strata, num_strata)
        Output: rows ``[start, stop)`` are filled.
    offsets : int64 (num_words + 1,)
        The entries of row i are ``cols[offsets[i] : offsets[i + 1]]``.
    cols : int32 (num_pairs,)
    num_strata : int
    start, stop : int
        The range of strata of rows.
    """
    for stratum in range(start, stop):
        sizes[stratum] = 0
        for row in range(stratum, len(offsets) - 1, num_strata):
            sizes[stratum] += np.bincount(cols[offsets[row] : offsets[row + 1]] % num_strata, minlength=num_strata)


def fill_blocks(rows_out, cols_out, counts_out, starts, offsets, cols, counts, num_strata, seed, start, stop):
    """Put the entries of a matrix into their blocks, each block in a random order of its own.

    Parameters
    ----------
    rows_out, cols_out : int32 (num_pairs,)
    counts_out : float32 (num_pairs,)
        Outputs: block b is ``[starts[b], starts[b + 1])``, with b the stratum of the row times `num_strata`, plus that
        of the column.
    starts : int64 (num_strata ** 2 + 1,)
    offsets : int64 (num_words + 1,)
    cols : int32 (num_pairs,)
    counts : float32 (num_pairs,)
    num_strata : int
    seed : int
    start, stop : int
        The range of strata of rows.
    """
    for stratum in range(start, stop):
        ends = starts[stratum * num_strata : (stratum + 1) * num_strata].copy()
        for row in range(stratum, len(offsets) - 1, num_strata):
            for n in range(offsets[row], offsets[row + 1]):
                at = ends[cols[n] % num_strata]
                rows_out[at], cols_out[at], counts_out[at] = row, cols[n], counts[n]
                ends[cols[n] % num_strata] += 1
        for block in range(stratum * num_strata, (stratum + 1) * num_strata):
            _shuffle((rows_out, cols_out, counts_out), starts[block], starts[block + 1], random_u64(seed, block))


def _shuffle(arrays, start, stop, seed):
    """Shuffle a part of arrays, all alike (Fisher and Yates; Durstenfeld 1964)."""
    for last in range(stop - start - 1, 0, -1):
        other = (int(random_u64(seed, last)) >> 32) * (last + 1) >> 32
        for array in arrays:
            array[[start + last, start + other]] = array[[start + other, start + last]]
