"""Counting which words occur near each other; the specification is `kernels/reference/cooccurrence.py`.

A row's sums lie in an array with a place for every word, which stays in the cache: an addition is a load and a store.
The places that became positive are listed, and marked in bits to be read in order. Sums are exact, or in the order of
the text: nothing may be reassociated.
"""

from typing import NamedTuple

import numpy as np

from fastemb.kernels.cpu.options import exact_inline, exact_kernel
from fastemb.kernels.cpu.simd import (
    W8, float64_address, get_float64, get_int32, int32_address, prefetch, put_float64, put_int32, trailing_zeros,
)  # fmt: skip

__all__ = ["Scratch", "allocate_scratch", "count_rows", "list_occurrences", "merge_rows"]

AHEAD = 24  # occurrences, of this word or the next ones, before which neighbours are asked for: memory is far
_NEAR_BITS = 8
_NEAR = (1 << _NEAR_BITS) - 1


class Scratch(NamedTuple):
    """What one thread needs: the sums of a row, zero between rows, and which of them are not."""

    sums: np.ndarray  # float64 (num_words,)
    touched: np.ndarray  # int32 (num_words + 1,)
    marks: np.ndarray  # uint64, a bit a word


def allocate_scratch(num_words: int) -> Scratch:
    """Return the scratch memory of one thread."""
    return Scratch(np.zeros(num_words), np.zeros(num_words + 1, np.int32), np.zeros(num_words // 64 + 1, np.uint64))


@exact_kernel
def list_occurrences(occurrences, ends, ids, offsets, first, last, window, start, stop):
    for i in range(offsets.shape[0] - 1):
        begin, end = offsets[i], offsets[i + 1]
        for place in range(max(begin, first), min(end, last)):
            word = ids[place]
            if start <= word < stop:
                left = min(window, place - begin)
                right = min(window, end - 1 - place)
                occurrences[ends[word]] = place << (2 * _NEAR_BITS) | left << _NEAR_BITS | right
                ends[word] += 1


@exact_kernel
def count_rows(
    cols_out, counts_out, ends_out, occurrences, starts, ids, weights, symmetric, unit, start, stop, scratch
):
    at = np.int64(0)
    text = int32_address(ids, 0)
    sums = float64_address(scratch.sums, 0)
    touched = int32_address(scratch.touched, 0)
    values = float64_address(weights, 0)
    for row in range(start, stop):
        n = np.int64(0)
        for k in range(starts[row], starts[row + 1]):
            if k + AHEAD < starts[stop]:
                there = text + 4 * (occurrences[k + AHEAD] >> (2 * _NEAR_BITS))
                prefetch(there - 60, W8)  # a window of 15 lies in two or three cache lines
                prefetch(there + 4, W8)
                prefetch(there + 60, W8)
            occurrence = occurrences[k]
            place = occurrence >> (2 * _NEAR_BITS)
            if symmetric:
                for distance in range((occurrence >> _NEAR_BITS) & _NEAR, 0, -1):
                    n = add_to(sums, touched, n, get_int32(text, place - distance), get_float64(values, distance))
            for distance in range(1, (occurrence & _NEAR) + 1):
                n = add_to(sums, touched, n, get_int32(text, place + distance), get_float64(values, distance))
        at = write_row(cols_out, counts_out, at, scratch, n, unit)
        ends_out[row - start] = at


@exact_kernel
def merge_rows(cols_out, counts_out, ends_out, offsets, cols, counts, unit, start, stop, scratch):
    at = np.int64(0)
    sums = float64_address(scratch.sums, 0)
    touched = int32_address(scratch.touched, 0)
    for row in range(start, stop):
        n = np.int64(0)
        for m in range(offsets.shape[0]):
            for k in range(offsets[m, row], offsets[m, row + 1]):
                n = add_to(sums, touched, n, cols[k], counts[k])
        at = write_row(cols_out, counts_out, at, scratch, n, unit)
        ends_out[row - start] = at


@exact_inline
def add_to(sums, touched, n, col, value):
    """Add to the sum of a column, and list it if it was zero; return the length of the list."""
    before = get_float64(sums, col)
    put_float64(sums, col, before + value)
    put_int32(touched, n, col)
    return n + (before == 0.0)


@exact_inline
def write_row(cols_out, counts_out, at, scratch, n, unit):
    """Write the row that the sums hold, and leave zeros; return where it ends."""
    sums, touched, marks = scratch.sums, scratch.touched, scratch.marks
    for k in range(n):
        col = np.uint64(touched[k])
        marks[col >> np.uint64(6)] |= np.uint64(1) << (col & np.uint64(63))
    for word in range(np.uint64(marks.shape[0]) if n > 0 else np.uint64(0)):
        bits = marks[word]
        while bits != np.uint64(0):
            col = (np.uint64(word) << np.uint64(6)) | trailing_zeros(bits)
            cols_out[at] = np.int32(col)
            counts_out[at] = sums[col] / unit
            sums[col] = 0.0
            at += 1
            bits &= bits - np.uint64(1)
        marks[word] = np.uint64(0)
    return at
