"""What a job, or a part of one, came to: counts, names, and what was passed over with the reason. No I/O."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..names import Scope

#: places of skipped units that a tally keeps; beyond, they are counted only
MOST_SKIPS = 1000
#: different names, and different reasons, that a tally counts one by one; beyond, together under :data:`OTHERS`
MOST_NAMES, MOST_REASONS = 10_000, 100
OTHERS = "(others)"


class Skip(NamedTuple):
    """One unit that was left as it was.

    ``place`` says where it is as an operator would find it (a path, ``archive.jsonl:17``, ``archive id=4``), ``reason``
    why, ``offset`` the byte in it where that was found, or None.
    """

    place: str
    reason: str
    offset: int | None = None

    def __str__(self) -> str:
        return f"{self.place}: {'' if self.offset is None else f'byte {self.offset}: '}{self.reason}"


@dataclasses.dataclass
class Tally:
    """Counts of one unit or of many; tallies of parts add up to the whole's by :meth:`add`."""

    #: stanzas, or for documents first-level elements
    stanzas: int = 0
    #: bytes as stored, before and after (of compressed files: the compressed ones)
    bytes_read: int = 0
    bytes_written: int = 0
    #: insecure names by their insecure form: each gains a letter where names are upgraded
    insecure: Counter[str] = dataclasses.field(default_factory=Counter)
    #: names that were secure already
    secure: Counter[str] = dataclasses.field(default_factory=Counter)
    #: corrupt or unsupported units, the first :data:`MOST_SKIPS` of them; how many in all
    skips: list[Skip] = dataclasses.field(default_factory=list)
    skipped: int = 0
    #: what holds no stanza and was left alone, by the reason
    left_alone: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def letters(self) -> int:
        """Letters that an upgrade of these names inserts."""
        return self.insecure.total() if hasattr(Counter, "total") else sum(self.insecure.values())

    def count(self, names: Mapping[tuple[str, Scope, bool], int]) -> None:
        """Adds the counts of a :class:`~xep419.namespaces.NamespaceCensus`."""
        for (name, _kind, is_secure), number in names.items():
            _count(self.secure if is_secure else self.insecure, name, number, MOST_NAMES)

    def leave_alone(self, reason: str) -> None:
        """One more unit that holds no stanza."""
        _count(self.left_alone, reason, 1, MOST_REASONS)

    def skip(self, place: str, reason: str, offset: int | None = None) -> None:
        """One more unit left as it was."""
        self.skipped += 1
        if len(self.skips) < MOST_SKIPS:
            self.skips.append(Skip(place, reason, offset))

    def add(self, other: Tally) -> None:
        self.stanzas += other.stanzas
        self.bytes_read += other.bytes_read
        self.bytes_written += other.bytes_written
        for name, number in other.insecure.items():
            _count(self.insecure, name, number, MOST_NAMES)
        for name, number in other.secure.items():
            _count(self.secure, name, number, MOST_NAMES)
        self.skipped += other.skipped
        self.skips.extend(other.skips[: MOST_SKIPS - len(self.skips)])
        for reason, number in other.left_alone.items():
            _count(self.left_alone, reason, number, MOST_REASONS)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; :meth:`from_dict` is its inverse."""
        return {
            "stanzas": self.stanzas,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "insecure": dict(self.insecure),
            "secure": dict(self.secure),
            "skipped": self.skipped,
            "skips": [skip._asdict() for skip in self.skips],
            "left_alone": dict(self.left_alone),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Tally:
        tally = cls(**{name: fields[name] for name in ("stanzas", "bytes_read", "bytes_written", "skipped")})
        tally.insecure.update(fields["insecure"])
        tally.secure.update(fields["secure"])
        tally.skips.extend(Skip(**skip) for skip in fields["skips"])
        tally.left_alone.update(fields["left_alone"])
        return tally


def _count(counts: Counter[str], what: str, number: int, most: int) -> None:
    """Memory stays bounded whatever an archive holds."""
    counts[what if what in counts or len(counts) < most else OTHERS] += number
