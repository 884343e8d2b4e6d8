"""``xep419 audit``: what documents, recordings and archives show to whoever reads them, as tables, JSON or a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..auditing import Auditor, AuditReport, NameFound, SchemeFound, Transport, schema
from ..auditing.sources import URL
from .files import STANDARD, FileError, naming, printable, reading, source_name, sources, writing
from .progress import ProgressBar, is_terminal
from .scan import UNLIMITED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: the exit status when ``--fail-on`` finds what it names
FOUND = 4


def _print_schema(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(schema(), nl=False)
        context.exit()


@click.command(
    epilog="""\b
Examples:
  xep419 audit archive.xml
  xep419 audit --html audit.html *.xml
  xep419 audit --json --places 0 < stanza.xml
  xep419 audit --fail-on insecure upgraded.xml

\b
Exit status:
  0  done
  1  something could not be read, or is not well-formed; the rest is in the report;
     with --fail-on insecure also: names too long or too many to be told apart
  2  wrong usage
  4  --fail-on insecure, and there are insecure names
"""
)
@click.argument("files", nargs=-1, metavar="[FILE|DIR|URL]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as --schema describes it.")
@click.option("--html", metavar="OUT", help="Write one self-contained HTML page to OUT (- is standard output).")
@click.option("--fail-on", type=click.Choice(["insecure"]), help="Exit with 4 when there are insecure names.")
@click.option(
    "--places",
    type=click.IntRange(0, 1000),
    default=3,
    show_default=True,
    metavar="N",
    help="How many places of each name to show; counts are exact.",
)
@click.option(
    "--schema", is_flag=True, is_eager=True, expose_value=False, callback=_print_schema, help="Print the JSON Schema."
)
def audit(files: Sequence[str], as_json: bool, html: str | None, fail_on: str | None, places: int) -> None:
    """Tell what a reader of the bytes learns.

    Insecure names, what end-to-end encryption leaves in the clear, whether there was TLS. Standard input is read where
    there is no FILE, or it is -. Files of a DIR that hold no stanzas are passed over. A URL is that of a database or of
    a remote archive.
    """
    if html == STANDARD and as_json:
        raise click.UsageError("--json and --html - would both be written to standard output.")
    inputs = sources(files)
    report, failed = _audited(inputs, places)
    if html is not None:
        _write_page(report, html)
    if as_json:
        click.echo(report.to_json())
    elif html != STANDARD:
        _print_tables(report, places)
    if fail_on and report.insecure:
        raise click.exceptions.Exit(FOUND)
    if fail_on and report.uncounted:
        # Names that nobody looked at: neither found insecure nor known not to be.
        FileError("--fail-on", f"{_count(report.uncounted, 'place')} of names that were not told apart").show()
        failed = True
    if failed or report.problems:
        raise click.exceptions.Exit(1)


def _audited(inputs: Sequence[str], places: int) -> tuple[AuditReport, bool]:
    failed = False
    local = [path for path in inputs if not URL.match(path)]
    with ProgressBar(local, shown=not is_terminal(sys.stdout)) as progress:
        auditor = Auditor(places=places, advance=progress.advance)
        for path in inputs:
            progress.begin(path)
            try:
                _read(auditor, path)
            except FileError as error:
                error.show()
                failed = True
    return auditor.report(), failed


def _read(auditor: Auditor, path: str) -> None:
    name = source_name(path)
    try:
        with naming(name):
            if path == STANDARD:
                with reading(path) as file:
                    auditor.read(file, name=name)
            else:
                auditor.read(path if URL.match(path) else Path(path))
    except ImportError as error:
        raise FileError(name, str(error)) from error


def _write_page(report: AuditReport, path: str) -> None:
    try:
        page = report.to_html()
    except ImportError as error:
        raise FileError("--html", str(error)) from error
    with writing(path) as write:
        write(page.encode())


# -- tables ---------------------------------------------------------------------------------------------------


def _print_tables(report: AuditReport, places: int) -> None:
    from rich.console import Console

    console = Console(width=None if is_terminal(sys.stdout) else UNLIMITED, highlight=False, markup=False)
    _print_summary(console, report)
    if report.names:
        console.print()
        console.print(_names_table(report, places))
    console.print()
    console.print(_schemes_table(report))
    for found in report.schemes:
        if found.facts:
            console.print()
            console.print(_facts_table(found))
    if any(source.transport is not Transport.UNKNOWN for source in report.sources):
        console.print()
        console.print(_transport_table(report))
    for problem in report.problems:
        unread = f"; {problem.unread} bytes from there on not read for stanzas" if problem.unread else ""
        FileError(printable(problem.place.source), printable(problem.message) + unread, problem.place.offset).show()
    if report.more_problems:
        FileError("and", f"{report.more_problems} more problems").show()


def _print_summary(console: Console, report: AuditReport) -> None:
    skipped = f"; {_count(report.skipped, 'file')} without stanzas passed over" if report.skipped else ""
    sizes = _count(report.size, "byte"), _count(report.stanzas, "stanza")
    console.print(f"{_count(len(report.sources), 'source')}, {', '.join(sizes)}{skipped}")
    summary = report.as_object()["summary"]
    for sort in ("insecure", "secure", "unknown"):
        names, found = summary[f"{sort}_names"], summary[f"{sort}_places"]
        console.print(f"{sort:9}{_count(names, 'name')} in {_count(found, 'place')}")
    if report.uncounted:
        console.print(f"{_count(report.uncounted, 'place')} of names beyond those that are kept apart")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(title: str, words: Sequence[str], figures: Sequence[str], last: Sequence[str] = ()) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        table.add_column(heading, justify="right")
    for heading in last:
        table.add_column(heading, overflow="fold")
    return table


def _names_table(report: AuditReport, places: int) -> Table:
    from rich.text import Text

    table = _table("Namespace names", ("Name", "Kind", "Secure", "Known"), ("Count",), ("Places",) if places else ())
    for found in report.names:
        row = [
            Text(printable(found.name)),
            Text(str(found.kind.name)),
            Text("yes", style="green") if found.secure else Text("no", style="red"),
            Text("yes" if found.known else "no"),
            Text(str(found.occurrences)),
        ]
        table.add_row(*row, *([Text(_places(found))] if places else []))
    return table


def _places(found: NameFound) -> str:
    shown = [f"{printable(os.path.basename(place.source) or place.source)}:{place.offset}" for place in found.places]
    return ", ".join(shown) + (", …" if found.occurrences > len(shown) else "")


def _schemes_table(report: AuditReport) -> Table:
    from rich.text import Text

    table = _table(
        "End-to-end encryption, in bytes of stanzas",
        ("Scheme",),
        ("Stanzas", "Announcements", "Covered", "Clear"),
        ("A reader learns",),
    )
    for found in (*report.schemes, report.encrypted):
        if found is not report.encrypted or len(report.schemes) > 1:
            table.add_row(Text(found.name), *_figures(found), Text(", ".join(fact.fact for fact in found.facts)))
    stanzas, clear = report.unencrypted
    table.add_row("none", str(stanzas), "", "0", str(clear), "everything")
    table.add_row(
        "Double ROT-13 (XEP-0419), claimed", str(report.stanzas), "", str(report.size), "0", "everything all the same"
    )
    return table


def _figures(found: SchemeFound) -> tuple[str, str, str, str]:
    return str(found.stanzas), str(found.announcements), str(found.covered), str(found.clear)


def _facts_table(found: SchemeFound) -> Table:
    from rich.text import Text

    namespaces = ", ".join(f"{printable(name)} {count}" for name, count in found.namespaces.items())
    table = _table(
        f"In the clear under {found.name}: {namespaces}", ("Fact",), ("Stanzas", "Different"), ("For example",)
    )
    for fact in found.facts:
        examples = ", ".join(map(printable, fact.examples))
        table.add_row(Text(fact.fact), str(fact.stanzas), str(fact.distinct), Text(examples))
    return table


def _transport_table(report: AuditReport) -> Table:
    from rich.text import Text

    table = _table("TLS", ("Source", "Recorded", "Since"), ())
    for source in report.sources:
        table.add_row(Text(printable(source.name)), Text(source.transport.value), Text(source.evidence))
    return table
