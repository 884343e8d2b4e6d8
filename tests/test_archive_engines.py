"""The local engine: how many units are at work, and what goes on while one waits for the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from xep419.archive.engines.local import LocalEngine
from xep419.archive.work import Outcome, Waiting, ignore

pytestmark = pytest.mark.any_isa

#: seconds until a test that hangs fails
PATIENCE = 30


class Working:
    """A unit that calls ``work``, with what it is to enter while it waits."""

    size = 0

    def __init__(self, name: str, work: Callable[[Waiting], Any]) -> None:
        self.name = name
        self._work = work

    def divided(self) -> tuple[None, Working]:
        return None, self

    def run(self, _advance: Any, waiting: Waiting) -> list[Outcome]:
        self._work(waiting)
        return []


def run(engine: LocalEngine, units: list[Working]) -> None:
    try:
        assert list(engine.run(units, ignore)) == [[]] * len(units)
    finally:
        engine.close()


def test_a_unit_works_while_another_waits_for_the_disk() -> None:
    done = threading.Event()

    def wait(waiting: Waiting) -> None:
        with waiting():
            assert done.wait(PATIENCE)

    run(LocalEngine(1), [Working("first", wait), Working("second", lambda _waiting: done.set())])


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_as_many_units_work_at_once_as_there_are_jobs(jobs: int) -> None:
    together = threading.Barrier(jobs)
    units = [Working(str(number), lambda _waiting: together.wait(PATIENCE)) for number in range(jobs)]
    run(LocalEngine(jobs), units)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_no_more_units_work_at_once_whoever_comes_back_from_the_disk(jobs: int) -> None:
    at_work = threading.Semaphore(jobs)

    def work() -> None:
        assert at_work.acquire(blocking=False)
        time.sleep(0.001)
        at_work.release()

    def twice(waiting: Waiting) -> None:
        work()
        with waiting():
            pass
        work()

    run(LocalEngine(jobs), [Working(str(number), twice) for number in range(10 * jobs)])


def test_what_fails_while_it_waits_for_the_disk_gives_its_place_back() -> None:
    def fail(waiting: Waiting) -> None:
        with waiting():
            raise OSError("no")

    engine = LocalEngine(1)
    with pytest.raises(OSError, match=r"^no$"):
        list(engine.run([Working("first", fail)], ignore))
    run(engine, [Working("second", lambda _waiting: None)])


def test_what_was_done_before_another_unit_failed_is_given_back() -> None:
    jobs, done = 10, threading.Semaphore(0)
    before = 2 * jobs - 1

    def fail(_waiting: Waiting) -> None:
        for _unit in range(before):
            assert done.acquire(timeout=PATIENCE)
        time.sleep(0.2)  # their threads have still to say so
        raise OSError("no")

    units = [Working(str(number), lambda _waiting: done.release()) for number in range(before)]
    engine, given = LocalEngine(jobs), []

    def take() -> None:
        for outcomes in engine.run([*units, Working("fails", fail)], ignore):
            given.append(outcomes)

    with pytest.raises(OSError, match=r"^no$"):
        take()
    engine.close()
    assert len(given) == before
