"""The Dask engine: units on the workers of a Dask distributed cluster, this machine's or any other.

Workers must see sources and targets under the same paths or URLs, and have the same xep419 installed; the scheduler
needs none. Of a worker that is lost only what it was doing is lost: Dask gives its units to others. Since it may still
be at work, unheard, its files must not be theirs (see ``storage.temporary_for`` and ``slices``).

Needs the extra ``xep419[dask]``.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import queue
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, NoReturn

from ..._version import __version__
from ...errors import ArchiveError, XEP419Error
from ..work import Advance, Outcome, Unit, discard_outcomes
from .local import processors

try:
    import distributed
    from distributed.comm.addressing import get_address_host
except ImportError as error:
    raise ImportError(
        f"the dask engine needs distributed ({error}): pip install 'xep419[dask]'", name=error.name
    ) from error

#: seconds to wait for a scheduler to answer, and for a worker where there is none
PATIENCE = 60.0
#: how often a unit that failed is tried again; a lost worker is Dask's own affair
RETRIES = 2
#: seconds between two looks at whether there are workers, and between two messages of one unit about its progress
MOMENT = 0.5
#: seconds to wait, once a job ends early, for workers to stop
STOPPING = 10.0
#: the topic of messages about progress; one for all jobs, since a scheduler never forgets a topic
TOPIC = "xep419-archive"


class DaskEngine:
    """Units on the workers of a Dask cluster; about twice as many as run at once are handed out.

    :param scheduler: the address of one that is there; by default a cluster of processes on this machine. TLS is as
        Dask's configuration says.
    :param jobs: units at once; by default one for each thread of the workers, as they come and go.
    :param patience: seconds to wait for the scheduler to answer, and for a worker where there is none.
    :raises ArchiveError: the scheduler does not answer, or no worker starts.
    """

    loses_workers = True

    def __init__(self, scheduler: str | None = None, jobs: int | None = None, *, patience: float = PATIENCE) -> None:
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs must be 1 or more, not {jobs}")
        self._jobs = jobs
        self._patience = patience
        self._closing = contextlib.ExitStack()
        try:
            self._closing.enter_context(_quietly())
            self._client = self._connected(scheduler)
        except (OSError, RuntimeError, ValueError, distributed.TimeoutError) as error:
            self._closing.close()
            if scheduler is not None:
                raise ArchiveError(f"{scheduler}: no Dask scheduler: {error}") from error
            raise ArchiveError(
                f"no Dask cluster can be started on this machine: {error}"
                " (a script must begin jobs under if __name__ == '__main__')"
            ) from error
        self._closing.callback(self._client.close)
        self._looked = self._seen = time.monotonic()
        self._threads = 0

    def _connected(self, scheduler: str | None) -> Any:
        cluster: Any = scheduler
        if scheduler is None:
            workers = self._jobs or processors()
            cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
            )
            self._closing.callback(cluster.close)
        else:
            get_address_host(scheduler)  # a client that cannot make sense of it never ends
        return distributed.Client(cluster, timeout=self._patience, set_as_default=False)

    def run(self, units: Iterable[Unit], advance: Advance) -> Generator[list[Outcome], None, None]:
        job = secrets.token_hex(8)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        running: dict[Any, int] = {}
        progress = Progress(job, advance)
        self._client.subscribe_topic(TOPIC, progress.hear)
        self._seen = time.monotonic()
        self._look()
        try:
            for number, unit in enumerate(units):
                progress.begin(number, unit.size)
                future = self._submit(unit, job, number)
                running[future] = number
                future.add_done_callback(ended.put)
                while len(running) >= self._most():
                    yield self._taken(ended, running, progress)
            while running:
                yield self._taken(ended, running, progress)
        finally:
            self._abandon(job, running)

    def _submit(self, unit: Unit, job: str, number: int) -> Any:
        packed = pickle.dumps((unit, job, number))
        try:
            return self._client.submit(
                _launcher(), __version__, packed, key=f"{_keys(job)}{number}", pure=False, retries=RETRIES
            )
        except Exception as error:
            self._fail(error)

    def _taken(self, ended: queue.SimpleQueue[Any], running: dict[Any, int], progress: Progress) -> list[Outcome]:
        """The outcomes of the next unit that ends."""
        while True:
            with contextlib.suppress(queue.Empty):
                future = ended.get(timeout=MOMENT)
                break
            self._look()
        outcomes, read = self._result(future)
        progress.end(running.pop(future), read)
        return outcomes

    def _result(self, future: Any) -> tuple[list[Outcome], int]:
        moment = MOMENT
        while True:
            try:
                result: tuple[list[Outcome], int] = future.result(timeout=moment)
                return result
            except distributed.TimeoutError:
                self._look()  # the worker that held the result was lost, and the unit is done again; or all is slow
                moment = min(2 * moment, self._patience)
            except Exception as error:
                self._fail(error)

    # -- the cluster ------------------------------------------------------------------------------------------

    def _most(self) -> int:
        """Units to be handed out; clusters may grow and shrink."""
        if self._jobs is None and time.monotonic() - self._looked > MOMENT:
            self._look()
        return 2 * (self._jobs or self._threads or 1)

    def _look(self) -> None:
        """:raises ArchiveError: there has been no worker for longer than one is waited for."""
        try:
            self._threads = sum(self._client.nthreads().values())
        except Exception as error:
            self._fail(error)
        self._looked = time.monotonic()
        if self._threads:
            self._seen = self._looked
        elif self._looked - self._seen > self._patience:
            raise ArchiveError(f"the Dask cluster has had no worker for {self._patience:g} seconds")

    @staticmethod
    def _fail(error: Exception) -> NoReturn:
        """What became of a unit or of the cluster, as an error of ours where it is not a fault of our own."""
        if isinstance(error, XEP419Error):
            raise error
        if isinstance(error, distributed.KilledWorker):
            raise ArchiveError(f"every Dask worker that was given the same unit died: {error}") from error
        if isinstance(error, (distributed.CancelledError, OSError, distributed.TimeoutError)):
            raise ArchiveError(f"the Dask scheduler is lost: {error or type(error).__name__}") from error
        if isinstance(error, ImportError):
            raise ArchiveError(f"a Dask worker lacks xep419 {__version__} or one of its extras: {error}") from error
        raise error

    def _abandon(self, job: str, running: dict[Any, int]) -> None:
        """Stops what runs, and removes what units left that nobody will put in place."""
        with contextlib.suppress(Exception):  # the cluster may be gone; what is left behind, a later run removes
            self._client.unsubscribe_topic(TOPIC)
        if not running or self._client.status != "running":
            return
        with contextlib.suppress(Exception):
            for future in [future for future in running if future.status == "finished"]:
                discard_outcomes(future.result(timeout=STOPPING)[0])
            self._client.cancel(list(running), force=True)
            deadline = time.monotonic() + STOPPING
            while any(self._client.run(_is_busy, _keys(job)).values()) and time.monotonic() < deadline:
                time.sleep(MOMENT / 10)

    def close(self) -> None:
        self._closing.close()


@contextlib.contextmanager
def _quietly() -> Generator[None, None, None]:
    """What Dask logs of lost peers comes as an error of ours, or is made good."""
    loggers = [logging.getLogger(name) for name in ("distributed", *logging.root.manager.loggerDict)]
    levels = {one: one.level for one in loggers if one.level and one.name.partition(".")[0] == "distributed"}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


class Progress:
    """What workers tell of each unit: how much of it they have read so far.

    A unit that is tried again is read again, and counts once. In the end it counts as its size, where that is known.
    """

    def __init__(self, job: str, advance: Advance) -> None:
        self._job = job
        self._advance = advance
        self._sizes: dict[int, int] = {}
        self._counted: dict[int, int] = {}
        self._lock = threading.Lock()

    def begin(self, number: int, size: int) -> None:
        with self._lock:
            self._sizes[number] = size
            self._counted[number] = 0

    def hear(self, event: tuple[float, Any]) -> None:
        """Called from the client's own thread."""
        job, number, read = event[1]
        with self._lock:
            if job == self._job and number in self._sizes:
                self._count(number, min(read, self._sizes[number] or read))

    def end(self, number: int, read: int) -> None:
        with self._lock:
            self._count(number, self._sizes.pop(number) or read)
            del self._counted[number]

    def _count(self, number: int, read: int) -> None:
        if read > self._counted[number]:
            self._advance(read - self._counted[number])
            self._counted[number] = read


# -- in the workers -------------------------------------------------------------------------------------------


def _launcher() -> Callable[[str, bytes], Any]:
    """A function that Dask pickles by its code, since it is a local one.

    A worker that cannot unpickle what it is sent ends itself without a word, and the scheduler must unpickle it too;
    this one needs xep419 only where it runs.
    """

    def launch(version: str, packed: bytes) -> Any:
        import importlib

        import distributed

        try:
            module = importlib.import_module("xep419.archive.engines.dask")
        except ImportError as error:
            raise ImportError(f"{error} (on the Dask worker {distributed.get_worker().address})") from None
        return module.run_packed(version, packed)

    return launch


def run_packed(version: str, packed: bytes) -> tuple[list[Outcome], int]:
    """Does a unit, unless nobody waits for it any more; then nothing of it is left behind. Also how much it read."""
    if version != __version__:
        address = distributed.get_worker().address
        raise ArchiveError(f"xep419 {version} is needed, got {__version__} (on the Dask worker {address})")
    unit, job, number = pickle.loads(packed)
    task = Task(job, number)
    try:
        outcomes: list[Outcome] = unit.run(task.advance)
        if not task.is_wanted:
            discard_outcomes(outcomes)
    except ArchiveError as error:
        raise type(error)(f"{error.message} (on the Dask worker {task.address})") from error
    return outcomes, task.read


class Task:
    """One unit in a worker, to Dask a task."""

    def __init__(self, job: str, number: int) -> None:
        self._worker = distributed.get_worker()
        self._key = self._worker.get_current_task()
        self._job, self._number = job, number
        self.read = 0
        self._told = time.monotonic()

    @property
    def address(self) -> str:
        return str(self._worker.address)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it: the job may have ended or its coordinator died, or the worker is ending."""
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state != "cancelled" and self._worker.status.name not in _ENDING

    def advance(self, count: int) -> None:
        """:raises ArchiveError: nobody waits for it any more."""
        if not self.is_wanted:
            raise ArchiveError("the job has ended")
        self.read += count
        if time.monotonic() - self._told > MOMENT:
            self._worker.log_event(TOPIC, (self._job, self._number, self.read))
            self._told = time.monotonic()


_ENDING = ("closing", "closed", "failed", "stopping", "stopped")


def _keys(job: str) -> str:
    """What the keys of a job's tasks begin with; up to the last hyphen it is how Dask shows them."""
    return f"xep419-archive-{job}-"


def _is_busy(prefix: str, dask_worker: Any = None) -> bool:
    """Whether a worker has tasks of a job; Dask gives it the worker by that name."""
    return any(str(key).startswith(prefix) for key in list(dask_worker.state.tasks))
