"""Lookups grouped by row: pairs of a row and a label are sorted, as integers, by radix; `counting` serves few rows.

A pair is ``key << 32 | label``: the key is the row, counted from the first one of its part, the label a lookup's
position unless others are given. The rows are cut in parts, each with about as many lookups; a part's owner reads all
indices, picks its own, and sorts them in its own cache: on processors whose cores are far from each other that is
cheaper than handing pairs over. The result is the same however the rows are cut.
"""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.compress import LANES, compress_ends, compress_pairs
from fastemb.kernels.cpu.counting import count_part, counting_pays, move_part, place_counts
from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel

__all__ = ["allocate_scratch", "group", "parallel_group"]

_0, _1, _2, _3, _4, _32 = map(np.uint64, (0, 1, 2, 3, 4, 32))
_LANES, _SLACK = np.uint64(LANES), np.uint64(2 * LANES)  # slack: pairs behind a part's own that may be overwritten
_LABEL = np.uint64(2**32 - 1)
_END = np.uint64(2**64 - 1)  # its key is none
_STRIDE = np.uint64(0x9E3779B9)
_MANY = np.uint64(4096)  # pairs from which each quarter has counts of its own
_MAX_DIGIT = 11  # bits: more streams than 2**13, four a bucket, would leave the cache
_MAX_FAR_DIGIT, _FAR = 8, np.uint64(2**18)  # of more pairs than that: each stream is in a page of its own
_COUNTS = np.uint64(4 * 2**_MAX_DIGIT // 2)  # uint64 that hold the uint32 counts of a pass
_STATE = _4  # what is known of a part: its first row, where its pairs are, how many, how many rows
_SAMPLES = np.uint64(64)  # lookups a part that are looked at to cut the rows
_SMALL = np.uint64(128)  # pairs that are sorted by counting the smaller ones


# The scratch holds, in this order: room for all pairs, twice; the counts of each part; the state of each part, and the
# row behind the last one.
def allocate_scratch(num_lookups, num_parts, empty=np.empty):
    """Return the memory that grouping works in, made by `empty`; what it holds does not matter."""
    room = num_lookups + int(_SLACK) * num_parts
    return empty((2 * room + int(_COUNTS) * num_parts + int(_STATE) * (num_parts + 1),), np.uint64)


@inline
def _room(num_lookups, num_parts):
    return num_lookups + _SLACK * num_parts


@inline
def _states(num_lookups, num_parts):
    room = _room(num_lookups, num_parts)
    return room + room + _COUNTS * num_parts


@kernel
def _rank(target, source, n):
    """Sort by counting, many at once, the pairs that come before each."""
    for i in range(n):
        pair = source[i]
        rank = _0
        for j in range(i):
            rank += np.uint64(source[j] <= pair)
        for j in range(i + _1, n):
            rank += np.uint64(source[j] < pair)
        target[rank] = pair


@inline
def _spread(n):
    return _2 if n >= _MANY else _0


@inline
def _count(source, i, counts, shift, mask, quarter):
    counts[((source[i] >> shift) & mask) | quarter] += np.uint32(1)


@inline
def _move(target, source, i, counts, shift, mask, quarter):
    pair = source[i]
    bucket = ((pair >> shift) & mask) | quarter
    place = counts[bucket]
    counts[bucket] = place + np.uint32(1)
    target[place] = pair


@kernel
def _pass(target, source, n, counts, shift, digit):
    """Move pairs to where the order of one digit, stably, has them.

    Each quarter of many pairs has counts of its own: where frequent rows share a digit, counting is a chain of stores
    and loads of one number, and four short chains take less time than a long one.
    """
    spread = _spread(n)
    size = _1 << digit + spread
    mask = size - (_1 << spread)
    shift -= spread
    n1 = n >> _2 if spread != _0 else _0
    n2 = n1 + n1
    n3 = n1 + n2
    rest = (_1 << spread) - _1
    for bucket in range(size):
        counts[bucket] = 0
    for i in range(n1):
        _count(source, i, counts, shift, mask, _0)
        _count(source, n1 + i, counts, shift, mask, _1)
        _count(source, n2 + i, counts, shift, mask, _2)
        _count(source, n3 + i, counts, shift, mask, _3)
    for i in range(n1 + n3, n):
        _count(source, i, counts, shift, mask, rest)
    before = np.uint32(0)
    for bucket in range(size):
        count = counts[bucket]
        counts[bucket] = before
        before += count
    for i in range(n1):
        _move(target, source, i, counts, shift, mask, _0)
        _move(target, source, n1 + i, counts, shift, mask, _1)
        _move(target, source, n2 + i, counts, shift, mask, _2)
        _move(target, source, n3 + i, counts, shift, mask, _3)
    for i in range(n1 + n3, n):
        _move(target, source, i, counts, shift, mask, rest)


@kernel
def _sort(first, second, n, span, counts):
    """Sort pairs with keys below `span`, from `first` to and fro; return whether they end in `second`."""
    if n <= _SMALL:
        _rank(second, first, n)
        return True
    bits = 0
    while span > _1 << np.uint64(bits):
        bits += 1
    most = _MAX_DIGIT if n <= _FAR else _MAX_FAR_DIGIT
    num_passes, best = 0, np.int64(0)
    for passes in range(1, bits + 1):
        digit = (bits + passes - 1) // passes
        cost = passes * (2 * np.int64(n) + (1 << digit + np.int64(_spread(n))))
        if digit <= most and (num_passes == 0 or cost < best):
            num_passes, best = passes, cost
    shift = _32
    for passes in range(num_passes, 0, -1):
        digit = np.uint64((bits + passes - 1) // passes)
        _pass(second, first, n, counts, shift, digit)
        first, second = second, first
        shift += digit
        bits -= np.int64(digit)
    return num_passes % 2 == 1


@kernel
def _count_below(indices, bound):
    """Return how many indices are in ``[0, bound)``."""
    n = _0
    for i in range(np.uint64(len(indices))):
        n += np.uint64(np.uint64(np.int64(indices[i])) < bound)
    return n


@kernel
def _pick(pairs, indices, low, span, padding_idx, frozen, labels, num_inside, width):
    """Write the pairs of the lookups of one part; return how many."""
    size = np.uint64(len(indices))
    labelled = len(labels) != 0
    if len(frozen) == 0 and num_inside == size and np.uint64(padding_idx - low) >= span:
        for i in range(size):
            label = np.uint64(labels[i]) if labelled else i
            pairs[i] = (np.uint64(np.int64(indices[i]) - low) << _32) | label
        return size
    n = i = _0
    if len(frozen) == 0 and len(width) == 2:
        while i + _LANES <= size:
            if labelled:
                n += compress_pairs(pairs, n, indices, labels, i, low, span, padding_idx)
            else:
                n += compress_pairs(pairs, n, indices, None, i, low, span, padding_idx)
            i += _LANES
    while i < size:
        index = np.int64(indices[i])
        key = np.uint64(index - low)
        taken = (key < span) & (index != padding_idx)
        if taken and len(frozen) != 0:
            taken = not frozen[np.uint64(index)]
        pairs[n] = (key << _32) | (np.uint64(labels[i]) if labelled else i)
        n += np.uint64(taken)
        i += _1
    return n


@kernel
def _count_runs(pairs, n):
    runs = _0
    for i in range(n):
        runs += np.uint64((pairs[i] ^ pairs[i + _1]) > _LABEL)
    return runs


@kernel
def _write(rows, starts, order, pairs, n, low, first, num_before, num_rows, width):
    """Write what sorted pairs say: `first` lookups and `num_before` rows are those of the parts before."""
    for i in range(n):
        order[first + i] = np.int32(pairs[i] & _LABEL)
    at = num_before
    stop = at + num_rows
    ends = starts[1:]
    i = _0
    if len(width) == 2:
        while i + _LANES <= n and at + _LANES <= stop:
            at += compress_ends(rows, ends, at, pairs, i, low, first)
            i += _LANES
    while at < stop:
        key = pairs[i] >> _32
        rows[at] = np.int64(key) + low
        i += _1
        ends[at] = first + i
        at += np.uint64(pairs[i] >> _32 != key)


@kernel
def _sort_part(scratch, indices, padding_idx, frozen, labels, part, num_parts, width):
    """Pick and sort the lookups of a part, and say in its state how many."""
    num_lookups = np.uint64(len(indices))
    room = _room(num_lookups, num_parts)
    counts = room + room + _COUNTS * part
    state = _states(num_lookups, num_parts) + _STATE * part
    low, high = scratch[state], scratch[state + _STATE]
    span = high - low
    begin = _count_below(indices, low)
    num_inside = _count_below(indices, high) - begin
    begin += _SLACK * part
    pairs, other = scratch[begin:room], scratch[room + begin : room + room]
    n = _pick(pairs, indices, np.int64(low), span, padding_idx, frozen, labels, num_inside, width)
    if _sort(pairs, other, n, span, scratch[counts : counts + _COUNTS].view(np.uint32)):
        begin += room
        pairs = other
    pairs[n] = _END
    scratch[state + _1], scratch[state + _2], scratch[state + _3] = begin, n, _count_runs(pairs, n)


@kernel
def _cut(scratch, indices, num_embeddings, padding_idx, num_parts):
    """Choose the first row of each part so that each has about as many lookups."""
    size = np.uint64(len(indices))
    room = _room(size, num_parts)
    state = _states(size, num_parts)
    for part in range(num_parts):
        scratch[state + _STATE * part] = _0 if part == _0 else num_embeddings
    scratch[state + _STATE * num_parts] = num_embeddings
    if num_parts == _1:
        return
    n = _0
    for s in range(min(size, _SAMPLES * num_parts)):
        # A regular stride could always meet the same column of a table of features.
        index = np.int64(indices[s * _STRIDE % size])
        scratch[n] = (np.uint64(index) << _32) | s
        n += np.uint64(0 <= index < num_embeddings and index != padding_idx)
    counts = scratch[room + room : room + room + _COUNTS].view(np.uint32)
    base = room if _sort(scratch[:room], scratch[room : room + room], n, np.uint64(num_embeddings), counts) else _0
    for part in range(_1, num_parts):
        if n != _0:
            scratch[state + _STATE * part] = scratch[base + n * part // num_parts] >> _32


@kernel
def _sum_before(scratch, what, num_lookups, part, num_parts):
    """Return the sum of the numbers `what` in the states of the parts before `part`."""
    states = _states(num_lookups, num_parts)
    total = _0
    for before in range(part):
        total += scratch[states + _STATE * before + what]
    return total


@kernel
def _write_part(rows, starts, order, scratch, num_lookups, part, num_parts, width):
    """Write the rows, starts and order of a sorted part behind those of the parts before it."""
    if part == _0:
        starts[0] = 0
    first = _sum_before(scratch, _2, num_lookups, part, num_parts)
    num_before = _sum_before(scratch, _3, num_lookups, part, num_parts)
    state = _states(num_lookups, num_parts) + _STATE * part
    low, begin, n, num_rows = scratch[state], scratch[state + _1], scratch[state + _2], scratch[state + _3]
    pairs = scratch[begin:state]
    _write(rows, starts, order, pairs, n, np.int64(low), first, num_before, num_rows, width)


@kernel
def group(rows, starts, order, indices, num_embeddings, padding_idx, frozen, labels, scratch, width):
    num_lookups = np.uint64(len(indices))
    if counting_pays(num_lookups, num_embeddings, _1):
        count_part(scratch, indices, num_embeddings, padding_idx, frozen, _0, _1)
        num_rows = place_counts(rows, starts, scratch, num_lookups, num_embeddings, _1)
        move_part(order, scratch, indices, num_embeddings, padding_idx, frozen, labels, _0, _1)
        return np.int64(num_rows)
    _cut(scratch, indices, num_embeddings, padding_idx, _1)
    _sort_part(scratch, indices, padding_idx, frozen, labels, _0, _1, width)
    _write_part(rows, starts, order, scratch, num_lookups, _0, _1, width)
    return np.int64(_sum_before(scratch, _3, num_lookups, _1, _1))


@parallel_kernel
def parallel_group(rows, starts, order, indices, num_embeddings, padding_idx, frozen, labels, scratch, width, chunks):
    parts = np.uint64(chunks)
    num_lookups = np.uint64(len(indices))
    if counting_pays(num_lookups, num_embeddings, parts):
        for part in prange(chunks):
            count_part(scratch, indices, num_embeddings, padding_idx, frozen, np.uint64(part), parts)
        num_rows = place_counts(rows, starts, scratch, num_lookups, num_embeddings, parts)
        for part in prange(chunks):
            move_part(order, scratch, indices, num_embeddings, padding_idx, frozen, labels, np.uint64(part), parts)
        return np.int64(num_rows)
    _cut(scratch, indices, num_embeddings, padding_idx, parts)
    for part in prange(chunks):
        _sort_part(scratch, indices, padding_idx, frozen, labels, np.uint64(part), parts, width)
    for part in prange(chunks):
        _write_part(rows, starts, order, scratch, num_lookups, np.uint64(part), parts, width)
    return np.int64(_sum_before(scratch, _3, num_lookups, parts, parts))
