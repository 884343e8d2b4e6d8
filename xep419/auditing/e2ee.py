"""End-to-end encryption in stanzas: which scheme, which bytes it covers, and what a reader of the others learns.

OMEMO (XEP-0384) in its namespaces, OpenPGP for XMPP (OX, XEP-0373/0374), OpenPGP as XEP-0027 has it, OTR (XEP-0364),
Stanza Content Encryption (XEP-0420) and the hints of Explicit Message Encryption (XEP-0380), each by its namespace as
specified or in its secure form. Nothing is decrypted and no signature is checked: an element that a scheme says holds
ciphertext is taken at its word, and :func:`xep419.stanza.exposed` tells what stands around it.
"""

from __future__ import annotations

import binascii
import enum
from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat

from ..errors import RestrictedXMLError
from ..names import downgrade_name, upgrade_name
from ..stanza import CHILD_TEXTS, OUTER_ATTRIBUTES, EncryptedStanza, ExposureKind, StanzaPart, exposed


class Scheme(enum.Enum):
    """A way to encrypt end to end; the value is its name in reports."""

    OMEMO = "OMEMO (XEP-0384)"
    OX = "OpenPGP for XMPP (XEP-0373)"
    OPENPGP = "OpenPGP, legacy (XEP-0027)"
    OTR = "OTR (XEP-0364)"
    #: an envelope that can be read is one that nothing encrypts
    SCE = "Stanza Content Encryption, in the clear (XEP-0420)"
    #: a stanza that says it is encrypted, with nothing in it that a scheme above knows
    EME = "Hinted only (XEP-0380)"


_AXOLOTL = "eu.siacs.conversations.axolotl"
_OX = "urn:xmpp:openpgp:0"
_EME = "urn:xmpp:eme:0"
_OMEMO = (_AXOLOTL, "urn:xmpp:omemo:0", "urn:xmpp:omemo:1", "urn:xmpp:omemo:2")
#: what each namespace, in its insecure form, belongs to
SCHEMES = {
    **dict.fromkeys(_OMEMO, Scheme.OMEMO),
    _OX: Scheme.OX,
    "jabber:x:encrypted": Scheme.OPENPGP,
    "urn:xmpp:sce:0": Scheme.SCE,
    "urn:xmpp:sce:1": Scheme.SCE,
    _EME: Scheme.EME,
}
#: those among them that a scan of the namespace names finds, in both forms
SCANNED = frozenset(form for name in SCHEMES if name.startswith("urn:") for form in (name, upgrade_name(name)))
#: the others, which must be looked for in the bytes
SOUGHT = (_AXOLOTL.encode(), b"jabber:x:encrypted")
#: what OTR's messages begin with
OTR = b"?OTR"
#: question marks that are looked at one by one
_MOST_QUESTIONS = 1000

#: (scheme, local name) of the elements whose text is ciphertext: keys, once wrapped, and payloads
_CIPHERTEXTS = frozenset(
    {
        (Scheme.OMEMO, "payload"),
        (Scheme.OMEMO, "key"),
        (Scheme.OX, "openpgp"),
        (Scheme.OPENPGP, "x"),
    }
)
#: the element that says that a stanza is encrypted; a scheme's other elements publish keys and devices
_ENCRYPTED = {Scheme.OMEMO: "encrypted", Scheme.OX: "openpgp", Scheme.OPENPGP: "x", Scheme.SCE: "envelope"}
_STANZAS = frozenset({"message", "presence", "iq"})

#: messages within messages that are judged by themselves; what lies deeper belongs to the last (a carbon of an
#: archived message has three), so that no byte is read more often than that
_MOST_NESTED = 4
#: letters of a body that tell OTR's data messages from others
_OTR_HEAD = 9

_TIMESTAMP, _DEVICE, _HINT, _ATTRIBUTE, _ELEMENT = "timestamp", "device", "hint", "attribute", "element"
#: every sort of fact, in the order of reports: ExposureKind's, with the attributes that mean something by themselves;
#: elements are told with their namespaces
FACTS = (
    *(kind.value for kind in ExposureKind if kind not in (ExposureKind.ATTRIBUTE, ExposureKind.NAMESPACE)),
    _TIMESTAMP,
    _DEVICE,
    _HINT,
    _ATTRIBUTE,
)
_SIZE, _LANGUAGE, _TEXT = ExposureKind.SIZE.value, ExposureKind.LANGUAGE.value, ExposureKind.TEXT.value
_NOTHING: dict[str, str] = {}
_OUTER = {name: kind.value for name, kind in OUTER_ATTRIBUTES.items()}
_TEXTS = {name: kind.value for name, kind in CHILD_TEXTS.items()}
_NAMED = {"stamp": _TIMESTAMP, "sid": _DEVICE, "rid": _DEVICE}

Fact = tuple[str, str]


def mentions_otr(data: bytes) -> bool:
    """Whether a body in ``data`` may be OTR's: a question mark is rare, and found much faster than four letters are."""
    at = data.find(b"?")
    for _ in range(_MOST_QUESTIONS):
        if at < 0 or data.startswith(OTR, at):
            return at >= 0
        at = data.find(b"?", at + 1)
    return at >= 0 and OTR in data[at:]


class Encrypted(NamedTuple):
    """One stanza that is encrypted end to end, or that takes part in a scheme's key exchange.

    :param start: byte offset of the stanza in what was read; ``size`` its bytes without those of stanzas within.
    :param schemes: the namespace of each scheme that encrypts here (``?OTR`` for OTR), as it stands there.
    :param announced: schemes whose keys, devices or session offers stand here, with nothing encrypted.
    :param covered: bytes of ciphertext, for each scheme that has any.
    :param facts: what a reader of the other bytes learns: (one of ``FACTS``, value).
    """

    start: int
    size: int
    schemes: dict[Scheme, str]
    announced: frozenset[Scheme]
    covered: dict[Scheme, int]
    facts: frozenset[Fact]


def read(data: bytes) -> Iterator[Encrypted]:
    """The end-to-end encrypted stanzas in one element, at any depth, each judged by itself.

    A message inside another (a carbon, XEP-0280; an archive's result, XEP-0313) is the stanza that counts, with the
    time that stands beside it (XEP-0297); its bytes are none of the outer one's.

    :param data: one well-formed element; its prefixes need not be declared.
    :raises XEP419Error: as :func:`xep419.stanza.exposed` does.
    """
    reader = _Reader(data)
    try:
        reader.read()
    except expat.ExpatError:
        exposed(data)  # says what is wrong
        raise
    for carrier in reader.carriers:
        if carrier.schemes or carrier.announced:
            told = reader.told if reader.is_plain else _told_by_exposed(data, carrier)
            yield _judged(carrier, told)


class _Carrier:
    """A stanza, as far as it is read."""

    def __init__(self, start: int, depth: int, nesting: int) -> None:
        self.start = self.end = start
        self.depth = depth
        self.nesting = nesting
        self.schemes: dict[Scheme, str] = {}
        self.announced: set[Scheme] = set()
        self.ciphertexts: list[tuple[int, int, Scheme]] = []
        self.facts: set[Fact] = set()
        #: the stanzas within, which are judged by themselves
        self.within: list[_Carrier] = []

    def spans_within(self) -> set[tuple[int, int]]:
        """Where they stand, from this one's first byte."""
        return {(inner.start - self.start, inner.end - self.start) for inner in self.within}


def _told_by_exposed(data: bytes, carrier: _Carrier) -> set[Fact]:
    """What the clear bytes of any stanza tell besides its elements."""
    start, end = carrier.start, carrier.end
    within = carrier.spans_within()
    spans = sorted(within.union((first - start, last - start) for first, last, _ in carrier.ciphertexts))
    told: set[Fact] = set()
    stanza = EncryptedStanza(data[start:end], part=StanzaPart.CONTENTS, spans=spans)
    for kind, value, first, last, name in exposed(stanza):
        if kind is ExposureKind.ATTRIBUTE:
            told.add(_attribute_fact(name, value))
        elif kind not in (ExposureKind.ELEMENT, ExposureKind.NAMESPACE) and (first, last) not in within:
            told.add((kind.value, value))
    return told


def _attribute_fact(name: str, value: str) -> Fact:
    return (_NAMED[name], value) if name in _NAMED else (_ATTRIBUTE, f"{name}={value}")


def _judged(carrier: _Carrier, told: set[Fact]) -> Encrypted:
    start, end = carrier.start, carrier.end
    facts = carrier.facts | told
    covered: dict[Scheme, int] = {}
    for first, last, scheme in carrier.ciphertexts:
        covered[scheme] = covered.get(scheme, 0) + last - first
        facts.add((_SIZE, str(last - first)))
    schemes = carrier.schemes
    if len(schemes) > 1:
        schemes.pop(Scheme.EME, None)
    size = end - start - sum(last - first for first, last in carrier.spans_within())
    return Encrypted(start, size, schemes, frozenset(carrier.announced - schemes.keys()), covered, frozenset(facts))


class _Element:
    """An element whose end has not come."""

    def __init__(self, start: int, local: str, carrier: _Carrier, prefixes: list[str]) -> None:
        self.start = start
        self.local = local
        self.carrier = carrier
        self.prefixes = prefixes
        self.ciphertext: Scheme | None = None
        self.text_start = -1
        self.childless = True
        #: of <forwarded/>: the stanzas that are its children, and the first time (XEP-0297 has one of each)
        self.forwarded: list[_Carrier] = []
        self.time: Fact | None = None


class _Reader:
    """One pass of expat: the stanzas, the schemes' elements in them, and where ciphertext stands.

    Of most it also tells what :func:`xep419.stanza.exposed` would, which takes another pass: ``told``, if ``is_plain``
    still holds at the end. That is a stanza with no other inside, ciphertext that is text alone, and nothing between
    the tags but text: then a text is covered as a whole or not at all, and there is nothing to refuse.
    """

    def __init__(self, data: bytes) -> None:
        self.carriers: list[_Carrier] = []
        self.told: set[Fact] = set()
        self.is_plain = b"<!" not in data and b"<?" not in data
        self._texts: list[str] = []  # since the last tag
        self._data = data
        self._path: list[_Element] = []
        self._bindings: dict[str, list[str]] = {}
        self._in_ciphertext = False
        self._otr_head = ""
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._open
        self._parser.EndElementHandler = self._close
        self._parser.CharacterDataHandler = self._read_text

    def read(self) -> None:
        try:
            self._parser.Parse(self._data, True)
        finally:
            del self._parser  # it holds our handlers, and we hold it

    def _refuse(self, *_declaration: object) -> None:
        raise RestrictedXMLError(
            "expected a stanza of XML that RFC 6120 section 11.1 allows, got a DTD",
            offset=self._parser.CurrentByteIndex,
        )

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._path[-1] if self._path else None
        prefixes = self._bind(attributes)
        prefix, _, local = name.rpartition(":")
        bound = self._bindings.get(prefix)
        namespace = bound[-1] if bound else ""
        carrier = self._carrier(parent, local)
        element = _Element(self._parser.CurrentByteIndex, local, carrier, prefixes)
        if not self._in_ciphertext:
            carrier.facts.add((_ELEMENT, f"{{{namespace}}}{local}" if namespace else local))
            self._note(element, namespace, attributes)
        if self.is_plain:
            self._tell_text()
            self._tell_attributes(attributes)
        if parent is not None:
            parent.childless = False
            if parent.ciphertext is not None:
                self.is_plain = False
            if parent.local == "forwarded" and local == "delay" and parent.time is None:
                parent.time = (_TIMESTAMP, attributes.get("stamp", ""))
        self._path.append(element)

    def _bind(self, attributes: dict[str, str]) -> list[str]:
        prefixes = []
        for name, value in attributes.items():
            if name == "xmlns" or name.startswith("xmlns:"):
                prefixes.append(name[6:])
                self._bindings.setdefault(name[6:], []).append(value)
        return prefixes

    def _carrier(self, parent: _Element | None, local: str) -> _Carrier:
        nesting = parent.carrier.nesting if parent else 0
        if parent is not None and (local not in _STANZAS or nesting == _MOST_NESTED or self._in_ciphertext):
            return parent.carrier
        carrier = _Carrier(self._parser.CurrentByteIndex, len(self._path), nesting + 1)
        self.carriers.append(carrier)
        self.is_plain = self.is_plain and parent is None
        if parent is not None:
            parent.carrier.within.append(carrier)
            if parent.local == "forwarded":
                parent.forwarded.append(carrier)
        return carrier

    def _note(self, element: _Element, namespace: str, attributes: dict[str, str]) -> None:
        carrier, local = element.carrier, element.local
        scheme = SCHEMES.get(downgrade_name(namespace))
        if scheme is Scheme.EME:
            carrier.schemes[scheme] = namespace
            carrier.facts.add((_HINT, attributes.get("namespace", "")))
        elif scheme is not None:
            if local == _ENCRYPTED[scheme]:
                carrier.schemes[scheme] = namespace
            else:
                carrier.announced.add(scheme)
            if (scheme, local) in _CIPHERTEXTS:
                element.ciphertext = scheme
        elif local == "body" and len(self._path) == carrier.depth + 1:
            element.ciphertext = Scheme.OTR
            self._otr_head = ""
        self._in_ciphertext = element.ciphertext is not None

    def _read_text(self, text: str) -> None:
        self._texts.append(text)
        element = self._path[-1]
        if element.text_start < 0:
            element.text_start = self._parser.CurrentByteIndex
        if element.ciphertext is Scheme.OTR and len(self._otr_head) < _OTR_HEAD:
            self._otr_head += text[:_OTR_HEAD]

    def _close(self, _name: str) -> None:
        element = self._path[-1]
        at = self._parser.CurrentByteIndex
        carrier = element.carrier
        for prefix in element.prefixes:
            self._bindings[prefix].pop()
        if element.time is not None:
            for forwarded in element.forwarded:
                forwarded.facts.add(element.time)
        if element.ciphertext is not None:
            self._in_ciphertext = False
            if 0 <= element.text_start < at and self._take_ciphertext(
                carrier, element.ciphertext, element.text_start, at
            ):
                self._texts.clear()
        self._tell_text()
        self._path.pop()
        if len(self._path) == carrier.depth:
            carrier.end = self._end_of(element, at)

    def _tell_attributes(self, attributes: dict[str, str]) -> None:
        own = _NOTHING if self._path else _OUTER
        for name, value in attributes.items():
            if name in own:
                self.told.add((own[name], value))
            elif name == "xml:lang":
                self.told.add((_LANGUAGE, value))
            elif name != "xmlns" and not name.startswith("xmlns:"):
                self.told.add(_attribute_fact(name, value))

    def _tell_text(self) -> None:
        """The text before a tag."""
        if not self._texts:
            return
        value = "".join(self._texts)
        self._texts.clear()
        kind = _TEXTS.get(self._path[-1].local, _TEXT) if len(self._path) == 2 else _TEXT
        if kind != _TEXT or value.strip(" \t\r\n"):
            self.told.add((kind, value))

    def _take_ciphertext(self, carrier: _Carrier, scheme: Scheme, start: int, end: int) -> bool:
        """Whether it is one."""
        if scheme is Scheme.OTR:
            if not self._otr_head.startswith("?OTR"):
                return False
            if not _is_otr_data(self._otr_head):
                carrier.announced.add(scheme)
                return False
            carrier.schemes[scheme] = "?OTR"
        carrier.ciphertexts.append((start, end, scheme))
        return True

    def _end_of(self, element: _Element, at: int) -> int:
        """Past the element: expat tells where its end tag begins or, of a tag that closes itself, where it ends."""
        closes_itself = element.childless and element.text_start < 0 and self._data[at - 2 : at] == b"/>"
        return at if closes_itself else self._data.index(b">", at) + 1


def _is_otr_data(head: str) -> bool:
    """Whether a body beginning so is ciphertext: a data message, or a fragment, of which one cannot tell.

    Queries, errors and the key exchange are not. After ``?OTR:``, in base64, come two bytes of version and one of type,
    3 for data.
    """
    if head[4:5] in (",", "|"):
        return True
    try:
        return head[4:5] == ":" and binascii.a2b_base64(head[5:9])[2:3] == b"\x03"
    except ValueError:
        return False
