"""A hash table of words: numbers, counts and first places."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

import numpy as np

cdef extern from "_scan.h" nogil:
    Key key_of "fastemb_key_of"(const uint8_t* p, int64_t length)
    int64_t find "fastemb_find"(const uint64_t* slots, uint64_t mask, const Entry* entries, const uint8_t* arena, Key key,
                                const uint8_t* word, int64_t length, uint64_t* empty)
    int64_t invalid_utf8 "fastemb_invalid_utf8"(const uint8_t* p, int64_t size)
    bint is_ascii "fastemb_is_ascii"(const uint8_t* p, int64_t size)
    void prefetch "fastemb_prefetch"(const void* address)

MAX_WORD_BYTES = 1 << 20

cdef int64_t MAX_WORD = MAX_WORD_BYTES
cdef int64_t MAX_WORDS = 2**31 - 1
cdef int64_t MAX_ARENA = 1 << 40     # an entry keeps 40 bits of an offset

cdef enum:
    AHEAD = 128                      # words hashed and prefetched before they are looked up


@cython.final
cdef class WordTable:
    """Words numbered in the order of their insertion, with their counts and first places.

    One thread at a time may use a table.

    Parameters
    ----------
    strict
        Refuse words of a text that are not UTF-8 or hold NUL bytes.
    """

    def __cinit__(self, bint strict=False):
        self.strict = strict
        self.arena_capacity = 1 << 13
        self.slot_mask = (1 << 11) - 1
        self.arena = <uint8_t*>malloc(self.arena_capacity)
        self.slots = <uint64_t*>calloc(self.slot_mask + 1, sizeof(uint64_t))
        if self.arena == NULL or self.slots == NULL or self.grow_entries() != NONE:
            raise MemoryError

    def __dealloc__(self):
        free(self.entries_memory)
        free(self.firsts)
        free(self.arena)
        free(self.slots)

    def __len__(self):
        return self.num_entries

    # ---- one word

    cdef int64_t insert(self, uint64_t slot, Key key, const uint8_t* word, int64_t length, bint check) noexcept nogil:
        """Add a word with no count, at an empty slot; return its number, or a problem."""
        cdef Entry* entry
        cdef int64_t problem = self.check_word(word, length) if check else NONE
        if problem == NONE:
            problem = self.reserve(length)
        if problem != NONE:
            return problem
        self.slots[slot] = <uint64_t>key.hash << 32 | <uint64_t>(self.num_entries + 1)
        entry = &self.entries[self.num_entries]
        entry.low, entry.high, entry.count = key.low, key.high, 0
        entry.extent = <uint64_t>self.arena_size << 24 | <uint64_t>length
        self.firsts[self.num_entries] = INT64_MAX
        memcpy(self.arena + self.arena_size, word, length)
        self.arena_size += length
        self.num_entries += 1
        if <uint64_t>self.num_entries * 2 > self.slot_mask and self.grow_slots() != NONE:
            return OUT_OF_MEMORY
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
        """Make room for one more word."""
        cdef int64_t capacity
        cdef void* memory
        if self.num_entries >= MAX_WORDS:
            return TOO_MANY_WORDS
        if self.arena_size + length >= MAX_ARENA:
            return OUT_OF_MEMORY
        if self.num_entries == self.entries_capacity and self.grow_entries() != NONE:
            return OUT_OF_MEMORY
        # A key is made from 16 bytes, wherever its word ends.
        if self.arena_size + length + 16 > self.arena_capacity:
            capacity = (self.arena_capacity + length) * 2
            memory = realloc(self.arena, capacity)
            if memory == NULL:
                return OUT_OF_MEMORY
            self.arena, self.arena_capacity = <uint8_t*>memory, capacity
        return NONE

    cdef int64_t grow_entries(self) noexcept nogil:
        cdef int64_t capacity = max(self.entries_capacity * 2, <int64_t>1024)
        cdef void* firsts = realloc(self.firsts, capacity * sizeof(int64_t))
        if firsts == NULL:
            return OUT_OF_MEMORY
        self.firsts = <int64_t*>firsts
        cdef void* memory = malloc(capacity * sizeof(Entry) + 64)
        if memory == NULL:
            return OUT_OF_MEMORY
        # Aligned, so that no entry lies across two cache lines.
        cdef Entry* entries = <Entry*>((<uintptr_t>memory + 63) & ~<uintptr_t>63)
        if self.num_entries > 0:
            memcpy(entries, self.entries, self.num_entries * sizeof(Entry))
        free(self.entries_memory)
        self.entries_memory, self.entries, self.entries_capacity = memory, entries, capacity
        return NONE

    cdef int64_t grow_slots(self) noexcept nogil:
        cdef uint64_t i, slot, found, mask = self.slot_mask * 2 + 1
        cdef uint64_t* slots = <uint64_t*>calloc(mask + 1, sizeof(uint64_t))
        if slots == NULL:
            return OUT_OF_MEMORY
        for i in range(self.slot_mask + 1):
            found = self.slots[i]
            if found != 0:
                slot = (found >> 32) & mask
                while slots[slot] != 0:
                    slot = (slot + 1) & mask
                slots[slot] = found
        free(self.slots)
        self.slots, self.slot_mask = slots, mask
        return NONE

    # ---- many words

    cdef int64_t look_up(self, const uint8_t* text, const uint32_t* edges, Py_ssize_t stride, Py_ssize_t num_words,
                         int64_t base, int32_t* out, int64_t* bad) noexcept nogil:
        """Count the words ``text[edges[i * stride]:edges[i * stride + 1]]`` and write their numbers to `out`.

        The text goes on for 16 bytes. Returns NONE or a problem, with the word's start and length in `bad`.
        """
        cdef Key[AHEAD] keys
        cdef Py_ssize_t n, k, done = 0
        cdef int64_t start, length, number
        cdef uint64_t found, empty = 0
        cdef const uint32_t* edge
        # Blocks may come out of order, so that the first insertion need not be the first occurrence.
        cdef bint late = base < self.last_base
        self.last_base = max(self.last_base, base)
        while done < num_words:
            n = min(num_words - done, <Py_ssize_t>AHEAD)
            for k in range(n):
                edge = edges + (done + k) * stride
                start, length = edge[0], <int64_t>edge[1] - edge[0]
                if length > MAX_WORD:
                    # Words before it come first, also as problems.
                    n = k
                    break
                keys[k] = key_of(text + start, length)
                prefetch(&self.slots[keys[k].hash & self.slot_mask])
            if n == 0:
                bad[0], bad[1] = start, length
                return LONG_WORD
            for k in range(n):
                found = self.slots[keys[k].hash & self.slot_mask]
                prefetch(&self.entries[<uint32_t>found - <uint64_t>(found != 0)])
            for k in range(n):
                edge = edges + (done + k) * stride
                start, length = edge[0], <int64_t>edge[1] - edge[0]
                number = find(self.slots, self.slot_mask, self.entries, self.arena, keys[k], text + start, length, &empty)
                if number < 0:
                    number = self.insert(empty, keys[k], text + start, length, True)
                    if number < 0:
                        bad[0], bad[1] = start, length
                        return number
                    self.firsts[number] = base + start
                elif late:
                    self.firsts[number] = min(self.firsts[number], base + start)
                self.entries[number].count += 1
                out[done + k] = <int32_t>number
            done += n
        return NONE

    cdef int64_t place(self, const uint8_t* word, int64_t length, int64_t count, int64_t first) noexcept nogil:
        """Count occurrences of a word that goes on for 16 bytes; return its number, or a problem."""
        cdef uint64_t empty = 0
        cdef Key key = key_of(word, length)
        cdef int64_t number = find(self.slots, self.slot_mask, self.entries, self.arena, key, word, length, &empty)
        if number < 0:
            number = self.insert(empty, key, word, length, False)
        if number >= 0:
            self.entries[number].count += count
            self.firsts[number] = min(self.firsts[number], first)
        return number

    def add(self, const uint8_t[::1] word, int64_t count, int64_t first):
        """Add `count` occurrences of a word of at least one byte, the first at `first`; return its number."""
        cdef bytes padded = bytes(word) + bytes(16)
        cdef int64_t number, length = word.shape[0]
        if not 1 <= length < 1 << 24:
            raise ValueError(f"a word must have 1 to {(1 << 24) - 1:,} bytes, got {length:,}")
        number = self.place(padded, length, count, first)
        if number < 0:
            raise_problem(number)
        return number

    def add_packed(self, const uint8_t[::1] packed, const int64_t[::1] offsets, const int64_t[::1] counts=None,
                   const int64_t[::1] firsts=None):
        """Add the words ``packed[offsets[i]:offsets[i + 1]]``; return their numbers, int32.

        They occur `counts` times, the first time at `firsts`, or never where these are not given.
        """
        # A key is made from 16 bytes, which the last words may not have.
        padded = np.concatenate([packed, np.zeros(16, np.uint8)])
        cdef const uint8_t[::1] text = padded
        cdef int64_t i, number, length, n = offsets.shape[0] - 1
        cdef bint counted = counts is not None
        if counted and not counts.shape[0] == firsts.shape[0] == n:
            raise ValueError(f"there must be {n} counts and first places, got {counts.shape[0]} and {firsts.shape[0]}")
        numbers = np.empty(max(n, 0), np.int32)
        cdef int32_t[::1] out = numbers
        for i in range(n):
            length = offsets[i + 1] - offsets[i]
            if not 0 <= offsets[i] <= offsets[i + 1] <= packed.shape[0]:
                raise ValueError(f"offsets must rise from 0 to {packed.shape[0]}, got {offsets[i]} at position {i}")
            if length >= 1 << 24:
                raise ValueError(f"a word must have at most {(1 << 24) - 1:,} bytes, got {length:,} at position {i}")
            number = self.place(&text[offsets[i]], length, counts[i] if counted else 0,
                                firsts[i] if counted else INT64_MAX)
            if number < 0:
                raise_problem(number)
            out[i] = <int32_t>number
        return numbers

    def absorb(self, WordTable other, const uint8_t[::1] skip=None):
        """Add all words of `other`, but those marked in `skip`; return their numbers here (int32, -1 where skipped)."""
        numbers = np.full(other.num_entries, -1, np.int32)
        cdef int32_t[::1] out = numbers
        cdef int64_t problem = NONE
        if skip is not None and skip.shape[0] != other.num_entries:
            raise ValueError(f"skip must have {other.num_entries} entries, got {skip.shape[0]}")
        if other.num_entries > 0:
            with nogil:
                problem = self.take_all(other, NULL if skip is None else &skip[0], &out[0])
        if problem != NONE:
            raise_problem(problem)
        return numbers

    cdef int64_t take_all(self, WordTable other, const uint8_t* skip, int32_t* out) noexcept nogil:
        cdef uint64_t extent
        cdef int64_t i, number
        for i in range(other.num_entries):
            if i % AHEAD == 0:
                self.prefetch_all(other, i, min(i + AHEAD, other.num_entries))
            if skip != NULL and skip[i]:
                continue
            extent = other.entries[i].extent
            number = self.place(other.arena + (extent >> 24), extent & 0xffffff, other.entries[i].count, other.firsts[i])
            if number < 0:
                return number
            out[i] = <int32_t>number
        return NONE

    cdef void prefetch_all(self, WordTable other, int64_t start, int64_t stop) noexcept nogil:
        """Prefetch what placing some words of `other` will need."""
        cdef uint64_t extent, found
        cdef uint64_t[AHEAD] slots
        cdef int64_t i
        for i in range(start, stop):
            extent = other.entries[i].extent
            slots[i - start] = key_of(other.arena + (extent >> 24), extent & 0xffffff).hash & self.slot_mask
            prefetch(&self.slots[slots[i - start]])
        for i in range(start, stop):
            found = self.slots[slots[i - start]]
            prefetch(&self.entries[<uint32_t>found - <uint64_t>(found != 0)])

    def find_all(self, WordTable other):
        """Return the numbers here of the words of `other` (int32), -1 for those that are not here."""
        numbers = np.empty(other.num_entries, np.int32)
        cdef int32_t[::1] out = numbers
        cdef uint64_t extent, empty
        cdef const uint8_t* word
        cdef int64_t i, length
        with nogil:
            for i in range(other.num_entries):
                extent = other.entries[i].extent
                word, length = other.arena + (extent >> 24), extent & 0xffffff
                out[i] = <int32_t>find(self.slots, self.slot_mask, self.entries, self.arena, key_of(word, length), word,
                                       length, &empty)
        return numbers

    # ---- what is in the table

    def word(self, int64_t number):
        """Return the bytes of one word."""
        if not 0 <= number < self.num_entries:
            raise IndexError(f"number must be in [0, {self.num_entries}), got {number}")
        cdef uint64_t extent = self.entries[number].extent
        return PyBytes_FromStringAndSize(<const char*>self.arena + (extent >> 24), extent & 0xffffff)

    def counts(self):
        """Return the words' counts, int64."""
        values = np.empty(self.num_entries, np.int64)
        cdef int64_t[::1] out = values
        cdef int64_t i
        for i in range(self.num_entries):
            out[i] = self.entries[i].count
        return values

    def first_places(self):
        """Return the places of the words' first occurrences in the source, int64."""
        values = np.empty(self.num_entries, np.int64)
        cdef int64_t[::1] out = values
        cdef int64_t i
        for i in range(self.num_entries):
            out[i] = self.firsts[i]
        return values

    def irregular(self, bint invalid):
        """Return the numbers of the words that are not ASCII or, with `invalid`, not UTF-8."""
        marks = np.zeros(self.num_entries, np.uint8)
        cdef uint8_t[::1] out = marks
        cdef int64_t i, length
        cdef const uint8_t* word
        with nogil:
            for i in range(self.num_entries):
                word, length = self.arena + (self.entries[i].extent >> 24), self.entries[i].extent & 0xffffff
                if not is_ascii(word, length):
                    out[i] = not invalid or invalid_utf8(word, length) < length
        return np.flatnonzero(marks)

    def pack(self, const int64_t[::1] order):
        """Return the words of these numbers as one uint8 array and int64 offsets into it."""
        cdef int64_t i, n = order.shape[0]
        cdef uint64_t extent
        offsets = np.zeros(n + 1, np.int64)
        cdef int64_t[::1] ends = offsets
        for i in range(n):
            if not 0 <= order[i] < self.num_entries:
                raise IndexError(f"order must be in [0, {self.num_entries}), got {order[i]} at position {i}")
            ends[i + 1] = ends[i] + <int64_t>(self.entries[order[i]].extent & 0xffffff)
        packed = np.empty(ends[n], np.uint8)
        cdef uint8_t[::1] out = packed
        with nogil:
            for i in range(n):
                extent = self.entries[order[i]].extent
                memcpy(&out[ends[i]], self.arena + (extent >> 24), extent & 0xffffff)
        return packed, offsets


def raise_problem(int64_t problem):
    """Raise what a table's own problem stands for."""
    if problem == TOO_MANY_WORDS:
        raise ValueError(f"there must be at most {MAX_WORDS:,} different words")
    raise MemoryError("no memory for more words")
