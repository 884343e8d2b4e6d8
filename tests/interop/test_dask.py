"""What becomes of a job when workers, their scheduler or the coordinator die, freeze, or come back from the dead.

Always the same: the result of the local engine, byte for byte, nothing left behind, and a second run with nothing to do.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from archives import document, tree

from xep419 import ArchiveError, archive
from xep419.archive import job, slices
from xep419.archive.storage import SHARED, TEMPORARY, WHOLE

pytest.importorskip("distributed", reason="the extra dask is not installed")
import psutil  # distributed brings it
from cluster_units import Deadly, Reading
from clusters import Cluster, cluster, wait_for, writes

from xep419.archive.engines.dask import DaskEngine
from xep419.archive.work import ignore

pytestmark = [
    pytest.mark.interop,
    pytest.mark.any_isa,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are seen in /proc"),
]

FILES = 30


def large(seed: int, copies: int, upgraded: bool = False) -> bytes:
    whole = document(seed, 200, upgraded)
    start, end = whole.index(b"<message"), whole.index(b"</archive>")
    return whole[:start] + whole[start:end] * copies + whole[end:]


@pytest.fixture(params=["whole", "sliced"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Many files, three in a unit, or a large one in many slices."""
    monkeypatch.setattr(job, "BATCH_FILES", 3)
    monkeypatch.setattr(slices, "SPLIT", 8 << 20)
    monkeypatch.setattr(slices, "SLICE", 1 << 20)
    monkeypatch.setattr(slices, "CHUNK", 1 << 16)
    return str(request.param)


@pytest.fixture
def source(tmp_path: Path, kind: str) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    if kind == "sliced":
        (root / "0.xml").write_bytes(large(0, 600))
    else:
        for number in range(FILES):
            (root / f"{number}.xml").write_bytes(large(number, 30))
    return root


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(4) as threads:
        yield threads.submit


def check(source: Path, target: Path) -> None:
    """The target is whole, nothing is left behind, and there is nothing to do any more."""
    copies = 600 if len(tree(source)) == 1 else 30
    for path in source.glob("*.xml"):
        assert (target / path.name).read_bytes() == large(int(path.stem), copies, upgraded=True), path.name
    wait_for(lambda: not leftovers(target.parent), 15)
    before = snapshot(target)
    again = archive.reencrypt(source, target)
    assert again.resumed == again.units == len(tree(source))
    assert archive.status(target).finished is not None
    assert snapshot(target) == before


def snapshot(target: Path) -> dict[str, tuple[int, int, int]]:
    found = ((path.name, path.stat()) for path in target.iterdir())
    return {name: (status.st_size, status.st_mtime_ns, status.st_ino) for name, status in found}


def leftovers(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.name.startswith(TEMPORARY)]


def freeze(processes: list[subprocess.Popen[bytes]], suffix: str) -> subprocess.Popen[bytes]:
    """Stops the first of the processes that is caught writing."""

    def caught() -> subprocess.Popen[bytes] | None:
        for process in processes:
            if writes(process, suffix):
                process.send_signal(signal.SIGSTOP)
                if writes(process, suffix):
                    return process
                process.send_signal(signal.SIGCONT)
        return None

    return wait_for(caught)


def suffix_of(kind: str) -> str:
    return SHARED if kind == "sliced" else WHOLE


@contextlib.contextmanager
def workers(
    directory: Path, count: int, **configuration: str
) -> Iterator[tuple[Cluster, list[subprocess.Popen[bytes]]]]:
    directory.mkdir()
    with cluster(directory, 0, **configuration) as started:
        processes = [started.worker("--no-nanny") for _number in range(count)]
        wait_for(lambda: started.logs().count("Registered to") >= count, 60)
        yield started, processes


# -- workers --------------------------------------------------------------------------------------------------


def test_a_worker_is_killed(tmp_path: Path, source: Path, kind: str, in_background: Callable[..., Future[Any]]) -> None:
    with workers(tmp_path / "cluster", 3) as (started, processes):
        engine = DaskEngine(started.address)
        running = in_background(archive.reencrypt, source, tmp_path / "target", engine=engine)
        freeze(processes, suffix_of(kind)).kill()
        report = running.result(60)
        assert (report.exit_status, report.units, report.resumed) == (0, len(tree(source)), 0)
        assert not leftovers(tmp_path)
    check(source, tmp_path / "target")


def test_workers_are_killed_all_along(tmp_path: Path, source: Path, in_background: Callable[..., Future[Any]]) -> None:
    """Their nannies start others."""
    (tmp_path / "cluster").mkdir()
    with cluster(tmp_path / "cluster", 0, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1000") as started:
        nannies = [psutil.Process(started.worker("--nanny").pid) for _number in range(3)]
        wait_for(lambda: started.logs().count("Registered to") >= 3, 60)
        engine = DaskEngine(started.address)
        running = in_background(archive.reencrypt, source, tmp_path / "target", engine=engine)
        rng, killed = random.Random(419), 0
        while not running.done():
            time.sleep(rng.uniform(0.05, 0.4))
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                rng.choice([one for one in rng.choice(nannies).children() if "spawn_main" in str(one.cmdline())]).kill()
                killed += 1
        assert running.result().exit_status == 0
        assert killed
        assert not leftovers(tmp_path)
    check(source, tmp_path / "target")


def test_a_worker_that_was_taken_for_dead_comes_back(
    tmp_path: Path, source: Path, kind: str, in_background: Callable[..., Future[Any]]
) -> None:
    """It has a whole file's temporary to itself; sliced files are not put in place as long as it can write to them."""
    with workers(tmp_path / "cluster", 2, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="1s") as (started, processes):
        engine = DaskEngine(started.address)
        running = in_background(archive.reencrypt, source, tmp_path / "target", engine=engine)
        frozen = freeze(processes, suffix_of(kind))
        if kind == "sliced":
            wait_for(lambda: "ttl" in started.logs().lower())
            time.sleep(2)
            assert not running.done()
            assert not (tmp_path / "target" / "0.xml").exists()
            frozen.send_signal(signal.SIGCONT)
        report = running.result(60)
        assert report.exit_status == 0
        before = snapshot(tmp_path / "target")
        frozen.send_signal(signal.SIGCONT)
        wait_for(lambda: writes(frozen) is None)
        time.sleep(1)
        assert snapshot(tmp_path / "target") == before
        check(source, tmp_path / "target")


def test_a_worker_that_never_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_background: Callable[..., Future[Any]]
) -> None:
    for name, size in (("SPLIT", 8 << 20), ("SLICE", 1 << 20), ("STRAGGLERS", 1)):
        monkeypatch.setattr(slices, name, size)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "0.xml").write_bytes(large(0, 600))
    with workers(tmp_path / "cluster", 2, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="1s") as (started, processes):
        engine = DaskEngine(started.address)
        running = in_background(archive.reencrypt, tmp_path / "source", tmp_path / "target", engine=engine)
        frozen = freeze(processes, SHARED)
        with pytest.raises(ArchiveError, match=r"\.shared: a worker of an earlier run still writes to it: end it$"):
            running.result(60)
        frozen.kill()
    assert archive.reencrypt(tmp_path / "source", tmp_path / "target").exit_status == 0
    check(tmp_path / "source", tmp_path / "target")


def test_every_worker_that_is_given_a_unit_dies(tmp_path: Path) -> None:
    with workers(tmp_path / "cluster", 3, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1") as (started, _processes):
        engine = DaskEngine(started.address, patience=20)
        with pytest.raises(ArchiveError, match=r"^every Dask worker that was given the same unit died: "):
            list(engine.run([Deadly()], ignore))
        engine.close()


def test_the_last_worker_dies(tmp_path: Path) -> None:
    with workers(tmp_path / "cluster", 1) as (started, _processes):
        engine = DaskEngine(started.address, patience=2)
        with pytest.raises(ArchiveError, match=r"^the Dask cluster has had no worker for 2 seconds$"):
            list(engine.run([Deadly()], ignore))
        engine.close()


def test_workers_come_late(tmp_path: Path, in_background: Callable[..., Future[Any]]) -> None:
    """As on clusters that grow on demand."""
    with workers(tmp_path / "cluster", 0) as (started, _processes):
        engine = DaskEngine(started.address, patience=60)
        running = in_background(list, engine.run([Reading(seconds=1)] * 12, ignore))
        time.sleep(1)
        for _worker in range(3):
            started.worker("--no-nanny")
        assert len({outcomes[0].key for outcomes in running.result(60)}) == 3
        engine.close()


def test_a_worker_without_the_package(tmp_path: Path) -> None:
    lacking = tmp_path / "lacking" / "xep419"
    lacking.mkdir(parents=True)
    (lacking / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'xep419'\", name='xep419')")
    with workers(tmp_path / "cluster", 0) as (started, _processes):
        started.worker("--no-nanny", PYTHONPATH=str(lacking.parent))
        engine = DaskEngine(started.address)
        with pytest.raises(ArchiveError) as raised:
            list(engine.run([Reading()], ignore))
        engine.close()
    assert re.fullmatch(
        r"a Dask worker lacks xep419 .* or one of its extras: No module named 'xep419' \(on the Dask worker tcp://.*\)",
        raised.value.message,
    )


# -- the scheduler and the coordinator ------------------------------------------------------------------------


@pytest.mark.parametrize("next_engine", ["local", "dask"])
def test_the_scheduler_is_killed_and_the_job_goes_on_elsewhere(
    tmp_path: Path, source: Path, kind: str, next_engine: str, in_background: Callable[..., Future[Any]]
) -> None:
    with workers(tmp_path / "cluster", 2) as (started, processes):
        engine = DaskEngine(started.address, patience=5)
        running = in_background(archive.reencrypt, source, tmp_path / "target", engine=engine)
        wait_for(lambda: any(writes(process, suffix_of(kind)) for process in processes))
        begun = time.monotonic()
        started.scheduler.kill()
        with pytest.raises(ArchiveError, match=r"^the Dask scheduler is lost: "):
            running.result(60)
        assert time.monotonic() - begun < 30
        assert archive.status(tmp_path / "target").as_dict()["state"] == "interrupted"
        if next_engine == "local":
            archive.reencrypt(source, tmp_path / "target")
            before = snapshot(tmp_path / "target")
            for process in processes:
                wait_for(lambda process=process: writes(process) is None)
            assert snapshot(tmp_path / "target") == before
    if next_engine == "dask":
        with workers(tmp_path / "another", 2) as (another, _processes):
            archive.reencrypt(source, tmp_path / "target", engine=DaskEngine(another.address))
    check(source, tmp_path / "target")


COORDINATOR = """
import sys
from xep419 import archive
from xep419.archive import job, slices

job.BATCH_FILES, slices.SPLIT, slices.SLICE = 3, 8 << 20, 1 << 20
archive.reencrypt(sys.argv[1], sys.argv[2], engine="dask", scheduler=sys.argv[3])
"""


def test_the_coordinator_is_killed_and_another_goes_on_beside_its_workers(
    tmp_path: Path, source: Path, kind: str
) -> None:
    """Again and again; the workers of the earlier runs are still at work when the next one begins."""
    target = tmp_path / "target"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with workers(tmp_path / "cluster", 2) as (started, processes):
        for _run in range(3):
            command = [sys.executable, "-c", COORDINATOR, str(source), str(target), started.address]
            coordinator = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            frozen = freeze(processes, suffix_of(kind))
            coordinator.kill()
            coordinator.wait()
            threading.Timer(0.5, frozen.send_signal, [signal.SIGCONT]).start()  # as the next run is under way
        report = archive.reencrypt(source, target, engine=DaskEngine(started.address))
        assert report.exit_status == 0
        before = snapshot(target)
        for process in processes:
            wait_for(lambda process=process: writes(process) is None)
        time.sleep(0.5)
        assert snapshot(target) == before
        check(source, target)
