"""The inputs that fuzzing begins with: pieces of recorded streams, and small documents for each rule of the scanner."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from layout import CHOICES, FLAGS, FORM, PIECES, ROUNDS, SCOPE

RECORDED = Path(__file__).parents[2] / "examples" / "recorded"
LONGEST = 1200
PER_RECORDING = 12

_ELEMENT = re.compile(rb"<(message|presence|iq)[ >].*?</\1>", re.DOTALL)

SNIPPETS = (
    b"",
    b"hello",
    b"<a/>",
    b"<message xmlns='jabber:client'><body>http://stays.example</body></message>",
    b"<x xmlns='http://jabber.org/protocol/muc'/>",
    b"<p:x xmlns:p = \"urn:xmpp:ping\" xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    b"<a xmlns='HTTPS://a' xmlns:b='Urn:Xmpps:b' xmlns:c='&#104;ttp&#58;//c' xmlns:d='http&#x73;://d'/>",
    b"<feature var='http://jabber.org/protocol/caps+notify'/><s:feature var='urn:xmpp:ping'/>",
    b"<field var='FORM_TYPE'><value> http://jabber.org/protocol/muc#roominfo </value></field>",
    b"<x><field type='hidden' var='F&#79;RM_TYPE'><value><!-- x --><?y?>\n&#32;urn:xmpp:mam:2</value></field></x>",
    b"<field var='FORM_TYPE'><field var='FORM_TYPE'><value/></field><value>urn:xmpp:a</value></field>",
    b"<field var='{http://jabber.org/protocol/disco#info}x'/><field var='{urn:xmpp:x&#125;http:'/>",
    b"<query node='http://jabber.org/protocol/commands#list'/><query node='http://example.org/client#v'/>",
    b"<c xmlns='http://jabber.org/protocol/caps' node='http://jabber.org/protocol/muc'/><c node='urn:xmpp:x'/>",
    b"<a xmlns:p='https://jabber.org/protocol/caps'><p:c node='urn:xmpp:x'/><b xmlns:p='y'><p:c node='urn:xmpp:x'/></b></a>",
    b"<encryption namespace='urn:xmpp:otr:0'/><fallback for='urn:xmpp:reply:0'/><report reason='urn:xmpp:reporting:spam'/>",
    b"<!DOCTYPE a [<!ENTITY b \"<x xmlns='http://x'>\"><!-- ' --><?p ]> ?>]><a xmlns='http://y'/>",
    b"<![CDATA[<x xmlns='http://x'/>]]><!-- <x xmlns='http://x'/> --><?p <x xmlns='http://x'/>?><y xmlns='http://y'/>",
    b"\xef\xbb\xbf<?xml version='1.0'?>\n<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'>",
    b"<a\nb = '\"' xmlns='http://x' c=\">\" d='<e xmlns=\"http://y\"/>",
    "<a xmlns='http://ñ.example/Ж€𐍈' node='urn:xmpp:ß'>Grüße 🦖</a>".encode(),
    b"<a xmlns='http://\xe4\xf6'/>",
    b"\xff\xfe<\0a\0/\0>\0",
    b"\0\0\0<",
)


def documents() -> Iterator[bytes]:
    yield from SNIPPETS
    for path in sorted(RECORDED.glob("*.xml")):
        recorded = path.read_bytes()
        yield recorded[:LONGEST]
        whole = [found[0] for found in _ELEMENT.finditer(recorded) if len(found[0]) <= LONGEST]
        yield from whole[:: max(1, len(whole) // PER_RECORDING)]


def choices() -> Iterator[bytes]:
    """The plain choice, then some of the others."""
    yield bytes(CHOICES)
    others = ((1, 0, 1, 1, b"\1\0\0\0"), (2, 3, 2, 2, b"\7\2\0\1"), (4, 20, 0, 4, b"\0\0\0\x40"))
    for form, scope, rounds, flags, sizes in others:
        written = bytearray(CHOICES)
        written[FORM], written[SCOPE], written[ROUNDS], written[FLAGS] = form, scope, rounds, flags
        written[PIECES:] = sizes
        yield bytes(written)


def seeds(target: str) -> Iterator[bytes]:
    """The first inputs of one target."""
    chosen = list(choices())
    for i, document in enumerate(documents()):
        if target == "encrypt_many":
            document = b"\xff".join((document, b"<a xmlns='urn:xmpp:x'/>", b"", document[: i % 7]))
        yield document + chosen[0]
        yield document + chosen[1 + i % (len(chosen) - 1)]
