"""The rows of one range of keys, read, recoded, written and proved in one transaction. Decides no ranges.

Reading and recoding need no lock and hold none: a server goes on meanwhile. The transaction that follows changes only
rows that still hold what was read, takes those that do not once more, and records the range as done.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, deque
from collections.abc import Sequence
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
from .statements import Row, Value, read, update

#: times that rows are taken anew because the server changed them between reading and writing
TURNS = 5
#: ejabberd's mod_mam marks what it compressed (``compress_xml``) by this first byte
_COMPRESSED = b"\x01"


class Capacity(NamedTuple):
    """The most a column's value may have: characters, or where ``charset`` is set, bytes in that one."""

    limit: int | None = None
    charset: str | None = None

    def size(self, value: Value) -> int:
        if self.charset is None:
            return len(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
        if isinstance(value, bytes):
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


@dataclasses.dataclass(frozen=True)
class Changes:
    """Rows as they were read and, in the same order, what their values become: columns, as an object a row costs more.

    ``originals`` and ``recoded`` are the old and the new values as bytes.
    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    news: list[Value] = dataclasses.field(default_factory=list)
    originals: list[bytes] = dataclasses.field(default_factory=list)
    recoded: list[bytes] = dataclasses.field(default_factory=list)

    def extend(self, other: Changes) -> None:
        self.rows.extend(other.rows)
        self.news.extend(other.news)
        self.originals.extend(other.originals)
        self.recoded.extend(other.recoded)

    def at(self, places: Sequence[int]) -> Changes:
        """Some of them."""
        return Changes(
            [self.rows[place] for place in places],
            [self.news[place] for place in places],
            [self.originals[place] for place in places],
            [self.recoded[place] for place in places],
        )


class _Unfit(Exception):
    """Why a row is skipped."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def _original(value: object, recoding: Recoding) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise _Unfit(f"expected text or bytes, got {type(value).__name__}")
    original = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if original[:1] == _COMPRESSED:
        raise _Unfit("the stanza is in the compressed form of ejabberd's compress_xml, which cannot be rewritten")
    try:
        original.decode()
    except UnicodeDecodeError as error:
        raise _Unfit(f"expected text in UTF-8, got byte 0x{original[error.start]:02X}", error.start) from None
    if recoding.check:
        try:
            check_stanza(recoding.plain(original))
        except XEP419Error as error:
            raise _Unfit(error.message, error.offset) from None
    return original


def _texts(rows: Sequence[Row], recoding: Recoding) -> list[bytes] | None:
    """:func:`_original` of all rows at once; None where that says anything of one, which is then for it to tell."""
    values: list[Any] = [row[-1] for row in rows]
    kinds = set(map(type, values))
    try:
        if kinds == {str}:
            values = [value.encode() for value in values]
        elif kinds != {bytes}:
            return None
        if recoding.check:
            deque(map(check_stanza, recoding.plains(values)), maxlen=0)  # refuses the compressed and other encodings
            return values
        deque(map(bytes.decode, values), maxlen=0)
    except (UnicodeError, XEP419Error):
        return None
    return None if any(value.startswith(_COMPRESSED) for value in values) else values


def _told_apart(table: StanzaTable, rows: Sequence[Row], tally: Tally) -> Sequence[Row]:
    """The rows that their identity tells from all others."""
    if not table.beside and len(set(map(table.identify, rows))) == len(rows):
        return rows
    times = Counter(map(table.identify, rows))
    told = []
    for row in rows:
        if None in row[:-1]:
            tally.skip(table.place(row), "a column that tells the row from others is NULL")
        elif not all(isinstance(value, int) for value in row[:-1]):
            tally.skip(table.place(row), "a column that tells the row from others holds no whole number")
        elif times[table.identify(row)] > 1:
            tally.skip(table.place(row), "another row has the same key")
        else:
            told.append(row)
    return told


def _fit(
    table: StanzaTable, rows: Sequence[Row], recoding: Recoding, tally: Tally
) -> tuple[Sequence[Row], list[bytes]]:
    """The rows that are to be recoded, and their values; the others are told to the tally."""
    originals = _texts(rows, recoding)
    if originals is not None:
        return rows, originals
    fit: list[Row] = []
    originals = []
    for row in rows:
        if row[-1] is None:
            tally.left_alone[f"{table.name}: no stanza was stored"] += 1
            continue
        try:
            originals.append(_original(row[-1], recoding))
            fit.append(row)
        except _Unfit as unfit:
            tally.skip(table.place(row), unfit.reason, unfit.offset)
    return fit, originals


def recode(column: Column, rows: Sequence[Row], recoding: Recoding, tally: Tally) -> Changes:
    """What becomes of the rows; those that are left as they are for a reason are told to the tally."""
    table, capacity, _loose = column
    fit, originals = _fit(table, _told_apart(table, rows, tally), recoding, tally)
    recoded = recoding.stanzas(originals)
    news: list[Value] = [
        new.decode() if isinstance(row[-1], str) else new for row, new in zip(fit, recoded, strict=True)
    ]
    changes = Changes(list(fit), news, originals, recoded)
    if capacity.limit is None:
        return changes
    room = []
    for place, (row, new) in enumerate(zip(fit, news, strict=True)):
        if len(recoded[place]) > len(originals[place]) and (why := capacity.misses(new)):
            tally.skip(table.place(row), why)
        else:
            room.append(place)
    return changes.at(room)


def account(changes: Changes, recoding: Recoding, tally: Tally) -> None:
    """Counts the stanzas, their bytes and their names."""
    census = NamespaceCensus()
    census.count(recoding.plains(changes.originals))
    tally.count(census.counts())
    tally.stanzas += len(changes.rows)
    tally.bytes_read += sum(map(len, changes.originals))
    tally.bytes_written += sum(map(len, changes.recoded))


def unit_key(table: StanzaTable, first: int, last: int) -> str:
    """The same for the same range at any time: ``prosodyarchive:(100,2100]``."""
    return f"{table.name}:({first},{last}]"


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
        """See :func:`unit_key`."""
        return unit_key(self.column.table, self.first, self.last)

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
            version = connection.version()
            rows = self._read(connection)
            changes = recode(self.column, rows, self.recoding, tally)
            with connection.transaction():
                known = progress.recorded(connection, table.name, (self.first, self.last))
                if known is not None:  # by another, meanwhile
                    return known
                untouched = version is not None and connection.version() == version
                changes = self._write(connection, changes, tally, untouched=untouched)
                account(changes, self.recoding, tally)
                if self.verify:
                    self._prove(changes, tally)
                progress.record(connection, table.name, (self.first, self.last), tally)
        return tally

    def _read(self, connection: Connection) -> Sequence[Row]:
        return read(connection, self.column.table, self.first, self.last)

    def _write(self, connection: Connection, changes: Changes, tally: Tally, *, untouched: bool) -> Changes:
        """Writes until every row holds what it should, is gone, or is given up; the changes that hold."""
        held = Changes()
        moved: list[Row] = []
        table = self.column.table
        for turn in range(TURNS):
            if turn:
                changes = recode(self.column, moved, self.recoding, tally)
            differ = [new != row[-1] for row, new in zip(changes.rows, changes.news, strict=True)]
            rows = list(itertools.compress(changes.rows, differ))
            news = list(itertools.compress(changes.news, differ))
            hit = update(connection, table, rows, news, loose=self.column.loose, untouched=untouched)
            missed = len(rows) - hit
            if not missed and not self.verify:
                held.extend(changes)
                return held
            now, moved = self._compare(connection, changes, missed, tally)
            held.extend(now)
            if not moved:
                break
        for row in moved:
            tally.skip(table.place(row), f"the row was changed by another {TURNS} times meanwhile")
        return held

    def _compare(
        self, connection: Connection, changes: Changes, missed: int, tally: Tally
    ) -> tuple[Changes, list[Row]]:
        """The changes that the database holds, and the rows that another has changed, as they are now."""
        identify = self.column.table.identify
        rows = self._read(connection)
        identities = list(map(identify, changes.rows))
        if [row[-1] for row in rows] == changes.news and list(map(identify, rows)) == identities:
            return changes, []
        stored = dict(zip(map(identify, rows), rows, strict=True))
        held: list[int] = []
        moved: list[Row] = []
        for place, (old, new) in enumerate(zip(changes.rows, changes.news, strict=True)):
            row = stored.get(identities[place])
            if row is not None and row[-1] == new:
                held.append(place)
                continue
            missed -= new != old[-1]
            if missed < 0:  # it was hit: we hold its lock, no other can have changed it
                where = self.column.table.place(old)
                raise RestorationError(f"{where}: the database gave back something else than was written")
            if row is None:
                tally.left_alone[f"{self.column.table.name}: deleted meanwhile"] += 1
            else:
                moved.append(row)
        return changes.at(held), moved

    def _prove(self, changes: Changes, tally: Tally) -> None:
        try:
            letters = self.recoding.prove_all(changes.originals, changes.recoded)
        except RestorationError:  # it does not say which row's
            letters = sum(map(self._prove_row, changes.rows, changes.originals, changes.recoded))
        expected = tally.letters if self.recoding.upgrade else 0
        if letters != expected:
            raise RestorationError(f"{self.key}: expected {expected} names to gain a letter, but {letters} did")

    def _prove_row(self, row: Row, original: bytes, recoded: bytes) -> int:
        try:
            return self.recoding.prove(original, recoded)
        except RestorationError as error:
            place = self.column.table.place(row)
            raise RestorationError(f"{place}: {error.message}", offset=error.offset) from error
