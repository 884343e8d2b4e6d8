/* The vector operations that the Cython core calls: one table of them per instruction set.
 *
 * What each operation promises is stated here once; the implementations (kernels.h over one isa_*.h, and the
 * scalar twins in xep419/_core/scalar.pyx) only say how. No operation reads or writes a byte outside the ranges
 * it is given, allocates, or fails. No alignment is asked for.
 */
#ifndef XEP419_OPS_H
#define XEP419_OPS_H

#include <stddef.h>
#include <stdint.h>

/* Bit i of a mask speaks of byte i of a window of 64. */
enum { XEP419_ANY = 0, XEP419_APOS = 1, XEP419_QUOT = 2, XEP419_MASKS = 3 };

/* Masks of the bytes beside a quote: before it <, >, quotes of its kind, quotes of the other; after it, < and its own
 * kind. Bit 63 is the byte just before it; bit 0 the byte just after. */
enum { XEP419_BEFORE_LT, XEP419_BEFORE_GT, XEP419_BEFORE_SAME, XEP419_BEFORE_OTHER, XEP419_AFTER_END, XEP419_SIDES };

/* How far past the end the loose operations may go. */
enum { XEP419_SLACK = 128 };

#define XEP419_NOT_FOUND ((size_t)-1)

typedef struct xep419_ops {
    const char *name;

    /* dst[i] = rotation of src[i] by 13 letters, for i < n; dst is src or does not overlap it. */
    void (*rotate_once)(uint8_t *dst, const uint8_t *src, size_t n);

    /* The same, two rotations, both in registers. */
    void (*rotate_twice)(uint8_t *dst, const uint8_t *src, size_t n);

    /* The two above with stores that bypass the caches; dst does not overlap src. */
    void (*rotate_once_streaming)(uint8_t *dst, const uint8_t *src, size_t n);
    void (*rotate_twice_streaming)(uint8_t *dst, const uint8_t *src, size_t n);

    /* A copy, and two rotations, of the first n bytes and of up to XEP419_SLACK more, which src and dst must have: for
     * pieces of some hundred bytes, whose exact end costs as much as the rest. dst does not overlap src. */
    void (*copy_loosely)(uint8_t *dst, const uint8_t *src, size_t n);
    void (*rotate_twice_loosely)(uint8_t *dst, const uint8_t *src, size_t n);

    /* Writes to at[] every i < n - 1, in order, where p[i] is a quote and p[i+1] one of h H u U & { F, or p[i] is
     * '<' and p[i+1] one of ! ?. Stops early when fewer than 64 of the room entries are free (room >= 64). Returns
     * their number; *searched says how many i were looked at: n - 1 unless it stopped early. n < 2^32. */
    size_t (*candidates)(const uint8_t *p, size_t n, uint32_t *at, size_t room, size_t *searched);

    /* The last i with floor <= i < end and p[i] == '<', or XEP419_NOT_FOUND. May read all of p[0, end). */
    size_t (*last_lt)(const uint8_t *p, size_t floor, size_t end);

    /* Masks of p[at, min(at + 64, n)): any of < > ' "; of ' and <; of " and <. Bits past n are zero. at < n. */
    void (*tag_window)(const uint8_t *p, size_t n, size_t at, uint64_t masks[XEP419_MASKS]);

    /* Masks of p[at - 64, at) and p[at + 1, at + 65), where p[at] is a quote. Bits before p and past n are zero.
     * n >= 64, 0 < at < n - 1. */
    void (*quote_sides)(const uint8_t *p, size_t n, size_t at, uint64_t masks[XEP419_SIDES]);
} xep419_ops;

#endif
