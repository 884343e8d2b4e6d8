from libc.stdint cimport uint8_t, uint64_t

# Bits of xep419.names.Scope.
cdef enum:
    DECLARATIONS = 1
    FEATURES = 2
    FORM_TYPES = 4
    FIELDS = 8
    NODES = 16
    REFERENCES = 32

# One name: its bytes, its scope bit, whether it is secure, and its mark. The mark of an insecure name is the place
# where its letter goes (mark == mark_end); that of a secure one is the range of its "s".
cdef struct Finding:
    size_t start
    size_t end
    size_t mark
    size_t mark_end
    uint8_t kind
    bint secure

cdef enum:
    INLINE_FINDINGS = 32

# Findings, on the stack while they are few. After init_plan(), free_plan() must follow.
cdef struct Plan:
    Finding *items
    size_t count
    size_t room
    bint failed     # no memory: the scan is void
    Finding few[INLINE_FINDINGS]

# What the bytes held back wait for.
cdef enum Hold:
    HOLD_NOTHING
    HOLD_SHORT      # a few more bytes
    HOLD_REFERENCE  # the end of a reference in a FORM_TYPE value's text
    HOLD_TEXT       # the end of that text
    HOLD_TAG        # the end of the tag

cdef enum:
    SHORT_TEXT = 64     # text shorter than this is looked at again on every call
    MAX_FRAMES = 64
    MAX_PREFIX = 64

# An element whose end tag matters: a FORM_TYPE field, or the scope of a namespace binding.
cdef struct Frame:
    size_t depth
    bint form
    bint caps
    uint8_t prefix_size
    uint8_t prefix[MAX_PREFIX]

# The place in one document between two pieces of it.
cdef struct Scanner:
    int scopes
    Hold hold
    int section
    int dtd_inner
    uint8_t dtd_quote
    size_t dtd_depth
    size_t depth        # open elements since the outermost frame's, itself included
    size_t frame_count
    size_t bound        # how many of the frames are namespace bindings
    bint value          # in a FORM_TYPE value, before its text
    Frame frames[MAX_FRAMES]

cdef void init_scanner(Scanner *s, int scopes) noexcept nogil
cdef void init_plan(Plan *plan) noexcept nogil
cdef void free_plan(Plan *plan) noexcept nogil

# Adds the names in p[0, n) to the plan and returns how many bytes are done with: give the others again, first, next
# time. With final set everything is done with: the document ends there.
cdef size_t scan_names(Scanner *s, const uint8_t *p, size_t n, bint final, Plan *plan) noexcept nogil

# Whether the insecure form of the name is registered (xep419.names.is_known).
cdef bint is_known(const uint8_t *p, const Finding *found) noexcept nogil

# Parts of it for a caller that walks over whole tags itself, in their order: whether a value may be a name, by its two
# first bytes; a start tag; the end of an end tag; the text behind the start tag, while s.value is set. A part that is
# given the end of its tag or text as n, and final, has no reason to stop.
cdef bint may_be_name(const uint8_t *value) noexcept nogil
cdef size_t start_tag(Scanner *s, const uint8_t *p, size_t n, size_t at, bint final, Plan *plan,
                      bint *stop) noexcept nogil
cdef void close_element(Scanner *s) noexcept nogil
cdef size_t value_text(Scanner *s, const uint8_t *p, size_t n, size_t at, bint final, Plan *plan,
                       bint *stop) noexcept nogil
