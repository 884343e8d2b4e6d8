from libc.stdint cimport uint8_t

cdef void rotate(uint8_t *dst, const uint8_t *src, size_t n, int rounds) noexcept nogil
cdef int fold_rounds(object rounds) except -1
cdef object rotated(object data, int rounds, str argument)
