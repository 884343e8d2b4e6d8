"""The registry: what the data says, how it is found, and that the rules on names and the scanner agree with it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import xep419
from xep419 import UnknownNamespaceError, XEP419Error, downgrade_name, is_secure, upgrade, upgrade_name
from xep419.names import is_known, is_registered_node
from xep419.registry import RegistryEntry, entries, lookup, search

pytestmark = pytest.mark.any_isa

PING = RegistryEntry(
    name="urn:xmpp:ping",
    secure_name="urn:xmpps:ping",
    spec="xep0199",
    status="registered",
    specs=("xep0199",),
    lists=("namespace", "xep", "feature"),
)
LISTS = ("namespace", "node", "xep", "feature", "form_type")


# -- finding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["urn:xmpp:ping", "urn:xmpps:ping"])
def test_either_form_is_looked_up(name: str) -> None:
    assert lookup(name) == PING


def test_every_entry_is_found_by_its_two_names() -> None:
    for entry in entries():
        assert lookup(entry.name) is lookup(entry.secure_name) is entry
        assert entry in search(entry.name)
        assert entry in search(entry.secure_name.upper())
        assert all(entry in search(spec) for spec in entry.specs)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "urn:xmpp:pin",
        "urn:xmpp:pings",
        " urn:xmpp:ping",
        "urn:xmpp:ping#suffix",
        "urn:xmpp:ping+notify",
        "URN:XMPP:ping",
        "urn:xmppss:ping",
        "https:",
        "urn:xmpp:\udcff",
    ],
)
def test_an_unknown_name_is_a_key_error_of_ours(name: str) -> None:
    with pytest.raises(UnknownNamespaceError) as caught:
        lookup(name)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, XEP419Error)
    assert str(caught.value) == f"a registered name is expected, not {name!r}"
    assert caught.value.offset is None
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (type(copied), str(copied)) == (UnknownNamespaceError, str(caught.value))


@pytest.mark.parametrize("name", [None, b"urn:xmpp:ping", 419])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(TypeError, match=r"^a namespace name is a str, not '\w+'$"):
        lookup(name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("xep0384", ["urn:xmpp:omemo:0"]),
        ("XEP-0384", ["urn:xmpp:omemo:0"]),
        ("OMEMO", ["urn:xmpp:omemo:0"]),
        ("urn:xmpps:omemo", ["urn:xmpp:omemo:0"]),
        (
            "protocol/xdata",
            ["http://jabber.org/protocol/xdata-layout", "http://jabber.org/protocol/xdata-validate"],
        ),
        ("xep0016", ["jabber:iq:privacy"]),  # not its first specification
        ("no such text", []),
        ("+", []),  # no pattern
    ],
)
def test_search(text: str, names: list[str]) -> None:
    assert [entry.name for entry in search(text)] == names


def test_searching_for_nothing_finds_everything() -> None:
    assert tuple(search("")) == entries()


# -- the data -------------------------------------------------------------------------------------------------


def test_entries_are_sorted_and_every_name_stands_once() -> None:
    names = [entry.name for entry in entries()]
    assert names == sorted(set(names))
    assert len({entry.secure_name for entry in entries()} | set(names)) == len(names) + sum(
        entry.secure_name != entry.name for entry in entries()
    ), "no secure form is another entry's name"


def test_an_entry_agrees_with_the_rules_on_names() -> None:
    for entry in entries():
        assert entry.secure_name == upgrade_name(entry.name)
        assert downgrade_name(entry.secure_name) == entry.name
        changes = entry.name.startswith(("http:", "urn:xmpp:"))
        assert (entry.name != entry.secure_name) is is_secure(entry.secure_name) is changes
        assert is_known(entry.name)
        node = not {"namespace", "node", "xep"}.isdisjoint(entry.lists)
        assert is_registered_node(entry.name) is node or "#" in entry.name  # which a registered name may stand before


def test_an_entry_agrees_with_the_scanner() -> None:
    for entry in entries():
        assert upgrade(f"<a xmlns='{entry.name}'/>") == f"<a xmlns='{entry.secure_name}'/>"
        node = f"<items node='{entry.name}'/>"
        honoured = is_registered_node(entry.name) or entry.name.startswith("urn:xmpp:")
        assert upgrade(node) == (f"<items node='{entry.secure_name}'/>" if honoured else node)


def test_an_entry_is_whole() -> None:
    for entry in entries():
        assert entry.lists == tuple(name for name in LISTS if name in entry.lists) != ()
        assert entry.spec == (entry.specs[0] if entry.specs else "")
        assert len(set(entry.specs)) == len(entry.specs)
        assert entry.status in (("registered", "provisional") if "namespace" in entry.lists else ("",))
        assert bool(entry.specs) or {"namespace", "xep"}.isdisjoint(entry.lists)


def test_the_registry_states_what_the_registrar_states(shared: Path) -> None:
    facts = json.loads((shared / "registry-facts.json").read_text("utf-8"))
    lists: dict[str, set[str]] = {}
    for fact in facts["namespaces"]:
        entry = lookup(fact["namespace"])
        assert (entry.name, entry.spec, entry.status) == (fact["namespace"], fact["spec"], fact["status"])
        lists.setdefault(entry.name, set()).add("namespace")
    for name, xeps in facts["xep_target_namespaces"].items():
        entry = lookup(name)
        assert {f"xep{xep}" for xep in xeps} <= set(entry.specs)
        if "namespace" not in entry.lists:
            assert entry.specs == tuple(f"xep{xep}" for xep in xeps)
        lists.setdefault(name, set()).add("xep")
    for key, list_name in (("disco_features", "feature"), ("form_types", "form_type"), ("nodes", "node")):
        for name in facts[key]:
            lists.setdefault(name, set()).add(list_name)
    assert {entry.name: set(entry.lists) for entry in entries()} == lists
    assert sum(Counter(entry.status for entry in entries())[status] for status in ("registered", "provisional")) == len(
        facts["namespaces"]
    )


# -- cost -----------------------------------------------------------------------------------------------------


def test_importing_the_package_builds_no_entries() -> None:
    program = (
        "import sys, xep419; print({'xep419.registry', 'xep419.registrar', 'xml.parsers.expat'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"


def test_the_error_is_where_the_others_are() -> None:
    assert "UnknownNamespaceError" in xep419.__all__
    assert xep419.UnknownNamespaceError.__module__ == "xep419.errors"
