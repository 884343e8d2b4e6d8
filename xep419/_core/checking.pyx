"""``DocumentChecker`` and ``check_stanza``: the framer's walk where nothing is cut out, in memory that does not grow.

What is checked, and which error comes first, is ``framing.pyx``'s and its table's; here are only the objects around it.
No byte of an element is kept but the names of those that are open and the piece of markup that is being read.
"""

cimport cython
from libc.errno cimport errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import operator

from .buffers cimport GIL_RELEASE_BYTES, Source, acquire, release
from .cipher cimport fold_rounds, rotate
from .files cimport BLOCK, read_at, refused
from .framing cimport (
    FAILED, FEW, FEW_LETTERS, IN_ROOT, NO_MEMORY, NOTHING, STANZAS, XML_DECLARATION, Checking, Event, Piece, Place,
    begin_document, drop_held, drop_names, error_of, error_of_declaration, error_of_end, hold_markup, walk,
)

from .._grammar import again, not_a_stanza, not_alone

cdef size_t MOST_BYTES = 0xFFFFFFFF      # places among the letters of names have 32 bits


cdef void init_checking(Place *f, Checking *c, size_t limit) noexcept nogil:
    """Both are ready for a document. drop_held() and drop_names() must follow."""
    memset(f, 0, sizeof(Place))
    memset(c, 0, sizeof(Checking))
    f.limit = limit
    f.names = f.few
    f.sizes = f.few_sizes
    f.names_room = FEW
    f.checking = c
    c.letters = c.few
    c.room = FEW_LETTERS
    begin_document(f)


cdef void begin_piece(Piece *x, const uint8_t *p, size_t n) noexcept nogil:
    x.p = p
    x.n = x.bad = n
    x.at = x.checked = x.page = x.page_size = x.count = x.end = x.plan.count = 0
    x.fuse = False


cdef Event walk_over(Place *f, Piece *x):
    cdef Event event
    if x.n < GIL_RELEASE_BYTES:
        return walk(f, x)
    with nogil:
        event = walk(f, x)
    return event


cdef object error_after(Event event, Place *f, Piece *x):
    if event == NO_MEMORY:
        return MemoryError("no memory for the open elements")
    return error_of(f, x)


# Bytes [start, end) of a file are read next, into a block of BLOCK bytes, and rotated so many times.
cdef struct Reading:
    int source
    size_t start
    size_t end
    int rounds
    uint8_t *p
    int error           # of the system


@cython.embedsignature(False)    # Cython would write the keywords as positional
cdef class DocumentChecker:
    """Checks that an XML document that comes in pieces is well-formed, in constant memory; nothing of it is given back.

    What :class:`xep419.StanzaStream` checks with ``restricted=False`` is checked, with the same errors (docs/streams.md).

    :param max_markup: bytes that a tag, a reference or an XML declaration may have, and the names of all open elements
        together, from 1 to 4 294 967 295. Elements, comments and sections may be of any size.
    :param stream: False for one document: text may stand in the root, an element named ``stream`` is like any other.
        True for a recorded direction of an XMPP stream: text between stanzas is refused, a second XML declaration or
        stream header after a stanza begins a new document, and the recording may end before the stream's end tag.
    """

    cdef Place place
    cdef Checking checking
    cdef bint busy
    cdef object error

    def __init__(self, *, max_markup=1 << 20, stream=False):
        cdef bint restarts = stream
        limit = operator.index(max_markup)
        if not 1 <= limit <= MOST_BYTES:
            raise ValueError(f"max_markup must be from 1 to {MOST_BYTES}, not {limit}")
        error = self.error      # goes last: that may run Python
        self.check_idle()       # after all that may run Python
        self.drop()
        init_checking(&self.place, &self.checking, limit)
        self.checking.restarts = restarts
        self.checking.text = not restarts
        self.error = None

    def __dealloc__(self):
        self.drop()

    def __reduce__(self):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def feed(self, data, /) -> None:
        """Checks the bytes that come next.

        :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8); no reference to it is kept.
        :raises MalformedXMLError: the document is not well-formed.
        :raises LimitExceededError: a tag, a reference or the names of the open elements exceed ``max_markup``.
        :raises EncodingError: the document is not in UTF-8.

        The error's ``offset`` counts from the first byte of the object. Every later call raises the same error.
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
            self.check(&source)
        except BaseException as error:
            self.error = again(error)
            self.drop()
            raise
        finally:
            self.busy = False
            release(&source)

    def finalize(self) -> None:
        """Checks that the document may end here. The object takes no more after this.

        :raises MalformedXMLError: there is no root, or markup or an element is open (with ``stream``, one in the root);
            the offset is where the unfinished markup begins, or where the document ended.
        """
        self.check_usable()
        self.busy = True    # errors are made in Python, which lets other threads run
        try:
            error = error_of_end(&self.place)
            self.drop()
            self.error = again(error) if error is not None else ValueError(
                f"this {type(self).__name__} was finalized: make a new one for the next document"
            )
        finally:
            self.busy = False
        if error is not None:
            raise error

    @property
    def stanzas(self) -> int:
        """First-level elements completed so far, in all documents of a stream."""
        return self.checking.stanzas

    @property
    def boundary(self) -> int:
        """The offset just past the last completed first-level element, or past the root's start tag before one; else 0."""
        return self.checking.boundary

    @property
    def header(self) -> tuple[int, int] | None:
        """Where the current document begins, and the offset past its root's start tag; None before that has ended."""
        return (self.checking.header, self.checking.header_end) if self.checking.header_end else None

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

    cdef int check(self, Source *source) except -1:
        cdef Place *f = &self.place
        cdef Piece x
        cdef Event event
        begin_piece(&x, source.data, source.n)
        while True:
            event = walk_over(f, &x)
            if event == NOTHING:
                if not hold_markup(f, &x):
                    raise error_after(NO_MEMORY, f, &x)
                return 0
            self.answer(event, &x)

    cdef int answer(self, Event event, Piece *x) except -1:
        """What walk() stopped for: goes on behind an XML declaration, else raises the error."""
        if event != XML_DECLARATION:
            raise error_after(event, &self.place, x)
        self.checking.header_end = 0
        error = error_of_declaration(&self.place, x)
        if error is not None:
            raise error
        return 0

    cdef size_t check_file(self, Reading *r) except? 0:
        """:func:`check_file`: the bytes that were read."""
        cdef size_t start = r.start
        cdef Piece x
        cdef Event event
        self.check_usable()
        self.busy = True
        begin_piece(&x, r.p, 0)
        try:
            while True:
                with nogil:
                    event = self.check_blocks(r, &x)
                if r.error:
                    raise refused(r.error, r.source)
                if event == NOTHING:
                    return r.start - start
                self.answer(event, &x)
        except BaseException as error:
            self.error = again(error)
            self.drop()
            raise
        finally:
            self.busy = False

    cdef Event check_blocks(self, Reading *r, Piece *x) noexcept nogil:
        """From where the piece has come to, with those that follow."""
        cdef Event event
        cdef Py_ssize_t n
        while True:
            event = walk(&self.place, x)
            if event != NOTHING:
                return event
            if not hold_markup(&self.place, x):
                return NO_MEMORY
            n = 0
            if r.start < r.end:
                n = read_at(r.source, r.p, min(<size_t>BLOCK, r.end - r.start), r.start)
                if n < 0:
                    r.error = errno
                    return NOTHING
            begin_piece(x, r.p, n)
            if n == 0:
                return NOTHING
            rotate(r.p, r.p, n, r.rounds)
            r.start += n

    cdef int drop(self) except -1:
        drop_held(&self.place)
        drop_names(&self.place)
        return 0


def check_file(checker, int source, /, *, size_t start, size_t end, rounds=0) -> int:
    """Gives the checker bytes ``[start, end)`` of a file, or those up to its end.

    The same as ``feed()``, without a return to Python for every block.

    :param checker: a :class:`xep419.stream.DocumentChecker`.
    :param source: the descriptor of a file that can be read anywhere.
    :param rounds: rotations that come before all else.
    :returns: how many bytes were read: fewer than asked for where the file ended.
    :raises OSError: the system refused; ``filename`` is the descriptor.

    Other errors are those of ``feed()``.
    """
    cdef Reading r
    if not isinstance(checker, DocumentChecker):
        raise TypeError(f"checker must be a DocumentChecker, not {type(checker).__name__!r}")
    r.source = source
    r.start = start
    r.end = end
    r.rounds = fold_rounds(rounds)
    r.error = 0
    r.p = <uint8_t *>malloc(BLOCK)
    if r.p is NULL:
        raise MemoryError("no memory to read into")
    try:
        return (<DocumentChecker>checker).check_file(&r)
    finally:
        free(r.p)


cdef size_t next_letter(const uint8_t *p, size_t n, size_t at) noexcept nogil:
    """The index of the first byte at or after ``at`` that is no white space, or ``n``."""
    while at < n and (p[at] == c' ' or p[at] == c'\n' or p[at] == c'\r' or p[at] == c'\t'):
        at += 1
    return at


def check_stanza(data, /) -> None:
    """Checks that the bytes are one complete element, as an archive stores a stanza; white space may stand around it.

    Checked is what :class:`DocumentChecker` checks of an element in a root; prefixes need not be declared.

    :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8).
    :raises MalformedXMLError: it is not well-formed, not complete, or not alone.
    :raises EncodingError: it is not in UTF-8.
    """
    cdef Source source
    acquire(&source, data, "data")
    try:
        check_element(&source)
    finally:
        release(&source)


cdef inline bint may_begin(const uint8_t *p, size_t n, size_t start) noexcept nogil:
    """Whether a start tag may begin at ``start``."""
    return start < n and p[start] == c'<' and not (
        start + 1 < n and (p[start + 1] == c'!' or p[start + 1] == c'?' or p[start + 1] == c'/' or p[start + 1] == 0))


cdef inline void begin_element(Place *f, Checking *c, Piece *x, const uint8_t *p, size_t n, size_t start) noexcept nogil:
    """To walk to the end of the element that begins at ``start``; drop_names() must follow."""
    memset(f, 0, sizeof(Place))
    memset(c, 0, sizeof(Checking))
    init_checking(f, c, MOST_BYTES)
    f.where = IN_ROOT
    f.depth = c.single = 1
    begin_piece(x, p, n)
    x.at = start


cdef bint is_stanza(const uint8_t *p, size_t n) noexcept nogil:
    cdef Place f
    cdef Checking c
    cdef Piece x
    cdef size_t start = next_letter(p, n, 0)
    cdef bint ended
    if not may_begin(p, n, start):
        return False
    begin_element(&f, &c, &x, p, n, start)
    ended = walk(&f, &x) == STANZAS
    drop_names(&f)
    return ended and next_letter(p, n, x.at) == n


cdef int check_element(Source *source) except -1:
    cdef Place f
    cdef Checking c
    cdef Piece x
    cdef Event event
    cdef size_t start = next_letter(source.data, source.n, 0)
    if not may_begin(source.data, source.n, start):
        raise not_a_stanza(<bytes>source.data[start:min(start + 2, source.n)], start)
    begin_element(&f, &c, &x, source.data, source.n, start)
    event = walk_over(&f, &x)
    try:
        if event == STANZAS:
            start = next_letter(source.data, source.n, x.at)
            if start < source.n:
                raise not_alone(source.data[start], start)
        elif event == NOTHING:
            f.base += x.n
            raise error_of_end(&f)
        else:
            raise error_after(event, &f, &x)
    finally:
        drop_names(&f)
    return 0
