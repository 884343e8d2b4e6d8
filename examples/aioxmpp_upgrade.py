#!/usr/bin/env python3
"""aioxmpp with secure namespaces: what goes out in messages is upgraded, what comes in is downgraded.

The server need not know of XEP-0419, so stream header, negotiation, queries and presence go out as they are.

pip install xep419 aioxmpp pytz
PASSWORD=secret python3 aioxmpp_upgrade.py alice@example.org bob@example.org "Hey, Bob!"
"""

import argparse
import asyncio
import os
from typing import Any

import aioxmpp
import aioxmpp.dispatcher
import aioxmpp.protocol

import xep419


class UpgradingTransport:
    """aioxmpp's transport, but for what is written: whole messages leave it upgraded."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._stream = xep419.StanzaStream()
        self._header: bytes | None = None
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: memoryview) -> None:
        stanzas = self._stream.feed(data)
        if self._stream.header is not self._header:  # the first, or another after SASL or STARTTLS
            self._header = self._stream.header
            self._transport.write(self._header or b"")
        for stanza in stanzas:
            self._transport.write(xep419.encrypt(stanza) if stanza.startswith(b"<message") else stanza)
        if self._stream.closed and not self._closed:
            self._closed = True
            self._transport.write(b"</stream:stream>")


class UpgradedStream(aioxmpp.protocol.XMLStream):
    """aioxmpp's stream with both directions transformed."""

    def connection_made(self, transport: Any) -> None:
        self._decryptor = xep419.Decryptor(downgrade=True)
        super().connection_made(UpgradingTransport(transport))

    def data_received(self, blob: bytes) -> None:
        super().data_received(self._decryptor.update(blob))


async def talk(jid: str, peer: str, text: str, **options: Any) -> str:
    """Sends one message and gives the body of the next that comes from the peer."""
    aioxmpp.protocol.XMLStream = UpgradedStream  # its connectors make their streams by this name
    security = aioxmpp.make_security_layer(os.environ["PASSWORD"], no_verify=options.pop("no_verify", False))
    client = aioxmpp.PresenceManagedClient(aioxmpp.JID.fromstr(jid), security, **options)
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def received(message: aioxmpp.Message) -> None:
        if message.body and not answer.done():
            answer.set_result(message.body.any())

    client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher).register_callback(
        aioxmpp.MessageType.CHAT, aioxmpp.JID.fromstr(peer), received
    )
    async with client.connected():
        message = aioxmpp.Message(to=aioxmpp.JID.fromstr(peer), type_=aioxmpp.MessageType.CHAT)
        message.body[None] = text
        message.xep0184_request_receipt = True
        await client.send(message)
        return await answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Send one message with secure namespaces, print the answer.")
    parser.add_argument("jid")
    parser.add_argument("peer")
    parser.add_argument("text")
    arguments = parser.parse_args()
    print(asyncio.run(talk(arguments.jid, arguments.peer, arguments.text)))


if __name__ == "__main__":
    main()
