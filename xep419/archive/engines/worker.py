"""A process of the local engine's: does the units that it is sent, one after the other, until there are no more.

Run by ``processes``, which says how both talk. It ends when its coordinator does, whatever becomes of that.
"""

from __future__ import annotations

import contextlib
import enum
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import IO, Any

from ...errors import XEP419Error
from ..work import Unit, discard_outcomes


class Told(enum.Enum):
    """What a worker tells of its unit, with a value; each time it waits for the answer whether to go on."""

    READ = enum.auto()  #: so many bytes more were read
    WAITS = enum.auto()  #: it waits for the storage
    WORKS = enum.auto()  #: and does no longer
    DONE = enum.auto()  #: its outcomes; no answer comes
    FAILED = enum.auto()  #: the error; no answer comes
    STOPPED = enum.auto()  #: it was told not to go on; no answer comes


class _StopError(Exception):
    """Nobody waits for the unit any more."""


class Coordinator:
    """The other end of the pipes."""

    def __init__(self, heard: IO[bytes], told: IO[bytes]) -> None:
        self._heard = heard
        self._told = told

    def units(self) -> Iterator[Unit]:
        with contextlib.suppress(EOFError):
            while True:
                yield pickle.load(self._heard)

    def tell(self, what: Told, value: Any = None) -> None:
        pickle.dump((what, value), self._told)
        self._told.flush()

    def ask(self, what: Told, value: Any = None) -> None:
        """:raises _StopError: the unit is not to go on, or the coordinator is gone."""
        try:
            self.tell(what, value)
            goes_on = pickle.load(self._heard)
        except (OSError, EOFError):
            goes_on = False
        if not goes_on:
            raise _StopError

    def advance(self, count: int) -> None:
        self.ask(Told.READ, count)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        self.ask(Told.WAITS)
        yield
        self.ask(Told.WORKS)


def main() -> None:
    """Called with a pipe as standard input and another as standard output."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # which a terminal or a service gives to the coordinator, too
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    told = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may be written to the pipe
    coordinator = Coordinator(sys.stdin.buffer, told)
    with contextlib.suppress(BrokenPipeError):
        for unit in coordinator.units():
            work(unit, coordinator)


def work(unit: Unit, coordinator: Coordinator) -> None:
    """:raises BrokenPipeError: the coordinator is gone; nothing of the unit is left."""
    try:
        outcomes = unit.run(coordinator.advance, coordinator.waiting)
    except _StopError:
        coordinator.tell(Told.STOPPED)
    except XEP419Error as error:
        coordinator.tell(Told.FAILED, error)
    except Exception:
        coordinator.tell(Told.FAILED, RuntimeError(traceback.format_exc()))
    else:
        try:
            coordinator.tell(Told.DONE, outcomes)
        except BrokenPipeError:
            discard_outcomes(outcomes)
            raise
