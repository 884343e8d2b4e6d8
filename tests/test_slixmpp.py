"""The slixmpp plugin on a client without a server: what it hands to the transport, and what it makes of what comes.

``tests/interop`` has it talk to real servers.
"""

from __future__ import annotations

import asyncio
import builtins
import importlib
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

import xep419
from xep419 import InsecureNamespaceError, Scope, XEP419Error

pytest.importorskip("slixmpp", reason="slixmpp is not installed")

from slixmpp import ClientXMPP

from xep419.integrations.slixmpp import MAX_REQUESTS, XEP_0419
from xep419.policy import PinStore, PinStoreError, Policy

pytestmark = pytest.mark.any_isa

HEADER = "<stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
RECEIPT = "<request xmlns='urn:xmpp:receipts'/>"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)


class Client(ClientXMPP):
    def __init__(self, **options: Any) -> None:
        super().__init__("alice@example.org/desk", "secret")
        self.register_plugin("xep_0419", options)
        self.wire = Wire()
        self.transport = self.wire  # type: ignore[assignment]
        self.init_parser()
        self.data_received(HEADER.encode())

    def sent(self, data: bytes | str) -> bytes:
        self.wire.sent.clear()
        self.send_raw(data)
        (wire,) = self.wire.sent
        return wire


async def settled() -> None:
    """What is ready has run, and what that made ready."""
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    asyncio.set_event_loop(None)
    loop.close()


def upgraded(data: str) -> bytes:
    secure = xep419.upgrade(data).encode()
    assert secure != data.encode()
    return secure


# -- out --------------------------------------------------------------------------------------------------

BETWEEN_CLIENTS = [
    f"<message to='bob@example.org'><body>http://x</body>{RECEIPT}</message>",
    f"<message to='bob@example.org/phone' type='chat'>{RECEIPT}</message>",
    f"<message to='room@muc.example.org' type='groupchat'>{RECEIPT}</message>",
    f'<message xml:lang="a>b" to="bob@example.org">{RECEIPT}</message>',
    "<message to='room@muc.example.org/bob'><x xmlns='http://jabber.org/protocol/muc#user'/></message>",
    "<iq to='bob@example.org/phone' type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    "<iq to='bob@example.org/phone' type='result' id='1'><a xmlns='jabber:x'><feature var='urn:xmpp:ping'/></a></iq>",
]
FOR_SERVERS = [
    "<?xml version='1.0'?>" + HEADER,
    "</stream:stream>",
    " ",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<enable xmlns='urn:xmpp:sm:3' resume='true'/>",
    "<iq type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    "<iq to='example.org' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<iq to='bob@example.org' type='get' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq>",
    "<iq to='pubsub.example.org/x' type='get' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq>",
    "<message><no-store xmlns='urn:xmpp:hints'/></message>",
    "<message to='pubsub.example.org'><x xmlns='http://jabber.org/protocol/pubsub'/></message>",
    "<message to='room@muc.example.org'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='c@d'/></x></message>",
    "<message to='room@muc.example.org'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
    "<value>http://jabber.org/protocol/muc#request</value></field></x></message>",
    "<presence><c xmlns='http://jabber.org/protocol/caps' node='http://x' hash='sha-1' ver='x'/></presence>",
    "<presence to='room@muc.example.org/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
    "<not xmlns='http://well-formed'",
]


@pytest.mark.parametrize("stanza", BETWEEN_CLIENTS)
def test_stanzas_between_clients_are_upgraded(stanza: str) -> None:
    client = Client()
    assert client.sent(stanza) == upgraded(stanza)
    assert client.sent(stanza.encode()) == upgraded(stanza)
    assert Client(upgrade_outgoing=False).sent(stanza) == stanza.encode()
    assert Client(scope=Scope.REFERENCES).sent(stanza) == stanza.encode()


@pytest.mark.parametrize("stanza", FOR_SERVERS)
def test_what_the_server_must_understand_is_left_alone(stanza: str) -> None:
    assert Client().sent(stanza) == stanza.encode()
    assert Client(upgrade_to_server=True).sent(stanza) == xep419.upgrade(stanza).encode()


def test_a_name_can_be_added_to_those_that_services_read() -> None:
    stanza = "<message to='bob@example.org'><no-store xmlns='urn:xmpp:hints'/></message>"
    assert Client().sent(stanza) == upgraded(stanza)
    assert Client(service_names={"urn:xmpp:hints"}).sent(stanza) == stanza.encode()


# -- in ---------------------------------------------------------------------------------------------------


def receive(client: Client, stanza: str, chunk: int = 7) -> list[Any]:
    """What the client's message handlers get of a stanza that comes in small pieces."""
    got: list[Any] = []
    client.add_event_handler("message", got.append)
    data = stanza.encode()
    for at in range(0, len(data), chunk):
        client.data_received(data[at : at + chunk])
    if hasattr(client.parser, "flush"):  # expat 2.6 puts off what comes in small pieces
        client.parser.flush()
        client.data_received(b" ")
    client.loop.run_until_complete(settled())
    return got


MESSAGE = (
    "<message from='bob@example.org/phone' type='chat' id='7'><body>see https://example.org/ \U0001f600 &lt;a "
    "xmlns='urn:xmpps:x'&gt;</body><request xmlns='urn:xmpps:receipts'/><x xmlns='https://born.secure/'/></message>"
)


def test_what_comes_is_downgraded_for_the_other_plugins() -> None:
    client = Client()
    client.register_plugin("xep_0184", {"auto_ack": False})
    (message,) = receive(client, MESSAGE)
    assert message["request_receipt"] is True
    assert message["body"] == "see https://example.org/ \U0001f600 <a xmlns='urn:xmpps:x'>"
    assert message.xml[2].tag == "{https://born.secure/}x"


def test_downgrading_can_be_turned_off_or_taken_beyond_the_registered_names() -> None:
    (message,) = receive(Client(downgrade_incoming=False), MESSAGE)
    assert message.xml[1].tag == "{urn:xmpps:receipts}request"
    (message,) = receive(Client(known_only=False), MESSAGE)
    assert message.xml[2].tag == "{http://born.secure/}x"


REQUEST = "<iq from='bob@example.org/phone' type='get' id='%s'><query xmlns='%s'/></iq>"
REPLY = (
    "<iq to='bob@example.org/phone' type='result' id='%s'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
)


def test_a_reply_to_an_insecure_request_stays_insecure_once() -> None:
    client = Client()
    receive(client, REQUEST % (7, "http://jabber.org/protocol/disco#info"))
    receive(client, REQUEST % (8, "https://jabber.org/protocol/disco#info"))
    receive(client, REQUEST % (9, "jabber:iq:version"))
    assert client.sent(REPLY % 8) == upgraded(REPLY % 8)
    assert client.sent(REPLY % 9) == upgraded(REPLY % 9)
    assert client.sent(REPLY % 7) == (REPLY % 7).encode()
    assert client.sent(REPLY % 7) == upgraded(REPLY % 7)


def test_requests_that_are_never_answered_are_forgotten() -> None:
    client = Client()
    for number in range(MAX_REQUESTS + 1):
        request = ElementTree.fromstring(REQUEST % (number, "http://x"))
        client.incoming_filter(request)
    assert client.sent(REPLY % 0) == upgraded(REPLY % 0)
    assert client.sent(REPLY % 1) == (REPLY % 1).encode()


# -- policy -----------------------------------------------------------------------------------------------


def refused(client: Client, stanza: str) -> tuple[list[Any], list[InsecureNamespaceError]]:
    errors: list[InsecureNamespaceError] = []
    client.add_event_handler("xep_0419_insecure", errors.append)
    client._always_send_everything = True
    client._run_out_filters = asyncio.ensure_future(client.run_filters(), loop=client.loop)
    client.wire.sent.clear()
    return receive(client, stanza), errors


def test_require_secure_refuses_an_insecure_name_between_clients() -> None:
    client = Client(require_secure=True)
    insecure = f"<message from='bob@example.org/phone' type='chat' id='7'><body>x</body>{RECEIPT}<y xmlns='http://y'/></message>"
    got, (error,) = refused(client, insecure)
    assert got == []
    assert str(error) == (
        "expected 'urn:xmpps:receipts' from bob@example.org (policy requires it), got 'urn:xmpp:receipts' and 1 more"
    )
    assert isinstance(error, InsecureNamespaceError)
    answer = ElementTree.fromstring(b"".join(client.wire.sent))
    assert (answer.tag.rpartition("}")[2], answer.get("type"), answer.get("id")) == ("message", "error", "7")
    assert answer.get("to") == "bob@example.org/phone"
    assert [child.tag for child in answer.iter()][2:] == ["{urn:ietf:params:xml:ns:xmpp-stanzas}policy-violation"]


@pytest.mark.parametrize(
    "stanza",
    [
        f"<message from='bob@example.org/phone' type='error' id='7'>{RECEIPT}</message>",
        f"<message from='room@muc.example.org/bob' type='groupchat'>{RECEIPT}</message>",
        "<iq from='bob@example.org/phone' type='result' id='7'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    ],
)
def test_what_must_not_be_answered_is_refused_in_silence(stanza: str) -> None:
    client = Client(require_secure=True)
    got, errors = refused(client, stanza)
    assert (got, len(errors), client.wire.sent) == ([], 1, [])


@pytest.mark.parametrize(
    "stanza",
    [
        MESSAGE,
        f"<message from='example.org' type='chat'><body>x</body>{RECEIPT}</message>",
        f"<message from='bob@example.org' type='chat'><body>x</body>{RECEIPT}</message>",
        "<message from='bob@example.org/phone' type='chat'><body>x</body><delay xmlns='urn:xmpp:delay' stamp='x'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='alice@example.org'/></message>",
    ],
)
def test_require_secure_accepts_secure_names_and_what_servers_say_or_add(stanza: str) -> None:
    got, errors = refused(Client(require_secure=True), stanza)
    assert (len(got), errors) == (1, [])


PING = "<iq from='%s' type='%s' id='7'><ping xmlns='urn:xmpp%s:ping'/></iq>"


def judged(client: Client, *stanzas: str) -> list[XEP419Error]:
    """What the application is told of these stanzas, one after the other."""
    errors: list[XEP419Error] = []
    client.add_event_handler("xep_0419_insecure", errors.append)
    client._always_send_everything = True
    client._run_out_filters = asyncio.ensure_future(client.run_filters(), loop=client.loop)
    client.wire.sent.clear()
    for stanza in stanzas:
        receive(client, stanza)
    return errors


def test_a_policy_remembers_who_has_used_a_secure_name() -> None:
    with PinStore() as pins:
        policy = Policy(pins=pins)
        secure, insecure = PING % ("bob@example.org/x", "get", "s"), PING % ("bob@example.org/x", "get", "")
        assert judged(Client(policy=policy), insecure, secure) == []
        client = Client(policy=policy)
        (error,) = judged(client, insecure, PING % ("carol@example.org/x", "get", ""))
        assert isinstance(error, InsecureNamespaceError)
        assert (error.peer, error.name, error.expected) == ("bob@example.org", "urn:xmpp:ping", "urn:xmpps:ping")
        assert b"policy-violation" in b"".join(client.wire.sent)
        assert list(pins.of("bob@example.org")) == ["urn:xmpps:ping"]


@pytest.mark.parametrize("sender", ["bob@example.org", "example.org", "alice@example.org"])
def test_servers_are_judged_only_where_they_have_been_upgraded(sender: str) -> None:
    with PinStore() as pins:
        stanzas = PING % (sender, "get", "s"), PING % ("example.org", "get", "")
        assert judged(Client(policy=Policy(pins=pins)), *stanzas) == []
        assert len(pins) == 0
        client = Client(policy=Policy(pins=pins), upgrade_to_server=True)
        (error,) = judged(client, *stanzas, "<presence from='bob@example.org/x'><x xmlns='urn:xmpp:ping'/></presence>")
        assert isinstance(error, InsecureNamespaceError)
        assert error.peer == "example.org"
        unsigned = "<iq type='result' id='8'><ping xmlns='urn:xmpp:ping'/></iq>"  # from the client's own server
        (error,) = judged(Client(policy=Policy(pins=pins), upgrade_to_server=True), unsigned)
        assert isinstance(error, InsecureNamespaceError)
        assert error.peer == "example.org"


def test_those_in_a_room_that_was_joined_are_not_one_peer() -> None:
    room = "Room@muc.example.org"
    with PinStore() as pins:
        policy = Policy(pins=pins)
        client = Client(policy=policy)
        client.register_plugin("xep_0045")
        client.plugin["xep_0045"].join_muc(room, "alice")
        client.loop.run_until_complete(settled())
        assert judged(client, PING % (f"{room}/bob", "get", "s"), PING % (f"{room}/carol", "get", "")) == []
        assert policy.shared == {"room@muc.example.org"}
        assert len(pins) == 0


def test_a_store_that_fails_lets_nothing_through_and_is_told() -> None:
    pins = PinStore()
    client = Client(policy=Policy(pins=pins))
    pins.close()
    (error,) = judged(client, PING % ("bob@example.org/x", "get", "s"))
    assert isinstance(error, PinStoreError)
    sent = b"".join(client.wire.sent)
    assert b"internal-server-error" in sent
    assert b'type="cancel"' in sent


# -- coming and going -------------------------------------------------------------------------------------


def test_it_leaves_no_trace_when_it_is_disabled() -> None:
    client = Client()
    before = {name: value for name, value in vars(ClientXMPP).items() if name in ("send_raw", "data_received")}
    client.plugin.disable("xep_0419")
    for name in ("data_received", "send_raw", "incoming_filter"):
        assert name not in vars(client)
    assert client.sent(BETWEEN_CLIENTS[0]) == BETWEEN_CLIENTS[0].encode()
    assert before == {name: value for name, value in vars(ClientXMPP).items() if name in ("send_raw", "data_received")}


def test_other_peoples_hooks_stay_in_force_and_come_back() -> None:
    client = Client()
    client.plugin.disable("xep_0419")
    seen: list[bytes | str] = []
    client.send_raw = seen.append  # type: ignore[method-assign]
    hook = client.send_raw
    client.register_plugin("xep_0419")
    client.send_raw(BETWEEN_CLIENTS[0])
    assert seen == [xep419.upgrade(BETWEEN_CLIENTS[0])]
    client.plugin.disable("xep_0419")
    assert client.send_raw is hook


def test_it_advertises_nothing() -> None:
    client = Client()
    client.register_plugin("xep_0030")
    asking = client.plugin["xep_0030"].get_info(jid=client.boundjid, local=True)
    answer = client.loop.run_until_complete(asking)
    assert [found.get("var") for found in answer.xml.iter() if found.get("var")] == [
        "http://jabber.org/protocol/disco#info"
    ]
    assert XEP_0419.dependencies == set()


def test_without_slixmpp_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("slixmpp"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "xep419.integrations.slixmpp")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"xep419\[slixmpp\]"):
        importlib.import_module("xep419.integrations.slixmpp")
