"""The namespace rewriter beside the searchers and parsers a user would pick instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat

import pytest

import xep419

DECLARATION = re.compile(rb"""(\sxmlns(?::[\w.-]+)?\s*=\s*["'])(http|urn:xmpp)(?=:)""")
#: the same without groups, for engines that only match
MATCH_ONLY = rb"""\sxmlns(:[\w.-]+)?\s*=\s*["'](http|urn:xmpp):"""
STANZA = (
    b"<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' id='82a432914a644552' "
    b"type='chat' xml:lang='en'><body>Wherefore art thou, see http://example.org/ &amp; urn:xmpp:text</body>"
    b"<request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)

Guard = Callable[..., None]


def substitute(xml: bytes) -> bytes:
    return DECLARATION.sub(rb"\1\2s", xml)


def parse_with_expat(xml: bytes) -> int:
    """expat with a start handler, as far as the first error: the joined corpus is no document."""
    parser = expat.ParserCreate()
    started = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal started
        started += 1

    parser.StartElementHandler = start
    parser.Parse(b"<all>", False)
    parser.Parse(xml, False)
    return started


@pytest.mark.parametrize("operation", ["scan", "upgrade", "encrypt", "re.sub"])
def test_stream(benchmark, stream: bytes, operation: str) -> None:  # type: ignore[no-untyped-def]
    """About 1 MB of XMPP."""
    work: dict[str, Callable[[bytes], object]] = {
        "scan": xep419.scan,
        "upgrade": xep419.upgrade,
        "encrypt": xep419.encrypt,
        "re.sub": substitute,
    }
    benchmark.group = "namespaces, 1 MB of XMPP"
    benchmark.extra_info.update(isa=xep419.isa, bytes=len(stream))
    insecure = sum(not ref.secure for ref in xep419.scan(stream))
    assert len(xep419.upgrade(stream)) == len(xep419.encrypt(stream)) == len(stream) + insecure
    benchmark(work[operation], stream)


@pytest.mark.parametrize("operation", ["upgrade", "encrypt", "re.sub"])
def test_stanza(benchmark, operation: str) -> None:  # type: ignore[no-untyped-def]
    """One stanza of 300 bytes with two namespaces."""
    work: dict[str, Callable[[bytes], object]] = {
        "upgrade": xep419.upgrade,
        "encrypt": xep419.encrypt,
        "re.sub": substitute,
    }
    benchmark.group = f"namespaces, one stanza of {len(STANZA)} B"
    benchmark.extra_info.update(isa=xep419.isa, bytes=len(STANZA))
    assert work[operation](STANZA) == substitute(STANZA)
    benchmark(work[operation], STANZA)


def test_upgrade_against_re(guard: Guard, stream: bytes) -> None:
    declarations = xep419.upgrade(stream, scope=xep419.Scope.DECLARATIONS)
    assert abs(len(substitute(stream)) - len(declarations)) < 0.05 * (len(declarations) - len(stream))
    guard("upgrade/re.sub", "upgrade(stream)", "substitute(stream)", globals() | vars(xep419) | {"stream": stream}, 9)


def test_upgrade_against_hyperscan(guard: Guard, stream: bytes) -> None:
    hyperscan = pytest.importorskip("hyperscan")
    database = hyperscan.Database()
    database.compile(expressions=[MATCH_ONLY], ids=[0], elements=1, flags=[0])
    matched: list[object] = []
    database.scan(stream, match_event_handler=lambda *match: matched.append(match))
    assert len(matched) == len(DECLARATION.findall(stream))
    names = {"upgrade": xep419.upgrade, "stream": stream, "scan": database.scan, "ignore": lambda *match: None}
    guard("upgrade/hyperscan", "upgrade(stream)", "scan(stream, match_event_handler=ignore)", names)


def test_encrypt_against_upgrade(guard: Guard, stream: bytes) -> None:
    assert xep419.encrypt(stream) == xep419.upgrade(stream)
    guard("encrypt/upgrade", "encrypt(stream)", "upgrade(stream)", vars(xep419) | {"stream": stream})


def test_stanza_against_re(guard: Guard) -> None:
    assert xep419.upgrade(STANZA) == substitute(STANZA)
    names = {"upgrade": xep419.upgrade, "stanza": STANZA, "sub": DECLARATION.sub, "template": rb"\1\2s"}
    guard("upgrade-300B/re.sub", "upgrade(stanza)", "sub(template, stanza)", names)


def test_upgrade_against_expat(guard: Guard, stream: bytes) -> None:
    document = b"".join(re.findall(rb"<(?:\w+) [^<>]*/>", stream))
    assert parse_with_expat(document) > 100
    names = {"upgrade": xep419.upgrade, "parse": parse_with_expat, "document": document}
    guard("upgrade/expat", "upgrade(document)", "parse(document)", names, 7)
