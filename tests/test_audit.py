"""``xep419.audit``: what it counts, what it says of end-to-end encryption and TLS, and that nothing stops it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracles
import pytest
from growth import assert_linear
from hypothesis import given
from hypothesis import strategies as st

import xep419
from xep419 import Scope
from xep419.auditing import (
    MOST_DISTINCT,
    MOST_HELD,
    MOST_PROBLEMS,
    Auditor,
    Place,
    Problem,
    Scheme,
    Transport,
    e2ee,
    schema,
)
from xep419.auditing.report import SchemeFound

pytestmark = pytest.mark.any_isa

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
OFFER = f"<stream:features><starttls xmlns='{TLS}'/></stream:features>".encode()
PROCEED = f"<proceed xmlns='{TLS}'/>".encode()
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03<not XML>"


def problems(source: Any) -> list[tuple[int, str, int]]:
    return [(found.place.offset, found.message, found.unread) for found in xep419.audit(source).problems]


def only_scheme(source: Any) -> SchemeFound:
    (found,) = xep419.audit(source).schemes
    return found


def facts(found: SchemeFound) -> dict[str, tuple[str, ...]]:
    return {fact.fact: fact.examples for fact in found.facts}


# -- names ----------------------------------------------------------------------------------------------------


def test_names_are_counted_by_kind_with_their_places() -> None:
    data = (
        b"<iq xmlns='jabber:client'><query xmlns='http://jabber.org/protocol/disco#info'>"
        b"<feature var='urn:xmpp:ping'/><feature var='urn:xmpp:ping'/><feature var='https://own.example/'/></query></iq>"
    )
    report = xep419.audit(data)
    found = [(name.name, name.kind, name.secure, name.known, name.occurrences) for name in report.names]
    assert found == [
        ("urn:xmpp:ping", Scope.FEATURES, False, True, 2),
        ("http://jabber.org/protocol/disco#info", Scope.DECLARATIONS, False, True, 1),
        ("https://own.example/", Scope.FEATURES, True, False, 1),
    ]
    ping = report.names[0]
    assert ping.places == (Place("input", data.index(b"urn:")), Place("input", data.rindex(b"urn:")))
    assert (report.insecure, report.secure, report.unknown) == (report.names[:2], report.names[2:], report.names[2:])
    assert (report.size, report.stanzas, report.problems) == (len(data), 1, ())


def test_the_counts_are_those_of_an_xml_parser(recorded: list[bytes]) -> None:
    documents = [data[data.rindex(b"<stream:stream") :] for data in recorded]
    auditor = Auditor()
    expected: Counter[tuple[str, str, bool]] = Counter()
    for document in documents:
        auditor.read(document)
        _, found = oracles.apply_table(oracles.parse_expat(document), oracles.upgraded)
        expected.update((name.kind, name.name, name.secure) for name in found)
    report = auditor.report()
    assert {(str(name.kind.name), name.name, name.secure): name.occurrences for name in report.names} == dict(expected)
    assert not report.problems
    for name in report.names:
        assert len(name.places) == min(3, name.occurrences)


@pytest.mark.outer
@pytest.mark.parametrize("places", [0, 1, 3])
def test_places_are_bounded_and_counts_are_not(places: int) -> None:
    report = xep419.audit(b"<s>" + b"<a xmlns='http://x'/>" * 100_000 + b"</s>", places=places)
    (name,) = report.names
    assert name.occurrences == 100_000
    assert [place.offset for place in name.places] == [3 + len("<a xmlns='") + 21 * at for at in range(places)]


@pytest.mark.parametrize("places", [-1, 1001])
def test_as_many_places_as_memory_has_room_for(places: int) -> None:
    with pytest.raises(ValueError, match=rf"^places must be 0 to 1000, not {places}$"):
        xep419.audit(b"<a/>", places=places)


def test_what_many_different_names_cost_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from xep419.auditing import census

    monkeypatch.setattr(census, "MOST_NAMES", 10)
    many = "".join(f"<a xmlns='urn:xmpp:{at}'/>" for at in range(30))
    report = xep419.audit(f"<s>{many}<a xmlns='urn:xmpp:1'/></s>")
    assert (len(report.names), sum(name.occurrences for name in report.names), report.uncounted) == (10, 11, 20)
    long = xep419.audit(f"<a xmlns='http://{'x' * 1100}'/>")
    assert (long.names, long.uncounted) == ((), 1)


# -- end-to-end encryption ------------------------------------------------------------------------------------

OMEMO = (
    b"<message from='romeo@montague.example/garden' to='juliet@capulet.example' id='m1' type='chat' xml:lang='en'>"
    b"<encrypted xmlns='%s'><header sid='27183'><keys jid='juliet@capulet.example'><key rid='31415'>KEYKEY==</key></keys>"
    b"</header><payload>\nPAYLOAD=\n</payload></encrypted><thread>t-1</thread>"
    b"<body>This message is OMEMO-encrypted</body>"
    b"<delay xmlns='urn:xmpp:delay' stamp='2026-11-24T00:00:00Z'/><store xmlns='urn:xmpp:hints'/></message>"
)


@pytest.mark.parametrize(
    "namespace",
    [
        "eu.siacs.conversations.axolotl",
        "urn:xmpp:omemo:0",
        "urn:xmpp:omemo:1",
        "urn:xmpp:omemo:2",
        "urn:xmpps:omemo:2",
    ],
)
def test_omemo_covers_keys_and_payload_and_tells_the_rest(namespace: str) -> None:
    stanza = OMEMO % namespace.encode()
    found = only_scheme(b"<s>" + stanza + b"</s>")
    covered = len(b"KEYKEY==") + len(b"\nPAYLOAD=\n")
    assert (found.name, found.namespaces) == ("OMEMO (XEP-0384)", {namespace: 1})
    assert (found.stanzas, found.announcements) == (1, 0)
    assert (found.covered, found.clear) == (covered, len(stanza) - covered)
    assert found.places == (Place("input", 3),)
    learned = facts(found)
    assert learned.pop("element")[0] == "body"
    assert learned == {
        "sender": ("romeo@montague.example/garden",),
        "recipient": ("juliet@capulet.example",),
        "type": ("chat",),
        "id": ("m1",),
        "language": ("en",),
        "body": ("This message is OMEMO-encrypted",),
        "thread": ("t-1",),
        "size": ("10", "8"),
        "timestamp": ("2026-11-24T00:00:00Z",),
        "device": ("27183", "31415"),
        "attribute": ("jid=juliet@capulet.example",),
    }
    (elements,) = (fact.distinct for fact in found.facts if fact.fact == "element")
    assert elements == len(
        {b"message", b"encrypted", b"header", b"keys", b"key", b"payload", b"thread", b"body", b"delay", b"store"}
    )


@pytest.mark.parametrize(
    ("stanza", "scheme", "namespace", "covered"),
    [
        ("<openpgp xmlns='urn:xmpp:openpgp:0'>B64B64</openpgp>", Scheme.OX, "urn:xmpp:openpgp:0", 6),
        ("<openpgp xmlns='urn:xmpps:openpgp:0'>B64B64</openpgp>", Scheme.OX, "urn:xmpps:openpgp:0", 6),
        ("<x:openpgp xmlns:x='urn:xmpp:openpgp:0'>B6&#52;</x:openpgp>", Scheme.OX, "urn:xmpp:openpgp:0", 7),
        ("<x xmlns='jabber:x:encrypted'>B64</x>", Scheme.OPENPGP, "jabber:x:encrypted", 3),
        ("<x xmlns='jabber:x:encrypted'/>", Scheme.OPENPGP, "jabber:x:encrypted", 0),
        ("<body>?OTR:AAMDdata.</body>", Scheme.OTR, "?OTR", 14),
        ("<body>?OTR:AAIDdata.</body>", Scheme.OTR, "?OTR", 14),
        ("<body>?OTR,1,3,AAAA,</body>", Scheme.OTR, "?OTR", 14),
        ("<body>?OTR|5a73a599|27e31597,1,3,AAAA,</body>", Scheme.OTR, "?OTR", 32),
        ("<envelope xmlns='urn:xmpp:sce:1'><content/><rpad>x</rpad></envelope>", Scheme.SCE, "urn:xmpp:sce:1", 0),
        ("<encryption xmlns='urn:xmpp:eme:0' namespace='urn:own'/>", Scheme.EME, "urn:xmpp:eme:0", 0),
        ("<encryption xmlns='urn:xmpps:eme:0' namespace='urn:own'/>", Scheme.EME, "urn:xmpps:eme:0", 0),
    ],
)  # fmt: skip
def test_each_scheme_by_its_namespace(stanza: str, scheme: Scheme, namespace: str, covered: int) -> None:
    message = f"<message to='a@b'>{stanza}</message>"
    found = only_scheme(message)
    assert (found.name, found.namespaces, found.stanzas) == (scheme.value, {namespace: 1}, 1)
    assert (found.covered, found.clear) == (covered, len(message) - covered)
    assert facts(found)["recipient"] == ("a@b",)
    assert facts(found).get("hint", ("urn:own",)) == ("urn:own",)
    encrypted = xep419.audit(message).encrypted
    assert encrypted.stanzas == (scheme not in (Scheme.SCE, Scheme.EME))


@pytest.mark.parametrize(
    ("stanza", "scheme"),
    [
        ("<devices xmlns='urn:xmpp:omemo:2'><device id='1'/></devices>", Scheme.OMEMO),
        ("<list xmlns='eu.siacs.conversations.axolotl'><device id='1'/></list>", Scheme.OMEMO),
        ("<pubkey xmlns='urn:xmpp:openpgp:0'><data>B64</data></pubkey>", Scheme.OX),
        ("<body>?OTRv23?</body>", Scheme.OTR),
        ("<body>?OTR:AAMCdh-commit.</body>", Scheme.OTR),
        ("<body>?OTR Error: x</body>", Scheme.OTR),
        ("<body>?OTR:</body>", Scheme.OTR),
        ("<body>?OTR:\u00e9\u00e9\u00e9\u00e9</body>", Scheme.OTR),
    ],
)
def test_keys_and_session_offers_are_announcements(stanza: str, scheme: Scheme) -> None:
    report = xep419.audit(f"<message>{stanza}</message>")
    (found,) = report.schemes
    assert (found.name, found.announcements, found.stanzas, found.facts) == (scheme.value, 1, 0, ())
    assert report.unencrypted[0] == 1


@pytest.mark.parametrize(
    "stanza",
    [
        "<body>Ask eu.siacs.conversations.axolotl or urn:xmpp:omemo:2 about ?OTR:AAMD</body>",
        "<subject>?OTR:AAMDdata.</subject>",
        "<html><body>?OTR:AAMDdata.</body></html>",
        "<feature var='urn:xmpp:openpgp:0'/>",
        "<encrypted xmlns='urn:other'><payload>x</payload></encrypted>",
    ],
)
def test_what_only_looks_like_a_scheme_is_none(stanza: str) -> None:
    assert xep419.audit(f"<message>{stanza}</message>").schemes == ()


def test_a_hint_beside_what_it_hints_at_is_a_fact_not_a_scheme() -> None:
    hint = "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:openpgp:0'/>"
    found = only_scheme(f"<message>{hint}<openpgp xmlns='urn:xmpp:openpgp:0'>B64</openpgp></message>")
    assert (found.name, facts(found)["hint"]) == (Scheme.OX.value, ("urn:xmpp:openpgp:0",))


def test_two_schemes_in_one_stanza_count_once_in_all() -> None:
    message = "<message><x xmlns='jabber:x:encrypted'>1234</x><openpgp xmlns='urn:xmpp:openpgp:0'>12345678</openpgp></message>"
    report = xep419.audit(message)
    assert [(found.name, found.covered) for found in report.schemes] == [
        (Scheme.OX.value, 8),
        (Scheme.OPENPGP.value, 4),
    ]
    assert (report.encrypted.stanzas, report.encrypted.covered, report.encrypted.clear) == (1, 12, len(message) - 12)
    assert report.unencrypted == (0, 0)


@pytest.mark.parametrize("late", [False, True])
def test_a_forwarded_stanza_is_judged_by_itself_with_the_time_beside_it(late: bool) -> None:
    inner = "<message xmlns='jabber:client' from='in@x' to='to@x'><x xmlns='jabber:x:encrypted'>B64</x></message>"
    delay = "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>"
    children = inner + delay if late else delay + inner
    outer = (
        f"<message from='out@x'><result><forwarded xmlns='urn:xmpp:forward:0'>{children}</forwarded></result></message>"
    )
    found = only_scheme(outer)
    assert (found.stanzas, found.covered, found.clear) == (1, 3, len(inner) - 3)
    assert found.places == (Place("input", outer.index(inner)),)
    learned = facts(found)
    assert (learned["sender"], learned["timestamp"]) == (("in@x",), ("2002-09-10T23:08:25Z",))


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_a_byte_counts_in_one_stanza_only_however_they_are_nested(depth: int) -> None:
    own = "<message from='{}@x'><x xmlns='jabber:x:encrypted'>B64</x>{}</message>"
    stanza = ""
    for level in reversed(range(depth)):
        stanza = own.format(level, f"<forwarded xmlns='urn:xmpp:forward:0'>{stanza}</forwarded>" if stanza else "")
    report = xep419.audit(stanza)
    (found,) = report.schemes
    assert (found.stanzas, found.covered, found.clear) == (min(depth, 4), 3 * depth, len(stanza) - 3 * depth)
    assert report.unencrypted == (0, 0)


def test_what_a_stanza_within_shows_is_not_the_outer_ones() -> None:
    inner = "<message from='in@x' stamp='then'><body>shown</body><x xmlns='jabber:x:encrypted'>B64</x></message>"
    outer = f"<message from='out@x'><openpgp xmlns='urn:xmpp:openpgp:0'>QUJDRA==</openpgp>{inner}</message>"
    ox, openpgp = xep419.audit(outer).schemes
    assert facts(ox) == {"sender": ("out@x",), "element": ("message", "{urn:xmpp:openpgp:0}openpgp"), "size": ("8",)}
    assert ox.clear == len(outer) - len(inner) - 8
    assert (facts(openpgp)["sender"], facts(openpgp)["body"]) == (("in@x",), ("shown",))


def test_ciphertext_within_ciphertext_is_counted_once() -> None:
    inner = "<payload>x</payload><message><payload>?</payload></message>"
    stanza = f"<message><encrypted xmlns='urn:xmpp:omemo:2'><payload>a{inner}</payload></encrypted></message>"
    found = only_scheme(stanza)
    assert (found.stanzas, found.covered) == (1, len("a" + inner))


PIECES = [
    "<body>hello</body>",
    "<body> </body><subject xml:lang='de'>Gr&#252;&#xdf;e</subject><thread/>",
    "<body>?OTR:AAMDJjsn&amp;</body>",
    "<body>?OTRv3?</body>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='7'>\n<key rid='9'>a2V5</key></header><payload>cGF5</payload></encrypted>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><payload>a&lt;b<x y='z'>t</x>c</payload></encrypted>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><payload><![CDATA[cGF5]]></payload></encrypted>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><payload/><key rid=''> </key></encrypted>",
    "<openpgp xmlns='urn:xmpp:openpgp:0'>b3BlbnBncA==</openpgp>",
    "<x xmlns='jabber:x:encrypted'>qANQR1DBwU4DX7jmYZnncm</x>",
    "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>",
    "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'> late <a b=\"'\">deep<c/>er</a></delay>",
    "<forwarded xmlns='urn:xmpp:forward:0'><message from='a@b'><body>within</body></message></forwarded>",
]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.booleans())
def test_one_pass_tells_what_two_do(pieces: list[str], prefixed: bool) -> None:
    """What is told of a plain stanza on the way is what ``exposed`` finds in it, and that of any other comes from there."""
    outer = "c:message xmlns:c='jabber:client'" if prefixed else "message"
    data = f"<{outer} from='a@b' to='c' type='chat' id='1' other='x'>{''.join(pieces)}</{outer.split()[0]}>".encode()
    reader = e2ee._Reader(data)
    reader.read()
    assert reader.is_plain == (not any(part in data for part in (b"<x y", b"<![", b"<forwarded")))
    carrier = reader.carriers[0]
    sizes = {("size", str(end - start)) for start, end, _ in carrier.ciphertexts}
    if reader.is_plain:
        assert reader.told | sizes == e2ee._told_by_exposed(data, carrier)


def test_different_values_are_counted_up_to_a_bound() -> None:
    stanzas = "".join(
        f"<message id='{at}'><x xmlns='jabber:x:encrypted'>B</x></message>" for at in range(MOST_DISTINCT + 10)
    )
    found = only_scheme(f"<s>{stanzas}</s>")
    (ids,) = (fact for fact in found.facts if fact.fact == "id")
    assert (ids.stanzas, ids.distinct, ids.examples) == (MOST_DISTINCT + 10, MOST_DISTINCT, ("0", "1", "2"))
    long = only_scheme(f"<message id='{'x' * 500}'><x xmlns='jabber:x:encrypted'>B</x></message>")
    assert facts(long)["id"] == ("x" * 119 + "…",)


@pytest.mark.any_python
@pytest.mark.slow
@pytest.mark.parametrize(
    "hostile",
    [
        lambda n: b"<message><x xmlns='jabber:x:encrypted'>a</x>" * n + b"</message>" * n,
        lambda n: b"<message><x xmlns='jabber:x:encrypted'>" + b"<a xmlns:p='u'>" * n + b"</a>" * n + b"</x></message>",
        lambda n: b"<s>" + b"<message><x xmlns='jabber:x:encrypted'/></message>" * n + b"</s>",
        lambda n: b"<a xmlns='urn:xmpp:omemo:2'>" + b"<forwarded><message><delay stamp='x'/>" * n + b"</message></forwarded>" * n + b"</a>",
        lambda n: b"<message><forwarded>" + b"".join(b"<delay stamp='%d'/>" % at for at in range(n)) + b"<message><x xmlns='jabber:x:encrypted'/></message>" * n + b"</forwarded></message>",
        lambda n: b"<" * n,
        lambda n: b"<message>" * n + b"?OTR",
    ],
    ids=["nested carriers", "nested declarations", "many stanzas", "nested forwards", "many times", "no markup", "unclosed"],
)  # fmt: skip
def test_time_is_linear_on_hostile_input(hostile: Any) -> None:
    def work_of(size: int) -> Callable[[], object]:
        data = hostile(size)
        return lambda: xep419.audit(data)

    assert_linear(work_of, 1000)


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "transport", "evidence"),
    [
        (HEADER + OFFER + b"<success/>", Transport.CLEAR, "the server offered <starttls/>, and the stream went on without"),
        (HEADER + OFFER + PROCEED + HEADER + b"<success/>", Transport.STARTTLS, "stanzas follow <proceed/>: recorded where TLS ends"),
        (HEADER + OFFER + f"<failure xmlns='{TLS}'/>".encode(), Transport.CLEAR, "the server answered <starttls/> with <failure/>"),
        (HEADER + f"<starttls xmlns='{TLS}'/>".encode() + HEADER + b"<auth/>", Transport.STARTTLS, "stanzas follow <starttls/>: recorded where TLS ends"),
        (HEADER + OFFER + PROCEED + CLIENT_HELLO, Transport.STARTTLS, f"TLS records from byte {len(HEADER + OFFER + PROCEED)} on"),
        (CLIENT_HELLO, Transport.TLS, "it begins with a TLS record (direct TLS, XEP-0368)"),
        (HEADER + OFFER, Transport.UNKNOWN, "no STARTTLS in it"),
        (HEADER + OFFER + PROCEED, Transport.UNKNOWN, "no STARTTLS in it"),
        (HEADER + b"<message/>", Transport.UNKNOWN, "no STARTTLS in it"),
        (b"<message/>", Transport.UNKNOWN, "not a recorded stream"),
    ],
)  # fmt: skip
def test_tls_is_told_where_the_recording_tells(data: bytes, transport: Transport, evidence: str) -> None:
    report = xep419.audit(data)
    (source,) = report.sources
    assert (source.transport, source.evidence, report.problems) == (transport, evidence, ())
    assert source.size + source.ciphertext == len(data)
    assert source.ciphertext == (len(CLIENT_HELLO) if data.endswith(CLIENT_HELLO) else 0)


def test_the_recordings_beside_these_tests_were_made_without_tls(recorded: list[bytes]) -> None:
    judged = [xep419.audit(data).sources[0].transport for data in recorded]
    assert judged == [Transport.UNKNOWN, Transport.CLEAR] * 3  # client to server tells nothing


# -- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"<message/>", []),
        (b"<?xml version='1.0'?><!-- x --><message/>\n<iq/> ", []),
        (HEADER + b"<message/>", []),  # a recording ends anywhere between stanzas
        (b"<s><message/></s>", []),
        (b"<s><message/>", [(13, "the root's end tag is expected, and the document ends", 0)]),
        (b"<s><message><body>", [(3, "the document ends within what begins here", 15)]),
        (b"<message><body>", [(0, "the document ends within what begins here", 15)]),
        (b"<message/></stanzas>", [(20, "white space after the end of the stream is expected, not a tag", 0)]),
        (b"<message></massage><a/>", [(9, "the end tag </message> is expected, not </massage>", 14)]),
        (b"<s><a/><b></c></s>", [(10, "the end tag </b> is expected, not </c>", 8)]),
        (b"   ", [(0, "the document ends within what begins here", 3)]),
    ],
)
def test_what_is_not_well_formed_is_a_problem_with_its_place(data: bytes, expected: list[tuple[int, str, int]]) -> None:
    assert problems(data) == expected


def test_names_count_after_a_problem() -> None:
    before, after = b"<s><a xmlns='urn:xmpp:a'/></t>", b"<b xmlns='urn:xmpp:b'/>" * 50_000
    report = xep419.audit(before + after)
    assert {name.name: name.occurrences for name in report.names} == {"urn:xmpp:a": 1, "urn:xmpp:b": 50_000}
    (problem,) = report.problems
    assert (problem.place.offset, problem.unread) == (26, len(after) + 4)
    assert report.size == len(before + after)


def test_other_encodings_are_a_problem() -> None:
    data = "<message xmlns='http://x'/>".encode("utf-16")
    report = xep419.audit(data)
    assert [(found.place, found.unread) for found in report.problems] == [(Place("input", 0), len(data))]
    assert report.names == ()


@pytest.mark.parametrize(
    ("stanza", "message"),
    [
        (
            b"<message><!-- c --><x xmlns='jabber:x:encrypted'>B</x></message>",
            "expected a stanza of XML that RFC 6120 section 11.1 allows, got a comment",
        ),
        (
            b"<message><x xmlns='jabber:x:encrypted'>&lol;</x></message>",
            "expected a stanza of XML that RFC 6120 section 11.1 allows, got a reference to an entity that is not predefined",
        ),
        (
            b"<message a='1' a='2'><x xmlns='jabber:x:encrypted'>B</x></message>",
            "expected one whole stanza, got XML that is not well-formed: duplicate attribute",
        ),
    ],
)
def test_a_stanza_that_cannot_be_parsed_is_a_problem_and_the_next_is_read(stanza: bytes, message: str) -> None:
    good = b"<message><x xmlns='jabber:x:encrypted'>B</x></message>"
    report = xep419.audit(b"<s>" + stanza + good + b"</s>")
    assert [problem.message for problem in report.problems] == [message]
    assert report.encrypted.stanzas == 1
    assert report.encrypted.places == (Place("input", 3 + len(stanza)),)


def test_an_entity_bomb_is_not_set_off() -> None:
    entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 30))
    bomb = (
        f"<!DOCTYPE s [<!ENTITY e0 'ha'>{entities}]><s><message><x xmlns='jabber:x:encrypted'>&e29;</x></message></s>"
    )
    report = xep419.audit(bomb)
    assert "not predefined" in report.problems[0].message


def test_a_first_level_element_beyond_the_bound_is_a_problem() -> None:
    data = b"<s><a xmlns='http://x'>" + b"x" * MOST_HELD + b"</a></s>"
    report = xep419.audit(data)
    assert [name.occurrences for name in report.names] == [1]
    (problem,) = report.problems
    assert problem.place.offset <= MOST_HELD + 4
    assert f"{MOST_HELD}" in problem.message
    assert report.size == len(data)


def test_problems_are_kept_up_to_a_bound() -> None:
    broken = b"<message><!--c--><x xmlns='jabber:x:encrypted'/></message>"
    report = xep419.audit(b"<s>" + broken * (MOST_PROBLEMS + 7) + b"</s>")
    assert (len(report.problems), report.more_problems) == (MOST_PROBLEMS, 7)
    assert report.as_object()["summary"]["problems"] == MOST_PROBLEMS + 7


@given(st.binary(max_size=200), st.lists(st.sampled_from([HEADER, OFFER, PROCEED, OMEMO % b"urn:xmpp:omemo:2", b"</stream:stream>", b"<!DOCTYPE", b"?OTR:", b"<message>", b"</message>", b"<?xml"]), max_size=6))  # fmt: skip
def test_any_bytes_give_a_report_and_every_byte_is_accounted_for(noise: bytes, pieces: list[bytes]) -> None:
    data = b"".join(pieces[:3]) + noise + b"".join(pieces[3:])
    report = xep419.audit(data)
    (source,) = report.sources
    unread = sum(problem.unread for problem in report.problems if "UTF-16" in problem.message)
    assert source.size + source.ciphertext == len(data) or unread
    assert report.to_json()


# -- sources --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", [bytes, bytearray, memoryview, bytes.decode, io.BytesIO], ids=lambda form: form.__name__
)
def test_xml_comes_as_any_buffer_str_or_file(form: Any) -> None:
    report = xep419.audit(form(b"<message xmlns='http://x'/>"))
    assert (report.size, [name.name for name in report.names]) == (27, ["http://x"])


class Trickle(io.RawIOBase):
    """A file that gives a byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(1)


def test_a_file_may_give_less_than_it_is_asked_for(recorded: list[bytes]) -> None:
    assert xep419.audit(Trickle(recorded[0])) == xep419.audit(recorded[0])


@pytest.mark.parametrize("source", [None, 5, ["<a/>"]])
def test_other_types_are_refused(source: Any) -> None:
    with pytest.raises(TypeError):
        xep419.audit(source)


def test_a_file_is_named_in_its_places(tmp_path: Path) -> None:
    path = tmp_path / "stanza.xml"
    path.write_bytes(b"<message xmlns='http://x'/>")
    (name,) = xep419.audit(path).names
    assert name.places == (Place(str(path), 16),)


def test_any_chunking_of_a_file_gives_the_same_report(
    tmp_path: Path, recorded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from xep419.auditing import sources

    path = tmp_path / "recorded.xml"
    path.write_bytes(recorded[1] + b"</x>" + recorded[1])
    whole = xep419.audit(path, places=1000)
    for size in (61, 4096):
        monkeypatch.setattr(sources, "CHUNK", size)
        assert xep419.audit(path, places=1000) == whole


def test_a_directory_is_all_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b/2.xml", "a.xml", "b/1.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"<message/>")
    found = [Path(source.name).relative_to(tmp_path).as_posix() for source in xep419.audit(tmp_path).sources]
    assert found == ["a.xml", "b/1.xml", "b/2.xml"]


def test_a_directory_that_cannot_be_listed_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xml").write_bytes(b"<message/>")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: Any) -> Any:  # root may list anything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = xep419.audit(tmp_path)
    assert report.problems == (Problem(Place(str(tmp_path / "closed"), 0), "Permission denied", 0),)
    assert report.stanzas == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"printf '<message xmlns=\"http://x\"/>' > '{pipe}'"]) as writer:
        report = xep419.audit(pipe)
    assert writer.returncode == 0
    assert [name.name for name in report.names] == ["http://x"]


def test_a_missing_path_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        xep419.audit(Path("no-such-file"))


def test_progress_tells_every_byte(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"<s>" + b"<a/>" * 200_000 + b"</s>")
    done: list[int] = []
    auditor = Auditor(advance=done.append)
    auditor.read(tmp_path)
    assert sum(done) == 800_007
    assert len(done) > 1


# -- archives -------------------------------------------------------------------------------------------------


class Row:
    """A stanza as an archive stores it."""

    def __init__(self, place: str, data: bytes) -> None:
        self.place = place
        self.data = data


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What :mod:`xep419.archive` would give for a file, by hand."""
    import xep419.archive

    def given(rows: list[bytes]) -> None:
        stored = [Row(f"row {number}", data) for number, data in enumerate(rows)]
        monkeypatch.setattr(xep419.archive, "stanzas", lambda source, **_: iter(stored), raising=False)

    return given


def test_stanzas_of_an_archive_are_placed_by_row(archive: Any) -> None:
    encrypted = b"<message><x xmlns='jabber:x:encrypted'>B64</x></message>"
    archive([b"<message xmlns='http://x'/>", b"<iq/>", encrypted, b"<a xmlns='http://x'/>"])
    report = xep419.audit("sqlite:///archive.sqlite")
    (source,) = report.sources
    assert (source.name, source.stanzas, source.transport) == ("sqlite:///archive.sqlite", 4, Transport.UNKNOWN)
    (name,) = report.names
    assert name.places == (Place("row 0", 16), Place("row 3", 10))
    assert report.encrypted.places == (Place("row 2", 0),)
    assert report.problems == ()


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([b"<a xmlns='http://x'/>", b"<message><body>", b"</body></message>"], {"row 1", "row 2"}),
        ([b"<a xmlns='http://x'/>", b"<message><!-- ", b"<b xmlns='http://x'/>"], {"row 1"}),
        ([b"<a xmlns='http://x'/>", b"nonsense", b"<b xmlns='http://x'/>"], {"row 1"}),
        ([b"<a xmlns='http://x'/>", b"", b" <b xmlns='http://x'/> "], set()),
    ],
)
def test_a_broken_row_harms_no_other(archive: Any, rows: list[bytes], broken: set[str]) -> None:
    archive(rows)
    report = xep419.audit("x://y")
    assert {problem.place.source for problem in report.problems} == broken
    assert sum(name.occurrences for name in report.names) == sum(row.count(b"http://x") for row in rows)
    assert report.size == sum(map(len, rows))


# -- the report -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<message/>",
        b"<s>" + OMEMO % b"urn:xmpp:omemo:2" + b"<message><body>?OTRv3?</body></message></t>",
        b"<a xmlns='http://\xff\xfe'/>",
        HEADER + OFFER + PROCEED + CLIENT_HELLO,
    ],
)
def test_the_json_is_as_its_schema_says(data: bytes) -> None:
    import json

    import jsonschema

    checker = jsonschema.Draft202012Validator(json.loads(schema()))
    checker.check_schema(checker.schema)
    found = json.loads(xep419.audit(data).to_json())
    checker.validate(found)
    assert found["summary"]["size"] == xep419.audit(data).size


def test_double_rot13_claims_every_byte_and_hides_none() -> None:
    report = xep419.audit(b"<s><message/><iq/></s>")
    assert report.as_object()["encryption"]["double_rot13"] == {"stanzas": 2, "claims": 22, "hides": 0}


def test_the_package_imports_the_audit_only_when_asked() -> None:
    code = (
        "import sys, xep419; assert not any(name.startswith('xep419.auditing') for name in sys.modules);"
        "xep419.audit(b'<a/>'); assert 'xep419.auditing' in sys.modules and 'jinja2' not in sys.modules;"
        "assert xep419.AuditReport is sys.modules['xep419.auditing'].AuditReport"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_problem_reads_as_a_place() -> None:
    assert str(Problem(Place("a.xml", 7), "x", 0).place) == "a.xml: byte 7"
