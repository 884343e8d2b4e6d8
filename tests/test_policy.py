"""``Policy``: what is refused, why and where; what is learned. Each rule of docs/policy.md, once.

The names that stand in a stanza are written out beside it; ``bytes.find`` says at which byte.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from growth import assert_linear
from hypothesis import given
from hypothesis import strategies as st

import xep419
from xep419 import EncodingError, InsecureNamespaceError, Scope
from xep419.policy import MalformedJIDError, Pin, PinClock, PinStore, Policy
from xep419.policy.attribution import Said, outer_tag, said

pytestmark = pytest.mark.any_isa

BOB, PHONE = "bob@example.org", "bob@example.org/phone"
START, DAY = 1_800_000_000.0, 86_400.0
DISCO = "https://jabber.org/protocol/disco#info"
SECURE = (
    b"<iq from='bob@example.org/phone' type='result'><query xmlns='https://jabber.org/protocol/disco#info'>"
    b"<feature var='urn:xmpps:ping'/><feature var='urn:xmpps:receipts'/></query></iq>"
)
REWRITTEN = SECURE.replace(b"urn:xmpps:", b"urn:xmpp:")
PING = b"<iq><ping xmlns='urn:xmpp:ping'/></iq>"
SECURE_PING = b"<iq><ping xmlns='urn:xmpps:ping'/></iq>"


class Times:
    def __init__(self) -> None:
        self.wall = START


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def pins(times: Times) -> Iterator[PinStore]:
    with PinStore(clock=PinClock(lambda: times.wall, lambda: 0.0)) as store:
        yield store


def refused(policy: Policy, stanza: Any, peer: str = PHONE) -> InsecureNamespaceError:
    with pytest.raises(InsecureNamespaceError) as told:
        policy.check(stanza, peer=peer)
    return told.value


def passes(policy: Policy, stanza: Any, peer: str = PHONE) -> bool:
    try:
        policy.check(stanza, peer=peer)
    except InsecureNamespaceError:
        return False
    return True


def tree(stanza: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(stanza)


# -- first use, and then ------------------------------------------------------------------------------------


def test_who_has_used_a_secure_name_may_not_come_back_with_the_insecure_one(pins: PinStore) -> None:
    policy = Policy(pins=pins)
    policy.admit(REWRITTEN.replace(b"https:", b"http:"), peer=PHONE)  # the first use is believed
    assert len(pins) == 0
    policy.admit(SECURE, peer=PHONE)
    assert pins.of(BOB).keys() == {DISCO, "urn:xmpps:ping", "urn:xmpps:receipts"}
    error = refused(policy, REWRITTEN)
    at = REWRITTEN.index(b"urn:xmpp:ping")
    assert str(error) == (
        "expected 'urn:xmpps:ping' from bob@example.org (pinned to bob@example.org until 2027-07-14),"
        f" got 'urn:xmpp:ping' and 1 more (at byte {at})"
    )
    assert (error.peer, error.name, error.expected, error.offset) == (BOB, "urn:xmpp:ping", "urn:xmpps:ping", at)
    assert error.condition == "policy-violation"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize(
    "stanza",
    [
        PING,
        b"<iq><ping xmlns='URN:xmpp:ping'/></iq>",
        b"<iq><ping xmlns='&#117;rn:xmpp:ping'/></iq>",
        b"<iq><p:ping xmlns:p=\"urn:xmpp:ping\"/></iq>",
        b"<iq><feature var='urn:xmpp:ping'/></iq>",
        b"<iq><items node='urn:xmpp:ping'/></iq>",
        b"<iq><field var='{urn:xmpp:ping}x'/></iq>",
        b"<iq><field var='FORM_TYPE'><value> urn:xmpp:ping </value></field></iq>",
        b"<iq><encryption namespace='urn:xmpp:ping'/></iq>",
    ],
)  # fmt: skip
def test_wherever_the_scanner_finds_it_and_however_it_is_written(pins: PinStore, stanza: bytes) -> None:
    policy = Policy(pins=pins)
    assert passes(policy, stanza)
    policy.learn(SECURE_PING, peer=PHONE)
    error = refused(policy, stanza)
    ref = next(ref for ref in xep419.scan(stanza))
    assert (error.expected, error.offset) == ("urn:xmpps:ping", ref.start)
    assert refused(policy, stanza.decode()).offset == ref.start
    assert refused(policy, bytearray(stanza)).offset == ref.start


@pytest.mark.parametrize(
    "stanza",
    [
        b"<message><body>urn:xmpp:ping</body></message>",
        b"<message id='urn:xmpp:ping'/>",
        b"<message><!-- xmlns='urn:xmpp:ping' --></message>",
        SECURE_PING,
        b"<iq><ping xmlns='urn:xmpp:ping:2'/></iq>",
        b"",
    ],
)
def test_what_is_no_name_or_another_one_passes(pins: PinStore, stanza: bytes) -> None:
    policy = Policy(pins=pins)
    policy.learn(SECURE_PING, peer=PHONE)
    policy.admit(stanza, peer=PHONE)


def test_pins_are_of_the_account_whatever_the_resource_and_spelling(pins: PinStore) -> None:
    policy = Policy(pins=pins)
    policy.admit(SECURE_PING, peer=PHONE)
    for peer in ("bob@example.org/other", "BOB@Example.ORG/phone", "bob@example.org.", "\uff22ob@example.org"):
        assert not passes(policy, PING, peer)
    for peer in ("bob2@example.org/phone", "bob@example.com/phone", "example.org", "muc.example.org"):
        assert passes(policy, PING, peer)


def test_a_stanza_with_both_forms_is_refused_even_on_first_use(pins: PinStore) -> None:
    both = b"<query><feature var='urn:xmpp:ping'/><feature var='urn:xmpps:ping'/></query>"
    error = refused(Policy(), both)
    assert str(error) == (
        "expected 'urn:xmpps:ping' from bob@example.org (that form stands in the same stanza), got 'urn:xmpp:ping'"
        f" (at byte {both.index(b'urn')})"
    )
    policy = Policy(pins=pins)
    with pytest.raises(InsecureNamespaceError):
        policy.admit(both, peer=PHONE)
    assert len(pins) == 0


def test_a_refused_stanza_teaches_nothing(pins: PinStore) -> None:
    policy = Policy(pins=pins)
    policy.admit(SECURE_PING, peer=PHONE)
    with pytest.raises(InsecureNamespaceError):
        policy.admit(b"<iq><a xmlns='urn:xmpp:ping'/><b xmlns='urn:xmpps:new'/></iq>", peer=PHONE)
    assert pins.of(BOB).keys() == {"urn:xmpps:ping"}
    policy.check(b"<b xmlns='urn:xmpps:new'/>", peer=PHONE)
    assert pins.of(BOB).keys() == {"urn:xmpps:ping"}


def test_without_pins_nothing_is_remembered() -> None:
    policy = Policy()
    policy.admit(SECURE_PING, peer=PHONE)
    policy.admit(PING, peer=PHONE)


def test_the_scope_says_which_positions_count(pins: PinStore) -> None:
    policy = Policy(pins=pins, scope=Scope.FEATURES)
    policy.admit(SECURE, peer=PHONE)
    assert pins.of(BOB).keys() == {"urn:xmpps:ping", "urn:xmpps:receipts"}
    assert passes(policy, PING)
    assert not passes(policy, REWRITTEN)


# -- age ----------------------------------------------------------------------------------------------------


def test_a_pin_holds_for_max_age_after_the_last_use(pins: PinStore, times: Times) -> None:
    policy = Policy(pins=pins, max_age=10 * DAY)
    policy.admit(SECURE_PING, peer=PHONE)
    times.wall += 9 * DAY
    policy.admit(SECURE_PING, peer=PHONE)
    times.wall += 9 * DAY
    assert not passes(policy, PING)
    times.wall += 2 * DAY
    assert passes(policy, PING)
    policy.admit(SECURE_PING, peer=PHONE)  # and begins anew
    assert not passes(policy, PING)


def test_a_clock_set_back_lets_nobody_through(pins: PinStore, times: Times) -> None:
    policy = Policy(pins=pins, max_age=10 * DAY)
    policy.admit(SECURE_PING, peer=PHONE)
    for back in (DAY, 20 * DAY, 10_000 * DAY):
        times.wall = START - back
        assert not passes(policy, PING)
        policy.admit(SECURE_PING, peer=PHONE)
    times.wall = START + DAY
    assert not passes(policy, PING)


@pytest.mark.parametrize("max_age", [0, -1, 1e9, float("nan")])
def test_max_age_has_bounds(max_age: float) -> None:
    with pytest.raises(ValueError, match="max_age must be above 0 and at most 315360000 seconds, not"):
        Policy(max_age=max_age)


# -- domains ------------------------------------------------------------------------------------------------


def test_a_domains_pin_holds_below_it_only_when_told(pins: PinStore) -> None:
    plain, below = Policy(pins=pins), Policy(pins=pins, include_subdomains=True)
    plain.admit(SECURE_PING, peer="example.org")
    assert not passes(plain, PING, "example.org/res")
    assert passes(plain, PING, "muc.example.org")
    below.admit(b"<x xmlns='urn:xmpps:below'/>", peer="example.org")
    insecure = b"<x xmlns='urn:xmpp:below'/>"
    assert refused(plain, insecure, "muc.example.org").message == (
        "expected 'urn:xmpps:below' from muc.example.org (pinned to example.org until 2027-07-14), got 'urn:xmpp:below'"
    )
    for peer in ("a.b.example.org", "Muc.Example.org"):
        assert not passes(plain, insecure, peer)
    for peer in ("org", "example.com", "anexample.org", "example.org.example.com", BOB, "bob@muc.example.org"):
        assert passes(plain, insecure, peer)


def test_a_domain_that_was_pinned_alone_holds_below_when_told_later(pins: PinStore) -> None:
    plain, below = Policy(pins=pins), Policy(pins=pins, include_subdomains=True)
    plain.admit(SECURE_PING, peer="example.org")
    assert passes(below, PING, "muc.example.org")
    below.admit(SECURE_PING, peer="example.org")
    assert not passes(below, PING, "muc.example.org")


def test_an_accounts_pin_never_holds_below(pins: PinStore) -> None:
    policy = Policy(pins=pins, include_subdomains=True)
    policy.admit(SECURE_PING, peer=PHONE)
    assert list(pins) == [Pin(BOB, "urn:xmpps:ping", START, START, 180 * DAY, False)]


# -- preload and require_secure -----------------------------------------------------------------------------


def test_a_preloaded_domain_is_expected_to_be_secure_from_the_first_stanza(pins: PinStore) -> None:
    policy = Policy(pins=pins, preload=["Example.org"])
    for peer in ("example.org", "muc.example.org", BOB, "bob@a.muc.example.org/x"):
        error = refused(policy, PING, peer)
        assert "(its domain is preloaded)" in str(error)
        assert passes(policy, SECURE_PING, peer)
        assert passes(policy, b"<x xmlns='http://nobody.example/registered/this'/>", peer)
    assert not passes(policy, b"<feature var='http://jabber.org/protocol/nick+notify'/>", BOB)
    assert passes(policy, PING, "bob@example.com/x")
    only_bob = Policy(preload=[PHONE])
    assert not passes(only_bob, PING, "bob@example.org/other")
    assert passes(only_bob, PING, "carol@example.org/other")


def test_require_secure_refuses_every_insecure_name() -> None:
    policy = Policy(require_secure=True)
    error = refused(policy, b"<a xmlns='http://a'/><b xmlns='http://a'/><c xmlns='http://c'/>")
    assert error.message == "expected 'https://a' from bob@example.org (policy requires it), got 'http://a' and 1 more"
    policy.admit(b"<a xmlns='https://a'/><b xmlns='jabber:client'/>", peer=PHONE)


@pytest.mark.parametrize("names", [{"urn:xmpp:ping"}, ["urn:xmpps:ping"], ("URN:XMPP:ping",)])
def test_require_secure_takes_names(names: Any) -> None:
    policy = Policy(require_secure=names)
    assert not passes(policy, PING)
    assert passes(policy, b"<a xmlns='urn:xmpp:other'/>")
    assert passes(policy, SECURE_PING)


def test_one_name_is_no_collection_of_names() -> None:
    for option in ("require_secure", "preload", "shared"):
        with pytest.raises(TypeError, match="take collections of str, not a str"):
            Policy(**{option: "urn:xmpp:ping"})  # type: ignore[arg-type]


# -- who said it --------------------------------------------------------------------------------------------


def test_names_that_servers_add_are_neither_pinned_nor_refused(pins: PinStore) -> None:
    delay = b"<message><delay xmlns='urn:xmpp%s:delay'/><stanza-id xmlns='urn:xmpp%s:sid:0'/></message>"
    policy = Policy(pins=pins, require_secure=True)
    policy.admit(delay % (b"s", b"s"), peer=PHONE)
    policy.admit(delay % (b"", b""), peer=PHONE)
    policy.admit(delay % (b"s", b"") + delay % (b"", b"s"), peer=PHONE)
    assert len(pins) == 0
    assert not passes(Policy(require_secure=True, exempt=()), delay % (b"", b""))


def test_where_many_speak_nobody_is_pinned(pins: PinStore) -> None:
    policy = Policy(pins=pins, shared=["Room@muc.example.org/me", "pubsub.example.org"])
    for peer in ("room@muc.example.org/bob", "pubsub.example.org", "node@pubsub.example.org"):
        policy.admit(SECURE_PING, peer=peer)
        policy.admit(PING, peer=peer)
        policy.admit(PING + SECURE_PING, peer=peer)
    assert len(pins) == 0
    policy.admit(SECURE_PING, peer="other@muc.example.org/bob")
    assert not passes(policy, PING, "other@muc.example.org/carol")
    assert not passes(Policy(shared=[BOB], require_secure=True), PING)
    assert not passes(Policy(shared=[BOB], preload=["example.org"]), PING)


FORWARDING = [
    b"<message><forwarded xmlns='urn:xmpp:forward:0'>%s</forwarded></message>",
    b"<message><sent xmlns='urn:x'><f:forwarded xmlns:f='urn:xmpps:forward:0'>%s</f:forwarded></sent></message>",
    b"<message><forwarded xmlns='urn:xmpp:forward:0'><forwarded xmlns='urn:xmpp:forward:0'>%s</forwarded></forwarded></message>",
    b"<message><forwarded xmlns='urn:xmpp:forward:0'>%s<forwarded xmlns='urn:xmpp:forward:0'/></forwarded></message>",
]
NOT_FORWARDING = [
    b"<message xmlns:f='urn:xmpp:forward:0'><forwarded xmlns='urn:x'>%s</forwarded></message>",
    b"<message><forwarded>%s</forwarded></message>",
    b"<message><forwarded xmlns='urn:xmpp:forward:0'/>%s</message>",
    b"<message><forwarded xmlns='urn:xmpp:forward:1'>%s</forwarded></message>",
    b"<message><x xmlns='urn:xmpp:forward:0'>%s</x></message>",
    b"<message><forwarded xmlns='urn:xmpp:forward:0'></forwarded>%s</message>",
]


@pytest.mark.parametrize("carrier", FORWARDING)
def test_what_a_stanza_forwards_was_said_by_somebody_else(pins: PinStore, carrier: bytes) -> None:
    policy = Policy(pins=pins, require_secure=["urn:xmpp:ping"])
    for stanza in (carrier % PING, carrier % SECURE_PING, carrier % (PING + SECURE_PING)):
        policy.admit(stanza, peer=PHONE)
        policy.admit(stanza.decode(), peer=PHONE)
        policy.admit(tree(stanza), peer=PHONE)
    assert pins.of(BOB) == {}
    after = (carrier % PING).replace(b"</message>", PING + b"</message>")
    assert refused(policy, after).offset == after.rindex(b"urn:xmpp:ping")


@pytest.mark.parametrize("carrier", NOT_FORWARDING)
def test_what_only_looks_forwarded_is_the_senders(carrier: bytes) -> None:
    policy = Policy(require_secure=["urn:xmpp:ping"])
    stanza = carrier % PING
    assert refused(policy, stanza).offset == stanza.rindex(b"urn:xmpp:ping")
    assert refused(policy, tree(stanza)).offset is None


@pytest.mark.parametrize("before", [b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<a>", b"</a>", b"&"])
def test_what_is_not_well_formed_forwards_nothing(before: bytes) -> None:
    assert not passes(Policy(require_secure=True), before + FORWARDING[0] % PING)


@pytest.mark.parametrize(
    ("stanza", "tag"),
    [
        (b"<iq/>", ("iq", None)),
        (b"<c:iq from='a@b/c'/>", ("iq", "a@b/c")),
        (b"<message\n to = \"x\"\tfrom  =\r\n'a&amp;b@c&#x2F;\xc3\xa9>' >", ("message", "a&b@c/é>")),
        (b"<message from=''><x from='no'/></message>", ("message", "")),
        (b"<message xfrom='no' x:from='no'/>", ("message", None)),
        (b"<message to=' from=\"no\"'/>", ("message", None)),
        (b"text", ("", None)),
    ],
)
def test_the_outer_tag_tells_kind_and_sender(stanza: bytes, tag: tuple[str, str | None]) -> None:
    assert outer_tag(stanza) == tag


# -- trees, errors, time ------------------------------------------------------------------------------------


def test_a_tree_is_judged_like_its_bytes(pins: PinStore) -> None:
    policy = Policy(pins=pins)
    policy.admit(tree(SECURE), peer=PHONE)
    assert pins.of(BOB).keys() == {DISCO, "urn:xmpps:ping", "urn:xmpps:receipts"}
    error = refused(policy, tree(REWRITTEN))
    assert (error.expected, error.offset) == ("urn:xmpps:ping", None)
    given = tree(FORWARDING[0] % PING)
    before = ElementTree.tostring(given)
    policy.admit(given, peer=PHONE)
    assert ElementTree.tostring(given) == before


def test_what_cannot_be_judged_is_told(pins: PinStore) -> None:
    policy = Policy(pins=pins)
    for judge in (policy.check, policy.learn, policy.admit):
        with pytest.raises(MalformedJIDError):
            judge(PING, peer="@")
        with pytest.raises(EncodingError):
            judge("<a/>".encode("utf-16"), peer=PHONE)
        with pytest.raises(TypeError):
            judge(1, peer=PHONE)  # type: ignore[arg-type]
    with pytest.raises(MalformedJIDError):
        Policy(preload=["@"])


@given(st.binary(max_size=300))
def test_any_bytes_are_admitted_or_refused(data: bytes) -> None:
    policy = Policy(require_secure=True)
    insecure = [ref for ref in xep419.scan(data) if not ref.secure] if not is_wide(data) else []
    try:
        policy.admit(data, peer=PHONE)
    except (InsecureNamespaceError, EncodingError):
        return
    assert insecure == []


def is_wide(data: bytes) -> bool:
    try:
        xep419.scan(data)
    except EncodingError:
        return True
    return False


def test_both_ways_to_read_a_stanza_find_the_same(recorded: list[bytes]) -> None:
    compared = 0
    for session in recorded:
        stream = xep419.StanzaStream()
        for stanza in stream.feed(session):
            parsed = ElementTree.fromstring(b"<r xmlns:stream='urn:none'>" + stanza + b"</r>")[0]
            names = {(found.name, found.secure) for found in said(stanza, Scope.ALL)}
            assert names == {(found.name, found.secure) for found in said(parsed, Scope.ALL)}
            compared += bool(names)
    assert compared > 10


@pytest.mark.any_python
@pytest.mark.parametrize("peer", [BOB, ".".join("a" * 126)])
@pytest.mark.parametrize("carrier", [b"<iq>%s</iq>", FORWARDING[0].replace(b"%s", b"") + b"%s"])
def test_the_time_is_linear_in_a_hostile_stanza(pins: PinStore, peer: str, carrier: bytes) -> None:
    policy = Policy(pins=pins, require_secure=["urn:xmpp:last"], include_subdomains=True)
    policy.learn(b"".join(b"<a xmlns='urn:xmpps:p%d'/>" % n for n in range(200)), peer=peer)
    policy.learn(b"".join(b"<a xmlns='urn:xmpps:p%d'/>" % n for n in range(200)), peer=peer.partition(".")[2] or peer)

    def work_of(size: int) -> Callable[[], object]:
        names = b"".join(b"<f xmlns='urn:xmpp:i%d'/><f xmlns='urn:xmpps:s%d'/>" % (n, n) for n in range(size))
        stanza = carrier % (names + b"<f xmlns='urn:xmpp:last'/>")

        def work() -> None:
            with pytest.raises(InsecureNamespaceError):
                policy.check(stanza, peer=peer)

        return work

    assert_linear(work_of, 1000)


def test_a_stanza_that_says_nothing_costs_no_look_into_the_store() -> None:
    with PinStore() as store:
        policy = Policy(pins=store)
        store.close()
        policy.admit(b"<message><body>hello</body></message>", peer=PHONE)
    assert said(b"<a xmlns='urn:xmpps:x'/>", Scope.ALL) == [Said("urn:xmpps:x", True, 10)]
