"""The command's files: where bytes come from, where they go, and how a file appears whole or not at all.

Knows nothing of XML or ciphers. An output is written to a temporary file beside its target, synced and renamed over
it; symbolic links are followed, and the target's permission bits and owner kept. What is not a regular file (a
device, a named pipe) is written to as it is. Every failure is a :class:`FileError` that names the file.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple, cast

import click

from .._replacing import create, keep_permissions, status, sync_directory
from ..errors import XEP419Error

#: bytes read at a time
CHUNK = 1 << 20
#: the path that stands for standard input and standard output
STANDARD = "-"

Write = Callable[[bytes], None]
Document = bytes | mmap.mmap


class FileError(Exception):
    """What is wrong with one file: its name, the byte where there is one, the reason."""

    def __init__(self, name: str, reason: str, offset: int | None = None) -> None:
        place = "" if offset is None else f"byte {offset}: "
        super().__init__(f"{name}: {place}{reason}")

    def show(self) -> None:
        if sys.stderr is not None:
            print(f"xep419: {self}", file=sys.stderr, flush=True)


class Job(NamedTuple):
    """One document: where it comes from and where it goes."""

    source: str
    target: str


def printable(text: str) -> str:
    """``text`` with escapes for all that a terminal might obey or UTF-8 not encode."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def source_name(path: str) -> str:
    return "standard input" if path == STANDARD else printable(path)


def target_name(path: str) -> str:
    return "standard output" if path == STANDARD else printable(path)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Errors about the file or its bytes come out as FileError; a broken pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileError(name, error.strerror or str(error)) from error
    except XEP419Error as error:
        raise FileError(name, error.message, error.offset) from error


# -- from the command line ------------------------------------------------------------------------------------


def sources(files: Sequence[str]) -> Sequence[str]:
    """The inputs the user named: standard input when none, and never twice."""
    if files.count(STANDARD) > 1:
        raise click.UsageError("Standard input can be read only once.")
    return files or (STANDARD,)


def plan(files: Sequence[str], output: str) -> list[Job]:
    """Which input goes where; what cannot be meant is a usage error."""
    inputs = sources(files)
    if not output:
        raise click.UsageError("The name after -o is empty.")
    if output != STANDARD:
        if output.endswith(("/", os.sep)) or os.path.isdir(output):
            return _into_directory(inputs, output)
        if len(inputs) > 1:
            raise click.UsageError(printable(f"Several files need a directory: -o {output}/"))
    return [Job(source, output) for source in inputs]


def _into_directory(inputs: Sequence[str], directory: str) -> list[Job]:
    if STANDARD in inputs:
        raise click.UsageError("Standard input has no name to give its output in a directory: use -o FILE.")
    jobs = [Job(source, os.path.join(directory, os.path.basename(source))) for source in inputs]
    seen: dict[str, str] = {}
    for source, target in jobs:
        key = os.path.normcase(target)
        if key in seen:
            raise click.UsageError(printable(f"{seen[key]} and {source} would both be written to {target}."))
        seen[key] = source
    with naming(printable(directory)):
        os.makedirs(directory, exist_ok=True)
    return jobs


# -- reading --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(path: str) -> Iterator[io.BufferedReader]:
    """The open input; standard input stays open afterwards."""
    if path != STANDARD:
        with naming(source_name(path)):
            file = open(path, "rb")  # noqa: SIM115 - errors inside the block are not about opening
        with file:
            yield file
    elif sys.stdin is None:
        raise FileError(source_name(path), "it is closed")
    else:
        yield cast(io.BufferedReader, sys.stdin.buffer)


def pieces(file: io.BufferedReader, name: str) -> Iterator[bytes]:
    """The file's bytes as they come, at most :data:`CHUNK` at a time."""
    while True:
        with naming(name):
            piece = file.read1(CHUNK)
        if not piece:
            return
        yield piece


@contextlib.contextmanager
def document(path: str) -> Iterator[Document]:
    """The whole input: mapped into memory where it is a regular file, else read."""
    with reading(path) as file:
        mapped = _map(file) if path != STANDARD else None
        if mapped is None:
            with naming(source_name(path)):
                content = file.read()
            yield content
        else:
            with mapped:
                yield mapped


def _map(file: io.BufferedReader) -> mmap.mmap | None:
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # a pipe, a file system that cannot; an empty file
        return None


def size(path: str) -> int | None:
    """Bytes to come from the input: none where it cannot be opened, None where that is known only afterwards."""
    try:
        found = os.fstat(sys.stdin.fileno()) if path == STANDARD else os.stat(path)
    except (OSError, AttributeError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def refuse_own_output(file: IO[bytes], name: str) -> None:
    """Stops ``xep419 rot13 f >> f``, which would read what it writes until the disk is full."""
    try:
        output, source = os.fstat(sys.stdout.fileno()), os.fstat(file.fileno())
    except (OSError, AttributeError):
        return
    if stat.S_ISREG(output.st_mode) and os.path.samestat(output, source):
        raise FileError(name, "the input file is also standard output: use -o to replace it")


# -- writing --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing(path: str) -> Iterator[Write]:
    """A function that writes to the output. A regular file is in place, whole, only when the block ends well."""
    if path == STANDARD:
        if sys.stdout is None:
            raise FileError(target_name(path), "it is closed")
        yield _writer(sys.stdout.buffer, path)
        return
    with naming(target_name(path)):
        existing = status(path)
    if existing is None or stat.S_ISREG(existing.st_mode):
        with _replacing(path, existing) as write:
            yield write
        return
    with naming(target_name(path)):
        file = open(path, "wb", buffering=0)  # noqa: SIM115
    with file:
        yield _writer(file, path)


def _writer(file: IO[bytes], path: str) -> Write:
    def write(data: bytes) -> None:
        rest = memoryview(data)
        with naming(target_name(path)):
            while rest:
                rest = rest[file.write(rest) :]  # an unbuffered file may take less than it is given
            file.flush()

    return write


@contextlib.contextmanager
def _replacing(path: str, existing: os.stat_result | None) -> Iterator[Write]:
    real = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(real), f".xep419-{secrets.token_hex(8)}.tmp")
    try:
        with naming(target_name(path)):
            file = create(temporary, real, existing)
        with file:
            yield _writer(file, path)
            with naming(target_name(path)):
                os.fsync(file.fileno())
        with naming(target_name(path)):
            keep_permissions(temporary, existing)
            os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(real))
