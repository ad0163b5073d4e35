"""The best few of many scores: see the reference for what each function means.

A row is a heap whose root is the worst that was kept. The scan compares `GROUP` scores at once with the root and looks
at them one by one only where one of them is greater, which happens some hundred times in a hundred thousand scores.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.simd import W16, address, any_greater, get_float32, load, maximum, mul, splat

__all__ = ["measure", "merge", "scan", "sort"]

LANES = 16
GROUP = 4 * LANES


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


@kernel
def merge(scores, ids, more_scores, more_ids, start, stop):
    for q in range(start, stop):
        found, numbers = scores[q], ids[q]
        for j in range(more_ids.shape[1]):
            score, number = more_scores[q, j], more_ids[q, j]
            if number >= 0 and (numbers[0] < 0 or is_worse(found[0], numbers[0], score, number)):
                sink(found, numbers, 0, len(found), score, number)


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
