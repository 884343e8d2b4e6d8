"""Compressed files, told by their first bytes: read in bounded memory, and written the way the source was.

Opens no file and knows no format. All of a file is read: gzip members, bzip2 and xz streams and zstd frames one after
the other. What is written is one of them, with the level, checksum, name and time that the source's first one states.
"""

from __future__ import annotations

import bz2
import functools
import io
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple, Protocol

import zstandard

from ..errors import CorruptArchiveError, UnsupportedArchiveError

#: compressed bytes taken at a time: small, so that one of them unpacks to little and an error's place is near
PIECE = 1 << 14
#: bytes of memory that a file may ask for to be unpacked (xz -9 asks for 65 MiB, zstd --long for 128 MiB)
MOST_MEMORY = 1 << 27

_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3
#: 32 MiB of memory; xz's own choice, 6, takes 94 MiB for each job
_XZ_PRESET = 3
#: bytes of the buffer between a stream and its reader
BUFFER = 1 << 18


class Decoder(Protocol):
    """One gzip member, bzip2 or xz stream, or zstd frame on its way, as :class:`bz2.BZ2Decompressor` has it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Encoder(Protocol):
    def compress(self, data: Any, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Compression(NamedTuple):
    """``encoder`` is given the first bytes of the source, to do as that did."""

    title: str
    magic: re.Pattern[bytes]
    decoder: Callable[[], Decoder]
    encoder: Callable[[bytes], Encoder]
    #: whether zeros may follow, and another stream
    padded: bool = False
    repeated: bool = True


class _Inflating:
    """zlib's decompressor in the manners of bz2's and lzma's."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = not self._stream.unconsumed_tail and len(unpacked) < max_length
        return unpacked


class _Frame:
    """zstandard's decompressor in the same manners, but for ``max_length``, which it may pass.

    It unpacks all that it is given, and a block of 4 bytes may hold 128 KiB: so it is given little at a time.
    """

    _SPOONFUL = 1 << 9

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=MOST_MEMORY).decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data + self._waiting

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        self._waiting += data
        unpacked: list[bytes] = []
        place = length = 0
        while place < len(self._waiting) and length < max_length and not self.eof:
            unpacked.append(self._frame.decompress(self._waiting[place : place + self._SPOONFUL]))
            length += len(unpacked[-1])
            place += self._SPOONFUL
        self._waiting = self._waiting[place:]
        return b"".join(unpacked)


# -- encoders -------------------------------------------------------------------------------------------------


class _Gzip:
    """One gzip member (RFC 1952) with the name, comment, time and system of the source's first."""

    def __init__(self, head: bytes) -> None:
        self._header = gzip_header(head)
        self._stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._sum = self._size = 0

    def compress(self, data: Any, /) -> bytes:
        self._sum = zlib.crc32(data, self._sum)
        self._size += memoryview(data).nbytes
        header, self._header = self._header, b""
        return header + self._stream.compress(data)

    def flush(self) -> bytes:
        end = struct.pack("<2L", self._sum, self._size & 0xFFFFFFFF)
        return self._header + self._stream.flush() + end


_NAME, _COMMENT, _EXTRA = 0x08, 0x10, 0x04


def gzip_header(head: bytes) -> bytes:
    """The header without what holds for the old bytes only: extra fields, such as an index of blocks, and its sum."""
    flags = head[3]
    place = 10 + (2 + int.from_bytes(head[10:12], "little") if flags & _EXTRA else 0)
    kept = b""
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = head.find(b"\0", place) + 1
            if not end:  # longer than all that was read of it
                return b"\x1f\x8b\x08\0" + head[4:8] + b"\0" + head[9:10]
            kept += head[place:end]
            place = end
    return b"\x1f\x8b\x08" + bytes([flags & (_NAME | _COMMENT)]) + head[4:8] + b"\0" + head[9:10] + kept


def _deflate(_head: bytes) -> Encoder:
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _bzip2(head: bytes) -> Encoder:
    return bz2.BZ2Compressor(head[3] - ord("0"))


def _xz(head: bytes) -> Encoder:
    check = head[7] & 0x0F
    return lzma.LZMACompressor(
        lzma.FORMAT_XZ, check=check if lzma.is_check_supported(check) else lzma.CHECK_CRC64, preset=_XZ_PRESET
    )


def _lzma(_head: bytes) -> Encoder:
    return lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=_XZ_PRESET)


def _zstd(head: bytes) -> Encoder:
    has_checksum = head[:4] == b"\x28\xb5\x2f\xfd" and bool(head[4:5] and head[4] & 0x04)
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=has_checksum).compressobj()


def _unxz(form: int) -> Decoder:
    return lzma.LZMADecompressor(form, memlimit=MOST_MEMORY)


GZIP = Compression(
    "gzip", re.compile(rb"\x1f\x8b\x08"), functools.partial(_Inflating, 16 + zlib.MAX_WBITS), _Gzip, padded=True
)
BZIP2 = Compression("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)"), bz2.BZ2Decompressor, _bzip2)
XZ = Compression("xz", re.compile(rb"\xfd7zXZ\0"), functools.partial(_unxz, lzma.FORMAT_XZ), _xz, padded=True)
# Its header is properties, the dictionary's size and the data's, which is -1 where it is not known.
LZMA = Compression(
    "lzma",
    re.compile(rb"\x5d\0\0..(?:\xff{8}|.{5}\0{3})", re.DOTALL),
    functools.partial(_unxz, lzma.FORMAT_ALONE),
    _lzma,
    repeated=False,
)
ZSTD = Compression("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), _Frame, _zstd)
#: a zip's member
DEFLATE = Compression(
    "deflate", re.compile(rb"(?!)"), functools.partial(_Inflating, -zlib.MAX_WBITS), _deflate, repeated=False
)

COMPRESSIONS = (GZIP, BZIP2, XZ, LZMA, ZSTD)

_REFUSED = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"LZIP": "compressed by lzip",
    b"\x1f\x9d": "compressed by compress",
}


def compression_of(head: bytes) -> Compression | None:
    """How a file that begins with ``head`` is compressed.

    :raises UnsupportedArchiveError: in a way that we do not read.
    """
    for magic, what in _REFUSED.items():
        if head.startswith(magic):
            raise UnsupportedArchiveError(f"it is {what}, which is not looked into: unpack it first")
    return next((one for one in COMPRESSIONS if one.magic.match(head)), None)


# -- streams --------------------------------------------------------------------------------------------------


class Decompressed(io.RawIOBase):
    """What is in a compressed file, from the file's place on. Can be read again from the beginning, if the file can.

    Reading raises CorruptArchiveError with the offset in the compressed file: where it ended too early, or where the
    piece begins in which the fault was found.
    """

    def __init__(self, file: IO[bytes], compression: Compression) -> None:
        self._file = file
        self._compression = compression
        self._begin()
        #: the first compressed bytes
        self.head = self._pushed
        #: what reading raised
        self.fault: Exception | None = None

    def _begin(self) -> None:
        self._decoder = self._compression.decoder()
        self._pushed = self._file.read(PIECE)
        self._taken = 0
        self._place = 0
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To the beginning; other places are not to be had."""
        if (offset, whence) == (0, io.SEEK_CUR):
            return self._place
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("a compressed file can be read again from the beginning only")
        self._file.seek(0)
        self._begin()
        return 0

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            try:
                self._left = memoryview(self._next(len(buffer)))
            except Exception as error:
                self.fault = error
                raise
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._place += count
        return count

    def _next(self, limit: int) -> bytes:
        """More than nothing, or the end."""
        while not self._decoder.eof or self._begin_next():
            piece = self._take() if self._decoder.needs_input else b""
            if data := self._decompress(piece, limit):
                return data
        return b""

    def _take(self) -> bytes:
        piece = self._pushed or self._file.read(PIECE)
        self._pushed = b""
        self._taken += len(piece)
        if not piece:
            title = self._compression.title
            raise CorruptArchiveError(f"more {title} data is expected, but the file ended", offset=self._taken)
        return piece

    def _decompress(self, piece: bytes, limit: int) -> bytes:
        try:
            return self._decoder.decompress(piece, limit)
        except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError) as error:
            if "emory" in str(error):
                raise UnsupportedArchiveError(f"unpacking it takes more than {MOST_MEMORY >> 20} MiB") from error
            offset = self._taken - len(piece)
            raise CorruptArchiveError(f"corrupt {self._compression.title} data: {error}", offset=offset) from error

    def _begin_next(self) -> bool:
        """Whether another stream follows the one that has ended."""
        rest = self._decoder.unused_data
        while True:
            if self._compression.padded:
                rest = rest.lstrip(b"\0")
            if len(rest) >= PIECE or not (more := self._file.read(PIECE)):
                break
            self._taken += len(more)
            rest += more
        if not rest:
            return False
        self._taken -= len(rest)
        if not (self._compression.repeated and self._compression.magic.match(rest)):
            title = self._compression.title
            raise CorruptArchiveError(
                f"the end of the file, or more {title} data, is expected after the first", offset=self._taken
            )
        self._decoder = self._compression.decoder()
        self._pushed = rest
        return True


def decompressed(file: IO[bytes], compression: Compression) -> io.BufferedReader:
    """What is in a compressed file."""
    return io.BufferedReader(Decompressed(file, compression), BUFFER)


class Compressor(io.RawIOBase):
    """Writes compressed; the file underneath stays open. Nothing is complete before :meth:`finish`."""

    def __init__(self, file: IO[bytes], encoder: Encoder) -> None:
        self._file = file
        self._encoder = encoder
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(self._encoder.compress(data))
        count = memoryview(data).nbytes
        self._place += count
        return count

    def tell(self) -> int:
        return self._place

    def finish(self) -> None:
        self._file.write(self._encoder.flush())
