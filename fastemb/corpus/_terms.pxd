cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "_terms.h" nogil:
    ctypedef struct Key "fastemb_term_key":
        uint64_t low
        uint64_t high

    ctypedef struct Word "fastemb_term_word":
        Key key
        Key tail
        Key power
        int64_t count
        int64_t flags

    Key extend "fastemb_extend"(Key key, const uint8_t* bytes, int64_t length)
    Key join "fastemb_join"(Key key, const Word* word)
    Key power "fastemb_power"(int64_t length)
    void prepare "fastemb_prepare"(Word* word, const uint8_t* bytes, int64_t length, Key delimiter, Key delimiter_power)

cdef enum:
    CONNECTOR = 1                    # flags of a word
    COMPOUND = 2                     # it holds the delimiter
    SHARDS = 256                     # so many that one is in a core's cache while it is filled

cdef struct Entry:
    Key key
    int64_t count                    # 0 where nothing is
    int64_t parts                    # what the term is made of, see TermTable

cdef struct Shard:
    Entry* entries
    uint64_t mask
    int64_t size

cdef struct Pair:
    Key key
    int64_t parts


cdef inline int shard_of(Key key) noexcept nogil:
    return <int>(key.low >> 53)


@cython.final
cdef class TermTable:
    cdef Shard[SHARDS] shards

    cdef const Entry* find(self, Key key) noexcept nogil
    cdef int add(self, Key key, int64_t count, int64_t parts) except -1 nogil
    cdef int grow(self, Shard* shard) except -1 nogil
    cdef int add_range(self, const Pair* pairs, int64_t start, int64_t stop) except -1 nogil


cdef const Word* words_of(const uint64_t[:, ::1] words) except? NULL

cdef int64_t word_before(const int32_t* ids, int64_t position, int64_t start, const Word* words,
                         int64_t num_words) noexcept nogil
