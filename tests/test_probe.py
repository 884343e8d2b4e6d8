"""What a probe tells of servers, good and bad: each is a real TLS server on loopback that follows a script.

``tests/interop/test_links.py`` probes Prosody and ejabberd.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("dns", reason="dnspython is not installed")
pytest.importorskip("cryptography", reason="cryptography is not installed")
pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nameservers import Nameserver, zone

from xep419.cli.files import FileError
from xep419.cli.run import command
from xep419.errors import LinkError
from xep419.probe import probe
from xep419.srv import Endpoint

pytestmark = pytest.mark.any_isa

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)

# -- certificates ---------------------------------------------------------------------------------------------


class Certificates(NamedTuple):
    """Files: an authority, and what it vouches for."""

    authority: str
    good: str
    expired: str
    other: str
    stranger: str


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(directory: Path, subject: str, days: tuple[int, int], issuer: Any = None) -> tuple[str, Any]:
    """A certificate with its key in one PEM file; ``issuer`` is a certificate's name and key, by default its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_name, issuer_key = issuer or (name(subject), key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject)).issuer_name(issuer_name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY).not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )  # fmt: skip
    if issuer is None:
        usage = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign"), True)
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        usage |= dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    else:
        names = [x509.DNSName(subject), x509.DNSName(f"*.{subject}")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / f"{len(list(directory.iterdir()))}.pem"
    path.write_bytes(pem + builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(path), (name(subject), key)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    authority, issuer = issue(directory, "Authority", (-9, 9))
    return Certificates(
        authority,
        issue(directory, "x.test", (-1, 1), issuer)[0],
        issue(directory, "x.test", (-3, -2), issuer)[0],
        issue(directory, "y.test", (-1, 1), issuer)[0],
        issue(directory, "x.test", (-1, 1))[0],
    )


# -- servers --------------------------------------------------------------------------------------------------

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
)
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
NAMES = b"<c xmlns='http://jabber.org/protocol/caps' node='http://x'/><sub xmlns='urn:xmpps:features:pre-approval'/>"
SENT = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' to=\"x.test\""
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)


def features(*children: bytes) -> bytes:
    return b"<stream:features>" + b"".join(children) + b"</stream:features>"


#: seconds that a server says nothing before it gives up
PATIENCE = 10


class Server:
    """Runs a script with each connection; ``received`` is what the scripts were sent, in the order it came."""

    def __init__(
        self, script: Callable[[Server, socket.socket], None], address: str = "127.0.0.1", port: int = 0
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self._socket.settimeout(0.05)
        self._script = script
        self._thread = threading.Thread(target=self._serve)
        self.closing = threading.Event()
        self.port = self._socket.getsockname()[1]
        self.received: list[bytes] = []
        self.server_names: list[str | None] = []

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.closing.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self.closing.is_set():
            with contextlib.suppress(OSError):  # nobody came; or the client went, as it does from a bad certificate
                connection, _peer = self._socket.accept()
                with connection:
                    connection.settimeout(PATIENCE)
                    self._script(self, connection)

    def read(self, connection: socket.socket) -> None:
        self.received.append(connection.recv(4096))

    def secure(self, connection: socket.socket, certificate: str, alpn: str = "") -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        if alpn:
            context.set_alpn_protocols([alpn])
        return context.wrap_socket(connection, server_side=True)

    def wait(self) -> None:
        self.closing.wait(PATIENCE)


def direct(
    certificate: str, answer: bytes = HEADER + features(NAMES), alpn: str = "xmpp-client", stays: bool = True
) -> Any:
    def script(server: Server, connection: socket.socket) -> None:
        with server.secure(connection, certificate, alpn) as secured:
            server.read(secured)
            secured.sendall(answer)
            if stays:
                server.read(secured)

    return script


def starttls(certificate: str, offered: bytes = STARTTLS, answer: bytes = PROCEED) -> Any:
    def script(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(HEADER + features(offered))
        server.read(connection)
        connection.sendall(answer)
        direct(certificate, alpn="")(server, connection)

    return script


def endpoint(server: Server, tls: Any, *addresses: str) -> Endpoint:
    return Endpoint("x.test", "client", "host.test", server.port, tls, 0, 0, addresses or ("127.0.0.1",))


# -- good servers ---------------------------------------------------------------------------------------------


def test_direct_tls(certificates: Certificates) -> None:
    with Server(direct(certificates.good)) as server:
        link = probe(endpoint(server, "direct"), ca_file=certificates.authority)
    assert link.verified
    assert (link.address, link.tls_version, link.alpn) == ("127.0.0.1", "TLSv1.3", "xmpp-client")
    assert link.namespaces == (
        "http://etherx.jabber.org/streams",
        "http://jabber.org/protocol/caps",
        "urn:xmpps:features:pre-approval",
    )
    assert link.certificate.subject == "CN=x.test"
    assert link.certificate.issuer == "CN=Authority"
    assert link.certificate.names == ("x.test", "*.x.test")
    assert (link.certificate.not_before, link.certificate.not_after) == (NOW - DAY, NOW + DAY)
    assert server.server_names == ["x.test"]  # the domain, not the host
    assert server.received == [SENT, b"</stream:stream>"]


def test_starttls(certificates: Certificates) -> None:
    with Server(starttls(certificates.good)) as server:
        link = probe(endpoint(server, "starttls"), ca_file=certificates.authority)
    assert link.verified
    assert link.alpn is None
    assert server.server_names == ["x.test"]
    assert server.received == [SENT, STARTTLS, SENT, b"</stream:stream>"]


def test_a_server_without_alpn(certificates: Certificates) -> None:
    with Server(direct(certificates.good, alpn="")) as server:
        assert probe(endpoint(server, "direct"), ca_file=certificates.authority).alpn is None


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6(certificates: Certificates) -> None:
    try:
        server = Server(direct(certificates.good), "::1")
    except OSError:
        pytest.skip("there is no ::1")
    with server:
        assert probe(endpoint(server, "direct", "::1"), ca_file=certificates.authority).address == "::1"


def test_a_header_in_many_pieces(certificates: Certificates) -> None:
    answer = HEADER + features(NAMES)

    def script(server: Server, connection: socket.socket) -> None:
        with server.secure(connection, certificates.good) as secured:
            server.read(secured)
            for number in range(len(answer)):
                secured.sendall(answer[number : number + 1])
            server.read(secured)

    with Server(script) as server:
        assert len(probe(endpoint(server, "direct"), ca_file=certificates.authority).namespaces) == 3


# -- certificates that do not hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["direct", "starttls"])
@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        ("expired", "certificate has expired"),
        ("other", "Hostname mismatch, certificate is not valid for 'x.test'."),
        ("stranger", "self-signed certificate"),
    ],
)
def test_a_certificate_that_does_not_hold_is_told_with_the_reason(
    certificates: Certificates, shown: str, problem: str, tls: str
) -> None:
    script = direct if tls == "direct" else starttls
    with Server(script(getattr(certificates, shown))) as server:
        link = probe(endpoint(server, tls), ca_file=certificates.authority)
    assert not link.verified
    assert link.certificate.problem == problem
    assert link.certificate.subject == ("CN=y.test" if shown == "other" else "CN=x.test")
    assert len(link.namespaces) == 3


def test_the_systems_authorities_are_trusted_where_none_are_given(certificates: Certificates) -> None:
    with Server(direct(certificates.good)) as server:
        assert probe(endpoint(server, "direct")).certificate.problem == "unable to get local issuer certificate"


# -- bad servers ----------------------------------------------------------------------------------------------

ERROR = b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
CLOSED = "the server closed the connection"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", CLOSED),
        (HEADER, CLOSED),
        (HEADER + b"<features", CLOSED),
        (HEADER + ERROR, "the server closed the stream: host-unknown"),
        (HEADER + b"<stream:error/>", "the server closed the stream: undefined-condition"),
        (HEADER + b"<message/>", "stream features are expected, not '{jabber:client}message'"),
        (HEADER + features() + b"<message/>", "the server sent more than it was asked for"),
        (HEADER.replace(b"xmlns:stream", b"xmlns:other") + features(), "unbound prefix: line 1, column 21"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the start tag of a stream is expected, not 'H'"),
        (HEADER + b"<!-- -->" + features(), "no comment is expected in an XMPP stream (RFC 6120 section 11.1)"),
        (HEADER + b"<a></b>", "the end tag </a> is expected, not </b>"),
        (HEADER + b"<a>\xff", "UTF-8 is expected, not the bytes b'\\xff'"),
        (HEADER + features(b"x" * (1 << 18)), "a stanza of at most 262144 bytes is expected, but more came without its end"),
    ],
)  # fmt: skip
def test_what_is_no_stream_is_an_error(certificates: Certificates, answer: bytes, message: str) -> None:
    with Server(direct(certificates.good, answer, stays=False)) as server, pytest.raises(LinkError) as caught:
        probe(endpoint(server, "direct"), ca_file=certificates.authority)
    assert caught.value.message == f"127.0.0.1: opening the stream: {message}"


@pytest.mark.parametrize(
    ("offered", "answer", "message"),
    [
        (b"", b"", "the server does not offer STARTTLS"),
        (b"<starttls/>", b"", "the server does not offer STARTTLS"),
        (STARTTLS, b"", CLOSED),
        (STARTTLS, PROCEED.replace(b"proceed", b"failure"), "<proceed/> is expected, not '{urn:ietf:params:xml:ns:xmpp-tls}failure'"),
        (STARTTLS, b"<proceed/>", "<proceed/> is expected, not '{jabber:client}proceed'"),
        (STARTTLS, PROCEED + features(), "the server sent more than it was asked for"),
        (STARTTLS, PROCEED + b"<stream:feat", "the server sent more in the clear after <proceed/>"),
        (STARTTLS, PROCEED + HEADER, "the server sent more in the clear after <proceed/>"),
        (STARTTLS, PROCEED + b" ", "the server sent more in the clear after <proceed/>"),
    ],
)  # fmt: skip
def test_starttls_that_goes_wrong(certificates: Certificates, offered: bytes, answer: bytes, message: str) -> None:
    def script(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(HEADER + features(offered))
        server.read(connection)
        connection.sendall(answer)

    with Server(script) as server, pytest.raises(LinkError) as caught:
        probe(endpoint(server, "starttls"), ca_file=certificates.authority)
    assert caught.value.message == f"127.0.0.1: negotiating STARTTLS: {message}"


@pytest.mark.parametrize(
    ("said", "message"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "WRONG_VERSION_NUMBER"), (b"", "UNEXPECTED_EOF_WHILE_READING")],
)
def test_what_is_no_tls_is_an_error(said: bytes, message: str) -> None:
    def script(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(said)

    with Server(script) as server, pytest.raises(LinkError) as caught:
        probe(endpoint(server, "direct"))
    assert caught.value.message == f"127.0.0.1: in the TLS handshake: {message}"


def silent(server: Server, connection: socket.socket) -> None:
    server.wait()


def trickling(certificate: str) -> Any:
    def script(server: Server, connection: socket.socket) -> None:
        with server.secure(connection, certificate) as secured:
            while not server.closing.wait(0.05):
                secured.sendall(b" ")

    return script


@pytest.mark.parametrize("stage", ["in the TLS handshake", "opening the stream", "negotiating STARTTLS"])
def test_silence_ends_with_the_time_given(certificates: Certificates, stage: str) -> None:
    def halting(server: Server, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(HEADER + features(STARTTLS))
        server.wait()

    scripts = {"in the TLS handshake": silent, "opening the stream": trickling(certificates.good)}
    tls = "starttls" if stage == "negotiating STARTTLS" else "direct"
    began = time.monotonic()
    with Server(scripts.get(stage, halting)) as server, pytest.raises(LinkError) as caught:
        probe(endpoint(server, tls), timeout=1, ca_file=certificates.authority)
    assert time.monotonic() - began < PATIENCE
    assert caught.value.message == f"127.0.0.1: {stage}: no answer in the time given"


# -- addresses and arguments ----------------------------------------------------------------------------------

TWO_ADDRESSES = pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2, which is loopback on Linux")


@TWO_ADDRESSES
def test_the_next_address_is_tried(certificates: Certificates) -> None:
    with Server(direct(certificates.good)) as server:
        link = probe(endpoint(server, "direct", "127.0.0.2", "127.0.0.1"), ca_file=certificates.authority)
    assert link.address == "127.0.0.1"


@TWO_ADDRESSES
def test_an_address_that_is_silent_leaves_time_for_the_next(certificates: Certificates) -> None:
    with Server(silent, "127.0.0.2") as silence, Server(direct(certificates.good), port=silence.port) as server:
        found = endpoint(server, "direct", "127.0.0.2", "127.0.0.1")
        assert probe(found, timeout=4, ca_file=certificates.authority).address == "127.0.0.1"


@TWO_ADDRESSES
def test_every_address_that_fails_is_told(certificates: Certificates) -> None:
    with Server(direct(certificates.good, b"", stays=False)) as server, pytest.raises(LinkError) as caught:
        probe(endpoint(server, "direct", "127.0.0.2", "127.0.0.1"), ca_file=certificates.authority)
    assert caught.value.message == (
        f"127.0.0.2: connecting: Connection refused; 127.0.0.1: opening the stream: {CLOSED}"
    )


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    nowhere = Endpoint("x.test", "client", "x.test", 1, "direct", 0, 0, ())
    with pytest.raises(LinkError, match="the endpoint has no address"):
        probe(nowhere)
    with pytest.raises(ValueError, match="the time-out is a number of seconds above 0, not -1"):
        probe(nowhere, timeout=-1)
    with pytest.raises(FileNotFoundError):
        probe(nowhere, ca_file=str(tmp_path / "missing"))


def test_without_cryptography_the_extra_is_named() -> None:
    program = "import sys; sys.modules['cryptography'] = None; import xep419.srv; import xep419.probe"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: xep419.probe needs cryptography")
    assert last.endswith("pip install 'xep419[srv]'")


# -- the command ----------------------------------------------------------------------------------------------


def connect(port: int, tls: str, *arguments: str) -> Any:
    service = "_xmpps" if tls == "direct" else "_xmpp"
    text = f"{service}-client._tcp.x.test SRV 0 0 {port} host.test.\nhost.test A 127.0.0.1"
    with Nameserver(lambda query, _tcp: zone(query, text)) as server:
        options = ["--connect", "--nameserver", f"127.0.0.1:{server.port}", *arguments]
        return CliRunner().invoke(command, ["srv", "x.test", *options], prog_name="xep419")


def test_the_command_reports_what_it_found(certificates: Certificates) -> None:
    with Server(direct(certificates.good)) as server:
        done = connect(server.port, "direct", "--ca-file", certificates.authority)
    assert done.exit_code == 0
    begins, ends = (f"{NOW + days * DAY:%Y-%m-%d}" for days in (-1, 1))
    assert [line.rstrip() for line in done.output.splitlines()[4:]] == [
        "",
        f"1. host.test, port {server.port}, direct",
        "   address      127.0.0.1",
        "   TLS          TLSv1.3, TLS_AES_256_GCM_SHA384",
        "   ALPN         xmpp-client",
        "   certificate  holds for x.test",
        "     subject    CN=x.test",
        "     issuer     CN=Authority",
        "     names      x.test *.x.test",
        f"     valid      {begins} to {ends}",
        "   namespace    http://etherx.jabber.org/streams (insecure)",
        "   namespace    http://jabber.org/protocol/caps (insecure)",
        "   namespace    urn:xmpps:features:pre-approval (secure)",
    ]


def test_the_command_fails_where_no_certificate_holds(certificates: Certificates) -> None:
    with Server(starttls(certificates.expired)) as server:
        done = connect(server.port, "starttls", "--ca-file", certificates.authority)
    assert done.exit_code == 1
    assert "   certificate  does not hold for x.test: certificate has expired" in done.output.splitlines()
    assert "   ALPN         none, STARTTLS has none" in done.output.splitlines()


def test_the_command_gives_json(certificates: Certificates) -> None:
    with Server(direct(certificates.good)) as server:
        done = connect(server.port, "direct", "--ca-file", certificates.authority, "--json")
    assert done.exit_code == 0
    [found] = json.loads(done.output)["endpoints"]
    assert found["error"] is None
    assert found["link"] == {
        "address": "127.0.0.1",
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "alpn": "xmpp-client",
        "verified": True,
        "certificate": {
            "subject": "CN=x.test",
            "issuer": "CN=Authority",
            "names": ["x.test", "*.x.test"],
            "not_before": (NOW - DAY).isoformat(),
            "not_after": (NOW + DAY).isoformat(),
            "problem": None,
        },
        "namespaces": [
            {"name": "http://etherx.jabber.org/streams", "secure": False},
            {"name": "http://jabber.org/protocol/caps", "secure": False},
            {"name": "urn:xmpps:features:pre-approval", "secure": True},
        ],
    }


def test_the_command_is_bounded_by_the_time_given() -> None:
    began = time.monotonic()
    with Server(silent) as server:
        done = connect(server.port, "direct", "--timeout", "0.6")
    assert time.monotonic() - began < PATIENCE
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == (
        "   no stream    127.0.0.1: in the TLS handshake: no answer in the time given"
    )


def test_the_command_says_no_stream_in_json() -> None:
    with Server(silent) as server:
        done = connect(server.port, "direct", "--timeout", "0.6", "--json")
    [found] = json.loads(done.output)["endpoints"]
    assert (done.exit_code, found["link"]) == (1, None)
    assert found["error"] == "127.0.0.1: in the TLS handshake: no answer in the time given"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"none", "it holds no certificate of an authority (PEM is expected)"),
    ],
)
def test_the_command_names_a_file_without_authorities(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    done = connect(1, "direct", "--ca-file", str(path))
    assert isinstance(done.exception, FileError)
    assert str(done.exception) == f"{path}: {message}"
