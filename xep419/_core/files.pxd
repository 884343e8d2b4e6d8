"""Local files by their descriptors, at any place, without the GIL. Offsets are given: nobody's position moves."""

from libc.stdint cimport uint8_t

# Bytes read at a time: with what is written of them they fit a processor's own cache.
cdef enum:
    BLOCK = 1 << 18

# Why a run over files stopped.
cdef enum Stop:
    ENOUGH              # as much was read as was asked for
    AT_END
    NOT_READ
    NOT_WRITTEN
    NO_ROOM             # in memory
    UNABLE              # Python must be told of it

# How many bytes came, 0 at the end of the file, or -1 with errno.
cdef Py_ssize_t read_at(int file, uint8_t *p, size_t n, size_t offset) noexcept nogil

# 0 once all is written, else errno.
cdef int write_at(int file, const uint8_t *p, size_t n, size_t offset) noexcept nogil

# OSError with the descriptor as its filename.
cdef object refused(int error, int file)
