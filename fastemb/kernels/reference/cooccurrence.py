"""Counting which words occur near each other, row by row of the matrix.

The specification of `kernels/cpu/cooccurrence.py`: obvious and slow.

First the occurrences of each word are listed; then a row of the matrix is the sum over its word's occurrences, so that
rows can be handed out in any way, and every sum is taken in the order of the text. A row is written with its columns
ascending.
"""

import numpy as np

__all__ = ["NEAR_BITS", "count_rows", "list_occurrences", "merge_rows"]

NEAR_BITS = 8  # of each of the two numbers of neighbours in an occurrence


def list_occurrences(occurrences, ends, ids, offsets, first, last, window, start, stop):
    """List where words occur at the places ``[first, last)``, and how many neighbours are on either side.

    Parameters
    ----------
    occurrences : int64 (num_occurrences,)
        Output: ``place << 16 | words to the left << 8 | words to the right``, the place in `ids`, the words within the
        window and the sentence.
    ends : int64 (num_words,)
        Where the next occurrence of each word goes; moved on.
    ids : int32 (num_ids,)
    offsets : int64 (num_sentences + 1,)
        Of the sentences that these places are in.
    first, last : int
    window : int
        At most 255.
    start, stop : int
        The range of words.
    """
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        for place in range(max(begin, first), min(end, last)):
            if start <= ids[place] < stop:
                left = min(window, place - begin)
                right = min(window, end - 1 - place)
                occurrences[ends[ids[place]]] = place << 2 * NEAR_BITS | left << NEAR_BITS | right
                ends[ids[place]] += 1


def count_rows(cols_out, counts_out, ends_out, occurrences, starts, ids, weights, symmetric, unit, start, stop):
    """Write rows of the matrix: for each word the weights of the words on its right, and left if `symmetric`.

    Parameters
    ----------
    cols_out : int32 (enough,)
    counts_out : float64 (enough,)
        Outputs: the columns and values of the rows, one row after the other.
    ends_out : int64 (stop - start,)
        Output: where each row ends in them.
    occurrences : int64 (num_occurrences,)
        As `list_occurrences` writes them.
    starts : int64 (num_words + 1,)
        The occurrences of word w are ``occurrences[starts[w] : starts[w + 1]]``.
    ids : int32 (num_ids,)
    weights : float64 (window + 1,)
        What a neighbour counts, by its distance.
    symmetric : bool
    unit : float
        What the sums are divided by.
    start, stop : int
        The range of rows.
    """
    at = 0
    for row in range(start, stop):
        sums = {}
        for occurrence in occurrences[starts[row] : starts[row + 1]].tolist():
            place, left, right = occurrence >> 2 * NEAR_BITS, occurrence >> NEAR_BITS & 0xFF, occurrence & 0xFF
            if symmetric:
                for distance in range(left, 0, -1):
                    _add(sums, ids[place - distance], weights[distance])
            for distance in range(1, right + 1):
                _add(sums, ids[place + distance], weights[distance])
        at = _write(cols_out, counts_out, at, sums, unit)
        ends_out[row - start] = at


def merge_rows(cols_out, counts_out, ends_out, offsets, cols, counts, unit, start, stop):
    """Write rows of the sum of matrices, divided by `unit`.

    Parameters
    ----------
    cols_out, counts_out, ends_out
        As in `count_rows`.
    offsets : int64 (num_matrices, num_words + 1)
        Row i of matrix m is ``[offsets[m, i], offsets[m, i + 1])`` of `cols` and `counts`.
    cols : int32 (num_entries,)
    counts : float64 (num_entries,)
    unit : float
    start, stop : int
        The range of rows.
    """
    at = 0
    for row in range(start, stop):
        sums = {}
        for begin, end in zip(offsets[:, row], offsets[:, row + 1], strict=True):
            for n in range(begin, end):
                _add(sums, cols[n], counts[n])
        at = _write(cols_out, counts_out, at, sums, unit)
        ends_out[row - start] = at


def _add(sums, col, value):
    sums[int(col)] = sums.get(int(col), 0.0) + value


def _write(cols_out, counts_out, at, sums, unit):
    for col in sorted(sums):
        cols_out[at], counts_out[at] = col, np.float64(sums[col]) / unit
        at += 1
    return at
