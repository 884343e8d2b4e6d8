"""The results of ``xep419 speed`` as JSON, there and back, and two of them compared.

Nothing here takes a time: two results give one comparison, always the same. docs/speed.md says what the fields are
and why the rule is what it is; nothing is called a difference that lies within :data:`FLOOR` or within three standard
errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from .files import FileError, naming, reading, source_name
from .measure import REFERENCE, Key, Measurement

#: what the first field of the JSON says; the number changes when the fields do
FORMAT = "xep419 speed 1"
#: a change of speed smaller than this is never told from noise: so much may differ between two processes
FLOOR = 0.10
#: the standard error of a median is this times the standard deviation over the root of the number of values
_ERROR_OF_MEDIAN = math.sqrt(math.pi / 2)
#: and the standard deviation is this times the median absolute deviation; both hold for a normal distribution
_DEVIATION_OF_MAD = 1.4826
#: no figure of a run comes near these; within them nothing overflows
_LEAST, _MOST = 1e-15, 1e15

Verdict = Literal["faster", "slower", "no difference"]


class Result(NamedTuple):
    """A run: what it ran on, as ``xep419 speed --json`` tells it, and what it measured."""

    machine: dict[str, Any]
    cells: list[Measurement]
    skipped: list[Key]


class Comparison(NamedTuple):
    """One cell in two results.

    :param ratio: the new speed over the old, each taken against its reference.
    :param noise: the part of 1 that the ratio may be off by with nothing having changed.
    """

    old: Measurement
    new: Measurement
    ratio: float
    noise: float

    @property
    def verdict(self) -> Verdict:
        if 1 / (1 + self.noise) <= self.ratio <= 1 + self.noise:
            return "no difference"
        return "faster" if self.ratio > 1 else "slower"


def compare(old: Iterable[Measurement], new: Iterable[Measurement]) -> list[Comparison]:
    """The cells that both have, in the order of the new; the references, which are what the others are held against,
    are not among them."""
    before = {cell.key: cell for cell in old}
    return [
        Comparison(
            before[cell.key],
            cell,
            before[cell.key].relative / cell.relative,
            max(FLOOR, 3 * math.hypot(_relative_error(before[cell.key]), _relative_error(cell))),
        )
        for cell in new
        if cell.key in before and cell.key.operation != REFERENCE
    ]


def _relative_error(cell: Measurement) -> float:
    """The standard error of the median of the relative times, as a part of that median."""
    return _ERROR_OF_MEDIAN * _DEVIATION_OF_MAD * cell.relative_mad / cell.relative / math.sqrt(cell.rounds)


# -- JSON -----------------------------------------------------------------------------------------------------


def as_object(result: Result) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **result.machine,
        "cells": [
            {**key_object(cell.key), **{field: getattr(cell, field) for field in Measurement._fields[1:]}}
            for cell in result.cells
        ],
        "skipped": [key_object(key) for key in result.skipped],
    }


def comparison_object(comparison: Comparison) -> dict[str, Any]:
    return {
        **key_object(comparison.new.key),
        "ratio": comparison.ratio,
        "noise": comparison.noise,
        "verdict": comparison.verdict,
    }


def key_object(key: Key) -> dict[str, Any]:
    return {"operation": key.operation, "isa": key.isa or None, "bytes": key.size}


def load(path: str) -> Result:
    """What ``xep419 speed --json`` wrote to the file; anything else is a FileError."""
    name = source_name(path)
    with reading(path) as file, naming(name):
        content = file.read()
    try:
        found = json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise FileError(name, f"JSON is expected: {error.msg}", len(error.doc[: error.pos].encode())) from error
    except UnicodeDecodeError as error:
        raise FileError(name, "JSON in UTF-8 is expected", error.start) from error
    except (ValueError, RecursionError) as error:  # a number of too many digits, lists within lists
        raise FileError(name, f"JSON is expected: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FileError(name, f"it is not a result of xep419 speed --json ({FORMAT!r} is expected as its format)")
    return _as_result(found, name)


def _as_result(found: dict[str, Any], name: str) -> Result:
    cells, skipped = (_list(found, field, name) for field in ("cells", "skipped"))
    machine = {field: value for field, value in found.items() if field not in ("format", "cells", "skipped")}
    result = Result(machine, [], [])
    for number, cell in enumerate(cells):
        result.cells.append(_as_measurement(cell, f"cell {number}", name))
    for number, cell in enumerate(skipped):
        result.skipped.append(_as_key(cell, f"skipped cell {number}", name))
    keys = [cell.key for cell in result.cells]
    if len(set(keys)) < len(keys):
        raise FileError(name, "a cell stands in it twice")
    return result


def _list(found: dict[str, Any], field: str, name: str) -> list[Any]:
    value = found.get(field)
    if not isinstance(value, list):
        raise FileError(name, f"a list is expected as {field!r}")
    return value


def _as_key(cell: object, place: str, name: str) -> Key:
    if not isinstance(cell, dict):
        raise FileError(name, f"{place}: an object is expected")
    operation, isa, size = cell.get("operation"), cell.get("isa"), cell.get("bytes")
    if not isinstance(operation, str):
        raise FileError(name, f"{place}: a name is expected as 'operation'")
    if not isinstance(isa, str) and not (isa is None and operation == REFERENCE):
        raise FileError(name, f"{place}: a name is expected as 'isa'")
    if type(size) is not int or size < 1:
        raise FileError(name, f"{place}: a whole number of at least 1 is expected as 'bytes'")
    return Key(operation, isa or "", size)


def _as_measurement(cell: object, place: str, name: str) -> Measurement:
    key = _as_key(cell, place, name)
    assert isinstance(cell, dict)
    for field in ("rounds", "calls"):
        if type(cell.get(field)) is not int or not 1 <= cell[field] <= _MOST:
            raise FileError(name, f"{place}: a whole number of at least 1 is expected as {field!r}")
    for field, least in (("seconds", _LEAST), ("mad", 0), ("relative", _LEAST), ("relative_mad", 0)):
        if type(cell.get(field)) not in (int, float) or not least <= cell[field] <= _MOST:  # as NaN is not
            raise FileError(name, f"{place}: a number of at least {least} is expected as {field!r}")
    return Measurement(key, *(cell[field] for field in Measurement._fields[1:]))
