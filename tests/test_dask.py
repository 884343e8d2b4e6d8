"""The Dask engine: results as those of the local one, from units that pickle, with progress, and errors that say what.

A scheduler and two workers on loopback. Workers that die, and clusters that do: ``interop/test_dask.py``.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Counting, document, rot13, stanza, tree
from hypothesis import given, settings
from hypothesis import strategies as st

from xep419 import ArchiveError, archive
from xep419.archive import job, slices
from xep419.archive.files import REMOVED, FilesUnit, FileTask
from xep419.archive.proving import ProvingUnit
from xep419.archive.recoding import Recoding
from xep419.archive.slices import SlicedFile
from xep419.archive.storage import TEMPORARY, Location
from xep419.archive.work import Settings, Unit, ignore

pytest.importorskip("distributed", reason="the extra dask is not installed")
from cluster_units import Endless, Failing, FailingFirst, Reading, Writing
from clusters import Cluster, cluster, wait_for

from xep419.archive.engines import dask
from xep419.archive.engines.dask import DaskEngine

pytestmark = pytest.mark.any_isa


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def engine(running: Cluster) -> Iterator[DaskEngine]:
    engine = DaskEngine(running.address, patience=30)
    yield engine
    engine.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Good files, a broken one, one that is no archive, a link."""
    root = tmp_path / "source"
    (root / "deep").mkdir(parents=True)
    for number in range(12):
        (root / ("deep" if number % 2 else ".") / f"{number}.xml").write_bytes(document(number, 10))
    (root / "broken.xml").write_bytes(document(0, 10)[:-20])
    (root / "notes.txt").write_bytes(b"no stanza")
    (root / "link.xml").symlink_to("0.xml")
    return root


def leftovers(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.name.startswith(TEMPORARY)]


# -- as the local engine --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keywords",
    [{}, {"rounds_from": 1}, {"rounds_to": 1, "verify": False}, {"upgrade": False}, {"dry_run": True}],
    ids=str,
)
def test_results_are_those_of_the_local_engine(
    running: Cluster, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keywords: dict[str, Any]
) -> None:
    monkeypatch.setattr(job, "BATCH_FILES", 2)
    if keywords.get("rounds_from"):
        for path in source.rglob("*.xml"):
            if not path.is_symlink():
                path.write_bytes(rot13(path.read_bytes()))
    reports, trees = [], []
    for name in ("local", "dask"):
        engine = DaskEngine(running.address) if name == "dask" else "local"
        target, observer = tmp_path / name, Counting()
        report = archive.reencrypt(source, target, engine=engine, observer=observer, **keywords)
        reports.append((report.tally.as_dict() | {"skips": sorted(report.tally.skips)}, report.units))
        trees.append(tree(target))
        if name == "dask":
            assert (observer.read, observer.units_done) == (observer.size, observer.units)
    assert reports[0] == reports[1]
    assert trees[0] == trees[1]
    assert bool(trees[0]) != keywords.get("dry_run", False)
    assert not leftovers(tmp_path)


def test_in_place_and_a_second_time(running: Cluster, source: Path, tmp_path: Path) -> None:
    broken = (source / "broken.xml").read_bytes()
    first = archive.reencrypt(source, in_place=True, engine=DaskEngine(running.address))
    assert (first.exit_status, first.tally.skipped) == (3, 1)
    for number in range(12):
        path = source / ("deep" if number % 2 else ".") / f"{number}.xml"
        assert path.read_bytes() == document(number, 10, upgraded=True)
    assert (source / "broken.xml").read_bytes() == broken
    after = {path: path.stat().st_mtime_ns for path in source.rglob("*.xml")}
    again = archive.reencrypt(source, in_place=True, engine=DaskEngine(running.address))
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*.xml")} == after
    assert again.tally == first.tally
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("engine_name", ["local", "dask"])
def test_a_large_document_is_cut_into_slices(
    running: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_name: str
) -> None:
    for name, size in (("SPLIT", 20_000), ("SLICE", 4_000), ("CHUNK", 1_000)):
        monkeypatch.setattr(slices, name, size)
    (tmp_path / "a.xml").write_bytes(document(7, 300))
    (tmp_path / "broken.xml").write_bytes(document(7, 300)[:-20])
    engine = DaskEngine(running.address) if engine_name == "dask" else "local"
    report = archive.reencrypt([tmp_path / "a.xml", tmp_path / "broken.xml"], tmp_path / "out", engine=engine)
    assert (report.tally.stanzas, report.tally.skipped) == (300, 1)
    assert (tmp_path / "out" / "a.xml").read_bytes() == document(7, 300, upgraded=True)
    assert (tmp_path / "out" / "broken.xml").read_bytes() == document(7, 300)[:-20]
    assert not leftovers(tmp_path)


def test_a_database(running: Cluster, tmp_path: Path) -> None:
    """Whose units do not know their size beforehand."""
    schema = "host, user, store, key, 'when', 'with', type, value".replace(",", " TEXT NOT NULL,")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.sqlite")) as database, database:
        database.execute(f"CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY, {schema} TEXT NOT NULL)")
        stanzas = [stanza(random.Random(number)) for number in range(3000)]
        rows = [(number, f"k{number}", text) for number, text in enumerate(stanzas)]
        row = "INSERT INTO prosodyarchive VALUES (?, 'x', 'alice', 'archive', ?, '5', 'bob@x', 'xml', ?)"
        database.executemany(row, rows)
    reports = []
    for name in ("local", "dask"):
        engine = DaskEngine(running.address) if name == "dask" else "local"
        observer = Counting()
        report = archive.reencrypt(
            tmp_path / "a.sqlite", tmp_path / f"{name}.sqlite", engine=engine, observer=observer, rounds_to=1
        )
        assert (observer.read, observer.units_done) == (observer.size, observer.units)
        with contextlib.closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as database:
            found = database.execute("SELECT * FROM prosodyarchive ORDER BY sort_id").fetchall()
        reports.append((report.tally, report.bytes_worked_on, found))
    assert reports[0] == reports[1]
    assert reports[0][0].stanzas == 3000
    assert not leftovers(tmp_path)


# -- units pickle ---------------------------------------------------------------------------------------------

recodings = st.builds(Recoding, st.integers(0, 3), st.integers(0, 3), st.booleans(), check=st.booleans())
job_settings = st.builds(
    Settings,
    recodings,
    token=st.just("0123abcd"),
    verify=st.booleans(),
    dry_run=st.booleans(),
    format=st.sampled_from([None, "xml"]),
)


def _units(root: Path, documents: list[bytes], chosen: Settings) -> list[Unit]:
    for number, data in enumerate(documents):
        (root / f"{number}.xml").write_bytes(data)
    tasks = tuple(
        FileTask(str(number), (Location(f"{root}/{number}.xml"),), (Location(f"{root}/out/{number}.xml"),), len(data))
        for number, data in enumerate(documents)
    )
    whole = [FilesUnit(tasks, chosen), FilesUnit(tasks[:1], chosen), ProvingUnit(tasks, chosen)]
    (root / "out").mkdir()
    sliced = SlicedFile(tasks[0], chosen, {})
    sliced.open()
    found: list[Unit] = [*whole, *sliced.units()]
    sliced.abandon()
    return found


@settings(max_examples=25, deadline=None)
@given(
    documents=st.lists(st.builds(document, st.integers(0, 99), st.integers(0, 5)), min_size=1, max_size=3),
    chosen=job_settings,
)
def test_every_unit_pickles_and_runs_after_it(documents: list[bytes], chosen: Settings) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for unit in _units(Path(directory), documents, chosen):
            again: Unit = pickle.loads(pickle.dumps(unit))
            assert (again, again.size, again.name) == (unit, unit.size, unit.name)
            first, second = unit.run(), again.run()
            assert pickle.loads(pickle.dumps(second)) == second
            for one, other in zip(first, second, strict=True):
                assert other._replace(moves=()) == one._replace(moves=())
                for this, that in zip(one.moves, other.moves, strict=True):
                    assert Path(this.temporary.url).read_bytes() == Path(that.temporary.url).read_bytes()


# -- scheduling and progress ----------------------------------------------------------------------------------


def test_few_units_are_handed_out_ahead(engine: DaskEngine) -> None:
    drawn = taken = most = 0

    def units() -> Iterator[Unit]:
        nonlocal drawn
        for _number in range(40):
            drawn += 1
            yield Reading(seconds=0.01)

    for outcomes in engine.run(units(), ignore):
        most = max(most, drawn - taken)
        taken += len(outcomes)
    assert (drawn, taken) == (40, 40)
    assert most <= 2 * 2  # two workers


def test_every_worker_tells_what_it_reads_while_it_reads(engine: DaskEngine) -> None:
    told: list[int] = []
    ended: list[int] = []
    done = set()
    for [outcome] in engine.run([Reading(seconds=1.5) for _worker in range(2)], told.append):
        done.add(outcome.key)
        ended.append(sum(told))
    assert len(done) == 2
    assert sum(told) == 2000
    assert len([count for count in told if 0 < count < 1000]) > 2  # not at the end alone


def test_what_a_unit_reads_twice_counts_once(engine: DaskEngine, tmp_path: Path) -> None:
    told: list[int] = []
    list(engine.run([FailingFirst(seconds=0.8, marker=tmp_path / "failed")], told.append))
    assert (tmp_path / "failed").exists()
    assert sum(told) == 1000


def test_an_engine_serves_one_run_after_the_other(engine: DaskEngine) -> None:
    for _run in range(3):
        assert len(list(engine.run([Reading()] * 3, ignore))) == 3


# -- what goes wrong ------------------------------------------------------------------------------------------


def test_a_unit_that_fails_says_where(engine: DaskEngine, running: Cluster) -> None:
    with pytest.raises(ArchiveError, match=r"^no space left \(on the Dask worker tcp://127\.0\.0\.1:\d+\)$"):
        list(engine.run([Reading(), Failing()], ignore))


def test_a_source_that_a_worker_does_not_see(engine: DaskEngine, tmp_path: Path) -> None:
    """Whether it was removed, or is not there for the worker alone, the job's coordinator sees."""
    missing = tmp_path / "elsewhere.xml"
    task = FileTask("a", (Location(str(missing)),), (Location(f"{tmp_path}/out"),), 10)
    (outcomes,) = engine.run([FilesUnit((task,), Settings(Recoding(), "token"))], ignore)
    assert [outcome.tally.left_alone for outcome in outcomes] == [{REMOVED: 1}]


def test_another_version_is_refused(engine: DaskEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "__version__", "9.9")
    with pytest.raises(ArchiveError, match=r"^xep419 9\.9 is needed, got .* \(on the Dask worker tcp://"):
        list(engine.run([Reading()], ignore))


def test_a_job_that_ends_early_stops_what_runs_and_removes_what_is_ready(engine: DaskEngine, tmp_path: Path) -> None:
    endless, ready = tmp_path / "running", tmp_path / "ready"
    outcomes = engine.run(
        [Reading(), Writing(seconds=0.3, temporary=ready), Endless(running=endless), Reading(seconds=5)], ignore
    )
    next(outcomes)
    wait_for(lambda: endless.exists() and ready.exists())
    time.sleep(1)
    outcomes.close()
    assert not endless.exists()
    assert not ready.exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:9", "Timed out trying to connect to tcp://127.0.0.1:9 after 1 s"),
        ("nonsense://x:1", "unknown address scheme 'nonsense'"),
        ("localhost", "missing port number in address 'localhost'"),
    ],
)
def test_a_scheduler_that_is_not_there(tmp_path: Path, address: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(ArchiveError) as raised:
        DaskEngine(address, patience=1)
    assert raised.value.message.startswith(f"{address}: no Dask scheduler: {reason}")
    assert time.monotonic() - started < 30  # which Dask takes by itself


def test_no_jobs_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="jobs must be 1 or more, not 0"):
        DaskEngine("tcp://127.0.0.1:9", jobs=0)


# -- a cluster on this machine --------------------------------------------------------------------------------

SCRIPT = """
from xep419 import archive

if __name__ == "__main__":
    print(archive.reencrypt("source", "target", engine="dask", jobs=2).units)
"""


def run_here(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs it, and sees that none of its processes outlives it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        cwd=directory, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=180)
        wait_for(lambda: is_gone(process.pid))
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def with_a_guard(directory: Path) -> tuple[str, ...]:
    (directory / "script.py").write_text(SCRIPT)
    return ("script.py",)


def the_command(_directory: Path) -> tuple[str, ...]:
    return tuple("-m xep419 archive reencrypt source -o target --engine dask --jobs 2 --json".split())


@pytest.mark.parametrize("command", [with_a_guard, the_command])
def test_a_cluster_on_this_machine_starts_works_and_ends_in_silence(
    source: Path, tmp_path: Path, command: Callable[[Path], tuple[str, ...]]
) -> None:
    (source / "broken.xml").unlink()
    done = run_here(tmp_path, *command(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "target" / "0.xml").read_bytes() == document(0, 10, upgraded=True)
    assert archive.status(tmp_path / "target").finished


def test_a_script_without_a_guard_is_told_so(source: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    done = run_here(tmp_path, "script.py")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("(a script must begin jobs under if __name__ == '__main__')")
