"""An SQLite file as a file: whether it is one, and how to open it so that nothing on the disk changes. Runs no SQL.

Who only reads must not be the last to close a database with a write-ahead log: SQLite then moves the log into the file.
Sources: SQLite's documentation of URI file names and of WAL mode.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from ...errors import ArchiveError, UnsupportedArchiveError

#: how every SQLite file begins
_MAGIC = b"SQLite format 3\0"
#: the byte behind it says which version it takes to write the file, and this one stands for a write-ahead log
_WAL = 2


def sqlite_file(path: str | None) -> str:
    """The path with its links followed.

    :raises UnsupportedArchiveError: it is no SQLite database, or has a name that no URL can hold.
    :raises ArchiveError: it cannot be read.
    """
    if not path or path == ":memory:":
        raise UnsupportedArchiveError("expected the path of an SQLite file, got a database in memory")
    path = os.path.realpath(path)
    if path != path.encode("utf-8", "replace").decode():
        raise UnsupportedArchiveError(f"{path}: expected a name in UTF-8, which a database's URL can hold: rename it")
    if not _head(path).startswith(_MAGIC):
        raise UnsupportedArchiveError(f"{path}: this is not an SQLite database")
    return path


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC) + 4)
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}") from error


def open_to_read(path: str, **options: Any) -> sqlite3.Connection:
    """A connection that leaves the file, its log and its directory as they are, but for the log's index (``-shm``).

    :param options: the driver's.
    """
    connection: sqlite3.Connection = sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?{_mode(path)}", uri=True, **options
    )
    return connection


def _mode(path: str) -> str:
    log = f"{path}-wal"
    if _head(path)[len(_MAGIC) + 2 :][:1] != bytes([_WAL]) or _has_bytes(log):
        return "mode=ro"
    # There is nothing in a log. Who may write makes an empty one and removes it; who may only read would leave it.
    if os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK):
        return "mode=rw"
    return "mode=ro" if os.path.exists(log) else "immutable=1"  # nobody has it open, and a log cannot be made


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def why_unreadable(path: str) -> str | None:
    """What keeps a database from being read without a change to it, if SQLite refused that."""
    for suffix, what in (("-journal", "is to be undone"), ("-wal", "is to be moved into it")):
        if _has_bytes(path + suffix):
            return (
                f"what {os.path.basename(path)}{suffix} holds {what} first, and nothing is to be written: let its"
                " server or the sqlite3 program open it once, or copy both files and take the copy"
            )
    return None
