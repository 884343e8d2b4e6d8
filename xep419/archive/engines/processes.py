"""Processes for the local engine: interpreters that are started anew and take units and tell of them by pipes.

Not those of ``multiprocessing``: its spawn and forkserver import the caller's script again in every process, where one
without ``if __name__ == "__main__"`` would begin its job again; its fork copies locks that other threads hold. Decides
nothing about which units go to a process.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from typing import Any

from ...errors import ArchiveError
from ..work import Advance, Outcome, Unit, Waiting
from .worker import Told

#: modules are looked for where this process looks for them
_BEGIN = "import sys; sys.path[:] = sys.argv[1:]; from xep419.archive.engines.worker import main; main()"


def may_help() -> bool:
    """Whether processes gain what threads do not, and an interpreter can be started."""
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    return has_lock and bool(sys.executable) and not getattr(sys, "frozen", False)


class Processes:
    """At most so many, each started when there is a unit for it and none is free."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._idle: list[_Process] = []

    def run(
        self, unit: Unit, advance: Advance, waiting: Waiting, at_work: AbstractContextManager[object]
    ) -> list[Outcome]:
        """The unit's outcomes.

        :param at_work: entered once there is a process for it.
        :raises ArchiveError: as the unit does; or the process ended meanwhile.
        """
        with self._free, at_work:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _Process()
            try:
                return process.run(unit, advance, waiting)
            finally:
                if process.is_usable:
                    self._idle.append(process)

    def close(self) -> None:
        """Ends them. None is at work any more."""
        while self._idle:
            self._idle.pop().close()


class _Process:
    def __init__(self) -> None:
        command = [sys.executable, "-c", _BEGIN, *sys.path]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise ArchiveError(f"no process can be started: {error}: --jobs 1 needs none") from error
        self.is_usable = True

    def run(self, unit: Unit, advance: Advance, waiting: Waiting) -> list[Outcome]:
        try:
            return self._run(unit, advance, waiting)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ArchiveError(self._end(unit)) from error

    def _run(self, unit: Unit, advance: Advance, waiting: Waiting) -> list[Outcome]:
        stopping: BaseException | None = None
        self._send(unit)
        with contextlib.ExitStack() as at_the_disk:
            while True:
                told, value = self._receive()
                if told is Told.DONE:
                    return list(value)
                if told is Told.FAILED:
                    raise value
                if told is Told.STOPPED:
                    assert stopping is not None
                    raise stopping
                try:
                    if told is Told.READ:
                        advance(value)
                    elif told is Told.WAITS:
                        at_the_disk.enter_context(waiting())
                    else:
                        at_the_disk.close()
                except BaseException as error:
                    stopping = error
                self._send(stopping is None)

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def _receive(self) -> tuple[Told, Any]:
        assert self._process.stdout is not None
        message: tuple[Told, Any] = pickle.load(self._process.stdout)
        return message

    def _end(self, unit: Unit) -> str:
        """Ends a process that cannot be talked to; says what became of it."""
        self.is_usable = False
        self.close()
        status = self._process.returncode
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"{unit.name}: the process that worked on it ended ({how}); run the same job again, and it goes on"

    def close(self) -> None:
        """It ends, since nothing more comes."""
        with contextlib.suppress(OSError):  # what was not sent is sent now
            self._process.communicate()
