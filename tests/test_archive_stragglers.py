"""A worker that outlived its run, or was taken for dead, meets neither a later worker's file nor the file in place."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Counting, document

from xep419 import ArchiveError, archive
from xep419.archive import slices
from xep419.archive.files import FilesUnit, FileTask
from xep419.archive.journal import Journal
from xep419.archive.recoding import Recoding
from xep419.archive.slices import SlicedFile, SliceUnit
from xep419.archive.storage import SHARED, TEMPORARY, WHOLE, Location, Replacement, commit, discard, exists, stale
from xep419.archive.work import Settings

pytestmark = pytest.mark.any_isa

SETTINGS = Settings(Recoding(), "0123abcd")


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileTask:
    for name, size in (("SPLIT", 20_000), ("SLICE", 4_000), ("CHUNK", 1_000), ("STRAGGLERS", 0.2)):
        monkeypatch.setattr(slices, name, size)
    data = document(7, 300)
    (tmp_path / "a.xml").write_bytes(data)
    return FileTask("a", (Location(f"{tmp_path}/a.xml"),), (Location(f"{tmp_path}/b.xml"),), len(data))


def planned(task: FileTask) -> tuple[SlicedFile, list[SliceUnit]]:
    sliced = SlicedFile(task, SETTINGS, {})
    sliced.open()
    return sliced, list(sliced.units())


def done(sliced: SlicedFile, units: list[SliceUnit]) -> None:
    for unit in units:
        for outcome in unit.run():
            sliced.take(outcome)


def in_place(sliced: SlicedFile) -> Path:
    [move] = sliced.outcome().moves
    commit(move.temporary, move.target)
    return Path(move.target.url)


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob(f"{TEMPORARY}*"))


# -- whole files ----------------------------------------------------------------------------------------------


def test_two_attempts_at_a_unit_share_no_file(task: FileTask) -> None:
    unit = FilesUnit((task,), SETTINGS)
    [first], [second] = unit.run(), unit.run()
    assert first.moves[0].temporary != second.moves[0].temporary
    commit(*second.moves[0])
    assert Path(first.moves[0].temporary.url).read_bytes() == Path(task.targets[0].url).read_bytes()


# -- slices ---------------------------------------------------------------------------------------------------


def test_a_slice_that_comes_after_the_document_is_in_place_writes_nothing(task: FileTask, tmp_path: Path) -> None:
    sliced, units = planned(task)
    done(sliced, units)
    target = in_place(sliced)
    before = target.stat()
    with pytest.raises(ArchiveError, match="No such file or directory"):
        units[1].run()
    assert (target.stat().st_mtime_ns, target.read_bytes()) == (before.st_mtime_ns, document(7, 300, upgraded=True))
    assert not leftovers(tmp_path)


def test_a_slice_that_opened_the_file_before_it_was_sealed_writes_nothing(
    task: FileTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliced, units = planned(task)
    done(sliced, units)
    flock = fcntl.flock

    def late(file: int, operation: int) -> None:
        if operation == fcntl.LOCK_SH:
            monkeypatch.setattr(fcntl, "flock", flock)
            in_place(sliced)
            planned(task)[0].abandon()  # a later run has begun the document anew, under the same name
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ArchiveError, match=r"a later run has taken the document over$"):
        units[1].run()


def test_a_document_waits_for_slices_that_are_being_written(task: FileTask) -> None:
    sliced, units = planned(task)
    done(sliced, units)
    file = os.open(units[0].temporary.url, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_SH)
    try:
        with pytest.raises(ArchiveError, match=r"a worker of an earlier run still writes to it: end it$"):
            sliced.outcome()
    finally:
        threading.Timer(0.1, os.close, [file]).start()
    assert in_place(sliced).read_bytes() == document(7, 300, upgraded=True)


def test_slices_of_another_version_of_the_source_go_elsewhere(task: FileTask) -> None:
    first, old = planned(task)
    first.abandon()
    Path(task.sources[0].url).write_bytes(document(8, 300))
    sliced, units = planned(task)
    assert old[0].temporary != units[0].temporary
    done(sliced, units)
    for unit in old:
        unit.run()  # whatever it makes of the new source
    assert in_place(sliced).read_bytes() == document(8, 300, upgraded=True)


# -- what is left behind --------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["{tmp}/tree", "{tmp}/tree/file.xml", "memory://bucket/tree"])
def test_what_a_job_left_is_found_and_no_other_job_s(tmp_path: Path, root: str) -> None:
    (tmp_path / "tree").mkdir()
    place = Location(root.format(tmp=tmp_path))
    targets = [place] if place.name == "file.xml" else [place.child("a.xml"), place.child("deep/b.xml")]
    left = []
    for target in targets:
        for token in ("ours", "other"):
            replacement = Replacement(target, token)
            replacement.complete()
            left += [replacement.temporary.name] if token == "ours" else []
    assert not list(stale(place, "ours", (SHARED,)))
    found = list(stale(place, "ours"))
    assert sorted(one.name for one in found) == sorted(left)
    assert all(exists(one) for one in found)
    for one in found:
        discard(one)
    assert not list(stale(place, "ours"))
    assert len(list(stale(place, "other"))) == len(left)


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A job that was killed between two files: its temporaries are there."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.xml").write_bytes(document(0, 5))

    def killed(_unit: FilesUnit, *_arguments: Any) -> Any:
        raise KeyboardInterrupt

    def reencrypt(**keywords: Any) -> Any:
        return archive.reencrypt(tmp_path / "source", tmp_path / "target", **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(FilesUnit, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            reencrypt(jobs=1)
    with Journal(tmp_path / "target.xep419-journal") as journal:
        token = journal.facts()["token"]
    (tmp_path / "target").mkdir(exist_ok=True)
    for kind in (WHOLE, SHARED):
        (tmp_path / "target" / f"{TEMPORARY}{token}-0-0{kind}").touch()
    return reencrypt


@pytest.mark.parametrize("restart", [False, True])
def test_what_an_interrupted_job_left_is_removed(
    interrupted: Callable[..., Any], tmp_path: Path, restart: bool
) -> None:
    assert len(leftovers(tmp_path)) == 2
    assert interrupted(restart=restart).exit_status == 0
    assert not leftovers(tmp_path)


def test_slices_that_an_earlier_run_did_count_as_read(
    task: FileTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, runs = SliceUnit.run, 0

    def failing(unit: SliceUnit, *arguments: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs == 5:
            raise ArchiveError("no space left")
        return run(unit, *arguments)

    monkeypatch.setattr(SliceUnit, "run", failing)
    source, target = tmp_path / "a.xml", tmp_path / "b.xml"
    with pytest.raises(ArchiveError, match="no space left"):
        archive.reencrypt(source, target, jobs=1)
    observer = Counting()
    archive.reencrypt(source, target, jobs=1, observer=observer)
    assert observer.read >= observer.size == source.stat().st_size
