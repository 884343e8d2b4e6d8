"""The namespace scanner: where names stand in XML, by the scope table, for any bytes, in linear time.

Nothing else in the package knows how to find a name. It finds what ``_pure/scanner.py`` finds; ``docs/scanning.md``
states the rules. Two ways through a document:

* **search**, the usual one: a vector operation lists the candidates (a quote before a letter that can begin a
  value of interest, and the openings of sections that are never touched). The tag around a candidate begins at
  the last ``<`` before it: no ``<`` stands in a value or in text. The 64 bytes on either side of a candidate nearly
  always tell what it is; where they do not, its tag is read from the start, at most once. The look back stops behind
  the last value or tag, so every byte is passed over a bounded number of times.
* **walk**, tag by tag, inside an element whose end matters: a FORM_TYPE field (its value's text is a name) and an
  element that declares the namespace of entity capabilities (their ``c`` keeps its ``node``).

Positions only: no splicing, no Python object. Bytes may change under a scan (a shared ``bytearray``): every index is
checked against ``n`` and none is trusted because of what a byte said before.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

from . cimport isa
from .ops cimport (
    AFTER_END, ANY, APOS, BEFORE_GT, BEFORE_LT, BEFORE_OTHER, BEFORE_SAME, MASKS, NOT_FOUND, QUOT, SIDES,
)

from ..names import LONGEST_REGISTERED, REGISTERED, REGISTERED_NODES

cdef extern from *:
    int count_trailing_zeros "__builtin_ctzll"(unsigned long long mask) noexcept nogil
    int count_leading_zeros "__builtin_clzll"(unsigned long long mask) noexcept nogil
    bint is_odd "__builtin_parityll"(unsigned long long mask) noexcept nogil

cdef enum Section:
    CONTENT
    COMMENT
    CDATA
    PI
    DTD

cdef enum:
    SEARCH_WINDOW = 1 << 15     # bytes whose candidates are listed at once
    SEARCH_ROOM = 1024
    MAX_REGISTERED = 64         # no registered name is longer

# What a byte may be part of.
cdef enum:
    IS_SPACE = 1
    ENDS_NAME = 2       # white space / < > = ' "
    IS_TRIGGER = 4      # first byte of a value of interest
    IS_SECOND = 8       # its second byte

cdef uint8_t CLASS[256]


cdef void fill_classes() noexcept:
    for byte in b" \t\r\n":
        CLASS[byte] = IS_SPACE | ENDS_NAME
    for byte in b"/<>='\"":
        CLASS[byte] = ENDS_NAME
    for byte in b"hHuU&{F":
        CLASS[byte] |= IS_TRIGGER
    for byte in b"tTrRO&hHuU#":     # ht, ur, FO, {h, {u, &#, and a reference after the first letter
        CLASS[byte] |= IS_SECOND


fill_classes()

# -- findings -----------------------------------------------------------------------------------------------


cdef void init_plan(Plan *plan) noexcept nogil:
    plan.items = plan.few
    plan.count = 0
    plan.room = INLINE_FINDINGS
    plan.failed = False


cdef void free_plan(Plan *plan) noexcept nogil:
    if plan.items != plan.few:
        free(plan.items)
    plan.items = plan.few


cdef void grow(Plan *plan) noexcept nogil:
    """Doubles the room; without memory the plan fails, and its last finding makes place."""
    cdef Finding *grown
    if plan.items == plan.few:
        grown = <Finding *>malloc(2 * plan.room * sizeof(Finding))
        if grown is not NULL:
            memcpy(grown, plan.few, plan.count * sizeof(Finding))
    else:
        grown = <Finding *>realloc(plan.items, 2 * plan.room * sizeof(Finding))
    if grown is NULL:
        plan.failed = True
        plan.count -= 1
    else:
        plan.items = grown
        plan.room *= 2


cdef inline Finding *next_place(Plan *plan) noexcept nogil:
    """Where the next finding goes; it is one once it is counted."""
    if plan.count == plan.room:
        grow(plan)
    return &plan.items[plan.count]


# -- letters of a value -------------------------------------------------------------------------------------


cdef inline uint32_t digit(uint8_t byte) noexcept nogil:
    if c'0' <= byte <= c'9':
        return byte - c'0'
    if c'a' <= byte <= c'f':
        return byte - c'a' + 10
    if c'A' <= byte <= c'F':
        return byte - c'A' + 10
    return 99


cdef uint32_t reference(const uint8_t *p, size_t at, size_t end, size_t *after) noexcept nogil:
    """The code point of the character reference at ``p[at]``; of anything else, the byte that stands there."""
    cdef size_t i = at + 2, first
    cdef uint32_t code = 0, base = 10, value
    after[0] = at + 1
    if i >= end or p[at + 1] != c'#':
        return p[at]
    if p[i] == c'x':
        base = 16
        i += 1
    first = i
    while i < end:
        value = digit(p[i])
        if value >= base:
            break
        if code <= 0x10FFFF:
            code = code * base + value
        i += 1
    if i == first or i >= end or p[i] != c';' or code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return p[at]
    after[0] = i + 1
    return code


cdef inline uint32_t letter(const uint8_t *p, size_t at, size_t end, size_t *after) noexcept nogil:
    """One letter of a value: a byte, or a whole character reference."""
    if p[at] == c'&':
        return reference(p, at, end, after)
    after[0] = at + 1
    return p[at]


cdef inline uint32_t folded(uint32_t code) noexcept nogil:
    return code | 0x20 if c'A' <= code <= c'Z' else code


cdef bint match_letters(const uint8_t *p, size_t *at, size_t end, const char *scheme) noexcept nogil:
    cdef size_t i = 0
    while scheme[i]:
        if at[0] >= end or folded(letter(p, at[0], end, at)) != <uint8_t>scheme[i]:
            return False
        i += 1
    return True


cdef inline bint match_scheme(const uint8_t *p, size_t start, size_t end, Finding *found) noexcept nogil:
    """Whether the value at ``start`` is under one of the schemes; says where its mark is."""
    cdef bint http
    if start >= end:
        return False
    found.start = start
    found.end = end
    found.secure = False
    if end - start >= 9:    # what nearly all names are, told without a branch between the two
        http = not memcmp(p + start, b"http:", 5)
        if http | (not memcmp(p + start, b"urn:xmpp:", 9)):
            found.mark = found.mark_end = start + 8 - 4 * http
            return True
    return spell_scheme(p, start, end, found)


cdef bint spell_scheme(const uint8_t *p, size_t start, size_t end, Finding *found) noexcept nogil:
    """The same, letter by letter: capitals, references, secure names."""
    cdef size_t at = start, after = 0
    cdef uint32_t first, code
    first = folded(letter(p, start, end, &after))
    if first == c'h':
        if not match_letters(p, &at, end, b"http"):
            return False
    elif first == c'u':
        if not match_letters(p, &at, end, b"urn:xmpp"):
            return False
    else:
        return False
    if at >= end:
        return False
    found.mark = at
    code = letter(p, at, end, &after)
    if code == c':':
        found.mark_end = at
        return True
    if folded(code) == c's' and after < end:
        found.mark_end = after
        found.secure = True
        return letter(p, after, end, &at) == c':'
    return False


# -- registered names ---------------------------------------------------------------------------------------

cdef struct Registered:
    uint8_t size
    uint8_t node        # may stand in a node attribute
    uint8_t name[MAX_REGISTERED]

cdef enum:
    SLOTS = 1024    # a power of two, at least twice the names

cdef Registered *registered = NULL

# Whether any registered name has two such letters, hashed, third and fourth after its scheme's colon: the host's first
# two, and nearly all other software's URIs are out.
cdef bint REGISTERED_LETTERS[256]


cdef inline uint8_t letters_hash(uint8_t third, uint8_t fourth) noexcept nogil:
    return third ^ <uint8_t>(fourth << 3)


cdef inline uint32_t hash_step(uint32_t state, uint8_t byte) noexcept nogil:
    return (state ^ byte) * <uint32_t>16777619     # FNV-1a

cdef enum:
    HASH_START = 0x811C9DC5


cdef int fill_registered() except -1:
    global registered
    cdef uint32_t slot
    cdef uint8_t byte
    if LONGEST_REGISTERED > MAX_REGISTERED or len(REGISTERED) * 2 > SLOTS:
        raise ImportError("registry.tsv outgrew the scanner's table")
    registered = <Registered *>calloc(SLOTS, sizeof(Registered))
    if registered is NULL:
        raise MemoryError
    for name in REGISTERED:
        raw = name.encode()
        slot = HASH_START
        for byte in raw:
            slot = hash_step(slot, byte)
        slot &= SLOTS - 1
        while registered[slot].size:
            slot = (slot + 1) & (SLOTS - 1)
        registered[slot].size = <uint8_t>len(raw)
        registered[slot].node = name in REGISTERED_NODES
        memcpy(registered[slot].name, <const char *>raw, len(raw))
        tail = raw.removeprefix(b"http").removeprefix(b"urn:xmpp")
        if len(tail) >= 5:
            REGISTERED_LETTERS[letters_hash(tail[3], tail[4])] = True
    return 0


fill_registered()


cdef bint look_up(const uint8_t *name, size_t size, uint32_t slot, bint node) noexcept nogil:
    slot &= SLOTS - 1
    while registered[slot].size:
        if registered[slot].size == size and not memcmp(registered[slot].name, name, size):
            return registered[slot].node or not node
        slot = (slot + 1) & (SLOTS - 1)
    return False


cdef bint may_be_registered(const uint8_t *p, const Finding *found) noexcept nogil:
    """False for most names that are not registered; True for those that are spelled or end unusually."""
    cdef const uint8_t *tail = p + found.mark_end
    cdef size_t i
    if found.end - found.mark_end < 5:
        return True
    for i in range(5):
        if tail[i] == c'&' or tail[i] == c'#' or tail[i] == c'+':
            return True
    return REGISTERED_LETTERS[letters_hash(tail[3], tail[4])]


cdef bint is_registered(const uint8_t *p, const Finding *found, bint node) noexcept nogil:
    """Whether the insecure form of a name is registered, alone or before a ``#``.

    With ``node``, among the names for ``node`` attributes; else among all, and ``+notify`` may follow.
    """
    cdef uint8_t name[MAX_REGISTERED + 8]
    cdef size_t size = 0, i, at = found.start
    cdef uint32_t code, state = HASH_START
    cdef bint whole
    if not may_be_registered(p, found):
        return False
    while size < MAX_REGISTERED + 8:
        if at == found.mark:
            at = found.mark_end
        if at >= found.end:
            break
        code = letter(p, at, found.end, &at)
        name[size] = <uint8_t>code if code < 128 else 0xFF
        size += 1
    whole = at >= found.end
    if whole and not node and size >= 7 and not memcmp(&name[size - 7], b"+notify", 7):
        size -= 7
    for i in range(min(size, <size_t>MAX_REGISTERED) + 1):
        if (whole if i == size else name[i] == c'#') and look_up(name, i, state, node):
            return True
        if i < size:
            state = hash_step(state, name[i])
    return False


cdef bint is_known(const uint8_t *p, const Finding *found) noexcept nogil:
    return is_registered(p, found, False)


# -- tags ---------------------------------------------------------------------------------------------------

# The masks of 64 bytes of a tag, moved along as it is read.
cdef struct Window:
    size_t at
    uint64_t masks[<size_t>MASKS]


cdef inline size_t next_mark(const uint8_t *p, size_t n, Window *w, size_t at, int which) noexcept nogil:
    """The first byte at or after ``at`` that mask ``which`` marks, or ``n``."""
    cdef uint64_t mask
    while at < n:
        if at - w.at >= 64:
            isa.ops.tag_window(p, n, at, w.masks)
            w.at = at
        mask = w.masks[which] >> (at - w.at)
        if mask:
            return at + count_trailing_zeros(mask)
        at = w.at + 64
    return n


# What is gathered of one start tag while it is read.
cdef struct Binding:
    size_t start
    uint8_t size
    bint caps

cdef struct Tag:
    size_t start            # of "<"
    size_t name_end         # 0 until it is needed
    size_t local
    size_t first_finding
    bint form
    bint own_bound          # the tag binds its own prefix
    bint own_caps
    bint declares_caps
    size_t node_start       # the node attribute of an element named c, judged when the tag is known
    size_t node_end
    size_t binding_count
    Binding bindings[MAX_FRAMES]


cdef inline void init_tag(Tag *tag, size_t start, size_t first_finding) noexcept nogil:
    tag.start = start
    tag.first_finding = first_finding
    tag.name_end = tag.local = tag.node_start = tag.binding_count = 0
    tag.form = tag.own_bound = tag.own_caps = tag.declares_caps = False


cdef void read_name(const uint8_t *p, size_t n, Tag *tag) noexcept nogil:
    cdef size_t at = tag.start + 1
    tag.local = at
    while at < n and not CLASS[p[at]] & ENDS_NAME:
        at += 1
        if p[at - 1] == c':':
            tag.local = at
    tag.name_end = at


cdef inline bint local_is(const uint8_t *p, const Tag *tag, const char *name, size_t size) noexcept nogil:
    return tag.name_end - tag.local == size and not memcmp(p + tag.local, name, size)


cdef inline bint same(const uint8_t *a, size_t size, const char *b, size_t expected) noexcept nogil:
    return size == expected and not memcmp(a, b, expected)


cdef bint is_letters(const uint8_t *p, size_t start, size_t end, const char *expected) noexcept nogil:
    """Whether the value is exactly these letters, references resolved."""
    cdef size_t i = 0
    while expected[i]:
        if start >= end or letter(p, start, end, &start) != <uint8_t>expected[i]:
            return False
        i += 1
    return start == end


cdef inline void by_scheme(Scanner *s, const uint8_t *p, size_t start, size_t end, uint8_t kind, Plan *plan) noexcept nogil:
    cdef Finding *found
    if s.scopes & kind:
        found = next_place(plan)
        if match_scheme(p, start, end, found):
            found.kind = kind
            plan.count += 1


cdef void node_name(Scanner *s, const uint8_t *p, size_t start, size_t end, Plan *plan) noexcept nogil:
    cdef Finding *found = next_place(plan)
    cdef size_t after = 0
    if not (s.scopes & NODES and match_scheme(p, start, end, found)):
        return
    if folded(letter(p, start, end, &after)) != c'u' and not is_registered(p, found, True):
        return
    found.kind = NODES
    plan.count += 1


cdef void clark_name(Scanner *s, const uint8_t *p, size_t start, size_t end, Plan *plan) noexcept nogil:
    cdef size_t name = start, at, after = 0
    if not s.scopes & FIELDS or letter(p, start, end, &name) != c'{':
        return
    at = name
    while at < end:
        if letter(p, at, end, &after) == c'}':
            by_scheme(s, p, name, at, FIELDS, plan)
            return
        at = after


cdef inline bint is_caps_name(const uint8_t *p, size_t start, size_t end) noexcept nogil:
    """Whether the value is the namespace of XEP-0115, in either form; only references make it longer than 32."""
    cdef size_t size = end - start
    if size <= 32:
        return (same(p + start, size, b"http://jabber.org/protocol/caps", 31)
                or same(p + start, size, b"https://jabber.org/protocol/caps", 32))
    return memchr(p + start, c'&', size) is not NULL and (
        is_letters(p, start, end, b"http://jabber.org/protocol/caps")
        or is_letters(p, start, end, b"https://jabber.org/protocol/caps")
    )


cdef void bind(Scanner *s, const uint8_t *p, size_t n, Tag *tag, size_t prefix, size_t size, size_t start,
               size_t end) noexcept nogil:
    """Notes that the tag declares a namespace for a prefix (of no letters: the default): caps', or one that hides it."""
    cdef bint caps = is_caps_name(p, start, end)
    cdef size_t own
    if not tag.name_end:
        read_name(p, n, tag)
    own = tag.local - tag.start - 2 if tag.local > tag.start + 1 else 0
    if own == size and not memcmp(p + tag.start + 1, p + prefix, size):
        tag.own_bound = True
        tag.own_caps |= caps
    if size <= MAX_PREFIX and tag.binding_count < MAX_FRAMES:
        tag.bindings[tag.binding_count].start = prefix
        tag.bindings[tag.binding_count].size = <uint8_t>size
        tag.bindings[tag.binding_count].caps = caps
        tag.binding_count += 1
        tag.declares_caps |= caps


cdef inline bint is_plain_declaration(const uint8_t *p, size_t floor, size_t quote) noexcept nogil:
    """Whether the attribute is the most frequent of all, told without spelling its name."""
    return quote >= floor + 7 and not memcmp(p + quote - 6, b"xmlns=", 6) and CLASS[p[quote - 7]] & IS_SPACE


cdef void attribute(Scanner *s, const uint8_t *p, size_t n, Tag *tag, size_t floor, size_t quote, size_t end,
                    Plan *plan) noexcept nogil:
    """Judges the attribute whose value stands between ``quote`` and ``end`` by the scope table."""
    cdef size_t at = quote, name_end, size, start = quote + 1
    cdef const uint8_t *name
    cdef bint triggered = start < end and CLASS[p[start]] & IS_TRIGGER
    if is_plain_declaration(p, floor, quote):
        if triggered:
            by_scheme(s, p, start, end, DECLARATIONS, plan)
        if s.scopes & NODES and (s.bound or is_caps_name(p, start, end)):
            bind(s, p, n, tag, quote, 0, start, end)
        return
    while at > floor and CLASS[p[at - 1]] & IS_SPACE:
        at -= 1
    if at <= floor or p[at - 1] != c'=':
        return
    at -= 1
    while at > floor and CLASS[p[at - 1]] & IS_SPACE:
        at -= 1
    name_end = at
    while at > floor and not CLASS[p[at - 1]] & ENDS_NAME:
        at -= 1
    if at == tag.start + 1:
        return
    name = p + at
    size = name_end - at
    if size >= 5 and not memcmp(name, b"xmlns", 5):
        if size == 5:
            if triggered:
                by_scheme(s, p, start, end, DECLARATIONS, plan)
        elif name[5] == c':':
            if triggered and size > 6 and not same(name, size, b"xmlns:xml", 9):
                by_scheme(s, p, start, end, DECLARATIONS, plan)
        else:
            return
        if s.scopes & NODES and (s.bound or is_caps_name(p, start, end)):
            bind(s, p, n, tag, at + size if size == 5 else at + 6, 0 if size == 5 else size - 6, start, end)
        return
    if not triggered:
        return
    if same(name, size, b"node", 4):
        if not tag.name_end:
            read_name(p, n, tag)
        if not local_is(p, tag, b"c", 1):
            node_name(s, p, start, end, plan)
        elif not tag.node_start:
            tag.node_start = start
            tag.node_end = end
    elif same(name, size, b"var", 3):
        if not tag.name_end:
            read_name(p, n, tag)
        if local_is(p, tag, b"feature", 7):
            by_scheme(s, p, start, end, FEATURES, plan)
        elif local_is(p, tag, b"field", 5):
            if is_letters(p, start, end, b"FORM_TYPE"):
                tag.form = True
            else:
                clark_name(s, p, start, end, plan)
    elif same(name, size, b"namespace", 9) or same(name, size, b"for", 3) or same(name, size, b"reason", 6):
        if not tag.name_end:
            read_name(p, n, tag)
        if (local_is(p, tag, b"encryption", 10) if size == 9 else local_is(p, tag, b"fallback", 8) if size == 3
                else local_is(p, tag, b"report", 6)):
            by_scheme(s, p, start, end, REFERENCES, plan)


cdef bint may_be_name(const uint8_t *value) noexcept nogil:
    return CLASS[value[0]] & IS_TRIGGER and CLASS[value[1]] & IS_SECOND


cdef bint in_caps(Scanner *s, const uint8_t *prefix, size_t size) noexcept nogil:
    """Whether an enclosing element binds the prefix to the namespace of XEP-0115."""
    cdef size_t i = s.frame_count
    cdef Frame *frame
    while i > 0:
        i -= 1
        frame = &s.frames[i]
        if not frame.form and frame.prefix_size == size and not memcmp(frame.prefix, prefix, size):
            return frame.caps
    return False


cdef void judge_caps_node(Scanner *s, const uint8_t *p, Tag *tag, Plan *plan) noexcept nogil:
    """The node of an element named c: a name unless the element is entity capabilities'."""
    cdef size_t own = tag.local - tag.start - 2 if tag.local > tag.start + 1 else 0
    cdef size_t before = plan.count, i
    cdef Finding last
    if tag.own_caps if tag.own_bound else in_caps(s, p + tag.start + 1, own):
        return
    node_name(s, p, tag.node_start, tag.node_end, plan)
    if plan.count > before:     # it comes after findings that stand behind it
        last = plan.items[plan.count - 1]
        i = plan.count - 1
        while i > tag.first_finding and plan.items[i - 1].start > last.start:
            plan.items[i] = plan.items[i - 1]
            i -= 1
        plan.items[i] = last


cdef void push(Scanner *s, bint form, bint caps, const uint8_t *prefix, uint8_t size) noexcept nogil:
    cdef Frame *frame
    if s.frame_count == MAX_FRAMES:
        return
    frame = &s.frames[s.frame_count]
    frame.depth = s.depth
    frame.form = form
    frame.caps = caps
    frame.prefix_size = size
    memcpy(frame.prefix, prefix, size)
    s.frame_count += 1
    s.bound += not form


cdef void open_element(Scanner *s, const uint8_t *p, size_t n, Tag *tag) noexcept nogil:
    """Keeps account of an element that is not closed in its own tag."""
    cdef bint form = tag.form and s.scopes & FORM_TYPES
    cdef bint caps = s.bound or tag.declares_caps
    cdef bint in_form = False
    cdef size_t i
    if not (s.frame_count or form or caps):
        return
    if s.frame_count:
        in_form = s.frames[s.frame_count - 1].form and s.frames[s.frame_count - 1].depth == s.depth
    s.depth += 1
    if caps:
        for i in range(tag.binding_count):
            push(s, False, tag.bindings[i].caps, p + tag.bindings[i].start, tag.bindings[i].size)
    if form:
        push(s, True, False, p, 0)
    if in_form:
        if not tag.name_end:
            read_name(p, n, tag)
        s.value = local_is(p, tag, b"value", 5)


cdef void close_element(Scanner *s) noexcept nogil:
    if not s.frame_count:
        return
    while s.frame_count and s.frames[s.frame_count - 1].depth == s.depth:
        s.frame_count -= 1
        s.bound -= not s.frames[s.frame_count].form
    s.depth = s.depth - 1 if s.frame_count else 0


cdef size_t start_tag(Scanner *s, const uint8_t *p, size_t n, size_t at, bint final, Plan *plan,
                      bint *stop) noexcept nogil:
    """Reads the start tag at ``at`` and returns where it ends; quotes and angle brackets alone make its structure."""
    cdef Window w
    cdef Tag tag
    cdef size_t floor = at + 1, mark, end = 0
    cdef bint complete = False, closed = False
    init_tag(&tag, at, plan.count)
    w.at = at
    isa.ops.tag_window(p, n, at, w.masks)
    while True:
        mark = next_mark(p, n, &w, floor, ANY)
        if mark >= n:
            end = n
            break
        if p[mark] == c'>':
            end = mark + 1
            complete = True
            closed = mark > floor and p[mark - 1] == c'/'
            break
        if p[mark] == c'<':
            end = mark
            break
        end = next_mark(p, n, &w, mark + 1, APOS if p[mark] == c"'" else QUOT)
        if end >= n or p[end] == c'<':
            break
        if s.bound or CLASS[p[mark + 1]] & IS_TRIGGER:
            attribute(s, p, n, &tag, floor, mark, end, plan)
        floor = end + 1
    if end >= n and not complete and not final:
        s.hold = HOLD_TAG
        stop[0] = True
        plan.count = tag.first_finding
        return at
    if tag.node_start:
        judge_caps_node(s, p, &tag, plan)
    if (s.frame_count or tag.form or tag.declares_caps) and complete and not closed:
        open_element(s, p, n, &tag)
    return end


# -- sections that are never touched ------------------------------------------------------------------------


cdef size_t skip_to(Scanner *s, const uint8_t *p, size_t n, size_t at, int section, bint *stop) noexcept nogil:
    """Where the section that ends in ``-->``, ``]]>`` or ``?>`` ends, searching from ``at``."""
    cdef size_t i = at, tail = 1 if section == PI else 2
    cdef uint8_t before = c'?' if section == PI else c']' if section == CDATA else c'-'
    cdef const uint8_t *found
    while i < n:
        found = <const uint8_t *>memchr(p + i, c'>', n - i)
        if found is NULL:
            break
        i = found - p
        if i >= at + tail and p[i - 1] == before and p[i - tail] == before:
            return i + 1
        i += 1
    s.hold = HOLD_SHORT
    stop[0] = True
    return n - tail if n - at > tail else at


cdef size_t skip_dtd(Scanner *s, const uint8_t *p, size_t n, size_t at, bint *stop) noexcept nogil:
    cdef const uint8_t *found
    cdef uint8_t byte
    while at < n:
        if s.dtd_quote:
            found = <const uint8_t *>memchr(p + at, s.dtd_quote, n - at)
            if found is NULL:
                break
            s.dtd_quote = 0
            at = found - p + 1
            continue
        if s.dtd_inner != CONTENT:
            at = skip_to(s, p, n, at, s.dtd_inner, stop)
            if stop[0]:
                return at
            s.dtd_inner = CONTENT
            continue
        byte = p[at]
        if byte == c'<':
            if n - at < 2 or (p[at + 1] == c'!' and (n - at < 3 or (p[at + 2] == c'-' and n - at < 4))):
                s.hold = HOLD_SHORT
                stop[0] = True
                return at
            if p[at + 1] == c'?':
                s.dtd_inner = PI
                at += 1
            elif n - at >= 4 and p[at + 1] == c'!' and p[at + 2] == c'-' and p[at + 3] == c'-':
                s.dtd_inner = COMMENT
                at += 3
        elif byte == c'"' or byte == c"'":
            s.dtd_quote = byte
        elif byte == c'[':
            s.dtd_depth += 1
        elif byte == c']':
            s.dtd_depth -= s.dtd_depth > 0
        elif byte == c'>' and s.dtd_depth == 0:
            s.section = CONTENT
            return at + 1
        at += 1
    stop[0] = True
    return n


cdef size_t skip_section(Scanner *s, const uint8_t *p, size_t n, size_t at, bint *stop) noexcept nogil:
    if s.section == DTD:
        return skip_dtd(s, p, n, at, stop)
    at = skip_to(s, p, n, at, s.section, stop)
    if not stop[0]:
        s.section = CONTENT
    return at


cdef size_t open_section(Scanner *s, const uint8_t *p, size_t n, size_t at, bint final, bint *stop) noexcept nogil:
    """Enters the section at ``at``, where ``<!`` or ``<?`` stands."""
    cdef size_t left = n - at
    if p[at + 1] == c'?':
        s.section = PI
        return at + 2
    if left >= 4 and not memcmp(p + at, b"<!--", 4):
        s.section = COMMENT
        return at + 4
    if left >= 9 and not memcmp(p + at, b"<![CDATA[", 9):
        s.section = CDATA
        s.value = False
        return at + 9
    if not final and ((left < 4 and not memcmp(p + at, b"<!--", left))
                      or (left < 9 and not memcmp(p + at, b"<![CDATA[", left))):
        s.hold = HOLD_SHORT
        stop[0] = True
        return at
    s.section = DTD
    s.dtd_depth = 0
    s.dtd_quote = 0
    s.dtd_inner = CONTENT
    return at + 2


# -- the two ways through a document ------------------------------------------------------------------------


cdef size_t markup(Scanner *s, const uint8_t *p, size_t n, size_t at, bint final, Plan *plan,
                   bint *stop) noexcept nogil:
    """Passes over whatever the ``<`` at ``at`` begins."""
    cdef size_t end
    cdef uint8_t following
    if at + 1 >= n:
        s.hold = HOLD_SHORT
        stop[0] = True
        return at
    following = p[at + 1]
    if following == c'!' or following == c'?':
        return open_section(s, p, n, at, final, stop)
    if following == c'/':
        end = at + 2
        while end < n and p[end] != c'>' and p[end] != c'<':
            end += 1
        if end >= n:
            if final:
                return n
            s.hold = HOLD_TAG
            stop[0] = True
            return at
        if p[end] == c'<':
            return end
        close_element(s)
        return end + 1
    if CLASS[following] & ENDS_NAME:
        return at + 1
    return start_tag(s, p, n, at, final, plan, stop)


cdef inline Hold begins_with(const uint8_t *letters, size_t size, const char *scheme, size_t whole) noexcept nogil:
    if memcmp(letters, scheme, min(size, whole)):
        return HOLD_NOTHING
    return HOLD_SHORT if size < whole else HOLD_TEXT


cdef Hold text_waits_for(const uint8_t *p, size_t n, size_t at) noexcept nogil:
    """What text whose end has not come yet must be held for: an unfinished reference, a name or part of one."""
    cdef uint8_t letters[10]
    cdef size_t size = 0
    cdef uint32_t code
    while at < n and size < 10:
        if p[at] == c'&' and not memchr(p + at, c';', n - at):
            return HOLD_REFERENCE
        code = folded(letter(p, at, n, &at))
        letters[size] = <uint8_t>code if code < 128 else 0xFF
        size += 1
    return max(begins_with(letters, size, b"http:", 5), begins_with(letters, size, b"https:", 6),
               begins_with(letters, size, b"urn:xmpp:", 9), begins_with(letters, size, b"urn:xmpps:", 10))


cdef size_t value_text(Scanner *s, const uint8_t *p, size_t n, size_t at, bint final, Plan *plan,
                       bint *stop) noexcept nogil:
    """The text of a FORM_TYPE field's value, white space, comments and PIs before it passed over."""
    cdef size_t after = 0, end
    cdef uint32_t code
    cdef const uint8_t *lt
    cdef Finding *found
    while at < n and CLASS[p[at]] & IS_SPACE:
        at += 1
    if at == n:
        return at
    if p[at] == c'<':
        if at + 1 >= n:
            s.hold = HOLD_SHORT
            stop[0] = True
            return at
        if p[at + 1] != c'!' and p[at + 1] != c'?':
            s.value = False
            return at
        return open_section(s, p, n, at, final, stop)
    code = letter(p, at, n, &after)
    if code < 128 and CLASS[code] & IS_SPACE:
        return after
    lt = <const uint8_t *>memchr(p + at, c'<', n - at)
    if lt is NULL:
        end = n
        if not final:
            s.hold = HOLD_TEXT if n - at < SHORT_TEXT else text_waits_for(p, n, at)
            if s.hold != HOLD_NOTHING:
                stop[0] = True
                return at
    else:
        end = lt - p
    s.value = False
    found = next_place(plan)
    if match_scheme(p, at, end, found):
        while found.end > found.mark_end + 1 and CLASS[p[found.end - 1]] & IS_SPACE:
            found.end -= 1
        found.kind = FORM_TYPES
        plan.count += 1
    return end


# The candidates of a stretch of the document, kept while sections and walks interrupt the search.
cdef struct Listing:
    size_t base         # hits are offsets from here
    size_t end          # candidates before this place are listed
    size_t count
    size_t next
    uint32_t hits[SEARCH_ROOM]


cdef inline size_t next_candidate(Listing *listing, const uint8_t *p, size_t n, size_t at) noexcept nogil:
    """The first candidate at or after ``at``, or ``n``."""
    cdef size_t hit, searched = 0
    while True:
        while listing.next < listing.count:
            hit = listing.base + listing.hits[listing.next]
            listing.next += 1
            if hit >= at:
                return hit
        listing.base = listing.end if listing.end > at else at
        if listing.base + 1 >= n:
            return n
        listing.next = 0
        listing.count = isa.ops.candidates(p + listing.base, min(n - listing.base, <size_t>SEARCH_WINDOW),
                                           listing.hits, SEARCH_ROOM, &searched)
        listing.end = listing.base + searched


cdef enum Beside:
    UNCLEAR     # the tag must be read from its start
    TEXT        # or an end tag, or the text behind one
    VALUE       # the quote opens one

# A start tag that the search has judged a value of, and stands in behind it.
cdef struct Entered:
    size_t start            # NOT_FOUND: none
    size_t first_finding


cdef inline Beside look_beside(const uint8_t *p, size_t n, size_t at, size_t hit, size_t *tag,
                               size_t *end) noexcept nogil:
    """What the quote at ``hit`` is, if the 64 bytes before and after it tell plainly.

    ``tag`` is the start of the tag that ``at`` stands in, or NOT_FOUND; it becomes that of the tag that ``hit`` stands
    in. Plainly: quotes of one kind stand between, an even number of them, and no ``>``.
    """
    cdef uint64_t masks[<size_t>SIDES]
    cdef uint64_t seen = ~<uint64_t>0, lt, gt, same
    cdef size_t between = hit - at
    cdef int last
    if n < 64 or not hit:
        return UNCLEAR
    isa.ops.quote_sides(p, n, hit, masks)
    if between < 64:
        seen = ~(seen >> between)
    lt = masks[<size_t>BEFORE_LT] & seen
    if lt:
        last = 63 - count_leading_zeros(lt)
        tag[0] = hit - 64 + last
        if CLASS[p[tag[0] + 1]] & ENDS_NAME:    # an end tag's slash is one, too
            tag[0] = NOT_FOUND
            return TEXT
        seen = (~<uint64_t>1) << last
    elif between > 64:
        return UNCLEAR
    elif tag[0] == NOT_FOUND:
        return TEXT
    gt = masks[<size_t>BEFORE_GT] & seen
    same = masks[<size_t>BEFORE_SAME] & seen
    seen &= masks[<size_t>BEFORE_OTHER]
    if gt:
        if (same | seen) & (gt - 1) & ~gt:
            return UNCLEAR
        tag[0] = NOT_FOUND
        return TEXT
    if seen or is_odd(same) or not masks[<size_t>AFTER_END]:
        return UNCLEAR
    end[0] = hit + 1 + count_trailing_zeros(masks[<size_t>AFTER_END])
    return VALUE if p[end[0]] == p[hit] else UNCLEAR


cdef size_t search(Scanner *s, Listing *listing, const uint8_t *p, size_t n, size_t at, bint final, Plan *plan,
                   bint *stop) noexcept nogil:
    """From candidate to candidate, to the end or to where a section or an element with a frame begins.

    Most are judged by the bytes beside them alone. What those do not tell, and what makes the rest of its tag matter
    (a frame, a node whose element may be entity capabilities'), has the tag read as a whole, from its start.
    """
    cdef size_t hit, tag, end = 0
    cdef Beside beside
    cdef Entered entered
    cdef Tag judged
    entered.start = NOT_FOUND
    entered.first_finding = 0
    while True:
        hit = next_candidate(listing, p, n, at)
        if hit >= n:
            break
        if p[hit] == c'<':
            return open_section(s, p, n, hit, final, stop)
        if hit + 2 < n and not CLASS[p[hit + 2]] & IS_SECOND:
            continue    # spares most text its look back
        tag = entered.start
        beside = look_beside(p, n, at, hit, &tag, &end)
        if beside == VALUE:
            if tag != entered.start:
                entered.start = tag
                entered.first_finding = plan.count
                at = tag + 1
            if is_plain_declaration(p, at, hit):
                by_scheme(s, p, hit + 1, end, DECLARATIONS, plan)
                if not (s.scopes & NODES and is_caps_name(p, hit + 1, end)):
                    at = end + 1
                    continue
            else:
                init_tag(&judged, tag, plan.count)
                attribute(s, p, n, &judged, at, hit, end, plan)
                if not (judged.form or judged.declares_caps or judged.node_start):
                    at = end + 1
                    continue
        elif beside == TEXT:
            entered.start = tag
            at = hit + 1
            continue
        else:
            tag = isa.ops.last_lt(p, at, hit)
            if tag == NOT_FOUND:
                tag = entered.start
            else:
                entered.start = tag
                entered.first_finding = plan.count
            if tag == NOT_FOUND or CLASS[p[tag + 1]] & ENDS_NAME:
                entered.start = NOT_FOUND
                at = hit + 1
                continue
        entered.start = NOT_FOUND
        plan.count = entered.first_finding
        at = hit + 1
        tag = start_tag(s, p, n, tag, final, plan, stop)
        if stop[0] or s.frame_count:
            return tag
        if tag > at:
            at = tag
    if final:
        return n
    tag = isa.ops.last_lt(p, at, n)
    if tag == NOT_FOUND:
        if entered.start == NOT_FOUND:
            return n
        tag = entered.start
        plan.count = entered.first_finding
    at = markup(s, p, n, tag, final, plan, stop)
    return at if stop[0] or s.section != CONTENT or s.frame_count else n


cdef void init_scanner(Scanner *s, int scopes) noexcept nogil:
    s.scopes = scopes
    s.hold = HOLD_NOTHING
    s.section = CONTENT
    s.dtd_inner = CONTENT
    s.dtd_quote = 0
    s.dtd_depth = s.depth = s.frame_count = s.bound = 0
    s.value = False


cdef size_t scan_names(Scanner *s, const uint8_t *p, size_t n, bint final, Plan *plan) noexcept nogil:
    cdef size_t at = 0
    cdef bint stop = False
    cdef const uint8_t *lt
    cdef Listing listing
    listing.base = listing.end = listing.count = listing.next = 0
    s.hold = HOLD_NOTHING
    while at < n and not stop:
        if s.section != CONTENT:
            at = skip_section(s, p, n, at, &stop)
        elif s.value:
            at = value_text(s, p, n, at, final, plan, &stop)
        elif s.frame_count:
            lt = <const uint8_t *>memchr(p + at, c'<', n - at)
            if lt is NULL:
                at = n
            else:
                at = markup(s, p, n, lt - p, final, plan, &stop)
        else:
            at = search(s, &listing, p, n, at, final, plan, &stop)
    return n if final else at
