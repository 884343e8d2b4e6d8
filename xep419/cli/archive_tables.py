"""Reports of archive jobs as tables for a person."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..names import upgrade_name
from .files import printable
from .progress import is_terminal
from .scan import UNLIMITED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..archive import Report, Status

#: rows of names and of skipped units that are shown; the JSON report has more
MOST_ROWS = 20


def print_report(report: Report) -> None:
    console = _console()
    _print_names(console, report)
    _print_skips(console, report)
    _print_left_alone(console, report)
    _print_elsewhere(console, report)
    _print_summary(console, report)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if is_terminal(sys.stdout) else UNLIMITED, highlight=False, markup=False)


def _table(title: str, left: Iterable[str], right: Iterable[str] = ()) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _print_names(console: Console, report: Report) -> None:
    tally = report.tally
    if not tally.insecure and not tally.secure:
        return
    table = _table("Namespaces", ("Name", "Secure form"), ("Count",))
    rows = [(name, upgrade_name(name), count) for name, count in tally.insecure.most_common()]
    rows += [(name, "is secure", count) for name, count in tally.secure.most_common()]
    for name, secure, count in rows[:MOST_ROWS]:
        table.add_row(printable(name), printable(secure), f"{count:,}")
    if len(rows) > MOST_ROWS:
        table.add_row(f"and {len(rows) - MOST_ROWS} more names", "", f"{sum(row[2] for row in rows[MOST_ROWS:]):,}")
    console.print(table)
    console.print()


def _print_skips(console: Console, report: Report) -> None:
    tally = report.tally
    if not tally.skipped:
        return
    table = _table("Skipped: left as they were", ("Place", "Byte", "Reason"))
    for skip in tally.skips[:MOST_ROWS]:
        table.add_row(printable(skip.place), "" if skip.offset is None else str(skip.offset), printable(skip.reason))
    if tally.skipped > MOST_ROWS:
        table.add_row(f"and {tally.skipped - MOST_ROWS} more", "", "")
    console.print(table)
    console.print()


def _print_left_alone(console: Console, report: Report) -> None:
    reasons = report.tally.left_alone.most_common()
    if not reasons:
        return
    table = _table("Left alone", ("Reason",), ("Count",))
    for reason, count in reasons[:MOST_ROWS]:
        table.add_row(printable(reason), f"{count:,}")
    if len(reasons) > MOST_ROWS:
        table.add_row(f"and {len(reasons) - MOST_ROWS} more reasons", f"{sum(row[1] for row in reasons[MOST_ROWS:]):,}")
    console.print(table)
    console.print()


def _print_elsewhere(console: Console, report: Report) -> None:
    if not report.elsewhere:
        return
    table = _table("Names stand here too, where no job touches them", ("Place",), ("Count",))
    for place, count in report.elsewhere[:MOST_ROWS]:
        table.add_row(printable(place), f"{count:,}")
    if len(report.elsewhere) > MOST_ROWS:
        table.add_row(f"and {len(report.elsewhere) - MOST_ROWS} more", "")
    console.print(table)
    console.print()


def _print_summary(console: Console, report: Report) -> None:
    from rich import box
    from rich.table import Table

    tally = report.tally
    rows = [
        ("units", f"{report.units:,}" + (f", {report.resumed:,} of them done before" if report.resumed else "")),
        ("stanzas", f"{tally.stanzas:,}"),
        ("names upgraded" if report.changes else "insecure names", f"{tally.letters:,}"),
        ("skipped", f"{tally.skipped:,}"),
    ]
    if tally.left_alone:
        rows.append(("left alone", f"{sum(tally.left_alone.values()):,}"))
    rows.append(("read", _bytes(tally.bytes_read)))
    if report.changes:
        rows.append(("written", _bytes(tally.bytes_written)))
    rows.append(("time", f"{report.seconds:.2f} s"))
    if report.seconds and report.bytes_worked_on:
        rows.append(("throughput", f"{_bytes(report.bytes_worked_on / report.seconds)}/s"))
    if report.copying is not None:
        rows.append(("cp of the same bytes", f"{_bytes(report.copying)}/s"))
    table = Table(box=box.SIMPLE, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for journal in report.journals:
        console.print(f"journal: {printable(journal)}", soft_wrap=True)


def print_status(found: Status) -> None:
    console = _console()
    state = (
        "running"
        if found.running
        else "done"
        if found.finished is not None
        else "interrupted; the same command goes on"
    )
    console.print(f"state       {state}")
    console.print(f"begun       {_moment(found.started)}")
    if found.finished is not None:
        console.print(f"done        {_moment(found.finished)}")
    console.print(f"units done  {found.units:,}")
    console.print(f"stanzas     {found.tally.stanzas:,}")
    console.print(f"skipped     {found.tally.skipped:,}")
    console.print(f"read        {_bytes(found.tally.bytes_read)}")
    console.print(f"journal     {printable(str(found.path))}", soft_wrap=True)


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def _bytes(count: float) -> str:
    from rich.filesize import decimal

    return decimal(int(count))
