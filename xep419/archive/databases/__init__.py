"""SQL archives of Prosody, ejabberd and Openfire, recoded in place; on a database server, while it is in use.

SQLite is built in; PostgreSQL needs ``xep419[postgresql]``, MySQL and MariaDB ``xep419[mysql]``. A job over a database
is cut into ranges of keys, :class:`RowsUnit`, each done whole or not at all, and once. Who runs them, where, and how
often a lost one is tried again is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from types import TracebackType

try:
    import sqlalchemy
except ImportError as error:
    raise ImportError(
        f"xep419.archive.databases needs SQLAlchemy 2 ({error}): pip install 'xep419[archive]'", name=error.name
    ) from None

from ...errors import ArchiveError, UnsupportedArchiveError
from ..formats import ArchivedStanza
from ..recoding import Recoding
from ..tally import Tally
from . import progress
from .beside import differences
from .connections import Connection, close_connections, connect, database_url
from .openers import other_openers
from .reflection import add_index, drop_index, find_schema, has_index, insecure_elsewhere, stanza_column
from .rows import Column, RowsUnit, account, recode, unit_key
from .schemas import SCHEMAS, Schema, StanzaTable
from .statements import Row, octets, read, selection

__all__ = ["SCHEMAS", "Database", "RowsUnit", "Schema", "StanzaTable", "open_database"]

#: rows of one unit, and about how many bytes of stanzas it may have
ROWS = 5000
BYTES = 4 << 20
#: what PostgreSQL's advisory lock is known by, within one database
_LOCK = 0x584550303431


def open_database(
    address: str,
    *,
    schema: str | None = None,
    recoding: Recoding | None = None,
    verify: bool = True,
    read_only: bool = False,
) -> Database:
    """The SQL archive at a URL, or at an SQLite file's path.

    :param address: ``postgresql://user:password@host/name``, ``mysql://…``, ``mariadb://…``, ``sqlite:///path``, path.
    :param schema: ``prosody``, ``ejabberd`` or ``openfire``; told by the tables where it is None.
    :param recoding: what is done to each stanza; XEP-0419's encryption where it is None.
    :param verify: whether each range is read back and proved before it is committed.
    :param read_only: whether no job is to follow: an SQLite file, and its log, stay as they are to the byte.
    :raises UnsupportedArchiveError: it holds no stanzas that we know of; the message says what it holds.
    :raises ArchiveError: it cannot be reached.
    :raises ImportError: its driver is not installed; the message names the extra.
    """
    url = database_url(address)
    try:
        with connect(url, read_only=read_only) as connection:
            found = find_schema(connection, schema)
            columns = tuple(stanza_column(connection, table) for table in found.tables)
    except BaseException:
        close_connections(url)
        raise
    return Database(url, found, columns, recoding or Recoding(), verify, read_only=read_only)


class Database:
    """An SQL archive. Use as a context manager, or :meth:`close` it; its units work without it."""

    def __init__(
        self,
        url: sqlalchemy.URL,
        schema: Schema,
        columns: tuple[Column, ...],
        recoding: Recoding,
        verify: bool,
        *,
        read_only: bool = False,
    ) -> None:
        self._url = url
        self._schema = schema
        self._columns = columns
        self._recoding = recoding
        self._verify = verify
        self._connect = functools.partial(connect, url, read_only=read_only)
        self._job: progress.Job | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.identity}>"

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes this process's idle connections."""
        close_connections(self._url)

    @property
    def name(self) -> str:
        """The schema's: ``prosody``, ``ejabberd``, ``openfire``."""
        return self._schema.name

    @property
    def title(self) -> str:
        """The schema's, as a person would say it."""
        return self._schema.title

    @property
    def identity(self) -> str:
        """The same for the same database at any time; without its password."""
        url = self._url
        return str(sqlalchemy.URL.create(url.drivername, url.username, None, url.host, url.port, url.database))

    def differences(self, target: Database) -> Iterator[tuple[str, str]]:
        """Where another SQLite file holds something else beside the stanzas, and how: see ``beside``."""
        return differences(str(self._url.database), str(target._url.database), self._schema.tables)

    def count(self) -> int:
        """Rows that hold a stanza now, in all tables."""
        with self._connect() as connection:
            counts = (selection(connection, table, "COUNT(*)") for table in self._schema.tables)
            return sum(connection.select(sql, *values)[0][0] for sql, values in counts)

    # -- the job --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other jobs off a database on a server while it lasts; an SQLite file is locked as a file, elsewhere.

        :raises ArchiveError: another job has it.
        """
        with self._connect() as connection:
            if connection.dialect == "sqlite":
                yield
                return
            take, release, key = self._lock_of(connection)
            if connection.select(take, key)[0][0] not in (1, True):
                raise ArchiveError(f"{self.identity}: expected no other job on the database, but one is running")
            try:
                yield
            finally:
                with contextlib.suppress(ArchiveError):  # a lock does not outlive a lost connection
                    connection.select(release, key)

    def _lock_of(self, connection: Connection) -> tuple[str, str, int | str]:
        if connection.dialect == "postgresql":
            return "SELECT pg_try_advisory_lock(?)", "SELECT pg_advisory_unlock(?)", _LOCK
        # MySQL's names hold for the whole server and have at most 64 letters.
        name = hashlib.sha256(str(self._url.database).encode()).hexdigest()[:32]
        return "SELECT GET_LOCK(?, 0)", "SELECT RELEASE_LOCK(?)", f"xep419 {name}"

    def begin(self, job_id: str, *, while_in_use: bool = False) -> bool:
        """Begins a job, or goes on with the one that is recorded in the database's table ``xep419_progress``.

        A job that went by another name but does the same is gone on with, too. Rows that are added after a job began
        are not touched by it. A key without an index gets one for as long as the job takes.

        :returns: whether it goes on with one.
        :param while_in_use: whether to go on where another process has the SQLite file open: a server then fails to
            archive the messages that come in the instants in which a range is written. Servers of databases wait.
        :raises ArchiveError: a job that does something else is unfinished, or another process has the SQLite file open.
        """
        if not while_in_use:
            self._refuse_in_use()
        with self._connect() as connection:
            bounds = {table.name: self._bounds(connection, table) for table in self._schema.tables}
            new = progress.Job(job_id, self._recoding, bounds)
            self._job = progress.begin(connection, new)
            for table in self._schema.tables:
                if not has_index(connection, table):
                    add_index(connection, table)
        return self._job is not new

    def _refuse_in_use(self) -> None:
        """Prosody 0.12 and ejabberd 23 were seen not to wait for SQLite's lock: what comes while we write is lost."""
        path = self._url.database
        if self._url.get_backend_name() != "sqlite" or path is None:
            return
        for process in other_openers(path):
            raise ArchiveError(
                f"{path}: process {process} has the database open; a server loses messages that it cannot write at once"
                " to an SQLite database: stop it first, or take --while-in-use"
            )

    def finish(self) -> None:
        """Forgets the job: the table of its progress and its indexes are dropped."""
        with self._connect() as connection:
            for table in self._schema.tables:
                drop_index(connection, table)
            progress.finish(connection)
        self._job = None

    def forget(self, job_id: str) -> None:
        """Finishes a job that is done, if it is the one that the database knows: it was killed in doing so."""
        with self._connect() as connection:
            known = progress.read_job(connection)
        if known is not None and known.name == job_id:
            self.finish()

    @staticmethod
    def _bounds(connection: Connection, table: StanzaTable) -> progress.Range:
        key = connection.quoted(table.key)
        name = connection.quoted(table.name)
        sql = f"SELECT (SELECT MIN({key}) FROM {name}), (SELECT MAX({key}) FROM {name})"
        ((low, high),) = connection.select(sql)
        if isinstance(high, (str, bytes, float)) or isinstance(low, float) or low == -(1 << 63):  # SQLite takes any
            raise UnsupportedArchiveError(
                f"the keys of {table.name}, its column {table.key}, are expected to be whole numbers above -2**63,"
                f" but go from {low!r} to {high!r}"
            )
        return (0, 0) if low is None else (low - 1, high)

    def done(self) -> set[str]:
        """The keys of the units that are done, as the database knows it: its backup may know of fewer."""
        with self._connect() as connection:
            return {
                unit_key(table, *keys)
                for table in self._schema.tables
                for keys in progress.done(connection, table.name)
            }

    def units(self, rows: int = ROWS) -> Iterator[RowsUnit]:
        """The ranges of the job that began, in the order of their keys: ``rows`` rows each at most, fewer large ones.

        Those that are done come as they were done, whatever ``rows`` was then; their :meth:`RowsUnit.run` only tells
        what they came to. No connection is held while the caller has a unit.

        :raises ArchiveError: no job began.
        """
        if self._job is None:
            raise ArchiveError("expected a job to have begun, but begin() was not called")
        for column in self._columns:
            low, high = self._job.bounds.get(column.table.name, (0, 0))
            with self._connect() as connection:
                done = progress.done(connection, column.table.name)
            for first, last in self._ranges(column.table, low, high, rows, done):
                yield RowsUnit(self._url, column, first, last, self._recoding, self._verify)

    def _ranges(
        self, table: StanzaTable, low: int, high: int, rows: int, done: list[progress.Range]
    ) -> Iterator[progress.Range]:
        """(low, high] cut into the ranges that are done and, between them, such ranges as :meth:`units` says."""
        at = low
        for first, last in [*done, (high, high)]:
            while at < first:
                with self._connect() as connection:
                    end = self._end(connection, table, at, first, rows)
                yield at, end
                at = end
            if last > first:
                yield first, last
            at = last

    @staticmethod
    def _end(connection: Connection, table: StanzaTable, at: int, most: int, rows: int) -> int:
        """The key, ``most`` at most, up to which ``rows`` rows or :data:`BYTES` lie behind ``at``."""
        key = connection.quoted(table.key)
        start, values = selection(connection, table, f"{key} AS page_key, {octets(connection, table)} AS size")
        page = f"{start} AND {key} > ? AND {key} <= ? ORDER BY {key} LIMIT {rows:d}"
        sums = f"SELECT COUNT(*), MAX(page_key), SUM(size) FROM ({page}) AS page"
        ((count, end, size),) = connection.select(sums, *values, at, most)
        if (size or 0) > BYTES:
            left = BYTES
            for end, length in connection.select(page, *values, at, most):
                left -= length or 0
                if left < 0:
                    return int(end)
        return int(end) if count == rows else most

    # -- without a job --------------------------------------------------------------------------------------

    def stanzas(self) -> Iterator[ArchivedStanza]:
        """Every stanza as it is now, rotated back; what is corrupt or compressed comes as it is."""
        for place, data in self.stored():
            yield ArchivedStanza(place, self._recoding.plain(data))

    def stored(self) -> Iterator[ArchivedStanza]:
        """Every value of the stanzas' columns as it is, with its place, in the order of their keys."""
        for column, rows in self._batches():
            for row in rows:
                data = row[-1]
                if isinstance(data, str):
                    data = data.encode("utf-8", "surrogateescape")
                if isinstance(data, bytes):
                    yield ArchivedStanza(column.table.place(row), data)

    def rehearse(self) -> Tally:
        """What a whole job would come to now. Nothing is changed."""
        tally = Tally()
        for column, rows in self._batches():
            account(recode(column, rows, self._recoding, tally), self._recoding, tally)
        return tally

    def elsewhere(self) -> list[tuple[str, int]]:
        """Where else insecure names stand, in the server's own columns, which are left alone; with numbers of rows."""
        with self._connect() as connection:
            return insecure_elsewhere(connection, self._schema)

    def _batches(self) -> Iterator[tuple[Column, Sequence[Row]]]:
        """All rows that hold a stanza, some at a time, in the order of their keys."""
        for column in self._columns:
            table = column.table
            with self._connect() as connection:
                low, high = self._bounds(connection, table)
                indexed = has_index(connection, table)
                if not indexed:  # only PostgreSQL's readers can hold a cursor without being in anyone's way
                    start, values = selection(connection, table)
                    order = f" ORDER BY {connection.quoted(table.key)}"
                    for batch in connection.stream(ROWS, start + order, *values):
                        yield column, batch
            for first, last in self._ranges(table, low, high, ROWS, []) if indexed else ():
                with self._connect() as connection:
                    batch = read(connection, table, first, last)
                yield column, batch
