"""The Lua that Prosody keeps in ``.list`` files, ``item({…});`` one after another: cut, read, its strings decoded.

Every string keeps its place, so that a writer can change single bytes. Nothing is evaluated, and what Prosody's
serializer never writes (comments, long strings, bare names, expressions) is an error. Knows no stanza and no namespace.

Since 0.10 ``util.serialization`` escapes every control and non-ASCII byte and leaves the numbers of array items out;
older ones wrote strings by ``%q``, so UTF-8 as it is, and ``[1] = …`` in any order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

from ...cipher import rot13
from ...errors import CorruptArchiveError, LimitExceededError

CHUNK = 1 << 18
#: bytes that one item may have
MAX_ITEM = 1 << 24
#: tables in tables; Lua loads no more than 200 (LUAI_MAXCCALLS)
MAX_DEPTH = 200

#: What a :class:`Field` is; also its group in the match.
_STRING_KEY, _NUMBER_KEY, STRING, _OPEN, OTHER, _CLOSE, _END, _WRONG = range(1, 9)
#: Lines that are remembered: of archived stanzas most are alike, and few are long.
_REMEMBERED, _LONGEST_REMEMBERED = 1 << 12, 100

#: Of a line that was :func:`_veiled`; so no group is repeated, for which the matcher keeps a stack.
_CHARACTERS = rb'"([^"]*)"'
_AFTER = rb"\s*(?:[;,]|(?=[})]))"
_KEY = rb"(?:\[\s*(?:" + _CHARACTERS + rb"|([0-9]{1,9}))\s*\]\s*=\s*)?"
_SCALAR = rb"(-?[0-9][0-9.eE+-]*|true|false|nil|\(-?[01]/0\))"
#: It matches wherever it is tried, so that no place is looked at twice: _WRONG is any character, at the end nothing.
_FIELD = re.compile(
    rb"\s*(?:%b(?:%b%b|(\{)|%b%b)|(\})%b|(\))\s*(?:;\s*)?\Z|(\S)|\Z)"
    % (_KEY, _CHARACTERS, _AFTER, _SCALAR, _AFTER, _AFTER)
)
_ITEM = re.compile(rb"\s*item\s*\(\s*\{")
#: No string holds a line feed, and no other token begins with an i: such a line begins an item, whole or cut off.
_NEXT_ITEM = re.compile(rb"\ni")


class Field(NamedTuple):
    """One field of a table, or one of its braces, and where its strings begin in the line."""

    kind: int
    #: raw string, number, or None for the next item of the array
    key: bytes | int | None
    key_start: int
    raw: bytes
    start: int


#: A table as read: keys are raw strings or numbers from 1; values tables, or a field and its line's offset in the item.
Table = dict[Any, Any]


class Item(NamedTuple):
    """One ``item(…);`` with the white space around it: its number from 1, its offset in the file, its bytes."""

    number: int
    offset: int
    data: bytes

    @property
    def place(self) -> str:
        return f"item {self.number}"


def items(source: IO[bytes]) -> Iterator[Item]:
    """Cuts a file before the lines that begin an item; the pieces joined are the file, whatever it holds.

    :raises LimitExceededError: more than :data:`MAX_ITEM` bytes without such a line.
    """
    held, offset, number, searched = b"", 0, 0, 0
    while piece := source.read(CHUNK):
        held += piece
        start = 0
        for boundary in _NEXT_ITEM.finditer(held, searched):
            end = boundary.start() + 1
            number += 1
            yield Item(number, offset + start, held[start:end])
            start = end
        held = held[start:]
        offset += start
        if len(held) > MAX_ITEM:
            raise LimitExceededError(f"expected an item of at most {MAX_ITEM} bytes, got more", offset=offset)
        searched = max(0, len(held) - 1)
    if held:
        yield Item(number + 1, offset, held)


def cut_at_quotes(data: bytes) -> list[bytes]:
    """An item cut at the quotes of its strings, so that every other piece is a string; uncut where one does not end."""
    veiled = _veiled(data)
    pieces = veiled.split(b'"')
    if len(pieces) % 2 == 0 or b"\n" in b"".join(pieces[1::2]):
        return [data]
    if veiled == data:
        return pieces
    ends = itertools.accumulate(len(piece) + 1 for piece in pieces)
    return [data[end - len(piece) - 1 : end - 1] for piece, end in zip(pieces, ends, strict=True)]


def _veiled(data: bytes) -> bytes:
    """The same without quotes and backslashes that are escaped: each quote then begins or ends a string.

    What takes their place stands in no token. Where a string is wanted, it is cut out of ``data``.
    """
    return data.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0") if b"\\" in data else data


class Reader:
    """Reads items, and remembers the lines it has seen: a field never goes over the end of one."""

    def __init__(self) -> None:
        self._lines: dict[bytes, tuple[Field, ...]] = {}

    def read(self, data: bytes) -> Table:
        """The table of one item.

        :raises CorruptArchiveError: it is not one whole table as Prosody writes it; with the offset in ``data``.
        """
        opening = _ITEM.match(data)
        if opening is None:
            raise CorruptArchiveError(f"expected item({{, got {data[:20]!r}", offset=0)
        table: Table = {}
        index = 1  # of the next value without a key
        outer: list[tuple[Table, int]] = []
        numbered: list[Table] = []
        at, known, closed, ended = opening.end(), self._lines, False, False
        for line in data[at:].split(b"\n"):
            fields: Iterable[Field] | None = known.get(line)
            if fields is None:
                fields = self._remembered(line) if len(line) <= _LONGEST_REMEMBERED else _fields(line)
            for field in fields:
                kind, key, _key_start, _raw, _start = field
                if kind < _CLOSE and not closed:
                    if key is None:
                        key, index = index, index + 1
                    elif type(key) is int:
                        numbered.append(table)
                    if key in table:
                        raise CorruptArchiveError(f"the key {key!r} stands twice in a table", offset=at + field.start)
                    if kind != _OPEN:
                        table[key] = field, at
                        continue
                    outer.append((table, index))
                    table[key] = table = {}
                    index = 1
                    if len(outer) == MAX_DEPTH:
                        raise CorruptArchiveError(f"tables deeper than {MAX_DEPTH}", offset=at + field.start)
                elif kind == _CLOSE and outer:
                    table, index = outer.pop()
                elif kind == _CLOSE and not closed:
                    closed = True
                elif kind == _END and closed and not ended:
                    ended = True
                else:
                    raise CorruptArchiveError(
                        f"expected a field or the end of a table, got {field.raw!r}", offset=at + field.start
                    )
            at += len(line) + 1
        if not ended:
            raise CorruptArchiveError("expected the item's end, but it was cut off", offset=len(data))
        _require_arrays(numbered)
        return table

    def _remembered(self, line: bytes) -> tuple[Field, ...]:
        if len(self._lines) >= _REMEMBERED:
            self._lines.clear()
        self._lines[line] = fields = tuple(_fields(line))
        return fields


def _fields(line: bytes) -> Iterator[Field]:
    """Those of a line, up to the first that is none."""
    for match in _FIELD.finditer(_veiled(line)):
        kind = match.lastindex
        if kind is None:
            return
        key_start, key_end = match.span(_STRING_KEY)
        key: bytes | int | None = None if key_start < 0 else line[key_start:key_end]
        if match[_NUMBER_KEY]:
            key = int(match[_NUMBER_KEY])
        start, end = match.span(kind)
        if kind == _WRONG:
            yield Field(kind, key, key_start, line[start : start + 20], start)
            return
        yield Field(kind, key, key_start, line[start:end], start)


def _require_arrays(numbered: list[Table]) -> None:
    """What stands behind a gap is lost to Lua's ``ipairs``: it cannot be told what it was."""
    for table in {id(table): table for table in numbered}.values():
        numbers = [key for key in table if type(key) is int]
        if max(numbers) != len(numbers) or min(numbers) < 1:
            raise CorruptArchiveError("expected array items numbered from 1 without a gap", offset=0)


# -- strings (Lua reference manual, section 3.1) ------------------------------------------------------------

_ESCAPE = re.compile(rb"\\(?:([0-9]{1,3})|x([0-9A-Fa-f]{2})|u\{([0-9A-Fa-f]{1,8})\}|(z)\s*|(.))", re.DOTALL)
_PART = re.compile(rb"([^\\]+)|" + _ESCAPE.pattern, re.DOTALL)
_SIMPLE = dict(zip(b"abfnrtv\\\"'\n", b"\a\b\f\n\r\t\v\\\"'\n", strict=True))
#: the forms that Prosody writes
_WRITTEN = {b"\\%03d" % byte: bytes([byte]) for byte in range(256)}
_WRITTEN |= {bytes([0x5C, letter]): bytes([byte]) for letter, byte in _SIMPLE.items()}


def _denoted(escape: re.Match[bytes]) -> bytes:
    written = _WRITTEN.get(escape[0])
    if written is not None:
        return written
    decimal, hexadecimal, code, space, _other = escape.groups()[-5:]
    if decimal and int(decimal) < 256:
        return bytes([int(decimal)])
    if hexadecimal:
        return bytes.fromhex(hexadecimal.decode())
    if code and int(code, 16) <= 0x10FFFF:
        return chr(int(code, 16)).encode("utf-8", "surrogatepass")
    if space:
        return b""
    raise CorruptArchiveError(f"expected an escape sequence of Lua's, got {escape[0]!r}", offset=escape.start())


def unescape(raw: bytes) -> bytes:
    """The bytes that a string denotes.

    :raises CorruptArchiveError: an escape that Lua does not know; with the offset in ``raw``.
    """
    return _ESCAPE.sub(_denoted, raw) if b"\\" in raw else raw


def raw_offset(raw: bytes, offset: int) -> int:
    """Where in ``raw`` the byte at ``offset`` of the denoted string is written."""
    if b"\\" not in raw:
        return offset
    for part in _PART.finditer(raw):
        length = len(part[1] or b"") or len(_denoted(part))
        if offset < length:
            return part.start() + offset
        offset -= length
    return len(raw)


def rotate(raw: bytes, rounds: int) -> bytes:
    """The letters of a string rotated; those of its escapes, and letters written as escapes, stay."""
    if rounds % 2 == 0:
        return raw
    if b"\\" not in raw:
        return rot13(raw)
    return _PART.sub(lambda part: rot13(part[0]) if part[1] else part[0], raw)
