"""Peers: one spelling for each JID, and who speaks in a stanza. Expected values are written out, from RFC 7622."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from growth import assert_linear
from hypothesis import given
from hypothesis import strategies as st

from xep419.policy import MalformedJIDError, normal_peer, speaker
from xep419.policy.peers import parents

pytestmark = pytest.mark.any_isa


@pytest.mark.parametrize(
    ("jid", "peer"),
    [
        ("bob@example.org", "bob@example.org"),
        ("bob@example.org/phone", "bob@example.org"),
        ("bob@example.org/a@b/c", "bob@example.org"),
        ("Bob@EXAMPLE.org.", "bob@example.org"),
        ("example.org/x@y", "example.org"),
        ("\uff22ob@example.org", "bob@example.org"),  # full width
        ("Jürgen@example.org", "jürgen@example.org"),
        ("ju\u0308rgen@example.org", "jürgen@example.org"),
        ("stra\u00dfe@example.org", "strasse@example.org"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@XN--BCHER-KVA.example", "bob@xn--bcher-kva.example"),
        ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
        ("bob@stra\u00dfe.example", "bob@strasse.example"),
        ("bob@xn--strae-oqa.example", "bob@strasse.example"),  # IDNA 2008's A-label of the same
        ("\ua640.example", "xn--nw8a.example"),  # a letter newer than Unicode 3.2
        ("\ua641.example", "xn--nw8a.example"),
        ("xn--mw8a.example", "xn--nw8a.example"),
        ("xn--a.example", "xn--a.example"),  # Punycode of nothing
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("bob@[2001:db8:0:0::0:1]/x", "bob@[2001:db8::1]"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_jid_has_one_peer_however_it_is_spelt(jid: str, peer: str) -> None:
    assert normal_peer(jid) == peer
    assert normal_peer(peer) == peer


LOCAL = "its local part is empty or longer than 1023 octets"
CHARACTER = "its local part holds a character that none may"
DOMAIN = "its domain is empty or longer than 1023 octets"
LABEL = "its domain has an empty label or more than 253 octets"


@pytest.mark.parametrize(
    ("jid", "why"),
    [
        ("", DOMAIN),
        ("bob@", DOMAIN),
        ("@example.org", LOCAL),
        ("x" * 1024 + "@example.org", LOCAL),
        ("\u00e9" * 512 + "@example.org", LOCAL),
        ("a b@example.org", CHARACTER),
        ("a@b@example.org", CHARACTER),
        ("a\x00@example.org", CHARACTER),
        ("\ud800@example.org", CHARACTER),
        ("bob@.example.org", LABEL),
        ("bob@example..org", LABEL),
        ("bob@example.org..", LABEL),
        ("bob@[example.org]", "its domain is no IPv6 address"),
        ("bob@[::1", "its domain is no IPv6 address"),
        ("bob@.", LABEL),
        ("bob@" + "a." * 127 + "a", LABEL),
        ("bob@" + "a" * 1024, DOMAIN),
        ("bob@exa mple", "its domain holds a character that none may"),
        ("bob@exa\nmple", "its domain holds a character that none may"),
    ],
)
def test_what_is_no_jid_is_told_why(jid: str, why: str) -> None:
    with pytest.raises(MalformedJIDError) as told:
        normal_peer(jid)
    shown = jid if len(jid) <= 60 else jid[:60] + "…"
    assert str(told.value) == f"expected a JID (RFC 7622), got {shown!r}: {why}"
    assert (told.value.condition, told.value.offset) == ("improper-addressing", None)


def test_a_domain_that_idna_refuses_is_told_why() -> None:
    with pytest.raises(MalformedJIDError, match=r"its domain is not one \(IDNA\)"):
        normal_peer("bob@" + "ü" * 64 + ".example")


def test_a_peer_is_a_str() -> None:
    with pytest.raises(TypeError, match="a peer is the str of a JID, not 'bytes'"):
        normal_peer(b"example.org")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sender", "peer"),
    [
        ("bob@example.org/phone", "bob@example.org"),  # a client
        ("bob@example.org", "example.org"),  # what the server says for the account
        ("bob@example.org/", "example.org"),
        ("example.org", "example.org"),
        ("example.org/resource", "example.org"),
        ("room@muc.example.org", "muc.example.org"),
        ("room@muc.example.org/bob", "room@muc.example.org"),
    ],
)
def test_a_client_speaks_for_itself_and_a_server_for_the_rest(sender: str, peer: str) -> None:
    assert speaker(sender) == peer


@pytest.mark.parametrize(
    ("domain", "above"),
    [
        ("a.b.example.org", ["b.example.org", "example.org", "org"]),
        ("localhost", []),
        ("192.0.2.1", []),
        ("[2001:db8::1]", []),
    ],
)
def test_the_domains_above_one(domain: str, above: list[str]) -> None:
    assert list(parents(domain)) == above


@given(st.text())
def test_any_text_is_a_peer_that_stays_or_a_typed_error(jid: str) -> None:
    try:
        peer = normal_peer(jid)
    except MalformedJIDError:
        return
    assert normal_peer(peer) == peer


@pytest.mark.any_python
@pytest.mark.parametrize(("start", "piece"), [("", "é"), ("a@", "\u0345é"), ("", "."), ("", "@")])
def test_work_is_linear_in_a_long_address(start: str, piece: str) -> None:
    def work_of(size: int) -> Callable[[], object]:
        jid = start + piece * size

        def work() -> None:
            with pytest.raises(MalformedJIDError):
                normal_peer(jid)

        return work

    assert_linear(work_of, 10_000)
