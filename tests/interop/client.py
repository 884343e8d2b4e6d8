"""A slixmpp client that notes what the library produced, what went to the transport, and what came from it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from slixmpp import ClientXMPP

import xep419.integrations.slixmpp  # noqa: F401  # registers the plugin

from .servers import PASSWORD, Server

PLUGINS = ("0004", "0030", "0045", "0060", "0115", "0163", "0172", "0184", "0198", "0199")
TRANSPORTS = ("starttls", "direct", "plain")


#: every client made and not ended yet
open_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client(ClientXMPP):
    """``options`` are the plugin's configuration; None is a client that has not been upgraded."""

    def __init__(self, server: Server, user: str, options: dict[str, Any] | None, transport: str = "starttls") -> None:
        mechanisms = {"feature_mechanisms": {"unencrypted_scram": True}}
        super().__init__(f"{user}@{server.domain}/test", PASSWORD, plugin_config=mechanisms)
        open_clients.add(self)
        self.peer = server
        self.produced: list[bytes] = []
        self.sent: list[bytes] = []
        self.came = bytearray()
        self.ca_certs = str(server.ca)
        self.enable_starttls = transport == "starttls"
        self.enable_direct_tls = transport == "direct"
        self.enable_plaintext = transport == "plain"
        self.port = server.tls if transport == "direct" else server.c2s
        for number in PLUGINS:
            self.register_plugin("xep_" + number)
        if options is not None:
            self.register_plugin("xep_0419", options)
        self._through_plugin = self.send_raw
        self.send_raw = self._note_produced  # type: ignore[method-assign]

    def _note_produced(self, data: str | bytes) -> None:
        self.produced.append(data.encode() if isinstance(data, str) else data)
        self._through_plugin(data)

    def send_raw(self, data: str | bytes) -> None:  # the plugin stands in front of this
        self.sent.append(data.encode() if isinstance(data, str) else data)
        super().send_raw(data)

    def data_received(self, data: bytes | str) -> None:
        self.came += data.encode() if isinstance(data, str) else data
        super().data_received(data)

    def xep(self, number: str) -> Any:
        plugins: Any = self.plugin
        return plugins["xep_" + number]

    async def login(self, port: int | None = None) -> None:
        self.connect("127.0.0.1", port or self.port)
        await self.wait_until("session_start", 15)
        await self.get_roster()
        self.send_presence(pstatus="see http://example.org/ urn:xmpp:x")
        await asyncio.sleep(0.1)

    async def logout(self) -> None:
        await self.disconnect(wait=1.0)
        await asyncio.sleep(0)


async def waits(condition: Callable[[], Any], seconds: float = 10) -> Any:
    end = asyncio.get_running_loop().time() + seconds
    while not (found := condition()):
        assert asyncio.get_running_loop().time() < end, "it did not come"
        await asyncio.sleep(0.01)
    return found


async def hears_of_nicks(bob: Client, alice: Client, *, tries: int) -> bool:
    """Whether the server sends bob what he wants to hear of (XEP-0163), for which it must understand his features."""
    got: list[Any] = []
    bob.add_event_handler("user_nick_publish", got.append)
    bob.send_presence_subscription(alice.boundjid.bare)
    await waits(lambda: bob.client_roster[alice.boundjid.bare]["to"])
    for number in range(tries):  # the server asks bob for his features when it likes
        nick = f"Alice {number} http://example.org/ urn:xmpp:x"
        await alice.xep("0172").publish_nick(nick, timeout=10)
        await asyncio.sleep(0.1)
        if any(event["pubsub_event"]["items"]["item"]["nick"]["nick"] == nick for event in got):
            return True
    return False
