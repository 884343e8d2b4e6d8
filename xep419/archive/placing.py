"""New files taken to their places, each once, whatever ends the job in between; what every coordinator shares.

Three things can be found of a unit that was *intended*: its temporary is there (it was not moved), it is gone and the
target is that very file (it was moved), or somebody else was at work. A rename keeps a file's fingerprint, so the
journal knows beforehand which one the target will have. Objects of a store are copied instead, and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArchiveError
from .files import fingerprints, same_bytes, split_fingerprints
from .journal import Journal, Move, Record
from .recoding import Recoding
from .storage import commit, discard, exists, sync_parents


def place(journal: Journal, records: Sequence[Record], *, in_place: bool) -> list[Record]:
    """Journals the moves of units, makes them, and returns the units with the fingerprints of their targets.

    What was replaced in place must be what was read: a unit whose file changed since comes back without moves, and
    nothing of it was moved.

    :raises ArchiveError: a file cannot be put in place; what was moved is journalled as intended.
    """
    intended = [record._replace(after=_after(record.moves)) for record in records]
    try:
        journal.intend(intended)
    except BaseException:
        for record in intended:
            _discard(record.moves)
        raise
    placed = [_placed(record, in_place) for record in intended]
    sync_parents([move.target for record in placed for move in record.moves])
    return [record._replace(after=record.after or _of_targets(record.moves)) for record in placed]


def _placed(record: Record, in_place: bool) -> Record:
    if in_place and _of_targets(record.moves) != record.before:
        _discard(record.moves)
        return record._replace(moves=(), after=record.before)
    for move in record.moves:
        if not commit(move.temporary, move.target):
            raise ArchiveError(f"{move.target}: what was to take its place was removed")
    return record


def recover(journal: Journal) -> None:
    """Ends what an earlier job, whatever its settings, was about to put in place."""
    in_place = is_in_place(journal.facts().get("settings", {}))
    for record in journal.intended():
        _recover(journal, record, in_place)


def _recover(journal: Journal, record: Record, in_place: bool) -> None:
    befores = split_fingerprints(record.before)
    if in_place and not all(_may_take(move, before) for move, before in zip(record.moves, befores, strict=True)):
        _discard(record.moves)
        journal.forget(record.key)
        return
    is_there = all([commit(move.temporary, move.target) for move in record.moves])
    sync_parents([move.target for move in record.moves])
    now = _of_targets(record.moves)
    is_moved = is_there and not (in_place and now == record.before)
    if is_moved:
        # What the target is to be, not what it is: a file that is another by now must not pass for the one moved.
        journal.done([record._replace(after=record.after or now)])
    else:
        journal.forget(record.key)  # somebody removed what was to be moved


def _may_take(move: Move, before: str) -> bool:
    """Whether a temporary that is there may replace its target: that is what was read, or was replaced already."""
    if not exists(move.temporary):
        return True
    return fingerprints([move.target]) == before or (exists(move.target) and same_bytes(move.temporary, move.target))


def refuse_second_rotation(journal: Journal, recoding: Recoding, *, whole: bool = False) -> None:
    """Keeps ``--restart`` from rotating again, in place, what the earlier job left rotated otherwise than it is said.

    :param whole: whether the units have no files of their own: then the job as a whole counts, once it is done.
    :raises ArchiveError: a file is as the earlier job left it.
    """
    facts = journal.facts()
    settings = facts.get("settings", {})
    if not is_in_place(settings) or (settings["rounds_to"] - recoding.rounds_from) % 2 == 0:
        return
    if whole:
        left = settings["targets"][0] if facts["finished"] is not None else None
    else:
        as_left = (one for one in journal.all_done() if one.moves and one.after == _of_targets(one.moves))
        left = next((record.moves[0].target for record in as_left), None)
    if left is not None:
        raise ArchiveError(
            f"{left}: the job that is to be forgotten left it with {settings['rounds_to']} rotations, not with"
            f" {recoding.rounds_from}: restore the backup first, or delete {journal.path} if it is as it came"
        )


def is_in_place(settings: dict[str, Any]) -> bool:
    """Whether a journal's settings are those of a job in place."""
    return bool(settings) and settings["sources"] == settings["targets"]


def _after(moves: Sequence[Move]) -> str:
    """The fingerprint that the targets will have, or nothing where it is not known before."""
    temporaries = [move.temporary for move in moves]
    return fingerprints(temporaries) if all(one.is_local for one in temporaries) else ""


def _of_targets(moves: Sequence[Move]) -> str:
    return fingerprints([move.target for move in moves])


def _discard(moves: Sequence[Move]) -> None:
    for move in moves:
        discard(move.temporary)
