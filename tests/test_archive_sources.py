"""What an operator may name or have below a directory: odd names, empty things, what is not an archive, what overlaps."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("fsspec")

from archives import document, rot13, tree

from xep419 import ArchiveError, UnsupportedArchiveError, archive
from xep419.archive import files
from xep419.archive.formats.xml import root_name

pytestmark = pytest.mark.any_isa

PLAIN, UPGRADED = document(1, 3), document(1, 3, upgraded=True)


# -- names ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere do not take every name")
@pytest.mark.parametrize("in_place", [True, False])
def test_any_name_of_a_file_will_do_and_is_known_again(tmp_path: Path, in_place: bool) -> None:
    names = [
        b"new\nline",
        b"\xff not UTF-8 \xfe",
        b"\\xff not UTF-8 \\xfe",
        "😀".encode(),
        b"a%20b",
        b"-o",
        b" ",
        b"n" * 200,
    ]
    source = tmp_path / "source\udcff"
    source.mkdir()
    for name in names:
        (source / os.fsdecode(name)).write_bytes(PLAIN)
    target = source if in_place else tmp_path / "target\udcff"
    for resumed in (0, len(names)):
        report = archive.reencrypt(source, None if in_place else target, in_place=in_place)
        assert (report.units, report.resumed, report.exit_status) == (len(names), resumed, 0)
    assert tree(target) == {os.fsdecode(name): UPGRADED for name in names}
    assert archive.status(target).units == len(names)


def test_paths_are_the_same_from_another_directory_and_with_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.xml").write_bytes(PLAIN)
    for directory, source, target in [
        (tmp_path / "a", "b", "../out"),
        (tmp_path, "a/b/", "out/"),
        (tmp_path, "./a/../a/b", str(tmp_path / "out")),
    ]:
        monkeypatch.chdir(directory)
        report = archive.reencrypt(source, target)
        assert report.resumed == (0 if source == "b" else 1)
        assert archive.status(target).units == 1


# -- what is empty, deep, linked ------------------------------------------------------------------------------


def test_empty_directories_are_part_of_a_complete_copy_and_as_private(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "missing" / "parents" / "target"
    (source / "empty" / "er").mkdir(parents=True)
    (source / "private").mkdir(mode=0o700)
    (source / "link").symlink_to("private", target_is_directory=True)
    report = archive.reencrypt(source, target)
    assert (report.units, report.exit_status) == (1, 0)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "empty",
        "empty/er",
        "link",
        "private",
    ]
    assert (target / "private").stat().st_mode & 0o777 == 0o700
    assert (target / "link").is_symlink()


def test_a_directory_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    assert archive.reencrypt(tmp_path / "source", tmp_path / "target").units == 0
    assert (tmp_path / "target").is_dir()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"2026-11-22 alice: hello\n", "nothing in it is known to be a stanza"),
    ],
)
def test_a_file_without_a_stanza_is_refused_by_itself_and_left_alone_among_others(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(data)
    for target in (tmp_path / "target", None):
        with pytest.raises(UnsupportedArchiveError) as caught:
            archive.reencrypt(source / "a", target, in_place=target is None)
        assert str(caught.value) == f"{source}/a: {reason}"
    assert os.listdir(tmp_path) == ["source"]
    report = archive.reencrypt(source, tmp_path / "target")
    assert (report.exit_status, report.tally.left_alone) == (0, {reason: 1})
    assert tree(tmp_path / "target") == {"a": data}


TWO_FIELDS = json.dumps({"s": "<a/>", "q": "<b/>"}).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "keywords", "reason"),
    [
        (TWO_FIELDS, {}, "several fields hold XML elements: name one of s, q"),
        (gzip.compress(TWO_FIELDS, mtime=0), {}, "several fields hold XML elements: name one of s, q"),
        (b"<a/>", {"format": "jsonl"}, "no field of the first records holds an XML element"),
    ],
)
def test_a_file_whose_stanzas_are_not_found_is_refused_by_itself(
    tmp_path: Path, data: bytes, keywords: dict[str, Any], reason: str
) -> None:
    (tmp_path / "a").write_bytes(data)
    for target in (tmp_path / "target", None):
        with pytest.raises(UnsupportedArchiveError) as caught:
            archive.reencrypt(tmp_path / "a", target, in_place=target is None, **keywords)
        assert str(caught.value) == f"{tmp_path}/a: {reason}"
    assert os.listdir(tmp_path) == ["a"]


def test_a_pipe_that_is_named_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsupportedArchiveError, match="pipe: it is neither a file nor a directory"):
        archive.scan(tmp_path / "pipe")


def test_a_corrupt_file_that_is_named_is_listed_by_the_job(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes("<a/>".encode("utf-16"))
    report = archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml")
    assert (report.exit_status, len(report.tally.skips)) == (3, 1)


def test_documents_without_a_stanza_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"<archive xmlns='http://x/'/>")
    report = archive.reencrypt(tmp_path / "a.xml", tmp_path / "b.xml")
    assert (report.exit_status, report.tally.stanzas, report.tally.letters) == (0, 0, 1)


def test_hard_links_become_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.xml").write_bytes(rot13(PLAIN))
    (tmp_path / "a" / "2.xml").hardlink_to(tmp_path / "a" / "1.xml")
    archive.reencrypt(tmp_path / "a", in_place=True, rounds_from=1)
    assert tree(tmp_path / "a") == {"1.xml": UPGRADED, "2.xml": UPGRADED}


def test_a_file_is_put_into_a_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(PLAIN)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").write_bytes(b"stays")
    archive.reencrypt(tmp_path / "a.xml", tmp_path / "out")
    found = tree(tmp_path / "out")
    assert found.pop("a.xml.xep419-journal")
    assert found == {"a.xml": UPGRADED, "other": b"stays"}
    assert archive.status(tmp_path / "out" / "a.xml").units == 1


# -- journals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "made", "kind"),
    [
        (["a.xml"], "pipe", "file"),
        (["a.xml"], "directory with a.xml", "file"),
        (["d"], "pipe", "directory"),
        (["d"], "file", "directory"),
        (["a.xml", "d"], "file", "directory"),
    ],
)
def test_a_target_of_another_kind_is_refused_and_stays(
    tmp_path: Path, sources: list[str], made: str, kind: str
) -> None:
    (tmp_path / "a.xml").write_bytes(PLAIN)
    (tmp_path / "d").mkdir()
    target = refused = tmp_path / "target"
    if made == "pipe":
        os.mkfifo(target)
    elif made == "file":
        target.write_bytes(b"mine")
    else:
        refused = target / "a.xml"
        refused.mkdir(parents=True)
    before, mode = sorted(tmp_path.rglob("*")), target.stat().st_mode
    with pytest.raises(ArchiveError) as caught:
        archive.reencrypt([tmp_path / name for name in sources], target)
    assert str(caught.value) == f"{refused}: a {kind} is expected there, or nothing: choose another target"
    assert (sorted(tmp_path.rglob("*")), target.stat().st_mode) == (before, mode)


def test_journals_below_a_source_are_no_part_of_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.xml").write_bytes(PLAIN)
    archive.reencrypt(source / "sub", in_place=True)
    assert (source / "sub.xep419-journal").exists()
    for name in ("-lock", "-wal", "-shm"):
        (source / f"sub.xep419-journal{name}").write_bytes(b"")
    report = archive.reencrypt(source, target)
    assert (report.units, report.tally.left_alone) == (1, {})
    assert tree(target) == {"sub/a.xml": UPGRADED}


def test_the_bytes_that_a_job_will_go_over_are_known_before(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.xml").write_bytes(PLAIN)
    (tmp_path / "source" / "b.txt").write_bytes(b"12345")
    assert archive.size(tmp_path / "source") == len(PLAIN) + 5
    assert (
        archive.size([tmp_path / "source", tmp_path / "source" / "a.xml", tmp_path / "nothing"]) == 2 * len(PLAIN) + 5
    )


# -- overlaps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "a/"), ("a", "a/1.xml"), ("a/1.xml", "a"), ("a", "link"), ("a", "a/../a")]
)
def test_sources_in_place_that_overlap_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    """They would be rotated twice."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.xml").write_bytes(rot13(PLAIN))
    (tmp_path / "link").symlink_to("a")
    sources = [f"{tmp_path}/{name}" for name in names]
    with pytest.raises(ValueError, match="are the same, or one within the other: name it once"):
        archive.reencrypt(sources, in_place=True, rounds_from=1)
    with pytest.raises(ValueError, match="name it once"):
        archive.scan(sources)
    assert tree(tmp_path / "a") == {"1.xml": rot13(PLAIN)}


def test_a_database_below_a_directory_is_named_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.xml").write_bytes(PLAIN)
    database = make_database(tmp_path / "a" / "prosody.sqlite")
    report = archive.reencrypt([tmp_path / "a", database], in_place=True)
    assert (report.exit_status, report.tally.stanzas) == (0, 4)
    assert sum(report.tally.left_alone.values()) == 1
    with pytest.raises(ValueError, match="name it once"):
        archive.reencrypt([database, database], in_place=True)


def test_sources_beside_each_other_do_not_overlap(tmp_path: Path) -> None:
    for name in ("a", "ab"):
        (tmp_path / name).write_bytes(PLAIN)
    assert archive.scan([tmp_path / "a", tmp_path / "ab"]).units == 2


# -- what cannot be read, or goes away ------------------------------------------------------------------------


@pytest.mark.parametrize("locked", ["a.xml", "."])
def test_what_may_not_be_read_ends_the_job_with_its_name(tmp_path: Path, locked: str) -> None:
    if os.geteuid():
        pytest.skip("only root can become nobody")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        source = Path(directory, "source")
        source.mkdir()
        (source / "a.xml").write_bytes(PLAIN)
        (tmp_path / "a.xml").write_bytes(PLAIN)
        (source / locked).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, tmp_path / "a.xml", source, Path(directory, "target")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (f"{os.path.normpath(source / locked)}: Permission denied\n", "")


#: once all is imported, since nobody may not be allowed to read that either
AS_NOBODY = """
import os, pwd, sys
from xep419 import ArchiveError, archive
archive.reencrypt(sys.argv[1], sys.argv[1] + ".out")
nobody = pwd.getpwnam("nobody")
os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)
try:
    archive.reencrypt(sys.argv[2], sys.argv[3])
except ArchiveError as error:
    print(error)
"""


def test_a_file_that_goes_away_is_left_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("1.xml", "2.xml"):
        (source / name).write_bytes(PLAIN)

    class Meddler:
        def found(self, units: int, size: int) -> None: ...

        def working(self, name: str) -> None:
            (source / "1.xml").unlink(missing_ok=True)

        def advance(self, count: int) -> None: ...

        def done(self, units: int) -> None: ...

    report = archive.reencrypt(source, target, observer=Meddler())
    assert (report.exit_status, report.tally.left_alone) == (0, {"removed meanwhile": 1})
    assert tree(target) == {"2.xml": UPGRADED}


def test_a_file_that_a_worker_does_not_see_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another machine, where the path leads elsewhere."""
    (tmp_path / "1.xml").write_bytes(PLAIN)

    def elsewhere(task: files.FileTask, settings: object, *_how: object) -> files.Prepared:
        return files.Prepared(task, cast(Any, settings), files.left_alone(files.REMOVED))

    monkeypatch.setattr(files, "prepare", elsewhere)
    with pytest.raises(ArchiveError) as caught:
        archive.reencrypt(tmp_path / "1.xml", tmp_path / "2.xml")
    assert str(caught.value) == f"{tmp_path}/1.xml: a worker does not find this file, though it is here"


def test_a_source_that_was_removed_is_told_and_begun_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.xml").write_bytes(PLAIN)
    archive.reencrypt(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ArchiveError, match="a: there is no such file or directory"):
        archive.reencrypt(tmp_path / "a", tmp_path / "b")


def test_a_target_that_is_not_there_cannot_be_verified(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ArchiveError, match="typo: there is no such file or directory"):
        archive.verify(tmp_path / "a", tmp_path / "typo")


# -- databases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a%2eb", "a?mode=rw", "a#b", "new\nline", "😀", "a b"])
@pytest.mark.parametrize("in_place", [True, False])
def test_any_name_of_a_database_will_do(tmp_path: Path, name: str, in_place: bool) -> None:
    pytest.importorskip("sqlalchemy")
    path = make_database(tmp_path / name)
    path.chmod(0o640)
    report = archive.reencrypt(path, None if in_place else tmp_path / "out", in_place=in_place)
    assert (report.tally.stanzas, report.tally.letters, report.exit_status) == (1, 1, 0)
    assert (path if in_place else tmp_path / "out").stat().st_mode & 0o007 == 0


def test_a_database_whose_name_is_not_utf_8_is_told(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    path = make_database(tmp_path / "a\udcff")
    with pytest.raises(UnsupportedArchiveError, match="expected a name in UTF-8, which a database's URL can hold"):
        archive.reencrypt(path, in_place=True)


def make_database(path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(os.fsencode(path))) as database, database:
        database.execute(
            "CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL,"
            ' user TEXT NOT NULL, store TEXT NOT NULL, key TEXT NOT NULL, "when" INTEGER NOT NULL,'
            ' "with" TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL)'
        )
        row = ("x.example", "a", "archive", "1", 0, "b", "xml", "<message xmlns='http://x/'/>")
        database.execute("INSERT INTO prosodyarchive VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return path


@pytest.mark.parametrize("part", [b"<!---->", b"<!--", b"<??>", b"<?", b"'x' ", b"'", b"<", b"[", b"<!DOCTYPE a>"])
@pytest.mark.parametrize("before", [b"", b"<!DOCTYPE a ["])
def test_a_head_without_a_root_is_told_at_once(before: bytes, part: bytes) -> None:
    """In every combination of its parts it would take for ever: the test would not end."""
    assert root_name((before + part * (1 << 16))[: 1 << 16]) is None
