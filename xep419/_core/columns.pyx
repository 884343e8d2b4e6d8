"""Columns of stanzas: each row of a column recoded as a document of its own, without an object for it.

A column is laid out as Arrow's variable-size binary is (Columnar Format, "Variable-size Binary Layout"): the values of
all rows one behind the other, one offset more than there are rows, a bitmap of the rows that are not null. Nothing of
it is trusted. Rows are written as they are scanned, while they are in the caches, into a result that has room for the
most letters there can be and is cut to its size at the end.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from .buffers cimport GIL_RELEASE_BYTES, Source, acquire, new_bytes, release
from .census cimport Census, count_names, counts_of, free_census, init_census
from .checking cimport is_stanza
from .cipher cimport fold_rounds, rotate, rotated
from .namespaces cimport letters_to_add, scope_bits, splice_up
from .scanner cimport Plan, Scanner, free_plan, init_plan, init_scanner, scan_names

from .._encoding import HEAD_BYTES, check_encoding
from ..errors import EncodingError
from ..names import Scope

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t size) except -1

cdef int ALL_BITS = scope_bits(Scope.ALL)
cdef size_t MOST = 0x7FFFFFFF, MOST_LARGE = 0x7FFFFFFFFFFFFFFF      # bytes that offsets can tell

cdef enum:
    SHORTEST_NAME = 5       # "http:": at most one letter for each so many bytes

# What recode_rows() stopped for.
cdef enum Outcome:
    DONE
    TOO_LARGE
    NO_MEMORY

cdef struct Job:
    const uint8_t *stored
    const uint8_t *plain        # the same, rotated back
    uint8_t *offsets            # a copy, whose items become the new ones as soon as they are done with
    const uint8_t *valid        # NULL: no row is null
    size_t rows
    bint large                  # the offsets have 8 bytes, not 4
    bint check
    bint upgrade
    int rounds
    uint8_t *values             # of the result
    size_t written
    size_t limit
    size_t *left                # rows left as they were
    size_t left_count
    size_t left_room
    Census *census              # NULL: names are not counted


cdef inline int64_t offset_at(const Job *j, size_t row) noexcept nogil:
    cdef int32_t narrow
    cdef int64_t offset
    if not j.large:
        memcpy(&narrow, j.offsets + row * sizeof(int32_t), sizeof(int32_t))
        return narrow
    memcpy(&offset, j.offsets + row * sizeof(int64_t), sizeof(int64_t))
    return offset


cdef inline void set_offset(const Job *j, size_t row) noexcept nogil:
    cdef int32_t narrow = <int32_t>j.written
    cdef int64_t offset = <int64_t>j.written
    if j.large:
        memcpy(j.offsets + row * sizeof(int64_t), &offset, sizeof(int64_t))
    else:
        memcpy(j.offsets + row * sizeof(int32_t), &narrow, sizeof(int32_t))


cdef bint offsets_hold(const Job *j, size_t size, size_t *row) noexcept nogil:
    """Whether the offsets rise within ``size`` bytes; else the first row that they do not hold for."""
    cdef int64_t before = offset_at(j, 0), offset
    cdef size_t i
    row[0] = 0
    if before < 0:
        return False
    for i in range(j.rows):
        offset = offset_at(j, i + 1)
        if offset < before or <uint64_t>offset > size:
            row[0] = i
            return False
        before = offset
    return True


# -- names --------------------------------------------------------------------------------------------------

cdef object NO_NAME = ""


cdef dict names_of(const Census *census):
    """The counts; under the empty name, of any kind, those of the names that found no place in the census."""
    cdef dict counts = counts_of(census)
    cdef uint64_t totals[2]
    totals[0] = census.insecure
    totals[1] = census.secure
    for (_name, _kind, secure), count in counts.items():
        totals[secure] -= <uint64_t>count
    for secure in (False, True):
        if totals[secure]:
            counts[NO_NAME, Scope.ALL, secure] = totals[secure]
    return counts


# -- rows ---------------------------------------------------------------------------------------------------


cdef bint is_wide(const uint8_t *p, size_t n) noexcept with gil:
    """Whether the row is in UTF-16 or UTF-32, where that is not ruled out by its first bytes."""
    try:
        check_encoding(PyBytes_FromStringAndSize(<const char *>p, min(n, <size_t>HEAD_BYTES)))
    except EncodingError:
        return True
    return False


cdef inline bint is_taken(const Job *j, const uint8_t *p, size_t n) noexcept nogil:
    """Whether the row is recoded."""
    if j.check:
        return is_stanza(p, n)
    return not (n >= 2 and (p[0] >= 0xFE or p[0] == 0 or p[1] == 0) and is_wide(p, n))


cdef bint leave(Job *j, size_t row) noexcept nogil:
    """False without memory."""
    cdef size_t *grown
    if j.left_count == j.left_room:
        grown = <size_t *>realloc(j.left, (2 * j.left_room + 16) * sizeof(size_t))
        if grown is NULL:
            return False
        j.left = grown
        j.left_room = 2 * j.left_room + 16
    j.left[j.left_count] = row
    j.left_count += 1
    return True


cdef Outcome recode_rows(Job *j, Plan *plan) noexcept nogil:
    cdef Scanner scanner
    cdef size_t row, start, size, letters, end = offset_at(j, 0)
    cdef const uint8_t *p
    set_offset(j, 0)
    for row in range(j.rows):
        start = end
        end = offset_at(j, row + 1)
        size = end - start
        p = j.plain + start
        plan.count = 0
        if j.valid is not NULL and not j.valid[row >> 3] >> (row & 7) & 1:
            pass
        elif is_taken(j, p, size):
            if j.upgrade or j.census is not NULL:
                init_scanner(&scanner, ALL_BITS)
                scan_names(&scanner, p, size, True, plan)
                if plan.failed:
                    return NO_MEMORY
            if j.census is not NULL:
                count_names(j.census, p, 0, plan)
            letters = letters_to_add(plan) if j.upgrade else 0
            if size + letters > j.limit - j.written:
                return TOO_LARGE
            splice_up(j.values + j.written, p, size, plan.items, plan.count if j.upgrade else 0, j.rounds)
            j.written += size + letters
        else:
            if size > j.limit - j.written:
                return TOO_LARGE
            if not leave(j, row):
                return NO_MEMORY
            memcpy(j.values + j.written, j.stored + start, size)
            j.written += size
        set_offset(j, row + 1)
    return DONE


cdef object recoded(Job *j, size_t size, object new_offsets):
    """The result of the job, whose offsets are in ``new_offsets``."""
    cdef Plan plan
    cdef Outcome outcome
    cdef PyObject *values
    cdef size_t room = size + size // <size_t>SHORTEST_NAME + 1, i
    result = new_bytes(room, &j.values)
    j.limit = min(j.limit, room)    # holds whatever another thread does to the buffer of the values
    init_plan(&plan)
    try:
        if size >= GIL_RELEASE_BYTES:
            with nogil:
                outcome = recode_rows(j, &plan)
        else:
            outcome = recode_rows(j, &plan)
        if outcome == TOO_LARGE:
            raise OverflowError(f"the recoded values would have more than {j.limit} bytes")
        if outcome == NO_MEMORY or (j.census is not NULL and j.census.failed):
            raise MemoryError("no memory for the names of the rows")
        left = [j.left[i] for i in range(j.left_count)]
    finally:
        free_plan(&plan)
        free(j.left)
    Py_INCREF(result)
    values = <PyObject *>result
    result = None       # _PyBytes_Resize wants the only reference
    _PyBytes_Resize(&values, j.written)
    try:
        return <object>values, new_offsets, left, names_of(j.census) if j.census is not NULL else {}
    finally:
        Py_XDECREF(values)


def recode_values(
    values, offsets, /, *, large=False, valid=None, rounds_from=0, rounds_to=2, upgrade=True, check=True, census=False,
    limit=None
):
    """Every row of a column rotated back, upgraded and rotated, each as a document of its own.

    :param values: bytes of all rows, one behind the other.
    :param offsets: where each row begins, and where the last ends: native integers of 4 bytes, of 8 with ``large``.
    :param valid: a bit for each row, lowest first, set where it is not null; ``None``: no row is null.
    :param check: leave rows that are not one well-formed element (:func:`xep419.stream.check_stanza`) as they are;
        else only those in UTF-16 or UTF-32.
    :param census: whether to count names.
    :param limit: bytes that the new values may have; by default as many as the offsets can tell.
    :returns: the new values; the new offsets, from 0; the rows that were left; how often each name came, as
        :meth:`xep419.namespaces.NamespaceCensus.counts` tells it, and under the empty name the overflow.
    :raises ValueError: the offsets do not rise within the values, or a buffer is too short.
    :raises OverflowError: the new values would have more than ``limit`` bytes.
    """
    cdef Source stored, places, bits, turned
    cdef Job j
    cdef Census names
    cdef size_t size
    cdef int back = fold_rounds(rounds_from)
    cdef size_t width = sizeof(int64_t) if large else sizeof(int32_t), row = 0
    cdef size_t most = MOST_LARGE if large else MOST
    memset(&j, 0, sizeof(Job))
    j.large = large
    j.check = check
    j.upgrade = upgrade
    j.rounds = fold_rounds(rounds_to)
    j.limit = most if limit is None else min(most, <size_t>limit)
    acquire(&stored, values, "values")
    try:
        acquire(&places, offsets, "offsets")
        try:
            if places.n % width or not places.n:
                raise ValueError(f"offsets must be one or more integers of {width} bytes, not {places.n} bytes")
            new_offsets = new_bytes(places.n, &j.offsets)
            memcpy(j.offsets, places.data, places.n)
            j.rows = places.n // width - 1
            if not offsets_hold(&j, stored.n, &row):
                raise ValueError(f"the offsets of row {row} do not rise within the {stored.n} bytes of the values")
            acquire(&bits, b"" if valid is None else valid, "valid")
            try:
                if valid is not None:
                    if bits.n * 8 < j.rows:
                        raise ValueError(f"valid must have a bit for each of {j.rows} rows, not {bits.n} bytes")
                    j.valid = bits.data
                plain = rotated(values, back, "values") if back else values
                acquire(&turned, plain, "values")
                try:
                    if turned.n != stored.n:    # an object may give another buffer each time
                        raise BufferError(f"values must give one buffer, not one of {stored.n} and one of {turned.n} bytes")
                    j.stored = stored.data
                    j.plain = turned.data
                    size = offset_at(&j, j.rows) - offset_at(&j, 0)
                    if not census:
                        return recoded(&j, size, new_offsets)
                    init_census(&names, 0)
                    j.census = &names
                    try:
                        return recoded(&j, size, new_offsets)
                    finally:
                        free_census(&names)
                finally:
                    release(&turned)
            finally:
                release(&bits)
        finally:
            release(&places)
    finally:
        release(&stored)
