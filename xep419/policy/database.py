"""The file of a pin store: SQLite, opened, checked and written whole; and every way that fails, as a PinStoreError.

A store that is there is never taken for an empty one: not when it was emptied, overwritten, or is another program's. A
new one appears under its name only when it is complete. Pins, their rules and the cache are ``store``'s.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import PinStoreError

#: marks the file as a pin store (PRAGMA application_id): "x419"
APPLICATION = 0x78343139
#: of the tables below; changes when they do
VERSION = 1
MEMORY = ":memory:"

_SCHEMA = f"""
CREATE TABLE pin (
    peer TEXT NOT NULL CHECK (typeof(peer) = 'text'),
    name TEXT NOT NULL CHECK (typeof(name) = 'text'),
    first_seen REAL NOT NULL CHECK (typeof(first_seen) = 'real'),
    last_seen REAL NOT NULL CHECK (typeof(last_seen) = 'real'),
    max_age REAL NOT NULL CHECK (typeof(max_age) = 'real'),
    include_subdomains INTEGER NOT NULL CHECK (include_subdomains IN (0, 1)),
    PRIMARY KEY (peer, name)
) WITHOUT ROWID;
CREATE TABLE store (pins INTEGER NOT NULL, latest REAL NOT NULL);  -- one row: their number, and the latest time known
INSERT INTO store VALUES (0, 0.0);
CREATE TRIGGER pinned AFTER INSERT ON pin BEGIN UPDATE store SET pins = pins + 1; END;
CREATE TRIGGER unpinned AFTER DELETE ON pin BEGIN UPDATE store SET pins = pins - 1; END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""

#: connections of a parent process, which a child must neither use nor close (sqlite.org/howtocorrupt.html, 2.6)
_inherited: list[sqlite3.Connection] = []


class Database:
    """One connection, for the threads and the children of its process.

    :param timeout: seconds to wait for another thread or process.
    """

    def __init__(self, path: str, *, create: bool, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.RLock()
        self._process = os.getpid()
        with self._reporting():
            if path != MEMORY and not os.path.lexists(path):
                if not create:
                    raise self.error("it is not there")
                self._create()
            self._connection: sqlite3.Connection | None = self._connect()
        self._identity = self._stat()

    # -- use ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; what goes wrong is a PinStoreError."""
        if self._process != os.getpid():
            self._reopen()
        if not self._lock.acquire(timeout=self._timeout):
            raise self.error(f"another thread has not let go of it for {self._timeout:g} s")
        try:
            if self._connection is None:
                raise self.error("it was closed")
            with self._reporting():
                yield self._connection
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that has the file for itself: all of it is stored, or nothing."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    connection.execute("ROLLBACK")
                raise

    def check_in_place(self) -> None:
        """The file is still the one that was opened."""
        if self._stat() != self._identity:
            raise self.error("it was removed or replaced while it was open; open it again")

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._process != os.getpid():
            _inherited.append(connection)
            return
        with self._lock:
            connection.close()

    def __del__(self) -> None:  # all is stored already: who forgets to close loses nothing
        if getattr(self, "_connection", None) is not None:
            self.close()

    # -- opening ------------------------------------------------------------------------------------------

    def _create(self) -> None:
        """Makes the store beside its place and links it there, so that nobody meets half of it, or loses another's."""
        temporary = f"{self.path}.{secrets.token_hex(8)}.new"
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # it tells who one talks to
        try:
            with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(temporary, self.path)
        finally:
            os.unlink(temporary)

    def _connect(self) -> sqlite3.Connection:
        memory = self.path == MEMORY
        target = MEMORY if memory else Path(self.path).absolute().as_uri() + "?mode=rw"
        connection = sqlite3.connect(
            target, uri=not memory, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            if memory:
                connection.executescript(_SCHEMA)
            connection.execute("PRAGMA synchronous = NORMAL")
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            empty = self.path != MEMORY and not os.path.getsize(self.path)
            raise self._damaged("the file is empty" if empty else "the file is not a pin store")
        if version != VERSION:
            raise self.error(f"its tables are of version {version}, this package knows {VERSION}: update the package")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self._damaged(str(found))
        if not connection.execute("SELECT count(*) = 1 FROM store").fetchone()[0]:
            raise self._damaged("it has lost its own row")

    def _reopen(self) -> None:
        """After a fork: SQLite's connections do not live through one, and another thread may have held the lock."""
        self._lock = threading.RLock()
        self._process = os.getpid()
        if self._connection is not None and self.path != MEMORY:
            _inherited.append(self._connection)
            with self._reporting():
                self._connection = self._connect()

    def _stat(self) -> tuple[int, int] | None:
        if self.path == MEMORY:
            return None
        try:
            found = os.stat(self.path)
        except OSError:
            return (0, 0)
        return found.st_dev, found.st_ino

    # -- errors -------------------------------------------------------------------------------------------

    def error(self, reason: str) -> PinStoreError:
        error = PinStoreError(f"pin store {self.path}: {reason}")
        error.path, error.reason = self.path, reason
        return error

    def _damaged(self, what: str) -> PinStoreError:
        return self.error(
            f"it is damaged ({what}). Nothing in it is trusted. Move it away and import an export of it; without one,"
            " every peer will be met as for the first time"
        )

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except UnicodeDecodeError as error:  # sqlite3 makes it of a message of SQLite's that quotes damaged bytes
            raise self._damaged("it holds bytes that are not UTF-8") from error
        except OSError as error:
            raise self.error(error.strerror or str(error)) from error

    def _translated(self, error: sqlite3.Error) -> PinStoreError:
        text = str(error)
        if "locked" in text:
            return self.error(f"another process has held it locked for {self._timeout:g} s")
        if isinstance(error, sqlite3.OperationalError) and "UTF-8" not in text:  # disk full, no permission, …
            return self.error(f"{text}; nothing was changed")
        return self._damaged(text)


__all__ = ["APPLICATION", "MEMORY", "VERSION", "Database"]
