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
from .sqlite_files import open_to_read, sqlite_file, why_unreadable

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
    # a unit's pages: what does not fit is read anew, and written before the transaction ends
    "sqlite": ("PRAGMA cache_size = -16384",),
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
    if kind != "sqlite":
        return url
    if url.query:  # another spelling of the file would be another job
        raise UnsupportedArchiveError(f"expected the URL of an SQLite file without options, got {', '.join(url.query)}")
    return url.set(database=sqlite_file(url.database))


def _dialect(url: sqlalchemy.URL) -> str:
    kind = url.drivername.partition("+")[0]
    return "mysql" if kind == "mariadb" else kind


@functools.cache
def _engine_of(url: sqlalchemy.URL, _process: int, reads_file: bool) -> sqlalchemy.Engine:
    dialect = _dialect(url)
    # A file is opened sooner than a pooled connection is found fit; a server's are few and dear.
    options: dict[str, Any] = {"poolclass": NullPool} if dialect == "sqlite" else {"pool_pre_ping": True}
    if reads_file:
        options["creator"] = lambda: open_to_read(str(url.database), **_CONNECT[dialect])
    try:
        engine = sqlalchemy.create_engine(
            url, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=_CONNECT[dialect], **options
        )
    except (ImportError, NoSuchModuleError) as error:
        driver, extra = _DRIVERS[url.drivername.partition("+")[0]]
        raise ImportError(f"{driver} databases need a driver ({error}): pip install 'xep419[{extra}]'") from None
    sqlalchemy.event.listen(engine, "connect", functools.partial(_prepare, dialect))
    return engine


def _engine(url: sqlalchemy.URL, read_only: bool = False) -> sqlalchemy.Engine:
    """This process's."""
    return _engine_of(url, os.getpid(), read_only and _dialect(url) == "sqlite")


def _prepare(dialect: str, connection: Any, _record: object) -> None:
    if dialect == "sqlite":
        # SQLite stores any bytes as text. These come to the surface when the value is encoded.
        connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")
    for statement in _SESSION[dialect]:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    connection.commit()


def close_connections(url: sqlalchemy.URL) -> None:
    """Closes this process's idle connections to a database; a file's never are idle."""
    _engine(url).dispose()


@contextlib.contextmanager
def _told(url: sqlalchemy.URL) -> Iterator[None]:
    """Raises ``ArchiveError`` for whatever goes wrong between us and the database; without values or passwords."""
    driver = _engine(url).dialect.loaded_dbapi
    try:
        yield
    except (SQLAlchemyError, driver.Error) as error:
        reason = _reason(url, str(getattr(error, "orig", None) or error))
        raise ArchiveError(f"{url.set(query={}).render_as_string()}: {reason}") from error
    except (OSError, UnicodeError) as error:
        raise ArchiveError(f"{url.set(query={}).render_as_string()}: {error}") from error


#: what SQLite says of a file that it may only read, and could not without a change to it
_REFUSED = ("attempt to write a readonly database", "unable to open database file")


def _reason(url: sqlalchemy.URL, told: str) -> str:
    """An error of a driver in one line, or what it means."""
    if told in _REFUSED and _dialect(url) == "sqlite":
        told = why_unreadable(str(url.database)) or told
    return " ".join(told.split())


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

    def select_encoded(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        """:meth:`select`, but an SQLite file's text comes as the bytes that it is, where these are UTF-8.

        Of a text of some hundred letters, decoding and encoding take as long as reading it.
        """
        if self.dialect != "sqlite" or self.select("PRAGMA encoding")[0][0] != "UTF-8":
            return self.select(sql, *values)
        driver: Any = self._connection.connection.driver_connection
        usual, driver.text_factory = driver.text_factory, bytes
        try:
            return self.select(sql, *values)
        finally:
            driver.text_factory = usual

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
def connect(url: sqlalchemy.URL, *, read_only: bool = False) -> Iterator[Connection]:
    """A connection out of this process's pool.

    :param read_only: whether an SQLite file is to stay as it is, down to its log.
    :raises ArchiveError: the database cannot be reached.
    """
    with contextlib.ExitStack() as held:
        with _told(url):
            connection = held.enter_context(_engine(url, read_only).connect())
        try:
            yield Connection(url, connection)
        except BaseException as error:
            connection.invalidate()  # it may be lost, or in the middle of something: no other is to have it
            if isinstance(error, (SQLAlchemyError, UnicodeError)):  # of an inspector's own statements
                with _told(url):
                    raise
            raise
        with _told(url):
            held.close()
