cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "_scan.h" nogil:
    ctypedef struct Key "fastemb_key":
        uint64_t low
        uint64_t high
        uint32_t hash

    ctypedef struct Entry "fastemb_entry":
        uint64_t low
        uint64_t high
        int64_t count
        uint64_t extent


cdef enum Problem:
    NONE = 0
    OUT_OF_MEMORY = -1
    TOO_MANY_WORDS = -2
    NUL_BYTE = -3
    INVALID_UTF8 = -4
    LONG_WORD = -5


@cython.final
cdef class WordTable:
    cdef bint strict
    cdef void* entries_memory
    cdef Entry* entries              # in it, at a multiple of 64
    cdef int64_t* firsts             # places of the words' first occurrences in the whole source
    cdef int64_t num_entries, entries_capacity
    cdef int64_t last_base           # place of the latest block so far
    cdef uint64_t* slots             # hash << 32 | word number + 1; 0 where empty
    cdef uint64_t slot_mask
    cdef uint8_t* arena              # the words' bytes
    cdef int64_t arena_size, arena_capacity

    cdef int64_t look_up(self, const uint8_t* text, const uint32_t* edges, Py_ssize_t stride, Py_ssize_t num_words,
                         int64_t base, int32_t* out, int64_t* bad) noexcept nogil
    cdef int64_t insert(self, uint64_t slot, Key key, const uint8_t* word, int64_t length, bint check) noexcept nogil
    cdef int64_t grow_entries(self) noexcept nogil
    cdef int64_t check_word(self, const uint8_t* word, int64_t length) noexcept nogil
    cdef int64_t reserve(self, int64_t length) noexcept nogil
    cdef int64_t grow_slots(self) noexcept nogil
    cdef int64_t place(self, const uint8_t* word, int64_t length, int64_t count, int64_t first) noexcept nogil
    cdef void prefetch_all(self, WordTable other, int64_t start, int64_t stop) noexcept nogil
    cdef int64_t take_all(self, WordTable other, const uint8_t* skip, int32_t* out) noexcept nogil
