/* Stands in for the compiler's <immintrin.h>, so that csrc/isa_avx512.h runs on machines without AVX-512.
 *
 * SIMDe says what each intrinsic does in portable C. What the compiler makes of that must need no AVX-512 either, so
 * the target attributes are taken away. Only what isa_avx512.h uses is included; nothing native may be.
 */
#ifndef XEP419_SIMDE_IMMINTRIN_H
#define XEP419_SIMDE_IMMINTRIN_H

#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/sse2.h>
#include <simde/x86/avx512/and.h>
#include <simde/x86/avx512/broadcast.h>
#include <simde/x86/avx512/cmpeq.h>
#include <simde/x86/avx512/cmpgt.h>
#include <simde/x86/avx512/loadu.h>
#include <simde/x86/avx512/permutexvar.h>
#include <simde/x86/avx512/set1.h>
#include <simde/x86/avx512/shuffle.h>
#include <simde/x86/avx512/srli.h>
#include <simde/x86/avx512/storeu.h>
#include <simde/x86/avx512/test.h>

#define target(features)

#define __mmask64 simde__mmask64

/* SIMDe 0.7 has no streaming store; the real one faults on an address that is not aligned. */
#undef _mm512_stream_si512
#define _mm512_stream_si512(to, x) xep419_stream_si512(to, x)
static inline void xep419_stream_si512(void *to, __m512i x)
{
    if ((uintptr_t)to % 64)
        __builtin_trap();
    simde_mm512_storeu_si512(to, x);
}

#endif
