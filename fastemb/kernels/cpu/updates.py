"""Optimizers' rules on the rows of a table: see the reference for what each function means.

A row is walked once, span by span, with the weights, the state and the gradient in registers. What is done to a span is
told by the rule's length when a kernel is compiled, so each rule compiles to its own code and no other's; numbers are
read from memory, so a new learning rate compiles nothing.
"""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.bags import SUM, reduce
from fastemb.kernels.cpu.options import chosen, inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import (
    P1, P2, P3, P4, PART, add, div, fma, get, lanes_of, load, mul, mutable_pointer, pointer, prefetch_bytes, put,
    scalar_of, size_of, span_of, splat, sqrt, store, sub, total, where_greater, without_first,
)  # fmt: skip

__all__ = [
    "ADAGRAD", "ADAM", "CLIP", "FTRL", "KEEP", "MOMENTUM", "NESTEROV", "PULL", "ROWWISE_ADAGRAD", "ROWWISE_ADAM",
    "RULE", "SGD", "decay", "parallel_decay", "parallel_step", "parallel_update", "step", "update",
]  # fmt: skip

SGD, MOMENTUM, NESTEROV, ADAGRAD, ROWWISE_ADAGRAD, ADAM, ROWWISE_ADAM, FTRL = ((0,) * n for n in range(1, 9))
CLIP, KEEP, PULL, RULE = range(4)

# What else can be done to a span of a row.
SQUARES, SCALE = (0,) * 9, (0,) * 10

SMALL_TABLE, AHEAD = 1 << 19, 8  # bytes of a table that a core's own cache holds; rows that are asked for beforehand


@kernel
def update(weight, first, second, rows, gradients, base, hyper, rule, start, stop):
    num_embeddings, dim = weight.shape
    table, slopes = mutable_pointer(weight), pointer(gradients)
    firsts, seconds = mutable_pointer(first), mutable_pointer(second)
    ids, numbers = pointer(rows), pointer(hyper)
    row_bytes, size, last = weight.strides[0], dim * size_of(table), rows.shape[0] - 1
    first_bytes, second_bytes = first.shape[1] * size_of(firsts), second.shape[1] * size_of(seconds)
    large = num_embeddings * row_bytes > SMALL_TABLE
    for s in range(start, stop):
        if large:
            ahead = np.int64(get(ids, min(s + AHEAD, last)))
            prefetch_bytes(table, ahead * row_bytes, size)
            if first.shape[0] > 0:
                prefetch_bytes(firsts, ahead * first_bytes, first_bytes)
            if second.shape[0] > 0:
                prefetch_bytes(seconds, ahead * second_bytes, second_bytes)
        row = np.int64(get(ids, s))
        here = (table, row * row_bytes, slopes, (s - base) * gradients.strides[0], numbers)
        factor = factor_of(rule, here, firsts, seconds, row, dim)
        walk(rule, dim, (here, firsts, row * first_bytes, seconds, row * second_bytes, factor), table)


@kernel
def step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop
):
    for part in range(start, stop):
        gradients = scratch[part]
        for lo in range(bounds[part], bounds[part + 1], gradients.shape[0]):
            hi = min(lo + gradients.shape[0], bounds[part + 1])
            status = reduce(gradients, grad_output, bags, starts[lo : hi + 1], coefficients, None, SUM, 0, hi - lo)
            if status != -1:
                return status
            update(weight, first, second, rows, gradients, lo, hyper, rule, lo, hi)
    return -1


@kernel
def decay(weight, reached, rows, log_product, start, stop):
    num_embeddings, dim = weight.shape
    table, ids, known = mutable_pointer(weight), pointer(rows), mutable_pointer(reached)
    for s in range(start, stop):
        row = np.int64(get(ids, s))
        if row < 0 or row >= num_embeddings:
            continue
        missed = log_product - get(known, row)
        if missed != 0:
            walk(SCALE, dim, (table, row * weight.strides[0], scalar_of(np.exp(missed), table)), table)
            put(known, row, log_product)


@inline
def walk(rule, dim, arguments, table):
    """Do to each span of a row what the rule says; return the sum of what that returns."""
    lanes = lanes_of(table)
    if dim < lanes:
        return span(rule, arguments, 0, dim, 0, PART)
    result = scalar_of(0.0, table)
    column = 0
    while column < dim:
        pieces = span_of((dim - column + lanes - 1) // lanes, 4)
        after = min((pieces - 1) * lanes, dim - column - lanes)
        overlap = (pieces - 1) * lanes - after
        if pieces == 1:
            result += span(rule, arguments, column, after, overlap, P1)
        elif pieces == 2:
            result += span(rule, arguments, column, after, overlap, P2)
        elif pieces == 3:
            result += span(rule, arguments, column, after, overlap, P3)
        else:
            result += span(rule, arguments, column, after, overlap, P4)
        column += pieces * lanes
    return result


@inline
def read(p, row, column, after, count):
    """Return a span of the row that is `row` bytes behind a pointer; `after` as for `load`, in columns."""
    return load(p, row + column * size_of(p), after if len(count) == 0 else after * size_of(p), count)


@inline
def write(p, row, column, after, count, value):
    """Write a span of a row."""
    store(p, row + column * size_of(p), after if len(count) == 0 else after * size_of(p), value)


@inline
def number(numbers, n, like):
    """Return a hyper-parameter in all lanes."""
    return splat(get(numbers, n), like)


@inline
def clamp(x, bound):
    """Limit `x` to ``[-bound, bound]``, `bound` a scalar; NaN stays NaN."""
    high, low = splat(bound, x), splat(-bound, x)
    x = where_greater(x, high, high, x)
    return where_greater(low, x, low, x)


@inline
def gradient_of(here, w, column, after, count):
    """Return a span of the gradient, clipped, with the weight decay that is part of it."""
    table, row, slopes, slope, numbers = here
    g = read(slopes, slope, column, after, count)
    return fma(number(numbers, PULL, w), w, clamp(g, get(numbers, CLIP)))


def span(rule, arguments, column, after, overlap, count):
    """Do to a span what the rule says."""


def span_updated(rule, arguments, column, after, overlap, count):
    here, firsts, first, seconds, second, factor = arguments
    table, row, slopes, slope, numbers = here
    w = read(table, row, column, after, count)
    g = gradient_of(here, w, column, after, count)
    w = mul(number(numbers, KEEP, w), w)
    state = (firsts, first, seconds, second, numbers, splat(factor, w))
    write(table, row, column, after, count, ruled(rule, w, g, state, column, after, count))
    return scalar_of(0.0, table)


def span_squares(rule, arguments, column, after, overlap, count):
    table, row = arguments[0], arguments[1]
    g = gradient_of(arguments, read(table, row, column, after, count), column, after, count)
    return total(without_first(mul(g, g), overlap))


def span_scaled(rule, arguments, column, after, overlap, count):
    table, row, factor = arguments
    w = read(table, row, column, after, count)
    write(table, row, column, after, count, mul(w, splat(factor, w)))
    return scalar_of(0.0, table)


def factor_of(rule, here, firsts, seconds, row, dim):
    """Return the rate of a row."""


def rate(rule, here, firsts, seconds, row, dim):
    return get(here[4], RULE)


def rowwise_adagrad_rate(rule, here, firsts, seconds, row, dim):
    numbers = here[4]
    squares = get(firsts, row) + walk(SQUARES, dim, here, here[0]) * scalar_of(1.0 / dim, here[0])
    put(firsts, row, squares)
    return get(numbers, RULE) / (np.sqrt(squares) + get(numbers, RULE + 1))


def rowwise_adam_rate(rule, here, firsts, seconds, row, dim):
    numbers = here[4]
    mean = walk(SQUARES, dim, here, here[0]) * scalar_of(1.0 / dim, here[0])
    squares = get(numbers, RULE + 4) * get(seconds, row) + get(numbers, RULE + 5) * mean
    put(seconds, row, squares)
    return get(numbers, RULE) / (np.sqrt(squares) + get(numbers, RULE + 3))


def ruled(rule, w, g, state, column, after, count):
    """Return the new weights of a span, and write its new state."""


def descend(rule, w, g, state, column, after, count):
    return sub(w, mul(state[5], g))


@inline
def mean_of(p, row, g, numbers, n, column, after, count):
    """Return the running mean of a gradient, written back: numbers n and n + 1 are the weights of old and new."""
    old = read(p, row, column, after, count)
    mean = fma(number(numbers, n, g), old, mul(number(numbers, n + 1, g), g))
    write(p, row, column, after, count, mean)
    return mean


def descend_by_mean(rule, w, g, state, column, after, count):
    firsts, first, seconds, second, numbers, factor = state
    return sub(w, mul(factor, mean_of(firsts, first, g, numbers, RULE + 1, column, after, count)))


def nesterov(rule, w, g, state, column, after, count):
    firsts, first, seconds, second, numbers, factor = state
    velocity = mean_of(firsts, first, g, numbers, RULE + 1, column, after, count)
    return sub(w, mul(factor, fma(number(numbers, RULE + 1, g), velocity, g)))


def adagrad(rule, w, g, state, column, after, count):
    firsts, first, seconds, second, numbers, factor = state
    squares = fma(g, g, read(firsts, first, column, after, count))
    write(firsts, first, column, after, count, squares)
    root = sqrt(add(squares, number(numbers, RULE + 2, g)))
    return sub(w, div(mul(factor, g), add(root, number(numbers, RULE + 1, g))))


def adam(rule, w, g, state, column, after, count):
    firsts, first, seconds, second, numbers, factor = state
    mean = mean_of(firsts, first, g, numbers, RULE + 1, column, after, count)
    squares = mean_of(seconds, second, mul(g, g), numbers, RULE + 4, column, after, count)
    return sub(w, div(mul(factor, mean), add(sqrt(squares), number(numbers, RULE + 3, g))))


def ftrl(rule, w, g, state, column, after, count):
    firsts, first, seconds, second, numbers, inverse_alpha = state
    old = read(seconds, second, column, after, count)
    squares = fma(g, g, old)
    root = sqrt(squares)
    sigma = mul(sub(root, sqrt(old)), inverse_alpha)
    z = add(read(firsts, first, column, after, count), sub(g, mul(sigma, w)))
    write(firsts, first, column, after, count, z)
    write(seconds, second, column, after, count, squares)
    beyond = sub(clamp(z, get(numbers, RULE + 2)), z)
    return div(beyond, fma(add(number(numbers, RULE + 1, z), root), inverse_alpha, number(numbers, RULE + 3, z)))


_SPANS = {len(SQUARES): span_squares, len(SCALE): span_scaled}
_FACTORS = {len(ROWWISE_ADAGRAD): rowwise_adagrad_rate, len(ROWWISE_ADAM): rowwise_adam_rate}
_RULES = {
    len(SGD): descend,
    len(MOMENTUM): descend_by_mean,
    len(NESTEROV): nesterov,
    len(ADAGRAD): adagrad,
    len(ROWWISE_ADAGRAD): descend,
    len(ADAM): adam,
    len(ROWWISE_ADAM): descend_by_mean,
    len(FTRL): ftrl,
}


@chosen(span)
def choose_span(rule, arguments, column, after, overlap, count):
    return _SPANS.get(len(rule), span_updated)


@chosen(factor_of)
def choose_factor(rule, here, firsts, seconds, row, dim):
    return _FACTORS.get(len(rule), rate)


@chosen(ruled)
def choose_rule(rule, w, g, state, column, after, count):
    return _RULES[len(rule)]


@parallel_kernel
def parallel_update(weight, first, second, rows, gradients, base, hyper, rule, start, stop, chunks):
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        update(weight, first, second, rows, gradients, base, hyper, rule, a, b)
    return 0


@parallel_kernel
def parallel_step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop,
    chunks,
):  # fmt: skip
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        status = step(
            weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, a, b
        )
        failed += status != -1
    return failed


@parallel_kernel
def parallel_decay(weight, reached, rows, log_product, start, stop, chunks):
    for c in prange(chunks):
        decay(weight, reached, rows, log_product, part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks))
    return 0
