"""Rewrites ``xep419/registry.tsv`` from a checkout of the XMPP Registrar (github.com/xsf/registrar) and, where one is
given, of the XEPs (github.com/xsf/xeps).

The same checkouts always give the same file. Without the XEPs their target namespaces stay as they are in the table.
Nothing is fetched.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from xep419.errors import XEP419Error
from xep419.registrar import Registration, read

TABLE = Path(__file__).parent.parent / "xep419" / "registry.tsv"
#: the Registrar's files whose names stand in XMPP's XML
FILES = ("namespaces.xml", "nodes.xml", "disco-features.xml", "formtypes.xml")
#: the order of a name's lists
LISTS = ("namespace", "node", "xep", "feature", "form_type")

_REVISED = re.compile(rb"<date>\s*(\d{4}-\d\d-\d\d)\s*</date>")
_TARGET = re.compile(r"""\btargetNamespace\s*=\s*(?:'([^'<]+)'|"([^"<]+)")""")


class Fact(NamedTuple):
    """That a name stands in a list; ``specs`` and ``status`` as the list states them."""

    list: str
    name: str
    specs: tuple[str, ...]
    status: str


def registrar_facts(checkout: Path) -> Iterator[Fact]:
    for file in FILES:
        path = checkout / file
        try:
            registrations = read(path.read_bytes())
        except XEP419Error as error:
            raise SystemExit(f"{path}: {error}") from error
        yield from map(_fact, registrations)


def _fact(registration: Registration) -> Fact:
    return Fact(registration.registry, registration.name, registration.specs, registration.status)


def xep_facts(checkout: Path) -> Iterator[Fact]:
    """The target namespaces of the schemas in the XEPs, which quote them in CDATA sections."""
    for path in sorted(checkout.glob("xep-[0-9][0-9][0-9][0-9].xml")):
        spec = path.stem.replace("-", "")
        for match in _TARGET.finditer(path.read_text("utf-8")):
            yield Fact("xep", html.unescape(match[1] or match[2]).strip(), (spec,), "")


def kept_xep_facts(table: Path) -> Iterator[Fact]:
    """The target namespaces that the table has."""
    for line in table.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, lists, specs, _status = line.split("\t")
            if "xep" in lists.split(","):
                yield Fact("xep", name, tuple(spec for spec in specs.split(",") if spec.startswith("xep")), "")


def rows(facts: Iterable[Fact]) -> Iterator[str]:
    """The table's lines, sorted by name.

    A name's specifications are those of its namespace's registration and then those of the XEPs with it in a schema;
    what other registries say (of a feature: who uses it) counts only where these are silent. The status is the
    namespace's.
    """
    by_name: dict[str, list[Fact]] = {}
    for fact in facts:
        by_name.setdefault(fact.name, []).append(fact)
    for name in sorted(by_name):
        found = sorted(by_name[name], key=lambda fact: LISTS.index(fact.list))
        lists = dict.fromkeys(fact.list for fact in found)
        specs = _specs(found, "namespace", "xep") or _specs(found, *LISTS)
        status = next((fact.status for fact in found if fact.list == "namespace"), "")
        yield f"{name}\t{','.join(lists)}\t{','.join(specs)}\t{status}\n"


def _specs(facts: Iterable[Fact], *lists: str) -> dict[str, None]:
    return dict.fromkeys(spec for fact in facts if fact.list in lists for spec in fact.specs)


def revised(checkout: Path) -> str:
    """The day of the newest revision that the Registrar's files record."""
    dates = (date for file in FILES for date in _REVISED.findall((checkout / file).read_bytes()))
    return max(dates, default=b"unknown").decode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Rewrite registry.tsv from the XMPP Registrar's files.")
    parser.add_argument("checkout", type=Path, help="a checkout of the XMPP Registrar")
    parser.add_argument("--xeps", type=Path, help="a checkout of the XEPs, for their target namespaces")
    parser.add_argument("--table", type=Path, default=TABLE, help="the file to rewrite (%(default)s)")
    given = parser.parse_args()
    missing = [file for file in FILES if not (given.checkout / file).is_file()]
    if missing:
        raise SystemExit(f"{given.checkout} is no checkout of the registrar: it has no {', '.join(missing)}")
    xeps = list(xep_facts(given.xeps) if given.xeps else kept_xep_facts(given.table))
    if given.xeps and not xeps:
        raise SystemExit(f"{given.xeps} is no checkout of the XEPs: it has no xep-NNNN.xml with a schema")
    lines = [
        f"# XMPP Registrar, last revised {revised(given.checkout)}: names and specifications. Sorted by name.\n",
        "# name\tlists (namespace, node, xep = a XEP's target namespace, feature, form_type)"
        "\tspecifications, the Registrar's first\tstatus\n",
        *rows([*registrar_facts(given.checkout), *xeps]),
    ]
    given.table.write_text("".join(lines), encoding="utf-8", newline="\n")
    sys.stderr.write(f"{given.table}: {len(lines) - 2} names\n")


if __name__ == "__main__":
    main()
