"""The coordinator of one job: from a root to units, through an engine, into place, with a journal of it all.

It alone writes the journal and puts files in place. It knows no format and no XML.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import posixpath
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from ..errors import ArchiveError, UnsupportedArchiveError, XEP419Error
from .engines import Engine
from .files import FilesUnit, FileTask, companions_of, fingerprints, format_of, skipped
from .formats import ArchivedStanza
from .journal import Journal, Record
from .report import Report
from .slices import SlicedFile, is_splittable
from .storage import (
    SHARED,
    WHOLE,
    Entry,
    Location,
    commit,
    copy_directories,
    discard,
    is_directory,
    open_source,
    size_of,
    stale,
    sync_parents,
    walk,
)
from .tally import Tally
from .work import Outcome, Settings, Unit

#: small files go through the engine together: at most so many, of so many bytes in all
BATCH_FILES, BATCH_BYTES = 64, 16 << 20

#: names of directories and files that hold a namespace name, percent-encoded as Prosody does
_NAME_IN_PATH = re.compile(r"(?:^|[/_])(?:http:|urn:xmpp:)", re.IGNORECASE)


class Observer(Protocol):
    """Is told how a job goes on, to show it. Called from the coordinator's thread, but for :meth:`advance`."""

    def found(self, units: int, size: int) -> None:
        """So many files or rows more are to be done, of so many bytes."""

    def working(self, name: str) -> None:
        """A unit is handed out."""

    def advance(self, count: int) -> None:
        """So many bytes more were read; called from workers' threads."""

    def done(self, units: int) -> None:
        """So many units more are done."""


class Silent:
    """Shows nothing."""

    def found(self, units: int, size: int) -> None: ...

    def working(self, name: str) -> None: ...

    def advance(self, count: int) -> None: ...

    def done(self, units: int) -> None: ...


#: makes the unit for a batch of files
UnitOf = Callable[[tuple[FileTask, ...], Settings], Unit]


@dataclasses.dataclass(frozen=True)
class Root:
    """One SOURCE and where it goes; in place, both are the same. ``name`` tells it from the job's other roots."""

    source: Location
    target: Location
    name: str = ""
    is_database: bool = False

    @property
    def in_place(self) -> bool:
        return self.source == self.target


class FilesJob:
    """Re-encrypts the files below some roots that share a journal."""

    def __init__(
        self,
        roots: Sequence[Root],
        settings: Settings,
        engine: Engine,
        report: Report,
        observer: Observer,
        unit_of: UnitOf = FilesUnit,
    ) -> None:
        self._unit_of = unit_of
        self._roots = roots
        self._settings = settings
        self._engine = engine
        self._report = report
        self._observer = observer
        self._journal: Journal | None = None
        self._sliced: dict[str, SlicedFile] = {}

    def run(self, journal_path: Path, *, restart: bool) -> None:
        """:raises ArchiveError: the job cannot go on; what is done stays done, and is journalled."""
        if not self._roots:
            return
        if self._settings.dry_run:
            self._work()
            return
        with Journal(journal_path) as journal:
            self._report.journals.append(str(journal_path))
            earlier = journal.facts()
            token = journal.begin(self._identity(), secrets.token_hex(4), restart=restart)
            self._settings = dataclasses.replace(self._settings, token=token)
            self._journal = journal
            self._recover(journal)
            journal.reopen()
            begun_anew = earlier.get("token", token) != token
            interrupted = "token" in earlier and (begun_anew or earlier.get("finished") is None)
            if interrupted:  # what it left takes room; slices are gone on with
                self._clean(earlier["token"], WHOLE, *([SHARED] if begun_anew else []))
            for root in self._roots:
                if not root.in_place:
                    copy_directories(root.source, root.target)
            try:
                self._work()
            except BaseException:
                with contextlib.suppress(Exception):  # what is ready and journalled does not wait for the next run
                    self._recover(journal)
                raise
            if interrupted or self._engine.loses_workers:
                self._clean(token, WHOLE, SHARED)
            journal.finish()

    def _identity(self) -> dict[str, Any]:
        """What makes a later job the same as this one. Verification, engine and number of jobs may change."""
        recoding = self._settings.recoding
        return {
            "sources": [_absolute(root.source) for root in self._roots],
            "targets": [_absolute(root.target) for root in self._roots],
            "rounds_from": recoding.rounds_from,
            "rounds_to": recoding.rounds_to,
            "upgrade": recoding.upgrade,
            "format": self._settings.format,
            "options": [list(option) for option in self._settings.options],
        }

    def _recover(self, journal: Journal) -> None:
        """Puts in place what a killed job had ready."""
        for record in journal.intended():
            self._finish_move(journal, record)

    @staticmethod
    def _finish_move(journal: Journal, record: Record) -> None:
        targets = [move.target for move in record.moves]
        is_there = all([commit(move.temporary, move.target) for move in record.moves])
        after = fingerprints(targets)
        if not is_there or after == record.before:
            journal.forget(record.key)  # somebody removed what was to be moved
            return
        sync_parents(targets)
        journal.done([record._replace(after=after)])

    def _clean(self, token: str, *kinds: str) -> None:
        """Removes temporaries of a run that nothing came of."""
        for root in self._roots:
            for temporary in stale(root.target, token, kinds):
                discard(temporary)

    # -- what is to be done -----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with contextlib.closing(self._engine.run(self._units(), self._observer.advance)) as outcomes:
                for batch in outcomes:
                    self._take(batch)
        finally:
            for sliced in self._sliced.values():
                sliced.abandon()

    def _units(self) -> Iterator[Unit]:
        waiting: list[FileTask] = []
        size = 0
        for task in self._tasks():
            self._observer.found(1, task.size)
            if self._is_done(task):
                self._observer.advance(task.size)
                self._observer.done(1)
                continue
            self._report.bytes_worked_on += task.size
            if self._journal and task.is_single_local and is_splittable(task.sources[0], task.size, self._settings):
                yield from self._slices(task)
                continue
            if waiting and (len(waiting) == BATCH_FILES or size + task.size > BATCH_BYTES):
                yield self._unit(waiting)
                waiting, size = [], 0
            waiting.append(task)
            size += task.size
        if waiting:
            yield self._unit(waiting)

    def _unit(self, tasks: Iterable[FileTask]) -> Unit:
        unit = self._unit_of(tuple(tasks), self._settings)
        self._observer.working(unit.name)
        return unit

    def _slices(self, task: FileTask) -> Iterator[Unit]:
        done_before = self._journal.slices(task.key) if self._journal else {}
        sliced = self._sliced[task.key] = SlicedFile(task, self._settings, done_before)
        self._observer.working(str(task.sources[0]))
        yield from sliced.units()
        self._observer.advance(sliced.passed_over)
        self._end_if_complete(task.key)

    def _tasks(self) -> Iterator[FileTask]:
        for root in self._roots:
            for entry, companions in _groups(root, self._settings):
                if entry.kind == "other":
                    self._report.tally.left_alone["neither a file nor a directory"] += 1
                    continue
                if _NAME_IN_PATH.search(unquote(entry.relative)):
                    self._report.elsewhere.append((f"the path {entry.location}", 1))
                yield _task(root, entry, companions)

    def _is_done(self, task: FileTask) -> bool:
        record = self._journal.lookup(task.key) if self._journal else None
        if record is None or task.is_link:
            return False
        unchanged = record.after == fingerprints(task.targets)
        if unchanged and (task.in_place or record.before == fingerprints(task.sources)):
            self._count(record.tally)
            self._report.resumed += 1
            return True
        if task.in_place and record.moves and self._settings.recoding.is_visible:
            reason = (
                "it changed since it was re-encrypted, and an odd number of rotations cannot be told from the text:"
                " restore it from the backup, or take --restart if all of it is as it came"
            )
            self._count(skipped(task, reason))
            return True
        return False

    # -- what came of it --------------------------------------------------------------------------------------

    def _take(self, outcomes: list[Outcome]) -> None:
        whole = []
        for outcome in outcomes:
            if outcome.part is None:
                whole.append(outcome)
            else:
                self._take_slice(outcome, outcome.part)
        self._finish(whole)

    def _take_slice(self, outcome: Outcome, start: int) -> None:
        sliced = self._sliced[outcome.key]
        sliced.take(outcome)
        if self._journal and not outcome.tally.skipped:
            self._journal.slice_done(outcome.key, start, outcome.before)
        self._end_if_complete(outcome.key)

    def _end_if_complete(self, key: str) -> None:
        sliced = self._sliced.get(key)
        if sliced is not None and sliced.is_complete:
            outcome = sliced.outcome()
            del self._sliced[key]
            self._finish([outcome])

    def _finish(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        if self._journal is not None:
            records = [Record(one.key, one.before, "", one.moves, one.tally) for one in outcomes]
            moved = [record for record in records if record.moves]
            if moved:
                self._journal.intend(moved)
                self._put_in_place(moved)
            self._journal.done(
                record._replace(after=fingerprints(one.targets)) for record, one in zip(records, outcomes, strict=True)
            )
        for outcome in outcomes:
            self._count(outcome.tally)
        self._observer.done(len(outcomes))

    @staticmethod
    def _put_in_place(records: list[Record]) -> None:
        moves = [move for record in records for move in record.moves]
        for move in moves:
            if not commit(move.temporary, move.target):
                raise ArchiveError(f"{move.target}: what was to take its place was removed")
        sync_parents([move.target for move in moves])

    def _count(self, tally: Tally) -> None:
        self._report.tally.add(tally)
        self._report.units += 1


def refuse_without_stanza(roots: Iterable[Root], settings: Settings) -> None:
    """A file that was named itself must be an archive; among others below a directory it need not.

    :raises UnsupportedArchiveError: it holds no stanza that we know of; the message says why.
    """
    for root in roots:
        if is_directory(root.source):
            continue
        for entry, companions in _groups(root, settings):
            try:
                if entry.kind == "other":
                    raise UnsupportedArchiveError("it is neither a file nor a directory")
                format_of(_task(root, entry, companions), settings)
            except UnsupportedArchiveError as error:
                raise UnsupportedArchiveError(f"{root.source}: {error.message}") from error
            except ArchiveError:
                raise
            except XEP419Error:
                pass  # it is corrupt: the job lists it


def stored_stanzas(root: Root, settings: Settings) -> Iterator[ArchivedStanza]:
    """The stanzas of all files below a root.

    :raises UnsupportedArchiveError: the root is a single file, and holds no stanza that we know of.
    """
    for entry, companions in _groups(root, settings):
        if entry.kind != "file":
            continue
        task = _task(root, entry, companions)
        try:
            form = format_of(task, settings)
        except UnsupportedArchiveError:
            if not entry.relative:
                raise
            continue
        with contextlib.ExitStack() as files:
            sources = [files.enter_context(open_source(one)) for one in task.sources]
            for place, data in form.stanzas(sources, settings.recoding):
                yield ArchivedStanza(f"{entry.location}: {place}", data)


def _groups(root: Root, settings: Settings) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    """The files below a root, each with the names of those beside it that belong to it."""
    claimed: set[str] = set()
    for entry in walk(root.source):
        if entry.relative in claimed:
            claimed.discard(entry.relative)
            continue
        names = companions_of(entry.location, settings) if entry.kind == "file" else ()
        claimed.update(posixpath.join(posixpath.dirname(entry.relative), name) for name in names)
        yield entry, names


def _task(root: Root, entry: Entry, companions: tuple[str, ...]) -> FileTask:
    target = root.target.child(entry.relative)
    sources = (entry.location, *(entry.location.sibling(name) for name in companions))
    return FileTask(
        key=_key(posixpath.join(root.name, entry.relative) if root.name else entry.relative),
        sources=sources,
        targets=(target, *(target.sibling(_renamed(name, entry.location, target)) for name in companions)),
        size=entry.size + sum(size_of(source) for source in sources[1:]),
        is_link=entry.kind == "link",
    )


def _key(path: str) -> str:
    """A path as the journal can hold it: bytes that are not UTF-8 escaped, and so what would look like them."""
    return path.replace("\\", "\\\\").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _renamed(companion: str, source: Location, target: Location) -> str:
    """A companion's name beside a target that has another name than its source."""
    stem, _suffix = posixpath.splitext(source.name)
    return posixpath.splitext(target.name)[0] + companion.removeprefix(stem)


def _absolute(location: Location) -> str:
    return os.path.abspath(location.url) if location.is_local else str(location)
