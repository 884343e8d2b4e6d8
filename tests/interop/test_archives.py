"""A real server's archive, re-encrypted while it is stopped: the server gives the same messages, with secure names."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slixmpp", reason="slixmpp is not installed")

from xep419.archive.formats import recognise
from xep419.archive.recoding import Recoding
from xep419.archive.tally import Tally

from . import servers
from .client import Client, waits

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

TEXTS = (
    "see http://example.org/ & urn:xmpp:text <tag> é ☃ 😀 'q' \"d\" \\ ]]>",
    "line\nline\ttab <a xmlns='http://x'/>",
    'item({ ["xmlns"] = "http://x"; });\nitem({});\n',
)


@pytest.fixture
def stopped(certificate: Path) -> Iterator[tuple[Path, Callable[[], AbstractContextManager[servers.Server]]]]:
    """A Prosody's data directory, and what starts the server on it."""
    with contextlib.ExitStack() as running:
        try:
            found = running.enter_context(servers.prosody_stopped(certificate, archive="internal"))
        except servers.NotInstalledError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield found


async def talk(server: servers.Server) -> None:
    alice, bob = Client(server, "alice", None), Client(server, "bob", None)
    got: list[Any] = []
    receipts: list[Any] = []
    bob.add_event_handler("message", lambda message: got.append(message) if message["body"] else None)
    alice.add_event_handler("receipt_received", receipts.append)
    for client in (alice, bob):
        await client.login()
    for text in TEXTS:
        message = alice.make_message(mto=bob.boundjid.full, mbody=text, mtype="chat")
        message["request_receipt"] = True
        message.send()
    await waits(lambda: len(got) == len(receipts) == len(TEXTS))
    for client in (alice, bob):
        await client.logout()


async def archived(server: servers.Server, user: str) -> tuple[list[str], bytes]:
    """The bodies that a query of the archive gives (XEP-0313), and what came over the wire."""
    client = Client(server, user, None)
    client.register_plugin("xep_0313")
    await client.login()
    before = len(client.came)
    results = client.xep("0313").retrieve(iterator=True)
    bodies = [
        found["mam_result"]["forwarded"]["stanza"]["body"] async for page in results for found in page["mam"]["results"]
    ]
    came = bytes(client.came[before:])
    await client.logout()
    return bodies, came


def reencrypt(path: Path) -> Tally:
    kind, recoding, tally = recognise(path.read_bytes(), Recoding()), Recoding(), Tally()
    assert kind is not None
    assert kind.name == "prosody-internal"
    target = io.BytesIO()
    with path.open("rb") as source:
        kind.recode([source], [target], recoding, tally)
    with path.open("rb") as source:
        proved = kind.prove([source], [io.BytesIO(target.getvalue())], recoding)
    assert proved == (tally.stanzas, tally.letters)
    path.write_bytes(target.getvalue())  # in place: the file stays the server's
    return tally


def test_prosody_gives_the_same_messages_from_a_reencrypted_archive(
    stopped: tuple[Path, Callable[[], AbstractContextManager[servers.Server]]], run: Callable[..., None]
) -> None:
    data, start = stopped
    before: dict[str, list[str]] = {}

    async def fill(server: servers.Server) -> None:
        await talk(server)
        for user in ("alice", "bob"):
            before[user], came = await archived(server, user)
            assert sorted(filter(None, before[user])) == sorted(TEXTS)
            assert b"'urn:xmpp:receipts'" in came

    async def ask(server: servers.Server) -> None:
        for user in ("alice", "bob"):
            bodies, came = await archived(server, user)
            assert bodies == before[user]
            assert came.count(b"'urn:xmpps:receipts'") == 2 * len(TEXTS)  # each message's request, and its receipt
            assert b"'urn:xmpp:receipts'" not in came

    with start() as server:
        run(fill(server))
    lists = sorted(data.rglob("archive/*.list"))
    assert [path.stem for path in lists] == ["alice", "bob"]
    for path in lists:
        tally = reencrypt(path)
        assert (tally.stanzas, tally.skips) == (2 * len(TEXTS), [])
        assert tally.insecure["urn:xmpp:receipts"] == 2 * len(TEXTS)
    with start() as server:
        run(ask(server))
