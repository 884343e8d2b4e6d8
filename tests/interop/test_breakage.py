"""What breaks when software that has not been upgraded meets upgraded names: each case of docs/servers.md, once.

These document the servers, not the package; a server that learns to do better makes its test fail.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import ssl
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("slixmpp", reason="slixmpp is not installed")

from slixmpp import ClientXMPP

import xep419

from .client import Client, hears_of_nicks, waits
from .relay import Change, Relay
from .servers import PASSWORD, Server

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

HEADER = (
    "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
SECONDS = 1.0  # in which a server or client that wants to say something has said it


def test_an_upgraded_stream_header_is_refused(server: Server, run: Callable[..., None]) -> None:
    async def session() -> None:
        for change, refused in ((str, False), (xep419.upgrade, True)):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.c2s)
            writer.write(change(HEADER % server.domain).encode())
            if refused:
                answer = await asyncio.wait_for(reader.read(), 10)  # to the end: the server closes
                assert b"<invalid-namespace" in answer
            else:
                answer = await asyncio.wait_for(reader.readuntil(b"features>"), 10)
            writer.close()
            await writer.wait_closed()

    run(session())


def test_an_upgraded_stream_management_is_refused_or_ignored(server: Server, run: Callable[..., None]) -> None:
    async def session() -> None:
        client = Client(server, "alice", {})
        client.plugin.disable("xep_0198")
        await client.login()
        before = len(client.came)
        client.send_raw("<enable xmlns='urn:xmpps:sm:3'/>")
        if server.name == "prosody":
            await client.wait_until("disconnected", 10)
            assert b"unsupported-stanza-type" in client.came[before:]
        else:
            await client.xep("0199").send_ping(server.domain, timeout=10)
            assert b"sm:3" not in client.came[before:]
            await client.logout()

    run(session())


def verification(info: Any) -> str:
    """The hash of XEP-0115 section 5.1 over a disco#info without forms."""
    identities = sorted(
        f"{category}/{kind}/{lang or ''}/{name or ''}<" for category, kind, lang, name in info["identities"]
    )
    features = [feature + "<" for feature in sorted(info["features"])]
    return base64.b64encode(hashlib.sha1("".join(identities + features).encode()).digest()).decode()


def test_the_caps_hash_covers_the_names_that_the_peer_must_see(server: Server, run: Callable[..., None]) -> None:
    """A peer without the plugin that is sent upgraded features cannot verify them; one with it can."""

    async def session() -> None:
        alice = Client(server, "alice", {})
        await alice.login()
        sent = b"".join(alice.sent)
        for options, matches in (({}, True), ({"downgrade_incoming": False}, False)):
            bob = Client(server, "bob", options)
            await bob.login()
            answer = await bob.xep("0030").get_info(jid=alice.boundjid.full, timeout=10)
            info = answer["disco_info"] if matches else upgraded_info(answer)
            assert len(info["features"]) > 3
            assert (f'ver="{verification(info)}"'.encode() in sent) == matches
            await bob.logout()
        await alice.logout()

    def upgraded_info(answer: Any) -> dict[str, Any]:
        (query,) = answer.xml
        assert query.tag == "{https://jabber.org/protocol/disco#info}query"  # which slixmpp does not know
        kinds = ("category", "type", "{http://www.w3.org/XML/1998/namespace}lang", "name")
        identities = [tuple(map(found.get, kinds)) for found in query if found.tag.endswith("}identity")]
        return {"identities": identities, "features": [found.get("var") for found in query if found.get("var")]}

    run(session())


def test_ejabberd_does_not_understand_upgraded_features(
    started: Callable[[str], Server], run: Callable[..., None]
) -> None:
    """It asks a client in the client's own name; without them it sends no notifications. So replies follow requests."""

    async def session(server: Server) -> None:
        alice = Client(server, "alice", {})
        await alice.login()
        for follows in (False, True):
            bob = Client(server, "bob", {})
            bob.xep("0030").add_feature(f"urn:example:{follows}")  # or ejabberd would know the hash from before
            if not follows:
                bob.xep("0419")._note_insecure_request = lambda _request: None
            await bob.login()
            assert await hears_of_nicks(bob, alice, tries=30) == follows
            await bob.logout()
        await alice.logout()

    run(session(started("ejabberd")))


def test_a_gateway_that_replaces_bytes_changes_what_people_wrote(server: Server, run: Callable[..., None]) -> None:
    written = "see http://example.org/ and https://example.org/"

    async def session() -> None:
        def replace(data: bytes) -> bytes:
            return data.replace(b"http://example", b"https://example")

        alice, bob = Client(server, "alice", None, "plain"), Client(server, "bob", None)
        bodies: list[str] = []
        bob.add_event_handler("message", lambda message: bodies.append(message["body"]))
        async with Relay(server.c2s, up=replace) as gateway:
            await bob.login()
            await alice.login(gateway.port)
            message = alice.make_message(mto=bob.boundjid.full, mbody=written, mtype="chat")
            message.send()
            await waits(lambda: bodies)
            assert bodies == ["see https://example.org/ and https://example.org/"]
            assert xep419.upgrade(str(message)) == str(message)
            for client in (alice, bob):
                await client.logout()

    run(session())


def test_a_client_that_is_not_upgraded_says_nothing_behind_an_upgrading_gateway(
    server: Server, run: Callable[..., None]
) -> None:
    async def session() -> None:
        async with Relay(server.c2s, down=xep419.Encryptor().update) as gateway:
            client = Client(server, "alice", None, "plain")
            client.connect("127.0.0.1", gateway.port)
            await waits(lambda: b"features>" in gateway.from_server)
            await asyncio.sleep(SECONDS)
            assert len(client.sent) == 1
            assert client.sent[0].startswith(b"<stream:stream")
            ClientXMPP.abort(client)
        async with Relay(server.c2s, down=xep419.Encryptor().update) as gateway:
            client = Client(server, "alice", {"known_only": False}, "plain")
            await client.login(gateway.port)
            await client.xep("0199").send_ping(server.domain, timeout=10)
            await client.logout()

    run(session())


def without(pattern: bytes) -> Change:
    """Takes what matches out of a connection's first features, which may come in pieces."""
    held: bytearray | None = bytearray()

    def change(data: bytes) -> bytes:
        nonlocal held
        if held is None:
            return data
        held += data
        if b"</stream:features>" not in held:
            return b""
        stripped, held = re.sub(pattern, b"", bytes(held)), None
        return stripped

    return change


def tls_1_2(server: Server) -> ssl.SSLContext:
    """A client's, of the version whose channel binding Python's ssl can give (RFC 5929 section 3, RFC 9266)."""
    context = ssl.create_default_context(cafile=str(server.ca))
    context.check_hostname = False  # the relay connects by address
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def scram(server: Server, port: int, flag: str) -> tuple[bytes, bytes]:
    """The features, and the answer to SCRAM-SHA-1 (RFC 5802) over TLS with this gs2-cbind-flag."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls_1_2(server))

    async def ask(text: str, end: bytes) -> bytes:
        writer.write(text.encode())
        return await asyncio.wait_for(reader.readuntil(end), 10)

    def sasl(name: str, data: bytes, mechanism: str = "") -> str:
        return f"<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{mechanism}>{base64.b64encode(data).decode()}</{name}>"

    binding, plus = b"", ""
    if flag.startswith("p="):
        binding, plus = writer.get_extra_info("ssl_object").get_channel_binding("tls-unique"), "-PLUS"
    features = await ask(HEADER % server.domain, b"</stream:features>")
    gs2, first = f"{flag},,".encode(), b"n=alice,r=fyko+d2lbbFgONRv9qkxdawL"
    asked = await ask(sasl("auth", gs2 + first, f" mechanism='SCRAM-SHA-1{plus}'"), b">")
    if b"<challenge" in asked:
        challenge = base64.b64decode((await reader.readuntil(b"</challenge>"))[: -len(b"</challenge>")])
        given = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), base64.b64decode(given[b"s"]), int(given[b"i"]))
        key = hmac.digest(salted, b"Client Key", "sha1")
        final = b"c=" + base64.b64encode(gs2 + binding) + b",r=" + given[b"r"]
        signature = hmac.digest(hashlib.sha1(key).digest(), b",".join((first, challenge, final)), "sha1")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        asked = await ask(sasl("response", final + b",p=" + base64.b64encode(proof)), b">")
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return features, asked


def test_tls_that_ends_in_a_gateway_breaks_channel_binding(server: Server, run: Callable[..., None]) -> None:
    """Its two connections have different bindings, even with the server's own certificate. Without the mechanism a
    client that does not bind gets in; one that does says so ("y"), which Prosody takes for the attack that it is."""
    plus, unique = b"<mechanism>SCRAM-SHA-1-PLUS</mechanism>", "p=tls-unique"
    accept = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    accept.load_cert_chain(server.ca)

    async def logs_in(port: int, flag: str, offered: bool) -> bool:
        features, answer = await scram(server, port, flag)
        assert (plus in features) == offered
        assert answer.startswith((b"<success", b"<failure"))
        return answer.startswith(b"<success")

    async def session() -> None:
        assert await logs_in(server.tls, unique, offered=True)
        async with Relay(server.tls, accept=accept, connect=tls_1_2(server)) as gateway:
            assert not await logs_in(gateway.port, unique, offered=True)
            assert await logs_in(gateway.port, "n", offered=True)
        for flag, enters in (("n", True), ("y", server.name == "ejabberd")):
            stripped = without(re.escape(plus))
            async with Relay(server.tls, down=stripped, accept=accept, connect=tls_1_2(server)) as gateway:
                assert await logs_in(gateway.port, flag, offered=False) == enters
        async with Relay(server.c2s, accept=accept) as gateway:  # a server that has no TLS to bind to offers no -PLUS
            assert await logs_in(gateway.port, "y", offered=False)

    run(session())


def test_starttls_hides_the_rest_from_a_gateway_that_does_not_end_it(server: Server, run: Callable[..., None]) -> None:
    """It upgrades until ``<proceed/>``. Of TLS it changes nothing, but holds back what might be an open tag."""
    encryptor = xep419.Encryptor()
    before, records, given = bytearray(), bytearray(), bytearray()
    held = 0

    def until_tls(data: bytes) -> bytes:
        nonlocal held
        upgraded = encryptor.update(data)
        if not records and not data.startswith(b"\x16"):  # the record of a handshake
            before.extend(upgraded)
            return upgraded
        records.extend(data)
        given.extend(upgraded)
        held += len(given) < len(records)
        return data  # or it would depend on the bytes of the keys whether the handshake ends

    async def session() -> None:
        async with Relay(server.c2s, down=until_tls) as gateway:
            client = Client(server, "alice", {"known_only": False})
            await client.login(gateway.port)
            for _ in range(200):
                await client.xep("0199").send_ping(server.domain, timeout=10)
            await client.xep("0030").get_info(jid=server.domain, timeout=10)
            await client.logout()
        assert b"https://etherx.jabber.org/streams" in before
        assert b"<proceed" in before
        assert b"http://jabber.org/protocol/disco#info" in client.came
        assert given + encryptor.finalize() == records
        assert held

        strip, upgrade = without(rb"<starttls.*?(/>|</starttls>)"), xep419.Encryptor()
        seen = bytearray()

        def stripped(data: bytes) -> bytes:
            seen.extend(upgraded := upgrade.update(strip(data)))
            return upgraded

        async with Relay(server.c2s, down=stripped) as gateway:
            client = Client(server, "alice", {"known_only": False}, "plain")
            await client.login(gateway.port)
            await client.xep("0030").get_info(jid=server.domain, timeout=10)
            await client.logout()
            assert b"<starttls" in gateway.from_server
            assert b"<starttls" not in gateway.from_client
        assert b"https://jabber.org/protocol/disco#info" in seen
        assert b"http://jabber.org/protocol/disco#info" not in seen

    run(session())
