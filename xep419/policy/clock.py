"""The time that pins are dated by: it never goes back.

HSTS dates by the wall clock, and who can set that can end or prolong what it protects. Here the time is the latest of
what the wall clock shows and what was known before, and while the wall clock is behind, it goes on by the seconds that
this process really ran. Set back, a clock thus ends no pin before its time and makes none last for ever; put right
again, it is the time. Set forward it does end pins, as in HSTS: nothing here can tell that from time that went by.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class PinClock:
    """Seconds since 1970 that never decrease.

    :param wall: what time it is, if it is to be believed.
    :param monotonic: seconds that went by, from any beginning.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked = monotonic()
        self._latest = wall()

    def now(self) -> float:
        with self._lock:
            looked = self._monotonic()
            went_by = max(0.0, looked - self._looked)
            self._looked = looked
            self._latest = max(self._latest + went_by, self._wall())
            return self._latest

    def advance_to(self, known: float) -> None:
        """It is at least so late: a store, or another process, has seen that time."""
        with self._lock:
            self._latest = max(self._latest, known)


__all__ = ["PinClock"]
