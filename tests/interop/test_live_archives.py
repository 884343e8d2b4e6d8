"""The SQLite archive of a real Prosody, which goes on serving: what clients get before and after."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slixmpp", reason="slixmpp is not installed")
pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from xep419.archive.databases import open_database
from xep419.archive.tally import Tally
from xep419.errors import ArchiveError

from .client import Client
from .servers import Server

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

BEFORE, MEANWHILE = 60, 60
IN_USE = re.compile(
    r"process \d+ (?=\()|\) has the database open; a server loses messages that it cannot write at once to an SQLite database"
    r": stop it first, or take --while-in-use"
)


def text(number: int) -> str:
    return f"{number} http://example.org/ urn:xmpp:x é☃😀"


async def fetch(client: Client, count: int) -> list[tuple[str, str]]:
    """What the archive holds, in order, once it is as many: each message's text and XML."""
    while True:
        found = [
            (message["body"], str(message))
            async for result in client.xep("0313").iterate()
            if (message := result["mam_result"]["forwarded"]["stanza"])["body"]
        ]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.1)


async def login(server: Server) -> tuple[Client, Client]:
    alice, bob = Client(server, "alice", None), Client(server, "bob", None)
    for client in (alice, bob):
        client.register_plugin("xep_0313")
        await client.login()
    return alice, bob


async def logout(clients: tuple[Client, Client]) -> None:
    for client in clients:
        await client.logout()


def send(clients: tuple[Client, Client], number: int) -> None:
    alice, bob = clients
    message = alice.make_message(mto=bob.boundjid.bare, mbody=text(number), mtype="chat")
    message["request_receipt"] = True
    message.send()


def reencrypt(path: Path, *, while_in_use: bool = False) -> Tally:
    """A slow job, so that a server has work of its own in the middle of it."""
    tally = Tally()
    with open_database(str(path)) as database:
        database.begin("live", while_in_use=while_in_use)
        for unit in database.units(2):
            tally.add(unit.run())
        database.finish()
    return tally


def assert_reencrypted(before: list[tuple[str, str]], after: list[tuple[str, str]], tally: Tally) -> None:
    assert tally.skipped == 0
    assert tally.insecure["urn:xmpp:receipts"] >= 2 * BEFORE  # in alice's archive and in bob's
    assert [body for body, _xml in after[:BEFORE]] == [body for body, _xml in before]
    assert all('"urn:xmpp:receipts"' in xml for _body, xml in before)
    assert all('"urn:xmpps:receipts"' in xml for _body, xml in after[:BEFORE])


async def prosody_goes_on(server: Server) -> None:
    clients = await login(server)
    earlier = len(await fetch(clients[0], 0))  # of other tests
    for number in range(BEFORE):
        send(clients, number)
    before = (await fetch(clients[0], earlier + BEFORE))[earlier:]
    path = server.directory / "data" / "archive.sqlite"
    with pytest.raises(ArchiveError) as caught:
        reencrypt(path)
    assert IN_USE.sub("", str(caught.value)).startswith(f"{path}: (lua")
    job = asyncio.get_running_loop().run_in_executor(None, functools.partial(reencrypt, path, while_in_use=True))
    for number in range(BEFORE, BEFORE + MEANWHILE):
        send(clients, number)
        await asyncio.sleep(0.005)
    tally = await job
    sending = asyncio.create_task(send_on(clients, BEFORE + MEANWHILE))
    after = (await fetch(clients[0], earlier + BEFORE + 1))[earlier:]
    sending.cancel()
    assert_reencrypted(before, after, tally)
    later = [body for body, _xml in after[BEFORE:]]  # Prosody does not archive what comes while we write
    assert later == sorted(later, key=range_of_texts().index)
    await logout(clients)


async def send_on(clients: tuple[Client, Client], number: int) -> None:
    """A message now and then: a loaded Prosody may still be at those that came while we wrote."""
    while True:
        send(clients, number)
        number += 1
        await asyncio.sleep(0.5)


def range_of_texts() -> list[str]:
    return [text(number) for number in range(BEFORE, BEFORE + MEANWHILE + 200)]


def test_prosody_goes_on_while_its_archive_is_reencrypted(
    started: Callable[[str], Server], run: Callable[[Any], None]
) -> None:
    run(prosody_goes_on(started("prosody")))
