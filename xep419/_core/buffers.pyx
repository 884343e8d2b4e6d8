"""Arguments as pointers, results as fresh objects: the only module that touches Python's buffers.

A Source is held from acquire() to release(), and its pointer is used only between the two. Results are
allocated at their exact size and written once.
"""

from cpython.buffer cimport (
    PyBUF_FULL_RO, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint8_t

cdef extern from "Python.h":
    void Py_INCREF(object)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    /* Asks for huge pages over the whole pages of a fresh block: page faults are most of its cost (a hint: the
     * answer does not matter). */
    static void xep419_hint_huge_pages(void *block, size_t n)
    {
        const uintptr_t page = 4096;
        uintptr_t from = ((uintptr_t)block + page - 1) & ~(page - 1);
        uintptr_t to = ((uintptr_t)block + n) & ~(page - 1);
        if (to > from)
            (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
    }
    #else
    static void xep419_hint_huge_pages(void *block, size_t n) { (void)block; (void)n; }
    #endif
    """
    void xep419_hint_huge_pages(void *block, size_t n) nogil

# Results of this many bytes or more are hinted to huge pages: NumPy's limit, and the first size at which a block
# surely holds a whole aligned huge page of 2 MiB.
cdef enum:
    HUGE_PAGE_BYTES = 1 << 22


cdef const uint8_t *NO_BYTES = b""     # arithmetic on a NULL pointer is undefined even where it adds 0


cdef int acquire(Source *source, object data, str argument) except -1:
    """Fills ``source``; TypeError, BufferError or ValueError say what came instead of bytes or str."""
    source.encoded = NULL
    if PyBytes_CheckExact(data):
        source.form = BYTES
        source.data = <const uint8_t *>PyBytes_AS_STRING(data)
        source.n = PyBytes_GET_SIZE(data)
    elif PyUnicode_Check(data):
        if PyUnicode_IS_COMPACT_ASCII(data):
            source.form = ASCII
            source.data = <const uint8_t *>PyUnicode_DATA(data)
            source.n = PyUnicode_GET_LENGTH(data)
        else:
            encoded = (<str>data).encode("utf-8", "surrogatepass")
            Py_INCREF(encoded)
            source.form = UTF8
            source.encoded = <PyObject *>encoded
            source.data = <const uint8_t *>PyBytes_AS_STRING(encoded)
            source.n = PyBytes_GET_SIZE(encoded)
    else:
        get_view(&source.view, data, PyBUF_FULL_RO, argument)
        source.form = BUFFER
        source.data = <const uint8_t *>source.view.buf if source.view.buf is not NULL else NO_BYTES
        source.n = source.view.len
    return 0


cdef void release(Source *source) noexcept:
    if source.form == BUFFER:
        PyBuffer_Release(&source.view)
    elif source.form == UTF8:
        Py_XDECREF(source.encoded)


cdef int acquire_writable(Py_buffer *view, object buffer, str argument) except -1:
    """A writable view; release it with PyBuffer_Release."""
    if PyUnicode_Check(buffer) or not PyObject_CheckBuffer(buffer):
        raise TypeError(f"{argument} must be a writable bytes-like object, not {type(buffer).__name__!r}")
    get_view(view, buffer, PyBUF_FULL_RO, argument)
    if view.readonly:
        PyBuffer_Release(view)
        raise BufferError(f"{argument} must be writable, not a read-only {type(buffer).__name__!r}")
    return 0


cdef int get_view(Py_buffer *view, object data, int flags, str argument) except -1:
    cdef Py_ssize_t itemsize
    if not PyObject_CheckBuffer(data):
        raise TypeError(f"{argument} must be a bytes-like object or str, not {type(data).__name__!r}")
    PyObject_GetBuffer(data, view, flags)
    if view.itemsize != 1:
        itemsize = view.itemsize
        kind = view.format.decode() if view.format is not NULL else "B"
        PyBuffer_Release(view)
        raise ValueError(
            f"{argument} must hold 1-byte items, not {itemsize}-byte items of format {kind!r} ({type(data).__name__!r})"
        )
    if not PyBuffer_IsContiguous(view, b'C'):
        PyBuffer_Release(view)
        raise BufferError(f"{argument} must be C-contiguous, not a strided {type(data).__name__!r}")
    return 0


cdef object new_bytes(size_t n, uint8_t **dst):
    result = PyBytes_FromStringAndSize(NULL, n)
    dst[0] = <uint8_t *>PyBytes_AS_STRING(result)
    if n >= HUGE_PAGE_BYTES:
        xep419_hint_huge_pages(dst[0], n)
    return result


cdef object new_result(Source *source, size_t n, uint8_t **dst):
    """A fresh object of ``n`` bytes to be written at ``dst[0]``, then handed to finish()."""
    if source.form != ASCII:
        return new_bytes(n, dst)
    result = PyUnicode_New(n, 127)
    dst[0] = <uint8_t *>PyUnicode_DATA(result)
    if n >= HUGE_PAGE_BYTES:
        xep419_hint_huge_pages(dst[0], n)
    return result


cdef object finish(Source *source, object result):
    """The result in the form of its source."""
    if source.form == UTF8:
        return (<bytes>result).decode("utf-8", "surrogatepass")
    return result
