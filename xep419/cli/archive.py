"""``xep419 archive``: archives re-encrypted, scanned, verified, and how a job stands.

Only words, tables and exit statuses: the work is ``xep419.archive``'s, which needs its own extra.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import XEP419Error
from .files import printable, writing
from .progress import is_terminal

if TYPE_CHECKING:
    from ..archive import Report

Command = Callable[..., Any]


@click.group(
    epilog="""\b
Examples:
  xep419 archive scan /var/lib/prosody
  xep419 archive reencrypt backup/ -o encrypted/
  xep419 archive reencrypt --in-place prosody.sqlite
  xep419 archive verify backup/ -o encrypted/
"""
)
def archive() -> None:
    """Re-encrypt archives, from one file to a cluster.

    A SOURCE is a file, a directory, a URL that fsspec knows, or a database: an SQLAlchemy URL or an SQLite file.
    """


sources_argument = click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
format_option = click.option(
    "--format", "form", metavar="NAME",
    help="The format: xml, jsonl, prosody-internal, prosody-xmlarchive, xep0227, parquet or arrow; of a database"
    " prosody, ejabberd or openfire. Each one's content tells without it.",
)  # fmt: skip
rounds_from_option = click.option(
    "--rounds-from", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Rotations that the stanzas came with.",
)  # fmt: skip
rounds_to_option = click.option(
    "--rounds-to", type=click.IntRange(min=0), default=2, show_default=True, metavar="N",
    help="Rotations that they leave with.",
)  # fmt: skip
no_upgrade_option = click.option("--no-upgrade", is_flag=True, help="Leave the namespaces as they are.")
field_option = click.option("--field", metavar="NAME", help="JSON Lines: the field that holds the stanza.")
column_option = click.option("--column", metavar="NAME", help="Parquet, Arrow: the column that holds the stanza.")
target_option = click.option("-o", "--output", "target", metavar="TARGET", help="Where the result goes, whole.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Units at once; one for each processor without it."
)
json_option = click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
report_option = click.option("--report", "report_file", metavar="FILE", help="Write the JSON report to FILE as well.")


@archive.command(
    epilog="""\b
Examples:
  xep419 archive reencrypt backup/ -o encrypted/
  xep419 archive reencrypt --in-place postgresql://prosody@localhost/prosody
  xep419 archive reencrypt usenet.jsonl.gz -o doubly.jsonl.gz --rounds-from 1
  xep419 archive reencrypt s3://backup -o s3://encrypted --engine dask

\b
Exit status:
  0  done, or there was nothing left to do
  1  a SOURCE holds no stanza, or the job cannot go on: the same command goes
     on from there
  2  wrong usage
  3  done, but for units that were skipped: they are as they were, and listed

A job that was killed goes on with what is missing when the same command is given again.
"""
)
@sources_argument
@target_option
@click.option("--in-place", is_flag=True, help="Replace the sources, each file and each batch of rows in one step.")
@format_option
@field_option
@column_option
@rounds_from_option
@rounds_to_option
@no_upgrade_option
@click.option("--dry-run", is_flag=True, help="Read and count; write nothing.")
@click.option(
    "--verify/--no-verify", default=True, show_default=True,
    help="Check that sources are well-formed, and prove from what was written that nothing was lost.",
)  # fmt: skip
@click.option("--resume/--restart", default=True, show_default=True, help="Go on with an earlier job, or forget it.")
@click.option(
    "--while-in-use", is_flag=True,
    help="Go on where a server has an SQLite database open: it loses messages that it cannot write at once.",
)  # fmt: skip
@jobs_option
@click.option(
    "--engine", type=click.Choice(["local", "dask"]), default="local", show_default=True, help="Where it runs."
)
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler; without it, a cluster on this machine.")
@click.option("--journal", metavar="FILE", help="Where the job's journal is kept; beside the target without it.")
@report_option
@json_option
def reencrypt(
    sources: Sequence[str],
    target: str | None,
    in_place: bool,
    form: str | None,
    field: str | None,
    column: str | None,
    rounds_from: int,
    rounds_to: int,
    no_upgrade: bool,
    dry_run: bool,
    verify: bool,
    resume: bool,
    while_in_use: bool,
    jobs: int | None,
    engine: str,
    scheduler: str | None,
    journal: str | None,
    report_file: str | None,
    as_json: bool,
) -> None:
    """Upgrade the namespaces of every stanza, then Double ROT-13.

    Files are replaced, and rows changed, whole or not at all; nothing but the inserted letters differs.
    """
    if not dry_run and in_place == (target is not None):
        raise click.UsageError("Say either where the result goes (-o TARGET) or --in-place.")
    if scheduler is not None and engine != "dask":
        raise click.UsageError("--scheduler is for --engine dask.")
    offered = _offered()
    _run(
        lambda observer: offered.reencrypt(
            list(sources),
            target,
            in_place=in_place,
            format=form,
            options=_options(field, column),
            rounds_from=rounds_from,
            rounds_to=rounds_to,
            upgrade=not no_upgrade,
            verify=verify,
            dry_run=dry_run,
            restart=not resume,
            while_in_use=while_in_use,
            jobs=jobs,
            engine=engine,
            scheduler=scheduler,
            journal=journal,
            compare=not as_json,
            observer=observer,
        ),
        sources,
        report_file,
        as_json,
    )


@archive.command(
    epilog="""\b
Examples:
  xep419 archive scan /var/lib/prosody
  xep419 archive scan --json prosody.sqlite
"""
)
@sources_argument
@format_option
@field_option
@column_option
@rounds_from_option
@jobs_option
@report_option
@json_option
def scan(
    sources: Sequence[str],
    form: str | None,
    field: str | None,
    column: str | None,
    rounds_from: int,
    jobs: int | None,
    report_file: str | None,
    as_json: bool,
) -> None:
    """Count the namespaces of an archive; change nothing.

    Names are told with their secure forms, and where else names stand that no job touches. Exit status 3: some units
    cannot be read.
    """
    offered = _offered()
    _run(
        lambda observer: offered.scan(
            list(sources),
            format=form,
            options=_options(field, column),
            rounds_from=rounds_from,
            jobs=jobs,
            observer=observer,
        ),
        sources,
        report_file,
        as_json,
    )


@archive.command(
    epilog="""\b
Examples:
  xep419 archive verify backup/ -o encrypted/
  xep419 archive verify --rounds-from 1 usenet.jsonl -o doubly.jsonl
"""
)
@sources_argument
@click.option("-o", "--output", "target", required=True, metavar="TARGET", help="What a job made of the sources.")
@format_option
@field_option
@column_option
@rounds_from_option
@rounds_to_option
@no_upgrade_option
@jobs_option
@report_option
@json_option
def verify(
    sources: Sequence[str],
    target: str,
    form: str | None,
    field: str | None,
    column: str | None,
    rounds_from: int,
    rounds_to: int,
    no_upgrade: bool,
    jobs: int | None,
    report_file: str | None,
    as_json: bool,
) -> None:
    """Prove that nothing was lost.

    A target must hold the sources, but for the inserted letters.

    Reads both sides again. Exit status 3: some units differ, or are missing; they are listed.
    """
    offered = _offered()
    _run(
        lambda observer: offered.verify(
            list(sources),
            target,
            format=form,
            options=_options(field, column),
            rounds_from=rounds_from,
            rounds_to=rounds_to,
            upgrade=not no_upgrade,
            jobs=jobs,
            observer=observer,
        ),
        sources,
        report_file,
        as_json,
    )


@archive.command(
    epilog="""\b
Examples:
  xep419 archive status encrypted/
  xep419 archive status --json prosody.sqlite
"""
)
@click.argument("target", metavar="TARGET")
@click.option("--journal", metavar="FILE", help="The job's journal, where it is not beside the target.")
@json_option
def status(target: str, journal: str | None, as_json: bool) -> None:
    """Tell how the job on a TARGET stands.

    It is running, was interrupted, or is done.

    TARGET is what was given as -o, with its name where a file went into a directory, or as SOURCE with --in-place.
    Exit status 1: no job was begun on it.
    """
    offered = _offered()
    with _failing():
        found = offered.status(target, journal=journal)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _print_status(found)


# -- shared ---------------------------------------------------------------------------------------------------


def _offered() -> Any:
    """``xep419.archive``, or what it lacks."""
    try:
        from .. import archive as offered
    except ImportError as error:
        raise JobError(str(error)) from error
    return offered


class JobError(click.ClickException):
    """Why there is no job, or why it cannot go on, told as the other commands tell what is wrong with a file."""

    def show(self, file: IO[Any] | None = None) -> None:
        print(f"xep419: {self.message}", file=file or sys.stderr, flush=True)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """A job that cannot go on, and what cannot be meant, as the command tells it."""
    try:
        yield
    except (XEP419Error, ImportError) as error:
        raise JobError(printable(str(error))) from error
    except UnicodeError:  # a ValueError, but never the user's
        raise
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from error


def _options(field: str | None, column: str | None) -> dict[str, str]:
    given = {"field": field, "column": column}
    return {name: value for name, value in given.items() if value is not None}


def _observer(sources: Sequence[str]) -> Any:
    from ..archive import size
    from .archive_progress import ArchiveProgress

    return ArchiveProgress(shown=is_terminal(sys.stderr), measure=lambda: size(sources))


def _run(work: Callable[[Any], Report], sources: Sequence[str], report_file: str | None, as_json: bool) -> None:
    """Does it and tells what came of it: to ``report_file`` too, which is opened before there is anything to lose.

    :param work: makes the report, telling the observer that it is given how it goes on.
    """
    report = None
    try:
        with contextlib.nullcontext() if report_file is None else writing(report_file) as write:
            with _failing(), _observer(sources) as observer:
                report = work(observer)
            if write is not None:
                write(f"{json.dumps(report.as_dict(), indent=2)}\n".encode())
    finally:
        if report is not None:  # what was done is told even where the file has no room left for it
            _print(report, as_json)
    if report.exit_status:
        raise click.exceptions.Exit(report.exit_status)


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
        return
    from .archive_tables import print_report

    print_report(report)


def _print_status(found: Any) -> None:
    from .archive_tables import print_status

    print_status(found)
