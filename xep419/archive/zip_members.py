"""The members of a zip file as its directory lists them, and where their bytes lie. Knows nothing of stanzas.

Records are kept as they are, since zipfile, which is not used for it, cannot write what it read: it gives both headers
of a member the same extra fields. APPNOTE.TXT is the specification of the format (PKWARE, 6.3.10).
"""

from __future__ import annotations

import array
import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from ..errors import CorruptArchiveError, UnsupportedArchiveError

#: bytes that the directory of a zip file may have, which is held in memory
MOST_DIRECTORY = 1 << 25

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC, END64_MAGIC, LOCATOR_MAGIC = (
    b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7",
)  # fmt: skip

#: what a field of 4 (2) bytes holds when an extra field of kind ZIP64 holds the value
WIDE, WIDE_COUNT, ZIP64 = 0xFFFFFFFF, 0xFFFF, 0x0001
ENCRYPTED, HAS_DESCRIPTOR, PATCH, STRONGLY_ENCRYPTED, IS_UTF8 = 0x0001, 0x0008, 0x0020, 0x0040, 0x0800
STORED, DEFLATED = 0, 8
ZIP64_VERSION = 45


class Member(NamedTuple):
    """One entry of the directory."""

    fields: tuple[Any, ...]
    raw_name: bytes
    extra: bytes
    comment: bytes
    crc: int
    compressed: int
    size: int
    offset: int

    @property
    def flags(self) -> int:
        return int(self.fields[3])

    @property
    def method(self) -> int:
        return int(self.fields[4])

    @property
    def name(self) -> str:
        return self.raw_name.decode(*(("utf-8", "surrogateescape") if self.flags & IS_UTF8 else ("cp437",)))

    def record(self, offset: int) -> bytes:
        """The entry, for a member that begins at ``offset``."""
        extra, (size, compressed, place) = with_zip64(self.extra, self.size, self.compressed, offset)
        fields = list(self.fields)
        fields[7:13] = self.crc, compressed, size, len(self.raw_name), len(extra), len(self.comment)
        fields[16] = place
        if WIDE in (compressed, size, place):
            fields[2] = max(fields[2], ZIP64_VERSION)
        return CENTRAL.pack(*fields) + self.raw_name + extra + self.comment

    def recoded(self, crc: int, compressed: int, size: int) -> Member:
        fields = list(self.fields)
        fields[3] &= ~HAS_DESCRIPTOR
        return self._replace(fields=tuple(fields), crc=crc, compressed=compressed, size=size)


class Local(NamedTuple):
    """The header before a member's data."""

    fields: tuple[Any, ...]
    raw_name: bytes
    extra: bytes

    @property
    def length(self) -> int:
        return LOCAL.size + len(self.raw_name) + len(self.extra)

    def of(self, member: Member) -> bytes:
        """The header with the member's sizes, so that no descriptor follows the data."""
        extra, (size, compressed, _place) = with_zip64(self.extra, member.size, member.compressed, None)
        fields = list(self.fields)
        fields[2] &= ~HAS_DESCRIPTOR
        fields[6:11] = member.crc, compressed, size, len(self.raw_name), len(extra)
        if WIDE in (compressed, size):
            fields[1] = max(fields[1], ZIP64_VERSION)
        return LOCAL.pack(*fields) + self.raw_name + extra


class Directory:
    """The directory of a zip file, in the file's order and in its own.

    :raises CorruptArchiveError: it is not there or not as it must be; members overlap.
    :raises UnsupportedArchiveError: it is too large, or one of several volumes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._find_end()
        file.seek(self.start)
        self._raw = file.read(self.length)
        self._places = array.array("Q")
        self._offsets = array.array("Q")
        for place, member in self._entries():
            self._places.append(place)
            self._offsets.append(member.offset)
        if len(self) != self._count:
            raise CorruptArchiveError(
                f"{self._count} entries of a zip archive are expected, not {len(self)}", offset=self.start
            )
        #: the numbers of the members, in the order in which they lie in the file
        self.order = array.array("Q", sorted(range(len(self)), key=self._offsets.__getitem__))
        if self.order and self._offsets[self.order[0]] != 0:
            raise CorruptArchiveError("a zip archive is expected to begin with its first member", offset=0)

    def __len__(self) -> int:
        return len(self._places)

    def member(self, number: int) -> Member:
        """The member of that number, from 0 on, in the order of the directory."""
        return self._entry(self._places[number])[0]

    def in_order(self) -> Iterator[tuple[int, Member, int]]:
        """The members as they lie in the file: number, entry, and where what follows it begins."""
        for place, number in enumerate(self.order):
            is_last = place + 1 == len(self.order)
            yield number, self.member(number), self.start if is_last else self._offsets[self.order[place + 1]]

    def _entries(self) -> Iterator[tuple[int, Member]]:
        place = 0
        while place < len(self._raw):
            member, end = self._entry(place)
            yield place, member
            place = end

    def _entry(self, place: int) -> tuple[Member, int]:
        """The entry at a place of the directory, and where it ends."""
        raw = self._raw
        if len(raw) - place < CENTRAL.size or not raw.startswith(CENTRAL_MAGIC, place):
            raise CorruptArchiveError("an entry of a zip archive's directory is expected", offset=self.start + place)
        fields = CENTRAL.unpack_from(raw, place)
        name_end = place + CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        end = extra_end + fields[12]
        if end > len(raw):
            raise CorruptArchiveError("an entry of a zip archive's directory is cut", offset=self.start + place)
        name, extra, comment = raw[place + CENTRAL.size : name_end], raw[name_end:extra_end], raw[extra_end:end]
        size, compressed, offset = _widened(extra, fields[9], fields[8], fields[16], self.start + place)
        return Member(fields, name, extra, comment, fields[7], compressed, size, offset), end

    def _find_end(self) -> None:
        size = self._file.seek(0, io.SEEK_END)
        tail_start = max(0, size - END.size - WIDE_COUNT - LOCATOR.size)
        self._file.seek(tail_start)
        tail = self._file.read()
        place = tail.rfind(END_MAGIC)
        while place >= 0 and not _ends(tail, place):
            place = tail.rfind(END_MAGIC, 0, place)
        if place < 0:
            raise CorruptArchiveError(
                "the end of a zip archive's directory is expected, but the file ended", offset=size
            )
        self.end_fields = list(END.unpack_from(tail, place))
        self.comment = tail[place + END.size :]
        _magic, disk, first_disk, _on_disk, self._count, self.length, self.start, _comment = self.end_fields
        end = tail_start + place
        self.end64_fields: list[Any] | None = None
        if place >= LOCATOR.size and tail[place - LOCATOR.size : place].startswith(LOCATOR_MAGIC):
            end = self._read_end64(tail[place - LOCATOR.size : place], end - LOCATOR.size)
        if disk not in (0, WIDE_COUNT) or first_disk not in (0, WIDE_COUNT):
            raise UnsupportedArchiveError("it is one of several volumes of a zip archive")
        if self.length > MOST_DIRECTORY:
            raise UnsupportedArchiveError(f"the directory of the zip archive is larger than {MOST_DIRECTORY >> 20} MiB")
        if self.start + self.length != end:
            raise CorruptArchiveError("a zip archive's directory is not where its end says", offset=end)

    def _read_end64(self, locator: bytes, before: int) -> int:
        _magic, _disk, place, disks = LOCATOR.unpack(locator)
        if disks > 1:
            raise UnsupportedArchiveError("it is one of several volumes of a zip archive")
        if place + END64.size > before:
            raise CorruptArchiveError("the zip64 end of the directory is expected before its locator", offset=before)
        self._file.seek(place)
        record = self._file.read(END64.size)
        if len(record) < END64.size or not record.startswith(END64_MAGIC):
            raise CorruptArchiveError("the zip64 end of a zip archive's directory is expected", offset=place)
        fields = END64.unpack(record)
        if fields[1] != END64.size - 12:
            raise UnsupportedArchiveError("the zip64 end of the directory has data that we do not know")
        self.end64_fields = list(fields)
        self._count, self.length, self.start = fields[7:10]
        return int(place)

    def local(self, member: Member, end: int) -> Local:
        """A member's header; its data are known to end before ``end``."""
        self._file.seek(member.offset)
        header = self._file.read(LOCAL.size)
        if len(header) < LOCAL.size or not header.startswith(LOCAL_MAGIC):
            raise CorruptArchiveError(f"a zip member's header is expected for {member.name}", offset=member.offset)
        fields = LOCAL.unpack(header)
        local = Local(fields, self._file.read(fields[9]), self._file.read(fields[10]))
        if member.offset + local.length + member.compressed > end:
            raise CorruptArchiveError(f"the data of {member.name} run into what follows it", offset=member.offset)
        if local.raw_name != member.raw_name:
            raise CorruptArchiveError(f"{member.name} has another name before its data", offset=member.offset)
        return local

    def ending(self, start: int, length: int) -> bytes:
        """What follows a directory of ``length`` bytes at ``start`` that has as many members."""
        count = len(self)
        end = start + length
        written = b""
        if self.end64_fields is not None or count >= WIDE_COUNT or start >= WIDE or length >= WIDE:
            fields = self.end64_fields or [END64_MAGIC, END64.size - 12, ZIP64_VERSION, ZIP64_VERSION, 0, 0, 0, 0, 0, 0]
            written = END64.pack(*fields[:6], count, count, length, start) + LOCATOR.pack(LOCATOR_MAGIC, 0, end, 1)
        fields = list(self.end_fields)
        fields[3:7] = min(count, WIDE_COUNT), min(count, WIDE_COUNT), min(length, WIDE), min(start, WIDE)
        return written + END.pack(*fields) + self.comment


def is_zip(head: bytes) -> bool:
    return head.startswith((LOCAL_MAGIC, END_MAGIC))


def first_name(head: bytes) -> bytes:
    """The name of the member that a zip file begins with."""
    if len(head) < LOCAL.size:
        return b""
    return head[LOCAL.size : LOCAL.size + LOCAL.unpack_from(head)[9]]


class Checked(io.RawIOBase):
    """A member's data, which must have the size and checksum of its entry."""

    def __init__(self, file: IO[bytes], member: Member) -> None:
        self._file = file
        self._member = member
        self._begin()

    def _begin(self) -> None:
        self._size = self._crc = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if (offset, whence) == (0, io.SEEK_CUR):
            return self._size
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("a zip member can be read again from the beginning only")
        self._begin()
        return self._file.seek(0)

    def tell(self) -> int:
        return self._size

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._size > self._member.size or (not data and len(buffer) and self._size < self._member.size):
            raise CorruptArchiveError(f"{self._member.size} bytes are expected of it, not {self._size} or more")
        if not data and len(buffer) and self._crc != self._member.crc:
            raise CorruptArchiveError(f"the checksum 0x{self._member.crc:08x} is expected, not 0x{self._crc:08x}")
        buffer[: len(data)] = data
        return len(data)


class Part(io.RawIOBase):
    """Some bytes of a file that can be read at random."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file = file
        self._start = start
        self.length = length
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self.length)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._place)
        data = self._file.read(max(0, min(len(buffer), self.length - self._place)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


# -- records --------------------------------------------------------------------------------------------------


def _ends(tail: bytes, place: int) -> bool:
    """Whether an end record stands there, whose comment goes to the end of the file."""
    return len(tail) - place >= END.size and place + END.size + END.unpack_from(tail, place)[7] == len(tail)


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Extra fields by their kinds; what is no field at the end is of kind -1."""
    place = 0
    while len(extra) - place >= 4:
        kind, length = struct.unpack_from("<2H", extra, place)
        if place + 4 + length > len(extra):
            break
        yield kind, extra[place : place + 4 + length]
        place += 4 + length
    if place < len(extra):
        yield -1, extra[place:]


def _without_zip64(extra: bytes) -> bytes:
    return b"".join(field for kind, field in _fields(extra) if kind != ZIP64)


def _widened(extra: bytes, size: int, compressed: int, offset: int, place: int) -> list[int]:
    """The values, those that are in the zip64 field from there."""
    values = [size, compressed, offset]
    wide = next((field[4:] for kind, field in _fields(extra) if kind == ZIP64), b"")
    for number, value in enumerate(values):
        if value == WIDE:
            if len(wide) < 8:
                raise CorruptArchiveError("a zip64 field is expected for a large member", offset=place)
            (values[number],) = struct.unpack_from("<Q", wide)
            wide = wide[8:]
    return values


def with_zip64(extra: bytes, size: int, compressed: int, offset: int | None) -> tuple[bytes, tuple[int, int, int]]:
    """The extra fields, with one for what is too large for its field; what the fields then hold."""
    extra = _without_zip64(extra)
    wide = []
    if size >= WIDE or compressed >= WIDE:
        wide += [size, compressed]  # a local header must have both
        size = compressed = WIDE
    if offset is not None and offset >= WIDE:
        wide.append(offset)
        offset = WIDE
    if wide:
        extra = struct.pack(f"<2H{len(wide)}Q", ZIP64, 8 * len(wide), *wide) + extra
    return extra, (size, compressed, offset or 0)
