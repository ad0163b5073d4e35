"""GloVe's steps on SIMD vectors; the specification is `kernels/reference/glove.py`.

A row holds parameters and their sums of squares side by side, biases and all, and the rows of the pairs to come are
asked for ahead. Logarithms and weights are computed for `CHUNK` pairs at once.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.rows import dot, prefetch_row, step_of
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, add, clamp, div, exp, fma, get_float32, get_int32, int32_address, load, log, mul,
    mutable_address, put_float32, splat, sqrt, store, sub, where_positive,
)  # fmt: skip

__all__ = ["allocate_scratch", "count_blocks", "fill_blocks", "train"]

CHUNK = 4 * BLOCK
MAX_POWER = np.float32(80)  # a weight of less than exp(-80) is that


def allocate_scratch() -> np.ndarray:
    """Return the scratch memory of one thread: logarithms and weights of a chunk."""
    return np.zeros((2, CHUNK), np.float32)


@kernel
def train(
    rows, cols, counts, start, stop, word, context, x_max, alpha, eta, clip, result, scratch, ahead, width=W16
):  # fmt: skip
    half_bytes = np.int64(4) * word.shape[2]
    row_bytes = 2 * half_bytes
    words = mutable_address(word.reshape(-1), 0)
    contexts = mutable_address(context.reshape(-1), 0)
    row_list, col_list = int32_address(rows, 0), int32_address(cols, 0)
    logs = mutable_address(scratch.reshape(-1), 0)
    weights = logs + 4 * CHUNK
    eta, clip = np.float32(eta), np.float32(clip)
    loss = 0.0
    for first in range(start, stop, CHUNK):
        last = min(first + CHUNK, stop)
        weigh(logs, weights, counts, first, last, np.float32(x_max), np.float32(alpha))
        for n in range(first, last):
            if n + ahead < stop:
                prefetch_row(words + get_int32(row_list, n + ahead) * row_bytes, row_bytes, width)
                prefetch_row(contexts + get_int32(col_list, n + ahead) * row_bytes, row_bytes, width)
            w = words + get_int32(row_list, n) * row_bytes
            c = contexts + get_int32(col_list, n) * row_bytes
            difference = dot(w, c, half_bytes, width) - get_float32(logs, n - first)
            weighted = get_float32(weights, n - first) * difference
            loss += np.float64(weighted) * np.float64(difference)
            step_both(w, c, weighted, eta, clip, half_bytes, width)
    result[0] += 0.5 * loss


@inline
def weigh(logs, weights, counts, first, last, x_max, alpha):
    """Write the logarithms of counts, and min(1, (x / x_max) ** alpha)."""
    for n in range(last - first):
        put_float32(logs, n, counts[first + n])
    zero = splat(np.float32(0), W16)
    log_max = log(splat(x_max, W16))
    for n in range(0, 4 * (last - first), 4 * BLOCK):
        x = log(load(logs + n, W16))
        store(logs + n, x)
        power = clamp(mul(splat(alpha, W16), sub(x, log_max)), MAX_POWER)
        store(weights + n, exp(where_positive(power, zero, power)))


@inline
def step_both(w, c, weighted, eta, clip, half_bytes, width):
    """Adagrad's step of a word's and a context word's parameters."""
    g = splat(weighted, width)
    rate = splat(eta, width)
    one = splat(np.float32(1), width)
    for b in range(0, half_bytes, step_of(width)):
        u, v = load(w + b, width), load(c + b, width)
        u_squares, v_squares = load(w + half_bytes + b, width), load(c + half_bytes + b, width)
        u_step = mul(rate, clamp(mul(g, v), clip))
        v_step = mul(rate, clamp(mul(g, u), clip))
        store(w + b, sub(u, div(u_step, sqrt(add(one, u_squares)))))
        store(c + b, sub(v, div(v_step, sqrt(add(one, v_squares)))))
        store(w + half_bytes + b, fma(u_step, u_step, u_squares))
        store(c + half_bytes + b, fma(v_step, v_step, v_squares))


@kernel
def count_blocks(sizes, offsets, cols, num_strata, start, stop):
    strata = np.uint32(num_strata)
    for stratum in range(start, stop):
        sizes[stratum] = 0
        for row in range(stratum, offsets.shape[0] - 1, num_strata):
            for n in range(offsets[row], offsets[row + 1]):
                sizes[stratum, np.uint32(cols[n]) % strata] += 1


@kernel
def fill_blocks(
    rows_out, cols_out, counts_out, starts, offsets, cols, counts, num_strata, seed, start, stop, ends
):  # fmt: skip
    strata = np.uint32(num_strata)
    for stratum in range(start, stop):
        for block in range(num_strata):
            ends[block] = starts[stratum * num_strata + block]
        for row in range(stratum, offsets.shape[0] - 1, num_strata):
            for n in range(offsets[row], offsets[row + 1]):
                block = np.uint32(cols[n]) % strata
                at = ends[block]
                ends[block] = at + 1
                rows_out[at], cols_out[at], counts_out[at] = row, cols[n], counts[n]
        for block in range(stratum * num_strata, (stratum + 1) * num_strata):
            shuffle(rows_out, cols_out, counts_out, starts[block], starts[block + 1], random_u64(seed, block))


@inline
def shuffle(rows, cols, counts, start, stop, seed):
    """Shuffle a part of arrays, all alike."""
    for last in range(stop - start - 1, 0, -1):
        draw = (random_u64(seed, last) >> np.uint64(32)) * np.uint64(last + 1) >> np.uint64(32)
        a, b = start + last, start + np.int64(draw)
        rows[a], rows[b] = rows[b], rows[a]
        cols[a], cols[b] = cols[b], cols[a]
        counts[a], counts[b] = counts[b], counts[a]
