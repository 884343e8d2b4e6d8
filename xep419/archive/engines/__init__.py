"""Engines: where units are run. Each takes units and gives back their outcomes, in any order; results are the same."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol

from ..work import Advance, Outcome, Unit


class Engine(Protocol):
    """Runs units side by side, a bounded number ahead of those whose outcomes were taken."""

    #: whether a worker can be lost with what it had begun, so that temporaries must be looked for at the job's end
    loses_workers: bool

    def run(self, units: Iterable[Unit], advance: Advance) -> Generator[list[Outcome], None, None]:
        """The outcomes of each unit as it ends. What was prepared and not taken is removed when this is closed early.

        :raises ArchiveError: what the first unit that failed raised, or why the engine cannot go on.
        """

    def close(self) -> None:
        """Gives back its workers."""
