"""Namespace names counted: a hash table of what the scanner found, without a Python object for a name that comes again.

It does not look for names (``scanner.pyx``) nor cut input into pieces (``incremental.pyx``). Memory is bounded, whatever
the names are: only so many are kept apart, and none that is very long; the others are counted all the same. Time is
linear for hostile names too: the hash has a seed that nobody outside knows. Bytes may change under a scan (a shared
``bytearray``): what is kept of a name may then be no name, but stands within its bounds.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

import os

from .scanner cimport Finding, Plan

from ..names import Place, Scope, resolve_references

cdef extern from "Python.h":
    ctypedef struct PyTypeObject
    object PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t items)


cdef inline int set_field(object made, Py_ssize_t i, object value) except -1:
    Py_INCREF(value)    # the tuple takes a reference that Cython does not count
    PyTuple_SET_ITEM(made, i, value)
    return 0


cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 xep419_uint128;
    #endif
    /* The two halves of a product of 128 bits, one upon the other. */
    static inline uint64_t xep419_fold(uint64_t a, uint64_t b)
    {
    #ifdef __SIZEOF_INT128__
        xep419_uint128 product = (xep419_uint128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    #else
        const uint64_t low = UINT32_MAX;
        uint64_t ll = (a & low) * (b & low), lh = (a & low) * (b >> 32), hl = (a >> 32) * (b & low);
        uint64_t middle = (ll >> 32) + (lh & low) + (hl & low);
        return ((middle << 32) | (ll & low)) ^ ((a >> 32) * (b >> 32) + (lh >> 32) + (hl >> 32) + (middle >> 32));
    #endif
    }
    """
    uint64_t fold "xep419_fold"(uint64_t a, uint64_t b) noexcept nogil

cdef enum:
    FIRST_NAMES = 64
    FIRST_LETTERS = 4096

cdef dict KINDS = {scope.value: scope for scope in Scope if scope is not Scope.ALL}


# Of the process, as that of Python's own hash: asking for one releases the GIL.
cdef uint64_t SEED[2]


cdef int fill_seed() except -1:
    seed = os.urandom(sizeof(SEED))
    memcpy(SEED, <const char *>(<bytes>seed), sizeof(SEED))
    return 0


fill_seed()


cdef int init_census(Census *c, size_t most_places) except -1:
    memset(c, 0, sizeof(Census))
    c.entries = <Counted *>malloc(FIRST_NAMES * sizeof(Counted))
    c.letters = <uint8_t *>malloc(FIRST_LETTERS)
    c.slots = <uint32_t *>calloc(2 * FIRST_NAMES, sizeof(uint32_t))
    c.most_places = most_places
    if most_places:
        c.places = <uint64_t *>malloc(FIRST_NAMES * most_places * sizeof(uint64_t))
    if c.entries is NULL or c.letters is NULL or c.slots is NULL or (most_places and c.places is NULL):
        free_census(c)
        raise MemoryError("no memory for the names")
    c.room = FIRST_NAMES
    c.letters_room = FIRST_LETTERS
    c.mask = 2 * FIRST_NAMES - 1
    return 0


cdef void free_census(Census *c) noexcept nogil:
    free(c.entries)
    free(c.letters)
    free(c.slots)
    free(c.places)
    c.places = NULL
    c.entries = NULL
    c.letters = NULL
    c.slots = NULL


cdef inline uint64_t word_at(const uint8_t *p) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word


cdef inline uint64_t hash_of(const uint8_t *name, size_t size, uint64_t sort) noexcept nogil:
    """Sixteen bytes at a time, multiplied with what came before under the seed; the last ones overlap."""
    cdef uint64_t state = SEED[0] ^ (sort << 32 | size), left = 0, right = 0
    cdef size_t i = 0
    while size - i > 16:
        state = fold(word_at(name + i) ^ SEED[1], word_at(name + i + 8) ^ state)
        i += 16
    if size >= 8:
        left = word_at(name + (size - 16 if size >= 16 else 0))
        right = word_at(name + size - 8)
    else:
        for i in range(size):
            left = left << 8 | name[i]
    return fold(left ^ SEED[1], right ^ state)


cdef bint grow_slots(Census *c) noexcept nogil:
    """Doubles the room for names."""
    cdef size_t mask = 2 * c.mask + 1, i, slot
    cdef uint32_t *slots = <uint32_t *>calloc(mask + 1, sizeof(uint32_t))
    cdef Counted *entries = <Counted *>realloc(c.entries, 2 * c.room * sizeof(Counted))
    cdef uint64_t *places
    if entries is not NULL:
        c.entries = entries
    if c.most_places:
        places = <uint64_t *>realloc(c.places, 2 * c.room * c.most_places * sizeof(uint64_t))
        if places is NULL:
            free(slots)
            return False
        c.places = places
    if slots is NULL or entries is NULL:
        free(slots)
        return False
    for i in range(c.count):
        slot = c.entries[i].hash & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = <uint32_t>(i + 1)
    free(c.slots)
    c.slots = slots
    c.mask = mask
    c.room *= 2
    return True


cdef bint grow_letters(Census *c) noexcept nogil:
    cdef uint8_t *letters = <uint8_t *>realloc(c.letters, 2 * c.letters_room)
    if letters is NULL:
        return False
    c.letters = letters
    c.letters_room *= 2
    return True


cdef void add_name(Census *c, uint64_t hash, const uint8_t *name, uint64_t place, const Finding *found) noexcept nogil:
    """The first of its kind."""
    cdef size_t size = found.end - found.start, slot
    cdef Counted *entry
    if c.count == MOST_NAMES:
        c.overflow += 1
        return
    if ((c.count == c.room and not grow_slots(c))
            or (size > c.letters_room - c.size and not grow_letters(c))):
        c.failed = True
        return
    slot = hash & c.mask
    while c.slots[slot]:
        slot = (slot + 1) & c.mask
    entry = &c.entries[c.count]
    entry.hash = hash
    entry.count = 1
    entry.start = c.size
    entry.size = <uint32_t>size
    entry.kind = found.kind
    entry.secure = found.secure
    memcpy(c.letters + c.size, name, size)
    if c.most_places:
        c.places[c.count * c.most_places] = place
    c.size += size
    c.count += 1
    c.slots[slot] = <uint32_t>c.count


cdef inline Counted *entry_of(const Census *c, uint64_t hash, const uint8_t *name, size_t size, uint8_t kind,
                              bint secure) noexcept nogil:
    cdef size_t slot = hash & c.mask
    cdef Counted *entry
    while c.slots[slot]:
        entry = &c.entries[c.slots[slot] - 1]
        if (entry.hash == hash and entry.size == size and entry.kind == kind and entry.secure == secure
                and not memcmp(c.letters + entry.start, name, size)):
            return entry
        slot = (slot + 1) & c.mask
    return NULL


cdef inline uint64_t hash_of_name(const uint8_t *name, size_t size, uint8_t kind, bint secure) noexcept nogil:
    return hash_of(name, size, <uint64_t>kind << 1 | secure)


cdef inline void count_name(Census *c, const uint8_t *name, uint64_t place, const Finding *found) noexcept nogil:
    cdef size_t size = found.end - found.start
    cdef uint64_t hash
    cdef Counted *entry
    if size > <size_t>LONGEST_NAME:
        c.overflow += 1
        return
    hash = hash_of_name(name, size, found.kind, found.secure)
    entry = entry_of(c, hash, name, size, found.kind, found.secure)
    if entry is NULL:
        add_name(c, hash, name, place, found)
        return
    if entry.count < c.most_places:
        c.places[<size_t>(entry - c.entries) * c.most_places + entry.count] = place
    entry.count += 1


cdef void count_names(Census *c, const uint8_t *p, uint64_t base, const Plan *plan) noexcept nogil:
    cdef size_t i
    cdef uint64_t secure = 0
    for i in range(plan.count):
        secure += plan.items[i].secure
        count_name(c, p + plan.items[i].start, base + plan.items[i].start, &plan.items[i])
    c.secure += secure
    c.insecure += plan.count - secure


cdef uint64_t count_of(const Census *c, const uint8_t *name, size_t size, uint8_t kind, bint secure) noexcept nogil:
    cdef const Counted *entry
    entry = entry_of(c, hash_of_name(name, size, kind, secure), name, size, kind, secure)
    return 0 if entry is NULL else entry.count


cdef object key_of(const Census *c, const Counted *entry):
    cdef const char *name = <const char *>c.letters + entry.start
    if memchr(name, c'&', entry.size) is NULL:
        resolved = PyUnicode_DecodeUTF8(name, entry.size, "surrogateescape")
    else:
        resolved = resolve_references(PyBytes_FromStringAndSize(name, entry.size))
    return resolved, KINDS[entry.kind], bool(entry.secure)


cdef dict counts_of(const Census *c):
    """By the name with its references resolved: several entries may be one."""
    cdef dict counts = {}
    cdef size_t i
    for i in range(c.count):
        key = key_of(c, &c.entries[i])
        counts[key] = counts.get(key, 0) + c.entries[i].count
    return counts


cdef dict places_of(const Census *c):
    """The first places, by the same keys."""
    cdef dict places = {}
    cdef size_t i
    for i in range(c.count):
        key = key_of(c, &c.entries[i])
        found = first_places(c, i)
        if key in places:
            found = sorted(places[key] + found)[:c.most_places]
        places[key] = found
    return places


cdef object new_place(object source, uint64_t offset):
    """A Place, filled as the tuple it is: calling the class takes four times as long."""
    place = PyType_GenericAlloc(<PyTypeObject *>Place, 2)
    set_field(place, 0, source)
    set_field(place, 1, offset)
    return place


cdef tuple found_of(const Census *c, object source):
    """The counts, and the first places as tuples of Place."""
    cdef dict counts = {}
    cdef dict places = {}
    cdef size_t i, k
    for i in range(c.count):
        key = key_of(c, &c.entries[i])
        count = c.entries[i].count
        found = tuple([new_place(source, c.places[i * c.most_places + k])
                       for k in range(min(c.entries[i].count, c.most_places))])
        if key in counts:
            count += counts[key]
            found = tuple(sorted(places[key] + found)[:c.most_places])
        counts[key] = count
        places[key] = found
    return counts, places


cdef list first_places(const Census *c, size_t at):
    cdef size_t i
    cdef const uint64_t *places = c.places + at * c.most_places
    return [places[i] for i in range(min(c.entries[at].count, c.most_places))]
