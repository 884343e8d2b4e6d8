"""``xep419 pins``: the pins of downgrade protection, shown, made and removed by hand, taken out and put in.

What a pin is, and what a store promises, is :mod:`xep419.policy`'s. A store that is damaged is shown as such, never
repaired.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import PinStoreError, XEP419Error
from ..policy import DEFAULT_MAX_AGE, MAX_AGE, Pin, PinStore, Stored, export_pins, normal_peer
from ..policy.exchange import parsed
from ..policy.pins import DAY, checked
from .files import STANDARD, FileError, naming, printable, reading, source_name, writing
from .progress import is_terminal
from .scan import UNLIMITED

if TYPE_CHECKING:
    from rich.table import Table

Command = TypeVar("Command", bound=Callable[..., object])


def default_store() -> str:
    """Where the XDG base directory specification has a program's state."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path("~/.local/state").expanduser()
    return str(base / "xep419" / "pins.sqlite")


store_option = click.option(
    "--store",
    "path",
    type=click.Path(),
    metavar="FILE",
    help="The store. Without it $XDG_STATE_HOME/xep419/pins.sqlite, or ~/.local/state/xep419/pins.sqlite.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@contextlib.contextmanager
def _opened(path: str | None, *, create: bool = False) -> Iterator[PinStore]:
    """The store; what is wrong with it, or with what it is given, comes out as a FileError."""
    if path is None:
        path = default_store()
    if not path:
        raise click.UsageError("The name after --store is empty.")
    try:
        if create:
            with naming(printable(path)):
                os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        with PinStore(path, create=create) as store:
            yield store
    except PinStoreError as error:
        raise FileError(printable(path), error.reason or error.message) from error


@contextlib.contextmanager
def _arguments() -> Iterator[None]:
    """What the user named is wrong, not a file."""
    try:
        yield
    except PinStoreError:
        raise
    except XEP419Error as error:
        raise click.UsageError(printable(error.message)) from error


@click.group(
    epilog="""\b
Examples:
  xep419 pins list
  xep419 pins add example.org urn:xmpps:ping --include-subdomains
  xep419 pins remove bob@example.org
  xep419 pins export -o pins.json

\b
A pin says that a peer has used a secure name, and is refused with its insecure
form until the pin expires. docs/policy.md has the rules.
"""
)
def pins() -> None:
    """Show and change the pins of downgrade protection."""


# -- list -----------------------------------------------------------------------------------------------------


@pins.command(
    "list",
    epilog="""\b
Examples:
  xep419 pins list bob@example.org
  xep419 pins list --json --expired
""",
)
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@click.option("--expired", is_flag=True, help="Those that hold no more, too.")
@json_option
@store_option
def list_pins(peers: Sequence[str], expired: bool, as_json: bool, path: str | None) -> None:
    """Show the pins that hold: all, or those of each PEER.

    A PEER is a JID: a bare one for the clients of an account, a domain for its server. Times are UTC.
    """
    with _arguments():
        wanted = list(dict.fromkeys(map(normal_peer, peers)))
    with _opened(path) as store:
        now = store.now()
        all_of_them = iter(store) if not wanted else (pin for peer in wanted for pin in store.of(peer).values())
        found = (pin for pin in all_of_them if expired or pin.expires >= now)
        if as_json:
            _print_json(found)
        else:
            _print_table(list(found), store.path, now)


def _print_json(found: Iterator[Pin]) -> None:
    """A list, one line for each pin, written as it comes."""
    separator = "[\n  "
    for pin in found:
        print(separator, json.dumps({**pin._asdict(), "expires": pin.expires}), sep="", end="")
        separator = ",\n  "
    print("[]" if separator[0] == "[" else "\n]")


def _print_table(found: list[Pin], path: str, now: float) -> None:
    from rich.console import Console

    console = Console(width=None if is_terminal(sys.stdout) else UNLIMITED, highlight=False, markup=False)
    if found:
        console.print(_table(found, now))
    console.print(f"{len(found)} {'pin' if len(found) == 1 else 'pins'} in {printable(path)}", soft_wrap=True)


def _table(found: list[Pin], now: float) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("Peer", "Secure name"):
        table.add_column(heading, overflow="fold")
    for heading in ("Subdomains", "First seen", "Last seen", "Expires"):
        table.add_column(heading, no_wrap=True)
    for pin in found:
        table.add_row(
            Text(printable(pin.peer)),
            Text(printable(pin.name)),
            "yes" if pin.include_subdomains else "no",
            _date(pin.first_seen),
            _date(pin.last_seen),
            Text(_date(pin.expires), style="" if pin.expires >= now else "red"),
        )
    return table


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


# -- add and remove -------------------------------------------------------------------------------------------


@pins.command(
    epilog="""\b
Examples:
  xep419 pins add bob@example.org urn:xmpps:receipts
  xep419 pins add example.org urn:xmpps:ping --include-subdomains --max-age 365
"""
)
@click.argument("peer", metavar="PEER")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--include-subdomains", is_flag=True, help="For the services at the domains below PEER, too.")
@click.option(
    "--max-age",
    type=click.FloatRange(0, MAX_AGE / DAY, min_open=True),
    default=DEFAULT_MAX_AGE / DAY,
    show_default=True,
    metavar="DAYS",
    help="How long it holds after the last use.",
)
@store_option
def add(peer: str, names: Sequence[str], include_subdomains: bool, max_age: float, path: str | None) -> None:
    """Pin PEER to each secure NAME as if it had used it now. The store is made where there is none."""
    with _arguments():  # before a store is made that nothing comes into
        wanted = [checked(Pin(peer, name, 0.0, 0.0, max_age * DAY, include_subdomains)) for name in names]
    with _opened(path, create=True) as store:
        now = store.now()
        _tell(store.add(pin._replace(first_seen=now, last_seen=now) for pin in wanted))


@pins.command(
    epilog="""\b
Examples:
  xep419 pins remove bob@example.org
  xep419 pins remove bob@example.org urn:xmpps:receipts
"""
)
@click.argument("peer", metavar="PEER")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@store_option
def remove(peer: str, names: Sequence[str], path: str | None) -> None:
    """Remove the pins of PEER: each NAME, or all. The next use of a secure name pins it again."""
    wanted: Sequence[str | None] = names or [None]
    with _opened(path) as store, _arguments():
        removed = {name: store.remove(peer, name) for name in wanted}
    if total := sum(removed.values()):
        click.echo(f"removed {total}")
    missing = [name for name, count in removed.items() if not count]
    for name in missing:
        pin = peer if name is None else f"{peer}: {name}"
        FileError(printable(store.path), f"there is no such pin of {printable(pin)}").show()
    if missing:
        raise click.exceptions.Exit(1)


def _tell(stored: Stored) -> None:
    """Says what became of the pins; it is a failure when some found no room."""
    click.echo(f"added {stored.new}, already there {stored.known}")
    if stored.refused:
        click.echo(f"xep419: no room for {stored.refused} pins", err=True)
        raise click.exceptions.Exit(1)


# -- export and import ----------------------------------------------------------------------------------------


@pins.command(
    "export",
    epilog="""\b
Examples:
  xep419 pins export -o pins.json
  xep419 pins export > pins.json
""",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(allow_dash=True),
    default=STANDARD,
    metavar="OUT",
    help="File to write. Standard output without it.",
)
@store_option
def export_command(output: str, path: str | None) -> None:
    """Write all pins as JSON."""
    with _opened(path) as store, writing(output) as write:
        for piece in export_pins(store):
            write(piece.encode())


@pins.command(
    "import",
    epilog="""\b
Examples:
  xep419 pins import pins.json
  xep419 pins export | xep419 pins import --store other.sqlite
""",
)
@click.argument("file", type=click.Path(allow_dash=True), default=STANDARD, metavar="[FILE]")
@store_option
def import_command(file: str, path: str | None) -> None:
    """Merge exported pins into the store: of two for the same peer and name the one seen later stays.

    All of them are stored or, when the file is not right, none.
    """
    name = source_name(file)
    with reading(file) as source, naming(name):
        data = source.read()
        pins = parsed(data)  # before a store is made that nothing comes into
    with _opened(path, create=True) as store:
        _tell(store.add(pins))


__all__ = ["default_store", "pins"]
