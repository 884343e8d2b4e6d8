"""``StanzaStream`` beside expat, which every Python server cuts its streams with today."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import pytest

import xep419
from xep419 import StanzaStream, XEP419Error

CHUNK = 4096
HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
STANZA = (
    b"<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' id='82a432914a644552' "
    b"type='chat' xml:lang='en'><body>Wherefore art thou, see http://example.org/ &amp; urn:xmpp:text</body>"
    b"<request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)

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
def document(stream: bytes) -> bytes:
    """About 1 MB of stanzas in one stream: the whole ones of the corpus."""
    pieces = filter(is_content, re.split(rb"\n(?=<)", stream))
    body = b"\n".join(pieces)
    return HEADER + body * (1 + (1 << 20) // len(body)) + b"</stream:stream>"


@pytest.fixture(scope="module")
def chunks(document: bytes) -> list[bytes]:
    return [document[at : at + CHUNK] for at in range(0, len(document), CHUNK)]


def cut(chunks: list[bytes], transform: Any = None) -> int:
    stream = StanzaStream(transform=transform)
    count = 0
    for chunk in chunks:
        count += len(stream.feed(chunk))
    return count


def cut_with_expat(chunks: list[bytes]) -> int:
    """The first-level elements by a start and an end handler: their places, not their bytes."""
    parser = expat.ParserCreate()
    depth = count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1

    def end(name: str) -> None:
        nonlocal depth, count
        depth -= 1
        count += depth == 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    for chunk in chunks:
        parser.Parse(chunk, False)
    return count


@pytest.mark.parametrize("operation", ["feed", "feed, encrypt", "feed, decrypt", "expat"])
def test_stream(benchmark, document: bytes, chunks: list[bytes], operation: str) -> None:  # type: ignore[no-untyped-def]
    """About 1 MB of XMPP in chunks of 4 KiB."""
    benchmark.group = "framing, 1 MB of XMPP in chunks of 4 KiB"
    benchmark.extra_info.update(isa=xep419.isa, bytes=len(document))
    transform = operation.partition(", ")[2] or None
    work = cut_with_expat if operation == "expat" else lambda given: cut(given, transform)
    assert work(chunks) == cut([document]) > 1000
    benchmark(work, chunks)


def test_feed_against_expat(guard: Guard, chunks: list[bytes]) -> None:
    assert cut(chunks) == cut_with_expat(chunks) > 1000
    guard("feed-4KiB/expat", "cut(chunks)", "parse(chunks)", {"cut": cut, "parse": cut_with_expat, "chunks": chunks}, 7)


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
