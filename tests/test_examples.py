"""The examples run, and do what they say; the demo has its own target in the Makefile."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import xep419

pytestmark = pytest.mark.any_isa

ECHO = Path(__file__).parent.parent / "examples" / "echo_server.py"
STANZAS = (
    b"<iq type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    b'<message><body>see http://example.org/ \xf0\x9f\x98\x80</body><request xmlns="urn:xmpp:receipts"/></message>',
    b"<r xmlns='urn:xmpp:sm:3'/>",
)


@pytest.fixture
def port() -> Iterator[int]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, str(ECHO)], stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline().split()[-1])
        finally:
            server.terminate()


def exchange(port: int, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_the_echo_server_frames_and_upgrades(port: int) -> None:
    header = (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    sent = header + b"".join(STANZAS) + b" \n</stream:stream>"
    cuts = [0, 50, len(header) + 20, len(header) + 170, len(sent)]
    came = exchange(port, *(sent[start:end] for start, end in itertools.pairwise(cuts)))
    assert came.startswith(b"<?xml version='1.0'?><stream:stream ")
    assert b"xmlns:stream='https://etherx.jabber.org/streams'" in came
    assert came.endswith(b">" + b"".join(map(xep419.upgrade, STANZAS)) + b"</stream:stream>")


def test_the_echo_server_names_the_error_and_loses_no_stanza_before_it(port: int) -> None:
    came = exchange(port, b"<stream:stream>" + STANZAS[0] + b"<a></b>")
    error = (
        b"<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    )
    assert came.endswith(xep419.upgrade(STANZAS[0]) + error)
    assert exchange(port, b"").count(b"<") == 0
