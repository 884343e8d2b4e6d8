"""One stored stanza: whether it looks like one, and why it is left as it is. Knows no format."""

from __future__ import annotations

import re

from .._encoding import HEAD_BYTES, check_encoding
from ..cipher import rot13
from ..errors import RestorationError, XEP419Error
from ..stream import check_stanza
from .recoding import Recoding

#: where the content of several columns or fields would do, these names are taken
PREFERRED = ("stanza", "xml", "value")

# Markup and white space are no letters: a rotated element begins and ends like any other.
_BEGIN = re.compile(rb"\s*<[A-Za-z_:\x80-\xff]")
_END = re.compile(rb">\s*\Z")


def looks_like_element(value: bytes) -> bool:
    """Whether a value begins with a tag and ends with one, however often it was rotated."""
    return _BEGIN.match(value) is not None and _END.search(value, max(0, len(value) - 64)) is not None


def fault_of(stored: bytes, recoding: Recoding) -> XEP419Error | None:
    """Why a stored stanza is left as it is, or None where it is recoded."""
    plain = recoding.plain(stored)
    try:
        if recoding.check:
            check_stanza(plain)
        else:
            check_encoding(plain[:HEAD_BYTES])
    except XEP419Error as error:
        return error
    return None


def is_stanza_unchanged(stored: bytes, recoding: Recoding) -> bool:
    """Whether a value that came out as it went in is a stanza nevertheless, in which nothing had to change.

    :raises RestorationError: it is one, and its letters should have been rotated.
    """
    if fault_of(stored, recoding) is not None:
        return False
    if recoding.is_visible and rot13(stored) != stored:
        raise RestorationError("it should have been rotated, but it is the same")
    return True


def read_back(stored: bytes, recoding: Recoding) -> bytes:
    """A stored stanza rotated back; as it is where it was left so."""
    if recoding.rounds_from % 2 and fault_of(stored, recoding) is not None:
        return stored
    return recoding.plain(stored)


def preferred(found: list[str]) -> str | None:
    """Which of several is meant, by its name; None where that does not tell."""
    if len(found) == 1:
        return found[0]
    return next((name for name in PREFERRED if name in found), None)
