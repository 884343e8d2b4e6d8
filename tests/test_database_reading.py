"""SQLite files that a command only reads stay as they are, log and all; and however one is named, it is one archive."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from archived import rot13, stanza

from xep419 import archive
from xep419.archive import database_job
from xep419.archive.databases import Database, open_database
from xep419.archive.journal import Journal
from xep419.errors import ArchiveError, UnsupportedArchiveError

pytestmark = pytest.mark.any_isa

PROSODY = (
    "CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY, host TEXT, user TEXT, store TEXT, key TEXT,"
    ' "when" INTEGER, "with" TEXT, type TEXT, value TEXT)'
)
INSERT = "INSERT INTO prosodyarchive VALUES (?, 'x', 'alice', 'archive', 'k', 5, 'bob@x', 'xml', ?)"
#: rows in the file, and in all where some are in its log
IN_FILE, IN_ALL = 20, 30


def make(path: Path, state: str) -> Path:
    """A Prosody's database as a server leaves it.

    ``rollback``, ``log``: at its end, by its journal mode. ``killed``, ``saved``: with rows in a log, with the index of
    that or, as a backup has it, without. ``torn``: in the middle of a transaction.
    """
    (path.parent / "made").mkdir()
    made = path.parent / "made" / "x"
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as server:
        server.execute(f"PRAGMA journal_mode = {'delete' if state in ('rollback', 'torn') else 'wal'}")
        server.execute(PROSODY)
        server.executemany(INSERT, [(n, stanza(n)) for n in range(1, IN_FILE + 1)])
        if state in ("killed", "saved"):
            server.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            server.executemany(INSERT, [(n, stanza(n)) for n in range(IN_FILE + 1, IN_ALL + 1)])
            copy(made, path, "", "-wal", *(["-shm"] if state == "killed" else []))
        if state == "torn":
            server.execute("PRAGMA cache_size = 1")
            server.execute("BEGIN")
            server.execute("UPDATE prosodyarchive SET value = ''")
            copy(made, path, "", "-journal")
            server.execute("ROLLBACK")
    if state in ("rollback", "log"):
        copy(made, path, "")
    shutil.rmtree(made.parent)
    return path


def copy(old: Path, new: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        shutil.copyfile(f"{old}{suffix}", f"{new}{suffix}")


def look(directory: Path) -> dict[str, tuple[int, bytes]]:
    """The files of a directory: when they were changed, and what they hold."""
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in directory.iterdir()}


def dry_run(path: Path) -> archive.Report:
    return archive.reencrypt(path, in_place=True, dry_run=True)


def into_a_copy(path: Path) -> archive.Report:
    with tempfile.TemporaryDirectory() as directory:
        return archive.reencrypt(path, Path(directory, "copy"))


def verify(path: Path) -> archive.Report:
    """Against one that was made of the same rows."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "copy")
        archive.reencrypt(path, target)
        before = look(target.parent)
        report = archive.verify(path, target)
        assert look(target.parent) == before
        return report


def all_stanzas(path: Path) -> archive.Report:
    found = list(archive.stanzas(path))
    report = archive.scan(path)
    assert [data.decode() for _place, data in found] == [stanza(n) for n in range(1, len(found) + 1)]
    assert report.tally.stanzas == len(found)
    return report


READERS = pytest.mark.parametrize("read", [archive.scan, dry_run, into_a_copy, verify, all_stanzas])


@READERS
@pytest.mark.parametrize("state", ["rollback", "log", "killed", "saved"])
def test_nothing_is_written(tmp_path: Path, state: str, read: Callable[[Path], archive.Report]) -> None:
    path = make(tmp_path / "prosody.sqlite", state)
    before = look(tmp_path)
    report = read(path)
    assert (report.exit_status, report.tally.stanzas) == (0, IN_ALL if "wal" in " ".join(before) else IN_FILE)
    after = look(tmp_path)
    for seen in (before, after):
        seen.pop("prosody.sqlite-shm", None)  # the index of the log, which SQLite makes where a server left none
    assert after == before


@READERS
def test_a_database_in_use(tmp_path: Path, read: Callable[[Path], archive.Report]) -> None:
    """What the server has written last is read, and not moved for it."""
    path = make(tmp_path / "prosody.sqlite", "killed")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as server:
        server.execute(INSERT, (IN_ALL + 1, stanza(IN_ALL + 1)))
        before = look(tmp_path)
        assert read(path).tally.stanzas == IN_ALL + 1
        after = look(tmp_path)
        for seen in (before, after):
            del seen["prosody.sqlite-shm"]
        assert after == before


@contextlib.contextmanager
def read_only_directory(state: str) -> Iterator[Path]:
    """A database in a directory that we may not write to; as root, we are nobody meanwhile."""
    with tempfile.TemporaryDirectory() as directory:
        archive.scan(make(Path(directory, "x"), "rollback"))  # all that is imported late, while we may read it
    with tempfile.TemporaryDirectory() as directory:
        path = make(Path(directory, "prosody.sqlite"), state)
        users = os.getresuid()
        for file in path.parent.iterdir():
            file.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            if users[1] == 0:
                os.setresuid(65534, 65534, 0)
            yield path
        finally:
            os.setresuid(*users)
            path.parent.chmod(0o700)


@pytest.mark.parametrize(("state", "rows"), [("rollback", IN_FILE), ("log", IN_FILE), ("killed", IN_ALL)])
def test_where_nothing_may_be_written(state: str, rows: int) -> None:
    with read_only_directory(state) as path:
        before = look(path.parent)
        assert archive.scan(path).tally.stanzas == rows
        assert look(path.parent) == before


def test_a_log_that_cannot_be_read_without_an_index() -> None:
    with read_only_directory("saved") as path:
        with pytest.raises(ArchiveError) as caught:
            archive.scan(path)
        assert str(caught.value) == (
            f"sqlite+pysqlite:///{path}: what prosody.sqlite-wal holds is to be moved into it first, and nothing is to"
            " be written: let its server or the sqlite3 program open it once, or copy both files and take the copy"
        )


@READERS
def test_a_transaction_that_is_to_be_undone(tmp_path: Path, read: Callable[[Path], archive.Report]) -> None:
    path = make(tmp_path / "prosody.sqlite", "torn")
    before = look(tmp_path)
    with pytest.raises(ArchiveError) as caught:
        read(path)
    assert str(caught.value) == (
        f"sqlite+pysqlite:///{path}: what prosody.sqlite-journal holds is to be undone first, and nothing is to be"
        " written: let its server or the sqlite3 program open it once, or copy both files and take the copy"
    )
    assert look(tmp_path) == before


@pytest.mark.parametrize("state", ["killed", "saved", "torn"])
def test_a_job_in_place_takes_what_a_crash_left(tmp_path: Path, state: str) -> None:
    path = make(tmp_path / "prosody.sqlite", state)
    report = archive.reencrypt(path, in_place=True, rounds_to=1)
    assert values(path) == [rot13(stanza(n, "s")) for n in range(1, report.tally.stanzas + 1)]
    assert report.tally.stanzas == (IN_FILE if state == "torn" else IN_ALL)


def test_no_job_begins_on_a_database_that_is_only_read(tmp_path: Path) -> None:
    path = make(tmp_path / "prosody.sqlite", "rollback")
    before = look(tmp_path)
    with open_database(str(path), read_only=True) as database, pytest.raises(ArchiveError) as caught:
        database.begin("job")
    assert str(caught.value) == f"sqlite+pysqlite:///{path}: attempt to write a readonly database"
    assert look(tmp_path) == before


def values(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [value for (value,) in database.execute("SELECT value FROM prosodyarchive ORDER BY sort_id")]


# -- one archive, by whatever name ----------------------------------------------------------------------------


class Stop(BaseException):
    """What ends a job in the middle."""


NAMES = ["{path}", "sqlite:///{path}", "sqlite+pysqlite:///{path}", "file://{path}", "sqlite:///{link}", "{link}"]


@pytest.fixture
def names(tmp_path: Path) -> dict[str, str]:
    path = make(tmp_path / "prosody.sqlite", "rollback")
    (tmp_path / "link").symlink_to(path)
    return {name: name.format(path=path, link=tmp_path / "link") for name in NAMES}


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES[:2])
def test_a_job_is_gone_on_with_by_another_name(
    names: dict[str, str], first: str, second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, advance = Database.units, database_job.DatabaseJob._advance
    monkeypatch.setattr(Database, "units", lambda self: units(self, 3))
    ranges = iter(range(3))

    def stop(job: database_job.DatabaseJob, count: int) -> None:
        if next(ranges, None) is None:
            raise Stop
        advance(job, count)

    with monkeypatch.context() as context:
        context.setattr(database_job.DatabaseJob, "_advance", stop)
        with pytest.raises(Stop):
            archive.reencrypt(names[first], in_place=True, rounds_to=1, jobs=1)
    assert archive.status(names[second]).as_dict()["state"] == "interrupted"
    report = archive.reencrypt(names[second], in_place=True, rounds_to=1)
    assert 1 <= report.resumed < 7
    assert (report.units, report.tally.stanzas) == (7, IN_FILE)
    assert values(tmp_path / "prosody.sqlite") == [rot13(stanza(n, "s")) for n in range(1, IN_FILE + 1)]
    assert [file.name for file in tmp_path.glob("*journal*")] == ["prosody.sqlite.xep419-journal"]


@pytest.mark.parametrize("name", NAMES)
def test_two_jobs_refuse_each_other(names: dict[str, str], name: str, tmp_path: Path) -> None:
    path = tmp_path / "prosody.sqlite.xep419-journal"
    before = values(tmp_path / "prosody.sqlite")
    with Journal(path), pytest.raises(ArchiveError) as caught:
        archive.reencrypt(names[name], in_place=True)
    assert str(caught.value) == f"{path}: another job is at work on this target (process {os.getpid()})"
    assert values(tmp_path / "prosody.sqlite") == before


@pytest.mark.parametrize("name", NAMES[1:])
def test_what_is_named_twice_is_refused(names: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match="are the same, or one within the other: name it once"):
        archive.reencrypt([names["{path}"], names[name]], in_place=True)


def test_a_files_url_may_have_a_copy_for_its_target(names: dict[str, str], tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'copy'}"
    archive.reencrypt(names["sqlite:///{path}"], target)
    assert values(tmp_path / "copy") == [stanza(n, "s") for n in range(1, IN_FILE + 1)]
    assert archive.verify(names["{path}"], target).exit_status == 0


def test_a_files_url_takes_no_options(names: dict[str, str]) -> None:
    with pytest.raises(UnsupportedArchiveError) as caught:
        archive.scan(names["sqlite:///{path}"] + "?timeout=5")
    assert str(caught.value).endswith(": expected the URL of an SQLite file without options, got timeout")


def test_a_files_url_is_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("<message/>")
    with pytest.raises(UnsupportedArchiveError) as caught:
        archive.scan(f"sqlite:///{tmp_path / 'text'}")
    assert str(caught.value) == f"{tmp_path / 'text'}: this is not an SQLite database"
