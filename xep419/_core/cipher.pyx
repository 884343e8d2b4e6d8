"""The cipher's driver: which kernel runs over which buffer, and when without the GIL.

The loops over bytes are the kernels of ``csrc/``; this module never looks at a byte itself.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_CheckExact, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memmove

import operator

from . cimport isa
from .buffers cimport (
    GIL_RELEASE_BYTES, Source, acquire, acquire_writable, finish, new_result, release,
)

# Results of this many bytes or more are stored past the caches: they would not stay there (measured; csrc/README.md).
cdef enum:
    STREAMING_BYTES = 1 << 25


cdef void rotate(uint8_t *dst, const uint8_t *src, size_t n, int rounds) noexcept nogil:
    """``rounds`` (0 to 2) rotations of ``src`` into ``dst``, which is ``src`` or does not overlap it."""
    if rounds == 2:
        if n >= STREAMING_BYTES and dst != src:
            isa.ops.rotate_twice_streaming(dst, src, n)
        else:
            isa.ops.rotate_twice(dst, src, n)
    elif rounds == 1:
        if n >= STREAMING_BYTES and dst != src:
            isa.ops.rotate_once_streaming(dst, src, n)
        else:
            isa.ops.rotate_once(dst, src, n)
    elif dst != src and n:
        memcpy(dst, src, n)


cdef void rotate_freely(uint8_t *dst, const uint8_t *src, size_t n, int rounds) noexcept:
    """The same, without the GIL where that pays; both buffers are held by the caller."""
    if n >= GIL_RELEASE_BYTES:
        with nogil:
            rotate(dst, src, n, rounds)
    else:
        rotate(dst, src, n, rounds)


cdef int fold_rounds(object rounds) except -1:
    """Rotations to execute: 0, 1 or 2; two rotations and any other even number are alike."""
    count = rounds if PyLong_CheckExact(rounds) else operator.index(rounds)
    if count < 0:
        raise ValueError(f"rounds must be 0 or more, not {count}")
    return count if count < 3 else 2 - count % 2


cdef object rotated(object data, int rounds, str argument):
    cdef Source source
    cdef uint8_t *dst
    if rounds == 0 and PyBytes_CheckExact(data):
        return data
    acquire(&source, data, argument)
    try:
        result = new_result(&source, source.n, &dst)
        rotate_freely(dst, source.data, source.n, rounds)
        return finish(&source, result)
    finally:
        release(&source)


cdef Py_ssize_t rotated_into(object src, object dst, int rounds) except -1:
    cdef Source source
    cdef Py_buffer target
    cdef uint8_t *start
    cdef size_t n
    if PyBytes_CheckExact(src) and PyByteArray_CheckExact(dst):
        n = PyBytes_GET_SIZE(src)
        if n < GIL_RELEASE_BYTES and n <= <size_t>PyByteArray_GET_SIZE(dst):
            # nothing can resize dst meanwhile: the GIL is kept
            rotate(<uint8_t *>PyByteArray_AS_STRING(dst), <const uint8_t *>PyBytes_AS_STRING(src), n, rounds)
            return n
    acquire(&source, src, "src")
    try:
        acquire_writable(&target, dst, "dst")
        try:
            if <size_t>target.len < source.n:
                raise ValueError(f"dst must hold at least {source.n} bytes, not {target.len}")
            start = <uint8_t *>target.buf
            if start != source.data and start < source.data + source.n and source.data < start + source.n:
                memmove(start, source.data, source.n)
                rotate_freely(start, start, source.n, rounds)
            else:
                rotate_freely(start, source.data, source.n, rounds)
            return source.n
        finally:
            PyBuffer_Release(&target)
    finally:
        release(&source)


def double_rot13(data, /):
    """Two rotations of the ASCII letters, in registers, in one pass (XEP-0419, Stanza Encryption).

    :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8 inside).
    :returns: ``bytes``, or ``str`` for ``str``; a new object.
    :raises TypeError, ValueError, BufferError: not such a buffer; the message names what came.
    """
    return rotated(data, 2, "data")


def rot13(data, /, *, rounds=1):
    """``rounds`` rotations of the ASCII letters by 13 places; every other byte stays.

    :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8 inside).
    :param rounds: 0 or more; counts above 2 are folded to 1 or 2, which give the same bytes.
    :returns: ``bytes``, or ``str`` for ``str``.
    :raises TypeError, ValueError, BufferError: not such a buffer or number; the message names what came.
    """
    return rotated(data, fold_rounds(rounds), "data")


def rot13_into(src, dst, /, *, rounds=1) -> int:
    """Rotates ``src`` into the beginning of the writable buffer ``dst``.

    ``dst`` may be ``src`` itself or overlap it in any way.

    :returns: bytes written, ``len(src)``.
    :raises ValueError: ``dst`` is shorter than ``src``; nothing was written.
    :raises BufferError: ``dst`` is read-only, or a buffer is not C-contiguous.
    """
    return rotated_into(src, dst, fold_rounds(rounds))


def double_rot13_into(src, dst, /) -> int:
    """:func:`rot13_into` with two rotations."""
    return rotated_into(src, dst, 2)


def rot13_inplace(buffer, /, *, rounds=1) -> None:
    """Rotates a writable buffer where it stands.

    :raises BufferError: ``buffer`` is read-only or not C-contiguous.
    """
    cdef Py_buffer target
    cdef int folded = fold_rounds(rounds)
    cdef uint8_t *start
    if PyByteArray_CheckExact(buffer) and <size_t>PyByteArray_GET_SIZE(buffer) < GIL_RELEASE_BYTES:
        start = <uint8_t *>PyByteArray_AS_STRING(buffer)
        rotate(start, start, PyByteArray_GET_SIZE(buffer), folded)     # as in rotated_into
        return
    acquire_writable(&target, buffer, "buffer")
    try:
        rotate_freely(<uint8_t *>target.buf, <uint8_t *>target.buf, target.len, folded)
    finally:
        PyBuffer_Release(&target)
