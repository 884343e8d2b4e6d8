"""Large XML documents in slices that workers rewrite side by side into one file.

The planner reads the document once, ahead of the workers: it checks that it is well-formed, counts the names, and cuts
between first-level elements. Since it knows how many letters each slice will gain, it knows where each begins in the
result, and workers write straight into place. Within a slice the scanner needs to know of what is open before it
nothing but the start tag of the root, which it is given first.

A worker that was taken for dead, or outlived its coordinator, may write at any time, so the file that is put in place
must be out of its reach: workers hold a shared lock while they write, and the coordinator *seals* the file, that is
renames it while it holds the lock alone. Who comes later finds no file of that name, or another one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import IO, NamedTuple

from .._replacing import sync_directory
from ..errors import ArchiveError, CorruptArchiveError, RestorationError, XEP419Error
from ..namespaces import NamespaceCensus
from ..stream import DocumentChecker
from .containers import recognise_file
from .files import CHANGED, FileTask, fingerprints, leave, skipped
from .formats import CHUNK, HEAD
from .formats.xml import XMLDocument, is_stream, match_pieces
from .journal import Move
from .recoding import MAX_MARKUP, Recoding
from .storage import Location, Replacement, exists, naming, open_source, shared_temporary_for, size_of, temporary_for
from .tally import Tally
from .work import Advance, Outcome, Settings, Waiting, ignore

#: bytes of source from which a document is cut, and about how many a slice has
SPLIT = 256 << 20
SLICE = 64 << 20
#: seconds to wait for workers of an earlier run that still write; a lost client's locks on NFS take 90 to expire
STRAGGLERS = 120


class Cut(NamedTuple):
    """One slice: bytes ``[start, end)`` of the source, to be written from ``place`` on; ``[0, header)`` is replayed."""

    start: int
    end: int
    place: int
    header: tuple[int, int]
    letters: int


class Planned(NamedTuple):
    """What the planner learned of the whole document once it has read all of it."""

    size: int
    tally: Tally


def is_splittable(source: Location, size: int, settings: Settings) -> bool:
    """Whether a local file is large enough, and an XML document as it lies there."""
    if size < SPLIT or settings.dry_run or not settings.recoding.check:
        return False
    if settings.format not in (None, XMLDocument.name):
        return False
    with contextlib.suppress(XEP419Error), open_source(source) as file:
        return isinstance(recognise_file(file, settings.recoding, dict(settings.options)), XMLDocument)
    return False  # the worker that is given it whole tells why


def plan(source: Location, recoding: Recoding) -> Iterator[Cut | Planned]:
    """The cuts of a document in order, and what was learned of it at last.

    :raises XEP419Error: it is not well-formed.
    """
    census = NamespaceCensus()
    start = place = letters = read = 0
    header = (0, 0)
    with open_source(source) as file:
        checker = DocumentChecker(max_markup=MAX_MARKUP, stream=is_stream(recoding.plain(file.peek(HEAD)[:HEAD])))
        while piece := file.read(CHUNK):
            piece = recoding.plain(piece)
            checker.feed(piece)
            end = checker.boundary
            if end - start >= SLICE:
                census.update(memoryview(piece)[: end - read])
                gained = census.insecure - letters if recoding.upgrade else 0
                yield Cut(start, end, place, header, gained)
                letters = census.insecure
                place += end - start + gained
                start, header = end, checker.header or (0, 0)
                census.update(memoryview(piece)[end - read :])
            else:
                census.update(piece)
            read += len(piece)
        checker.finalize()
        census.finalize()
    gained = census.insecure - letters if recoding.upgrade else 0
    yield Cut(start, read, place, header, gained)
    tally = Tally(stanzas=checker.stanzas, bytes_read=read, bytes_written=place + read - start + gained)
    tally.count(census.counts())
    yield Planned(place + read - start + gained, tally)


@dataclasses.dataclass(frozen=True)
class SliceUnit:
    """One slice of one document."""

    key: str
    source: Location
    temporary: Location
    cut: Cut
    settings: Settings
    #: what the journal keeps of the slice
    description: str

    @property
    def size(self) -> int:
        return self.cut.end - self.cut.start

    @property
    def name(self) -> str:
        return str(self.source)

    def divided(self) -> tuple[None, SliceUnit]:
        return None, self

    def run(self, advance: Advance = ignore, waiting: Waiting = contextlib.nullcontext) -> list[Outcome]:
        tally = Tally()
        try:
            self._write(advance, waiting)
            if self.settings.verify:
                self._prove()
        except ArchiveError:
            raise
        except XEP419Error as error:
            offset = None if error.offset is None else error.offset + self.cut.start
            tally.skip(str(self.source), f"verification failed: {error.message}", offset)
        except OSError as error:
            raise ArchiveError(f"{self.temporary}: {error.strerror or error}") from error
        return [Outcome(self.key, self.description, tally, part=self.cut.start)]

    def _write(self, advance: Advance, waiting: Waiting) -> None:
        cut = self.cut
        recoder = self.settings.recoding.incremental()
        with _writing(self.temporary) as target:
            with open_source(self.source, advance) as file:
                file.seek(cut.header[0])
                header = file.read(cut.header[1] - cut.header[0])
                replayed = recoder.update(header)
                surplus = len(self.settings.recoding.stanza(header)) - len(replayed)
                place = cut.place
                for piece in _pieces(file, cut.start, cut.end):
                    place += _write_at(target, recoder.update(piece)[surplus:], place)
                    surplus = 0
                place += _write_at(target, recoder.finalize(), place)
            with waiting():
                os.fdatasync(target)
        gained = place - cut.place - self.size
        if gained != cut.letters:
            raise RestorationError(f"{cut.letters} inserted letters are expected, got {gained}")

    def _prove(self) -> None:
        cut = self.cut
        with open_source(self.source) as source, open_source(self.temporary) as target:
            letters = match_pieces(
                _pieces(source, cut.start, cut.end),
                _pieces(target, cut.place, cut.place + self.size + cut.letters),
                self.settings.recoding,
            )
        if letters != cut.letters:
            raise RestorationError(f"{cut.letters} inserted letters are expected, got {letters}")


def _pieces(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Bytes ``[start, end)`` of a file."""
    file.seek(start)
    while start < end:
        piece = file.read(min(CHUNK, end - start))
        if not piece:
            raise CorruptArchiveError("the file became shorter while it was read", offset=start)
        start += len(piece)
        yield piece


@contextlib.contextmanager
def _writing(temporary: Location) -> Iterator[int]:
    """The file that slices go into, which is not sealed as long as it is open here."""
    import fcntl

    file = os.open(temporary.url, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(file), os.stat(temporary.url)):  # sealed or begun anew since it was opened
            raise ArchiveError(f"{temporary}: a later run has taken the document over")
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _alone(temporary: Location) -> Iterator[None]:
    """While nobody writes slices into the file.

    :raises ArchiveError: somebody does not stop.
    """
    import fcntl

    deadline = time.monotonic() + STRAGGLERS
    file = os.open(temporary.url, os.O_RDWR)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ArchiveError(f"{temporary}: a worker of an earlier run still writes to it: end it") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(file)


def _write_at(file: int, data: bytes, place: int) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(file, memoryview(data)[done:], place + done)
    return done


class SlicedFile:
    """One large document on its way through the engine: what is planned of it, and what has come back.

    ``done_before`` are slices that an earlier run made durable, by their first byte. They count (:attr:`goes_on`) while
    the source is the same and the file that they are in is there; :meth:`open` must be called before :meth:`units`.
    """

    def __init__(self, task: FileTask, settings: Settings, done_before: dict[int, str]) -> None:
        self.task = task
        self._settings = settings
        self._before = fingerprints(task.sources)
        self._waiting: set[int] = set()
        self._planned: Planned | None = None
        self._fault: XEP419Error | None = None
        self._temporary = shared_temporary_for(task.targets[0], settings.token, self._before)
        same_source = all(known.startswith(f"{self._before} ") for known in done_before.values())
        self.goes_on = bool(done_before) and same_source and exists(self._temporary)
        self._done_before = done_before if self.goes_on else {}
        self._replacement: Replacement | None = None
        #: bytes of the source that no unit was made for
        self.passed_over = task.size

    def open(self) -> None:
        """Makes the file that the slices are written to, or takes the one that is there."""
        task = self.task
        self._replacement = Replacement(
            task.targets[0],
            self._settings.token,
            temporary=self._temporary,
            keep=self.goes_on,
            like=task.sources[0],
        )

    def units(self) -> Iterator[SliceUnit]:
        """The slices that are still to be done, as the planner comes to them."""
        try:
            for step in plan(self.task.sources[0], self._settings.recoding):
                if isinstance(step, Planned):
                    self._planned = step
                elif self._done_before.get(step.start) != self.describe(step):
                    self._waiting.add(step.start)
                    self.passed_over -= step.end - step.start
                    yield SliceUnit(
                        self.task.key, self.task.sources[0], self._temporary, step, self._settings, self.describe(step)
                    )
                if self._fault is not None:
                    return
        except ArchiveError:
            raise
        except XEP419Error as error:
            self._fault = error

    def describe(self, cut: Cut) -> str:
        """What the journal keeps of a slice: it counts as done only for the same source, cut in the same way."""
        return f"{self._before} {self._temporary.name} {tuple(cut)}"

    def take(self, outcome: Outcome) -> None:
        """A slice came back."""
        assert outcome.part is not None
        self._waiting.discard(outcome.part)
        if outcome.tally.skipped:
            skip = outcome.tally.skips[0]
            self._fault = self._fault or RestorationError(skip.reason, offset=skip.offset)

    @property
    def is_complete(self) -> bool:
        return not self._waiting and (self._planned is not None or self._fault is not None)

    def is_sound(self) -> bool:
        """Whether the complete document may take its place; else it is left as it was."""
        if self._fault is None and self._planned is not None:
            size = size_of(self._temporary)
            if fingerprints(self.task.sources) != self._before:
                self._fault = CorruptArchiveError(CHANGED)
            elif size != self._planned.size:
                self._fault = RestorationError(f"{self._planned.size} bytes are expected to be written, got {size}")
        return self._fault is None

    def outcome(self) -> Outcome:
        """What became of the document, once it is complete."""
        assert self._replacement is not None
        if self._fault is not None:
            self._replacement.discard()
            reason = skipped(self.task.sources[0], self._fault.message, self._fault.offset)
            return leave(self.task, self._settings, reason)
        assert self._planned is not None
        move = Move(self._seal(self._replacement), self._replacement.target)
        return Outcome(self.task.key, self._before, self._planned.tally, (move,), self.task.targets)

    def _seal(self, replacement: Replacement) -> Location:
        """Makes the file durable, out of the reach of whoever may still be writing to it, and gives its new name."""
        sealed = temporary_for(self.task.targets[0], self._settings.token)
        with naming(self._temporary), _alone(self._temporary):
            replacement.complete()
            os.rename(self._temporary.url, sealed.url)
        sync_directory(os.path.dirname(sealed.url))  # before the journal says that it is there
        return sealed

    def abandon(self) -> None:
        """The job ends before the document does; what slices are durable stays for the next run."""
        if self._replacement is not None:
            self._replacement.close()
