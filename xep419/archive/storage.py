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
import itertools
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any, NamedTuple, cast

from .._replacing import NEW_FILE, create, keep_permissions, make_directories, remove, status, sync_directory
from ..errors import ArchiveError, XEP419Error

#: what the names of our own temporaries begin with; such files are never taken for archives
TEMPORARY = ".xep419-"
#: and end with: one that one worker writes at once, one that several write to or a later run goes on with
WHOLE, SHARED = ".tmp", ".shared"
#: and those of journals end with; SQLite's and our own files beside them, too
JOURNAL = ".xep419-journal"
_JOURNALS = tuple(JOURNAL + beside for beside in ("", "-lock", "-wal", "-shm"))
#: bytes of a block that a remote file is read and written in
REMOTE_BLOCK = 8 << 20
#: bytes of the buffers between a local file and its user: larger reads and writes pass them by
READ_BUFFER, WRITE_BUFFER = 1 << 18, 1 << 16

#: what a URL holds that nobody is shown: the password, and of the web's the query, which may be a signature
_SECRETS = re.compile(r"(?<=://)([^/@:]*):[^@/]*(?=@)|^(https?://[^?]*\?).+", re.DOTALL)

_FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "the quota is used up"}


@dataclasses.dataclass(frozen=True, order=True, repr=False)
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
        return Location(os.path.dirname(self.url.rstrip("/") or "/"))

    def child(self, relative: str) -> Location:
        return Location(f"{self.url.rstrip('/')}/{relative}" if relative else self.url)

    def sibling(self, name: str) -> Location:
        return Location(os.path.join(os.path.dirname(self.url), name))

    def __str__(self) -> str:
        """As it is shown: no password."""
        return self.url if self.is_local else without_secrets(self.url)

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"


def without_secrets(url: str) -> str:
    return _SECRETS.sub(lambda found: f"{found[2]}***" if found[2] else f"{found[1]}:***", url)


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
    except XEP419Error:
        raise
    except Exception as error:
        if type(error).__module__ == "builtins":
            raise  # a mistake of ours; whatever else comes is the storage library's
        raise ArchiveError(f"{location}: {error or type(error).__name__}") from error


def _remote(location: Location) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    import fsspec

    with naming(location):
        try:
            file_system, path = fsspec.core.url_to_fs(location.url)
        except ImportError as error:
            extra = ": pip install 'xep419[s3]'" if location.url.startswith("s3") else ""
            raise ArchiveError(f"{location}: {error}{extra}") from error
        except ValueError as error:
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
        file_system.invalidate_cache(path)  # as it is now, not as it was when it was listed
        try:
            facts = file_system.info(path)
        except FileNotFoundError:
            return None
    version = facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("created") or ""
    return Fingerprint(facts["size"] or 0, str(version))


def resolved(location: Location) -> str:
    """The place that a location's links lead to."""
    return os.path.realpath(location.url) if location.is_local else location.url.rstrip("/")


def is_within(location: Location, root: Location) -> bool:
    """Whether it is ``root``, or below it, once links are followed."""
    return f"{resolved(location)}/".startswith(f"{resolved(root)}/")


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
            yield from _walk_local(root)
        else:
            yield Entry("", root, found.st_size, "file" if stat.S_ISREG(found.st_mode) else "other")
        return
    file_system, path = _remote(root)
    with naming(root):
        file_system.invalidate_cache(path)
        if not file_system.exists(path):
            raise ArchiveError(f"{root}: there is no such file or directory")
        if file_system.isfile(path):
            yield Entry("", root, file_system.info(path)["size"] or 0, "file")
            return
    for relative, location, size in _below(root):
        if not is_ours(location.name):
            yield Entry(relative, location, size, "file")


def is_ours(name: str) -> bool:
    """Whether a file is a job's own: a temporary, a journal."""
    return name.startswith(TEMPORARY) or name.endswith(_JOURNALS)


def _walk_local(root: Location) -> Iterator[Entry]:
    """Without recursion, since a path may have more directories than Python has frames; one directory is held each."""
    top = os.path.join(root.url, "")
    waiting: list[Iterator[os.DirEntry[str]]] = [_listed(root)]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        if is_ours(entry.name):
            continue
        location = Location(entry.path)
        relative = entry.path.removeprefix(top)
        with naming(location):
            if entry.is_symlink():
                yield Entry(relative, location, 0, "link")
            elif entry.is_dir():
                waiting.append(_listed(location))
            elif entry.is_file():
                with contextlib.suppress(FileNotFoundError):  # it was removed since it was listed
                    yield Entry(relative, location, entry.stat().st_size, "file")
            else:
                yield Entry(relative, location, 0, "other")


def _listed(directory: Location) -> Iterator[os.DirEntry[str]]:
    with naming(directory), os.scandir(directory.url) as listed:
        return iter(sorted(listed, key=lambda entry: entry.name))


def _below(root: Location) -> Iterator[tuple[str, Location, int]]:
    """The files below a remote directory, our own temporaries too: path from there, place and size.

    One directory is listed at a time, and not kept in fsspec's cache.
    """
    file_system, path = _remote(root)
    top = path.rstrip("/") + "/"
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        with naming(root):
            listed = file_system.ls(directory, detail=True)
            file_system.invalidate_cache(directory)
        deeper = []
        for facts in sorted(listed, key=lambda one: str(one["name"])):
            name = facts["name"]
            if name.rstrip("/") == directory.rstrip("/"):
                continue  # an object that stands for the directory itself
            if facts["type"] == "directory":
                deeper.append(name)
            else:
                relative = name.removeprefix(top)
                yield relative, root.child(relative), facts["size"] or 0
        waiting += reversed(deeper)


# -- reading --------------------------------------------------------------------------------------------------


class Reading(io.RawIOBase):
    """A file that tells how many bytes are read from it, and whose failures name it."""

    def __init__(self, location: Location, file: Any, advance: Callable[[int], None] | None) -> None:
        self._location = location
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        place: int = self._file.seek(offset, whence)
        return place

    def tell(self) -> int:
        place: int = self._file.tell()
        return place

    def fileno(self) -> int:
        if not self._location.is_local:
            raise io.UnsupportedOperation("fileno")
        descriptor: int = self._file.fileno()
        return descriptor

    def passed(self, offset: int) -> None:
        """The bytes before ``offset`` were read: by the descriptor, or here, where a buffer reads ahead."""
        count = max(0, offset - self.tell())
        self._file.seek(count, os.SEEK_CUR)
        if self._advance is not None:
            self._advance(count)

    def named(self) -> AbstractContextManager[None]:
        return naming(self._location)

    def readinto(self, buffer: Any) -> int:
        with naming(self._location):
            count: int = self._file.readinto(buffer)
        if self._advance is not None:
            self._advance(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def open_source(location: Location, advance: Callable[[int], None] | None = None) -> io.BufferedReader:
    """The file, to be read in large pieces; never mapped, so that memory stays small.

    :param advance: told of every read, how many bytes it brought.
    """
    with naming(location):
        if location.is_local:
            file: Any = io.FileIO(location.url, "rb")
        else:
            file_system, path = _remote(location)
            file = file_system.open(path, "rb", block_size=REMOTE_BLOCK)
    return io.BufferedReader(Reading(location, file, advance), READ_BUFFER)


# -- replacing ------------------------------------------------------------------------------------------------


def temporary_for(target: Location, token: str) -> Location:
    """A new name for a temporary of the job ``token``, beside its target.

    Another one each time: a worker that was taken for dead may still be writing, and must not meet the file of the
    worker that does its unit again.
    """
    return _real(target).sibling(_new_name(target, token))


def _new_name(target: Location, token: str) -> str:
    return f"{TEMPORARY}{token}-{_digest(target.name)}-{secrets.token_hex(4)}{WHOLE}"


def shared_temporary_for(target: Location, token: str, version: str) -> Location:
    """A temporary that several workers and runs write to: the same as long as the source is the same ``version``."""
    return _real(target).sibling(f"{TEMPORARY}{token}-{_digest(target.name)}-{_digest(version)}{SHARED}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _real(target: Location) -> Location:
    """What a link leads to is replaced, not the link."""
    if target.is_local and os.path.islink(target.url):
        return Location(os.path.realpath(target.url))
    return target


class Writing(io.RawIOBase):
    """What is written to a replacement; failures name its target, not its temporary."""

    def __init__(self, location: Location, file: IO[bytes]) -> None:
        self._location = location
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with naming(self._location):
            return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with naming(self._location):
            return self._file.seek(offset, whence)

    def fileno(self) -> int:
        if not self._location.is_local:
            raise io.UnsupportedOperation("fileno")
        with naming(self._location):
            self._file.flush()
        return self._file.fileno()

    def passed(self, offset: int) -> None:
        """Nobody is told."""

    def named(self) -> AbstractContextManager[None]:
        return naming(self._location)


class Replacement:
    """A file being written that will take the place of ``target``, which it does not do before :func:`commit`.

    :param temporary: its temporary's name; by default a new one.
    :param keep: goes on with the temporary of an earlier run.
    :param like: a local file whose permissions a new target is given, as far as the process's mask goes: what only its
        owner could read stays so.
    """

    def __init__(
        self,
        target: Location,
        token: str,
        *,
        temporary: Location | None = None,
        keep: bool = False,
        like: Location | None = None,
    ) -> None:
        self.target = _real(target)
        self.temporary = temporary or temporary_for(target, token)
        self._existing: os.stat_result | None = None
        with naming(target):
            if self.target.is_local:
                make_directories(os.path.dirname(self.target.url))
                self._existing = status(self.target.url)
                if keep:
                    raw = io.FileIO(self.temporary.url, "rb+")
                else:
                    mode = _mode_of(like)
                    raw = create(self.temporary.url, self.target.url, self._existing, anew=True, mode=mode)
                self._file: IO[bytes] = io.BufferedWriter(raw, WRITE_BUFFER)
            else:
                file_system, path = _remote(self.temporary)
                self._file = file_system.open(path, "wb", block_size=REMOTE_BLOCK)
        self.file = cast(IO[bytes], Writing(target, self._file))

    def complete(self) -> None:
        """Makes it durable under its temporary name."""
        with naming(self.target):
            if self.target.is_local:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                keep_permissions(self.temporary.url, self._existing)
            else:
                self._file.close()

    def close(self) -> None:
        """Leaves the temporary as it is, for a later run."""
        with contextlib.suppress(Exception):
            self._file.close()

    def discard(self) -> None:
        """Leaves nothing behind, of an upload neither."""
        if not self.target.is_local:
            with contextlib.suppress(Exception):
                self._file.forced = True  # type: ignore[attr-defined]  # nothing more is to be sent when it is closed
                self._file.discard()  # type: ignore[attr-defined]
        self.close()
        discard(self.temporary)


def _mode_of(like: Location | None) -> int:
    """Permission bits for a new file; its owner may write it, since it is not complete yet."""
    if like is None or not like.is_local:
        return NEW_FILE
    found = status(like.url)
    return NEW_FILE if found is None else found.st_mode & 0o666 | 0o600


def discard(temporary: Location) -> None:
    """Removes a temporary, where it is there."""
    with contextlib.suppress(OSError, ArchiveError), naming(temporary):
        if temporary.is_local:
            remove(temporary.url)
        else:
            file_system, path = _remote(temporary)
            file_system.invalidate_cache(path)
            if file_system.exists(path):
                file_system.rm_file(path)


def commit(temporary: Location, target: Location) -> bool:
    """Puts the complete temporary in the target's place. A temporary that is gone was moved: this may be done again.

    Local targets last once :func:`sync_parents` was called. Both are told a :class:`Replacement`'s ``target``, which is
    no link.

    :returns: False where there is neither the temporary nor the target.
    """
    with naming(target):
        if temporary.is_local:
            try:
                os.replace(temporary.url, target.url)
            except FileNotFoundError:
                return os.path.exists(target.url)
            return True
        file_system, path = _remote(temporary)
        _, target_path = _remote(target)
        file_system.invalidate_cache(path)
        file_system.invalidate_cache(target_path)
        if not file_system.exists(path):
            return bool(file_system.exists(target_path))
        file_system.cp_file(path, target_path)  # object stores cannot rename; a copy of an object appears whole
        file_system.rm_file(path)
        return True


def sync_parents(targets: list[Location]) -> None:
    """Makes the renames of local targets last, each directory synced once."""
    for directory in {os.path.dirname(target.url) for target in targets if target.is_local}:
        sync_directory(directory)


def copy_directories(source: Location, target: Location) -> None:
    """Makes a local target's directories, empty ones too, as private as the source's."""
    if not (source.is_local and target.is_local and os.path.isdir(source.url)):
        return
    with naming(target):
        make_directories(os.path.dirname(os.path.abspath(target.url)))
    waiting = [(source.url, target.url)]
    while waiting:
        directory, place = waiting.pop()
        with naming(Location(place)):
            if not os.path.isdir(place):
                os.mkdir(place, stat.S_IMODE(os.stat(directory).st_mode) | stat.S_IRWXU)
                sync_directory(os.path.dirname(os.path.abspath(place)))
        with naming(Location(directory)), os.scandir(directory) as listed:
            below = [entry.name for entry in listed if entry.is_dir(follow_symlinks=False)]
        waiting += [(os.path.join(directory, name), os.path.join(place, name)) for name in below]


def copy_link(source: Location, target: Location, token: str) -> None:
    """The same link in another place, instead of what is there."""
    with naming(target):
        leads_to = os.readlink(source.url)
        if os.path.islink(target.url) and os.readlink(target.url) == leads_to:
            return
        make_directories(os.path.dirname(target.url))
        temporary = target.sibling(_new_name(target, token)).url
        os.symlink(leads_to, temporary)
        os.replace(temporary, target.url)


def link_of(location: Location) -> str | None:
    """Where a local symbolic link leads to; None where there is none."""
    with naming(location):
        return os.readlink(location.url) if os.path.islink(location.url) else None


def remove_link(target: Location) -> None:
    """Removes a local link, if one is there."""
    if target.is_local and os.path.islink(target.url):
        with naming(target):
            os.unlink(target.url)


def stale(root: Location, token: str, kinds: tuple[str, ...] = (WHOLE, SHARED)) -> Iterator[Location]:
    """Temporaries that the job ``token`` left for targets at a root and below it."""
    prefix = f"{TEMPORARY}{token}-"
    with naming(root):
        if root.is_local:
            real = _real(root).parent
            beside = [real.child(name) for name in sorted(os.listdir(real.url or "."))] if is_directory(real) else []
            below: Iterator[Location] = (
                Location(os.path.join(at, name)) for at, _names, names in os.walk(root.url) for name in names
            )
        else:
            file_system, path = _remote(root.parent)
            file_system.invalidate_cache(path)
            listed = file_system.ls(path, detail=False) if file_system.isdir(path) else []
            beside = [root.sibling(os.path.basename(found.rstrip("/"))) for found in sorted(listed)]
            below = (location for _relative, location, _size in _below(root)) if is_directory(root) else iter(())
        for location in itertools.chain(beside, below):
            if location.name.startswith(prefix) and location.name.endswith(kinds):
                yield location
