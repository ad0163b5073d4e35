"""Hashes of words, of their character n-grams and of word n-grams: fastText's, and floret's.

A character is a byte that does not continue one in UTF-8 (``10xxxxxx``) with those that do; bytes that are not UTF-8
are no error. The n-grams of a word are those of ``<word>``, without the n-gram of one character that is ``<`` or ``>``.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

import numpy as np

FLORET_SEED = 2166136261

cdef enum:
    MAX_HASHES = 4

cdef uint32_t FNV_START = 2166136261u
cdef uint32_t FNV_PRIME = 16777619u
cdef uint64_t WORD_NGRAM_FACTOR = 116049371u
cdef const char* END_OF_SENTENCE = "</s>"


cdef struct Hashing:
    int32_t min_n
    int32_t max_n
    uint32_t bucket
    int32_t hash_count               # 0: fastText's hash; 1 to 4: floret's, so many rows an n-gram
    int32_t first_row                # of the buckets


cdef inline uint32_t fnv(uint32_t h, const uint8_t* p, int64_t size) noexcept nogil:
    """Go on with an FNV-1a hash; bytes are sign-extended, as in the first fastText, whose char was signed."""
    cdef int64_t i
    for i in range(size):
        h = (h ^ <uint32_t><int8_t>p[i]) * FNV_PRIME
    return h


cdef inline bint continues(uint8_t byte) noexcept nogil:
    return byte & 0xC0 == 0x80


# ---- MurmurHash3 by Austin Appleby, the variant of 128 bits for 64-bit machines

cdef inline uint64_t rotated(uint64_t x, int bits) noexcept nogil:
    return x << bits | x >> (64 - bits)


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u
    return x ^ x >> 33


cdef inline uint64_t word_at(const uint8_t* p, int64_t size) noexcept nogil:
    """Return up to 8 bytes as a little-endian number."""
    cdef uint64_t x = 0
    cdef int64_t i
    for i in range(size):
        x |= <uint64_t>p[i] << 8 * i
    return x


cdef void murmur(const uint8_t* p, int64_t size, uint32_t* out) noexcept nogil:
    """Write four hashes of 32 bits."""
    cdef uint64_t c1 = 0x87c37b91114253d5u, c2 = 0x4cf5ad432745937fu
    cdef uint64_t a = FNV_START, b = FNV_START
    cdef int64_t block, rest = size & 15
    for block in range(size >> 4):
        a ^= rotated(word_at(p, 8) * c1, 31) * c2
        a = (rotated(a, 27) + b) * 5 + 0x52dce729u
        b ^= rotated(word_at(p + 8, 8) * c2, 33) * c1
        b = (rotated(b, 31) + a) * 5 + 0x38495ab5u
        p += 16
    if rest > 8:
        b ^= rotated(word_at(p + 8, rest - 8) * c2, 33) * c1
    if rest > 0:
        a ^= rotated(word_at(p, min(rest, 8)) * c1, 31) * c2
    a ^= <uint64_t>size
    b ^= <uint64_t>size
    a += b
    b += a
    a, b = mixed(a), mixed(b)
    a += b
    b += a
    out[0], out[1] = <uint32_t>a, <uint32_t>(a >> 32)
    out[2], out[3] = <uint32_t>b, <uint32_t>(b >> 32)


# ---- n-grams of one word

cdef int64_t num_ngrams(const uint8_t* word, int64_t size, const Hashing* how) noexcept nogil:
    """Return how many n-grams a word has."""
    cdef int64_t i, num_chars = 2, shortest = max(how.min_n, 1), longest
    if how.bucket == 0:
        return 0
    for i in range(size):
        num_chars += not continues(word[i])
    longest = min(<int64_t>how.max_n, num_chars)
    if longest < shortest:
        return 0
    # For each n there are num_chars - n + 1.
    return (longest - shortest + 1) * (2 * num_chars - shortest - longest + 2) // 2 - (2 if shortest == 1 else 0)


cdef inline bint has_subwords(const uint8_t* word, int64_t size, const Hashing* how) noexcept nogil:
    """Return whether a word is hashed at all: fastText's end of a sentence is not."""
    return how.hash_count > 0 or size != 4 or memcmp(word, END_OF_SENTENCE, 4) != 0


cdef inline int64_t num_rows(const uint8_t* word, int64_t size, const Hashing* how) noexcept nogil:
    if not has_subwords(word, size, how):
        return 0
    if how.hash_count > 0:
        return how.hash_count * (1 + num_ngrams(word, size, how))
    return num_ngrams(word, size, how)


cdef inline int32_t* push_hashes(int32_t* out, const uint8_t* text, int64_t size, const Hashing* how) noexcept nogil:
    cdef uint32_t[MAX_HASHES] hashes
    cdef int32_t i
    murmur(text, size, hashes)
    for i in range(how.hash_count):
        out[i] = how.first_row + <int32_t>(hashes[i] % how.bucket)
    return out + how.hash_count


cdef void push_rows(int32_t* out, const uint8_t* text, int64_t size, const Hashing* how) noexcept nogil:
    """Write the rows of a word; `text` is ``<word>``, and `size` its bytes."""
    cdef int64_t start, end, n
    cdef uint32_t h
    if how.hash_count > 0:
        out = push_hashes(out, text, size, how)
    for start in range(size):
        if continues(text[start]):
            continue
        h, end, n = FNV_START, start, 0
        while end < size and n < how.max_n:
            h = fnv(h, text + end, 1)
            end += 1
            while end < size and continues(text[end]):
                h = fnv(h, text + end, 1)
                end += 1
            n += 1
            if n < how.min_n or (n == 1 and (start == 0 or end == size)):
                continue
            if how.hash_count > 0:
                out = push_hashes(out, text + start, end - start, how)
            else:
                out[0] = how.first_row + <int32_t>(h % how.bucket)
                out += 1


# ---- ranges of words

cdef int check_words(const uint8_t[::1] packed, const int64_t[::1] offsets, Py_ssize_t start,
                     Py_ssize_t stop) except -1:
    cdef Py_ssize_t i
    if not 0 <= start <= stop < offsets.shape[0]:
        raise ValueError(f"words must be in [0, {offsets.shape[0] - 1}], got {start} to {stop}")
    for i in range(start, stop):
        if not 0 <= offsets[i] <= offsets[i + 1] <= packed.shape[0]:
            raise ValueError(f"offsets must rise from 0 to {packed.shape[0]}, got {offsets[i]} at position {i}")
    return 0


def hash_words(const uint8_t[::1] packed, const int64_t[::1] offsets):
    """Return fastText's hash of each packed word, uint32 (num_words,).

    Examples
    --------
    >>> hash_words("aé".encode(), np.array([0, 1, 3]))
    array([3826002220, 1023043777], dtype=uint32)
    """
    cdef Py_ssize_t i, num_words = offsets.shape[0] - 1
    check_words(packed, offsets, 0, num_words)
    result = np.empty(num_words, np.uint32)
    cdef uint32_t[::1] out = result
    cdef const uint8_t* text = &packed[0] if packed.shape[0] else NULL
    with nogil:
        for i in range(num_words):
            out[i] = fnv(FNV_START, text + offsets[i], offsets[i + 1] - offsets[i])
    return result


def subword_rows(const uint8_t[::1] packed, const int64_t[::1] offsets, Py_ssize_t start, Py_ssize_t stop,
                 int32_t min_n, int32_t max_n, int32_t bucket, int32_t hash_count, int32_t first_row, bint own):
    """Return the rows of the words ``[start, stop)``, one after the other, and how many each has.

    Parameters
    ----------
    packed, offsets
        The words, as `Vocabulary` has them.
    min_n, max_n
        Characters of an n-gram.
    bucket
        Rows for n-grams.
    hash_count
        0 for fastText's hash; 1 to 4 for floret's, which gives an n-gram, and ``<word>`` itself, so many rows.
    first_row
        The first bucket's row.
    own
        Whether a word's list begins with the word's own number.

    Returns
    -------
    values : int32 array
    lengths : int64 array of shape (stop - start,)
    """
    cdef Hashing how
    how.min_n, how.max_n, how.bucket, how.hash_count = min_n, max_n, <uint32_t>max(bucket, 0), hash_count
    how.first_row = first_row
    if not 0 <= hash_count <= MAX_HASHES or (hash_count > 0 and bucket < 1):
        raise ValueError(f"hash_count must be in [0, {MAX_HASHES}], and bucket at least 1 where it is not 0")
    if bucket < 0 or first_row < 0 or <int64_t>first_row + bucket > 2**31 - 1:
        raise ValueError(f"first_row + bucket must be below 2**31, got {first_row} + {bucket}")
    check_words(packed, offsets, start, stop)
    sizes = np.empty(stop - start, np.int64)
    cdef int64_t[::1] lengths = sizes
    cdef const uint8_t* text = &packed[0] if packed.shape[0] else NULL
    cdef int64_t i, size, total = 0, longest = 0
    with nogil:
        for i in range(start, stop):
            size = offsets[i + 1] - offsets[i]
            lengths[i - start] = own + num_rows(text + offsets[i], size, &how)
            total += lengths[i - start]
            longest = max(longest, size)
    rows = np.empty(total, np.int32)
    cdef int32_t[::1] values = rows
    cdef uint8_t* framed = <uint8_t*>malloc(longest + 2)
    if framed == NULL:
        raise MemoryError
    if total:
        with nogil:
            write_rows(&values[0], text, offsets, start, stop, &how, own, framed)
    free(framed)
    return rows, sizes


cdef void write_rows(int32_t* out, const uint8_t* text, const int64_t[::1] offsets, int64_t start, int64_t stop,
                     const Hashing* how, bint own, uint8_t* framed) noexcept nogil:
    cdef int64_t i, size
    framed[0] = b"<"
    for i in range(start, stop):
        size = offsets[i + 1] - offsets[i]
        if own:
            out[0] = <int32_t>i
            out += 1
        memcpy(framed + 1, text + offsets[i], size)
        framed[size + 1] = b">"
        if num_rows(framed + 1, size, how) > 0:
            push_rows(out, framed, size + 2, how)
            out += num_rows(framed + 1, size, how)


def word_ngram_rows(const int32_t[::1] hashes, const int64_t[::1] offsets, int64_t n, int64_t bucket,
                    int32_t first_row=0):
    """Return the rows of the n-grams of two to `n` words in each line.

    Parameters
    ----------
    hashes
        Of the words of all lines: `hash_words` as int32, whose sign fastText extends.
    offsets
        Line `i` is ``hashes[offsets[i]:offsets[i + 1]]``.
    n
        Most words of an n-gram; below 2 there are none.
    bucket
        Rows for n-grams, at least 1.
    first_row
        The first bucket's row.

    Returns
    -------
    values : int32 array
        Line by line; in a line by the first word, shorter ones first.
    offsets : int64 array of shape (num_lines + 1,)

    Examples
    --------
    >>> word_ngram_rows(np.array([1, -2, 3], np.int32), np.array([0, 3]), 3, 1000)
    (array([369, 902, 877], dtype=int32), array([0, 3]))
    """
    cdef Py_ssize_t line, num_lines = offsets.shape[0] - 1
    cdef int64_t i, j, size, most, total = 0
    cdef uint64_t h
    if bucket < 1 or first_row < 0 or first_row + bucket > 2**31 - 1:
        raise ValueError(f"bucket must be at least 1 and first_row + bucket below 2**31, got {first_row} + {bucket}")
    n = min(n, hashes.shape[0])
    ends = np.zeros(num_lines + 1, np.int64)
    cdef int64_t[::1] out_ends = ends
    for line in range(num_lines):
        if not 0 <= offsets[line] <= offsets[line + 1] <= hashes.shape[0]:
            raise ValueError(f"offsets must rise from 0 to {hashes.shape[0]}, got {offsets[line]} at position {line}")
        size = offsets[line + 1] - offsets[line]
        most = min(n, size)
        if most > 1:
            total += (most - 1) * (2 * size - most) // 2
        out_ends[line + 1] = total
    rows = np.empty(total, np.int32)
    cdef int32_t[::1] values = rows
    total = 0
    with nogil:
        for line in range(num_lines):
            for i in range(offsets[line], offsets[line + 1]):
                h = <uint64_t><int64_t>hashes[i]
                for j in range(i + 1, min(i + n, offsets[line + 1])):
                    h = h * WORD_NGRAM_FACTOR + <uint64_t><int64_t>hashes[j]
                    values[total] = first_row + <int32_t>(h % <uint64_t>bucket)
                    total += 1
    return rows, ends
