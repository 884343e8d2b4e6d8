"""``xep419.elements``: what the functions on bytes make of a serialised tree, these make of the tree.

The oracle is the byte path: ``parse(upgrade(serialise(tree)))`` against ``upgrade_element(tree)``, for ElementTree and
lxml, on generated trees, the recorded sessions and the examples of the XEPs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from growth import assert_linear
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lxml import etree

import xep419
from xep419 import MalformedXMLError, Scope
from xep419.elements import downgrade_element, scan_element, upgrade_element

pytestmark = pytest.mark.any_isa

CAPS = "http://jabber.org/protocol/caps"
SCOPES = [Scope.ALL, *Scope, Scope.ALL & ~Scope.DECLARATIONS]
BYTES: list[tuple[Callable[..., Any], Callable[..., Any], dict[str, bool]]] = [
    (xep419.upgrade, upgrade_element, {}),
    (xep419.downgrade, downgrade_element, {}),
    (xep419.downgrade, downgrade_element, {"known_only": False}),
]


def parse_et(data: bytes) -> ElementTree.Element:
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    return ElementTree.fromstring(data, ElementTree.XMLParser(target=builder))


def parse_lxml(data: bytes) -> Any:
    return etree.fromstring(data, etree.XMLParser(huge_tree=True, resolve_entities=False))


def shape(root: Any) -> list[object]:
    """A tree as a list, with everything that its library knows of it but lxml's prefixes of tags."""
    made: list[object] = []
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if not isinstance(node.tag, str):
            made.append((node.tag.__name__, node.text, node.tail))
            continue
        declared = getattr(node, "nsmap", {})
        made.append((node.tag, list(node.attrib.items()), node.text, node.tail, declared, len(node)))
        stack.extend(reversed(node))
    return made


LIBRARIES = [
    pytest.param(parse_et, partial(ElementTree.tostring, encoding="utf-8"), id="ElementTree"),
    pytest.param(parse_lxml, partial(etree.tostring, encoding="utf-8"), id="lxml"),
]
Parse = Callable[[bytes], Any]
Serialise = Callable[[Any], bytes]


def assert_alike(parse: Parse, serialise: Serialise, document: bytes, scope: Scope) -> None:
    tree = parse(document)
    before = shape(tree)
    data = serialise(tree)
    for on_bytes, on_elements, options in BYTES:
        expected = on_bytes(data, scope=scope, **options)
        try:
            reparsed = parse(expected)
        except (ElementTree.ParseError, etree.XMLSyntaxError):  # two attributes have become one
            with pytest.raises(MalformedXMLError):
                on_elements(tree, scope=scope, **options)
            continue
        made = on_elements(tree, scope=scope, **options)
        assert shape(made) == shape(reparsed)
        assert (made is tree) == (shape(made) == before)
        assert shape(tree) == before


# -- every position ---------------------------------------------------------------------------------------

POSITIONS = [
    "<a xmlns='http://a'/>",
    "<a xmlns:b='urn:xmpp:b' b:c='urn:xmpp:c'><b:d xmlns=''><e/></b:d></a>",
    "<a xmlns='http://a'><b xmlns=''/><c xmlns='jabber:client'/></a>",
    "<a xml:lang='http:en'/>",
    "<feature var='http://a+notify'/>",
    "<x:feature xmlns:x='urn:x' var='HTTP://a' x:var='http://a'/>",
    "<feature var=' http://a'/>",
    "<field var='{http://a}b'/>",
    "<field var='{http://a'/>",
    "<field var='http://a'/>",
    "<x><field var='FORM_TYPE'><value> \n http://jabber.org/protocol/muc#roominfo\t </value><value>urn:xmpp:b</value></field></x>",
    "<x><field var='FORM_TYPE'><value><!-- c --> <?p i?> urn:xmpp:a<?p?>urn:xmpp:b</value></field></x>",
    "<x><field var='FORM_TYPE'><value><!-- c --><a/>urn:xmpp:a</value><a><value>urn:xmpp:a</value></a></field></x>",
    "<x><field var='FORM_TYPE'><value>text<!-- c -->urn:xmpp:a</value><value/></field><value>urn:xmpp:a</value></x>",
    "<x><field var='FORM_TYPE'><value>\u00a0http://a</value><value>http&#58;//a</value></field></x>",
    f"<c xmlns='{CAPS}' node='{CAPS}'/>",
    f"<p:c xmlns:p='{CAPS}' node='{CAPS}'><c node='{CAPS}'/></p:c>",
    f"<c xmlns='{CAPS.replace('http', 'https')}' node='{CAPS}'/>",
    f"<c node='{CAPS}#x'/>",
    "<a node='http://example.org/client#x'/>",
    "<a node='https://example.org/client#x'/>",
    "<a node='urn:xmpp:anything' other='urn:xmpp:anything'/>",
    "<a node='urn:xmpps:anything'/>",
    "<encryption namespace='urn:xmpp:omemo:2'/>",
    "<fallback for='urn:xmpp:reply:0'/>",
    "<report reason='urn:xmpp:reporting:spam'/>",
    "<report for='urn:xmpp:a' namespace='urn:xmpp:a'/>",
    "<a xmlns='https://jabber.org/protocol/muc' xmlns:b='https://born.secure'><b:feature var='urn:xmpps:ping'/></a>",
    "<a xmlns:b='http://a' xmlns:c='https://a' b:d='1' c:d='2'/>",
    "<a><!-- http://a --><?p http://a?>text<b>urn:xmpp:a</b>urn:xmpp:a</a>",
]


@pytest.mark.parametrize(("parse", "serialise"), LIBRARIES)
@pytest.mark.parametrize("document", POSITIONS)
def test_a_tree_changes_as_its_bytes_do(parse: Parse, serialise: Serialise, document: str) -> None:
    for scope in SCOPES:
        for data in (document.encode(), xep419.upgrade(document.encode())):
            try:
                parse(data)
            except (ElementTree.ParseError, etree.XMLSyntaxError):
                continue
            assert_alike(parse, serialise, data, scope)


@pytest.mark.parametrize(("parse", "serialise"), LIBRARIES)
def test_the_recorded_sessions(parse: Parse, serialise: Serialise, recorded: list[bytes]) -> None:
    for session in recorded:
        for document in re.split(rb"(?=<stream:stream )", session)[1:]:
            document = document.replace(b"<?xml version='1.0'?>", b"")
            whole = document if document.rstrip().endswith(b"</stream:stream>") else document + b"</stream:stream>"
            assert_alike(parse, serialise, whole, Scope.ALL)


@pytest.mark.parametrize(("parse", "serialise"), LIBRARIES)
def test_the_examples_of_the_xeps(parse: Parse, serialise: Serialise, shared: Path) -> None:
    count = 0
    for line in (shared / "corpus" / "xep-examples.jsonl").read_text(encoding="utf-8").splitlines():
        document = json.loads(line)["xml"].encode()
        try:
            parse(document)
        except (ElementTree.ParseError, etree.XMLSyntaxError):
            continue
        assert_alike(parse, serialise, document, Scope.ALL)
        count += 1
    assert count > 1000


# -- generated trees --------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["http://a", "https://a", "urn:xmpp:ping", "urn:xmpps:ping", CAPS, CAPS + "#x", "jabber:client", "HTTP://b", "http"]
)
VALUES = st.one_of(NAMES, st.just("FORM_TYPE"), NAMES.map("{{{}}}n".format), NAMES.map(" {} ".format), st.just(" "))
TAGS = st.sampled_from(["feature", "field", "value", "c", "x", "encryption", "fallback", "report"])
KEYS = st.sampled_from(["var", "node", "namespace", "for", "reason", "other"])


def trees(make: Callable[..., Any], comment: Callable[[str], Any]) -> st.SearchStrategy[Any]:
    def qualified(local: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(local, st.builds("{{{}}}{}".format, NAMES.filter(lambda name: ":" in name), local))

    def build(tag: str, attributes: dict[str, str], text: str, children: list[Any], tails: list[str]) -> Any:
        element = make(tag, attributes)
        element.text = text
        for child, tail in zip(children, tails, strict=False):
            child.tail = tail
            element.append(child)
        return element

    leaf = st.builds(comment, st.sampled_from(["note", "http://a"]))
    return st.recursive(
        st.builds(build, qualified(TAGS), st.dictionaries(qualified(KEYS), VALUES, max_size=4), VALUES, st.just([]), st.just([])),
        lambda child: st.builds(
            build,
            qualified(TAGS),
            st.dictionaries(qualified(KEYS), VALUES, max_size=3),
            VALUES,
            st.lists(st.one_of(child, leaf), max_size=4),
            st.lists(VALUES, min_size=4, max_size=4),
        ),
        max_leaves=12,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(tree=trees(ElementTree.Element, ElementTree.Comment), scope=st.sampled_from(SCOPES))
def test_any_elementtree_tree(tree: ElementTree.Element, scope: Scope) -> None:
    assert_alike(parse_et, ElementTree.tostring, ElementTree.tostring(tree), scope)


@settings(max_examples=150, deadline=None)
@given(tree=trees(etree.Element, etree.Comment), scope=st.sampled_from(SCOPES))
def test_any_lxml_tree(tree: Any, scope: Scope) -> None:
    data = etree.tostring(tree, with_tail=False)
    try:
        parse_lxml(data)
    except etree.XMLSyntaxError:  # lxml gives two namespaces one prefix when subtrees are put together
        assume(False)
    assert_alike(parse_lxml, etree.tostring, data, scope)


# -- results ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parse", "serialise"), LIBRARIES)
def test_the_same_element_comes_back_when_nothing_changes(parse: Parse, serialise: Serialise) -> None:
    tree = parse(b"<message xmlns='jabber:client'><body>see http://example.org/</body></message>")
    assert upgrade_element(tree) is tree
    assert downgrade_element(tree) is tree


def test_an_lxml_tree_keeps_prefixes_and_what_was_declared_above_it() -> None:
    root = parse_lxml(b"<s:s xmlns:s='http://s' xmlns:u='urn:xmpp:u'><s:a u:b='1'>x<!-- c --></s:a>tail</s:s>")
    made = upgrade_element(root[0])
    assert etree.tostring(made) == (b'<s:a xmlns:s="https://s" xmlns:u="urn:xmpps:u" u:b="1">x<!-- c --></s:a>tail')
    assert made.getparent() is None
    assert root[0].nsmap == {"s": "http://s", "u": "urn:xmpp:u"}


def test_an_lxml_entity_reference_stays() -> None:
    document = b"<!DOCTYPE a [<!ENTITY e 'http:'>]><a xmlns='http://a'>x&e;y<field var='FORM_TYPE'><value>&e;urn:xmpp:a</value></field></a>"
    made = upgrade_element(parse_lxml(document))
    assert etree.tostring(made) == (
        b'<a xmlns="https://a">x&e;y<field var="FORM_TYPE"><value>&e;urn:xmpp:a</value></field></a>'
    )


@pytest.mark.parametrize("made", [None, "<a/>", b"<a/>", 3, ElementTree.Comment("c"), etree.Comment("c")])
def test_what_is_no_element_is_refused(made: object) -> None:
    with pytest.raises(TypeError, match=f"element must be an ElementTree or lxml element, not '{type(made).__name__}'"):
        upgrade_element(made)


def test_a_scope_must_be_one() -> None:
    with pytest.raises(TypeError, match=r"scope must be a xep419\.Scope, not 'int'"):
        upgrade_element(ElementTree.Element("a"), scope=1)  # type: ignore[arg-type]


def test_attributes_that_would_become_one_are_refused() -> None:
    element = ElementTree.Element("a", {"{http://a}b": "1", "{https://a}b": "2"})
    with pytest.raises(MalformedXMLError, match="expected different attributes, got one twice in 'a'"):
        upgrade_element(element)
    assert len(element.attrib) == 2


@pytest.mark.parametrize(("parse", "serialise"), LIBRARIES)
def test_scan_element_lists_the_names_in_scope(parse: Parse, serialise: Serialise) -> None:
    tree = parse(b"<a xmlns='http://a'><feature xmlns='' var='urn:xmpps:b'/><body xmlns=''>http://c</body></a>")
    assert (
        scan_element(tree) == ["http://a", "urn:xmpps:b"]
        if parse is parse_et
        else ["http://a", "http://a", "urn:xmpps:b"]
    )
    assert scan_element(tree, scope=Scope.FEATURES) == ["urn:xmpps:b"]


def test_lxml_is_not_imported_for_elementtree() -> None:
    code = (
        "import sys, xml.etree.ElementTree as ET; from xep419.elements import upgrade_element as up;"
        "assert up(ET.Element('{http://a}b')).tag == '{https://a}b'; assert 'lxml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- hostile trees ----------------------------------------------------------------------------------------


def deep(size: int) -> ElementTree.Element:
    root = element = ElementTree.Element("{http://a}a")
    for _ in range(size):
        element = ElementTree.SubElement(element, "{http://a}a")
    return root


def wide(size: int) -> Any:
    """lxml's parser refuses deep trees."""
    return parse_lxml(b"<a xmlns='http://a'>" + b"<b xmlns='http://b'><!-- c --></b>" * size + b"</a>")


def take_apart(root: Any) -> None:
    """So that the libraries need not free a deep tree by recursion."""
    nodes = [root]
    while len(nodes[-1]):
        nodes.append(nodes[-1][0])
    while nodes:
        del nodes.pop()[:]


@pytest.mark.any_python
@pytest.mark.parametrize("grow", [deep, wide])
def test_hostile_trees_take_linear_time_and_no_recursion(grow: Callable[[int], Any]) -> None:
    grown = []

    def work_of(size: int) -> Callable[[], object]:
        root = grow(size)
        grown.append(root)

        def work() -> None:
            made = upgrade_element(root)
            assert made.tag == "{https://a}a"
            take_apart(made)

        return work

    assert_linear(work_of, 500)
    for root in grown:
        take_apart(root)
