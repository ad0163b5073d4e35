"""What optimizers' rules do to a row of a table.

A row is walked once, span by span, with the weights, the state and the gradient in registers. What is done to a span is
told by the rule's length when a kernel is compiled, so each rule compiles to its own code and no other's; numbers are
arguments, so a new learning rate compiles nothing.
"""

import numpy as np

from fastemb.kernels.cpu.options import chosen, inline
from fastemb.kernels.cpu.pieces import (
    P1, P2, P3, P4, PART, add, div, fma, get, lanes_of, load, mul, pointer, put, scalar_of, size_of, span_of, splat,
    sqrt, store, sub, total, where_greater, without_first,
)  # fmt: skip

SGD, MOMENTUM, NESTEROV, ADAGRAD, ROWWISE_ADAGRAD, ADAM, ROWWISE_ADAM, FTRL, ADD = ((0,) * n for n in range(1, 10))
CLIP, KEEP, PULL, RULE = range(4)

# What else can be done to a span of a row.
SQUARES, SCALE = (0,) * 10, (0,) * 11


@inline
def walk(rule, dim, arguments, table):
    """Do to each span of a row what the rule says; return the sum of what that returns."""
    lanes = lanes_of(table)
    if dim < lanes:
        return span(rule, arguments, (0, dim), 0, PART)
    result = scalar_of(0.0, table)
    column = 0
    while column < dim:
        pieces = span_of((dim - column + lanes - 1) // lanes, 4 if len(rule) == len(SQUARES) else 2)
        place = (column, min((pieces - 1) * lanes, dim - column - lanes))
        overlap = (pieces - 1) * lanes - place[1]
        if pieces == 1:
            result += span(rule, arguments, place, overlap, P1)
        elif pieces == 2:
            result += span(rule, arguments, place, overlap, P2)
        elif pieces == 3:
            result += span(rule, arguments, place, overlap, P3)
        else:
            result += span(rule, arguments, place, overlap, P4)
        column += pieces * lanes
    return result


@inline
def read(row, place, count):
    """Return a span of a row, which is a pointer and a distance in bytes.

    Its place is its first column and, from there, that of its last piece; or, of a partial piece, how many there are.
    """
    size = size_of(row[0])
    return load(row[0], row[1] + place[0] * size, place[1] if len(count) == 0 else place[1] * size, count)


@inline
def write(row, place, count, value):
    """Write a span of a row."""
    size = size_of(row[0])
    store(row[0], row[1] + place[0] * size, place[1] if len(count) == 0 else place[1] * size, value)


@inline
def numbers_of(hyper):
    """Return the hyper-parameters, the last again for those that a rule has not.

    They are read once and stay in registers: read between the stores of each span, they delay it by a third.
    """
    numbers, last = pointer(hyper), hyper.shape[0] - 1
    return (
        get(numbers, 0), get(numbers, 1), get(numbers, 2), get(numbers, 3), get(numbers, min(4, last)),
        get(numbers, min(5, last)), get(numbers, min(6, last)), get(numbers, min(7, last)), get(numbers, min(8, last)),
    )  # fmt: skip


@inline
def number(numbers, n, like):
    """Return a hyper-parameter in all lanes."""
    return splat(numbers[n], like)


@inline
def clamp(x, bound):
    """Limit `x` to ``[-bound, bound]``, `bound` a scalar; NaN stays NaN."""
    high, low = splat(bound, x), splat(-bound, x)
    x = where_greater(x, high, high, x)
    return where_greater(low, x, low, x)


@inline
def gradient_of(slopes, numbers, w, place, count):
    """Return a span of the gradient, clipped, with the weight decay that is part of it."""
    g = clamp(read(slopes, place, count), numbers[CLIP])
    return fma(number(numbers, PULL, w), w, g)


def span(rule, arguments, place, overlap, count):
    """Do to a span what the rule says."""


def span_updated(rule, arguments, place, overlap, count):
    weights, slopes, numbers, state, factor = arguments
    w = read(weights, place, count)
    g = gradient_of(slopes, numbers, w, place, count)
    w = mul(number(numbers, KEEP, w), w)
    write(weights, place, count, ruled(rule, w, g, state, numbers, splat(factor, w), place, count))
    return factor


def span_added(rule, arguments, place, overlap, count):
    weights, slopes, _, _, factor = arguments
    w = read(weights, place, count)
    write(weights, place, count, add(w, mul(splat(factor, w), read(slopes, place, count))))
    return factor


def span_squares(rule, arguments, place, overlap, count):
    weights, slopes, numbers = arguments
    g = gradient_of(slopes, numbers, read(weights, place, count), place, count)
    return total(without_first(mul(g, g), overlap))


def span_scaled(rule, arguments, place, overlap, count):
    weights, factor = arguments
    w = read(weights, place, count)
    write(weights, place, count, mul(w, splat(factor, w)))
    return factor


def span_avoided(rule, arguments, place, overlap, count):
    return scalar_of(0.0, arguments[0][0])


def factor_of(rule, arguments, firsts, seconds, row, dim):
    """Return the rate of a row."""


def rate(rule, arguments, firsts, seconds, row, dim):
    return arguments[2][RULE]


@inline
def mean_square(arguments, dim):
    """Return the mean over a row of its squared gradient."""
    table = arguments[0][0]
    return walk(SQUARES, dim, arguments, table) * scalar_of(1.0 / dim, table)


def rowwise_adagrad_rate(rule, arguments, firsts, seconds, row, dim):
    numbers = arguments[2]
    squares = get(firsts, row) + mean_square(arguments, dim)
    put(firsts, row, squares)
    return numbers[RULE] / (np.sqrt(squares) + numbers[RULE + 1])


def rowwise_adam_rate(rule, arguments, firsts, seconds, row, dim):
    numbers = arguments[2]
    mean = mean_square(arguments, dim)
    squares = numbers[RULE + 4] * get(seconds, row) + numbers[RULE + 5] * mean
    put(seconds, row, squares)
    return numbers[RULE] / (np.sqrt(squares) + numbers[RULE + 3])


def ruled(rule, w, g, state, numbers, factor, place, count):
    """Return the new weights of a span, and write its new state."""


def descend(rule, w, g, state, numbers, factor, place, count):
    return sub(w, mul(factor, g))


@inline
def mean_of(row, g, numbers, n, place, count):
    """Return a running mean of `g`, written back; numbers n and n + 1 are the weights of old and new."""
    old = read(row, place, count)
    mean = fma(number(numbers, n, g), old, mul(number(numbers, n + 1, g), g))
    write(row, place, count, mean)
    return mean


def descend_by_mean(rule, w, g, state, numbers, factor, place, count):
    return sub(w, mul(factor, mean_of(state[0], g, numbers, RULE + 1, place, count)))


def nesterov(rule, w, g, state, numbers, factor, place, count):
    velocity = mean_of(state[0], g, numbers, RULE + 1, place, count)
    return sub(w, mul(factor, fma(number(numbers, RULE + 1, g), velocity, g)))


def adagrad(rule, w, g, state, numbers, factor, place, count):
    squares = fma(g, g, read(state[0], place, count))
    write(state[0], place, count, squares)
    root = sqrt(add(squares, number(numbers, RULE + 2, g)))
    return sub(w, div(mul(factor, g), add(root, number(numbers, RULE + 1, g))))


def adam(rule, w, g, state, numbers, factor, place, count):
    mean = mean_of(state[0], g, numbers, RULE + 1, place, count)
    squares = mean_of(state[1], mul(g, g), numbers, RULE + 4, place, count)
    return sub(w, div(mul(factor, mean), add(sqrt(squares), number(numbers, RULE + 3, g))))


def ftrl(rule, w, g, state, numbers, factor, place, count):
    old = read(state[1], place, count)
    squares = fma(g, g, old)
    root = sqrt(squares)
    sigma = mul(sub(root, sqrt(old)), factor)
    z = add(read(state[0], place, count), sub(g, mul(sigma, w)))
    write(state[0], place, count, z)
    write(state[1], place, count, squares)
    beyond = sub(clamp(z, numbers[RULE + 2]), z)
    return div(beyond, fma(add(number(numbers, RULE + 1, z), root), factor, number(numbers, RULE + 3, z)))


_SPANS = {len(ADD): span_added, len(SQUARES): span_squares, len(SCALE): span_scaled}
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
def choose_span(rule, arguments, place, overlap, count):
    # Wide spans spare sums over lanes; for the rest they take longer to compile and no less to run.
    if len(count) > 2 and len(rule) != len(SQUARES):
        return span_avoided
    return _SPANS.get(len(rule), span_updated)


@chosen(factor_of)
def choose_factor(rule, arguments, firsts, seconds, row, dim):
    return _FACTORS.get(len(rule), rate)


@chosen(ruled)
def choose_rule(rule, w, g, state, numbers, factor, place, count):
    return _RULES[len(rule)]
