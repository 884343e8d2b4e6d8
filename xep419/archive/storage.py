"""Where archives lie: local files and whatever fsspec reaches, read in order, replaced whole or not at all.

Knows nothing of formats, journals or XML. Local files take the system's own calls; everything else goes through
fsspec, whose credentials and options come from its configuration and the environment. Failures of storage come out as
:class:`~xep419.errors.ArchiveError` that names the place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from .._replacing import create, keep_permissions, remove, status, sync_directory
from ..errors import ArchiveError

#: what the names of our own temporaries begin with; such files are never taken for archives
TEMPORARY = ".xep419-"
#: bytes of a block that a remote file is read and written in
REMOTE_BLOCK = 8 << 20
#: bytes of the buffers between a local file and its user: larger reads and writes pass them by
READ_BUFFER, WRITE_BUFFER = 1 << 18, 1 << 16

_FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "the quota is used up"}


@dataclasses.dataclass(frozen=True, order=True)
class Location:
    """A file or directory: a local path, or a URL that fsspec knows (``s3://bucket/key``)."""

    url: str

    @classmethod
    def of(cls, place: str | os.PathLike[str]) -> Location:
        url = os.fspath(place)
        if not isinstance(url, str):
            raise TypeError(f"a path or URL is a str, not {type(url).__name__!r}")
        return cls(url.removeprefix("file://") if url.startswith("file://") else url)

    @property
    def is_local(self) -> bool:
        return "://" not in self.url

    @property
    def name(self) -> str:
        return os.path.basename(self.url.rstrip("/"))

    @property
    def parent(self) -> Location:
        return Location(os.path.dirname(self.url.rstrip("/")))

    def child(self, relative: str) -> Location:
        return Location(f"{self.url.rstrip('/') or '/'}/{relative}" if relative else self.url)

    def sibling(self, name: str) -> Location:
        return Location(os.path.join(os.path.dirname(self.url), name))

    def __str__(self) -> str:
        """As it is shown: no password."""
        if self.is_local:
            return self.url
        parts = urlsplit(self.url)
        if parts.password is None:
            return self.url
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


class Fingerprint(NamedTuple):
    """Tells a file from a later version of it."""

    size: int
    version: str


class Entry(NamedTuple):
    """A file found below a root: its path from there, with ``/``; empty for the root itself."""

    relative: str
    location: Location
    size: int
    kind: str  # "file", "link", "other"


@contextlib.contextmanager
def naming(location: Location) -> Iterator[None]:
    """Failures of storage come out as ArchiveError that names ``location``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            reason = f"{_FULL[error.errno]}: what was written of it is removed"
        else:
            reason = error.strerror or str(error) or type(error).__name__
        raise ArchiveError(f"{location}: {reason}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("botocore", "aiohttp", "s3fs", "gcsfs", "adlfs", "fsspec"):
            raise ArchiveError(f"{location}: {error}") from error
        raise


def _remote(location: Location) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    import fsspec

    with naming(location):
        try:
            file_system, path = fsspec.core.url_to_fs(location.url)
        except (ValueError, ImportError) as error:
            raise ArchiveError(f"{location}: {error}") from error
    return file_system, path


# -- finding --------------------------------------------------------------------------------------------------


def exists(location: Location) -> bool:
    if location.is_local:
        return os.path.lexists(location.url)
    file_system, path = _remote(location)
    with naming(location):
        return bool(file_system.exists(path))


def is_directory(location: Location) -> bool:
    if location.is_local:
        return os.path.isdir(location.url)
    file_system, path = _remote(location)
    with naming(location):
        return bool(file_system.isdir(path))


def fingerprint(location: Location) -> Fingerprint | None:
    """None where there is no file."""
    if location.is_local:
        with naming(location):
            found = status(location.url)
        return None if found is None else Fingerprint(found.st_size, f"{found.st_mtime_ns}:{found.st_ino}")
    file_system, path = _remote(location)
    with naming(location):
        try:
            facts = file_system.info(path)
        except FileNotFoundError:
            return None
    version = facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("created") or ""
    return Fingerprint(facts["size"] or 0, str(version))


def size_of(location: Location) -> int:
    """Bytes of a file; none where there is no file."""
    found = fingerprint(location)
    return 0 if found is None else found.size


def walk(root: Location) -> Iterator[Entry]:
    """Every file below ``root``, in the order of their paths; a file as root gives itself. Links are not followed.

    :raises ArchiveError: there is nothing, or it cannot be read.
    """
    if root.is_local:
        with naming(root):
            found = os.stat(root.url)
        if stat.S_ISDIR(found.st_mode):
            yield from _walk_local(root, "")
        else:
            yield Entry("", root, found.st_size, "file" if stat.S_ISREG(found.st_mode) else "other")
        return
    file_system, path = _remote(root)
    with naming(root):
        if not file_system.exists(path):
            raise ArchiveError(f"{root}: there is no such file or directory")
        if file_system.isfile(path):
            yield Entry("", root, file_system.info(path)["size"] or 0, "file")
            return
        listed = file_system.find(path, detail=True)
    below = path.rstrip("/") + "/"
    for found_path in sorted(listed):
        relative = found_path.removeprefix(below)
        if not os.path.basename(relative).startswith(TEMPORARY):
            yield Entry(relative, root.child(relative), listed[found_path]["size"] or 0, "file")


def _walk_local(root: Location, below: str) -> Iterator[Entry]:
    directory = root.child(below)
    with naming(directory), os.scandir(directory.url) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(TEMPORARY):
            continue
        relative = f"{below}/{entry.name}" if below else entry.name
        location = root.child(relative)
        with naming(location):
            if entry.is_symlink():
                yield Entry(relative, location, 0, "link")
            elif entry.is_dir():
                yield from _walk_local(root, relative)
            elif entry.is_file():
                yield Entry(relative, location, entry.stat().st_size, "file")
            else:
                yield Entry(relative, location, 0, "other")


# -- reading --------------------------------------------------------------------------------------------------


class Counting(io.RawIOBase):
    """A file that tells how many bytes are read from it."""

    def __init__(self, file: IO[bytes], advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._advance(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def open_source(location: Location, advance: Callable[[int], None] | None = None) -> io.BufferedReader:
    """The file, to be read in large pieces; never mapped, so that memory stays small.

    :param advance: told of every read, how many bytes it brought.
    """
    if location.is_local:
        with naming(location):
            raw: Any = io.FileIO(location.url, "rb")
    else:
        file_system, path = _remote(location)
        with naming(location):
            raw = file_system.open(path, "rb", block_size=REMOTE_BLOCK)
    if advance is not None:
        raw = Counting(raw, advance)
    return io.BufferedReader(raw, READ_BUFFER)


# -- replacing ------------------------------------------------------------------------------------------------


def temporary_for(target: Location, token: str) -> Location:
    """The name that the job ``token`` gives to its temporary for ``target``: beside it, and always the same."""
    digest = hashlib.sha256(target.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return _real(target).sibling(f"{TEMPORARY}{token}-{digest}.tmp")


def _real(target: Location) -> Location:
    """What a link leads to is replaced, not the link."""
    if target.is_local and os.path.islink(target.url):
        return Location(os.path.realpath(target.url))
    return target


class Replacement:
    """A file being written that will take the place of ``target``, which it does not do before :func:`commit`.

    :param keep: goes on with the temporary of an earlier run.
    """

    def __init__(self, target: Location, token: str, *, keep: bool = False) -> None:
        self.target = _real(target)
        self.temporary = temporary_for(target, token)
        self._existing: os.stat_result | None = None
        with naming(target):
            if self.target.is_local:
                os.makedirs(os.path.dirname(self.target.url) or ".", exist_ok=True)
                self._existing = status(self.target.url)
                if keep:
                    raw = io.FileIO(self.temporary.url, "rb+")
                else:
                    raw = create(self.temporary.url, self.target.url, self._existing, anew=True)
                self.file: IO[bytes] = io.BufferedWriter(raw, WRITE_BUFFER)
            else:
                file_system, path = _remote(self.temporary)
                self.file = file_system.open(path, "wb", block_size=REMOTE_BLOCK)

    def complete(self) -> None:
        """Makes it durable under its temporary name."""
        with naming(self.target):
            if self.target.is_local:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
                keep_permissions(self.temporary.url, self._existing)
            else:
                self.file.close()

    def close(self) -> None:
        """Leaves the temporary as it is, for a later run."""
        with contextlib.suppress(Exception):
            self.file.close()

    def discard(self) -> None:
        """Leaves nothing behind."""
        self.close()
        discard(self.temporary)


def discard(temporary: Location) -> None:
    """Removes a temporary, where it is there."""
    with contextlib.suppress(OSError):
        if temporary.is_local:
            remove(temporary.url)
        else:
            file_system, path = _remote(temporary)
            if file_system.exists(path):
                file_system.rm(path)


def commit(temporary: Location, target: Location) -> None:
    """Puts the complete temporary in the target's place. A temporary that is gone was moved: this may be done again.

    Local targets last once :func:`sync_parents` was called.
    """
    with naming(target):
        if temporary.is_local:
            with contextlib.suppress(FileNotFoundError):
                os.replace(temporary.url, _real(target).url)
            return
        file_system, path = _remote(temporary)
        if file_system.exists(path):
            _, target_path = _remote(target)
            file_system.copy(path, target_path)  # object stores cannot rename; a copy of an object appears whole
            file_system.rm(path)


def sync_parents(targets: list[Location]) -> None:
    """Makes the renames of local targets last, each directory synced once."""
    for directory in {os.path.dirname(_real(target).url) for target in targets if target.is_local}:
        sync_directory(directory)


def copy_link(source: Location, target: Location) -> None:
    """The same link in another place."""
    with naming(target):
        leads_to = os.readlink(source.url)
        if os.path.islink(target.url) and os.readlink(target.url) == leads_to:
            return
        os.makedirs(os.path.dirname(target.url) or ".", exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(leads_to, target.url)


def stale(directory: Location, token: str) -> Iterator[Location]:
    """Temporaries that the job ``token`` left in a local directory."""
    if directory.is_local and os.path.isdir(directory.url):
        for name in os.listdir(directory.url):
            if name.startswith(f"{TEMPORARY}{token}-"):
                yield directory.child(name)
