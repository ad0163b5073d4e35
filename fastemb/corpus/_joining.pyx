"""Join the phrases of a text, as word numbers or as str."""

cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

import numpy as np

from fastemb.corpus._terms cimport (
    CONNECTOR, SHARDS, Entry, Key, Shard, TermTable, Word, extend, join, power, prepare, words_of,
)

from fastemb.corpus._strings import shorten

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "_terms.h" nogil:
    Key split "fastemb_split"(Key phrase, Key a, Key b)
    double c_score "fastemb_score"(int scoring, double a, double b, double both, double min_count, double num_terms,
                                   double num_words)

# How counts become a score, or where scores come from.
DEFAULT, NPMI, WORD2PHRASE, STORED, CUSTOM = range(5)

cdef enum:
    C_STORED = 3
    C_CUSTOM = 4


cdef struct Span:
    int32_t word                     # its number, or ~number of a candidate
    int32_t length                   # in words
    double score


@cython.final
cdef class Joiner:
    """Finds the phrases of a sentence: from left to right, each that scores more than a threshold.

    Parameters
    ----------
    candidates : TermTable
        What may be a phrase, with its count; its parts are its number. It must not change any more.
    scoring : int
        One of DEFAULT, NPMI, WORD2PHRASE, STORED, CUSTOM.
    threshold, min_count : float
    num_terms, num_words : int
        Different terms and all words that a model was made from.
    scores : float64 array, optional
        The candidates' scores, for STORED; NaN where the score depends on the words that a phrase is joined from.
    splits, split_scores : TermTable and float64 array, optional
        Those scores, see `split_table`.
    function : callable, optional
        For CUSTOM: of the counts of the words at both ends and of the phrase.
    """

    cdef readonly TermTable candidates
    cdef int64_t num_candidates
    # A bit for some of a key's own bits: small enough for a core's cache, it turns most pairs of words away.
    cdef uint64_t* filter
    cdef uint64_t filter_mask
    cdef int scoring
    cdef readonly double threshold
    cdef double min_count, num_terms, num_words
    cdef const double[::1] scores
    cdef TermTable splits
    cdef const double[::1] split_scores
    cdef object function

    def __cinit__(self, TermTable candidates not None, int scoring, double threshold, double min_count=0,
                  double num_terms=0, double num_words=0, scores=None, TermTable splits=None, split_scores=None, function=None):
        numbers = candidates.terms()[0]
        self.num_candidates = int(numbers.max()) + 1 if len(numbers) else 0
        if len(numbers) and numbers.min() < 0:
            raise ValueError(f"candidates must have numbers, got {numbers.min()}")
        if not 0 <= scoring <= C_CUSTOM or (scoring == C_STORED and len(scores) < self.num_candidates):
            raise ValueError(f"scoring must be in [0, {C_CUSTOM}], and {self.num_candidates} candidates have scores")
        self.candidates, self.scoring, self.threshold, self.min_count = candidates, scoring, threshold, min_count
        if splits is not None and len(split_scores) < len(splits):
            raise ValueError(f"there must be {len(splits)} scores of splits, got {len(split_scores)}")
        self.splits, self.split_scores = splits, split_scores
        self.fill_filter()
        # word2phrase compares in single precision.
        if scoring == 2:
            self.threshold = <float>threshold
        self.num_terms, self.num_words, self.scores, self.function = num_terms, num_words, scores, function

    def __dealloc__(self):
        free(self.filter)

    cdef int fill_filter(self) except -1:
        cdef int i
        cdef uint64_t slot, bits = 64
        cdef const Shard* shard
        while bits < <uint64_t>len(self.candidates) * 16:
            bits *= 2
        self.filter, self.filter_mask = <uint64_t*>calloc(bits // 64, 8), bits - 1
        if self.filter == NULL:
            raise MemoryError(f"no memory for a filter of {len(self.candidates):,} phrases")
        for i in range(SHARDS):
            shard = &self.candidates.shards[i]
            for slot in range(shard.mask + 1):
                if shard.entries[slot].count > 0:
                    bits = shard.entries[slot].key.low & self.filter_mask
                    self.filter[bits >> 6] |= <uint64_t>1 << (bits & 63)
        return 0

    cdef const Entry* find(self, Key key) noexcept nogil:
        cdef uint64_t bit = key.low & self.filter_mask
        return self.candidates.find(key) if self.filter[bit >> 6] >> (bit & 63) & 1 else NULL

    cdef double score(self, const Word* a, const Word* b, const Entry* entry) except? -1 nogil:
        cdef double score
        if self.scoring == C_STORED:
            score = self.scores[entry.parts]
            if score == score or self.splits is None:
                return score
            entry = self.splits.find(split(entry.key, a.key, b.key))
            return self.split_scores[entry.parts] if entry != NULL else score
        if a.count == 0 or b.count == 0:
            return -INFINITY
        if self.scoring == C_CUSTOM:
            with gil:
                return self.function(a.count, b.count, entry.count)
        return c_score(self.scoring, <double>a.count, <double>b.count, <double>entry.count, self.min_count,
                       self.num_terms, self.num_words)

    cdef Py_ssize_t join(self, const int32_t* ids, Py_ssize_t length, const Word* words, int64_t num_words,
                         Span* spans) except -1 nogil:
        """Cut a sentence into spans, of which there are as many as words at most; return their number."""
        cdef Py_ssize_t i, n = 0, start = -1
        cdef Key key
        cdef double score
        cdef const Entry* entry
        cdef const Word* word
        for i in range(length):
            if not 0 <= ids[i] < num_words:
                with gil:
                    raise ValueError(f"ids must be in [0, {num_words}), got {ids[i]}")
            word = &words[ids[i]]
            if start < 0:
                spans[n] = Span(ids[i], 1, 0)
                n += 1
                if not word.flags & CONNECTOR:
                    start, key = i, word.key
                continue
            key = join(key, word)
            spans[n] = Span(ids[i], 1, 0)
            n += 1
            if word.flags & CONNECTOR:
                continue
            entry = self.find(key)
            if entry != NULL:
                score = self.score(&words[ids[start]], word, entry)
                if score > self.threshold:
                    n -= i - start
                    spans[n - 1] = Span(~<int32_t>entry.parts, <int32_t>(i - start + 1), score)
                    start = -1
                    continue
            start, key = i, word.key
        return n

    def safe_cut(self, const int32_t[::1] ids, int64_t position, int64_t stop, const uint64_t[:, ::1] words):
        """Return the first place from `position` on where a sentence may be cut, no phrase reaching over it, or `stop`.

        That is between two words that are no connectors and make no phrase.
        """
        cdef const Word* rows = words_of(words)
        cdef Span[2] spans
        if not 1 <= position <= stop <= ids.shape[0]:
            raise ValueError(f"position must be in [1, {min(stop, ids.shape[0])}], got {position}")
        while position < stop:
            if (self.join(&ids[position - 1], 2, rows, words.shape[0], spans) == 2
                    and not (rows[ids[position - 1]].flags | rows[ids[position]].flags) & CONNECTOR):
                break
            position += 1
        return position

    def join_ids(self, const int32_t[::1] ids, const int64_t[::1] offsets, int64_t start, int64_t stop,
                 const uint64_t[:, ::1] words, const int32_t[::1] numbers):
        """Join the phrases in ``ids[start:stop]``.

        Parameters
        ----------
        ids, offsets
            The text: sentence `i` is ``ids[offsets[i]:offsets[i + 1]]``, and none is empty.
        start, stop
            Ends of sentences or safe cuts.
        words
            The vocabulary as prepared words with the model's counts.
        numbers
            The numbers of the candidates in the new vocabulary.

        Returns
        -------
        ids : int32 array
        ends : int64 array
            Where the sentences end in it that end in this part.
        """
        cdef const Word* rows = words_of(words)
        cdef Py_ssize_t sentence, last_sentence, k, n, size = 0
        cdef int64_t first = start, last
        if not 0 <= start <= stop <= ids.shape[0]:
            raise ValueError(f"the range must lie in [0, {ids.shape[0]}], got [{start}, {stop})")
        if numbers.shape[0] < self.num_candidates:
            raise ValueError(f"there must be {self.num_candidates} numbers, got {numbers.shape[0]}")
        # The sentences that end in (start, stop], and what is left.
        sentence, last_sentence = np.searchsorted(offsets, (start, stop), "right") - 1
        joined, ends = np.empty(stop - start, np.int32), np.empty(max(last_sentence - sentence, 0), np.int64)
        cdef int32_t[::1] out = joined
        cdef int64_t[::1] out_ends = ends
        cdef Span* spans = <Span*>malloc((stop - start + 1) * sizeof(Span))
        if spans == NULL:
            raise MemoryError(f"no memory for {stop - start:,} words")
        try:
            with nogil:
                for k in range(out_ends.shape[0] + 1):
                    last = min(stop, max(first, offsets[sentence + k + 1])) if k < out_ends.shape[0] else stop
                    n = self.join(&ids[0] + first, last - first, rows, words.shape[0], spans)
                    size = number_spans(spans, n, numbers, out, size)
                    if k < out_ends.shape[0]:
                        out_ends[k] = size
                    first = last
        finally:
            free(spans)
        return joined[:size], ends

    def join_tokens(self, list tokens, bytes delimiter, connectors, TermTable known):
        """Join the phrases of a sentence of str.

        Parameters
        ----------
        tokens
            Other types raise a TypeError; empty ones are left out.
        delimiter
            What comes between the words of a phrase, in UTF-8.
        connectors
            The words that may stand inside a phrase, a frozenset.
        known
            How often words occur; None where scores are stored.

        Returns
        -------
        list of (start, stop, score)
            The spans' places among the tokens; the score of a single word is None.
        """
        cdef Py_ssize_t i, n = 0, k, place = 0, num_spans, length = 0
        cdef Py_ssize_t num_tokens = len(tokens)
        cdef const char* text
        cdef const Entry* entry
        cdef Key glue = extend(Key(0, 0), <const uint8_t*><const char*>delimiter, len(delimiter))
        cdef Key glue_power = power(len(delimiter))
        cdef Word* words = <Word*>malloc((num_tokens + 1) * (sizeof(Word) + sizeof(Span) + 2 * sizeof(int32_t)))
        if words == NULL:
            raise MemoryError(f"no memory for a sentence of {num_tokens:,} words")
        cdef Span* spans = <Span*>(words + num_tokens + 1)
        cdef int32_t* ids = <int32_t*>(spans + num_tokens + 1)
        cdef int32_t* places = ids + num_tokens + 1
        cdef list found = []
        try:
            for i in range(num_tokens):
                token = tokens[i]
                if not isinstance(token, str):
                    raise TypeError(f"a sentence must be a list of str, got {shorten(token)} at position {i}")
                encoded = utf8(token, i, &text, &length)
                if length == 0:
                    continue
                prepare(&words[n], <const uint8_t*>text, length, glue, glue_power)
                if token in connectors:
                    words[n].flags = CONNECTOR
                elif known is not None:
                    entry = known.find(words[n].key)
                    words[n].count = entry.count if entry != NULL else 0
                ids[n], places[n] = <int32_t>n, <int32_t>i
                n += 1
            num_spans = self.join(ids, n, words, n, spans)
            for k in range(num_spans):
                i = places[place]
                place += spans[k].length
                found.append((i, places[place - 1] + 1, spans[k].score if spans[k].word < 0 else None))
        finally:
            free(words)
        return found


cdef Py_ssize_t number_spans(const Span* spans, Py_ssize_t n, const int32_t[::1] numbers, int32_t[::1] out,
                             Py_ssize_t size) noexcept nogil:
    """Append the spans' words to `out`, which has `size` of them; return how many there are then."""
    cdef Py_ssize_t k
    for k in range(n):
        out[size + k] = spans[k].word if spans[k].word >= 0 else numbers[~spans[k].word]
    return size + n


cdef object utf8(str token, Py_ssize_t place, const char** text, Py_ssize_t* length):
    """Point to a token's UTF-8, which lives as long as the token and what is returned."""
    try:
        text[0] = PyUnicode_AsUTF8AndSize(token, length)
        return None
    except UnicodeEncodeError:
        pass
    try:
        encoded = token.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"tokens must be valid Unicode, got {shorten(token)} at position {place} ({error.reason})"
        ) from None
    text[0], length[0] = encoded, len(encoded)
    return encoded


def split_table(const uint64_t[:, ::1] phrases, const uint64_t[:, ::1] a, const uint64_t[:, ::1] b):
    """Return a table of phrases and the words at their ends, all prepared words; the parts are their places here."""
    cdef const Word* joined = words_of(phrases)
    cdef const Word* left = words_of(a)
    cdef const Word* right = words_of(b)
    cdef Py_ssize_t i
    cdef TermTable table = TermTable()
    if not phrases.shape[0] == a.shape[0] == b.shape[0]:
        raise ValueError(f"there must be two words for each of {phrases.shape[0]} phrases")
    for i in range(phrases.shape[0]):
        table.add(split(joined[i].key, left[i].key, right[i].key), 1, i)
    return table


def score_all(int scoring, const int64_t[::1] a, const int64_t[::1] b, const int64_t[::1] both, double min_count,
              double num_terms, double num_words):
    """Return the scores of phrases by the counts of the words at both ends and their own, float64."""
    cdef Py_ssize_t i, n = both.shape[0]
    if not 0 <= scoring <= 2 or not a.shape[0] == b.shape[0] == n:
        raise ValueError("each phrase must have three counts")
    scores = np.full(n, -np.inf)
    cdef double[::1] out = scores
    with nogil:
        for i in range(n):
            if a[i] > 0 and b[i] > 0:
                out[i] = c_score(scoring, <double>a[i], <double>b[i], <double>both[i], min_count, num_terms, num_words)
    return scores
