from cpython.buffer cimport Py_buffer
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

cdef enum Form:
    BYTES     # exact bytes: result is bytes
    BUFFER    # any other buffer: result is bytes
    ASCII     # str whose characters are its bytes: result is str
    UTF8      # any other str, encoded: result is str

# The bytes of an argument, held until release().
cdef struct Source:
    const uint8_t *data
    size_t n
    Form form
    Py_buffer view      # BUFFER
    PyObject *encoded   # UTF8: the bytes object, a reference of ours

cdef int acquire(Source *source, object data, str argument) except -1
cdef void release(Source *source) noexcept
cdef int acquire_writable(Py_buffer *view, object buffer, str argument) except -1
cdef object new_result(Source *source, size_t n, uint8_t **dst)
cdef object new_bytes(size_t n, uint8_t **dst)
cdef object finish(Source *source, object result)

# Work on this many bytes or more releases the GIL.
cdef enum:
    GIL_RELEASE_BYTES = 32768
