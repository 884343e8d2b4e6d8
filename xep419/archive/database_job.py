"""A job over an SQL archive: its ranges of rows through an engine, with the journal that every job has.

In place, or for an SQLite file into a copy of it that appears whole once the job is done. It knows no SQL; the rows
themselves, and that each is changed once, are the affair of ``databases``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArchiveError, RestorationError, UnsupportedArchiveError
from .engines import Engine
from .formats import ArchivedStanza
from .formats.chat_logs import SQLITE
from .job import Observer, Root
from .journal import Journal, Move, Record
from .report import Report
from .storage import Location, Replacement, commit, exists, naming, shared_temporary_for, sync_parents
from .tally import Tally
from .work import Advance, Outcome, Settings, Unit, ignore

if TYPE_CHECKING:
    from .databases import Database, RowsUnit

#: what an SQLAlchemy URL of a database that we know may begin with
_SCHEMES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")
#: journal key of the copy's last step
_COPY = "copy"


def is_database(place: str | os.PathLike[str]) -> bool:
    """Whether a source is an SQL database: by its URL, or by how the file begins."""
    address = os.fspath(place)
    scheme, separator, _rest = address.partition("://")
    if separator:
        return scheme.partition("+")[0] in _SCHEMES
    try:
        if not stat.S_ISREG(os.stat(address).st_mode):
            return False  # a pipe would be waited for
        with open(address, "rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


@dataclasses.dataclass(frozen=True)
class DatabaseUnit:
    """A range of rows, as an engine takes it."""

    rows: RowsUnit
    database: str

    @property
    def size(self) -> int:
        return 0  # known once it is read

    @property
    def name(self) -> str:
        return f"{self.database} {self.rows.key}"

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        tally = self.rows.run()
        advance(tally.bytes_read)
        return [Outcome(self.rows.key, "", tally)]


class DatabaseJob:
    """Re-encrypts one database."""

    def __init__(self, root: Root, settings: Settings, engine: Engine, report: Report, observer: Observer) -> None:
        self._root = root
        self._settings = settings
        self._engine = engine
        self._report = report
        self._observer = observer

    def run(self, journal_path: Path, *, restart: bool) -> None:
        """:raises ArchiveError: the job cannot go on; what is done stays done, and is journalled."""
        with Journal(journal_path) as journal:
            self._report.journals.append(str(journal_path))
            token = journal.begin(self._identity(), secrets.token_hex(4), restart=restart)
            self._recover(journal)
            if journal.facts().get("finished") is not None:
                self._tell_what_was_done(journal)
                return
            if self._root.in_place:
                self._rows(journal, self._root.source.url, token, last=True)
            else:
                self._into_copy(journal, token)
            journal.finish()

    def _identity(self) -> dict[str, Any]:
        recoding = self._settings.recoding
        return {
            "sources": [_absolute(self._root.source)],
            "targets": [_absolute(self._root.target)],
            "rounds_from": recoding.rounds_from,
            "rounds_to": recoding.rounds_to,
            "upgrade": recoding.upgrade,
            "format": self._settings.format,
            "options": [],
        }

    def _recover(self, journal: Journal) -> None:
        for record in journal.intended():
            self._put_in_place(record)
            journal.done([record])
            journal.finish()

    def _tell_what_was_done(self, journal: Journal) -> None:
        for record in journal.all_done():
            if record.key != _COPY:
                self._count(record.tally)
                self._report.resumed += 1

    # -- rows -------------------------------------------------------------------------------------------------

    def _rows(self, journal: Journal, address: str, token: str, *, last: bool) -> None:
        """Every range; the database forgets the job once the journal knows that all are done."""
        with _opened(address, self._settings) as database, database.lock():
            database.begin(token, while_in_use=self._settings.while_in_use)
            self._observer.found(0, 0)
            for outcomes in self._engine.run(self._units(database, journal), self._advance):
                journal.done(Record(one.key, "", "", (), one.tally) for one in outcomes)
                for outcome in outcomes:
                    self._count(outcome.tally)
                    self._observer.done(1)
            if last:
                journal.finish()
            database.finish()

    def _units(self, database: Database, journal: Journal) -> Iterator[Unit]:
        for rows in database.units():
            self._observer.found(1, 0)
            record = journal.lookup(rows.key)
            if record is not None:
                self._count(record.tally)
                self._report.resumed += 1
                self._observer.done(1)
                continue
            unit = DatabaseUnit(rows, database.identity)
            self._observer.working(unit.name)
            yield unit

    def _advance(self, count: int) -> None:
        self._report.bytes_worked_on += count
        self._observer.found(0, count)
        self._observer.advance(count)

    def _count(self, tally: Tally) -> None:
        self._report.tally.add(tally)
        self._report.units += 1

    # -- a copy -----------------------------------------------------------------------------------------------

    def _into_copy(self, journal: Journal, token: str) -> None:
        """The rows of a copy under a temporary name, which then takes the target's place."""
        temporary = shared_temporary_for(self._root.target, token, "")
        if not (journal.lookup(_COPY) and exists(temporary)):
            self._copy(temporary, token)
            journal.done([Record(_COPY, "", "", (), Tally())])
        self._rows(journal, temporary.url, token, last=False)
        replacement = Replacement(self._root.target, token, temporary=temporary, keep=True)
        replacement.complete()
        record = Record(_COPY, "", "", (Move(temporary, replacement.target),), Tally())
        journal.intend([record])
        self._put_in_place(record)
        journal.done([record])

    def _copy(self, temporary: Location, token: str) -> None:
        """A consistent copy, also while a server writes to the file; its journal files are part of it."""
        replacement = Replacement(self._root.target, token, temporary=temporary, like=self._root.source)
        replacement.close()
        original = Path(self._root.source.url)
        try:
            with (
                naming(self._root.target),
                contextlib.closing(sqlite3.connect(f"{original.absolute().as_uri()}?mode=ro", uri=True)) as source,
                contextlib.closing(sqlite3.connect(temporary.url)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as error:
            replacement.discard()
            raise ArchiveError(f"{self._root.target}: the database cannot be copied: {error}") from error

    @staticmethod
    def _put_in_place(record: Record) -> None:
        for move in record.moves:
            commit(move.temporary, move.target)
        sync_parents([move.target for move in record.moves])


def refuse_without_stanza(root: Root, settings: Settings) -> None:
    """:raises UnsupportedArchiveError: the database holds no stanzas that we know of; the message says why."""
    with _opened(root.source.url, settings):
        pass


def rehearse(root: Root, settings: Settings, report: Report) -> None:
    """What a job over a database would come to, and where else names stand in it."""
    with _opened(root.source.url, settings) as database:
        report.tally.add(database.rehearse())
        report.units += 1
        report.elsewhere += [(f"{root.source}: {column}", rows) for column, rows in database.elsewhere()]


def stanzas(root: Root, settings: Settings) -> Iterator[ArchivedStanza]:
    """Every stanza of a database, rotated back."""
    with _opened(root.source.url, settings) as database:
        for place, data in database.stanzas():
            yield ArchivedStanza(f"{root.source}: {place}", data)


def prove(root: Root, settings: Settings, report: Report) -> None:
    """Holds a database against the one that a job made of it, stanza by stanza."""
    with _opened(root.source.url, settings) as source, _opened(root.target.url, settings) as target:
        report.tally.add(source.rehearse())
        report.units += 1
        recoded = target.stored()
        for place, original in source.stored():
            other = next(recoded, None)
            if other is None or other[0] != place:
                report.tally.skip(
                    f"{root.source}: {place}", f"{root.target} has {other[0] if other else 'no more rows'} there"
                )
                return
            if other[1] == original:
                continue
            try:
                settings.recoding.prove(original, other[1])
            except RestorationError as error:
                reason = f"{root.target} does not restore it: {error.message}"
                report.tally.skip(f"{root.source}: {place}", reason, error.offset)


@contextlib.contextmanager
def _opened(address: str, settings: Settings) -> Iterator[Database]:
    from .databases import open_database

    try:
        database = open_database(address, schema=settings.format, recoding=settings.recoding, verify=settings.verify)
    except UnsupportedArchiveError as error:
        place = str(Location.of(address))
        if error.message.startswith(place):
            raise
        raise UnsupportedArchiveError(f"{place}: {error.message}") from error
    with database:
        yield database


def _absolute(location: Location) -> str:
    return os.path.abspath(location.url) if location.is_local else str(location)
