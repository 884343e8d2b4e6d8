"""Real XMPP against the oracles: recorded sessions, captures, archives, and the examples of all XEPs.

The oracles judge once what the package makes of each document; then every instruction set must make the same of it.
A document that is a fragment (several elements, a prefix that nothing binds) is judged in a wrapper that binds its
prefixes, so that no document is left out.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from oracles import (
    NODE_NAMES,
    REGISTERED,
    NotNamespaceWellFormedError,
    assert_found,
    assert_mapped,
    downgraded,
    insertions,
    known_downgraded,
    parse_expat,
    removals,
    upgraded,
)

from xep419 import NamespaceRef, decrypt, downgrade, encrypt, encrypt_many, scan, upgrade

_STREAM_HEADER = re.compile(rb"(?:<\?xml[^>]*\?>\s*)?<stream:stream\b")
_DECLARATION = re.compile(rb"^\s*<\?xml\b.*?\?>", re.DOTALL)
_PREFIX = re.compile(rb"[<\s/]([A-Za-z_][\w.-]*):[A-Za-z_]")


class Judged(NamedTuple):
    """A document and what the oracles accept as made of it."""

    xml: bytes
    upgraded: bytes
    downgraded: bytes
    known_downgraded: bytes
    refs: list[NamespaceRef]


def made(xml: bytes) -> Judged:
    up = upgrade(xml)
    return Judged(xml, up, downgrade(up, known_only=False), downgrade(up), scan(xml))


def judged(xml: bytes, before: bytes = b"", after: bytes = b"") -> Judged:
    """What is made of ``xml``, accepted by the oracles, which see it between ``before`` and ``after``."""
    parse_expat(before + xml + after)
    result = made(xml)
    whole = made(before + xml + after)
    assert whole.upgraded == upgrade(before) + result.upgraded + after
    assert_mapped(whole.xml, whole.upgraded, upgraded)
    assert_mapped(whole.upgraded, whole.downgraded, downgraded)
    assert_mapped(whole.upgraded, whole.known_downgraded, known_downgraded)
    assert_found(whole.xml, whole.refs)
    assert len(insertions(xml, result.upgraded)) == sum(not ref.secure for ref in result.refs)
    assert removals(result.upgraded, result.downgraded) == len(result.refs)
    return result


def bound(xml: bytes) -> tuple[bytes, bytes]:
    """A wrapper that binds every prefix of a fragment, to names that nothing rewrites."""
    prefixes = sorted(set(_PREFIX.findall(xml)) - {b"xml", b"xmlns"})
    declared = b"".join(b" xmlns:%b='jabber:x:%b'" % (prefix, prefix) for prefix in prefixes)
    return b"<wrapper xmlns='jabber:client'" + declared + b">", b"</wrapper>"


def judged_alone_or_wrapped(xml: bytes) -> tuple[Judged, bool]:
    try:
        return judged(xml), True
    except NotNamespaceWellFormedError:
        without_declaration = _DECLARATION.sub(b"", xml)
        return judged(without_declaration, *bound(without_declaration)), False


def documents_of(session: bytes) -> list[bytes]:
    """The documents of one direction of a connection: each stream header begins one, and only the last is closed."""
    starts = [match.start() for match in _STREAM_HEADER.finditer(session)]
    assert starts[0] == 0
    return [session[start:end] for start, end in itertools.pairwise([*starts, len(session)])]


def judged_session(session: bytes) -> list[Judged]:
    documents = documents_of(session)
    open_ones = [judged(document, after=b"</stream:stream>") for document in documents[:-1]]
    return [*open_ones, judged(documents[-1])]


def assert_made_alike(expected: Judged) -> None:
    """Every public function makes of the document what the oracles accepted."""
    xml = expected.xml
    assert made(xml) == expected
    assert upgrade(xml.decode()) == expected.upgraded.decode()
    assert upgrade(bytearray(xml)) == expected.upgraded
    assert upgrade(expected.upgraded) is expected.upgraded
    assert encrypt(xml) == expected.upgraded
    assert decrypt(expected.upgraded) == expected.upgraded
    if not any(ref.secure for ref in expected.refs):
        assert expected.downgraded == xml


# -- recorded sessions --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def judged_recordings(recorded: list[bytes]) -> list[list[Judged]]:
    return [judged_session(session) for session in recorded]


def test_recorded_sessions(recorded: list[bytes], judged_recordings: list[list[Judged]]) -> None:
    assert [len(documents) for documents in judged_recordings] == [2] * 6
    for session, documents in zip(recorded, judged_recordings, strict=True):
        for document in documents:
            assert_made_alike(document)
        assert upgrade(session) == b"".join(document.upgraded for document in documents)
        assert encrypt(session) == upgrade(session)
        assert len(scan(session)) == sum(len(document.refs) for document in documents)


@pytest.mark.any_isa
def test_recorded_sessions_hold_every_kind_of_name(judged_recordings: list[list[Judged]]) -> None:
    """As counted in ``examples/recorded/README.md``: names of caps' and of software stay out."""
    refs = [ref for documents in judged_recordings for document in documents for ref in document.refs]
    kinds = {kind: sum(ref.kind.name == kind for ref in refs) for kind in ("FIELDS", "FORM_TYPES", "DECLARATIONS")}
    assert kinds["FIELDS"] == 3
    assert kinds["FORM_TYPES"] == 12
    assert kinds["DECLARATIONS"] > 400
    nodes = {ref.name for ref in refs if ref.kind.name == "NODES"}
    assert nodes
    assert all(
        name.startswith("urn:xmpp:") or name.partition("#")[0] in NODE_NAMES or name in NODE_NAMES for name in nodes
    )


def test_encrypt_many_of_recorded_stanzas(judged_recordings: list[list[Judged]]) -> None:
    documents = [document for session in judged_recordings for document in session] * 10
    assert encrypt_many([document.xml for document in documents]) == [document.upgraded for document in documents]


# -- the corpus ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def judged_examples(shared: Path) -> list[tuple[Judged, bool]]:
    lines = (shared / "corpus" / "xep-examples.jsonl").read_text("utf-8").splitlines()
    return [judged_alone_or_wrapped(json.loads(line)["xml"].encode()) for line in lines]


def test_examples_of_all_xeps(judged_examples: list[tuple[Judged, bool]]) -> None:
    """Of 2680 examples 2066 are well-formed by themselves; the other 614 are fragments; none is left out."""
    alone = [is_alone for _, is_alone in judged_examples]
    assert (len(alone), sum(alone)) == (2680, 2066)
    for document, _ in judged_examples:
        assert_made_alike(document)
    xml = [document.xml for document, _ in judged_examples]
    assert encrypt_many(xml) == [document.upgraded for document, _ in judged_examples]


def test_captured_sessions(shared: Path, judged_captures: list[list[Judged]]) -> None:
    assert [len(documents) for documents in judged_captures] == [2] * 8
    for documents in judged_captures:
        for document in documents:
            assert_made_alike(document)


@pytest.fixture(scope="session")
def judged_captures(shared: Path) -> list[list[Judged]]:
    paths = sorted((shared / "corpus" / "captures").glob("*.xml"))
    return [judged_session(path.read_bytes()) for path in paths]


@pytest.fixture(scope="session")
def judged_archives(shared: Path) -> list[Judged]:
    paths = sorted((shared / "archives").rglob("*.xml"))
    return [judged_alone_or_wrapped(path.read_bytes())[0] for path in paths]


def test_archives_in_xml(judged_archives: list[Judged]) -> None:
    assert len(judged_archives) == 6
    for document in judged_archives:
        assert_made_alike(document)


def test_the_examples_of_xep_0419(shared: Path) -> None:
    """The original and its encryptions, right and wrong, are the same bytes."""
    examples: list[dict[str, Any]] = json.loads((shared / "vectors" / "xep-0419.json").read_text("utf-8"))["examples"]
    assert len(examples) == 4
    for example in examples:
        stanza = example["stanza"]
        assert encrypt(stanza) == stanza == examples[0]["stanza"]
        assert encrypt(stanza.encode()) == stanza.encode()
        assert upgrade(stanza) is stanza
        insecure = downgrade(stanza, known_only=False)
        assert insecure == stanza.replace("urn:xmpps:", "urn:xmpp:")
        assert encrypt(insecure) == stanza
        judged(insecure.encode())


# -- the registry -------------------------------------------------------------------------------------------


def names_in(facts: Any) -> Iterator[str]:
    for entry in facts:
        yield entry if isinstance(entry, str) else entry["namespace"]


@pytest.mark.any_isa
def test_the_registry_of_the_package_is_that_of_the_registrar(shared: Path) -> None:
    facts: dict[str, Any] = json.loads((shared / "registry-facts.json").read_text("utf-8"))
    nodes = {name for key in ("namespaces", "nodes", "xep_target_namespaces") for name in names_in(facts[key])}
    others = {name for key in ("disco_features", "form_types") for name in names_in(facts[key])}
    assert nodes == NODE_NAMES
    assert nodes | others == REGISTERED
