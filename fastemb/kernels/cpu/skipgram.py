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
from fastemb.kernels.cpu.simd import (
    BLOCK,
    UNIT,
    W16,
    add,
    address,
    clamp,
    div,
    exp,
    fma,
    load,
    load_splat,
    log,
    mul,
    mutable_address,
    prefetch,
    splat,
    store,
    sub,
    total,
    totals,
    where_positive,
    zeros,
)  # fmt: skip

__all__ = ["Scratch", "allocate_scratch", "skipgram_pairwise", "skipgram_shared"]

OUTPUTS = 6
LOGIT_LIMIT = np.float32(16)
PAIR_LIMIT = np.float32(6)
PAIR_TABLE = 1000
PAIR_LOSS_LIMIT = np.float32(80)
PRODUCT = 5  # likelihoods of at least exp(-16) that can be multiplied before a float32 underflows

# Rows of `Scratch.coefficients`: count * sign of the six outputs for two contexts, then four empty lanes.
_FIRST, _REST, _IRREGULAR, _SINGLE = 0, BLOCK, 2 * BLOCK, 3 * BLOCK


class Scratch(NamedTuple):
    """What one thread needs beside the tables; `allocate_scratch` makes it."""

    lent: np.ndarray  # float32 (2 * ring, row length): private context rows, then what they were when lent
    private: np.ndarray  # float32 (1 + 2 * most_private, row length): a row of zeros, output rows, what they were
    touches: np.ndarray  # int32 (most_private,): uses of a private row since it was added back
    words: np.ndarray  # int32 (longest sentence,)
    places: np.ndarray  # int64 (longest sentence,)
    negatives: np.ndarray  # int32 (2, negative): of this window and the next
    block: np.ndarray  # int32 (OUTPUTS,): the words of a block
    outputs: np.ndarray  # int64 (OUTPUTS,): the addresses of their rows
    context: np.ndarray  # int64 (2 * window,): the addresses of the context rows
    coefficients: np.ndarray  # float32 (4 * BLOCK,)
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
    plain = np.zeros((4, BLOCK), np.float32)
    plain[0, :12] = [1, -1, -1, -1, -1, -1] * 2
    plain[1, :12] = -1
    plain[3, :6] = 1
    x = (2 * np.arange(PAIR_TABLE) / PAIR_TABLE - 1) * float(PAIR_LIMIT)
    return Scratch(
        lent=np.zeros((2 * ring, row_length), np.float32),
        private=np.zeros((2 * most_private + 1, row_length), np.float32),
        touches=np.zeros(most_private, np.int32),
        words=np.zeros(longest, np.int32),
        places=np.zeros(longest, np.int64),
        negatives=np.zeros((2, negative), np.int32),
        block=np.zeros(OUTPUTS, np.int32),
        outputs=np.zeros(OUTPUTS, np.int64),
        context=np.zeros(2 * window, np.int64),
        coefficients=plain.reshape(-1),
        gradients=np.zeros(max(window + 1, negative // BLOCK + 1) * BLOCK, np.float32),
        sigmoid=(1 / (1 + np.exp(-x))).astype(np.float32),
    )


@kernel
def skipgram_shared(
    ids, offsets, start, stop, weight_in, weight_out, keep, noise, window, shrink_windows, negative, alpha,
    alpha_slope, seed, staleness, result, scratch, num_private, publish_every, width=W16,
):  # fmt: skip
    row_bytes = np.int64(4) * weight_in.shape[1]
    text_seed = random_u64(seed, 0)
    noise_seed = random_u64(seed, 1)
    table_in = mutable_address(weight_in.reshape(-1), 0)
    table_out = mutable_address(weight_out.reshape(-1), 0)
    lent = mutable_address(scratch.lent.reshape(-1), 0)
    private = mutable_address(scratch.private.reshape(-1), 0) + row_bytes
    ring = scratch.lent.shape[0] // 2
    words = scratch.words
    coefficients = scratch.coefficients
    for word in range(num_private):
        scratch.touches[word] = 0
        copy_row(table_out + word * row_bytes, private + word * row_bytes, row_bytes, width)
        copy_row(table_out + word * row_bytes, private + (num_private + word) * row_bytes, row_bytes, width)
    loss = 0.0
    pairs = np.int64(0)
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        n = keep_words(ids, offsets[i], offsets[i + 1], keep, text_seed, words, scratch.places)
        result[2] += n
        for p in range(min(n, window + 2)):
            prefetch_row(table_in + words[p] * row_bytes, row_bytes, width)
        if n > 0:
            draw_negatives(scratch, 0, noise, noise_seed, negative, table_out, private, num_private, row_bytes, width)
        for pos in range(n):
            move_window(words, n, pos, window, staleness, table_in, lent, ring, row_bytes, width)
            if pos + window + 2 < n:
                prefetch_row(table_in + words[pos + window + 2] * row_bytes, row_bytes, width)
            if pos + 1 < n:
                prefetch_row(output_row(words[pos + 1], table_out, private, num_private, row_bytes), row_bytes, width)
                draw_negatives(
                    scratch, pos + 1, noise, noise_seed, negative, table_out, private, num_private, row_bytes, width
                )
            reach = reach_of(text_seed, scratch.places[pos], window, shrink_windows)
            m_count = 0
            for p in range(max(0, pos - reach), min(n, pos + reach + 1)):
                if p != pos:
                    scratch.context[m_count] = lent + (p & (ring - 1)) * row_bytes
                    m_count += 1
            for first in range(0, negative + 1, OUTPUTS):
                distinct = choose_block(scratch, pos, first, negative, table_out, private, num_private, row_bytes)
                kind = _IRREGULAR if distinct < OUTPUTS else _FIRST if first == 0 else _REST
                loss += train_block(
                    scratch.context, m_count, scratch.outputs, mutable_address(coefficients, kind),
                    mutable_address(coefficients, _SINGLE), mutable_address(scratch.gradients, 0), rate, row_bytes,
                    width,
                )  # fmt: skip
                pairs += distinct * m_count
                for k in range(OUTPUTS):
                    word = scratch.block[k]
                    if 0 <= word < num_private:
                        scratch.touches[word] += 1
                        if scratch.touches[word] >= publish_every:
                            scratch.touches[word] = 0
                            publish(
                                table_out + word * row_bytes, private + word * row_bytes,
                                private + (num_private + word) * row_bytes, row_bytes, width,
                            )  # fmt: skip
        for p in range(max(0, n - 1 - window), n):
            slot = lent + (p & (ring - 1)) * row_bytes
            give_back(table_in + words[p] * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)
    for word in range(num_private):
        row = private + word * row_bytes
        give_back(table_out + word * row_bytes, row, row + num_private * row_bytes, row_bytes, width)
    result[0] += loss
    result[1] += pairs


@inline
def keep_words(ids, first, last, keep, text_seed, words, places):
    n = 0
    for t in range(first, last):
        word = ids[t]
        words[n] = word
        places[n] = t
        if np.float32(random_u64(text_seed, t) >> np.uint64(40)) < keep[word] * np.float32(16777216):
            n += 1
    return n


@inline
def reach_of(text_seed, place, window, shrink_windows):
    if not shrink_windows:
        return window
    draw = np.int64(random_u64(text_seed, place) & np.uint64(0xFFFFFF))
    return window - ((draw * window) >> 24)


@inline
def draw_noise(noise, noise_seed, counter):
    x = random_u64(noise_seed, counter)
    slot = np.int64(((x >> np.uint64(32)) * np.uint64(noise.shape[0])) >> np.uint64(32))
    return np.int64(slot) if np.uint32(x & np.uint64(0xFFFFFFFF)) < noise[slot, 0] else np.int64(noise[slot, 1])


@inline
def draw_negatives(scratch, pos, noise, noise_seed, negative, table_out, private, num_private, row_bytes, width):
    first = scratch.places[pos] * negative
    for k in range(negative):
        word = draw_noise(noise, noise_seed, first + k)
        scratch.negatives[pos & 1, k] = word
        prefetch_row(output_row(word, table_out, private, num_private, row_bytes), row_bytes, width)


@inline
def output_row(word, table_out, private, num_private, row_bytes):
    return (private if word < num_private else table_out) + word * row_bytes


@inline
def choose_block(scratch, pos, first, negative, table_out, private, num_private, row_bytes):
    """Fill `block`, `outputs` and, if need be, the irregular coefficients; return the number of distinct outputs.

    An output that is skipped (a negative equal to the centre word, a second occurrence, an empty place at the end)
    becomes the row of zeros with a coefficient of zero.
    """
    centre = scratch.words[pos]
    none = private - row_bytes
    distinct = 0
    irregular = scratch.coefficients[_IRREGULAR : _IRREGULAR + BLOCK]
    for k in range(OUTPUTS):
        at = first + k
        word = np.int32(-1) if at > negative else centre if at == 0 else scratch.negatives[pos & 1, at - 1]
        count = np.float32(1 if at == 0 else -1)
        if at > 0 and word == centre:
            word = np.int32(-1)
        for j in range(k):
            if word >= 0 and scratch.block[j] == word:
                irregular[j] += count
                word = np.int32(-1)
        scratch.block[k] = word
        scratch.outputs[k] = none if word < 0 else output_row(word, table_out, private, num_private, row_bytes)
        irregular[k] = np.float32(0) if word < 0 else count
        distinct += word >= 0
    if distinct < OUTPUTS:
        for k in range(OUTPUTS):
            irregular[OUTPUTS + k] = irregular[k]
    return distinct


@inline
def move_window(words, n, pos, window, staleness, table_in, lent, ring, row_bytes, width):
    last = pos - window - 1
    if last >= 0:
        slot = lent + (last & (ring - 1)) * row_bytes
        give_back(table_in + words[last] * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)
    for age in range((2 * window) // staleness * staleness, 0, -staleness):
        p = pos + window - age
        if 0 <= p < n and (pos > 0):
            slot = lent + (p & (ring - 1)) * row_bytes
            publish(table_in + words[p] * row_bytes, slot, slot + ring * row_bytes, row_bytes, width)
    for p in range(0 if pos == 0 else pos + window, min(pos + window + 1, n)):
        slot = lent + (p & (ring - 1)) * row_bytes
        copy_row(table_in + words[p] * row_bytes, slot, row_bytes, width)
        copy_row(table_in + words[p] * row_bytes, slot + ring * row_bytes, row_bytes, width)


@inline
def step_of(width):
    return np.int64(4 * UNIT * len(width))


@inline
def prefetch_row(row, row_bytes, width):
    for c in range(0, row_bytes, step_of(width)):
        prefetch(row + c, width)


@inline
def copy_row(source, target, row_bytes, width):
    for c in range(0, row_bytes, step_of(width)):
        store(target + c, load(source + c, width))


@inline
def give_back(shared, row, base, row_bytes, width):
    """Shared += row - base."""
    for c in range(0, row_bytes, step_of(width)):
        store(shared + c, add(load(shared + c, width), sub(load(row + c, width), load(base + c, width))))


@inline
def publish(shared, row, base, row_bytes, width):
    """Shared += row - base; row = base = shared."""
    for c in range(0, row_bytes, step_of(width)):
        x = add(load(shared + c, width), sub(load(row + c, width), load(base + c, width)))
        store(shared + c, x)
        store(row + c, x)
        store(base + c, x)


@kernel
def train_block(context, m_count, outputs, coefficients, single, gradients, rate, row_bytes, width):
    """Train the rows at the addresses context[:m_count] with six output rows; return the loss of the pairs."""
    p0, p1, p2, p3, p4, p5 = outputs[0], outputs[1], outputs[2], outputs[3], outputs[4], outputs[5]
    zero = zeros(width)
    step = step_of(width)
    one = splat(np.float32(1), W16)
    coefficient = load(coefficients, W16)
    product = one
    loss = np.float32(0)
    factors = 0
    # fmt: off
    for m in range(0, m_count, 2):
        x = context[m]
        a0 = zero; a1 = zero; a2 = zero; a3 = zero; a4 = zero; a5 = zero
        if m + 1 < m_count:
            y = context[m + 1]
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
            v = load(context[m] + c, width)
            g = gradients + (m >> 1) * (4 * BLOCK) + (m & 1) * (4 * OUTPUTS)
            g0 = load_splat(g, width); g1 = load_splat(g + 4, width); g2 = load_splat(g + 8, width)
            g3 = load_splat(g + 12, width); g4 = load_splat(g + 16, width); g5 = load_splat(g + 20, width)
            even = fma(g0, u0, v); d0 = fma(g0, v, d0)
            odd = mul(g1, u1); d1 = fma(g1, v, d1)
            even = fma(g2, u2, even); d2 = fma(g2, v, d2)
            odd = fma(g3, u3, odd); d3 = fma(g3, v, d3)
            even = fma(g4, u4, even); d4 = fma(g4, v, d4)
            odd = fma(g5, u5, odd); d5 = fma(g5, v, d5)
            store(context[m] + c, add(even, odd))
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
    table_in = mutable_address(weight_in.reshape(-1), 0)
    table_out = mutable_address(weight_out.reshape(-1), 0)
    error = mutable_address(scratch.lent.reshape(-1), 0)
    words = scratch.words
    loss = 0.0
    pairs = np.int64(0)
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        n = keep_words(ids, offsets[i], offsets[i + 1], keep, text_seed, words, scratch.places)
        result[2] += n
        for pos in range(n):
            reach = reach_of(text_seed, scratch.places[pos], window, shrink_windows)
            for p in range(max(0, pos - reach), min(n, pos + reach + 1)):
                if p == pos:
                    continue
                first = (scratch.places[pos] * (2 * window + 1) + (p - pos + window)) * negative
                row = table_in + words[p] * row_bytes
                fill(error, row_bytes, width)
                count = 0
                for k in range(negative + 1):
                    word = np.int64(words[pos]) if k == 0 else draw_noise(noise, noise_seed, first + k - 1)
                    if k > 0 and word == words[pos]:
                        continue
                    output = table_out + word * row_bytes
                    logit = dot(row, output, row_bytes, width)
                    label = np.float32(1 if k == 0 else 0)
                    gradient = (label - table_sigmoid(scratch.sigmoid, logit)) * rate
                    scratch.gradients[count] = logit if k == 0 else -logit
                    count += 1
                    train_pair(row, output, error, gradient, row_bytes, width)
                loss += softplus_sum(scratch.gradients, count)
                pairs += count
                add_row(row, error, row_bytes, width)
    result[0] += loss
    result[1] += pairs


@inline
def table_sigmoid(table, logit):
    if not abs(logit) < PAIR_LIMIT:
        return np.float32(1) if logit > 0 else np.float32(0) if logit < 0 else logit
    return table[np.int64((logit + PAIR_LIMIT) * (PAIR_TABLE / PAIR_LIMIT / 2))]


@inline
def softplus_sum(logits, count):
    """Return the sum of log(1 + exp(-x)) over logits[:count]; overwrites the rest of the last block."""
    blocks = (count + BLOCK - 1) // BLOCK
    for k in range(count, blocks * BLOCK):
        logits[k] = PAIR_LOSS_LIMIT
    loss = 0.0
    for k in range(0, blocks * BLOCK, BLOCK):
        x = clamp(load(address(logits, k), W16), PAIR_LOSS_LIMIT)
        loss += total(log(add(splat(np.float32(1), W16), exp(sub(zeros(W16), x)))))
    return loss


@inline
def fill(row, row_bytes, width):
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, zeros(width))


@inline
def add_row(row, change, row_bytes, width):
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, add(load(row + c, width), load(change + c, width)))


@inline
def dot(a, b, row_bytes, width):
    sums = zeros(width)
    for c in range(0, row_bytes, step_of(width)):
        sums = fma(load(a + c, width), load(b + c, width), sums)
    return total(sums)


@inline
def train_pair(row, output, error, gradient, row_bytes, width):
    """Error += gradient * output; output += gradient * row."""
    g = splat(gradient, width)
    for c in range(0, row_bytes, step_of(width)):
        u = load(output + c, width)
        store(error + c, fma(g, u, load(error + c, width)))
        store(output + c, fma(g, load(row + c, width), u))
