"""``StanzaStream`` beside expat, which every Python server cuts its streams with today."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import inputs
import peers
import pytest
from conftest import every_vector_isa
from operations import STREAM_HEADER as HEADER

import xep419
from xep419 import StanzaStream, XEP419Error

CHUNK = 4096
STANZA = (
    b"<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' id='82a432914a644552' "
    b"type='chat' xml:lang='en'><body>Wherefore art thou, see http://example.org/ &amp; urn:xmpp:text</body>"
    b"<request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)

pytestmark = every_vector_isa

Guard = Callable[..., None]


def is_content(piece: bytes) -> bool:
    """Whether a piece is whole stanzas: the corpus has fragments too."""
    stream = StanzaStream()
    stream.feed(HEADER)
    try:
        return bool(stream.feed(piece)) and not stream.pending and not stream.closed and stream.header == HEADER
    except XEP419Error:
        return False


@pytest.fixture(scope="module")
def chunks() -> list[bytes]:
    """About 1 MB of stanzas in one stream, in chunks: the whole ones of the corpus, if it is there."""
    body = b"\n".join(filter(is_content, re.split(rb"\n(?=<)", inputs.stream())))
    body = body or inputs.document(inputs.MIB, "common").data
    document = HEADER + body * (1 + inputs.MIB // len(body)) + b"</stream:stream>"
    return [document[at : at + CHUNK] for at in range(0, len(document), CHUNK)]


def cut(chunks: list[bytes], transform: Any = None) -> int:
    stream = StanzaStream(transform=transform)
    count = 0
    for chunk in chunks:
        count += len(stream.feed(chunk))
    return count


def test_feed_against_expat(guard: Guard, chunks: list[bytes]) -> None:
    assert cut(chunks) == peers.cut_with_expat(chunks) > 1000
    guard(
        "feed-4KiB/expat",
        "cut(chunks)",
        "parse(chunks)",
        {"cut": cut, "parse": peers.cut_with_expat, "chunks": chunks},
        7,
    )


def test_transformed_feed_against_feed_and_encrypt(guard: Guard, chunks: list[bytes]) -> None:
    """The fused path beside the two calls that it replaces."""
    stream, fused = StanzaStream(), StanzaStream(transform="encrypt")
    plain = [stanza for chunk in chunks for stanza in stream.feed(chunk)]
    assert [stanza for chunk in chunks for stanza in fused.feed(chunk)] == [xep419.encrypt(stanza) for stanza in plain]
    names = {"StanzaStream": StanzaStream, "encrypt": xep419.encrypt, "chunks": chunks, "cut": cut}
    both = "stream = StanzaStream()\nfor chunk in chunks:\n    for stanza in stream.feed(chunk): encrypt(stanza)"
    guard("feed-4KiB-encrypt/feed+encrypt", "cut(chunks, 'encrypt')", both, names, 9)


def test_feed_of_one_stanza_against_upgrade(guard: Guard) -> None:
    stream = StanzaStream()
    stream.feed(HEADER)
    assert stream.feed(STANZA) == [STANZA]
    guard(
        "feed-300B/upgrade",
        "feed(stanza)",
        "upgrade(stanza)",
        {"feed": stream.feed, "upgrade": xep419.upgrade, "stanza": STANZA},
    )
