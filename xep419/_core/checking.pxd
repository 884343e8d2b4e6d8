from libc.stdint cimport uint8_t

# Whether check_stanza() takes the bytes. An element too deep for the memory there is counts as one that it does not.
cdef bint is_stanza(const uint8_t *p, size_t n) noexcept nogil
