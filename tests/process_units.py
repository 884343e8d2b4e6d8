"""Units of work for the tests of the local engine's processes, which import them: they go wrong as they are told."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

from xep419 import ArchiveError
from xep419.archive.journal import Move
from xep419.archive.storage import Location
from xep419.archive.tally import Tally
from xep419.archive.work import Advance, Outcome, Waiting


@dataclasses.dataclass(frozen=True)
class Telling:
    """Work for Python; its outcome's key is the process that did it."""

    size: int = 1000
    name: str = "telling"

    def divided(self) -> tuple[Telling, None]:
        return self, None

    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        advance(self.size)
        with waiting():
            print("what a process prints does not disturb it", file=sys.stdout, flush=True)
        return [Outcome(str(os.getpid()), "", Tally())]


@dataclasses.dataclass(frozen=True)
class Refusing(Telling):
    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        raise ArchiveError("no space left")


@dataclasses.dataclass(frozen=True)
class Faulty(Telling):
    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        raise KeyError("a fault of our own")


@dataclasses.dataclass(frozen=True)
class Dying(Telling):
    """Of a signal, or an exit status; while it works or while it waits for the disk."""

    how: int = signal.SIGKILL
    waits: bool = False

    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        if self.waits:
            with waiting():
                self._die()
        self._die()
        raise AssertionError

    def _die(self) -> None:
        if self.how < 0:
            os._exit(-self.how)
        os.kill(os.getpid(), self.how)


@dataclasses.dataclass(frozen=True)
class Endless(Telling):
    """Holds a temporary until it is told not to go on, and says where it is by another file."""

    temporary: Path = Path()

    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        self.temporary.touch()
        self.temporary.with_suffix(".pid").write_text(str(os.getpid()))
        try:
            while True:
                advance(1)
        finally:
            self.temporary.unlink()


@dataclasses.dataclass(frozen=True)
class Both:
    """One part for a process, which leaves a temporary, and one for a thread, which fails."""

    temporary: Path
    size: int = 1000
    name: str = "both"

    def divided(self) -> tuple[Leaving, Failing]:
        return Leaving(temporary=self.temporary), Failing()


@dataclasses.dataclass(frozen=True)
class Leaving(Telling):
    temporary: Path = Path()

    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        self.temporary.touch()
        move = Move(Location(str(self.temporary)), Location(str(self.temporary.with_suffix(".done"))))
        return [Outcome("left", "", Tally(), (move,))]


class Failing:
    def run(self, advance: Advance, waiting: Waiting) -> list[Outcome]:
        raise ArchiveError("the thread's part fails")
