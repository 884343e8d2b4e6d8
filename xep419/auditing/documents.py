"""One document or recorded stream, cut into regions that begin and end between stanzas.

Bytes that are no XML end the cutting, not the reading: what follows comes as regions without stanzas, so that names
in it still count. Knows nothing of names or encryption.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import XEP419Error
from ..names import Place
from ..stream import StanzaStream
from .report import Problem, Transport

#: bytes of one first-level element that are held
MOST_HELD = 1 << 24
#: bytes in which the root's start tag is looked for
_HEAD = 1 << 16
#: first-level elements among which STARTTLS is negotiated
_NEGOTIATION = 64
_TLS = b"urn:ietf:params:xml:ns:xmpp-tls"
_TLS_RECORD = re.compile(rb"[\x14-\x17]\x03")  # RFC 8446 section 5.1
_TAG = re.compile(rb"<(?:[^ \t\r\n/>:]*:)?([^ \t\r\n/>]+)")
_SPACE = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*")
_ROOT = b"<stanzas>"
_ROOT_END = b"</stanzas>"


class Region(NamedTuple):
    """Consecutive bytes of a document from ``start`` on, and the stanzas that stand in them."""

    start: int
    data: bytes
    stanzas: list[bytes]


def root_of(head: bytes) -> tuple[int, bytes]:
    """Where the root's start tag begins, and its local name; the name is empty where none is found."""
    at = 0
    while True:
        space = _SPACE.match(head, at)
        at = space.end() if space else at
        for opening, closing in ((b"<?", b"?>"), (b"<!--", b"-->")):
            if head.startswith(opening, at):
                end = head.find(closing, at + len(opening))
                if end < 0:
                    return at, b""
                at = end + len(closing)
                break
        else:
            tag = _TAG.match(head, at)
            return at, tag[1] if tag else b""


class DocumentReader:
    """Reads one document. Its other attributes hold when :meth:`regions` has come to its end.

    A document whose root is a message, presence or iq is read as stanzas that follow one another.
    """

    def __init__(self, name: str, chunks: Iterator[bytes]) -> None:
        self.name = name
        self.size = 0
        self.ciphertext = 0
        self.stanzas = 0
        self.problem: Problem | None = None
        self._chunks = chunks
        self._stream = StanzaStream(max_stanza=MOST_HELD, restricted=False)
        self._negotiation = _Negotiation()
        #: what to add to an offset of the stream's for one of the document's
        self._shift = 0
        self._recorded = False
        self._wrapped = False

    @property
    def transport(self) -> tuple[Transport, str]:
        """What the document tells about TLS, and by what."""
        if not self._recorded and not self.ciphertext:
            return Transport.UNKNOWN, "not a recorded stream"
        return self._negotiation.judgement()

    def regions(self) -> Iterator[Region]:
        head = self._head()
        if _TLS_RECORD.match(head):
            self._negotiation.records(0)
            self._skip(head)
            return
        start, root = root_of(head)
        self._recorded = root == b"stream"
        if root in (b"message", b"presence", b"iq"):
            self._wrapped = True
            self._stream.feed(_ROOT)
            self._shift = start - len(_ROOT)
            if start:
                yield self._region(head[:start], [])
            head = head[start:]
        yield from self._cut(head)

    def _head(self) -> bytes:
        head = b""
        for chunk in self._chunks:
            head = head + chunk if head else chunk
            if len(head) >= _HEAD or root_of(head)[1]:
                break
        return head

    def _region(self, data: bytes, stanzas: list[bytes]) -> Region:
        start = self.size
        self.size += len(data)
        self.stanzas += len(stanzas)
        return Region(start, data, stanzas)

    def _cut(self, chunk: bytes) -> Iterator[Region]:
        held = b""
        while chunk:
            data = held + chunk if held else chunk
            try:
                stanzas = self._stream.feed(chunk)
            except XEP419Error as error:
                yield from self._after(error, data)
                return
            self._negotiation.follow(stanzas)
            pending = len(self._stream.pending)
            held = data[len(data) - pending :] if pending else b""
            yield self._region(data[: len(data) - pending] if pending else data, stanzas)
            chunk = self._piece(len(held))
        yield from self._end(held)

    def _piece(self, least: int) -> bytes:
        """What comes next: as much as is held, so that in all the copies of it are linear in a long stanza."""
        pieces, size = [], 0
        for piece in self._chunks:
            pieces.append(piece)
            size += len(piece)
            if size >= least:
                break
        return b"".join(pieces)

    def _end(self, held: bytes) -> Iterator[Region]:
        start = self.size
        if held:
            self._fail(start, "the document ends within what begins here", len(held))
            yield self._region(held, [])
        elif self._wrapped:
            try:
                self._stream.feed(_ROOT_END)
            except XEP419Error as error:
                self._fail(start, error.message, 0)
        elif start and self._stream.header is None:
            self._fail(start, "a root element is expected, and none came", 0)
        elif start and not self._recorded and not self._stream.closed:
            self._fail(start, "the root's end tag is expected, and the document ends", 0)

    def _after(self, error: XEP419Error, data: bytes) -> Iterator[Region]:
        """What follows the first byte that cannot be."""
        stanzas = list(error.stanzas)
        self._negotiation.follow(stanzas)
        offset = max(0, (error.offset or 0) + self._shift)
        at = min(max(0, offset - self.size), len(data))
        if self._recorded and _TLS_RECORD.match(data, at):
            self._negotiation.records(offset)
            yield self._region(data[:at], stanzas)
            self._skip(data[at:])
            return
        yield self._region(data, stanzas)
        for chunk in self._chunks:
            yield self._region(chunk, [])
        self._fail(offset, error.message, self.size - offset)

    def _skip(self, data: bytes) -> None:
        self.ciphertext += len(data) + sum(map(len, self._chunks))

    def _fail(self, offset: int, message: str, unread: int) -> None:
        self.problem = Problem(Place(self.name, offset), message, unread)


class _Negotiation:
    """What the first elements of a recorded stream tell about STARTTLS (RFC 6120 section 5.4).

    Inside TLS no server offers it (section 5.4.3.3), so an offer that nobody took tells that there was none.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._last = ""
        self._after = 0
        self._records = -1

    def follow(self, stanzas: list[bytes]) -> None:
        for stanza in stanzas[: max(0, _NEGOTIATION - self._seen)]:
            self._seen += 1
            step = self._step(stanza) if _TLS in stanza else ""
            if step and (step != "features" or not self._last):
                self._last = step
                self._after = 0
            else:
                self._after += 1

    @staticmethod
    def _step(stanza: bytes) -> str:
        tag = _TAG.match(stanza)
        name = tag[1].decode("ascii", "replace") if tag else ""
        return name if name in ("features", "starttls", "proceed", "failure") else ""

    def records(self, offset: int) -> None:
        """TLS records begin."""
        self._records = offset

    def judgement(self) -> tuple[Transport, str]:
        if self._records == 0:
            return Transport.TLS, "it begins with a TLS record (direct TLS, XEP-0368)"
        if self._records > 0:
            return Transport.STARTTLS, f"TLS records from byte {self._records} on"
        if self._last in ("starttls", "proceed") and self._after:
            return Transport.STARTTLS, f"stanzas follow <{self._last}/>: recorded where TLS ends"
        if self._last == "failure":
            return Transport.CLEAR, "the server answered <starttls/> with <failure/>"
        if self._last == "features" and self._after:
            return Transport.CLEAR, "the server offered <starttls/>, and the stream went on without"
        return Transport.UNKNOWN, "no STARTTLS in it"
