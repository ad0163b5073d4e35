"""Input rows that are lent to the places of a sentence; the specification is `kernels/reference/windows.py`.

Place p of a sentence's kept words has slot p modulo ``2 * window + 1`` of a block's memory, see `blocks`. The rows
``[first, last)`` of a word are `values` at these places, or, where there are no subwords, the places themselves.
"""

import numpy as np

from fastemb.kernels.cuda.near import ZEROS, atomic_add, columns_of, cuda, fresh_load, near_load, near_store
from fastemb.kernels.cuda.sentences import QUEUE
from fastemb.kernels.cuda.vector import W4, add, multiply_add, scale

__all__ = ["give_back", "lend", "move_window", "slot_near"]


@cuda.jit(device=True)
def slot_near(centre_slot, apart, window):
    """Return the slot of the place that is `apart` from the one with `centre_slot`, at most the ring's size."""
    ring = 2 * window + 1
    slot = centre_slot + apart
    if slot < 0:
        slot += ring
    return slot - ring if slot >= ring else slot


@cuda.jit(device=True)
def rows_of(subwords, word):
    """Return the range of a word's rows."""
    ends = subwords[1]
    if ends.shape[0] == 1:
        return word, word + 1
    return ends[word], ends[word + 1]


@cuda.jit(device=True)
def row_at(subwords, k):
    values, ends = subwords
    return k if ends.shape[0] == 1 else np.int64(values[k])


@cuda.jit(device=True)
def rate_of(rates, row):
    return rates[0] if rates.shape[0] == 1 else rates[row]


@cuda.jit(device=True)
def mean_of(weight_in, subwords, first, last, c):
    """Return four columns of the mean of a word's rows."""
    total = ZEROS
    for k in range(first, last):
        total = add(total, fresh_load(weight_in, row_at(subwords, k), c, W4))
    return scale(total, np.float32(1) / np.float32(last - first))


@cuda.jit(device=True)
def give_back_columns(memory, layout, weight_in, subwords, rates, first, last, slot, c, atomics):
    """Add four columns of the change of a slot to each of the word's rows."""
    stride, before, _, _, _, _, factors, _, _ = layout
    factor = memory[factors + slot]
    old = near_load(memory, before + slot * stride + c)
    change = multiply_add(old, np.float32(-1), near_load(memory, slot * stride + c))
    for k in range(first, last):
        row = row_at(subwords, k)
        own = rate_of(rates, row)
        if own != np.float32(0):
            atomic_add(weight_in, row, c, scale(change, own / factor), atomics)


@cuda.jit(device=True)
def put(memory, layout, slot, c, row):
    """Write four columns of a row that is lent."""
    near_store(memory, slot * layout[0] + c, row)
    near_store(memory, layout[1] + slot * layout[0] + c, row)


@cuda.jit(device=True)
def lend(memory, layout, weight_in, subwords, rates, word, slot):
    """Copy the mean of a word's rows to a slot."""
    first, last = rows_of(subwords, word)
    c = 4 * cuda.threadIdx.x
    while c < columns_of(weight_in):
        put(memory, layout, slot, c, mean_of(weight_in, subwords, first, last, c))
        c += 4 * cuda.blockDim.x
    if cuda.threadIdx.x == 0:
        factor = np.float32(0)
        for k in range(first, last):
            factor += rate_of(rates, row_at(subwords, k))
        memory[layout[5] + slot] = np.float32(last - first)
        memory[layout[6] + slot] = factor / np.float32(last - first)


@cuda.jit(device=True)
def give_back(memory, layout, weight_in, subwords, rates, word, slot, atomics):
    """Add the change of a slot to each of the word's rows."""
    first, last = rows_of(subwords, word)
    c = 4 * cuda.threadIdx.x
    while c < columns_of(weight_in):
        give_back_columns(memory, layout, weight_in, subwords, rates, first, last, slot, c, atomics)
        c += 4 * cuda.blockDim.x


@cuda.jit(device=True)
def renewed(memory, layout, weight_in, subwords, rates, words, number, p, pos, centre_slot, window, c, atomics):
    """Give four columns of the place `p` back, and return what is lent again; zeros for no place."""
    if p < 0 or p >= number:
        return ZEROS
    first, last = rows_of(subwords, np.int64(words[p & (QUEUE - 1)]))
    slot = slot_near(centre_slot, p - pos, window)
    give_back_columns(memory, layout, weight_in, subwords, rates, first, last, slot, c, atomics)
    return mean_of(weight_in, subwords, first, last, c)


@cuda.jit(device=True)
def put_renewed(memory, layout, number, p, pos, centre_slot, window, c, row):
    if 0 <= p < number:
        put(memory, layout, slot_near(centre_slot, p - pos, window), c, row)


@cuda.jit(device=True)
def renew(
    memory, layout, weight_in, subwords, rates, words, number, pos, centre_slot, window, staleness, atomics,
):  # fmt: skip
    """Give back and lend again the places that are due, each a multiple of `staleness` windows old.

    Four at a time, so that a thread waits once for what it reads of four rows; in the order of the places all the same.
    """
    oldest = (2 * window) // staleness * staleness
    c = 4 * cuda.threadIdx.x
    while c < columns_of(weight_in):
        for age in range(oldest, 0, -4 * staleness):
            p = pos + window - age
            q, r, s = p + staleness, p + 2 * staleness, p + 3 * staleness
            end = min(number, pos + window)  # the place there is not lent yet
            a = renewed(memory, layout, weight_in, subwords, rates, words, end, p, pos, centre_slot, window, c, atomics)
            b = renewed(memory, layout, weight_in, subwords, rates, words, end, q, pos, centre_slot, window, c, atomics)
            d = renewed(memory, layout, weight_in, subwords, rates, words, end, r, pos, centre_slot, window, c, atomics)
            e = renewed(memory, layout, weight_in, subwords, rates, words, end, s, pos, centre_slot, window, c, atomics)
            put_renewed(memory, layout, end, p, pos, centre_slot, window, c, a)
            put_renewed(memory, layout, end, q, pos, centre_slot, window, c, b)
            put_renewed(memory, layout, end, r, pos, centre_slot, window, c, d)
            put_renewed(memory, layout, end, s, pos, centre_slot, window, c, e)
        c += 4 * cuda.blockDim.x


@cuda.jit(device=True)
def move_window(
    memory, layout, weight_in, subwords, rates, words, number, pos, centre_slot, window, staleness, atomics,
):  # fmt: skip
    """Give back the row that the window has left, renew those that are due, and lend those that it reaches.

    `number` is the end of the queue: the words of the sentence, or more than the window reaches.
    """
    last = pos - window - 1
    if last >= 0:  # in the slot of the place that the window reaches now
        word = np.int64(words[last & (QUEUE - 1)])
        slot = slot_near(centre_slot, window, window)
        give_back(memory, layout, weight_in, subwords, rates, word, slot, atomics)
    cuda.syncthreads()  # factors are read, before they are written
    if pos > 0:
        renew(memory, layout, weight_in, subwords, rates, words, number, pos, centre_slot, window, staleness, atomics)
    for p in range(0 if pos == 0 else pos + window, min(pos + window + 1, number)):
        lend(
            memory, layout, weight_in, subwords, rates, np.int64(words[p & (QUEUE - 1)]),
            slot_near(centre_slot, p - pos, window),
        )  # fmt: skip
