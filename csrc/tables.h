/* The look-up tables that more than one instruction set shares.
 *
 * A candidate is two bytes: a quote before one of h H u U & { F (an attribute value that may name a namespace,
 * or FORM_TYPE), or '<' before one of ! ? (a comment, CDATA section, processing instruction or DTD). A byte's
 * class is LOW[low nibble] & HIGH[high nibble]; the pair is a candidate when the classes of its two bytes
 * share a bit. Six bits do, one for each pair of nibble sets that is a product:
 *
 *   bit 0  quote, h H     bit 1  quote, u U     bit 2  quote, & F     bit 3  quote, {
 *   bit 4  <, !           bit 5  <, ?
 */
#ifndef XEP419_TABLES_H
#define XEP419_TABLES_H

#include <stdint.h>

static const uint8_t xep419_first_low[16] = {0, 0, 0x0F, 0, 0, 0, 0, 0x0F, 0, 0, 0, 0, 0x30, 0, 0, 0};
static const uint8_t xep419_first_high[16] = {0, 0, 0x0F, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
/* The one first byte with each low nibble; what it answers for nibble 0 and bytes from 0x80 on equals none of them. */
static const uint8_t xep419_first_byte[16] = {1, 0, '"', 0, 0, 0, 0, '\'', 0, 0, 0, 0, '<', 0, 0, 0};
static const uint8_t xep419_second_low[16] = {0, 0x10, 0, 0, 0, 0x02, 0x04, 0, 0x01, 0, 0, 0x08, 0, 0, 0, 0x20};
static const uint8_t xep419_second_high[16] = {0, 0, 0x14, 0x20, 0x05, 0x02, 0x01, 0x0A, 0, 0, 0, 0, 0, 0, 0, 0};

/* The bytes that structure a document, in the same way: a byte's class is LOW[low nibble] & HIGH[high nibble].
 *
 *   bit 0  &     bit 1  <     bit 2  >     bit 3  " '
 *   bit 4  0-9 : P-Z p-z     bit 5  A-O a-o     bit 6  - .     bit 7  _
 */
enum { XEP419_TEXT_BITS = 0x07, XEP419_VALUE_BITS = 0x0B, XEP419_NAME_BITS = 0xF0 };
static const uint8_t xep419_markup_low[16] = {0x10, 0x30, 0x38, 0x30, 0x30, 0x30, 0x31, 0x38,
                                              0x30, 0x30, 0x30, 0x20, 0x22, 0x60, 0x64, 0xA0};
static const uint8_t xep419_markup_high[16] = {0, 0, 0x49, 0x16, 0x20, 0x90, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0};

/* White space, each in the place of its low nibble. The zero in the other places differs from every byte of theirs. */
static const uint8_t xep419_space[16] = {0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0x09, 0x0A, 0, 0, 0x0D, 0, 0};

/* The rotation of the bytes 0x40 to 0x7F. */
static const uint8_t xep419_rotation[64] = {
    '@', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H',
    'I', 'J', 'K', 'L', 'M', '[', '\\', ']', '^', '_', '`', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x',
    'y', 'z', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', '{', '|', '}', '~', 0x7F,
};

#endif
