#!/usr/bin/env python3
"""Record a real XMPP session between slixmpp clients and a local XMPP server.

Three slixmpp clients (two devices of the first user, one of the second) log in and use the server
for a few seconds.  Each connects through a TCP tap that copies the bytes of either direction,
unmodified, into a file of its own: PREFIX-NAME.c2s.xml (client to server) and PREFIX-NAME.s2c.xml.
As the stream restarts after SASL, every file holds two XML documents.

The server must listen on loopback, offer SCRAM without TLS (or there would be nothing to read) and
have a MUC service.  It should be empty, as older rosters and archives get recorded too.  Prosody:

    c2s_require_encryption = false; allow_unencrypted_plain_auth = true
    VirtualHost "xmpp.test"
    Component "muc.xmpp.test" "muc"

    prosodyctl register alice xmpp.test secret    # throw-away passwords only; likewise for bob
    python3 record_stream.py --server 127.0.0.1:5222 --domain xmpp.test --out recorded
"""

import argparse
import asyncio
import base64
import logging
import sys
from pathlib import Path
from typing import Any, BinaryIO

from slixmpp import JID, ClientXMPP

PLUGINS = (
    "0004 0012 0030 0045 0048 0049 0060 0066 0071 0084 0085 0092 0115 0118 0128 0163 0172 "
    "0184 0191 0198 0199 0202 0203 0249 0280 0297 0308 0313 0333 0334 0352 0359 0444 0461"
).split()
# Text that looks like the markup around it: a tool that edits names must leave all of it alone.
TEXTS = (
    "Have you read http://example.org/ and https://example.org/spec?ns=urn:xmpp:text&page=2#top",
    "The namespace is urn:xmpp:text, or was it http://jabber.org/protocol/disco#info?",
    "Paste this: <a xmlns='http://x'>link</a> & <b xmlns=\"urn:xmpp:ping\"/>",
    "It's \"quoted\", 'apostrophes' too: xmlns='jabber:client' isn't markup here",
    "Crème brûlée à Zürich, žluťoučký kůň, 日本語, Ελληνικά \U0001f600 \U0001f469\u200d\U0001f680 \u2764\ufe0f",
    "<![CDATA[ <feature var='urn:xmpp:carbons:2'/> ]]> and <!-- no comment --> and <?not pi?>",
    "Two lines,\n\tone tab, &amp; an entity that was typed: &#x1F600; &lt;",
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"
PAUSE = 0.3  # seconds for the clients' automatic answers (receipts, disco, roster) to pass


async def open_tap(server: tuple[str, int], stem: Path) -> tuple[tuple[str, int], asyncio.Future[None]]:
    """Relay one connection to the server, writing its raw bytes, one file per direction.

    Returns the loopback address for the client and a future that ends when the connection has."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: BinaryIO) -> None:
        while data := await reader.read(65536):
            log.write(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.close()  # one connection per tap: a reconnect must not be mixed in
        up_reader, up_writer = await asyncio.open_connection(*server)
        with open(f"{stem}.c2s.xml", "wb") as c2s, open(f"{stem}.s2c.xml", "wb") as s2c:
            await asyncio.gather(copy(reader, up_writer, c2s), copy(up_reader, writer, s2c))
        finished.set_result(None)

    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    listener = await asyncio.start_server(relay, "127.0.0.1", 0)
    return listener.sockets[0].getsockname(), finished


class Client(ClientXMPP):
    """A slixmpp client with many plugins, which stays on plaintext so that the tap can read it."""

    def __init__(self, jid: str, password: str) -> None:
        super().__init__(jid, password, plugin_config={"feature_mechanisms": {"unencrypted_scram": True}})
        self.enable_direct_tls = self.enable_starttls = False
        self.enable_plaintext = True
        for number in PLUGINS:
            self.register_plugin("xep_" + number)

    async def login(self, address: tuple[str, int]) -> None:
        """Connect, then do what clients do at the start: disco form, roster, carbons, presence."""
        self.connect(*address)
        await self.wait_until("session_start", 20)
        info = self.form("result", "urn:xmpp:dataforms:softwareinfo", "software", "http://example.org/")
        await self.xep("0128").set_extended_info(data=info)
        await self.xep("0115").update_caps(broadcast=False)
        await self.get_roster()
        await self.xep("0280").enable()
        self.send_presence(pstatus="Reading http://example.org/ on my " + self.boundjid.resource, ppriority=5)
        await asyncio.sleep(PAUSE)

    async def logout(self) -> None:
        self.send_presence(ptype="unavailable", pstatus="Good-bye, see http://example.org/")
        await asyncio.sleep(PAUSE)
        await self.disconnect()

    def xep(self, number: str) -> Any:
        plugins: Any = self.plugin
        return plugins["xep_" + number]

    def form(self, kind: str, form_type: str, var: str, value: str) -> Any:
        form = self.xep("0004").make_form(ftype=kind)
        form.add_field("FORM_TYPE", ftype="hidden", value=form_type)
        form.add_field(var, value=value)
        return form


async def discover(alice: Client, bob: Client, domain: str, muc: str) -> None:
    """Service discovery in every direction, and the small queries."""
    for jid in (domain, muc, alice.boundjid.bare):
        await alice.xep("0030").get_info(jid=jid)
        await alice.xep("0030").get_items(jid=jid)
    await alice.xep("0030").get_info(jid=bob.boundjid.full)
    await bob.xep("0030").get_info(jid=alice.boundjid.full)
    for peer in (domain, bob.boundjid.full):
        await alice.xep("0199").send_ping(peer)
        await alice.xep("0092").get_version(peer)
    await alice.xep("0202").get_entity_time(domain)
    await alice.xep("0012").get_last_activity(domain)
    await bob.xep("0191").block("mallory@" + domain)
    await bob.xep("0191").unblock("mallory@" + domain)


async def chat(alice: Client, bob: Client) -> None:
    """Chat states, bodies full of traps, receipts, markers, and most kinds of message payload."""
    bob.use_cdata = True  # slixmpp then writes CDATA sections where it would escape
    for number, text in enumerate(TEXTS):
        sender, peer = (alice, bob) if number % 2 == 0 else (bob, alice)
        message = sender.make_message(mto=peer.boundjid.bare, mtype="chat")
        message["chat_state"] = "composing"
        message.send()
        message = sender.make_message(mto=peer.boundjid.bare, mbody=text, mtype="chat")
        message["chat_state"] = "active"
        message["request_receipt"] = True
        message["origin_id"]["id"] = sent = message["id"]
        message.send()
        await asyncio.sleep(PAUSE)
    to_alice, to_bob = alice.boundjid.bare, bob.boundjid.bare
    bob.xep("0333").send_marker(to_alice, sent, "displayed", mtype="chat")
    bob.xep("0444").send_reactions(alice.boundjid, sent, ["\U0001f44d", "\u2764\ufe0f"])
    alice.xep("0308").build_correction(sent, to_bob, mtype="chat", mbody="No, urn:xmpp:text").send()
    bob.xep("0461").make_reply(alice.boundjid.full, sent, mto=to_alice, mbody="<urn:xmpp:text>").send()
    rich = alice.make_message(mto=to_bob, mtype="chat", mbody="See example.org", msubject="xmlns='urn:x'")
    rich["body|fr"] = "Voir « http://example.org/ » à l'été"
    rich["html"]["body"] = "<p>See <a href='http://example.org/?a=1&amp;b=2'>example.org</a></p>"
    rich["oob"]["url"] = "http://example.org/picture.png"
    rich.send()
    bob.xep("0352").send_inactive()
    bob.xep("0352").send_active()
    await asyncio.sleep(PAUSE)
    bob.use_cdata = False


async def personal(alice: Client, bob: Client, muc: str) -> None:
    """PEP (avatar, nickname, tune), private storage, and the message archive."""
    me, avatar = alice.boundjid.bare, alice.xep("0084")
    await avatar.publish_avatar(PNG)
    digest = avatar.generate_id(PNG)
    await avatar.publish_avatar_metadata(
        {"id": digest, "type": "image/png", "bytes": str(len(PNG)), "url": "http://avatars.example.org/alice.png"}
    )
    options = alice.form("submit", PUBLISH_OPTIONS, "pubsub#access_model", "open")
    await alice.xep("0172").publish_nick('Alice "http://" O\'Hara', options=options)
    await alice.xep("0118").publish_tune(artist="Øystein & Søn", uri="http://example.org/")
    await bob.xep("0084").retrieve_avatar(me, digest)
    await bob.xep("0060").get_items(me, "urn:xmpp:avatar:metadata")
    await alice.xep("0060").get_node_config(me, "urn:xmpp:avatar:data")
    marks = alice.xep("0048").stanza.Bookmarks()
    marks.add_conference(f"room@{muc}", "alice", name="Room <urn:xmpp:text>", autojoin=True)
    marks.add_url("http://example.org/", name="Example")
    await alice.xep("0048").set_bookmarks(marks, method="xep_0049")
    await alice.xep("0048").get_bookmarks(method="xep_0049")
    await alice.xep("0313").get_fields()
    await alice.xep("0313").retrieve(with_jid=bob.boundjid.bare, rsm={"max": 4})


async def conference(alice: Client, bob: Client, room: JID) -> None:
    """A room: creation, configuration form, invitations, messages, archive, destruction."""
    rooms = alice.xep("0045")
    await rooms.join_muc_wait(room, "alice", maxstanzas=5, timeout=15)
    form = await rooms.get_room_config(room)
    form["values"] = {"muc#roomconfig_roomname": "Bücher", "muc#roomconfig_roomdesc": "http://example.org/"}
    await rooms.set_room_config(room, form)
    await alice.xep("0030").get_info(jid=room)
    rooms.invite(room, bob.boundjid.bare, reason="Join us, http://example.org/")
    alice.xep("0249").send_invitation(bob.boundjid, room, reason="xmlns='urn:xmpp:text'")
    await asyncio.sleep(PAUSE)
    await bob.xep("0045").join_muc_wait(room, "bob", maxstanzas=5, timeout=15)
    rooms.set_subject(room, "urn:xmpp:text & http://example.org/")
    alice.send_message(room, TEXTS[2], mtype="groupchat")
    bob.send_message(room, TEXTS[5], mtype="groupchat")
    await asyncio.sleep(PAUSE)
    await rooms.get_affiliation_list(room, "owner")
    await bob.xep("0313").retrieve(jid=room, rsm={"max": 3})
    bob.xep("0045").leave_muc(room, "bob", msg="Off to http://example.org/")
    await asyncio.sleep(PAUSE)
    await rooms.destroy(room, reason="Moved to urn:xmpp:text")


async def record(args: argparse.Namespace) -> None:
    host, _, port = args.server.rpartition(":")
    muc, (first, second) = args.muc or "muc." + args.domain, args.users
    args.out.mkdir(parents=True, exist_ok=True)
    taps: list[asyncio.Future[None]] = []

    async def enter(user: str, resource: str, name: str) -> Client:
        address, finished = await open_tap((host.strip("[]"), int(port)), args.out / f"{args.prefix}-{name}")
        taps.append(finished)
        client = Client(f"{user}@{args.domain}/{resource}", args.password)
        await client.login(address)
        return client

    alice, bob = await enter(first, "desktop", first), await enter(second, "laptop", second)
    alice.send_presence_subscription(pto=bob.boundjid.bare)  # both sides accept by themselves
    await asyncio.sleep(PAUSE)
    await discover(alice, bob, args.domain, muc)
    phone = await enter(first, "phone", first + "-phone")  # only there to receive carbons
    phone.xep("0184").auto_ack = False
    await chat(alice, bob)
    await phone.logout()
    await personal(alice, bob, muc)
    await conference(alice, bob, JID(f"room@{muc}"))
    await bob.logout()
    await alice.logout()
    await asyncio.wait_for(asyncio.gather(*taps), 10)


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a real XMPP session through a TCP tap.")
    parser.add_argument("--server", default="127.0.0.1:5222", metavar="HOST:PORT", help="plaintext c2s port")
    parser.add_argument("--domain", default="xmpp.test", help="the accounts' domain")
    parser.add_argument("--muc", metavar="DOMAIN", help="conference service (default: muc.DOMAIN)")
    parser.add_argument("--users", nargs=2, default=["alice", "bob"], metavar="NAME", help="two accounts")
    parser.add_argument("--password", default="secret", help="of both; its SCRAM proofs are recorded")
    parser.add_argument("--prefix", default="prosody", help="how the file names start")
    parser.add_argument("--out", type=Path, default=Path("recorded"), metavar="DIR")
    args = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    try:
        asyncio.run(record(args))
    except TimeoutError:
        sys.exit("no session: is the server up, with SCRAM in plaintext, a MUC service and both accounts?")
    for path in sorted(args.out.glob(f"{args.prefix}-*.xml")):
        print(f"{path.stat().st_size:7} {path.name}")


if __name__ == "__main__":
    main()
