"""Instructions per byte, counted exactly by ``valgrind --tool=callgrind``, against those in ``instructions.toml``.

    python benchmarks/instructions.py            compare; 1 when a count moved by more than 2 % either way
    python benchmarks/instructions.py --record   write the counts of this build down

Counts do not wander as times do, so that a loss of a few per cent is seen on any machine. They do depend on the
compiler and its flags, by up to 5 % from one CPython's to another's, and the file has them for the builds that it
names: for any other, or without valgrind, nothing is compared and the reason is told. Callgrind runs AVX2 but not
AVX-512.

Counted is what the core itself executes. What the interpreter and the C library do for it is left out: how often a
block is copied when it grows depends on all that the heap has seen before, and moved the counts by 2 %.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import inputs
from measure import HERE, ISAS, Call, build, cores, expecting, load_toml, processor

import xep419

COUNTED = ("scalar", "sse2", "avx2")
TOLERANCE = 0.02
FILE = "instructions.toml"
HEADER = """\
# Instructions per byte of input, written by make bench-guard-record; make bench-guard compares, for the build it finds.
# A build is the compiler's major version and the flags that the interpreter was built with, which are in our own build.
"""
REPEATS = 2


def cases() -> dict[str, Call]:
    """What is counted: each operation on the recorded sessions and on made text; nothing that is not in the project."""
    hostile = inputs.document(64 * inputs.KIB, "hostile")
    common = inputs.document(64 * inputs.KIB, "common")
    recorded = inputs.recorded()
    documents = {"recorded": recorded, "common": common.data, "hostile": hostile.data}
    target = bytearray(len(recorded))
    made: dict[str, Call] = {}
    for name, data in list(documents.items())[:2]:
        made[f"rotate once, {name}"] = _into(xep419.rot13_into, data, target)
        made[f"rotate twice, {name}"] = _into(xep419.double_rot13_into, data, target)
    for name, data in documents.items():
        upgraded = xep419.upgrade(data)
        made[f"scan, {name}"] = expecting(
            lambda upgraded=upgraded: upgraded, xep419.upgrade, upgraded, size=len(upgraded)
        )
        made[f"upgrade, {name}"] = expecting(lambda upgraded=upgraded: upgraded, xep419.upgrade, data, size=len(data))
        made[f"encrypt, {name}"] = expecting(lambda upgraded=upgraded: upgraded, xep419.encrypt, data, size=len(data))
    assert xep419.upgrade(common.data) == common.upgraded
    assert xep419.upgrade(hostile.data) == hostile.upgraded
    return made


def _into(function: Callable[..., int], data: bytes, target: bytearray) -> Call:
    return expecting(lambda: len(data), function, data, target, size=len(data))


# -- beneath valgrind ---------------------------------------------------------------------------------------

#: a function of the C library that nothing else here calls: callgrind writes its counts down before each call
MARK = "getppid"


def run_marked() -> None:
    """Every case, between two marks."""
    assert xep419.isa == os.environ["XEP419_ISA"]
    for call in cases().values():
        function, args = call.function, call.args
        os.getppid()
        for _ in range(REPEATS):
            function(*args)
        os.getppid()


def of_the_core(counts: Path) -> int:
    """Instructions in one file of callgrind's that were executed in the extension modules of the package.

    A line ``ob=`` names the object file of the lines after it, which give a position and a count each; the line after
    ``calls=`` is of what was called, which has its own.
    """
    total, ours, skip = 0, False, False
    for line in counts.read_text().splitlines():
        if line.startswith("ob="):
            ours = "/xep419/_core/" in line
        elif line.startswith("calls="):
            skip = True
        elif line[:1].isdigit():
            total += int(line.split()[1]) if ours and not skip else 0
            skip = False
    return total


def count(isa: str) -> dict[str, float]:
    """Instructions per byte of every case on one instruction set."""
    with tempfile.TemporaryDirectory() as directory:
        options = [f"--dump-before={MARK}", f"--callgrind-out-file={directory}/counts"]
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", *options,
             sys.executable, __file__, "--marked"],
            env={**os.environ, "XEP419_ISA": isa, "PYTHONHASHSEED": "0"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"callgrind failed on {isa}:\n{done.stderr}")
        # counts.1 is what came before the first mark, counts.2 the first case, counts.3 what came before the second
        return {
            name: of_the_core(Path(directory, f"counts.{2 * case + 2}")) / REPEATS / call.size
            for case, (name, call) in enumerate(cases().items())
        }


# -- comparison ---------------------------------------------------------------------------------------------


def build_key() -> str:
    """What the counts depend on: the compiler's major version, and the flags that the interpreter adds to ours."""
    flags = dict.fromkeys(re.findall(r"(?<!\S)-[fmO]\S+", sysconfig.get_config_var("CFLAGS") or ""))
    return " ".join([build().partition(".")[0], *sorted(flags)])


def reason_to_skip() -> str:
    if ISAS == ("python",):
        return "the pure-Python twin has no instructions of its own"
    return "" if shutil.which("valgrind") else "valgrind is not installed"


def record(counts: dict[str, dict[str, float]]) -> None:
    """Writes the counts of this build over its former ones, and leaves those of other builds."""
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    told = {
        "date": str(datetime.date.today()),
        "build": build(),
        "machine": f"{processor()}, CPython {sys.version.split()[0]}, {valgrind}",
    }
    lines = [HEADER]
    for key, section in {**load_toml(FILE), build_key(): {**told, "counts": counts}}.items():
        lines += [f'["{key}"]', *(f'{name} = "{section[name]}"' for name in told)]
        for name, by_isa in section["counts"].items():
            cells = ", ".join(f"{isa} = {count:.4g}" for isa, count in by_isa.items())
            lines.append(f'counts."{name}" = {{ {cells} }}')
        lines.append("")
    (HERE / FILE).write_text("\n".join(lines))


def compare(counts: dict[str, dict[str, float]], committed: dict[str, dict[str, float]]) -> list[str]:
    """Prints both, and gives what moved."""
    moved = []
    print(f"{'instructions per byte':26} {'isa':7} {'committed':>10} {'now':>10} {'change':>8}")
    for name, found in counts.items():
        for isa, now in found.items():
            before = committed.get(name, {}).get(isa)
            if before is None:
                moved.append(f"{name}, {isa}: not in {FILE}")
                continue
            change = now / before - 1
            print(f"{name:26} {isa:7} {before:10.4g} {now:10.4g} {change:+8.1%}")
            if abs(change) > TOLERANCE:
                verdict = "more: a loss" if change > 0 else "fewer: a gain, to be recorded"
                moved.append(
                    f"{name}, {isa}: {before:.4g} -> {now:.4g} instructions per byte, {change:+.1%} ({verdict})"
                )
    return moved


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--record", action="store_true", help=f"write {FILE}")
    parser.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.marked:
        run_marked()
        return 0
    reason = reason_to_skip()
    committed = load_toml(FILE).get(build_key(), {})
    if not reason and not committed and not options.record:
        reason = f"{FILE} has no counts of {build_key()}"
    if reason:
        print(f"instructions per byte: skipped, {reason}")
        return 1 if options.record else 0
    for call in cases().values():
        assert not call.judge()
    isas = [isa for isa in COUNTED if isa in ISAS]
    with ThreadPoolExecutor(cores()) as pool:  # counts do not mind company
        found = dict(zip(isas, pool.map(count, isas), strict=True))
    counts = {name: {isa: found[isa][name] for isa in isas} for name in found[isas[0]]}
    if options.record:
        record(counts)
        print(f"{FILE}: recorded {len(counts)} counts on {', '.join(isas)}, of {build_key()}")
        return 0
    moved = compare(counts, committed["counts"])
    for line in moved:
        print(f"FAILED {line}")
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
