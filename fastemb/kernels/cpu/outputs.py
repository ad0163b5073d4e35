"""Output rows: private copies of those most used, and the choice of the rows that meet a window.

`rows` is a tuple of numbers that tells where the rows of a table are: the address of the table, that of the private
copies, the first row that has one, how many have one, the bytes of a row, and the address of a row of zeros.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline
from fastemb.kernels.cpu.rows import give_back, lend, prefetch_row, publish
from fastemb.kernels.cpu.scratch import FIRST, IRREGULAR, LAST, MIDDLE, OUTPUTS, PATHS
from fastemb.kernels.cpu.sentences import draw_noise
from fastemb.kernels.cpu.simd import (
    BLOCK, get_float32, get_int32, get_int64, get_uint8, put_float32, put_int32, put_int64,
)  # fmt: skip

__all__ = [
    "choose_noise", "choose_path", "draw_negatives", "give_back_private", "kind_of", "lend_private", "output_row",
    "prefetch_path", "touch_rows",
]  # fmt: skip


@inline
def output_row(rows, row):
    """Return the address of an output row: of the private copy if there is one."""
    table, private, first, number, row_bytes, _ = rows
    place = row - first
    return private + place * row_bytes if np.uint64(place) < np.uint64(number) else table + row * row_bytes


@inline
def lend_private(rows, touches, width):
    """Copy the rows that are to be private."""
    table, private, first, number, row_bytes, _ = rows
    for k in range(number):
        put_int32(touches, k, np.int32(0))
        row = private + k * row_bytes
        lend(table + (first + k) * row_bytes, row, row + number * row_bytes, row_bytes, width)


@inline
def give_back_private(rows, width):
    table, private, first, number, row_bytes, _ = rows
    for k in range(number):
        row = private + k * row_bytes
        give_back(table + (first + k) * row_bytes, row, row + number * row_bytes, row_bytes, width)


@inline
def touch_rows(rows, touches, block, publish_every, width):
    """Count the use of a block's private rows, and publish those that are due."""
    table, private, first, number, row_bytes, _ = rows
    for k in range(OUTPUTS):
        at = np.int64(get_int32(block, k))
        place = at - first
        if at >= 0 and np.uint64(place) < np.uint64(number):
            count = get_int32(touches, place) + 1
            if count >= publish_every:
                count = 0
                row = private + place * row_bytes
                publish(table + at * row_bytes, row, row + number * row_bytes, row_bytes, width)
            put_int32(touches, place, np.int32(count))


@inline
def draw_negatives(negatives, pos, place, noise_list, num_words, noise_seed, negative, rows, width):
    """Draw the negatives of the window at `pos`, and ask for their rows."""
    for k in range(negative):
        word = draw_noise(noise_list, num_words, noise_seed, place * negative + k)
        put_int32(negatives, (pos & 1) * negative + k, np.int32(word))
        prefetch_row(output_row(rows, word), rows[4], width)


@inline
def choose_noise(block, outputs, coefficients, centre, negatives, first, negative, rows):
    """Fill `block`, `outputs` and the irregular coefficients; return the number of distinct outputs.

    An output that is skipped (a negative equal to the centre word, a second occurrence, an empty place at the end)
    becomes the row of zeros with a coefficient of zero.
    """
    distinct = np.int64(0)
    for k in range(OUTPUTS):
        at = first + k
        word = centre if at == 0 else np.int32(-1)
        if 0 < at <= negative:
            word = get_int32(negatives, at - 1)
            if word == centre:
                word = np.int32(-1)
        count = np.float32(1 if at == 0 else -1)
        for j in range(k):
            if word >= 0 and get_int32(block, j) == word:
                repeated = get_float32(coefficients, IRREGULAR + j) + count
                put_float32(coefficients, IRREGULAR + j, repeated)
                put_float32(coefficients, IRREGULAR + OUTPUTS + j, repeated)
                word = np.int32(-1)
        if word < 0:
            count = np.float32(0)
        put_float32(coefficients, IRREGULAR + k, count)
        put_float32(coefficients, IRREGULAR + OUTPUTS + k, count)
        put_int32(block, k, word)
        put_int64(outputs, k, rows[5] if word < 0 else output_row(rows, np.int64(word)))
        distinct += word >= 0
    return distinct


@inline
def kind_of(distinct, first, negative):
    """Return the place of a block's coefficients."""
    left = negative + 1 - first
    if distinct < min(left, OUTPUTS):
        return IRREGULAR
    if left <= OUTPUTS:
        return LAST
    return FIRST if first == 0 else MIDDLE


@inline
def prefetch_path(path, word, rows, width):
    """Ask for the rows on a word's path, whose `path` is the addresses of points, codes and offsets."""
    for k in range(get_int64(path[2], word), get_int64(path[2], word + 1)):
        prefetch_row(output_row(rows, np.int64(get_int32(path[0], k))), rows[4], width)


@inline
def choose_path(block, outputs, path, first, last, rows):
    """Fill `block` and `outputs` with the nodes ``[first, last)`` of a path; return the place of the coefficients."""
    entry = np.int64(1)
    for k in range(OUTPUTS):
        if first + k < last:
            node = get_int32(path[0], first + k)
            entry = 2 * entry + np.int64(get_uint8(path[1], first + k))
            put_int64(outputs, k, output_row(rows, np.int64(node)))
        else:
            node = np.int32(-1)
            put_int64(outputs, k, rows[5])
        put_int32(block, k, node)
    return PATHS + entry * BLOCK
