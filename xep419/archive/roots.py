"""What a job is given: each source with where it goes, and what tells a job from others. Opens nothing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from .storage import Location
from .work import Settings


@dataclasses.dataclass(frozen=True)
class Root:
    """One SOURCE and where it goes; in place, both are the same. ``name`` tells it from the job's other roots."""

    source: Location
    target: Location
    name: str = ""
    is_database: bool = False

    @property
    def in_place(self) -> bool:
        return self.source == self.target


def identity_of(roots: Sequence[Root], settings: Settings) -> dict[str, Any]:
    """What makes a later job the same as this one. Verification, engine and number of jobs may change."""
    recoding = settings.recoding
    return {
        "sources": [_absolute(root.source) for root in roots],
        "targets": [_absolute(root.target) for root in roots],
        "rounds_from": recoding.rounds_from,
        "rounds_to": recoding.rounds_to,
        "upgrade": recoding.upgrade,
        "format": settings.format,
        "options": [list(option) for option in settings.options],
    }


def _absolute(location: Location) -> str:
    return os.path.realpath(location.url) if location.is_local else str(location)
