"""The local engine: threads of this process, and processes for work that Python does (docs/archive.md).

Threads suffice where the work releases the GIL. Where it does not, a thread gives the unit to a process and waits.
There are more threads than units at work: what waits for the disk leaves its place to another unit.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ..work import Advance, Outcome, Unit, discard_outcomes
from .processes import Processes, may_help

#: threads for each unit at work
THREADS = 2
#: bytes of work for Python from which on processes are started: a quarter of a second of it, as starting them takes
WORTHWHILE = 8 << 20


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """:param jobs: units at work at once, by default one for each processor; as many again may wait for the disk."""

    loses_workers = False

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = processors() if jobs is None else jobs
        if self.jobs < 1:
            raise ValueError(f"jobs must be 1 or more, not {self.jobs}")
        self._at_once = THREADS * self.jobs
        self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="xep419-archive")
        self._processors = threading.Semaphore(self.jobs)
        self._processes = Processes(self.jobs) if self.jobs > 1 and may_help() else None
        self._in_python = 0

    def run(self, units: Iterable[Unit], advance: Advance) -> Generator[list[Outcome], None, None]:
        running: set[Future[list[Outcome]]] = set()
        ended = threading.Event()

        def advance_or_end(count: int) -> None:
            if ended.is_set():
                raise Abandoned
            advance(count)

        try:
            for unit in units:
                running.add(self._threads.submit(self._work, unit, advance_or_end))
                while len(running) > self._at_once:
                    yield from self._taken(running)
            while running:
                yield from self._taken(running)
        finally:
            ended.set()
            abandon(running)

    def _work(self, unit: Unit, advance: Advance) -> list[Outcome]:
        if self._processes is None:
            return self._in_thread(unit, advance)
        with self._processors:
            in_python, rest = unit.divided()
        outcomes: list[Outcome] = []
        try:
            if in_python is not None:
                self._in_python += in_python.size
                if self._in_python < WORTHWHILE:
                    outcomes += self._in_thread(in_python, advance)
                else:
                    outcomes += self._processes.run(in_python, advance, self._waiting, self._processors)
            if rest is not None:
                outcomes += self._in_thread(rest, advance)
        except BaseException:
            discard_outcomes(outcomes)
            raise
        return outcomes

    def _in_thread(self, unit: Unit, advance: Advance) -> list[Outcome]:
        with self._processors:
            return unit.run(advance, self._waiting)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self._processors.release()
        try:
            yield
        finally:
            self._processors.acquire()

    @staticmethod
    def _taken(running: set[Future[list[Outcome]]]) -> Iterator[list[Outcome]]:
        done, _running = wait(running, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: one.exception() is not None):  # what is done stays done
            running.discard(future)
            yield future.result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        if self._processes is not None:
            self._processes.close()


class Abandoned(Exception):
    """Ends a unit at its next read: the job has ended, and would have to wait for it."""


def abandon(running: Iterable[Future[list[Outcome]]]) -> None:
    """Removes what units left that nobody will put in place."""
    for future in running:
        if not future.cancel() and future.exception() is None:
            discard_outcomes(future.result())
