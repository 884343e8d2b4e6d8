"""Secure links against the real thing: what Knot DNS answers, and what Prosody and ejabberd show over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dns", reason="dnspython is not installed")
pytest.importorskip("cryptography", reason="cryptography is not installed")

import xep419
from xep419.errors import LinkError, ResolutionError
from xep419.probe import probe
from xep419.srv import MAX_ADDRESSES, MAX_ENDPOINTS, Endpoint, Endpoints, aresolve, resolve

from .nameserver import knot
from .servers import Links, NotInstalledError, Server, prosody_links

pytestmark = [pytest.mark.interop, pytest.mark.any_isa]

HUGE = 1200
RECORDS = """\
both A 192.0.2.1
_xmpp-client._tcp.both SRV 10 0 5222 one
_xmpp-client._tcp.both SRV 30 0 5223 two
_xmpps-client._tcp.both SRV 20 0 443 two
_xmpps-client._tcp.both SRV 5 0 5270 six
_xmpp-server._tcp.both SRV 1 0 5269 one
one A 192.0.2.1
two A 192.0.2.2
two A 192.0.2.3
two AAAA 2001:db8::2
six AAAA 2001:db8::6

_xmpp-client._tcp.direct SRV 0 0 0 .
_xmpps-client._tcp.direct SRV 0 0 443 one
_xmpp-client._tcp.plain SRV 0 0 5222 one
_xmpps-client._tcp.plain SRV 0 0 0 .
nothing A 192.0.2.1
_xmpp-client._tcp.nothing SRV 0 0 0 .
_xmpps-client._tcp.nothing SRV 0 0 0 .
half A 192.0.2.1
_xmpps-client._tcp.half SRV 0 0 0 .
mixed A 192.0.2.1
_xmpp-client._tcp.mixed SRV 0 0 0 .
_xmpp-client._tcp.mixed SRV 1 0 5222 one

bare A 192.0.2.7
bare AAAA 2001:db8::7
empty TXT "no address"
zero A 192.0.2.1
_xmpp-client._tcp.zero SRV 0 0 0 one
somezero A 192.0.2.1
_xmpp-client._tcp.somezero SRV 0 0 0 one
_xmpp-client._tcp.somezero SRV 1 0 5222 one

_xmpp-client._tcp.alias SRV 0 0 5222 www
www CNAME one
moved CNAME both
_xmpp-client._tcp.moved CNAME _xmpp-client._tcp.both
_xmpp-client._tcp.dangling SRV 0 0 5222 nowhere
_xmpp-client._tcp.dangling SRV 1 0 5222 one
_xmpp-client._tcp.gone SRV 0 0 5222 nowhere
_xmpp-client._tcp.away SRV 0 0 5222 xmpp.elsewhere.example.
loop1 CNAME loop2
loop2 CNAME loop1
_xmpp-client._tcp.looping SRV 0 0 5222 loop1
_xmpp-client._tcp.round CNAME _xmpp-client._tcp.round2
_xmpp-client._tcp.round2 CNAME _xmpp-client._tcp.round
xn--bcher-kva A 192.0.2.8
_xmpp-client._tcp.xn--bcher-kva SRV 0 0 5222 xn--bcher-kva
_xmpp-client._tcp.many SRV 0 0 5222 crowd
"""
RECORDS += "".join(f"_xmpp-client._tcp.huge SRV {n % 7} {n} {n + 1} one\n" for n in range(HUGE))
RECORDS += "".join(f"crowd A 192.0.2.{n}\n" for n in range(1, 200))


@contextlib.contextmanager
def served(zones: dict[str, str]) -> Iterator[str]:
    with contextlib.ExitStack() as running:
        try:
            address = running.enter_context(knot(zones))
        except NotInstalledError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield address


@pytest.fixture(scope="module")
def nameserver() -> Iterator[str]:
    with served({"dns.test.": RECORDS}) as address:
        yield address


@pytest.fixture(params=["sync", "asyncio"])
def found(request: pytest.FixtureRequest, nameserver: str) -> Any:
    """Resolves a name in the zone, by either function."""

    def resolved(name: str, kind: Any = "client") -> Endpoints:
        options: dict[str, Any] = {"resolver": [nameserver], "timeout": 10, "rng": random.Random(419)}
        if request.param == "sync":
            return resolve(f"{name}.dns.test", kind, **options)
        return asyncio.run(aresolve(f"{name}.dns.test", kind, **options))

    return resolved


def places(endpoints: Endpoints) -> list[tuple[str, int, str, tuple[str, ...]]]:
    return [(e.host.removesuffix(".dns.test"), e.port, e.tls, e.addresses) for e in endpoints]


# -- what DNS says --------------------------------------------------------------------------------------------


def test_both_kinds_of_records_are_one_list(found: Any) -> None:
    endpoints = found("both")
    two = ("2001:db8::2", "192.0.2.2", "192.0.2.3")
    assert [e.priority for e in endpoints] == [5, 10, 20, 30]
    assert [e.alpn for e in endpoints] == ["xmpp-client", None, "xmpp-client", None]
    assert [(host, port, tls) for host, port, tls, _addresses in places(endpoints)] == [
        ("six", 5270, "direct"), ("one", 5222, "starttls"), ("two", 443, "direct"), ("two", 5223, "starttls"),
    ]  # fmt: skip
    assert sorted(endpoints[2].addresses) == sorted(two)
    assert endpoints[2].addresses[0] == two[0]
    assert endpoints[0].addresses == ("2001:db8::6",)
    assert {(e.domain, e.kind, e.server_name) for e in endpoints} == {("both.dns.test", "client", "both.dns.test")}
    assert endpoints.remarks == ()


def test_servers_have_records_of_their_own(found: Any) -> None:
    assert places(found("both", "server")) == [("one", 5269, "starttls", ("192.0.2.1",))]


ONE = ("192.0.2.1",)


@pytest.mark.parametrize(
    ("name", "expected", "remarks"),
    [
        ("direct", ("one", 443, "direct", ONE), ["_xmpp-client: not offered (the target is .)"]),
        ("plain", ("one", 5222, "starttls", ONE), ["_xmpps-client: not offered (the target is .)"]),
        ("mixed", ("one", 5222, "starttls", ONE), ["_xmpp-client: a target . among others is ignored"]),
        ("bare", ("bare", 5222, "starttls", ("2001:db8::7", "192.0.2.7")), ["no SRV records: the domain's own addresses are taken, with port 5222"]),
        ("somezero", ("one", 5222, "starttls", ONE), ["_xmpp-client: records with port 0 are ignored (1)"]),
        ("alias", ("www", 5222, "starttls", ONE), []),
        ("dangling", ("one", 5222, "starttls", ONE), ["nowhere.dns.test: DNS has no such name"]),
        ("bücher", ("xn--bcher-kva", 5222, "starttls", ("192.0.2.8",)), []),
    ],
)  # fmt: skip
def test_what_can_be_used_is_and_the_rest_is_remarked(found: Any, name: str, expected: Any, remarks: list[str]) -> None:
    endpoints = found(name)
    assert places(endpoints) == [expected]
    assert list(endpoints.remarks) == remarks


def test_records_behind_an_alias_are_found(found: Any) -> None:
    assert [place[0] for place in places(found("moved"))] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("nothing", "not-offered", "nothing.dns.test: _xmpps-client: not offered (the target is .); _xmpp-client: not offered (the target is .)"),
        ("half", "not-offered", "half.dns.test: _xmpps-client: not offered (the target is .)"),
        ("zero", "no-address", "zero.dns.test: _xmpp-client: records with port 0 are ignored (1)"),
        ("empty", "no-address", "empty.dns.test: no SRV records: the domain's own addresses are taken, with port 5222; empty.dns.test: it has no address"),
        ("missing", "no-such-domain", "missing.dns.test: no SRV records: the domain's own addresses are taken, with port 5222; missing.dns.test: DNS has no such name"),
        ("gone", "no-address", "gone.dns.test: nowhere.dns.test: DNS has no such name"),
    ],
)  # fmt: skip
def test_a_domain_without_the_service_says_why(found: Any, name: str, reason: str, message: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        found(name)
    assert (caught.value.reason, caught.value.message) == (reason, message)


@pytest.mark.parametrize("name", ["looping", "round", "away"])
def test_loops_and_refusals_are_bad_answers(found: Any, name: str) -> None:
    with pytest.raises(ResolutionError, match=r"127\.0\.0\.1") as caught:
        found(name)
    assert caught.value.reason == "bad-answer"


def test_a_huge_set_comes_over_tcp_and_is_cut(found: Any) -> None:
    endpoints = found("huge")
    assert len(endpoints) == MAX_ENDPOINTS
    assert {e.priority for e in endpoints} == {0}
    assert endpoints.remarks == (f"of {HUGE} SRV records the first {MAX_ENDPOINTS} in the order to try are taken",)


def test_a_host_of_many_addresses_is_cut(found: Any) -> None:
    [endpoint] = found("many")
    assert len(endpoint.addresses) == MAX_ADDRESSES
    assert len(set(endpoint.addresses)) == MAX_ADDRESSES


# -- what servers show ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def links(certificate: Path) -> Iterator[tuple[Links, str]]:
    """A Prosody, and a nameserver that knows where it is."""
    with contextlib.ExitStack() as running:
        try:
            ports = running.enter_context(prosody_links(certificate))
        except NotInstalledError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        records = (
            f"_xmpp-client._tcp SRV 2 0 {ports.c2s} host\n_xmpps-client._tcp SRV 1 0 {ports.c2s_tls} host\n"
            f"_xmpp-server._tcp SRV 2 0 {ports.s2s} host\n_xmpps-server._tcp SRV 1 0 {ports.s2s_tls} host\n"
            "host A 127.0.0.1\n"
        )
        other = f"_xmpps-client._tcp SRV 1 0 {ports.c2s_tls} host.xmpp.test.\nhost A 127.0.0.1\n"
        closed = "_xmpps-client._tcp SRV 1 0 9 host\nhost A 127.0.0.1\n"
        zones = {"xmpp.test.": records, "other.test.": other, "closed.test.": closed}
        yield ports, running.enter_context(served(zones))


@pytest.mark.parametrize("kind", ["client", "server"])
@pytest.mark.parametrize("tls", ["direct", "starttls"])
def test_prosody_shows_its_certificate_and_its_features(
    links: tuple[Links, str], certificate: Path, kind: Any, tls: str
) -> None:
    ports, nameserver = links
    [endpoint] = [e for e in resolve("xmpp.test", kind, resolver=[nameserver]) if e.tls == tls]
    expected = {
        ("client", "direct"): ports.c2s_tls, ("client", "starttls"): ports.c2s,
        ("server", "direct"): ports.s2s_tls, ("server", "starttls"): ports.s2s,
    }  # fmt: skip
    assert endpoint.port == expected[kind, tls]
    link = probe(endpoint, ca_file=str(certificate))
    assert link.verified
    assert (link.certificate.subject, link.certificate.issuer) == ("CN=xmpp.test", "CN=xmpp.test")
    assert link.certificate.names == ("xmpp.test", "ejab.test")
    assert (link.certificate.not_after - link.certificate.not_before).days == 30
    assert link.tls_version == "TLSv1.3"
    assert link.cipher.startswith("TLS_")
    assert link.alpn in ((None, f"xmpp-{kind}") if tls == "direct" else (None,))
    assert link.namespaces[0] == "http://etherx.jabber.org/streams"


def test_a_certificate_that_nobody_vouches_for_is_shown_all_the_same(links: tuple[Links, str]) -> None:
    for endpoint in resolve("xmpp.test", resolver=[links[1]]):
        link = probe(endpoint)
        assert not link.verified
        assert link.certificate.problem == "self-signed certificate"
        assert link.certificate.names == ("xmpp.test", "ejab.test")


def test_the_certificate_is_checked_against_the_domain_and_not_the_target(
    links: tuple[Links, str], certificate: Path
) -> None:
    [endpoint] = resolve("other.test", resolver=[links[1]])
    assert endpoint.host == "host.xmpp.test"
    with pytest.raises(LinkError) as caught:
        probe(endpoint, ca_file=str(certificate))
    assert caught.value.message == "127.0.0.1: in the TLS handshake: TLSV1_UNRECOGNIZED_NAME"


def test_every_server_opens_a_stream(server: Server) -> None:
    for port, tls in ((server.c2s, "starttls"), (server.tls, "direct")):
        endpoint = Endpoint(server.domain, "client", "localhost", port, tls, 0, 0, ("127.0.0.1",))
        link = probe(endpoint, ca_file=str(server.ca))
        assert link.verified, link.certificate.problem
        assert all(xep419.is_secure(name) or xep419.upgrade_name(name) != name for name in link.namespaces)


# -- the command ----------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(xep419.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "xep419", "srv", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_the_command_opens_every_link(links: tuple[Links, str], certificate: Path) -> None:
    ports, nameserver = links
    done = command("xmpp.test", "--nameserver", nameserver, "--connect", "--ca-file", str(certificate))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line[:2] in ("1.", "2.")] == [
        f"1. host.xmpp.test, port {ports.c2s_tls}, direct",
        f"2. host.xmpp.test, port {ports.c2s}, starttls",
    ]
    assert lines.count("   certificate  holds for xmpp.test") == 2


def test_the_command_fails_without_a_certificate_that_holds(links: tuple[Links, str]) -> None:
    done = command("xmpp.test", "--server", "--nameserver", links[1], "--connect", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)["endpoints"]
    assert [(e["tls"], e["link"]["verified"], e["link"]["certificate"]["problem"]) for e in found] == [
        (tls, False, "self-signed certificate") for tls in ("direct", "starttls")
    ]


def test_the_command_fails_where_nobody_listens(links: tuple[Links, str]) -> None:
    done = command("closed.test", "--nameserver", links[1], "--connect")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "   no stream    127.0.0.1: connecting: Connection refused"


def test_the_command_takes_no_longer_than_it_is_given(links: tuple[Links, str]) -> None:
    began = time.monotonic()
    done = command("xmpp.test", "--nameserver", "127.0.0.1:9", "--timeout", "1", "--connect")
    assert done.returncode == 1
    assert time.monotonic() - began < 5  # the interpreter's own start included


def test_a_second_nameserver_is_asked_where_the_first_is_not_there(nameserver: str) -> None:
    done = command("direct.dns.test", "--nameserver", "127.0.0.1:9", "--nameserver", nameserver)
    assert done.returncode == 0
    assert " one.dns.test   443  direct " in done.stdout
