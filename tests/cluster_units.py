"""Units of work for the tests of engines, which workers import: they read nothing, and go wrong as they are told."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

from xep419 import ArchiveError
from xep419.archive.journal import Move
from xep419.archive.storage import Location
from xep419.archive.tally import Tally
from xep419.archive.work import Advance, Outcome, ignore


@dataclasses.dataclass(frozen=True)
class Reading:
    """Reads for some seconds; its outcome's key is the process that did so."""

    size: int = 1000
    seconds: float = 0.0
    name: str = "reading"

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        for _step in range(10):
            time.sleep(self.seconds / 10)
            advance(self.size // 10)
        return [Outcome(str(os.getpid()), "", Tally())]


@dataclasses.dataclass(frozen=True)
class FailingFirst(Reading):
    """Fails after it has read everything, unless it did before."""

    marker: Path = Path()

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        outcomes = super().run(advance)
        if not self.marker.exists():
            self.marker.touch()
            raise ArchiveError("not this time")
        return outcomes


@dataclasses.dataclass(frozen=True)
class Failing(Reading):
    """Fails always."""

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        raise ArchiveError("no space left")


@dataclasses.dataclass(frozen=True)
class Writing(Reading):
    """Ends well, with a temporary that is to be moved."""

    temporary: Path = Path()

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        time.sleep(self.seconds)
        self.temporary.touch()
        place = Location(str(self.temporary))
        return [Outcome("", "", Tally(), (Move(place, place),))]


@dataclasses.dataclass(frozen=True)
class Endless(Reading):
    """Works until it is told that nobody waits for it, and has a file as long as it does."""

    running: Path = Path()

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        self.running.touch()
        try:
            while True:
                advance(1)
                time.sleep(0.01)
        finally:
            self.running.unlink()


@dataclasses.dataclass(frozen=True)
class Deadly(Reading):
    """Takes its worker with it."""

    def run(self, advance: Advance = ignore) -> list[Outcome]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
