"""Archives against ``cp -r`` and ``sed``, their growth and memory: whole commands, in turns, on this disk.

    python benchmarks/archives.py [--megabytes 2000] [--rounds 3] [--directory DIR] [--growth]

Makes a directory of XML documents, leaves it in the page cache, and gives it in turn to each side; prints the median
of each, its ratios to the copy and to the copy made durable, and the most memory that it had. ``cp`` does not wait for
the disk and ``xep419`` does (every file is synced before it is put in place): the second ratio is that of like with
like, and DIR on a tmpfs compares the work alone. With ``--growth`` also one
document of 100 MB to 5 GB at two jobs: time a byte and memory must not grow with it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from inputs import document

MB = 10**6
#: bytes of one document of the directory
DOCUMENT = 4 << 20
#: declarations alone, in the way that an operator would write it
SED = r"s#(xmlns(:[A-Za-z0-9_.-]+)?=['\"])http:#\1https:#g; s#(xmlns(:[A-Za-z0-9_.-]+)?=['\"])urn:xmpp:#\1urn:xmpps:#g"
COMMAND = (sys.executable, "-m", "xep419", "archive", "reencrypt", "--json")


class Run(NamedTuple):
    """Seconds on the wall, and the most memory of the process, in bytes."""

    seconds: float
    memory: int


class Side(NamedTuple):
    name: str
    command: Callable[[Path, Path], list[str]]


def reencrypt(*options: str) -> Callable[[Path, Path], list[str]]:
    return lambda source, target: [*COMMAND, str(source), "-o", str(target), *options]


def copy(source: Path, target: Path) -> list[str]:
    return ["cp", "-r", str(source), str(target)]


def durable_copy(source: Path, target: Path) -> list[str]:
    return ["sh", "-c", 'cp -r "$0" "$1" && sync --file-system "$1"', str(source), str(target)]


def sed(source: Path, target: Path) -> list[str]:
    script = (
        f"mkdir '{target}' && cd '{source}' && for f in *; do LC_ALL=C sed -E \"$0\" \"$f\" > '{target}'/\"$f\"; done"
    )
    return ["sh", "-c", script, SED]


SIDES = (
    Side("cp -r", copy),
    Side("cp -r, then sync", durable_copy),
    Side("reencrypt --no-verify", reencrypt("--no-verify")),
    Side("reencrypt --no-verify, 1 job", reencrypt("--no-verify", "--jobs", "1")),
    Side("reencrypt", reencrypt()),
    Side("reencrypt, 1 job", reencrypt("--jobs", "1")),
)
SLOW = Side("sed, declarations alone", sed)


def made(directory: Path, megabytes: int) -> Path:
    """A directory of documents, in the page cache."""
    source = directory / f"source-{megabytes}"
    source.mkdir()
    data = one_document(DOCUMENT)
    for number in range(max(1, megabytes * MB // len(data))):
        (source / f"{number:05}.xml").write_bytes(data)
    os.sync()
    return source


def one_document(size: int) -> bytes:
    """Stanzas of the density of XMPP, below one root."""
    body = document(DOCUMENT, "common").data
    return b"<archive>\n" + body * max(1, size // len(body)) + b"\n</archive>\n"


def run(side: Side, source: Path, target: Path) -> Run:
    """The command, once; what it wrote is removed."""
    started = time.perf_counter()
    process = subprocess.Popen(side.command(source, target), stdout=subprocess.DEVNULL)
    _process, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{side.name} failed: exit status {process.returncode}")
    remove(target)
    return Run(seconds, usage.ru_maxrss * 1024)


def remove(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
    for left in target.parent.glob(f"{target.name}.xep419-journal*"):
        left.unlink()


def in_turns(sides: list[Side], source: Path, directory: Path, rounds: int) -> dict[str, list[Run]]:
    """One run of each to warm up, then ``rounds`` of each in turns."""
    found: dict[str, list[Run]] = {side.name: [] for side in sides}
    for turn in range(rounds + 1):
        for side in sides:
            result = run(side, source, directory / "target")
            if turn:
                found[side.name].append(result)
    return found


def seconds_of(runs: list[Run]) -> float:
    return statistics.median(one.seconds for one in runs)


def memory_of(runs: list[Run]) -> str:
    """The most of any run; none of what takes less than we do: the kernel starts to count at the parent's."""
    most = max(one.memory for one in runs)
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{most / MB:7.0f} MB" if most > ours else ""


def compare(directory: Path, megabytes: int, rounds: int) -> None:
    source = made(directory, megabytes)
    size = sum(path.stat().st_size for path in source.iterdir())
    found = in_turns(list(SIDES), source, directory, rounds)
    found |= in_turns([SLOW], source, directory, 1)
    copying, durably = (seconds_of(found[name]) for name in ("cp -r", "cp -r, then sync"))
    print(f"{size / MB:.0f} MB of XML in {len(list(source.iterdir()))} files, {directory}, medians of {rounds}")
    print(f"{'':32}{'seconds':>9}{'MB/s':>8}{'times cp':>10}{'cp, sync':>10}{'memory':>10}")
    for name, runs in found.items():
        seconds = seconds_of(runs)
        ratios = f"{seconds / copying:10.2f}{seconds / durably:10.2f}"
        print(f"{name:32}{seconds:9.2f}{size / MB / seconds:8.0f}{ratios}{memory_of(runs)}")
    shutil.rmtree(source)


def grow(directory: Path) -> None:
    print(f"\n{'one document, 2 jobs':32}{'seconds':>9}{'MB/s':>8}{'':20}{'memory':>10}")
    side = Side("growth", reencrypt("--jobs", "2"))
    body = document(DOCUMENT, "common").data
    for megabytes in (100, 1000, 5000):
        source = directory / "large.xml"
        with source.open("wb") as file:
            file.write(b"<archive>\n")
            for _ in range(megabytes * MB // len(body)):
                file.write(body)
            file.write(b"\n</archive>\n")
        os.sync()
        size = source.stat().st_size
        result = run(side, source, directory / "target.xml")
        row = f"{result.seconds:9.2f}{size / MB / result.seconds:8.0f}{'':20}{memory_of([result])}"
        print(f"{megabytes:>6} MB{'':23}{row}", flush=True)
        source.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--growth", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xep419-archives-", dir=arguments.directory) as scratch:
        compare(Path(scratch), arguments.megabytes, arguments.rounds)
        if arguments.growth:
            grow(Path(scratch))


if __name__ == "__main__":
    main()
