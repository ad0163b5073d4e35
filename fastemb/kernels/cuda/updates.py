"""Optimizers' rules on the rows of a table: a team has a row, and each of its threads a vector of the columns.

`step` takes a range of rows where the reference takes a range of parts: each row is one of its own, summed in
registers, so that `bounds` is not used, and `scratch` has the sums of pieces of the lookups: see `pieces`. It returns a
fault where the reference returns a status.

The end of a range of rows may be an array of one number, which the GPU knows and the host does not: see `grouping`.
"""

import math

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.bags import fits, sum_grouped
from fastemb.kernels.cuda.vector import (
    SIMULATED, first_team, load, num_teams, number, store, team_sum, until, zeros,
)  # fmt: skip

__all__ = [
    "ADAGRAD", "ADAM", "ADD", "CLIP", "FTRL", "KEEP", "MOMENTUM", "NESTEROV", "PULL", "ROWWISE_ADAGRAD", "ROWWISE_ADAM",
    "RULE", "SGD", "decay", "step", "update",
]  # fmt: skip

SGD, MOMENTUM, NESTEROV, ADAGRAD, ROWWISE_ADAGRAD, ADAM, ROWWISE_ADAM, FTRL, ADD = ((0,) * n for n in range(1, 10))
CLIP, KEEP, PULL, RULE = range(4)


@cuda.jit(device=True)
def limited(x, bound):
    """Return a number within ``[-bound, bound]``; a NaN stays one."""
    if x > bound:
        return bound
    return -bound if x < -bound else x


@cuda.jit(device=True)
def clipped(w, g, hyper):
    """Return an element of the gradient, clipped, with the pull of weight decay."""
    return limited(g, hyper[CLIP]) + hyper[PULL] * w


@cuda.jit(device=True)
def element(rule, w, g, first, second, whole, hyper):
    """Return an element of the weights and of the state after an update; `whole` is the row's second moment."""
    if len(rule) == len(ADD):
        return w + hyper[RULE] * g, first, second
    g = clipped(w, g, hyper)
    w = hyper[KEEP] * w
    rate = hyper[RULE]
    if len(rule) == len(SGD):
        return w - rate * g, first, second
    if len(rule) == len(MOMENTUM):
        first = hyper[RULE + 1] * first + hyper[RULE + 2] * g
        return w - rate * first, first, second
    if len(rule) == len(NESTEROV):
        first = hyper[RULE + 1] * first + hyper[RULE + 2] * g
        return w - rate * (g + hyper[RULE + 1] * first), first, second
    if len(rule) == len(ADAGRAD):
        first = first + g * g
        return w - rate * g / (math.sqrt(first + hyper[RULE + 2]) + hyper[RULE + 1]), first, second
    if len(rule) == len(ROWWISE_ADAGRAD):
        return w - rate / (math.sqrt(whole) + hyper[RULE + 1]) * g, first, second
    if len(rule) == len(ADAM):
        first = hyper[RULE + 1] * first + hyper[RULE + 2] * g
        second = hyper[RULE + 4] * second + hyper[RULE + 5] * (g * g)
        return w - rate * first / (math.sqrt(second) + hyper[RULE + 3]), first, second
    if len(rule) == len(ROWWISE_ADAM):
        first = hyper[RULE + 1] * first + hyper[RULE + 2] * g
        return w - rate / (math.sqrt(whole) + hyper[RULE + 3]) * first, first, second
    n, l1 = second + g * g, hyper[RULE + 2]
    first = first + (g - (math.sqrt(n) - math.sqrt(second)) * rate * w)
    return -(first - limited(first, l1)) / ((hyper[RULE + 1] + math.sqrt(n)) * rate + hyper[RULE + 3]), first, n


def elements(rule, w, g, first, second, whole, hyper):
    """`element` of each element of four vectors."""
    made = [element(rule, *parts, whole, hyper) for parts in zip(w, g, first, second, strict=True)]
    return tuple(zip(*made, strict=True))


if not SIMULATED:
    from numba.cuda.extending import overload

    def _one(rule, w, g, first, second, whole, hyper):
        a = element(rule, w[0], g[0], first[0], second[0], whole, hyper)
        return (a[0],), (a[1],), (a[2],)

    def _two(rule, w, g, first, second, whole, hyper):
        a = element(rule, w[0], g[0], first[0], second[0], whole, hyper)
        b = element(rule, w[1], g[1], first[1], second[1], whole, hyper)
        return (a[0], b[0]), (a[1], b[1]), (a[2], b[2])

    def _four(rule, w, g, first, second, whole, hyper):
        a = element(rule, w[0], g[0], first[0], second[0], whole, hyper)
        b = element(rule, w[1], g[1], first[1], second[1], whole, hyper)
        c = element(rule, w[2], g[2], first[2], second[2], whole, hyper)
        d = element(rule, w[3], g[3], first[3], second[3], whole, hyper)
        return (a[0], b[0], c[0], d[0]), (a[1], b[1], c[1], d[1]), (a[2], b[2], c[2], d[2])

    @overload(elements)
    def _elements(rule, w, g, first, second, whole, hyper):
        return {1: _one, 2: _two, 4: _four}[len(w)]


@cuda.jit(device=True)
def has_first(rule):
    """Return whether a rule has a state like the weights."""
    return len(rule) != len(SGD) and len(rule) != len(ROWWISE_ADAGRAD) and len(rule) != len(ADD)


@cuda.jit(device=True)
def has_second(rule):
    """Return whether it has another one."""
    return len(rule) == len(ADAM) or len(rule) == len(FTRL)


@cuda.jit(device=True)
def is_rowwise(rule):
    """Return whether a rule has one second moment a row."""
    return len(rule) == len(ROWWISE_ADAGRAD) or len(rule) == len(ROWWISE_ADAM)


@cuda.jit(device=True)
def change(weight, first, second, row, column, g, whole, hyper, rule):
    """Update the columns of a row with their gradient."""
    w = load(weight, row, column, g)
    m, v = zeros(weight, g), zeros(weight, g)
    if has_first(rule):
        m = load(first, row, column, g)
    if has_second(rule):
        v = load(second, row, column, g)
    w, m, v = elements(rule, w, g, m, v, whole, hyper)
    store(weight, row, column, w)
    if has_first(rule):
        store(first, row, column, m)
    if has_second(rule):
        store(second, row, column, v)


@cuda.jit(device=True)
def squares(weight, row, column, g, hyper, total):
    """Return `total` with the squares of the columns of a row's gradient, as its rule will have them."""
    w = load(weight, row, column, g)
    for n in range(len(g)):
        x = clipped(w[n], g[n], hyper)
        total += x * x
    return total


@cuda.jit(device=True)
def whole_of(weight, first, second, row, total, hyper, rule):
    """Return a row's second moment, with the squares that each thread of the team has summed, and keep it.

    One thread reads and writes it, and tells the others.
    """
    mean, whole = team_sum(total) / number(weight, np.float64(weight.shape[1])), number(weight, 0.0)
    if cuda.threadIdx.x == 0:
        if len(rule) == len(ROWWISE_ADAGRAD):
            whole = first[row, 0] + mean
            first[row, 0] = whole
        else:
            whole = hyper[RULE + 4] * second[row, 0] + hyper[RULE + 5] * mean
            second[row, 0] = whole
    return team_sum(whole)


@cuda.jit
def update(weight, first, second, rows, gradients, base, hyper, rule, start, stop, width):
    lane, lanes, dim = cuda.threadIdx.x, cuda.blockDim.x, weight.shape[1]
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        row, whole = np.int64(rows[r]), number(weight, 0.0)
        if is_rowwise(rule):
            column = lane * len(width)
            while column < dim:
                g = load(gradients, r - base, column, width)
                whole = squares(weight, row, column, g, hyper, whole)
                column += lanes * len(width)
            whole = whole_of(weight, first, second, row, whole, hyper, rule)
        column = lane * len(width)
        while column < dim:
            g = load(gradients, r - base, column, width)
            change(weight, first, second, row, column, g, whole, hyper, rule)
            column += lanes * len(width)
        r += num_teams()


@cuda.jit
def step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop,
    fault, width,
):  # fmt: skip
    lane, lanes, dim = cuda.threadIdx.x, cuda.blockDim.x, weight.shape[1]
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        row, begin, end, whole = np.int64(rows[r]), starts[r], starts[r + 1], number(weight, 0.0)
        bad = not fits(begin, end, len(bags))
        if bad:
            begin = end = 0
        if is_rowwise(rule):
            column = lane * len(width)
            while column < dim:
                g, outside = sum_grouped(grad_output, bags, coefficients, scratch, begin, end, column, width)
                whole = squares(weight, row, column, g, hyper, whole)
                column += lanes * len(width)
            whole = whole_of(weight, first, second, row, whole, hyper, rule)
        column = lane * len(width)
        while column < dim:
            g, outside = sum_grouped(grad_output, bags, coefficients, scratch, begin, end, column, width)
            bad = bad or outside
            change(weight, first, second, row, column, g, whole, hyper, rule)
            column += lanes * len(width)
        if bad and lane == 0:
            cuda.atomic.min(fault, 0, r)
        r += num_teams()


@cuda.jit
def decay(weight, reached, rows, log_product, start, stop):
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    r, end_of_range = start + first_team(), until(stop)
    while r < end_of_range:
        row, behind = np.int64(rows[r]), 0.0
        if lane == 0:
            behind = log_product - reached[row]
            reached[row] = log_product
        behind = team_sum(behind)
        if behind != 0:
            factor = number(weight, math.exp(behind))
            column = lane
            while column < weight.shape[1]:
                store(weight, row, column, (load(weight, row, column, (0,))[0] * factor,))
                column += lanes
        r += num_teams()
