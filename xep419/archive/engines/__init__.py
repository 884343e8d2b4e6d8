"""Engines: where units are run. Each takes units and gives back their outcomes, in any order; results are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from ..work import Advance, Outcome, Unit


class Engine(Protocol):
    """Runs units side by side, a bounded number ahead of those whose outcomes were taken."""

    #: how many units it runs at once
    jobs: int

    def run(self, units: Iterable[Unit], advance: Advance) -> Iterator[list[Outcome]]:
        """The outcomes of each unit as it ends. What was prepared and not taken is removed when the job ends early.

        :raises ArchiveError: what the first unit that failed raised, or why the engine cannot go on.
        """

    def close(self) -> None:
        """Gives back its workers."""
