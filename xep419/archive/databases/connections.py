"""Connections to SQLite, PostgreSQL, MySQL and MariaDB, and what differs between these. Knows no schema of stanzas.

Every statement commits by itself but within :meth:`Connection.transaction`. Statements go to the driver as they are,
with ``?`` where a parameter stands: a layer that looks at each row would cost more than all that is done to it.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ...errors import ArchiveError, UnsupportedArchiveError

#: the drivers that are tested, by what a URL may call the database; the extra that brings each
_DRIVERS = {
    "sqlite": ("sqlite+pysqlite", "archive"),
    "postgresql": ("postgresql+psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "mysql"),
}
#: seconds to wait for another's lock
_PATIENCE = 60
_CONNECT: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": _PATIENCE},
    "postgresql": {"client_encoding": "utf8", "connect_timeout": 30},
    "mysql": {"charset": "utf8mb4", "connect_timeout": 30},
}
_SESSION = {
    "sqlite": (),
    "postgresql": (f"SET lock_timeout = '{_PATIENCE}s'",),
    "mysql": (
        # A value too long is an error, never cut off.
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        f"SET SESSION innodb_lock_wait_timeout = {_PATIENCE}",
    ),
}
_BEGIN = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "mysql": "START TRANSACTION",
}


def database_url(address: str) -> sqlalchemy.URL:
    """The URL with the driver that we use, of a URL or of an SQLite file's path, absolute.

    :raises UnsupportedArchiveError: it is of some other kind of database, or no database is there.
    """
    if "://" in address:
        try:
            url = sqlalchemy.make_url(address)
        except (ArgumentError, ValueError) as error:
            raise UnsupportedArchiveError("expected a database URL such as postgresql://user@host/name") from error
    else:
        url = sqlalchemy.URL.create("sqlite", database=address)
    kind = url.drivername.partition("+")[0]
    if kind not in _DRIVERS:
        raise UnsupportedArchiveError(f"expected a database of sqlite, postgresql, mysql or mariadb, got {kind!r}")
    url = url.set(drivername=_DRIVERS[kind][0])
    return url.set(database=_sqlite_file(url.database)) if kind == "sqlite" else url


def _sqlite_file(path: str | None) -> str:
    if not path or path == ":memory:":
        raise UnsupportedArchiveError("expected the path of an SQLite file, got a database in memory")
    path = os.path.realpath(path)
    if path != path.encode("utf-8", "replace").decode():
        raise UnsupportedArchiveError(f"{path}: expected a name in UTF-8, which a database's URL can hold: rename it")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}") from error
    if head != b"SQLite format 3\0":
        raise UnsupportedArchiveError(f"{path}: this is not an SQLite database")
    return path


def _dialect(url: sqlalchemy.URL) -> str:
    kind = url.drivername.partition("+")[0]
    return "mysql" if kind == "mariadb" else kind


@functools.cache
def _engine(url: sqlalchemy.URL, _process: int) -> sqlalchemy.Engine:
    dialect = _dialect(url)
    # A file is opened sooner than a pooled connection is found fit; a server's are few and dear.
    pool: dict[str, Any] = {"poolclass": NullPool} if dialect == "sqlite" else {"pool_pre_ping": True}
    try:
        engine = sqlalchemy.create_engine(
            url, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=_CONNECT[dialect], **pool
        )
    except (ImportError, NoSuchModuleError) as error:
        driver, extra = _DRIVERS[url.drivername.partition("+")[0]]
        raise ImportError(f"{driver} databases need a driver ({error}): pip install 'xep419[{extra}]'") from None
    sqlalchemy.event.listen(engine, "connect", functools.partial(_prepare, dialect))
    return engine


def _prepare(dialect: str, connection: Any, _record: object) -> None:
    if dialect == "sqlite":
        # SQLite stores any bytes as text. These come to the surface when the value is encoded.
        connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")
    for statement in _SESSION[dialect]:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    connection.commit()


def close_connections(url: sqlalchemy.URL) -> None:
    """Closes this process's idle connections to a database."""
    _engine(url, os.getpid()).dispose()


@contextlib.contextmanager
def _told(url: sqlalchemy.URL) -> Iterator[None]:
    """Raises ``ArchiveError`` for whatever goes wrong between us and the database; without values or passwords."""
    driver = _engine(url, os.getpid()).dialect.loaded_dbapi
    try:
        yield
    except (SQLAlchemyError, driver.Error) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise ArchiveError(f"{url.set(query={}).render_as_string()}: {reason}") from error
    except (OSError, UnicodeError) as error:
        raise ArchiveError(f"{url.set(query={}).render_as_string()}: {error}") from error


class Connection:
    """One connection: short statements, each with its rows as a list."""

    def __init__(self, url: sqlalchemy.URL, connection: sqlalchemy.Connection) -> None:
        self.dialect = _dialect(url)
        self._url = url
        self._connection = connection
        self._quote = connection.dialect.identifier_preparer.quote_identifier

    def quoted(self, name: str) -> str:
        """A table's or column's name as it stands in a statement."""
        return self._quote(name)

    def inspect(self) -> sqlalchemy.Inspector:
        return sqlalchemy.inspect(self._connection)

    def _statement(self, sql: str) -> str:
        return sql if self.dialect == "sqlite" else sql.replace("?", "%s")

    def select(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        with _told(self._url):
            result = self._connection.exec_driver_sql(self._statement(sql), values)
            rows = result.cursor.fetchall() if result.cursor else ()  # SQLAlchemy's own rows cost as much again
            result.close()
            return rows

    def stream(self, size: int, sql: str, *values: object) -> Iterator[Sequence[Sequence[Any]]]:
        """The rows ``size`` at a time, from a cursor on the server; in a transaction, which this begins and ends."""
        with self.transaction(), _told(self._url):
            options = {"stream_results": True}
            result = self._connection.exec_driver_sql(self._statement(sql), values, execution_options=options)
            yield from result.partitions(size)

    def execute(self, sql: str, *values: object) -> int:
        """How many rows an ``UPDATE`` hit; else nothing that means anything."""
        with _told(self._url):
            return self._connection.exec_driver_sql(self._statement(sql), values).rowcount

    def execute_many(self, sql: str, values: Sequence[Sequence[Any]]) -> int:
        """Runs the statement once for each tuple; how many rows were hit in all."""
        with _told(self._url):
            return self._connection.exec_driver_sql(self._statement(sql), values).rowcount

    def version(self) -> int | None:
        """Another number once another connection has changed anything (SQLite's ``data_version``); None: not told."""
        return int(self.select("PRAGMA data_version")[0][0]) if self.dialect == "sqlite" else None

    def register(self, name: str, function: Callable[..., Any]) -> None:
        """Lets SQLite's statements of this connection call a function, with any number of arguments."""
        driver: Any = self._connection.connection.driver_connection
        driver.create_function(name, -1, function)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All within, or nothing of it."""
        self.execute(_BEGIN[self.dialect])
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(ArchiveError):  # the connection may be what is lost
                self.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def connect(url: sqlalchemy.URL) -> Iterator[Connection]:
    """A connection out of this process's pool.

    :raises ArchiveError: the database cannot be reached.
    """
    with contextlib.ExitStack() as held:
        with _told(url):
            engine = _engine(url, os.getpid())
            connection = held.enter_context(engine.connect())
        try:
            yield Connection(url, connection)
        except BaseException:
            connection.invalidate()  # it may be lost, or in the middle of something: no other is to have it
            raise
        with _told(url):
            held.close()
