"""A local file that appears whole or not at all: written beside its target, synced, renamed over it.

The file keeps the permission bits and the owner of the one it replaces; a read-only one is meant to stay and is
refused. Raises ``OSError`` as the system does; callers name the file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys

#: bits of a new file before the process's mask, and of one that will replace another while it is not complete
NEW_FILE, PRIVATE_FILE = 0o666, 0o600


def status(path: str) -> os.stat_result | None:
    """The target as it is, or None where there is none."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def create(
    temporary: str, target: str, existing: os.stat_result | None, *, anew: bool = False, mode: int = NEW_FILE
) -> io.FileIO:
    """The new, empty, unbuffered file; ``anew`` discards a temporary of that name that is there already.

    :param mode: permission bits, before the process's mask, of a file that replaces none.
    """
    if existing is not None and not os.access(target, os.W_OK):
        # A rename asks nothing of the file it replaces, but a read-only file is meant to stay.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    mode = mode if existing is None else PRIVATE_FILE
    if anew:
        remove(temporary)
    return open(temporary, "xb+", buffering=0, opener=lambda name, flags: os.open(name, flags, mode))


def keep_permissions(temporary: str, existing: os.stat_result | None) -> None:
    if existing is None:
        return
    if sys.platform != "win32":
        with contextlib.suppress(PermissionError):  # only root may give a file away
            os.chown(temporary, existing.st_uid, existing.st_gid)
    os.chmod(temporary, stat.S_IMODE(existing.st_mode))


def make_directories(path: str) -> None:
    """Makes a directory and those above it, so that they last."""
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)
        if not os.path.isdir(directory):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
        sync_directory(os.path.dirname(directory))


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_directory(path: str) -> None:
    """Makes a rename last; where directories cannot be synced, the system decides when."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            directory = os.open(path or ".", os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
