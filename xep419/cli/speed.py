"""``xep419 speed``: how fast the operations are on this machine, and whether that differs from another time.

What is measured and how is in ``measure``, the JSON and the rule of the comparison in ``results``; here are the command
line and the tables. docs/speed.md tells users how to read them.
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .. import __version__, _backend
from .files import FileError, printable, source_name
from .measure import LEAST_ROUNDS, LEAST_SLICE, OPERATIONS, REFERENCE, Key, Measurement, measure
from .progress import is_terminal, parts_done
from .results import Result, as_object, compare, comparison_object, key_object, load
from .scan import UNLIMITED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DEFAULT_SIZES = (64, 300, 4 << 10, 64 << 10, 1 << 20)
LARGEST_SIZE = 64 << 20
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: what a result says of itself above its table
_MACHINE = ("version", "python", "processor", "date")


def size_in_bytes(text: str) -> int:
    """A number of bytes, with K, M or G for the powers of 1024; anything else is a usage error."""
    found = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text, re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a number of bytes such as 300, 4K or 1M.")
    size = int(found[1]) * _UNITS[found[2].upper()]
    if not 1 <= size <= LARGEST_SIZE:
        raise click.BadParameter(f"{text!r} is not in the range 1 to {LARGEST_SIZE >> 20}M.")
    return size


@click.command(
    epilog=f"""\b
Operations:
  {" ".join(list(OPERATIONS)[:5])}
  {" ".join(list(OPERATIONS)[5:])}

\b
Examples:
  xep419 speed --seconds 1
  xep419 speed upgrade scan --size 300 --size 64K --seconds 1
  xep419 speed --latency --size 64 --seconds 1
  xep419 speed --json --seconds 1 > old.json
  xep419 speed --compare old.json --seconds 1
"""
)
@click.argument("operations", nargs=-1, type=click.Choice(list(OPERATIONS)), metavar="[OPERATION]...")
@click.option(
    "--size",
    "sizes",
    type=size_in_bytes,
    multiple=True,
    metavar="N",
    help="Bytes, with K, M or G for powers of 1024. Repeat it for several; 64, 300, 4K, 64K and 1M without it.",
)
@click.option(
    "--isa",
    "isas",
    type=click.Choice(_backend.available_isas()),
    multiple=True,
    metavar="ISA",
    help="Instruction set. Repeat it for several; all this machine can run without it.",
)
@click.option("--seconds", type=float, default=15.0, show_default=True, metavar="N", help="For the whole run.")
@click.option("--latency", is_flag=True, help="Time per call in place of bytes per second.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--compare",
    "old_path",
    type=click.Path(allow_dash=True),
    metavar="OLD.json",
    help="Measure what OLD.json, an earlier --json, has, and tell which differences are more than noise.",
)
def speed(
    operations: Sequence[str],
    sizes: Sequence[int],
    isas: Sequence[str],
    seconds: float,
    latency: bool,
    as_json: bool,
    old_path: str | None,
) -> None:
    """Measure the operations, every size on every instruction set.

    The figures are medians over rounds in which all are measured in turns. bytes.translate, which knows nothing of
    instruction sets, is there to hold them against. With no OPERATION, all are measured.
    """
    if latency and (as_json or old_path):
        raise click.UsageError("--latency goes with neither --json nor --compare, which have both figures.")
    old = None if old_path is None else load(old_path)
    selection = _select(operations, sizes, isas, old)
    if old is not None and not selection.keys:
        raise FileError(source_name(old_path or ""), "none of its cells can be measured here, or was asked for")
    _refuse_too_short(seconds, len(selection.keys))
    with parts_done() as step:
        cells, skipped = measure(selection.keys, seconds, step)
    new = Result(_machine(seconds), cells, skipped)
    if as_json:
        _print_json(old, new, selection)
    elif old is None:
        _print_speeds(new, _time if latency else _throughput)
    else:
        _print_comparison(old, new, selection)


class Selection(NamedTuple):
    """The cells to measure, in the order of the tables; and of those asked for, what only one side has."""

    keys: list[Key]
    missing_in_old: list[Key]
    missing_now: list[Key]


def _select(operations: Sequence[str], sizes: Sequence[int], isas: Sequence[str], old: Result | None) -> Selection:
    """What the arguments name; where they name nothing, what ``old`` has, and without it the default."""
    if old is None:
        keys = _possible(operations or OPERATIONS, isas or _backend.available_isas(), sizes or DEFAULT_SIZES)
        return Selection(keys, [], [])
    known = [cell.key for cell in old.cells if cell.key.operation != REFERENCE]
    possible = _possible(
        operations or {key.operation for key in known},
        isas or {key.isa for key in known},
        sizes or {key.size for key in known},
    )
    in_both = set(known) & set(possible)
    return Selection(
        [key for key in possible if key in in_both],
        [key for key in possible if key not in in_both],
        [
            key
            for key in known
            if key not in in_both
            and key.operation in (operations or (key.operation,))
            and key.isa in (isas or (key.isa,))
            and key.size in (sizes or (key.size,))
        ],
    )


def _possible(operations: Collection[str], isas: Collection[str], sizes: Collection[int]) -> list[Key]:
    """Every combination that can be measured here."""
    return [
        Key(operation, isa, size)
        for operation in OPERATIONS
        for isa in _backend.available_isas()
        for size in sorted(set(sizes))
        if operation in operations and isa in isas and size <= LARGEST_SIZE
    ]


def _refuse_too_short(seconds: float, cells: int) -> None:
    least = 2 * LEAST_ROUNDS * LEAST_SLICE * cells
    if not least <= seconds <= 86_400:  # as NaN is not
        raise click.UsageError(f"--seconds {seconds:g} is not in the range {least:g} to 86400 for {cells} cells.")


def _machine(seconds: float) -> dict[str, Any]:
    return {
        "version": __version__,
        "build": _backend.build(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "processor": _processor(),
        "platform": platform.platform(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "isa": _backend.isa(),
        "seconds": seconds,
    }


def _processor() -> str | None:
    """The processor's model, where the system has a list of them that names it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), None)
    except OSError:
        return None


# -- JSON -----------------------------------------------------------------------------------------------------


def _print_json(old: Result | None, new: Result, selection: Selection) -> None:
    found = as_object(new)
    if old is not None:
        found["old"] = old.machine
        found["comparison"] = [comparison_object(cell) for cell in compare(old.cells, new.cells)]
        found["missing_in_old"] = [key_object(key) for key in selection.missing_in_old]
        found["missing_now"] = [key_object(key) for key in (*selection.missing_now, *new.skipped)]
    click.echo(json.dumps(found, indent=2))


# -- tables ---------------------------------------------------------------------------------------------------


def _print_speeds(result: Result, show: Callable[[Measurement], str]) -> None:
    """A row for each operation on each instruction set, a column for each size; as many columns as there is room."""
    console = _console()
    _print_machine(console, result.machine)
    cells = {cell.key: cell for cell in result.cells}
    keys = [*cells, *result.skipped]
    rows = sorted({(key.operation, key.isa): None for key in keys}, key=_row_order)
    sizes = sorted({key.size for key in keys})
    per_table = max(1, (console.width - 25) // 11)
    for start in range(0, len(sizes), per_table):
        columns = sizes[start : start + per_table]
        table = _table("Operation", "ISA", *map(_size, columns), words=(0, 1))
        for operation, isa in rows:
            found = [cells.get(Key(operation, isa, size)) for size in columns]
            table.add_row(operation, isa, *("-" if cell is None else show(cell) for cell in found))
        console.print()
        console.print(table)
    console.print()
    console.print(f"Median of {_span(cell.rounds for cell in result.cells)} rounds; 1 MB is 1 000 000 bytes.")
    _print_missing(console, "Not measured, its share of the time being too short", result.skipped)


def _print_comparison(old: Result, new: Result, selection: Selection) -> None:
    console = _console()
    for heading, machine in (("old: ", old.machine), ("new: ", new.machine)):
        _print_machine(console, machine, heading)
    comparisons = compare(old.cells, new.cells)
    styles = {"faster": "green", "slower": "red", "no difference": ""}
    table = _table("Operation", "ISA", "Size", "Old", "New", "Ratio", "Verdict", words=(0, 1, 6), gap=0)
    for cell in comparisons:
        operation, isa, size = cell.new.key
        speeds = (_throughput(cell.old), _throughput(cell.new))
        ratio = f"{cell.ratio:.2f} ±{cell.noise:.2f}"
        table.add_row(operation, isa, _size(size), *speeds, ratio, cell.verdict, style=styles[cell.verdict])
    console.print()
    console.print(table)
    console.print()
    counts = ((sum(cell.verdict == verdict for cell in comparisons), verdict) for verdict in styles)
    console.print(", ".join(f"{count} {verdict}" for count, verdict in counts))
    console.print(f"The ratios allow for {REFERENCE}, which runs at {_drifts(old, new)} of its old speed.")
    _print_missing(console, "Missing in the old", selection.missing_in_old)
    _print_missing(console, "Missing in the new", selection.missing_now)
    _print_missing(console, "Not measured, its share of the time being too short", new.skipped)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if is_terminal(sys.stdout) else UNLIMITED, highlight=False, markup=False)


def _row_order(row: tuple[str, str]) -> tuple[int, int]:
    """By operation, then instruction set; the reference comes last, having none."""
    operation, isa = row
    if operation == REFERENCE:
        return len(OPERATIONS), 0
    return list(OPERATIONS).index(operation), _backend.available_isas().index(isa)


def _table(*headings: str, words: Collection[int], gap: int = 1) -> Table:
    """An empty table; the columns numbered in ``words`` hold words, the others figures."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number in words else "right", no_wrap=True)
    return table


def _print_machine(console: Console, machine: dict[str, Any], heading: str = "") -> None:
    facts = [printable(str(machine[fact])) for fact in _MACHINE if machine.get(fact)]
    console.print(f"{heading}xep419 {', '.join(facts)}")


def _print_missing(console: Console, heading: str, keys: Iterable[Key]) -> None:
    """A line for each operation on each instruction set."""
    rows: dict[tuple[str, str], list[str]] = {}
    for operation, isa, size in keys:
        rows.setdefault((printable(operation), printable(isa)), []).append(_size(size))
    if rows:
        console.print(f"{heading}:")
    for (operation, isa), sizes in rows.items():
        console.print(f"  {operation} {isa}: {', '.join(sizes)}")


def _drifts(old: Result, new: Result) -> str:
    """The new speed of the reference as a part of the old, at every size."""
    before = {cell.key: cell.seconds for cell in old.cells}
    drifts = [
        f"{before[cell.key] / cell.seconds:.2f} ({_size(cell.key.size)})"
        for cell in new.cells
        if cell.key.operation == REFERENCE and cell.key in before
    ]
    return ", ".join(drifts)


# -- figures --------------------------------------------------------------------------------------------------


def _throughput(cell: Measurement) -> str:
    return _figure(cell.key.size / cell.seconds, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s"))


def _time(cell: Measurement) -> str:
    return _figure(cell.seconds * 1e9, ("ns", "us", "ms", "s"))


def _figure(value: float, units: Sequence[str]) -> str:
    """Three digits or, where the units end, more; in the largest unit that leaves one before the point."""
    exponent = int(f"{value:.2e}".partition("e")[2])  # once rounded: 999.6 is 1.00 of the next unit
    step = min(len(units) - 1, max(0, exponent // 3))
    decimals = min(2, max(0, 2 - exponent + 3 * step))
    return f"{value / 1000**step:.{decimals}f} {units[step]}"


def _size(size: int) -> str:
    for unit in (1 << 20, 1 << 10):
        if size % unit == 0:
            return f"{size // unit} {'MiB' if unit > 1 << 10 else 'KiB'}"
    return f"{size} B"


def _span(counts: Iterable[int]) -> str:
    found = sorted(set(counts))
    return f"{found[0]} to {found[-1]}" if found[1:] else "".join(map(str, found))
