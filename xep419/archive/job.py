"""The coordinator of one job: from a root to units, through an engine, into place, with a journal of it all.

It alone writes the journal and puts files in place. It knows no format and no XML.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from ..errors import ArchiveError, UnsupportedArchiveError, XEP419Error
from .engines import Engine
from .files import CHANGED, REMOVED, FilesUnit, FileTask, companions_of, fingerprints, format_of, skipped
from .formats import ArchivedStanza, Searching
from .journal import Journal, Record
from .placing import place, recover, refuse_second_rotation
from .report import Report
from .roots import Root, identity_of
from .slices import SlicedFile, is_splittable
from .storage import (
    SHARED,
    WHOLE,
    Entry,
    Location,
    copy_directories,
    discard,
    exists,
    is_directory,
    is_within,
    open_source,
    remove_link,
    size_of,
    stale,
    walk,
)
from .tally import Tally
from .work import Observer, Outcome, Settings, Unit

#: small files go through the engine together: at most so many, of so many bytes in all
BATCH_FILES, BATCH_BYTES = 64, 16 << 20

#: names of directories and files that hold a namespace name, percent-encoded as Prosody does
_NAME_IN_PATH = re.compile(r"(?:^|[/_])(?:http:|urn:xmpp:)", re.IGNORECASE)


#: makes the unit for a batch of files
UnitOf = Callable[[tuple[FileTask, ...], Settings], Unit]


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
        #: the last target directory that was found to lie outside of the sources
        self._known_outside: Location | None = None

    def run(self, journal_path: Path, *, restart: bool) -> None:
        """:raises ArchiveError: the job cannot go on; what is done stays done, and is journalled."""
        if not self._roots:
            return
        if self._settings.dry_run:
            self._work()
            return
        with Journal(journal_path) as journal:
            self._report.journals.append(str(journal_path))
            recover(journal)
            if restart:
                refuse_second_rotation(journal, self._settings.recoding)
            earlier = journal.facts()
            token = journal.begin(identity_of(self._roots, self._settings), secrets.token_hex(4), restart=restart)
            self._settings = dataclasses.replace(self._settings, token=token)
            self._journal = journal
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
                    recover(journal)
                raise
            if interrupted or self._engine.loses_workers:
                self._clean(token, WHOLE, SHARED)
            journal.finish()

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
            if self._journal and not task.in_place:
                self._make_way(task)
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
        assert self._journal is not None
        sliced = SlicedFile(task, self._settings, self._journal.slices(task.key))
        if not sliced.goes_on:
            self._journal.forget_slices(task.key)  # else a later run takes for done what this one's file lacks
        self._sliced[task.key] = sliced
        sliced.open()
        self._observer.working(str(task.sources[0]))
        yield from sliced.units()
        self._observer.advance(sliced.passed_over)
        self._end_if_complete(task.key)

    def _make_way(self, task: FileTask) -> None:
        """Links below a target are not followed: a file takes a link's place, and none leads back to the sources."""
        for target in task.targets:
            if task.key and not task.is_link:
                remove_link(target)
            directory = target.parent
            if directory != self._known_outside and any(is_within(directory, root.source) for root in self._roots):
                raise ArchiveError(f"{target}: by way of a link this is within the source: choose another target")
            self._known_outside = directory

    def _tasks(self) -> Iterator[FileTask]:
        for root in self._roots:
            for entry, companions in _groups(root, self._settings):
                if entry.kind == "other":
                    self._report.tally.leave_alone("neither a file nor a directory")
                    continue
                if path := _path_with_name(entry.relative):
                    self._report.found_elsewhere(f"the path {root.source.child(path)}")
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
                " restore it from the backup; if it is as it came, re-encrypt it by itself"
            )
            self._count(skipped(task.sources[0], reason))
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
            if self._journal and not sliced.is_sound():
                self._journal.forget_slices(key)  # the temporary will hold something else
            outcome = sliced.outcome()
            del self._sliced[key]
            self._finish([outcome])

    def _finish(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        for outcome in outcomes:
            if REMOVED in outcome.tally.left_alone:
                self._refuse_if_here(outcome.key)
        tallies = [outcome.tally for outcome in outcomes]
        if self._journal is not None:
            tallies = self._put_in_place(self._journal, outcomes)
        for tally in tallies:
            self._count(tally)
        self._observer.done(len(outcomes))

    def _put_in_place(self, journal: Journal, outcomes: list[Outcome]) -> list[Tally]:
        """Moves and journals what units prepared; what they came to."""
        done = [
            Record(one.key, one.before, fingerprints(one.targets), (), one.tally) for one in outcomes if not one.moves
        ]
        ready = [Record(one.key, one.before, "", one.moves, one.tally) for one in outcomes if one.moves]
        if ready:
            for record, placed in zip(ready, place(journal, ready, in_place=self._roots[0].in_place), strict=True):
                is_placed = bool(placed.moves)
                done.append(placed if is_placed else placed._replace(tally=skipped(record.moves[0].target, CHANGED)))
        journal.done(done)
        return [record.tally for record in done]

    def _refuse_if_here(self, key: str) -> None:
        """What was removed is passed over, but not what only a worker on another machine does not see."""
        for root in self._roots:
            if key.startswith(root.name):
                source = root.source.child(key[len(root.name) :].removeprefix("/"))
                if exists(source):
                    raise ArchiveError(f"{source}: a worker does not find this file, though it is here")

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
                task = _task(root, entry, companions)
                form = format_of(task, settings)
                if isinstance(form, Searching):
                    with open_source(task.sources[0]) as file:
                        form.search(file)
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


def _path_with_name(relative: str) -> str | None:
    """A path up to its first part that holds a namespace name."""
    parts = relative.split("/")
    for number, part in enumerate(parts, 1):
        if _NAME_IN_PATH.search(unquote(part)):
            return "/".join(parts[:number])
    return None


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
