"""The namespace functions on generated input: well-formed documents against the oracles, any bytes against promises.

A document is spelled by a string of bytes, one for each choice, so that zeros, and the end of the string, are the
simplest choices: hypothesis shrinks to small documents. Any other bytes must come back with nothing lost, and the
compiled core must find in them what its twin in Python finds.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import (
    ALL_KINDS,
    CAPS,
    WHITE_SPACE,
    XML_NAMESPACE,
    apply_table,
    assert_found,
    assert_mapped,
    downgraded,
    insertions,
    known_downgraded,
    parse_expat,
    parse_lxml,
    removals,
    upgraded,
)

import xep419
from xep419 import EncodingError, Scope, decrypt, downgrade, encrypt, encrypt_many, scan, upgrade

T = TypeVar("T")

# -- well-formed documents ----------------------------------------------------------------------------------

NAMESPACES = (
    "jabber:client", "http://jabber.org/protocol/muc", "urn:xmpp:ping", CAPS[0], "https://jabber.org/protocol/tune",
    CAPS[1], "urn:xmpps:ping", "HTTP://a", "Urn:Xmpp:b", "https://example.org/", "http:", "urn:xmpps:no-such-name",
    "http://x/#y", "urn:ietf:params:xml:ns:xmpp-sasl", "httpS://jabber.org/protocol/muc",
)  # fmt: skip
VALUES = (
    *NAMESPACES, "", "http://jabber.org/protocol/commands", "https://jabber.org/protocol/commands#x",
    "urn:xmpp:avatar:data", "http://example.org/client#hash", "http://jabber.org/protocol/muc#rooms",
    "urn:xmpp:ping+notify", "urn:xmpps:ping+notify", "FORM_TYPE", "{http://a}b",
    "{https://jabber.org/protocol/muc}b}c", "{urn:xmpp:a", "{}", " http://a", "http", "httpx:", "h", "https",
    "urn:xmpp", "&", "a>b", "<!--", "]]>", "it's", '"', "\u00e9", "http://\u00e9", "=\"http:'", "/>",
    "\nurn:xmpp:a\t", "https://jabber.org/protocol/tune+notify", "http://jabber.org/protocol/commands\u00e9",
)  # fmt: skip
LOCALS = (
    "a", "c", "field", "feature", "query", "field", "c", "value", "encryption", "fallback", "report", "option", "field",
    "c", "ccc", "xmlns",
)  # fmt: skip
PREFIXES = ("", "p", "q", "p-1.\u00e9", "xml", "c")
ATTRIBUTES = ("id", "var", "node", "namespace", "for", "reason", "type", "vars", "anode", "nod\u00e9")
#: what the table wants on an element
USUAL = {
    "feature": "var", "field": "var", "encryption": "namespace", "fallback": "for", "report": "reason", "c": "node",
    "query": "node",
}  # fmt: skip
TEXTS = (
    "", " ", "text", "it's", '"http://a"', "xmlns='http://a'", "http://a", " \t\nhttp://a ", "urn:xmpp:a", "=", ">",
    "/>", "a & b", "<a xmlns='http://a'/>", "<![CDATA[", "]]>", "<!-- -->", "'h", "\"u", "\U0001f600\u00e9", "-->",
    "https://a b\n", "{http://a}b", "http://jabber.org/protocol/muc#roomconfig",
    "https://jabber.org/protocol/muc#roomconfig", "\u00a0http://a",
)  # fmt: skip
SECTIONS = (
    "", " ", "http://a", "<a xmlns='http://a'/>", "'", '"', "</field>", "> <b var='urn:xmpp:a'", "]] >", "- -", "? >",
    "<![CDATA[", "<!", "]", "-a", "&#104;ttp:",
)  # fmt: skip
DECLARED = (
    "<!ENTITY e 'http://a'>", "<!ENTITY e \"it's ]> \">", "<!-- <a xmlns='http://a'/> ' ]> -->", "<?pi ]> \" ?>", " ",
    "\n", "<!ELEMENT a ANY>", "<!ATTLIST zz xmlns CDATA 'http://a' var CDATA \"urn:xmpp:a\">",
    "<!NOTATION n SYSTEM 'http://a'>", "<!ENTITY % p \"<!ENTITY x 'http:'>\">", "<!ENTITY f '&#60;b/>'>",
    "<!ATTLIST a b (x|y) #IMPLIED>",
)  # fmt: skip


class Choices:
    """Choices spelled by bytes; the first of each when they run out."""

    def __init__(self, spelled: bytes) -> None:
        self._left = iter(spelled)

    def number(self, count: int) -> int:
        return next(self._left, 0) % count

    def of(self, options: Sequence[T]) -> T:
        return options[self.number(len(options))]

    def rarely(self, odds: int = 8) -> bool:
        return self.number(odds) == odds - 1


class Writer:
    """Writes one well-formed document."""

    def __init__(self, choices: Choices, latin_1: bool) -> None:
        self.choose = choices
        self.latin_1 = latin_1
        self.has_entity = False
        self.elements = 0

    # -- letters

    def spelled(self, text: str, escaped: str) -> str:
        """``text`` with what must be escaped, and now and then another letter, as a reference."""
        pieces = []
        odds = self.choose.of((0, 0, 0, 24, 3))
        for letter in text:
            if letter in escaped or (self.latin_1 and ord(letter) > 0xFF):
                pieces.append(self.reference(letter, letter in escaped))
            elif odds and letter not in WHITE_SPACE and self.choose.rarely(odds):
                pieces.append(self.reference(letter, False))
            else:
                pieces.append(letter)
        return "".join(pieces)

    def reference(self, letter: str, predefined: bool) -> str:
        forms = ["&#%d;", "&#x%x;", "&#x%X;", "&#000%d;", "&#x00%X;"]
        named = {"<": "&lt;", "&": "&amp;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
        if predefined and letter in named:
            forms.insert(0, named[letter])
        form = self.choose.of(forms)
        return form % ord(letter) if "%" in form else form

    def white(self, required: bool = False) -> str:
        return self.choose.of([" ", "\n", "\t ", "\r\n", "  "] if required else ["", "", "", " ", "\n", " \t", "\r"])

    # -- markup

    def attribute(self, name: str, value: str) -> str:
        quote = self.choose.of("'\"")
        return f"{self.white(True)}{name}{self.white()}={self.white()}{quote}{self.spelled(value, '<&' + quote)}{quote}"

    def section(self) -> str:
        """A comment, a PI or nothing."""
        kind, content = self.choose.number(4), self.choose.of(SECTIONS) + self.choose.of(SECTIONS)
        content = self.fitting(content)
        if kind == 0:
            return ""
        if kind == 1:
            return f"<?pi {content.replace('?>', '')}?>"
        while "--" in content:
            content = content.replace("--", "-")
        return f"<!--{content.rstrip('-')}-->"

    def fitting(self, text: str) -> str:
        return "".join(letter for letter in text if not self.latin_1 or ord(letter) <= 0xFF)

    def cdata(self) -> str:
        content = self.fitting(self.choose.of(SECTIONS) + self.choose.of(TEXTS)).replace("]]>", "")
        return f"<![CDATA[{content}]]>"

    def declarations(self, in_scope: dict[str, str]) -> dict[str, str]:
        declared = {}
        for _ in range(self.choose.of((0, 1, 0, 1, 2, 3))):
            prefix = self.choose.of(PREFIXES)
            if prefix == "xml":
                declared[prefix] = XML_NAMESPACE
            else:
                declared[prefix] = self.choose.of((*CAPS, *NAMESPACES) if prefix else (*CAPS, *NAMESPACES, ""))
        in_scope.update(declared)
        return declared

    def attributes(self, local: str, in_scope: dict[str, str]) -> dict[str, str]:
        """No two with the same local name, so that no mapping makes two of them one."""
        prefixes = [prefix for prefix in in_scope if prefix not in ("", "xml")]
        found: dict[str, tuple[str, str]] = {}
        for _ in range(self.choose.of((0, 1, 2, 3))):
            name = self.choose.of(ATTRIBUTES)
            prefix = self.choose.of(prefixes) if prefixes and self.choose.rarely(4) else ""
            found[name] = (prefix, self.choose.of(VALUES))
        if local in USUAL and not self.choose.rarely():
            wanted = ("FORM_TYPE", *VALUES) if local == "field" else VALUES
            found[USUAL[local]] = ("", self.choose.of(wanted[:1] if self.choose.number(2) else wanted))
        return {f"{prefix}:{name}" if prefix else name: value for name, (prefix, value) in found.items()}

    def element(self, outer: dict[str, str], parent: str, depth: int) -> str:
        self.elements += 1
        in_scope = dict(outer)
        local = "value" if parent == "field" and not self.choose.rarely(4) else self.choose.of(LOCALS)
        declared = self.declarations(in_scope)
        prefix = self.choose.of([p for p in in_scope if p != "xml" and (p == "" or in_scope[p])])
        tag = f"{prefix}:{local}" if prefix else local
        pieces = [self.attribute(f"xmlns:{prefix}" if prefix else "xmlns", name) for prefix, name in declared.items()]
        pieces[self.choose.number(len(pieces) + 1) : 0] = [
            self.attribute(name, value) for name, value in self.attributes(local, in_scope).items()
        ]
        start = f"<{tag}{''.join(pieces)}{self.white()}"
        content = "".join(self.content(in_scope, local, depth))
        if not content and self.choose.number(2) == 0:
            return f"{start}/>"
        return f"{start}>{content}</{tag}{self.white()}>"

    def content(self, in_scope: dict[str, str], local: str, depth: int) -> Iterator[str]:
        count = self.choose.of((1, 1, 2, 3) if local == "value" else (0, 1, 2, 3, 4, 5) if depth else (1, 9, 6, 12))
        for _ in range(count):
            kind = self.choose.of(("element", "text", "element", "element", "element", "section", "cdata", "entity"))
            if kind == "element" and depth < 6 and self.elements < 24 and (local != "value" or self.choose.rarely(4)):
                yield self.element(in_scope, local, depth + 1)
            elif kind == "cdata":
                yield self.cdata()
            elif kind == "section":
                yield self.section()
            elif kind == "entity" and local != "value":
                yield "&e;" if self.has_entity else "&apos;"
            else:
                white = self.choose.of(("", " \n", "")) if local == "value" else ""
                yield self.spelled(white + self.choose.of((*VALUES, *NAMESPACES) if local == "value" else TEXTS), "<&>")

    def doctype(self) -> str:
        kind = self.choose.of(("", "", "a", "subset", "system"))
        if not kind:
            return ""
        external = subset = ""
        if kind == "system":
            external = self.choose.of((" SYSTEM 'http://a'", ' PUBLIC "-//http:" "urn:xmpp:>\'[a"'))
        if kind != "a":
            subset = "".join({self.choose.of(DECLARED): None for _ in range(self.choose.number(5))})
            self.has_entity = "<!ENTITY e" in subset
            subset = f" [{subset}]{self.white()}"
        return f"<!DOCTYPE{self.white(True)}a{external}{subset}>"

    def document(self) -> str:
        miscellany = [self.section() + self.white() for _ in range(3)]
        doctype = self.doctype()
        return miscellany[0] + doctype + miscellany[1] + self.element({"": ""}, "", 0) + miscellany[2]


def written(spelled: bytes) -> bytes:
    choices = Choices(spelled)
    head, encoding = choices.of(
        (
            ("", "utf-8"),
            ("\ufeff", "utf-8"),
            ("<?xml version='1.0'?>", "utf-8"),
            ("\ufeff<?xml version=\"1.0\" encoding='utf-8' standalone='yes'?>\n", "utf-8"),
            ('<?xml version="1.0" encoding="iso-8859-1" ?>', "iso-8859-1"),
        )
    )
    document = Writer(choices, latin_1=encoding != "utf-8").document()
    if not head:
        document = document.lstrip(WHITE_SPACE)
    return (head + document).encode(encoding)


documents = st.one_of(st.binary(max_size=60), st.binary(min_size=200, max_size=1200)).map(written)


@pytest.mark.any_isa
@given(documents)
@settings(max_examples=100, deadline=None)
def test_the_generator_writes_well_formed_documents_that_both_oracles_read_alike(document: bytes) -> None:
    seen = apply_table(parse_expat(document), upgraded)[1]
    told = apply_table(parse_lxml(document), upgraded, ALL_KINDS - {"FORM_TYPES"})[1]
    assert [name for name in seen if name.kind not in ("DECLARATIONS", "FORM_TYPES")] == told


@given(documents)
@settings(max_examples=120, deadline=None)
def test_the_parse_of_the_upgraded_is_the_mapped_parse(document: bytes) -> None:
    result = upgrade(document)
    assert_mapped(document, result, upgraded)
    assert len(insertions(document, result)) == sum(not ref.secure for ref in scan(document))
    assert upgrade(result) is result
    if not any(ref.secure for ref in scan(document)):
        assert downgrade(result, known_only=False) == document


@given(documents, st.booleans())
@settings(max_examples=120, deadline=None)
def test_the_parse_of_the_downgraded_is_the_mapped_parse(document: bytes, known_only: bool) -> None:
    for xml in (document, upgrade(document)):
        result = downgrade(xml, known_only=known_only)
        assert_mapped(xml, result, known_downgraded if known_only else downgraded)
        assert removals(xml, result) <= sum(ref.secure for ref in scan(xml))
        assert downgrade(result, known_only=known_only) is result


@given(documents)
@settings(max_examples=100, deadline=None)
def test_scan_finds_what_the_table_finds(document: bytes) -> None:
    assert_found(document, scan(document))


@given(documents, st.integers(0, 63).map(Scope))
@settings(max_examples=60, deadline=None)
def test_a_scope_maps_its_positions_only(document: bytes, scope: Scope) -> None:
    kinds = frozenset(member.name for member in Scope if member in scope and member.name)
    assert_mapped(document, upgrade(document, scope=scope), upgraded, kinds)
    assert_mapped(document, downgrade(document, scope=scope, known_only=False), downgraded, kinds)
    assert scan(document, scope=scope) == [ref for ref in scan(document) if ref.kind in scope]


# -- any bytes ----------------------------------------------------------------------------------------------

TOKENS = [
    token.encode()
    for token in (
        "<", ">", "/", "=", "'", '"', " ", "\n", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<!DOCTYPE a [", "]>",
        "]", "[", "<!", "</", "/>", "<a ", "<a", "</a>", "<c ", "</c>", "<p:c ", "<field ", "</field>", "<value>",
        "</value>", "<feature ", "<query ", "var='FORM_TYPE'", 'var="FORM_TYPE"', "<field var='FORM_TYPE'>", "xmlns=",
        " xmlns='", " xmlns:p='", 'xmlns:p = "', " node='", " var='", ' var="', " for='", "http:", "https:",
        "urn:xmpp:", "urn:xmpps:", "HTTP:", "{", "}", "&#104;ttp:", "&#", "&", ";", "&#x", "&#x68;", "&#115;", "104;",
        CAPS[0], f" xmlns='{CAPS[0]}'>", f"<p:a xmlns:p='{CAPS[1]}'>", "#", "x", "h", "u",
        "http://jabber.org/protocol/commands", " node='https://jabber.org/protocol/commands#",
        "<fallback for='urn:xmpp:", "xmlns:xml='", "\x80", "\0", "--", "->", "-", "!", "?", "\u00e9", "<!ENTITY e '",
        "\t", "\r",
    )
]  # fmt: skip

soups = st.lists(st.sampled_from(TOKENS), min_size=0, max_size=60).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A document with a piece cut out and another, or a token, put somewhere."""
    document = draw(documents)
    a, b, c = sorted(draw(st.integers(0, len(document))) for _ in range(3))
    return document[:a] + draw(st.sampled_from([document[b:c], b"", *TOKENS])) + document[b:]


anything = st.one_of(soups, damaged(), st.binary(max_size=200))

#: promises cost little: the more examples the better
PROMISES = settings(max_examples=300, deadline=None)


def outcome(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The result, or the error that UTF-16 gives."""
    try:
        return call(*args, **options)
    except EncodingError as error:
        return str(error), error.offset


def rot13(data: bytes) -> bytes:
    return codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")


@given(anything)
@PROMISES
@example(b"<!DOCTYPE><a xmlns='http:'")
@example(b"<a b='<c xmlns=\"http:\"'>")
def test_nothing_is_lost_and_only_single_letters_come(data: bytes) -> None:
    result = outcome(upgrade, data)
    if isinstance(result, tuple):
        assert result[1] == 0
        return
    assert len(insertions(data, result)) == sum(not ref.secure for ref in scan(data))
    assert upgrade(result) is result
    assert [ref.name for ref in scan(result)] == [xep419.upgrade_name(ref.name) for ref in scan(data)]
    for known_only in (True, False):
        assert removals(data, downgrade(data, known_only=known_only)) <= sum(ref.secure for ref in scan(data))


@given(anything)
@PROMISES
def test_scan_tells_places_in_order_that_do_not_overlap(data: bytes) -> None:
    refs = outcome(scan, data)
    if isinstance(refs, tuple):
        return
    places = [place for ref in refs for place in (ref.start, ref.end)]
    assert places == sorted(places)
    assert all(ref.start < ref.end <= len(data) for ref in refs)
    assert all(ref.secure == xep419.is_secure(ref.name) for ref in refs)
    assert all(ref.kind in Scope.ALL and ref.kind.name for ref in refs)


@pytest.mark.core
@given(anything, st.one_of(st.just(Scope.ALL), st.integers(0, 63).map(Scope)))
@PROMISES
def test_the_compiled_core_finds_what_its_twin_finds(data: bytes, scope: Scope) -> None:
    from xep419._pure import namespaces as twin

    assert outcome(scan, data, scope=scope) == outcome(twin.scan, data, scope=scope)
    assert outcome(upgrade, data, scope=scope) == outcome(twin.upgrade, data, scope=scope)
    for known_only in (True, False):
        options = {"scope": scope, "known_only": known_only}
        assert outcome(downgrade, data, **options) == outcome(twin.downgrade, data, **options)
    assert outcome(encrypt, data) == outcome(twin.encrypt, data)


@pytest.mark.core
@given(st.lists(st.sampled_from(TOKENS), min_size=100, max_size=400), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_and_in_more_than_a_window_of_it(tokens: list[bytes], shift: int) -> None:
    from xep419._pure import namespaces as twin

    piece = b"".join(tokens)
    data = b"x" * shift + piece * (70_000 // max(1, len(piece)))
    assert scan(data) == twin.scan(data)


#: what may stand between a tag's name and a value, so that the bytes beside the value tell plainly or do not
BETWEEN = (
    b" ", b" a='b' ", b' a="b" ', b" a=\"it's\" ", b" a='>' ", b" a='\"' ", b"> ", b"/> ", b" a='<' ", b" a='", b"></x> ",
    b" xmlns:p='urn:xmpp:a' ", b" node='urn:xmpp:a' ", b"><y> ", b"<!-- ", b"> it's ", b" xmlns='http://jabber.org/protocol/caps' ",
)  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("between", BETWEEN, ids=bytes.decode)
@pytest.mark.parametrize("name", [b"x", b"feature", b"c"], ids=bytes.decode)
@pytest.mark.any_python
def test_a_value_at_any_distance_from_its_tag(between: bytes, name: bytes) -> None:
    """A vector's width on either side of it, and at both ends of the document."""
    from xep419._pure import namespaces as twin

    for attribute in (b"xmlns='", b"var='", b'xmlns:q="', b"node='"):
        for distance in (*range(12), *range(40, 72), 100, 130):
            for length in (0, 3, *range(40, 72, 5), 63, 64, 65):
                value = attribute + b"http://" + b"v" * length + attribute[-1:]
                for behind in (b"", b"/>", b"><z xmlns='http://jabber.org/protocol/caps'>" + b" " * 70):
                    data = b"<" + name + between + b" " * distance + value + behind
                    assert scan(data) == twin.scan(data), data


@given(st.one_of(st.text(max_size=60), soups.map(lambda data: data.decode("utf-8", "surrogateescape"))))
@settings(max_examples=100, deadline=None)
def test_text_is_its_utf_8_form(text: str) -> None:
    data = b" x" + text.encode("utf-8", "surrogatepass")
    text = " x" + text
    for call in (upgrade, downgrade, encrypt, decrypt):
        result = call(text)
        assert type(result) is str
        assert result.encode("utf-8", "surrogatepass") == call(data)
    assert scan(text) == scan(data)


@given(st.one_of(anything, documents))
@settings(max_examples=100, deadline=None)
def test_encrypt_is_two_rotations_of_the_upgraded(data: bytes) -> None:
    if isinstance(outcome(upgrade, data), tuple):
        return
    assert encrypt(data) == rot13(rot13(upgrade(data)))
    assert encrypt(data) == xep419.double_rot13(upgrade(data))
    assert decrypt(encrypt(data)) == upgrade(data)


# -- encrypt_many -------------------------------------------------------------------------------------------

FORMS: tuple[Callable[[bytes], Any], ...] = (
    bytes, bytearray, memoryview, lambda data: data.decode("latin-1"), lambda data: data.decode("ascii", "replace"),
)  # fmt: skip


@given(st.lists(st.tuples(soups.map(b"x".__add__), st.sampled_from(FORMS)), max_size=20))
@settings(max_examples=60, deadline=None)
def test_encrypt_many_is_encrypt_of_each(stanzas: list[tuple[bytes, Callable[[bytes], Any]]]) -> None:
    given_stanzas = [form(data) for data, form in stanzas]
    result = encrypt_many(given_stanzas)
    assert result == [encrypt(stanza) for stanza in given_stanzas]
    assert [type(one) for one in result] == [str if isinstance(one, str) else bytes for one in given_stanzas]


STANZA = b"<message id='%d'><x xmlns='http://jabber.org/protocol/muc'/><body>http://%d</body></message>"
SECURE = STANZA.replace(b"='http:", b"='https:")


@pytest.mark.parametrize("count", [0, 1, 2, 511, 512, 513, 1024, 1025, 1500])
def test_encrypt_many_takes_any_number(count: int) -> None:
    stanzas = [STANZA % (i, i) for i in range(count)]
    expected = [SECURE % (i, i) for i in range(count)]
    assert encrypt_many(stanzas) == expected
    assert encrypt_many(tuple(stanzas)) == expected
    assert encrypt_many(stanza for stanza in stanzas) == expected
    assert encrypt_many(iter(stanzas)) == expected
    assert encrypt_many([stanza.decode() for stanza in stanzas]) == [stanza.decode() for stanza in expected]


@pytest.mark.parametrize("size", [100, 40_000, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 20])
def test_encrypt_many_takes_any_size(size: int) -> None:
    """Above 256 KiB a batch ends, and the lock of the interpreter is released in one."""
    text = "\u00e9" * (size // 2)
    stanzas: list[Any] = []
    for i in range(3):
        stanza = STANZA % (i, i) + b"x" * size
        stanzas += [stanza, stanza.decode() + text, STANZA % (i, i), bytearray(stanza), stanza.decode(), "", b""]
    assert encrypt_many(stanzas) == [encrypt(stanza) for stanza in stanzas]


def test_encrypt_many_takes_nothing() -> None:
    assert encrypt_many([]) == []
    assert encrypt_many(iter(())) == []
    assert encrypt_many([b"", "", bytearray()]) == [b"", "", b""]


def test_encrypt_many_does_not_change_what_it_is_given() -> None:
    stanzas = [bytearray(STANZA % (i, i)) for i in range(600)]
    copies = [bytes(stanza) for stanza in stanzas]
    encrypt_many(stanzas)
    assert stanzas == copies
    for stanza in stanzas:
        stanza.append(0)  # no buffer is held any more


@pytest.mark.parametrize("before", [0, 1, 511, 512, 600])
def test_encrypt_many_refuses_what_encrypt_refuses(before: int) -> None:
    stanzas: list[Any] = [bytearray(STANZA % (i, i)) for i in range(before)]
    with pytest.raises(TypeError, match="must be a bytes-like object or str, not 'int'"):
        encrypt_many([*stanzas, 7])
    with pytest.raises(EncodingError) as info:
        encrypt_many([*stanzas, "<a/>".encode("utf-16"), b""])
    assert info.value.offset == 0
    with pytest.raises(TypeError, match="not iterable"):
        encrypt_many(7)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        encrypt_many(failing(stanzas))
    for stanza in stanzas:
        stanza.append(0)


def failing(stanzas: list[Any]) -> Iterator[Any]:
    yield from stanzas
    raise ZeroDivisionError
