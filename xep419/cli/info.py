"""``xep419 info``: what is installed here and what it runs on, as a bug report needs it."""

from __future__ import annotations

import json
import platform

import click

from .. import __version__, _backend


@click.command(
    epilog="""\b
Examples:
  xep419 info
  xep419 info --json
"""
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(as_json: bool) -> None:
    """Show the version, the instruction set and the build."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    isas = _backend.available_isas()
    if as_json:
        facts = {
            "version": __version__,
            "isa": _backend.isa(),
            "available_isas": isas,
            "build": _backend.build(),
            "python": python,
            "platform": platform.platform(),
        }
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"xep419           {__version__}")
    click.echo(f"instruction set  {_backend.isa()} (this machine can run: {', '.join(isas)})")
    click.echo(f"build            {_backend.build()}")
    click.echo(f"Python           {python}")
    click.echo(f"platform         {platform.platform()}")
