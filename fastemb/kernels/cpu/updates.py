"""Optimizers' rules on the rows of a table: see the reference for what each function means.

A row is walked once, span by span, with the weights, the state and the gradient in registers. What is done to a span is
told by the rule's length when a kernel is compiled, so each rule compiles to its own code and no other's; numbers are
read from memory, so a new learning rate compiles nothing.
"""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.bags import SUM, reduce
from fastemb.kernels.cpu.lookup import NO_PADDING
from fastemb.kernels.cpu.options import chosen, inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import (
    OWN_CACHE, P1, P2, P3, P4, PART, add, distance, div, fma, get, lanes_of, load, mul, mutable_pointer, pointer,
    prefetch_bytes, put, scalar_of, size_of, span_of, splat, sqrt, store, stored_alike, sub, total, where_greater,
    without_first,
)  # fmt: skip

__all__ = [
    "ADAGRAD", "ADAM", "ADD", "CLIP", "FTRL", "KEEP", "MOMENTUM", "NESTEROV", "PULL", "ROWWISE_ADAGRAD", "ROWWISE_ADAM",
    "RULE", "SGD", "decay", "parallel_decay", "parallel_scatter_add", "parallel_step", "parallel_update", "part_of_row",
    "scatter_add", "step", "update",
]  # fmt: skip

SGD, MOMENTUM, NESTEROV, ADAGRAD, ROWWISE_ADAGRAD, ADAM, ROWWISE_ADAM, FTRL, ADD = ((0,) * n for n in range(1, 10))
CLIP, KEEP, PULL, RULE = range(4)

# What else can be done to a span of a row.
SQUARES, SCALE = (0,) * 10, (0,) * 11

_STRIDE, _MIXED, _32 = map(np.uint64, (0x9E3779B9, 2**32 - 1, 32))
SMALL_TABLE = 1 << 19  # bytes that a core's own cache holds
IN_FLIGHT = 6144  # bytes of rows and their state that are asked for beforehand


@kernel
def update(weight, first, second, rows, gradients, base, hyper, rule, start, stop):
    update_rows(weight, first, second, rows, gradients, base, None, hyper, rule, start, stop)


@inline
def update_rows(weight, first, second, rows, gradients, base, lookups, hyper, rule, start, stop):
    """Do what `update` does; the gradient of a row with a single one of `lookups` is read where it lies."""
    num_embeddings, dim = weight.shape
    table, sums = mutable_pointer(weight), pointer(gradients)
    firsts, seconds = mutable_pointer(first), mutable_pointer(second)
    ids, numbers = pointer(rows), numbers_of(hyper)
    row_bytes, size, last = weight.strides[0], dim * size_of(table), rows.shape[0] - 1
    first_bytes, second_bytes = first.shape[1] * size_of(firsts), second.shape[1] * size_of(seconds)
    ahead = max(4, min(32, IN_FLIGHT // (row_bytes + first_bytes + second_bytes)))
    for s in range(start, stop):
        if num_embeddings * row_bytes > SMALL_TABLE:
            row = np.int64(get(ids, min(s + ahead, last)))
            prefetch_bytes(table, row * row_bytes, size)
            if first.shape[0] > 0:
                prefetch_bytes(firsts, row * first_bytes, first_bytes)
            if second.shape[0] > 0:
                prefetch_bytes(seconds, row * second_bytes, second_bytes)
        row = np.int64(get(ids, s))
        place = (s - base) * gradients.strides[0]
        if lookups is not None:
            place = place_of_single(lookups, sums, s, min(s + ahead, last), place)
        weights, slopes = (table, row * row_bytes), (sums, place)
        factor = factor_of(rule, (weights, slopes, numbers), firsts, seconds, row, dim)
        state = (firsts, row * first_bytes), (seconds, row * second_bytes)
        walk(rule, dim, (weights, slopes, numbers, state, factor), table)


@inline
def is_single(starts, s):
    return get(starts, s + 1) - get(starts, s) == 1


@inline
def place_of_single(lookups, sums, s, later, otherwise):
    """Return where, from `sums`, the gradient of a row with a single lookup lies; ask for that of a `later` row."""
    grad, grad_bytes, bags, num_lookups, starts, asks = lookups
    if asks and is_single(starts, later):  # which has not been checked yet
        found = np.int64(min(np.uint64(get(starts, later)), np.uint64(num_lookups - 1)))
        prefetch_bytes(grad, np.int64(get(bags, found)) * grad_bytes, grad_bytes)
    if is_single(starts, s):
        return distance(grad, sums) + np.int64(get(bags, get(starts, s))) * grad_bytes
    return otherwise


@kernel
def part_of_row(row, num_parts):
    return np.int64((np.uint64(row) * _STRIDE & _MIXED) * np.uint64(num_parts) >> _32)


@kernel
def scatter_add(weight, rows, values, factor, chosen, start, stop):
    num_embeddings, dim = weight.shape
    table, source, ids = mutable_pointer(weight), pointer(values), pointer(rows)
    row_bytes, size, scale = weight.strides[0], dim * size_of(table), get(pointer(factor), 0)
    num_parts, block = chosen.shape
    ahead = max(4, min(32, IN_FLIGHT // max(1, row_bytes))) if num_embeddings * row_bytes > SMALL_TABLE else 0
    for part in range(start, stop):
        places = mutable_pointer(chosen[part])
        for lo in range(0, rows.shape[0], block):
            n = 0
            for s in range(lo, min(lo + block, rows.shape[0])):  # without a branch that could be foreseen wrongly
                row = np.int64(get(ids, s))
                put(places, n, s)
                n += (row != -1) & (part_of_row(row, num_parts) == part)
            for i in range(-ahead, n):
                if ahead > 0 and i + ahead < n:
                    row = np.int64(get(ids, get(places, i + ahead)))
                    prefetch_bytes(table, row * row_bytes, size)
                    prefetch_bytes(source, get(places, i + ahead) * values.strides[0], size)
                if i >= 0:
                    s = get(places, i)
                    row = np.int64(get(ids, s))
                    weights, added = (table, row * row_bytes), (source, s * values.strides[0])
                    walk(ADD, dim, (weights, added, None, None, scale), table)


@kernel
def step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop
):
    grad, begins = pointer(grad_output), pointer(starts)
    num_bags, grad_bytes, num_lookups = grad_output.shape[0], grad_output.strides[0], bags.shape[0]
    asks = num_bags * grad_bytes > OWN_CACHE and num_lookups > 0
    singles = (grad, grad_bytes, pointer(bags), num_lookups, begins, asks)
    for part in range(start, stop):
        gradients = scratch[part]
        for lo in range(bounds[part], bounds[part + 1], gradients.shape[0]):
            hi = min(lo + gradients.shape[0], bounds[part + 1])
            lookups = grad_output, bags, starts[lo : hi + 1], coefficients
            if coefficients is None and stored_alike(grad, pointer(gradients)):
                s = lo
                while s < hi:
                    if is_single(begins, s):
                        if np.uint64(starts[s]) >= np.uint64(num_lookups):
                            return -2 - (s - lo)
                        if np.uint64(bags[starts[s]]) >= np.uint64(num_bags):
                            return starts[s]
                        s += 1
                        continue
                    run = s
                    while s < hi and not is_single(begins, s):
                        s += 1
                    status = reduce(gradients, *lookups, np.int64(NO_PADDING), np.int64(SUM), run - lo, s - lo)
                    if status != -1:
                        return status
                update_rows(weight, first, second, rows, gradients, lo, singles, hyper, rule, lo, hi)
                continue
            # No literals, for which Numba would compile `reduce` once more.
            status = reduce(gradients, *lookups, np.int64(NO_PADDING), np.int64(SUM), np.int64(0), hi - lo)
            if status != -1:
                return status
            update(weight, first, second, rows, gradients, lo, hyper, rule, lo, hi)
    return -1


@kernel
def decay(weight, reached, rows, log_product, start, stop):
    num_embeddings, dim = weight.shape
    table, ids, known = mutable_pointer(weight), pointer(rows), mutable_pointer(reached)
    row_bytes, size, last = weight.strides[0], dim * size_of(table), rows.shape[0] - 1
    ahead = max(4, min(32, IN_FLIGHT // (row_bytes + 64)))
    for s in range(start, stop):
        if num_embeddings * row_bytes > SMALL_TABLE:
            row = np.int64(get(ids, min(s + ahead, last)))
            prefetch_bytes(table, row * row_bytes, size)
            prefetch_bytes(known, row * 8, 8)
        row = np.int64(get(ids, s))
        missed = log_product - get(known, row)
        if missed != 0:
            walk(SCALE, dim, ((table, row * row_bytes), scalar_of(np.exp(missed), table)), table)
            put(known, row, log_product)


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


@parallel_kernel
def parallel_update(weight, first, second, rows, gradients, base, hyper, rule, start, stop, chunks):
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        update(weight, first, second, rows, gradients, base, hyper, rule, a, b)
    return 0


@parallel_kernel
def parallel_scatter_add(weight, rows, values, factor, chosen, start, stop, chunks):
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        scatter_add(weight, rows, values, factor, chosen, a, b)
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
