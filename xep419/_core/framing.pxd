from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .ops cimport ROW, ROWS
from .scanner cimport Plan, Scanner

cdef enum:
    FEW = 16            # open elements that are followed without a block of their own
    FEW_LETTERS = 112   # letters of their names in checking, likewise
    NAME_SLACK = 16     # short names are copied and compared as so many bytes
    BATCH = 64          # stanzas between two visits to Python

# What walk() stopped for.
cdef enum Event:
    NOTHING             # the piece is used up
    STANZAS             # the batch is full
    HEADER              # a stream header ended
    XML_DECLARATION     # an XML declaration ended
    FAILED
    NO_MEMORY

cdef enum Where:
    BEFORE_ROOT
    IN_ROOT
    AFTER_ROOT

# What is kept where stanzas are checked and not cut out: instead of their bytes, the names of the open elements alone,
# one behind the other, the root's first. Place.names counts from the first of these letters then, Place.limit is that
# of one piece of markup and that of all the letters, and nothing but the markup that is being read is held back.
cdef struct Checking:
    bint restarts           # of a stream are taken
    bint text               # may stand in the root
    bint single             # stops behind the first element
    size_t stanzas          # completed
    size_t boundary         # behind the last of them, or the root's start tag
    size_t header           # where the document begins
    size_t header_end       # 0 before the end of its root's start tag
    uint8_t *letters        # NAME_SLACK bytes more than the room
    size_t size
    size_t room
    uint8_t few[<size_t>FEW_LETTERS + <size_t>NAME_SLACK]

# Places are byte offsets in the stream unless they are called indices, which count from the piece's first byte.
cdef struct Place:
    bint restricted
    size_t limit
    size_t base             # of the piece's first byte
    size_t begin            # of the document
    size_t item             # of the header, stanza or section that is being read
    bint in_item
    bint whole              # the fast way has seen all of the item: its names are in the plan
    Where where
    uint8_t state
    uint8_t back            # the state that a reference stands in
    bint declaration        # the instruction is an XML declaration
    bint completed          # an element since the header
    bint dtd_seen
    size_t depth            # open elements, the root included
    size_t token            # the markup that is being read
    size_t reference
    uint64_t word           # the first letters of an entity's or target's name
    size_t word_size
    uint32_t code           # a character reference's
    size_t dtd_depth
    # the character that is being read, as far as the last one looked at
    uint8_t need            # bytes that it lacks
    uint8_t low             # the range of the next
    uint8_t high
    uint8_t sequence[4]
    uint8_t sequence_size
    # bytes from before the piece, of the item that it finds begun: [held_from, base)
    uint8_t *held
    size_t held_from
    size_t held_room
    # where the names of the open elements begin, from the item's first byte, and their sizes; one block
    uint32_t *names
    uint8_t *sizes          # LONG_NAME for that and more
    size_t names_room
    uint32_t few[FEW]
    uint8_t few_sizes[FEW]
    const uint8_t *root     # its name
    size_t root_size
    Checking *checking      # NULL: stanzas are cut out
    int fault
    size_t fault_offset
    size_t fault_end        # of what came, where the message shows it
    uint8_t fault_byte

cdef struct Cut:
    size_t start
    size_t end
    size_t first_finding
    size_t findings
    bint whole

# What is known of one piece.
cdef struct Piece:
    const uint8_t *p
    size_t n
    size_t at               # index of the next byte
    size_t checked          # index before which the characters are checked
    size_t bad              # index of the first byte that no character can have, or n
    size_t page             # index and size of the page that is marked
    size_t page_size
    size_t end              # index of the header's or declaration's end
    size_t count
    Cut cuts[BATCH]
    bint fuse
    Scanner scanner
    Plan plan
    uint64_t masks[<size_t>ROWS * <size_t>ROW]

cdef void begin_document(Place *f) noexcept nogil

# On through the piece, to its end or to what Python must be told of.
cdef Event walk(Place *f, Piece *x) noexcept nogil

# The error of a place that walk() failed at; that of the end of the input at this place, or None. An unclosed root is
# taken where restarts are.
cdef object error_of(Place *f, Piece *x)
cdef object error_of_end(Place *f)

# What is wrong with the XML declaration that just ended, or None.
cdef object error_of_declaration(Place *f, Piece *x)

# Moves on to the next piece: keeps what the markup that is being read has in this one; False where there is no memory
# for it. All memory of a place goes with drop_held() and drop_names().
cdef bint hold_markup(Place *f, Piece *x) noexcept nogil
cdef void drop_held(Place *f) noexcept nogil
cdef void drop_names(Place *f) noexcept nogil
