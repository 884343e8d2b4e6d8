"""Re-encrypting, scanning, verifying archives and telling how a job stands: what ``xep419.archive`` offers.

Turns what the caller names (paths, URLs, databases) into roots, and runs a job over each.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import ArchiveError
from . import database_job
from .copying import copying_rate
from .database_job import DatabaseJob, is_database, sqlite_path
from .engines import Engine
from .files import companions_of
from .formats import ArchivedStanza
from .job import FilesJob, refuse_without_stanza, stored_stanzas
from .journal import Status, journal_for, read_status
from .proving import ProvingUnit
from .recoding import Recoding
from .report import Report
from .roots import Root
from .storage import Location, exists, is_directory, is_within, resolved, walk
from .work import Observer, Settings, Silent

#: what the files and databases of an archive may be in; what some of the formats can be told
FORMATS = (
    "xml", "jsonl", "prosody-internal", "prosody-xmlarchive", "xep0227", "parquet", "arrow",
    "prosody", "ejabberd", "openfire",
)  # fmt: skip
OPTIONS = ("field", "column")

Source = str | os.PathLike[str]
EngineName = Literal["local", "dask"]


def reencrypt(
    sources: Source | Sequence[Source],
    target: Source | None = None,
    *,
    in_place: bool = False,
    format: str | None = None,
    options: dict[str, Any] | None = None,
    rounds_from: int = 0,
    rounds_to: int = 2,
    upgrade: bool = True,
    verify: bool = True,
    dry_run: bool = False,
    restart: bool = False,
    while_in_use: bool = False,
    jobs: int | None = None,
    engine: EngineName | Engine = "local",
    scheduler: str | None = None,
    journal: Source | None = None,
    compare: bool = False,
    observer: Observer | None = None,
) -> Report:
    """Upgrades the namespaces of an archive and encrypts its stanzas with Double ROT-13 (XEP-0419).

    :param sources: files, directories, fsspec URLs; databases as SQLAlchemy URLs or as an SQLite file's path.
    :param target: where the result goes: for one source its counterpart, for several a directory to hold each under
        its own name. What holds no stanza is copied, so that the target is complete.
    :param in_place: replaces the sources instead.
    :param format: a format's name; by default each file's content tells.
    :param options: the format's own, such as ``{"field": "stanza"}``.
    :param rounds_from: rotations that the stanzas came with.
    :param rounds_to: rotations that they leave with.
    :param upgrade: whether insecure namespace names become secure.
    :param verify: checks that what is read is well-formed, and proves from what was written that nothing was lost.
    :param dry_run: reads and counts, and writes nothing.
    :param restart: forgets what an earlier job journalled; by default it is gone on with. Refused, in place, where what
        that job left would be rotated twice.
    :param while_in_use: goes on where another process has an SQLite database open. Prosody and ejabberd do not wait
        for one that is being written: they lose messages that come in these instants.
    :param jobs: units at once, by default one for each processor.
    :param engine: ``"local"`` (threads and processes of this machine) or ``"dask"`` (see ``scheduler``).
    :param scheduler: the address of a Dask scheduler; by default a cluster of this machine's processors.
    :param journal: where the journal is kept, outside of the sources and the target; by default beside the target.
    :param compare: measures afterwards how fast a sample of the same bytes is copied (``Report.copying``).
    :param observer: is told how the job goes on.
    :raises UnsupportedArchiveError: a source, a single file or a database, holds no stanza that we know of. What is met
        below a directory is left alone instead.
    :raises ArchiveError: the job cannot go on. What is done stays done; the same call goes on from there.
    :raises ValueError: sources, target and journal cannot be meant together.
    """
    roots = _roots(_as_list(sources), target, in_place or (dry_run and target is None))
    jobs_roots = _sharing_journals(roots, target)
    if journal is not None and len(jobs_roots) > 1:
        raise ValueError("one journal is for one source in place")
    sides = [side for root in roots for side in (root.source, root.target)]
    if journal is not None and any(is_within(Location.of(journal), side) for side in sides):
        raise ValueError(f"{journal}: the journal must lie outside of the sources and the target")
    recoding = Recoding(rounds_from, rounds_to, upgrade, check=verify)
    settings = Settings(recoding, "", verify, dry_run, _known(format), _as_options(options), while_in_use)
    report = _report("dry run" if dry_run else "reencrypt", roots, target, settings)
    _refuse_without_stanza(roots, settings)
    with _running(report, _engine(engine, jobs, scheduler)) as chosen:
        if dry_run:
            _rehearse(roots, settings, chosen, report, observer or Silent())
            return report
        for place, shared in jobs_roots:
            path = Path(journal) if journal is not None else _journal_path(place)
            job = _job(shared, settings, chosen, report, observer or Silent())
            job.run(path, restart=restart)
    if compare and report.bytes_worked_on:
        report.copying = copying_rate(roots)
    return report


def scan(
    sources: Source | Sequence[Source],
    *,
    format: str | None = None,
    options: dict[str, Any] | None = None,
    rounds_from: int = 0,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> Report:
    """Counts the stanzas and namespaces of an archive, and where else names stand that no job touches.

    The parameters are :func:`reencrypt`'s.
    """
    roots = _roots(_as_list(sources), None, True)
    settings = Settings(Recoding(rounds_from), "", True, True, _known(format), _as_options(options))
    report = _report("scan", roots, None, settings)
    _refuse_without_stanza(roots, settings)
    with _running(report, _engine("local", jobs, None)) as engine:
        _rehearse(roots, settings, engine, report, observer or Silent())
    return report


def verify(
    sources: Source | Sequence[Source],
    target: Source,
    *,
    format: str | None = None,
    options: dict[str, Any] | None = None,
    rounds_from: int = 0,
    rounds_to: int = 2,
    upgrade: bool = True,
    jobs: int | None = None,
    observer: Observer | None = None,
) -> Report:
    """Proves that a target holds what :func:`reencrypt` should have made of the sources, reading both again.

    The parameters are :func:`reencrypt`'s. What differs or is missing counts as skipped, with the reason.
    """
    roots = _roots(_as_list(sources), target, False)
    settings = Settings(Recoding(rounds_from, rounds_to, upgrade), "", True, True, _known(format), _as_options(options))
    report = _report("verify", roots, target, settings)
    _existing(target)
    _refuse_without_stanza(roots, settings)
    with _running(report, _engine("local", jobs, None)) as engine:
        FilesJob(_files(roots), settings, engine, report, observer or Silent(), ProvingUnit).run(Path(), restart=False)
        for root in roots:
            if root.is_database:
                database_job.prove(root, settings, report)
    return report


def stanzas(
    source: Source,
    *,
    format: str | None = None,
    options: dict[str, Any] | None = None,
    rounds_from: int = 0,
) -> Iterator[ArchivedStanza]:
    """Every stanza of an archive as it is stored, rotated back, with its place; corrupt ones come as they are.

    The parameters are :func:`reencrypt`'s. Of a directory, files without a stanza are passed over.

    :raises UnsupportedArchiveError: the source, a single file, holds no stanza that we know of.
    :raises ArchiveError: it cannot be read.
    """
    (root,) = _roots([source], None, True)
    settings = Settings(Recoding(rounds_from), "", True, True, _known(format), _as_options(options))
    if root.is_database:
        return database_job.stanzas(root, settings)
    return stored_stanzas(root, settings)


def companions(source: Source) -> tuple[str, ...]:
    """The names of the files beside a file that only make sense together with it, as an index and what it points to."""
    return companions_of(Location.of(source), Settings(Recoding(), ""))


def size(sources: Source | Sequence[Source]) -> int:
    """Bytes of the files that a job over the sources goes over, as far as they can be listed; databases tell none."""
    found = 0
    for source in _as_list(sources):
        with contextlib.suppress(ArchiveError):
            found += 0 if is_database(source) else sum(entry.size for entry in walk(Location.of(source)))
    return found


def status(target: Source, *, journal: Source | None = None) -> Status:
    """How the job on a target stands.

    :raises ArchiveError: no job was begun on it.
    """
    location = _location(target)
    return read_status(Path(journal) if journal is not None else _journal_path(location))


# -- shared ---------------------------------------------------------------------------------------------------


def _report(operation: str, roots: list[Root], target: Source | None, settings: Settings) -> Report:
    recoding = settings.recoding
    return Report(
        operation,
        [str(root.source) for root in roots],
        None if target is None else str(_location(target)),
        {
            "rounds_from": recoding.rounds_from,
            "rounds_to": recoding.rounds_to,
            "upgrade": recoding.upgrade,
            "verify": settings.verify,
            "format": settings.format,
            "options": dict(settings.options),
            "while_in_use": settings.while_in_use,
        },
    )


@contextlib.contextmanager
def _running(report: Report, engine: Engine) -> Iterator[Engine]:
    started = time.perf_counter()
    try:
        yield engine
    finally:
        engine.close()
        report.seconds = time.perf_counter() - started


def _known(format: str | None) -> str | None:
    """:raises ValueError: no format has that name, nor has a database's schema."""
    if format is not None and format not in FORMATS:
        raise ValueError(f"expected a format out of {', '.join(FORMATS)}, got {format!r}")
    return format


def _as_options(options: dict[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """:raises ValueError: no format has such an option."""
    for name, value in (options or {}).items():
        if name not in OPTIONS or not isinstance(value, str):
            raise ValueError(f"expected options out of {', '.join(OPTIONS)}, each a name, got {name!r}: {value!r}")
    return tuple(sorted((options or {}).items()))


def _as_list(sources: Source | Sequence[Source]) -> list[Source]:
    named = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    if not named:
        raise ValueError("no source is named")
    return named


def _roots(sources: list[Source], target: Source | None, in_place: bool) -> list[Root]:
    if in_place == (target is not None):
        raise ValueError("expected either a target or in_place, got " + ("both" if in_place else "neither"))
    locations = [_existing(source) for source in sources]
    databases = [is_database(source) for source in sources]
    if target is None:
        for kind in (False, True):  # a job over a directory does not touch the databases in it
            _refuse_nested([place for place, one in zip(locations, databases, strict=True) if one is kind])
        return [Root(place, place, "", kind) for place, kind in zip(locations, databases, strict=True)]
    for location, kind in zip(locations, databases, strict=True):
        if kind and not location.is_local:
            raise ValueError(f"{location}: a database that is named by its URL is re-encrypted in place")
    into = _location(target)
    if len(locations) == 1 and not _names_directory(locations[0], target):
        roots = [Root(locations[0], into, "", databases[0])]
    else:
        roots = [
            Root(place, into.child(place.name), place.name, kind)
            for place, kind in zip(locations, databases, strict=True)
        ]
    _refuse_overlaps(roots)
    if roots[0].name:
        _refuse_other_kind(into, wants_directory=True)
    for root in roots:
        _refuse_other_kind(root.target, wants_directory=is_directory(root.source))
    return roots


def _files(roots: list[Root]) -> list[Root]:
    return [root for root in roots if not root.is_database]


def _refuse_without_stanza(roots: list[Root], settings: Settings) -> None:
    """What was named itself must be an archive; nothing is read or written of the others before that is known."""
    refuse_without_stanza(_files(roots), settings)
    for root in roots:
        if root.is_database:
            database_job.refuse_without_stanza(root, settings)


def _rehearse(roots: list[Root], settings: Settings, engine: Engine, report: Report, observer: Observer) -> None:
    """Reads and counts everything, and changes nothing."""
    FilesJob(_files(roots), settings, engine, report, observer).run(Path(), restart=False)
    for root in roots:
        if root.is_database:
            database_job.rehearse(root, settings, report)


def _job(
    roots: list[Root], settings: Settings, engine: Engine, report: Report, observer: Observer
) -> FilesJob | DatabaseJob:
    if roots[0].is_database:
        return DatabaseJob(roots[0], settings, engine, report, observer)
    return FilesJob(roots, settings, engine, report, observer)


def _existing(source: Source) -> Location:
    location = _location(source)
    if not is_database(source) and not exists(location):
        raise ArchiveError(f"{location}: there is no such file or directory")
    return location


def _location(place: Source) -> Location:
    """A place; an SQLite file's is its path, however it is named: its jobs share a journal."""
    return Location(path) if (path := sqlite_path(place)) else Location.of(place)


def _names_directory(source: Location, target: Source) -> bool:
    """Whether one file is to go into a directory, under its own name."""
    if is_directory(source):
        return False
    return os.fspath(target).endswith("/") or is_directory(_location(target))


def _refuse_nested(sources: list[Location]) -> None:
    """What is named twice would be rotated twice in place, and counted twice."""
    seen: dict[str, Location] = {}
    for source in sources:
        place = f"{resolved(source)}/"
        for other, named in seen.items():
            if place.startswith(other) or other.startswith(place):
                raise ValueError(f"{named} and {source} are the same, or one within the other: name it once")
        seen[place] = source


def _refuse_overlaps(roots: list[Root]) -> None:
    """A job must not read what it writes."""
    seen: set[str] = set()
    for root in roots:
        target = resolved(root.target)
        if target in seen:
            raise ValueError(f"two sources would both be written to {root.target}")
        seen.add(target)
        if is_within(root.target, root.source) or is_within(root.source, root.target):
            raise ValueError(f"{root.source} and {root.target} are one within the other: choose another target")


def _refuse_other_kind(target: Location, *, wants_directory: bool) -> None:
    """What is there already must be what it is to become; a device or a pipe would be replaced by a file."""
    if not target.is_local or not os.path.exists(target.url):
        return
    if not (os.path.isdir if wants_directory else os.path.isfile)(target.url):
        kind = "directory" if wants_directory else "file"
        raise ArchiveError(f"{target}: a {kind} is expected there, or nothing: choose another target")


def _sharing_journals(roots: list[Root], target: Source | None) -> list[tuple[Location, list[Root]]]:
    """The roots of each journal, and the place that it is beside: the target as it was named, or a source in place."""
    files = _files(roots)
    alone = [root for root in roots if root.is_database]
    if target is None or len(roots) == 1:
        return [(root.target, [root]) for root in roots]
    return [(_location(target), files)] * bool(files) + [(root.target, [root]) for root in alone]


def _journal_path(target: Location) -> Path:
    return journal_for(str(target), target if target.is_local else None)


def _engine(name: EngineName | Engine, jobs: int | None, scheduler: str | None) -> Engine:
    if not isinstance(name, str):
        return name
    if name == "local":
        if scheduler is not None:
            raise ValueError("a scheduler is for engine='dask'")
        from .engines.local import LocalEngine

        return LocalEngine(jobs)
    if name == "dask":
        from .engines.dask import DaskEngine

        return DaskEngine(scheduler, jobs)
    raise ValueError(f"expected engine 'local' or 'dask', got {name!r}")
