"""Which processes have a file open, as far as Linux lets us see. Elsewhere none is seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def other_openers(path: str) -> Iterator[str]:
    """Other processes that have the file open, as a number and a name; those of other users only root sees."""
    wanted = os.stat(path)
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid() and _has_open(process, wanted):
            try:
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:  # it has just ended
                continue
            yield f"{process.name} ({name})"


def _has_open(process: Path, wanted: os.stat_result) -> bool:
    try:
        files = list((process / "fd").iterdir())
    except OSError:  # it ended, or is another user's
        return False
    for file in files:
        try:
            if os.path.samestat(file.stat(), wanted):
                return True
        except OSError:
            continue
    return False
