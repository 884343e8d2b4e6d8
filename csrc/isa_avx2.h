/* AVX2. */
#include <immintrin.h>

#define XEP419_NAME "avx2"
#define XEP419_FN(op) xep419_##op##_avx2
#define XEP419_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define V __m256i
#define VW 32
#define V_KEEP __m256i
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), x)
#define V_STREAM(p, x) _mm256_stream_si256((__m256i *)(void *)(p), x)
#define V_STREAM_END() _mm_sfence()
#define V_INVARIANT(x) xep419_others_avx2(x)
#define V_ROTATE(x, k) xep419_turn_avx2(x, k)
#define V_HITS(a, b) xep419_hits_avx2(a, b)
#define V_LOW_BIT(mask) (uint32_t)_tzcnt_u64(mask)
#define V_EQ(x, byte) (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_set1_epi8((char)(byte))))
#define V_MARKUP(x) xep419_class_avx2(x, xep419_markup_low, xep419_markup_high)
#define V_IN(c, bits) \
    ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(c, _mm256_set1_epi8((char)(bits))), _mm256_setzero_si256()))
#define V_SPACE(x) xep419_space_avx2(x)
#define V_TOP(x) (uint32_t)_mm256_movemask_epi8(x)
#define V_OUTER(x) (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), x))

/* All bits of the bytes that are not letters (the complement saves an operation below). */
static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt"))) __m256i xep419_others_avx2(__m256i x)
{
    __m256i folded = _mm256_or_si256(x, _mm256_set1_epi8(0x20));
    __m256i moved = _mm256_add_epi8(folded, _mm256_set1_epi8((char)(0x80 - 'a')));
    __m256i last = _mm256_set1_epi8(-128 + 25);
    __asm__("" : "+x"(last)); /* GCC would compare with a constant in two operations, a minimum and an equality */
    return _mm256_cmpgt_epi8(moved, last);
}

/* x += table[(x + 2) / 2], four operations a rotation:
 *
 * Halving the letter's number j (1 to 26, the low five bits) leaves 14 values, which fit a 16-entry shuffle, and
 * the limit between the halves of the alphabet, 13 | 14, is one of theirs. The rounding average with 1 halves:
 * (x + 1 + 1) >> 1 has the low nibble 1 + (j >> 1), in either case of letter. A byte of all ones averages to
 * 0x80, whose top bit makes the shuffle answer 0: bytes that are not letters stay.
 */
static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt"))) __m256i xep419_turn_avx2(__m256i x, __m256i others)
{
    const __m256i distance = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 13, 13, 13, 13, 13, 13, 13, -13, -13, -13, -13, -13, -13, -13, 0));
    __m256i halved = _mm256_avg_epu8(_mm256_or_si256(x, others), _mm256_set1_epi8(1));
    return _mm256_add_epi8(x, _mm256_shuffle_epi8(distance, halved));
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt"))) __m256i xep419_class_avx2(__m256i x, const uint8_t *low,
                                                                                        const uint8_t *high)
{
    __m256i lows = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low));
    __m256i highs = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)high));
    __m256i nibbles = _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(0x0F));
    return _mm256_and_si256(_mm256_shuffle_epi8(lows, x), _mm256_shuffle_epi8(highs, nibbles));
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt"))) uint32_t xep419_hits_avx2(__m256i a, __m256i b)
{
    /* a first byte is told by its low nibble and a comparison, one operation less than by two nibbles */
    __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)xep419_first_byte));
    __m256i classes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)xep419_first_low));
    __m256i first = _mm256_cmpeq_epi8(a, _mm256_shuffle_epi8(bytes, a));
    __m256i shared = _mm256_and_si256(_mm256_shuffle_epi8(classes, a),
                                      xep419_class_avx2(b, xep419_second_low, xep419_second_high));
    __m256i none = _mm256_cmpeq_epi8(shared, _mm256_setzero_si256());
    return (uint32_t)_mm256_movemask_epi8(_mm256_andnot_si256(none, first));
}

static inline __attribute__((always_inline, target("avx2,bmi,bmi2,lzcnt,popcnt"))) uint32_t xep419_space_avx2(__m256i x)
{
    __m256i spaces = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)xep419_space));
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_shuffle_epi8(spaces, x)));
}

#include "kernels.h"
