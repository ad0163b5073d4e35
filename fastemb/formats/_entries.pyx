"""The words of fastText's files: each ends with a NUL byte, and a count and a type follow."""

from libc.stdint cimport int8_t, int64_t, uint8_t
from libc.string cimport memchr, memcpy

import numpy as np

cdef enum:
    TAIL = 9                         # an int64 and an int8
    MAX_WORD = 1 << 20


cdef inline int64_t word_end(const uint8_t* text, int64_t place, int64_t size) noexcept nogil:
    """Return where the word that begins at `place` ends, or -1 if its entry is not whole."""
    cdef const uint8_t* found = <const uint8_t*>memchr(text + place, 0, min(size - place, MAX_WORD))
    if found == NULL or size - (found - text) <= TAIL:
        return -1
    return found - text


def parse_entries(const uint8_t[::1] data, int64_t start, int64_t count, int64_t number=0):
    """Return the words of entries that follow each other in a file.

    Parameters
    ----------
    data
        The file.
    start
        Where the first entry begins.
    count
        Number of entries.
    number
        Of the first of them, for errors.

    Returns
    -------
    packed : uint8 array
        All words' bytes.
    offsets : int64 array of shape (count + 1,)
    counts : int64 array of shape (count,)
    kinds : int8 array of shape (count,)
    end : int
        Where the last entry ends.

    Raises
    ------
    ValueError
        If an entry is not whole; the message gives its number.

    Examples
    --------
    >>> data = b"cat" + bytes([0, 5, 0, 0, 0, 0, 0, 0, 0, 1]) + b"."
    >>> packed, offsets, counts, kinds, end = parse_entries(data, 0, 1)
    >>> packed.tobytes(), offsets, counts, kinds, end
    (b'cat', array([0, 3]), array([5]), array([1], dtype=int8), 13)
    """
    cdef int64_t i, place = start, end = start, total = 0, size = data.shape[0]
    if not 0 <= start <= size or not 0 <= count <= (size - start) // (TAIL + 1):
        raise ValueError(f"there is no room for {count} words")
    if count == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int8), start
    ends, amounts, types = np.zeros(count + 1, np.int64), np.empty(count, np.int64), np.empty(count, np.int8)
    cdef int64_t[::1] offsets = ends, counts = amounts
    cdef int8_t[::1] kinds = types
    cdef const uint8_t* text = &data[0]
    with nogil:
        for i in range(count):
            end = word_end(text, place, size)
            if end < 0:
                break
            total += end - place
            offsets[i + 1] = total
            memcpy(&counts[i], text + end + 1, 8)
            kinds[i] = <int8_t>text[end + TAIL]
            place = end + 1 + TAIL
    if end < 0:
        raise ValueError(f"word {number + i} does not end")
    words = np.empty(total, np.uint8)
    cdef uint8_t[::1] packed = words
    if total:
        with nogil:
            place = start
            for i in range(count):
                memcpy(&packed[0] + offsets[i], text + place, offsets[i + 1] - offsets[i])
                place += offsets[i + 1] - offsets[i] + 1 + TAIL
    return words, ends, amounts, types, place if total else start + count * (TAIL + 1)
