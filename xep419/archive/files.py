"""Files that are recoded whole: read, written under a temporary name, synced, proved. See ``slices`` for large ones."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from ..errors import ArchiveError, CorruptArchiveError, RestorationError, UnsupportedArchiveError, XEP419Error
from .containers import format_named, recognise_file
from .formats import HEAD, Format, formats
from .formats.chat_logs import SQLITE
from .journal import Move
from .members import NO_STANZA, Nowhere, copy, is_equal
from .storage import Location, Replacement, copy_link, exists, fingerprint, open_source
from .tally import Tally
from .work import Advance, Outcome, Settings, Waiting, ignore

if TYPE_CHECKING:
    from typing_extensions import Self

#: files that a unit syncs at once, where it has more than as many
SYNCS = 8
#: why a file is skipped that another process writes, or left alone that it has removed
CHANGED = "it changed while it was read: run the job again when nothing writes it"
REMOVED = "removed meanwhile"


class FileTask(NamedTuple):
    """A file, or a group that only makes sense together, and where the result goes; ``key`` names it in the journal."""

    key: str
    sources: tuple[Location, ...]
    targets: tuple[Location, ...]
    size: int
    is_link: bool = False

    @property
    def in_place(self) -> bool:
        return self.sources == self.targets

    @property
    def is_single_local(self) -> bool:
        """Whether it is one file, from and to a local place."""
        return len(self.sources) == 1 and self.sources[0].is_local and self.targets[0].is_local


@dataclasses.dataclass(frozen=True)
class FilesUnit:
    """Files worked on one after the other, and made durable together."""

    tasks: tuple[FileTask, ...]
    settings: Settings
    #: by the tasks' keys, as far as they were recognised
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def size(self) -> int:
        return sum(task.size for task in self.tasks)

    @property
    def name(self) -> str:
        return str(self.tasks[0].sources[0])

    def divided(self) -> tuple[Self | None, Self | None]:
        """The second part keeps what was recognised."""
        known: dict[str, Format] = {}
        for task in self.tasks:
            with contextlib.suppress(XEP419Error, OSError):  # which run() meets again
                if not task.is_link:
                    known[task.key] = format_of(task, self.settings)
        kinds: dict[bool, list[FileTask]] = {True: [], False: []}
        for task in self.tasks:
            kinds[task.key in known and known[task.key].in_python].append(task)
        in_python, others = tuple(kinds[True]), tuple(kinds[False])
        return (
            dataclasses.replace(self, tasks=in_python) if in_python else None,
            dataclasses.replace(self, tasks=others, formats=known) if others else None,
        )

    def run(self, advance: Advance = ignore, waiting: Waiting = contextlib.nullcontext) -> list[Outcome]:
        prepared: list[Prepared] = []
        try:
            for task in self.tasks:
                prepared.append(prepare(task, self.settings, advance, self.formats.get(task.key)))
            with waiting():
                make_durable(prepared)
            return [one.completed(advance) for one in prepared]
        except BaseException:
            for one in prepared:
                one.discard()
            raise


def make_durable(prepared: Sequence[Prepared]) -> None:
    """Syncs what was written; many files several at a time, so that the storage waits once for some, not for each.

    A few large ones are written out one after the other: threads for them cost more than they save.
    """
    if len(prepared) > SYNCS:
        with ThreadPoolExecutor(SYNCS) as pool:
            list(pool.map(Prepared.make_durable, prepared))
    else:
        for one in prepared:
            one.make_durable()


def fingerprints(locations: Sequence[Location]) -> str:
    """Of a unit's sources or targets together, as the journal keeps them."""
    found = (fingerprint(location) for location in locations)
    return "\n".join("-" if one is None else f"{one.size}/{one.version}" for one in found)


def split_fingerprints(joined: str) -> list[str]:
    """Those of :func:`fingerprints`, one by one."""
    return joined.split("\n")


def same_bytes(one: Location, other: Location) -> bool:
    with open_source(one) as left, open_source(other) as right:
        return is_equal(left, right)


def prepare(task: FileTask, settings: Settings, advance: Advance, form: Format | None = None) -> Prepared:
    """Recodes a task's files under temporary names; what cannot be recoded is copied, or left in its place.

    :param form: their format, where it is known.
    """
    if task.is_link:
        if task.targets[0].is_local and not task.in_place and not settings.dry_run:
            copy_link(task.sources[0], task.targets[0], settings.token)
        return Prepared(task, settings, left_alone(reason_of_link(task)))
    prepared = Prepared(task, settings, Tally())
    try:
        prepared.recode(advance, form)
    except UnsupportedArchiveError as error:
        prepared.leave(left_alone(error.message), advance)
    except ArchiveError:
        prepared.discard()
        if exists(task.sources[0]):
            raise
        return Prepared(task, settings, left_alone(REMOVED))
    except XEP419Error as error:
        prepared.leave(skipped(task.sources[0], error.message, error.offset), advance)
    except OSError as error:
        prepared.discard()
        raise ArchiveError(f"{task.sources[0]}: {error.strerror or error}") from error
    except BaseException:
        prepared.discard()
        raise
    return prepared


def reason_of_link(task: FileTask) -> str:
    """Why a symbolic link is left alone."""
    return "a symbolic link, " + ("kept as it is" if task.targets[0].is_local else "of which the target can hold none")


def leave(task: FileTask, settings: Settings, tally: Tally) -> Outcome:
    """A task whose files stay as they are, for the reason that the tally holds."""
    prepared = Prepared(task, settings, tally)
    prepared.leave(tally, ignore)
    prepared.make_durable()
    return prepared.completed(ignore)


def left_alone(reason: str) -> Tally:
    tally = Tally()
    tally.leave_alone(reason)
    return tally


def skipped(source: Location, reason: str, offset: int | None = None) -> Tally:
    tally = Tally()
    tally.skip(str(source), reason, offset)
    return tally


def is_sqlite(location: Location) -> bool:
    """Whether a local file is an SQLite database."""
    try:
        if not stat.S_ISREG(os.stat(location.url).st_mode):
            return False  # a pipe would be waited for
        with open(location.url, "rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


def format_of(task: FileTask, settings: Settings) -> Format:
    """The format that was asked for, or that the first file's content tells.

    :raises UnsupportedArchiveError: it holds no stanza that we know of.
    :raises CorruptArchiveError: a file of its group is missing.
    """
    with open_source(task.sources[0]) as file:
        found = recognise_file(file, settings.recoding, dict(settings.options), settings.format)
    if found is None:
        raise UnsupportedArchiveError(NO_STANZA if task.size else "it is empty")
    wanted = found.companions(task.sources[0].name)
    if wanted != tuple(source.name for source in task.sources[1:]):
        raise CorruptArchiveError(f"{found.title}: it needs {', '.join(wanted)} beside it")
    return found


@functools.cache
def _candidates(name: str | None, options: tuple[tuple[str, Any], ...]) -> tuple[Format, ...]:
    return formats(dict(options)) if name is None else (format_named(name, dict(options)),)


def companions_of(source: Location, settings: Settings) -> tuple[str, ...]:
    """The names of the files beside it that must be recoded together with it."""
    for candidate in _candidates(settings.format, settings.options):
        names = candidate.companions(source.name)
        if names and all(exists(source.sibling(name)) for name in names):
            with contextlib.suppress(XEP419Error), open_source(source) as file:
                if candidate.recognises(file.read(HEAD), settings.recoding):
                    return names
    return ()


class Prepared:
    """One task, being done: what is written of it, and what it came to."""

    def __init__(self, task: FileTask, settings: Settings, tally: Tally) -> None:
        self._task = task
        self._settings = settings
        self.tally = tally
        self._format: Format | None = None
        self._replacements: list[Replacement] = []
        self._before = "-" if task.is_link else fingerprints(task.sources)

    def recode(self, advance: Advance, form: Format | None = None) -> None:
        """Writes the recoded files."""
        form = form or format_of(self._task, self._settings)
        tally = Tally()
        with self._opened(advance) as (sources, targets):
            form.recode(sources, targets, self._settings.recoding, tally)
            if not self._settings.dry_run:
                tally.bytes_written = sum(target.tell() for target in targets)
        tally.bytes_read = self._task.size
        file = self._task.sources[0]
        tally.skips[:] = [skip._replace(place=f"{file}: {skip.place}") for skip in tally.skips]
        self.tally = tally
        self._format = form

    def leave(self, tally: Tally, advance: Advance) -> None:
        """The files as they are: where they are, or copied, so that the target is complete."""
        self.discard()
        self.tally = tally
        self._format = None
        if self._task.in_place or self._settings.dry_run:
            return
        try:
            with self._opened(_as_a_sign_of_life(advance)) as (sources, targets):
                for source, target in zip(sources, targets, strict=True):
                    copy(source, target)
        except BaseException:
            self.discard()
            raise

    @contextlib.contextmanager
    def _opened(self, advance: Advance) -> Iterator[tuple[list[io.BufferedReader], list[IO[bytes]]]]:
        with contextlib.ExitStack() as files:
            sources = [files.enter_context(open_source(one, advance)) for one in self._task.sources]
            if self._settings.dry_run:
                yield sources, [cast(IO[bytes], Nowhere()) for _source in sources]
                return
            for source, target in zip(self._task.sources, self._task.targets, strict=True):
                self._replacements.append(Replacement(target, self._settings.token, like=source))
            yield sources, [one.file for one in self._replacements]

    def discard(self) -> None:
        for replacement in self._replacements:
            replacement.discard()
        self._replacements = []

    def make_durable(self) -> None:
        for replacement in self._replacements:
            replacement.complete()

    def completed(self, advance: Advance) -> Outcome:
        """Proves the files from what the storage holds, and says what became of them. They are durable by now."""
        if self._replacements and self._format is not None:
            if self._settings.verify:
                try:
                    written = [one.temporary for one in self._replacements]
                    prove(self._format, self._task.sources, written, self.tally, self._settings, advance)
                except ArchiveError:
                    raise  # the storage failed, not the proof
                except XEP419Error as error:
                    self._give_up(f"verification failed: {error.message}", error.offset)
            if fingerprints(self._task.sources) != self._before:
                self._give_up(CHANGED, None)
        moves = tuple(Move(one.temporary, one.target) for one in self._replacements)
        return Outcome(self._task.key, self._before, self.tally, moves, self._task.targets)

    def _give_up(self, reason: str, offset: int | None) -> None:
        self.leave(skipped(self._task.sources[0], reason, offset), ignore)
        self.make_durable()


def _as_a_sign_of_life(advance: Advance) -> Advance:
    """Lets an engine end what reads without bytes that count."""
    return lambda _count: advance(0)


def prove(
    form: Format,
    sources: Sequence[Location],
    results: Sequence[Location],
    tally: Tally,
    settings: Settings,
    advance: Advance,
) -> None:
    """Reads both sides again, and compares what they come to with the tally of the recoding.

    :param advance: told of each read, but of no bytes: these were counted when they were recoded.
    :raises XEP419Error: something was lost or is not as it should be.
    """
    with contextlib.ExitStack() as files:
        proved = form.prove(
            [files.enter_context(open_source(one, _as_a_sign_of_life(advance))) for one in sources],
            [files.enter_context(open_source(one)) for one in results],
            settings.recoding,
        )
    expected = tally.letters if settings.recoding.upgrade else 0
    if proved.letters != expected:
        raise RestorationError(f"{expected} inserted letters are expected, got {proved.letters}")
    if proved.stanzas is not None and proved.stanzas != tally.stanzas:
        raise RestorationError(f"{tally.stanzas} stanzas are expected, got {proved.stanzas}")
