"""Lines of labelled text as fastText splits them, and the rows of their features, without the GIL."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memset

from fastemb.corpus._table cimport INVALID_UTF8, LONG_WORD, NONE, NUL_BYTE, WordTable

import numpy as np

from fastemb.corpus._scan import BadWord
from fastemb.corpus._table import raise_problem

cdef enum:
    STEP = 1024                      # words that are found, then looked up

cdef enum Kind:                      # what a byte belongs to
    WORD, SPACE, NEWLINE

cdef Py_ssize_t MAX_BLOCK = 1 << 30
cdef uint8_t[256] KIND

memset(KIND, WORD, 256)
# C's isspace and NUL; unlike str.split(), a space beyond ASCII is part of a word.
KIND[c"\0"] = KIND[c"\t"] = KIND[c"\v"] = KIND[c"\f"] = KIND[c"\r"] = KIND[c" "] = SPACE
KIND[c"\n"] = NEWLINE


def last_space(const uint8_t[::1] text, Py_ssize_t size):
    """Return the place just after the last white space in ``text[:size]``, 0 if there is none."""
    if not 0 <= size <= text.shape[0]:
        raise ValueError(f"size must be in [0, {text.shape[0]}], got {size}")
    while size > 0 and KIND[text[size - 1]] == WORD:
        size -= 1
    return size


@cython.final
cdef class LineScanner:
    """One thread's table of words, filled by lines of text.

    Parameters
    ----------
    strict
        Refuse words that are not UTF-8.
    """

    cdef readonly WordTable table
    cdef int64_t[2] bad

    def __cinit__(self, bint strict=False):
        self.table = WordTable(strict)

    def scan_text(self, const uint8_t[::1] text, Py_ssize_t size, int64_t base, bint lowercase=False):
        """Number the words of ``text[:size]``; the buffer goes on for 64 bytes.

        Parameters
        ----------
        text, size
            A block that begins at a word or white space and ends after white space.
        base
            Place of the block in the whole source, in bytes.
        lowercase
            Not supported; `Scanner.scan_text` has it.

        Returns
        -------
        record : int32 array
            The words' numbers in this table, then for each line end the number of words before it.
        num_words, num_line_ends, num_newlines : int

        Raises
        ------
        BadWord
            If a word is longer than `MAX_WORD_BYTES` or, in a strict table, not UTF-8.
        """
        cdef Py_ssize_t num_words = 0, num_lines = 0
        cdef int64_t problem
        if lowercase or not 0 <= size <= min(text.shape[0] - 64, MAX_BLOCK):
            raise ValueError(f"size must be in [0, {min(text.shape[0] - 64, MAX_BLOCK)}], got {size}")
        count_words(&text[0], size, &num_words, &num_lines)
        record = np.empty(num_words + num_lines, np.int32)
        cdef int32_t[::1] out = record
        if record.size:
            with nogil:
                problem = self.scan(&text[0], size, base, &out[0], &out[0] + num_words)
            if problem != NONE:
                self.fail(problem, &text[0])
        return record, num_words, num_lines, num_lines

    cdef int64_t scan(self, const uint8_t* text, Py_ssize_t size, int64_t base, int32_t* numbers,
                      int32_t* ends) noexcept nogil:
        cdef uint32_t[2 * STEP] edges
        cdef Py_ssize_t at = 0, n = 0, done = 0
        cdef int64_t problem
        while at < size:
            if KIND[text[at]] != WORD:
                if KIND[text[at]] == NEWLINE:
                    ends[0] = <int32_t>(done + n)
                    ends += 1
                at += 1
                continue
            edges[2 * n] = <uint32_t>at
            while at < size and KIND[text[at]] == WORD:
                at += 1
            edges[2 * n + 1] = <uint32_t>at
            n += 1
            if n == STEP:
                problem = self.table.look_up(text, edges, 2, n, base, numbers + done, self.bad)
                if problem != NONE:
                    return problem
                done += n
                n = 0
        return self.table.look_up(text, edges, 2, n, base, numbers + done, self.bad) if n > 0 else NONE

    cdef object fail(self, int64_t problem, const uint8_t* text):
        names = {NUL_BYTE: "nul", INVALID_UTF8: "utf-8", LONG_WORD: "long"}
        if problem not in names:
            raise_problem(problem)
        word = PyBytes_FromStringAndSize(<const char*>text + self.bad[0], self.bad[1])
        raise BadWord(names[problem], self.bad[0], word)


cdef void count_words(const uint8_t* text, Py_ssize_t size, Py_ssize_t* num_words, Py_ssize_t* num_lines) noexcept nogil:
    cdef Py_ssize_t at
    cdef uint8_t kind, before = SPACE
    for at in range(size):
        kind = KIND[text[at]]
        num_words[0] += kind == WORD and before != WORD
        num_lines[0] += kind == NEWLINE
        before = kind


def have_prefix(const uint8_t[::1] packed, const int64_t[::1] offsets, bytes prefix):
    """Return whether each packed word begins with `prefix`, bool (num_words,).

    Examples
    --------
    >>> have_prefix(b"ab", np.array([0, 1, 2]), b"b")
    array([False,  True])
    """
    cdef Py_ssize_t i, n = offsets.shape[0] - 1, size = len(prefix)
    cdef const char* wanted = prefix
    cdef int64_t last = packed.shape[0]
    marks = np.zeros(n, bool)
    cdef uint8_t[::1] out = marks.view(np.uint8)
    for i in range(n):
        if 0 <= offsets[i] and size <= offsets[i + 1] - offsets[i] and offsets[i + 1] <= last:
            out[i] = memcmp(&packed[offsets[i]], wanted, size) == 0
    return marks


def split_lines(const int32_t[::1] numbers, const int64_t[::1] ends, const int32_t[::1] places, int32_t last):
    """Part each line's labels from its words.

    Parameters
    ----------
    numbers
        Of the words of all lines.
    ends
        Line `i` is ``numbers[ends[i - 1]:ends[i]]``, the first one from 0 on.
    places
        What each number stands for: a word from 0 on, a label as ``-2 - label``, or -1, which is left out.
    last
        A word that every line gets as its last one; -1 for none.

    Returns
    -------
    words : int32 array
    word_offsets : int64 array of shape (num_lines + 1,)
    labels : int32 array
    label_offsets : int64 array of shape (num_lines + 1,)
    """
    cdef Py_ssize_t line, i, num_lines = ends.shape[0], num_words = 0, num_labels = 0
    cdef int32_t place
    cdef int64_t total = ends[num_lines - 1] if num_lines else 0
    check_rise(ends, numbers.shape[0])
    check_numbers(numbers, places.shape[0])
    words = np.empty(total + (num_lines if last >= 0 else 0), np.int32)
    labels = np.empty(total, np.int32)
    word_offsets, label_offsets = np.zeros(num_lines + 1, np.int64), np.zeros(num_lines + 1, np.int64)
    cdef int32_t[::1] word_out = words, label_out = labels
    cdef int64_t[::1] word_ends = word_offsets, label_ends = label_offsets
    with nogil:
        i = 0
        for line in range(num_lines):
            while i < ends[line]:
                place = places[numbers[i]]
                i += 1
                if place >= 0:
                    word_out[num_words] = place
                    num_words += 1
                elif place < -1:
                    label_out[num_labels] = -2 - place
                    num_labels += 1
            if last >= 0:
                word_out[num_words] = last
                num_words += 1
            word_ends[line + 1] = num_words
            label_ends[line + 1] = num_labels
    return words[:num_words], word_offsets, labels[:num_labels].copy(), label_offsets


def join_features(const int32_t[::1] words, const int64_t[::1] offsets, const int32_t[::1] rows,
                  const int64_t[::1] row_offsets, const int32_t[::1] ngrams, const int64_t[::1] ngram_offsets):
    """Return the features of lines: the rows of each word, then the line's own.

    Parameters
    ----------
    words, offsets
        Line `i` is ``words[offsets[i]:offsets[i + 1]]``.
    rows, row_offsets
        Word `w` has ``rows[row_offsets[w]:row_offsets[w + 1]]``; negative ones are left out.
    ngrams, ngram_offsets
        Line `i` has ``ngrams[ngram_offsets[i]:ngram_offsets[i + 1]]`` besides, but for negative ones; no offsets for
        none.

    Returns
    -------
    features : int32 array
    feature_offsets : int64 array of shape (num_lines + 1,)
    """
    cdef Py_ssize_t line, num_lines = offsets.shape[0] - 1
    cdef int64_t j, k, size = 0, n = 0
    cdef bint extra = ngram_offsets.shape[0] > 0
    if num_lines < 0 or (extra and ngram_offsets.shape[0] != num_lines + 1):
        raise ValueError(f"there must be n-grams of {num_lines} lines, got those of {ngram_offsets.shape[0] - 1}")
    check_rise(offsets, words.shape[0])
    check_rise(row_offsets, rows.shape[0])
    check_rise(ngram_offsets, ngrams.shape[0])
    check_numbers(words[offsets[0] : offsets[num_lines]], row_offsets.shape[0] - 1)
    with nogil:
        for j in range(offsets[0], offsets[num_lines]):
            size += row_offsets[words[j] + 1] - row_offsets[words[j]]
    features = np.empty(size + ngrams.shape[0], np.int32)
    feature_offsets = np.zeros(num_lines + 1, np.int64)
    cdef int32_t[::1] out = features
    cdef int64_t[::1] ends = feature_offsets
    with nogil:
        for line in range(num_lines):
            for j in range(offsets[line], offsets[line + 1]):
                for k in range(row_offsets[words[j]], row_offsets[words[j] + 1]):
                    if rows[k] >= 0:
                        out[n] = rows[k]
                        n += 1
            if extra:
                for k in range(ngram_offsets[line], ngram_offsets[line + 1]):
                    if ngrams[k] >= 0:
                        out[n] = ngrams[k]
                        n += 1
            ends[line + 1] = n
    return features[:n], feature_offsets


cdef int check_rise(const int64_t[::1] offsets, int64_t last) except -1:
    cdef Py_ssize_t i
    cdef int64_t before = 0
    for i in range(offsets.shape[0]):
        if not before <= offsets[i] <= last:
            raise ValueError(f"offsets must rise from 0 to {last}, got {offsets[i]} at position {i}")
        before = offsets[i]
    return 0


cdef int check_numbers(const int32_t[::1] numbers, int64_t count) except -1:
    cdef Py_ssize_t i
    for i in range(numbers.shape[0]):
        if not 0 <= numbers[i] < count:
            raise ValueError(f"numbers must be in [0, {count}), got {numbers[i]} at position {i}")
    return 0
