"""The best few of many scores: see the reference for what each function means.

A row is a heap whose root is the worst that was kept. Scores are compared with the root many at once, and looked at one
by one only where one of them is greater, which happens some hundred times in a hundred thousand scores. `nearest` keeps
the products of six queries with two vectors of candidates in registers and compares them there, so that they are never
written to memory.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.simd import (
    UNIT, W16, address, any_greater, fma, get_float32, load, load_splat, maximum, mul, mutable_address, put_float32,
    splat, store, sub, zeros,
)  # fmt: skip

__all__ = ["allocate_scratch", "measure", "nearest", "scan", "sort"]

LANES = 16
GROUP = 4 * LANES
ROWS = 6  # queries whose products with two vectors of candidates stay in registers


@inline
def is_worse(score, number, than_score, than_number):
    return score < than_score or (score == than_score and number > than_number)


@inline
def sink(scores, ids, place, size, score, number):
    """Put an entry into the heap at `place` or below; what worse entries are below move up."""
    child = 2 * place + 1
    while child < size:
        if child + 1 < size and is_worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if is_worse(score, number, scores[child], ids[child]):
            break
        scores[place], ids[place] = scores[child], ids[child]
        place, child = child, 2 * child + 1
    scores[place], ids[place] = score, number


@inline
def is_own(own, lo, hi, number):
    found = False
    for i in range(lo, hi):
        found |= own[i] == number
    return found


@inline
def take(scores, ids, products, factors, at, lo, hi, first, own, own_lo, own_hi):
    """Look at some scores one by one."""
    for j in range(lo, hi):
        score = get_float32(products, at + j) * get_float32(factors, j)
        if score > scores[0] and not is_own(own, own_lo, own_hi, first + j):
            sink(scores, ids, 0, len(scores), score, first + j)


@inline
def best_of_group(products, factors, at, j):
    """Return the lane-wise greatest of `GROUP` scores; a NaN is passed over."""
    best = splat(np.float32(-np.inf), W16)
    for part in range(0, GROUP, LANES):
        score = mul(load(products + 4 * (at + j + part), W16), load(factors + 4 * (j + part), W16))
        best = maximum(score, best)
    return best


@kernel
def scan(scores, ids, products, factors, first, own, own_offsets, start, stop):
    num_candidates = products.shape[1]
    whole = num_candidates // GROUP * GROUP
    values, scale = address(products, 0), address(factors, 0)
    for q in range(start, stop):
        found, numbers = scores[q], ids[q]
        lo, hi, at = own_offsets[q], own_offsets[q + 1], q * num_candidates
        for j in range(0, whole, GROUP):
            if any_greater(best_of_group(values, scale, at, j), splat(found[0], W16)):
                take(found, numbers, values, scale, at, j, j + GROUP, first, own, lo, hi)
        take(found, numbers, values, scale, at, whole, num_candidates, first, own, lo, hi)


def allocate_scratch(num_queries, dim):
    """Return what `nearest` needs besides: room for the queries, their worst scores, and some candidates."""
    return np.empty((num_queries + ROWS) * (dim + 1) + 2 * LANES * (dim + 1), np.float32)


@inline
def pack_queries(scratch, queries, start, stop):
    """Write the queries in groups of `ROWS`, number by number, so that a group is read from one place."""
    dim, to = queries.shape[1], 0
    for q in range(start, stop, ROWS):
        for d in range(dim):
            for i in range(q, q + ROWS):
                put_float32(scratch, to, queries[i, d] if i < stop else np.float32(0))
                to += 1
    return to


@inline
def pack_candidates(panel, vectors, factors, j, lanes):
    """Write `lanes` vectors times their factors, number by number; lanes beyond the last one are NaN."""
    dim = vectors.shape[1]
    for i in range(lanes):
        if j + i < len(vectors):
            factor = factors[j + i]
            for d in range(dim):
                put_float32(panel, d * lanes + i, vectors[j + i, d] * factor)
        else:
            for d in range(dim):
                put_float32(panel, d * lanes + i, np.float32(np.nan))


@inline
def tile(query, panel, dim, width):
    """Return the products of `ROWS` queries with two vectors of candidates."""
    size = 4 * UNIT * len(width)
    a, b, c, d, e, f = zeros(width), zeros(width), zeros(width), zeros(width), zeros(width), zeros(width)
    g, h, i, j, k, m = zeros(width), zeros(width), zeros(width), zeros(width), zeros(width), zeros(width)
    for _ in range(dim):
        x, y = load(panel, width), load(panel + size, width)
        q = load_splat(query, width)
        a, g = fma(q, x, a), fma(q, y, g)
        q = load_splat(query + 4, width)
        b, h = fma(q, x, b), fma(q, y, h)
        q = load_splat(query + 8, width)
        c, i = fma(q, x, c), fma(q, y, i)
        q = load_splat(query + 12, width)
        d, j = fma(q, x, d), fma(q, y, j)
        q = load_splat(query + 16, width)
        e, k = fma(q, x, e), fma(q, y, k)
        q = load_splat(query + 20, width)
        f, m = fma(q, x, f), fma(q, y, m)
        query += 4 * ROWS
        panel += 2 * size
    return (a, b, c, d, e, f), (g, h, i, j, k, m)


@inline
def margin(x, y, roots, i, width):
    """Return by how much products are above the worst that was kept, at most; a NaN is passed over."""
    least = splat(np.float32(-np.inf), width)
    return sub(maximum(y, maximum(x, least)), load_splat(roots + 4 * i, width))


@inline
def offer(scores, ids, q, x, y, room, roots, first, count, own, own_offsets, width):
    """Take those products of one query that are greater than the worst that was kept."""
    store(room, x)
    store(room + 4 * UNIT * len(width), y)
    found, numbers = scores[q], ids[q]
    for j in range(count):
        score = get_float32(room, j)
        if score > found[0] and not is_own(own, own_offsets[q], own_offsets[q + 1], first + j):
            sink(found, numbers, 0, len(found), score, first + j)
    put_float32(roots, 0, found[0])


@kernel
def nearest(scores, ids, vectors, factors, first, queries, own, own_offsets, start, stop, scratch, width):
    dim, lanes = vectors.shape[1], 2 * UNIT * len(width)
    packed = mutable_address(scratch, 0)
    panel = packed + 4 * pack_queries(packed, queries, start, stop)
    room = panel + 4 * lanes * dim
    worst = room + 4 * lanes
    for q in range(start, stop + ROWS):
        put_float32(worst, q - start, scores[q, 0] if q < stop else np.float32(np.inf))
    nothing = zeros(width)
    for j in range(0, len(vectors), lanes):
        pack_candidates(panel, vectors, factors, j, lanes)
        count, at, roots = min(lanes, len(vectors) - j), packed, worst
        for q in range(start, stop, ROWS):
            x, y = tile(at, panel, dim, width)
            at += 4 * ROWS * dim
            a, b = margin(x[0], y[0], roots, 0, width), margin(x[1], y[1], roots, 1, width)
            c, d = margin(x[2], y[2], roots, 2, width), margin(x[3], y[3], roots, 3, width)
            e, f = margin(x[4], y[4], roots, 4, width), margin(x[5], y[5], roots, 5, width)
            if any_greater(maximum(a, maximum(b, maximum(c, maximum(d, maximum(e, maximum(f, nothing)))))), nothing):
                if any_greater(a, nothing):
                    offer(scores, ids, q, x[0], y[0], room, roots, first + j, count, own, own_offsets, width)
                if any_greater(b, nothing):
                    offer(scores, ids, q + 1, x[1], y[1], room, roots + 4, first + j, count, own, own_offsets, width)
                if any_greater(c, nothing):
                    offer(scores, ids, q + 2, x[2], y[2], room, roots + 8, first + j, count, own, own_offsets, width)
                if any_greater(d, nothing):
                    offer(scores, ids, q + 3, x[3], y[3], room, roots + 12, first + j, count, own, own_offsets, width)
                if any_greater(e, nothing):
                    offer(scores, ids, q + 4, x[4], y[4], room, roots + 16, first + j, count, own, own_offsets, width)
                if any_greater(f, nothing):
                    offer(scores, ids, q + 5, x[5], y[5], room, roots + 20, first + j, count, own, own_offsets, width)
            roots += 4 * ROWS


@inline
def product(vector, query):
    total = 0.0
    for d in range(len(query)):
        total += np.float64(vector[d]) * np.float64(query[d])
    return total


@kernel
def measure(scores, ids, vectors, lengths, queries, first, start, stop):
    for q in range(start, stop):
        for j in range(vectors.shape[1]):
            number = ids[q, first + j]
            if number >= 0:
                length = np.float64(lengths[number])
                scores[q, first + j] = product(vectors[q, j], queries[q]) / (length if length != 0 else 1.0)


@kernel
def sort(scores, ids, start, stop):
    k = ids.shape[1]
    for q in range(start, stop):
        found, numbers = scores[q], ids[q]
        for j in range(k // 2 - 1, -1, -1):
            sink(found, numbers, j, k, found[j], numbers[j])
        for last in range(k - 1, 0, -1):  # the root, the worst, goes behind the heap that is left
            score, number = found[last], numbers[last]
            found[last], numbers[last] = found[0], numbers[0]
            sink(found, numbers, 0, last, score, number)
