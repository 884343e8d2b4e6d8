"""The members of a tar file, one after the other, with their headers as they lie there. Knows nothing of stanzas.

Header blocks are read by tarfile's TarInfo, but members are found here: tarfile reads extension headers whole, however
long they claim to be, keeps every member in memory, and would write headers anew instead of copying them.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from ..errors import CorruptArchiveError, UnsupportedArchiveError

BLOCK = tarfile.BLOCKSIZE
#: bytes that the headers of one member may have in all
MOST_HEADERS = 1 << 20

_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
)  # fmt: skip
_EXTENSIONS = (_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL, tarfile.SOLARIS_XHDTYPE)
#: fields of a header block
_SIZE, _CHECKSUM, _TYPE = slice(124, 136), slice(148, 156), slice(156, 157)
#: where a sparse file's header, and each block that belongs to it, says that there is another
_IS_EXTENDED, _IS_EXTENDED_AGAIN = 482, 504
#: a record of an extended header: its length in all, and its keyword
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]+)=")


class Extension(NamedTuple):
    """A header that tells more of the member after it; ``data`` without padding."""

    header: bytes
    data: bytes

    @property
    def blocks(self) -> bytes:
        return self.header + self.data + b"\0" * (-len(self.data) % BLOCK)


class Member(NamedTuple):
    """A member's headers; its data follow in the file."""

    name: str
    #: bytes of its data, without padding
    size: int
    extensions: tuple[Extension, ...]
    #: its own header, and for a sparse file the blocks that belong to it
    header: bytes
    is_sparse: bool
    #: whether its data are a file as it is
    is_plain: bool
    has_size_record: bool

    @property
    def blocks(self) -> bytes:
        return b"".join([*(extension.blocks for extension in self.extensions), self.header])

    @property
    def padding(self) -> int:
        return -self.size % BLOCK

    def resized(self, size: int) -> Member:
        """The same, for other data."""
        extensions = self.extensions
        if self.has_size_record:
            extensions = tuple(_with_size_record(one, size) for one in extensions)
        return self._replace(size=size, extensions=extensions, header=_with_size(self.header, size))

    @property
    def without_size(self) -> bytes:
        """What stays the same when data are recoded."""
        return self.resized(0).blocks


class Reader:
    """Reads a tar file on from its beginning, and the data of the member that it is at.

    :raises CorruptArchiveError: with the offset; from every method.
    """

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0)
        self._file = file
        self._place = 0
        self._left = self._padding = 0
        #: the block that ends the archive, once it was come to
        self.end = b""

    def members(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            self._left, self._padding = member.size, member.padding
            yield member
            self.padding()

    def read(self, count: int, /) -> bytes:
        """Up to ``count`` bytes of the member's data; fewer only at their end."""
        data = self._exactly(min(count, self._left))
        self._left -= len(data)
        return data

    def padding(self) -> bytes:
        """What follows the member's data, which are passed, to the next block."""
        while self._left:
            self.read(1 << 20)
        padding = self._exactly(self._padding)
        self._padding = 0
        return padding

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        self._place += len(data)
        if len(data) < count:
            raise CorruptArchiveError("more of the tar archive is expected, but the file ended", offset=self._place)
        return data

    def _next(self) -> Member | None:
        extensions: list[Extension] = []
        begin = self._place
        while True:
            block = self._exactly(BLOCK)
            if not block.strip(b"\0"):
                if extensions:
                    raise CorruptArchiveError("a tar header is expected after its extension", offset=begin)
                self.end = block
                return None
            info = self._parsed(block)
            if info.type not in _EXTENSIONS:
                return self._member(info, block, tuple(extensions), begin)
            self._limit(begin, info.size)
            data = self._exactly(info.size)
            if self._exactly(-info.size % BLOCK).strip(b"\0"):
                raise CorruptArchiveError("zeros are expected after a tar extension header", offset=begin)
            extensions.append(Extension(block, data))

    def _parsed(self, block: bytes) -> tarfile.TarInfo:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise CorruptArchiveError(f"a tar header is expected: {error}", offset=self._place - BLOCK) from error
        if info.size < 0:
            raise CorruptArchiveError(f"a size is expected, not {info.size}", offset=self._place - BLOCK)
        return info

    def _limit(self, begin: int, more: int) -> None:
        if self._place - begin + more > MOST_HEADERS:
            raise CorruptArchiveError(f"headers of more than {MOST_HEADERS} bytes for one member", offset=begin)

    def _member(self, info: tarfile.TarInfo, block: bytes, extensions: tuple[Extension, ...], begin: int) -> Member:
        records: dict[bytes, bytes] = {}
        for extension in extensions:
            kind = extension.header[_TYPE]
            if kind == _GNU_NAME:
                records[b"path"] = extension.data.partition(b"\0")[0]
            elif kind == _PAX_GLOBAL:
                if {b"size", b"path"} & _records(extension.data, begin).keys():
                    raise UnsupportedArchiveError("a global header of the tar archive gives sizes or names")
            elif kind != _GNU_LINK:
                records |= _records(extension.data, begin)
        is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith(b"GNU.sparse.") for key in records)
        header = block
        if info.type == tarfile.GNUTYPE_SPARSE and block[_IS_EXTENDED]:
            header += self._sparse_blocks(begin)
        return Member(
            records[b"path"].decode("utf-8", "surrogateescape") if b"path" in records else info.name,
            _size_of(info, records, begin),
            extensions,
            header,
            is_sparse,
            not is_sparse and info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE),
            b"size" in records,
        )

    def _sparse_blocks(self, begin: int) -> bytes:
        blocks = [self._exactly(BLOCK)]
        while blocks[-1][_IS_EXTENDED_AGAIN]:
            self._limit(begin, BLOCK)
            blocks.append(self._exactly(BLOCK))
        return b"".join(blocks)


def is_tar(head: bytes) -> bool:
    """Whether a file begins with a tar header whose checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _size_of(info: tarfile.TarInfo, records: dict[bytes, bytes], begin: int) -> int:
    """Links, directories and devices have no data, whatever their size says; unknown types do (as in tarfile)."""
    if info.type in tarfile.SUPPORTED_TYPES and info.type not in tarfile.REGULAR_TYPES:
        return 0
    if b"size" not in records:
        return info.size
    if not re.fullmatch(rb"[0-9]{1,20}", records[b"size"]):
        raise CorruptArchiveError(f"a size is expected, not {records[b'size'][:40]!r}", offset=begin)
    return int(records[b"size"])


def _records(data: bytes, begin: int) -> dict[bytes, bytes]:
    """The records of an extended header (POSIX pax)."""
    return {key: value for key, value in _each_record(data, begin)}


def _each_record(data: bytes, begin: int) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(data):
        found = _RECORD.match(data, place)
        end = place + int(found[1]) if found else 0
        if found is None or end > len(data) or end <= found.end() or data[end - 1 : end] != b"\n":
            raise CorruptArchiveError("a record of a tar extension header is broken", offset=begin)
        yield found[2], data[found.end() : end - 1]
        place = end


def _with_size_record(extension: Extension, size: int) -> Extension:
    if extension.header[_TYPE] not in (_PAX, tarfile.SOLARIS_XHDTYPE):
        return extension
    data = b"".join(
        _record(key, b"%d" % size if key == b"size" else value) for key, value in _each_record(extension.data, 0)
    )
    return Extension(_with_size(extension.header, len(data)), data)


def _record(key: bytes, value: bytes) -> bytes:
    """A record that begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d" % length + rest


def _with_size(header: bytes, size: int) -> bytes:
    """The header with another size and the checksum for it; past 8 GiB the size is in base 256, as GNU has it."""
    field = b"%011o" % size + (header[135:136] if header[135:136] == b" " else b"\0")
    if size >= 8**11:
        field = b"\x80" + size.to_bytes(11, "big")
    changed = bytearray(header)
    changed[_SIZE] = field
    changed[_CHECKSUM] = b" " * 8
    changed[_CHECKSUM] = b"%06o\0 " % sum(changed[:BLOCK])
    return bytes(changed)
