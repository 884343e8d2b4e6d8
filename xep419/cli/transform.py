"""The commands that turn documents into documents: ``encrypt``, ``decrypt``, ``rot13``, ``upgrade``, ``downgrade``.

Each is one incremental object per document, fed chunk by chunk: memory does not grow with the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import click

from .. import Decryptor, Encryptor
from ..names import Scope
from .files import STANDARD, FileError, Job, naming, pieces, plan, reading, refuse_own_output, source_name, writing
from .options import files_argument, output_option, scope_option
from .progress import ProgressBar, is_terminal


class Cipher(Protocol):
    """What ``Encryptor`` and ``Decryptor`` have in common."""

    def update(self, data: bytes, /) -> bytes: ...

    def finalize(self) -> bytes: ...


def transform(files: Sequence[str], output: str, new_cipher: Callable[[], Cipher]) -> None:
    """Every document the user named through a cipher of its own."""
    convert_all(plan(files, output), new_cipher)


def convert_all(jobs: Sequence[Job], new_cipher: Callable[[], Cipher]) -> None:
    """Every document through a cipher of its own.

    A failure ends the work where documents follow one another on standard output; elsewhere the other files are still
    done.
    """
    failed = False
    shown = not is_terminal(sys.stdout) or all(job.target != STANDARD for job in jobs)
    with ProgressBar([job.source for job in jobs], shown=shown) as progress:
        for job in jobs:
            try:
                _convert(job, new_cipher(), progress)
            except FileError as error:
                if job.target == STANDARD:
                    raise
                error.show()
                failed = True
    if failed:
        raise click.exceptions.Exit(1)


def _convert(job: Job, cipher: Cipher, progress: ProgressBar) -> None:
    name = source_name(job.source)
    progress.begin(job.source)
    with reading(job.source) as file:
        if job.target == STANDARD:
            refuse_own_output(file, name)
        with writing(job.target) as write:
            for piece in pieces(file, name):
                with naming(name):
                    converted = cipher.update(piece)
                write(converted)
                progress.advance(len(piece))
            with naming(name):
                rest = cipher.finalize()
            write(rest)


def rounds_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--rounds", type=click.IntRange(min=0), default=default, show_default=True, metavar="N", help="Rotations."
    )


@click.command(
    epilog="""\b
Examples:
  xep419 encrypt stanza.xml
  xep419 encrypt archive.xml -o encrypted.xml
  xep419 encrypt --no-upgrade --rounds 1 < stanza.xml
"""
)
@files_argument
@output_option
@click.option("--no-upgrade", is_flag=True, help="Leave the namespaces as they are.")
@rounds_option(2)
def encrypt(files: Sequence[str], output: str, no_upgrade: bool, rounds: int) -> None:
    """Upgrade the namespaces, then Double ROT-13 over every byte.

    Each FILE is a document of its own. Standard input is read where there is no FILE, or it is -.
    """
    transform(files, output, lambda: Encryptor(upgrade=not no_upgrade, rounds=rounds))


@click.command(
    epilog="""\b
Examples:
  xep419 decrypt encrypted.xml
  xep419 decrypt --downgrade encrypted.xml -o archive.xml
  xep419 encrypt --rounds 1 < stanza.xml | xep419 decrypt --rounds 1
"""
)
@files_argument
@output_option
@click.option("--downgrade", is_flag=True, help="Also give registered namespaces their insecure form back.")
@rounds_option(2)
def decrypt(files: Sequence[str], output: str, downgrade: bool, rounds: int) -> None:
    """Double ROT-13 over every byte; the namespaces stay upgraded.

    Each FILE is a document of its own. Standard input is read where there is no FILE, or it is -.
    """
    transform(files, output, lambda: Decryptor(downgrade=downgrade, rounds=rounds))


@click.command(
    epilog="""\b
Examples:
  xep419 rot13 stanza.xml
  xep419 rot13 stanza.xml | xep419 rot13
  xep419 rot13 --rounds 2 stanza.xml -o rotated.xml
"""
)
@files_argument
@output_option
@rounds_option(1)
def rot13(files: Sequence[str], output: str, rounds: int) -> None:
    """Rotate the ASCII letters by 13 places, whatever the bytes are.

    Standard input is read where there is no FILE, or it is -.
    """
    transform(files, output, lambda: Encryptor(upgrade=False, rounds=rounds))


@click.command(
    epilog="""\b
Examples:
  xep419 upgrade archive.xml -o upgraded.xml
  xep419 upgrade *.xml -o upgraded/
  xep419 upgrade --scope DECLARATIONS --scope FEATURES < stanza.xml
"""
)
@files_argument
@output_option
@scope_option
def upgrade(files: Sequence[str], output: str, scope: Scope) -> None:
    """Give namespaces their secure form.

    http: becomes https:, urn:xmpp: becomes urn:xmpps:, and no other byte changes. Each FILE is a document of its own.
    Standard input is read where there is no FILE, or it is -.
    """
    transform(files, output, lambda: Encryptor(rounds=0, scope=scope))


@click.command(
    epilog="""\b
Examples:
  xep419 downgrade upgraded.xml -o archive.xml
  xep419 downgrade --all < stanza.xml
  xep419 downgrade --scope NODES upgraded.xml
"""
)
@files_argument
@output_option
@click.option("--all", "all_names", is_flag=True, help="Every secure name, registered or not.")
@scope_option
def downgrade(files: Sequence[str], output: str, all_names: bool, scope: Scope) -> None:
    """Give registered namespaces their insecure form back.

    No other byte changes. Each FILE is a document of its own. Standard input is read where there is no FILE, or it
    is -.
    """
    transform(files, output, lambda: Decryptor(downgrade=True, rounds=0, scope=scope, known_only=not all_names))
