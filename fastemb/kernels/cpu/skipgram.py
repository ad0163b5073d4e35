"""Skip-gram with negative sampling on SIMD vectors; the specification is `kernels/reference/skipgram.py`.

What makes it fast:

- A window's context rows meet six output rows at a time. Two contexts by six outputs keep twelve sums in registers, so
  each row is loaded once a block and not once a pair, and the sigmoids of twelve pairs are one vector.
- Context rows are trained in a ring of private copies that stays in the first-level cache. The shared table sees one
  addition per word of text, not one per window that the word is in.
- The output rows of the `num_private` most frequent words are kept in the caller's `scratch` and are added back after
  `publish_every` uses, so that their cache lines do not travel between cores all the time.
- Negatives are drawn, and rows prefetched, one window ahead.
"""

from typing import NamedTuple

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.rows import (
    add_row, add_scaled_both, dot, fill_row, give_back, lend, prefetch_row, publish, step_of,
)  # fmt: skip
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, add, address, clamp, div, exp, fma, get_float32, get_int32, get_int64, get_uint32, int32_address,
    int64_address, load, load_splat, log, mul, mutable_address, put_float32, put_int32, put_int64, splat, store, sub,
    total, totals, uint32_address, where_positive, zeros,
)  # fmt: skip

__all__ = ["Scratch", "allocate_scratch", "skipgram_pairwise", "skipgram_shared"]

OUTPUTS = 6
LOGIT_LIMIT = np.float32(16)
PAIR_LIMIT = np.float32(6)
PAIR_TABLE = 1000
PAIR_LOSS_LIMIT = np.float32(80)
PRODUCT = 5  # likelihoods of at least exp(-16) that can be multiplied before a float32 underflows

# Places in `Scratch.coefficients`, each `BLOCK` long: count * sign of a block's six outputs, for two contexts, then
# four empty lanes. The first block holds the centre word, the last one may be short.
_FIRST, _MIDDLE, _LAST, _IRREGULAR, _SINGLE = range(0, 5 * BLOCK, BLOCK)


class Scratch(NamedTuple):
    """What one thread needs beside the tables; `allocate_scratch` makes it."""

    lent: np.ndarray  # float32 (2 * ring, row length): private context rows, then what they were when lent
    private: np.ndarray  # float32 (1 + 2 * most_private, row length): a row of zeros, output rows, what they were
    touches: np.ndarray  # int32 (most_private,): uses of a private row since it was added back
    words: np.ndarray  # int32 (longest sentence,)
    places: np.ndarray  # int64 (longest sentence,)
    negatives: np.ndarray  # int32 (2 * negative,): of this window and the next
    block: np.ndarray  # int32 (OUTPUTS,): the words of a block
    outputs: np.ndarray  # int64 (OUTPUTS,): the addresses of their rows
    context: np.ndarray  # int64 (2 * window,): the addresses of the context rows
    coefficients: np.ndarray  # float32 (5 * BLOCK,)
    gradients: np.ndarray  # float32, whole blocks: the gradients of a window, or the logits of a pair
    sigmoid: np.ndarray  # float32 (PAIR_TABLE,)


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
    x = (2 * np.arange(PAIR_TABLE) / PAIR_TABLE - 1) * float(PAIR_LIMIT)
    return Scratch(
        lent=np.zeros((2 * ring, row_length), np.float32),
        private=np.zeros((1 + 2 * most_private, row_length), np.float32),
        touches=np.zeros(most_private, np.int32),
        words=np.zeros(longest, np.int32),
        places=np.zeros(longest, np.int64),
        negatives=np.zeros(2 * negative, np.int32),
        block=np.zeros(OUTPUTS, np.int32),
        outputs=np.zeros(OUTPUTS, np.int64),
        context=np.zeros(2 * window, np.int64),
        coefficients=_coefficients(negative),
        gradients=np.zeros(max(window + 1, negative // BLOCK + 1) * BLOCK, np.float32),
        sigmoid=(1 / (1 + np.exp(-x))).astype(np.float32),
    )


def _coefficients(negative: int) -> np.ndarray:
    rows = np.zeros((5, 2, BLOCK // 2), np.float32)[:, :, :OUTPUTS]
    rows[:] = -1
    rows[_FIRST // BLOCK, :, 0] = 1
    if negative < OUTPUTS:
        rows[_LAST // BLOCK, :, 0] = 1
    rows[_LAST // BLOCK, :, negative % OUTPUTS + 1 :] = 0
    rows[_SINGLE // BLOCK] = [[1], [0]]
    table = np.zeros((5, BLOCK), np.float32)
    table[:, : 2 * OUTPUTS] = rows.reshape(5, -1)
    return table.reshape(-1)


@kernel
def skipgram_shared(
    ids, offsets, start, stop, weight_in, weight_out, keep, noise, window, shrink_windows, negative, alpha,
    alpha_slope, seed, staleness, result, scratch, num_private, publish_every, width=W16,
):  # fmt: skip
    row_bytes = np.int64(4) * weight_in.shape[1]
    text_seed = random_u64(seed, 0)
    noise_seed = random_u64(seed, 1)
    num_words = noise.shape[0]
    id_list, keep_list = int32_address(ids, 0), address(keep, 0)
    noise_list = uint32_address(noise.reshape(-1), 0)
    table_in = mutable_address(weight_in.reshape(-1), 0)
    table_out = mutable_address(weight_out.reshape(-1), 0)
    lent = mutable_address(scratch.lent.reshape(-1), 0)
    ring = scratch.lent.shape[0] // 2
    zero_row = mutable_address(scratch.private.reshape(-1), 0)
    private = zero_row + row_bytes
    touches = int32_address(scratch.touches, 0)
    words, places = int32_address(scratch.words, 0), int64_address(scratch.places, 0)
    negatives, block = int32_address(scratch.negatives, 0), int32_address(scratch.block, 0)
    outputs, context = int64_address(scratch.outputs, 0), int64_address(scratch.context, 0)
    coefficients = mutable_address(scratch.coefficients, 0)
    gradients = mutable_address(scratch.gradients, 0)
    for word in range(num_private):
        put_int32(touches, word, np.int32(0))
        row = private + word * row_bytes
        lend(table_out + word * row_bytes, row, row + num_private * row_bytes, row_bytes, width)
    loss = 0.0
    pairs = np.int64(0)
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        n = keep_words(id_list, offsets[i], offsets[i + 1], keep_list, text_seed, words, places)
        result[2] += n
        for p in range(min(n, window + 2)):
            prefetch_row(table_in + get_int32(words, p) * row_bytes, row_bytes, width)
        for pos in range(-1, n):
            # One window ahead, so that rows are in the cache when they are needed; the first round only looks ahead.
            if pos + 1 < n:
                draw_negatives(
                    negatives, pos + 1, get_int64(places, pos + 1), noise_list, num_words, noise_seed, negative,
                    table_out, private, num_private, row_bytes, width,
                )  # fmt: skip
                prefetch_row(
                    output_row(get_int32(words, pos + 1), table_out, private, num_private, row_bytes), row_bytes, width
                )
            if pos < 0:
                continue
            if pos + window + 2 < n:
                prefetch_row(table_in + get_int32(words, pos + window + 2) * row_bytes, row_bytes, width)
            move_window(words, n, pos, window, staleness, table_in, lent, ring, row_bytes, width)
            reach = reach_of(text_seed, get_int64(places, pos), window, shrink_windows)
            m_count = 0
            for p in range(max(0, pos - reach), min(n, pos + reach + 1)):
                put_int64(context, m_count, lent + (p & (ring - 1)) * row_bytes)
                m_count += p != pos
            for first in range(0, negative + 1, OUTPUTS):
                distinct = choose_block(
                    block, outputs, coefficients, get_int32(words, pos), negatives + 4 * negative * (pos & 1), first,
                    negative, table_out, private, num_private, zero_row, row_bytes,
                )  # fmt: skip
                kind = kind_of(distinct, first, negative)
                loss += train_block(
                    context, m_count, outputs, coefficients + 4 * kind, coefficients + 4 * _SINGLE, gradients, rate,
                    row_bytes, width,
                )  # fmt: skip
                pairs += distinct * m_count
                if num_private > 0:
                    touch_rows(block, touches, publish_every, table_out, private, num_private, row_bytes, width)
        for p in range(max(0, n - 1 - window), n):
            slot = lent + (p & (ring - 1)) * row_bytes
            give_back(table_in + get_int32(words, p) * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)
    for word in range(num_private):
        row = private + word * row_bytes
        give_back(table_out + word * row_bytes, row, row + num_private * row_bytes, row_bytes, width)
    result[0] += loss
    result[1] += pairs


@inline
def keep_words(id_list, first, last, keep_list, text_seed, words, places):
    """Write the kept words of a sentence and their places; return how many there are."""
    n = np.int64(0)
    for t in range(first, last):
        word = get_int32(id_list, t)
        put_int32(words, n, word)
        put_int64(places, n, t)
        draw = np.float32(random_u64(text_seed, t) >> np.uint64(40))
        n += draw < get_float32(keep_list, word) * np.float32(16777216)
    return n


@inline
def reach_of(text_seed, place, window, shrink_windows):
    """Return how many words a window reaches to each side."""
    if not shrink_windows:
        return window
    draw = np.int64(random_u64(text_seed, place) & np.uint64(0xFFFFFF))
    return window - ((draw * window) >> 24)


@inline
def draw_noise(noise_list, num_words, noise_seed, counter):
    """Draw a word from the alias table."""
    x = random_u64(noise_seed, counter)
    slot = np.int64(((x >> np.uint64(32)) * np.uint64(num_words)) >> np.uint64(32))
    other = np.int64(get_uint32(noise_list, 2 * slot + 1))
    return slot if np.uint32(x & np.uint64(0xFFFFFFFF)) < get_uint32(noise_list, 2 * slot) else other


@inline
def draw_negatives(
    negatives, pos, place, noise_list, num_words, noise_seed, negative, table_out, private, num_private, row_bytes,
    width,
):  # fmt: skip
    """Draw the negatives of the window at `pos`, and ask for their rows."""
    for k in range(negative):
        word = draw_noise(noise_list, num_words, noise_seed, place * negative + k)
        put_int32(negatives, (pos & 1) * negative + k, np.int32(word))
        prefetch_row(output_row(word, table_out, private, num_private, row_bytes), row_bytes, width)


@inline
def output_row(word, table_out, private, num_private, row_bytes):
    """Return the address of a word's output row: the private copy if there is one."""
    return (private if word < num_private else table_out) + word * row_bytes


@inline
def choose_block(
    block, outputs, coefficients, centre, negatives, first, negative, table_out, private, num_private, zero_row,
    row_bytes,
):  # fmt: skip
    """Fill `block`, `outputs` and the irregular coefficients; return the number of distinct outputs.

    An output that is skipped (a negative equal to the centre word, a second occurrence, an empty place at the end)
    becomes the row of zeros with a coefficient of zero.
    """
    distinct = np.int64(0)
    for k in range(OUTPUTS):
        at = first + k
        word = centre if at == 0 else np.int32(-1)
        if 0 < at <= negative:
            word = get_int32(negatives, at - 1)
            if word == centre:
                word = np.int32(-1)
        count = np.float32(1 if at == 0 else -1)
        for j in range(k):
            if word >= 0 and get_int32(block, j) == word:
                repeated = get_float32(coefficients, _IRREGULAR + j) + count
                put_float32(coefficients, _IRREGULAR + j, repeated)
                put_float32(coefficients, _IRREGULAR + OUTPUTS + j, repeated)
                word = np.int32(-1)
        if word < 0:
            count = np.float32(0)
        put_float32(coefficients, _IRREGULAR + k, count)
        put_float32(coefficients, _IRREGULAR + OUTPUTS + k, count)
        put_int32(block, k, word)
        row = output_row(np.int64(word), table_out, private, num_private, row_bytes)
        put_int64(outputs, k, zero_row if word < 0 else row)
        distinct += word >= 0
    return distinct


@inline
def kind_of(distinct, first, negative):
    """Return the place of a block's coefficients."""
    left = negative + 1 - first
    if distinct < min(left, OUTPUTS):
        return _IRREGULAR
    if left <= OUTPUTS:
        return _LAST
    return _FIRST if first == 0 else _MIDDLE


@inline
def touch_rows(block, touches, publish_every, table_out, private, num_private, row_bytes, width):
    """Count the use of a block's private rows, and publish those that are due."""
    for k in range(OUTPUTS):
        word = np.int64(get_int32(block, k))
        if 0 <= word < num_private:
            count = get_int32(touches, word) + 1
            if count >= publish_every:
                count = 0
                row = private + word * row_bytes
                publish(table_out + word * row_bytes, row, row + num_private * row_bytes, row_bytes, width)
            put_int32(touches, word, np.int32(count))


@inline
def move_window(words, n, pos, window, staleness, table_in, lent, ring, row_bytes, width):
    """Give back the row that the window has left, refresh those that are due, and lend those that it reaches."""
    last = pos - window - 1
    if last >= 0:
        slot = lent + (last & (ring - 1)) * row_bytes
        give_back(table_in + get_int32(words, last) * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)
    if pos > 0:
        for age in range((2 * window) // staleness * staleness, 0, -staleness):
            p = pos + window - age
            if 0 <= p < n:
                slot = lent + (p & (ring - 1)) * row_bytes
                publish(table_in + get_int32(words, p) * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)
    for p in range(0 if pos == 0 else pos + window, min(pos + window + 1, n)):
        slot = lent + (p & (ring - 1)) * row_bytes
        lend(table_in + get_int32(words, p) * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)


@kernel
def train_block(context, m_count, outputs, coefficients, single, gradients, rate, row_bytes, width):
    """Train the context rows with six output rows, all given by lists of addresses; return the loss of the pairs."""
    p0, p1, p2 = get_int64(outputs, 0), get_int64(outputs, 1), get_int64(outputs, 2)
    p3, p4, p5 = get_int64(outputs, 3), get_int64(outputs, 4), get_int64(outputs, 5)
    zero = zeros(width)
    step = step_of(width)
    one = splat(np.float32(1), W16)
    coefficient = load(coefficients, W16)
    product = one
    loss = np.float32(0)
    factors = 0
    # fmt: off
    for m in range(0, m_count, 2):
        x = get_int64(context, m)
        a0 = zero; a1 = zero; a2 = zero; a3 = zero; a4 = zero; a5 = zero
        if m + 1 < m_count:
            y = get_int64(context, m + 1)
            b0 = zero; b1 = zero; b2 = zero; b3 = zero; b4 = zero; b5 = zero
            for c in range(0, row_bytes, step):
                v = load(x + c, width); w = load(y + c, width)
                u = load(p0 + c, width); a0 = fma(v, u, a0); b0 = fma(w, u, b0)
                u = load(p1 + c, width); a1 = fma(v, u, a1); b1 = fma(w, u, b1)
                u = load(p2 + c, width); a2 = fma(v, u, a2); b2 = fma(w, u, b2)
                u = load(p3 + c, width); a3 = fma(v, u, a3); b3 = fma(w, u, b3)
                u = load(p4 + c, width); a4 = fma(v, u, a4); b4 = fma(w, u, b4)
                u = load(p5 + c, width); a5 = fma(v, u, a5); b5 = fma(w, u, b5)
            logits = totals((a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5))
        else:
            for c in range(0, row_bytes, step):
                v = load(x + c, width)
                a0 = fma(v, load(p0 + c, width), a0); a1 = fma(v, load(p1 + c, width), a1)
                a2 = fma(v, load(p2 + c, width), a2); a3 = fma(v, load(p3 + c, width), a3)
                a4 = fma(v, load(p4 + c, width), a4); a5 = fma(v, load(p5 + c, width), a5)
            logits = totals((a0, a1, a2, a3, a4, a5))
            coefficient = mul(coefficient, load(single, W16))
        z = clamp(where_positive(coefficient, logits, sub(zeros(W16), logits)), LOGIT_LIMIT)
        e = exp(sub(zeros(W16), z))
        likelihood = div(one, add(one, e))
        store(gradients + (m >> 1) * (4 * BLOCK), mul(mul(coefficient, splat(rate, W16)), mul(e, likelihood)))
        product = mul(product, where_positive(mul(coefficient, coefficient), likelihood, one))
        factors += 1
        if factors == PRODUCT:
            loss -= total(log(product))
            product = one
            factors = 0
    if factors > 0:
        loss -= total(log(product))
    for c in range(0, row_bytes, step):
        u0 = load(p0 + c, width); u1 = load(p1 + c, width); u2 = load(p2 + c, width)
        u3 = load(p3 + c, width); u4 = load(p4 + c, width); u5 = load(p5 + c, width)
        d0 = u0; d1 = u1; d2 = u2; d3 = u3; d4 = u4; d5 = u5
        for m in range(m_count):
            x = get_int64(context, m) + c
            v = load(x, width)
            g = gradients + (m >> 1) * (4 * BLOCK) + (m & 1) * (4 * OUTPUTS)
            g0 = load_splat(g, width); g1 = load_splat(g + 4, width); g2 = load_splat(g + 8, width)
            g3 = load_splat(g + 12, width); g4 = load_splat(g + 16, width); g5 = load_splat(g + 20, width)
            even = fma(g0, u0, v); d0 = fma(g0, v, d0)
            odd = mul(g1, u1); d1 = fma(g1, v, d1)
            even = fma(g2, u2, even); d2 = fma(g2, v, d2)
            odd = fma(g3, u3, odd); d3 = fma(g3, v, d3)
            even = fma(g4, u4, even); d4 = fma(g4, v, d4)
            odd = fma(g5, u5, odd); d5 = fma(g5, v, d5)
            store(x, add(even, odd))
        store(p0 + c, d0); store(p1 + c, d1); store(p2 + c, d2)
        store(p3 + c, d3); store(p4 + c, d4); store(p5 + c, d5)
    # fmt: on
    return np.float64(loss)


@kernel
def skipgram_pairwise(
    ids, offsets, start, stop, weight_in, weight_out, keep, noise, window, shrink_windows, negative, alpha,
    alpha_slope, seed, result, scratch, width=W16,
):  # fmt: skip
    row_bytes = np.int64(4) * weight_in.shape[1]
    text_seed = random_u64(seed, 0)
    noise_seed = random_u64(seed, 1)
    num_words = noise.shape[0]
    id_list, keep_list = int32_address(ids, 0), address(keep, 0)
    noise_list = uint32_address(noise.reshape(-1), 0)
    table_in = mutable_address(weight_in.reshape(-1), 0)
    table_out = mutable_address(weight_out.reshape(-1), 0)
    error = mutable_address(scratch.lent.reshape(-1), 0)
    words, places = int32_address(scratch.words, 0), int64_address(scratch.places, 0)
    logits = mutable_address(scratch.gradients, 0)
    sigmoid = address(scratch.sigmoid, 0)
    loss = 0.0
    pairs = np.int64(0)
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        n = keep_words(id_list, offsets[i], offsets[i + 1], keep_list, text_seed, words, places)
        result[2] += n
        for pos in range(n):
            place = get_int64(places, pos)
            centre = np.int64(get_int32(words, pos))
            reach = reach_of(text_seed, place, window, shrink_windows)
            for p in range(max(0, pos - reach), min(n, pos + reach + 1)):
                if p == pos:
                    continue
                first = (place * (2 * window + 1) + (p - pos + window)) * negative
                row = table_in + get_int32(words, p) * row_bytes
                fill_row(error, row_bytes, width)
                count = np.int64(0)
                for k in range(negative + 1):
                    word = centre if k == 0 else draw_noise(noise_list, num_words, noise_seed, first + k - 1)
                    if k > 0 and word == centre:
                        continue
                    output = table_out + word * row_bytes
                    logit = dot(row, output, row_bytes, width)
                    label = np.float32(1 if k == 0 else 0)
                    gradient = (label - table_sigmoid(sigmoid, logit)) * rate
                    put_float32(logits, count, logit if k == 0 else -logit)
                    count += 1
                    add_scaled_both(row, output, error, gradient, row_bytes, width)
                loss += softplus_sum(logits, count)
                pairs += count
                add_row(row, error, row_bytes, width)
    result[0] += loss
    result[1] += pairs


@inline
def table_sigmoid(sigmoid, logit):
    """Return word2vec.c's sigmoid; NaN of NaN, which never becomes a place in the table."""
    if not abs(logit) < PAIR_LIMIT:
        return np.float32(1) if logit > 0 else np.float32(0) if logit < 0 else logit
    return get_float32(sigmoid, np.int64((logit + PAIR_LIMIT) * (PAIR_TABLE / PAIR_LIMIT / 2)))


@inline
def softplus_sum(logits, count):
    """Return the sum of log(1 + exp(-x)) over the first `count` logits; overwrites the rest of the last block."""
    blocks = (count + BLOCK - 1) // BLOCK
    for k in range(count, blocks * BLOCK):
        put_float32(logits, k, PAIR_LOSS_LIMIT)
    loss = 0.0
    for k in range(blocks):
        x = clamp(load(logits + k * (4 * BLOCK), W16), PAIR_LOSS_LIMIT)
        loss += total(log(add(splat(np.float32(1), W16), exp(sub(zeros(W16), x)))))
    return loss
