"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import click

from ..names import Scope
from .files import STANDARD

files_argument = click.argument("files", nargs=-1, type=click.Path(allow_dash=True), metavar="[FILE]...")

output_option = click.option(
    "-o",
    "--output",
    type=click.Path(allow_dash=True),
    default=STANDARD,
    metavar="OUT",
    help="File to write, or directory to write one file per FILE into (an existing one, or a name that ends in /)."
    " Standard output without it.",
)


def _combine(context: click.Context, option: click.Parameter, names: Sequence[str]) -> Scope:
    return functools.reduce(operator.or_, (Scope[name] for name in names)) if names else Scope.ALL


scope_option = click.option(
    "--scope",
    type=click.Choice(list(Scope.__members__), case_sensitive=False),
    multiple=True,
    callback=_combine,
    metavar="SCOPE",
    help=f"Where a name must stand: {', '.join(Scope.__members__)}. Repeat it for several; ALL without it.",
)
