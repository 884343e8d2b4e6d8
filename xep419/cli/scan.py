"""``xep419 scan``: which namespace names a document holds, where they stand and what their secure forms are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from .. import scan as scan_document
from ..names import NamespaceRef, Scope, upgrade_name
from .files import CHUNK, Document, FileError, document, naming, printable, source_name, sources
from .options import files_argument, scope_option
from .progress import ProgressBar, is_terminal

if TYPE_CHECKING:
    from rich.table import Table

#: columns enough for any table that goes to a file or a pipe
UNLIMITED = 100_000


class Scanned(NamedTuple):
    """One document and its names."""

    path: str
    data: Document
    refs: list[NamespaceRef]


class Entry:
    """A name of one kind: how often it stands in the document, and where first."""

    def __init__(self, first: NamespaceRef) -> None:
        self.first = first
        self.count = 0


@click.command(
    epilog="""\b
Examples:
  xep419 scan archive.xml
  xep419 scan --insecure-only --places *.xml
  xep419 scan --json --scope FEATURES < stanza.xml
"""
)
@files_argument
@scope_option
@click.option("--insecure-only", is_flag=True, help="Leave out the names that are secure already.")
@click.option("--places", is_flag=True, help="A line for each place: file, line, byte, kind and name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list with an object per FILE and each place in it.")
def scan(files: Sequence[str], scope: Scope, insecure_only: bool, places: bool, as_json: bool) -> None:
    """Find namespace names: a table for each FILE, or each place.

    Standard input is read where there is no FILE, or it is -. The exit status is 0 whatever is found.
    """
    report: Callable[[Iterator[Scanned]], None] = _print_tables
    if as_json:
        report = _print_json
    elif places:
        report = _print_places
    inputs = sources(files)
    failures: list[FileError] = []
    with ProgressBar(inputs, shown=not is_terminal(sys.stdout)) as progress:
        report(_scan_all(inputs, scope, insecure_only, progress, failures))
    if failures:
        raise click.exceptions.Exit(1)


def _scan_all(
    inputs: Sequence[str], scope: Scope, insecure_only: bool, progress: ProgressBar, failures: list[FileError]
) -> Iterator[Scanned]:
    """Scans each input when it is asked for; a failure is shown and the next one taken."""
    for path in inputs:
        progress.begin(path)
        try:
            with document(path) as data:
                with naming(source_name(path)):
                    refs = scan_document(data, scope=scope)
                if insecure_only:
                    refs = [ref for ref in refs if not ref.secure]
                yield Scanned(path, data, refs)
                progress.advance(len(data))
        except FileError as error:
            error.show()
            failures.append(error)


# -- JSON -----------------------------------------------------------------------------------------------------


def _print_json(documents: Iterator[Scanned]) -> None:
    """A list, one line for each place, written as it comes."""
    separator = "["
    for path, data, refs in documents:
        head = json.dumps({"file": path, "size": len(data)})
        print(f'{separator}{head[:-1]}, "refs": [', end="")
        for number, ref in enumerate(refs):
            print("," if number else "", json.dumps(_as_object(ref)), sep="\n  ", end="")
        print("]}", end="")
        separator = ",\n"
    print("[]" if separator == "[" else "]")


def _as_object(ref: NamespaceRef) -> dict[str, object]:
    return {"start": ref.start, "end": ref.end, "name": ref.name, "kind": ref.kind.name, "secure": ref.secure}


# -- places ---------------------------------------------------------------------------------------------------


def _print_places(documents: Iterator[Scanned]) -> None:
    for path, data, refs in documents:
        lines = LineCounter(data)
        for ref in refs:
            security = "secure" if ref.secure else "insecure"
            place = f"{source_name(path)}:{lines.at(ref.start)}: byte {ref.start}"
            print(f"{place}: {security} {ref.kind.name} {printable(ref.name)}")


class LineCounter:
    """Line numbers of offsets that do not decrease; looks at each byte once."""

    def __init__(self, data: Document) -> None:
        self._data = data
        self._counted = 0
        self._line = 1

    def at(self, offset: int) -> int:
        while self._counted < offset:
            stop = min(offset, self._counted + CHUNK)
            self._line += self._data[self._counted : stop].count(b"\n")
            self._counted = stop
        return self._line


# -- tables ---------------------------------------------------------------------------------------------------


def _print_tables(documents: Iterator[Scanned]) -> None:
    from rich.console import Console

    console = Console(width=None if is_terminal(sys.stdout) else UNLIMITED, highlight=False, markup=False)
    for number, (path, _data, refs) in enumerate(documents):
        name = source_name(path)
        if number:
            console.print()
        if refs:
            console.print(_table(name, refs))
        else:
            console.print(f"{name}: no namespace names", soft_wrap=True)


def _table(name: str, refs: list[NamespaceRef]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    insecure = sum(not ref.secure for ref in refs)
    table = Table(
        title=Text(name),
        caption=f"{len(refs)} places, {insecure} insecure",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in ("Namespace name", "Kind", "Secure"):
        table.add_column(heading, overflow="fold")
    for heading in ("Count", "First byte"):
        table.add_column(heading, justify="right")
    table.add_column("Secure form", overflow="fold")
    for entry in _entries(refs):
        first = entry.first
        table.add_row(
            Text(printable(first.name)),
            str(first.kind.name),
            Text("yes", style="green") if first.secure else Text("no", style="red"),
            str(entry.count),
            str(first.start),
            Text("" if first.secure else printable(upgrade_name(first.name))),
        )
    return table


def _entries(refs: list[NamespaceRef]) -> list[Entry]:
    """One for each name of each kind: the insecure first, then the most frequent."""
    found: dict[tuple[str, Scope], Entry] = {}
    for ref in refs:
        found.setdefault((ref.name, ref.kind), Entry(ref)).count += 1
    return sorted(found.values(), key=lambda entry: (entry.first.secure, -entry.count, entry.first.start))
