"""XEP-0227 exports: ``<server-data/>``, or a ``<host/>`` or ``<user/>`` that another file includes.

Only what was sent by stanzas and will be delivered again is recoded, as it lies in the document: archived messages
(XEP-0313, in ``<forwarded/>``), offline messages, subscription requests, published items (children of XEP-0060's
``<item/>``). All else stays: the container's own names, which the importing server looks for, and what it looks up or
obeys by name (private XML, vCards, rosters, privacy lists, nodes and their configuration). The format ``xml`` upgrades
every name of the document.

An odd rotation rotates the document as a whole: a rotated payload in a clear container would not be XML, since the
letters of ``&amp;`` and ``<![CDATA[`` rotate too. Expat finds where payloads begin and end; names in them are the
scanner's. A payload is scanned by itself: that an element around it binds a prefix to entity capabilities (XEP-0115),
the one binding that changes what is upgraded, is not seen; exporters declare the stanza's names in the stanza.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar, NamedTuple
from xml.parsers import expat

from ..._encoding import HEAD_BYTES, check_encoding
from ...cipher import rot13
from ...errors import (
    EncodingError,
    LimitExceededError,
    MalformedXMLError,
    RestorationError,
    RestrictedXMLError,
    XEP419Error,
)
from ...names import downgrade_name
from ...namespaces import NamespaceCensus
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved

_CHUNK = 1 << 18
#: bytes that may have to be held: a payload, or text or a tag between payloads
MAX_PAYLOAD = 1 << 24

_PIE = "urn:xmpp:pie:0"
_PUBSUB = "http://jabber.org/protocol/pubsub"
_USER = f"{_PIE} user"
_ROOTS = frozenset(f"{_PIE} {name}" for name in ("server-data", "host", "user"))
_SUBSCRIPTION_REQUEST = "jabber:client presence"
_NEVER = frozenset({"urn:xmpp:delay delay", "http://www.w3.org/2001/XInclude include"})
#: by the parent, what must be around it for its children to be payloads
_AROUND: dict[str, list[str]] = {
    _USER: [],  # of these, subscription requests only
    "urn:xmpp:forward:0 forwarded": [f"{_PIE}#mam archive", "urn:xmpp:mam:2 result"],
    f"{_PIE} offline-messages": [_USER],
    f"{_PUBSUB} item": [_USER, f"{_PUBSUB} pubsub", f"{_PUBSUB} items"],
}
#: of a start tag: up to its end, or to an attribute's
_PART_OF_TAG = re.compile(rb"[^>\"']*(?:(>)|\"[^\"]*\"|'[^']*')")


#: Of a name as expat gives it, "namespace local", which begins with the namespace.
_insecure = functools.lru_cache(1024)(downgrade_name)


class Segment(NamedTuple):
    """A payload, or a piece of what is around payloads; rotated back, at its offset in the document."""

    is_payload: bool
    offset: int
    data: bytes


class _Outline:
    """Where the payloads of a document begin and end, as far as it was parsed."""

    def __init__(self) -> None:
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.ordered_attributes = True  # a list costs less than a dict
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        self._path: list[str] = []
        self._holds = False  # whether the innermost element's children are payloads
        self._depth = 0  # of open elements in a payload, itself included
        self._payload_start = 0
        #: start of each payload that is complete, and of its end tag (of an empty element: the tag's end)
        self.complete: list[tuple[int, int]] = []
        #: before it, every byte is of a complete payload or outside of payloads
        self.settled = 0

    def parse(self, data: bytes, *, final: bool = False) -> None:
        """:raises XEP419Error: the document is not well-formed, has a DTD, or is in an encoding that is not known."""
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            message = f"the document is not well-formed: {expat.ErrorString(error.code)}"
            raise MalformedXMLError(message, offset=max(0, self._parser.ErrorByteIndex)) from None
        except (LookupError, ValueError) as error:  # of Python's codecs, for what the XML declaration asks
            raise EncodingError(f"the document's encoding cannot be read: {error}", offset=0) from None

    def _start(self, name: str, _attributes: object) -> None:
        if self._depth:
            self._depth += 1
            return
        self.settled = self._parser.CurrentByteIndex
        if self._holds and self._is_payload(name):
            self._payload_start, self._depth = self.settled, 1
        else:
            self._path.append(_insecure(name))
            self._holds = self._holds_payloads()

    def _end(self, _name: str) -> None:
        if self._depth > 1:
            self._depth -= 1
            return
        end = self._parser.CurrentByteIndex
        if self._depth:
            self._depth = 0
            self.complete.append((self._payload_start, end))
        else:
            self.settled = end
            self._path.pop()
            self._holds = self._holds_payloads()

    def _holds_payloads(self) -> bool:
        around = _AROUND.get(self._path[-1]) if self._path else None
        return around is not None and self._path[-1 - len(around) : -1] == around

    def _is_payload(self, name: str) -> bool:
        if self._path[-1] == _USER:
            return name == _SUBSCRIPTION_REQUEST
        return _insecure(name) not in _NEVER

    def _doctype(self, *_declaration: object) -> None:
        raise RestrictedXMLError(
            "expected an export without a document type declaration", offset=self._parser.CurrentByteIndex
        )


def segments(source: IO[bytes], rounds: int) -> Iterator[list[Segment]]:
    """The document in order, in lists of what was settled by one read; joined, they are the document.

    :param rounds: rotations that it came with.
    :raises XEP419Error: it is not well-formed, has a DTD, or a payload of more than :data:`MAX_PAYLOAD` bytes.
    """
    outline = _Outline()
    held, offset = b"", 0
    while piece := source.read(_CHUNK):
        piece = rot13(piece, rounds=rounds) if rounds else piece
        if offset == 0 and len(held) < HEAD_BYTES:
            check_encoding((held + piece)[:HEAD_BYTES])
        held += piece
        outline.parse(piece)
        found, at = [], 0
        for start, index in outline.complete:
            end = _payload_end(held, start - offset, index - offset)
            found.append(Segment(False, offset + at, held[at : start - offset]))
            found.append(Segment(True, start, held[start - offset : end]))
            at = end
        outline.complete.clear()
        settled = max(at, outline.settled - offset)
        found.append(Segment(False, offset + at, held[at:settled]))
        held, offset = held[settled:], offset + settled
        if len(held) > MAX_PAYLOAD:
            raise LimitExceededError(f"expected a stanza of at most {MAX_PAYLOAD} bytes, got more", offset=offset)
        yield [segment for segment in found if segment.data]
    outline.parse(b"", final=True)
    if held:
        yield [Segment(False, offset, held)]


def _payload_end(held: bytes, start: int, index: int) -> int:
    tag_end = next(part.end() for part in _PART_OF_TAG.finditer(held, start) if part[1])
    return tag_end if held[tag_end - 2] == 0x2F else held.index(b">", index) + 1


class XEP0227:
    """Portable import/export files of servers."""

    name: ClassVar[str] = "xep0227"
    title: ClassVar[str] = "export of a server's users (XEP-0227)"
    random_access: ClassVar[bool] = False
    in_python: ClassVar[bool] = True

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        if b":pie:0" not in recoding.plain(head):
            return False  # spares nearly every file the parser
        roots: list[str] = []

        def take(name: str, _attributes: object) -> None:
            roots.append(name)
            parser.StartElementHandler = None

        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = take
        with contextlib.suppress(expat.ExpatError, LookupError, ValueError):  # recoding will say what is wrong
            parser.Parse(recoding.plain(head), False)
        return bool(roots) and _insecure(roots[0]) in _ROOTS

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        census = NamespaceCensus()
        upgrading = dataclasses.replace(recoding, rounds_from=0)
        for found in segments(source, recoding.rounds_from):
            payloads = [segment.data for segment in found if segment.is_payload]
            census.count(payloads)
            tally.stanzas += len(payloads)
            recoded = iter(upgrading.stanzas(payloads))
            for segment in found:
                target.write(next(recoded) if segment.is_payload else rot13(segment.data, rounds=recoding.rounds_to))
        tally.count(census.counts())

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        """Parses both documents, and holds payload against payload and what is around them byte against byte."""
        (source,), (target,) = sources, targets
        plain = dataclasses.replace(recoding, rounds_from=0, rounds_to=0)
        stanzas = letters = 0
        for before, after in _aligned(_each(source, recoding.rounds_from), _proved(target, recoding.rounds_to)):
            if before.is_payload and after.is_payload:
                stanzas += 1
                letters += plain.prove(before.data, after.data)
            elif (before.is_payload, before.data) != (after.is_payload, after.data):
                raise RestorationError("what is around the stanzas changed", offset=before.offset)
        return Proved(stanzas, letters)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        for segment in _each(source, recoding.rounds_from):
            if segment.is_payload:
                yield ArchivedStanza(f"byte {segment.offset}", segment.data)


def _each(source: IO[bytes], rounds: int) -> Iterator[Segment]:
    for found in segments(source, rounds):
        yield from found


def _proved(target: IO[bytes], rounds: int) -> Iterator[Segment]:
    try:
        yield from _each(target, rounds)
    except XEP419Error as error:
        raise RestorationError(f"what was written cannot be read: {error.message}", offset=error.offset) from None


_NOTHING = Segment(False, -1, b"")


def _aligned(left: Iterator[Segment], right: Iterator[Segment]) -> Iterator[tuple[Segment, Segment]]:
    """Both in step, pieces outside of payloads cut to the same length; at the end of one, nothing."""
    before, after = next(left, _NOTHING), next(right, _NOTHING)
    while before.data or after.data:
        if before.is_payload or after.is_payload or not (before.data and after.data):
            yield before, after
            before, after = next(left, _NOTHING), next(right, _NOTHING)
            continue
        length = min(len(before.data), len(after.data))
        yield _cut(before, 0, length), _cut(after, 0, length)
        before = _cut(before, length, None) if length < len(before.data) else next(left, _NOTHING)
        after = _cut(after, length, None) if length < len(after.data) else next(right, _NOTHING)


def _cut(segment: Segment, start: int, end: int | None) -> Segment:
    return Segment(segment.is_payload, segment.offset + start, segment.data[start:end])
