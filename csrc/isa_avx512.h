/* AVX-512 with F, BW, VL and VBMI (Ice Lake, Zen 4 and later). */
#include <immintrin.h>

#define XEP419_AVX512 "avx512f,avx512bw,avx512vl,avx512vbmi,bmi,bmi2,lzcnt,popcnt"
#define XEP419_NAME "avx512"
#define XEP419_FN(op) xep419_##op##_avx512
#define XEP419_TARGET __attribute__((target(XEP419_AVX512)))
#define V __m512i
#define VW 64
#define V_KEEP __mmask64
#define V_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define V_STORE(p, x) _mm512_storeu_si512((void *)(p), x)
#define V_STREAM(p, x) _mm512_stream_si512((__m512i *)(void *)(p), x)
#define V_STREAM_END() _mm_sfence()
#define V_INVARIANT(x) _mm512_cmpgt_epi8_mask(x, _mm512_set1_epi8(0x3F))
#define V_ROTATE(x, k) xep419_turn_avx512(x, k)
#define V_HITS(a, b) xep419_hits_avx512(a, b)
#define V_LOW_BIT(mask) ((uint32_t)__builtin_ctzll((mask) | (uint64_t)1 << 63))
#define V_EQ(x, byte) _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8((char)(byte)))
#define V_MARKUP(x) xep419_class_avx512(x, xep419_markup_low, xep419_markup_high)
#define V_IN(c, bits) _mm512_test_epi8_mask(c, _mm512_set1_epi8((char)(bits)))
#define V_SPACE(x) xep419_space_avx512(x)
#define V_TOP(x) _mm512_test_epi8_mask(x, _mm512_set1_epi8((char)0x80))
#define V_OUTER(x) _mm512_cmpgt_epi8_mask(_mm512_set1_epi8(0x20), x)

/* One VBMI permutation looks up 64 bytes in a table of 64: all of 0x40 to 0x7F. */
static inline __attribute__((always_inline, target(XEP419_AVX512))) __m512i xep419_turn_avx512(__m512i x,
                                                                                                __mmask64 tabled)
{
    return _mm512_mask_permutexvar_epi8(x, tabled, x, _mm512_loadu_si512((const void *)xep419_rotation));
}

static inline __attribute__((always_inline, target(XEP419_AVX512))) __m512i
xep419_class_avx512(__m512i x, const uint8_t *low, const uint8_t *high)
{
    __m512i lows = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)low));
    __m512i highs = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)high));
    __m512i nibbles = _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(0x0F));
    return _mm512_and_si512(_mm512_shuffle_epi8(lows, x), _mm512_shuffle_epi8(highs, nibbles));
}

static inline __attribute__((always_inline, target(XEP419_AVX512))) uint64_t xep419_hits_avx512(__m512i a, __m512i b)
{
    return _mm512_test_epi8_mask(xep419_class_avx512(a, xep419_first_low, xep419_first_high),
                                 xep419_class_avx512(b, xep419_second_low, xep419_second_high));
}

static inline __attribute__((always_inline, target(XEP419_AVX512))) uint64_t xep419_space_avx512(__m512i x)
{
    __m512i spaces = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)xep419_space));
    return _mm512_cmpeq_epi8_mask(x, _mm512_shuffle_epi8(spaces, x));
}

#include "kernels.h"
#undef XEP419_AVX512
