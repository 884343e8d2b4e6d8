"""What is audited, as documents in pieces and archives in stanzas. Looks no further than the first bytes of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from .._pure.cipher import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

    Source = Buffer | str | os.PathLike[str] | BinaryIO

#: bytes read at a time
CHUNK = 1 << 18
#: bytes of a file that tell whether it is XML
_HEAD = 64
#: text that is no XML but names a database or a remote file
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: XML, in any encoding, after white space or a byte order mark; a TLS record (RFC 8446 section 5.1)
_DOCUMENT = re.compile(rb"[ \t\r\n\0]*(?:<|\xef\xbb\xbf|\xff\xfe|\xfe\xff|\Z)|[\x14-\x17]\x03")

Advance = Callable[[int], None]


class StoredStanza(Protocol):
    """A stanza of an archive: where it is stored, and its bytes as stored there."""

    @property
    def place(self) -> str: ...

    @property
    def data(self) -> bytes: ...


class Document(NamedTuple):
    """One XML document, or one direction of a recorded stream."""

    name: str
    chunks: Iterator[bytes]
    #: found in a directory, not named by the caller
    listed: bool = False


class Archive(NamedTuple):
    """One archive, in a format that :mod:`xep419.archive` reads."""

    name: str
    stanzas: Iterator[StoredStanza]
    listed: bool = False


def parts(source: Source, advance: Advance, name: str | None = None) -> Iterator[Document | Archive]:
    """The documents and archives that ``source`` stands for: those of a directory in the order of their names.

    :param source: XML as bytes-like or ``str``; a path; a ``str`` that begins with ``scheme://``; a binary file.
    :param advance: is told the bytes that were taken.
    :param name: of what has none.
    :raises OSError: there is no such path. What else cannot be opened tells when it is read.
    :raises TypeError: anything else.
    """
    if isinstance(source, os.PathLike):
        return _of_path(Path(source), advance)
    if isinstance(source, str) and URL.match(source):
        return iter((Archive(source, _stored(source, advance)),))
    if hasattr(source, "read"):
        file = cast(BinaryIO, source)
        return iter((Document(name or str(getattr(file, "name", "input")), _read(file, advance)),))
    return iter((Document(name or "input", _cut(to_bytes(source, "source"), advance)),))


def _of_path(path: Path, advance: Advance) -> Iterator[Document | Archive]:
    path.stat()
    if not path.is_dir():
        return iter((_of_file(path, advance),))
    return _of_directory(path, advance)


def _of_directory(directory: Path, advance: Advance) -> Iterator[Document | Archive]:
    errors: list[OSError] = []
    for parent, directories, names in os.walk(directory, onerror=errors.append):
        directories.sort()
        belonging: set[str] = set()
        for name in sorted(names):
            path = Path(parent, name)
            if name not in belonging and path.is_file():
                belonging.update(_companions(path))
                yield _of_file(path, advance)._replace(listed=True)
    for error in errors:
        yield Document(str(error.filename), _failing(error), listed=True)


def _companions(path: Path) -> tuple[str, ...]:
    """The files beside an index that are read through it, where the archive tools are installed."""
    try:
        from ..archive import companions
    except ImportError:
        return ()
    return companions(path)


def _failing(error: OSError) -> Iterator[bytes]:
    """Raises when it is read, as a file that cannot be opened does."""
    raise error
    yield b""


def _of_file(path: Path, advance: Advance) -> Document | Archive:
    if _DOCUMENT.match(_head(path)):
        return Document(str(path), _read_path(path, advance))
    return Archive(str(path), _stored(path, advance))


def _head(path: Path) -> bytes:
    """The first bytes; none of what can be read only once, nor of what cannot be read: whoever reads it is told."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _read_path(path: Path, advance: Advance) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _read(file, advance)


def _read(file: BinaryIO, advance: Advance) -> Iterator[bytes]:
    while chunk := b"".join(_pieces(file)):
        yield chunk
        advance(len(chunk))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """As many bytes as a chunk has, from a file that may give fewer at a time than it is asked for."""
    wanted = CHUNK
    while wanted and (piece := file.read(wanted)):
        yield piece
        wanted -= len(piece)


def _cut(data: bytes, advance: Advance) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]
        advance(min(CHUNK, len(data) - start))


def _stored(source: str | Path, advance: Advance) -> Iterator[StoredStanza]:
    from ..archive import stanzas

    for stanza in stanzas(source):
        yield stanza
        advance(len(stanza.data))
