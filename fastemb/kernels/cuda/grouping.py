"""Lookups grouped by row: sorted by row, stably, and cut where the row changes.

Up to `TILE` lookups are one block's work, `group`. More of them take `make_keys`, the passes of `sorting`,
`count_heads`, `scan_rows` and `write_heads`. Nothing comes back to the host: how many rows there are is left in
`count`, where kernels read it. Arguments besides the reference's:

keys : int32 or int64 (num_lookups,)
    The row of each lookup, in their new order; `num_embeddings` for those that are left out, which therefore come last.
count : int64 (1,)
    The number of distinct rows.
num_bits : int
    Of `num_embeddings`.

A *head* is a place at which a row's lookups begin.
"""

import numpy as np

from fastemb.kernels.cuda.near import cuda
from fastemb.kernels.cuda.sorting import COUNTERS, DIGIT_BITS, DIGITS, ITEMS, THREADS, TILE, scan, sort_digits
from fastemb.kernels.cuda.vector import first_team, num_teams

__all__ = ["group"]


@cuda.jit(device=True)
def key_of(indices, i, num_embeddings, padding_idx, frozen):
    """Return the row of a lookup, or `num_embeddings` if it is left out."""
    row = np.int64(indices[i])
    if row < 0 or row >= num_embeddings or row == padding_idx:
        return np.int64(num_embeddings)
    if len(frozen) > 0 and frozen[row]:
        return np.int64(num_embeddings)
    return row


@cuda.jit(device=True)
def label_of(labels, i):
    """Return what is told of a lookup."""
    return np.int64(labels[i]) if len(labels) > 0 else np.int64(i)


@cuda.jit(device=True)
def is_head(keys, i, none):
    """Return whether the lookups of a row begin at a place."""
    return keys[i] != none and (i == 0 or keys[i] != keys[i - 1])


@cuda.jit(device=True)
def num_heads(keys, none, first):
    """Return the number of heads among the ITEMS places of a thread."""
    found = np.int64(0)
    for i in range(first, min(first + ITEMS, len(keys))):
        if is_head(keys, i, none):
            found += 1
    return found


@cuda.jit(device=True)
def cut(rows, starts, keys, none, first, row, num_rows):
    """Write the rows that begin among the ITEMS places of a thread, from number `row` on, and the last one's end."""
    for i in range(first, min(first + ITEMS, len(keys))):
        if is_head(keys, i, none):
            rows[row] = keys[i]
            starts[row] = i
            row += 1
        if keys[i] == none:
            if i == 0 or keys[i - 1] != none:
                starts[num_rows] = i
        elif i == len(keys) - 1:
            starts[num_rows] = i + 1


@cuda.jit
def group(
    rows, starts, order, indices, num_embeddings, padding_idx, frozen, labels, keys, count, num_bits,
):  # fmt: skip
    digits = cuda.shared.array(TILE, np.uint8)
    places = cuda.shared.array(TILE, np.uint16)
    spare = cuda.shared.array(TILE, np.uint16)
    counters = cuda.shared.array(COUNTERS, np.uint16)
    sums = cuda.shared.array(THREADS, np.int64)
    t, number = cuda.threadIdx.x, len(indices)
    for i in range(t, number, THREADS):
        places[i] = i
    for shift in range(0, num_bits, DIGIT_BITS):
        for i in range(t, number, THREADS):
            digits[i] = (key_of(indices, i, num_embeddings, padding_idx, frozen) >> shift) & (DIGITS - 1)
        cuda.syncthreads()
        sort_digits(places, spare, digits, counters, sums, number)
    cuda.syncthreads()  # `places` are written even where there is no bit to sort by
    for i in range(t, number, THREADS):
        keys[i] = key_of(indices, places[i], num_embeddings, padding_idx, frozen)
        order[i] = label_of(labels, places[i])
    cuda.syncthreads()  # makes what a block has written to global memory known in the block
    row, num_rows = scan(num_heads(keys, num_embeddings, t * ITEMS), sums)
    cut(rows, starts, keys, num_embeddings, t * ITEMS, row, num_rows)
    if t == 0:
        count[0] = num_rows


@cuda.jit
def make_keys(keys, values, indices, num_embeddings, padding_idx, frozen, labels, start, stop):
    """Write what is sorted by, and what goes along; each thread has a lookup."""
    i = start + first_team()
    while i < stop:
        keys[i] = key_of(indices, i, num_embeddings, padding_idx, frozen)
        values[i] = label_of(labels, i)
        i += num_teams()


@cuda.jit
def count_heads(heads, keys, num_embeddings):
    """Write to ``heads[0, tile]`` how many rows begin in a tile; a block has a tile."""
    sums = cuda.shared.array(THREADS, np.int64)
    t, tile = cuda.threadIdx.x, np.int64(cuda.blockIdx.x)
    _, whole = scan(num_heads(keys, num_embeddings, tile * TILE + t * ITEMS), sums)
    if t == 0:
        heads[0, tile] = whole


@cuda.jit
def write_heads(rows, starts, keys, num_embeddings, heads, count):
    """Write the rows and where they begin; `heads` and `count` are from `scan_rows`."""
    sums = cuda.shared.array(THREADS, np.int64)
    t, tile = cuda.threadIdx.x, np.int64(cuda.blockIdx.x)
    first = tile * TILE + t * ITEMS
    row, _ = scan(num_heads(keys, num_embeddings, first), sums)
    cut(rows, starts, keys, num_embeddings, first, heads[0, tile] + row, count[0])
