"""Two kinds of measurement, each over every instruction set this machine can run.

``measure`` (over pytest-benchmark) fills the tables that ``make bench`` ends with; files ``test_*.py``. ``guard``
compares two pieces of work in one process, in turns, by median, and fails when the ratio falls under its floor in
``floors.toml``; files ``guard_*.py``, which ``make bench-guard`` runs. No absolute time is ever asserted, and every
call is judged once, outside the timing.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from measure import (
    ISAS,
    VECTOR_ISAS,
    Call,
    cycle_counter,
    cycles_per_byte,
    forced,
    interleaved,
    load_toml,
    machine,
    rate_name,
    size_name,
)
from peers import Missing, Peer

import xep419

FLOORS = load_toml("floors.toml")["floors"]
BESIDE_AVX512 = load_toml("floors.toml")["beside_avx512"]
SMALL = 4096  # bytes up to which the cost of the call itself is worth reading
ROUNDS = 15
ATTEMPTS = 3  # a neighbour on the machine may spoil one

every_isa = pytest.mark.parametrize("isa", ISAS, indirect=True)
every_vector_isa = pytest.mark.parametrize("isa", VECTOR_ISAS, indirect=True)


@dataclass(frozen=True)
class Measured:
    operation: str
    side: str
    size: int
    seconds: float
    cycles: float | None
    remark: str


@dataclass(frozen=True)
class Guarded:
    name: str
    isa: str
    ours: float
    theirs: float
    ratio: float
    floor: float


MEASURED: list[Measured] = []
GUARDED: list[Guarded] = []


def pytest_report_header() -> list[str]:
    told = machine()
    counter = cycle_counter()
    return [
        f"xep419 {told['xep419']} ({told['build']}), {told['python']}, {told['cores']} cores of {told['processor']}",
        f"instruction sets: {', '.join(ISAS)}",
        f"cycles per byte: {counter if isinstance(counter, str) else 'by perf_event_open'}",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.benchmark(min_rounds=3, max_time=0.05, disable_gc=True))


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction set in use, forced and asserted."""
    with forced(request.param):
        yield request.param


# -- tables -------------------------------------------------------------------------------------------------


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., None]:
    """``measure(operation, side, make)``: times the call that ``make()`` prepares, under the group ``operation``.

    Ours must be judged right; a peer's fault is told in its remark. A peer that is not there is skipped.
    """

    def run(operation: str, side: str | Peer, make: Callable[[], Call]) -> None:
        try:
            call = make()
        except Missing as missing:
            pytest.skip(f"{side.name if isinstance(side, Peer) else side}: {missing}")
        remark = call.judge()
        if isinstance(side, Peer):
            remark = "; ".join(filter(None, (side.does, remark)))
        else:
            assert not remark
        benchmark.group = f"{operation}, {size_name(call.size)}"
        benchmark.extra_info.update(isa=xep419.isa, bytes=call.size, remark=remark)
        benchmark(call.function, *call.args, **call.keywords)
        if benchmark.stats is None:  # --benchmark-disable
            return
        seconds, cycles = benchmark.stats.stats.median, cycles_per_byte(call)
        benchmark.extra_info.update(megabytes_per_second=call.size / seconds / 1e6, nanoseconds=seconds * 1e9)
        if cycles is not None:
            benchmark.extra_info["cycles_per_byte"] = cycles
        name = side.name if isinstance(side, Peer) else side
        MEASURED.append(Measured(operation, name, call.size, seconds, cycles, remark))

    return run


def write_tables(write: Callable[[str], None]) -> None:
    """A table for each operation: a line for each side, nanoseconds per call of the small inputs, MB/s of all."""
    for operation in dict.fromkeys(row.operation for row in MEASURED):
        rows = [row for row in MEASURED if row.operation == operation]
        sizes = sorted({row.size for row in rows})
        small = [size for size in sizes if size <= SMALL]

        def line(name: str, calls: list[str], rates: list[str], remark: str) -> None:
            cells = ["".join(f"{cell:>9}" for cell in half) for half in (calls, rates)]
            write(" |".join([f"{name:24}", *filter(None, cells)]) + f"  {remark}".rstrip())

        write("")
        names = [size_name(size) for size in sizes]
        line("", ["ns/call"] * len(small), ["MB/s"] * len(sizes), "")
        line(operation, names[: len(small)], names, "")
        for side in dict.fromkeys(row.side for row in rows):
            of = {row.size: row for row in rows if row.side == side}
            calls = [f"{of[size].seconds * 1e9:.0f}" if size in of else "" for size in small]
            rates = [rate_name(size / of[size].seconds / 1e6) if size in of else "" for size in sizes]
            line(side, calls, rates, max((row.remark for row in of.values()), key=len))
            if any(row.cycles for row in of.values()):
                cycles = [f"{of[size].cycles:.3g}" if size in of else "" for size in sizes]
                line("  cycles per byte", [""] * len(small), cycles, "")


# -- guards -------------------------------------------------------------------------------------------------


@pytest.fixture
def floor(isa: str) -> Callable[[str], float]:
    """``floor(name)``: of the row ``name`` (up to its first space) for the instruction set in use."""

    def look_up(name: str) -> float:
        row = name.partition(" ")[0]
        floors = FLOORS[row]
        if "avx512" in xep419.available_isas():
            floors = floors | BESIDE_AVX512.get(row, {})
        if isa not in floors:
            pytest.skip(f"{name} has no floor for {isa} in floors.toml")
        return floors[isa]  # type: ignore[no-any-return]

    return look_up


@pytest.fixture
def guard(isa: str, floor: Callable[[str], float]) -> Callable[..., None]:
    """``guard(name, ours, theirs, given)``: ours must be at least the floor's multiple of theirs in speed.

    The two are statements over the names in ``given``, so that nothing but the call itself is timed. ``work`` says how
    many times the peer's work ours does, where it is not the same.
    """

    def check(
        name: str, ours: str, theirs: str, given: dict[str, Any], rounds: int = ROUNDS, work: float = 1.0
    ) -> None:
        least = floor(name)
        timers = timeit.Timer(ours, globals=given), timeit.Timer(theirs, globals=given)
        best = Guarded(name, isa, 0.0, 0.0, 0.0, least)
        for _ in range(ATTEMPTS):
            mine, peer = interleaved(timers, rounds)
            best = max(best, Guarded(name, isa, mine, peer, work * peer / mine, least), key=lambda row: row.ratio)
            if best.ratio >= least:
                break
        GUARDED.append(best)
        assert best.ratio >= least, f"{name}, {isa}: {best.ratio:.2f} times the peer's speed, under {least}"

    return check


def write_guards(write: Callable[[str], None]) -> None:
    write("")
    write("ratios of interleaved medians of one process")
    write(f"{'guard':58} {'isa':7} {'ours':>13} {'peer':>13} {'ratio':>7} {'floor':>6}")
    for row in sorted(GUARDED, key=lambda row: VECTOR_ISAS.index(row.isa)):
        times = f"{row.ours * 1e6:11.3f}us {row.theirs * 1e6:11.3f}us" if row.ours else f"{'':27}"
        write(f"{row.name:58} {row.isa:7} {times} {row.ratio:7.2f} {row.floor:6.2f}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED:
        write_tables(terminalreporter.write_line)
    if GUARDED:
        write_guards(terminalreporter.write_line)
