"""What a job has done so far, on disk: which units, with what result, and which replacements were about to be made.

One SQLite file for each target, beside it, or in the state directory for a target that is not local. Written by the
coordinator alone; it decides nothing. A lock beside it keeps two jobs from one target.

A unit goes through two writes: *intended* once its new files are complete under temporary names, *done* once they are
in place (see ``placing``). So each unit is done once, whatever happens.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ArchiveError
from .storage import JOURNAL, Location
from .tally import Tally

#: the layout below; a journal of another one is refused
VERSION = 1
#: times that a lock is tried for, and seconds between: who asks for the status of a job holds it for an instant
_LOCK_TRIES, _LOCK_PAUSE = 5, 0.02

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unit (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, moves TEXT NOT NULL,
    tally TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slice (
    key TEXT NOT NULL, start INTEGER NOT NULL, place TEXT NOT NULL, PRIMARY KEY (key, start)
) WITHOUT ROWID;
"""


class Move(NamedTuple):
    """A complete temporary and the place it is for."""

    temporary: Location
    target: Location


class Record(NamedTuple):
    """A unit as journalled. ``before`` and ``after`` are the fingerprints of its sources and targets.

    Of a unit that is intended, ``after`` is what its targets will have, where that is known.
    """

    key: str
    before: str
    after: str
    moves: tuple[Move, ...]
    tally: Tally


def journal_for(identity: str, local: Location | None) -> Path:
    """Where the journal of a target is: beside a local one, else in the state directory under its identity's hash."""
    if local is not None:
        path = Path(os.path.realpath(local.url))  # the same however the target is named
        return path.with_name(path.name + JOURNAL)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "xep419" / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}{JOURNAL}"


class Journal:
    """The journal of one target, opened for one job.

    :raises ArchiveError: another job has it, it is not a journal, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        with self._failing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        try:
            with self._failing():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # URLs in it may hold passwords
                self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._prepare()
        except BaseException:
            self._release_lock()
            raise

    def _prepare(self) -> None:
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
            self._check_version()
        except BaseException:
            self._database.close()
            raise

    def _check_version(self) -> None:
        came = self.facts().get("settings", {}).get("version", VERSION)
        if came != VERSION:
            raise ArchiveError(
                f"{self.path}: a journal of version {VERSION} is expected, not of {came}: end that job with the release"
                " of xep419 that began it"
            )

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ArchiveError(f"{self.path}: the job's journal cannot be used: {error}") from error

    @property
    def lock_path(self) -> Path:
        return self.path.with_name(self.path.name + "-lock")

    def _take_lock(self) -> None:
        import fcntl

        tries = 0
        while True:
            lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.exists(self.lock_path) and os.path.samestat(os.fstat(lock), os.stat(self.lock_path)):
                    break  # else the job that had it has just removed it
            except BlockingIOError:
                holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
                tries += 1
                if tries == _LOCK_TRIES:
                    os.close(lock)
                    message = f"{self.path}: another job is at work on this target (process {holder})"
                    raise ArchiveError(message) from None
                time.sleep(_LOCK_PAUSE)
            os.close(lock)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.lock_path)
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        try:
            with self._failing():
                self._database.close()
        finally:
            self._release_lock()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # -- the job ----------------------------------------------------------------------------------------------

    def begin(self, settings: dict[str, Any], token: str, *, restart: bool) -> str:
        """Opens the job, or goes on with it, and returns its token.

        :param settings: what makes two jobs the same.
        :raises ArchiveError: the journal is of a job with other settings, and ``restart`` is not given.
        """
        facts = self.facts()
        wanted = {"version": VERSION, **settings}
        if facts and not restart:
            came = facts.get("settings")
            if came == wanted:
                return str(facts["token"])
            differing = sorted(key for key in wanted if not isinstance(came, dict) or came.get(key) != wanted[key])
            raise ArchiveError(
                f"{self.path}: this target was begun by a job with other settings ({', '.join(differing)});"
                " run it with the same ones, or begin anew with --restart"
            )
        with self._failing():
            self._database.execute("BEGIN IMMEDIATE")
            for table in ("job", "unit", "slice"):
                self._database.execute(f"DELETE FROM {table}")
            self._write_facts({"settings": wanted, "token": token, "started": time.time(), "finished": None})
            self._database.execute("COMMIT")
        return token

    def facts(self) -> dict[str, Any]:
        """What is known of the job: settings, token, when it was started and finished."""
        with self._failing():
            return {name: json.loads(value) for name, value in self._database.execute("SELECT * FROM job")}

    def _write_facts(self, facts: dict[str, Any]) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO job VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()]
        )

    def finish(self) -> None:
        """The job is done, all of it."""
        with self._failing():
            self._write_facts({"finished": time.time()})

    def reopen(self) -> None:
        """A run begins, which may find more to do."""
        with self._failing():
            self._write_facts({"finished": None})

    # -- units ------------------------------------------------------------------------------------------------

    def lookup(self, key: str) -> Record | None:
        """The unit as it was done, or None."""
        with self._failing():
            row = self._database.execute("SELECT * FROM unit WHERE key = ? AND state = 'done'", (key,)).fetchone()
        return None if row is None else _as_record(row)

    def intended(self) -> list[Record]:
        """Units that were about to be put in place when the job ended."""
        with self._failing():
            rows = self._database.execute("SELECT * FROM unit WHERE state = 'intended'").fetchall()
        return [_as_record(row) for row in rows]

    def forget(self, key: str) -> None:
        """The unit is to be done again."""
        with self._failing():
            self._database.execute("DELETE FROM unit WHERE key = ?", (key,))

    def forget_units(self, *, but: str = "") -> None:
        """All units, but for one, are to be done again."""
        with self._failing():
            self._database.execute("DELETE FROM unit WHERE key <> ?", (but,))

    def all_done(self) -> Iterator[Record]:
        """Every unit that is done, in the order of their keys."""
        with self._failing():
            for row in self._database.execute("SELECT * FROM unit WHERE state = 'done' ORDER BY key"):
                yield _as_record(row)

    def intend(self, records: Iterable[Record]) -> None:
        self._write(records, "intended")

    def done(self, records: Iterable[Record]) -> None:
        self._write(records, "done")

    def _write(self, records: Iterable[Record], state: str) -> None:
        rows = [
            (
                record.key,
                state,
                record.before,
                record.after,
                json.dumps([[move.temporary.url, move.target.url] for move in record.moves]),
                json.dumps(record.tally.as_dict()),
            )
            for record in records
        ]
        with self._failing():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO unit VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._database.executemany("DELETE FROM slice WHERE key = ?", [row[:1] for row in rows])
            self._database.execute("COMMIT")

    # -- slices of a large file -------------------------------------------------------------------------------

    def slice_done(self, key: str, start: int, place: str) -> None:
        """The slice of the unit ``key`` that begins at byte ``start`` is durable in the temporary at ``place``."""
        with self._failing():
            self._database.execute("INSERT OR REPLACE INTO slice VALUES (?, ?, ?)", (key, start, place))

    def slices(self, key: str) -> dict[int, str]:
        """The slices of a unit that are done, by their first byte."""
        with self._failing():
            return dict(self._database.execute("SELECT start, place FROM slice WHERE key = ?", (key,)).fetchall())

    def forget_slices(self, key: str) -> None:
        """All slices of the unit are to be done again."""
        with self._failing():
            self._database.execute("DELETE FROM slice WHERE key = ?", (key,))


class Status(NamedTuple):
    """A job as its journal tells it, while it runs or afterwards."""

    path: Path
    settings: dict[str, Any]
    started: float
    finished: float | None
    running: bool
    units: int
    tally: Tally

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        state = "running" if self.running else "done" if self.finished is not None else "interrupted"
        return {**self._asdict(), "path": str(self.path), "state": state, "tally": self.tally.as_dict()}


def read_status(path: Path) -> Status:
    """Reads a journal without disturbing the job that writes it.

    :raises ArchiveError: there is none, or it is not one.
    """
    if not path.exists():
        raise ArchiveError(f"{path}: there is no journal: no job was begun on this target")
    tally, units = Tally(), 0
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?{_mode_to_read(path)}", uri=True)
        with contextlib.closing(database):
            database.execute("PRAGMA query_only = 1")
            facts = {name: json.loads(value) for name, value in database.execute("SELECT * FROM job")}
            for (counts,) in database.execute("SELECT tally FROM unit WHERE state = 'done'"):
                tally.add(Tally.from_dict(json.loads(counts)))
                units += 1
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise ArchiveError(f"{path}: this is not a journal of ours: {error}") from error
    if "settings" not in facts:
        raise ArchiveError(f"{path}: this is not a journal of ours: it names no job")
    return Status(path, facts["settings"], facts["started"], facts["finished"], _is_locked(path), units, tally)


def _mode_to_read(path: Path) -> str:
    """How SQLite opens a journal for its reader: one that may write takes its own files away again when it closes."""
    if os.access(path.parent, os.W_OK):
        return "mode=rw"
    return "mode=ro" if os.path.exists(f"{path}-wal") else "immutable=1"


def _is_locked(path: Path) -> bool:
    import fcntl

    try:
        lock = os.open(path.with_name(path.name + "-lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _as_record(row: tuple[str, str, str, str, str, str]) -> Record:
    key, _state, before, after, moves, tally = row
    return Record(
        key,
        before,
        after,
        tuple(Move(Location(temporary), Location(target)) for temporary, target in json.loads(moves)),
        Tally.from_dict(json.loads(tally)),
    )
