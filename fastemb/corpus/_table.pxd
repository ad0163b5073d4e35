cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "_scan.h" nogil:
    ctypedef struct Key "fastemb_key":
        uint64_t low
        uint64_t high
        uint32_t hash


cdef enum Problem:
    NONE = 0
    OUT_OF_MEMORY = -1
    TOO_MANY_WORDS = -2
    NUL_BYTE = -3
    INVALID_UTF8 = -4
    LONG_WORD = -5


cdef struct Entry:
    uint64_t low                     # the word's first eight bytes
    uint64_t high                    # the next eight
    int64_t offset                   # of the word in the arena
    int64_t count
    int64_t first                    # place of the first occurrence in the whole source
    uint32_t length
    uint32_t hash


@cython.final
cdef class WordTable:
    cdef bint strict
    cdef Entry* entries
    cdef int64_t num_entries, entries_capacity
    cdef uint64_t* slots             # hash << 32 | word number + 1; 0 where empty
    cdef uint64_t slot_mask
    cdef uint8_t* arena              # the words' bytes
    cdef int64_t arena_size, arena_capacity

    cdef int64_t look_up(self, const uint8_t* text, const uint32_t* edges, Py_ssize_t stride, Py_ssize_t num_words,
                         int64_t base, int32_t* out, int64_t* bad) noexcept nogil
    cdef int64_t place(self, Key key, const uint8_t* word, int64_t length, bint check) noexcept nogil
    cdef int64_t insert(self, uint64_t slot, Key key, const uint8_t* word, int64_t length, bint check) noexcept nogil
    cdef int64_t check_word(self, const uint8_t* word, int64_t length) noexcept nogil
    cdef int64_t reserve(self, int64_t length) noexcept nogil
    cdef int64_t grow_slots(self) noexcept nogil
    cdef int64_t take_all(self, WordTable other, const uint8_t* skip, int32_t* out) noexcept nogil
    cdef int64_t find(self, const Entry* entry, const uint8_t* arena) noexcept nogil
