"""``xep419.integrations.asyncio`` on loopback sockets: every test on asyncio's event loop and on uvloop.

One end is ours, the other a plain one that sees the wire. ``upgrade`` and ``downgrade`` say what must be there.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pytest

import xep419
from xep419 import Decryptor, EncodingError, Encryptor, LimitExceededError
from xep419.integrations.asyncio import (
    Transformation,
    TransformingProtocol,
    TransformingTransport,
    open_connection,
    start_server,
)

pytestmark = pytest.mark.any_isa


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """CPython 3.10's asyncio drops the TLS transport of a failed handshake unclosed: collected here, and not later."""
    yield
    if sys.version_info < (3, 11):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "unclosed transport <asyncio.sslproto", ResourceWarning)
            gc.collect()


STANZA = b"<message to='bob@example.org'><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
DOWN = Transformation(incoming=partial(Decryptor, downgrade=True))
#: the stream header's name is not in the Registrar's lists
ALL_DOWN = Transformation(incoming=partial(Decryptor, downgrade=True, known_only=False))
NARROW = Transformation(partial(Encryptor, max_markup=64), partial(Decryptor, downgrade=True, max_markup=64))
LONG = b"<a b='" + b"x" * 100
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine to its end; whatever the event loop's exception handler is told fails the test."""
    make = asyncio.new_event_loop
    if request.param == "uvloop":
        make = pytest.importorskip("uvloop", reason="uvloop is not installed").new_event_loop
    loop = make()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))

    def to_the_end(coroutine: Coroutine[Any, Any, None]) -> None:
        loop.run_until_complete(asyncio.wait_for(coroutine, 30))
        loop.run_until_complete(asyncio.sleep(0))
        assert told == []

    yield to_the_end
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class Recorder(asyncio.Protocol):
    """Notes what a transport does to its protocol."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.transport: Any = None
        self.received = bytearray()
        self.calls: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._keep_open = keep_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data
        self.received += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self._keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


Plain = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def listening(protocol: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


@asynccontextmanager
async def connected(ours: asyncio.Protocol, transformation: Transformation = DOWN) -> AsyncIterator[Plain]:
    """Our protocol as a server's, and a plain stream to it."""
    async with listening(lambda: TransformingProtocol(ours, transformation)) as address:
        reader, writer = await asyncio.open_connection(*address)
        while getattr(ours, "transport", True) is None:
            await asyncio.sleep(0)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    choose, at = random.Random(seed), 0
    while at < len(data):
        size = choose.choice((1, 2, 7, 64, 500, 4096))
        yield data[at : at + size]
        at += size


def test_import_of_the_package_does_not_import_asyncio() -> None:
    code = "import sys, xep419; assert 'asyncio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- a stanza leaves at once ------------------------------------------------------------------------------


def document_starts(documents: bytes) -> list[int]:
    return [found.start() for found in re.finditer(rb"(<\?xml[^>]*>\s*)?<stream:stream ", documents)]


def stanza_ends(documents: bytes) -> list[int]:
    """Offsets after each child of each document's root that has an end tag, told by expat."""
    ends: list[int] = []
    starts = document_starts(documents)
    for start, end in zip(starts, [*starts[1:], len(documents)], strict=True):
        parser, depth = expat.ParserCreate(), 0

        def opened(*_: object) -> None:
            nonlocal depth
            depth += 1

        def closed(*_: object) -> None:
            nonlocal depth
            depth -= 1
            if depth == 1:
                at = start + parser.CurrentByteIndex  # noqa: B023
                end = documents.index(b">", at) + 1 if documents.startswith(b"</", at) else -1
                ends.append(end)

        parser.StartElementHandler, parser.EndElementHandler = opened, closed
        parser.Parse(documents[start:end], False)
    # an element that closes itself ends where the next thing begins; only elements with an end tag are counted
    return sorted(end for end in ends if end > 0)


def test_recorded_sessions_hold_two_documents_and_their_stanzas_are_found(recorded: list[bytes]) -> None:
    assert len(recorded) >= 6
    for session in recorded:
        assert len(document_starts(session)) == 2
        assert len(stanza_ends(session)) > 5


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_no_complete_stanza_is_ever_held_back(recorded: list[bytes], size: int) -> None:
    for session in recorded:
        encryptor, sent, at = Encryptor(), bytearray(), 0
        for end in stanza_ends(session):
            for start in range(at, end, size):
                sent += encryptor.update(session[start : min(start + size, end)])
            at = end
            assert bytes(sent) == xep419.upgrade(session[:end])


def test_a_second_document_on_the_stream_is_upgraded_as_if_it_were_alone(recorded: list[bytes]) -> None:
    for session in recorded:
        second = document_starts(session)[1]
        encryptor = Encryptor()
        first = encryptor.update(session[:second])
        assert first == xep419.upgrade(session[:second])
        assert encryptor.update(session[second:]) + encryptor.finalize() == xep419.upgrade(session[second:])


@pytest.mark.parametrize("header", [b"<?xml version='1.0'?>", b"<stream:stream xmlns='jabber:client'>", b"</s:s>"])
def test_headers_and_footers_leave_at_once_too(header: bytes) -> None:
    assert Encryptor().update(header) == header


# -- protocol and transport -------------------------------------------------------------------------------


def test_what_is_written_is_upgraded_and_what_comes_is_downgraded(run: Run, recorded: list[bytes]) -> None:
    async def session() -> None:
        for seed, plain in enumerate(recorded):
            ours = Recorder()
            async with connected(ours) as (reader, writer):
                secure = xep419.upgrade(plain)
                for piece in pieces(secure, seed):
                    writer.write(piece)
                    await asyncio.sleep(0)
                for piece in pieces(plain, seed):
                    ours.transport.write(memoryview(piece))
                ours.transport.writelines([b"<r ", bytearray(b"/>")])
                ours.transport.close()
                assert await reader.read() == secure + b"<r />"
                assert await ours.lost is None

        async def receives() -> None:
            for seed, plain in enumerate(recorded):
                ours = Recorder()
                async with connected(ours) as (_, writer):
                    for piece in pieces(xep419.upgrade(plain), seed):
                        writer.write(piece)
                        await asyncio.sleep(0)
                    writer.close()
                    await ours.lost
                    assert bytes(ours.received) == xep419.downgrade(xep419.upgrade(plain))

        await receives()

    run(session())


def test_a_direction_without_transformer_is_left_alone(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with connected(ours, Transformation(None, None)) as (reader, writer):
            ours.transport.write(STANZA[:30])
            assert await reader.readexactly(30) == STANZA[:30]
            writer.write(xep419.upgrade(STANZA)[:70])
            writer.close()
            await ours.lost
        assert ours.received == xep419.upgrade(STANZA)[:70]

    run(session())


def test_every_connection_has_its_own_transformers(run: Run) -> None:
    async def session() -> None:
        made: list[Recorder] = []

        def accept() -> TransformingProtocol:
            made.append(Recorder())
            return TransformingProtocol(made[-1])

        async with listening(accept) as address:
            first, second = await asyncio.open_connection(*address), await asyncio.open_connection(*address)
            await until(lambda: len(made) == 2 and all(ours.transport for ours in made))
            made[0].transport.write(b"<a xmlns='ht")
            made[1].transport.write(b"tp://a'/>")
            made[0].transport.write(b"tp://a'/>")
            for ours in made:
                ours.transport.close()
            assert sorted([await first[0].read(), await second[0].read()]) == [b"<a xmlns='https://a'/>", b"tp://a'/>"]
            for _, writer in (first, second):
                writer.close()
                await writer.wait_closed()

    run(session())


def test_the_transport_passes_through_what_is_not_its_own(run: Run) -> None:
    async def session() -> None:
        ours, other = Recorder(), Recorder()
        async with connected(ours) as (_, writer):
            transport = ours.transport
            assert isinstance(transport, TransformingTransport)
            assert transport.get_extra_info("peername") == writer.get_extra_info("sockname")
            assert transport.get_extra_info("no such thing", 7) == 7
            transport.set_write_buffer_limits(high=5000, low=1000)
            assert transport.get_write_buffer_size() == 0
            assert transport.get_write_buffer_limits() == (1000, 5000)
            assert transport.can_write_eof()
            assert not transport.is_closing()
            assert transport.is_reading()
            assert transport.get_protocol() is ours
            transport.set_protocol(other)
            assert transport.get_protocol() is other
            writer.write(b"<a/>")
            await until(lambda: other.received)
            transport.close()
            assert transport.is_closing()
            await other.lost
            assert not ours.received

    run(session())


def test_only_a_protocol_that_takes_data_can_be_wrapped(run: Run) -> None:
    async def session() -> None:
        message = "protocol must be an asyncio.Protocol, not 'BufferedProtocol'"
        with pytest.raises(TypeError, match=message):
            TransformingProtocol(asyncio.BufferedProtocol())  # type: ignore[arg-type]
        async with connected(ours := Recorder()):
            with pytest.raises(TypeError, match=message):
                ours.transport.set_protocol(asyncio.BufferedProtocol())

    run(session())


# -- flow control -----------------------------------------------------------------------------------------


def test_a_peer_that_does_not_read_pauses_the_writer_until_it_does(run: Run) -> None:
    async def session() -> None:
        ours, count = Recorder(), 0
        async with connected(ours) as (reader, _):
            ours.transport.set_write_buffer_limits(high=1 << 16)
            while "pause" not in ours.calls:
                ours.transport.write(STANZA * 100)
                count += 100
                await asyncio.sleep(0)
            assert ours.transport.get_write_buffer_size() > 1 << 16
            secure = xep419.upgrade(STANZA)
            assert await reader.readexactly(len(secure) * count) == secure * count
            await until(lambda: "resume" in ours.calls)
            assert ours.calls == ["pause", "resume"]
            ours.transport.abort()
            await ours.lost

    run(session())


def test_nothing_comes_while_reading_is_paused(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with connected(ours) as (_, writer):
            ours.transport.pause_reading()
            assert not ours.transport.is_reading()
            writer.write(STANZA)
            await writer.drain()
            await asyncio.sleep(0.05)
            assert not ours.received
            ours.transport.resume_reading()
            await until(lambda: len(ours.received) == len(STANZA))
            ours.transport.close()
            await ours.lost

    run(session())


# -- the ends ---------------------------------------------------------------------------------------------


def test_half_close_sends_what_was_held_back_and_leaves_the_other_half_open(run: Run) -> None:
    async def session() -> None:
        ours = Recorder(keep_open=True)
        async with connected(ours) as (reader, writer):
            ours.transport.write(b"<a><unfinished ")
            ours.transport.write_eof()
            with pytest.raises(RuntimeError, match="after write_eof"):
                ours.transport.write(b"<late/>")
            assert await reader.read() == b"<a><unfinished "
            writer.write(b"<still open='")
            writer.write_eof()
            await until(lambda: "eof" in ours.calls)
            assert ours.received == b"<still open='"
            assert not ours.transport.is_closing()
            ours.transport.close()
            assert await ours.lost is None

    run(session())


def test_the_peers_half_close_closes_unless_the_protocol_keeps_it_open(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with connected(ours) as (reader, writer):
            writer.write_eof()
            assert await reader.read() == b""
            assert await ours.lost is None
            assert ours.calls == ["eof"]

    run(session())


def test_close_sends_what_was_held_back_and_abort_does_not(run: Run) -> None:
    async def session() -> None:
        for close, sent in (("close", b"<a/><b "), ("abort", None)):
            ours = Recorder()
            async with connected(ours) as (reader, _):
                ours.transport.write(b"<a/>")
                assert await reader.readexactly(4) == b"<a/>"
                ours.transport.write(b"<b ")
                getattr(ours.transport, close)()
                ours.transport.write(b"c='d'/>")  # as after any transport's close: dropped
                assert await ours.lost is None
                if sent:
                    assert await reader.read() == sent[4:]
                else:
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""

    run(session())


def test_a_lost_connection_is_reported_with_its_own_error(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with listening(lambda: TransformingProtocol(ours)) as address:
            peer = socket.create_connection(address)
            await until(lambda: ours.transport)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            assert isinstance(await ours.lost, ConnectionResetError)

    run(session())


# -- errors of the transformation -------------------------------------------------------------------------


def test_the_peers_bad_data_closes_with_the_typed_error(run: Run) -> None:
    async def session() -> None:
        for data, expected, offset in ((b"<a/>" + LONG, LimitExceededError, 4), (b"\xff\xfe<\0a\0", EncodingError, 0)):
            ours = Recorder()
            async with connected(ours, NARROW) as (reader, writer):
                writer.write(data)
                error = await ours.lost
                assert isinstance(error, expected)
                assert error.offset == offset
                assert ours.calls == []
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""

    run(session())


def test_bad_data_that_only_its_end_shows_closes_with_the_typed_error(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with connected(ours) as (_, writer):
            writer.write(b"<\0")
            writer.write_eof()
            assert isinstance(await ours.lost, EncodingError)
            assert ours.calls == []

    run(session())


def test_our_own_bad_data_closes_with_the_typed_error(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with connected(ours, NARROW) as (reader, _):
            ours.transport.write(b"<a/>")
            assert await reader.readexactly(4) == b"<a/>"
            ours.transport.write(LONG)
            ours.transport.write(b"'/>")
            assert isinstance(await ours.lost, LimitExceededError)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""

    run(session())


def test_a_wrong_type_is_the_callers_error_and_the_connection_lives(run: Run) -> None:
    async def session() -> None:
        ours = Recorder()
        async with connected(ours) as (reader, _):
            with pytest.raises(TypeError, match="not 'int'"):
                ours.transport.write(3)
            ours.transport.write(b"<a/>")
            ours.transport.close()
            assert await reader.read() == b"<a/>"

    run(session())


# -- streams ----------------------------------------------------------------------------------------------


def test_streams_on_both_ends_bring_through_what_was_written(run: Run, recorded: list[bytes]) -> None:
    async def session() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
            writer.close()

        plain = recorded[0] * 5
        both = Transformation(Encryptor, partial(Decryptor, downgrade=True, known_only=False))
        server = await start_server(echo, "127.0.0.1", 0, transformation=both)
        reader, writer = await open_connection(*server.sockets[0].getsockname(), transformation=both)

        async def send() -> None:
            for piece in pieces(plain, 1):
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        received, _ = await asyncio.gather(reader.read(), send())
        assert received == xep419.downgrade(plain, known_only=False)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(session())


def test_drain_waits_for_a_slow_peer_and_can_be_cancelled(run: Run) -> None:
    async def session() -> None:
        peers: list[Plain] = []
        server = await asyncio.start_server(lambda *streams: peers.append(streams), "127.0.0.1", 0, limit=1024)
        reader, writer = await open_connection(*server.sockets[0].getsockname())
        await until(lambda: peers)
        sent = 0

        async def fill() -> None:
            nonlocal sent
            while True:
                writer.write(STANZA * 1000)
                sent += 1000
                await writer.drain()

        filling = asyncio.ensure_future(fill())
        await until(lambda: writer.transport.get_write_buffer_size() > 1 << 16)
        await asyncio.sleep(0.02)
        filling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await filling
        secure = xep419.upgrade(STANZA)
        assert await peers[0][0].readexactly(len(secure) * sent) == secure * sent
        await writer.drain()
        writer.write(STANZA)  # the connection outlived the cancellation
        assert await peers[0][0].readexactly(len(secure)) == secure
        reading = asyncio.ensure_future(reader.read(10))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        peers[0][1].write(b"<a/>")
        assert await reader.read(10) == b"<a/>"
        for closing in (writer, peers[0][1]):
            closing.close()
            await closing.wait_closed()
        server.close()
        await server.wait_closed()

    run(session())


def test_a_streams_reader_and_writer_raise_the_typed_error(run: Run) -> None:
    async def session() -> None:
        caught: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            except LimitExceededError as error:
                caught.set_result(error)
            with pytest.raises(LimitExceededError):
                await writer.drain()
            writer.close()
            with pytest.raises(LimitExceededError):
                await writer.wait_closed()

        server = await start_server(serve, "127.0.0.1", 0, transformation=NARROW)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(LONG)
        assert isinstance(await caught, LimitExceededError)
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(session())


def test_a_cancelled_connection_attempt_leaves_nothing_behind(run: Run) -> None:
    async def session() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connecting = asyncio.ensure_future(open_connection(*listener.getsockname()))
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    run(session())


# -- STARTTLS ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts(certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=str(certificate))


HEADER = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def test_starttls_begins_both_streams_anew(run: Run, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(HEADER) + 11) == HEADER + b"<starttls/>"
        writer.write(HEADER + b"<proceed/>")
        assert isinstance(writer.transport, TransformingTransport)
        await writer.transport.start_tls(contexts[0], server_side=True)
        assert writer.get_extra_info("sslcontext") is not None
        while data := await reader.read(50):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def session() -> None:
        server = await start_server(serve, "127.0.0.1", 0, transformation=ALL_DOWN)
        reader, writer = await open_connection(*server.sockets[0].getsockname(), transformation=ALL_DOWN)
        writer.write(HEADER + b"<starttls/>")
        assert await reader.readexactly(len(HEADER) + 10) == HEADER + b"<proceed/>"
        assert isinstance(writer.transport, TransformingTransport)
        await writer.transport.start_tls(contexts[1], server_hostname="xmpp.test")
        for _ in range(3):
            writer.write(HEADER + STANZA)
            assert await reader.readexactly(len(HEADER + STANZA)) == HEADER + STANZA
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(session())


def test_what_comes_with_the_end_of_the_handshake_is_answered_over_tls(
    run: Run, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """A client speaks first; its header may be there before the server's own start_tls has returned."""

    class Server(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"<starttls/>":
                self.transport.write(b"<proceed/><part of='")
                self.upgrading = asyncio.ensure_future(self.transport.start_tls(contexts[0], server_side=True))
            else:
                self.transport.write(data)

    async def session() -> None:
        ours = Server()
        async with listening(lambda: TransformingProtocol(ours, DOWN)) as address:
            peer = socket.create_connection(address)
            peer.settimeout(10)

            def client() -> tuple[bytes, bytes]:
                peer.sendall(b"<starttls/>")
                before = peer.recv(100)
                while len(before) < 20:
                    before += peer.recv(100)
                with contexts[1].wrap_socket(peer, server_hostname="xmpp.test") as tls:
                    tls.sendall(xep419.upgrade(STANZA))
                    after = b""
                    while len(after) < len(xep419.upgrade(STANZA)):
                        after += tls.recv(1000)
                    return before, after

            before, after = await asyncio.get_running_loop().run_in_executor(None, client)
            assert before == b"<proceed/><part of='"
            assert after == xep419.upgrade(STANZA)
            await ours.upgrading
            await ours.lost
            assert ours.received == b"<starttls/>" + STANZA

    run(session())


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")  # asyncio's own, before CPython 3.11
def test_a_handshake_that_fails_or_is_cancelled_closes_the_connection(
    run: Run, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async def starting(ours: Recorder) -> Awaitable[None]:
        return asyncio.ensure_future(ours.transport.start_tls(contexts[0], server_side=True))

    async def session() -> None:
        ours = Recorder()
        async with connected(ours) as (_, writer):
            upgrading = await starting(ours)
            await asyncio.sleep(0.01)
            writer.write(b"<this is='no handshake'/>" * 10)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await upgrading
            await ours.lost
            assert not ours.received
        ours = Recorder()
        async with connected(ours):
            upgrading = await starting(ours)
            await asyncio.sleep(0.01)
            upgrading.cancel()  # type: ignore[attr-defined]
            with pytest.raises(asyncio.CancelledError):
                await upgrading
            await ours.lost

    run(session())
    gc.collect()
