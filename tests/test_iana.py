"""The request for the URN namespace ``xmpps``: RFC 8141's template, complete and in its order, true to the registry."""

from __future__ import annotations

import datetime
import re

import pytest

from xep419.iana import registration_template
from xep419.registry import entries

pytestmark = pytest.mark.any_isa

#: RFC 8141, appendix A
FIELDS = [
    "Namespace Identifier",
    "Version",
    "Date",
    "Registrant",
    "Purpose",
    "Syntax",
    "Assignment",
    "Security and Privacy",
    "Interoperability",
    "Resolution",
    "Documentation",
    "Additional Information",
    "Revision Information",
]
FIRST_OF_APRIL = datetime.date(2019, 4, 1)


def fields(text: str) -> dict[str, str]:
    """Field by field, white space folded."""
    parts = re.split(r"^([A-Z][A-Za-z ]+):", text, flags=re.MULTILINE)
    assert parts[0] == ""
    return {name: " ".join(value.split()) for name, value in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_field_is_there_in_order_and_filled_in() -> None:
    found = fields(registration_template(FIRST_OF_APRIL))
    assert list(found) == FIELDS
    assert all(found.values())
    assert not [name for name, value in found.items() if "{" in value or "}" in value]


@pytest.mark.parametrize(
    ("field", "value"),
    [("Namespace Identifier", "xmpps"), ("Version", "1"), ("Date", "2019-04-01")],
)
def test_short_fields(field: str, value: str) -> None:
    assert fields(registration_template(FIRST_OF_APRIL))[field] == value


def test_the_date_is_today_without_one() -> None:
    before = datetime.date.today()
    date = datetime.date.fromisoformat(fields(registration_template())["Date"])
    assert before <= date <= datetime.date.today()


def test_the_identifier_is_one_that_may_be_registered() -> None:
    """RFC 8141, sections 2 and 5.1."""
    identifier = fields(registration_template(FIRST_OF_APRIL))["Namespace Identifier"]
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{1,30}[A-Za-z0-9]", identifier)
    assert not re.match(r"urn-|[A-Za-z]{2}-|xn-", identifier)


def test_what_is_assigned_is_counted_in_the_registry() -> None:
    assignment = fields(registration_template(FIRST_OF_APRIL))["Assignment"]
    names = [entry.name for entry in entries() if entry.name.startswith("urn:xmpp:")]
    assert f"held {len(names)} such names" in assignment
    example = re.search(r'"(urn:xmpps:[^"]+)"', assignment)
    assert example
    assert example[1].replace("xmpps", "xmpp") in names


def test_it_says_that_nothing_is_made_secure() -> None:
    assert "It does not make it so." in fields(registration_template(FIRST_OF_APRIL))["Security and Privacy"]


def test_it_can_be_mailed() -> None:
    text = registration_template(FIRST_OF_APRIL)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 72
    assert text.endswith(".\n")
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
