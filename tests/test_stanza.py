"""Stanza Encryption (XEP-0419): which bytes are encrypted, what the others tell, and what is refused.

One rotation makes the coverage visible, so most tests look at ``rounds=1``. The oracle for a rotation is the
standard library's text codec; the oracle for spans is a generator that knows them because it wrote the stanza.
"""

from __future__ import annotations

import codecs
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import pytest
from growth import assert_linear
from hypothesis import example, given
from hypothesis import strategies as st

from xep419.errors import (
    EncodingError,
    MalformedXMLError,
    PartialEncryptionError,
    RestrictedXMLError,
    XEP419Error,
)
from xep419.stanza import (
    EncryptedStanza,
    Exposure,
    ExposureKind,
    StanzaPart,
    encrypt_stanza,
    exposed,
    validate,
)

pytestmark = pytest.mark.any_isa

STANZA, CONTENTS, BODY = StanzaPart.STANZA, StanzaPart.CONTENTS, StanzaPart.BODY

OUTER_TAG = (
    b"<message from='chris.davidland@crap-security.example' to='lucas.george@shiteam.example' type='chat' id='12345'>"
)
#: XEP-0419, Stanza Encryption: all four examples are these bytes
LUCAS = (
    OUTER_TAG + b"\n    <some-metadata xmlns='urn:xmpps:example:metadata'/>\n    <body>Hey, Lucas!</body>\n  </message>"
)


def rotated(data: bytes) -> bytes:
    """One ROT-13 by the standard library, every byte as a Latin-1 letter."""
    return codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")


def rotated_at(data: bytes, spans: tuple[tuple[int, int], ...]) -> bytes:
    for start, end in spans:
        data = data[:start] + rotated(data[start:end]) + data[end:]
    return data


def covered(stanza: bytes | str, part: StanzaPart) -> list[bytes]:
    """What ``part`` covers, as it reads in the plain stanza."""
    plain = stanza.encode() if isinstance(stanza, str) else stanza
    return [plain[start:end] for start, end in encrypt_stanza(stanza, part=part).spans]


def refusal(call: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
    """The package's error that ``call`` raises."""
    with pytest.raises(XEP419Error) as info:
        call(*args, **kwargs)
    return info.value


def told(stanza: bytes | str) -> list[tuple[ExposureKind, str]]:
    return [(exposure.kind, exposure.value) for exposure in exposed(stanza)]


# -- the examples of XEP-0419, Stanza Encryption ----------------------------------------------------------


@pytest.mark.parametrize("part", StanzaPart)
def test_the_valid_and_the_invalid_examples_are_the_same_bytes(part: StanzaPart) -> None:
    assert encrypt_stanza(LUCAS, part=part) == LUCAS


def test_only_the_fully_encrypted_example_is_valid() -> None:
    validate(encrypt_stanza(LUCAS))
    validate(encrypt_stanza(LUCAS, part=STANZA))
    for invalid in (LUCAS, encrypt_stanza(LUCAS, part=BODY), encrypt_stanza(LUCAS, part=CONTENTS)):
        assert type(refusal(validate, invalid)) is PartialEncryptionError


def test_one_round_shows_that_the_whole_stanza_is_covered() -> None:
    encrypted = encrypt_stanza(LUCAS, rounds=1)
    assert encrypted == (
        b"<zrffntr sebz='puevf.qnivqynaq@penc-frphevgl.rknzcyr' gb='yhpnf.trbetr@fuvgrnz.rknzcyr' glcr='pung' vq='12345'>"
        b"\n    <fbzr-zrgnqngn kzyaf='hea:kzccf:rknzcyr:zrgnqngn'/>\n    <obql>Url, Yhpnf!</obql>\n  </zrffntr>"
    )
    assert encrypted.spans == ((0, len(LUCAS)),)


def test_one_round_shows_that_only_the_body_is_covered() -> None:
    encrypted = encrypt_stanza(LUCAS, part=BODY, rounds=1)
    assert encrypted == LUCAS.replace(b"Hey, Lucas!", b"Url, Yhpnf!")
    start = LUCAS.index(b"Hey")
    assert encrypted.spans == ((start, start + 11),)


def test_one_round_shows_that_the_outer_tag_is_left_out() -> None:
    encrypted = encrypt_stanza(LUCAS, part=CONTENTS, rounds=1)
    assert encrypted == (
        OUTER_TAG
        + b"\n    <fbzr-zrgnqngn kzyaf='hea:kzccf:rknzcyr:zrgnqngn'/>\n    <obql>Url, Yhpnf!</obql>\n  </message>"
    )
    assert encrypted.spans == ((len(OUTER_TAG), len(LUCAS) - len(b"</message>")),)


def test_the_message_names_what_was_expected_what_came_and_what_is_exposed() -> None:
    error = refusal(validate, encrypt_stanza(LUCAS, part=BODY))
    assert str(error) == (
        "expected outer tag, metadata and payload encrypted (XEP-0419, Stanza Encryption), got 11 of 209 bytes encrypted"
        " (part BODY); in the clear: element 'message', sender 'chris.davidland@crap-security.example',"
        " recipient 'lucas.george@shiteam.example', type 'chat', id '12345', element 'some-metadata',"
        " namespace 'urn:xmpps:example:metadata', element 'body', size 11 bytes (at byte 0)"
    )
    assert error.offset == 0
    assert error.exposures == exposed(encrypt_stanza(LUCAS, part=BODY))


def test_the_original_is_refused_since_plain_bytes_state_no_encryption() -> None:
    assert str(refusal(validate, "<presence/>")) == (
        "expected outer tag, metadata and payload encrypted (XEP-0419, Stanza Encryption), got 0 of 11 bytes encrypted"
        " (a 'str' states none; encrypt_stanza gives an EncryptedStanza); in the clear: element 'presence' (at byte 0)"
    )


def test_the_error_keeps_its_exposures_through_a_pickle() -> None:
    error = refusal(validate, LUCAS)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.offset, again.exposures) == (str(error), error.offset, error.exposures)


# -- which bytes a part covers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stanza",
    [b"<presence/>", b"<iq></iq>", b" \t\r\n<iq/>\r\n", b"\xef\xbb\xbf<iq/>", "<body>Grüße</body>".encode()],
)
def test_stanza_covers_every_byte_given(stanza: bytes) -> None:
    encrypted = encrypt_stanza(stanza, rounds=1)
    assert encrypted.spans == ((0, len(stanza)),)
    assert encrypted == rotated(stanza)
    validate(encrypted)


@pytest.mark.parametrize(
    ("stanza", "contents"),
    [
        (b"<presence/>", []),
        (b"<presence />", []),
        (b"<presence type='a/>b'\n/>", []),
        (b"<presence></presence>", []),
        (b"<a b='>' c=\"'>\">text</a>", [b"text"]),
        (b"<a b='/'>text</a >", [b"text"]),
        (b"<a\n\tb = '1'\n>text</a\n>\n", [b"text"]),
        (b"<a><a>inner</a></a>", [b"<a>inner</a>"]),
        (b"<a ><b c='d'/></a>", [b"<b c='d'/>"]),
        (b"<a >b='1' c=\"2\"</a>", [b"b='1' c=\"2\""]),
        (b"<a><![CDATA[</a>]]></a>", [b"<![CDATA[</a>]]>"]),
        (b"  <a> x </a>  ", [b" x "]),
    ],
)
def test_contents_are_what_stands_between_the_outer_tags(stanza: bytes, contents: list[bytes]) -> None:
    assert covered(stanza, CONTENTS) == contents


@pytest.mark.parametrize(
    ("stanza", "bodies"),
    [
        (b"<message/>", []),
        (b"<message>text</message>", []),
        (b"<message><body/></message>", []),
        (b"<message><body /></message>", []),
        (b"<message><body></body></message>", []),
        (b"<message><body> </body></message>", [b" "]),
        (b"<message><body xml:lang='de'>Hallo</body><body xml:lang='en'>Hey</body></message>", [b"Hallo", b"Hey"]),
        (b"<message><body/><x/><body a='>'\n>Hey</body\n></message>", [b"Hey"]),
        (b"<c:message xmlns:c='jabber:client'><c:body>Hey</c:body></c:message>", [b"Hey"]),
        (b"<message><undeclared:body>Hey</undeclared:body></message>", [b"Hey"]),
        (b"<message><body xmlns='urn:example'>Hey</body></message>", [b"Hey"]),
        (b"<message><somebody>Hey</somebody><body-part>x</body-part><Body>x</Body></message>", []),
        (b"<message><html><body>not a child of the message</body></html><body>Hey</body></message>", [b"Hey"]),
        (b"<body rid='1'><message><body>within BOSH</body></message></body>", []),
        (b"<body>the outer element itself</body>", []),
        (b"<message><body>a<body>b</body>c</body></message>", [b"a<body>b</body>c"]),
        (b"<message><body>a<br/></body></message>", [b"a<br/>"]),
        (b"<message><body>x &lt; &#121;</body></message>", [b"x &lt; &#121;"]),
        (b"<message><body><![CDATA[</body>]]></body></message>", [b"<![CDATA[</body>]]>"]),
        ("<message to='ß'>é<body>Grüße</body></message>".encode(), ["Grüße".encode()]),
    ],
)
def test_body_is_what_stands_in_each_body_child_of_the_outer_element(stanza: bytes, bodies: list[bytes]) -> None:
    assert covered(stanza, BODY) == bodies


def test_child_markup_and_references_in_a_range_are_rotated_too() -> None:
    stanza = b"<m><body>1 &lt; 2 <b x='y'/></body></m>"
    assert encrypt_stanza(stanza, part=BODY, rounds=1) == b"<m><body>1 &yg; 2 <o k='l'/></body></m>"
    assert encrypt_stanza(stanza, part=BODY, rounds=2) == stanza


@pytest.mark.parametrize("part", StanzaPart)
@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 10**30, 10**30 + 1])
def test_an_even_number_of_rounds_is_transparent(part: StanzaPart, rounds: int) -> None:
    encrypted = encrypt_stanza(LUCAS, part=part, rounds=rounds)
    assert encrypted.rounds == rounds
    assert encrypted == (rotated_at(LUCAS, encrypted.spans) if rounds % 2 else LUCAS)


@pytest.mark.parametrize("part", StanzaPart)
def test_no_rounds_rotate_nothing_and_so_cover_nothing(part: StanzaPart) -> None:
    encrypted = encrypt_stanza(LUCAS, part=part, rounds=0)
    assert (encrypted, encrypted.spans) == (LUCAS, ())
    assert exposed(encrypted) == exposed(LUCAS)
    assert type(refusal(validate, encrypted)) is PartialEncryptionError


def test_namespaces_stay_as_they_are() -> None:
    original = LUCAS.replace(b"urn:xmpps:", b"urn:xmpp:")
    assert encrypt_stanza(original) == original


@pytest.mark.parametrize("part", StanzaPart)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_stanza_gives_an_encrypted_stanza(kind: Callable[[bytes], Any], part: StanzaPart) -> None:
    encrypted = encrypt_stanza(kind(LUCAS), part=part, rounds=1)
    assert type(encrypted) is EncryptedStanza
    assert encrypted == encrypt_stanza(LUCAS, part=part, rounds=1)


def test_a_str_is_utf8_inside_and_spans_count_its_bytes() -> None:
    encrypted = encrypt_stanza("<m>ß<body>Grüße</body></m>", part=BODY, rounds=1)
    assert encrypted == "<m>ß<body>Teüßr</body></m>".encode()
    assert encrypted.spans == ((11, 18),)


def test_prefixes_may_be_declared_on_the_stream_header_only() -> None:
    features = b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
    validate(encrypt_stanza(features))
    assert told(features)[0] == (ExposureKind.ELEMENT, "stream:features")


# -- what is not one whole stanza -------------------------------------------------------------------------

WELL_FORMED = "expected one whole stanza, got XML that is not well-formed: "
RESTRICTED = "expected a stanza of XML that RFC 6120 section 11.1 allows, got "
NOT_STANZAS = [
    (b"", MalformedXMLError, "expected one whole stanza, got nothing", 0),
    (b" ", MalformedXMLError, "expected one whole stanza, got only white space", 0),
    (b"\r\n\t ", MalformedXMLError, "expected one whole stanza, got only white space", 0),
    (b"<a/><b/>", MalformedXMLError, "expected one whole stanza, got more after its end", 4),
    (b"<a/> x", MalformedXMLError, "expected one whole stanza, got more after its end", 5),
    (b"<message><body>Hey</body>", MalformedXMLError, WELL_FORMED + "no element found", 25),
    (b"<a><b", MalformedXMLError, WELL_FORMED + "unclosed token", 3),
    (b"<a><b></a>", MalformedXMLError, WELL_FORMED + "mismatched tag", 8),
    (b"<a b='1' b='2'/>", MalformedXMLError, WELL_FORMED + "duplicate attribute", 9),
    (b"<a b='<'/>", MalformedXMLError, WELL_FORMED + "not well-formed (invalid token)", 6),
    (b"<a>&#0;</a>", MalformedXMLError, WELL_FORMED + "reference to invalid character number", 3),
    (b"<a>\0</a>", MalformedXMLError, WELL_FORMED + "not well-formed (invalid token)", 3),
    (b"</a>", MalformedXMLError, WELL_FORMED + "not well-formed (invalid token)", 1),
    (b"<a>\xff</a>", MalformedXMLError, "expected one whole stanza, got bytes that are not UTF-8 (invalid start byte)", 3),
    (b"<a b='\xc0\x80'/>", MalformedXMLError, "expected one whole stanza, got bytes that are not UTF-8 (invalid start byte)", 6),
    (b"<a b='xy\xc3", MalformedXMLError, "expected one whole stanza, got bytes that are not UTF-8 (unexpected end of data)", 8),
    (b"<a>xy\xc3", MalformedXMLError, "expected one whole stanza, got bytes that are not UTF-8 (unexpected end of data)", 5),
    ("<a>\ud800</a>", MalformedXMLError, "expected one whole stanza, got bytes that are not UTF-8 (invalid continuation byte)", 3),
    (b" <?xml version='1.0'?><a/>", MalformedXMLError, "expected one whole stanza, got an XML declaration, which only opens a stream", 1),
    (b"<!-- x --><a/>", RestrictedXMLError, RESTRICTED + "a comment", 0),
    (b"<a><!-- x --></a>", RestrictedXMLError, RESTRICTED + "a comment", 3),
    (b"<a/><!-- x -->", RestrictedXMLError, RESTRICTED + "a comment", 4),
    (b"<?x y?><a/>", RestrictedXMLError, RESTRICTED + "a processing instruction", 0),
    (b"<a><?x y?></a>", RestrictedXMLError, RESTRICTED + "a processing instruction", 3),
    (b"<a/><?x y?>", RestrictedXMLError, RESTRICTED + "a processing instruction", 4),
    (b"\n<!DOCTYPE a><a/>", RestrictedXMLError, RESTRICTED + "a DTD", 1),
    (b"<a><!DOCTYPE a></a>", RestrictedXMLError, RESTRICTED + "a DTD", 3),
    (b"<a/><!DOCTYPE a>", RestrictedXMLError, RESTRICTED + "a DTD", 4),
    (b"<a>&unknown;</a>", RestrictedXMLError, RESTRICTED + "a reference to an entity that is not predefined", 3),
    (b"<a b='&unknown;'/>", RestrictedXMLError, RESTRICTED + "a reference to an entity that is not predefined", 0),
]  # fmt: skip


@pytest.mark.parametrize(("stanza", "error", "message", "offset"), NOT_STANZAS)
def test_anything_but_one_whole_stanza_is_refused_by_every_function(
    stanza: bytes | str, error: type[XEP419Error], message: str, offset: int
) -> None:
    for part in StanzaPart:
        refused = refusal(encrypt_stanza, stanza, part=part)
        assert (type(refused), str(refused), refused.offset) == (error, f"{message} (at byte {offset})", offset)
    for judge in (exposed, validate):
        refused = refusal(judge, stanza)
        assert (type(refused), refused.offset) == (error, offset)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_refused(encoding: str) -> None:
    refused = refusal(encrypt_stanza, "<presence/>".encode(encoding))
    assert (type(refused), refused.offset) == (EncodingError, 0)


def test_no_dtd_ever_reaches_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parser:
        def Parse(self, data: bytes, final: bool) -> None:
            pytest.fail(f"the parser was given {data!r}")

    monkeypatch.setattr(expat, "ParserCreate", lambda encoding: Parser())
    dtd = b"<!DOCTYPE a [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>"
    for prolog in (dtd, b"\xef\xbb\xbf" + dtd, b"\n" + dtd, b"<!-- -->" + dtd, b"<?x?>" + dtd):
        assert type(refusal(encrypt_stanza, prolog + b"<a>&b;</a>")) is RestrictedXMLError


@given(st.binary(max_size=12).map(lambda text: b"<a>" + text + b"</a>"))
@example(b"<a>\xed\xa0\x80</a>")
@example(b"<a>\xf4\x90\x80\x80</a>")
def test_what_is_accepted_is_utf8(stanza: bytes) -> None:
    try:
        encrypt_stanza(stanza)
    except XEP419Error as error:
        assert error.offset is not None
        assert 0 <= error.offset <= len(stanza)
    else:
        stanza.decode()


@pytest.mark.parametrize(
    ("stanza", "keywords", "error", "message"),
    [
        (5, {}, TypeError, "stanza must be a bytes-like object or str, not 'int'"),
        (b"<a/>", {"part": "BODY"}, TypeError, "part must be a xep419.stanza.StanzaPart, not 'str'"),
        (b"<a/>", {"rounds": -1}, ValueError, "rounds must be 0 or more, not -1"),
        (b"<a/>", {"rounds": "2"}, TypeError, "'str' object cannot be interpreted as an integer"),
        (memoryview(b"<a/> ")[::2], {}, BufferError, "stanza must be C-contiguous, not a strided 'memoryview'"),
    ],
)
def test_wrong_arguments_are_named(stanza: Any, keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        encrypt_stanza(stanza, **keywords)
    assert (type(info.value), str(info.value)) == (error, message)


# -- what the clear parts tell ----------------------------------------------------------------------------


def test_a_fully_encrypted_stanza_tells_nothing() -> None:
    assert exposed(encrypt_stanza(LUCAS)) == ()
    assert exposed(encrypt_stanza(LUCAS, rounds=1)) == ()


@pytest.mark.parametrize("rounds", [1, 2])
def test_encrypted_contents_leave_the_outer_tag_and_their_size(rounds: int) -> None:
    assert told(encrypt_stanza(LUCAS, part=CONTENTS, rounds=rounds)) == [
        (ExposureKind.ELEMENT, "message"),
        (ExposureKind.SENDER, "chris.davidland@crap-security.example"),
        (ExposureKind.RECIPIENT, "lucas.george@shiteam.example"),
        (ExposureKind.TYPE, "chat"),
        (ExposureKind.ID, "12345"),
        (ExposureKind.SIZE, "88"),
    ]


@pytest.mark.parametrize("rounds", [1, 2])
def test_an_encrypted_body_leaves_the_metadata_too(rounds: int) -> None:
    assert told(encrypt_stanza(LUCAS, part=BODY, rounds=rounds))[5:] == [
        (ExposureKind.ELEMENT, "some-metadata"),
        (ExposureKind.NAMESPACE, "urn:xmpps:example:metadata"),
        (ExposureKind.ELEMENT, "body"),
        (ExposureKind.SIZE, "11"),
    ]


def test_a_stanza_in_the_clear_tells_everything_where_it_stands() -> None:
    stanza = (
        b"<c:message xmlns:c='jabber:client' from=\"a&amp;b\" type='' xml:lang='de'>\n"
        b"<c:subject>Hi</c:subject><c:thread parent='t0'>t1</c:thread><c:body>1 &lt; <![CDATA[&2]]></c:body>"
        b"<delay from='room' xmlns='urn:xmpp:delay'>late<body>r</body></delay></c:message>"
    )
    found = exposed(stanza)
    assert [(e.kind, e.name, e.value, stanza[e.start : e.end]) for e in found] == [
        (ExposureKind.ELEMENT, "c:message", "c:message", b"c:message"),
        (ExposureKind.NAMESPACE, "xmlns:c", "jabber:client", b"jabber:client"),
        (ExposureKind.SENDER, "from", "a&b", b"a&amp;b"),
        (ExposureKind.TYPE, "type", "", b""),
        (ExposureKind.LANGUAGE, "xml:lang", "de", b"de"),
        (ExposureKind.ELEMENT, "c:subject", "c:subject", b"c:subject"),
        (ExposureKind.SUBJECT, "c:subject", "Hi", b"Hi"),
        (ExposureKind.ELEMENT, "c:thread", "c:thread", b"c:thread"),
        (ExposureKind.ATTRIBUTE, "parent", "t0", b"t0"),
        (ExposureKind.THREAD, "c:thread", "t1", b"t1"),
        (ExposureKind.ELEMENT, "c:body", "c:body", b"c:body"),
        (ExposureKind.BODY, "c:body", "1 < &2", b"1 &lt; <![CDATA[&2]]>"),
        (ExposureKind.ELEMENT, "delay", "delay", b"delay"),
        (ExposureKind.ATTRIBUTE, "from", "room", b"room"),
        (ExposureKind.NAMESPACE, "xmlns", "urn:xmpp:delay", b"urn:xmpp:delay"),
        (ExposureKind.TEXT, "delay", "late", b"late"),
        (ExposureKind.ELEMENT, "body", "body", b"body"),
        (ExposureKind.TEXT, "body", "r", b"r"),
    ]
    assert exposed(stanza.decode()) == found
    assert list(found) == sorted(found, key=lambda exposure: exposure.start)


def test_coverage_is_stated_and_never_guessed_from_the_bytes() -> None:
    encrypted = encrypt_stanza(LUCAS)
    assert bytes(encrypted) == encrypted
    assert exposed(bytes(encrypted)) == exposed(LUCAS)


def test_a_missing_body_leaves_all_in_the_clear() -> None:
    encrypted = encrypt_stanza("<presence type='away'/>", part=BODY)
    assert encrypted.spans == ()
    assert told(encrypted) == [(ExposureKind.ELEMENT, "presence"), (ExposureKind.TYPE, "away")]
    assert "got 0 of 23 bytes encrypted (part BODY)" in str(refusal(validate, encrypted))


def test_an_end_tag_in_the_clear_tells_the_name_its_start_tag_hides() -> None:
    stanza = b"<iq><ping/></iq>"
    head = EncryptedStanza(stanza, part=CONTENTS, spans=[(0, 11)])
    assert exposed(head) == (
        Exposure(ExposureKind.SIZE, "11", 0, 11, ""),
        Exposure(ExposureKind.ELEMENT, "iq", 13, 15, "iq"),
    )
    assert refusal(validate, head).offset == 11


def test_a_stanza_with_any_clear_byte_is_refused_even_when_it_names_nothing() -> None:
    almost = EncryptedStanza(b"<iq/>", part=STANZA, spans=[(0, 4)])
    assert told(almost) == [(ExposureKind.SIZE, "4")]
    assert refusal(validate, almost).offset == 4


def test_an_empty_value_is_told_when_both_quotes_are_clear() -> None:
    stanza = b"<iq id=''/>"
    for spans, kinds in (
        ([(10, 11)], [ExposureKind.ELEMENT, ExposureKind.ID, ExposureKind.SIZE]),
        ([(0, 8)], [ExposureKind.SIZE]),
        ([(8, 11)], [ExposureKind.ELEMENT, ExposureKind.SIZE]),
    ):
        assert [e.kind for e in exposed(EncryptedStanza(stanza, part=STANZA, spans=spans))] == kinds


def test_what_is_partly_in_the_clear_is_told_whole() -> None:
    assert told(EncryptedStanza(b"<iq id='ab'/>", part=STANZA, spans=[(0, 9), (10, 13)])) == [
        (ExposureKind.SIZE, "9"),
        (ExposureKind.ID, "ab"),
        (ExposureKind.SIZE, "3"),
    ]


def test_adjacent_spans_may_cover_a_stanza_together_and_white_space_around_it_tells_nothing() -> None:
    stanza = EncryptedStanza(b" <vd/>\n", part=STANZA, spans=[(1, 3), (3, 6)], rounds=1)
    assert exposed(stanza) == ()
    validate(stanza)


def test_a_stated_coverage_does_not_excuse_bytes_that_are_no_stanza() -> None:
    assert type(refusal(validate, EncryptedStanza(b"<vd>", part=STANZA, spans=[(0, 4)], rounds=1))) is MalformedXMLError


def test_a_rotated_range_is_read_as_the_plain_one() -> None:
    stanza = "<m><body>1 &lt; 2</body><x y='z'/></m>"
    encrypted = encrypt_stanza(stanza, part=BODY, rounds=1)
    assert type(refusal(encrypt_stanza, bytes(encrypted))) is RestrictedXMLError  # &yg;
    assert told(encrypted) == told(encrypt_stanza(stanza, part=BODY))


def test_the_message_lists_a_few_exposures_and_cuts_long_ones() -> None:
    stanza = f"<{'n' * 1000} {'a' * 1000}='{'v' * 1000}'>{'<b/>' * 1000}</{'n' * 1000}>"
    error = refusal(validate, stanza)
    assert len(error.exposures) == 1002
    assert str(error).endswith(
        f"in the clear: element '{'n' * 57}...', attribute {'a' * 57}... '{'v' * 57}...'"
        + ", element 'b'" * 14
        + " and 986 more (at byte 0)"
    )


# -- the type ---------------------------------------------------------------------------------------------


def test_slices_and_results_of_bytes_methods_are_plain_bytes() -> None:
    encrypted = encrypt_stanza(LUCAS)
    assert {type(encrypted[:]), type(encrypted[1:]), type(encrypted + b""), type(encrypted.strip())} == {bytes}
    assert encrypted == LUCAS
    assert hash(encrypted) == hash(LUCAS)


def test_copies_and_pickles_keep_the_statement() -> None:
    encrypted = encrypt_stanza(LUCAS, part=BODY, rounds=3)
    copies = [pickle.loads(pickle.dumps(encrypted, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*copies, copy.copy(encrypted), copy.deepcopy(encrypted)):
        assert type(again) is EncryptedStanza
        assert (again, again.part, again.spans, again.rounds) == (encrypted, BODY, encrypted.spans, 3)


def test_the_repr_states_the_coverage() -> None:
    assert repr(encrypt_stanza("<m><body>Hey</body></m>", part=BODY, rounds=1)) == (
        "EncryptedStanza(b'<m><body>Url</body></m>', part=StanzaPart.BODY, spans=((9, 12),), rounds=1)"
    )


@pytest.mark.parametrize("name", ["part", "spans", "rounds"])
def test_the_statement_is_read_only(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(encrypt_stanza(LUCAS), name, None)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 0)], "not (0, 0) after byte 0"),
        ([(-1, 2)], "not (-1, 2) after byte 0"),
        ([(0, 5)], "not (0, 5) after byte 0"),
        ([(2, 3), (0, 1)], "not (0, 1) after byte 3"),
        ([(0, 3), (2, 4)], "not (2, 4) after byte 3"),
    ],
)
def test_spans_out_of_order_or_bounds_are_refused(spans: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(ValueError) as info:
        EncryptedStanza(b"<a/>", part=BODY, spans=spans)
    assert str(info.value) == f"spans must be ascending, not empty, without overlap and within 4 bytes, {message}"


def test_spans_without_a_rotation_are_refused() -> None:
    with pytest.raises(ValueError) as info:
        EncryptedStanza(b"<a/>", part=STANZA, spans=[(0, 4)], rounds=0)
    assert str(info.value) == "rounds=0 rotates nothing: spans must be empty, not ((0, 4),)"


# -- any stanza -------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["x", "body", "c:body", "p:x-y", "bödy", "subject", "Body"])
TEXTS = st.lists(
    st.sampled_from(["Hey", " ", "\n", "&lt;", "&#x62;", "ß", "🦖", ">", "'", "<![CDATA[<body>]]>", "body"]), max_size=4
).map("".join)
VALUES = st.lists(st.sampled_from(["v", "/>", ">", "body", "&amp;", "é", "\n", " "]), max_size=3).map("".join)
SPACES = st.sampled_from(["", " ", "\n\t"])


@st.composite
def start_tags(draw: st.DrawFn, name: str) -> str:
    quoted = [
        f" {attribute}{draw(SPACES)}={draw(SPACES)}{quote}{draw(VALUES)}{quote}"
        for attribute, quote in draw(
            st.lists(st.tuples(st.sampled_from(["from", "to", "xmlns", "a", "é"]), st.sampled_from("'\"")),
                     unique_by=lambda pair: pair[0], max_size=3)
        )
    ]  # fmt: skip
    return f"<{name}{''.join(quoted)}{draw(SPACES)}"


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> tuple[str, str, str, str]:
    """An element in pieces: its name, start tag, contents and end tag (empty when it closes itself)."""
    name = draw(NAMES)
    start = draw(start_tags(name))
    if draw(st.booleans()):
        return name, start + "/>", "", ""
    children = draw(st.lists(elements(depth - 1), max_size=2)) if depth else []
    contents = draw(TEXTS) + "".join("".join(child[1:]) + draw(TEXTS) for child in children)
    return name, start + ">", contents, f"</{name}{draw(SPACES)}>"


@st.composite
def stanzas(draw: st.DrawFn) -> tuple[bytes, dict[StanzaPart, tuple[tuple[int, int], ...]]]:
    """A stanza, and the spans of each part as the generator knows them."""
    before, after = draw(SPACES), draw(SPACES)
    name = draw(NAMES)
    start_tag, end_tag = draw(start_tags(name)) + ">", f"</{name}>"
    bodies: list[tuple[int, int]] = []
    written = before + start_tag + draw(TEXTS)
    for child_name, child_start, contents, child_end in draw(st.lists(elements(), max_size=4)):
        written += child_start
        if contents and child_name.split(":")[-1] == "body":
            bodies.append((len(written.encode()), len((written + contents).encode())))
        written += contents + child_end + draw(TEXTS)
    inside = (len((before + start_tag).encode()), len(written.encode()))
    stanza = (written + end_tag + after).encode()
    return stanza, {
        STANZA: ((0, len(stanza)),),
        CONTENTS: (inside,) if inside[0] < inside[1] else (),
        BODY: tuple(bodies),
    }


@given(stanzas(), st.sampled_from(StanzaPart))
def test_exactly_the_part_is_rotated(
    written: tuple[bytes, dict[StanzaPart, tuple[tuple[int, int], ...]]], part: StanzaPart
) -> None:
    stanza, spans = written
    once = encrypt_stanza(stanza, part=part, rounds=1)
    assert once.spans == spans[part]
    assert once == rotated_at(stanza, once.spans)
    assert rotated_at(once, once.spans) == stanza
    twice = encrypt_stanza(stanza, part=part)
    assert twice == stanza
    assert twice.spans == once.spans
    assert exposed(once) == exposed(twice)


@given(stanzas())
def test_a_part_exposes_just_what_stands_outside_its_spans_and_their_sizes(
    written: tuple[bytes, dict[StanzaPart, tuple[tuple[int, int], ...]]],
) -> None:
    stanza, spans = written
    everything = exposed(stanza)
    for part in (BODY, CONTENTS):
        inside = spans[part]
        sizes = {Exposure(ExposureKind.SIZE, str(end - start), start, end, "") for start, end in inside}
        clear = [e for e in everything if not any(start <= e.start < end for start, end in inside)]
        assert [e for e in exposed(encrypt_stanza(stanza, part=part)) if e not in sizes] == clear
        assert sizes <= set(exposed(encrypt_stanza(stanza, part=part)))


@given(stanzas(), st.sampled_from(StanzaPart))
def test_a_stanza_is_valid_if_and_only_if_all_of_it_is_covered(
    written: tuple[bytes, dict[StanzaPart, tuple[tuple[int, int], ...]]], part: StanzaPart
) -> None:
    encrypted = encrypt_stanza(written[0], part=part)
    if part is STANZA:
        validate(encrypted)
    else:
        assert refusal(validate, encrypted).exposures == exposed(encrypted) != ()


# -- cost -------------------------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[int], bytes]] = {
    "nested elements": lambda n: b"<a>" * n + b"</a>" * n,
    "attributes": lambda n: b"<a" + b"".join(b" a%d=''" % i for i in range(n)) + b"/>",
    "bodies": lambda n: b"<a>" + b"<body>x</body>" * n + b"</a>",
    "references": lambda n: b"<a><body>" + b"&amp;" * n + b"</body></a>",
    "a value": lambda n: b"<a><body b='" + b"x>/" * n + b"'/></a>",
    "white space in a tag": lambda n: b"<a><body" + b" " * n + b"/></a>",
}


@pytest.mark.any_python
@pytest.mark.parametrize("shape", HOSTILE)
@pytest.mark.parametrize("part", StanzaPart)
def test_work_is_linear_on_hostile_input(shape: str, part: StanzaPart) -> None:
    def work_of(size: int) -> Callable[[], object]:
        stanza = HOSTILE[shape](size)
        return lambda: exposed(encrypt_stanza(stanza, part=part))

    assert_linear(work_of, 1000)


def test_a_megabyte_of_nested_elements_and_a_million_attributes_are_no_trouble() -> None:
    for stanza in (HOSTILE["nested elements"](150_000), HOSTILE["attributes"](1_000_000)):
        assert encrypt_stanza(stanza) == stanza


def test_importing_the_package_loads_no_xml_parser() -> None:
    program = "import sys, xep419; sys.exit('pyexpat' in sys.modules or 'xep419.stanza' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
