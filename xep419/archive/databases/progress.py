"""What a job has done to a database, written in the database: a row of this table commits with the rows it is about.

With an odd number of rotations a row done twice is destroyed, so done ranges are told from others by what they hold,
not by how a later run would have cut them.
"""

from __future__ import annotations

import dataclasses
import json

from ...errors import ArchiveError
from ..recoding import Recoding
from ..tally import Tally
from .connections import Connection

TABLE = "xep419_progress"
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (of_table VARCHAR(64) NOT NULL, first_key BIGINT NOT NULL,"
    " last_key BIGINT NOT NULL, report {text} NOT NULL, PRIMARY KEY (of_table, last_key)){options}"
)
#: ``of_table`` of the row that describes the job
_JOB = ""

#: the first key, exclusive, and the last one
Range = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Job:
    """A job's name, what it does, and the range of each table that it found when it began."""

    name: str
    recoding: Recoding
    bounds: dict[str, Range]

    def same_work(self, other: Recoding) -> bool:
        ours = self.recoding
        return (ours.rounds_from, ours.rounds_to, ours.upgrade) == (other.rounds_from, other.rounds_to, other.upgrade)


def read_job(connection: Connection) -> Job | None:
    """The job that is under way, or None."""
    if not connection.inspect().has_table(TABLE):
        return None
    for (text,) in connection.select(f"SELECT report FROM {TABLE} WHERE of_table = ?", _JOB):
        fields = json.loads(text)
        bounds = {table: (low, high) for table, (low, high) in fields["bounds"].items()}
        return Job(fields["name"], Recoding(**fields["recoding"]), bounds)
    return None


def begin(connection: Connection, job: Job) -> Job:
    """Writes the job down, or finds it, or another that does the same, under way: that one is returned.

    :raises ArchiveError: one that does something else is.
    """
    mysql = connection.dialect == "mysql"
    text, options = ("LONGTEXT", " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4") if mysql else ("TEXT", "")
    connection.execute(_CREATE.format(text=text, options=options))
    with connection.transaction():
        known = read_job(connection)
        if known is None:
            _insert(connection, _JOB, (0, 0), json.dumps(dataclasses.asdict(job)))
            return job
    if not known.same_work(job.recoding):
        raise ArchiveError(
            f"expected to go on with a job that rotates {_work(job.recoding)}, but the unfinished job {known.name!r} in"
            f" the database's table {TABLE} rotates {_work(known.recoding)}"
        )
    return known


def _work(recoding: Recoding) -> str:
    upgrade = "with names upgraded" if recoding.upgrade else "with names as they are"
    return f"from {recoding.rounds_from} to {recoding.rounds_to} rounds, {upgrade}"


def finish(connection: Connection) -> None:
    """Forgets the job."""
    connection.execute(f"DROP TABLE IF EXISTS {TABLE}")


def done(connection: Connection, table: str) -> list[Range]:
    """The ranges of a table that are done, in order."""
    sql = f"SELECT first_key, last_key FROM {TABLE} WHERE of_table = ? ORDER BY last_key"
    return [(first, last) for first, last in connection.select(sql, table)]


def recorded(connection: Connection, table: str, wanted: Range) -> Tally | None:
    """What the range came to if it is done, or None.

    :raises ArchiveError: a part of it is done.
    """
    sql = f"SELECT first_key, last_key, report FROM {TABLE} WHERE of_table = ? AND last_key > ?"
    for first, last, report in connection.select(f"{sql} ORDER BY last_key LIMIT 1", table, wanted[0]):
        if (first, last) == wanted:
            return Tally.from_dict(json.loads(report))
        if first < wanted[1]:
            raise ArchiveError(f"{table}: rows of ({wanted[0]},{wanted[1]}] were done already, as ({first},{last}]")
    return None


def record(connection: Connection, table: str, finished: Range, tally: Tally) -> None:
    """Writes down that a range is done; to be called in the transaction that does it.

    :raises ArchiveError: it was done already.
    """
    _insert(connection, table, finished, json.dumps(tally.as_dict()))


def _insert(connection: Connection, table: str, keys: Range, report: str) -> None:
    sql = f"INSERT INTO {TABLE} (of_table, first_key, last_key, report) VALUES (?, ?, ?, ?)"
    connection.execute(sql, table, *keys, report)
