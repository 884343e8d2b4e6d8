"""``match_upgraded``: the proof that an upgrade lost nothing, byte by byte beside its input.

It is an oracle of the scanner and the splices and shares no code with them: it knows no XML, only that an upgrade puts
in single letters ``s``, each between a scheme's last letter and its colon, and changes nothing else. Bytes may change
under it (a shared ``bytearray``): no index is trusted because of a byte.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

import operator

from .buffers cimport GIL_RELEASE_BYTES, Source, acquire, release

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
