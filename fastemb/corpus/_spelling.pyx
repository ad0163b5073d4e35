"""Spell terms and texts of word numbers."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

import numpy as np


def spell(const int64_t[::1] parts, const uint8_t[::1] packed, const int64_t[::1] offsets, bytes delimiter,
          const int32_t[::1] values, const int64_t[::1] ends):
    """Return the texts of terms that are told by their parts (see `TermTable`), packed: a uint8 array and offsets.

    Parameters
    ----------
    parts
        The terms, resolved.
    packed, offsets
        The vocabulary.
    delimiter
        What comes between words.
    values, ends
        The phrases with words in between, as `TermTable.resolve` returns them.
    """
    cdef Py_ssize_t i
    cdef int64_t size = 0, glue_length = len(delimiter), first, last
    cdef int32_t[2] pair
    cdef const int32_t* words
    cdef const uint8_t* glue = <const uint8_t*><const char*>delimiter
    cdef const uint8_t* text = &packed[0] if packed.shape[0] > 0 else glue
    text_offsets = np.zeros(parts.shape[0] + 1, np.int64)
    cdef int64_t[::1] out_offsets = text_offsets
    cdef int64_t num_words = offsets.shape[0] - 1, num_long = ends.shape[0] - 1, k
    cdef uint8_t[::1] out
    for i in range(parts.shape[0]):
        words = words_in(parts[i], pair, values, ends, &first, &last)
        for k in range(first, last):
            if not 0 <= words[k] < num_words:
                raise ValueError(f"word numbers must be in [0, {num_words}), got {words[k]} in term {i}")
            size += offsets[words[k] + 1] - offsets[words[k]]
        size += (last - first - 1) * glue_length
        out_offsets[i + 1] = size
    spelled = np.empty(size, np.uint8)
    out = spelled
    size = 0
    for i in range(parts.shape[0]):
        words = words_in(parts[i], pair, values, ends, &first, &last)
        for k in range(first, last):
            if k > first:
                memcpy(&out[size], glue, glue_length)
                size += glue_length
            memcpy(&out[size], text + offsets[words[k]], offsets[words[k] + 1] - offsets[words[k]])
            size += offsets[words[k] + 1] - offsets[words[k]]
    return spelled, text_offsets


cdef const int32_t* words_in(int64_t parts, int32_t* pair, const int32_t[::1] values, const int64_t[::1] ends,
                             int64_t* first, int64_t* last) except NULL:
    """Return a term's words, which are those from `first` to before `last` in what is returned."""
    if parts < 0:
        if ~parts >= ends.shape[0] - 1:
            raise ValueError(f"there are {ends.shape[0] - 1} long phrases, got number {~parts}")
        first[0], last[0] = ends[~parts], ends[~parts + 1]
        return &values[0]
    pair[0], pair[1] = <int32_t>(parts >> 32), <int32_t>(parts & 0xffffffff)
    first[0], last[0] = 1 if pair[0] == 0x7fffffff else 0, 2
    return pair


def render(const int32_t[::1] ids, const int64_t[::1] offsets, Py_ssize_t start, Py_ssize_t stop,
           const uint8_t[::1] packed, const int64_t[::1] word_offsets):
    r"""Return the sentences `start` to `stop` of a text of word numbers as bytes: words between spaces, ``\n`` at the end.

    Examples
    --------
    >>> render(np.array([1, 0, 1], np.int32), np.array([0, 2, 3]), 0, 2, np.frombuffer(b"newyork", np.uint8),
    ...        np.array([0, 3, 7]))
    b'york new\nyork\n'
    """
    cdef Py_ssize_t i, num_sentences = offsets.shape[0] - 1
    cdef int64_t k, size = 0, length, first, last, num_words = word_offsets.shape[0] - 1
    cdef int32_t word
    if not 0 <= start <= stop <= num_sentences:
        raise ValueError(f"sentences must be in [0, {num_sentences}], got [{start}, {stop})")
    first, last = offsets[start], offsets[stop]
    if not 0 <= first <= last <= ids.shape[0]:
        raise ValueError(f"offsets must be in [0, {ids.shape[0]}], got {first} and {last}")
    for k in range(first, last):
        if not 0 <= ids[k] < num_words:
            raise ValueError(f"ids must be in [0, {num_words}), got {ids[k]} at position {k}")
        size += word_offsets[ids[k] + 1] - word_offsets[ids[k]] + 1
    for i in range(start, stop):
        if not first <= offsets[i] < offsets[i + 1] <= last:
            raise ValueError(f"no sentence may be empty, got one at position {i}")
    text = PyBytes_FromStringAndSize(NULL, size)
    cdef char* at = PyBytes_AS_STRING(text)
    with nogil:
        for i in range(start, stop):
            for k in range(offsets[i], offsets[i + 1]):
                word = ids[k]
                length = word_offsets[word + 1] - word_offsets[word]
                memcpy(at, &packed[word_offsets[word]], length)
                at[length] = b" "
                at += length + 1
            (at - 1)[0] = b"\n"
    return text
