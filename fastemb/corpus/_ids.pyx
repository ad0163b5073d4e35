"""From provisional to final word numbers."""

from libc.stdint cimport int32_t, int64_t, uint32_t

import numpy as np


def remap(int32_t[::1] record, Py_ssize_t num_words, const int32_t[::1] numbers):
    """Replace each word number `w` of a record by ``numbers[w]``, in place, and drop those that become negative.

    The kept numbers move to the front; the line ends after the `num_words` words count kept words afterwards.
    Returns the number of words kept.

    Raises
    ------
    ValueError
        If the record is not one.
    """
    cdef Py_ssize_t kept = 0
    if not 0 <= num_words <= record.shape[0]:
        raise ValueError(f"num_words must be in [0, {record.shape[0]}], got {num_words}")
    if record.shape[0] > 0 and numbers.shape[0] > 0:
        with nogil:
            kept = _remap(&record[0], num_words, &record[0] + num_words, record.shape[0] - num_words, &numbers[0],
                          <uint32_t>numbers.shape[0])
    if kept < 0:
        raise ValueError("a record must hold words of its table, then line ends among them")
    return kept


cdef Py_ssize_t _remap(int32_t* words, Py_ssize_t num_words, int32_t* lines, Py_ssize_t num_lines,
                       const int32_t* numbers, uint32_t num_numbers) noexcept nogil:
    cdef Py_ssize_t line, end, i = 0, kept = 0
    cdef int32_t number
    for line in range(num_lines + 1):
        end = lines[line] if line < num_lines else num_words
        if not i <= end <= num_words:
            return -1
        while i < end:
            if <uint32_t>words[i] >= num_numbers:
                return -1
            number = numbers[words[i]]
            words[kept] = number
            kept += number >= 0
            i += 1
        if line < num_lines:
            lines[line] = <int32_t>kept
    return kept


def cut_sentences(const int32_t[::1] lines, int64_t kept, int64_t base, int64_t start, int64_t max_length):
    """Return the sentence ends of one record, and where the sentence begins that is open after it.

    Parameters
    ----------
    lines
        Kept words before each line end of the record.
    kept
        Kept words of the record.
    base
        Kept words before the record.
    start
        Where the open sentence began, in kept words from the beginning of the corpus.
    max_length
        A longer line is cut into sentences of this length.

    Returns
    -------
    ends : int64 array
        In kept words from the beginning of the corpus.
    start : int
    """
    cdef Py_ssize_t line, n = 0, num_lines = lines.shape[0]
    cdef int64_t end
    if not (0 <= start <= base and kept >= 0 and max_length >= 1):
        raise ValueError(f"a sentence cannot begin at {start} and be cut by {max_length} before word {base + kept}")
    ends = np.empty(num_lines + (base + kept - start) // max_length, np.int64)
    cdef int64_t[::1] out = ends
    for line in range(num_lines + 1):
        end = base + (lines[line] if line < num_lines else kept)
        if not start <= end <= base + kept:
            raise ValueError(f"line ends must rise to at most {kept}, got {end - base} at position {line}")
        while end - start >= max_length:
            start += max_length
            out[n] = start
            n += 1
        if line < num_lines and end > start:
            out[n] = start = end
            n += 1
    return ends[:n], start
