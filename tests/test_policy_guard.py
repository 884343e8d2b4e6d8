"""A policy at the mouth of a stream: ``GuardedStream``, ``StreamGuard``, and asyncio connections on loopback.

``StanzaStream`` says what must come through; what must not is written out.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xep419
from xep419 import Decryptor, InsecureNamespaceError, MalformedXMLError, RestrictedXMLError, StanzaStream, XEP419Error
from xep419.integrations import asyncio as integration
from xep419.integrations.asyncio import Transformation, TransformingProtocol, open_connection, start_server
from xep419.policy import GuardedStream, MalformedJIDError, PinStore, PinStoreError, Policy, StreamGuard

pytestmark = pytest.mark.any_isa

HEADER = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
SECURE = b"<iq from='bob@example.org/phone' id='1'><query><feature var='urn:xmpps:ping'/></query></iq>"
REWRITTEN = SECURE.replace(b"urn:xmpps:", b"urn:xmpp:")
FROM_SERVER = b"<iq id='2'><ping xmlns='urn:xmpp:ping'/></iq>"
PRESENCE = b"<presence from='bob@example.org/phone'><c xmlns='urn:xmpp:ping'/></presence>"
END = b"</stream:stream>"


@pytest.fixture
def policy() -> Iterator[Policy]:
    with PinStore() as pins:
        yield Policy(pins=pins)


def guarded(policy: Policy, **options: Any) -> GuardedStream:
    return GuardedStream(policy, peer="alice@example.org", **options)


# -- GuardedStream ------------------------------------------------------------------------------------------


def test_stanzas_come_through_as_from_a_stanza_stream(policy: Policy, recorded: list[bytes]) -> None:
    for session in recorded:
        plain, guard = StanzaStream(), GuardedStream(Policy(), peer="example.org")
        for at in range(0, len(session), 100):
            assert guard.feed(session[at : at + 100]) == plain.feed(session[at : at + 100])
            assert (guard.header, guard.closed, guard.pending) == (plain.header, plain.closed, plain.pending)
        guard.reset()
        assert (guard.header, guard.pending) == (None, b"")


def test_a_refused_stanza_ends_the_stream_and_nothing_before_it_is_lost(policy: Policy) -> None:
    stream = guarded(policy)
    assert stream.feed(HEADER + SECURE) == [SECURE]
    with pytest.raises(InsecureNamespaceError) as told:
        stream.feed(FROM_SERVER + PRESENCE + REWRITTEN + SECURE + b"<iq")
    error = told.value
    assert error.stanzas == (FROM_SERVER, PRESENCE)
    assert error.stanza == REWRITTEN
    assert error.offset == REWRITTEN.index(b"urn:xmpp:")
    assert (error.peer, error.condition) == ("bob@example.org", "policy-violation")
    for again in (partial(stream.feed, b"<presence/>"), stream.reset):
        with pytest.raises(InsecureNamespaceError) as repeated:
            again()
        assert str(repeated.value) == str(error)
        assert (repeated.value.stanza, repeated.value.stanzas) == (REWRITTEN, ())


def test_a_stanza_is_judged_as_its_senders_or_all_as_the_peers(policy: Policy) -> None:
    guarded(policy).feed(HEADER + SECURE)
    guarded(policy).feed(HEADER + REWRITTEN.replace(b"bob@", b"carol@") + FROM_SERVER)
    guarded(policy).feed(HEADER + REWRITTEN.replace(b"/phone", b""))  # the server says it for the account
    with pytest.raises(InsecureNamespaceError):
        guarded(policy).feed(HEADER + REWRITTEN.replace(b"from='bob@", b"type='result'\nfrom = '&#98;ob@"))
    client = partial(GuardedStream, policy, by_sender=False)
    client(peer="carol@example.org/x").feed(HEADER + REWRITTEN)  # whatever from says
    client(peer="carol@example.org/x").feed(HEADER + SECURE)
    with pytest.raises(InsecureNamespaceError) as told:
        client(peer="carol@example.org/x").feed(HEADER + REWRITTEN)
    assert told.value.peer == "carol@example.org"


def test_presence_is_not_judged_unless_told(policy: Policy) -> None:
    stream = guarded(policy)
    stream.feed(HEADER + SECURE + PRESENCE)
    with pytest.raises(InsecureNamespaceError):
        guarded(policy, unjudged=()).feed(HEADER + PRESENCE)
    guarded(policy, unjudged=("iq",)).feed(HEADER + REWRITTEN)


def test_what_is_transformed_was_judged_before(policy: Policy) -> None:
    secure = [SECURE, b"<iq from='bob@example.org/phone'><a xmlns='https://jabber.org/protocol/disco#info'/></iq>"]
    assert guarded(policy, transform="decrypt").feed(HEADER + b"".join(secure)) == [xep419.downgrade(s) for s in secure]
    assert policy.pins is not None
    assert len(policy.pins.of("bob@example.org")) == 2
    with pytest.raises(InsecureNamespaceError):
        guarded(policy, transform="encrypt").feed(HEADER + REWRITTEN)
    assert guarded(policy, transform="encrypt").feed(HEADER + FROM_SERVER) == [xep419.encrypt(FROM_SERVER)]
    with pytest.raises(ValueError, match="transform must be 'encrypt', 'decrypt' or None, not 'x'"):
        guarded(policy, transform="x")


def test_errors_of_the_stream_have_the_stanzas_that_were_admitted(policy: Policy) -> None:
    guarded(policy).feed(HEADER + SECURE)
    with pytest.raises(MalformedXMLError) as told:
        guarded(policy).feed(HEADER + SECURE + b"<a></b>")
    assert told.value.stanzas == (SECURE,)
    with pytest.raises(InsecureNamespaceError) as refused:  # the first thing that is wrong
        guarded(policy).feed(HEADER + SECURE + REWRITTEN + b"<a></b>")
    assert refused.value.stanzas == (SECURE,)
    with pytest.raises(MalformedJIDError) as malformed:
        guarded(policy).feed(HEADER + SECURE.replace(b"bob@", b"@"))
    assert malformed.value.condition == "improper-addressing"
    with pytest.raises(MalformedJIDError):
        GuardedStream(policy, peer="@")


def test_a_store_that_fails_ends_the_stream_with_the_stanza_in_hand(policy: Policy) -> None:
    stream = guarded(policy)
    stream.feed(HEADER)
    assert policy.pins is not None
    policy.pins.close()
    with pytest.raises(PinStoreError) as told:
        stream.feed(PRESENCE + SECURE)
    assert (told.value.stanzas, told.value.stanza) == ((PRESENCE,), SECURE)
    assert told.value.condition == "internal-server-error"


@pytest.mark.any_python
@pytest.mark.outer
def test_ten_thousand_peers_on_one_stream(policy: Policy) -> None:
    stream = guarded(policy)
    stream.feed(HEADER)
    for stanza in (SECURE, REWRITTEN.replace(b"urn:xmpp:ping", b"urn:xmpp:free"), SECURE):
        for number in range(10_000):
            stream.feed(stanza.replace(b"bob", b"user%d" % number))
    assert policy.pins is not None
    assert len(policy.pins) == 10_000
    with pytest.raises(InsecureNamespaceError):
        stream.feed(REWRITTEN.replace(b"bob", b"user9999"))


# -- StreamGuard --------------------------------------------------------------------------------------------


def guard(policy: Policy, **options: Any) -> StreamGuard:
    return StreamGuard(policy, peer="alice@example.org", **options)


@pytest.mark.parametrize("size", [1, 3, 100, 1 << 20])
def test_admitted_bytes_come_through_one_by_one(recorded: list[bytes], size: int) -> None:
    for session in recorded:
        transformer = guard(Policy())
        made = b"".join(transformer.update(session[at : at + size]) for at in range(0, len(session), size))
        assert made + transformer.finalize() == session


@given(st.data())
def test_a_stanza_is_given_when_it_is_whole_and_never_before(data: st.DataObject) -> None:
    parts = [HEADER, SECURE, b" ", FROM_SERVER, b"\n\n", PRESENCE, HEADER, SECURE, b"\t", END]
    whole = b"".join(parts)
    bounds = [sum(map(len, parts[: count + 1])) for count in range(len(parts))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1))) | {len(whole)})
    transformer, made, before = guard(Policy()), b"", 0
    for cut in cuts:
        made += transformer.update(whole[before:cut])
        before = cut
        assert whole.startswith(made)
        complete = max((bound for bound in bounds if bound <= cut), default=0)
        assert len(made) <= complete or whole[complete : len(made)].isspace()
        assert len(made) >= max(
            (b for b, part in zip(bounds, parts, strict=True) if b <= cut and not part.isspace()), default=0
        )
    assert made == whole


def test_a_refusal_has_the_bytes_before_it(policy: Policy) -> None:
    guarded(policy).feed(HEADER + SECURE)
    transformer = guard(policy)
    with pytest.raises(InsecureNamespaceError) as told:
        transformer.update(HEADER + b"\n" + SECURE + b" " + FROM_SERVER + b" " + REWRITTEN + SECURE)
    assert told.value.stanzas == (HEADER + b"\n" + SECURE + b" " + FROM_SERVER,)
    assert told.value.stanza == REWRITTEN
    with pytest.raises(InsecureNamespaceError) as again:
        transformer.update(SECURE)
    assert again.value.stanzas == ()
    with pytest.raises(InsecureNamespaceError) as told:
        guard(policy).update(HEADER + b" " + REWRITTEN)
    assert told.value.stanzas == (HEADER,)
    transformer = guard(policy)
    assert transformer.update(HEADER + SECURE[:9]) == HEADER
    with pytest.raises(InsecureNamespaceError) as told:
        transformer.update(SECURE[9:] + REWRITTEN)
    assert told.value.stanzas == (SECURE,)


def test_a_keep_alive_comes_through_at_once(policy: Policy) -> None:
    transformer = guard(policy)
    assert transformer.update(HEADER + SECURE) == HEADER + SECURE
    assert transformer.update(b" ") == b" "
    assert transformer.update(b"<iq") == b""
    assert transformer.update(b" ") == b""
    assert transformer.update(b"/>") == b"<iq />"


def test_admitted_bytes_go_on_through_the_next_transformer(policy: Policy) -> None:
    transformer = guard(policy, then=partial(Decryptor, downgrade=True))
    assert transformer.update(HEADER + SECURE) == HEADER + REWRITTEN
    with pytest.raises(InsecureNamespaceError) as told:
        transformer.update(SECURE + REWRITTEN)
    assert told.value.stanzas == (REWRITTEN,)
    whole = guard(policy, then=partial(Decryptor, downgrade=True))
    assert whole.update(HEADER + SECURE + END) + whole.finalize() == HEADER + REWRITTEN + END


def test_an_end_in_the_middle_of_a_stanza_is_told(policy: Policy) -> None:
    transformer = guard(policy)
    transformer.update(HEADER + SECURE)
    assert transformer.finalize() == b""
    transformer.update(REWRITTEN[:20])
    with pytest.raises(MalformedXMLError) as told:
        transformer.finalize()
    assert str(told.value) == "expected the rest of a stanza, got the end after 20 bytes of it"


@pytest.mark.parametrize(
    ("before", "piece", "restricted"),
    [
        (HEADER + b"<message><body>", b"x", True),
        (HEADER + b"<a>", b"<b/>", True),
        (b"<stream a='", b"x", True),
        (HEADER + b"<!-- c -->", b" ", False),
        (HEADER + b"<a/><!--", b"x", False),
    ],
)  # fmt: skip
def test_the_time_is_linear_and_the_memory_bounded_in_pieces_of_one_byte(
    before: bytes, piece: bytes, restricted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held is copied no more than a few times, and what need not be held is not."""
    copied = 0

    def pending(stream: GuardedStream) -> bytes:
        nonlocal copied
        copied += len(stream._stream.pending)
        return stream._stream.pending

    monkeypatch.setattr(GuardedStream, "pending", property(pending))
    transformer = guard(Policy(), restricted=restricted, max_stanza=1 << 20)
    transformer.update(before[:-1])
    transformer.update(before[-1:])
    fed = 0
    for _ in range(20_000):
        for at in range(len(piece)):
            transformer.update(piece[at : at + 1])
            fed += 1
    assert copied < 4 * (fed + len(before)) + 10_000
    assert len(transformer._held) <= (10_000 if piece == b" " else fed + len(before))


def test_a_stanza_without_end_is_not_held_for_ever(policy: Policy) -> None:
    transformer = guard(policy, max_stanza=1_000)
    transformer.update(HEADER)
    with pytest.raises(xep419.LimitExceededError):
        transformer.update(b"<message>" + b"x" * 1_000)
    with pytest.raises(RestrictedXMLError):
        guard(policy).update(HEADER + b"<!-- -->")


# -- asyncio ------------------------------------------------------------------------------------------------

Run = Callable[[Coroutine[Any, Any, None]], None]
POLICY_VIOLATION = (
    b"<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    make = asyncio.new_event_loop
    if request.param == "uvloop":
        make = pytest.importorskip("uvloop", reason="uvloop is not installed").new_event_loop
    loop = make()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 30))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert told == []


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(10)
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side has closed."""
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    return data


def test_a_refused_stanza_closes_the_connection_with_a_stream_error(policy: Policy, run: Run) -> None:
    incoming = partial(StreamGuard, policy, peer="example.org", then=partial(Decryptor, downgrade=True))

    async def session() -> None:
        with listening() as listener:
            reader, writer = await open_connection(
                *listener.getsockname(), transformation=Transformation(incoming=incoming)
            )
            with accepted(listener) as middle:
                writer.write(HEADER)
                middle.sendall(HEADER + SECURE)
                assert await reader.readexactly(len(HEADER + REWRITTEN)) == HEADER + REWRITTEN
                middle.sendall(FROM_SERVER + REWRITTEN + SECURE)
                with pytest.raises(InsecureNamespaceError) as told:
                    await reader.readexactly(1_000)
                assert told.value.stanza == REWRITTEN
                came = await asyncio.get_running_loop().run_in_executor(None, rest, middle)
                assert came == xep419.upgrade(HEADER) + POLICY_VIOLATION
                assert writer.transport.is_closing()
                assert writer.transport._farewell.cancelled()  # type: ignore[attr-defined]
                writer.close()

    run(session())


def test_a_protocol_is_given_what_came_before_a_refused_stanza(policy: Policy, run: Run) -> None:
    policy.learn(SECURE, peer="bob@example.org")

    class Recorder(asyncio.Protocol):
        received = b""

        def __init__(self) -> None:
            self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.received += data

        def connection_lost(self, error: Exception | None) -> None:
            self.lost.set_result(error)

    async def session() -> None:
        transformation = Transformation(incoming=partial(StreamGuard, policy, peer="example.org"))
        recorder = Recorder()
        with listening() as listener:
            await asyncio.get_running_loop().create_connection(
                lambda: TransformingProtocol(recorder, transformation), *listener.getsockname()
            )
            with accepted(listener) as middle:
                middle.sendall(HEADER + SECURE + b" " + FROM_SERVER + REWRITTEN + SECURE)
                assert isinstance(await recorder.lost, InsecureNamespaceError)
        assert recorder.received == HEADER + SECURE + b" " + FROM_SERVER

    run(session())


def test_before_a_stream_was_begun_there_is_none_to_end(policy: Policy, run: Run) -> None:
    policy.learn(SECURE, peer="bob@example.org")
    lost: list[BaseException | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except XEP419Error as error:
            lost.append(error)
        writer.close()

    async def session() -> None:
        incoming = partial(StreamGuard, policy, peer="bob@example.org/x", by_sender=False)
        server = await start_server(answer, "127.0.0.1", 0, transformation=Transformation(incoming=incoming))
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(HEADER + FROM_SERVER)
        with contextlib.suppress(ConnectionResetError):  # or an end of file: the server sends nothing
            assert await reader.read() == b""
        writer.close()
        server.close()
        await server.wait_closed()

    run(session())
    assert [type(error) for error in lost] == [InsecureNamespaceError]


def test_who_does_not_read_the_stream_error_loses_the_connection(
    policy: Policy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integration, "FAREWELL", 0.2)
    policy.learn(SECURE, peer="bob@example.org")

    async def session() -> None:
        incoming = partial(StreamGuard, policy, peer="example.org")
        with listening() as listener:
            reader, writer = await open_connection(
                *listener.getsockname(), transformation=Transformation(None, incoming)
            )
            with accepted(listener) as middle:
                writer.write(HEADER + b" " * (1 << 24))  # more than the kernel takes
                middle.sendall(HEADER + REWRITTEN)
                began = time.monotonic()
                with pytest.raises(InsecureNamespaceError):
                    await reader.readexactly(1_000)
                assert 0.1 < time.monotonic() - began < 5
                writer.close()

    run(session())


def test_a_guarded_connection_that_ends_well_ends_as_any(policy: Policy, run: Run) -> None:
    async def session() -> None:
        incoming = partial(StreamGuard, policy, peer="example.org")
        with listening() as listener:
            reader, writer = await open_connection(
                *listener.getsockname(), transformation=Transformation(incoming=incoming)
            )
            with accepted(listener) as server:
                server.sendall(HEADER + SECURE + END)
                server.shutdown(socket.SHUT_WR)
                assert await reader.read() == HEADER + SECURE + END
                writer.close()
                await writer.wait_closed()

    run(session())
