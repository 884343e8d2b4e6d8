"""Two clients with the plugin talk through servers that know nothing of XEP-0419, over every kind of connection."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("slixmpp", reason="slixmpp is not installed")

import xep419
from xep419.elements import upgrade_element

from .client import TRANSPORTS, Client, hears_of_nicks, waits
from .relay import Relay
from .servers import Server

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

TEXTS = (
    "Have you read http://example.org/ and https://example.org/spec?ns=urn:xmpp:text&page=2#top",
    "Paste this: <a xmlns='http://x'>link</a> & <b xmlns=\"urn:xmpp:ping\"/> &amp; &#x1F600; ]]>",
    "Crème brûlée à Zürich, 日本語, Ελληνικά \U0001f600 \U0001f469\u200d\U0001f680 \u2764\ufe0f",
)
AVATAR = "urn:xmpp:avatar:metadata"


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


def is_between_clients(stanza: bytes) -> bool:
    """What the test expects, from slixmpp's own output only: the recipient stands in the outer tag."""
    found = re.match(rb"<(message|iq)\b[^>]* to=\"([^\"@]+@[^\"/]+)(/[^\"]+)?\"", stanza)
    return bool(found and (found[3] or found[1] == b"message") and b"<invite" not in stanza)


def answers_an_insecure_request(stanza: bytes, came: bytes) -> bool:
    found = re.match(rb"<iq\b(?=[^>]* type=\"(?:result|error)\")[^>]* id=\"([^\"]+)\"", stanza)
    request = found and re.search(rb"<iq\b[^>]* id=['\"]%s['\"].*?</iq>" % re.escape(found[1]), came, re.DOTALL)
    return bool(request and xep419.upgrade(request[0]) != request[0])


def assert_wire(client: Client) -> None:
    """Byte by byte: what was sent is what the library produced, upgraded where it goes to a client."""
    assert len(client.sent) == len(client.produced) > 10
    changed = 0
    for produced, sent in zip(client.produced, client.sent, strict=True):
        secure = is_between_clients(produced) and not answers_an_insecure_request(produced, bytes(client.came))
        assert sent == (xep419.upgrade(produced) if secure else produced)
        changed += sent != produced
    assert changed >= 3


async def chat(alice: Client, bob: Client) -> None:
    got: list[Any] = []
    receipts: list[Any] = []
    bob.add_event_handler("message", lambda message: got.append(message) if message["body"] else None)
    alice.add_event_handler("receipt_received", receipts.append)
    for text in TEXTS:
        message = alice.make_message(mto=bob.boundjid.full, mbody=text, mtype="chat")
        message["request_receipt"] = True
        message.send()
    await waits(lambda: len(got) == len(TEXTS) == len(receipts))
    assert [message["body"] for message in got] == list(TEXTS)
    assert b'<request xmlns="urn:xmpps:receipts"' in b"".join(alice.sent)
    assert b"urn:xmpps:receipts" in bob.came  # the server brought it through as it was
    assert bob.came.count(b"http://example.org/ and https://example.org/spec?ns=urn:xmpp:text") == 1


async def presence(alice: Client, bob: Client) -> None:
    got: list[Any] = []
    bob.add_event_handler("presence_available", got.append)
    status = "reading http://example.org/ \U0001f600"
    alice.send_presence(pto=bob.boundjid.full, pstatus=status)
    await waits(lambda: [found for found in got if found["status"] == status])


async def disco(alice: Client, bob: Client) -> None:
    about_server = await alice.xep("0030").get_info(jid=alice.peer.domain, timeout=10)
    assert "http://jabber.org/protocol/disco#info" in about_server["disco_info"]["features"]
    about_bob = await alice.xep("0030").get_info(jid=bob.boundjid.full, timeout=10)
    assert "urn:xmpp:receipts" in about_bob["disco_info"]["features"]
    assert b'var="urn:xmpps:receipts"' in b"".join(bob.sent)
    await alice.xep("0199").send_ping(alice.peer.domain, timeout=10)
    await alice.xep("0199").send_ping(bob.boundjid.full, timeout=10)


async def pubsub(alice: Client, bob: Client) -> None:
    payload = ElementTree.fromstring(
        f"<metadata xmlns='{AVATAR}'><info id='x' type='image/png' bytes='1' url='http://example.org/a.png'/></metadata>"
    )
    options = alice.xep("0004").make_form(ftype="submit")
    options.add_field("FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#publish-options")
    options.add_field("pubsub#access_model", value="open")
    await alice.xep("0060").publish(
        alice.boundjid.bare, AVATAR, id="x", payload=upgrade_element(payload), options=options, timeout=10
    )
    items = await bob.xep("0060").get_items(alice.boundjid.bare, AVATAR, timeout=10)
    (item,) = items["pubsub"]["items"]
    came, went = (ElementTree.canonicalize(ElementTree.tostring(found)) for found in (item["payload"], payload))
    assert came == went
    assert b"urn:xmpps:avatar:metadata" in bob.came  # stored upgraded, downgraded by the plugin


async def notification(alice: Client, bob: Client) -> None:
    assert await hears_of_nicks(bob, alice, tries=50)


async def conference(alice: Client, bob: Client) -> None:
    room = f"room-{alice.boundjid.user}-{id(alice)}@{alice.peer.muc}"
    invitations: list[Any] = []
    got: list[Any] = []
    bob.add_event_handler("groupchat_invite", invitations.append)
    bob.add_event_handler("groupchat_message", got.append)
    await alice.xep("0045").join_muc_wait(room, "alice", timeout=15)
    form = await alice.xep("0045").get_room_config(room)
    await alice.xep("0045").set_room_config(room, form)
    alice.xep("0045").invite(room, bob.boundjid.bare, reason="http://example.org/")
    await waits(lambda: invitations)
    await bob.xep("0045").join_muc_wait(room, "bob", timeout=15)
    alice.send_message(room, TEXTS[1], mtype="groupchat")
    await waits(lambda: [message for message in got if message["body"] == TEXTS[1]])


def test_clients_with_the_plugin_exchange_everything(server: Server, transport: str, run: Callable[..., None]) -> None:
    async def session() -> None:
        alice, bob = Client(server, "alice", {}, transport), Client(server, "bob", {}, transport)
        async with Relay(server.c2s) as relay:
            await alice.login(relay.port if transport == "plain" else None)
            await bob.login()
            for part in (chat, presence, disco, pubsub, notification, conference):
                await part(alice, bob)
            for client in (alice, bob):
                await client.logout()
            assert_wire(alice)
            assert_wire(bob)
            if transport == "plain":  # the wire itself
                assert bytes(relay.from_client) == b"".join(alice.sent)
                assert bytes(relay.from_server) == bytes(alice.came)

    run(session())


def test_logging_in_again_needs_no_care(server: Server, run: Callable[..., None]) -> None:
    async def session() -> None:
        alice, bob = Client(server, "alice", {}), Client(server, "bob", {}, "direct")
        await bob.login()
        for _ in range(2):
            await alice.login()
            await alice.xep("0199").send_ping(bob.boundjid.full, timeout=10)
            await alice.logout()
        await bob.logout()

    run(session())


def test_require_secure_refuses_who_has_not_been_upgraded(server: Server, run: Callable[..., None]) -> None:
    async def session() -> None:
        strict = Client(server, "bob", {"require_secure": True})
        upgraded, plain = Client(server, "alice", {}), Client(server, "carol", None)
        got: list[Any] = []
        refused: list[Any] = []
        answers: list[Any] = []
        strict.add_event_handler("message", lambda message: got.append(message["body"]) if message["body"] else None)
        strict.add_event_handler("xep_0419_insecure", refused.append)
        plain.add_event_handler("message_error", answers.append)
        for client in (strict, upgraded, plain):
            await client.login()
        for client in (upgraded, plain):
            message = client.make_message(mto=strict.boundjid.full, mbody=client.boundjid.user, mtype="chat")
            message["request_receipt"] = True
            message.send()
        await waits(lambda: refused and answers and got, 3)
        assert got == ["alice"]
        assert "carol" in str(refused[0])
        assert "{urn:ietf:params:xml:ns:xmpp-stanzas}policy-violation" in [found.tag for found in answers[0].xml.iter()]
        await upgraded.xep("0199").send_ping(strict.boundjid.full, timeout=10)  # the stream lives, its counts are right
        for client in (strict, upgraded, plain):
            await client.logout()

    run(session())
