"""``scan``, ``upgrade``, ``downgrade``, ``encrypt``: the scanner's positions turned into new bytes.

Two steps each: a plan of all positions, then one pass that copies (and, to encrypt, rotates) the pieces between
them into a result of the exact size. When the plan is empty ``upgrade`` and ``downgrade`` answer with their argument.
"""

from cpython.bytes cimport PyBytes_Check, PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc

from . cimport isa
from .buffers cimport (
    ASCII, GIL_RELEASE_BYTES, UTF8, Source, acquire, finish, new_result, release,
)
from .cipher cimport rotate, rotated
from .ops cimport SLACK
from .scanner cimport Finding, Plan, Scanner, free_plan, init_plan, init_scanner, is_known, scan_names

from .._encoding import HEAD_BYTES, check_encoding
from ..names import NamespaceRef, Scope, resolve_references

cdef extern from "Python.h":
    ctypedef struct PyTypeObject
    object PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t items)

cdef object ALL = Scope.ALL
cdef object ScopeType = Scope
cdef int ALL_BITS = Scope.ALL.value
cdef dict KINDS = {scope.value: scope for scope in Scope if scope is not Scope.ALL}


cdef int scope_bits(object scope) except -1:
    if scope is ALL:
        return ALL_BITS
    if not isinstance(scope, ScopeType):
        raise TypeError(f"scope must be a xep419.Scope, not {type(scope).__name__!r}")
    return scope.value


cdef int check_head(const uint8_t *p, size_t n) except -1:
    """EncodingError for UTF-16 and UTF-32, told by their first bytes."""
    if n >= 2 and (p[0] >= 0xFE or p[0] == 0 or p[1] == 0):
        check_encoding(PyBytes_FromStringAndSize(<const char *>p, min(n, <size_t>HEAD_BYTES)))
    return 0


# -- plans --------------------------------------------------------------------------------------------------


cdef int find(Source *source, int scopes, Plan *plan) except -1:
    """All names of a whole document; the plan must be freed whether this succeeds or not."""
    cdef Scanner scanner
    if source.form != ASCII and source.form != UTF8:
        check_head(source.data, source.n)
    init_scanner(&scanner, scopes)
    if source.n >= GIL_RELEASE_BYTES:
        with nogil:
            scan_names(&scanner, source.data, source.n, True, plan)
    else:
        scan_names(&scanner, source.data, source.n, True, plan)
    if plan.failed:
        raise MemoryError("no memory for the positions of the names")
    return 0


cdef size_t letters_to_add(const Plan *plan) noexcept nogil:
    cdef size_t letters = 0, i
    for i in range(plan.count):
        letters += not plan.items[i].secure
    return letters


cdef size_t bytes_to_take(const uint8_t *p, Plan *plan, bint known_only) noexcept nogil:
    """Also drops from the plan the names that stay."""
    cdef size_t taken = 0, kept = 0, i
    cdef Finding *found
    for i in range(plan.count):
        found = &plan.items[i]
        if found.secure and (not known_only or is_known(p, found)):
            taken += found.mark_end - found.mark
            plan.items[kept] = found[0]
            kept += 1
    plan.count = kept
    return taken


# -- splices ------------------------------------------------------------------------------------------------

cdef enum:
    SHORT_PIECE = 2048      # longer ones are cheaper with an exact end


cdef void splice_up(uint8_t *dst, const uint8_t *src, size_t n, const Finding *items, size_t count,
                    int rounds) noexcept nogil:
    cdef size_t done = 0, i, mark, size
    cdef uint8_t letter = c'f' if rounds == 1 else c's'
    for i in range(count):
        if items[i].secure:
            continue
        mark = items[i].mark
        size = mark - done
        if size > SHORT_PIECE or n - mark < <size_t>SLACK or rounds == 1:
            rotate(dst, src + done, size, rounds)
        elif rounds:
            isa.ops.rotate_twice_loosely(dst, src + done, size)
        else:
            isa.ops.copy_loosely(dst, src + done, size)
        dst += size
        dst[0] = letter
        dst += 1
        done = mark
    rotate(dst, src + done, n - done, rounds)


cdef void splice_down(uint8_t *dst, const uint8_t *src, size_t n, const Plan *plan, int rounds) noexcept nogil:
    cdef size_t done = 0, i
    for i in range(plan.count):
        rotate(dst, src + done, plan.items[i].mark - done, rounds)
        dst += plan.items[i].mark - done
        done = plan.items[i].mark_end
    rotate(dst, src + done, n - done, rounds)


cdef object spliced_up(Source *source, Plan *plan, size_t letters, int rounds):
    cdef uint8_t *dst
    result = new_result(source, source.n + letters, &dst)
    if source.n >= GIL_RELEASE_BYTES:
        with nogil:
            splice_up(dst, source.data, source.n, plan.items, plan.count, rounds)
    else:
        splice_up(dst, source.data, source.n, plan.items, plan.count, rounds)
    return finish(source, result)


cdef object spliced_down(Source *source, Plan *plan, size_t taken):
    cdef uint8_t *dst
    result = new_result(source, source.n - taken, &dst)
    if source.n >= GIL_RELEASE_BYTES:
        with nogil:
            splice_down(dst, source.data, source.n, plan, 0)
    else:
        splice_down(dst, source.data, source.n, plan, 0)
    return finish(source, result)


cdef object unchanged(object data, Source *source):
    """The argument itself if it cannot change later, else its bytes."""
    if PyBytes_Check(data) or PyUnicode_Check(data):
        return data
    return PyBytes_FromStringAndSize(<const char *>source.data, source.n)


# -- the public functions -----------------------------------------------------------------------------------


cdef inline int set_field(object ref, Py_ssize_t i, object value) except -1:
    Py_INCREF(value)    # the tuple takes a reference that Cython does not count
    PyTuple_SET_ITEM(ref, i, value)
    return 0


cdef object new_ref(const Finding *found, object name):
    """A NamespaceRef, filled as the tuple it is: calling the class takes four times as long."""
    ref = PyType_GenericAlloc(<PyTypeObject *>NamespaceRef, 5)
    set_field(ref, 0, found.start)
    set_field(ref, 1, found.end)
    set_field(ref, 2, name)
    set_field(ref, 3, KINDS[found.kind])
    set_field(ref, 4, found.secure)
    return ref


def scan(xml, /, *, scope=ALL) -> list:
    """Every namespace name under ``http:``, ``https:``, ``urn:xmpp:`` or ``urn:xmpps:`` in the positions of ``scope``.

    :returns: a list of :class:`NamespaceRef` in document order; offsets are in bytes (of the UTF-8 form of ``str``).
    :raises EncodingError: the input is in UTF-16 or UTF-32.
    """
    cdef Source source
    cdef Plan plan
    cdef Finding *found
    cdef size_t i
    cdef int scopes = scope_bits(scope)
    cdef list refs = []
    cdef dict names = {}
    acquire(&source, xml, "xml")
    init_plan(&plan)
    try:
        find(&source, scopes, &plan)
        for i in range(plan.count):
            found = &plan.items[i]
            raw = PyBytes_FromStringAndSize(<const char *>source.data + found.start, found.end - found.start)
            name = names.get(raw)
            if name is None:
                name = names[raw] = resolve_references(raw)
            refs.append(new_ref(found, name))
        return refs
    finally:
        free_plan(&plan)
        release(&source)


def upgrade(xml, /, *, scope=ALL):
    """``http:`` namespace names become ``https:``, ``urn:xmpp:`` ones ``urn:xmpps:``; nothing else changes.

    :param xml: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8 inside).
    :returns: ``bytes``, or ``str`` for ``str``; the same object when nothing changes (``bytes`` and ``str``).
    :raises EncodingError: the input is in UTF-16 or UTF-32.

    XEP-0419, Legacy Namespaces and New-style Namespaces.
    """
    cdef Source source
    cdef Plan plan
    cdef size_t letters
    cdef int scopes = scope_bits(scope)
    acquire(&source, xml, "xml")
    init_plan(&plan)
    try:
        find(&source, scopes, &plan)
        letters = letters_to_add(&plan)
        if not letters:
            return unchanged(xml, &source)
        return spliced_up(&source, &plan, letters, 0)
    finally:
        free_plan(&plan)
        release(&source)


def downgrade(xml, /, *, scope=ALL, known_only=True):
    """``https:`` namespace names become ``http:``, ``urn:xmpps:`` ones ``urn:xmpp:``; nothing else changes.

    :param known_only: only names whose insecure form is registered with the XMPP Registrar, so that names born
        secure stay; with False, all.
    :returns: ``bytes``, or ``str`` for ``str``; the same object when nothing changes (``bytes`` and ``str``).
    :raises EncodingError: the input is in UTF-16 or UTF-32.
    """
    cdef Source source
    cdef Plan plan
    cdef size_t taken
    cdef int scopes = scope_bits(scope)
    cdef bint known = known_only
    acquire(&source, xml, "xml")
    init_plan(&plan)
    try:
        find(&source, scopes, &plan)
        taken = bytes_to_take(source.data, &plan, known)
        if not taken:
            return unchanged(xml, &source)
        return spliced_down(&source, &plan, taken)
    finally:
        free_plan(&plan)
        release(&source)


def encrypt(stanza, /):
    """The whole XEP-0419: :func:`upgrade`, then Double ROT-13 over every byte, in one pass.

    :returns: ``bytes``, or ``str`` for ``str``; a new object. It hides nothing from anyone.
    :raises EncodingError: the input is in UTF-16 or UTF-32.
    """
    cdef Source source
    cdef Plan plan
    acquire(&source, stanza, "stanza")
    init_plan(&plan)
    try:
        find(&source, ALL_BITS, &plan)
        return spliced_up(&source, &plan, letters_to_add(&plan), 2)
    finally:
        free_plan(&plan)
        release(&source)


def decrypt(stanza, /):
    """Double ROT-13 over every byte; the namespaces stay upgraded."""
    return rotated(stanza, 2, "stanza")


# -- batches ------------------------------------------------------------------------------------------------

cdef enum:
    BATCH_STANZAS = 512
    BATCH_BYTES = 1 << 18   # a batch stays in the caches between its two passes

# One stanza of a batch; its findings are items[first, first + count) of the batch's plan.
cdef struct Job:
    Source source
    size_t first
    size_t count
    size_t letters
    uint8_t *dst


cdef void plan_batch(Job *jobs, size_t count, Plan *plan) noexcept nogil:
    cdef Scanner scanner
    cdef size_t i, k
    for i in range(count):
        init_scanner(&scanner, ALL_BITS)
        jobs[i].first = plan.count
        scan_names(&scanner, jobs[i].source.data, jobs[i].source.n, True, plan)
        jobs[i].count = plan.count - jobs[i].first
        jobs[i].letters = 0
        for k in range(jobs[i].first, plan.count):
            jobs[i].letters += not plan.items[k].secure


cdef void fill_batch(Job *jobs, size_t count, Plan *plan) noexcept nogil:
    cdef size_t i
    for i in range(count):
        splice_up(jobs[i].dst, jobs[i].source.data, jobs[i].source.n, plan.items + jobs[i].first, jobs[i].count, 2)


cdef int encrypt_batch(Job *jobs, size_t count, size_t total, list encrypted) except -1:
    cdef Plan plan
    cdef size_t i, first = len(encrypted)
    cdef bint releases = total >= GIL_RELEASE_BYTES
    init_plan(&plan)
    try:
        if releases:
            with nogil:
                plan_batch(jobs, count, &plan)
        else:
            plan_batch(jobs, count, &plan)
        if plan.failed:
            raise MemoryError("no memory for the positions of the names")
        for i in range(count):
            encrypted.append(new_result(&jobs[i].source, jobs[i].source.n + jobs[i].letters, &jobs[i].dst))
        if releases:
            with nogil:
                fill_batch(jobs, count, &plan)
        else:
            fill_batch(jobs, count, &plan)
        for i in range(count):
            if jobs[i].source.form == UTF8:
                encrypted[first + i] = finish(&jobs[i].source, encrypted[first + i])
    finally:
        free_plan(&plan)
    return 0


def encrypt_many(stanzas, /) -> list:
    """:func:`encrypt` of every stanza, in one call; the GIL is released around the work where that pays.

    :param stanzas: any iterable of what :func:`encrypt` takes.
    :returns: a new list in the same order.
    """
    cdef Job *jobs = <Job *>malloc(BATCH_STANZAS * sizeof(Job))
    cdef size_t held = 0, total = 0, i
    cdef list encrypted = []
    cdef list batch = []
    if jobs is NULL:
        raise MemoryError
    try:
        for stanza in stanzas:
            acquire(&jobs[held].source, stanza, "a stanza")
            batch.append(stanza)    # keeps it alive
            held += 1
            if jobs[held - 1].source.form != ASCII and jobs[held - 1].source.form != UTF8:
                check_head(jobs[held - 1].source.data, jobs[held - 1].source.n)
            total += jobs[held - 1].source.n
            if held == BATCH_STANZAS or total >= BATCH_BYTES:
                encrypt_batch(jobs, held, total, encrypted)
                while held:
                    held -= 1
                    release(&jobs[held].source)
                batch.clear()
                total = 0
        if held:
            encrypt_batch(jobs, held, total, encrypted)
        return encrypted
    finally:
        for i in range(held):
            release(&jobs[i].source)
        free(jobs)
