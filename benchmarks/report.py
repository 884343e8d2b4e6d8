"""Measures once, and writes down what was measured: ``results/``, one JSON per machine, a page of tables, plots.

    python benchmarks/report.py                       measure, then write JSON, tables and plots (make bench-report)
    python benchmarks/report.py --from results/x.json draw the tables and plots of one file again, without measuring

Everything that is shown is read from the JSON. A machine is named by its processor and its fastest instruction set.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import inputs
import operations
import peers
from guard_scaling import STANZAS, THREADED, call_of, digest, many_stanzas
from inputs import GIB, KIB, MIB
from measure import (
    ISAS,
    Call,
    cycle_counter,
    cycles_per_byte,
    expecting,
    force,
    free_memory,
    interleaved,
    machine,
    rate_name,
    seconds_in_threads,
    size_name,
)

RESULTS = Path(__file__).parent / "results"
FLAT_SIZES = [4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB]
JUDGED_BYTES = 16 * MIB  # larger results of the cost per byte are judged by make bench, up to 256 MiB
PROCESS_BYTES = 16 * MIB


@dataclass(frozen=True)
class Row:
    """``seconds`` per call of ``side`` over ``size`` bytes; ``cycles`` per byte where a counter exists."""

    section: str
    operation: str
    side: str
    size: int
    seconds: float
    remark: str = ""
    cycles: float | None = None
    threads: int = 1


# -- measurement --------------------------------------------------------------------------------------------


def ours(make: Callable[[], Call]) -> dict[str, tuple[Call, str | None]]:
    """One call on every instruction set."""
    call = make()
    return {f"xep419 {isa}": (call, isa) for isa in ISAS}


def theirs(table: Iterable[peers.Peer], given: Any) -> tuple[dict[str, tuple[Call, str | None]], dict[str, str]]:
    """The peers that are there, and what each does; those that are not are told on standard error."""
    calls: dict[str, tuple[Call, str | None]] = {}
    remarks: dict[str, str] = {}
    for peer in table:
        try:
            call = peer.prepare(given)
        except peers.Missing as missing:
            print(f"skipped {peer.name}: {missing}", file=sys.stderr)
            continue
        calls[peer.name], remarks[peer.name] = (call, None), "; ".join(filter(None, (peer.does, call.judge())))
    return calls, remarks


def in_turns(
    section: str, operation: str, sides: dict[str, tuple[Call, str | None]], remarks: dict[str, str] | None = None
) -> list[Row]:
    """All sides of one input, in turns; ours must be right."""
    remarks = remarks or {}
    for name, (call, isa) in sides.items():
        if isa:
            force(isa)
            assert not call.judge(), name
    size = next(iter(sides.values()))[0].size
    seconds = interleaved([call.timer(isa) for call, isa in sides.values()], 3 if size >= 16 * MIB else 9)
    rows = []
    for (name, (call, isa)), middle in zip(sides.items(), seconds, strict=True):
        if isa:
            force(isa)
        rows.append(Row(section, operation, name, size, middle, remarks.get(name, ""), cycles_per_byte(call)))
    return rows


def by_size() -> Iterable[Row]:
    for size in inputs.SIZES:
        for operation, table in (("into", peers.INTO), ("in place", peers.IN_PLACE), ("new bytes", peers.NEW_BYTES)):
            sides, remarks = theirs(table, inputs.octets(size))
            make = operations.CIPHER[operation]
            yield from in_turns("sizes", operation, ours(lambda make=make, size=size: make(size)) | sides, remarks)


def beside_peers() -> Iterable[Row]:
    for density in ("common", "hostile"):
        document = inputs.document(MIB, density)
        sides, remarks = theirs([*peers.SEARCH, *peers.UPGRADE, *peers.PARSE], document)
        upgrade = ours(lambda density=density: operations.upgrade(MIB, density))
        remarks |= dict.fromkeys(upgrade, "rewrites every scope")
        yield from in_turns("peers", density, upgrade | sides, remarks)


def flat() -> Iterable[Row]:
    force(ISAS[-1])
    for operation in [*operations.CIPHER, *operations.NAMESPACES]:
        for size in FLAT_SIZES:
            if free_memory() < 4 * size:
                print(f"skipped {operation} at {size_name(size)}: too little memory", file=sys.stderr)
                continue
            call = call_of(operation, size)
            assert size > JUDGED_BYTES or not call.judge(), operation
            yield Row("flat", operation, ISAS[-1], size, interleaved([call.timer()], 3)[0])


def threads() -> Iterable[Row]:
    force(ISAS[-1])
    for operation, make in {**THREADED, "SHA-256": digest}.items():
        calls = [make(), make()]
        assert not calls[0].judge(), operation
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(31):  # two threads fall in and out of step over the GIL: many short rounds see both
            for count, times in taken.items():
                times.append(seconds_in_threads(calls[:count], 0.02))
        for count, times in taken.items():
            yield Row("threads", operation, ISAS[-1], calls[0].size, median(times), threads=count)


def batch() -> Iterable[Row]:
    force(ISAS[-1])
    stanzas = many_stanzas()
    size = sum(map(len, stanzas))
    calls = {
        name: expecting(lambda: list(map(operations.xep419.upgrade, stanzas)), function, stanzas, size=size)
        for name, function in (
            ("encrypt_many", operations.xep419.encrypt_many),
            ("loop of encrypt", operations.encrypt_each),
        )
    }
    assert not any(call.judge() for call in calls.values())
    seconds = interleaved([call.timer() for call in calls.values()], 7)
    for name, middle in zip(calls, seconds, strict=True):
        yield Row("batch", f"{STANZAS} stanzas", name, size, middle)


def processes() -> Iterable[Row]:
    for operation, table, given in (
        ("rotation", peers.ROTATE_PROCESS, inputs.octets(PROCESS_BYTES)),
        ("upgrade", peers.UPGRADE_PROCESS, inputs.document(PROCESS_BYTES, "common")),
    ):
        sides, remarks = theirs(table, given)
        if sides:
            yield from in_turns("processes", operation, sides, remarks)


def measured() -> dict[str, Any]:
    rows: list[Row] = []
    for section in (by_size, beside_peers, flat, threads, batch, processes):
        print(f"measuring: {section.__name__.replace('_', ' ')}", file=sys.stderr)
        rows += section()
    counter = cycle_counter()
    return {
        "machine": machine(),
        "date": str(datetime.date.today()),
        "cycles": counter if isinstance(counter, str) else "perf_event_open",
        "rows": [{key: value for key, value in asdict(row).items() if value not in ("", None)} for row in rows],
    }


def name_of(machine: dict[str, Any]) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['processor']} {machine['isas'][-1]}".lower()).strip("-")


# -- tables -------------------------------------------------------------------------------------------------


def select(report: dict[str, Any], section: str, **wanted: object) -> list[Row]:
    rows = [Row(**row) for row in report["rows"] if row["section"] == section]
    return [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]


def distinct(rows: Iterable[Row], key: str) -> list[Any]:
    return list(dict.fromkeys(getattr(row, key) for row in rows))


def rate(row: Row) -> float:
    """MB/s, of all threads together."""
    return row.threads * row.size / row.seconds / 1e6


def table(heads: list[str], lines: Iterable[list[str]], text_columns: int = 1) -> str:
    marks = ["---"] * text_columns + ["---:"] * (len(heads) - text_columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, marks, *lines])


def grid(rows: list[Row], cell: Callable[[Row], str], first: str) -> str:
    """Sides by sizes."""
    sizes = sorted(distinct(rows, "size"))
    lines = []
    for side in distinct(rows, "side"):
        of = {row.size: row for row in rows if row.side == side}
        lines.append([side, *(cell(of[size]) if size in of else "" for size in sizes)])
    return table([first, *map(size_name, sizes)], lines)


def section_of(name: str, report: dict[str, Any]) -> str:
    told = report["machine"]
    parts = [
        f"## {told['processor']}, {told['isas'][-1]}",
        f"{report['date']}, {told['cores']} cores, {told['system']}, {told['python']}, {told['build']}, "
        f"xep419 {told['xep419']}. Cycles per byte: {report['cycles']}.",
    ]

    def plot(kind: str, text: str) -> None:
        parts.append(f"![{text}]({name}-{kind}.svg)")

    parts.append("### Two rotations by size")
    plot("sizes", "throughput against size, by instruction set")
    for operation in distinct(select(report, "sizes"), "operation"):
        rows = select(report, "sizes", operation=operation)
        parts += [f"{operation.capitalize()}, MB/s:", grid(rows, lambda row: rate_name(rate(row)), operation)]
        if any(row.cycles for row in rows):
            parts += ["Cycles per byte:", grid(rows, lambda row: f"{row.cycles or 0:.3g}", operation)]
        small = [row for row in rows if row.size <= 4 * KIB]
        parts += ["Nanoseconds per call:", grid(small, lambda row: f"{row.seconds * 1e9:.0f}", operation)]

    parts.append("### Namespaces, 1 MiB")
    plot("peers", "namespace tools by throughput")
    parts.append(
        "Of the density `common`, as in XMPP, and `hostile`, where names stand in text, comments and CDATA. What a "
        "tool gets wrong is judged on each."
    )
    hostile = {row.side: row for row in select(report, "peers", operation="hostile")}
    fastest = select(report, "peers", operation="common", side=f"xep419 {told['isas'][-1]}")[0]
    lines = []
    for row in sorted(select(report, "peers", operation="common"), key=rate, reverse=True):
        other = hostile.get(row.side)
        does, _, fault = row.remark.partition("; ")
        other_fault = other.remark.partition("; ")[2] if other else ""
        fault = fault or (f"{other_fault} (hostile)" if other_fault else "")
        cells = [rate_name(rate(row)), rate_name(rate(other)) if other else "", f"{rate(row) / rate(fastest):.3g}"]
        lines.append([row.side, does, fault, *cells])
    parts.append(table(["tool", "does", "fault", "common, MB/s", "hostile, MB/s", "of ours"], lines, 3))

    parts.append("### Cost per byte")
    plot("flat", "nanoseconds per byte against size, by operation")
    lines = []
    for operation in distinct(select(report, "flat"), "operation"):
        of = {row.size: row for row in select(report, "flat", operation=operation)}
        cells = [rate_name(of[size].seconds / size * 1e12) if size in of else "" for size in FLAT_SIZES]
        lines.append([operation, *cells])
    parts += ["Picoseconds per byte:", table(["operation", *map(size_name, FLAT_SIZES)], lines)]

    parts.append("### Two threads, 64 KiB")
    plot("threads", "two threads against one")
    lines = []
    for operation in distinct(select(report, "threads"), "operation"):
        one, two = select(report, "threads", operation=operation)
        lines.append([operation, rate_name(rate(one)), rate_name(rate(two)), f"{rate(two) / rate(one):.2f}"])
    parts += [
        "SHA-256 of the standard library, which leaves the GIL to others, shows what the second core had to give.",
        table(["operation", "1 thread, MB/s", "2 threads, MB/s", "times one"], lines),
    ]

    parts.append("### Batches and processes")
    lines = [
        [row.operation, row.side, row.remark, rate_name(rate(row)), f"{row.seconds * 1e3:.1f}"]
        for section in ("batch", "processes")
        for row in select(report, section)
    ]
    parts.append(table(["work", "by", "does", "MB/s", "ms"], lines, 3))
    return "\n\n".join(parts)


PREAMBLE = """\
# Measured

Written by `make bench-report`; do not edit. Sides that stand in one table were measured in one process, in turns, by
median. Absolute figures wander with the machine, ratios hold; the guarded ones are in [floors.toml](../floors.toml).
An MB is a million bytes. Every result was judged once, outside the timing (of the cost per byte, up to 16 MiB)."""


def write_page() -> None:
    """One page over all machines."""
    sections = [section_of(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    (RESULTS / "README.md").write_text("\n\n".join([PREAMBLE, *sections]) + "\n")


# -- plots --------------------------------------------------------------------------------------------------

#: each has a contrast of 3 or more on white and on the black of dark pages, which show through
INK = "#6e7781"
COLOURS = ["#2f81f7", "#d9730d", "#2a9d4e", "#bc4c9b", "#e5534b", "#8a6fe8", "#0f9ba8", "#a87900", "#6b7f0e"]
STYLE = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.facecolor": "none",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlecolor": INK, "legend.frameon": False, "font.size": 11, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": INK, "grid.alpha": 0.3, "grid.linewidth": 0.6,
    "lines.linewidth": 2, "lines.markersize": 5, "svg.hashsalt": "xep419", "figure.constrained_layout.use": True,
}  # fmt: skip


def plain(value: float, _: object) -> str:
    """A tick of a logarithmic scale."""
    return f"{value:g}"


def log_sizes(axes: Any, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [size_name(size) for size in sizes], rotation=35, ha="right")
    axes.minorticks_off()


def plot_sizes(pyplot: Any, report: dict[str, Any]) -> Any:
    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.4), sharey=True)
    titles = {"into": "double_rot13_into, beside memcpy", "in place": "rot13_inplace(rounds=2), beside StringZilla"}
    for axes, (operation, title) in zip(panels, titles.items(), strict=True):
        rows = select(report, "sizes", operation=operation)
        for colour, side in zip(COLOURS, distinct(rows, "side"), strict=False):
            line = [row for row in rows if row.side == side]
            style = "-" if side.startswith("xep419") else "--"
            label = side.removeprefix("xep419 ")
            axes.plot(
                [row.size for row in line],
                [rate(row) / 1e3 for row in line],
                style,
                marker="o",
                color=colour,
                label=label,
            )
        log_sizes(axes, distinct(rows, "size"))
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left")
    panels[0].set_ylabel("GB/s")
    return figure


def plot_peers(pyplot: Any, report: dict[str, Any]) -> Any:
    rows = sorted(select(report, "peers", operation="common"), key=rate)
    faults = {row.side for row in select(report, "peers") if "wrong" in row.remark}
    figure, axes = pyplot.subplots(figsize=(10, 0.36 * len(rows) + 1.4))
    for place, row in enumerate(rows):
        is_ours, faulty = row.side.startswith("xep419"), row.side in faults
        colour = COLOURS[0] if is_ours else COLOURS[4] if faulty else INK
        axes.barh(
            place, rate(row), color="none" if faulty else colour, edgecolor=colour, hatch="///" if faulty else None
        )
        axes.text(rate(row) * 1.06, place, rate_name(rate(row)), va="center")
    labels = [f"{row.side}: {row.remark.partition('; ')[0]}" for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xscale("log")
    axes.set_xlim(min(map(rate, rows)) / 2, max(map(rate, rows)) * 2)
    axes.set_xlabel("MB/s over 1 MiB of XMPP; hatched: wrong on it or on hostile input", loc="right")
    axes.xaxis.set_major_formatter(plain)
    axes.margins(y=0.02)
    axes.grid(axis="y", visible=False)
    return figure


def plot_flat(pyplot: Any, report: dict[str, Any]) -> Any:
    figure, axes = pyplot.subplots(figsize=(8.5, 4.8))
    for colour, operation in zip(COLOURS, distinct(select(report, "flat"), "operation"), strict=False):
        line = select(report, "flat", operation=operation)
        axes.plot(
            [row.size for row in line], [row.seconds / row.size * 1e9 for row in line], marker="o", color=colour,
            label=operation,
        )  # fmt: skip
    log_sizes(axes, FLAT_SIZES)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(plain)
    axes.set_ylabel("ns per byte")
    axes.set_title(f"cost per byte, {report['machine']['isas'][-1]}; quadratic work would rise 250 000 times")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_threads(pyplot: Any, report: dict[str, Any]) -> Any:
    figure, axes = pyplot.subplots(figsize=(7, 3.4))
    names = distinct(select(report, "threads"), "operation")
    for place, operation in enumerate(names):
        one, two = select(report, "threads", operation=operation)
        for offset, row, colour in ((-0.2, one, INK), (0.2, two, COLOURS[0])):
            times = rate(row) / rate(one)
            label = f"{row.threads} thread{'s' * (row.threads > 1)}" if place == 0 else None
            axes.bar(place + offset, times, 0.36, color=colour, label=label)
            axes.text(place + offset, times + 0.03, f"{times:.2f}", ha="center")
    axes.axhline(2, color=INK, linestyle=":", linewidth=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("times one thread")
    axes.set_title("buffers of 64 KiB")
    axes.set_ylim(0, 2.3)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


PLOTS = {"sizes": plot_sizes, "peers": plot_peers, "flat": plot_flat, "threads": plot_threads}


def write_plots(name: str, report: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update(STYLE)
    for kind, plot in PLOTS.items():
        figure = plot(pyplot, report)
        figure.savefig(RESULTS / f"{name}-{kind}.svg", metadata={"Date": None})
        pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="draw this again, without measuring")
    source = parser.parse_args().source
    RESULTS.mkdir(exist_ok=True)
    if source:
        report = json.loads(source.read_text())
    else:
        report = measured()
        (RESULTS / f"{name_of(report['machine'])}.json").write_text(json.dumps(report, indent=1) + "\n")
    write_plots(name_of(report["machine"]), report)
    write_page()
    print(f"written: {RESULTS.name}/README.md and the plots of {name_of(report['machine'])}")


if __name__ == "__main__":
    main()
