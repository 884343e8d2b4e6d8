"""What a job reports: counts, reasons, speed; as an object, as JSON, and the exit status it means. Prints nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..names import upgrade_name
from .tally import Tally

#: the first field of the JSON; the number changes when the fields do
FORMAT = "xep419 archive report 1"
#: exit status where units were skipped
SKIPPED = 3
#: places outside of stanzas that are told one by one; beyond, together
MOST_PLACES = 1000


@dataclasses.dataclass
class Report:
    """What became of an archive. ``units`` counts files and batches of rows, ``resumed`` those done by earlier runs."""

    operation: str
    sources: list[str]
    target: str | None
    settings: dict[str, Any]
    tally: Tally = dataclasses.field(default_factory=Tally)
    units: int = 0
    resumed: int = 0
    seconds: float = 0.0
    #: bytes of source that this run worked on
    bytes_worked_on: int = 0
    #: bytes a second that a plain copy makes from the same place to the same place, where that was measured
    copying: float | None = None
    #: where names stand that no job touches: place, and how many
    elsewhere: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    journals: list[str] = dataclasses.field(default_factory=list)

    def found_elsewhere(self, place: str, count: int = 1) -> None:
        """Names stand where no job touches them; the places of one run of files are told as one."""
        if self.elsewhere and self.elsewhere[-1][0] == place:
            count += self.elsewhere.pop()[1]
        elif len(self.elsewhere) > MOST_PLACES:
            place, count = "other places", count + self.elsewhere.pop()[1]
        self.elsewhere.append((place, count))

    @property
    def changes(self) -> bool:
        """Whether the operation was one that writes."""
        return self.operation == "reencrypt"

    @property
    def exit_status(self) -> int:
        """0, or 3 where units were skipped."""
        return SKIPPED if self.tally.skipped else 0

    @property
    def names_upgraded(self) -> dict[str, int]:
        """The names that gained a letter, by their insecure form, most frequent first."""
        return dict(self.tally.insecure.most_common()) if self.settings.get("upgrade", True) else {}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        tally = self.tally
        return {
            "format": FORMAT,
            "operation": self.operation,
            "sources": self.sources,
            "target": self.target,
            "settings": self.settings,
            "units": self.units,
            "resumed": self.resumed,
            "stanzas": tally.stanzas,
            "bytes_read": tally.bytes_read,
            "bytes_written": tally.bytes_written,
            "seconds": round(self.seconds, 6),
            "bytes_worked_on": self.bytes_worked_on,
            "copying": self.copying,
            "names": [
                {"name": name, "secure_name": upgrade_name(name), "count": count, "secure": False}
                for name, count in tally.insecure.most_common()
            ]
            + [
                {"name": name, "secure_name": name, "count": count, "secure": True}
                for name, count in tally.secure.most_common()
            ],
            "skipped": tally.skipped,
            "skips": [skip._asdict() for skip in tally.skips],
            "left_alone": dict(tally.left_alone),
            "elsewhere": [{"place": place, "count": count} for place, count in self.elsewhere],
            "journals": self.journals,
            "exit_status": self.exit_status,
        }
