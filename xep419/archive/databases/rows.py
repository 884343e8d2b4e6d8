"""The rows of one range of keys, read, recoded, written and proved in one transaction. Decides no ranges.

Reading and recoding need no lock and hold none: a server goes on meanwhile. The transaction that follows changes only
rows that still hold what was read, takes those that do not once more, and records the range as done.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy

from ...errors import RestorationError, XEP419Error
from ...namespaces import NamespaceCensus
from ...stream import check_stanza
from ..recoding import Recoding
from ..tally import Tally
from . import progress
from .connections import Connection, connect
from .schemas import StanzaTable

#: times that rows are taken anew because the server changed them between reading and writing
TURNS = 5
#: ejabberd's mod_mam marks what it compressed (``compress_xml``) by this first byte
_COMPRESSED = b"\x01"

Row = Sequence[Any]  # the identity's values, then the stanza
Value = str | bytes


class Capacity(NamedTuple):
    """The most a column's value may have: characters, or where ``charset`` is set, bytes in that one."""

    limit: int | None = None
    charset: str | None = None

    def size(self, value: Value) -> int:
        if self.charset is None or isinstance(value, bytes):
            return len(value)
        width = {"ucs2": 2, "utf16": 2, "utf16le": 2, "utf32": 4}.get(self.charset)
        if width:
            return len(value.encode("utf-32-le" if width == 4 else "utf-16-le"))
        return len(value.encode()) if self.charset.startswith("utf8") else len(value)

    def misses(self, value: Value) -> str | None:
        """Why the value does not fit, or None."""
        if self.limit is None or (size := self.size(value)) <= self.limit:
            return None
        unit = "characters" if self.charset is None else "bytes"
        return f"the column holds {self.limit} {unit}, but the stanza would have {size}"


class Column(NamedTuple):
    """The column of stanzas: its table, what it holds at most, and whether it must be compared as bytes."""

    table: StanzaTable
    capacity: Capacity = Capacity()
    #: MySQL's text compares without regard to case and to spaces at the end
    loose: bool = False


class Change(NamedTuple):
    """A row as it was read, and what its value becomes; ``original`` and ``recoded`` are both values as bytes."""

    row: Row
    new: Value
    original: bytes
    recoded: bytes


def selection(connection: Connection, table: StanzaTable, what: str = "") -> tuple[str, tuple[str, ...]]:
    """``SELECT`` of the identity and the stanza, or of ``what``, up to and with a ``WHERE`` that more may follow."""
    columns = what or ", ".join(map(connection.quoted, (*table.identity, table.stanza)))
    start = f"SELECT {columns} FROM {connection.quoted(table.name)} WHERE "
    if table.only is None:
        return f"{start}1 = 1", ()
    return f"{start}{connection.quoted(table.only[0])} = ?", table.only[1:]


def read(connection: Connection, table: StanzaTable, first: int, last: int) -> Sequence[Row]:
    """The rows with keys in (first, last], in order."""
    start, values = selection(connection, table)
    key = connection.quoted(table.key)
    return connection.select(f"{start} AND {key} > ? AND {key} <= ? ORDER BY {key}", *values, first, last)


class _Unfit(Exception):
    """Why a row is skipped."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def _original(value: object, recoding: Recoding) -> bytes:
    if isinstance(value, str):
        try:
            original = value.encode()
        except UnicodeEncodeError as error:  # a surrogate escape: see connections
            offset = len(value[: error.start].encode())
            raise _Unfit(f"expected text in UTF-8, got byte 0x{ord(value[error.start]) & 0xFF:02X}", offset) from None
    elif isinstance(value, bytes):
        original = value
    else:
        raise _Unfit(f"expected text or bytes, got {type(value).__name__}")
    if original[:1] == _COMPRESSED:
        raise _Unfit("the stanza is in the compressed form of ejabberd's compress_xml, which cannot be rewritten")
    if recoding.check:
        try:
            check_stanza(recoding.plain(original))
        except XEP419Error as error:
            raise _Unfit(error.message, error.offset) from None
    return original


def _told_apart(table: StanzaTable, rows: Sequence[Row], tally: Tally) -> Iterator[Row]:
    """The rows that their identity tells from all others."""
    if not table.beside and len({row[0] for row in rows}) == len(rows):
        yield from rows
        return
    times = Counter(tuple(row[:-1]) for row in rows)
    for row in rows:
        if None in row[:-1]:
            tally.skip(table.place(row), "a column that tells the row from others is NULL")
        elif times[tuple(row[:-1])] > 1:
            tally.skip(table.place(row), "another row has the same key")
        else:
            yield row


def recode(column: Column, rows: Sequence[Row], recoding: Recoding, tally: Tally) -> list[Change]:
    """What becomes of the rows; those that are left as they are for a reason are told to the tally."""
    table, capacity, _loose = column
    fit: list[Row] = []
    originals: list[bytes] = []
    for row in _told_apart(table, rows, tally):
        if row[-1] is None:
            tally.left_alone[f"{table.name}: no stanza was stored"] += 1
            continue
        try:
            originals.append(_original(row[-1], recoding))
            fit.append(row)
        except _Unfit as unfit:
            tally.skip(table.place(row), unfit.reason, unfit.offset)
    changes = []
    for row, original, recoded in zip(fit, originals, recoding.stanzas(originals), strict=True):
        new = recoded.decode() if isinstance(row[-1], str) else recoded
        if len(recoded) > len(original) and (why := capacity.misses(new)):
            tally.skip(table.place(row), why)
        else:
            changes.append(Change(row, new, original, recoded))
    return changes


def account(changes: Sequence[Change], recoding: Recoding, tally: Tally) -> None:
    """Counts the stanzas, their bytes and their names."""
    census = NamespaceCensus()
    census.count([recoding.plain(change.original) for change in changes])
    tally.count(census.counts())
    tally.stanzas += len(changes)
    tally.bytes_read += sum(len(change.original) for change in changes)
    tally.bytes_written += sum(len(change.recoded) for change in changes)


@dataclasses.dataclass(frozen=True)
class RowsUnit:
    """One range of keys, to be recoded by :meth:`run`, in any process; ``last`` is in it, ``first`` is not.

    ``url`` holds what it takes to connect, a password too: do not print it or write it down.
    """

    url: sqlalchemy.URL = dataclasses.field(repr=False)
    column: Column
    first: int
    last: int
    recoding: Recoding
    verify: bool = True

    @property
    def key(self) -> str:
        """The same for the same range at any time: ``prosodyarchive:(100,2100]``."""
        return f"{self.column.table.name}:({self.first},{self.last}]"

    def run(self) -> Tally:
        """Recodes the range, if it is not recorded as done, and tells what it came to.

        :raises RestorationError: what the database gave back is not what was written, or not provably the original;
            nothing of the range is changed.
        :raises ArchiveError: the database refused or was lost; nothing of the range is changed.
        """
        table = self.column.table
        with connect(self.url) as connection:
            known = progress.recorded(connection, table.name, (self.first, self.last))
            if known is not None:
                return known
            tally = Tally()
            rows = self._read(connection)
            changes = recode(self.column, rows, self.recoding, tally)
            with connection.transaction():
                changes = self._write(connection, changes, tally)
                account(changes, self.recoding, tally)
                if self.verify:
                    self._prove(changes, tally)
                progress.record(connection, table.name, (self.first, self.last), tally)
        return tally

    def _read(self, connection: Connection) -> Sequence[Row]:
        return read(connection, self.column.table, self.first, self.last)

    def _write(self, connection: Connection, changes: list[Change], tally: Tally) -> list[Change]:
        """Writes until every row holds what it should, is gone, or is given up; the changes that hold."""
        held: list[Change] = []
        moved: list[Row] = []
        for turn in range(TURNS):
            if turn:
                changes = recode(self.column, moved, self.recoding, tally)
            wanted = [change for change in changes if change.new != change.row[-1]]
            missed = len(wanted) - update(connection, self.column, wanted)
            if not missed and not self.verify:
                return held + changes
            now, moved = self._compare(connection, changes, missed, tally)
            held += now
            if not moved:
                break
        for row in moved:
            tally.skip(self.column.table.place(row), f"the row was changed by another {TURNS} times meanwhile")
        return held

    def _compare(
        self, connection: Connection, changes: list[Change], missed: int, tally: Tally
    ) -> tuple[list[Change], list[Row]]:
        """The changes that the database holds, and the rows that another has changed, as they are now."""
        stored = {tuple(row[:-1]): row for row in self._read(connection)}
        held: list[Change] = []
        moved: list[Row] = []
        for change in changes:
            row = stored.get(tuple(change.row[:-1]))
            if row is not None and row[-1] == change.new:
                held.append(change)
                continue
            missed -= change.new != change.row[-1]
            if missed < 0:  # it was hit: we hold its lock, no other can have changed it
                place = self.column.table.place(change.row)
                raise RestorationError(f"{place}: the database gave back something else than was written")
            if row is None:
                tally.left_alone[f"{self.column.table.name}: deleted meanwhile"] += 1
            else:
                moved.append(row)
        return held, moved

    def _prove(self, changes: list[Change], tally: Tally) -> None:
        letters = 0
        for change in changes:
            try:
                letters += self.recoding.prove(change.original, change.recoded)
            except RestorationError as error:
                place = self.column.table.place(change.row)
                raise RestorationError(f"{place}: {error.message}", offset=error.offset) from error
        expected = tally.letters if self.recoding.upgrade else 0
        if letters != expected:
            raise RestorationError(f"{self.key}: expected {expected} names to gain a letter, but {letters} did")


def update(connection: Connection, column: Column, changes: Sequence[Change]) -> int:
    """Writes each new value over its old one; how many rows still held that."""
    table = column.table
    stanza = connection.quoted(table.stanza)
    sql = f"UPDATE {connection.quoted(table.name)} SET {stanza} = ? WHERE "
    sql += "".join(f"{connection.quoted(name)} = ? AND " for name in table.identity)
    sql += f"CAST(CONVERT({stanza} USING utf8mb4) AS BINARY) = CAST(? AS BINARY)" if column.loose else f"{stanza} = ?"
    return connection.execute_many(sql, [(change.new, *change.row) for change in changes])
