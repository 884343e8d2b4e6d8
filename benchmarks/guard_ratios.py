"""Throughput and latency against what a user would pick instead: each row has its floor in ``floors.toml``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import inputs
import peers
import pytest
from conftest import every_vector_isa
from inputs import KIB, MIB
from operations import ROTATION, rotated

import xep419

pytestmark = every_vector_isa

SMALL = [300, 4 * KIB]
CACHED = [4 * KIB, 64 * KIB, MIB, 4 * MIB]
HUGE = 256 * MIB
STANZA = (
    b"<message from='juliet@capulet.example/balcony' to='romeo@montague.example/orchard' id='82a432914a644552' "
    b"type='chat' xml:lang='en'><body>Wherefore art thou, see http://example.org/ &amp; urn:xmpp:text</body>"
    b"<request xmlns='urn:xmpp:receipts'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)
DECLARATION = re.compile(peers.DECLARATION)

Guard = Callable[..., None]


def rounds_at(size: int) -> int:
    return 5 if size >= 64 * MIB else 15


def given(size: int = 0) -> dict[str, Any]:
    """Names for the statements: the package's, and an input and a target of a size."""
    target = bytearray(size)
    names: dict[str, Any] = {name: getattr(xep419, name) for name in xep419.__all__ if name != "isa"}
    return names | {"data": inputs.octets(size), "target": target, "view": memoryview(target), "table": ROTATION}


def peer_module(name: str) -> Any:
    try:
        return peers.module(name)
    except peers.Missing as missing:
        pytest.skip(str(missing))


def stringzilla_translate() -> Any:
    """StringZilla's, which takes the widest instructions that there are: a forced narrower set of ours is no match."""
    if "avx512" in xep419.available_isas() and xep419.isa != "avx512":
        pytest.skip("StringZilla runs on AVX-512 here: held against that alone")
    return peer_module("stringzilla").translate


# -- the cipher ---------------------------------------------------------------------------------------------


def test_latency_against_translate(guard: Guard) -> None:
    names = given(64)
    assert xep419.double_rot13(names["data"]) == names["data"]
    guard("double_rot13-64B/bytes.translate", "double_rot13(data)", "data.translate(table)", names)


@pytest.mark.parametrize("size", SMALL)
def test_latency_against_stringzilla(guard: Guard, size: int) -> None:
    names = given(size) | {"translate": stringzilla_translate()}
    assert xep419.double_rot13(names["data"]) == names["data"]
    guard(f"double_rot13-new/stringzilla {size} B", "double_rot13(data)", "translate(data, table)", names)


@pytest.mark.parametrize("size", CACHED)
def test_into_against_memcpy(guard: Guard, size: int) -> None:
    names = given(size)
    xep419.double_rot13_into(names["data"], names["target"])
    assert names["target"] == names["data"]
    guard(f"double_rot13_into-cached/memcpy {size} B", "double_rot13_into(data, target)", "view[:] = data", names)


def test_into_against_memcpy_past_the_caches(guard: Guard) -> None:
    names = given(HUGE)
    xep419.double_rot13_into(names["data"], names["target"])
    assert names["target"] == names["data"]
    guard("double_rot13_into-256MiB/memcpy", "double_rot13_into(data, target)", "view[:] = data", names, rounds=5)


def test_new_bytes_past_the_caches(guard: Guard) -> None:
    names = given(HUGE)
    assert xep419.double_rot13(names["data"]) == names["data"]
    guard("double_rot13-256MiB/bytes(bytearray)", "double_rot13(data)", "bytes(target)", names, rounds=5)


@pytest.mark.parametrize("size", [*CACHED, 64 * MIB])
@pytest.mark.parametrize("rounds", [1, 2])
def test_in_place_against_stringzilla(guard: Guard, size: int, rounds: int) -> None:
    names = given(size) | {"rounds": rounds, "translate": stringzilla_translate()}
    names |= {"target": bytearray(names["data"]), "other": bytearray(names["data"])}
    xep419.rot13_inplace(names["target"], rounds=rounds)
    assert names["target"] == rotated(names["data"], rounds)
    guard(
        f"rot13_inplace/stringzilla {rounds} rounds {size} B",
        "rot13_inplace(target, rounds=rounds)",
        "translate(other, table, inplace=True)",
        names,
        rounds=rounds_at(size),
    )


@pytest.mark.parametrize("size", [*CACHED, 64 * MIB])
@pytest.mark.parametrize("rounds", [1, 2])
def test_new_bytes_against_stringzilla(guard: Guard, size: int, rounds: int) -> None:
    names = given(size) | {"translate": stringzilla_translate()}
    data = names["data"]
    assert xep419.rot13(data) == names["translate"](data, ROTATION) == rotated(data, 1)
    ours = "double_rot13(data)" if rounds == 2 else "rot13(data)"
    guard(
        f"rot13-new/stringzilla {rounds} rounds {size} B",
        ours,
        "translate(data, table)",
        names,
        rounds=rounds_at(size),
    )


# -- namespaces ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stream() -> bytes:
    return inputs.stream()


def substitute(xml: bytes) -> bytes:
    return DECLARATION.sub(rb"\1\2s", xml)


def parse_with_expat(xml: bytes) -> int:
    """expat with a start handler, as far as the first error: the tags are no document."""
    parser = expat.ParserCreate()
    started = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal started
        started += 1

    parser.StartElementHandler = start
    parser.Parse(b"<all>", False)
    parser.Parse(xml, False)
    return started


def conversation(size: int) -> bytes:
    """The stanzas of the recorded sessions as one long document, of about ``size`` bytes."""
    stanzas: list[bytes] = []
    for path in sorted((inputs.ROOT / "examples" / "recorded").glob("*.xml")):
        stanzas += xep419.StanzaStream(restricted=False).feed(path.read_bytes())
    once = b"".join(stanzas)
    return b"<stream:stream>" + once * (1 + size // len(once)) + b"</stream:stream>"


FEATURE = b"<feature var='http://example.org/protocol/%d'/>"
ENCRYPTED = (
    b"<message to='romeo@montague.example' from='juliet@capulet.example/balcony' id='%d' type='chat'>"
    b"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='%d'>"
    b"<key rid='%d'>MwohBfRyoBgjkGwJpw5pRbvhVVpmXM4NTyyeZXVoYHGQHPEQ</key><iv>BASE64ENCODED==</iv></header>"
    b"<payload>%s</payload></encrypted><encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl' "
    b"name='OMEMO'/><store xmlns='urn:xmpp:hints'/></message>"
)


def features(names: int) -> bytes:
    """One answer of service discovery in which every name is another."""
    return (
        b"<stream:stream><iq><query>" + b"".join(FEATURE % i for i in range(names)) + b"</query></iq></stream:stream>"
    )


def with_encryption(size: int, apart: int) -> bytes:
    """A conversation of about ``size`` bytes with an OMEMO message after every so many bytes."""
    clear = conversation(size).removesuffix(b"</stream:stream>")
    starts = [clear.index(b"<message", at) for at in range(apart, len(clear) - MIB // 16, apart)]
    pieces = [clear[start:end] for start, end in zip([0, *starts], [*starts, len(clear)], strict=True)]
    made = [ENCRYPTED % (i, i % 7, i % 5, b"QUJD" * 40) for i in range(len(starts))]
    rest = [piece for pair in zip(made, pieces[1:], strict=True) for piece in pair]
    return b"".join([pieces[0], *rest, b"</stream:stream>"])


#: by the row and what it is
AUDITED: dict[str, Callable[[], bytes]] = {
    "audit/scan recorded": lambda: conversation(16 * MIB),
    "audit/scan 300 names": lambda: features(300),
    "audit/scan 5000 names": lambda: features(5000),
    "audit/scan encrypted every 128 KiB": lambda: with_encryption(8 * MIB, 128 * KIB),
    "audit-encrypted/scan every 8 KiB": lambda: with_encryption(4 * MIB, 8 * KIB),
}


@pytest.mark.parametrize("kind", AUDITED)
def test_audit_against_scan(guard: Guard, kind: str) -> None:
    document = AUDITED[kind]()
    refs, report = xep419.scan(document), xep419.audit(document)
    assert sum(name.occurrences for name in report.names) == len(refs)
    assert not report.problems
    assert report.encrypted.stanzas == document.count(b"<encrypted ")
    guard(kind, "audit(document)", "scan(document)", given() | {"document": document}, 9)


def test_upgrade_against_re(guard: Guard, stream: bytes) -> None:
    declarations = xep419.upgrade(stream, scope=xep419.Scope.DECLARATIONS)
    assert abs(len(substitute(stream)) - len(declarations)) < 0.05 * (len(declarations) - len(stream))
    names = given() | {"substitute": substitute, "stream": stream}
    guard("upgrade/re.sub", "upgrade(stream)", "substitute(stream)", names, 9)


def test_upgrade_against_hyperscan(guard: Guard, stream: bytes) -> None:
    peer_module("hyperscan")
    database = peers.hyperscan_database()
    matched: list[object] = []
    database.scan(stream, match_event_handler=lambda *match: matched.append(match))
    assert len(matched) == len(DECLARATION.findall(stream))
    names = given() | {"stream": stream, "scan": database.scan, "ignore": lambda *match: None}
    guard("upgrade/hyperscan", "upgrade(stream)", "scan(stream, match_event_handler=ignore)", names)


def test_encrypt_against_upgrade(guard: Guard, stream: bytes) -> None:
    assert xep419.encrypt(stream) == xep419.upgrade(stream)
    guard("encrypt/upgrade", "encrypt(stream)", "upgrade(stream)", given() | {"stream": stream})


def test_stanza_against_re(guard: Guard) -> None:
    assert xep419.upgrade(STANZA) == substitute(STANZA)
    names = given() | {"stanza": STANZA, "sub": DECLARATION.sub, "template": rb"\1\2s"}
    guard("upgrade-300B/re.sub", "upgrade(stanza)", "sub(template, stanza)", names)


def test_upgrade_against_expat(guard: Guard, stream: bytes) -> None:
    document = b"".join(re.findall(rb"<(?:\w+) [^<>]*/>", stream))
    assert parse_with_expat(document) > 100
    names = given() | {"parse": parse_with_expat, "document": document}
    guard("upgrade/expat", "upgrade(document)", "parse(document)", names, 7)
