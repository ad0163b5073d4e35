"""A hash table of terms, which are words and phrases, with their counts."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memcmp

import numpy as np

cdef extern from "_terms.h" nogil:
    void* allocate "fastemb_allocate"(size_t size)
    void release "fastemb_release"(void* memory)

cdef extern from "_scan.h" nogil:
    void prefetch "fastemb_prefetch"(const void* address)

# A number in a term's `parts` stands for a word with this above it.
IS_WORD = 0x7fffffff << 32
# One thread at a time fills a shard of a table.
NUM_SHARDS = SHARDS

cdef enum:
    AHEAD = 16                       # keys prefetched before they are looked up

cdef int64_t C_IS_WORD = <int64_t>0x7fffffff << 32

def prepare_words(const uint8_t[::1] packed, const int64_t[::1] offsets, bytes delimiter):
    """Return what joining words needs: an opaque uint64 array with a row for each of some packed words.

    Parameters
    ----------
    packed, offsets
        Word `i` is ``packed[offsets[i]:offsets[i + 1]]``.
    delimiter
        What comes between the words of a phrase, at least one byte.
    """
    cdef Py_ssize_t i, n = offsets.shape[0] - 1
    cdef const uint8_t* glue = <const uint8_t*><const char*>delimiter
    cdef int64_t glue_length = len(delimiter)
    if glue_length == 0:
        raise ValueError("delimiter must not be empty")
    for i in range(n):
        if not 0 <= offsets[i] <= offsets[i + 1] <= packed.shape[0]:
            raise ValueError(f"offsets must rise from 0 to {packed.shape[0]}, got {offsets[i]} at position {i}")
    rows = np.empty((n, sizeof(Word) // 8), np.uint64)
    cdef uint64_t[:, ::1] view = rows
    cdef const uint8_t* text = &packed[0] if packed.shape[0] > 0 else glue
    cdef Key glue_key = extend(Key(0, 0), glue, glue_length)
    cdef Key glue_power = power(glue_length)
    cdef Word* word
    with nogil:
        for i in range(n):
            word = <Word*>&view[i, 0]
            prepare(word, text + offsets[i], offsets[i + 1] - offsets[i], glue_key, glue_power)
            if holds(text + offsets[i], offsets[i + 1] - offsets[i], glue, glue_length):
                word.flags = COMPOUND
    return rows


cdef bint holds(const uint8_t* word, int64_t length, const uint8_t* part, int64_t part_length) noexcept nogil:
    cdef const uint8_t* at = word
    cdef const uint8_t* end = word + length - part_length + 1
    while at < end:
        at = <const uint8_t*>memchr(at, part[0], end - at)
        if at == NULL:
            return False
        if memcmp(at, part, part_length) == 0:
            return True
        at += 1
    return False


def set_counts(uint64_t[:, ::1] words, const int64_t[::1] counts):
    """Set how often a model has met prepared words."""
    cdef Word* rows = <Word*>words_of(words)
    cdef Py_ssize_t i
    if counts.shape[0] != words.shape[0]:
        raise ValueError(f"there must be {words.shape[0]} counts, one a word, got {counts.shape[0]}")
    for i in range(counts.shape[0]):
        rows[i].count = counts[i]


def set_connectors(uint64_t[:, ::1] words, TermTable connectors):
    """Mark the prepared words that are in a table: they may stand inside a phrase."""
    cdef Word* rows = <Word*>words_of(words)
    cdef Py_ssize_t i
    for i in range(words.shape[0]):
        if connectors.find(rows[i].key) != NULL:
            rows[i].flags |= CONNECTOR


def compound_words(const uint64_t[:, ::1] words):
    """Return which prepared words hold the delimiter, as booleans."""
    cdef const Word* rows = words_of(words)
    cdef Py_ssize_t i
    marks = np.zeros(words.shape[0], np.uint8)
    cdef uint8_t[::1] out = marks
    for i in range(words.shape[0]):
        out[i] = (rows[i].flags & COMPOUND) != 0
    return marks.view(bool)


cdef const Word* words_of(const uint64_t[:, ::1] words) except? NULL:
    if words.shape[1] * 8 != sizeof(Word):
        raise ValueError(f"prepared words must have {sizeof(Word) // 8} columns, got {words.shape[1]}")
    return <const Word*>&words[0, 0] if words.shape[0] > 0 else NULL


@cython.final
cdef class TermTable:
    """How often words and phrases occur, by the keys of their texts.

    What a term is made of is one number, its `parts`: ``IS_WORD | w`` is the word `w`, ``a << 32 | b`` the words `a`
    and `b`, and a negative number a phrase with words in between: ``~position`` of its last word in a text or, after
    `resolve`, ``~number`` of the phrase. Of terms with the same text a phrase tells the parts rather than a word, and
    the first one that came.

    Threads may add pairs at the same time, each to its own shards; while they do, nothing else may use the table. All
    else that may be done with a table that others know keeps the GIL, so that each call sees a whole table.

    Examples
    --------
    >>> table = TermTable()
    >>> words = prepare_words(np.frombuffer(b"newyork", np.uint8), np.array([0, 3, 7]), b"_")
    >>> table.add_words(words, np.array([0, 1]), np.array([2, 1]))
    >>> len(table), table.count_of(b"new"), table.count_of(b"old")
    (2, 2, 0)
    """

    def __cinit__(self):
        cdef int i
        for i in range(SHARDS):
            self.grow(&self.shards[i])

    def __dealloc__(self):
        cdef int i
        for i in range(SHARDS):
            release(self.shards[i].entries)

    def __len__(self):
        cdef int i
        cdef int64_t size = 0
        for i in range(SHARDS):
            size += self.shards[i].size
        return size

    # ---- one term

    cdef const Entry* find(self, Key key) noexcept nogil:
        cdef const Shard* shard = &self.shards[shard_of(key)]
        cdef uint64_t slot = key.high & shard.mask
        while shard.entries[slot].count != 0:
            if shard.entries[slot].key.low == key.low and shard.entries[slot].key.high == key.high:
                return &shard.entries[slot]
            slot = (slot + 1) & shard.mask
        return NULL

    cdef int add(self, Key key, int64_t count, int64_t parts) except -1 nogil:
        """Add occurrences, which must be some, of a term."""
        cdef Shard* shard = &self.shards[shard_of(key)]
        cdef uint64_t slot = key.high & shard.mask
        cdef Entry* entry = &shard.entries[slot]
        while entry.count != 0:
            if entry.key.low == key.low and entry.key.high == key.high:
                entry.count += count
                if entry.parts >= C_IS_WORD:
                    entry.parts = parts
                return 0
            slot = (slot + 1) & shard.mask
            entry = &shard.entries[slot]
        entry.key, entry.count, entry.parts = key, count, parts
        shard.size += 1
        if <uint64_t>shard.size * 8 > shard.mask * 5:
            self.grow(shard)
        return 0

    cdef int grow(self, Shard* shard) except -1 nogil:
        cdef uint64_t i, slot, mask = shard.mask * 2 + 1 if shard.entries != NULL else 31
        cdef Entry* entries = <Entry*>allocate((mask + 1) * sizeof(Entry))
        if entries == NULL:
            raise MemoryError("no memory for more phrases; a smaller max_vocab_size needs less")
        if shard.entries != NULL:
            for i in range(shard.mask + 1):
                if shard.entries[i].count != 0:
                    slot = shard.entries[i].key.high & mask
                    while entries[slot].count != 0:
                        slot = (slot + 1) & mask
                    entries[slot] = shard.entries[i]
        release(shard.entries)
        shard.entries, shard.mask = entries, mask
        return 0

    def count_of(self, const uint8_t[::1] term):
        """Return how often a term, given by its bytes, occurs."""
        cdef Key key = Key(0, 0)
        if term.shape[0] > 0:
            key = extend(key, &term[0], term.shape[0])
        cdef const Entry* entry = self.find(key)
        return entry.count if entry != NULL else 0

    # ---- many terms

    def add_words(self, const uint64_t[:, ::1] words, const int64_t[::1] numbers, const int64_t[::1] counts):
        """Add occurrences of the prepared words of some numbers; connectors are left out."""
        cdef const Word* rows = words_of(words)
        cdef Py_ssize_t i
        if counts.shape[0] != numbers.shape[0]:
            raise ValueError(f"there must be {numbers.shape[0]} counts, one a word, got {counts.shape[0]}")
        for i in range(numbers.shape[0]):
            if not 0 <= numbers[i] < words.shape[0] or counts[i] < 1:
                raise ValueError(f"numbers must be in [0, {words.shape[0]}) and occur, got {numbers[i]} at position {i}")
        with nogil:
            for i in range(numbers.shape[0]):
                if not rows[numbers[i]].flags & CONNECTOR:
                    self.add(rows[numbers[i]].key, counts[i], C_IS_WORD | numbers[i])

    def add_terms(self, const uint64_t[:, ::1] words, const int64_t[::1] parts, const int64_t[::1] counts,
                  const int64_t[::1] labels, const int32_t[::1] values, const int64_t[::1] offsets):
        """Add occurrences of terms that are told by their parts.

        Parameters
        ----------
        words
            The vocabulary as prepared words.
        parts, counts
            The terms, resolved, and how often they occur.
        labels
            What the table shall keep as their parts.
        values, offsets
            The phrases with words in between, as `resolve` returns them.

        Raises
        ------
        ValueError
            If anything does not fit.
        """
        cdef const Word* rows = words_of(words)
        cdef int64_t i, k, left, right, num_words = words.shape[0], num_long = offsets.shape[0] - 1
        cdef Key key
        if not parts.shape[0] == counts.shape[0] == labels.shape[0]:
            raise ValueError(f"there must be as many counts as terms, got {counts.shape[0]} and {parts.shape[0]}")
        for i in range(num_long + 1):
            if not 0 <= offsets[i] <= values.shape[0] or (i > 0 and offsets[i - 1] >= offsets[i]):
                raise ValueError(f"offsets of phrases must rise to {values.shape[0]}, got {offsets[i]} at position {i}")
        for i in range(values.shape[0]):
            if not 0 <= values[i] < num_words:
                raise ValueError(f"word numbers must be in [0, {num_words}), got {values[i]} at position {i}")
        for i in range(parts.shape[0]):
            left, right = parts[i] >> 32, parts[i] & 0xffffffff
            if (counts[i] < 1 or ~parts[i] >= num_long
                    or (parts[i] >= 0 and (right >= num_words or (left >= num_words and left != 0x7fffffff)))):
                raise ValueError(f"no term has the parts {parts[i]} and occurs {counts[i]} times, at position {i}")
            if parts[i] < 0:
                key = rows[values[offsets[~parts[i]]]].key
                for k in range(offsets[~parts[i]] + 1, offsets[~parts[i] + 1]):
                    key = join(key, &rows[values[k]])
            else:
                key = rows[right].key if left == 0x7fffffff else join(rows[left].key, &rows[right])
            self.add(key, counts[i], labels[i])

    def parts_of(self, const uint64_t[:, ::1] words):
        """Return the parts of the terms that have the texts of prepared words, -1 where there is none."""
        cdef const Word* rows = words_of(words)
        cdef const Entry* entry
        cdef Py_ssize_t i
        values = np.full(words.shape[0], -1, np.int64)
        cdef int64_t[::1] out = values
        for i in range(words.shape[0]):
            entry = self.find(rows[i].key)
            if entry != NULL:
                out[i] = entry.parts
        return values

    def add_pairs(self, const uint64_t[:, ::1] pairs, const int64_t[:, ::1] starts, int start, int stop):
        """Add what `find_pairs` found in parts of a text, one a row of `starts`, in the shards `start` to `stop`."""
        cdef Py_ssize_t i
        cdef int shard
        if not 0 <= start <= stop <= SHARDS or starts.shape[1] != SHARDS + 1 or pairs.shape[1] * 8 != sizeof(Pair):
            raise ValueError(f"shards must be in [0, {SHARDS}], got [{start}, {stop})")
        for i in range(starts.shape[0]):
            for shard in range(SHARDS):
                if not 0 <= starts[i, shard] <= starts[i, shard + 1] <= pairs.shape[0]:
                    raise ValueError(f"starts must rise to {pairs.shape[0]}, got {starts[i, shard + 1]} in row {i}")
        if pairs.shape[0] == 0:
            return
        with nogil:
            for shard in range(start, stop):
                for i in range(starts.shape[0]):
                    self.add_range(<const Pair*>&pairs[0, 0], starts[i, shard], starts[i, shard + 1])

    cdef int add_range(self, const Pair* pairs, int64_t start, int64_t stop) except -1 nogil:
        cdef int64_t k, end
        cdef Shard* shard
        while start < stop:
            end = min(start + AHEAD, stop)
            for k in range(start, end):
                shard = &self.shards[shard_of(pairs[k].key)]
                prefetch(&shard.entries[pairs[k].key.high & shard.mask])
            for k in range(start, end):
                self.add(pairs[k].key, 1, pairs[k].parts)
            start = end
        return 0

    def counts_of(self, const uint64_t[:, ::1] words):
        """Return how often the texts of prepared words occur, int64."""
        cdef const Word* rows = words_of(words)
        cdef const Entry* entry
        cdef Py_ssize_t i
        values = np.zeros(words.shape[0], np.int64)
        cdef int64_t[::1] out = values
        for i in range(words.shape[0]):
            entry = self.find(rows[i].key)
            if entry != NULL:
                out[i] = entry.count
        return values

    def prune(self, double min_count):
        """Drop the terms that occur less often; return how many they were and their occurrences."""
        cdef int i
        cdef uint64_t slot
        cdef int64_t terms = 0, occurrences = 0
        cdef Shard old
        for i in range(SHARDS):
            old = self.shards[i]
            self.shards[i].entries, self.shards[i].size = NULL, 0
            self.grow(&self.shards[i])
            for slot in range(old.mask + 1):
                if old.entries[slot].count >= min_count:
                    self.add(old.entries[slot].key, old.entries[slot].count, old.entries[slot].parts)
                elif old.entries[slot].count > 0:
                    terms += 1
                    occurrences += old.entries[slot].count
            release(old.entries)
        return terms, occurrences

    def absorb(self, TermTable other, const int32_t[::1] numbers, int64_t num_long):
        """Add all terms of `other`.

        Parameters
        ----------
        other
            A table whose parts are resolved.
        numbers
            The numbers here of its words.
        num_long
            What is added to its numbers of phrases with words in between.
        """
        cdef int i
        cdef uint64_t slot
        cdef const Entry* entry
        cdef int64_t parts, a, b
        for i in range(SHARDS):
            for slot in range(other.shards[i].mask + 1):
                entry = &other.shards[i].entries[slot]
                if entry.count == 0:
                    continue
                parts = entry.parts
                if parts >= 0:
                    a, b = parts >> 32, parts & 0xffffffff
                    if b >= numbers.shape[0] or (a >= numbers.shape[0] and a != 0x7fffffff):
                        raise ValueError(f"there must be a number for each word, got {numbers.shape[0]}")
                    parts = <int64_t>(a if a == 0x7fffffff else numbers[a]) << 32 | numbers[b]
                else:
                    parts -= num_long
                self.add(entry.key, entry.count, parts)

    def resolve(self, const int32_t[::1] ids, const uint64_t[:, ::1] words):
        """Write out the phrases with words in between, of which only positions in a text are known.

        Returns
        -------
        values : int32 array
            Their word numbers, one phrase after the other.
        offsets : int64 array
        """
        cdef const Word* rows = words_of(words)
        cdef int i
        cdef uint64_t slot
        cdef int64_t position, first, number = 0, size = 0
        cdef Entry* entry
        for i in range(SHARDS):
            for slot in range(self.shards[i].mask + 1):
                entry = &self.shards[i].entries[slot]
                if entry.count > 0 and entry.parts < 0:
                    position = ~entry.parts
                    size += position + 1 - word_before(&ids[0], position, 0, rows, words.shape[0])
                    number += 1
        values, offsets = np.empty(size, np.int32), np.zeros(number + 1, np.int64)
        cdef int32_t[::1] out = values
        cdef int64_t[::1] ends = offsets
        number = size = 0
        for i in range(SHARDS):
            for slot in range(self.shards[i].mask + 1):
                entry = &self.shards[i].entries[slot]
                if entry.count > 0 and entry.parts < 0:
                    position = ~entry.parts
                    first = word_before(&ids[0], position, 0, rows, words.shape[0])
                    out[size : size + position + 1 - first] = ids[first : position + 1]
                    size += position + 1 - first
                    entry.parts = ~number
                    number += 1
                    ends[number] = size
        return values, offsets

    def terms(self, double min_count=0):
        """Return the parts and the counts of the terms that occur at least so often, int64 each."""
        cdef int i
        cdef uint64_t slot
        cdef Py_ssize_t n = 0
        cdef const Entry* entry
        parts, counts = np.empty(len(self), np.int64), np.empty(len(self), np.int64)
        cdef int64_t[::1] out_parts = parts, out_counts = counts
        for i in range(SHARDS):
            for slot in range(self.shards[i].mask + 1):
                entry = &self.shards[i].entries[slot]
                if entry.count > 0 and entry.count >= min_count:
                    out_parts[n], out_counts[n] = entry.parts, entry.count
                    n += 1
        return parts[:n], counts[:n]


cdef int64_t word_before(const int32_t* ids, int64_t position, int64_t start, const Word* words,
                         int64_t num_words) noexcept nogil:
    """Return the position of the last word from `start` to before `position` that is no connector, else `position`."""
    cdef int64_t i = position - 1
    while i >= start and 0 <= ids[i] < num_words:
        if not words[ids[i]].flags & CONNECTOR:
            return i
        i -= 1
    return position
