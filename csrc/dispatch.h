/* Which instruction sets were compiled and which of them this machine can run.
 *
 * Include once in the whole extension: every function below is static.
 */
#ifndef XEP419_DISPATCH_H
#define XEP419_DISPATCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ops.h"
#include "tables.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define XEP419_X86 1
#include <cpuid.h>
#include "isa_sse2.h"
#include "isa_avx2.h"
#include "isa_avx512.h"
#elif defined(__aarch64__) && defined(__GNUC__)
#define XEP419_ARM 1
#include "isa_neon.h"
#endif

#if defined(__clang__)
#define XEP419_COMPILER "Clang " __clang_version__
#elif defined(__GNUC__)
#define XEP419_COMPILER "GCC " __VERSION__
#else
#define XEP419_COMPILER "unknown compiler"
#endif

#ifdef XEP419_X86
/* The register state that the operating system saves (XCR0); without it the wider registers lose their contents
 * at a task switch, whatever CPUID says. */
static uint64_t xep419_saved_state(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

/* Fills found[] with the vector instruction sets this machine can run, slowest first; returns their number. */
static size_t xep419_detect(const xep419_ops *found[4])
{
    size_t count = 0;
#ifdef XEP419_X86
    const uint64_t ymm = 0x06;  /* SSE and AVX state */
    const uint64_t zmm = 0xE6;  /* and opmask, upper ZMM, ZMM16-31 */
    const uint64_t saved = xep419_saved_state();
    unsigned a, b = 0, c = 0, d, popcnt = 0, lzcnt = 0;
    (void)(__get_cpuid(1, &a, &b, &popcnt, &d) && __get_cpuid(0x80000001, &a, &b, &lzcnt, &d));
    found[count++] = &xep419_ops_sse2;
    /* the bit instructions came with AVX2 on every machine that is fast with it; without them SSE2 serves */
    if ((saved & ymm) == ymm && (popcnt & bit_POPCNT) && (lzcnt & bit_LZCNT)
        && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI) && (b & bit_BMI2)) {
        const unsigned wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512VL;
        if (b & bit_AVX2)
            found[count++] = &xep419_ops_avx2;
        if ((saved & zmm) == zmm && (b & wanted) == wanted && (c & bit_AVX512VBMI))
            found[count++] = &xep419_ops_avx512;
    }
#elif defined(XEP419_ARM)
    found[count++] = &xep419_ops_neon;
#else
    (void)found;
#endif
    return count;
}

#endif
