"""Stanzas as Prosody's Lua tables hold them, made into the XML that ``util.stanza`` would make, and recoded in place.

Nearly all items of an archive differ in their values alone: how the XML is made of the strings is found out once for
each *layout*, by reading the item, and then looked up. Cuts no file and reads no Lua itself.
"""

from __future__ import annotations

import functools
import itertools
import re
from bisect import bisect_right
from collections import Counter
from typing import Any, NamedTuple

from ...errors import CorruptArchiveError
from ...names import Scope, upgrade_name
from ...namespaces import scan
from ..recoding import Recoding
from .lua import STRING, Field, Reader, Table, cut_at_quotes, raw_offset, rotate, unescape

_SPECIAL = re.compile(rb"[&<>\"]").search
_NOT_AS_IT_IS = re.compile(rb"[&<>\\]").search
#: what a value may be besides a string, as Prosody writes it
_NUMBER = re.compile(rb"= -?[0-9][0-9.eE+-]*")
_KEY_END = re.compile(rb"\s*\]").match
#: attributes of the outer table that ``mod_storage_internal`` takes off again
_ARCHIVE_ATTRIBUTES = frozenset({b"stamp", b"stamp_legacy"})
#: layouts that are remembered, and bytes that an item may have without its values for it
_REMEMBERED, _LONGEST_REMEMBERED = 1 << 9, 1 << 13


def _escape(text: bytes) -> bytes:
    if not _SPECIAL(text):
        return text
    return text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")


@functools.lru_cache(1024)
def _inserted(name: str) -> tuple[int, bytes]:
    """The letter that an upgrade inserts into a name, and where."""
    upgraded = upgrade_name(name)
    at = next(at for at, letter in enumerate(upgraded) if name[at : at + 1] != letter)
    return at, upgraded[at].encode()


class Layout(NamedTuple):
    """How the XML of an item is made of its strings, which are numbered as they stand."""

    #: of the XML; empty where a value comes
    parts: list[bytes]
    #: parts that are made of a string, and its number
    values: list[tuple[int, int]]
    #: by part: the string that it came from, value or name
    origins: dict[int, int]
    #: the strings that are the stanza's own, and not the archive's
    own: frozenset[int]


class LuaStanza:
    """One item's stanza as XML, rotated back, and where in the item each of its strings stands."""

    __slots__ = ("_layout", "_parts", "_pieces", "_rounds", "xml")

    def __init__(self, pieces: list[bytes], rounds: int, layout: Layout, parts: list[bytes]) -> None:
        self._pieces = pieces
        self._rounds = rounds
        self._layout = layout
        self._parts = parts
        self.xml = b"".join(parts)

    def recoded(self, recoding: Recoding, names: Counter[tuple[str, Scope, bool]]) -> bytes:
        """The item with the stanza's strings recoded; counts the names."""
        letters: dict[int, list[tuple[int, bytes]]] = {}
        starts: list[int] = []
        for start, _end, name, kind, secure in scan(self.xml):
            names[name, kind, secure] += 1
            if secure or not recoding.upgrade:
                continue
            starts = starts or list(itertools.accumulate(map(len, self._parts), initial=0))
            part = bisect_right(starts, start) - 1
            if part not in self._layout.origins:
                raise CorruptArchiveError(f"{name!r} is named where the item has no string for it")
            at, letter = _inserted(name)
            letters.setdefault(self._layout.origins[part], []).append((start - starts[part] + at, letter))
        pieces = self._pieces.copy()
        for number in self._layout.own if recoding.is_visible else letters:
            plain = rotate(pieces[2 * number + 1], self._rounds)
            for offset, letter in reversed(letters.get(number, ())):
                at = raw_offset(plain, offset)
                plain = plain[:at] + letter + plain[at:]
            pieces[2 * number + 1] = rotate(plain, recoding.rounds_to)
        return b'"'.join(pieces)

    def plain_pieces(self) -> list[bytes]:
        """The item cut at the quotes of its strings, which are every other piece; the stanza's own rotated back."""
        if self._rounds % 2 == 0:
            return self._pieces
        pieces = self._pieces.copy()
        for number in self._layout.own:
            pieces[2 * number + 1] = rotate(pieces[2 * number + 1], self._rounds)
        return pieces

    def is_own(self, piece: int) -> bool:
        """Whether a piece is one of the stanza's own strings."""
        return piece % 2 == 1 and piece // 2 in self._layout.own


class StanzaReader:
    """Makes XML of items whose stanzas were rotated ``rounds`` times; remembers the layouts that it has seen."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._reader = Reader()
        #: by what is around an item's strings: which of these are keys; and by the keys, too: the layout
        self._keys: dict[bytes, list[int]] = {}
        self._layouts: dict[tuple[bytes, tuple[bytes, ...]], Layout] = {}

    def read(self, data: bytes) -> LuaStanza:
        """:raises CorruptArchiveError: the item is no stanza; with the offset in ``data``."""
        pieces = cut_at_quotes(data)
        layout = self._layout(data, pieces)
        parts = layout.parts.copy()
        for part, number in layout.values:
            raw = pieces[2 * number + 1]
            if self._rounds % 2 or _NOT_AS_IT_IS(raw):
                raw = _escape(_denoted(pieces, number, self._rounds))
            parts[part] = raw
        return LuaStanza(pieces, self._rounds, layout, parts)

    def _layout(self, data: bytes, pieces: list[bytes]) -> Layout:
        """That of an item which was read before, with other values, or of this one, which is read.

        No token but a string has a quote in it, so items that are the same around their strings and in their keys are
        read alike. Numbers are values and no keys where they stand behind an equals sign.
        """
        around = _NUMBER.sub(b"= 0", b'"'.join(pieces[::2]))
        keys = self._keys.get(around)
        if keys is None:
            keys = [number for number in range(len(pieces) // 2) if _KEY_END(pieces[2 * number + 2])]
        names = tuple([pieces[2 * number + 1] for number in keys])
        layout = self._layouts.get((around, names))
        if layout is None:
            layout = _Reading(self._reader.read(data), pieces, self._rounds).layout
            if len(around) + sum(map(len, names)) <= _LONGEST_REMEMBERED:
                if len(self._layouts) >= _REMEMBERED:
                    self._keys.clear()
                    self._layouts.clear()
                self._keys[around] = keys
                self._layouts[around, names] = layout
        return layout


def _denoted(pieces: list[bytes], number: int, rounds: int) -> bytes:
    """What a string of the stanza means, rotated back."""
    try:
        return unescape(rotate(pieces[2 * number + 1], rounds))
    except CorruptArchiveError as error:
        start = sum(map(len, pieces[: 2 * number + 1])) + 2 * number + 1
        raise CorruptArchiveError(error.message, offset=start + (error.offset or 0)) from None


class _Reading:
    """Finds the layout of an item out of its table.

    :raises CorruptArchiveError: the table is no stanza; with the offset in the item.
    """

    def __init__(self, table: Table, pieces: list[bytes], rounds: int) -> None:
        ends = itertools.accumulate(len(piece) + 1 for piece in pieces)
        #: by where it begins, the number of each string
        self._numbers = {end: number for number, end in enumerate(itertools.islice(ends, 0, None, 2))}
        self._pieces = pieces
        self._rounds = rounds
        self._prefixes = 0
        self._parts: list[bytes] = []
        self._values: list[tuple[int, int]] = []
        self._origins: dict[int, int] = {}
        self._own: set[int] = set()
        self._element(table, _ARCHIVE_ATTRIBUTES)
        self.layout = Layout(self._parts, self._values, self._origins, frozenset(self._own))

    def _from(self, start: int, text: bytes = b"") -> None:
        """Adds what the string at ``start`` becomes: a text that its items share, or else its value."""
        number = self._numbers[start]
        part = len(self._parts)
        self._origins[part] = number
        self._own.add(number)
        if not text:
            self._values.append((part, number))
        self._parts.append(text)

    def _string(self, value: tuple[Field, int]) -> None:
        field, line = value
        self._from(line + field.start)

    def _element(self, table: Table, passed_over: frozenset[bytes] = frozenset()) -> None:
        name: Any = table.get(b"name")
        attributes, parts = table.get(b"attr"), self._parts
        if not _is_string(name) or type(attributes) is not dict:
            raise CorruptArchiveError('expected a stanza, with a string "name" and a table "attr", got neither or one')
        parts.append(b"<")
        self._string(name)
        for key, value in attributes.items():
            if key not in passed_over:
                if type(key) is int or not _is_string(value):
                    raise CorruptArchiveError(f"expected attributes that are strings, got another under {key!r}")
                self._attribute_name(value)
                self._string(value)
                parts.append(b'"')
        if 1 not in table:
            parts.append(b"/>")
            return
        parts.append(b">")
        self._children(table)
        parts.append(b"</")
        self._string(name)
        parts.append(b">")

    def _children(self, table: Table) -> None:
        for number in range(1, len(table) + 1):
            child = table.get(number)
            if child is None:
                return
            if type(child) is dict:
                self._element(child)
            elif _is_string(child):  # Prosody passes over any other
                self._string(child)

    def _attribute_name(self, value: tuple[Field, int]) -> None:
        """``name``, or ``namespace\\1name`` (``namespace|name`` in old archives), which declares a prefix."""
        start, parts = value[1] + value[0].key_start, self._parts
        name = _denoted(self._pieces, self._numbers[start], self._rounds)
        namespace, separator, local = name.partition(b"\1" if b"\1" in name else b"|")
        if separator and namespace and local:
            self._prefixes += 1
            parts.append(b' xmlns:ns%d="' % self._prefixes)
            self._from(start, _escape(namespace))
            parts.append(b'" ns%d:%b="' % (self._prefixes, local))
        else:
            self._from(start, b' %b="' % name)


def _is_string(value: Any) -> bool:
    return type(value) is tuple and value[0][0] == STRING
