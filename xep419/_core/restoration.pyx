"""``match_upgraded``: the proof that an upgrade lost nothing, byte by byte beside its input.

It is an oracle of the scanner and the splices and shares no code with them: it knows no XML, only that an upgrade puts
in single letters ``s``, each between a scheme's last letter and its colon, and changes nothing else. Bytes may change
under it (a shared ``bytearray``): no index is trusted because of a byte.
"""

from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import operator

from .buffers cimport GIL_RELEASE_BYTES, Source, acquire, release
from .cipher cimport fold_rounds, rotate
from .files cimport AT_END, BLOCK, ENOUGH, NOT_READ, UNABLE, Stop, read_at, refused

from ..errors import RestorationError

cdef enum:
    WORD = 8
    STEP = 32   # four of them

# How far two buffers were compared, and what was found there.
cdef struct Match:
    size_t original
    size_t upgraded
    size_t letters
    bint differs


cdef inline bint same_step(const uint8_t *a, const uint8_t *b) noexcept nogil:
    cdef uint64_t left[4]
    cdef uint64_t right[4]
    memcpy(left, a, STEP)
    memcpy(right, b, STEP)
    return not ((left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3]))


cdef inline bint same_word(const uint8_t *a, const uint8_t *b) noexcept nogil:
    cdef uint64_t left
    cdef uint64_t right
    memcpy(&left, a, WORD)
    memcpy(&right, b, WORD)
    return left == right


cdef inline size_t same_bytes(const uint8_t *a, const uint8_t *b, size_t n) noexcept nogil:
    """How many of the first ``n`` bytes are alike before the first that are not."""
    cdef size_t i = 0
    while n - i >= <size_t>STEP and same_step(a + i, b + i):
        i += STEP
    while n - i >= <size_t>WORD and same_word(a + i, b + i):
        i += WORD
    while i < n and a[i] == b[i]:
        i += 1
    return i


cdef inline bint is_inserted(uint8_t letter, int before, uint8_t after) noexcept nogil:
    """Whether a letter stands where an upgrade puts one: behind ``http`` or ``xmpp``, before the colon.

    Both may be written as references: ``&#112;`` before it, ``&#58;`` after it.
    """
    return (letter == c's' and (before == c'p' or before == c'P' or before == c';')
            and (after == c':' or after == c'&'))


cdef void match(const uint8_t *original, size_t n, const uint8_t *upgraded, size_t m, int previous,
                Match *found) noexcept nogil:
    cdef size_t i = 0, j = 0, alike
    found.letters = 0
    found.differs = False
    while True:
        alike = same_bytes(original + i, upgraded + j, min(n - i, m - j))
        i += alike
        j += alike
        if i == n or j == m:
            break
        if not is_inserted(upgraded[j], upgraded[j - 1] if j else previous, original[i]):
            found.differs = True
            break
        found.letters += 1
        j += 1
    found.original = i
    found.upgraded = j


def match_upgraded(original, upgraded, /, *, final=False, previous=-1) -> tuple:
    """Compares bytes with their upgraded form, as far as both go: they must differ by inserted letters alone.

    A letter ``s`` counts as inserted where :func:`xep419.upgrade` puts one: behind a ``p`` (or the ``;`` of a reference
    to one), before a colon (or the ``&`` of a reference). This shares no code with the scanner.

    :param original: any C-contiguous buffer of 1-byte items, or ``str`` (as UTF-8); so is ``upgraded``.
    :param final: True where both end here: then nothing of either may be left.
    :param previous: the byte before the first of ``upgraded``, where this call goes on where another stopped; -1 for
        none.
    :returns: how many bytes of ``original`` and of ``upgraded`` were matched, and how many letters among them were
        inserted. One of the two is used up; give what is left of the other again, first, with what comes next.
    :raises RestorationError: without the inserted letters, ``upgraded`` is not ``original``; ``offset`` is where, in
        ``original``.
    """
    cdef Source source
    cdef Source other
    cdef Match found
    cdef int before = byte_or_none(previous)
    acquire(&source, original, "original")
    try:
        acquire(&other, upgraded, "upgraded")
        try:
            if min(source.n, other.n) >= GIL_RELEASE_BYTES:
                with nogil:
                    match(source.data, source.n, other.data, other.n, before, &found)
            else:
                match(source.data, source.n, other.data, other.n, before, &found)
            if found.differs or (final and (found.original < source.n or found.upgraded < other.n)):
                raise RestorationError.at(
                    source.data[found.original] if found.original < source.n else None,
                    other.data[found.upgraded] if found.upgraded < other.n else None,
                    found.original,
                )
        finally:
            release(&other)
    finally:
        release(&source)
    return found.original, found.upgraded, found.letters


cdef int byte_or_none(object previous) except -2:
    byte = operator.index(previous)
    if not -1 <= byte <= 255:
        raise ValueError(f"previous must be a byte's value or -1, not {byte}")
    return byte


# Two files from where they are matched up to: bytes [start, end) of the original and [place, place_end) of the other
# are left, of which p[at, size) and q[q_at, q_size) are in memory, rotated back.
cdef struct Sides:
    int original
    int upgraded
    size_t start
    size_t end
    size_t place
    size_t place_end
    int rounds
    int upgraded_rounds
    uint8_t *p
    uint8_t *q
    size_t at
    size_t size
    size_t q_at
    size_t q_size
    int previous
    size_t letters
    int error           # of the system
    int refusing        # the descriptor


cdef bint fill(Sides *s, int file, uint8_t *p, size_t *at, size_t *size, size_t start, size_t end, int rounds) noexcept nogil:
    """The next block of a side whose last one is used up, which stays empty at the end; False where none can be read."""
    cdef Py_ssize_t n = 0
    if at[0] == size[0]:
        if start < end:
            n = read_at(file, p, min(<size_t>BLOCK, end - start), start)
            if n < 0:
                s.error = errno
                s.refusing = file
                return False
        rotate(p, p, n, rounds)
        at[0] = 0
        size[0] = n
    return True


cdef Stop match_blocks(Sides *s, size_t most) noexcept nogil:
    """ENOUGH, AT_END of both, NOT_READ, or UNABLE where they differ."""
    cdef size_t first = s.start
    cdef Match found
    while s.start - first < most:
        if not (fill(s, s.original, s.p, &s.at, &s.size, s.start, s.end, s.rounds)
                and fill(s, s.upgraded, s.q, &s.q_at, &s.q_size, s.place, s.place_end, s.upgraded_rounds)):
            return NOT_READ
        if s.at == s.size and s.q_at == s.q_size:
            return AT_END
        if s.at == s.size or s.q_at == s.q_size:
            return UNABLE
        match(s.p + s.at, s.size - s.at, s.q + s.q_at, s.q_size - s.q_at, s.previous, &found)
        s.at += found.original
        s.start += found.original
        s.q_at += found.upgraded
        s.place += found.upgraded
        s.letters += found.letters
        if found.upgraded:
            s.previous = s.q[s.q_at - 1]
        if found.differs:
            return UNABLE
    return ENOUGH


def match_files(int original, int upgraded, /, *, size_t start, size_t end, size_t place, size_t place_end,
                size_t most, rounds=0, upgraded_rounds=0, previous=-1) -> tuple:
    """Compares bytes ``[start, end)`` of a file with ``[place, place_end)`` of its upgraded form, or up to their ends.

    The same as :func:`match_upgraded`, without a return to Python for every block.

    :param original: the descriptor of a file that can be read anywhere; so is ``upgraded``.
    :param most: how many bytes of the original to compare at least, where there are so many.
    :param rounds: rotations of the original that come before all else; ``upgraded_rounds``, of the other.
    :param previous: the byte before ``place``, rotated as the others are; -1 for none.
    :returns: how many bytes of both were matched, how many letters among them were inserted, the next ``previous``, and
        whether both have come to their end.
    :raises RestorationError: as from :func:`match_upgraded`; ``offset`` counts from the beginning of the file.
    :raises OSError: the system refused; ``filename`` is the descriptor.
    """
    cdef Sides s
    cdef Stop stop
    s.original = original
    s.upgraded = upgraded
    s.start = start
    s.end = end
    s.place = place
    s.place_end = place_end
    s.rounds = fold_rounds(rounds)
    s.upgraded_rounds = fold_rounds(upgraded_rounds)
    s.at = s.size = s.q_at = s.q_size = s.letters = 0
    s.previous = byte_or_none(previous)
    s.error = s.refusing = 0
    s.p = <uint8_t *>malloc(2 * <size_t>BLOCK)
    if s.p is NULL:
        raise MemoryError("no memory to read into")
    s.q = s.p + <size_t>BLOCK
    try:
        with nogil:
            stop = match_blocks(&s, most)
        if stop == NOT_READ:
            raise refused(s.error, s.refusing)
        if stop == UNABLE:
            raise RestorationError.at(
                s.p[s.at] if s.at < s.size else None, s.q[s.q_at] if s.q_at < s.q_size else None, s.start
            )
    finally:
        free(s.p)
    return s.start - start, s.place - place, s.letters, s.previous, stop == AT_END
