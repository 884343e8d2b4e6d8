"""Prosody's internal archives: ``STORE/USER.list``, one Lua table for each stanza, by ``mod_storage_internal``.

Archives of messages, offline messages and PEP items are all kept so. The stanza is looked at as the XML that
``util.stanza`` would make of it, and the letters that its names gain go into the Lua strings they came from: no byte
but these changes. The archive's own fields (``when``, ``with``, ``key``, the attributes ``stamp`` and
``stamp_legacy``) are not the stanza's. Cuts and reads no Lua itself, and does not know what a namespace looks like.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, ClassVar

from ...errors import CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from ...names import Scope, upgrade_name
from ...namespaces import scan
from ...stream import check_stanza
from ..recoding import Recoding
from ..tally import Tally
from . import ArchivedStanza, Proved
from .lua import STRING, Field, Item, Reader, Table, items, raw_offset, rotate, unescape

_DAT = re.compile(rb"\s*return\s*\{")
_LIST = re.compile(rb"\s*item\s*\(\s*([\"{]?)")
_SPECIAL = re.compile(rb"[&<>\"]").search
#: attributes of the outer table that ``mod_storage_internal`` takes off again
_ARCHIVE_ATTRIBUTES = frozenset({b"stamp", b"stamp_legacy"})
#: texts that are remembered
_REMEMBERED, _LONGEST_REMEMBERED = 1 << 12, 100


def _escape(text: bytes) -> bytes:
    if not _SPECIAL(text):
        return text
    return text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")


class LuaStanza:
    """One item's stanza as XML, rotated back, and where in the item each of its strings stands."""

    __slots__ = ("_parts", "_rounds", "data", "strings", "xml")

    def __init__(self, data: bytes, rounds: int, parts: list[bytes], strings: dict[int, tuple[int, bytes]]) -> None:
        self.data = data
        self._rounds = rounds
        self._parts = parts
        #: by the part of the XML that was made of it: start in the item, raw bytes
        self.strings = strings
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
            if part not in self.strings:
                raise CorruptArchiveError(f"{name!r} is named where the item has no string for it")
            at, letter = _inserted(name)
            letters.setdefault(part, []).append((start - starts[part] + at, letter))
        if recoding.is_visible:
            letters = {part: letters.get(part, []) for part in self.strings}
        return self._spliced(letters, recoding.rounds_to) if letters else self.data

    def _spliced(self, changes: dict[int, list[tuple[int, bytes]]], rounds: int) -> bytes:
        pieces, end = [], 0
        for (start, raw), letters in sorted((self.strings[part], letters) for part, letters in changes.items()):
            plain = rotate(raw, self._rounds)
            for offset, letter in reversed(letters):
                at = raw_offset(plain, offset)
                plain = plain[:at] + letter + plain[at:]
            pieces += [self.data[end:start], rotate(plain, rounds)]
            end = start + len(raw)
        return b"".join([*pieces, self.data[end:]])

    def strings_and_rest(self) -> tuple[list[bytes], list[bytes]]:
        """The stanza's strings, rotated back, in the order of the file; and what stands between them."""
        texts, between, end = [], [], 0
        for start, raw in sorted(self.strings.values()):
            texts.append(raw)
            between.append(self.data[end:start])
            end = start + len(raw)
        if self._rounds % 2:
            texts = [rotate(raw, self._rounds) for raw in texts]
        return texts, [*between, self.data[end:]]


def _is_string(value: Any) -> bool:
    return type(value) is tuple and value[0][0] == STRING


@functools.lru_cache(1024)
def _inserted(name: str) -> tuple[int, bytes]:
    """The letter that an upgrade inserts into a name, and where."""
    upgraded = upgrade_name(name)
    at = next(at for at, letter in enumerate(upgraded) if name[at : at + 1] != letter)
    return at, upgraded[at].encode()


class StanzaReader:
    """Makes XML of items whose stanzas were rotated ``rounds`` times; remembers what it has seen."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._reader = Reader()
        self._texts: dict[bytes, bytes] = {}  # by raw string: escaped for XML
        self._names: dict[bytes, bytes] = {}  # by raw string: an attribute up to its value
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._strings: dict[int, tuple[int, bytes]] = {}
        self._prefixes = 0

    def read(self, data: bytes) -> LuaStanza:
        """:raises CorruptArchiveError: the item is no stanza; with the offset in ``data``."""
        self._begin()
        self._element(self._reader.read(data), _ARCHIVE_ATTRIBUTES)
        return LuaStanza(data, self._rounds, self._parts, self._strings)

    def read_item(self, item: Item, check: bool) -> LuaStanza:
        """:raises CorruptArchiveError: no stanza, or no well-formed one where that is asked; with the file's offset."""
        try:
            stanza = self.read(item.data)
        except CorruptArchiveError as error:
            raise CorruptArchiveError(error.message, offset=item.offset + (error.offset or 0)) from None
        if check:
            try:
                check_stanza(stanza.xml)
            except XEP419Error as error:
                message = f"its stanza is not well-formed: {error.message}"
                raise CorruptArchiveError(message, offset=item.offset) from None
        return stanza

    def _denoted(self, start: int, raw: bytes) -> bytes:
        try:
            return unescape(rotate(raw, self._rounds))
        except CorruptArchiveError as error:
            raise CorruptArchiveError(error.message, offset=start + (error.offset or 0)) from None

    def _string(self, value: tuple[Field, int]) -> bytes:
        """Adds a string's text to the XML; gives it back."""
        field, line = value
        raw, start = field.raw, line + field.start
        text = self._texts.get(raw)
        if text is None:
            text = _escape(self._denoted(start, raw))
            self._remember(self._texts, raw, text)
        self._strings[len(self._parts)] = start, raw
        self._parts.append(text)
        return text

    @staticmethod
    def _remember(known: dict[bytes, bytes], raw: bytes, text: bytes) -> None:
        if len(raw) <= _LONGEST_REMEMBERED:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[raw] = text

    def _element(self, table: Table, passed_over: frozenset[bytes] = frozenset()) -> None:
        name: Any = table.get(b"name")
        attributes, parts = table.get(b"attr"), self._parts
        if not _is_string(name) or type(attributes) is not dict:
            raise CorruptArchiveError('expected a stanza, with a string "name" and a table "attr", got neither or one')
        parts.append(b"<")
        tag = self._string(name)
        for key, value in attributes.items():
            if key not in passed_over:
                if type(key) is int or not _is_string(value):
                    raise CorruptArchiveError(f"expected attributes that are strings, got another under {key!r}")
                self._attribute_name(key, value)
                self._string(value)
                parts.append(b'"')
        if 1 not in table:
            parts.append(b"/>")
            return
        parts.append(b">")
        self._children(table)
        parts.append(b"</%b>" % tag)

    def _children(self, table: Table) -> None:
        for number in range(1, len(table) + 1):
            child = table.get(number)
            if child is None:
                return
            if type(child) is dict:
                self._element(child)
            elif _is_string(child):  # Prosody passes over any other
                self._string(child)

    def _attribute_name(self, raw: bytes, value: tuple[Field, int]) -> None:
        """``name``, or ``namespace\\1name`` (``namespace|name`` in old archives), which declares a prefix."""
        start, parts = value[1] + value[0].key_start, self._parts
        opening = self._names.get(raw)
        if opening is None:
            name = self._denoted(start, raw)
            namespace, separator, local = name.partition(b"\1" if b"\1" in name else b"|")
            if separator and namespace and local:
                self._prefixes += 1
                parts.append(b' xmlns:ns%d="' % self._prefixes)
                self._strings[len(parts)] = start, raw
                parts.append(_escape(namespace))
                parts.append(b'" ns%d:%b="' % (self._prefixes, local))
                return
            opening = b' %b="' % name
            self._remember(self._names, raw, opening)
        self._strings[len(parts)] = start, raw
        parts.append(opening)


class ProsodyInternal:
    """``.list`` files of Prosody's that hold stanzas."""

    name: ClassVar[str] = "prosody-internal"
    title: ClassVar[str] = "Prosody's internal archive (.list)"
    random_access: ClassVar[bool] = False

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        if _DAT.match(head):
            raise UnsupportedArchiveError("this is a .dat file of Prosody's: settings of a store, no stanza")
        found = _LIST.match(head)
        if found is None:
            return False
        if found[1] == b'"':
            raise UnsupportedArchiveError("this is a list of days or keys of Prosody's: it holds no stanza")
        return found[1] == b"{"

    def companions(self, name: str) -> tuple[str, ...]:
        return ()

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        (source,), (target,) = sources, targets
        names: Counter[tuple[str, Scope, bool]] = Counter()
        reader = StanzaReader(recoding.rounds_from)
        for item in items(source):
            try:
                recoded = reader.read_item(item, recoding.check).recoded(recoding, names)
            except CorruptArchiveError as error:
                tally.skip(item.place, error.message, error.offset)
                target.write(item.data)
            else:
                tally.stanzas += 1
                target.write(recoded)
        tally.count(names)

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        (source,), (target,) = sources, targets
        before, after = StanzaReader(recoding.rounds_from), StanzaReader(recoding.rounds_to)
        plain = dataclasses.replace(recoding, rounds_from=0, rounds_to=0)  # the readers rotate back
        stanzas = letters = 0
        for original, recoded in itertools.zip_longest(items(source), items(target)):
            if original is None or recoded is None:
                raise RestorationError("expected as many items as the source has, got more or fewer")
            try:
                stanza = before.read_item(original, recoding.check)
            except CorruptArchiveError:
                _require(original.data == recoded.data, original, "a broken item came out changed")
            else:
                stanzas += 1
                letters += _prove_item(stanza, original, recoded, after, plain)
        return Proved(stanzas, letters)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        (source,) = sources
        reader = StanzaReader(recoding.rounds_from)
        for item in items(source):
            try:
                yield ArchivedStanza(item.place, reader.read(item.data).xml)
            except CorruptArchiveError:
                yield ArchivedStanza(item.place, item.data)


def _require(condition: bool, item: Item, message: str) -> None:
    if not condition:
        raise RestorationError(f"{item.place}: {message}", offset=item.offset)


def _prove_item(stanza: LuaStanza, original: Item, recoded: Item, reader: StanzaReader, plain: Recoding) -> int:
    """The stanzas against each other as XML, and the items as Lua: string by string, and all that is between."""
    try:
        after = reader.read(recoded.data)
    except CorruptArchiveError as error:
        raise RestorationError(f"{original.place}: {error.message}", offset=recoded.offset) from None
    letters = plain.prove(stanza.xml, after.xml)
    (texts, between), (texts_after, between_after) = stanza.strings_and_rest(), after.strings_and_rest()
    _require(between == between_after, original, "what stands around the stanza's strings changed")
    grown = sum(map(len, texts_after)) - sum(map(len, texts))
    _require(grown == letters, original, "its strings are written otherwise")
    for text, text_after in zip(texts, texts_after, strict=True):
        if text != text_after:
            _require(_is_grown(text, text_after), original, f"the string {text!r} came out as {text_after!r}")
    return letters


def _is_grown(text: bytes, after: bytes) -> bool:
    """Whether ``after`` is ``text`` and one letter."""
    at = next((at for at, byte in enumerate(text) if after[at : at + 1] != bytes([byte])), len(text))
    return after[:at] + after[at + 1 :] == text
