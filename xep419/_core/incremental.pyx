"""``Encryptor``, ``Decryptor`` and ``NamespaceCensus``: the scanner fed piece by piece, in constant memory.

What a piece leaves undecided (part of a tag, of a reference, of a section's opening) is held back and put before the
next piece. How far the held bytes were searched is remembered, so that any chunking costs linear time.
"""

cimport cython
from cpython.exc cimport PyErr_NoMemory
from libc.errno cimport errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memmove

import operator

from .buffers cimport ASCII, GIL_RELEASE_BYTES, UTF8, Source, acquire, new_bytes, release
from .census cimport Census, count_names, count_of, counts_of, found_of, free_census, init_census, places_of
from .cipher cimport fold_rounds, rotate, rotated
from .files cimport AT_END, BLOCK, ENOUGH, NO_ROOM, NOT_READ, NOT_WRITTEN, UNABLE, Stop, read_at, refused, write_at
from .namespaces cimport bytes_to_take, check_head, letters_to_add, scope_bits, splice_down, splice_up
from .scanner cimport (
    HOLD_REFERENCE, HOLD_TAG, HOLD_TEXT, SHORT_TEXT, Plan, Scanner, free_plan, init_plan, init_scanner, scan_names,
)

from .._encoding import HEAD_BYTES
from ..errors import LimitExceededError
from ..names import Scope, is_secure

cdef object ALL = Scope.ALL
cdef size_t HEAD_SIZE = HEAD_BYTES

cdef enum:
    FIRST_BYTES = 64
    # An empty buffer that grew past this is given back.
    KEPT_BYTES = 1 << 16


# From one file to another: the next bytes to be read are [start, end) of the source, rotated so many times before all
# else, and what comes of them is written to the target from `place` on.
cdef struct Copy:
    int source
    int target
    size_t start
    size_t end
    size_t place
    int rounds
    uint8_t *out
    size_t room
    int error           # of the system


cdef class _Incremental:
    """One document through the scanner and a splice; subclasses say which."""

    cdef Scanner scanner
    cdef int direction          # 1: letters added, -1: letters taken out, 0: rotation alone
    cdef int rounds
    cdef bint known_only
    cdef size_t max_markup
    cdef uint8_t *held          # bytes held back; never NULL after begin()
    cdef size_t held_size
    cdef size_t held_room
    cdef size_t offset          # input bytes before the held ones
    cdef bint started           # the encoding was looked at
    cdef bint busy
    cdef uint8_t quote          # HOLD_TAG: the quote that the held tag ends in, or 0
    cdef object error

    def __dealloc__(self):
        free(self.held)

    def __reduce__(self):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    cdef int begin(self, int direction, object rounds, object max_markup, object scope, bint known_only) except -1:
        """Ready for a document, whatever was before; ``error`` is left to be cleared, which may run Python, at the end."""
        limit = operator.index(max_markup)
        if limit < 1:
            raise ValueError(f"max_markup must be 1 or more, not {limit}")
        cdef size_t most = min(limit, <size_t>-1 >> 1)
        cdef int folded = fold_rounds(rounds)
        cdef int scopes = scope_bits(scope)
        self.check_idle()       # after all that may run Python
        self.reserve(FIRST_BYTES)
        self.direction = direction
        self.rounds = folded
        self.max_markup = most
        self.known_only = known_only
        self.held_size = self.offset = 0
        self.started = False
        self.quote = 0
        init_scanner(&self.scanner, scopes)
        return 0

    def update(self, data, /) -> bytes:
        """The output that ``data`` completes; what it leaves open is held back until more comes.

        :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8); no reference to it is kept.
        :raises LimitExceededError: a tag or name is longer than ``max_markup`` bytes.
        :raises EncodingError: the document is in UTF-16 or UTF-32.
        """
        return self.take(data)

    def finalize(self) -> bytes:
        """The rest of the output: bytes held back come as they would at the end of the document.

        The object is done with after this.
        """
        return self.end()

    cdef object take(self, object data):
        cdef Source source
        self.check_usable()
        self.busy = True    # before the buffer is asked for: that may run Python
        try:
            acquire(&source, data, "data")
        except BaseException:
            self.busy = False
            raise
        try:
            if not self.direction:
                return self.rotate_only(&source)
            if self.direction > 0 and not self.held_size and (self.started or source.n >= HEAD_SIZE):
                return self.advance(source.data, source.n, False)
            self.hold(&source)
            if self.waits(source.n):
                self.check_limit(self.held_size, self.offset)
                return b""
            return self.advance(self.held, self.held_size, False)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.busy = False
            release(&source)

    cdef object end(self):
        self.check_usable()
        rest = b""
        self.busy = True
        try:
            if self.direction:
                rest = self.advance(self.held, self.held_size, True)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.busy = False
        self.error = ValueError(f"this {type(self).__name__} was finalized: make a new one for the next document")
        return rest

    cdef int check_usable(self) except -1:
        if self.error is not None:
            raise self.error
        return self.check_begun()

    cdef int check_begun(self) except -1:
        self.check_idle()
        if self.held is NULL:
            raise RuntimeError(f"this {type(self).__name__} was never initialized")
        return 0

    cdef int check_idle(self) except -1:
        if self.busy:
            raise RuntimeError(f"this {type(self).__name__} is in use by another thread")
        return 0

    cdef object rotate_only(self, Source *source):
        cdef uint8_t *dst
        result = new_bytes(source.n, &dst)
        if source.n >= GIL_RELEASE_BYTES:
            with nogil:
                rotate(dst, source.data, source.n, self.rounds)
        else:
            rotate(dst, source.data, source.n, self.rounds)
        return result

    cdef int hold(self, Source *source) except -1:
        """Puts the piece behind the held bytes; a piece to be decrypted is rotated first."""
        self.reserve(self.held_size + source.n)
        rotate(self.held + self.held_size, source.data, source.n, self.rounds if self.direction < 0 else 0)
        self.held_size += source.n
        return 0

    cdef int reserve(self, size_t size) except -1:
        if not self.makes_room(size):
            PyErr_NoMemory()
        return 0

    cdef bint makes_room(self, size_t size) noexcept nogil:
        """Whether there is memory to hold so many bytes."""
        cdef uint8_t *grown
        if size > self.held_room:
            size = max(size, 2 * self.held_room)
            grown = <uint8_t *>realloc(self.held, size)
            if grown is NULL:
                return False
            self.held = grown
            self.held_room = size
        return True

    cdef bint waits(self, size_t added) noexcept nogil:
        """Whether the held bytes are still unfinished; looks at the ``added`` last ones only."""
        cdef const uint8_t *piece = self.held + self.held_size - added
        if self.scanner.hold == HOLD_TAG:
            return not self.reaches_end(piece, added)
        if self.scanner.hold == HOLD_REFERENCE:
            return memchr(piece, c';', added) is NULL and memchr(piece, c'<', added) is NULL
        if self.scanner.hold == HOLD_TEXT:
            # shorter text is looked at again; longer text was, and begins with a name or part of one
            return self.held_size - added >= SHORT_TEXT and memchr(piece, c'<', added) is NULL
        return not self.started and self.held_size < HEAD_SIZE

    cdef bint reaches_end(self, const uint8_t *piece, size_t n) noexcept nogil:
        """Whether the piece brings the end of the tag that the held bytes begin with."""
        cdef bint end_tag = self.held[1] == c'/'
        cdef const uint8_t *piece_end = piece + n
        cdef uint8_t byte
        while piece < piece_end:
            byte = piece[0]
            if byte == c'<' or (byte == c'>' and not self.quote):
                return True
            if self.quote:
                if byte == self.quote:
                    self.quote = 0
            elif not end_tag and (byte == c'"' or byte == c"'"):
                self.quote = byte
            piece += 1
        return False

    cdef object advance(self, const uint8_t *p, size_t n, bint final):
        """Scans ``p[0, n)``, gives what it decides, holds the rest; ``p`` is the piece or the held bytes."""
        cdef Plan plan
        cdef size_t done
        cdef bint freely = n >= GIL_RELEASE_BYTES
        if not self.started:
            check_head(p, n)
            self.started = True
        init_plan(&plan)
        try:
            if freely:
                with nogil:
                    done = scan_names(&self.scanner, p, n, final, &plan)
            else:
                done = scan_names(&self.scanner, p, n, final, &plan)
            if plan.failed:
                raise MemoryError("no memory for the positions of the names")
            self.check_limit(n - done, self.offset + done)
            result = self.spliced(p, done, &plan, freely)
        finally:
            free_plan(&plan)
        self.keep(p + done, n - done)
        self.offset += done
        return result

    cdef object spliced(self, const uint8_t *p, size_t n, Plan *plan, bint freely):
        cdef uint8_t *dst
        if self.direction > 0:
            result = new_bytes(n + letters_to_add(plan), &dst)
            if freely:
                with nogil:
                    splice_up(dst, p, n, plan.items, plan.count, self.rounds)
            else:
                splice_up(dst, p, n, plan.items, plan.count, self.rounds)
        else:
            result = new_bytes(n - bytes_to_take(p, plan, self.known_only), &dst)
            if freely:
                with nogil:
                    splice_down(dst, p, n, plan, 0)
            else:
                splice_down(dst, p, n, plan, 0)
        return result

    cdef int keep(self, const uint8_t *rest, size_t size) except -1:
        """Holds back ``rest``, which may stand in the held bytes."""
        cdef uint8_t *shrunk
        if size and not self.held_size:
            self.reserve(size)
        self.hold_rest(rest, size)
        if not size and self.held_room > KEPT_BYTES:
            shrunk = <uint8_t *>realloc(self.held, FIRST_BYTES)
            if shrunk is not NULL:
                self.held = shrunk
                self.held_room = FIRST_BYTES
        return 0

    cdef void hold_rest(self, const uint8_t *rest, size_t size) noexcept nogil:
        """Holds back ``rest``, for which there is room."""
        if size:
            memmove(self.held, rest, size)
        self.held_size = size
        self.quote = 0
        if self.scanner.hold == HOLD_TAG:
            self.reaches_end(self.held + 1, size - 1)

    cdef bint is_too_long(self, size_t size) noexcept nogil:
        """Whether so many held bytes are more than a tag or name may have."""
        return size > self.max_markup and self.scanner.hold >= HOLD_REFERENCE

    cdef int check_limit(self, size_t size, size_t start) except -1:
        if self.is_too_long(size):
            raise LimitExceededError(
                f"a tag or name of at most {self.max_markup} bytes is expected, but {size} bytes came without its end",
                offset=start,
            )
        return 0


cdef size_t places_to_keep(object places) except? 0:
    """As many as asked for; the bound keeps a census of the most names within a gigabyte."""
    wanted = operator.index(places)
    if not 0 <= wanted <= 1000:
        raise ValueError(f"places must be 0 to 1000, not {wanted}")
    return wanted


@cython.embedsignature(False)    # Cython would write the keywords as positional
cdef class NamespaceCensus(_Incremental):
    """Counts the namespace names of a document that comes in pieces of any size, in bounded memory.

    :param scope: the positions to count in.
    :param max_markup: as for :class:`xep419.Encryptor`.
    :param places: how many places of each name are kept, 0 to 1000.

    Up to 65 536 names are told apart, by their bytes, kind and scheme, each of up to 1024 bytes; any more are counted
    in ``overflow`` (and in ``insecure`` or ``secure``) alone. Given to an Encryptor, it counts what that upgrades.
    """

    cdef Census table
    cdef size_t whole       # bytes of the documents given whole
    cdef bint counts_for_other

    def __init__(self, *, scope=ALL, max_markup=1 << 20, places=0):
        cdef Census table
        error = self.error      # goes last: that may run Python
        init_census(&table, places_to_keep(places))
        try:
            self.begin(1, 0, max_markup, scope, True)
        except BaseException:
            free_census(&table)
            raise
        free_census(&self.table)
        self.table = table
        self.whole = 0
        self.error = None

    def __dealloc__(self):
        free_census(&self.table)

    def update(self, data, /) -> None:
        """Counts the names that ``data`` completes.

        :param data: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8); no reference to it is kept.
        :raises LimitExceededError: a tag or name is longer than ``max_markup`` bytes.
        :raises EncodingError: the document is in UTF-16 or UTF-32.
        """
        if self.counts_for_other:
            raise RuntimeError("this NamespaceCensus counts what an Encryptor upgrades: feed that")
        self.take(data)

    def finalize(self) -> None:
        """Counts what was held back as it would be at the end of the document. The counts stay."""
        self.end()

    def count(self, documents, /) -> None:
        """Counts the names of whole documents, each by itself; a document that :meth:`update` has begun goes on after.

        :param documents: an iterable of such data as :meth:`update` takes.
        :raises EncodingError: one is in UTF-16 or UTF-32; those before it are counted.
        """
        self.check_usable()
        self.busy = True
        try:
            for document in documents:
                self.count_whole(document)
        finally:
            self.busy = False

    @property
    def insecure(self) -> int:
        """How many names so far were insecure: the letters that an upgrade adds."""
        return self.table.insecure

    @property
    def secure(self) -> int:
        """How many names so far were secure."""
        return self.table.secure

    @property
    def overflow(self) -> int:
        """How many of them are not in ``counts()``: too long, or different from too many others."""
        return self.table.overflow

    def counts(self) -> dict:
        """How often each name came so far, in order of first appearance.

        :returns: counts by (name with its references resolved, kind, whether it is secure).
        """
        self.check_begun()
        self.busy = True    # keys are made in Python, which lets other threads run
        try:
            return counts_of(&self.table)
        finally:
            self.busy = False

    def places(self) -> dict:
        """The first places of each name: byte offsets in what came by update(), ascending.

        Those in documents given to count() go on from one document to the next, as if these were joined.

        :returns: lists by the keys of :meth:`counts`, of at most as many as ``places`` asked for.
        """
        self.check_begun()
        self.busy = True    # as in counts()
        try:
            return places_of(&self.table)
        finally:
            self.busy = False

    def found(self, source, /) -> tuple:
        """:meth:`counts` and :meth:`places` at once, in less time.

        :param source: what was read, for the places.
        :returns: the counts, and the places as tuples of :class:`xep419.names.Place`, by the same keys.
        """
        self.check_begun()
        self.busy = True    # as in counts()
        try:
            return found_of(&self.table, source)
        finally:
            self.busy = False

    def count_of(self, name, kind, /) -> int:
        """How often one name came so far, as it is written here: without references.

        :param kind: one member of :class:`xep419.Scope`.
        """
        cdef bytes raw = name.encode("utf-8", "surrogateescape")
        cdef uint8_t bits = scope_bits(kind)
        cdef bint secure = is_secure(name)
        self.check_begun()      # after all that may run Python
        return count_of(&self.table, <const uint8_t *><const char *>raw, len(raw), bits, secure)

    cdef object spliced(self, const uint8_t *p, size_t n, Plan *plan, bint freely):
        self.count_plan(p, self.offset, plan, freely)

    cdef int count_whole(self, object document) except -1:
        cdef Source source
        cdef Plan plan
        cdef Scanner scanner
        cdef bint freely
        acquire(&source, document, "a document")
        init_plan(&plan)
        try:
            freely = source.n >= GIL_RELEASE_BYTES
            if source.form != ASCII and source.form != UTF8:
                check_head(source.data, source.n)
            init_scanner(&scanner, self.scanner.scopes)
            if freely:
                with nogil:
                    scan_names(&scanner, source.data, source.n, True, &plan)
            else:
                scan_names(&scanner, source.data, source.n, True, &plan)
            if plan.failed:
                raise MemoryError("no memory for the positions of the names")
            self.count_plan(source.data, self.whole, &plan, freely)
            self.whole += source.n
            return 0
        finally:
            free_plan(&plan)
            release(&source)

    cdef int count_plan(self, const uint8_t *p, size_t base, const Plan *plan, bint freely) except -1:
        if freely:
            with nogil:
                count_names(&self.table, p, base, plan)
        else:
            count_names(&self.table, p, base, plan)
        if self.table.failed:
            raise MemoryError("no memory for the names")
        return 0

    cdef int count_for_other(self, const uint8_t *p, size_t base, const Plan *plan, bint freely) except -1:
        self.check_begun()
        self.busy = True
        try:
            return self.count_plan(p, base, plan, freely)
        finally:
            self.busy = False


@cython.embedsignature(False)    # Cython would write the keywords as positional
cdef class Encryptor(_Incremental):
    """:func:`xep419.encrypt` for a document that comes in pieces of any size, in constant memory.

    :param upgrade: False leaves the namespaces as they are.
    :param rounds: rotations, 0 or more; with 0 it upgrades only.
    :param max_markup: bytes that a tag (or a FORM_TYPE value's name) may have; more is a LimitExceededError.
    :param scope: the positions to upgrade.
    :param census: a :class:`xep419.namespaces.NamespaceCensus` that counts the names found here, in the same scan. It
        may count for one Encryptor after another, but not for two threads at a time, and is fed by them alone.
    """

    cdef NamespaceCensus census

    def __init__(self, *, upgrade=True, rounds=2, max_markup=1 << 20, scope=ALL, census=None):
        cdef int direction = 1 if upgrade else 0
        if census is not None:
            if not isinstance(census, NamespaceCensus):
                raise TypeError(f"census must be a NamespaceCensus or None, not {type(census).__name__!r}")
            if not direction:
                raise ValueError("census needs upgrade=True: without it no names are looked for")
        before = self.error, self.census    # go last: that may run Python
        self.begin(direction, rounds, max_markup, scope, True)
        self.census = census
        if census is not None:
            self.census.counts_for_other = True
        self.error = None

    cdef object spliced(self, const uint8_t *p, size_t n, Plan *plan, bint freely):
        if self.census is not None:
            self.census.count_for_other(p, self.offset, plan, freely)
        return _Incremental.spliced(self, p, n, plan, freely)

    cdef tuple copy(self, Copy *c):
        """:func:`recode_file`; ``c`` says from where to where."""
        cdef size_t start = c.start, place = c.place
        cdef Census *table = NULL
        cdef Stop stop
        self.check_usable()
        if self.direction <= 0 or not self.started:
            raise ValueError("encryptor must be one that upgrades, and has begun its document by update()")
        if self.census is not None:
            self.census.check_begun()
            table = &self.census.table
            self.census.busy = True
        self.busy = True
        try:
            with nogil:
                stop = self.copy_blocks(c, table)
                free(c.out)
            if stop == NOT_READ or stop == NOT_WRITTEN:
                raise refused(c.error, c.source if stop == NOT_READ else c.target)
            if stop == NO_ROOM:
                raise MemoryError("no memory for the names or what is written of them")
            self.check_limit(self.held_size, self.offset)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.busy = False
            if self.census is not None:
                self.census.busy = False
        return c.start - start, c.place - place

    cdef Stop copy_blocks(self, Copy *c, Census *table) noexcept nogil:
        cdef Plan plan
        cdef Stop stop = ENOUGH
        init_plan(&plan)
        while stop == ENOUGH and c.start < c.end:
            stop = self.copy_block(c, &plan, table)
        free_plan(&plan)
        return stop

    cdef Stop copy_block(self, Copy *c, Plan *plan, Census *table) noexcept nogil:
        cdef Py_ssize_t n
        cdef size_t done, size, wanted = min(<size_t>BLOCK, c.end - c.start)
        if not self.makes_room(self.held_size + wanted):
            return NO_ROOM
        n = read_at(c.source, self.held + self.held_size, wanted, c.start)
        if n < 0:
            c.error = errno
            return NOT_READ
        if n == 0:
            return AT_END
        rotate(self.held + self.held_size, self.held + self.held_size, n, c.rounds)
        c.start += n
        self.held_size += n
        if self.waits(n):
            return UNABLE if self.is_too_long(self.held_size) else ENOUGH
        plan.count = 0
        done = scan_names(&self.scanner, self.held, self.held_size, False, plan)
        if plan.failed:
            return NO_ROOM
        if self.is_too_long(self.held_size - done):
            self.offset += done
            self.hold_rest(self.held + done, self.held_size - done)
            return UNABLE
        if table is not NULL:
            count_names(table, self.held, self.offset, plan)
            if table.failed:
                return NO_ROOM
        size = done + letters_to_add(plan)
        if size > c.room:
            free(c.out)
            c.room = size + (size >> 4)
            c.out = <uint8_t *>malloc(c.room)
            if c.out is NULL:
                return NO_ROOM
        splice_up(c.out, self.held, done, plan.items, plan.count, self.rounds)
        c.error = write_at(c.target, c.out, size, c.place)
        if c.error:
            return NOT_WRITTEN
        c.place += size
        self.offset += done
        self.hold_rest(self.held + done, self.held_size - done)
        return ENOUGH


@cython.embedsignature(False)    # Cython would write the keywords as positional
cdef class Decryptor(_Incremental):
    """:func:`xep419.decrypt` for a document that comes in pieces of any size, in constant memory.

    :param downgrade: True makes the namespaces insecure again, after the rotations.
    :param rounds: the rotations that encrypted the document, 0 or more.
    :param max_markup: as for :class:`Encryptor`; used with ``downgrade`` only.
    :param scope: the positions to downgrade.
    :param known_only: as for :func:`xep419.downgrade`.
    """

    def __init__(self, *, downgrade=False, rounds=2, max_markup=1 << 20, scope=ALL, known_only=True):
        error = self.error      # goes last: that may run Python
        self.begin(-1 if downgrade else 0, rounds, max_markup, scope, known_only)
        self.error = None


def recode_file(encryptor, int source, int target, /, *, size_t start, size_t end, size_t place, rounds=0) -> tuple:
    """Reads bytes ``[start, end)`` of a file, or those up to its end, and writes what the Encryptor makes of them.

    The same as ``update()`` with a write to ``target``, without a return to Python for every block.

    :param encryptor: an :class:`xep419.Encryptor` that upgrades, and was given the document's first 64 bytes at least.
    :param source: the descriptor of a file that can be read anywhere; ``target``, of one that can be written anywhere.
    :param place: the offset where writing begins.
    :param rounds: rotations that come before all else.
    :returns: how many bytes were read, and how many written; read were fewer than asked for where the file ended.
    :raises OSError: the system refused; ``filename`` is the descriptor.
    :raises LimitExceededError: as from ``update()``.
    """
    cdef Copy c
    if not isinstance(encryptor, Encryptor):
        raise TypeError(f"encryptor must be an Encryptor, not {type(encryptor).__name__!r}")
    c.source = source
    c.target = target
    c.start = start
    c.end = end
    c.place = place
    c.rounds = fold_rounds(rounds)
    c.out = NULL
    c.room = 0
    c.error = 0
    return (<Encryptor>encryptor).copy(&c)
