"""Local files by their descriptors, for loops that must not come back to Python for every block."""

from libc.errno cimport EINTR, EIO, errno
from libc.stdint cimport uint8_t

import os

cdef extern from *:
    """
    #if defined(_WIN32)
    #include <errno.h>
    static Py_ssize_t xep419_pread(int file, void *p, size_t n, size_t offset)
    {
        (void)file; (void)p; (void)n; (void)offset;
        errno = ENOSYS;
        return -1;
    }
    static Py_ssize_t xep419_pwrite(int file, const void *p, size_t n, size_t offset)
    {
        (void)file; (void)p; (void)n; (void)offset;
        errno = ENOSYS;
        return -1;
    }
    #else
    #include <unistd.h>
    static Py_ssize_t xep419_pread(int file, void *p, size_t n, size_t offset)
    {
        return pread(file, p, n, (off_t)offset);
    }
    static Py_ssize_t xep419_pwrite(int file, const void *p, size_t n, size_t offset)
    {
        return pwrite(file, p, n, (off_t)offset);
    }
    #endif
    """
    Py_ssize_t xep419_pread(int file, void *p, size_t n, size_t offset) nogil
    Py_ssize_t xep419_pwrite(int file, const void *p, size_t n, size_t offset) nogil


cdef Py_ssize_t read_at(int file, uint8_t *p, size_t n, size_t offset) noexcept nogil:
    cdef Py_ssize_t count = xep419_pread(file, p, n, offset)
    while count < 0 and errno == EINTR:
        count = xep419_pread(file, p, n, offset)
    return count


cdef int write_at(int file, const uint8_t *p, size_t n, size_t offset) noexcept nogil:
    cdef size_t done = 0
    cdef Py_ssize_t count
    while done < n:
        count = xep419_pwrite(file, p + done, n - done, offset + done)
        if count > 0:
            done += count
        elif count == 0:
            return EIO
        elif errno != EINTR:
            return errno
    return 0


cdef object refused(int error, int file):
    return OSError(error, os.strerror(error), file)
