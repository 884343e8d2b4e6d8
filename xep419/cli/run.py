"""Runs the command: every ending, good or bad, becomes an exit status here and nowhere else."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from types import FrameType

import click

from .. import __version__
from .files import FileError

#: the subcommands in the order in which the help lists them, each with the module that defines it
SUBCOMMANDS = {
    "encrypt": "transform",
    "decrypt": "transform",
    "rot13": "transform",
    "upgrade": "transform",
    "downgrade": "transform",
    "scan": "scan",
    "audit": "audit",
    "registry": "registry",
    "pins": "pins",
    "srv": "srv",
    "archive": "archive",
    "speed": "speed",
    "info": "info",
}

BAD_INPUT = 1
SIGNALLED = 128  # and the signal's number, as shells report it
BROKEN_PIPE = SIGNALLED + 13  # SIGPIPE, which Windows does not have

#: the signals that end the command, so that it removes its temporary file first
ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Signalled(BaseException):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Commands(click.Group):
    """A group that imports a subcommand when it is asked for, since what one needs would slow all the others down."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in SUBCOMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(f".{SUBCOMMANDS[name]}", __package__), name)
        return found


@click.group(
    cls=Commands,
    epilog="""\b
Examples:
  xep419 upgrade archive.xml -o upgraded.xml
  xep419 scan archive.xml
  xep419 encrypt < stanza.xml | xep419 decrypt

\b
Exit status:
  0    done
  1    bad input, or a file that cannot be read or written
  2    wrong usage
  130  interrupted (Ctrl-C); 143 and 129 after SIGTERM and SIGHUP
  141  the reader of standard output went away

With -o a file appears whole or not at all.
""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def command() -> None:
    """XEP-0419: secure namespaces and Double ROT-13 for XMPP.

    Double ROT-13 hides nothing from anyone: its output equals its input.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with ``arguments`` (those of the process by default) and returns its exit status."""
    _answer_signals(ENDING)
    _prepare_output()
    try:
        status = _run(arguments)
    except Signalled as ending:
        status = SIGNALLED + ending.number
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # what is left to do is short, and not to be cut off with a traceback
    if status:
        _discard_output()
    return status


def _answer_signals(numbers: Iterable[int]) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        raise Signalled(number)

    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, end)


def _prepare_output() -> None:
    """Makes standard output take any text: all of it, in any script.

    The interpreter's own, under PYTHONUNBUFFERED, drops what a short write leaves; and a name in a document may hold
    letters that the terminal's encoding does not.
    """
    with contextlib.suppress(OSError, AttributeError):  # it is closed, or no file
        number, encoding = sys.stdout.fileno(), sys.stdout.encoding
        sys.stdout = open(number, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _run(arguments: Sequence[str] | None) -> int:
    """The command's exit status; prints what went wrong."""
    try:
        status = command.main(arguments, prog_name="xep419", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # now, while there is somebody to tell of a failure
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FileError as error:
        error.show()
        return BAD_INPUT
    except (BrokenPipeError, SystemExit):  # click makes the one into the other
        return BROKEN_PIPE
    except OSError as error:  # about any other file it would be a FileError
        FileError("standard output", error.strerror or str(error)).show()
        return BAD_INPUT
    return status if isinstance(status, int) else 0


def _discard_output() -> None:
    """Points standard output at nothing, so that the interpreter's last flush of it cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, AttributeError):  # as above
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
