"""Work that Python does, in processes: the results of threads, and nobody left behind, whoever ends first."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import process_units as units
import pytest
from archives import Counting, document, stanza, tree
from test_prosody_internal import ITEM

from xep419 import ArchiveError, archive
from xep419.archive.engines import local, processes
from xep419.archive.engines.local import LocalEngine
from xep419.archive.formats import formats
from xep419.archive.storage import TEMPORARY
from xep419.archive.work import Outcome, ignore

pytestmark = [
    pytest.mark.any_isa,
    pytest.mark.skipif(not processes.may_help(), reason="threads suffice, or no interpreter can be started"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="signals end processes in another way"),
]

#: seconds until a test that hangs fails
PATIENCE = 30
EXPORT = (
    "<server-data xmlns='urn:xmpp:pie:0'><host jid='a'><user name='b'><offline-messages>%s</offline-messages></user>"
    "</host></server-data>"
)


@pytest.fixture
def from_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WORTHWHILE", 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Something of everything, and something that is broken."""
    root, rng = tmp_path / "source", random.Random(419)
    root.mkdir()
    lines = "".join(json.dumps({"id": n, "stanza": stanza(rng)}) + "\n" for n in range(40)).encode()
    (root / "a.jsonl").write_bytes(lines)
    (root / "b.jsonl").write_bytes(lines + b'{"stanza": "<a>"}\nbroken\n')
    (root / "c.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    (root / "d.list").write_bytes(ITEM * 20 + b"item({\n")
    (root / "e.xml").write_text(EXPORT % "".join(stanza(rng) for _ in range(20)))
    (root / "f.xml").write_bytes(document(7, 30))
    (root / "g.xml").write_bytes(b"<a><b></a>")
    (root / "h.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0)[:-20])
    (root / "notes.txt").write_text("no stanza")
    return root


def leftovers(root: Path) -> list[str]:
    return [str(path) for path in root.rglob(f"{TEMPORARY}*")]


def run(engine: LocalEngine, work: Iterable[object]) -> list[Outcome]:
    try:
        return [outcome for outcomes in engine.run(work, ignore) for outcome in outcomes]  # type: ignore[arg-type]
    finally:
        engine.close()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{process}/stat")  # one that nobody has waited for is gone as well
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


# -- what comes out -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("from_the_first_byte")
@pytest.mark.parametrize(("rounds_from", "rounds_to"), [(0, 2), (0, 1)])
def test_processes_give_the_results_of_threads(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds_from: int, rounds_to: int
) -> None:
    names: list[str] = []
    run_one = processes.Processes.run

    def noting(self: processes.Processes, unit: units.Telling, *arguments: object) -> list[Outcome]:
        names.extend(task.key for task in unit.tasks)  # type: ignore[attr-defined]
        return run_one(self, unit, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(processes.Processes, "run", noting)
    alone, together = tmp_path / "alone", tmp_path / "together"
    observers = Counting(), Counting()
    reports = [
        archive.reencrypt(source, target, jobs=jobs, observer=observer, rounds_from=rounds_from, rounds_to=rounds_to)
        for target, jobs, observer in zip((alone, together), (1, 2), observers, strict=True)
    ]
    assert tree(together) == tree(alone)
    assert sorted(names) == ["a.jsonl", "b.jsonl", "c.jsonl.gz", "d.list", "e.xml"]
    first, second = (report.tally for report in reports)
    assert sorted(second.skips) == sorted(first.skips)
    broken = {skip.place.partition(": ")[0] for skip in first.skips}
    first.skips = second.skips = []
    assert second == first
    assert (reports[0].exit_status, reports[1].exit_status, first.skipped) == (3, 3, 5)
    assert vars(observers[0]) == vars(observers[1])
    assert not leftovers(tmp_path)
    names.clear()
    proved = archive.verify(source, together, jobs=2, rounds_from=rounds_from, rounds_to=rounds_to)
    assert len(names) == 5
    assert {skip.place.partition(": ")[0] for skip in proved.tally.skips} == broken


def test_each_format_says_whether_its_work_is_pythons() -> None:
    assert {one.name: one.in_python for one in formats()} == {
        "parquet": False,
        "arrow": False,
        "jsonl": True,
        "prosody-xmlarchive": True,
        "prosody-internal": True,
        "xep0227": True,
        "xml": False,
    }


def test_little_work_starts_no_process() -> None:
    (outcome,) = run(LocalEngine(2), [units.Telling(size=local.WORTHWHILE - 1)])
    assert outcome.key == str(os.getpid())


def test_one_job_starts_no_process() -> None:
    (outcome,) = run(LocalEngine(1), [units.Telling(size=local.WORTHWHILE)])
    assert outcome.key == str(os.getpid())


def test_as_many_processes_as_jobs_do_all_units_that_come_once_it_is_worthwhile() -> None:
    third = local.WORTHWHILE // 3 + 1
    outcomes = run(LocalEngine(2), [units.Telling(size=third)] * 20)
    workers = {int(outcome.key) for outcome in outcomes}
    assert os.getpid() in workers
    assert 2 <= len(workers) <= 3
    assert all(is_gone(worker) for worker in workers - {os.getpid()})


UNGUARDED = """
import sys
from xep419 import archive
from xep419.archive.engines import local
print("begun")
local.WORTHWHILE = 0
print(archive.reencrypt(sys.argv[1], sys.argv[2], jobs=2).exit_status)
"""


def test_a_script_that_does_not_look_for_main_runs_once(source: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(source), str(tmp_path / "target")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stdout, done.stderr) == ("begun\n3\n", "")


#: memory of the job and its processes, each at its most
WATCHING = """
import os, sys
from pathlib import Path
from xep419 import archive
from xep419.archive.work import Silent
def most(process):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10
class Watching(Silent):
    most_of = {}
    def advance(self, count):
        for task in Path("/proc/self/task").glob("*/children"):
            for child in task.read_text().split():
                self.most_of[child] = most(child)
observer = Watching()
archive.reencrypt(sys.argv[1], sys.argv[2], jobs=2, observer=observer)
print(len(observer.most_of), most(os.getpid()) + sum(observer.most_of.values()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="nothing tells the memory of a process")
def test_two_processes_and_the_job_have_less_than_200_megabytes(tmp_path: Path) -> None:
    rng = random.Random(419)
    lines = b"".join(json.dumps({"stanza": stanza(rng)}).encode() + b"\n" for _ in range(20_000))
    (tmp_path / "source").mkdir()
    for number in range(4):
        (tmp_path / "source" / f"{number}.jsonl").write_bytes(lines)
    assert len(lines) > local.WORTHWHILE // 2
    command = [sys.executable, "-c", WATCHING, str(tmp_path / "source"), str(tmp_path / "target")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.stderr == ""
    workers, memory = map(int, done.stdout.split())
    assert workers >= 1
    assert memory < 200e6


# -- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("from_the_first_byte")
def test_an_error_is_that_of_the_unit() -> None:
    with pytest.raises(ArchiveError, match=r"^no space left$"):
        run(LocalEngine(2), [units.Refusing()])
    with pytest.raises(RuntimeError, match=r"process_units.py(.|\n)*KeyError: 'a fault of our own'"):
        run(LocalEngine(2), [units.Faulty()])


@pytest.mark.usefixtures("from_the_first_byte")
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("how", "said"), [(signal.SIGKILL, "SIGKILL"), (-7, "exit status 7")])
def test_a_process_that_dies_ends_the_job(how: int, said: str, waits: bool) -> None:
    with pytest.raises(ArchiveError) as raised:
        run(LocalEngine(2), [units.Dying(how=how, waits=waits), *[units.Telling()] * 3])
    assert raised.value.message == (
        f"telling: the process that worked on it ended ({said}); run the same job again, and it goes on"
    )


@pytest.mark.usefixtures("from_the_first_byte")
def test_what_one_part_of_a_unit_left_goes_with_the_other(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"^the thread's part fails$"):
        run(LocalEngine(2), [units.Both(tmp_path / "temporary")])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("from_the_first_byte")
def test_processes_stop_when_the_job_ends_early(tmp_path: Path) -> None:
    endless = [units.Endless(temporary=tmp_path / f"{number}.temporary") for number in range(2)]
    told = [one.temporary.with_suffix(".pid") for one in endless]

    def interrupted() -> Iterator[units.Telling]:
        yield from endless
        until(lambda: all(path.exists() and path.read_text() for path in told))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(LocalEngine(2), interrupted())
    assert not list(tmp_path.glob("*.temporary"))
    assert all(is_gone(int(path.read_text())) for path in told)


#: each read waits for a moment, so that the job is in the middle of it
SLOW = """
import signal, sys, time
from xep419 import ArchiveError, archive
from xep419.archive.engines import local
from xep419.archive.work import Silent
class Slow(Silent):
    def advance(self, count):
        print(count, flush=True)
        time.sleep(0.2)
local.WORTHWHILE = 0
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it
try:
    archive.reencrypt(sys.argv[1], sys.argv[2], jobs=2, observer=Slow())
except ArchiveError as error:
    print(error)
"""


class Running:
    """A job in an interpreter and a session of its own, in the middle of files that it gave to its processes."""

    def __init__(self, tmp_path: Path) -> None:
        self.source, self.target = tmp_path / "source", tmp_path / "target"
        self.source.mkdir()
        line = b'{"stanza": "<message xmlns=\'http://x\'/>"}\n'
        for number in range(100):
            (self.source / f"{number}.jsonl").write_bytes(line * 500)
        command = [sys.executable, "-c", SLOW, str(self.source), str(self.target)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        for _read in range(6):
            self.process.stdout.readline()
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        self.workers = [int(child) for task in children for child in task.read_text().split()]

    def ended(self) -> str:
        """What it said at last, once it and its processes have ended."""
        try:
            said, _nothing = self.process.communicate(timeout=PATIENCE)
        finally:
            self.process.kill()
        until(lambda: all(map(is_gone, self.workers)))
        return said.rpartition("\n")[0].rpartition("\n")[2]

    def assert_goes_on(self) -> None:
        report = archive.reencrypt(self.source, self.target)
        assert (report.exit_status, report.tally.stanzas) == (0, 50_000)
        assert not leftovers(self.target)
        assert archive.verify(self.source, self.target).exit_status == 0


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="nothing tells the children of a process")


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_to_all_ends_all_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    running = Running(tmp_path)
    assert len(running.workers) == 2
    os.killpg(running.process.pid, number)
    running.ended()
    assert running.process.returncode == -number
    until(lambda: not leftovers(running.target))
    running.assert_goes_on()


@needs_proc
def test_processes_end_with_a_job_that_is_killed(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.process.kill()
    running.ended()
    assert not leftovers(running.target)
    running.assert_goes_on()


@needs_proc
def test_a_job_whose_process_is_killed_says_so_and_goes_on_when_it_is_run_again(tmp_path: Path) -> None:
    running = Running(tmp_path)
    os.kill(running.workers[0], signal.SIGKILL)
    said = running.ended()
    assert said.startswith(str(running.source))
    assert said.endswith("the process that worked on it ended (SIGKILL); run the same job again, and it goes on")
    running.assert_goes_on()
