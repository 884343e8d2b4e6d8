"""Stanza Encryption (XEP-0419): one whole stanza under Double ROT-13, and what a partial encryption gives away.

XEP-0419 wants the outer tag, the metadata and the payload encrypted; the body alone, or the contents without
the outer tag, is not valid. After two rotations the valid and the invalid forms are byte for byte the same
stanza, so a stanza cannot show how much of it is encrypted: :class:`EncryptedStanza` states it.

Structure comes from the standard library's expat, in time linear in the stanza (before expat 2.6 a single tag
above 1 MiB is read again for each further MiB); ``import xep419`` does not import this module. It knows nothing of
streams (``StanzaStream`` cuts them) and changes no namespace: the output is as long as the input, and offsets hold
for both.
"""

from __future__ import annotations

import enum
import operator
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple
from xml.parsers import expat

from ._encoding import HEAD_BYTES, check_encoding
from ._pure.cipher import fold_rounds, to_bytes
from .cipher import rot13
from .errors import MalformedXMLError, PartialEncryptionError, RestrictedXMLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from ._types import Buffer

Span = tuple[int, int]

_BEFORE = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*")
_XML_DECLARATION = re.compile(rb"<\?xml[ \t\r\n]")
_ATTRIBUTE = re.compile(rb"[ \t\r\n]+[^ \t\r\n/>=]+[ \t\r\n]*=[ \t\r\n]*(?:\"([^\"]*)\"|'([^']*)')")
_TAG_END = re.compile(rb"[ \t\r\n]*(/?)>")
_TAG_NAME = re.compile(rb"<[^ \t\r\n/>]+")

#: what may not stand before the outer element, by its first bytes; a DTD thus never reaches expat
_FORBIDDEN_STARTS = ((b"<!DOCTYPE", "a DTD"), (b"<!--", "a comment"), (b"<?", "a processing instruction"))

#: an error message lists no more exposures than this, and of each no more characters
_MOST_LISTED = 16
_LONGEST_LISTED = 60


class StanzaPart(enum.Enum):
    """How much of a stanza is encrypted; only ``STANZA`` is valid (XEP-0419, Stanza Encryption)."""

    #: every byte: outer tag, metadata and payload
    STANZA = "stanza"
    #: what stands between the outer start tag and the outer end tag
    CONTENTS = "contents"
    #: what stands in each ``<body>`` child of the outer element (RFC 6121 section 5.2.3)
    BODY = "body"


class ExposureKind(enum.Enum):
    """What sort of thing a reader of a stanza's clear parts learns; the value is its name in messages."""

    #: ``from`` of the outer element (RFC 6120 section 8.1.2)
    SENDER = "sender"
    #: ``to`` of the outer element (RFC 6120 section 8.1.1)
    RECIPIENT = "recipient"
    #: ``type`` of the outer element (RFC 6120 section 8.1.4)
    TYPE = "type"
    #: ``id`` of the outer element (RFC 6120 section 8.1.3)
    ID = "id"
    #: ``xml:lang`` of any element (RFC 6120 section 8.1.5)
    LANGUAGE = "language"
    #: a tag's qualified name, as written; of an end tag only when its start tag is covered
    ELEMENT = "element"
    #: the namespace name of a declaration
    NAMESPACE = "namespace"
    #: the value of any other attribute
    ATTRIBUTE = "attribute"
    #: text of a ``<body>`` child of the outer element (RFC 6121 section 5.2.3)
    BODY = "body"
    #: text of a ``<subject>`` child of the outer element (RFC 6121 section 5.2.4)
    SUBJECT = "subject"
    #: text of a ``<thread>`` child of the outer element (RFC 6121 section 5.2.5)
    THREAD = "thread"
    #: other text, unless it is white space only
    TEXT = "text"
    #: the number of bytes in an encrypted range, which a rotation keeps and the clear bytes around it delimit
    SIZE = "size"


class Exposure(NamedTuple):
    """One thing that a reader of a stanza's clear parts learns."""

    kind: ExposureKind
    #: as a reader understands it: references resolved, line ends and attribute values normalized by XML 1.0;
    #: for ``SIZE`` the number of bytes in decimal
    value: str
    #: byte offsets of the value in the stanza (of its UTF-8 form, for ``str``): of an attribute the part
    #: between the quotes, of an element its name, of a ``SIZE`` the encrypted range
    start: int
    end: int
    #: the qualified name of the attribute, of the element, or of the element around the text; empty for ``SIZE``
    name: str

    def __str__(self) -> str:
        """The exposure in a few words, long names and values cut."""
        if self.kind is ExposureKind.SIZE:
            return f"size {self.value} bytes"
        subject = self.kind.value
        if self.kind is ExposureKind.ATTRIBUTE:
            subject += " " + _cut(self.name)
        return f"{subject} {_cut(self.value)!r}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LISTED else text[: _LONGEST_LISTED - 3] + "..."


def _check_spans(spans: Iterable[Span], size: int) -> tuple[Span, ...]:
    checked = tuple((operator.index(start), operator.index(end)) for start, end in spans)
    done = 0
    for start, end in checked:
        if not done <= start < end <= size:
            raise ValueError(
                f"spans must be ascending, not empty, without overlap and within {size} bytes, not {(start, end)}"
                f" after byte {done}"
            )
        done = end
    return checked


class EncryptedStanza(bytes):
    """A stanza's bytes, with the statement of how they were encrypted.

    It equals and hashes like its bytes; slices and other results of ``bytes`` methods are plain ``bytes``. Copies
    and pickles keep the statement. :func:`encrypt_stanza` makes it; make one by hand for coverage that is known
    from elsewhere.

    :param data: the stanza as it is on the wire, bytes-like or ``str``.
    :param part: what was to be encrypted.
    :param spans: the ``(start, end)`` byte ranges that were rotated: ascending, none empty, none overlapping.
    :param rounds: how many rotations they underwent.
    :raises ValueError: spans that are out of order or out of bounds; negative ``rounds``; spans with ``rounds=0``.
    """

    _part: StanzaPart
    _spans: tuple[Span, ...]
    _rounds: int

    def __new__(cls, data: Buffer | str, /, *, part: StanzaPart, spans: Iterable[Span], rounds: int = 2) -> Self:
        _require_part(part)
        fold_rounds(rounds)
        self = super().__new__(cls, to_bytes(data))
        self._part = part
        self._spans = _check_spans(spans, len(self))
        self._rounds = operator.index(rounds)
        if self._spans and not self._rounds:
            raise ValueError(f"rounds=0 rotates nothing: spans must be empty, not {self._spans}")
        return self

    @property
    def part(self) -> StanzaPart:
        """What was asked to be encrypted."""
        return self._part

    @property
    def spans(self) -> tuple[Span, ...]:
        """The ``(start, end)`` byte ranges that were rotated, ascending; of the result and the input alike."""
        return self._spans

    @property
    def rounds(self) -> int:
        """How many rotations the spans underwent; 2 is Double ROT-13."""
        return self._rounds

    def __repr__(self) -> str:
        return f"{type(self).__name__}({bytes(self)!r}, part={self._part}, spans={self._spans}, rounds={self._rounds})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), bytes(self), self._part, self._spans, self._rounds)


def _restore(
    kind: type[EncryptedStanza], data: bytes, part: StanzaPart, spans: tuple[Span, ...], rounds: int
) -> EncryptedStanza:
    return kind(data, part=part, spans=spans, rounds=rounds)


def _require_part(part: object) -> None:
    if not isinstance(part, StanzaPart):
        raise TypeError(f"part must be a xep419.stanza.StanzaPart, not {type(part).__name__!r}")


# -- structure --------------------------------------------------------------------------------------------


def _restricted(what: str, offset: int) -> RestrictedXMLError:
    return RestrictedXMLError(f"expected a stanza of XML that RFC 6120 section 11.1 allows, got {what}", offset=offset)


def _malformed(came: str, offset: int) -> MalformedXMLError:
    return MalformedXMLError(f"expected one whole stanza, got {came}", offset=offset)


class _StanzaReader:
    """One pass of expat over one stanza; subclasses add handlers. Refuses all but one well-formed element.

    Prefixes are not resolved: the stream header may declare them (RFC 6120 section 4.8.5).
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.parser = expat.ParserCreate("utf-8")
        self.parser.CommentHandler = self._comment
        self.parser.ProcessingInstructionHandler = self._instruction

    def read(self) -> None:
        try:
            self._check_start()
            self.parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise self._translated(error.code, self.parser.ErrorByteIndex) from None
        finally:
            del self.parser  # it holds our handlers, and we hold it

    def _check_start(self) -> None:
        # After an error in a handler expat reads on, so what stands before the outer element is checked here,
        # and no entity declaration is ever acted on.
        check_encoding(self.data[:HEAD_BYTES])
        start = _end_of(_BEFORE.match(self.data))
        if start == len(self.data):
            raise _malformed("only white space" if self.data else "nothing", 0)
        if _XML_DECLARATION.match(self.data, start):
            raise _malformed("an XML declaration, which only opens a stream", start)
        for first, what in _FORBIDDEN_STARTS:
            if self.data.startswith(first, start):
                raise _restricted(what, start)

    def _comment(self, _text: str) -> None:
        raise _restricted("a comment", self.parser.CurrentByteIndex)

    def _instruction(self, _target: str, _text: str) -> None:
        raise _restricted("a processing instruction", self.parser.CurrentByteIndex)

    def _translated(self, code: int, at: int) -> MalformedXMLError | RestrictedXMLError:
        errors = expat.errors.codes
        for start in (at, at - 2):  # expat stops at the markup, or right after its "<!"
            if self.data.startswith(b"<!DOCTYPE", max(start, 0)):
                return _restricted("a DTD", start)
        if code == errors[expat.errors.XML_ERROR_UNDEFINED_ENTITY]:
            return _restricted("a reference to an entity that is not predefined", at)
        partial = code == errors[expat.errors.XML_ERROR_PARTIAL_CHAR]
        try:
            self.data.decode()
        except UnicodeDecodeError as invalid:
            if partial or invalid.start == at:
                return _malformed(f"bytes that are not UTF-8 ({invalid.reason})", invalid.start)
        if code == errors[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]:
            return _malformed("more after its end", at)
        return _malformed(f"XML that is not well-formed: {expat.ErrorString(code)}", at)


def _start_tag_end(data: bytes, at: int) -> tuple[int, bool]:
    """For the well-formed start tag at ``at``: the offset after its ``>``, and whether it closes itself."""
    cursor = _end_of(_TAG_NAME.match(data, at))
    found = _ATTRIBUTE.match(data, cursor)
    while found:
        cursor = found.end()
        found = _ATTRIBUTE.match(data, cursor)
    end = _TAG_END.match(data, cursor)
    return _end_of(end), bool(end and end[1])


def _end_of(found: re.Match[bytes] | None) -> int:
    assert found is not None, "expat accepted a tag that this module cannot read"
    return found.end()


class _BodyReader(_StanzaReader):
    """Finds what stands in each ``<body>`` child of the outer element."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.spans: list[Span] = []
        self._depth = 0
        self._start = 0
        self.parser.StartElementHandler = self._open
        self.parser.EndElementHandler = self._close

    def _open(self, name: str, _attributes: object) -> None:
        if self._depth == 1:
            body = name.rpartition(":")[2] == "body"
            # a body that closes itself holds nothing, and its end event comes after it
            self._start = _start_tag_end(self.data, self.parser.CurrentByteIndex)[0] if body else -1
        self._depth += 1

    def _close(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 1 and 0 <= self._start < self.parser.CurrentByteIndex:
            self.spans.append((self._start, self.parser.CurrentByteIndex))


def _contents_span(data: bytes) -> Span:
    """What stands between the tags of the outer element of a well-formed stanza; empty when it closes itself."""
    start, self_closing = _start_tag_end(data, data.index(b"<"))
    return start, start if self_closing else data.rindex(b"</")


def _part_spans(data: bytes, part: StanzaPart) -> tuple[Span, ...]:
    if part is StanzaPart.BODY:
        reader = _BodyReader(data)
        reader.read()
        return tuple(reader.spans)
    _StanzaReader(data).read()
    span = (0, len(data)) if part is StanzaPart.STANZA else _contents_span(data)
    return (span,) if span[0] < span[1] else ()


# -- encryption -------------------------------------------------------------------------------------------


def _rotated(data: bytes, spans: Iterable[Span], rounds: int) -> bytes:
    pieces: list[bytes] = []
    done = 0
    for start, end in spans:
        rotated = rot13(data[start:end], rounds=rounds)
        assert isinstance(rotated, bytes)
        pieces += (data[done:start], rotated)
        done = end
    pieces.append(data[done:])
    return b"".join(pieces)


def encrypt_stanza(
    stanza: Buffer | str, /, *, part: StanzaPart = StanzaPart.STANZA, rounds: int = 2
) -> EncryptedStanza:
    """One stanza with ``part`` of it under ROT-13, ``rounds`` times (XEP-0419, Stanza Encryption).

    ``STANZA``, the only valid part, is every byte given, white space around the element included.
    ``CONTENTS`` is what stands between the ``>`` of the outer start tag and the ``<`` of the outer end tag.
    ``BODY`` is what stands in each child of the outer element whose local name is ``body``, with or without a
    prefix and whatever its namespace: a stanza alone does not show what the stream header declared.

    Every byte of a part is rotated, child markup and references (``&amp;``) too: two rotations bring them back,
    one leaves XML that need not be well-formed. A part that is not there, or is empty, or was rotated no times
    gives no spans. With two rounds the bytes come out as they went in; ``rounds=1`` shows the coverage.

    Namespaces stay as they are; :func:`xep419.upgrade` is the step before this one, and
    :func:`xep419.encrypt` does both to a whole stanza. An ``EncryptedStanza`` is taken as the bytes it holds.

    :param stanza: one well-formed element, bytes-like or ``str`` (UTF-8 inside), white space around it allowed;
        its prefixes need not be declared in it.
    :param rounds: how many rotations, 0 or more; 2 is Double ROT-13.
    :returns: as many bytes as the stanza has in UTF-8.
    :raises MalformedXMLError: anything but one whole element (also keepalive white space), or not UTF-8.
    :raises RestrictedXMLError: a comment, processing instruction, DTD or entity reference other than the five
        predefined ones (RFC 6120 section 11.1).
    :raises EncodingError: UTF-16 or UTF-32.
    :raises ValueError: negative ``rounds``.
    """
    _require_part(part)
    folded = fold_rounds(rounds)
    data = to_bytes(stanza, "stanza")
    spans = _part_spans(data, part)
    if not folded:
        spans = ()
    return EncryptedStanza(_rotated(data, spans, folded), part=part, spans=spans, rounds=rounds)


# -- exposure ---------------------------------------------------------------------------------------------

#: by name, of the outer element
OUTER_ATTRIBUTES = {
    "from": ExposureKind.SENDER,
    "to": ExposureKind.RECIPIENT,
    "type": ExposureKind.TYPE,
    "id": ExposureKind.ID,
}
#: by the local name of a child of the outer element
CHILD_TEXTS = {
    "body": ExposureKind.BODY,
    "subject": ExposureKind.SUBJECT,
    "thread": ExposureKind.THREAD,
}


class _OpenElement(NamedTuple):
    name: str
    told: bool
    self_closing: bool


class _ExposureReader(_StanzaReader):
    """Collects what the clear ranges of a stanza say. A thing that is partly in the clear is told whole."""

    def __init__(self, data: bytes, spans: Iterable[Span]) -> None:
        super().__init__(data)
        self.found: list[Exposure] = []
        self._clear = _complement(spans, 0, len(data))
        self._clear_ends = [end for _, end in self._clear]
        self._path: list[_OpenElement] = []
        self._text: list[str] = []
        self._text_start = 0
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self._open
        self.parser.EndElementHandler = self._close
        self.parser.CharacterDataHandler = self._text.append

    def _is_clear(self, start: int, end: int) -> bool:
        """Whether a byte of the range is clear; for an empty value, whether the quotes around it are."""
        following = bisect_right(self._clear_ends, start)
        return following < len(self._clear) and self._clear[following][0] < end

    def _tell(self, kind: ExposureKind, value: str, start: int, end: int, name: str) -> bool:
        clear = self._is_clear(start, end)
        if clear:
            self.found.append(Exposure(kind, value, start, end, name))
        return clear

    def _open(self, name: str, attributes: list[str]) -> None:
        at = self.parser.CurrentByteIndex
        self._end_text(at)
        cursor = at + 1 + len(name.encode())
        told = self._tell(ExposureKind.ELEMENT, name, at + 1, cursor, name)
        for i in range(0, len(attributes), 2):
            found = _ATTRIBUTE.match(self.data, cursor)
            cursor = _end_of(found)
            assert found is not None
            start, end = found.span(1 if found[1] is not None else 2)
            self._tell(self._attribute_kind(attributes[i]), attributes[i + 1], start, end, attributes[i])
        closing = _TAG_END.match(self.data, cursor)
        self._text_start = _end_of(closing)
        assert closing is not None
        self._path.append(_OpenElement(name, told, bool(closing[1])))

    def _attribute_kind(self, name: str) -> ExposureKind:
        if name == "xmlns" or name.startswith("xmlns:"):
            return ExposureKind.NAMESPACE
        if name == "xml:lang":
            return ExposureKind.LANGUAGE
        kind = ExposureKind.ATTRIBUTE
        return kind if self._path else OUTER_ATTRIBUTES.get(name, kind)

    def _close(self, _name: str) -> None:
        at = self.parser.CurrentByteIndex
        self._end_text(at)
        name, told, self_closing = self._path.pop()
        if self_closing:
            return
        end = at + 2 + len(name.encode())
        self._text_start = self.data.index(b">", end) + 1
        if not told:
            self._tell(ExposureKind.ELEMENT, name, at + 2, end, name)

    def _end_text(self, end: int) -> None:
        if not self._text:
            return
        value = "".join(self._text)
        self._text.clear()
        name = self._path[-1].name
        local = name.rpartition(":")[2]
        kind = CHILD_TEXTS.get(local, ExposureKind.TEXT) if len(self._path) == 2 else ExposureKind.TEXT
        if kind is not ExposureKind.TEXT or value.strip(" \t\r\n"):
            self._tell(kind, value, self._text_start, end, name)


def _complement(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """The ranges of ``start`` to ``end`` that no span covers."""
    clear: list[Span] = []
    for covered, covered_end in spans:
        if start < min(covered, end):
            clear.append((start, min(covered, end)))
        start = max(start, covered_end)
    if start < end:
        clear.append((start, end))
    return clear


class _Coverage(NamedTuple):
    clear: list[Span]  # of the element, without the white space around it
    exposures: tuple[Exposure, ...]
    size: int
    came: str


def _coverage(stanza: Buffer | str) -> _Coverage:
    spans: tuple[Span, ...] = ()
    data = to_bytes(stanza, "stanza")
    came = f"a {type(stanza).__name__!r} states none; encrypt_stanza gives an EncryptedStanza"
    if isinstance(stanza, EncryptedStanza):
        spans = stanza.spans
        data = _rotated(data, spans, stanza.rounds % 2)  # rotated as often again, it is plain
        came = f"part {stanza.part.name}"
    reader = _ExposureReader(data, spans)
    reader.read()
    clear = _complement(spans, data.index(b"<"), data.rindex(b">") + 1)
    found = reader.found
    if clear and spans:
        found += (Exposure(ExposureKind.SIZE, str(end - start), start, end, "") for start, end in spans)
        found.sort(key=_start_of)
    return _Coverage(clear, tuple(found), len(data), came)


_start_of = operator.attrgetter("start")


def exposed(stanza: Buffer | str, /) -> tuple[Exposure, ...]:
    """What a reader of the clear parts of a stanza learns, in the order it stands there; nothing if all is covered.

    An :class:`EncryptedStanza` is judged by its spans. Anything else states no encryption, so all of it is in the
    clear, whatever its bytes are: after two rotations they tell nothing.

    :param stanza: as for :func:`encrypt_stanza`, whose errors it raises for what is not one whole stanza.
    """
    return _coverage(stanza).exposures


def validate(stanza: Buffer | str, /) -> None:
    """Accepts a stanza encrypted as XEP-0419, section Stanza Encryption, demands: outer tag, metadata and payload.

    It judges coverage, not the number of rotations; white space around the outer element need not be covered.

    :param stanza: as for :func:`exposed`.
    :raises PartialEncryptionError: part of the stanza is in the clear; its ``exposures`` is the tuple that
        :func:`exposed` gives, its ``offset`` the first clear byte of the outer element.
    """
    clear, exposures, size, came = _coverage(stanza)
    if not clear:
        return
    covered = size - sum(end - start for start, end in clear)
    listed = ", ".join(map(str, exposures[:_MOST_LISTED]))
    more = f" and {len(exposures) - _MOST_LISTED} more" if len(exposures) > _MOST_LISTED else ""
    error = PartialEncryptionError(
        "expected outer tag, metadata and payload encrypted (XEP-0419, Stanza Encryption),"
        f" got {covered} of {size} bytes encrypted ({came}); in the clear: {listed}{more}",
        offset=clear[0][0],
    )
    vars(error)["exposures"] = exposures
    raise error


__all__ = [
    "EncryptedStanza",
    "Exposure",
    "ExposureKind",
    "StanzaPart",
    "encrypt_stanza",
    "exposed",
    "validate",
]
