"""Each unit once, and nobody's data lost, whatever others do to sources, targets and journal between two runs."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from archives import document, rot13, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from xep419 import ArchiveError, archive
from xep419.archive import database_job, files, placing, report, slices, tally
from xep419.archive.engines.local import LocalEngine
from xep419.archive.journal import Journal
from xep419.archive.storage import TEMPORARY
from xep419.archive.work import Silent

pytestmark = pytest.mark.any_isa


class Stop(BaseException):
    """As a signal ends the command."""


def stop(*_arguments: Any, **_keywords: Any) -> Any:
    raise Stop


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.name.startswith(TEMPORARY)]


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """An archive once rotated: what is done to it twice is destroyed."""
    root = tmp_path / "source"
    root.mkdir()
    for number in range(3):
        (root / f"{number}.xml").write_bytes(rot13(document(number, 5)))
    return root


def upgraded() -> dict[str, bytes]:
    return {f"{number}.xml": document(number, 5, upgraded=True) for number in range(3)}


# -- restart --------------------------------------------------------------------------------------------------


def test_restart_does_not_rotate_what_was_rotated(rotated: Path) -> None:
    archive.reencrypt(rotated, in_place=True, rounds_from=1)
    with pytest.raises(ArchiveError, match=r"left it with 2 rotations, not with 1: restore the backup first"):
        archive.reencrypt(rotated, in_place=True, rounds_from=1, restart=True)
    assert tree(rotated) == upgraded()


def test_restart_takes_what_is_as_it_came_and_what_goes_on_from_the_earlier_job(rotated: Path) -> None:
    before = tree(rotated)
    archive.reencrypt(rotated, in_place=True, rounds_from=1)
    archive.reencrypt(rotated, in_place=True, rounds_to=1, restart=True)
    assert tree(rotated) == {name: rot13(data) for name, data in upgraded().items()}
    for name, data in before.items():
        (rotated / name).write_bytes(data)
    archive.reencrypt(rotated, in_place=True, rounds_from=1, rounds_to=2, restart=True)
    assert tree(rotated) == upgraded()


def test_restart_of_a_killed_job_moves_first_what_was_about_to_be_moved(
    rotated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(Journal, "done", stop)  # all is in place, and nothing of it journalled as done
        with pytest.raises(Stop):
            archive.reencrypt(rotated, in_place=True, rounds_from=1)
    assert tree(rotated) == upgraded()
    with pytest.raises(ArchiveError, match="restore the backup first"):
        archive.reencrypt(rotated, in_place=True, rounds_from=1, restart=True)
    assert archive.reencrypt(rotated, in_place=True, rounds_from=1).resumed == 3
    assert tree(rotated) == upgraded()


def test_a_journal_of_another_version_is_refused(rotated: Path, tmp_path: Path) -> None:
    archive.reencrypt(rotated, tmp_path / "target", rounds_from=1)
    journal = tmp_path / "target.xep419-journal"
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("""UPDATE job SET value = replace(value, '"version": 1', '"version": 0')""")
    for restart in (False, True):
        with pytest.raises(ArchiveError, match="a journal of version 1 is expected, not of 0"):
            archive.reencrypt(rotated, tmp_path / "target", rounds_from=1, restart=restart)


def test_a_second_run_that_is_killed_is_not_taken_for_done(rotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.reencrypt(rotated, in_place=True, rounds_from=1)
    (rotated / "3.xml").write_bytes(rot13(document(3, 5)))
    with monkeypatch.context() as context:
        context.setattr(placing, "discard", lambda _temporary: None)
        context.setattr(Journal, "intend", stop)
        with pytest.raises(Stop):
            archive.reencrypt(rotated, in_place=True, rounds_from=1)
    assert archive.status(rotated).finished is None
    (rotated / "3.xml").unlink()
    archive.reencrypt(rotated, in_place=True, rounds_from=1)
    assert not leftovers(rotated)


def test_the_journal_is_the_same_by_way_of_a_link(rotated: Path, tmp_path: Path) -> None:
    archive.reencrypt(rotated, in_place=True, rounds_from=1)
    (tmp_path / "link").symlink_to(rotated)
    assert archive.reencrypt(tmp_path / "link", in_place=True, rounds_from=1).resumed == 3
    assert tree(rotated) == upgraded()


def test_a_journal_within_the_source_is_refused(rotated: Path) -> None:
    with pytest.raises(ValueError, match="the journal must lie outside of the sources"):
        archive.reencrypt(rotated, in_place=True, journal=rotated / "journal")
    assert not (rotated / "journal").exists()


@pytest.mark.parametrize("journal", [".", "journal"])
def test_a_journal_at_the_target_is_refused(rotated: Path, tmp_path: Path, journal: str) -> None:
    with pytest.raises(ValueError, match="the journal must lie outside of the sources and the target"):
        archive.reencrypt(rotated, tmp_path / "target", journal=tmp_path / "target" / journal)
    assert not (tmp_path / "target").exists()


# -- others at work -------------------------------------------------------------------------------------------


def before_moves(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    intend = Journal.intend

    def meddled(journal: Journal, records: Any) -> None:
        intend(journal, records)
        happens()

    monkeypatch.setattr(Journal, "intend", meddled)


def test_what_is_written_to_a_source_before_it_is_replaced_is_not_lost(
    rotated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        before_moves(context, lambda: (rotated / "1.xml").write_bytes(rot13(document(1, 6))))
        first = archive.reencrypt(rotated, in_place=True, rounds_from=1)
    assert [(skip.place, skip.reason) for skip in first.tally.skips] == [(str(rotated / "1.xml"), files.CHANGED)]
    assert (rotated / "1.xml").read_bytes() == rot13(document(1, 6))
    assert not leftovers(rotated)
    assert archive.reencrypt(rotated, in_place=True, rounds_from=1).exit_status == 0
    assert tree(rotated) == {**upgraded(), "1.xml": document(1, 6, upgraded=True)}


def test_what_is_written_to_a_source_after_a_kill_is_not_lost(rotated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setattr(placing, "commit", stop)
        with pytest.raises(Stop):
            archive.reencrypt(rotated, in_place=True, rounds_from=1)
    (rotated / "1.xml").write_bytes(rot13(document(1, 6)))
    archive.reencrypt(rotated, in_place=True, rounds_from=1)
    assert tree(rotated) == {**upgraded(), "1.xml": document(1, 6, upgraded=True)}


def test_an_old_target_does_not_pass_for_the_one_whose_temporary_was_removed(
    rotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "0.xml").write_bytes(b"<old/>")
    with monkeypatch.context() as context:
        context.setattr(placing, "commit", stop)
        with pytest.raises(Stop):
            archive.reencrypt(rotated, target, rounds_from=1)
    for name in leftovers(target):
        (target / name).unlink()
    assert archive.reencrypt(rotated, target, rounds_from=1).resumed == 0
    assert tree(target) == upgraded()


def test_a_source_that_is_removed_after_it_was_found_is_left_alone(rotated: Path, tmp_path: Path) -> None:
    class Remover(Silent):
        def working(self, name: str) -> None:
            (rotated / "1.xml").unlink()

    found = archive.reencrypt(rotated, tmp_path / "target", rounds_from=1, observer=Remover())
    assert (found.exit_status, found.tally.left_alone) == (0, {"removed meanwhile": 1})
    assert set(tree(tmp_path / "target")) == {"0.xml", "2.xml"}


def test_a_link_in_a_target_is_replaced_and_not_followed(rotated: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "other").write_bytes(b"not ours")
    (target / "0.xml").symlink_to(tmp_path / "other")
    (target / "1.xml").symlink_to(rotated / "1.xml")
    before = tree(rotated)
    archive.reencrypt(rotated, target, rounds_from=1)
    assert tree(target) == upgraded()
    assert not (target / "0.xml").is_symlink()
    assert ((tmp_path / "other").read_bytes(), tree(rotated)) == (b"not ours", before)


def test_a_link_takes_the_place_of_what_is_there(rotated: Path, tmp_path: Path) -> None:
    archive.reencrypt(rotated, tmp_path / "target", rounds_from=1)
    (rotated / "1.xml").unlink()
    (rotated / "1.xml").symlink_to("0.xml")
    archive.reencrypt(rotated, tmp_path / "target", rounds_from=1)
    assert os.readlink(tmp_path / "target" / "1.xml") == "0.xml"


def test_a_target_that_leads_back_into_the_source_is_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "0.xml").write_bytes(document(0, 5))
    target.mkdir()
    (target / "deep").symlink_to(source / "deep")
    with pytest.raises(ArchiveError, match="by way of a link this is within the source"):
        archive.reencrypt(source, target)
    assert tree(source) == {"deep/0.xml": document(0, 5)}


def test_one_name_of_a_file_with_two_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "0.xml").write_bytes(document(0, 5))
    os.link(tmp_path / "0.xml", tmp_path / "other")
    archive.reencrypt(tmp_path / "0.xml", in_place=True)
    assert (tmp_path / "other").read_bytes() == document(0, 5)


def test_a_database_within_a_directory_is_told(database: Path, tmp_path: Path) -> None:
    found = archive.scan(tmp_path)
    assert found.tally.left_alone == {
        "this is an SQLite database, which is only re-encrypted where it is named as a SOURCE itself": 1
    }


# -- the end of a job -----------------------------------------------------------------------------------------


@pytest.mark.outer
@pytest.mark.parametrize("jobs", [1, 3])
def test_who_ends_a_job_does_not_wait_for_its_units(tmp_path: Path, jobs: int) -> None:
    """Each read of a unit asks whether the job goes on; a large file is not read to its end for nobody."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        (source / f"{number}.xml").write_bytes(document(number, 20_000))
    reads: list[int] = []
    begun = threading.Event()

    class Ending(Silent):
        def working(self, name: str) -> None:
            if len(reads) > 1:
                raise Stop

        def advance(self, count: int) -> None:
            reads.append(count)
            begun.set()

    class OneFile(LocalEngine):
        def run(self, units: Any, advance: Any) -> Any:
            def one_by_one() -> Any:
                for number, unit in enumerate(units):
                    yield unit
                    if number == 0:
                        begun.wait(10)
                        raise Stop

            return super().run(one_by_one(), advance)

    with pytest.raises(Stop):
        archive.reencrypt(source, tmp_path / "target", engine=OneFile(jobs), observer=Ending())
    assert sum(reads) < sum(path.stat().st_size for path in source.iterdir()) / 2
    assert not leftovers(tmp_path)


def test_nothing_is_left_when_the_journal_cannot_take_what_is_ready(
    rotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "intend", stop)
    with pytest.raises(Stop):
        archive.reencrypt(rotated, tmp_path / "target", rounds_from=1)
    assert not leftovers(tmp_path)


# -- memory ---------------------------------------------------------------------------------------------------


def test_tallies_stay_small_and_exact_in_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_NAMES", 10)
    monkeypatch.setattr(tally, "MOST_REASONS", 3)
    whole = tally.Tally()
    for number in range(50):
        part = tally.Tally()
        part.insecure[f"urn:xmpp:{number}"] = 2
        part.leave_alone(f"reason {number}")
        whole.add(part)
    assert (len(whole.insecure), whole.insecure[tally.OTHERS], whole.letters) == (11, 80, 100)
    assert (len(whole.left_alone), sum(whole.left_alone.values())) == (4, 50)


def test_places_elsewhere_are_told_by_directory_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_PLACES", 3)
    for node in range(6):
        (tmp_path / f"pep_urn%3axmpp%3a{node}").mkdir()
        for user in range(2):
            (tmp_path / f"pep_urn%3axmpp%3a{node}" / f"{user}.list").write_bytes(b"")
    found = archive.scan(tmp_path).elsewhere
    assert [place.rpartition("%3a")[2] for place, _count in found[:3]] == ["0", "1", "2"]
    assert found[3] == ("other places", 6)
    assert [count for _place, count in found[:3]] == [2, 2, 2]


# -- slices ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SPLIT", 5_000)
    monkeypatch.setattr(slices, "SLICE", 2_000)
    monkeypatch.setattr(slices, "CHUNK", 500)


def stopped_after(monkeypatch: pytest.MonkeyPatch, slices_done: int) -> None:
    """The job ends once so many slices are journalled."""
    slice_done = Journal.slice_done
    done: list[int] = []

    def counted(journal: Journal, *arguments: Any) -> None:
        slice_done(journal, *arguments)
        done.append(1)
        if len(done) == slices_done:
            raise Stop

    monkeypatch.setattr(Journal, "slice_done", counted)


def interrupted(monkeypatch: pytest.MonkeyPatch, source: Path, target: Path, slices_done: int) -> None:
    with monkeypatch.context() as context:
        stopped_after(context, slices_done)
        with pytest.raises(Stop):
            archive.reencrypt(source, target, jobs=1)


@pytest.mark.usefixtures("small_slices")
def test_slices_of_a_file_that_was_removed_are_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.xml", tmp_path / "b.xml"
    source.write_bytes(document(7, 100))
    interrupted(monkeypatch, source, target, 6)
    for name in leftovers(tmp_path):
        (tmp_path / name).unlink()
    interrupted(monkeypatch, source, target, 1)
    archive.reencrypt(source, target)
    assert target.read_bytes() == document(7, 100, upgraded=True)


@pytest.mark.usefixtures("small_slices")
def test_slices_of_a_source_that_became_shorter_leave_no_end_of_the_longer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.xml", tmp_path / "b.xml"
    source.write_bytes(document(7, 100))
    interrupted(monkeypatch, source, target, 8)
    source.write_bytes(document(8, 30))
    archive.reencrypt(source, target)
    assert target.read_bytes() == document(8, 30, upgraded=True)


@pytest.mark.usefixtures("small_slices")
def test_slices_that_failed_are_not_taken_for_done_in_what_was_copied_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.xml", tmp_path / "b.xml"
    source.write_bytes(document(7, 100))
    with monkeypatch.context() as context:
        context.setattr(slices.SlicedFile, "is_sound", lambda one: setattr(one, "_fault", FAULT))
        context.setattr(Journal, "intend", stop)
        context.setattr(placing, "discard", lambda _temporary: None)
        with pytest.raises(Stop):
            archive.reencrypt(source, target, jobs=1)
    archive.reencrypt(source, target)
    assert target.read_bytes() == document(7, 100, upgraded=True)


FAULT = slices.RestorationError("a disk that gives back something else")


@pytest.mark.usefixtures("small_slices")
def test_a_large_file_that_cannot_be_recognised_does_not_end_the_job(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.html").write_bytes(b"<html>" + b" " * 10_000 + b"</html>")
    (tmp_path / "a" / "b.gz").write_bytes(b"\x1f\x8b\x08\x00" + b"\xff" * 10_000)
    found = archive.reencrypt(tmp_path / "a", tmp_path / "b")
    assert (found.units, found.tally.skipped, sum(found.tally.left_alone.values())) == (2, 1, 1)
    assert tree(tmp_path / "b") == tree(tmp_path / "a")


names = st.sampled_from(["urn:xmpp:sid:0", "http://example.org/a", "urn:xmpps:x", "jabber:client"])
text = st.sampled_from(
    ["", " ", "\r\n", "é☃", "<!-- http: <x/> -->", "<![CDATA[<a>]]>", "&amp;", "x" * 700, "<?p http:?>"]
)


@st.composite
def elements(draw: st.DrawFn) -> str:
    inner = draw(text) + f"<p:y node='urn:xmpp:ping' xmlns:p='{draw(names)}'/>" * draw(st.integers(0, 3))
    tag = draw(st.sampled_from(["a", "c:c", "message"]))
    return f"<{tag} xmlns='{draw(names)}' node='urn:xmpp:ping'>{inner}</{tag}>"


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    before = draw(
        st.sampled_from(
            [
                "",
                "\ufeff",
                "<?xml version='1.0'?>\r\n",
                "<!DOCTYPE a [<!ENTITY e 'http://x/'><!-- ]> -->]>",
                "<!-- " + "x" * 3000 + " -->",
            ]
        )
    )
    attributes = f" xmlns:c='http://jabber.org/protocol/caps' x='{'y' * draw(st.sampled_from([0, 10, 2500]))}'"
    body = "".join(f"{one}{draw(text)}" for one in draw(st.lists(elements(), max_size=25)))
    if draw(st.booleans()):  # a recording: restarts, and no end
        header = f"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'{attributes}>"
        body = body.replace("<!-- http: <x/> -->", "").replace("<?p http:?>", "")
        return (f"{header}{body}" * draw(st.integers(1, 3))).encode()
    return f"{before}<root{attributes}>{body}</root>\n".encode()


@given(documents(), st.sampled_from([(0, 2), (1, 2), (0, 1)]), st.integers(1, 400), st.integers(1, 1500))
@settings(max_examples=60, deadline=None)
def test_slices_give_what_the_whole_gives(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, rounds: tuple[int, int], chunk: int, size: int
) -> None:
    root = tmp_path_factory.mktemp("slices")
    (root / "a.xml").write_bytes(rot13(data) if rounds[0] else data)
    came: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for split, target in ((1 << 30, "whole.xml"), (1, "sliced.xml")):
            patch.setattr(slices, "SPLIT", split)
            patch.setattr(slices, "SLICE", size)
            patch.setattr(slices, "CHUNK", chunk)
            found = archive.reencrypt(root / "a.xml", root / target, rounds_from=rounds[0], rounds_to=rounds[1], jobs=2)
            came.append((found.tally, (root / target).read_bytes()))
    assert came[0] == came[1]


# -- databases ------------------------------------------------------------------------------------------------

PROSODY = (
    "CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT, user TEXT, store TEXT,"
    ' key TEXT, "when" INTEGER, "with" TEXT, type TEXT, value TEXT)'
)
STANZA = "<message><x xmlns='urn:xmpp:sid:0'/></message>"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Prosody's, once rotated."""
    path = tmp_path / "prosody.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(PROSODY)
        rows = [(rot13(STANZA.replace("<x", f"<b>{number}</b><x").encode()).decode(),) for number in range(12)]
        connection.executemany(
            'INSERT INTO prosodyarchive (host, user, store, key, "when", type, value)'
            " VALUES ('h', 'u', 'archive', 'k', 1, 'xml', ?)",
            rows,
        )
    return path


def values(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM prosodyarchive ORDER BY sort_id")]


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


SECURE = [STANZA.replace("<x", f"<b>{number}</b><x").replace("xmpp:", "xmpps:") for number in range(12)]


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    from xep419.archive import databases

    units = databases.Database.units
    monkeypatch.setattr(databases.Database, "units", lambda self: units(self, 3))


def killed_in(monkeypatch: pytest.MonkeyPatch, what: Any, name: str, source: Path, **keywords: Any) -> None:
    with monkeypatch.context() as context:
        context.setattr(what, name, stop)
        with pytest.raises(Stop):
            archive.reencrypt(source, rounds_from=1, jobs=1, **keywords)


def test_a_database_that_is_done_is_not_rotated_again_by_restart(database: Path) -> None:
    archive.reencrypt(database, in_place=True, rounds_from=1)
    with pytest.raises(ArchiveError, match="left it with 2 rotations, not with 1"):
        archive.reencrypt(database, in_place=True, rounds_from=1, restart=True)
    assert values(database) == SECURE


def test_a_job_that_was_killed_while_the_database_forgot_it_leaves_no_table(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xep419.archive.databases import Database

    killed_in(monkeypatch, Database, "finish", database, in_place=True)
    assert "xep419_progress" in tables(database)
    assert archive.reencrypt(database, in_place=True, rounds_from=1).resumed == 1
    assert "xep419_progress" not in tables(database)
    assert values(database) == SECURE


@pytest.mark.usefixtures("small_ranges")
def test_a_backup_that_is_restored_in_the_middle_of_a_job_is_done_whole(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = database.read_bytes()
    killed_in(monkeypatch, Journal, "finish", database, in_place=True)
    database.write_bytes(backup)
    archive.reencrypt(database, in_place=True, rounds_from=1)
    assert values(database) == SECURE


@pytest.mark.usefixtures("small_ranges")
def test_a_backup_that_was_made_in_the_middle_of_a_job_is_gone_on_with(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the journal knows to be done since is not done in the backup."""
    advance, backups = database_job.DatabaseJob._advance, []

    def look(job: database_job.DatabaseJob, count: int) -> None:
        backups.append(database.read_bytes())
        advance(job, count)

    with monkeypatch.context() as context:
        context.setattr(database_job.DatabaseJob, "_advance", look)
        killed_in(monkeypatch, Journal, "finish", database, in_place=True)
    database.write_bytes(backups[1])
    report = archive.reencrypt(database, in_place=True, rounds_from=1)
    assert values(database) == SECURE
    assert (report.units, report.resumed, report.tally.stanzas) == (4, 2, 12)


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("where", ["rows", "finish", "place"])
def test_a_copy_that_is_interrupted_is_rotated_once(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, removed: bool
) -> None:
    from xep419.archive.databases import Database

    target = tmp_path / "copy.sqlite"
    database.chmod(0o600)
    what: dict[str, tuple[Any, str]] = {
        "rows": (database_job.DatabaseJob, "_advance"),
        "finish": (Database, "finish"),
        "place": (database_job, "place"),
    }
    killed_in(monkeypatch, *what[where], database, target=target)
    assert not target.exists()
    if removed:
        for leftover in leftovers(tmp_path):
            (tmp_path / leftover).unlink()
    archive.reencrypt(database, target, rounds_from=1)
    assert values(target) == SECURE
    assert target.stat().st_mode & 0o777 == 0o600
    assert "xep419_progress" not in tables(target)
    assert not leftovers(tmp_path)


def test_a_copy_is_made_anew_where_its_source_changed_or_it_is_gone(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    archive.reencrypt(database, target, rounds_from=1)
    assert archive.reencrypt(database, target, rounds_from=1).resumed == 1
    target.unlink()
    assert archive.reencrypt(database, target, rounds_from=1).resumed == 0
    assert values(target) == SECURE
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM prosodyarchive WHERE sort_id = 1")
    archive.reencrypt(database, target, rounds_from=1)
    assert values(target) == SECURE[1:]


def test_a_target_that_is_in_use_is_refused(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE a (b)")
        with pytest.raises(ArchiveError, match=r"copy\.sqlite-wal: the target is a database in use"):
            archive.reencrypt(database, target, rounds_from=1)


def test_what_a_restart_forgets_of_a_copy_is_removed(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in(monkeypatch, database_job, "place", database, target=tmp_path / "copy.sqlite")
    archive.reencrypt(database, tmp_path / "copy.sqlite", rounds_from=1, restart=True)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 2), (0, 1)])
def test_verify_finds_a_database_that_nothing_was_done_to(tmp_path: Path, rounds_from: int, rounds_to: int) -> None:
    for name in ("a.sqlite", "b.sqlite"):
        with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
            connection.execute(PROSODY)
            connection.execute("INSERT INTO prosodyarchive (type, value) VALUES ('xml', ?)", (STANZA,))
    found = archive.verify(tmp_path / "a.sqlite", tmp_path / "b.sqlite", rounds_from=rounds_from, rounds_to=rounds_to)
    assert (found.exit_status, found.tally.skipped) == (3, 1)


@pytest.mark.parametrize(
    ("statement", "place", "reason"),
    [
        ("""UPDATE prosodyarchive SET "when" = 2 WHERE sort_id = 3""", "prosodyarchive", "row 3 is not the same"),
        ("""UPDATE prosodyarchive SET user = 'eve' WHERE sort_id = 12""", "prosodyarchive", "row 12 is not the same"),
        ("UPDATE prosodyarchive SET value = '[2]' WHERE type = 'json'", "prosodyarchive", "row 13 is not the same"),
        ("UPDATE prosodyarchive SET value = CAST(value AS BLOB)", "prosodyarchive", "row 1 is not the same"),
        ("DELETE FROM prosodyarchive WHERE type = 'json'", "prosodyarchive", "it has fewer rows"),
        ("INSERT INTO prosody VALUES ('h', 'v')", "prosody", "it has more rows"),
        ("UPDATE odd SET b = x'01'", 'o"dd', "row 1 is not the same"),
        ("DROP TABLE prosody", "the schema", "the tables, indexes, views and triggers are not the same"),
        ("CREATE INDEX i ON prosody (host)", "the schema", "the tables, indexes, views and triggers are not the same"),
    ],
)
def test_verify_finds_what_differs_in_a_database_beside_the_stanzas(
    database: Path, tmp_path: Path, statement: str, place: str, reason: str
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO prosodyarchive (type, value) VALUES ('json', '[1]')")
        connection.execute("CREATE TABLE prosody (host TEXT, user TEXT)")
        connection.execute('CREATE TABLE "o""dd" (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID')
        connection.execute('INSERT INTO "o""dd" VALUES (1, x\'00\')')
    target = tmp_path / "target.sqlite"
    archive.reencrypt(database, target, rounds_from=1)
    assert archive.verify(database, target, rounds_from=1).exit_status == 0
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute(statement.replace("odd", '"o""dd"'))
    found = archive.verify(database, target, rounds_from=1)
    assert found.exit_status == 3
    assert (found.tally.skips[-1].place, found.tally.skips[-1].reason) == (
        f"{database}: {place}",
        f"{target}: {reason}",
    )


def test_verify_finds_an_index_that_does_not_lead_to_its_rows(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE peers (name TEXT UNIQUE, n)")
        connection.execute("INSERT INTO peers VALUES ('where', 'there'), ('who', 'you')")
    target = tmp_path / "target.sqlite"
    archive.reencrypt(database, target, rounds_from=1)
    data = target.read_bytes()
    assert data.count(b"where") == 2
    target.write_bytes(re.sub(b"where(?!there)", b"Where", data))
    found = archive.verify(database, target, rounds_from=1)
    assert (found.exit_status, found.tally.skips[-1].place) == (3, f"{database}: the file")
    assert found.tally.skips[-1].reason.startswith(f"{target}: row ")


def test_skipped_rows_are_told_with_their_database(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE prosodyarchive SET value = '<a>' WHERE sort_id = 2")
    target = tmp_path / "target.sqlite"
    place = f"{database}: prosodyarchive sort_id=2"
    reports = [archive.scan(database, rounds_from=1)]
    reports += [archive.reencrypt(database, target, rounds_from=1) for _ in range(2)]  # the second from the journal
    reports.append(archive.verify(database, target, rounds_from=1))
    assert [[skip.place for skip in report.tally.skips] for report in reports] == [[place]] * 4


@pytest.mark.parametrize("quoted", [False, True])
def test_a_broken_database_is_told(database: Path, quoted: bool) -> None:
    data = bytearray(database.read_bytes())
    place = data.index(b"TABLE prosodyarchive") if quoted else 100  # what SQLite's message quotes; a page's header
    data[place : place + 4] = b"\xff" * 4
    database.write_bytes(data)
    with pytest.raises(ArchiveError, match=f"^sqlite.*{database.name}: "):
        archive.scan(database)


def test_verify_knows_a_database_that_was_done_in_place_by_its_backup(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "backup.sqlite")
    archive.reencrypt(database, in_place=True, rounds_from=1)
    assert archive.verify(tmp_path / "backup.sqlite", database, rounds_from=1).exit_status == 0
