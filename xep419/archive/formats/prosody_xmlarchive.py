"""A day of Prosody's ``mod_storage_xmlarchive``: stanzas in ``USER@DAY.xml``, and ``USER@DAY.list`` that says where.

Both change together: the index holds byte offsets, and a stanza that grew would be cut off. Whatever stands between the
indexed stanzas is copied. An index that cannot be followed throughout leaves the pair as it was.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar, NamedTuple

from ...errors import CorruptArchiveError, LimitExceededError, RestorationError, XEP419Error
from ...namespaces import NamespaceCensus
from ...stream import check_stanza
from ..recoding import Recoding
from ..tally import Tally
from . import CHUNK, ArchivedStanza, Proved
from .lua import OTHER, Item, Reader, items

#: bytes that a stanza may have
MAX_STANZA = 1 << 24
#: bytes of stanzas that are recoded in one call
_BATCH = 1 << 18

_ITEM = re.compile(rb"\s*item\s*\(\s*\{")
#: Outside of a string: inside, the quotes would be escaped.
_OFFSET, _LENGTH, _ATTRIBUTES = (
    re.compile(rb'\[\s*"%b"\s*\]\s*=\s*%b' % parts)
    for parts in ((b"offset", b"[0-9]"), (b"length", b"[0-9]"), (b"attr", rb"\{"))
)


_WHOLE = re.compile(rb"[0-9]{1,18}\Z")


class _Entry(NamedTuple):
    """One item of the index: what it says, and where in the item."""

    item: Item
    offset: int
    length: int
    #: spans of the two numbers in the item, in its order, and the item without them
    numbers: tuple[tuple[int, int], tuple[int, int]]
    is_offset_first: bool

    def moved(self, offset: int, length: int) -> bytes:
        """The item with other numbers."""
        first, second = (offset, length) if self.is_offset_first else (length, offset)
        before, between, after = self.frame
        return b"%b%d%b%d%b" % (before, first, between, second, after)

    @property
    def frame(self) -> tuple[bytes, bytes, bytes]:
        data, ((start, end), (next_start, next_end)) = self.item.data, self.numbers
        return data[:start], data[end:next_start], data[next_end:]


class _Slice(NamedTuple):
    """One stanza as stored, where the index says it is."""

    entry: _Entry
    data: bytes


def _entries(index: IO[bytes]) -> Iterator[_Entry]:
    """:raises CorruptArchiveError: an item is none of an index, or says that stanzas overlap or go back."""
    reader, end = Reader(), 0
    for item in items(index):
        try:
            table = reader.read(item.data)
            found = [_number(table.get(key), key, item) for key in (b"offset", b"length")]
        except CorruptArchiveError as error:
            message = f"{item.place} of the index: {error.message}"
            raise CorruptArchiveError(message, offset=item.offset + (error.offset or 0)) from None
        (offset, offset_span), (length, length_span) = found
        if offset < end:
            raise CorruptArchiveError(
                f"{item.place} of the index: expected an offset of {end} or more, past the stanza before, got {offset}",
                offset=item.offset + offset_span[0],
            )
        if length > MAX_STANZA:
            raise LimitExceededError(
                f"{item.place} of the index: expected a length of at most {MAX_STANZA}, got {length}",
                offset=item.offset + length_span[0],
            )
        end = offset + length
        first, second = sorted((offset_span, length_span))
        yield _Entry(item, offset, length, (first, second), first == offset_span)


def _number(value: object, key: bytes, item: Item) -> tuple[int, tuple[int, int]]:
    if type(value) is not tuple or value[0].kind != OTHER or not _WHOLE.match(value[0].raw):
        raise CorruptArchiveError(f"expected a whole number under {key.decode()!r}")
    field, line = value
    start = line + field.start
    return int(field.raw), (start, start + len(field.raw))


def _slices(index: IO[bytes], xml: IO[bytes]) -> Iterator[bytes | _Slice]:
    """The file in order: each stanza, and in pieces what stands before, between and after them.

    :raises CorruptArchiveError: the file ends before the index does.
    """
    position = 0
    for entry in _entries(index):
        while position < entry.offset:
            gap = _read(xml, min(CHUNK, entry.offset - position))
            _require_bytes(gap, 1, entry, position)
            position += len(gap)
            yield gap
        data = _read(xml, entry.length)
        _require_bytes(data, entry.length, entry, position)
        position += len(data)
        yield _Slice(entry, data)
    while rest := _read(xml, CHUNK):
        yield rest


def _read(xml: IO[bytes], length: int) -> bytes:
    """As many bytes, or all there are: however a file reads, it is cut at the same places."""
    data = xml.read(length)
    while len(data) < length and (more := xml.read(length - len(data))):
        data += more
    return data


def _require_bytes(data: bytes, wanted: int, entry: _Entry, position: int) -> None:
    if len(data) < wanted:
        raise CorruptArchiveError(
            f"{entry.item.place} of the index: expected a stanza of {entry.length} bytes at byte {entry.offset},"
            f" but the XML ends at byte {position + len(data)}",
            offset=entry.item.offset,
        )


def _fault(data: bytes, recoding: Recoding) -> str:
    """Why a slice is not to be touched, or nothing."""
    if recoding.check:
        try:
            check_stanza(recoding.plain(data))
        except XEP419Error as error:
            return f"not a well-formed stanza: {error}"
    return ""


class _Writer:
    """Writes both files: gaps as they are, stanzas recoded in batches, and the index as they come to stand."""

    def __init__(self, targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally) -> None:
        self._index, self._xml = targets
        self._recoding, self._tally = recoding, tally
        self._census = NamespaceCensus()
        self._position = self._held = 0
        self._batch: list[_Slice] = []

    def gap(self, data: bytes) -> None:
        self._flush()
        self._xml.write(data)
        self._position += len(data)

    def stanza(self, found: _Slice) -> None:
        if fault := _fault(found.data, self._recoding):
            self._tally.skip(found.entry.item.place, fault, found.entry.offset)
            self._flush()
            self._put(found.entry, found.data)
            return
        self._tally.stanzas += 1
        self._batch.append(found)
        self._held += len(found.data)
        if self._held >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        stored = [found.data for found in self._batch]
        self._census.count([self._recoding.plain(data) for data in stored])
        for found, recoded in zip(self._batch, self._recoding.stanzas(stored), strict=True):
            self._put(found.entry, recoded)
        self._batch, self._held = [], 0

    def _put(self, entry: _Entry, data: bytes) -> None:
        self._index.write(entry.moved(self._position, len(data)))
        self._xml.write(data)
        self._position += len(data)

    def close(self) -> None:
        self._flush()
        self._tally.count(self._census.counts())


class ProsodyXMLArchive:
    """The two files of a day: the index first, then the XML."""

    name: ClassVar[str] = "prosody-xmlarchive"
    title: ClassVar[str] = "a day of Prosody's xmlarchive (.list and .xml)"
    random_access: ClassVar[bool] = False
    in_python: ClassVar[bool] = True

    def recognises(self, head: bytes, recoding: Recoding) -> bool:
        return bool(
            _ITEM.match(head) and _OFFSET.search(head) and _LENGTH.search(head) and not _ATTRIBUTES.search(head)
        )

    def companions(self, name: str) -> tuple[str, ...]:
        return (name.removesuffix(".list") + ".xml",)

    def recode(
        self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding, tally: Tally
    ) -> None:
        index, xml = sources
        writer = _Writer(targets, recoding, tally)
        for part in _slices(index, xml):
            if isinstance(part, bytes):
                writer.gap(part)
            else:
                writer.stanza(part)
        writer.close()

    def prove(self, sources: Sequence[IO[bytes]], targets: Sequence[IO[bytes]], recoding: Recoding) -> Proved:
        """Follows both indexes, each through its own file."""
        stanzas = letters = 0
        try:
            for before, after in itertools.zip_longest(_slices(*sources), _slices(*targets)):
                if isinstance(before, _Slice) and isinstance(after, _Slice):
                    stanza_letters = _prove_stanza(before, after, recoding)
                    stanzas += stanza_letters is not None
                    letters += stanza_letters or 0
                elif before != after:
                    raise RestorationError("expected the same stanzas with the same bytes around them")
        except (CorruptArchiveError, LimitExceededError) as error:
            raise RestorationError(error.message, offset=error.offset) from None
        return Proved(stanzas, letters)

    def stanzas(self, sources: Sequence[IO[bytes]], recoding: Recoding) -> Iterator[ArchivedStanza]:
        for part in _slices(*sources):
            if isinstance(part, _Slice):
                yield ArchivedStanza(part.entry.item.place, recoding.plain(part.data))


def _prove_stanza(before: _Slice, after: _Slice, recoding: Recoding) -> int | None:
    """The letters that a stanza gained, or None where it was not to be touched."""
    entry = before.entry
    if entry.frame != after.entry.frame or entry.is_offset_first != after.entry.is_offset_first:
        raise RestorationError(f"{entry.item.place} of the index changed beside its numbers", offset=entry.item.offset)
    if _fault(before.data, recoding):
        if before.data != after.data:
            raise RestorationError(f"{entry.item.place}: a broken stanza came out changed", offset=entry.offset)
        return None
    return recoding.prove(before.data, after.data)
