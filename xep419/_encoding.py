"""Tells UTF-16 and UTF-32 from the encodings whose markup is ASCII."""

from __future__ import annotations

from .errors import EncodingError

#: bytes that suffice to tell
HEAD_BYTES = 4

_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_FIRST_CHARACTERS = tuple(b"< \t\r\n")


def check_encoding(head: bytes) -> None:
    """Raises EncodingError when a document that begins with ``head`` is in UTF-16 or UTF-32.

    By the byte order mark, or by the zero bytes beside a first ``<`` or white space (XML 1.0, appendix F).
    """
    wide = head.startswith(_BYTE_ORDER_MARKS)
    if not wide and len(head) >= 2 and 0 in head[:2]:
        first = head[0] or head[1] or (head[3] if len(head) > 3 and not head[2] else 0)
        wide = first in _FIRST_CHARACTERS
    if wide:
        raise EncodingError(
            "XML in UTF-8 or another ASCII-compatible encoding is needed, not UTF-16 or UTF-32"
            f" (it begins with {head!r})",
            offset=0,
        )
