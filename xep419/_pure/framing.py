"""``StanzaStream`` in plain Python: the readable specification of the framer.

One rule makes every chunking alike: each byte is judged when it comes, and in this order. Is there room for it
(``max_stanza``)? Can a character have it (UTF-8, and the characters of XML 1.0)? Can it stand here (the table of
``_grammar.py``, and the actions below)? The first no is the error.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import re
from collections.abc import Callable, Iterator

from .._grammar import (
    ACTIONS,
    CODES,
    FAULT_CODES,
    FIRST_ACTION,
    NAME,
    NEXT,
    SPACE,
    again,
    declaration_fault,
    fault,
    unexpected,
)
from ..errors import XEP419Error
from ..names import Scope
from .cipher import rotate, to_bytes
from .exclusive import Exclusive
from .namespaces import find, splice_down, splice_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

ERROR, OUTSIDE, TEXT, BOM_2 = CODES["ERROR"], CODES["OUTSIDE"], CODES["TEXT"], CODES["BOM_2"]
BEFORE_ROOT, IN_ROOT, AFTER_ROOT = range(3)
PREDEFINED = (b"amp", b"lt", b"gt", b"quot", b"apos")

_NAME = re.compile(b"[" + re.escape(NAME) + b"]*")
_PLAIN = b"\t\n\r" + bytes(range(0x20, 0x80))


@functools.cache
def _run(state: int) -> re.Pattern[bytes]:
    """The bytes that need no second look: plain characters after which the state is the same."""
    same = bytes(byte for byte in _PLAIN if NEXT[state][byte] == state)
    return re.compile(b"[" + re.escape(same) + b"]*" if same else b"")


def _encrypted(stanza: bytes) -> bytes:
    return splice_up(stanza, find(stanza, stanza, Scope.ALL.value), 2)


def _decrypted(stanza: bytes) -> bytes:
    plain = rotate(stanza, 2)
    return splice_down(plain, find(plain, plain, Scope.ALL.value), True, 0)


_TRANSFORMS: dict[str | None, Callable[[bytes], bytes]] = {
    None: lambda stanza: stanza,
    "encrypt": _encrypted,
    "decrypt": _decrypted,
}


def limit_of(name: str, limit: int) -> int:
    count = operator.index(limit)
    if not 1 <= count < 1 << 32:
        raise ValueError(f"{name} must be from 1 to 4294967295, not {count}")
    return count


class Framer(Exclusive):
    """The walk through a document; its subclasses say what is kept of it and for how long."""

    #: whether a second XML declaration or stream header between stanzas begins a new document
    _restarts = True
    #: whether text may stand in the root itself
    _text = False
    _where = BEFORE_ROOT
    _error: BaseException | None = None

    @contextlib.contextmanager
    def _set_up(self, limit: int, restricted: bool) -> Iterator[None]:
        """Ready for a document; within it, a subclass sets what it has besides."""
        with self._initializing():
            self._limit = limit
            self._restricted = restricted
            self._error = None
            self._buffer = bytearray()  # the bytes held back, and while it is read the piece behind them
            self._base = 0  # stream offset of the buffer's first byte
            self._begin_document()
            yield

    def _begin_document(self) -> None:
        self._begin = self._item = self._base
        self._in_item = True
        self._where = BEFORE_ROOT
        self._state = OUTSIDE
        self._names: list[bytes] = []  # of the open elements
        self._names_size = 0  # their bytes
        self._completed = self._dtd_seen = self._is_declaration = False
        self._sequence = b""  # of the character that is being read
        self._need = 0  # bytes that it lacks
        self._range = 0x80, 0xBF  # of the next

    # -- one byte after another -----------------------------------------------------------------------------

    def _advance(self, piece: bytes) -> None:
        self._at = self._base + len(self._buffer)  # stream offset of the byte that is judged
        self._buffer += piece
        end = self._at + len(piece)
        try:
            while self._at < end:
                room = self._room(end)
                if self._at == room:
                    raise self._over_limit()
                if not self._need:
                    run = _run(self._state).match(self._buffer, self._at - self._base, min(end, room) - self._base)
                    assert run is not None
                    if run.end() > run.start():
                        self._at = self._base + run.end()
                        continue
                self._take(self._buffer[self._at - self._base])
                self._at += 1
        except BaseException as error:
            self._error = again(error)
            self._buffer.clear()
            raise
        done = self._held_from(end) - self._base
        if done:
            self._buffer = self._buffer[done:]  # not del: the old one would keep its room
            self._base += done

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        with self._used_alone():
            if self._error is not None:
                raise again(self._error)
            yield

    # -- what a subclass says -------------------------------------------------------------------------------

    def _room(self, end: int) -> int:
        """The place of the first byte that there is no room for, or the end."""
        raise NotImplementedError

    def _over_limit(self) -> XEP419Error:
        raise NotImplementedError

    def _held_from(self, end: int) -> int:
        """Where the bytes begin that must stay until more come."""
        raise NotImplementedError

    def _take_header(self, complete: bool) -> None:
        """A header ended, or (not complete) a declaration begins a new one."""
        raise NotImplementedError

    def _take_stanza(self) -> None:
        raise NotImplementedError

    # -- one byte -------------------------------------------------------------------------------------------

    def _take(self, byte: int) -> None:
        self._check_character(byte)
        self._judge(byte)

    def _judge(self, byte: int) -> None:
        following = NEXT[self._state][byte]
        if following >= FIRST_ACTION:
            getattr(self, "_" + ACTIONS[following - FIRST_ACTION].lower())(byte)
        elif following != ERROR:
            self._state = following
        elif self._state == OUTSIDE and self._where == BEFORE_ROOT and self._at == self._begin and byte == 0xEF:
            self._state = BOM_2
        elif self._state == OUTSIDE and self._where == IN_ROOT and self._text:
            self._state = TEXT
            self._judge(byte)
        else:
            raise unexpected(self._state, byte, self._where, self._at)

    def _check_character(self, byte: int) -> None:
        start = self._at - len(self._sequence) if self._need else self._at
        self._sequence = self._sequence + bytes([byte]) if self._need else bytes([byte])
        if self._need:
            low, high = self._range
            self._range = 0x80, 0xBF
            wrong = not low <= byte <= high
            self._need -= 1
            forbidden = not self._need and self._sequence in (b"\xef\xbf\xbe", b"\xef\xbf\xbf")  # U+FFFE, U+FFFF
        else:
            self._range = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}.get(
                byte, (0x80, 0xBF)
            )
            self._need = (byte >= 0xC2) + (byte >= 0xE0) + (byte >= 0xF0) if byte <= 0xF4 else 0
            wrong = byte >= 0x80 and not self._need
            forbidden = byte < 0x20 and byte not in SPACE
        if not wrong and not forbidden:
            return
        first = self._sequence[0]
        if self._where == BEFORE_ROOT and (
            (self._at == self._begin and (first == 0 or first >= 0xFE)) or (self._at == self._begin + 1 and first == 0)
        ):
            raise fault(FAULT_CODES["WIDE"], b"", b"", self._begin)
        raise fault(FAULT_CODES["UTF_8" if wrong else "CHARACTER"], self._sequence, b"", start)

    def _since(self, start: int) -> bytes:
        """The bytes from a place to the byte that is judged, itself included."""
        return bytes(self._buffer[start - self._base : self._at + 1 - self._base])

    def _fail(self, name: str, start: int, came: bytes = b"", wanted: bytes = b"") -> XEP419Error:
        return fault(FAULT_CODES[name], came, wanted, start)

    def _to(self, state: str) -> None:
        self._state = CODES[state]

    # -- actions of the table -------------------------------------------------------------------------------

    def _end_bom(self, byte: int) -> None:
        self._begin = self._at + 1
        self._to("OUTSIDE")

    def _begin_markup(self, byte: int) -> None:
        self._token = self._at
        if self._state == OUTSIDE and self._where != BEFORE_ROOT:
            self._item = self._at
            self._in_item = True
        self._to("OPEN")

    def _begin_start_tag(self, byte: int) -> None:
        if self._where == AFTER_ROOT:
            raise self._fail("AFTER_END", self._token)
        self._to("TAG_NAME")

    def _end_start_tag(self, byte: int, empty: bool = False) -> None:
        found = _NAME.match(self._since(self._token), 1)
        assert found is not None
        name = found[0]
        if self._where == BEFORE_ROOT:
            self._end_header(name, empty)
        elif self._restarts and len(self._names) == 1 and name.rpartition(b":")[2] == b"stream":
            if not self._completed:
                raise self._fail("SECOND_HEADER", self._token)
            self._end_header(name, empty)
        elif not empty:
            self._open(name)
            self._to("TEXT")
        elif len(self._names) == 1:
            self._end_stanza()
        else:
            self._to("TEXT")

    def _end_empty_tag(self, byte: int) -> None:
        self._end_start_tag(byte, empty=True)

    def _end_header(self, name: bytes, empty: bool) -> None:
        self._take_header(True)
        self._names = [] if empty else [name]
        self._names_size = sum(map(len, self._names))
        self._where = AFTER_ROOT if empty else IN_ROOT
        self._in_item = self._completed = False
        self._to("OUTSIDE")

    def _open(self, name: bytes) -> None:
        self._names.append(name)
        self._names_size += len(name)

    def _end_stanza(self) -> None:
        self._take_stanza()
        self._completed = True
        self._in_item = False
        self._to("OUTSIDE")

    def _begin_end_tag(self, byte: int) -> None:
        if self._where != IN_ROOT:
            raise self._fail("AFTER_END" if self._where == AFTER_ROOT else "END_TAG", self._token)
        self._to("END_OPEN")

    def _end_end_name(self, byte: int) -> None:
        name = self._since(self._token + 2)[:-1]
        if name != self._names[-1]:
            raise self._fail("MISMATCH", self._token, name, self._names[-1])
        if byte == 0x3E:
            self._end_end_tag(byte)
        else:
            self._to("END_SPACE")

    def _end_end_tag(self, byte: int) -> None:
        self._names_size -= len(self._names.pop())
        if len(self._names) == 1:
            self._end_stanza()
        elif self._names:
            self._to("TEXT")
        else:
            self._where = AFTER_ROOT
            self._in_item = False
            self._to("OUTSIDE")

    def _begin_reference(self, byte: int) -> None:
        self._back = self._state if self._state in (CODES["APOS_VALUE"], CODES["QUOT_VALUE"]) else TEXT
        self._reference = self._at
        self._code = 0
        self._to("REFERENCE")

    def _entity_letter(self, byte: int) -> None:
        self._to("ENTITY")

    def _end_entity(self, byte: int) -> None:
        entity = self._since(self._reference)
        if self._restricted and entity[1:-1] not in PREDEFINED:
            raise self._fail("ENTITY", self._reference, entity)
        self._state = self._back

    def _decimal_digit(self, byte: int) -> None:
        self._code = min(10 * self._code + int(chr(byte)), 0x110000)
        self._to("DECIMAL")

    def _hex_digit(self, byte: int) -> None:
        self._code = min(16 * self._code + int(chr(byte), 16), 0x110000)
        self._to("HEX")

    def _end_character(self, byte: int) -> None:
        code = self._code
        if not (
            code in SPACE if code < 0x20 else code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF
        ):
            raise self._fail("CHARACTER_REFERENCE", self._reference, self._since(self._reference))
        self._state = self._back

    def _begin_comment(self, byte: int) -> None:
        if self._restricted:
            raise self._fail("COMMENT", self._token)
        self._to("COMMENT")

    def _end_comment(self, byte: int) -> None:
        if len(self._names) > 1:
            self._to("TEXT")
        else:
            self._to("OUTSIDE")
            self._in_item = self._where == BEFORE_ROOT

    def _begin_cdata(self, byte: int) -> None:
        if len(self._names) < (1 if self._text else 2):
            raise self._fail("CDATA_OUTSIDE", self._token)
        self._to("CDATA_1")

    def _begin_declaration(self, byte: int) -> None:
        if self._restricted:
            raise self._fail("DTD", self._token)
        if byte != 0x44:  # D
            raise unexpected(self._state, byte, self._where, self._at)
        if self._where != BEFORE_ROOT or self._dtd_seen:
            raise self._fail("DTD_PLACE", self._token)
        self._dtd_seen = True
        self._dtd_depth = 0
        self._to("DOCTYPE_1")

    def _open_bracket(self, byte: int) -> None:
        self._dtd_depth += 1
        self._to("DTD")

    def _close_bracket(self, byte: int) -> None:
        self._dtd_depth = max(0, self._dtd_depth - 1)
        self._to("DTD")

    def _end_dtd(self, byte: int) -> None:
        self._to("DTD" if self._dtd_depth else "OUTSIDE")

    def _begin_pi(self, byte: int) -> None:
        self._to("PI_OPEN")

    def _target_letter(self, byte: int) -> None:
        self._to("PI_TARGET")

    def _end_target(self, byte: int) -> None:
        target = self._since(self._token + 2)[:-1]
        if target == b"xml":
            if self._where == BEFORE_ROOT:
                allowed = self._token == self._begin
            else:  # a restart
                allowed = self._restarts and self._where == IN_ROOT and len(self._names) == 1 and self._completed
            if not allowed:
                raise self._fail("DECLARATION_PLACE", self._token)
            self._is_declaration = True
        elif self._restricted:
            raise self._fail("PI", self._token)
        elif target.lower() == b"xml":
            raise self._fail("RESERVED_TARGET", self._token, b"<?" + target)
        self._to("PI_CLOSE" if byte == 0x3F else "PI")

    def _end_pi(self, byte: int) -> None:
        if not self._is_declaration:
            self._end_comment(byte)
            return
        self._is_declaration = False
        if self._where == IN_ROOT:  # a restart: the header begins with this declaration
            self._where = BEFORE_ROOT
            self._begin = self._item
            self._names = []
            self._names_size = 0
            self._dtd_seen = False
        self._take_header(False)
        self._to("OUTSIDE")
        error = declaration_fault(self._since(self._token), self._token)
        if error is not None:
            raise error


class StanzaStream(Framer):
    """One direction of an XMPP stream (RFC 6120) cut into its first-level elements."""

    _header: bytes | None = None

    def __init__(self, *, max_stanza: int = 262_144, restricted: bool = True, transform: str | None = None) -> None:
        limit = limit_of("max_stanza", max_stanza)
        if transform is not None and not isinstance(transform, str):
            raise TypeError(f"transform must be 'encrypt', 'decrypt' or None, not {type(transform).__name__!r}")
        if transform not in _TRANSFORMS:
            raise ValueError(f"transform must be 'encrypt', 'decrypt' or None, not {transform!r}")
        function = _TRANSFORMS[transform]
        with self._set_up(limit, bool(restricted)):
            self._transform = function
            self._header = None

    def feed(self, data: Buffer | str, /) -> list[bytes]:
        """The stanzas that ``data`` completes; what it leaves open is held back until more comes."""
        with self._used():
            self._stanzas: list[bytes] = []
            try:
                self._advance(to_bytes(data))
            except XEP419Error as error:
                error.stanzas = tuple(self._stanzas)
                raise
            return self._stanzas

    def reset(self) -> None:
        """Begins a new document; what was held back is dropped."""
        with self._used():
            self._base += len(self._buffer)
            self._buffer.clear()
            self._header = None
            self._begin_document()

    @property
    def header(self) -> bytes | None:
        return self._header

    @property
    def closed(self) -> bool:
        return self._where == AFTER_ROOT

    @property
    def pending(self) -> bytes:
        return bytes(self._buffer) if self._begun and not self._in_use.locked() else b""

    def _room(self, end: int) -> int:
        return self._item + self._limit if self._in_item else end

    def _over_limit(self) -> XEP419Error:
        name = "HEADER_LIMIT" if self._where == BEFORE_ROOT else "STANZA_LIMIT"
        return fault(FAULT_CODES[name], b"", self._limit, self._item)

    def _held_from(self, end: int) -> int:
        return self._item if self._in_item else end

    def _take_header(self, complete: bool) -> None:
        self._header = self._since(self._item) if complete else None

    def _take_stanza(self) -> None:
        self._stanzas.append(self._transform(self._since(self._item)))
