"""What an engine is given to do and what it gives back. Says nothing of files, databases or how work is spread.

A worker prepares: it leaves complete, durable, verified files under temporary names. It never puts them in place and
never writes the journal; the coordinator does (see ``job``). Units pickle, and carry all that they need.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from .journal import Move
from .recoding import Recoding
from .storage import Location, discard
from .tally import Tally

#: told how many more bytes of the source were read; called from the worker's thread. What it raises ends the unit.
Advance = Callable[[int], None]


#: entered by a unit while it waits for the storage, so that its processor can go to another one
Waiting = Callable[[], AbstractContextManager[None]]


def ignore(_count: int) -> None:
    """An :data:`Advance` for nobody."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a job does to each of its units, wherever that is.

    ``token`` is part of its temporaries' names. ``format`` is a format's name, or None where each file's content tells
    it; ``options`` are that format's own (``field``, ``column``). ``while_in_use`` goes on where another process has an
    SQLite file open.
    """

    recoding: Recoding
    token: str
    verify: bool = True
    dry_run: bool = False
    format: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    while_in_use: bool = False


class Outcome(NamedTuple):
    """What became of one unit of the journal: its counts, and the moves that put it in place.

    ``before`` is the fingerprint of what was read; ``targets`` are the files that then hold the unit. A ``part`` is the
    first byte of a slice, whose unit is not done yet, and whose ``before`` is the slice's description.
    """

    key: str
    before: str
    tally: Tally
    moves: tuple[Move, ...] = ()
    targets: tuple[Location, ...] = ()
    part: int | None = None


def discard_outcomes(outcomes: Iterable[Outcome]) -> None:
    """Removes what a unit left that nobody will put in place."""
    for outcome in outcomes:
        for move in outcome.moves:
            discard(move.temporary)


class Unit(Protocol):
    """One piece of work for an engine: one or more units of the journal, whose outcomes it returns."""

    @property
    def size(self) -> int:
        """Bytes of source (of a database: rows' estimated bytes), for progress."""

    @property
    def name(self) -> str:
        """What is being worked on, for a person."""

    def divided(self) -> tuple[Unit | None, Unit | None]:
        """The part of it whose work is Python's, which one thread at a time does, and the part whose work is not."""

    def run(self, advance: Advance = ignore, waiting: Waiting = contextlib.nullcontext) -> list[Outcome]:
        """Does it.

        :raises ArchiveError: the job cannot go on; nothing of the unit is left behind.
        """


class Observer(Protocol):
    """Is told how a job goes on, to show it. Called from the coordinator's thread, but for :meth:`advance`."""

    def found(self, units: int, size: int) -> None:
        """So many files or rows more are to be done, of so many bytes."""

    def working(self, name: str) -> None:
        """A unit is handed out."""

    def advance(self, count: int) -> None:
        """So many bytes more were read; called from workers' threads."""

    def done(self, units: int) -> None:
        """So many units more are done."""


class Silent:
    """Shows nothing."""

    def found(self, units: int, size: int) -> None: ...

    def working(self, name: str) -> None: ...

    def advance(self, count: int) -> None: ...

    def done(self, units: int) -> None: ...
