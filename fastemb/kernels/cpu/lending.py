"""Input rows in private copies: lending them to the places of a sentence, and giving their changes back.

The copies are in a ring: place p of a sentence has the slot ``p & (ring - 1)``. `lists` is None where a word's input is
its own row of the table, else the addresses of the values and offsets of `subwords`. `factors` is None or the address
of the rates of the table's rows. `shares` is the address of the scratch memory of that name.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline
from fastemb.kernels.cpu.rows import give_back, lend, prefetch_row, publish, step_of
from fastemb.kernels.cpu.simd import (
    add, fma, get_float32, get_int32, get_int64, load, mul, put_float32, splat, store, sub, zeros,
)  # fmt: skip

__all__ = ["compose", "give_back_rest", "mean_factor", "move_window", "prefetch_input", "spread"]


@inline
def prefetch_input(table, lists, word, row_bytes, width):
    """Ask for the rows of a word's input."""
    if lists is None:
        prefetch_row(table + word * row_bytes, row_bytes, width)
    else:
        for k in range(get_int64(lists[1], word), get_int64(lists[1], word + 1)):
            prefetch_row(table + get_int32(lists[0], k) * row_bytes, row_bytes, width)


@inline
def compose(table, values, first, last, scale, row, base, row_bytes, width):
    """row = base = scale * the sum of the listed rows."""
    factor = splat(scale, width)
    for c in range(0, row_bytes, step_of(width)):
        sums = zeros(width)
        for k in range(first, last):
            sums = add(sums, load(table + get_int32(values, k) * row_bytes + c, width))
        sums = mul(sums, factor)
        store(row + c, sums)
        store(base + c, sums)


@inline
def spread(table, values, first, last, factors, scale, row, base, row_bytes, width):
    """Add scale * (row - base), times its own factor, to each of the listed rows of the table."""
    for c in range(0, row_bytes, step_of(width)):
        change = sub(load(row + c, width), load(base + c, width))
        if factors is None:
            for k in range(first, last):
                target = table + get_int32(values, k) * row_bytes + c
                store(target, add(load(target, width), change))
        else:
            for k in range(first, last):
                listed = get_int32(values, k)
                own = get_float32(factors, listed)
                if own != np.float32(0):
                    target = table + listed * row_bytes + c
                    store(target, fma(splat(own * scale, width), change, load(target, width)))


@inline
def mean_factor(values, first, last, factors):
    """Return the mean of the listed rows' factors."""
    total = np.float32(0)
    for k in range(first, last):
        total += get_float32(factors, get_int32(values, k))
    return total / np.float32(last - first)


@inline
def lend_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width):
    word = np.int64(get_int32(words, p))
    slot = p & (ring - 1)
    row = lent + slot * row_bytes
    base = row + ring * row_bytes
    if lists is None:
        lend(table + word * row_bytes, row, base, row_bytes, width)
        if factors is not None:
            put_float32(shares, ring + slot, get_float32(factors, word))
    else:
        first, last = get_int64(lists[1], word), get_int64(lists[1], word + 1)
        number = np.float32(last - first)
        put_float32(shares, slot, number)
        compose(table, lists[0], first, last, np.float32(1) / number, row, base, row_bytes, width)
        if factors is not None:
            put_float32(shares, ring + slot, mean_factor(lists[0], first, last, factors))


@inline
def give_back_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width):
    word = np.int64(get_int32(words, p))
    slot = p & (ring - 1)
    row = lent + slot * row_bytes
    base = row + ring * row_bytes
    if lists is None:
        if factors is not None and get_float32(factors, word) == np.float32(0):
            return
        give_back(table + word * row_bytes, row, base, row_bytes, width)
    else:
        first, last = get_int64(lists[1], word), get_int64(lists[1], word + 1)
        if factors is None:
            spread(table, lists[0], first, last, factors, np.float32(1), row, base, row_bytes, width)
        else:
            scale = np.float32(1) / get_float32(shares, ring + slot)
            spread(table, lists[0], first, last, factors, scale, row, base, row_bytes, width)


@inline
def publish_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width):
    if lists is None and factors is None:
        row = lent + (p & (ring - 1)) * row_bytes
        publish(table + get_int32(words, p) * row_bytes, row, row + ring * row_bytes, row_bytes, width)
    else:
        give_back_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width)
        lend_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width)


@inline
def move_window(
    words, n, pos, window, staleness, table, lists, factors, shares, lent, ring, row_bytes, width,
):  # fmt: skip
    """Give back the row that the window has left, refresh those that are due, and lend those that it reaches."""
    last = pos - window - 1
    if last >= 0:
        give_back_place(table, lists, factors, shares, words, last, lent, ring, row_bytes, width)
    if pos > 0:
        for age in range((2 * window) // staleness * staleness, 0, -staleness):
            p = pos + window - age
            if 0 <= p < n:
                publish_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width)
    for p in range(0 if pos == 0 else pos + window, min(pos + window + 1, n)):
        lend_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width)


@inline
def give_back_rest(words, n, window, table, lists, factors, shares, lent, ring, row_bytes, width):
    """Give back what is lent after the last window of a sentence."""
    for p in range(max(0, n - 1 - window), n):
        give_back_place(table, lists, factors, shares, words, p, lent, ring, row_bytes, width)
