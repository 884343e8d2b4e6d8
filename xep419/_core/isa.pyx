"""The choice of an instruction set: what was compiled, what this machine can run, what is in use.

The only module that contains the vector code of ``csrc/``; the others call it through ``ops``.
"""

import os

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from .ops cimport MASKS, NOT_FOUND, PAGE, ROW, ROWS, SIDES, SLACK, xep419_ops
from .scalar cimport scalar_ops

cdef extern from "dispatch.h" nogil:
    const char *XEP419_COMPILER
    size_t xep419_detect(const xep419_ops **found) noexcept

cdef extern from *:
    """
    #define XEP419_CYTHON CYTHON_HEX_VERSION
    """
    const unsigned long XEP419_CYTHON

cdef const xep419_ops *runnable[5]
cdef size_t runnable_count


cdef const xep419_ops *find(str name) except? NULL:
    cdef size_t i
    for i in range(runnable_count):
        if runnable[i].name.decode() == name:
            return runnable[i]
    choices = ", ".join(map(repr, (*available_isas(), "python")))
    raise ImportError(f"instruction set {name!r} is not available here: choose one of {choices}")


def isa() -> str:
    """The name of the instruction set in use."""
    return ops.name.decode()


def available_isas() -> tuple:
    """The instruction sets this machine can run, slowest first."""
    return tuple([runnable[i].name.decode() for i in range(runnable_count)])


def build() -> str:
    """What the core was built with."""
    version = ".".join(str(XEP419_CYTHON >> shift & 0xFF) for shift in (24, 16, 8))
    return f"{XEP419_COMPILER.decode()}, Cython {version}"


def force(str name: str) -> None:
    """Makes the whole process use one instruction set. For tests and ``xep419 speed``: nothing else may be running."""
    global ops
    ops = find(name)


cdef void detect() noexcept:
    global runnable_count
    runnable[0] = &scalar_ops
    runnable_count = 1 + xep419_detect(&runnable[1])


detect()
ops = runnable[runnable_count - 1]
if os.environ.get("XEP419_ISA"):
    ops = find(os.environ["XEP419_ISA"])


# -- doors for the tests of single operations ---------------------------------------------------------------


def call_rotate(str name, dst, src, *, rounds, streaming):
    """``dst[:] = src`` rotated, by the kernel of one instruction set; ``dst`` may be the same object."""
    cdef const xep419_ops *chosen = find(name)
    cdef uint8_t[::1] target = dst
    cdef const uint8_t[::1] source = src
    cdef size_t n = source.shape[0]
    if <size_t>target.shape[0] != n or not n:
        raise ValueError("source and target must have one length of at least 1")
    if streaming:
        (chosen.rotate_twice_streaming if rounds == 2 else chosen.rotate_once_streaming)(&target[0], &source[0], n)
    else:
        (chosen.rotate_twice if rounds == 2 else chosen.rotate_once)(&target[0], &source[0], n)


def call_loosely(str name, dst, src, size_t n, *, rounds):
    """The first ``n`` bytes of ``src``, copied or rotated twice, by a loose operation; both must have ``SLACK`` more."""
    cdef const xep419_ops *chosen = find(name)
    cdef uint8_t[::1] target = dst
    cdef const uint8_t[::1] source = src
    if min(target.shape[0], source.shape[0]) < <Py_ssize_t>(n + <size_t>SLACK):
        raise ValueError(f"source and target must have {SLACK} bytes more")
    (chosen.rotate_twice_loosely if rounds else chosen.copy_loosely)(&target[0], &source[0], n)


def call_candidates(str name, data, size_t room) -> tuple:
    """``(positions, searched)`` of the candidates operation of one instruction set."""
    cdef const xep419_ops *chosen = find(name)
    cdef const uint8_t[::1] source = data
    cdef size_t searched = 0, count
    cdef uint32_t *at
    if not source.shape[0] or room < 64:
        raise ValueError("at least 1 byte and room for 64 positions are needed")
    at = <uint32_t *>malloc(room * sizeof(uint32_t))
    if at is NULL:
        raise MemoryError
    count = chosen.candidates(&source[0], source.shape[0], at, room, &searched)
    try:
        return [at[i] for i in range(count)], searched
    finally:
        free(at)


def call_last_lt(str name, data, size_t floor, size_t end):
    """The position that the last_lt operation of one instruction set finds, or None."""
    cdef const xep419_ops *chosen = find(name)
    cdef const uint8_t[::1] source = data
    cdef size_t found
    if not floor <= end <= <size_t>source.shape[0] or not source.shape[0]:
        raise ValueError("floor and end must lie in the data")
    found = chosen.last_lt(&source[0], floor, end)
    return None if found == NOT_FOUND else found


def call_tag_window(str name, data, size_t at) -> tuple:
    """The masks of the tag_window operation of one instruction set."""
    cdef const xep419_ops *chosen = find(name)
    cdef const uint8_t[::1] source = data
    cdef uint64_t masks[<size_t>MASKS]
    if at >= <size_t>source.shape[0]:
        raise ValueError("at must lie in the data")
    chosen.tag_window(&source[0], source.shape[0], at, masks)
    return masks[0], masks[1], masks[2]


def call_quote_sides(str name, data, size_t at) -> tuple:
    """The masks of the quote_sides operation of one instruction set."""
    cdef const xep419_ops *chosen = find(name)
    cdef const uint8_t[::1] source = data
    cdef uint64_t masks[<size_t>SIDES]
    if source.shape[0] < 64 or not 0 < at < <size_t>source.shape[0] - 1:
        raise ValueError("at must lie between the ends of 64 bytes or more")
    chosen.quote_sides(&source[0], source.shape[0], at, masks)
    return tuple(masks[i] for i in range(<size_t>SIDES))


def call_classify(str name, data) -> tuple:
    """``(rows, suspect)``: the rows of masks of the classify operation of one instruction set, and its answer.

    A row is the list of masks that the operation promises to write; RuntimeError if it wrote others.
    """
    cdef const xep419_ops *chosen = find(name)
    cdef const uint8_t[::1] source = data
    cdef uint64_t masks[<size_t>ROWS * <size_t>ROW]
    cdef size_t n = source.shape[0], promised = n // 64 + 2, i
    cdef uint64_t filler = 0xA5A5A5A5A5A5A5A5
    if not 0 < n <= <size_t>PAGE:
        raise ValueError("from 1 to 4096 bytes are needed")
    for i in range(<size_t>ROWS * <size_t>ROW):
        masks[i] = filler
    suspect = chosen.classify(&source[0], n, masks)
    for i in range(<size_t>ROWS * <size_t>ROW):
        if i % <size_t>ROW >= promised and masks[i] != filler:
            raise RuntimeError("wrote a mask past the promised ones")
    rows = [[masks[row * <size_t>ROW + i] for i in range(promised)] for row in range(<size_t>ROWS)]
    return rows, bool(suspect)
