"""XEP-0419 as a plugin of slixmpp: ``xmpp.register_plugin("xep_0419")`` once this module has been imported.

It works with servers that have never heard of XEP-0419. What goes from client to client is upgraded, what the server
must understand (stream header, negotiation, queries, presence) is not; what comes in is downgraded before slixmpp's
other plugins see it, so these need not know. Outgoing bytes are changed where slixmpp hands them to the transport,
incoming ones are decrypted where the transport hands them over, and their names downgraded stanza by stanza. Nothing
is kept between two calls but which requests wait for an answer, so reconnecting, STARTTLS and direct TLS make no
difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar
from xml.etree import ElementTree
from xml.parsers import expat

try:
    from slixmpp.plugins.base import BasePlugin, register_plugin
except ImportError as error:
    raise ImportError(
        f"xep419.integrations.slixmpp needs slixmpp ({error}): pip install 'xep419[slixmpp]'", name=error.name
    ) from None

from ..cipher import double_rot13
from ..elements import downgrade_element, scan_element
from ..errors import InsecureNamespaceError, XEP419Error
from ..names import Scope, is_secure
from ..namespaces import scan, upgrade
from ..policy import SERVER_ADDED, Policy, normal_peer, speaker

#: requests with insecure names that are remembered until they are answered
MAX_REQUESTS = 1024

_STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class XEP_0419(BasePlugin):
    """Secure namespaces and Double ROT-13 for slixmpp's streams; it advertises no feature.

    A stanza is *between clients*, and the server only routes it, when it is an iq or a message and its other end is a
    full JID with a local part (``bob@example.org/phone``); for an outgoing message the resource may be missing, unless
    the message holds one of ``service_names``: then it is for a room, not for those in it. Presence is never
    between clients, for every server on its way reads it. A reply is upgraded unless the request held insecure names:
    ejabberd asks clients for their features in the name of their contacts, and would not understand.

    Configuration:

    - ``upgrade_outgoing`` (True): upgrade the stanzas between clients that are sent. Their recipients need this plugin,
      or something like it: others show the body and ignore the rest, and reply to an iq with an error.
    - ``upgrade_to_server`` (False): upgrade all else that is sent, stream header included, for a server that has been
      upgraded. One that has not closes the stream.
    - ``downgrade_incoming`` (True): downgrade the names in every stanza that comes.
    - ``known_only`` (True): of these, only names whose insecure form is registered (see :func:`xep419.downgrade`).
    - ``scope`` (``Scope.ALL``): the positions to upgrade, downgrade and check.
    - ``policy`` (None): an :class:`xep419.policy.Policy`, which judges stanzas between clients; with
      ``upgrade_to_server`` all iqs and messages, for then the server too is expected to use secure names. A room that
      is joined with ``xep_0045`` becomes one of its ``shared``. The sender of a refused request or message gets a
      ``policy-violation`` stanza error (RFC 6120 section 8.3.3.12), the event ``xep_0419_insecure`` the error, and
      nobody the stanza. The stream stays open: else any peer could close it.
    - ``require_secure`` (False): without a ``policy``, one that refuses every insecure name but those in
      ``server_added``.
    - ``service_names``, ``server_added``: sets of names, in their insecure form.
    """

    name = "xep_0419"
    description = "XEP-0419: Improving Baseline Security in XMPP"
    dependencies: ClassVar[set[str]] = set()
    default_config: ClassVar[dict[str, Any]] = {
        "upgrade_outgoing": True,
        "upgrade_to_server": False,
        "downgrade_incoming": True,
        "known_only": True,
        "scope": Scope.ALL,
        "require_secure": False,
        "service_names": frozenset(
            {
                "http://jabber.org/protocol/muc#user",
                "http://jabber.org/protocol/muc#request",
            }  # XEP-0045, 7.8.2 and 7.13
        ),
        "policy": None,
        "server_added": SERVER_ADDED,
    }

    def plugin_init(self) -> None:
        stream: Any = self.xmpp
        self._data_received: Callable[[bytes | str], None] = stream.data_received
        self._send_raw: Callable[[bytes | str], None] = stream.send_raw
        self._incoming_filter: Callable[[ElementTree.Element], ElementTree.Element] = stream.incoming_filter
        hooks = {"data_received": self._receive, "send_raw": self._send, "incoming_filter": self._filter}
        self._insecure_requests: dict[tuple[str, str], None] = {}  # not answered yet: sender and id, oldest first
        self._judge: Policy | None = self.policy
        if self._judge is None and self.require_secure:
            self._judge = Policy(require_secure=True, exempt=self.server_added, scope=self.scope)
        self._shadowed = {name: vars(stream)[name] for name in hooks if name in vars(stream)}
        vars(stream).update(hooks)

    def plugin_end(self) -> None:
        stream = vars(self.xmpp)
        for name in ("data_received", "send_raw", "incoming_filter"):
            del stream[name]
        stream.update(self._shadowed)

    # -- out ----------------------------------------------------------------------------------------------

    def _send(self, data: bytes | str) -> None:
        """In place of the stream's ``send_raw``, which is given one stanza, header, footer or white space at a time."""
        wanted = self.upgrade_outgoing if self._goes_to_client(data) else self.upgrade_to_server
        self._send_raw(double_rot13(upgrade(data, scope=self.scope) if wanted else data))

    def _goes_to_client(self, data: bytes | str) -> bool:
        name, attributes = _outer_tag(data)
        recipient = attributes.get("to", "")
        local, resource = _local_and_resource(recipient)
        if name == "iq" and attributes.get("type") in ("result", "error"):
            request = (recipient, attributes.get("id", ""))
            if self._insecure_requests.pop(request, self) is None:
                return False
        if name == "iq" or resource:
            return name in ("iq", "message") and bool(local and resource)
        return name == "message" and bool(local) and self.service_names.isdisjoint(ref.name for ref in scan(data))

    # -- in -----------------------------------------------------------------------------------------------

    def _receive(self, data: bytes | str) -> None:
        """In place of the stream's ``data_received``."""
        self._data_received(double_rot13(data))

    def _filter(self, stanza: ElementTree.Element) -> ElementTree.Element:
        """In place of the stream's ``incoming_filter``, which is given every element on the stream's first level."""
        stanza = self._incoming_filter(stanza)
        from_client = self._comes_from_client(stanza)
        if self._judge is not None and (from_client or (self.upgrade_to_server and _local_name(stanza) in _JUDGED)):
            try:
                self._admit(stanza, self._judge)
            except XEP419Error as error:
                return self._refused(stanza, error)
        if from_client and stanza.get("type") in ("get", "set") and self._holds_insecure(stanza):
            self._note_insecure_request(stanza)
        if self.downgrade_incoming:
            stanza = downgrade_element(stanza, scope=self.scope, known_only=self.known_only)
        return stanza

    def _admit(self, stanza: ElementTree.Element, policy: Policy) -> None:
        sender = stanza.get("from") or self.xmpp.boundjid.domain
        peer = speaker(sender)
        plugins: Any = self.xmpp.plugin
        if "xep_0045" in plugins and peer in {
            normal_peer(str(room)) for room in plugins["xep_0045"].get_joined_rooms()
        }:
            policy.shared.add(peer)
        policy.admit(stanza, peer=peer)

    def _holds_insecure(self, stanza: ElementTree.Element) -> bool:
        return not all(map(is_secure, scan_element(stanza, scope=self.scope)))

    def _comes_from_client(self, stanza: ElementTree.Element) -> bool:
        local, resource = _local_and_resource(stanza.get("from", ""))
        return _local_name(stanza) in ("iq", "message") and bool(local and resource)

    def _note_insecure_request(self, stanza: ElementTree.Element) -> None:
        self._insecure_requests[stanza.get("from", ""), stanza.get("id", "")] = None
        if len(self._insecure_requests) > MAX_REQUESTS:
            del self._insecure_requests[next(iter(self._insecure_requests))]

    def _refused(self, stanza: ElementTree.Element, error: XEP419Error) -> ElementTree.Element:
        """Tells the sender and the application; gives what slixmpp counts as a stanza and nothing handles."""
        if (_local_name(stanza), stanza.get("type")) in _ANSWERED:
            insecure = isinstance(error, InsecureNamespaceError)
            kind, condition = ("modify", "policy-violation") if insecure else ("cancel", "internal-server-error")
            self.xmpp.send_xml(_stanza_error(stanza, kind, condition))
        self.xmpp.event("xep_0419_insecure", error)
        return ElementTree.Element(stanza.tag.replace("message", "iq"), {"type": "error"})


#: what is judged of a server that has been upgraded
_JUDGED = ("iq", "message")
#: what is answered with an error; to answer an error or a room would go round in circles
_ANSWERED = {("iq", "get"), ("iq", "set"), ("message", None), ("message", "normal"), ("message", "chat")}


def _stanza_error(stanza: ElementTree.Element, kind: str, condition: str) -> ElementTree.Element:
    answer = ElementTree.Element(stanza.tag, {"type": "error", "to": stanza.get("from", "")})
    if "id" in stanza.attrib:
        answer.set("id", stanza.attrib["id"])
    namespace = stanza.tag.rpartition("}")[0] + "}"
    error = ElementTree.SubElement(answer, f"{namespace}error", {"type": kind})
    ElementTree.SubElement(error, f"{{{_STANZA_ERRORS}}}{condition}")
    return answer


def _local_name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _local_and_resource(jid: str) -> tuple[str, str]:
    """Parts of a JID (RFC 7622 section 3.1), empty where there is none."""
    bare, _, resource = jid.partition("/")
    return bare.rpartition("@")[0], resource


class _FoundError(Exception):
    pass


def _outer_tag(data: bytes | str) -> tuple[str, dict[str, str]]:
    """Name and attributes of the first element in ``data``; nothing when there is none (white space, a footer)."""
    found: list[tuple[str, dict[str, str]]] = []

    def stop(name: str, attributes: dict[str, str]) -> None:
        found.append((name, attributes))
        raise _FoundError

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = stop
    with contextlib.suppress(_FoundError, expat.ExpatError):
        parser.Parse(data, False)
    return found[0] if found else ("", {})


register_plugin(XEP_0419)

__all__ = ["XEP_0419"]
