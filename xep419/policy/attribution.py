"""Which names in a stanza are its sender's own, and who that is. Nothing is judged here.

What a stanza forwards (XEP-0297: carbons, archives) was said by somebody else, and servers on the way add names of
their own. Nobody is pinned by, or refused for, what another has said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from copy import copy
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

from ..elements import scan_element
from ..names import NamespaceRef, Scope, is_secure, resolve_references
from ..namespaces import scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

#: names, in their insecure form, that servers and services on the way put into what others send
SERVER_ADDED = frozenset(
    {
        "http://jabber.org/protocol/address",  # XEP-0033
        "http://jabber.org/protocol/muc#user",  # XEP-0045
        "urn:xmpp:delay",  # XEP-0203
        "urn:xmpp:mam:tmp",  # ejabberd's mark of an archived message, XEP-0313 before version 0.5
        "urn:xmpp:sid:0",  # XEP-0359
        "urn:xmpp:occupant-id:0",  # XEP-0421
    }
)

#: the namespaces of XEP-0297
_FORWARD = frozenset({"urn:xmpp:forward:0", "urn:xmpps:forward:0"})
_FORWARDED = frozenset(f"{{{name}}}forwarded" for name in _FORWARD)

_NAME = re.compile(rb"<([^ \t\r\n/>!?]+)")
_ATTRIBUTE = re.compile(rb"[ \t\r\n]+([^ \t\r\n/>=]+)[ \t\r\n]*=[ \t\r\n]*(?:\"([^\"]*)\"|'([^']*)')")


class Said(NamedTuple):
    """A name that the sender used."""

    name: str
    secure: bool
    #: byte offset in the stanza; None where it came as a tree
    offset: int | None


def said(stanza: Buffer | str | ElementTree.Element, scope: Scope) -> Sequence[Said]:
    """The names that are the sender's own, in document order; found in one scan.

    :raises TypeError, EncodingError: as :func:`xep419.scan`.
    """
    if isinstance(stanza, ElementTree.Element):
        return [Said(name, is_secure(name), None) for name in scan_element(_without_forwarded(stanza), scope=scope)]
    refs = scan(stanza, scope=scope)
    if any(ref.name in _FORWARD for ref in refs):
        refs = _outside(refs, _forwarded_spans(stanza))
    return [Said(ref.name, ref.secure, ref.start) for ref in refs]


def outer_tag(stanza: bytes) -> tuple[str, str | None]:
    """Local name and ``from`` of the outer element of a well-formed stanza; None where it has none."""
    found = _NAME.match(stanza)
    if found is None:
        return "", None
    local = found[1].rpartition(b":")[2].decode("utf-8", "replace")
    cursor = found.end()
    while attribute := _ATTRIBUTE.match(stanza, cursor):
        if attribute[1] == b"from":
            return local, resolve_references(attribute[2] if attribute[2] is not None else attribute[3])
        cursor = attribute.end()
    return local, None


# -- forwarded stanzas ------------------------------------------------------------------------------------


def _without_forwarded(stanza: ElementTree.Element) -> ElementTree.Element:
    """The tree without the elements that forward; the same one when there are none."""
    if not any(element.tag in _FORWARDED for element in stanza.iter()):
        return stanza
    kept = copy(stanza)
    stack = [kept]
    while stack:
        element = stack.pop()
        element[:] = [copy(child) for child in element if child.tag not in _FORWARDED]
        stack.extend(element)
    return kept


def _outside(refs: Iterable[NamespaceRef], spans: Sequence[tuple[int, int]]) -> list[NamespaceRef]:
    kept: list[NamespaceRef] = []
    coming = iter((*spans, (1 << 62, 1 << 62)))
    start, end = next(coming)
    for ref in refs:
        while ref.start >= end:
            start, end = next(coming)
        if ref.start < start:
            kept.append(ref)
    return kept


def _forwarded_spans(stanza: Buffer | str) -> list[tuple[int, int]]:
    """Where the outermost elements of XEP-0297 stand. Of what is not well-formed, none: all of it is the sender's."""
    data = stanza.encode("utf-8", "surrogatepass") if isinstance(stanza, str) else bytes(memoryview(stanza))
    if b"<!DOCTYPE" in data:  # RFC 6120 section 11.1 forbids it, and here no entity is ever expanded
        return []
    reader = _ForwardedReader()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError:
        return []
    finally:
        del reader.parser  # it holds our handlers, and we hold it
    return reader.spans


class _ForwardedReader:
    """Prefixes are not resolved: the stream header may declare them. So the declaration must stand on the element."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._open
        self.parser.EndElementHandler = self._close
        self._depth = 0
        self._from = (0, 0)  # the depth and start of the element that forwards; a depth of 0 is none

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        prefix, _, local = name.rpartition(":")
        declaration = f"xmlns:{prefix}" if prefix else "xmlns"
        if not self._from[0] and local == "forwarded" and attributes.get(declaration) in _FORWARD:
            self._from = (self._depth, self.parser.CurrentByteIndex)

    def _close(self, _name: str) -> None:
        if self._from[0] == self._depth:
            self.spans.append((self._from[1], max(self.parser.CurrentByteIndex, self._from[1] + 1)))
            self._from = (0, 0)
        self._depth -= 1


__all__ = ["SERVER_ADDED", "Said", "outer_tag", "said"]
