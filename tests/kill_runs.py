"""Kills jobs at random instants and resumes them: run by test_archive_kills.py, in a process of its own that forks.

    python tests/kill_runs.py DIRECTORY RUNS SEED

Each run makes an archive, gives the job over it to a child, kills that with SIGKILL somewhere in its course, and
resumes the job. Prints one line of JSON: how many runs, how many were killed before they ended, and what went wrong.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from archives import document, rot13, tree

from xep419 import archive
from xep419.archive import job, slices
from xep419.archive.storage import TEMPORARY

FILES, STANZAS = 12, 8
LARGE = 120


def make(source: Path, odd: bool) -> None:
    """Some small documents and a large one, which is cut into slices."""
    (source / "deep").mkdir(parents=True)
    for number in range(FILES):
        data = document(number, LARGE if number == 3 else STANZAS)
        (source / ("deep" if number % 2 else ".") / f"{number}.xml").write_bytes(rot13(data) if odd else data)
    (source / "note.txt").write_bytes(b"no stanza")


def wanted(number: int) -> bytes:
    return document(number, LARGE if number == 3 else STANZAS, upgraded=True)


def run(source: Path, target: Path, in_place: bool, odd: bool, jobs: int) -> None:
    archive.reencrypt(source, None if in_place else target, in_place=in_place, rounds_from=1 if odd else 0, jobs=jobs)


def killed(source: Path, target: Path, in_place: bool, odd: bool, jobs: int, after: float) -> bool:
    """Whether the child was killed before it had ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            run(source, target, in_place, odd, jobs)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _child, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def faults_of(root: Path, result: Path) -> list[str]:
    faults = [f"left behind: {path.name}" for path in root.rglob("*") if path.name.startswith(TEMPORARY)]
    found = tree(result)
    if found.pop("note.txt", None) != b"no stanza":
        faults.append("note.txt")
    if len(found) != FILES:
        faults.append(f"{len(found)} files")
    return faults + [name for name, data in found.items() if data != wanted(int(Path(name).stem))]


def main(directory: str, runs: str, seed: str) -> None:
    slices.SPLIT, slices.SLICE, slices.CHUNK = 10_000, 4_000, 1_000
    job.BATCH_FILES = 3
    rng = random.Random(int(seed))
    kills, faults, longest = 0, [], 0.1
    for number in range(int(runs)):
        in_place, odd, jobs = bool(number & 1), bool(number & 2), 1 + (number >> 2 & 1)
        root = Path(directory, str(number))
        source, target = root / "source", root / "target"
        make(source, odd)
        instant = rng.uniform(0, longest)
        was_killed = killed(source, target, in_place, odd, jobs, instant)
        kills += was_killed
        longest = longest * 1.02 if was_killed else max(longest * 0.95, 0.01)  # stays about as long as the job takes
        if rng.random() < 0.3:
            killed(source, target, in_place, odd, jobs, rng.uniform(0, longest))
        run(source, target, in_place, odd, jobs)
        found = faults_of(root, source if in_place else target)
        faults += [
            f"run {number} (in_place={in_place}, odd={odd}, killed after {instant:.4f} s): {one}" for one in found
        ]
        shutil.rmtree(root)
    print(json.dumps({"runs": int(runs), "killed": kills, "faults": faults}))


if __name__ == "__main__":
    main(*sys.argv[1:])
