"""Kills jobs at random instants and resumes them: run by test_archive_kills.py, in a process of its own that forks.

    python tests/kill_runs.py DIRECTORY RUNS SEED

Each run makes an archive, gives the job over it to a child, kills that with SIGKILL somewhere in its course, and
resumes the job. Prints one line of JSON: how many runs of each kind, how many were killed before they ended, and what
went wrong.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from archives import document, rot13, stanza, tree

from xep419 import archive
from xep419.archive import databases, descriptors, job, slices
from xep419.archive.formats import xml
from xep419.archive.storage import TEMPORARY

FILES, STANZAS = 12, 8
LARGE = 120
ROWS, ROWS_OF_UNIT = 60, 8

#: what an archive's files hold, as they come and as they must be in the end; keys of a database's rows likewise
Contents = dict[str, bytes]


class Kind(NamedTuple):
    """One way to keep an archive: how it is made at a path, and read back from there."""

    make: Callable[[Path, bool], None]
    wanted: Callable[[], Contents]
    read: Callable[[Path], Contents]


def maybe_rotated(data: bytes, odd: bool) -> bytes:
    return rot13(data) if odd else data


# -- files: small documents, a large one that is cut into slices, compressed ones, JSON Lines, an index with its XML ----


def stanzas(number: int, upgraded: bool = False) -> list[bytes]:
    rng = random.Random(number)
    return [stanza(rng, upgraded).encode() for _ in range(STANZAS)]


def index_of(items: list[bytes]) -> bytes:
    item = (
        'item({\n\t["offset"] = %d;\n\t["length"] = %d;\n\t["when"] = "2026-11-22T17:09:37Z";\n\t["id"] = "x";\n});\n'
    )
    offsets = [sum(map(len, items[:number])) for number in range(len(items))]
    return "".join(item % (offset, len(one)) for offset, one in zip(offsets, items, strict=True)).encode()


def files(odd: bool, upgraded: bool) -> Contents:
    """By name, decompressed; ``odd``: with the stanzas once rotated."""
    found = {"note.txt": b"no stanza"}
    for number in range(FILES):
        data = maybe_rotated(document(number, LARGE if number == 3 else STANZAS, upgraded), odd)
        found[f"{'deep/' if number % 2 else ''}{number}.xml{'.gz' if number > 8 else ''}"] = data
    for number in range(2):
        items = [maybe_rotated(one, odd) for one in stanzas(number, upgraded)]
        lines = [json.dumps({"stanza": one.decode()}, ensure_ascii=False).encode() + b"\n" for one in items]
        found[f"{number}.jsonl"] = b"".join(lines)
        found[f"day/{number}.list"] = index_of(items)
        found[f"day/{number}.xml"] = b"".join(items)
    return found


def make_files(source: Path, odd: bool) -> None:
    for name, data in files(odd, False).items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_files(result: Path) -> Contents:
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in tree(result).items()}


# -- an SQLite database -----------------------------------------------------------------------------------------------


def rows(odd: bool, upgraded: bool) -> list[str]:
    rng = random.Random(419)
    return [maybe_rotated(stanza(rng, upgraded).encode(), odd).decode() for _ in range(ROWS)]


def make_database(source: Path, odd: bool) -> None:
    source.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source)) as database, database:
        database.execute(
            "CREATE TABLE prosodyarchive (sort_id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT, user TEXT, store TEXT,"
            ' key TEXT, "when" INTEGER, "with" TEXT, type TEXT, value TEXT)'
        )
        database.executemany(
            "INSERT INTO prosodyarchive (type, value) VALUES ('xml', ?)", [(row,) for row in rows(odd, False)]
        )


def read_database(result: Path) -> Contents:
    with closing(sqlite3.connect(result)) as database:
        found = database.execute("SELECT sort_id, value FROM prosodyarchive").fetchall()
        ours = database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'xep419%'").fetchall()
    return {str(number): value.encode() for number, value in found} | {f"table {name}": b"" for (name,) in ours}


def wanted_rows() -> Contents:
    return {str(number): row.encode() for number, row in enumerate(rows(False, True), 1)}


KINDS = {
    "files": Kind(make_files, lambda: files(False, True), read_files),
    "database": Kind(make_database, wanted_rows, read_database),
}


# -- runs -------------------------------------------------------------------------------------------------------------


def run(source: Path, target: Path, in_place: bool, odd: bool, jobs: int) -> None:
    archive.reencrypt(source, None if in_place else target, in_place=in_place, rounds_from=1 if odd else 0, jobs=jobs)


def killed(after: float, *job_given: Any) -> bool:
    """Whether the child was killed before it had ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            run(*job_given)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _child, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def faults_of(root: Path, kind: Kind, result: Path) -> list[str]:
    faults = [f"left behind: {path.name}" for path in root.rglob("*") if path.name.startswith(TEMPORARY)]
    wanted, found = kind.wanted(), kind.read(result)
    return faults + [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]


def main(directory: str, runs: str, seed: str) -> None:
    slices.SPLIT, slices.SLICE, slices.CHUNK = 10_000, 4_000, 1_000
    xml.CHUNK, descriptors.STEP = 500, 1_000
    job.BATCH_FILES = 3
    units = databases.Database.units
    databases.Database.units = lambda self: units(self, ROWS_OF_UNIT)  # type: ignore[method-assign, misc, assignment]
    rng = random.Random(int(seed))
    kills: Counter[str] = Counter()
    faults: list[str] = []
    longest = dict.fromkeys(KINDS, 0.1)
    for number in range(int(runs)):
        name = "database" if number % 3 == 2 else "files"
        kind, in_place, odd, jobs = KINDS[name], bool(number & 1), bool(number & 2), 1 + (number >> 2 & 1)
        root = Path(directory, str(number))
        given = root / "source", root / "target", in_place, odd, jobs
        kind.make(given[0], odd)
        instant = rng.uniform(0, longest[name])
        was_killed = killed(instant, *given)
        kills[name] += was_killed
        # stays about as long as the job takes
        longest[name] = longest[name] * 1.02 if was_killed else max(longest[name] * 0.95, 0.01)
        if rng.random() < 0.3:
            killed(rng.uniform(0, longest[name]), *given)
        run(*given)
        found = faults_of(root, kind, given[0] if in_place else given[1])
        faults += [f"run {number} ({name}, {in_place=}, {odd=}, killed after {instant:.4f} s): {one}" for one in found]
        shutil.rmtree(root)
    print(json.dumps({"runs": int(runs), "killed": kills, "faults": faults}))


if __name__ == "__main__":
    main(*sys.argv[1:])
