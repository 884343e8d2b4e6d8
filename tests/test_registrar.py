"""The XMPP Registrar's files: names made secure and no other byte changed; read; written.

The oracle for rewriting is a generator that writes a file twice, as it is and as it should become, and knows which is
which because it wrote it; lxml, which shares no code with expat, says what names the result denotes.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xep419.errors import EncodingError, MalformedXMLError, XEP419Error
from xep419.registrar import REGISTRIES, Registration, read, upgrade, write
from xep419.registry import RegistryEntry, entries

pytestmark = pytest.mark.any_isa

HEAD = """\
<?xml version='1.0' encoding='UTF-8'?>
<!DOCTYPE registry SYSTEM 'ns.dtd' [
  <!ENTITY % ents SYSTEM 'reg.ent'>
%ents;
]>
<?xml-stylesheet type='text/xsl' href='http://xmpp.test/ns.xsl'?>
"""
META = """\
  <meta>
    <title>urn:xmpp:title</title>
    &LEGALNOTICE;
    <overview>As registered with the &REGISTRAR; (see <link url='http://xmpp.test/'>http://xmpp.test/</link>).</overview>
    <revision>
      <version>0.2</version>
      <date>2017-03-01</date>
      <initials>xyz</initials>
      <remark>urn:xmpp:remark</remark>
      <name>urn:xmpp:name-of-meta</name>
    </revision>
  </meta>
"""
#: as the Registrar's sources are laid out; {s} is where a letter belongs
SOURCES = {
    "namespaces.xml": """\
<registry>
{meta}  <!-- http: names come <name>http://first.test</name> -->
  <ns>
    <name>urn:xmpp{s}:omemo:0</name>
    <doc>&xep0384;</doc>
    <status>provisional</status>
  </ns>
  <ns>
    <name>http{s}://jabber.org/protocol/muc</name>
    <doc>&xep0045; (see <link url='http://xmpp.test/'>http://xmpp.test/</link>)</doc>
  </ns>
  <ns>
    <name>jabber:client</name>
    <doc>&xmppim;</doc>
  </ns>
  <ns>
    <name>urn:xmpps:secure-already</name>
    <doc>urn:xmpp:a-document</doc>
  </ns>
</registry>
""",
    "disco-features.xml": """\
<registry>
{meta}  <var>
    <name>dnssrv</name>
    <desc>http://prose.test</desc>
    <doc>&xmppcore;, &xmppim;</doc>
  </var>
  <var>
    <name>http{s}://jabber.org/protocol/amp?action=alert&amp;x=1</name>
    <desc>
      urn:xmpp:prose
    </desc>
    <doc>N/A</doc>
  </var>
</registry>
""",
    "formtypes.xml": """\
<registry>
{meta}<form_type>
  <name>http{s}://jabber.org/protocol/muc#register</name>
  <doc>XEP-0045</doc>
  <desc>http://prose.test</desc>
  <field
      var='muc#register_first'
      type='text-single'
      label='http://label.test'/>
  <field var='{{http{s}://jabber.org/protocol/muc}}nick' type='list-single'>
    <option label='urn:xmpp:label'>
      <value>http://value.test</value>
    </option>
  </field>
  <field var='FORM_TYPE' type='hidden'><value>urn:xmpp{s}:form</value></field>
</form_type>
</registry>
""",
    "nodes.xml": """\
<registry>
{meta}  <node>
    <name>http{s}://jabber.org/protocol/commands</name>
    <desc>A node for all ad-hoc commands provided by an entity.</desc>
    <doc>&xep0050;</doc>
  </node>
  <node>
    <name>x-roomuser-item</name>
    <desc>A node.</desc>
    <doc>&xep0045;</doc>
  </node>
</registry>
""",
    "stream-features.xml": """\
<registry>
{meta}  <feature>
    <ns>http{s}://jabber.org/features/amp</ns>
    <desc>http://prose.test</desc>
    <name>amp</name>
    <element>http://element.test</element>
    <doc>&xep0079;</doc>
  </feature>
</registry>
""",
    "querytypes.xml": """\
<registry>
{meta}<querytype>
  <name>command</name>
  <proto>http{s}://jabber.org/protocol/commands</proto>
  <desc>enables completion of ad-hoc commands</desc>
  <doc>XEP-0050</doc>
  <keys><key><name>node</name><desc>http://prose.test</desc></key></keys>
</querytype>
</registry>
""",
    "si-profiles.xml": """\
<registry>
{meta}<profile>
  <name>http{s}://jabber.org/protocol/si/profile/file-transfer</name>
  <doc>http://document.test</doc>
</profile>
</registry>
""",
}


def source(file: str, letter: str = "") -> bytes:
    return (HEAD + SOURCES[file].format(meta=META, s=letter)).encode()


# -- rewriting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SOURCES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
def test_names_change_and_nothing_else(file: str, ending: str, mark: bytes) -> None:
    before, after = (mark + source(file, letter).replace(b"\n", ending.encode()) for letter in ("", "s"))
    assert upgrade(before) == after
    assert upgrade(after) is after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<name>urn:xmpp:ping</name>", "<name>urn:xmpps:ping</name>"),
        ("<name>\n\t urn:xmpp:ping\r\n </name>", "<name>\n\t urn:xmpps:ping\r\n </name>"),
        ("<name>URN:Xmpp:ping</name>", "<name>URN:Xmpps:ping</name>"),
        ("<name>HTTP://x</name>", "<name>HTTPs://x</name>"),
        ("<name a='http:b'>http:c</name >", "<name a='http:b'>https:c</name >"),
        ("<name>&#104;ttp:x</name>", "<name>&#104;ttps:x</name>"),
        ("<name>htt&#x0070;:x</name>", "<name>htt&#x0070;s:x</name>"),
        ("<name>http&#58;x</name>", "<name>https&#58;x</name>"),
        ("<name>&#10;&#x20;http:x</name>", "<name>&#10;&#x20;https:x</name>"),
        ("<name><![CDATA[urn:xmpp:x]]></name>", "<name><![CDATA[urn:xmpps:x]]></name>"),
        ("<name>urn:<![CDATA[xmpp]]>:x</name>", "<name>urn:<![CDATA[xmpps]]>:x</name>"),
        ("<name><![CDATA[\nhttp:&#58;]]></name>", "<name><![CDATA[\nhttps:&#58;]]></name>"),
        ("<name>http<!-- http: -->:x</name>", "<name>https<!-- http: -->:x</name>"),
        ("<name><?http http:?>http:x</name>", "<name><?http http:?>https:x</name>"),
        ("<name>http:x&entity;</name>", "<name>https:x&entity;</name>"),
        ("<var>urn:xmpp:ping</var>", "<var>urn:xmpps:ping</var>"),
        ("<name>http:é\u00a0☃</name><name>http:x</name>", "<name>https:é\u00a0☃</name><name>https:x</name>"),
        ("<name/><name>http:x</name>", "<name/><name>https:x</name>"),
    ],
)
def test_where_the_letter_goes(before: str, after: str) -> None:
    entry = "<!DOCTYPE registry SYSTEM 'x.dtd'><registry><ns>{}<doc>http:</doc></ns></registry>"
    result = upgrade(entry.format(before).encode())
    assert result.decode() == entry.format(after)
    assert upgrade(result) is result


@pytest.mark.parametrize(
    "content",
    [
        "<name>see http://x</name>",
        "<name>https:x</name>",
        "<name>httpx:</name>",
        "<name>jabber:client</name>",
        "<name>\u00a0http:x</name>",
        "<name>http:<b>x</b></name>",
        "<name>http:<b/>x</name>",
        "<name><b>http:x</b></name>",
        "<name>h&entity;p:x</name>",
        "<name>&http;x</name>",
        "<name>http&colon;x</name>",
        "<name></name>",
        "<Name>http:x</Name>",
        "<name2>http:x</name2>",
        "<element>http:x</element>",
        "<value>http:x</value>",
        "<a xmlns='http://x'/>",
        "<meta><name>http:x</name><meta/><name>http:x</name></meta>",
    ],
)
def test_what_is_no_name_stays(content: str) -> None:
    document = f"<!DOCTYPE registry SYSTEM 'x.dtd'><registry>http:<ns>http:{content}</ns>http:</registry>".encode()
    assert upgrade(document) is document


def test_an_entity_of_the_file_is_not_expanded() -> None:
    document = b"<!DOCTYPE registry [<!ENTITY x 'urn:xmpp:'>]><registry><name>&x;ping</name></registry>"
    assert upgrade(document) is document


@pytest.mark.parametrize("root", ["registry", "ns", "var", "form_type", "node"])
def test_an_entry_alone_is_a_file(root: str) -> None:
    document = f"<{root}><name>http:x</name></{root}>".encode()
    assert upgrade(document) == document.replace(b"http:", b"https:")


def test_other_encodings_whose_markup_is_ascii() -> None:
    document = (
        "<?xml version='1.0' encoding='iso-8859-1'?><registry><name>http:é</name>é<name> http:x</name></registry>"
    )
    expected = document.replace("http:", "https:")
    assert upgrade(document.encode("latin-1")) == expected.encode("latin-1")


@st.composite
def _names(draw: st.DrawFn) -> tuple[str, str]:
    """The content of a name element, as it is and as it should be, written in any way that XML has."""
    scheme, rest = draw(
        st.sampled_from([("http", ":"), ("urn:xmpp", ":"), ("https", ":"), ("jabber", ":x"), ("ht", "p")])
    )
    letters = draw(st.tuples(*(st.sampled_from([letter, letter.upper()]) for letter in scheme)))
    tail = draw(st.text(st.sampled_from("a:/#é☃&<>]-"), max_size=6))
    space = draw(st.text(st.sampled_from(" \n\t"), max_size=3))

    def written(text: str) -> str:
        return "".join(draw(_writings(letter)) for letter in text)

    head, last, end = written(space + "".join(letters[:-1])), written(letters[-1]), written(rest + tail)
    if scheme not in ("http", "urn:xmpp"):
        return (head + last + end,) * 2
    inside = len(last) - len("]]>") * last.endswith("]]>")
    return head + last + end, head + last[:inside] + "s" + last[inside:] + end


def _writings(letter: str) -> st.SearchStrategy[str]:
    references = [f"&#{ord(letter)};", f"&#x{ord(letter):x};", f"&#0{ord(letter)};", f"<![CDATA[{letter}]]>"]
    literal = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(letter, letter)
    return st.one_of(st.sampled_from([literal, "<!-- http: -->" + literal]), st.sampled_from([literal, *references]))


_PROSE = st.sampled_from(["http://x", "urn:xmpp:x", "&#104;ttp:", "é", "\n", "<!-- <name>http:x</name> -->", ""])


@given(
    st.lists(st.tuples(st.sampled_from(["name", "ns", "var", "proto", "doc", "desc"]), _names(), _PROSE), max_size=5)
)
def test_any_writing_of_a_name(parts: list[tuple[str, tuple[str, str], str]]) -> None:
    etree = pytest.importorskip("lxml.etree")
    before, after = "<registry>", "<registry>"
    for tag, (name, secure), prose in parts:
        before += f"<e><{tag}>{name}</{tag}>{prose}</e>"
        after += f"<e><{tag}>{name if tag in ('doc', 'desc') else secure}</{tag}>{prose}</e>"
    result = upgrade(f"{before}</registry>".encode())
    assert result.decode() == f"{after}</registry>"
    assert upgrade(result) is result
    for element in etree.fromstring(result).iter("name", "ns", "var", "proto"):
        assert not "".join(element.itertext()).lstrip(" \t\r\n").lower().startswith(("http:", "urn:xmpp:"))


_WHOLE = source("namespaces.xml")


@given(st.integers(0, len(_WHOLE)), st.integers(0, 12), st.binary(max_size=6))
@example(0, len(_WHOLE), b"")
def test_damage_is_an_error_with_an_offset_or_changes_names_only(at: int, cut: int, put: bytes) -> None:
    damaged = _WHOLE[:at] + put + _WHOLE[at + cut :]
    try:
        result = upgrade(damaged)
    except (MalformedXMLError, EncodingError) as error:
        assert error.offset is not None
        assert 0 <= error.offset <= len(damaged)
    else:
        assert without_insertions(result, damaged) == damaged


def without_insertions(result: bytes, original: bytes) -> bytes:
    """``result`` without each ``s`` that stands where ``original`` has another byte."""
    kept = bytearray()
    for byte in result:
        if byte != ord("s") or original[len(kept) : len(kept) + 1] == b"s":
            kept.append(byte)
    return bytes(kept)


@pytest.mark.parametrize("operation", [upgrade, read])
@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        (b"", MalformedXMLError, "well-formed XML is expected: no element found (at byte 0)"),
        (b"<registry>", MalformedXMLError, "well-formed XML is expected: no element found (at byte 10)"),
        (b"<registry><ns></registry>", MalformedXMLError, "well-formed XML is expected: mismatched tag (at byte 16)"),
        (b"<registry>&x;</registry>", MalformedXMLError, "well-formed XML is expected: undefined entity (at byte 10)"),
        (
            b"<registry>\xff</registry>",
            MalformedXMLError,
            "well-formed XML is expected: not well-formed (invalid token) (at byte 10)",
        ),
        (
            b"<!-- --><message/>",
            MalformedXMLError,
            "a registrar file is expected, whose root is <registry> or an entry, not <message> (at byte 8)",
        ),
        (
            b"<?xml version='1.0' encoding='shift_jis'?><registry/>",
            EncodingError,
            "an ASCII-compatible encoding is expected: multi-byte encodings are not supported (at byte 0)",
        ),
        (
            b"<?xml version='1.0' encoding='nope'?><registry/>",
            EncodingError,
            "an ASCII-compatible encoding is expected: unknown encoding: nope (at byte 0)",
        ),
        (
            b"<?xml version='1.0' encoding='cp037'?><registry/>",
            EncodingError,
            "an ASCII-compatible encoding is expected: unknown encoding (at byte 30)",
        ),
        (
            b"\xff\xfe<\0",
            EncodingError,
            "XML in UTF-8 or another ASCII-compatible encoding is needed, not UTF-16 or UTF-32"
            r" (it begins with b'\xff\xfe<\x00') (at byte 0)",
        ),
    ],
)
def test_errors(operation: Any, document: bytes, error: type[XEP419Error], message: str) -> None:
    with pytest.raises(error) as caught:
        operation(document)
    assert type(caught.value) is error
    assert str(caught.value) == message


@pytest.mark.parametrize("operation", [upgrade, read])
def test_a_file_is_bytes(operation: Any) -> None:
    with pytest.raises(TypeError, match=r"^a registrar file is bytes, not 'str'$"):
        operation("<registry/>")


def test_entities_that_grow_are_refused_or_left() -> None:
    entities = "".join(f"<!ENTITY a{i + 1} '{f'&a{i};' * 10}'>" for i in range(9))
    dtd = f"<!DOCTYPE registry [<!ENTITY a0 'aaaaaaaaaa'>{entities}]>"
    document = f"{dtd}<registry><name>&a9;</name></registry>".encode()
    assert upgrade(document) is document
    if sys.platform == "linux":  # elsewhere expat may be older than its limit
        with pytest.raises(MalformedXMLError, match="amplification"):
            upgrade(f"{dtd}<registry a='&a9;'/>".encode())


# -- reading and writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            "namespaces.xml",
            [
                Registration("namespace", "urn:xmpp:omemo:0", ("xep0384",), "provisional"),
                Registration("namespace", "http://jabber.org/protocol/muc", ("xep0045",), "registered"),
                Registration("namespace", "jabber:client", ("xmppim",), "registered"),
                Registration("namespace", "urn:xmpps:secure-already", (), "registered"),
            ],
        ),
        (
            "disco-features.xml",
            [
                Registration("feature", "dnssrv", ("xmppcore", "xmppim"), ""),
                Registration("feature", "http://jabber.org/protocol/amp?action=alert&x=1", (), ""),
            ],
        ),
        ("formtypes.xml", [Registration("form_type", "http://jabber.org/protocol/muc#register", ("xep0045",), "")]),
        (
            "nodes.xml",
            [
                Registration("node", "http://jabber.org/protocol/commands", ("xep0050",), ""),
                Registration("node", "x-roomuser-item", ("xep0045",), ""),
            ],
        ),
        ("stream-features.xml", []),
        ("querytypes.xml", []),
    ],
)
def test_reading_the_registrars_sources(file: str, expected: list[Registration]) -> None:
    assert read(source(file)) == expected


@pytest.mark.parametrize(
    ("doc", "specs"),
    [
        ("XEP-0384: OMEMO Encryption", ("xep0384",)),
        ("<link url='http://x/xep-0045.html'>XEP-0384: See XEP-0384</link>", ("xep0384",)),
        ("RFC 6120: XMPP Core", ("xmppcore",)),
        ("&xmppcore;", ("xmppcore",)),
        ("RFC 3921", ("rfc3921",)),
        ("&rfc3921;, RFC 6121, &xep0001;", ("rfc3921", "xmppim", "xep0001")),
        ("DEPRECATED (see &xep0202;)", ("xep0202",)),
        ("N/A", ()),
        ("", ()),
    ],
)
def test_the_specifications_that_a_document_names(doc: str, specs: tuple[str, ...]) -> None:
    document = f"<!DOCTYPE registry SYSTEM 'x'><registry><var><name>x</name><doc>{doc}</doc></var></registry>".encode()
    assert read(document) == [Registration("feature", "x", specs, "")]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_what_is_written_is_read_back(registry: str) -> None:
    assert read(write(entries(), registry)) == [
        Registration(registry, entry.name, entry.specs, entry.status if registry == "namespace" else "")
        for entry in entries()
        if registry in entry.lists
    ]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_what_is_written_becomes_the_secure_registry(registry: str) -> None:
    etree = pytest.importorskip("lxml.etree")
    names = [name.text for name in etree.fromstring(upgrade(write(entries(), registry))).iter("name")]
    assert names == [entry.secure_name for entry in entries() if registry in entry.lists]


def test_the_form_of_what_is_written() -> None:
    some = [
        RegistryEntry("urn:xmpp:a&b", "", "xep0001", "registered", ("xep0001", "xmppcore"), ("namespace", "feature")),
        RegistryEntry("urn:xmpp:<c>", "", "", "provisional", (), ("namespace",)),
        RegistryEntry("urn:xmpp:d", "", "", "", (), ("node",)),
    ]
    assert write(some, "namespace").decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<registry type="namespaces">\n'
        "  <ns>\n"
        "    <name>urn:xmpp:a&amp;b</name>\n"
        "    <doc>XEP-0001, RFC 6120</doc>\n"
        "  </ns>\n"
        "  <ns>\n"
        "    <name>urn:xmpp:&lt;c&gt;</name>\n"
        "    <doc></doc>\n"
        "    <status>provisional</status>\n"
        "  </ns>\n"
        "</registry>\n"
    )
    assert write(some, "feature").decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<registry type="disco-features">\n'
        "  <var>\n"
        "    <name>urn:xmpp:a&amp;b</name>\n"
        "    <desc/>\n"
        "    <doc>XEP-0001, RFC 6120</doc>\n"
        "  </var>\n"
        "</registry>\n"
    )


def test_the_sources_here_are_well_formed() -> None:
    etree = pytest.importorskip("lxml.etree")
    for file in SOURCES:
        etree.fromstring(source(file), etree.XMLParser(resolve_entities=False, no_network=True))
