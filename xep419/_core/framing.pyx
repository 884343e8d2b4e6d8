"""``StanzaStream``: one direction of an XMPP stream cut into its first-level elements, as the bytes come.

Two ways over the same bytes:

* **fast**, from tag to tag: the vector operation ``classify`` marks a page of bytes, and whole well-formed tags and
  texts that lie in the page are passed over by those marks. It never reports an error: at anything else it stops.
* **careful**, byte by byte through the table of ``_grammar.py``: tags cut by the end of a piece, sections, references,
  and everything that is an error. Its place between two bytes is a number, so that any chunking costs linear time.

Which errors there are, and in which order they are found, is thus the table's alone. Characters are checked once per
page ahead of both. Bytes may change under a scan (a shared ``bytearray``): no index is trusted because of a byte.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_NoMemory
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import operator

from . cimport isa
from .buffers cimport GIL_RELEASE_BYTES, Source, acquire, new_bytes, release
from .namespaces cimport bytes_to_take, letters_to_add, scope_bits, splice_down, splice_up
from .ops cimport NAME_END, NOT_FOUND, NOT_SPACE, PAGE, ROW, SUSPECT, TEXT_END, VALUE_END
from .scanner cimport (
    Plan, Scanner, close_element, free_plan, init_plan, init_scanner, may_be_name, scan_names, start_tag, value_text,
)

from .. import _grammar
from .._grammar import again, declaration_fault, fault, unexpected
from ..errors import XEP419Error
from ..names import Scope

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define XEP419_SEEN 56
    /* At least the XEP419_SEEN marks of a row from `at` on. One load of the eight bytes that hold them, where the bytes
     * of a word stand in the order of its bits: half the work of putting two words together. */
    static inline uint64_t xep419_marks(const uint64_t *row, size_t at)
    {
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        uint64_t found;
        memcpy(&found, (const unsigned char *)row + (at >> 3), sizeof found);
        return found >> (at & 7);
    #else
        return row[at >> 6] >> (at & 63) | (row[(at >> 6) + 1] << 1) << (63 - (at & 63));
    #endif
    }
    """
    enum:
        SEEN "XEP419_SEEN"
    uint64_t marks "xep419_marks"(const uint64_t *row, size_t at) noexcept nogil
    int count_trailing_zeros "__builtin_ctzll"(unsigned long long mask) noexcept nogil

# -- the table ----------------------------------------------------------------------------------------------

# The states and actions that this module names; their numbers are checked against the table's below.
cdef enum:
    ERROR = 0
    OUTSIDE = 1
    BOM_2 = 2
    TEXT = 4
    OPEN = 7
    TAG_NAME = 8
    APOS_VALUE = 13
    QUOT_VALUE = 14
    END_OPEN = 17
    END_SPACE = 19
    REFERENCE = 20
    ENTITY = 21
    DECIMAL = 23
    HEX = 25
    COMMENT = 28
    CDATA_1 = 31
    PI_OPEN = 40
    PI_TARGET = 41
    PI = 42
    PI_CLOSE = 44
    DOCTYPE_1 = 45
    DTD = 52
    FIRST_ACTION = 63
    END_BOM = 63
    BEGIN_MARKUP = 64
    BEGIN_START_TAG = 65
    END_START_TAG = 66
    END_EMPTY_TAG = 67
    BEGIN_END_TAG = 68
    END_END_NAME = 69
    END_END_TAG = 70
    BEGIN_REFERENCE = 71
    ENTITY_LETTER = 72
    DECIMAL_DIGIT = 73
    HEX_DIGIT = 74
    END_ENTITY = 75
    END_CHARACTER = 76
    BEGIN_COMMENT = 77
    END_COMMENT = 78
    BEGIN_CDATA = 79
    BEGIN_DECLARATION = 80
    BEGIN_PI = 81
    TARGET_LETTER = 82
    END_TARGET = 83
    END_PI = 84
    OPEN_BRACKET = 85
    CLOSE_BRACKET = 86
    END_DTD = 87
    STATES = 63

cdef enum Fault:
    STANZA_LIMIT
    HEADER_LIMIT
    WIDE
    UTF_8
    DECLARED_ENCODING
    CHARACTER
    CHARACTER_REFERENCE
    MISMATCH
    END_TAG
    AFTER_END
    SECOND_HEADER
    DECLARATION
    DECLARATION_PLACE
    RESERVED_TARGET
    CDATA_OUTSIDE
    DTD_PLACE
    COMMENT_FAULT
    PI_FAULT
    DTD_FAULT
    ENTITY_FAULT
    MARKUP_LIMIT
    NAMES_LIMIT
    NO_ROOT
    UNFINISHED
    OPEN_ELEMENT
    UNEXPECTED      # beyond the table's

# What a byte may be in a name.
cdef enum:
    IN_NAME = 1
    BEGINS_NAME = 2
    IS_SPACE = 4

cdef uint8_t NEXT[STATES * 256]
cdef uint8_t KIND[256]


cdef int fill_tables() except -1:
    named = {
        "ERROR": ERROR, "OUTSIDE": OUTSIDE, "BOM_2": BOM_2, "TEXT": TEXT, "OPEN": OPEN, "TAG_NAME": TAG_NAME,
        "APOS_VALUE": APOS_VALUE, "QUOT_VALUE": QUOT_VALUE, "END_OPEN": END_OPEN, "END_SPACE": END_SPACE,
        "REFERENCE": REFERENCE, "ENTITY": ENTITY, "DECIMAL": DECIMAL, "HEX": HEX, "COMMENT": COMMENT,
        "CDATA_1": CDATA_1, "PI_OPEN": PI_OPEN, "PI_TARGET": PI_TARGET, "PI": PI, "PI_CLOSE": PI_CLOSE,
        "DOCTYPE_1": DOCTYPE_1, "DTD": DTD,
        "END_BOM": END_BOM, "BEGIN_MARKUP": BEGIN_MARKUP, "BEGIN_START_TAG": BEGIN_START_TAG,
        "END_START_TAG": END_START_TAG, "END_EMPTY_TAG": END_EMPTY_TAG, "BEGIN_END_TAG": BEGIN_END_TAG,
        "END_END_NAME": END_END_NAME, "END_END_TAG": END_END_TAG, "BEGIN_REFERENCE": BEGIN_REFERENCE,
        "ENTITY_LETTER": ENTITY_LETTER, "DECIMAL_DIGIT": DECIMAL_DIGIT, "HEX_DIGIT": HEX_DIGIT,
        "END_ENTITY": END_ENTITY, "END_CHARACTER": END_CHARACTER, "BEGIN_COMMENT": BEGIN_COMMENT,
        "END_COMMENT": END_COMMENT, "BEGIN_CDATA": BEGIN_CDATA, "BEGIN_DECLARATION": BEGIN_DECLARATION,
        "BEGIN_PI": BEGIN_PI, "TARGET_LETTER": TARGET_LETTER, "END_TARGET": END_TARGET, "END_PI": END_PI,
        "OPEN_BRACKET": OPEN_BRACKET, "CLOSE_BRACKET": CLOSE_BRACKET, "END_DTD": END_DTD,
    }
    if (len(_grammar.STATES) != STATES or any(_grammar.CODES[name] != code for name, code in named.items())
            or set(_grammar.ACTIONS) - set(named) or len(_grammar.FAULTS) != UNEXPECTED):
        raise ImportError("the framer's numbers are not those of its grammar")
    for state, row in enumerate(_grammar.NEXT):
        memcpy(&NEXT[state * 256], <const char *>(<bytes>row), 256)
    for byte in range(256):
        KIND[byte] = (IN_NAME * (byte in _grammar.NAME) | BEGINS_NAME * (byte in _grammar.NAME_START)
                      | IS_SPACE * (byte in _grammar.SPACE))
    return 0


fill_tables()

# -- the place in a stream ----------------------------------------------------------------------------------

cdef enum:
    LONG_NAME = 255

cdef void begin_document(Place *f) noexcept nogil:
    f.begin = f.item = f.base
    f.in_item = True
    f.where = BEFORE_ROOT
    f.state = OUTSIDE
    f.declaration = f.completed = f.dtd_seen = False
    f.depth = 0
    f.need = 0


cdef inline uint8_t byte_at(const Place *f, const uint8_t *p, size_t place) noexcept nogil:
    return p[place - f.base] if place >= f.base else f.held[place - f.held_from]


cdef void copy_out(const Place *f, const uint8_t *p, size_t start, size_t end, uint8_t *dst) noexcept nogil:
    cdef size_t before = 0
    if start < f.base:
        before = min(end, f.base) - start
        memcpy(dst, f.held + (start - f.held_from), before)
    if end > start + before:
        memcpy(dst + before, p + (start + before - f.base), end - start - before)


cdef size_t name_end(const Place *f, const uint8_t *p, size_t place, size_t end) noexcept nogil:
    while place < end and KIND[byte_at(f, p, place)] & IN_NAME:
        place += 1
    return place


cdef Event fail(Place *f, int fault, size_t offset, size_t end) noexcept nogil:
    f.fault = fault
    f.fault_offset = offset
    f.fault_end = end
    return FAILED


# -- characters ---------------------------------------------------------------------------------------------


cdef size_t check_characters(Place *f, const uint8_t *p, size_t at, size_t end) noexcept nogil:
    """The index of the first byte in ``[at, end)`` that cannot be, or ``end``; goes on in the middle of a character."""
    cdef uint8_t byte
    while at < end:
        byte = p[at]
        if f.need:
            f.sequence[f.sequence_size] = byte
            f.sequence_size += 1
            if not f.low <= byte <= f.high:
                return at
            f.need -= 1
            f.low = 0x80
            f.high = 0xBF
            if not f.need and f.sequence[0] == 0xEF and f.sequence[1] == 0xBF and byte >= 0xBE:
                return at       # U+FFFE, U+FFFF
        elif byte < 0x80:
            if byte < 0x20 and not KIND[byte] & IS_SPACE:
                f.sequence[0] = byte
                f.sequence_size = 1
                return at
        else:
            f.sequence[0] = byte
            f.sequence_size = 1
            f.low = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
            f.high = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
            f.need = 1 if 0xC2 <= byte <= 0xDF else 2 if 0xE0 <= byte <= 0xEF else 3 if 0xF0 <= byte <= 0xF4 else 0
            if not f.need:
                return at
        at += 1
    return end


cdef Event bad_character(Place *f, const Piece *x) noexcept nogil:
    """The fault of the byte at ``x.bad``, where the character that it belongs to was left in ``f.sequence``."""
    cdef size_t place = f.base + x.bad
    cdef size_t start = place + 1 - f.sequence_size
    cdef uint8_t first = f.sequence[0]
    if f.where == BEFORE_ROOT and (place == f.begin and (first == 0 or first >= 0xFE)
                                   or place == f.begin + 1 and first == 0):
        return fail(f, WIDE, f.begin, f.begin)
    return fail(f, CHARACTER if first < 0x80 or (f.sequence_size == 3 and not f.need) else UTF_8, start, start)


cdef void mark_page(Place *f, Piece *x) noexcept nogil:
    """Marks the page that begins at the next byte, and checks those of its characters that were not."""
    cdef size_t size = min(x.n - x.at, <size_t>PAGE), end, word
    cdef uint64_t suspects, beyond
    cdef const uint64_t *row = &x.masks[<size_t>SUSPECT * <size_t>ROW]
    suspects = isa.ops.classify(x.p + x.at, size, x.masks)
    x.page = x.at
    x.page_size = size
    end = x.at + size
    if x.checked >= end or x.bad < x.n:
        return
    if x.checked < x.at:
        x.checked = x.at
    if not suspects and not f.need:
        x.checked = end
        return
    while x.checked < end:
        if not f.need:
            word = (x.checked - x.page) >> 6
            beyond = row[word] >> ((x.checked - x.page) & 63)
            if beyond == 0:
                x.checked = x.page + ((word + 1) << 6)
                continue
            x.checked += count_trailing_zeros(beyond)
        # to the end of a run of such characters, or to the next word of marks
        suspects = min(end, x.checked + 64)
        x.bad = check_characters(f, x.p, x.checked, suspects)
        if x.bad < suspects:
            x.checked = end
            return
        x.bad = x.n
        x.checked = suspects
    x.checked = end


# -- the careful way ----------------------------------------------------------------------------------------


cdef bint grow_names(Place *f) noexcept nogil:
    # no start tag is shorter than three bytes, no name than one
    cdef size_t most = f.limit // 3 if f.checking is NULL else f.limit
    cdef size_t room = min(2 * f.names_room, most + FEW)
    cdef uint32_t *names = <uint32_t *>malloc(room * (sizeof(uint32_t) + 1))
    cdef uint8_t *sizes = <uint8_t *>(names + room)
    if names is NULL:
        return False
    memcpy(names, f.names, f.names_room * sizeof(uint32_t))
    memcpy(sizes, f.sizes, f.names_room)
    if f.names != f.few:
        free(f.names)
    f.names = names
    f.sizes = sizes
    f.names_room = room
    return True


cdef bint grow_letters(Checking *c, size_t room, size_t limit) noexcept nogil:
    cdef bint few = c.letters == c.few
    cdef uint8_t *grown
    room = max(room, min(2 * c.room, limit))
    grown = <uint8_t *>realloc(NULL if few else c.letters, room + NAME_SLACK)
    if grown is NULL:
        return False
    if few:
        memcpy(grown, c.few, c.size)
    c.letters = grown
    c.room = room
    return True


cdef inline Event keep_letters(Place *f, const Piece *x, size_t start, size_t size) noexcept nogil:
    """Puts the name that stands at ``start`` behind those of the open elements around it."""
    cdef Checking *c = f.checking
    if size > f.limit - c.size:
        return fail(f, NAMES_LIMIT, start - 1, start - 1)
    if size > c.room - c.size and not grow_letters(c, c.size + size, f.limit):
        return NO_MEMORY
    if size <= <size_t>NAME_SLACK and start >= f.base and f.base + x.n - start >= <size_t>NAME_SLACK:
        memcpy(c.letters + c.size, x.p + (start - f.base), NAME_SLACK)
    else:
        copy_out(f, x.p, start, start + size, c.letters + c.size)
    c.size += size
    return NOTHING


cdef inline Event push_name(Place *f, const Piece *x, size_t start, size_t size) noexcept nogil:
    """Remembers the name of one more open element: where it stands, or in checking its letters."""
    cdef size_t count = f.depth - 1
    cdef Event event
    if count == f.names_room and not grow_names(f):
        return NO_MEMORY
    if f.checking is NULL:
        f.names[count] = <uint32_t>(start - f.item)
    else:
        f.names[count] = <uint32_t>f.checking.size
        event = keep_letters(f, x, start, size)
        if event != NOTHING:
            return event
    f.sizes[count] = <uint8_t>min(size, <size_t>LONG_NAME)
    f.depth += 1
    return NOTHING


cdef inline void pop_name(Place *f) noexcept nogil:
    f.depth -= 1
    if f.checking is not NULL:
        f.checking.size = f.names[f.depth - 1] if f.depth else 0


cdef inline void cut_stanza(Place *f, Piece *x, size_t end) noexcept nogil:
    """A stanza ends before index ``end``."""
    cdef Cut *cut = &x.cuts[x.count]
    f.in_item = False
    f.completed = True
    if f.checking is not NULL:
        f.checking.stanzas += 1
        f.checking.boundary = f.base + end
        if f.checking.single:
            x.count = BATCH
        return
    cut.start = f.item
    cut.end = f.base + end
    cut.whole = f.whole
    cut.findings = x.plan.count - cut.first_finding
    x.count += 1


cdef Event end_item(Place *f, Piece *x, size_t end) noexcept nogil:
    cut_stanza(f, x, end)
    f.state = OUTSIDE
    return STANZAS if x.count == BATCH else NOTHING


cdef Event end_header(Place *f, Piece *x, size_t end, bint empty) noexcept nogil:
    cdef size_t name = f.token + 1
    x.end = end
    f.depth = 0 if empty else 1
    f.where = AFTER_ROOT if empty else IN_ROOT
    f.in_item = False
    f.completed = False
    f.state = OUTSIDE
    if f.checking is NULL:
        return HEADER
    f.checking.header = f.item
    f.checking.header_end = f.checking.boundary = f.base + end
    f.checking.size = 0
    return keep_letters(f, x, name, name_end(f, x.p, name, f.base + end) - name)


cdef inline bint takes_restarts(const Place *f) noexcept nogil:
    return f.checking is NULL or f.checking.restarts


cdef inline bint takes_text(const Place *f) noexcept nogil:
    """Whether text may stand in the root itself, where no stanza is open."""
    return f.checking is not NULL and f.checking.text


cdef Event end_tag(Place *f, Piece *x, size_t end) noexcept nogil:
    pop_name(f)
    if f.depth == 1:
        return end_item(f, x, end)
    f.state = TEXT
    if f.depth == 0:
        f.where = AFTER_ROOT
        f.in_item = False
        f.state = OUTSIDE
    return NOTHING


cdef const char *STREAM = b"stream"


cdef bint is_stream(const Place *f, const uint8_t *p, size_t start, size_t end) noexcept nogil:
    """Whether the name's local part is ``stream``."""
    cdef size_t i
    if end - start < 6 or (end - start > 6 and byte_at(f, p, end - 7) != c':'):
        return False
    for i in range(6):
        if byte_at(f, p, end - 6 + i) != <uint8_t>STREAM[i]:
            return False
    return True


cdef Event end_start_tag(Place *f, Piece *x, size_t end, bint empty) noexcept nogil:
    cdef size_t name = f.token + 1, after
    if f.where == BEFORE_ROOT:
        return end_header(f, x, end, empty)
    after = name_end(f, x.p, name, f.base + end)
    if f.depth == 1:
        if takes_restarts(f) and is_stream(f, x.p, name, after):
            if not f.completed:
                return fail(f, SECOND_HEADER, f.token, f.token)
            return end_header(f, x, end, empty)
        if empty:
            return end_item(f, x, end)
    f.state = TEXT
    return NOTHING if empty else push_name(f, x, name, after - name)


cdef inline size_t innermost(const Place *f) noexcept nogil:
    """Where among the letters the name of the innermost open element begins; it ends with them."""
    return f.names[f.depth - 2] if f.depth > 1 else 0


cdef bint closes(const Place *f, const uint8_t *p, size_t start, size_t end) noexcept nogil:
    """Whether the end tag's name is that of the innermost open element."""
    cdef size_t i, name
    if f.checking is not NULL:
        name = innermost(f)
        if end - start != f.checking.size - name:
            return False
        for i in range(end - start):
            if byte_at(f, p, start + i) != f.checking.letters[name + i]:
                return False
        return True
    if f.depth == 1:
        if end - start != f.root_size:
            return False
        for i in range(f.root_size):
            if byte_at(f, p, start + i) != f.root[i]:
                return False
        return True
    name = f.item + f.names[f.depth - 2]
    for i in range(end - start):
        if name + i >= start or byte_at(f, p, name + i) != byte_at(f, p, start + i):
            return False
    return name + (end - start) < start and not KIND[byte_at(f, p, name + (end - start))] & IN_NAME


cdef inline bint is_word(const Place *f, const char *letters, size_t size) noexcept nogil:
    cdef size_t i
    cdef uint64_t word = 0
    for i in range(size):
        word = word << 8 | <uint8_t>letters[i]
    return f.word_size == size and f.word == word


cdef inline bint is_predefined(const Place *f) noexcept nogil:
    return (is_word(f, b"amp", 3) or is_word(f, b"lt", 2) or is_word(f, b"gt", 2) or is_word(f, b"quot", 4)
            or is_word(f, b"apos", 4))


cdef Event end_target(Place *f, uint8_t byte) noexcept nogil:
    cdef uint64_t folded = f.word | 0x202020
    if is_word(f, b"xml", 3):
        if (f.token != f.begin if f.where == BEFORE_ROOT
                else f.where == AFTER_ROOT or f.depth != 1 or not f.completed or not takes_restarts(f)):
            return fail(f, DECLARATION_PLACE, f.token, f.token)
        f.declaration = True
    elif f.restricted:
        return fail(f, PI_FAULT, f.token, f.token)
    elif f.word_size == 3 and folded == 0x786D6C:
        return fail(f, RESERVED_TARGET, f.token, f.token + 5)
    f.state = PI if byte != c'?' else PI_CLOSE
    return NOTHING


cdef Event after_section(Place *f, size_t end, Piece *x) noexcept nogil:
    """A comment or an instruction ended."""
    if f.declaration:
        f.declaration = False
        x.end = end
        if f.where == IN_ROOT:      # a restart: the header begins with this declaration
            f.where = BEFORE_ROOT
            f.begin = f.item
            f.depth = 0
            f.dtd_seen = False
        f.state = OUTSIDE
        return XML_DECLARATION
    if f.where == IN_ROOT and f.depth > 1:
        f.state = TEXT
        return NOTHING
    f.state = OUTSIDE
    if f.where != BEFORE_ROOT:
        f.in_item = False
    return NOTHING


cdef Event act(Place *f, Piece *x, int action, size_t i) noexcept nogil:
    """Takes an action of the table at index ``i`` and sets the state after it."""
    cdef size_t place = f.base + i, end
    cdef uint8_t byte = x.p[i]
    cdef uint32_t digit
    if action == BEGIN_MARKUP:
        f.token = place
        if f.state == OUTSIDE and f.where != BEFORE_ROOT:
            f.item = place
            f.in_item = True
        f.state = OPEN
    elif action == BEGIN_START_TAG:
        if f.where == AFTER_ROOT:
            return fail(f, AFTER_END, f.token, f.token)
        f.state = TAG_NAME
    elif action == END_START_TAG:
        return end_start_tag(f, x, i + 1, False)
    elif action == END_EMPTY_TAG:
        return end_start_tag(f, x, i + 1, True)
    elif action == BEGIN_END_TAG:
        if f.where != IN_ROOT:
            return fail(f, AFTER_END if f.where == AFTER_ROOT else END_TAG, f.token, f.token)
        f.state = END_OPEN
    elif action == END_END_NAME:
        if not closes(f, x.p, f.token + 2, place):
            return fail(f, MISMATCH, f.token, place)
        if byte == c'>':
            return end_tag(f, x, i + 1)
        f.state = END_SPACE
    elif action == END_END_TAG:
        return end_tag(f, x, i + 1)
    elif action == BEGIN_REFERENCE:
        f.back = f.state if f.state == APOS_VALUE or f.state == QUOT_VALUE else TEXT
        f.reference = place
        f.word = f.word_size = f.code = 0
        f.state = REFERENCE
    elif action == ENTITY_LETTER or action == TARGET_LETTER:
        f.word = f.word << 8 | byte
        f.word_size += 1
        f.state = ENTITY if action == ENTITY_LETTER else PI_TARGET
    elif action == DECIMAL_DIGIT:
        f.code = min(f.code * 10 + byte - c'0', <uint32_t>0x110000)
        f.state = DECIMAL
    elif action == HEX_DIGIT:
        digit = byte - c'0' if byte <= c'9' else (byte | 0x20) - c'a' + 10
        f.code = min(f.code * 16 + digit, <uint32_t>0x110000)
        f.state = HEX
    elif action == END_ENTITY:
        if f.restricted and not is_predefined(f):
            return fail(f, ENTITY_FAULT, f.reference, place + 1)
        f.state = f.back
    elif action == END_CHARACTER:
        if not (f.code == 9 or f.code == 10 or f.code == 13 or 0x20 <= f.code <= 0xD7FF or 0xE000 <= f.code <= 0xFFFD
                or 0x10000 <= f.code <= 0x10FFFF):
            return fail(f, CHARACTER_REFERENCE, f.reference, place + 1)
        f.state = f.back
    elif action == BEGIN_COMMENT:
        if f.restricted:
            return fail(f, COMMENT_FAULT, f.token, f.token)
        f.state = COMMENT
    elif action == END_COMMENT or action == END_PI:
        return after_section(f, i + 1, x)
    elif action == BEGIN_CDATA:
        if f.depth < 2 and not (f.depth and takes_text(f)):
            return fail(f, CDATA_OUTSIDE, f.token, f.token)
        f.state = CDATA_1
    elif action == BEGIN_DECLARATION:
        if f.restricted:
            return fail(f, DTD_FAULT, f.token, f.token)
        if byte != c'D':
            f.fault_byte = byte
            return fail(f, UNEXPECTED, place, place)
        if f.where != BEFORE_ROOT or f.dtd_seen:
            return fail(f, DTD_PLACE, f.token, f.token)
        f.dtd_seen = True
        f.dtd_depth = 0
        f.state = DOCTYPE_1
    elif action == BEGIN_PI:
        f.word = f.word_size = 0
        f.state = PI_OPEN
    elif action == END_TARGET:
        return end_target(f, byte)
    elif action == OPEN_BRACKET:
        f.dtd_depth += 1
        f.state = DTD
    elif action == CLOSE_BRACKET:
        f.dtd_depth -= f.dtd_depth > 0
        f.state = DTD
    elif action == END_DTD:
        f.state = OUTSIDE if f.dtd_depth == 0 else DTD
    else:   # END_BOM
        f.begin = place + 1
        f.state = OUTSIDE
    return NOTHING


cdef inline bint is_reference_in_text(const Place *f) noexcept nogil:
    return REFERENCE <= f.state <= HEX and f.back == TEXT


cdef size_t open_markup(const Place *f) noexcept nogil:
    """Where the tag, reference or XML declaration begins that is being read and must be held back whole, or NOT_FOUND."""
    if is_reference_in_text(f):
        return f.reference
    if OPEN <= f.state <= END_SPACE or REFERENCE <= f.state <= HEX or f.state == PI_OPEN or f.state == PI_TARGET:
        return f.token
    return f.token if f.declaration else NOT_FOUND


cdef inline size_t limit_index(const Place *f, const Piece *x) noexcept nogil:
    """The index of the first byte that there is no room for, or the piece's end."""
    cdef size_t start
    if f.checking is NULL:
        return f.item + f.limit - f.base if f.in_item else x.n
    start = open_markup(f)
    return x.n if start == NOT_FOUND else start + f.limit - f.base


cdef Event over_limit(Place *f) noexcept nogil:
    if f.checking is not NULL:
        return fail(f, MARKUP_LIMIT, open_markup(f), 0)
    return fail(f, HEADER_LIMIT if f.where == BEFORE_ROOT else STANZA_LIMIT, f.item, f.item)


cdef Event careful(Place *f, Piece *x, size_t stop) noexcept nogil:
    """From the next byte on, until the fast way can go on, something happens, or index ``stop``."""
    cdef size_t i = x.at
    cdef uint8_t state = f.state, following
    cdef Event event
    f.whole = False
    while i < stop:
        following = NEXT[<size_t>state * 256 + x.p[i]]
        if following >= FIRST_ACTION:
            f.state = state
            event = act(f, x, following, i)
            i += 1
            if event != NOTHING:
                x.at = i
                return event
            state = f.state
            if following == BEGIN_MARKUP or following == BEGIN_REFERENCE:
                stop = min(stop, limit_index(f, x))
        elif following == ERROR:
            if state == OUTSIDE and f.where == BEFORE_ROOT and x.p[i] == 0xEF and f.base + i == f.begin:
                following = BOM_2
            elif state == OUTSIDE and f.where == IN_ROOT and takes_text(f):
                state = TEXT
                continue
            else:
                f.state = state
                f.fault_byte = x.p[i]
                return fail(f, UNEXPECTED, f.base + i, f.base + i)
            state = following
            i += 1
        else:
            state = following
            i += 1
        if (state == TEXT and f.depth > 1) or (state == OUTSIDE and f.where == IN_ROOT):
            break
    f.state = state
    x.at = i
    return NOTHING


# -- the fast way -------------------------------------------------------------------------------------------


cdef inline size_t next_mark(const uint64_t *row, size_t at, size_t size) noexcept nogil:
    """The place of the first mark at or after ``at``, or ``size`` or more."""
    cdef uint64_t found = marks(row, at)
    while not found:
        at += <size_t>SEEN
        if at >= size:
            return size
        found = marks(row, at)
    return at + count_trailing_zeros(found)


cdef inline size_t predefined(const uint8_t *p, size_t n) noexcept nogil:
    """The length of the reference to a predefined entity that ``p`` begins with, or 0."""
    if n >= 4 and p[3] == c';' and p[2] == c't' and (p[1] == c'l' or p[1] == c'g'):
        return 4
    if n >= 5 and p[4] == c';' and not memcmp(p + 1, b"amp", 3):
        return 5
    if n >= 6 and p[5] == c';' and (not memcmp(p + 1, b"quot", 4) or not memcmp(p + 1, b"apos", 4)):
        return 6
    return 0


# As many bytes of ones as a short name has begin NAME_SLACK minus its size before the middle.
cdef uint8_t ONES[2 * <size_t>NAME_SLACK]
memset(ONES, 0xFF, NAME_SLACK)


cdef inline bint same_bytes(const uint8_t *a, const uint8_t *b, size_t size) noexcept nogil:
    """Whether the first ``size`` of 16 bytes are alike: most names, without a branch or a call."""
    cdef uint64_t left[2]
    cdef uint64_t right[2]
    cdef uint64_t wanted[2]
    memcpy(left, a, 16)
    memcpy(right, b, 16)
    memcpy(wanted, ONES + (<size_t>NAME_SLACK - size), 16)
    return not ((left[0] ^ right[0]) & wanted[0] | (left[1] ^ right[1]) & wanted[1])


cdef inline bint same_name(const Place *f, const Piece *x, size_t start, size_t size) noexcept nogil:
    """Whether the name at index ``start`` is the innermost open element's; False too where that is cut in two."""
    cdef const uint8_t *opened
    cdef size_t room = x.n - start      # bytes that may be read behind the name's start
    cdef size_t name
    if f.checking is not NULL:
        opened = f.checking.letters + f.names[f.depth - 2]
    else:
        name = f.item + f.names[f.depth - 2]
        if name >= f.base:
            opened = x.p + (name - f.base)
        else:
            opened = f.held + (name - f.held_from)
            if f.base - name < size:
                return False
            room = min(room, f.base - name)
    if size <= <size_t>NAME_SLACK <= room:
        return same_bytes(opened, x.p + start, size)
    return not memcmp(opened, x.p + start, size)


cdef inline void judge_tag(Place *f, Piece *x, size_t tag, size_t end) noexcept nogil:
    """Has the scanner look for names in the start tag between two indices."""
    cdef size_t first = f.item - f.base
    cdef bint stop = False
    start_tag(&x.scanner, x.p + first, end - first, tag - first, True, &x.plan, &stop)


cdef void judge_text(Place *f, Piece *x, size_t start, size_t end) noexcept nogil:
    """The same for a text before a tag, where the text is a FORM_TYPE field's value."""
    cdef size_t first = f.item - f.base, at = start - first
    cdef bint stop = False
    while x.scanner.value and at <= end - first:
        at = value_text(&x.scanner, x.p + first, end - first + 2, at, True, &x.plan, &stop)


cdef inline size_t after_value(const Piece *x, const uint8_t *p, size_t k, size_t size, uint8_t quote) noexcept nogil:
    """The place after the quote that ends the value at ``k``, or ``size`` or more."""
    cdef size_t entity
    while True:
        k = next_mark(&x.masks[<size_t>VALUE_END * <size_t>ROW], k, size)
        if k >= size:
            return size
        if p[k] == quote:
            return k + 1
        if p[k] == c'<':
            return size
        if p[k] == c'&':
            entity = predefined(p + k, size - k)
            if not entity:
                return size
            k += entity
        else:       # the other quote
            k += 1


cdef inline size_t after_tag(const Piece *x, const uint8_t *p, size_t tag, size_t size, size_t *name, bint *empty,
                             bint *judged) noexcept nogil:
    """The place after the start tag at ``tag``, its name's end, and whether it may hold a namespace name.

    ``size`` or more where the tag is not whole, or not written in the usual way.
    """
    cdef const uint64_t *name_ends = &x.masks[<size_t>NAME_END * <size_t>ROW]
    cdef size_t k = next_mark(name_ends, tag + 1, size)
    cdef uint8_t quote
    empty[0] = judged[0] = False
    name[0] = k
    while k < size:
        if p[k] == c'>':
            return k + 1
        if p[k] == c'/':
            empty[0] = True
            return k + 2 if k + 1 < size and p[k + 1] == c'>' else <size_t>-1
        if not KIND[p[k]] & IS_SPACE or k + 1 >= size:
            break
        k += 1
        if KIND[p[k]] & IS_SPACE:
            k = next_mark(&x.masks[<size_t>NOT_SPACE * <size_t>ROW], k, size)
            if k >= size:
                break
        if not KIND[p[k]] & BEGINS_NAME:
            if p[k] != c'>' and p[k] != c'/':
                break
            continue
        k = next_mark(name_ends, k, size)
        if k + 3 >= size or p[k] != c'=':
            break
        quote = p[k + 1]
        if quote != c"'" and quote != c'"':
            break
        judged[0] = judged[0] or (x.fuse and may_be_name(p + k + 2))
        k = after_value(x, p, k + 2, size, quote)
    return <size_t>-1


cdef inline size_t next_tag(const Piece *x, const uint8_t *p, size_t *i, size_t size) noexcept nogil:
    """The place of the ``<`` after the text at ``i``, or ``size``; ``i`` is moved past what is surely text before that."""
    cdef size_t j = i[0], entity
    while True:
        if j >= size or p[j] != c'<':
            j = next_mark(&x.masks[<size_t>TEXT_END * <size_t>ROW], j, size)
        if j + 1 >= size:
            if size > i[0] + 3:
                i[0] = size - 3     # these may be "]]>", or become it with what comes
            return size
        if p[j] == c'<':
            i[0] = j
            return j
        if p[j] == c'&':
            entity = predefined(p + j, size - j)
            if not entity:
                i[0] = j
                return size
            j += entity
            i[0] = j
        elif j >= i[0] + 2 and p[j - 1] == c']' and p[j - 2] == c']':
            i[0] = j - 2
            return size
        else:
            j += 1


cdef Event fast(Place *f, Piece *x, size_t stop) noexcept nogil:
    """From tag to tag in a stanza's text, or between stanzas, as far as whole tags before index ``stop`` reach.

    Places in here count from the page's first byte; ``i`` moves only past what is done with.
    """
    cdef const uint8_t *p = x.p + x.page
    cdef const uint64_t *not_space = &x.masks[<size_t>NOT_SPACE * <size_t>ROW]
    cdef size_t i = x.at - x.page, text = i, page = stop - x.page, size = page, tag, after, length, name = 0
    cdef bint judged = False, empty = False
    cdef Event event
    while x.count < BATCH:
        if f.depth == 1:
            if i < size and p[i] != c'<':
                i = next_mark(not_space, i, size)
            if i + 1 >= size or p[i] != c'<':
                i = min(i, size)
                break
            tag = i
            f.item = f.base + x.page + tag
            size = min(page, tag + f.limit)
        else:
            tag = next_tag(x, p, &i, size)
            if f.whole and x.scanner.value:
                if tag >= size:
                    i = text    # the scanner wants all of it
                    break
                judge_text(f, x, x.page + text, x.page + tag)
            if tag >= size:
                break
            if p[tag + 1] == c'/':
                length = f.sizes[f.depth - 2]
                after = tag + 2 + length
                if (length == LONG_NAME or after >= size or p[after] != c'>'
                        or not same_name(f, x, x.page + tag + 2, length)):
                    break
                pop_name(f)
                i = text = after + 1
                if f.whole and x.scanner.frame_count:
                    close_element(&x.scanner)
                if f.depth == 1:
                    cut_stanza(f, x, x.page + i)
                    size = page
                continue
        if not KIND[p[tag + 1]] & BEGINS_NAME:
            break
        after = after_tag(x, p, tag, size, &name, &empty, &judged)
        if after > size:
            break
        if f.depth == 1:
            if name - tag > 6 and not memcmp(p + name - 6, STREAM, 6):
                break       # it may be a stream header
            x.cuts[x.count].first_finding = x.plan.count
            f.whole = x.fuse
            f.in_item = True
            if x.fuse:
                init_scanner(&x.scanner, x.scanner.scopes)
        if f.whole and (judged or x.scanner.frame_count):
            judge_tag(f, x, x.page + tag, x.page + after)
        i = text = after
        if not empty:
            event = push_name(f, x, f.base + x.page + tag + 1, name - tag - 1)
            if event != NOTHING:
                return event
        elif f.depth == 1:
            cut_stanza(f, x, x.page + i)
            size = page
    x.at = x.page + i
    f.state = OUTSIDE if f.depth == 1 else TEXT
    return STANZAS if x.count == BATCH else NOTHING


# -- both ---------------------------------------------------------------------------------------------------


cdef Event walk(Place *f, Piece *x) noexcept nogil:
    """On through the piece, to its end or to what Python must be told of."""
    cdef size_t stop, limit
    cdef bint may_be_fast = f.checking is NULL or f.limit >= <size_t>PAGE    # it does not measure tags
    cdef Event event
    while x.at < x.n:
        if x.at >= x.page + x.page_size:
            mark_page(f, x)
        limit = limit_index(f, x)
        stop = min(min(x.page + x.page_size, x.bad), limit)
        if x.at >= stop:
            return over_limit(f) if x.at == limit else bad_character(f, x)
        if may_be_fast and (f.state == TEXT or (f.state == OUTSIDE and f.where == IN_ROOT)):
            event = fast(f, x, stop)
            if event != NOTHING:
                return event
            if x.at == x.page + x.page_size:
                continue
            if stop == x.page + x.page_size and stop < x.n and x.at - x.page > <size_t>PAGE // 2:
                mark_page(f, x)     # what the fast way stopped at may be whole in a page that begins here
                continue
            stop = min(stop, limit_index(f, x))
            if x.at >= stop:
                continue
        event = careful(f, x, stop)
        if event != NOTHING:
            return event
    return NOTHING


# -- what is kept, and what is told ---------------------------------------------------------------------------


cdef void drop_held(Place *f) noexcept nogil:
    free(f.held)
    f.held = NULL
    f.held_room = 0


cdef void drop_names(Place *f) noexcept nogil:
    """Room for a few names and for a few letters is left."""
    if f.names != f.few:
        free(f.names)
        f.names = f.few
        f.sizes = f.few_sizes
        f.names_room = FEW
    if f.checking is not NULL and f.checking.letters != f.checking.few:
        free(f.checking.letters)
        f.checking.letters = f.checking.few
        f.checking.room = FEW_LETTERS


cdef bint hold_from(Place *f, Piece *x, size_t start) noexcept nogil:
    """Moves on to the next piece; keeps the bytes from ``start`` on. Bytes are held already only if it stands in them.

    False where there is no memory for them.
    """
    cdef uint8_t *grown
    cdef size_t before = 0, size = f.base + x.n - start, room
    if start < f.base:
        before = f.base - start
    else:
        drop_held(f)
    if size > f.held_room:
        room = max(size, min(2 * f.held_room, f.limit))
        grown = <uint8_t *>realloc(f.held, room)
        if grown is NULL:
            return False
        f.held = grown
        f.held_room = room
    if size:
        memcpy(f.held + before, x.p + x.n - (size - before), size - before)
    f.held_from = start
    f.base += x.n
    return True


cdef bint hold_markup(Place *f, Piece *x) noexcept nogil:
    cdef size_t start = open_markup(f)
    if start != NOT_FOUND:
        return hold_from(f, x, start)
    drop_held(f)
    f.base += x.n
    return True


cdef bytes bytes_between(Place *f, Piece *x, size_t start, size_t end):
    cdef uint8_t *dst
    result = new_bytes(end - start, &dst)
    copy_out(f, x.p, start, end, dst)
    return result


cdef bytes open_name(Place *f, Piece *x, size_t end):
    """The name of the innermost open element, whose letters end before ``end`` at the latest."""
    cdef size_t name
    if f.checking is not NULL:
        name = innermost(f)
        return PyBytes_FromStringAndSize(<const char *>f.checking.letters + name, f.checking.size - name)
    if f.depth == 1:
        return PyBytes_FromStringAndSize(<const char *>f.root, f.root_size)
    name = f.item + f.names[f.depth - 2]
    return bytes_between(f, x, name, name_end(f, x.p, name, end))


cdef object error_of(Place *f, Piece *x):
    cdef size_t start = f.fault_offset
    came = b""
    wanted = b""
    if f.fault == UNEXPECTED:
        return unexpected(f.state, f.fault_byte, f.where, start)
    if f.fault == STANZA_LIMIT or f.fault == HEADER_LIMIT or f.fault == MARKUP_LIMIT or f.fault == NAMES_LIMIT:
        wanted = f.limit
    elif f.fault == UTF_8 or f.fault == CHARACTER:
        came = PyBytes_FromStringAndSize(<const char *>f.sequence, f.sequence_size)
    elif f.fault == MISMATCH:
        came = bytes_between(f, x, start + 2, f.fault_end)
        wanted = open_name(f, x, start)
    elif f.fault_end > start:
        came = bytes_between(f, x, start, f.fault_end)
    return fault(f.fault, came, wanted, start)


cdef object error_of_end(Place *f):
    if f.state >= OPEN:
        return fault(UNFINISHED, b"", b"", f.reference if is_reference_in_text(f) else f.token)
    if f.where == BEFORE_ROOT:
        return fault(NO_ROOT, b"", b"", f.base)
    if f.depth > (1 if takes_restarts(f) else 0):
        return fault(OPEN_ELEMENT, b"", open_name(f, NULL, f.base), f.base)
    return None


cdef object error_of_declaration(Place *f, Piece *x):
    return declaration_fault(bytes_between(f, x, f.token, f.base + x.end), f.token)


# -- the object ---------------------------------------------------------------------------------------------

cdef dict DIRECTIONS = {None: 0, "encrypt": 1, "decrypt": -1}
cdef int ALL_BITS = scope_bits(Scope.ALL)


@cython.embedsignature(False)    # Cython would write the keywords as positional
cdef class StanzaStream:
    """One direction of an XMPP stream (RFC 6120) cut into its first-level elements, without building a tree.

    :param max_stanza: bytes that a stanza, the stream header or anything else held back may have, from 1 to
        4 294 967 295.
    :param restricted: True refuses what RFC 6120 section 11.1 forbids: comments, processing instructions, DTDs,
        entities other than the five predefined ones.
    :param transform: ``None`` gives the stanzas as they came; ``"encrypt"`` as :func:`xep419.encrypt` would make them,
        ``"decrypt"`` as :func:`xep419.decrypt` and then :func:`xep419.downgrade` would. The header stays as it came.
    """

    cdef Place place
    cdef int direction
    cdef bint busy
    cdef object error
    cdef object stream_header

    def __init__(self, *, max_stanza=262_144, restricted=True, transform=None):
        cdef bint restricts = restricted
        limit = operator.index(max_stanza)
        if not 1 <= limit < 1 << 32:
            raise ValueError(f"max_stanza must be from 1 to 4294967295, not {limit}")
        if transform is not None and not isinstance(transform, str):
            raise TypeError(f"transform must be 'encrypt', 'decrypt' or None, not {type(transform).__name__!r}")
        if transform not in DIRECTIONS:
            raise ValueError(f"transform must be 'encrypt', 'decrypt' or None, not {transform!r}")
        cdef int direction = DIRECTIONS[transform]
        error = self.error      # goes last: that may run Python
        self.check_idle()       # after all that may run Python
        self.drop()
        memset(&self.place, 0, sizeof(Place))
        self.drop()     # room for a few names
        self.place.limit = limit
        self.place.restricted = restricts
        self.direction = direction
        self.stream_header = None
        begin_document(&self.place)
        self.error = None

    def __dealloc__(self):
        drop_held(&self.place)
        drop_names(&self.place)

    def __reduce__(self):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def feed(self, data, /) -> list:
        """The stanzas that ``data`` completes; what it leaves open is held back until more comes.

        :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8); no reference to it is kept.
        :returns: each stanza's bytes exactly as they came, from ``<`` to ``>``, in order.
        :raises MalformedXMLError: the stream is not well-formed, as far as that is checked.
        :raises RestrictedXMLError: with ``restricted``, XML that RFC 6120 section 11.1 forbids.
        :raises LimitExceededError: more than ``max_stanza`` bytes came without the end of a stanza or of the header.
        :raises EncodingError: the stream is not in UTF-8.

        The error's ``stanzas`` are those that ``data`` completed before it. Every later call raises the same error,
        without them.
        """
        cdef Source source
        self.check_usable()
        self.busy = True    # before the buffer is asked for: that may run Python
        try:
            acquire(&source, data, "data")
        except BaseException:
            self.busy = False
            raise
        try:
            return self.cut(&source)
        finally:
            self.busy = False
            release(&source)

    def reset(self) -> None:
        """Begins a new document, as after a stream restart; what was held back is dropped.

        A restart that comes in the stream itself (an XML declaration or a stream header after a completed element)
        is taken as one without this.
        """
        self.check_usable()
        self.drop()
        self.stream_header = None
        begin_document(&self.place)

    @property
    def header(self) -> bytes | None:
        """The stream header: its bytes as they came, up to and including the stream's start tag; None before that."""
        return self.stream_header

    @property
    def closed(self) -> bool:
        """Whether the stream's end tag came."""
        return self.place.where == AFTER_ROOT

    @property
    def pending(self) -> bytes:
        """The bytes held back: the beginning of a stanza or of the header."""
        if not self.place.in_item or self.place.held is NULL or self.busy:
            return b""
        return PyBytes_FromStringAndSize(<const char *>self.place.held, self.place.base - self.place.item)

    cdef int check_idle(self) except -1:
        if self.busy:
            raise RuntimeError(f"this {type(self).__name__} is in use by another thread")
        return 0

    cdef int check_usable(self) except -1:
        self.check_idle()
        if self.error is not None:
            raise again(self.error)
        if not self.place.limit:
            raise RuntimeError(f"this {type(self).__name__} was never initialized")
        return 0

    cdef list cut(self, Source *source):
        cdef Place *f = &self.place
        cdef Piece x
        cdef Event event
        cdef bint freely = source.n >= GIL_RELEASE_BYTES
        cdef list stanzas = []
        x.p = source.data
        x.n = x.bad = source.n
        x.at = x.checked = x.page = x.page_size = x.count = x.end = x.plan.count = 0
        x.fuse = self.direction != 0
        f.whole = False
        if x.fuse:
            init_scanner(&x.scanner, ALL_BITS)
            init_plan(&x.plan)
        try:
            while True:
                if freely:
                    with nogil:
                        event = walk(f, &x)
                else:
                    event = walk(f, &x)
                if x.count:
                    self.collect(&x, stanzas)
                if event == NOTHING:
                    break
                if event == HEADER:
                    self.take_header(&x)
                elif event == XML_DECLARATION:
                    self.take_declaration(&x)
                elif event == FAILED:
                    raise error_of(f, &x)
                elif event == NO_MEMORY:
                    raise MemoryError("no memory for the open elements")
            self.hold(&x)
            return stanzas
        except BaseException as error:
            self.error = again(error)
            if isinstance(error, XEP419Error):
                error.stanzas = tuple(stanzas)
            self.drop()
            raise
        finally:
            if x.fuse:
                free_plan(&x.plan)

    cdef int collect(self, Piece *x, list stanzas) except -1:
        """Turns the batch into objects."""
        cdef Place *f = &self.place
        cdef Cut *cut
        cdef uint8_t *dst
        cdef uint8_t *joined
        cdef size_t i, size
        if x.fuse and x.plan.failed:
            raise MemoryError("no memory for the positions of the names")
        for i in range(x.count):
            cut = &x.cuts[i]
            size = cut.end - cut.start
            if not x.fuse:
                stanza = new_bytes(size, &dst)
                copy_out(f, x.p, cut.start, cut.end, dst)
            elif cut.start >= f.base:
                stanza = self.transformed(x, cut, x.p + (cut.start - f.base), size)
            else:
                joined = <uint8_t *>malloc(size)
                if joined is NULL:
                    PyErr_NoMemory()
                try:
                    copy_out(f, x.p, cut.start, cut.end, joined)
                    stanza = self.transformed(x, cut, joined, size)
                finally:
                    free(joined)
            stanzas.append(stanza)
        x.count = 0
        if x.fuse:
            free_plan(&x.plan)
            init_plan(&x.plan)
        return 0

    cdef object transformed(self, Piece *x, Cut *cut, const uint8_t *p, size_t size):
        cdef Plan plan
        cdef Scanner scanner
        cdef uint8_t *dst
        init_plan(&plan)
        if cut.whole:
            plan.items = x.plan.items + cut.first_finding
            plan.count = cut.findings
        else:
            init_scanner(&scanner, ALL_BITS)
            scan_names(&scanner, p, size, True, &plan)
        try:
            if plan.failed:
                raise MemoryError("no memory for the positions of the names")
            if self.direction > 0:
                result = new_bytes(size + letters_to_add(&plan), &dst)
                splice_up(dst, p, size, plan.items, plan.count, 2)
            else:
                result = new_bytes(size - bytes_to_take(p, &plan, True), &dst)
                splice_down(dst, p, size, &plan, 2)
            return result
        finally:
            if not cut.whole:
                free_plan(&plan)

    cdef int take_header(self, Piece *x) except -1:
        cdef Place *f = &self.place
        cdef size_t name = f.token + 1
        header = bytes_between(f, x, f.item, f.base + x.end)
        f.root_size = name_end(f, x.p, name, f.base + x.end) - name
        f.root = <const uint8_t *>PyBytes_AS_STRING(header) + (name - f.item)
        self.stream_header = header
        return 0

    cdef int take_declaration(self, Piece *x) except -1:
        cdef Place *f = &self.place
        self.stream_header = None
        error = error_of_declaration(f, x)
        if error is not None:
            raise error
        return 0

    cdef int hold(self, Piece *x) except -1:
        """Keeps what the piece began and did not end."""
        cdef Place *f = &self.place
        if f.in_item:
            if not hold_from(f, x, f.item):
                PyErr_NoMemory()
            return 0
        self.drop()
        f.base += x.n
        return 0

    cdef int drop(self) except -1:
        """Gives back the memory of an item that is done with."""
        drop_held(&self.place)
        drop_names(&self.place)
        return 0
