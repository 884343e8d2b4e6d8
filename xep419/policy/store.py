"""``PinStore``: the pins of all peers, in memory for those that are met, in SQLite for all and for ever.

Any number of threads and processes may use one file. It stores pins; what a pin forbids is :mod:`xep419.policy.rules`'.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .clock import PinClock
from .database import MEMORY, Database
from .peers import normal_peer
from .pins import Pin, can_be_pinned, checked, secure_form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

#: seconds that another process's change may go unseen
STALE = 1.0
#: a pin's use is stored when the stored one is older than this, or than a tenth of its max_age; seconds
REFRESH = 3_600.0
#: seconds in which a peer, or a store, that was full is not tried again
FULL = 3_600.0
#: peers whose pins are kept in memory
CACHED = 65_536
#: pins read at a time
_PAGE = 1_000

_log = logging.getLogger("xep419.policy")

_COLUMNS = "peer, name, first_seen, last_seen, max_age, include_subdomains"
_MERGE = f"""
INSERT INTO pin ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (peer, name) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen), last_seen = excluded.last_seen,
    max_age = excluded.max_age, include_subdomains = excluded.include_subdomains
WHERE excluded.last_seen >= last_seen
"""


class Stored(NamedTuple):
    """What became of pins: how many are new, how many were there, how many had no room."""

    new: int
    known: int
    refused: int


class PinStore:
    """The pins, by peer and name.

    :param path: a file, or ``":memory:"`` for pins that end with the process. It is made where it is not there,
        readable by its owner only, in a directory that must be; ``-wal`` and ``-shm`` files are beside it while it is
        open.
    :param create: False when it must be there: a store that went missing is an error then, and not a first use of
        every peer.
    :param max_pins: in all; :param max_pins_per_peer: for one. What is beyond is refused (:attr:`refused`, a warning
        of the logger ``xep419.policy``), and what is there stays: so nobody can push out another's pins, or his own.
    :param timeout: seconds to wait for another process or thread.
    :raises PinStoreError: it cannot be opened, is damaged, or not a pin store. Every method raises it when the file
        cannot be read or written; then nothing was changed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = MEMORY,
        *,
        create: bool = True,
        max_pins: int = 1_000_000,
        max_pins_per_peer: int = 256,
        timeout: float = 5.0,
        clock: PinClock | None = None,
    ) -> None:
        self._max_pins = max_pins
        self._max_pins_per_peer = max_pins_per_peer
        self._clock = clock or PinClock()
        #: pins that found no room since this object was made
        self.refused = 0
        self._cache: dict[str, dict[str, Pin]] = {}
        self._full: dict[str, float] = {}  # until when a peer, or "" for the store, is not tried again
        self._changes: int | None = None
        self._looked = float("-inf")
        self._database = Database(os.fspath(path), create=create, timeout=timeout)

    @property
    def path(self) -> str:
        return self._database.path

    def now(self) -> float:
        """The time by the store's clock; seconds since 1970."""
        return self._clock.now()

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- reading ------------------------------------------------------------------------------------------

    def of(self, peer: str) -> Mapping[str, Pin]:
        """The pins of a peer by name, those that have expired too. A change by another process shows within a second.

        :param peer: as :func:`xep419.policy.normal_peer` gives it.
        """
        if time.monotonic() - self._looked >= STALE:
            self._look()
        found = self._cache.get(peer)
        if found is None:
            with self._database.reading() as connection:
                rows = connection.execute(f"SELECT {_COLUMNS} FROM pin WHERE peer = ?", (peer,)).fetchall()
                found = {row[1]: self._pin(row) for row in rows}
                self._remember(peer, found)
        return found

    def __iter__(self) -> Iterator[Pin]:
        """Every pin, by peer and name, those that have expired too. The store may be used meanwhile."""
        after = ("", "")
        while True:
            with self._database.reading() as connection:
                page = connection.execute(
                    f"SELECT {_COLUMNS} FROM pin WHERE (peer, name) > (?, ?) ORDER BY peer, name LIMIT {_PAGE}", after
                ).fetchall()
            yield from map(self._pin, page)
            if not page:
                return
            after = page[-1][:2]

    def __len__(self) -> int:
        with self._database.reading() as connection:
            return _count(connection)

    def _look(self) -> None:
        """Sees whether another process has written, and what time it knew."""
        with self._database.reading() as connection:
            self._database.check_in_place()
            (changes,) = connection.execute("PRAGMA data_version").fetchone()
            if changes != self._changes:
                self._cache.clear()
                self._full.clear()
                self._clock.advance_to(connection.execute("SELECT latest FROM store").fetchone()[0])
            self._changes = changes
            self._looked = time.monotonic()

    def _remember(self, peer: str, pins: dict[str, Pin]) -> None:
        while len(self._cache) >= CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[peer] = pins

    def _pin(self, row: tuple[str, str, float, float, float, int]) -> Pin:
        return Pin(*row[:5], bool(row[5]))

    # -- writing ------------------------------------------------------------------------------------------

    def learn(self, peer: str, names: Iterable[str], *, max_age: float, include_subdomains: bool = False) -> None:
        """Pins names that a peer has used just now, and notes the use of those that were pinned.

        Most calls write nothing: only new pins do, uses of such as were last noted an hour ago, and of such as hold for
        less than what is asked for here (RFC 6797 section 8.1); none is made to hold for less.

        :param peer: as :func:`xep419.policy.normal_peer` gives it; :param names: secure forms.
        """
        now = self.now()
        pins = self.of(peer)
        due: list[Pin] = []
        room = 0 if self._is_full(peer, now) else self._max_pins_per_peer + 1  # one more, to be told that it is full
        for name in names:
            pin = pins.get(name)
            if pin is None or pin.expires < now:
                if room and can_be_pinned(name):
                    room -= 1
                    due.append(Pin(peer, name, now, now, max_age, include_subdomains))
            elif (
                now - pin.last_seen > min(REFRESH, pin.max_age / 10)
                or max_age > pin.max_age
                or include_subdomains > pin.include_subdomains
            ):
                longest, below = max(pin.max_age, max_age), pin.include_subdomains or include_subdomains
                due.append(pin._replace(last_seen=now, max_age=longest, include_subdomains=below))
        if due:
            self._store(due, now)

    def add(self, pins: Iterable[Pin]) -> Stored:
        """Stores pins that were made elsewhere: all that there is room for. Of two for one peer and name the one that
        was last seen later stays; none counts as seen later than now.

        :raises PinFormatError, MalformedJIDError: one is not a pin; none is stored then.
        """
        now = self.now()
        good = map(checked, pins)
        return self._store(
            [pin._replace(first_seen=min(pin.first_seen, now), last_seen=min(pin.last_seen, now)) for pin in good], now
        )

    def remove(self, peer: str, name: str | None = None) -> int:
        """Removes a peer's pin of a name, or all of them; gives how many there were.

        :param peer: any JID of theirs; :param name: in either form.
        """
        peer = normal_peer(peer)
        with self._database.writing() as connection:
            if name is None:
                done = connection.execute("DELETE FROM pin WHERE peer = ?", (peer,))
            else:
                done = connection.execute("DELETE FROM pin WHERE (peer, name) = (?, ?)", (peer, secure_form(name)))
        self._cache.pop(peer, None)
        self._full.clear()
        return done.rowcount

    def remove_expired(self) -> int:
        """Makes room: removes what holds no more; gives how many."""
        now = self.now()
        with self._database.writing() as connection:
            done = _remove_expired(connection, now)
        self._cache.clear()
        self._full.clear()
        return done

    def _store(self, pins: list[Pin], now: float) -> Stored:
        refused: list[Pin] = []
        known = 0
        purged: set[str] = set()
        with self._database.writing() as connection:
            (latest,) = connection.execute("SELECT latest FROM store").fetchone()
            for pin in pins:
                if connection.execute("SELECT 1 FROM pin WHERE (peer, name) = (?, ?)", pin[:2]).fetchone():
                    known += 1
                elif not self._has_room(connection, pin.peer, now, purged):
                    refused.append(pin)
                    continue
                connection.execute(_MERGE, (*pin[:5], int(pin.include_subdomains)))
            connection.execute("UPDATE store SET latest = max(latest, ?)", (now,))
        self._clock.advance_to(latest)
        for pin in pins:
            self._cache.pop(pin.peer, None)
        self._report(refused, now)
        return Stored(len(pins) - known - len(refused), known, len(refused))

    def _has_room(self, connection: sqlite3.Connection, peer: str, now: float, purged: set[str]) -> bool:
        """Whether one more pin has room; what has expired goes for it, once for a peer and once for the store."""
        while True:
            whole = _count(connection) >= self._max_pins
            if not whole and self._count(connection, peer) < self._max_pins_per_peer:
                return True
            purging = "" if whole else peer
            if purging in purged:
                return False
            purged.add(purging)
            _remove_expired(connection, now, None if whole else peer)

    def _count(self, connection: sqlite3.Connection, peer: str) -> int:
        found: int = connection.execute("SELECT count(*) FROM pin WHERE peer = ?", (peer,)).fetchone()[0]
        return found

    # -- no room ------------------------------------------------------------------------------------------

    def _is_full(self, peer: str, now: float) -> bool:
        return bool(self._full) and max(self._full.get(peer, 0.0), self._full.get("", 0.0)) > now

    def _report(self, refused: list[Pin], now: float) -> None:
        """Says so once, and has the full one not tried at each of its stanzas again."""
        if not refused:
            return
        self.refused += len(refused)
        whole = len(self) >= self._max_pins
        for peer in {""} if whole else {pin.peer for pin in refused}:
            while len(self._full) >= CACHED:
                del self._full[next(iter(self._full))]
            self._full[peer] = now + FULL
            limit = f"{self._max_pins} pins" if whole else f"{self._max_pins_per_peer} pins of {peer}"
            _log.warning("pin store %s holds %s and takes no more of them", self.path, limit)


def _count(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT pins FROM store").fetchone()[0]
    return found


def _remove_expired(connection: sqlite3.Connection, now: float, peer: str | None = None) -> int:
    """Of one peer, or of all."""
    whose = "" if peer is None else "peer = :peer AND "
    removing = f"DELETE FROM pin WHERE {whose}last_seen + max_age < :now"
    return connection.execute(removing, {"peer": peer, "now": now}).rowcount


__all__ = ["PinStore", "Stored"]
