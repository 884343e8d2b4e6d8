"""What the benchmarks share: inputs, interleaved medians, and the floors that guard ratios.

Two kinds of measurement. ``benchmark`` (pytest-benchmark) gives the tables people read. ``guard`` compares two
pieces of work in one process, in turns, by median, and fails when the ratio falls under its floor in
``floors.toml``; no absolute time is ever asserted. Every benchmark asserts its result once, outside the timing.
"""

from __future__ import annotations

import json
import statistics
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xep419

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
FLOORS = tomllib.loads((HERE / "floors.toml").read_text())["floors"]
ROUNDS = 15
SLICE = 0.002  # seconds that one timed slice takes at least
RESULTS: list[tuple[str, float, float, float, float]] = []


def pytest_report_header() -> str:
    return f"xep419 {xep419.__version__}, instruction set {xep419.isa}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not RESULTS:
        return
    write = terminalreporter.write_line
    write(f"\nratios, interleaved medians of one process, instruction set {xep419.isa}")
    write(f"{'guard':58} {'ours':>12} {'peer':>12} {'ratio':>8} {'floor':>7}")
    for name, ours, theirs, ratio, floor in RESULTS:
        write(f"{name:58} {ours * 1e6:10.3f}us {theirs * 1e6:10.3f}us {ratio:8.2f} {floor:7.2f}")


def _calls(timer: timeit.Timer) -> int:
    once = min(timer.repeat(3, 1))
    return max(1, int(SLICE / max(once, 1e-8)))


def interleaved(ours: timeit.Timer, theirs: timeit.Timer, rounds: int) -> tuple[float, float]:
    """Median seconds per call of each, measured in turns (timeit keeps the garbage collector out)."""
    timers = ours, theirs
    calls = _calls(ours), _calls(theirs)
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            taken[which].append(timers[which].timeit(calls[which]) / calls[which])
    return statistics.median(taken[0]), statistics.median(taken[1])


@pytest.fixture
def guard() -> Callable[..., None]:
    """``guard(name, ours, theirs, given)``: ours must be at least the floor's multiple of theirs in speed.

    The two are statements over the names in ``given``, so that nothing but the call itself is timed.
    """

    def check(name: str, ours: str, theirs: str, given: dict[str, Any], rounds: int = ROUNDS) -> None:
        floor = FLOORS[name.partition(" ")[0]].get(xep419.isa, 0.0)
        timers = timeit.Timer(ours, globals=given), timeit.Timer(theirs, globals=given)
        best = (0.0, 0.0, 0.0)
        for _attempt in range(3):  # a neighbour on the machine may spoil one
            mine, peer = interleaved(*timers, rounds)
            best = max(best, (peer / mine, mine, peer))
            if best[0] >= floor:
                break
        RESULTS.append((name, best[1], best[2], best[0], floor))
        assert best[0] >= floor, f"{name}: {best[0]:.2f} times the peer's speed, under the floor of {floor}"

    return check


@pytest.fixture(scope="session")
def stream() -> bytes:
    """About 1 MB of XMPP: the shared corpus beside a development checkout, else the recorded sessions."""
    corpus = HERE.parent.parent / "shared" / "corpus" / "xep-examples.jsonl"
    if corpus.exists():
        return "\n".join(json.loads(line)["xml"] for line in corpus.read_text(encoding="utf-8").splitlines()).encode()
    recorded = b"".join(path.read_bytes() for path in sorted((HERE.parent / "examples" / "recorded").glob("*.xml")))
    return recorded * (1 + (1 << 20) // len(recorded))
