"""The namespace scanner in plain Python: the readable specification of what ``_core/scanner.pyx`` finds.

It walks every tag in order, where the compiled scanner searches for candidates first and looks at
the tags around them; the tests hold the two against each other on any bytes. No input or output, no
splicing: positions only. ``docs/scanning.md`` states the rules in prose.
"""

from __future__ import annotations

import re
from collections import namedtuple

from ..names import CHARACTER_REFERENCE, code_point, is_known, is_registered_node, resolve_references

#: bits of :class:`xep419.names.Scope`
DECLARATIONS, FEATURES, FORM_TYPES, FIELDS, NODES, REFERENCES = 1, 2, 4, 8, 16, 32

#: One name: its bytes, its scope bit, whether it is secure, and its mark. The mark of an insecure name is the
#: place where its letter goes (``mark == mark_end``); that of a secure one is the range of its ``s``.
Finding = namedtuple("Finding", "start end kind secure mark mark_end")

#: What the bytes held back by :meth:`Scanner.scan` wait for.
HOLD_NOTHING, HOLD_SHORT, HOLD_REFERENCE, HOLD_TEXT, HOLD_TAG = range(5)

#: text of a FORM_TYPE value shorter than this is looked at again on every call
SHORT_TEXT = 64

_CONTENT, _COMMENT, _CDATA, _PI, _DTD = range(5)
_TERMINATORS = {_COMMENT: b"-->", _CDATA: b"]]>", _PI: b"?>"}

_NAME = re.compile(rb"[^ \t\r\n/<>='\"]*")
_QUOTE_OR_END = re.compile(rb"[<>'\"]")
_TAG_END = re.compile(rb"[<>]")
_VALUE_END = {0x22: re.compile(rb'["<]'), 0x27: re.compile(rb"['<]")}
_NOT_NAME = frozenset(b" \t\r\n/<>='\"")
_TRIGGERS = frozenset(b"hHuU&{F")
_SPACE = frozenset(b" \t\r\n")
_DTD_TOKEN = re.compile(rb"[\"'\[\]>]|<!--|<\?")
_CAPS = frozenset({"http://jabber.org/protocol/caps", "https://jabber.org/protocol/caps"})

#: Bounds that keep the scanner's memory constant and its time linear; no real document comes near them.
#: Deeper FORM_TYPE fields and caps declarations are not followed, longer prefixes not remembered.
MAX_FRAMES = 64
MAX_PREFIX = 64

Unit = tuple[int, int, int]  # code point (or byte), start, end


def unit_at(data: bytes, at: int, end: int) -> Unit:
    """One letter of a value: a byte, or a whole character reference with the code point it denotes."""
    if data[at] == 0x26:
        found = CHARACTER_REFERENCE.match(data, at, end)
        if found:
            code = code_point(found)
            if code >= 0:
                return code, at, found.end()
    return data[at], at, at + 1


def resolve(data: bytes, start: int, end: int) -> str:
    return resolve_references(data[start:end])


_SCHEMES = ("http", "urn:xmpp")


def match_scheme(data: bytes, start: int, end: int) -> tuple[bool, int, int] | None:
    """``(secure, mark, mark_end)`` when the value at ``start`` is under one of the schemes, else None."""
    if start >= end:
        return None
    first = chr(unit_at(data, start, end)[0]).lower()
    for scheme in _SCHEMES:
        if scheme[0] != first:
            continue
        at = start
        for letter in scheme:
            if at >= end:
                return None
            code, _, at = unit_at(data, at, end)
            if chr(code).lower() != letter or code > 127:
                return None
        if at >= end:
            return None
        code, mark, after = unit_at(data, at, end)
        if code == 0x3A:
            return False, mark, mark
        if code in (0x73, 0x53) and after < end and unit_at(data, after, end)[0] == 0x3A:
            return True, mark, after
    return None


def _attribute_name(data: bytes, floor: int, quote: int) -> bytes:
    """The attribute name before the ``=`` before the quote at ``quote``, or nothing if there is no such."""
    head = data[floor:quote].rstrip(b" \t\r\n")
    if not head.endswith(b"="):
        return b""
    head = head[:-1].rstrip(b" \t\r\n")
    start = len(head)
    while start > 0 and head[start - 1] not in _NOT_NAME:
        start -= 1
    return head[start:]


class Scanner:
    """Finds names in one document given piece by piece; holds the place in the document between the calls."""

    def __init__(self, scopes: int) -> None:
        self.scopes = scopes
        self.hold = HOLD_NOTHING
        self._section = _CONTENT
        self._dtd_depth = 0
        self._dtd_quote = 0
        self._dtd_inner = _CONTENT
        self._depth = 0  # open elements since the outermost frame's, itself included
        self._frames: list[tuple[int, bytes | None, bool]] = []  # (depth, prefix or None for a form, caps)
        self._bound = 0  # how many of the frames are namespace bindings
        self._value = False  # in a FORM_TYPE value, before its text

    def scan(self, data: bytes, final: bool) -> tuple[list[Finding], int]:
        """Names in ``data`` and how many of its bytes are done with; give the others again, first, next time.

        With ``final`` true everything is done with: the document ends there.
        """
        found: list[Finding] = []
        self._data = data
        self._found = found
        self.hold = HOLD_NOTHING
        at, n = 0, len(data)
        while at < n:
            if self._section != _CONTENT:
                at, stop = self._skip_section(at)
            elif self._value:
                at, stop = self._value_text(at, final)
            else:
                at = data.find(b"<", at)
                if at < 0:
                    at = n
                    break
                at, stop = self._markup(at, final)
            if stop:
                break
        return found, n if final else at

    # -- sections that are never touched ------------------------------------------------------------------

    def _skip_section(self, at: int) -> tuple[int, bool]:
        if self._section == _DTD:
            return self._skip_dtd(at)
        at, stop = self._skip_to(_TERMINATORS[self._section], at)
        if not stop:
            self._section = _CONTENT
        return at, stop

    def _skip_to(self, terminator: bytes, at: int) -> tuple[int, bool]:
        end = self._data.find(terminator, at)
        if end >= 0:
            return end + len(terminator), False
        self.hold = HOLD_SHORT
        return max(at, len(self._data) - len(terminator) + 1), True

    def _skip_dtd(self, at: int) -> tuple[int, bool]:
        data, n = self._data, len(self._data)
        while at < n:
            if self._dtd_quote:
                end = data.find(self._dtd_quote, at)
                if end < 0:
                    return n, True
                self._dtd_quote = 0
                at = end + 1
                continue
            if self._dtd_inner != _CONTENT:
                at, stop = self._skip_to(_TERMINATORS[self._dtd_inner], at)
                if stop:
                    return at, True
                self._dtd_inner = _CONTENT
                continue
            token = _DTD_TOKEN.search(data, at)
            if token is None:
                self.hold = HOLD_SHORT
                for held in (3, 2, 1):
                    if at <= n - held and b"<!--".startswith(data[n - held :]):
                        return n - held, True
                return n, True
            at = token.end()
            text = token[0]
            if text == b"<!--":
                self._dtd_inner = _COMMENT
            elif text == b"<?":
                self._dtd_inner = _PI
            elif text == b"[":
                self._dtd_depth += 1
            elif text == b"]":
                self._dtd_depth = max(0, self._dtd_depth - 1)
            elif text != b">":
                self._dtd_quote = text[0]
            elif self._dtd_depth == 0:
                self._section = _CONTENT
                return at, False
        return n, False

    def _open_section(self, at: int, final: bool) -> tuple[int, bool]:
        data = self._data
        if data[at + 1] == 0x3F:
            self._section = _PI
            return at + 2, False
        head = data[at : at + 9]
        if head.startswith(b"<!--"):
            self._section = _COMMENT
            return at + 4, False
        if head == b"<![CDATA[":
            self._section = _CDATA
            self._value = False
            return at + 9, False
        if not final and (b"<!--".startswith(head) or b"<![CDATA[".startswith(head)):
            self.hold = HOLD_SHORT
            return at, True
        self._section = _DTD
        self._dtd_depth = self._dtd_quote = 0
        self._dtd_inner = _CONTENT
        return at + 2, False

    # -- tags ---------------------------------------------------------------------------------------------

    def _markup(self, at: int, final: bool) -> tuple[int, bool]:
        data, n = self._data, len(self._data)
        if at + 1 >= n:
            self.hold = HOLD_SHORT
            return at, True
        following = data[at + 1]
        if following in b"!?":
            return self._open_section(at, final)
        if following == 0x2F:
            found = _TAG_END.search(data, at + 2)
            if found is None:
                self.hold = HOLD_TAG
                return (n, False) if final else (at, True)
            if data[found.start()] == 0x3C:
                return found.start(), False
            self._end_tag()
            return found.end(), False
        name = _NAME.match(data, at + 1)
        assert name is not None
        if name.start() == name.end():
            return at + 1, False
        return self._start_tag(at, name.end(), final)

    def _end_tag(self) -> None:
        if not self._frames:
            return
        while self._frames and self._frames[-1][0] == self._depth:
            if self._frames.pop()[1] is not None:
                self._bound -= 1
        self._depth = self._depth - 1 if self._frames else 0

    def _start_tag(self, at: int, cursor: int, final: bool) -> tuple[int, bool]:
        data, n = self._data, len(self._data)
        local = data[at + 1 : cursor].rpartition(b":")[2]
        prefix = data[at + 1 : cursor].rpartition(b":")[0]
        form = False
        own_bound = own_caps = False
        bindings: list[tuple[bytes, bool]] = []
        nodes: list[tuple[int, int]] = []
        tag_findings: list[Finding] = []
        complete = self_closing = False
        while True:
            found = _QUOTE_OR_END.search(data, cursor)
            if found is None:
                if not final:
                    self.hold = HOLD_TAG
                    return at, True
                after = n
                break
            quote = data[found.start()]
            if quote == 0x3C:
                after = found.start()
                break
            if quote == 0x3E:
                after = found.end()
                complete = True
                self_closing = found.start() > cursor and data[found.start() - 1] == 0x2F
                break
            start = found.end()
            closing = _VALUE_END[quote].search(data, start)
            if closing is None or data[closing.start()] == 0x3C:
                if closing is None and not final:
                    self.hold = HOLD_TAG
                    return at, True
                after = n if closing is None else closing.start()
                break
            end = closing.start()
            name = _attribute_name(data, cursor, start - 1)
            if name:
                if self.scopes & NODES and (name == b"xmlns" or name.startswith(b"xmlns:")):
                    caps = resolve(data, start, end) in _CAPS
                    if caps or self._bound:  # any other binding hides nothing
                        if name[6:] == prefix:
                            own_bound = True
                            own_caps = own_caps or caps
                        if len(bindings) < MAX_FRAMES and len(name) <= 6 + MAX_PREFIX:
                            bindings.append((name[6:], caps))
                if start < end and data[start] in _TRIGGERS:
                    if name == b"node" and local == b"c":
                        nodes = nodes or [(start, end)]
                    elif self._attribute(local, name, start, end, tag_findings):
                        form = True
            cursor = end + 1
        if nodes and not (own_caps if own_bound else self._is_caps(prefix)):
            for start, end in nodes:
                self._node(start, end, tag_findings)
        tag_findings.sort()
        self._found.extend(tag_findings)
        if complete and not self_closing:
            self._open_element(local, form, bindings)
        return after, False

    def _is_caps(self, prefix: bytes) -> bool:
        """Whether an enclosing element binds ``prefix`` to the namespace of XEP-0115."""
        for _depth, framed, caps in reversed(self._frames):
            if framed == prefix:
                return caps
        return False

    def _open_element(self, local: bytes, form: bool, bindings: list[tuple[bytes, bool]]) -> None:
        form = form and bool(self.scopes & FORM_TYPES)
        caps = self._bound > 0 or any(caps for _, caps in bindings)
        if not (self._frames or form or caps):
            return
        in_form = bool(self._frames) and self._frames[-1][:2] == (self._depth, None)
        self._depth += 1
        if caps:
            room = MAX_FRAMES - len(self._frames)
            self._frames.extend((self._depth, bound, is_caps) for bound, is_caps in bindings[:room])
            self._bound += len(bindings[:room])
        if form and len(self._frames) < MAX_FRAMES:
            self._frames.append((self._depth, None, False))
        if not self._frames:
            self._depth = 0
        self._value = local == b"value" and in_form

    # -- values -------------------------------------------------------------------------------------------

    def _attribute(self, local: bytes, name: bytes, start: int, end: int, found: list[Finding]) -> bool:
        """Judges one attribute by the scope table; says whether it marks a FORM_TYPE field."""
        if name == b"xmlns" or (name.startswith(b"xmlns:") and name not in (b"xmlns:", b"xmlns:xml")):
            self._by_scheme(DECLARATIONS, start, end, found)
        elif name == b"var" and local == b"feature":
            self._by_scheme(FEATURES, start, end, found)
        elif name == b"var" and local == b"field":
            if resolve(self._data, start, end) == "FORM_TYPE":
                return True
            self._clark(start, end, found)
        elif name == b"node":
            self._node(start, end, found)
        elif (name, local) in ((b"namespace", b"encryption"), (b"for", b"fallback"), (b"reason", b"report")):
            self._by_scheme(REFERENCES, start, end, found)
        return False

    def _by_scheme(self, kind: int, start: int, end: int, found: list[Finding]) -> None:
        match = match_scheme(self._data, start, end) if self.scopes & kind else None
        if match:
            found.append(Finding(start, end, kind, *match))

    def _clark(self, start: int, end: int, found: list[Finding]) -> None:
        code, _, at = unit_at(self._data, start, end)
        if code != 0x7B:
            return
        cursor = at
        while cursor < end:
            code, brace, cursor = unit_at(self._data, cursor, end)
            if code == 0x7D:
                self._by_scheme(FIELDS, at, brace, found)
                return

    def _node(self, start: int, end: int, found: list[Finding]) -> None:
        match = match_scheme(self._data, start, end) if self.scopes & NODES else None
        if match:
            secure, mark, mark_end = match
            urn = chr(unit_at(self._data, start, end)[0]) in "uU"
            if urn or is_registered_node(insecure_name(self._data, start, end, mark, mark_end)):
                found.append(Finding(start, end, NODES, secure, mark, mark_end))

    def _value_text(self, at: int, final: bool) -> tuple[int, bool]:
        data, n = self._data, len(self._data)
        while at < n and data[at] in _SPACE:
            at += 1
        if at == n:
            return at, False
        if data[at] == 0x3C:
            if at + 1 >= n:
                self.hold = HOLD_SHORT
                return at, True
            if data[at + 1] not in b"!?":
                self._value = False
                return at, False
            return self._open_section(at, final)
        code, _, after = unit_at(data, at, n)
        if code in _SPACE:
            return after, False
        end = data.find(b"<", at)
        if end < 0:
            end = n
            if not final:
                self.hold = HOLD_TEXT if n - at < SHORT_TEXT else self._text_waits_for(at)
                if self.hold != HOLD_NOTHING:
                    return at, True
        self._value = False
        match = match_scheme(data, at, end)
        if match:
            stop = end
            while stop > match[2] + 1 and data[stop - 1] in _SPACE:
                stop -= 1
            self._found.append(Finding(at, stop, FORM_TYPES, *match))
        return end, False

    def _text_waits_for(self, at: int) -> int:
        """What text whose end has not come yet must be held for: an unfinished reference, a name or part of one."""
        data, n = self._data, len(self._data)
        cursor, letters = at, ""
        while cursor < n and len(letters) < 10:
            if data[cursor] == 0x26 and data.find(b";", cursor) < 0:
                return HOLD_REFERENCE
            code, _, cursor = unit_at(data, cursor, n)
            letters += chr(code).lower()
        schemes = ("http:", "https:", "urn:xmpp:", "urn:xmpps:")
        if letters.startswith(schemes):
            return HOLD_TEXT
        return HOLD_SHORT if any(scheme.startswith(letters) for scheme in schemes) else HOLD_NOTHING


def insecure_name(data: bytes, start: int, end: int, mark: int, mark_end: int) -> str:
    """The name that stands at ``start``, without the ``s`` of its scheme."""
    return resolve(data, start, mark) + resolve(data, mark_end, end)


def is_known_finding(data: bytes, found: Finding) -> bool:
    """Whether the insecure form of a secure name is registered."""
    return is_known(insecure_name(data, found.start, found.end, found.mark, found.mark_end))
