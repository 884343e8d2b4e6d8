"""The attack that downgrade protection is for: a middle that rewrites what clients advertise to each other.

Two slixmpp clients, a server that has never heard of XEP-0419, and a relay on loopback that takes the ``s`` out of what
comes down. Each attack is run twice: without a policy it succeeds, which shows that it is one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slixmpp", reason="slixmpp is not installed")

from slixmpp.exceptions import IqTimeout

from xep419 import InsecureNamespaceError
from xep419.policy import PinStore, Policy

from .client import Client, waits
from .relay import Relay
from .servers import Server
from .test_exchange import chat, conference, disco, presence

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

INFO = re.compile(rb"<iq\b[^>]*(?:'result'|\"result\").*?</iq>", re.DOTALL)


class Middle:
    """Rewrites disco#info results on their way down, while it is ``active``; a stanza may come in pieces."""

    def __init__(self) -> None:
        self.active = False
        self.rewritten = 0

    def __call__(self, data: bytes) -> bytes:
        return INFO.sub(self._rewrite, data) if self.active else data

    def _rewrite(self, found: re.Match[bytes]) -> bytes:
        stanza = found[0]
        if b"disco#info" not in stanza:
            return stanza
        self.rewritten += 1
        return stanza.replace(b"urn:xmpps:", b"urn:xmpp:").replace(b"https://jabber.org/", b"http://jabber.org/")


@asynccontextmanager
async def attacked(server: Server, policy: Policy | None) -> AsyncIterator[tuple[Client, Client, Middle, list[Any]]]:
    """Alice behind the middle, bob beside it, and what alice's application is told."""
    middle = Middle()
    told: list[Any] = []
    alice, bob = Client(server, "alice", {"policy": policy}, "plain"), Client(server, "bob", {})
    alice.add_event_handler("xep_0419_insecure", told.append)
    async with Relay(server.c2s, down=middle) as relay:
        await alice.login(relay.port)
        await bob.login()
        yield alice, bob, middle, told
        for client in (alice, bob):
            await client.logout()


async def features(alice: Client, bob: Client) -> set[str]:
    answer = await alice.xep("0030").get_info(jid=bob.boundjid.full, timeout=5)
    return set(answer["disco_info"]["features"])


def came_since(client: Client, before: int) -> bytes:
    return bytes(client.came[before:])


def test_without_a_policy_the_attack_succeeds(server: Server, run: Callable[..., None]) -> None:
    async def session() -> None:
        async with attacked(server, None) as (alice, bob, middle, told):
            assert "urn:xmpp:receipts" in await features(alice, bob)  # downgraded for the other plugins
            assert b"urn:xmpps:receipts" in alice.came
            middle.active = True
            before = len(alice.came)
            assert "urn:xmpp:receipts" in await features(alice, bob)  # alice cannot tell
            assert b"urn:xmpp:receipts" in came_since(alice, before)
            assert b"urn:xmpps:receipts" not in came_since(alice, before)
            assert middle.rewritten == 1
            assert told == []

    run(session())


def test_with_a_policy_it_is_caught(server: Server, run: Callable[..., None], tmp_path: Path) -> None:
    async def session(pins: PinStore) -> None:
        async with attacked(server, Policy(pins=pins)) as (alice, bob, middle, told):
            assert "urn:xmpp:receipts" in await features(alice, bob)
            assert "urn:xmpps:receipts" in pins.of(bob.boundjid.bare)
            middle.active = True
            with pytest.raises(IqTimeout):
                await features(alice, bob)
            assert middle.rewritten == 1
            assert {(type(error), error.peer) for error in told} == {(InsecureNamespaceError, bob.boundjid.bare)}
            assert told[-1].condition == "policy-violation"
            middle.active = False
            assert "urn:xmpp:receipts" in await features(alice, bob)  # the stream lives

    with PinStore(tmp_path / "pins.sqlite") as pins:
        run(session(pins))
        assert len(pins.of(f"bob@{server.domain}")) > 3


def test_pins_of_an_earlier_session_catch_a_middle_that_is_there_from_the_start(
    server: Server, run: Callable[..., None], tmp_path: Path
) -> None:
    async def honest(pins: PinStore) -> None:
        async with attacked(server, Policy(pins=pins)) as (alice, bob, _, _):
            await features(alice, bob)

    async def attack(pins: PinStore | None) -> bool:
        async with attacked(server, Policy(pins=pins)) as (alice, bob, middle, told):
            middle.active = True
            try:
                await features(alice, bob)
            except IqTimeout:
                assert any(error.peer == bob.boundjid.bare for error in told)
                return True
            assert told == []
            return False

    async def session() -> None:
        path = tmp_path / "pins.sqlite"
        with PinStore() as first_use:
            assert not await attack(first_use)  # this it cannot stop, and does not claim to
        with PinStore(path) as pins:
            await honest(pins)
        with PinStore(path, create=False) as pins:
            assert await attack(pins)
        with PinStore() as nothing_pinned:
            preloaded = Policy(pins=nothing_pinned, preload=[server.domain])
            async with attacked(server, preloaded) as (alice, bob, middle, told):
                middle.active = True
                with pytest.raises(IqTimeout):
                    await features(alice, bob)
                assert "preloaded" in str(told[-1])

    run(session())


def test_clients_that_do_everything_are_never_refused(server: Server, run: Callable[..., None], tmp_path: Path) -> None:
    """No false alarm in a whole session through an honest server, twice, with one store for both clients."""

    async def session(pins: PinStore) -> None:
        for _ in range(2):
            told: list[Any] = []
            policy = Policy(pins=pins)
            clients = [Client(server, user, {"policy": policy}) for user in ("alice", "bob")]
            for client in clients:
                client.add_event_handler("xep_0419_insecure", told.append)
                await client.login()
            for part in (chat, presence, disco, conference):
                await part(*clients)
            await waits(lambda: len(pins) > 5)
            for client in clients:
                await client.logout()
            assert told == []

    with PinStore(tmp_path / "pins.sqlite") as pins:
        run(session(pins))
