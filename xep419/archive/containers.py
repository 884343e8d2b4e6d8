"""Looks through compression and packing for the format inside."""

from __future__ import annotations

from typing import IO, Any

from .formats import HEAD, Format, by_name, recognise
from .recoding import Recoding


def format_named(name: str, options: dict[str, Any]) -> Format:
    return by_name(name, options)


def recognise_file(file: IO[bytes], recoding: Recoding, options: dict[str, Any]) -> Format | None:
    return recognise(file.read(HEAD), recoding, options)
