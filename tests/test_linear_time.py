"""Linear time on hostile input, by the judge in growth.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from growth import PURE, Work, assert_linear

from xep419 import Decryptor, Encryptor, StanzaStream, XEP419Error, downgrade, scan, upgrade
from xep419.namespaces import NamespaceCensus, match_upgraded
from xep419.registrar import read as read_registrar_file
from xep419.registrar import upgrade as upgrade_registrar_file
from xep419.stream import DocumentChecker, check_stanza

pytestmark = pytest.mark.any_python


# -- whole documents ----------------------------------------------------------------------------------------

CAPS = b"http://jabber.org/protocol/caps"
FORM = b"<field var='FORM_TYPE'>"


def repeated(piece: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: before + piece * (size // len(piece)) + after


def numbered(piece: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    """As above, with a number in each piece."""
    return lambda size: before + b"".join([piece % i for i in range(size // (len(piece) + 3))]) + after


PATTERNS: dict[str, Callable[[int], bytes]] = {
    "declarations in a body": repeated(b" xmlns='http:", b"<body>"),
    "declarations in a body, double": repeated(b' xmlns="http:', b"<body>", b"</body>"),
    "less-than signs": repeated(b"<"),
    "greater-than signs": repeated(b">", b"<a"),
    "apostrophes": repeated(b"'"),
    "quotes": repeated(b'"', b"<a "),
    "both quotes": repeated(b"'\"", b"<a b="),
    "quotes before h": repeated(b'"h'),
    "quotes before h in a tag": repeated(b'"h', b"<a "),
    "quotes before ht in text": repeated(b'"ht', b"<a>"),
    "quotes before references": repeated(b"'&#", b"<a>"),
    "quotes before braces": repeated(b"'{h", b"<a/>"),
    "an endless tag": repeated(b"x", b"<a "),
    "an endless name": repeated(b"x", b"<"),
    "an endless prefix": repeated(b"p:", b"<"),
    "an endless attribute name": repeated(b"x", b"<a ", b"='http:'/>"),
    "an endless value": repeated(b"x", b"<a xmlns='http:"),
    "an endless end tag": repeated(b"x", b"</a "),
    "white space in a tag": repeated(b" ", b"<a ", b"='http:'>"),
    "white space around an equals sign": repeated(b" ", b"<a xmlns=", b"'http:'>"),
    "equals signs": repeated(b"=", b"<a ", b"'http:'>"),
    "attributes": repeated(b" b='h'", b"<a", b">"),
    "values beside the other quote": repeated(b" a=\"'\" b='http:'", b"<a", b">"),
    "values beside a greater-than sign": repeated(b" a='>' b='http:'", b"<a", b">"),
    "values far from their tag": repeated(b" b='http:' " + b"x" * 70, b"<a", b">"),
    "attributes without space": repeated(b"b='http'", b"<a ", b">"),
    "attributes of a c": repeated(b" node='http://jabber.org/protocol/commands'", b"<c", b">"),
    "declarations in a tag": numbered(b" xmlns:p%d='http:'", b"<c node='http://jabber.org/protocol/commands'", b">"),
    "caps declarations in a tag": numbered(b" xmlns:p%d='" + CAPS + b"'", b"<c node='urn:xmpp:a'", b">"),
    "names": repeated(b"<a xmlns='http:'/>"),
    "names, all secure": repeated(b"<a xmlns='https:'/>"),
    "open tags": repeated(b"<a>"),
    "open tags with names": repeated(b"<a xmlns='http:'>"),
    "end tags": repeated(b"</a>"),
    "tags cut off": repeated(b"<a xmlns='http:"),
    "tags cut off by tags": repeated(b"<a b='", b"<a xmlns='http:"),
    "comment openings": repeated(b"<!--"),
    "comments": repeated(b"<!---->"),
    "comment almost closed": repeated(b"-- >", b"<!--"),
    "dashes": repeated(b"-", b"<!--"),
    "CDATA openings": repeated(b"<![CDATA["),
    "CDATA sections": repeated(b"<![CDATA[]]>"),
    "CDATA almost closed": repeated(b"]]", b"<![CDATA["),
    "instruction openings": repeated(b"<?"),
    "instructions": repeated(b"<??>"),
    "instruction almost closed": repeated(b"? >", b"<?"),
    "DTD openings": repeated(b"<!DOCTYPE ["),
    "DTDs": repeated(b"<!D>"),
    "DTD brackets": repeated(b"[", b"<!DOCTYPE "),
    "DTD quotes": repeated(b"'\"", b"<!DOCTYPE ["),
    "DTD comments": repeated(b"<!---->", b"<!DOCTYPE ["),
    "DTD almost comments": repeated(b"<!-", b"<!DOCTYPE ["),
    "DTD instructions": repeated(b"<??>", b"<!DOCTYPE ["),
    "an endless reference": repeated(b"0", b"<a xmlns='&#"),
    "an endless reference in a node": repeated(b"0", b"<x node='&#", b"104;ttp://a#'/>"),
    "an endless hexadecimal reference": repeated(b"0", b"<a xmlns='http&#x", b"3a;'/>"),
    "references without end": repeated(b"&#0", b"<a xmlns='", b"'/>"),
    "references in a value": repeated(b"&#104;", b"<feature var='http:", b"'/>"),
    "references in Clark notation": repeated(b"&#104;", b"<field var='{http:", b"'/>"),
    "references without end in Clark notation": repeated(b"&#0", b"<field var='{", b"}'/>"),
    "ampersands in Clark notation": repeated(b"&", b"<field var='{", b"}'/>"),
    "braces": repeated(b"{", b"<field var='", b"'/>"),
    "fields of braces": repeated(b"<field var='{http:'/>"),
    "hashes in a node": repeated(b"#", b"<x node='http://jabber.org/protocol/", b"'/>"),
    "nodes of hashes": repeated(b"<x node='http://jabber.org/protocol/" + b"#" * 30 + b"'/>"),
    "secure nodes of hashes": repeated(b"<x node='https://jabber.org/" + b"a#" * 30 + b"'/>"),
    "an endless secure name": repeated(b"#", b"<x xmlns='https://jabber.org/", b"+notify'/>"),
    "a FORM_TYPE value of references": repeated(b"&#32;", FORM + b"<value>"),
    "a FORM_TYPE value of zeros": repeated(b"0", FORM + b"<value>&#", b";http:"),
    "a FORM_TYPE value of references without end": repeated(b"&#0", FORM + b"<value>"),
    "a FORM_TYPE value of white space": repeated(b" ", FORM + b"<value>"),
    "a FORM_TYPE name and white space": repeated(b" ", FORM + b"<value>http:", b"x"),
    "a FORM_TYPE name": repeated(b"x", FORM + b"<value>http:"),
    "a FORM_TYPE value of comments": repeated(b"<!---->", FORM + b"<value>"),
    "FORM_TYPE values": repeated(b"<value>http:</value>", FORM),
    "FORM_TYPE fields": repeated(FORM + b"<value>http:</value></field>"),
    "FORM_TYPE fields, open": repeated(FORM),
    "FORM_TYPE fields, open, with values": repeated(FORM + b"<value>http:</value>"),
    "a FORM_TYPE field, never closed": repeated(b"<a xmlns='http:'>", FORM),
    "elements in a FORM_TYPE field": repeated(b"<a></a>", FORM),
    "quotes in a FORM_TYPE field": repeated(b"'h", FORM),
    "caps declarations": repeated(b"<a xmlns='" + CAPS + b"'><c node='urn:xmpp:a'/></a>'h"),
    "caps declarations, open": numbered(b"<a xmlns:p%d='" + CAPS + b"'>"),
    "caps declarations, open, with nodes": numbered(b"<a xmlns:p%d='" + CAPS + b"'><q:c node='urn:xmpp:a'/>"),
    "caps declarations, shadowed": repeated(b"<a xmlns='" + CAPS + b"'><a xmlns=''><c node='urn:xmpp:a'/>"),
    "nodes below many caps": repeated(
        b"<q:c node='urn:xmpp:a'/>", b"".join([b"<a xmlns:p%d='%b'>" % (i, CAPS) for i in range(64)])
    ),
    "almost caps": repeated(b"<a xmlns='" + CAPS[:-1] + b";'>"),
    "zeros": repeated(b"\0"),
    "letters": repeated("\u4e00".encode()),
    "text": repeated(b"text and text, "),
}


def over(call: Callable[[bytes], object], document: Callable[[int], bytes]) -> Work:
    def work_of(size: int) -> Callable[[], object]:
        data = document(size)
        return lambda: call(data)

    return work_of


@pytest.mark.parametrize("pattern", PATTERNS)
def test_upgrade(pattern: str) -> None:
    assert_linear(over(upgrade, PATTERNS[pattern]))


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", PATTERNS)
def test_downgrade(pattern: str) -> None:
    assert_linear(over(downgrade, PATTERNS[pattern]))


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", PATTERNS)
def test_scan(pattern: str) -> None:
    assert_linear(over(scan, PATTERNS[pattern]))


# -- pieces -------------------------------------------------------------------------------------------------


def in_pieces(document: Callable[[int], bytes], piece: int, make: Callable[..., Any]) -> Work:
    def work_of(size: int) -> Callable[[], object]:
        data = document(max(1, size // (4 if PURE else 8)))
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]

        def work() -> None:
            machine = make(max_markup=1 << 30)
            for each in pieces:
                machine.update(each)
            machine.finalize()

        return work

    return work_of


HELD_BACK = (
    "an endless tag", "an endless value", "an endless end tag", "both quotes", "quotes before h in a tag",
    "an endless reference", "references without end", "attributes", "declarations in a tag", "a FORM_TYPE name",
    "a FORM_TYPE value of zeros", "a FORM_TYPE value of references", "a FORM_TYPE value of references without end",
    "a FORM_TYPE value of white space", "FORM_TYPE fields, open, with values", "comment almost closed", "dashes",
    "CDATA openings", "CDATA almost closed", "DTD openings", "DTD almost comments", "less-than signs", "tags cut off",
    "names", "declarations in a body", "caps declarations, open", "text",
)  # fmt: skip


@pytest.mark.any_isa
@pytest.mark.parametrize("piece", [1, 100])
@pytest.mark.parametrize("pattern", HELD_BACK)
def test_an_encryptor_in_pieces(pattern: str, piece: int) -> None:
    assert_linear(in_pieces(PATTERNS[pattern], piece, Encryptor))


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", HELD_BACK)
def test_a_decryptor_in_pieces(pattern: str) -> None:
    assert_linear(in_pieces(PATTERNS[pattern], 10, lambda **options: Decryptor(downgrade=True, **options)))


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", [*HELD_BACK, "different names"])
def test_a_census_in_pieces(pattern: str) -> None:
    document = {"different names": numbered(b"<a xmlns='http://example.org/%d'/>"), **PATTERNS}[pattern]
    assert_linear(in_pieces(document, 1000, NamespaceCensus))


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", PATTERNS)
def test_match_upgraded(pattern: str) -> None:
    def work_of(size: int) -> Callable[[], object]:
        original = PATTERNS[pattern](size)
        upgraded = upgrade(original)
        return lambda: match_upgraded(original, upgraded, final=True)

    assert_linear(work_of)


# -- streams ------------------------------------------------------------------------------------------------

STREAMS: dict[str, Callable[[int], bytes]] = {
    "text": repeated(b"text and text, ", b"<a>"),
    "text past ASCII": repeated("\u4e00\u00e9\U0001f600".encode(), b"<a>"),
    "brackets": repeated(b"]", b"<a>"),
    "greater-than signs": repeated(b">", b"<a>"),
    "ampersands": repeated(b"&amp;", b"<a>"),
    "character references": repeated(b"&#65;", b"<a>"),
    "an endless reference": repeated(b"0", b"<a>&#"),
    "an endless entity": repeated(b"x", b"<a>&"),
    "deep nesting": lambda size: b"<a>" * (size // 7) + b"</a>" * (size // 7),
    "deep nesting of long names": lambda size: (
        (b"<%b>" % (b"a" * 200)) * (size // 405) + (b"</%b>" % (b"a" * 200)) * (size // 405)
    ),
    "an endless tag": repeated(b"x", b"<a "),
    "an endless name": repeated(b"x", b"<"),
    "a long name closed": lambda size: b"<" + b"a" * (size // 2) + b"></" + b"a" * (size // 2) + b">",
    "an endless value": repeated(b"x", b"<a b='"),
    "quotes in a value": repeated(b"'", b'<a b="'),
    "ampersands in a value": repeated(b"&lt;", b"<a b='"),
    "white space in a tag": repeated(b" ", b"<a "),
    "attributes": repeated(b" b='h'", b"<a"),
    "attributes, spaced": repeated(b" b = 'h'", b"<a"),
    "attributes of hidden names": repeated(b" xmlns:b='http:'", b"<a"),
    "stanzas": repeated(b"<a/>"),
    "stanzas with white space": repeated(b"<a></a> \n"),
    "white space": repeated(b" "),
    "comments": repeated(b"<!---->", b"<a>"),
    "comments between stanzas": repeated(b"<!---->"),
    "an endless comment": repeated(b"- ", b"<a><!--"),
    "CDATA sections": repeated(b"<![CDATA[]]>", b"<a>"),
    "an endless CDATA section": repeated(b"]]", b"<a><![CDATA["),
    "restarts": repeated(b"<a/><?xml version='1.0'?><s>"),
    "FORM_TYPE values": repeated(b"<field var='FORM_TYPE'><value>http:</value></field>", b"<a>"),
    "a FORM_TYPE value": repeated(b"x", b"<a><field var='FORM_TYPE'><value>http:"),
}


MOST = (1 << 32) - 1


def unrestricted(**options: Any) -> StanzaStream:
    return StanzaStream(max_stanza=MOST, restricted=False, **options)


def stream_in_pieces(document: Callable[[int], bytes], piece: int, make: Callable[[], Any] = unrestricted) -> Work:
    def work_of(size: int) -> Callable[[], object]:
        data = b"<s>" + document(size if piece > 1000 and not PURE else max(1, size // 8))
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)]

        def work() -> None:
            stream = make()
            with contextlib.suppress(XEP419Error):
                for each in pieces:
                    stream.feed(each)

        return work

    return work_of


@pytest.mark.any_isa
@pytest.mark.parametrize("piece", [1, 100, 4096, 1 << 30])
@pytest.mark.parametrize("pattern", STREAMS)
def test_a_stream_in_pieces(pattern: str, piece: int) -> None:
    assert_linear(stream_in_pieces(STREAMS[pattern], piece))


@pytest.mark.any_isa
@pytest.mark.parametrize("piece", [1, 100, 1 << 30])
@pytest.mark.parametrize("pattern", STREAMS)
def test_a_checked_document_in_pieces(pattern: str, piece: int) -> None:
    assert_linear(stream_in_pieces(STREAMS[pattern], piece, lambda: DocumentChecker(max_markup=MOST, stream=True)))


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", STREAMS)
def test_a_stored_stanza(pattern: str) -> None:
    def work_of(size: int) -> Callable[[], object]:
        stanza = b"<s>" + STREAMS[pattern](size) + b"</s>"

        def work() -> None:
            with contextlib.suppress(XEP419Error):
                check_stanza(stanza)

        return work

    assert_linear(work_of)


@pytest.mark.any_isa
@pytest.mark.parametrize("pattern", STREAMS)
def test_a_transformed_stream_in_pieces(pattern: str) -> None:
    assert_linear(stream_in_pieces(STREAMS[pattern], 1000, lambda: unrestricted(transform="encrypt")))


# -- registrar files ----------------------------------------------------------------------------------------

REGISTRAR_FILES: dict[str, Callable[[int], bytes]] = {
    "entries": repeated(b"<ns><name>http:x</name></ns>", b"<registry>", b"</registry>"),
    "white space before a name": repeated(b"\n", b"<ns><name>", b"http:x</name></ns>"),
    "references before a name": repeated(b"&#32;", b"<ns><name>", b"http:x</name></ns>"),
    "sections in a name": repeated(b"<![CDATA[x]]>", b"<ns><name>http:", b"</name></ns>"),
    "names in names": repeated(b"<name>http:", b"<registry>"),
    "links in a document": repeated(b"<link>x", b"<ns><doc>"),
    "specifications": repeated(b"XEP-0001, ", b"<ns><name>x</name><doc>", b"</doc></ns>"),
    "beginnings of entities in a document": repeated(b"&amp;a", b"<ns><name>x</name><doc>", b"</doc></ns>"),
}


@pytest.mark.any_isa
@pytest.mark.parametrize("operation", [upgrade_registrar_file, read_registrar_file])
@pytest.mark.parametrize("pattern", REGISTRAR_FILES)
def test_a_registrar_file(pattern: str, operation: Callable[[bytes], object]) -> None:
    def work_of(size: int) -> Callable[[], object]:
        data = REGISTRAR_FILES[pattern](size // 8)

        def work() -> None:
            with contextlib.suppress(XEP419Error):
                operation(data)

        return work

    assert_linear(work_of)
