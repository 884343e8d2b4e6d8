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

/* What classify() says of each byte, a row of masks for each answer. Two masks of each row are always zero, so that
 * the 64 bits that follow any bit of a page can be read without a look at where it ends. */
enum {
    XEP419_TEXT_END = 0,  /* < > & */
    XEP419_VALUE_END = 1, /* < & ' " */
    XEP419_NAME_END = 2,  /* none of A-Z a-z 0-9 . _ : - and none from 0x80 on */
    XEP419_NOT_SPACE = 3, /* none of space, tab, line feed, carriage return */
    XEP419_SUSPECT = 4,   /* 0x80 and above, and below 0x20 all but tab, line feed and carriage return */
    XEP419_ROWS = 5,
    XEP419_PAGE = 4096,
    XEP419_ROW = XEP419_PAGE / 64 + 2
};

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

    /* Masks of p[at - 64, at) and p[at + 1, at + 65), where p[at] is a quote. Bits before p and past n are zero. What
     * lies before the last < or behind the first end may be told or not. n >= 64, 0 < at < n - 1. */
    void (*quote_sides)(const uint8_t *p, size_t n, size_t at, uint64_t masks[XEP419_SIDES]);

    /* Bit i % 64 of masks[row * XEP419_ROW + i / 64] says whether p[i] is of the row's kind, for i < n; bits from n on
     * are zero in the n / 64 + 2 first masks of each row, and the masks after them are not written. Returns whether
     * any byte is suspect. n <= XEP419_PAGE. */
    uint64_t (*classify)(const uint8_t *p, size_t n, uint64_t masks[XEP419_ROWS * XEP419_ROW]);
} xep419_ops;

#endif
