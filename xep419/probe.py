"""Opens an XMPP stream over TLS with an endpoint and says what was found: certificate, ALPN, TLS, namespaces.

:mod:`xep419.srv` finds the endpoints. A probe sends a stream header, STARTTLS where the endpoint has it, and the end
of the stream; it never logs in. Where the certificate does not hold, it connects once more without checking, to tell
what was shown. Needs the extra ``xep419[srv]``.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

try:
    from cryptography import x509
except ImportError as error:
    raise ImportError(
        f"xep419.probe needs cryptography ({error}): pip install 'xep419[srv]'", name=error.name
    ) from None

from .errors import LinkError, XEP419Error
from .namespaces import scan
from .srv import Endpoint
from .stream import StanzaStream

_STREAMS = "{http://etherx.jabber.org/streams}"
_STREAM_ERRORS = "{urn:ietf:params:xml:ns:xmpp-streams}"
_STARTTLS = "urn:ietf:params:xml:ns:xmpp-tls"
_AT_A_TIME = 1 << 14
_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True)
class Certificate:
    """What a server showed.

    :param subject: its distinguished name (RFC 4514).
    :param issuer: that of its issuer.
    :param names: the DNS names and IP addresses it is for; names of other kinds are left out.
    :param not_before: when its validity begins.
    :param not_after: when its validity ends.
    :param problem: why it does not hold for the domain, as OpenSSL says it; None where it does.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime
    problem: str | None


@dataclass(frozen=True)
class Link:
    """An XMPP stream that was opened over TLS.

    :param endpoint: the endpoint.
    :param address: the one of its addresses that answered.
    :param tls_version: such as ``TLSv1.3``.
    :param cipher: the cipher suite.
    :param alpn: the ALPN protocol that the server chose; None where it chose none.
    :param certificate: the server's.
    :param namespaces: the names in the server's stream header and features that are secure or have a secure form, in
        the order they stand there (:func:`xep419.scan`).
    """

    endpoint: Endpoint
    address: str
    tls_version: str
    cipher: str
    alpn: str | None
    certificate: Certificate
    namespaces: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether the certificate holds for the domain."""
        return self.certificate.problem is None


def probe(endpoint: Endpoint, *, timeout: float = 10.0, ca_file: str | None = None) -> Link:
    """Opens a stream with the first address of the endpoint that lets it, and closes it.

    A certificate that does not hold is no error; see :attr:`Link.verified`.

    :param timeout: seconds for all of it; each address gets an equal part of what is left.
    :param ca_file: PEM file of the certificate authorities to trust; the system's without it.
    :raises LinkError: no address lets a stream be opened; says why for each.
    :raises OSError: ``ca_file`` cannot be read, or holds no certificate.
    :raises ValueError: the time-out is not a number of seconds above 0.
    """
    if not 0 < timeout < math.inf:
        raise ValueError(f"the time-out is a number of seconds above 0, not {timeout!r}")
    trusting = ssl.create_default_context(cafile=ca_file)
    deadline = time.monotonic() + timeout
    problems = []
    for number, address in enumerate(endpoint.addresses):
        now = time.monotonic()
        share = now + (deadline - now) / (len(endpoint.addresses) - number)
        try:
            return _link(endpoint, address, trusting, share)
        except LinkError as error:
            problems.append(f"{address}: {error.message}")
    raise LinkError("; ".join(problems) or "the endpoint has no address")


def _link(endpoint: Endpoint, address: str, context: ssl.SSLContext, deadline: float) -> Link:
    try:
        return _open(endpoint, address, context, deadline)
    except ssl.SSLCertVerificationError as error:
        problem = error.verify_message
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    return _open(endpoint, address, unchecked, deadline, problem)


def _open(
    endpoint: Endpoint, address: str, context: ssl.SSLContext, deadline: float, problem: str | None = None
) -> Link:
    if endpoint.alpn:
        context.set_alpn_protocols([endpoint.alpn])
    with _Connection(endpoint, address, deadline) as connection:
        if endpoint.tls == "starttls":
            connection.negotiate_starttls()
        secured = connection.secure(context)
        header, features = connection.open_stream()
        connection.close_stream()
        return Link(
            endpoint=endpoint,
            address=address,
            tls_version=secured.version() or "",
            cipher=(secured.cipher() or ("",))[0],
            alpn=secured.selected_alpn_protocol(),
            certificate=_certificate(secured.getpeercert(binary_form=True) or b"", problem),
            namespaces=tuple(dict.fromkeys(ref.name for ref in scan(header + features))),
        )


class _Connection:
    """A connection on its way from TCP to a stream over TLS, until the deadline."""

    def __init__(self, endpoint: Endpoint, address: str, deadline: float) -> None:
        self._endpoint = endpoint
        self._deadline = deadline
        self._stream = StanzaStream()
        self._received = b""
        with _during("connecting"):
            self._socket = socket.create_connection((address, endpoint.port), self._left())

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def negotiate_starttls(self) -> None:
        """RFC 6120 section 5.4, to where the handshake begins."""
        _header, features = self.open_stream()
        with _during("negotiating STARTTLS"):
            if self._element(features).find(f"{{{_STARTTLS}}}starttls") is None:
                raise LinkError("the server does not offer STARTTLS")
            self._send(f"<starttls xmlns='{_STARTTLS}'/>")
            answer = self._next_element()
            tag = self._element(answer).tag
            if tag != f"{{{_STARTTLS}}}proceed":
                raise LinkError(f"<proceed/> is expected, not {tag!r}")
            if self._received[-len(answer) :] != answer[-len(self._received) :]:
                # Somebody would have it pass for something that came over TLS (CVE-2011-0411).
                raise LinkError("the server sent more in the clear after <proceed/>")
        self._stream = StanzaStream()

    def secure(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        with _during("in the TLS handshake"):
            self._socket.settimeout(self._left())
            secured = context.wrap_socket(self._socket, server_hostname=self._endpoint.server_name)
        self._socket = secured
        return secured

    def open_stream(self) -> tuple[bytes, bytes]:
        """The server's stream header and features."""
        kind, domain = self._endpoint.kind, quoteattr(self._endpoint.domain)
        with _during("opening the stream"):
            self._send(
                f"<?xml version='1.0'?><stream:stream xmlns='jabber:{kind}' version='1.0' to={domain}"
                " xmlns:stream='http://etherx.jabber.org/streams'>"
            )
            features = self._next_element()
            found = self._element(features)
            if found.tag == f"{_STREAMS}error":
                raise LinkError(f"the server closed the stream: {_condition(found)}")
            if found.tag != f"{_STREAMS}features":
                raise LinkError(f"stream features are expected, not {found.tag!r}")
        return self._stream.header or b"", features

    def close_stream(self) -> None:
        """Says goodbye; whether the server hears it does not matter."""
        with contextlib.suppress(OSError):
            self._send("</stream:stream>")

    def _send(self, text: str) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(text.encode())

    def _next_element(self) -> bytes:
        """The next first-level element; before the answer to what was sent the server sends no second one."""
        while True:
            self._socket.settimeout(self._left())
            self._received = self._socket.recv(_AT_A_TIME)
            if not self._received:
                raise LinkError("the server closed the connection")
            elements = self._stream.feed(self._received)
            if len(elements) > 1:
                raise LinkError("the server sent more than it was asked for")
            if elements:
                return elements[0]

    def _element(self, stanza: bytes) -> ElementTree.Element:
        """The element as a tree, with the namespaces that the stream header declares."""
        parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(["start"])
        parser.feed((self._stream.header or b"") + stanza)
        started: list[Any] = list(parser.read_events())
        element: ElementTree.Element = started[1][1]  # after the stream's own
        return element


@contextlib.contextmanager
def _during(stage: str) -> Iterator[None]:
    """What goes wrong comes out as LinkError, but for a certificate that does not hold."""
    try:
        yield
    except ssl.SSLCertVerificationError:
        raise
    except TimeoutError as error:
        raise LinkError(f"{stage}: no answer in the time given") from error
    except ssl.SSLError as error:
        raise LinkError(f"{stage}: {error.reason or error}") from error
    except OSError as error:
        raise LinkError(f"{stage}: {error.strerror or error}") from error
    except ElementTree.ParseError as error:
        raise LinkError(f"{stage}: {error}") from error
    except XEP419Error as error:
        raise LinkError(f"{stage}: {error.message}", offset=error.offset) from error


def _condition(error: ElementTree.Element) -> str:
    for child in error:
        if isinstance(child.tag, str) and child.tag.startswith(_STREAM_ERRORS):
            return child.tag[len(_STREAM_ERRORS) :]
    return "undefined-condition"


def _certificate(shown: bytes, problem: str | None) -> Certificate:
    try:
        found = x509.load_der_x509_certificate(shown)
        subject, issuer, names = found.subject.rfc4514_string(), found.issuer.rfc4514_string(), _names(found)
    except _UNREADABLE as error:  # OpenSSL is more lenient
        raise LinkError(f"the certificate cannot be read: {error}") from error
    return Certificate(subject, issuer, names, found.not_valid_before_utc, found.not_valid_after_utc, problem)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)
