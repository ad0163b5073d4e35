"""A stable sort of numbers with what goes along, 8 bits at a time, and sums of all numbers before each one.

A *tile* is `TILE` neighbouring numbers, which a block of `THREADS` threads has in shared memory. A pass over 8 bits is
three kernels, between which the whole grid is done: `count` counts the digits of each tile; `scan_rows` finds how many
of a digit lie in the tiles before; `scatter` sorts its tile and writes each number to its place. Every place is written
once, by a thread that its number alone decides, so that the result is the same in each run.

All threads of a block take each branch around a barrier together: what such a branch asks is the same for all of them.
"""

import numpy as np

from fastemb.kernels.cuda.near import cuda
from fastemb.kernels.cuda.vector import SIMULATED

__all__ = ["DIGITS", "DIGIT_BITS", "THREADS", "TILE", "count", "scan", "scan_rows", "scatter", "sort_digits"]

THREADS, ITEMS = (4, 4) if SIMULATED else (256, 8)  # of a block, and the numbers of each
TILE = THREADS * ITEMS  # below 2**16: places in a tile are uint16
HALF_BITS = 2 if SIMULATED else 4  # a digit is sorted in two halves; the simulator is slow where there are many
DIGIT_BITS, DIGITS, HALF = 2 * HALF_BITS, 4**HALF_BITS, 2**HALF_BITS
COUNTERS = HALF * THREADS + 2 * (HALF * THREADS // 64)


@cuda.jit(device=True)
def scan(value, sums):
    """Return the sum of the values of the threads before, and that of all; `sums` is shared int64 (THREADS,).

    All threads of a block must call it. It begins and ends so that `sums` may be used again at once.
    """
    t = cuda.threadIdx.x
    sums[t] = value
    cuda.syncthreads()
    apart = 1
    while apart < THREADS:
        before = np.int64(0)
        if t >= apart:
            before = sums[t - apart]
        cuda.syncthreads()  # all have read
        sums[t] += before
        cuda.syncthreads()  # all have written
        apart *= 2
    own, whole = sums[t], sums[THREADS - 1]
    cuda.syncthreads()
    return own - value, whole


@cuda.jit(device=True)
def counter(digit, thread):
    """Return the place of a thread's counter of a digit, in [0, HALF * THREADS) as ``digit * THREADS + thread``.

    Two of 64 places stay empty, so that threads which read HALF neighbouring ones each meet in no bank.
    """
    place = digit * THREADS + thread
    return place + 2 * (place >> 6)


@cuda.jit(device=True)
def split(out, given, digits, shift, counters, sums, number):
    """Sort the places `given` of digits by half the bits of these, stably: a thread has ITEMS neighbouring ones."""
    t = cuda.threadIdx.x
    first = t * ITEMS
    last = min(first + ITEMS, number)
    for n in range(HALF):
        counters[counter(n, t)] = 0
    for i in range(first, last):
        counters[counter((digits[given[i]] >> shift) & (HALF - 1), t)] += 1
    cuda.syncthreads()
    total = np.int64(0)
    for n in range(HALF):
        total += counters[counter(0, HALF * t + n)]
    base, _ = scan(total, sums)
    for n in range(HALF):
        at = counter(0, HALF * t + n)
        many = counters[at]
        counters[at] = base
        base += many
    cuda.syncthreads()
    for i in range(first, last):
        at = counter((digits[given[i]] >> shift) & (HALF - 1), t)
        out[counters[at]] = given[i]
        counters[at] += 1
    cuda.syncthreads()


@cuda.jit(device=True)
def sort_digits(places, spare, digits, counters, sums, number):
    """Sort `number` places of a tile by their digits, stably and in place; all is shared memory.

    Parameters
    ----------
    places, spare : uint16 (TILE,)
    digits : uint8 (TILE,)
        By place. Both are written, and a barrier was met, before.
    counters : uint16 (COUNTERS,)
    sums : int64 (THREADS,)
    number : int
    """
    split(spare, places, digits, 0, counters, sums, number)
    split(places, spare, digits, HALF_BITS, counters, sums, number)


@cuda.jit
def count(histogram, keys, shift):
    """Write to ``histogram[digit, tile]`` how many keys of a tile have that digit; a block has a tile."""
    counts = cuda.shared.array(DIGITS, np.int32)
    t, tile = cuda.threadIdx.x, np.int64(cuda.blockIdx.x)
    for digit in range(t, DIGITS, THREADS):
        counts[digit] = 0
    cuda.syncthreads()
    for i in range(tile * TILE + t, min((tile + 1) * TILE, len(keys)), THREADS):
        cuda.atomic.add(counts, (keys[i] >> shift) & (DIGITS - 1), 1)  # counts, whose order does not matter
    cuda.syncthreads()
    for digit in range(t, DIGITS, THREADS):
        histogram[digit, tile] = counts[digit]


@cuda.jit
def scan_rows(numbers, totals):
    """Replace each number by the sum of those before in its row, and write the sum of all; a block has a row."""
    sums = cuda.shared.array(THREADS, np.int64)
    t, row, before = cuda.threadIdx.x, cuda.blockIdx.x, np.int64(0)
    for first in range(0, numbers.shape[1], THREADS):
        i, value = first + t, np.int64(0)
        if i < numbers.shape[1]:
            value = np.int64(numbers[row, i])
        own, whole = scan(value, sums)
        if i < numbers.shape[1]:
            numbers[row, i] = before + own
        before += whole
    if t == 0:
        totals[row] = before


@cuda.jit
def scatter(keys_out, values_out, keys, values, histogram, totals, shift):
    """Write keys and values in the order of a digit of the keys; `histogram` and `totals` are from `scan_rows`."""
    digits = cuda.shared.array(TILE, np.uint8)
    places = cuda.shared.array(TILE, np.uint16)
    spare = cuda.shared.array(TILE, np.uint16)
    counters = cuda.shared.array(COUNTERS, np.uint16)
    sums = cuda.shared.array(THREADS, np.int64)
    starts = cuda.shared.array(DIGITS, np.int32)
    bases = cuda.shared.array(DIGITS, np.int64)  # 24 KB of shared memory in all
    t, tile = cuda.threadIdx.x, np.int64(cuda.blockIdx.x)
    first, share = tile * TILE, DIGITS // THREADS
    number = min(TILE, len(keys) - first)
    for i in range(t, number, THREADS):
        digits[i] = (keys[first + i] >> shift) & (DIGITS - 1)
        places[i] = i
    total = np.int64(0)
    for digit in range(t * share, (t + 1) * share):
        total += totals[digit]
    base, _ = scan(total, sums)
    for digit in range(t * share, (t + 1) * share):
        bases[digit] = base + histogram[digit, tile]
        base += totals[digit]
    cuda.syncthreads()
    sort_digits(places, spare, digits, counters, sums, number)
    for i in range(t, number, THREADS):
        digit = digits[places[i]]
        if i == 0 or digits[places[i - 1]] != digit:
            starts[digit] = i
    cuda.syncthreads()
    for i in range(t, number, THREADS):
        source = np.int64(places[i])
        digit = digits[source]
        to = bases[digit] + (i - starts[digit])
        keys_out[to] = keys[first + source]
        values_out[to] = values[first + source]
