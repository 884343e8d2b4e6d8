from libc.stdint cimport uint8_t

from .scanner cimport Finding, Plan

cdef int scope_bits(object scope) except -1
cdef int check_head(const uint8_t *p, size_t n) except -1

# How many bytes the splice of a plan adds to its input, or takes from it.
cdef size_t letters_to_add(const Plan *plan) noexcept nogil
cdef size_t bytes_to_take(const uint8_t *p, Plan *plan, bint known_only) noexcept nogil

# Copies src[0, n) to dst, rotated, with the letters of the insecure names added, or those of the secure ones taken out.
cdef void splice_up(uint8_t *dst, const uint8_t *src, size_t n, const Finding *items, size_t count, int rounds) noexcept nogil
cdef void splice_down(uint8_t *dst, const uint8_t *src, size_t n, const Plan *plan, int rounds) noexcept nogil
