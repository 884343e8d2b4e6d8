"""``xep419 registry``: the registered names and their successors, the Registrar's files, the request to IANA."""

from __future__ import annotations

import csv
import datetime
import io
import json
import sys
from collections.abc import Sequence

import click

from .. import registrar
from ..errors import UnknownNamespaceError
from ..iana import registration_template
from ..registry import RegistryEntry, entries, lookup, search
from .files import STANDARD, FileError, Job, plan, printable, sources, writing
from .options import files_argument, output_option
from .progress import is_terminal
from .scan import UNLIMITED
from .transform import convert_all

LISTS = ("namespace", "node", "xep", "feature", "form_type")

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON list with an object per name.")
file_option = click.option(
    "-o", "--output", type=click.Path(allow_dash=True), default=STANDARD, metavar="OUT", help="File to write."
)


@click.group(
    epilog="""\b
Examples:
  xep419 registry lookup urn:xmpps:ping
  xep419 registry list muc --list namespace
  xep419 registry export --xml | xep419 registry upgrade
""",
)
def registry() -> None:
    """Show the registered names and what becomes of them.

    They are the namespaces, service discovery features and nodes, and form types of the XMPP Registrar, and the target
    namespaces of the XEPs.
    """


# -- showing --------------------------------------------------------------------------------------------------


@registry.command(
    "list",
    epilog="""\b
Examples:
  xep419 registry list
  xep419 registry list XEP-0384
  xep419 registry list urn:xmpp: --status provisional --json
""",
)
@click.argument("text", default="")
@click.option("--list", "wanted", type=click.Choice(LISTS), help="Only names on this list.")
@click.option("--status", type=click.Choice(["registered", "provisional"]), help="Only namespaces of this status.")
@json_option
def list_names(text: str, wanted: str | None, status: str | None, as_json: bool) -> None:
    """List names, or those with TEXT in them.

    TEXT is looked for in the name, in either form, and in the specification, without regard to case.
    """
    found = [
        entry
        for entry in search(text)
        if (wanted is None or wanted in entry.lists) and (status is None or status == entry.status)
    ]
    if as_json:
        _print_json(found)
    elif found:
        _print_table(found)
        changing = sum(entry.name != entry.secure_name for entry in found)
        click.echo(f"\n{len(found)} found, {changing} with a secure form")
    else:
        click.echo("no such names")


@registry.command(
    "lookup",
    epilog="""\b
Examples:
  xep419 registry lookup urn:xmpp:ping
  xep419 registry lookup https://jabber.org/protocol/muc urn:xmpp:sm:3 --json
""",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def lookup_names(names: Sequence[str], as_json: bool) -> None:
    """Look up names, given in either form.

    The exit status is 1 when one of them is not registered; the others are shown all the same.
    """
    found: list[RegistryEntry] = []
    missing: list[FileError] = []
    for name in names:
        try:
            found.append(lookup(name))
        except UnknownNamespaceError:
            missing.append(FileError(printable(name), "it is not registered"))
    if as_json:
        _print_json(found)
    else:
        click.echo("\n\n".join(map(_description, found)), nl=bool(found))
    for error in missing:
        error.show()
    if missing:
        raise click.exceptions.Exit(1)


def _description(entry: RegistryEntry) -> str:
    fields = {
        "name": entry.name,
        "secure name": entry.secure_name if entry.secure_name != entry.name else "the same",
        "specified in": ", ".join(entry.specs),
        "status": entry.status,
        "lists": ", ".join(entry.lists),
    }
    return "\n".join(f"{field:<13} {value or '-'}" for field, value in fields.items())


def _print_json(found: Sequence[RegistryEntry]) -> None:
    click.echo(_json(found), nl=False)


def _json(found: Sequence[RegistryEntry]) -> str:
    return json.dumps([entry._asdict() for entry in found], indent=2) + "\n"


def _print_table(found: Sequence[RegistryEntry]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Name", overflow="fold")
    for heading in ("Becomes", "Spec", "Status"):
        table.add_column(heading, no_wrap=True)
    for entry in found:
        row = (entry.name, _secure_scheme(entry), entry.spec, entry.status)
        table.add_row(*map(Text, row))
    width = None if is_terminal(sys.stdout) else UNLIMITED
    Console(width=width, highlight=False, markup=False).print(table)


def _secure_scheme(entry: RegistryEntry) -> str:
    """All that changes of a name, short enough for a row of a terminal."""
    if entry.secure_name == entry.name:
        return ""
    return next(scheme for scheme in ("https:", "urn:xmpps:") if entry.secure_name.startswith(scheme))


# -- exporting ------------------------------------------------------------------------------------------------


@registry.command(
    epilog="""\b
Examples:
  xep419 registry export --csv -o registry.csv
  xep419 registry export --json --list feature
  xep419 registry export --xml --list form_type -o formtypes.xml
""",
)
@click.option("--csv", "form", flag_value="csv", help="A line per name, after a heading. The default.")
@click.option("--json", "form", flag_value="json", help="One JSON list with an object per name.")
@click.option("--xml", "form", flag_value="xml", help="A registry as the XMPP Registrar publishes it.")
@click.option(
    "--list", "wanted", type=click.Choice(LISTS), help="Only names on this list; with --xml, namespace without it."
)
@file_option
def export(form: str | None, wanted: str | None, output: str) -> None:
    """Export names as CSV, JSON or XML.

    The names in XML are those registered today; registry upgrade makes them secure.
    """
    if form == "xml":
        wanted = wanted or "namespace"
        if wanted not in registrar.REGISTRIES:
            raise click.UsageError(f"The Registrar has no registry of {wanted}: use --csv or --json.")
        content = registrar.write(entries(), wanted)
    else:
        found = [entry for entry in entries() if wanted is None or wanted in entry.lists]
        content = (_json if form == "json" else _csv)(found).encode()
    _write(output, content)


def _csv(found: Sequence[RegistryEntry]) -> str:
    """As RFC 4180 has it; several specifications or lists of a name are separated by spaces."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(RegistryEntry._fields)
    for entry in found:
        table.writerow([*entry[:4], " ".join(entry.specs), " ".join(entry.lists)])
    return text.getvalue()


def _write(output: str, content: bytes) -> None:
    with writing(output) as write:
        write(content)


# -- the change -----------------------------------------------------------------------------------------------


class RegistrarFile:
    """A registrar file that comes in pieces; what becomes of it is known at its end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def update(self, data: bytes, /) -> bytes:
        self._pieces.append(data)
        return b""

    def finalize(self) -> bytes:
        return registrar.upgrade(b"".join(self._pieces))


@registry.command(
    epilog="""\b
Examples:
  xep419 registry upgrade namespaces.xml -o upgraded.xml
  xep419 registry upgrade --in-place namespaces.xml disco-features.xml
  xep419 registry export --xml | xep419 registry upgrade
""",
)
@files_argument
@output_option
@click.option("--in-place", is_flag=True, help="Replace each FILE.")
@click.pass_context
def upgrade(context: click.Context, files: Sequence[str], output: str, in_place: bool) -> None:
    """Make the names in the Registrar's files secure.

    Entries change, and what is said about them stays: documents, descriptions, links, comments and every other byte.
    Standard input is read where there is no FILE, or it is -.
    """
    if in_place:
        if context.get_parameter_source("output") is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError("Use either -o or --in-place.")
        if STANDARD in sources(files):
            raise click.UsageError("Standard input cannot be replaced: name a FILE with --in-place.")
        jobs = [Job(file, file) for file in files]
    else:
        jobs = plan(files, output)
    convert_all(jobs, RegistrarFile)


@registry.command(
    epilog="""\b
Examples:
  xep419 registry template
  xep419 registry template --date 2019-04-01 -o urn-xmpps.txt
""",
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="When the registration is requested. Today without it.",
)
@file_option
def template(date: datetime.datetime | None, output: str) -> None:
    """Write the request for the URN namespace xmpps.

    It is the registration template of RFC 8141, filled in, as XEP-0419 asks of IANA.
    """
    _write(output, registration_template(date.date() if date else None).encode())
