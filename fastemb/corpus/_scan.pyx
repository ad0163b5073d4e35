"""Text to word numbers: hash tables of words and the scanner that fills them, without the GIL."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

import mmap

import numpy as np

cdef extern from "_scan.h" nogil:
    ctypedef struct Classes "fastemb_classes":
        uint64_t space
        uint64_t newline
        uint64_t lead

    ctypedef struct Key "fastemb_key":
        uint64_t low
        uint64_t high
        uint32_t hash

    Classes classify "fastemb_classify"(const uint8_t* p)
    Key key_of "fastemb_key_of"(const uint8_t* p, int64_t length)
    int lowest_bit "fastemb_lowest_bit"(uint64_t bits)
    int count_bits "fastemb_count_bits"(uint64_t bits)
    int unicode_space "fastemb_unicode_space"(const uint8_t* p)
    int64_t c_last_cut "fastemb_last_cut"(const uint8_t* p, int64_t size)
    int64_t invalid_utf8 "fastemb_invalid_utf8"(const uint8_t* p, int64_t size)
    bint is_ascii "fastemb_is_ascii"(const uint8_t* p, int64_t size)
    void lower_ascii "fastemb_lower_ascii"(uint8_t* p, int64_t size)
    void prefetch "fastemb_prefetch"(const void* address)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

# Bytes that a text buffer must have beyond its text: the scanner reads whole groups of 64.
PADDING = 64
MAX_WORD_BYTES = 1 << 20

cdef int64_t MAX_WORD = MAX_WORD_BYTES
cdef int64_t MAX_WORDS = 2**31 - 1
cdef Py_ssize_t STEP = 4096          # bytes whose words are found, then looked up
cdef Py_ssize_t MAPPED_BYTES = 1 << 16

cdef enum:
    AHEAD = 32                       # words hashed and prefetched before they are looked up

cdef enum Problem:
    NONE = 0
    OUT_OF_MEMORY = -1
    INVALID_UTF8 = -2
    NUL_BYTE = -3
    LONG_WORD = -4
    TOO_MANY_WORDS = -5

PROBLEMS = {INVALID_UTF8: "utf-8", NUL_BYTE: "nul", LONG_WORD: "long"}

cdef struct Entry:
    uint64_t low                     # the word's first eight bytes
    uint64_t high                    # the next eight
    int64_t offset                   # of the word in the arena
    int64_t count
    int64_t first                    # place of the first occurrence in the whole source
    uint32_t length
    uint32_t hash


class BadWord(ValueError):
    """A word that cannot be taken: what is wrong (a value of `PROBLEMS`), where in the block, and its bytes."""

    def __init__(self, problem, position, word):
        super().__init__(problem, position, word)
        self.problem, self.position, self.word = problem, position, word


def last_cut(const uint8_t[::1] text, Py_ssize_t size):
    """Return the place just after the last white space in ``text[:size]``, 0 if there is none."""
    if size > text.shape[0]:
        raise ValueError(f"size must be at most {text.shape[0]}, got {size}")
    return c_last_cut(&text[0], size) if size > 0 else 0


def new_record(Py_ssize_t size):
    """Return an uninitialised int32 array whose memory goes back to the system as soon as it is dropped."""
    # malloc keeps freed blocks of a few megabytes for itself, which would double the peak while blocks are replaced.
    if size * 4 < MAPPED_BYTES:
        return np.empty(size, np.int32)
    return np.frombuffer(mmap.mmap(-1, size * 4), np.int32)


@cython.final
cdef class WordTable:
    """Words numbered in the order of their insertion, with their counts and first places.

    One thread at a time may use a table. `strict` tells that words which are not UTF-8, or hold NUL bytes, are refused.
    """

    cdef Entry* entries
    cdef int64_t num_entries, entries_capacity
    cdef uint64_t* slots             # hash << 32 | word number + 1; 0 where empty
    cdef uint64_t slot_mask
    cdef uint8_t* arena              # the words' bytes
    cdef int64_t arena_size, arena_capacity
    cdef int32_t* out                # word numbers of the block at hand
    cdef int32_t* lines              # words before each line end of the block at hand
    cdef Py_ssize_t out_capacity, lines_capacity
    cdef bint strict
    cdef int64_t bad_start, bad_length

    def __cinit__(self, bint strict=False):
        self.strict = strict
        self.entries_capacity = 1 << 10
        self.arena_capacity = 1 << 13
        self.slot_mask = (1 << 11) - 1
        self.entries = <Entry*>malloc(self.entries_capacity * sizeof(Entry))
        self.arena = <uint8_t*>malloc(self.arena_capacity)
        self.slots = <uint64_t*>calloc(self.slot_mask + 1, sizeof(uint64_t))
        if self.entries == NULL or self.arena == NULL or self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.entries)
        free(self.arena)
        free(self.slots)
        free(self.out)
        free(self.lines)

    def __len__(self):
        return self.num_entries

    # ---- the hash table

    cdef int64_t place(self, Key key, const uint8_t* word, int64_t length, bint check) noexcept nogil:
        """Find the word or add it with no count; return its number, or a problem."""
        cdef uint64_t slot, i = key.hash & self.slot_mask
        cdef Entry* entry
        while True:
            slot = self.slots[i]
            if slot == 0:
                return self.insert(i, key, word, length, check)
            if <uint32_t>(slot >> 32) == key.hash:
                entry = &self.entries[<uint32_t>slot - 1]
                if (entry.low == key.low and entry.high == key.high and entry.length == length
                        and (length <= 16 or memcmp(self.arena + entry.offset + 16, word + 16, length - 16) == 0)):
                    return <int64_t><uint32_t>slot - 1
            i = (i + 1) & self.slot_mask

    cdef int64_t insert(self, uint64_t i, Key key, const uint8_t* word, int64_t length, bint check) noexcept nogil:
        cdef Entry* entry
        cdef int64_t problem
        if check:
            problem = self.check_word(word, length)
            if problem != NONE:
                return problem
        problem = self.reserve(length)
        if problem != NONE:
            return problem
        self.slots[i] = <uint64_t>key.hash << 32 | <uint64_t>(self.num_entries + 1)
        entry = &self.entries[self.num_entries]
        entry.low, entry.high, entry.hash = key.low, key.high, key.hash
        entry.offset, entry.length = self.arena_size, <uint32_t>length
        entry.count, entry.first = 0, INT64_MAX
        memcpy(self.arena + self.arena_size, word, length)
        self.arena_size += length
        self.num_entries += 1
        if <uint64_t>self.num_entries * 2 > self.slot_mask:
            problem = self.grow_slots()
            if problem != NONE:
                return problem
        return self.num_entries - 1

    cdef int64_t check_word(self, const uint8_t* word, int64_t length) noexcept nogil:
        if not self.strict:
            return NONE
        if memchr(word, 0, length) != NULL:
            return NUL_BYTE
        if not is_ascii(word, length) and invalid_utf8(word, length) < length:
            return INVALID_UTF8
        return NONE

    cdef int64_t reserve(self, int64_t length) noexcept nogil:
        """Make room for one more entry of `length` bytes."""
        cdef int64_t capacity
        cdef void* memory
        if self.num_entries >= MAX_WORDS:
            return TOO_MANY_WORDS
        if self.num_entries == self.entries_capacity:
            capacity = self.entries_capacity * 2
            memory = realloc(self.entries, capacity * sizeof(Entry))
            if memory == NULL:
                return OUT_OF_MEMORY
            self.entries, self.entries_capacity = <Entry*>memory, capacity
        if self.arena_size + length > self.arena_capacity:
            capacity = (self.arena_capacity + length) * 2
            memory = realloc(self.arena, capacity)
            if memory == NULL:
                return OUT_OF_MEMORY
            self.arena, self.arena_capacity = <uint8_t*>memory, capacity
        return NONE

    cdef int64_t grow_slots(self) noexcept nogil:
        cdef uint64_t i, j, slot, mask = self.slot_mask * 4 + 3
        cdef uint64_t* slots = <uint64_t*>calloc(mask + 1, sizeof(uint64_t))
        if slots == NULL:
            return OUT_OF_MEMORY
        for i in range(self.slot_mask + 1):
            slot = self.slots[i]
            if slot != 0:
                j = (slot >> 32) & mask
                while slots[j] != 0:
                    j = (j + 1) & mask
                slots[j] = slot
        free(self.slots)
        self.slots, self.slot_mask = slots, mask
        return NONE

    # ---- scanning

    cdef int64_t look_up(self, const uint8_t* text, const uint32_t* starts, const uint32_t* ends, Py_ssize_t stride,
                         Py_ssize_t num_words, int64_t base, int32_t* out) noexcept nogil:
        """Number the words ``text[starts[i * stride]:ends[i * stride]]``; return NONE or a problem."""
        cdef Key[AHEAD] keys
        cdef Py_ssize_t done = 0, n, k
        cdef int64_t start, length, number
        cdef Entry* entry
        while done < num_words:
            n = min(num_words - done, <Py_ssize_t>AHEAD)
            for k in range(n):
                start = starts[(done + k) * stride]
                length = ends[(done + k) * stride] - start
                if length > MAX_WORD:
                    self.bad_start, self.bad_length = start, length
                    return LONG_WORD
                keys[k] = key_of(text + start, length)
                prefetch(&self.slots[keys[k].hash & self.slot_mask])
            for k in range(n):
                start = starts[(done + k) * stride]
                length = ends[(done + k) * stride] - start
                number = self.place(keys[k], text + start, length, True)
                if number < 0:
                    self.bad_start, self.bad_length = start, length
                    return number
                entry = &self.entries[number]
                entry.count += 1
                # Blocks may come out of order, so that the first insertion need not be the first occurrence.
                if base + start < entry.first:
                    entry.first = base + start
                out[done + k] = <int32_t>number
            done += n
        return NONE

    cdef int64_t scan(self, const uint8_t* text, Py_ssize_t size, int64_t base, Py_ssize_t* num_words,
                      Py_ssize_t* num_lines, Py_ssize_t* num_newlines) noexcept nogil:
        """Number the words between white space of ``text[:size]``, which 64 spaces follow."""
        cdef uint32_t[4096 + 64 + 1] edges   # places where a word begins, ends, begins, ...
        cdef uint64_t space, changes, bits, low, high, carried = 0, before = 1
        cdef Py_ssize_t at = 0, stop, num_edges = 0, words = 0, lines = 0, newlines = 0, group = 0
        cdef int64_t problem, last_line = -1, words_before
        cdef int bit, length
        cdef Classes classes
        stop = (size // 64 + 1) * 64
        while at < stop:
            for group in range(at, min(at + STEP, stop), 64):
                classes = classify(text + group)
                space = classes.space | carried
                carried = 0
                bits = classes.lead
                while bits != 0:
                    bit = lowest_bit(bits)
                    bits &= bits - 1
                    length = unicode_space(text + group + bit)
                    if length > 0:
                        low = (<uint64_t>1 << length) - 1
                        space |= low << bit
                        if bit + length > 64:
                            carried = low >> (64 - bit)
                changes = space ^ (space << 1 | before)
                before = space >> 63
                bits = classes.newline
                while bits != 0:
                    low = bits & -bits
                    bits &= bits - 1
                    newlines += 1
                    # A word that is open at a line end ends there, hence the rounding up.
                    words_before = words + (num_edges + count_bits(changes & (low - 1)) + 1) // 2
                    if words_before != last_line:
                        self.lines[lines] = <int32_t>words_before
                        last_line = words_before
                        lines += 1
                while changes != 0:
                    edges[num_edges] = <uint32_t>(group + lowest_bit(changes))
                    num_edges += 1
                    changes &= changes - 1
            at += STEP
            problem = self.look_up(text, edges, edges + 1, 2, num_edges // 2, base, self.out + words)
            if problem != NONE:
                return problem
            words += num_edges // 2
            if num_edges & 1:
                edges[0] = edges[num_edges - 1]
            num_edges &= 1
        num_words[0], num_lines[0], num_newlines[0] = words, lines, newlines
        return NONE

    cdef int reserve_output(self, Py_ssize_t num_words, Py_ssize_t num_lines) except -1:
        if num_words > self.out_capacity:
            free(self.out)
            self.out_capacity = 0
            self.out = <int32_t*>malloc(num_words * sizeof(int32_t))
            if self.out == NULL:
                raise MemoryError
            self.out_capacity = num_words
        if num_lines > self.lines_capacity:
            free(self.lines)
            self.lines_capacity = 0
            self.lines = <int32_t*>malloc(num_lines * sizeof(int32_t))
            if self.lines == NULL:
                raise MemoryError
            self.lines_capacity = num_lines
        return 0

    cdef raise_problem(self, int64_t problem, const uint8_t* text):
        if problem == OUT_OF_MEMORY:
            raise MemoryError
        if problem == TOO_MANY_WORDS:
            raise ValueError(f"the text holds more than {MAX_WORDS} different words")
        word = PyBytes_FromStringAndSize(<const char*>text + self.bad_start, min(self.bad_length, 4096))
        raise BadWord(PROBLEMS[problem], self.bad_start, word)

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
        """
        cdef Py_ssize_t num_words = 0, num_lines = 0, num_newlines = 0
        cdef int64_t problem
        cdef uint8_t* start = &text[0]
        if size < 0 or size + 64 > text.shape[0] or size > 1 << 30:
            raise ValueError(f"size must be in [0, {min(text.shape[0] - 64, 1 << 30)}], got {size}")
        self.reserve_output(size // 2 + 1, size // 2 + 2)
        with nogil:
            memset(start + size, 32, 64)
            if lowercase:
                lower_ascii(start, size)
            problem = self.scan(start, size, base, &num_words, &num_lines, &num_newlines)
        if problem != NONE:
            self.raise_problem(problem, start)
        cdef int32_t[::1] view
        record = new_record(num_words + num_lines)
        if num_words + num_lines > 0:
            view = record
            with nogil:
                memcpy(&view[0], self.out, num_words * sizeof(int32_t))
                memcpy(&view[0] + num_words, self.lines, num_lines * sizeof(int32_t))
        return record, num_words, num_lines, num_newlines

    def scan_tokens(self, Tokens tokens, int64_t base, bint lowercase):
        """Number the words of packed tokens, as `scan_text` does; in place of newlines, sentences are counted."""
        cdef int64_t problem
        cdef Py_ssize_t n = tokens.num_tokens, m = tokens.num_lines
        self.reserve_output(n, 0)
        with nogil:
            if lowercase:
                lower_ascii(tokens.text, tokens.size)
            problem = self.look_up(tokens.text, tokens.edges, tokens.edges + 1, 1, n, base, self.out)
        if problem != NONE:
            self.raise_problem(problem, tokens.text)
        cdef int32_t[::1] view
        record = new_record(n + m)
        if n + m > 0:
            view = record
            memcpy(&view[0], self.out, n * sizeof(int32_t))
            memcpy(&view[0] + n, tokens.lines, m * sizeof(int32_t))
        return record, n, m, tokens.num_sentences

    # ---- tables as a whole

    def word(self, int64_t number):
        """Return the bytes of one word."""
        if not 0 <= number < self.num_entries:
            raise IndexError(f"number must be in [0, {self.num_entries}), got {number}")
        cdef Entry* entry = &self.entries[number]
        return PyBytes_FromStringAndSize(<const char*>self.arena + entry.offset, entry.length)

    def add(self, bytes word, int64_t count, int64_t first):
        """Add `count` occurrences of a word, the first at `first`; return its number."""
        cdef bytes padded = word + bytes(16)
        cdef const uint8_t* start = padded
        cdef int64_t length = len(word), number
        if length >= 1 << 31:
            raise ValueError(f"a word must be shorter than 2 GiB, got {length} bytes")
        number = self.place(key_of(start, length), start, length, False)
        if number < 0:
            self.raise_problem(number, start)
        self.entries[number].count += count
        self.entries[number].first = min(self.entries[number].first, first)
        return number

    def add_packed(self, const uint8_t[::1] packed, const int64_t[::1] offsets):
        """Add packed words, with no occurrences; they must differ for their numbers to be their places."""
        cdef int64_t i
        for i in range(offsets.shape[0] - 1):
            if not 0 <= offsets[i] <= offsets[i + 1] <= packed.shape[0]:
                raise ValueError(f"offsets must rise from 0 to {packed.shape[0]}, got {offsets[i]} at position {i}")
            word = PyBytes_FromStringAndSize(NULL, 0)
            if offsets[i + 1] > offsets[i]:
                word = PyBytes_FromStringAndSize(<const char*>&packed[offsets[i]], offsets[i + 1] - offsets[i])
            if self.add(word, 0, INT64_MAX) != i:
                raise ValueError(f"words must differ, got {word!r} again at position {i}")

    def absorb(self, WordTable other, const uint8_t[::1] skip=None):
        """Add all words of `other`, but those marked in `skip`; return their numbers here (int32, -1 where skipped)."""
        numbers = np.full(other.num_entries, -1, np.int32)
        cdef int32_t[::1] out = numbers
        cdef int64_t i, j, number = 0, n = other.num_entries
        cdef bint skips = skip is not None
        cdef Entry* entry
        cdef Entry* mine
        if skips and skip.shape[0] != n:
            raise ValueError(f"skip must have {n} entries, got {skip.shape[0]}")
        with nogil:
            for i in range(n):
                if i % AHEAD == 0:
                    for j in range(i, min(i + AHEAD, n)):
                        prefetch(&self.slots[other.entries[j].hash & self.slot_mask])
                if skips and skip[i]:
                    continue
                entry = &other.entries[i]
                number = self.place(entry_key(entry), other.arena + entry.offset, entry.length, False)
                if number < 0:
                    break
                mine = &self.entries[number]
                mine.count += entry.count
                mine.first = min(mine.first, entry.first)
                out[i] = <int32_t>number
        if number < 0:
            self.raise_problem(number, other.arena)
        return numbers

    def find_all(self, WordTable other):
        """Return the numbers here of the words of `other` (int32), -1 for those that are not here."""
        numbers = np.full(other.num_entries, -1, np.int32)
        cdef int32_t[::1] out = numbers
        cdef int64_t i
        with nogil:
            for i in range(other.num_entries):
                out[i] = <int32_t>self.find(&other.entries[i], other.arena)
        return numbers

    cdef int64_t find(self, const Entry* entry, const uint8_t* arena) noexcept nogil:
        cdef uint64_t slot, i = entry.hash & self.slot_mask
        cdef Entry* mine
        while self.slots[i] != 0:
            slot = self.slots[i]
            if <uint32_t>(slot >> 32) == entry.hash:
                mine = &self.entries[<uint32_t>slot - 1]
                if (mine.length == entry.length and mine.low == entry.low and mine.high == entry.high
                        and memcmp(self.arena + mine.offset, arena + entry.offset, entry.length) == 0):
                    return <int64_t><uint32_t>slot - 1
            i = (i + 1) & self.slot_mask
        return -1

    def counts(self):
        """Return the words' counts, int64."""
        values = np.empty(self.num_entries, np.int64)
        cdef int64_t[::1] out = values
        cdef int64_t i
        for i in range(self.num_entries):
            out[i] = self.entries[i].count
        return values

    def firsts(self):
        """Return the places of the words' first occurrences in the source, int64."""
        values = np.empty(self.num_entries, np.int64)
        cdef int64_t[::1] out = values
        cdef int64_t i
        for i in range(self.num_entries):
            out[i] = self.entries[i].first
        return values

    def irregular(self, bint invalid):
        """Return the numbers of the words that are not ASCII or, with `invalid`, not UTF-8."""
        marks = np.zeros(self.num_entries, np.uint8)
        cdef uint8_t[::1] out = marks
        cdef int64_t i, length
        cdef const uint8_t* word
        with nogil:
            for i in range(self.num_entries):
                word, length = self.arena + self.entries[i].offset, self.entries[i].length
                if not is_ascii(word, length):
                    out[i] = not invalid or invalid_utf8(word, length) < length
        return np.flatnonzero(marks)

    def pack(self, const int64_t[::1] order):
        """Return the words of these numbers as one uint8 array and int64 offsets into it."""
        cdef int64_t i, n = order.shape[0]
        cdef Entry* entry
        offsets = np.zeros(n + 1, np.int64)
        cdef int64_t[::1] ends = offsets
        for i in range(n):
            if not 0 <= order[i] < self.num_entries:
                raise IndexError(f"numbers must be in [0, {self.num_entries}), got {order[i]} at position {i}")
            ends[i + 1] = ends[i] + self.entries[order[i]].length
        packed = np.empty(offsets[n], np.uint8)
        cdef uint8_t[::1] out = packed
        for i in range(n):
            entry = &self.entries[order[i]]
            if entry.length > 0:
                memcpy(&out[ends[i]], self.arena + entry.offset, entry.length)
        return packed, offsets


cdef inline Key entry_key(const Entry* entry) noexcept nogil:
    cdef Key key
    key.low, key.high, key.hash = entry.low, entry.high, entry.hash
    return key


# ---- sentences that are lists of tokens

@cython.final
cdef class Tokens:
    """A block of tokens from Python: their bytes one after the other, their edges, and where sentences end."""

    cdef uint8_t* text
    cdef uint32_t* edges             # token i is text[edges[i]:edges[i + 1]]
    cdef int32_t* lines              # tokens before each sentence's end
    cdef readonly Py_ssize_t size, num_tokens, num_lines, num_sentences, capacity, max_tokens

    def __cinit__(self, Py_ssize_t max_tokens, Py_ssize_t capacity):
        self.capacity, self.max_tokens = capacity, max_tokens
        self.text = <uint8_t*>malloc(capacity + 64)
        self.edges = <uint32_t*>malloc((max_tokens + 1) * sizeof(uint32_t))
        self.lines = <int32_t*>malloc((max_tokens + 1) * sizeof(int32_t))
        if self.text == NULL or self.edges == NULL or self.lines == NULL:
            raise MemoryError
        self.edges[0] = 0

    def __dealloc__(self):
        free(self.text)
        free(self.edges)
        free(self.lines)

    cdef bint add(self, const char* word, Py_ssize_t length) noexcept:
        """Append a token; false if the block has no room for it."""
        if self.num_tokens == self.max_tokens or length > self.capacity - self.size:
            return False
        memcpy(self.text + self.size, word, length)
        self.size += length
        self.num_tokens += 1
        self.edges[self.num_tokens] = <uint32_t>self.size
        return True

    cdef bint end_sentence(self) noexcept:
        if self.num_lines > self.max_tokens:
            return False
        if self.num_lines == 0 or self.lines[self.num_lines - 1] != self.num_tokens:
            self.lines[self.num_lines] = <int32_t>self.num_tokens
            self.num_lines += 1
        self.num_sentences += 1
        return True


@cython.final
cdef class Packer:
    """Turn an iterable of token lists into blocks of packed tokens.

    Parameters
    ----------
    sentences
        The iterable; it is read once.
    errors
        What to do with surrogates, which UTF-8 cannot hold: an `errors` value of ``str.encode``.
    max_tokens, max_bytes
        Size of a block; a longer token gets a block of its own.
    """

    cdef object sentences, errors, tokens, pending
    cdef Py_ssize_t max_tokens, max_bytes
    cdef int64_t number, position    # of the sentence and token at hand
    cdef bint exhausted

    def __init__(self, sentences, errors="strict", Py_ssize_t max_tokens=1 << 18, Py_ssize_t max_bytes=1 << 21):
        self.sentences, self.errors = iter(sentences), errors
        self.max_tokens, self.max_bytes = max_tokens, max_bytes
        self.number = -1

    @property
    def num_sentences(self):
        """Sentences taken so far."""
        return self.number + 1

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t room = self.max_bytes
        if isinstance(self.pending, bytes):
            room = max(room, len(self.pending))
        cdef Tokens block = Tokens(self.max_tokens, room)
        while not self.exhausted:
            if self.tokens is None and not self.next_sentence():
                break
            if not self.fill(block):
                return block
            self.tokens = None
        if block.num_sentences == 0:
            raise StopIteration
        return block

    cdef bint next_sentence(self) except -1:
        try:
            sentence = next(self.sentences)
        except StopIteration:
            self.exhausted = True
            return False
        self.number += 1
        self.position = -1
        if isinstance(sentence, (str, bytes)):
            shown = sentence if len(sentence) <= 60 else sentence[:60] + type(sentence)(b"..." if isinstance(sentence, bytes) else "...")
            raise TypeError(
                f"sentence {self.number} must be a list of tokens, got the {type(sentence).__name__} {shown!r}; "
                "split it into tokens first, for example with sentence.split()"
            )
        try:
            self.tokens = iter(sentence)
        except TypeError:
            raise TypeError(f"sentence {self.number} must be a list of tokens, got {sentence!r}") from None
        return True

    cdef bint fill(self, Tokens block) except -1:
        """Append the rest of the sentence at hand; false if the block is full."""
        cdef Py_ssize_t length = 0
        cdef const char* word
        if self.pending is not None:
            if not block.add(<const char*><bytes>self.pending, len(self.pending)):
                return False
            self.pending = None
        for token in self.tokens:
            self.position += 1
            if not isinstance(token, str):
                raise TypeError(
                    f"tokens must be str, got the {type(token).__name__} {token!r} at position {self.position} "
                    f"of sentence {self.number}"
                )
            if self.position & 0xffff == 0xffff:
                PyErr_CheckSignals()
            try:
                word = PyUnicode_AsUTF8AndSize(token, &length)
            except UnicodeEncodeError:
                token = self.encode(token)
                word, length = <const char*><bytes>token, len(token)
            # An empty token is no word.
            if length > 0 and not block.add(word, length):
                self.pending = PyBytes_FromStringAndSize(word, length)
                return False
        if not block.end_sentence():
            self.tokens = ()
            return False
        return True

    cdef object encode(self, token):
        try:
            return token.encode("utf-8", self.errors)
        except UnicodeEncodeError as error:
            raise ValueError(
                f"tokens must be valid Unicode, got {token!r} at position {self.position} of sentence {self.number} "
                f"({error.reason}); pass errors='surrogateescape' or 'replace' to take it"
            ) from None


# ---- from provisional to final word numbers

def remap(int32_t[::1] record, Py_ssize_t num_words, const int32_t[::1] numbers):
    """Replace each word number `w` of a record by ``numbers[w]``, in place, and drop those that become negative.

    The kept numbers move to the front; the line ends after the `num_words` words count kept words afterwards.
    Returns the number of words kept.
    """
    cdef Py_ssize_t i = 0, j, kept = 0, end, num_lines = record.shape[0] - num_words
    cdef int32_t number
    cdef uint32_t limit = <uint32_t>numbers.shape[0]
    if num_words < 0 or num_lines < 0:
        raise ValueError(f"num_words must be in [0, {record.shape[0]}], got {num_words}")
    if num_words == 0:
        return 0
    cdef int32_t* words = &record[0]
    cdef int32_t* lines = words + num_words
    cdef bint wrong = False
    with nogil:
        for j in range(num_lines + 1):
            end = lines[j] if j < num_lines else num_words
            if not i <= end <= num_words:
                wrong = True
                break
            while i < end:
                number = words[i]
                if <uint32_t>number >= limit:
                    wrong = True
                    break
                number = numbers[number]
                words[kept] = number
                kept += number >= 0
                i += 1
            if j < num_lines:
                lines[j] = <int32_t>kept
    if wrong:
        raise ValueError("the temporary file of word numbers was changed by someone else")
    return kept


def cut_sentences(const int32_t[::1] lines, int64_t kept, int64_t base, int64_t start, int64_t max_length):
    """Return the sentence ends of one record and the start of the sentence that is open after it.

    Parameters
    ----------
    lines
        Kept words before each line end.
    kept
        Kept words of the record.
    base
        Kept words before the record.
    start
        Where the open sentence began, in kept words.
    max_length
        A longer line is cut into sentences of this length.

    Returns
    -------
    ends : int64 array, in kept words from the beginning of the corpus.
    start : int
    """
    cdef Py_ssize_t j, n = 0, num_lines = lines.shape[0]
    cdef int64_t end
    ends = np.empty(num_lines + (base + kept - start) // max_length + 1, np.int64)
    cdef int64_t[::1] out = ends
    with nogil:
        for j in range(num_lines + 1):
            end = base + (lines[j] if j < num_lines else kept)
            while end - start >= max_length:
                start += max_length
                out[n] = start
                n += 1
            if j < num_lines and end > start:
                out[n] = start = end
                n += 1
    return ends[:n], start


# ---- packed words

def decode_words(const uint8_t[::1] packed, const int64_t[::1] offsets, str errors):
    """Return packed UTF-8 words as a list of str."""
    cdef Py_ssize_t i, n = offsets.shape[0] - 1
    cdef bytes handler = errors.encode()
    cdef const char* handler_name = handler
    cdef const char* text = ""
    cdef list words = [None] * n
    if packed.shape[0] > 0:
        text = <const char*>&packed[0]
    for i in range(n):
        if not 0 <= offsets[i] <= offsets[i + 1] <= packed.shape[0]:
            raise ValueError(f"offsets must rise from 0 to {packed.shape[0]}, got {offsets[i]} at position {i}")
        words[i] = PyUnicode_DecodeUTF8(text + offsets[i], offsets[i + 1] - offsets[i], handler_name)
    return words
