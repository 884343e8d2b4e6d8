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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArchiveError, RestorationError, UnsupportedArchiveError
from .engines import Engine
from .files import fingerprints, is_sqlite
from .formats import ArchivedStanza
from .journal import Journal, Move, Record
from .placing import place, recover, refuse_second_rotation
from .recoding import Recoding
from .report import Report
from .roots import Root, identity_of
from .storage import Location, Replacement, discard, exists, shared_temporary_for, size_of
from .stored import is_stanza_unchanged
from .tally import Tally
from .work import Advance, Observer, Outcome, Settings, Unit, Waiting, ignore

if TYPE_CHECKING:
    from .databases import Database, RowsUnit

#: what an SQLAlchemy URL of a database that we know may begin with
_SCHEMES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb")
#: journal keys of a copy: that it was made, with its move once it is in place; that all of its rows are done
_COPY, _ROWS = "copy", "rows"


def is_database(place: str | os.PathLike[str]) -> bool:
    """Whether a source is an SQL database: by its URL, or by how the file begins."""
    scheme, separator, _rest = os.fspath(place).partition("://")
    if separator and scheme != "file":
        return scheme.partition("+")[0] in _SCHEMES
    return is_sqlite(Location.of(place))


def sqlite_path(place: str | os.PathLike[str]) -> str | None:
    """The path in an SQLite file's URL (``sqlite:///path``); None of any other place."""
    scheme, _separator, rest = os.fspath(place).partition("://")
    is_plain = scheme.partition("+")[0] == "sqlite" and rest.startswith("/") and "?" not in rest
    return rest[1:] or None if is_plain else None


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

    def divided(self) -> tuple[None, DatabaseUnit]:
        return None, self  # a connection stays in its process

    def run(self, advance: Advance = ignore, _waiting: Waiting = contextlib.nullcontext) -> list[Outcome]:
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
            recover(journal)
            if restart:
                refuse_second_rotation(journal, self._settings.recoding, whole=True)
            earlier = journal.facts()
            token = self._begin(journal, restart=restart)
            if earlier and earlier["token"] != token:
                self._clean(earlier["token"])
            if self._is_over(journal):
                self._tell_what_was_done(journal)
                if self._root.in_place:
                    with _opened(self._root.source.url, self._settings) as database:
                        database.forget(token)
                return
            if self._root.in_place:
                self._rows(journal, self._root.source.url, token, journal.finish)
            else:
                journal.reopen()
                self._into_copy(journal, token)
                journal.finish()

    def _begin(self, journal: Journal, *, restart: bool) -> str:
        """The job's token; a copy that is no longer what was made of the source is made anew."""
        identity = identity_of([self._root], self._settings)
        token = journal.begin(identity, secrets.token_hex(4), restart=restart)
        made = journal.lookup(_COPY)
        if made is not None and made.moves and not self._is_over(journal):
            return journal.begin(identity, secrets.token_hex(4), restart=True)
        return token

    def _is_over(self, journal: Journal) -> bool:
        if self._root.in_place:
            return journal.facts()["finished"] is not None
        made = journal.lookup(_COPY)
        if made is None or not made.moves:
            return False
        return (made.before, made.after) == (self._source_now(), fingerprints([self._root.target]))

    def _source_now(self) -> str:
        """The fingerprints of the source and of what is not in the file yet."""
        return fingerprints([self._root.source, *(one for one in _logs(self._root.source) if size_of(one))])

    def _clean(self, token: str) -> None:
        """Removes what a job that is forgotten left of a copy."""
        temporary = shared_temporary_for(self._root.target, token, "")
        for leftover in (temporary, *_beside(temporary)):
            discard(leftover)

    def _tell_what_was_done(self, journal: Journal) -> None:
        for record in journal.all_done():
            if record.key not in (_COPY, _ROWS):
                self._count(record.tally)
                self._report.resumed += 1

    # -- rows -------------------------------------------------------------------------------------------------

    def _rows(self, journal: Journal, address: str, token: str, over: Callable[[], None]) -> None:
        """Every range. ``over`` writes down that all are done; only then may the database forget the job."""
        with _opened(address, self._settings) as database, database.lock():
            if not database.begin(token, while_in_use=self._settings.while_in_use):
                journal.forget_units(but=_COPY)  # done in a database that was replaced since, by its backup perhaps
            self._observer.found(0, 0)
            with contextlib.closing(self._engine.run(self._units(database, journal), self._advance)) as done:
                for outcomes in done:
                    journal.done(Record(one.key, "", "", (), one.tally) for one in outcomes)
                    for outcome in outcomes:
                        self._count(outcome.tally)
                        self._observer.done(1)
            over()
            database.finish()

    def _units(self, database: Database, journal: Journal) -> Iterator[Unit]:
        done = database.done()
        for rows in database.units():
            self._observer.found(1, 0)
            record = journal.lookup(rows.key) if rows.key in done else None
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
        self._report.tally.add(_placed(tally, self._root))
        self._report.units += 1

    # -- a copy -----------------------------------------------------------------------------------------------

    def _into_copy(self, journal: Journal, token: str) -> None:
        """The rows of a copy under a temporary name, which then takes the target's place."""
        self._refuse_target_in_use()
        temporary = shared_temporary_for(self._root.target, token, "")
        copied = journal.lookup(_COPY)
        if copied is None or not exists(temporary):
            journal.forget_units()
            copied = Record(_COPY, self._source_now(), "", (), Tally())
            self._clean(token)
            self._copy(temporary, token)
            journal.done([copied])
        if journal.lookup(_ROWS) is None:
            rows_done = Record(_ROWS, "", "", (), Tally())
            self._rows(journal, temporary.url, token, lambda: journal.done([rows_done]))
        else:
            self._tell_what_was_done(journal)
            with _opened(temporary.url, self._settings) as database:
                database.finish()
        replacement = Replacement(self._root.target, token, temporary=temporary, keep=True)
        replacement.complete()
        moved = copied._replace(moves=(Move(temporary, replacement.target),))
        journal.done(place(journal, [moved], in_place=False))

    def _refuse_target_in_use(self) -> None:
        """SQLite would take the target's own journal for the new file's, and destroy it."""
        for own in _beside(self._root.target):
            if size_of(own):
                raise ArchiveError(f"{own}: the target is a database in use, or one whose journal must be undone first")

    def _copy(self, temporary: Location, token: str) -> None:
        """A consistent copy, also while a server writes to the file; its journal files are part of it."""
        from .databases.sqlite_files import open_to_read

        replacement = Replacement(self._root.target, token, temporary=temporary, like=self._root.source)
        replacement.close()
        try:
            with (
                contextlib.closing(open_to_read(self._root.source.url)) as source,
                contextlib.closing(sqlite3.connect(temporary.url)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as error:
            self._clean(token)
            raise ArchiveError(f"{self._root.source}: cannot be copied to {self._root.target}: {error}") from error
        except BaseException:
            self._clean(token)
            raise


def _beside(database: Location) -> tuple[Location, ...]:
    """Where SQLite keeps what is not in the file itself yet, and the index of that."""
    return (*_logs(database), Location(f"{database.url}-shm"))


def _logs(database: Location) -> tuple[Location, ...]:
    return tuple(Location(f"{database.url}{suffix}") for suffix in ("-journal", "-wal"))


def refuse_without_stanza(root: Root, settings: Settings) -> None:
    """:raises UnsupportedArchiveError: the database holds no stanzas that we know of; the message says why."""
    with _opened(root.source.url, settings, read_only=settings.dry_run or not root.in_place):
        pass


def rehearse(root: Root, settings: Settings, report: Report) -> None:
    """What a job over a database would come to, and where else names stand in it."""
    with _opened(root.source.url, settings, read_only=True) as database:
        report.tally.add(_placed(database.rehearse(), root))
        report.units += 1
        for column, rows in database.elsewhere():
            report.found_elsewhere(f"{root.source}: {column}", rows)


def stanzas(root: Root, settings: Settings) -> Iterator[ArchivedStanza]:
    """Every stanza of a database, rotated back."""
    with _opened(root.source.url, settings, read_only=True) as database:
        for place, data in database.stanzas():
            yield ArchivedStanza(f"{root.source}: {place}", data)


def prove(root: Root, settings: Settings, report: Report) -> None:
    """Holds an SQLite file against the one that a job made of it, stanza by stanza, and all else."""
    with (
        _opened(root.source.url, settings, read_only=True) as source,
        _opened(root.target.url, settings, read_only=True) as target,
    ):
        tally = _placed(source.rehearse(), root)
        report.units += 1
        recoded = target.stored()
        letters = 0
        for place, original in source.stored():
            other = next(recoded, None)
            if other is None or other.place != place:
                found = other.place if other else "no more rows"
                tally.skip(f"{root.source}: {place}", f"{root.target} has {found} there")
                break
            try:
                letters += _letters(original, other.data, settings.recoding)
            except RestorationError as error:
                reason = f"{root.target} does not restore it: {error.message}"
                tally.skip(f"{root.source}: {place}", reason, error.offset)
        expected = tally.letters if settings.recoding.upgrade else 0
        if not tally.skipped and letters != expected:
            tally.skip(str(root.source), f"{root.target} has {letters} inserted letters, {expected} are expected")
        for table, reason in source.differences(target):
            tally.skip(f"{root.source}: {table}", f"{root.target}: {reason}")
        report.tally.add(tally)


def _placed(tally: Tally, root: Root) -> Tally:
    """With places that say which database: there may be several."""
    tally.skips[:] = [skip._replace(place=f"{root.source}: {skip.place}") for skip in tally.skips]
    return tally


def _letters(original: bytes, recoded: bytes, recoding: Recoding) -> int:
    """How many letters a row gained; none where it was left as it was for a reason.

    :raises RestorationError: it does not hold the original, or should not have been left.
    """
    if recoded == original:
        is_stanza_unchanged(original, recoding)
        return 0
    return recoding.prove(original, recoded)


@contextlib.contextmanager
def _opened(address: str, settings: Settings, *, read_only: bool = False) -> Iterator[Database]:
    from .databases import open_database

    try:
        database = open_database(
            address, schema=settings.format, recoding=settings.recoding, verify=settings.verify, read_only=read_only
        )
    except UnsupportedArchiveError as error:
        place = str(Location.of(address))
        if error.message.startswith(place):
            raise
        raise UnsupportedArchiveError(f"{place}: {error.message}") from error
    with database:
        yield database
