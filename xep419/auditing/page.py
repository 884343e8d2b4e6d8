"""An audit report as one HTML page, by the template ``page.html.j2``. Needs Jinja2: the extra ``xep419[audit]``.

Works out shares and rows; how they look is the template's affair.
"""

from __future__ import annotations

from typing import Any

try:
    import jinja2
except ImportError as error:
    raise ImportError(
        f"an HTML page of an audit needs Jinja2 ({error}): pip install 'xep419[audit]'", name=error.name
    ) from error

from .._version import __version__
from ..names import Scope
from .e2ee import FACTS
from .report import Transport

#: rows of the table of names; the JSON has all
MOST_ROWS = 5000


def render(report: dict[str, Any]) -> str:
    """The page for a report as :meth:`AuditReport.as_object` gives it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("xep419.auditing", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "figure": figure, "plural": plural}
    return environment.get_template("page.html.j2").render(
        report=report,
        version=__version__,
        kinds=_kinds(report["names"]),
        coverage=_coverage(report["encryption"]),
        facts=_facts(report["encryption"]),
        transports={kind.name.lower(): kind.value for kind in Transport},
        names=report["names"][:MOST_ROWS],
    )


def visible(text: str) -> str:
    """``text`` with escapes for what does not show, or would turn the letters around it (RFC 9839)."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def figure(number: int) -> str:
    """With thin spaces between the thousands, as ISO 80000-1 writes them."""
    return f"{number:,}".replace(",", "\u2009")


def plural(number: int, noun: str) -> str:
    return f"{figure(number)} {noun}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> float:
    """In percent."""
    return round(100 * part / whole, 2) if whole else 0.0


def _kinds(names: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind of position, how many places hold insecure and secure names, and how wide their bars are."""
    counts = {str(kind.name): {"insecure": 0, "secure": 0} for kind in Scope if kind is not Scope.ALL}
    for found in names:
        counts[found["kind"]]["secure" if found["secure"] else "insecure"] += found["count"]
    longest = max((sum(count.values()) for count in counts.values()), default=0)
    return [
        {"kind": kind, **count, "widths": [_share(count["insecure"], longest), _share(count["secure"], longest)]}
        for kind, count in counts.items()
    ]


def _coverage(encryption: dict[str, Any]) -> list[dict[str, Any]]:
    """For each scheme that encrypts, and for the rest: the bytes covered of those of its stanzas, and their share."""
    rows = [
        _bar(found["name"], found["stanzas"], found["covered"], found["covered"] + found["clear"])
        for found in _encrypting(encryption)
    ]
    none = encryption["none"]
    return [*rows, _bar("none", none["stanzas"], 0, none["clear"])]


def _bar(name: str, stanzas: int, covered: int, size: int) -> dict[str, Any]:
    return {"name": name, "stanzas": stanzas, "covered": covered, "bytes": size, "share": _share(covered, size)}


def _encrypting(encryption: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemes that encrypt something and, where they are several, all together."""
    found = [scheme for scheme in encryption["schemes"] if scheme["stanzas"]]
    return [*found, encryption["encrypted"]] if len(found) > 1 else found


def _facts(encryption: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each fact that any scheme leaves in the clear, with a cell for each scheme that encrypts."""
    encrypting = _encrypting(encryption)
    rows = []
    for fact in FACTS:
        cells = []
        for found in encrypting:
            learned = next((learned for learned in found["facts"] if learned["fact"] == fact), None)
            cells.append({"scheme": found["name"], "learned": learned, "stanzas": found["stanzas"]})
        if any(cell["learned"] for cell in cells):
            rows.append({"fact": fact, "cells": cells})
    return rows
