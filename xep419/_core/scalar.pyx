"""The scalar twins of the vector operations: the fallback, the specification and the test oracle.

One byte at a time, in the order the words of ``csrc/ops.h`` say it. Nothing here is fast on purpose.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .ops cimport (
    AFTER_END, ANY, APOS, BEFORE_GT, BEFORE_LT, BEFORE_OTHER, BEFORE_SAME, MASKS, NAME_END, NOT_FOUND, NOT_SPACE, QUOT,
    ROW, ROWS, SIDES, SUSPECT, TEXT_END, VALUE_END, xep419_ops,
)

cdef uint8_t ROTATION[256]


cdef void fill_rotation() noexcept:
    cdef int byte
    for byte in range(256):
        if c'A' <= byte <= c'Z':
            ROTATION[byte] = <uint8_t>(c'A' + (byte - c'A' + 13) % 26)
        elif c'a' <= byte <= c'z':
            ROTATION[byte] = <uint8_t>(c'a' + (byte - c'a' + 13) % 26)
        else:
            ROTATION[byte] = <uint8_t>byte


cdef void rotate_once(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        dst[i] = ROTATION[src[i]]


cdef void rotate_twice(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        dst[i] = ROTATION[ROTATION[src[i]]]


cdef void copy(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil:
    memcpy(dst, src, n)


cdef inline bint is_candidate(uint8_t first, uint8_t second) noexcept nogil:
    if first == c'"' or first == c"'":
        return (second == c'h' or second == c'H' or second == c'u' or second == c'U'
                or second == c'&' or second == c'{' or second == c'F')
    return first == c'<' and (second == c'!' or second == c'?')


cdef size_t candidates(const uint8_t *p, size_t n, uint32_t *at, size_t room, size_t *searched) noexcept nogil:
    cdef size_t count = 0, i = 0
    while i + 1 < n:
        if is_candidate(p[i], p[i + 1]):
            if room - count < 64:
                searched[0] = i
                return count
            at[count] = <uint32_t>i
            count += 1
        i += 1
    searched[0] = n - 1 if n else 0
    return count


cdef size_t last_lt(const uint8_t *p, size_t floor, size_t end) noexcept nogil:
    while end > floor:
        end -= 1
        if p[end] == c'<':
            return end
    return NOT_FOUND


cdef void tag_window(const uint8_t *p, size_t n, size_t at, uint64_t *masks) noexcept nogil:
    cdef size_t i
    cdef uint64_t bit = 1
    cdef uint8_t byte
    for i in range(<size_t>MASKS):
        masks[i] = 0
    for i in range(at, min(at + 64, n)):
        byte = p[i]
        if byte == c'<' or byte == c'>' or byte == c"'" or byte == c'"':
            masks[<size_t>ANY] |= bit
        if byte == c'<' or byte == c"'":
            masks[<size_t>APOS] |= bit
        if byte == c'<' or byte == c'"':
            masks[<size_t>QUOT] |= bit
        bit <<= 1


cdef void quote_sides(const uint8_t *p, size_t n, size_t at, uint64_t *masks) noexcept nogil:
    cdef size_t i
    cdef uint64_t bit = <uint64_t>1 << 63
    cdef uint8_t quote = p[at], other = c'"' if quote == c"'" else c"'"
    for i in range(<size_t>SIDES):
        masks[i] = 0
    i = at
    while i and bit:
        i -= 1
        if p[i] == c'<':
            masks[<size_t>BEFORE_LT] = bit
            break
        if p[i] == c'>':
            masks[<size_t>BEFORE_GT] |= bit
        elif p[i] == quote:
            masks[<size_t>BEFORE_SAME] |= bit
        elif p[i] == other:
            masks[<size_t>BEFORE_OTHER] |= bit
        bit >>= 1
    bit = 1
    for i in range(at + 1, min(at + 65, n)):
        if p[i] == c'<' or p[i] == quote:
            masks[<size_t>AFTER_END] = bit
            break
        bit <<= 1


cdef inline bint in_name(uint8_t byte) noexcept nogil:
    return (c'a' <= byte <= c'z' or c'A' <= byte <= c'Z' or c'0' <= byte <= c'9' or byte >= 0x80
            or byte == c'.' or byte == c'_' or byte == c':' or byte == c'-')


cdef uint64_t classify(const uint8_t *p, size_t n, uint64_t *masks) noexcept nogil:
    cdef size_t i, word, row
    cdef uint64_t bit, any_suspect = 0
    cdef uint8_t byte
    cdef bint space, suspect
    for word in range(n // 64 + 2):
        for row in range(<size_t>ROWS):
            masks[row * <size_t>ROW + word] = 0
    for i in range(n):
        byte = p[i]
        word = i // 64
        bit = <uint64_t>1 << (i % 64)
        space = byte == c' ' or byte == c'\t' or byte == c'\n' or byte == c'\r'
        suspect = byte >= 0x80 or (byte < 0x20 and not space)
        any_suspect |= suspect
        if byte == c'<' or byte == c'>' or byte == c'&':
            masks[<size_t>TEXT_END * <size_t>ROW + word] |= bit
        if byte == c'<' or byte == c'&' or byte == c"'" or byte == c'"':
            masks[<size_t>VALUE_END * <size_t>ROW + word] |= bit
        if not in_name(byte):
            masks[<size_t>NAME_END * <size_t>ROW + word] |= bit
        if not space:
            masks[<size_t>NOT_SPACE * <size_t>ROW + word] |= bit
        if suspect:
            masks[<size_t>SUSPECT * <size_t>ROW + word] |= bit
    return any_suspect


fill_rotation()
scalar_ops.name = b"scalar"
scalar_ops.rotate_once = rotate_once
scalar_ops.rotate_twice = rotate_twice
scalar_ops.rotate_once_streaming = rotate_once
scalar_ops.rotate_twice_streaming = rotate_twice
scalar_ops.copy_loosely = copy
scalar_ops.rotate_twice_loosely = rotate_twice
scalar_ops.candidates = candidates
scalar_ops.last_lt = last_lt
scalar_ops.tag_window = tag_window
scalar_ops.quote_sides = quote_sides
scalar_ops.classify = classify
