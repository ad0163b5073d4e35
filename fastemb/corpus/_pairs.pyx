"""Find the phrases in a text of word numbers."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from fastemb.corpus._terms cimport CONNECTOR, SHARDS, Key, Pair, Word, join, shard_of, word_before, words_of

import numpy as np

# Numbers in a row for a phrase.
PAIR_COLUMNS = sizeof(Pair) // 8


def count_words(const int32_t[::1] ids, int64_t start, int64_t stop, int64_t[::1] counts, int64_t[::1] firsts=None):
    """Add the occurrences of words in ``ids[start:stop]`` to their counts, and note the first place of new ones.

    Raises
    ------
    ValueError
        If an id has no count.
    """
    cdef int64_t i, word = 0, num_words = counts.shape[0]
    cdef bint noted = firsts is not None
    if not 0 <= start <= stop <= ids.shape[0]:
        raise ValueError(f"the range must lie in [0, {ids.shape[0]}], got [{start}, {stop})")
    if noted and firsts.shape[0] != num_words:
        raise ValueError(f"there must be {num_words} first places, one a word, got {firsts.shape[0]}")
    with nogil:
        for i in range(start, stop):
            word = ids[i]
            if not 0 <= word < num_words:
                break
            if noted and counts[word] == 0:
                firsts[word] = i
            counts[word] += 1
        else:
            word = 0
    if not 0 <= word < max(num_words, 1):
        raise ValueError(f"ids must be in [0, {num_words}), got {word}")


def find_pairs(const int32_t[::1] ids, const int64_t[::1] offsets, int64_t start, int64_t stop,
               const uint64_t[:, ::1] words, bint across, uint64_t[:, ::1] scratch, uint64_t[:, ::1] pairs,
               int64_t[::1] starts):
    """Find the phrases whose last words are ``ids[start:stop]``.

    Each word that is no connector and the next such word make a phrase, with the connectors between them.

    Parameters
    ----------
    ids, offsets
        The text: sentence `i` is ``ids[offsets[i]:offsets[i + 1]]``.
    words
        The vocabulary as prepared words.
    across
        A sentence's first word makes a phrase with the last word of the sentence before.
    scratch, pairs
        Rows of `PAIR_COLUMNS` numbers, ``stop - start`` at least; the phrases are written to `pairs`, in the order of
        the shards of their keys.
    starts
        For each of the `NUM_SHARDS` shards, where its phrases begin among `pairs`, and where the last ones end.

    Raises
    ------
    ValueError
        If an id is not in the vocabulary, or the arrays do not fit.
    """
    cdef const Word* rows = words_of(words)
    cdef int64_t i, n = 0, first = start, last
    cdef Py_ssize_t num_sentences = offsets.shape[0] - 1, sentence = np.searchsorted(offsets, start, "right") - 1
    if not 0 <= start <= stop <= ids.shape[0] or not 0 <= sentence < num_sentences:
        raise ValueError(f"the range must lie in [0, {ids.shape[0]}), got [{start}, {stop})")
    if (starts.shape[0] != SHARDS + 1 or min(scratch.shape[0], pairs.shape[0]) < stop - start
            or not scratch.shape[1] == pairs.shape[1] == PAIR_COLUMNS):
        raise ValueError(f"there must be room for {stop - start} pairs of {PAIR_COLUMNS} numbers")
    for i in range(start, stop):
        if not 0 <= ids[i] < words.shape[0]:
            raise ValueError(f"ids must be in [0, {words.shape[0]}), got {ids[i]} at position {i}")
    if start == stop:
        starts[:] = 0
        return
    with nogil:
        while first < stop:
            last = stop
            if not across:
                while sentence < num_sentences - 1 and offsets[sentence + 1] <= first:
                    sentence += 1
                if sentence < num_sentences - 1:
                    last = max(first + 1, min(stop, offsets[sentence + 1]))
            i = first
            if first == start:
                i = word_before(&ids[0], first, 0 if across else offsets[sentence], rows, words.shape[0])
            n = pairs_of(&ids[0], i, last, first, rows, <Pair*>&scratch[0, 0], n)
            first = last
        sort_pairs(<Pair*>&scratch[0, 0], n, <Pair*>&pairs[0, 0], &starts[0])


cdef int64_t pairs_of(const int32_t* ids, int64_t start, int64_t stop, int64_t counted, const Word* words, Pair* pairs,
                      int64_t n) noexcept nogil:
    """Append the phrases in a part of a sentence that end at `counted` or later; return how many there are."""
    cdef int64_t i, left = -1
    cdef bint apart = False
    cdef Key key = Key(0, 0)
    cdef const Word* word
    for i in range(start, stop):
        word = &words[ids[i]]
        if word.flags & CONNECTOR:
            if left >= 0:
                key, apart = join(key, word), True
            continue
        if left >= 0 and i >= counted:
            pairs[n] = Pair(join(key, word), ~i if apart else left << 32 | ids[i])
            n += 1
        left, key, apart = ids[i], word.key, False
    return n


cdef void sort_pairs(const Pair* pairs, int64_t n, Pair* out, int64_t* starts) noexcept nogil:
    """Sort by shards."""
    cdef int64_t[SHARDS] ends
    cdef int64_t i, shard
    memset(starts, 0, (SHARDS + 1) * sizeof(int64_t))
    for i in range(n):
        starts[shard_of(pairs[i].key) + 1] += 1
    for shard in range(SHARDS):
        starts[shard + 1] += starts[shard]
        ends[shard] = starts[shard]
    for i in range(n):
        shard = shard_of(pairs[i].key)
        out[ends[shard]] = pairs[i]
        ends[shard] += 1
