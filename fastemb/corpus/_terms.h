/* Keys of terms, words and phrases alike: two polynomials over a term's UTF-8 bytes modulo the prime 2^61 - 1.
 *
 * The key of "new_york" follows from those of "new" and "york", so that pairs of words are counted without being
 * spelled, and "new york_city" and "new_york city" are the same phrase. Two keys are 122 bits: that any two of 10^8
 * terms of 30 bytes share them has a chance of about 10^-18.
 */
#ifndef FASTEMB_TERMS_H
#define FASTEMB_TERMS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <malloc.h>
#endif
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#define FASTEMB_PRIME ((UINT64_C(1) << 61) - 1)

/* Two random numbers below the prime. */
#define FASTEMB_BASE_LOW UINT64_C(0x110a2dec89025cc1)
#define FASTEMB_BASE_HIGH UINT64_C(0x175835de1c9756ce)

typedef struct {
    uint64_t low, high;
} fastemb_term_key;

/* What joining a word to a term needs; 64 bytes, so that it is one cache line. */
typedef struct {
    fastemb_term_key key;
    fastemb_term_key tail;  /* key of the delimiter and the word */
    fastemb_term_key power; /* the bases to the number of bytes of the delimiter and the word */
    int64_t count;          /* how often a model has met the word */
    int64_t flags;
} fastemb_term_word;

/* Return (a * b + c) mod the prime. */
static inline uint64_t fastemb_multiply_add(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t low, high, sum;
#if defined(_MSC_VER) && !defined(__clang__)
    low = _umul128(a, b, &high);
#else
    unsigned __int128 product = (unsigned __int128)a * b;
    low = (uint64_t)product;
    high = (uint64_t)(product >> 64);
#endif
    sum = (low & FASTEMB_PRIME) + (high << 3 | low >> 61) + c;
    sum = (sum & FASTEMB_PRIME) + (sum >> 61);
    return sum >= FASTEMB_PRIME ? sum - FASTEMB_PRIME : sum;
}

/* Return the key of a term and some bytes after it. */
static inline fastemb_term_key fastemb_extend(fastemb_term_key key, const uint8_t *bytes, int64_t length) {
    for (int64_t i = 0; i < length; i++) {
        /* One is added so that NUL bytes count, too. */
        key.low = fastemb_multiply_add(key.low, FASTEMB_BASE_LOW, (uint64_t)bytes[i] + 1);
        key.high = fastemb_multiply_add(key.high, FASTEMB_BASE_HIGH, (uint64_t)bytes[i] + 1);
    }
    return key;
}

/* Return the key of one term and then another, given the bases to the number of bytes of the other. */
static inline fastemb_term_key fastemb_append(fastemb_term_key key, fastemb_term_key power, fastemb_term_key other) {
    key.low = fastemb_multiply_add(key.low, power.low, other.low);
    key.high = fastemb_multiply_add(key.high, power.high, other.high);
    return key;
}

/* Return the bases to a number of bytes. */
static inline fastemb_term_key fastemb_power(int64_t length) {
    fastemb_term_key power = {1, 1};
    for (int64_t i = 0; i < length; i++) {
        power.low = fastemb_multiply_add(power.low, FASTEMB_BASE_LOW, 0);
        power.high = fastemb_multiply_add(power.high, FASTEMB_BASE_HIGH, 0);
    }
    return power;
}

/* Return the key of a term, the delimiter and a word. */
static inline fastemb_term_key fastemb_join(fastemb_term_key key, const fastemb_term_word *word) {
    return fastemb_append(key, word->power, word->tail);
}

/* Prepare a word to be joined behind a delimiter of a given key and power. */
static inline void fastemb_prepare(fastemb_term_word *word, const uint8_t *bytes, int64_t length,
                                   fastemb_term_key delimiter, fastemb_term_key delimiter_power) {
    const fastemb_term_key nothing = {0, 0};
    const fastemb_term_key power = fastemb_power(length);
    word->key = fastemb_extend(nothing, bytes, length);
    word->tail = fastemb_append(delimiter, power, word->key);
    word->power = fastemb_append(power, delimiter_power, nothing);
    word->count = word->flags = 0;
}

/* Return zeroed memory that begins at a cache line, to be freed with `fastemb_release`; NULL if there is none. */
static inline void *fastemb_allocate(size_t size) {
    void *memory;
#if defined(_WIN32)
    memory = _aligned_malloc(size, 64);
#else
    if (posix_memalign(&memory, 64, size) != 0) {
        memory = NULL;
    }
#endif
    return memory == NULL ? NULL : memset(memory, 0, size);
}

static inline void fastemb_release(void *memory) {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    free(memory);
#endif
}

/* Return a key of a phrase and the words at its ends: of one way to split it. */
static inline fastemb_term_key fastemb_split(fastemb_term_key phrase, fastemb_term_key a, fastemb_term_key b) {
    const fastemb_term_key base = {FASTEMB_BASE_LOW, FASTEMB_BASE_HIGH};
    return fastemb_append(fastemb_append(phrase, base, a), base, b);
}

/* How the count of a phrase and of the words at its ends become a score. */
enum { FASTEMB_DEFAULT, FASTEMB_NPMI, FASTEMB_WORD2PHRASE };

static inline double fastemb_score(int scoring, double a, double b, double both, double min_count, double num_terms,
                                   double num_words) {
    if (scoring == FASTEMB_DEFAULT) {
        return (both - min_count) / (a * b) * num_terms;
    }
    if (scoring == FASTEMB_NPMI) {
        double pa = a / num_words, pb = b / num_words, p = both / num_words;
        return both >= min_count ? log(p / (pa * pb)) / -log(p) : -INFINITY;
    }
    if (a < min_count || b < min_count || both < min_count) {
        return -INFINITY;
    }
    /* word2phrase computes in single precision. */
    float score = (float)(both - min_count) / (float)a;
    score = score / (float)b;
    return score * (float)num_words;
}

#endif
