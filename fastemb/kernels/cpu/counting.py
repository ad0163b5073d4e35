"""Lookups grouped by row where rows are few: a count for every row, and each lookup moved once to its place.

A part is a range of the lookups, with counts of its own; the result is the same however the lookups are cut.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel, part_of

__all__ = ["count_part", "counting_pays", "move_part", "place_counts"]

_MOST_ROWS = 2**17  # whose counts, and the ends of whose lookups, caches hold
_LOOKUPS_A_ROW, _FEWEST = 4, 16384  # lookups from which it pays to walk over all rows
_0, _1 = np.uint64(0), np.uint64(1)


@inline
def counting_pays(num_lookups, num_embeddings, num_parts):
    """Return whether grouping should count rather than sort pairs; the scratch of `grouping` then holds the counts."""
    most = min(num_lookups // (_LOOKUPS_A_ROW * num_parts), _MOST_ROWS)
    return num_lookups >= _FEWEST and num_embeddings <= most


@inline
def _bucket(indices, i, num_embeddings, padding_idx, frozen):
    """Return the row of a lookup; behind the last one for a lookup that is left out."""
    index = np.int64(indices[i])
    taken = (np.uint64(index) < np.uint64(num_embeddings)) & (index != padding_idx)
    if taken and len(frozen) != 0:
        taken = not frozen[np.uint64(index)]
    return np.uint64(index) if taken else np.uint64(num_embeddings)


@inline
def _counts_of(scratch, num_embeddings, part):
    """Return the counts of a part."""
    size = np.uint64(num_embeddings) + _1
    return scratch.view(np.uint32)[part * size : (part + _1) * size]


@kernel
def count_part(scratch, indices, num_embeddings, padding_idx, frozen, part, num_parts):
    """Count the lookups of each row in a part."""
    counts = _counts_of(scratch, num_embeddings, part)
    counts[:] = 0
    size = np.uint64(len(indices))
    for i in range(part_of(_0, size, part, num_parts), part_of(_0, size, part + _1, num_parts)):
        counts[_bucket(indices, i, num_embeddings, padding_idx, frozen)] += np.uint32(1)


@kernel
def place_counts(rows, starts, scratch, num_lookups, num_embeddings, num_parts):
    """Turn the counts into places, write the rows and their starts, and return how many there are."""
    counts = scratch.view(np.uint32)
    size = np.uint64(num_embeddings) + _1
    at, n, row = np.uint32(0), _0, _0
    starts[0] = 0
    while row < size and n < num_lookups:
        before = at
        for part in range(num_parts):
            place = part * size + row
            count = counts[place]
            counts[place] = at
            at += count
        if row + _1 < size:  # what is behind the last row are the lookups that are left out
            rows[n] = row
            starts[n + _1] = at
            n += np.uint64(at != before)
        row += _1
    return n


@kernel
def move_part(order, scratch, indices, num_embeddings, padding_idx, frozen, labels, part, num_parts):
    """Move the labels of a part's lookups to their places."""
    counts = _counts_of(scratch, num_embeddings, part)
    size = np.uint64(len(indices))
    labelled = len(labels) != 0
    for i in range(part_of(_0, size, part, num_parts), part_of(_0, size, part + _1, num_parts)):
        bucket = _bucket(indices, i, num_embeddings, padding_idx, frozen)
        place = counts[bucket]
        counts[bucket] = place + np.uint32(1)
        order[np.uint64(place)] = np.int32(labels[i]) if labelled else np.int32(i)
