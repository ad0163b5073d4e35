"""Find the words of text and number them, without the GIL."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastemb.corpus._table cimport INVALID_UTF8, LONG_WORD, NONE, NUL_BYTE, WordTable

import mmap

import numpy as np

from fastemb.corpus._table import raise_problem

cdef extern from "_scan.h" nogil:
    ctypedef struct Classes "fastemb_classes":
        uint64_t space
        uint64_t newline
        uint64_t lead

    Classes classify "fastemb_classify"(const uint8_t* p)
    Classes classify_portably "fastemb_classify_portably"(const uint8_t* p)
    int lowest_bit "fastemb_lowest_bit"(uint64_t bits)
    int count_bits "fastemb_count_bits"(uint64_t bits)
    int unicode_space "fastemb_unicode_space"(const uint8_t* p)
    int64_t c_last_cut "fastemb_last_cut"(const uint8_t* p, int64_t size)
    void lower_ascii "fastemb_lower_ascii"(uint8_t* p, int64_t size)

# Bytes that a buffer must have beyond its text: the scanner reads whole groups of 64.
PADDING = 64

cdef Py_ssize_t MAX_BLOCK = 1 << 30
cdef Py_ssize_t MAPPED_BYTES = 1 << 16
# Neighbouring private maps become one, of which a process may have any size; Windows knows no flags.
PRIVATE = {"flags": mmap.MAP_PRIVATE} if hasattr(mmap, "MAP_PRIVATE") else {}

cdef enum:
    STEP = 4096                      # bytes whose words are found, then looked up


class BadWord(ValueError):
    """A word that cannot be taken.

    Attributes
    ----------
    problem : {"nul", "utf-8", "long"}
    position : int
        Where it begins in the block.
    word : bytes
        The word, or the beginning of a long one.
    """

    def __init__(self, problem, position, word):
        super().__init__(problem, position, word)
        self.problem, self.position, self.word = problem, position, word


def classes_of(const uint8_t[::1] text, bint portable):
    r"""Return the bit masks of white space, newlines and leading bytes in 64 bytes of text, as one of two ways finds them.

    Examples
    --------
    >>> classes_of(b"a b\n" + bytes(60), portable=True)
    (10, 8, 0)
    """
    if text.shape[0] != 64:
        raise ValueError(f"text must have 64 bytes, got {text.shape[0]}")
    cdef Classes classes = classify_portably(&text[0]) if portable else classify(&text[0])
    return classes.space, classes.newline, classes.lead


def last_cut(const uint8_t[::1] text, Py_ssize_t size):
    """Return the place just after the last white space in ``text[:size]``, 0 if there is none."""
    if not 0 <= size <= text.shape[0]:
        raise ValueError(f"size must be in [0, {text.shape[0]}], got {size}")
    return c_last_cut(&text[0], size) if size > 0 else 0


cdef object new_record(Py_ssize_t size):
    """Return an uninitialised int32 array whose memory goes back to the system as soon as it is dropped."""
    # malloc keeps freed blocks of some megabytes for itself, which would double the peak while records are replaced.
    if size * 4 >= MAPPED_BYTES:
        try:
            return np.frombuffer(mmap.mmap(-1, size * 4, **PRIVATE), np.int32)
        except OSError:
            # There may be too many maps rather than too little memory; what follows tells.
            pass
    return np.empty(size, np.int32)


@cython.final
cdef class Scanner:
    """One thread's table of words and its scratch memory.

    Parameters
    ----------
    strict
        Refuse words of a text that are not UTF-8 or hold NUL bytes.
    """

    cdef readonly WordTable table
    cdef int32_t* numbers            # of the words of the block at hand
    cdef int32_t* lines              # words before each line end of the block at hand
    cdef Py_ssize_t capacity
    cdef Py_ssize_t num_words, num_lines, num_newlines
    cdef int64_t[2] bad

    def __cinit__(self, bint strict=False):
        self.table = WordTable(strict)

    def __dealloc__(self):
        free(self.numbers)
        free(self.lines)

    def scan_text(self, uint8_t[::1] text, Py_ssize_t size, int64_t base, bint lowercase):
        """Number the words of ``text[:size]``; the buffer goes on for `PADDING` bytes, which are overwritten.

        Parameters
        ----------
        text, size
            A block that begins at a word or white space and ends after white space.
        base
            Place of the block in the whole source, in bytes.
        lowercase
            Lower ASCII letters, in place.

        Returns
        -------
        record : int32 array
            The words' numbers in this table, then for each line end the number of words before it (line ends without
            a word between them are one).
        num_words, num_line_ends, num_newlines : int

        Raises
        ------
        BadWord
            If a word is longer than `MAX_WORD_BYTES` or, in a strict table, not UTF-8.
        """
        cdef int64_t problem
        cdef uint8_t* start = &text[0]
        if not 0 <= size <= min(text.shape[0] - 64, MAX_BLOCK):
            raise ValueError(f"size must be in [0, {min(text.shape[0] - 64, MAX_BLOCK)}], got {size}")
        self.reserve(size // 2 + 2)
        with nogil:
            memset(start + size, 32, 64)
            if lowercase:
                lower_ascii(start, size)
            problem = self.scan(start, size, base)
        if problem != NONE:
            self.fail(problem, start)
        return self.record(), self.num_words, self.num_lines, self.num_newlines

    def scan_tokens(self, uint8_t[::1] text, const uint32_t[::1] edges, const int32_t[::1] lines, int64_t base,
                    bint lowercase):
        """Number packed tokens.

        Parameters
        ----------
        text
            The tokens' bytes one after the other, and `PADDING` bytes.
        edges
            Token `i` is ``text[edges[i]:edges[i + 1]]``.
        lines
            Tokens before each line end.
        base, lowercase
            As in `scan_text`.

        Returns
        -------
        record, num_words, num_line_ends
            As of `scan_text`.
        """
        cdef int64_t problem = NONE
        cdef Py_ssize_t i, n = edges.shape[0] - 1
        if n < 0 or edges[0] != 0 or <Py_ssize_t>edges[n] > text.shape[0] - 64:
            raise ValueError("edges must rise from 0 to the end of the text")
        for i in range(n):
            if edges[i] >= edges[i + 1]:
                raise ValueError(f"edges must rise, got {edges[i + 1]} after {edges[i]} at position {i + 1}")
        self.reserve(max(n, lines.shape[0]))
        with nogil:
            if lowercase:
                lower_ascii(&text[0], text.shape[0])
            problem = self.table.look_up(&text[0], &edges[0], 1, n, base, self.numbers, self.bad)
            if lines.shape[0] > 0:
                memcpy(self.lines, &lines[0], lines.shape[0] * sizeof(int32_t))
        if problem != NONE:
            self.fail(problem, &text[0])
        self.num_words, self.num_lines = n, lines.shape[0]
        return self.record(), self.num_words, self.num_lines

    cdef int64_t scan(self, const uint8_t* text, Py_ssize_t size, int64_t base) noexcept nogil:
        """Number the words between white space of ``text[:size]``, which 64 spaces follow."""
        cdef uint32_t[STEP + 1] edges    # places where a word begins, ends, begins, ...
        cdef uint64_t space, changes, spilled = 0, before = 1
        cdef Py_ssize_t at = 0, group, num_edges = 0, stop = (size // 64 + 1) * 64
        cdef int64_t problem, last_line = -1
        cdef Classes classes
        self.num_words = self.num_lines = self.num_newlines = 0
        while at < stop:
            for group in range(at, min(at + STEP, stop), 64):
                classes = classify(text + group)
                space = classes.space | spilled
                spilled = 0
                if classes.lead != 0:
                    space |= wide_spaces(text + group, classes.lead, &spilled)
                changes = space ^ (space << 1 | before)
                before = space >> 63
                if classes.newline != 0:
                    last_line = self.end_lines(classes.newline, changes, num_edges, last_line)
                while changes != 0:
                    edges[num_edges] = <uint32_t>(group + lowest_bit(changes))
                    num_edges += 1
                    changes &= changes - 1
            at += STEP
            problem = self.table.look_up(text, edges, 2, num_edges // 2, base, self.numbers + self.num_words, self.bad)
            if problem != NONE:
                return problem
            self.num_words += num_edges // 2
            # A word that is open goes on in the next step.
            edges[0] = edges[num_edges - 1] if num_edges & 1 else 0
            num_edges &= 1
        return NONE

    cdef int64_t end_lines(self, uint64_t newlines, uint64_t changes, Py_ssize_t num_edges, int64_t last) noexcept nogil:
        """Note the line ends of a group; return how many words come before the last one."""
        cdef uint64_t bit
        cdef int64_t num_words
        while newlines != 0:
            bit = newlines & -newlines
            newlines &= newlines - 1
            self.num_newlines += 1
            # A word that is open before a line end ends there, hence the rounding up.
            num_words = self.num_words + (num_edges + count_bits(changes & (bit - 1)) + 1) // 2
            if num_words != last:
                self.lines[self.num_lines] = <int32_t>num_words
                self.num_lines += 1
                last = num_words
        return last

    cdef int reserve(self, Py_ssize_t capacity) except -1:
        """Make room for so many numbers and line ends."""
        if capacity <= self.capacity:
            return 0
        self.capacity = 0
        free(self.numbers)
        free(self.lines)
        self.lines = NULL
        self.numbers = <int32_t*>malloc(capacity * sizeof(int32_t))
        if self.numbers != NULL:
            self.lines = <int32_t*>malloc(capacity * sizeof(int32_t))
        if self.lines == NULL:
            raise MemoryError
        self.capacity = capacity
        return 0

    cdef object record(self):
        cdef int32_t[::1] view
        array = new_record(self.num_words + self.num_lines)
        if array.size > 0:
            view = array
            with nogil:
                memcpy(&view[0], self.numbers, self.num_words * sizeof(int32_t))
                memcpy(&view[0] + self.num_words, self.lines, self.num_lines * sizeof(int32_t))
        return array

    cdef object fail(self, int64_t problem, const uint8_t* text):
        names = {NUL_BYTE: "nul", INVALID_UTF8: "utf-8", LONG_WORD: "long"}
        if problem not in names:
            raise_problem(problem)
        word = PyBytes_FromStringAndSize(<const char*>text + self.bad[0], self.bad[1])
        raise BadWord(names[problem], self.bad[0], word)


cdef uint64_t wide_spaces(const uint8_t* text, uint64_t leads, uint64_t* spilled) noexcept nogil:
    """Mark the bytes of white space beyond ASCII in 64 bytes of text; what is beyond them goes to `spilled`."""
    cdef uint64_t space = 0, bytes_of_one
    cdef int bit, length
    while leads != 0:
        bit = lowest_bit(leads)
        leads &= leads - 1
        length = unicode_space(text + bit)
        if length > 0:
            bytes_of_one = (<uint64_t>1 << length) - 1
            space |= bytes_of_one << bit
            if bit + length > 64:
                spilled[0] = bytes_of_one >> (64 - bit)
    return space
