/* SSE2: the x86-64 baseline. No byte shuffle, so letters and candidates are found by comparing. */
#include <emmintrin.h>

#define XEP419_NAME "sse2"
#define XEP419_FN(op) xep419_##op##_sse2
#define XEP419_TARGET __attribute__((target("sse2")))
#define V __m128i
#define VW 16
#define V_KEEP __m128i
#define V_LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define V_STORE(p, x) _mm_storeu_si128((__m128i *)(void *)(p), x)
#define V_STREAM(p, x) V_STORE(p, x) /* arithmetic is the limit here: stores past the caches lost 5 to 25 % */
#define V_STREAM_END() ((void)0)
#define V_INVARIANT(x) xep419_letters_sse2(x)
#define V_ROTATE(x, k) xep419_turn_sse2(x, k)
#define V_HITS(a, b) xep419_hits_sse2(a, b)
#define V_LOW_BIT(mask) ((uint32_t)__builtin_ctzll((mask) | (uint64_t)1 << 63))
#define V_EQ(x, byte) (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8((char)(byte))))
#define V_MARKUP(x) xep419_markup_sse2(x)
#define V_IN(c, bits) \
    (uint32_t)(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(c, _mm_set1_epi8((char)(bits))), _mm_setzero_si128())) ^ 0xFFFF)
#define V_SPACE(x) xep419_space_sse2(x)
#define V_TOP(x) (uint32_t)_mm_movemask_epi8(x)
#define V_OUTER(x) (uint32_t)_mm_movemask_epi8(_mm_cmplt_epi8(x, _mm_set1_epi8(0x20)))

/* Folded to lower case and moved so that the 26 letters are the 26 smallest signed bytes. */
static inline __attribute__((always_inline, target("sse2"))) __m128i xep419_letters_sse2(__m128i x)
{
    __m128i folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
    __m128i moved = _mm_add_epi8(folded, _mm_set1_epi8((char)(0x80 - 'a')));
    return _mm_cmplt_epi8(moved, _mm_set1_epi8(-128 + 26));
}

static inline __attribute__((always_inline, target("sse2"))) __m128i xep419_turn_sse2(__m128i x, __m128i letters)
{
    __m128i folded = _mm_or_si128(x, _mm_set1_epi8(0x20));
    __m128i second_half = _mm_cmpgt_epi8(folded, _mm_set1_epi8('m'));
    __m128i distance = _mm_add_epi8(_mm_set1_epi8(13), _mm_and_si128(second_half, _mm_set1_epi8(-26)));
    return _mm_add_epi8(x, _mm_and_si128(distance, letters));
}

static inline __attribute__((always_inline, target("sse2"))) uint32_t xep419_hits_sse2(__m128i a, __m128i b)
{
#define IS(x, byte) _mm_cmpeq_epi8(x, _mm_set1_epi8(byte))
    __m128i quote = _mm_or_si128(IS(a, '"'), IS(a, '\''));
    __m128i folded = _mm_or_si128(b, _mm_set1_epi8(0x20));
    __m128i value = _mm_or_si128(_mm_or_si128(IS(folded, 'h'), IS(folded, 'u')),
                                 _mm_or_si128(_mm_or_si128(IS(b, '&'), IS(b, '{')), IS(b, 'F')));
    __m128i section = _mm_and_si128(IS(a, '<'), _mm_or_si128(IS(b, '!'), IS(b, '?')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_and_si128(quote, value), section));
}

/* The classes by comparing; of the bits for names one serves for all. */
static inline __attribute__((always_inline, target("sse2"))) __m128i xep419_markup_sse2(__m128i x)
{
#define RANGE(x, first, count) \
    _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - (first)))), _mm_set1_epi8(-128 + (count)))
#define BITS(mask, bits) _mm_and_si128(mask, _mm_set1_epi8((char)(bits)))
    __m128i name = _mm_or_si128(_mm_or_si128(xep419_letters_sse2(x), RANGE(x, '0', 11)),
                                _mm_or_si128(RANGE(x, '-', 2), IS(x, '_')));
    __m128i markup = _mm_or_si128(_mm_or_si128(BITS(IS(x, '&'), 0x01), BITS(IS(x, '<'), 0x02)),
                                  _mm_or_si128(BITS(IS(x, '>'), 0x04), BITS(_mm_or_si128(IS(x, '"'), IS(x, '\'')), 0x08)));
    return _mm_or_si128(markup, BITS(name, 0x10));
#undef RANGE
#undef BITS
}

static inline __attribute__((always_inline, target("sse2"))) uint32_t xep419_space_sse2(__m128i x)
{
    __m128i spaces = _mm_or_si128(_mm_or_si128(IS(x, ' '), IS(x, '\t')), _mm_or_si128(IS(x, '\n'), IS(x, '\r')));
    return (uint32_t)_mm_movemask_epi8(spaces);
}
#undef IS

#include "kernels.h"
