from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .scanner cimport Plan

cdef enum:
    MOST_NAMES = 65536      # kept apart
    LONGEST_NAME = 1024     # bytes of a name that is kept

# A name with its kind and whether it is secure; its bytes are those of the letters from `start` on.
cdef struct Counted:
    uint64_t hash
    uint64_t count
    size_t start
    uint32_t size
    uint8_t kind
    bint secure

# The names counted so far: entries in order of first appearance, their letters one behind the other, and a hash table
# of their places (plus one; 0 is empty). After init_census(), free_census() must follow.
cdef struct Census:
    uint64_t insecure
    uint64_t secure
    uint64_t overflow       # of these, the names that found no place
    Counted *entries
    size_t count
    size_t room
    uint8_t *letters
    size_t size
    size_t letters_room
    uint32_t *slots
    size_t mask             # slots, a power of two, minus one; at least twice the room
    size_t most_places      # of each name that are kept
    uint64_t *places        # that many for each entry, its count of them in use; NULL when none are kept
    bint failed             # no memory: names are missing

cdef int init_census(Census *c, size_t most_places) except -1
cdef void free_census(Census *c) noexcept nogil

# Counts the names of a plan over p, whose first byte stands at the offset base of the document.
cdef void count_names(Census *c, const uint8_t *p, uint64_t base, const Plan *plan) noexcept nogil

cdef uint64_t count_of(const Census *c, const uint8_t *name, size_t size, uint8_t kind, bint secure) noexcept nogil
cdef dict counts_of(const Census *c)
cdef dict places_of(const Census *c)
cdef tuple found_of(const Census *c, object source)
