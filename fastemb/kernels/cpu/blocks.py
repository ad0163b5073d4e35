"""The arithmetic of a block: input rows meet six output rows.

Two inputs by six outputs keep twelve sums in registers, so each row is loaded once a block and not once a pair, and the
sigmoids of twelve pairs are one vector.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.rows import step_of
from fastemb.kernels.cpu.scratch import OUTPUTS
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, add, clamp, div, exp, fma, get_float32, get_int64, load, load_splat, log, mul, splat, store, sub, total,
    totals, where_positive, zeros,
)  # fmt: skip

__all__ = ["add_change", "combine", "train_block"]

LOGIT_LIMIT = np.float32(16)
PRODUCT = 5  # likelihoods of at least exp(-16) that can be multiplied before a float32 underflows


@kernel
def train_block(context, m_count, outputs, coefficients, single, gradients, rate, factors, in_turn, row_bytes, width):
    """Train input rows with six output rows, all given by lists of addresses; return the loss of the pairs.

    `factors` is None or the address of factors on the inputs' rates. `in_turn` is None where the inputs are changed by
    the output rows as they were, not None where each is by what the inputs before it have left.
    """
    p0, p1, p2 = get_int64(outputs, 0), get_int64(outputs, 1), get_int64(outputs, 2)
    p3, p4, p5 = get_int64(outputs, 3), get_int64(outputs, 4), get_int64(outputs, 5)
    zero = zeros(width)
    step = step_of(width)
    one = splat(np.float32(1), W16)
    coefficient = load(coefficients, W16)
    product = one
    loss = np.float32(0)
    multiplied = 0
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
        multiplied += 1
        if multiplied == PRODUCT:
            loss -= total(log(product))
            product = one
            multiplied = 0
    if multiplied > 0:
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
            even = v
            if factors is not None:
                even = zero
            if in_turn is not None:
                u0 = d0; u1 = d1; u2 = d2; u3 = d3; u4 = d4; u5 = d5
            even = fma(g0, u0, even); d0 = fma(g0, v, d0)
            odd = mul(g1, u1); d1 = fma(g1, v, d1)
            even = fma(g2, u2, even); d2 = fma(g2, v, d2)
            odd = fma(g3, u3, odd); d3 = fma(g3, v, d3)
            even = fma(g4, u4, even); d4 = fma(g4, v, d4)
            odd = fma(g5, u5, odd); d5 = fma(g5, v, d5)
            if factors is None:
                store(x, add(even, odd))
            else:
                store(x, fma(load_splat(factors + 4 * m, width), add(even, odd), v))
        store(p0 + c, d0); store(p1 + c, d1); store(p2 + c, d2)
        store(p3 + c, d3); store(p4 + c, d4); store(p5 + c, d5)
    # fmt: on
    return np.float64(loss)


@inline
def combine(context, m_count, counts, mean, hidden, before, row_bytes, width):
    """Write CBOW's input, the sum or mean of the context rows, to `hidden` and `before`; return the number of rows.

    `counts` is None or the address of how many rows each context row is the mean of.
    """
    number = np.float32(m_count)
    if counts is not None:
        number = np.float32(0)
        for m in range(m_count):
            number += get_float32(counts, m)
    scale = splat(np.float32(1) / number if mean else np.float32(1), width)
    for c in range(0, row_bytes, step_of(width)):
        sums = zeros(width)
        for m in range(m_count):
            x = load(get_int64(context, m) + c, width)
            if counts is None:
                sums = add(sums, x)
            else:
                sums = fma(load_splat(counts + 4 * m, width), x, sums)
        sums = mul(sums, scale)
        store(hidden + c, sums)
        store(before + c, sums)
    return number


@inline
def add_change(context, m_count, factors, scale, hidden, before, row_bytes, width):
    """Add scale * (hidden - before), times its own factor, to each context row."""
    factor = splat(scale, width)
    for c in range(0, row_bytes, step_of(width)):
        change = mul(factor, sub(load(hidden + c, width), load(before + c, width)))
        for m in range(m_count):
            x = get_int64(context, m) + c
            if factors is None:
                store(x, add(load(x, width), change))
            else:
                store(x, fma(load_splat(factors + 4 * m, width), change, load(x, width)))
