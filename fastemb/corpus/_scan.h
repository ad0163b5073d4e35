/* The byte-level primitives of the text scanner: portable C, with SSE2 where every x86-64 has it.
 *
 * No function here reads outside the memory that its comment names; callers pad their buffers accordingly.
 */
#ifndef FASTEMB_SCAN_H
#define FASTEMB_SCAN_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) || defined(_M_X64)
#define FASTEMB_SSE2 1
#include <emmintrin.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define fastemb_prefetch(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
static inline int fastemb_lowest_bit(uint64_t bits) {
    unsigned long index;
    _BitScanForward64(&index, bits);
    return (int)index;
}
#else
#define fastemb_prefetch(address) __builtin_prefetch(address)
static inline int fastemb_lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
#endif

/* What 64 bytes of text are; bit i of each mask speaks of byte i. */
typedef struct {
    uint64_t space;   /* ASCII white space as str.split() knows it: \t \n \v \f \r \x1c-\x1f and the space */
    uint64_t newline; /* \n */
    uint64_t lead;    /* 0xc0 and above: a byte that may begin a character of several bytes */
} fastemb_classes;

static inline uint64_t fastemb_load64(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

static inline int fastemb_count_bits(uint64_t x) {
    x = x - ((x >> 1) & 0x5555555555555555u);
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int)((x * 0x0101010101010101u) >> 56);
}

#ifdef FASTEMB_SSE2

/* Classify p[0..64). */
static inline fastemb_classes fastemb_classify(const uint8_t *p) {
    fastemb_classes classes = {0, 0, 0};
    const __m128i four = _mm_set1_epi8(4);
    for (int i = 0; i < 64; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + i));
        /* Both ranges of white space, 9..13 and 28..32, are five bytes wide. */
        __m128i low = _mm_sub_epi8(bytes, _mm_set1_epi8(9));
        __m128i high = _mm_sub_epi8(bytes, _mm_set1_epi8(28));
        __m128i space = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(low, four), low),
                                     _mm_cmpeq_epi8(_mm_min_epu8(high, four), high));
        __m128i newline = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
        /* 0xc0..0xff are the signed bytes -64..-1. */
        __m128i lead = _mm_andnot_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8(-1)),
                                        _mm_cmpgt_epi8(bytes, _mm_set1_epi8(-65)));
        classes.space |= (uint64_t)(uint32_t)_mm_movemask_epi8(space) << i;
        classes.newline |= (uint64_t)(uint32_t)_mm_movemask_epi8(newline) << i;
        classes.lead |= (uint64_t)(uint32_t)_mm_movemask_epi8(lead) << i;
    }
    return classes;
}

#endif

/* Eight bytes as an integer whose lowest byte is the first in memory. */
static inline uint64_t fastemb_load64_in_order(const uint8_t *p) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(fastemb_load64(p));
#else
    return fastemb_load64(p);
#endif
}

/* Gather the top bit of each byte: bit i of the result is that of byte i. */
static inline uint64_t fastemb_top_bits(uint64_t word) {
    return ((word & 0x8080808080808080u) >> 7) * 0x0102040810204080u >> 56;
}

/* Classify p[0..64), eight bytes at a time in an integer: for machines without SSE2. */
static inline fastemb_classes fastemb_classify_portably(const uint8_t *p) {
    fastemb_classes classes = {0, 0, 0};
    const uint64_t ones = 0x0101010101010101u;
    for (int i = 0; i < 64; i += 8) {
        uint64_t word = fastemb_load64_in_order(p + i);
        uint64_t low = word & (ones * 0x7f);
        /* A sum's top bit tells low >= a (adding 0x80 - a) or low > b (adding 0x7f - b), without carries between bytes. */
        uint64_t space = ((low + ones * 0x77) & ~(low + ones * 0x72)) | ((low + ones * 0x64) & ~(low + ones * 0x5f));
        uint64_t newline = (low + ones * 0x76) & ~(low + ones * 0x75);
        classes.space |= fastemb_top_bits(space & ~word) << i;
        classes.newline |= fastemb_top_bits(newline & ~word) << i;
        classes.lead |= fastemb_top_bits(word & (word << 1)) << i;
    }
    return classes;
}

#ifndef FASTEMB_SSE2
#define fastemb_classify fastemb_classify_portably
#endif

/* Length in bytes of the Unicode (not ASCII) white space character that begins at p, 0 if there is none. Reads p[0..2]. */
static inline int fastemb_unicode_space(const uint8_t *p) {
    switch (p[0]) {
    case 0xc2: /* U+0085, U+00A0 */
        return (p[1] == 0x85 || p[1] == 0xa0) ? 2 : 0;
    case 0xe1: /* U+1680 */
        return (p[1] == 0x9a && p[2] == 0x80) ? 3 : 0;
    case 0xe2: /* U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F */
        if (p[1] == 0x80)
            return ((p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf) ? 3 : 0;
        return (p[1] == 0x81 && p[2] == 0x9f) ? 3 : 0;
    case 0xe3: /* U+3000 */
        return (p[1] == 0x80 && p[2] == 0x80) ? 3 : 0;
    default:
        return 0;
    }
}

static inline int fastemb_ascii_space(uint8_t byte) {
    return (uint8_t)(byte - 9) <= 4 || (uint8_t)(byte - 28) <= 4;
}

/* Place just after the last white space character that lies wholly in p[0..size), 0 if there is none. */
static inline int64_t fastemb_last_cut(const uint8_t *p, int64_t size) {
    for (int64_t i = size - 1; i >= 0; i--) {
        if (fastemb_ascii_space(p[i]))
            return i + 1;
        if (p[i] >= 0xc2 && p[i] <= 0xe3) {
            uint8_t character[3] = {p[i], i + 1 < size ? p[i + 1] : 0, i + 2 < size ? p[i + 2] : 0};
            int length = fastemb_unicode_space(character);
            if (length > 0)
                return i + length;
        }
    }
    return 0;
}

/* Place of the first byte of p[0..size) at which UTF-8 as Python decodes it is broken, `size` if there is none. */
static inline int64_t fastemb_invalid_utf8(const uint8_t *p, int64_t size) {
    int64_t i = 0;
    while (i < size) {
        uint8_t lead = p[i];
        if (lead < 0x80) {
            i += 1;
            continue;
        }
        int length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
        if (length == 0 || i + length > size)
            return i;
        /* The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF. */
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (p[i + 1] < low || p[i + 1] > high)
            return i;
        for (int k = 2; k < length; k++)
            if ((p[i + k] & 0xc0) != 0x80)
                return i;
        i += length;
    }
    return size;
}

static inline int fastemb_is_ascii(const uint8_t *p, int64_t size) {
    uint8_t any = 0;
    for (int64_t i = 0; i < size; i++)
        any |= p[i];
    return any < 0x80;
}

/* Lower the ASCII letters of p[0..size) in place. */
static inline void fastemb_lower_ascii(uint8_t *p, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        p[i] = (uint8_t)(p[i] + ((uint8_t)(p[i] - 'A') < 26 ? 32 : 0));
}

/* A word's bytes in two integers and its hash. */
typedef struct {
    uint64_t low;  /* bytes 0..7, zero beyond the word's end */
    uint64_t high; /* bytes 8..15 */
    uint32_t hash;
} fastemb_key;

static const uint8_t fastemb_mask_bytes[32] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* The key of the word p[0..length). Reads p[0..16), and p[0..length) of a longer word. */
static inline fastemb_key fastemb_key_of(const uint8_t *p, int64_t length) {
    fastemb_key key;
    uint64_t hash;
    if (length <= 16) {
        const uint8_t *mask = fastemb_mask_bytes + 16 - length;
        key.low = fastemb_load64(p) & fastemb_load64(mask);
        key.high = fastemb_load64(p + 8) & fastemb_load64(mask + 8);
        hash = (uint64_t)length;
    } else {
        key.low = fastemb_load64(p);
        key.high = fastemb_load64(p + 8);
        hash = (uint64_t)length;
        for (int64_t i = 16; i + 8 <= length; i += 8) {
            hash = (hash ^ fastemb_load64(p + i)) * 0x9fb21c651e98df25u;
            hash ^= hash >> 32;
        }
        /* The last eight bytes, which overlap what has been taken already when the length is no multiple of eight. */
        hash = (hash ^ fastemb_load64(p + length - 8)) * 0x9fb21c651e98df25u;
        hash ^= hash >> 32;
    }
    uint64_t high = key.high * 0xc2b2ae3d27d4eb4fu;
    hash ^= key.low * 0x9e3779b97f4a7c15u ^ (high << 32 | high >> 32);
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    key.hash = (uint32_t)(hash >> 32);
    return key;
}

/* What a table of words holds of a word: half a cache line. */
typedef struct {
    uint64_t low;     /* as in fastemb_key */
    uint64_t high;
    int64_t count;
    uint64_t extent;  /* the word's offset in the table's arena << 24 | its length */
} fastemb_entry;

/* Find a word in an open-addressing table of hash << 32 | word number + 1, 0 where empty.
 *
 * Returns the word's number, or -1 and the empty slot that ended the search. Reads what fastemb_key_of read of the word.
 */
static inline int64_t fastemb_find(const uint64_t *slots, uint64_t mask, const fastemb_entry *entries, const uint8_t *arena,
                                   fastemb_key key, const uint8_t *word, int64_t length, uint64_t *empty) {
    uint64_t slot = key.hash & mask;
    for (;; slot = (slot + 1) & mask) {
        uint64_t found = slots[slot];
        if (found == 0) {
            *empty = slot;
            return -1;
        }
        if (found >> 32 != key.hash)
            continue;
        const fastemb_entry *entry = &entries[(uint32_t)found - 1];
        if (entry->low != key.low || entry->high != key.high || (int64_t)(entry->extent & 0xffffff) != length)
            continue;
        if (length <= 16 || memcmp(arena + (entry->extent >> 24) + 16, word + 16, (size_t)(length - 16)) == 0)
            return (int64_t)(uint32_t)found - 1;
    }
}

#endif
