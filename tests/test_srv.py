"""Where a service is: the order of RFC 2782, the rules of RFC 6120 and XEP-0368, and answers no good server gives.

``nameservers.py`` gives these, on loopback; ``tests/interop/test_links.py`` asks a real one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest

pytest.importorskip("dns", reason="dnspython is not installed")
pytest.importorskip("click")
pytest.importorskip("rich")

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
from click.testing import CliRunner, Result
from growth import assert_linear
from nameservers import Answering, Nameserver, zone

from xep419.cli.run import command
from xep419.errors import ResolutionError
from xep419.srv import MAX_ENDPOINTS, Endpoint, Endpoints, Record, aresolve, order, resolve

pytestmark = pytest.mark.any_isa

# -- the order ------------------------------------------------------------------------------------------------


def records(*weights: int, priority: int = 0) -> list[Any]:
    return [Record(priority, weight, 5222, f"h{n}", "starttls") for n, weight in enumerate(weights)]


def chance(weights: Sequence[int], chosen: int) -> Fraction:
    """That RFC 2782 draws this one first: of the numbers 0 to the sum, 0 falls to the first in the list, which is
    any of those of weight 0, or where there is none any at all."""
    first = [n for n, weight in enumerate(weights) if weight == 0] or range(len(weights))
    of_zero = Fraction(chosen in first, len(first))
    return (weights[chosen] + of_zero) / (sum(weights) + 1)


def chance_of_order(weights: Sequence[int], drawn: Sequence[int]) -> Fraction:
    left = list(range(len(weights)))
    product = Fraction(1)
    for chosen in drawn:
        product *= chance([weights[n] for n in left], left.index(chosen))
        left.remove(chosen)
    return product


@pytest.mark.parametrize("weights", [(10, 30, 60), (0, 1), (0, 0, 5), (1, 1), (0, 0, 0), (0, 3, 0, 7), (65535, 1, 0)])
def test_every_order_comes_as_often_as_its_weights_say(weights: tuple[int, ...]) -> None:
    rng, draws = random.Random(419), 20_000
    orders = list(itertools.permutations(range(len(weights))))
    assert sum(chance_of_order(weights, drawn) for drawn in orders) == 1
    seen = Counter(tuple(int(r.target[1:]) for r in order(records(*weights), rng)) for _ in range(draws))
    for drawn in orders:
        expected = float(chance_of_order(weights, drawn))
        assert abs(seen[drawn] - draws * expected) <= 4 * math.sqrt(draws * expected * (1 - expected)), drawn


def test_the_lowest_priority_comes_first_whatever_the_weights() -> None:
    mixed = [*records(0, priority=7), *records(1, 2, 3, priority=2), *records(65535, 65535, priority=65535)]
    for seed in range(50):
        drawn = list(order(random.Random(seed).sample(mixed, len(mixed)), random.Random(seed)))
        assert [r.priority for r in drawn] == [2, 2, 2, 7, 65535, 65535]
        assert sorted(drawn) == sorted(mixed)


def test_one_seed_gives_one_order_however_the_answer_is_rotated() -> None:
    found = records(1, 2, 3, 4, 5, 6)
    orders = {tuple(order(found[n:] + found[:n], random.Random(1))) for n in range(6)}
    assert len(orders) == 1


# -- answers -------------------------------------------------------------------------------------------------


GOOD = """\
_xmpps-client._tcp.x.test SRV 1 0 443 a.x.test.
_xmpp-client._tcp.x.test SRV 2 0 5222 b.x.test.
a.x.test A 192.0.2.1
b.x.test A 192.0.2.2
x.test A 192.0.2.3
"""


def failing(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.SERVFAIL)
    return response.to_wire()


def asks(query: dns.message.Message, *parts: str) -> bool:
    return any(part in f"{query.question[0].name} {query.question[0].rdtype.name}" for part in parts)


@pytest.fixture(params=["sync", "asyncio"])
def find(request: pytest.FixtureRequest) -> Callable[..., Endpoints]:
    """Resolves x.test by a nameserver that answers so, by either function."""

    def found(answering: Answering, timeout: float = 1.0, domain: str = "x.test") -> Endpoints:
        with Nameserver(answering) as server:
            options: dict[str, Any] = {"resolver": [f"127.0.0.1:{server.port}"], "timeout": timeout}
            if request.param == "sync":
                return resolve(domain, **options)
            return asyncio.run(aresolve(domain, **options))

    return found


def ports(endpoints: Endpoints) -> list[int]:
    return [endpoint.port for endpoint in endpoints]


def test_good_answers_are_taken(find: Callable[..., Endpoints]) -> None:
    endpoints = find(lambda query, _tcp: zone(query, GOOD))
    assert endpoints == [
        Endpoint("x.test", "client", "a.x.test", 443, "direct", 1, 0, ("192.0.2.1",)),
        Endpoint("x.test", "client", "b.x.test", 5222, "starttls", 2, 0, ("192.0.2.2",)),
    ]
    assert endpoints.remarks == ()


SERVFAIL = r"127\.0\.0\.1.*SERVFAIL"


def test_one_service_that_fails_leaves_the_other(find: Callable[..., Endpoints]) -> None:
    endpoints = find(lambda query, _tcp: failing(query) if asks(query, "_xmpps") else zone(query, GOOD))
    assert ports(endpoints) == [5222]
    [remark] = endpoints.remarks
    assert remark.startswith("_xmpps-client: ")
    assert "SERVFAIL" in remark


def test_one_service_that_nobody_answers_for_leaves_the_other(find: Callable[..., Endpoints]) -> None:
    endpoints = find(lambda query, _tcp: None if asks(query, "_xmpps") else zone(query, GOOD))
    assert ports(endpoints) == [5222]
    assert endpoints.remarks == ("_xmpps-client: no answer in the time given",)


def test_a_failure_beside_nothing_is_not_taken_for_no_records(find: Callable[..., Endpoints]) -> None:
    with pytest.raises(ResolutionError, match=SERVFAIL) as caught:
        find(lambda query, _tcp: failing(query) if asks(query, "_xmpps") else zone(query, "x.test A 192.0.2.3"))
    assert caught.value.reason == "bad-answer"


def test_a_family_that_fails_leaves_the_other(find: Callable[..., Endpoints]) -> None:
    endpoints = find(lambda query, _tcp: failing(query) if asks(query, "AAAA") else zone(query, GOOD))
    assert ports(endpoints) == [443, 5222]
    assert [remark.split(":")[0] for remark in endpoints.remarks] == ["a.x.test", "b.x.test"]


def test_a_host_that_nobody_answers_for_leaves_the_others(find: Callable[..., Endpoints]) -> None:
    endpoints = find(lambda query, _tcp: None if asks(query, "a.x.test") else zone(query, GOOD))
    assert ports(endpoints) == [5222]
    assert endpoints.remarks == ("a.x.test: no answer in the time given",)


def test_no_records_at_all_is_the_fall_back(find: Callable[..., Endpoints]) -> None:
    [endpoint] = find(lambda query, _tcp: zone(query, "x.test A 192.0.2.3"))
    assert endpoint == Endpoint("x.test", "client", "x.test", 5222, "starttls", 0, 0, ("192.0.2.3",))


def test_a_record_that_cannot_be_used_is_no_reason_to_fall_back(find: Callable[..., Endpoints]) -> None:
    with pytest.raises(ResolutionError) as caught:
        find(lambda query, _tcp: zone(query, "_xmpp-client._tcp.x.test SRV 0 0 0 a.x.test.\nx.test A 192.0.2.3"))
    assert caught.value.reason == "no-address"


def cut(query: dns.message.Message) -> bytes:
    return zone(query, GOOD)[:-3]


def truncated(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return response.to_wire()


#: seconds that dnspython takes if it is not told how many
UNHEEDED = 5


#: dnspython tells a bad datagram from a late one, or waits for a better, by its version
@pytest.mark.parametrize(
    "answering",
    [
        lambda _query, _tcp: b"",
        lambda _query, _tcp: b"\xff" * 600,
        lambda query, _tcp: query.to_wire(),
        lambda query, _tcp: cut(query),
        lambda query, _tcp: bytes(2) + zone(query, GOOD)[2:],
        lambda query, over_tcp: b"" if over_tcp else truncated(query),
        lambda query, over_tcp: b"\xff" * 99 if over_tcp else truncated(query),
        lambda query, _tcp: zone(query, GOOD) if asks(query, "SRV") else b"\xff",
    ],
    ids=["empty", "noise", "echo", "cut short", "of another query", "no TCP", "a trickle", "noise for addresses"],
)
def test_what_is_not_an_answer_is_an_error_in_time(find: Callable[..., Endpoints], answering: Answering) -> None:
    began = time.monotonic()
    with pytest.raises(ResolutionError) as caught:
        find(answering, timeout=1.0)
    assert caught.value.reason in ("timeout", "bad-answer")
    assert time.monotonic() - began < UNHEEDED


def test_silence_ends_with_the_time_given(find: Callable[..., Endpoints]) -> None:
    began = time.monotonic()
    with pytest.raises(ResolutionError) as caught:
        find(lambda _query, _tcp: None, timeout=0.6)
    assert time.monotonic() - began < UNHEEDED
    silent = "no answer in the time given"
    assert caught.value.message == f"x.test: _xmpps-client: {silent}; _xmpp-client: {silent}"
    assert caught.value.reason == "timeout"


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals as POSIX has them")
def test_an_interrupt_ends_the_command_at_once() -> None:
    asked = threading.Event()
    with Nameserver(lambda _query, _tcp: asked.set()) as server:
        arguments = ["srv", "x.test", "--timeout", "60", "--nameserver", f"127.0.0.1:{server.port}"]
        started = subprocess.Popen([sys.executable, "-m", "xep419", *arguments])
        assert asked.wait(30)
        started.terminate()
        assert started.wait(30) == 128 + signal.SIGTERM


def test_nobody_listening_is_an_error() -> None:
    with Nameserver(lambda _query, _tcp: None) as server:
        port = server.port
    with pytest.raises(ResolutionError) as caught:
        resolve("x.test", resolver=[f"127.0.0.1:{port}"], timeout=1)
    assert caught.value.reason in ("timeout", "bad-answer")


def test_names_of_any_bytes_go_there_and_back(find: Callable[..., Endpoints]) -> None:
    odd = "\\255\\010\\032.x.test"
    [endpoint] = find(lambda query, _tcp: zone(query, f"_xmpp-client._tcp.x.test SRV 0 0 1 {odd}.\n{odd} A 192.0.2.9"))
    assert (endpoint.host, endpoint.addresses) == (odd, ("192.0.2.9",))


@pytest.mark.any_python
def test_work_is_linear_in_a_hostile_answer() -> None:
    def work_of(size: int) -> Callable[[], object]:
        found = [Record(0, n % 65536, 1, f"h{n}", "direct") for n in range(size)]

        def work() -> None:
            drawn = list(itertools.islice(order(found, random.Random(0)), MAX_ENDPOINTS))
            assert len(set(drawn)) == MAX_ENDPOINTS

        return work

    assert_linear(work_of, 2 * MAX_ENDPOINTS)


def test_a_cancelled_resolution_leaves_nothing_behind() -> None:
    async def cancelled() -> set[Any]:
        with Nameserver(lambda _query, _tcp: None) as server:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(aresolve("x.test", resolver=[f"127.0.0.1:{server.port}"]), 0.2)
            return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(cancelled()) == set()


# -- arguments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "kind", "expected"),
    [
        ("192.0.2.1", "client", Endpoint("192.0.2.1", "client", "192.0.2.1", 5222, "starttls", 0, 0, ("192.0.2.1",))),
        ("[2001:DB8::1]", "server", Endpoint("[2001:DB8::1]", "server", "2001:db8::1", 5269, "starttls", 0, 0, ("2001:db8::1",))),
    ],
)  # fmt: skip
def test_an_address_needs_no_dns(domain: str, kind: Any, expected: Endpoint) -> None:
    assert resolve(domain, kind) == [expected]
    assert asyncio.run(aresolve(domain, kind)) == [expected]
    assert expected.server_name == expected.host


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ("", "a domain name is expected, not '': it is empty"),
        ("a..b", "a domain name is expected, not 'a..b': A DNS label is empty."),
        ("bob@example.org", "a domain name is expected, not 'bob@example.org': it holds '@'"),
        ("example.org/phone", "a domain name is expected, not 'example.org/phone': it holds '/'"),
        ("https://example.org", "a domain name is expected, not 'https://example.org': it holds ':'"),
        ("::1", "a domain name is expected, not '::1': it holds ':'"),
        ("[::1", "a domain name is expected, not '[::1': it holds '['"),
        ("exa mple.org", "a domain name is expected, not 'exa mple.org': it holds ' '"),
        ("a\x1b[31m.org", "a domain name is expected, not 'a\\x1b[31m.org': it holds '\\x1b'"),
        ("a\\000.org", "a domain name is expected, not 'a\\\\000.org': it holds '\\\\'"),
        ("a" * 64, f"a domain name is expected, not {'a' * 64!r}: A DNS label is > 63 octets long."),
        ("a." * 120 + "b", f"a domain name is expected, not {'a.' * 120 + 'b'!r}: A DNS name is > 255 octets long."),
    ],
)  # fmt: skip
def test_what_is_no_domain_is_refused(domain: str, message: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        resolve(domain, resolver=["127.0.0.1"])
    assert (caught.value.message, caught.value.reason) == (message, "invalid-domain")


@pytest.mark.parametrize("domain", ["\ud800.test", "\u0378.test", "xn--a\u0301.test"])
def test_what_idna_does_not_allow_is_refused(domain: str) -> None:
    with pytest.raises(ResolutionError, match="a domain name is expected") as caught:
        resolve(domain, resolver=["127.0.0.1"])
    assert caught.value.reason == "invalid-domain"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "c2s"}, ValueError, "the kind is 'client' or 'server', not 'c2s'"),
        ({"timeout": 0}, ValueError, "the time-out is a number of seconds above 0, not 0"),
        ({"timeout": math.nan}, ValueError, "the time-out is a number of seconds above 0, not nan"),
        ({"timeout": math.inf}, ValueError, "the time-out is a number of seconds above 0, not inf"),
        ({"domain": b"x"}, TypeError, "a domain is a str, not 'bytes'"),
        ({"resolver": "127.0.0.1"}, TypeError, "a dns.resolver.Resolver or a list of nameservers is expected, not '127.0.0.1'"),
        *(
            ({"resolver": [text]}, ValueError, f"a nameserver is IP, IP:PORT or [IPv6]:PORT, not {text!r}")
            for text in ("", "ns.test", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:5³", "[::1", "[::1]x", "::1]:5")
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        resolve(**{"domain": "x.test", **arguments})
    assert str(caught.value) == message


def test_a_resolver_of_the_other_sort_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a dns\.resolver\.Resolver or a list of nameservers is expected"):
        resolve("x.test", resolver=dns.asyncresolver.Resolver(configure=False))
    with pytest.raises(TypeError, match=r"a dns\.asyncresolver\.Resolver or a list of nameservers is expected"):
        asyncio.run(aresolve("x.test", resolver=dns.resolver.Resolver(configure=False)))


def test_a_resolver_of_ones_own_is_asked() -> None:
    with Nameserver(lambda query, _tcp: zone(query, GOOD)) as server:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
        assert ports(resolve("x.test.", resolver=resolver)) == [443, 5222]


def test_without_dnspython_the_extra_is_named() -> None:
    program = "import sys; sys.modules['dns'] = None; import xep419; import xep419.srv"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("pip install 'xep419[srv]'")
    assert "xep419.srv needs dnspython" in done.stderr


# -- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def nameserver() -> Iterator[str]:
    with Nameserver(lambda query, _tcp: zone(query, GOOD)) as server:
        yield f"127.0.0.1:{server.port}"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["srv", *arguments], prog_name="xep419")


def test_the_command_lists_the_endpoints(nameserver: str) -> None:
    done = invoke("x.test", "--nameserver", nameserver)
    assert done.exit_code == 0
    assert [line.rstrip() for line in done.output.splitlines()] == [
        "x.test: the service for clients, in the order to try",
        "   Host      Port  TLS       Priority  Weight  Addresses",
        "────────────────────────────────────────────────────────",
        "1  a.x.test   443  direct           1       0  192.0.2.1",
        "2  b.x.test  5222  starttls         2       0  192.0.2.2",
    ]


def test_the_command_gives_json(nameserver: str) -> None:
    done = invoke("x.test", "--nameserver", nameserver, "--json")
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert {**found, "endpoints": found["endpoints"][:1]} == {
        "domain": "x.test",
        "kind": "client",
        "endpoints": [
            {"host": "a.x.test", "port": 443, "tls": "direct", "alpn": "xmpp-client", "priority": 1, "weight": 0, "addresses": ["192.0.2.1"]}
        ],
        "remarks": [],
    }  # fmt: skip


def test_the_command_says_what_is_left_out(nameserver: str) -> None:
    done = invoke("x.test", "--nameserver", nameserver, "--server")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == (
        "Note: no SRV records: the domain's own addresses are taken, with port 5269"
    )


def test_the_command_fails_where_there_is_nothing(nameserver: str) -> None:
    done = invoke("y.test", "--nameserver", nameserver)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "xep419: y.test: no SRV records: the domain's own addresses are taken, with port 5222;"
        " y.test: DNS has no such name (no-such-domain)\n"
    )
    error = json.loads(invoke("y.test", "--nameserver", nameserver, "--json").stdout)["error"]
    assert error["reason"] == "no-such-domain"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.test", "--nameserver", "ns.test"], "Error: a nameserver is IP, IP:PORT or [IPv6]:PORT, not 'ns.test'."),
        (["x.test", "--timeout", "-1"], "Error: Invalid value for '--timeout': a number of seconds above 0 is expected."),
        ([], "Error: Missing argument 'DOMAIN'."),
    ],
)  # fmt: skip
def test_wrong_usage_of_the_command(arguments: list[str], message: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == message


def test_every_example_in_the_help_works() -> None:
    lines = re.findall(r"^    xep419 srv (.*)$", invoke("--help").stdout, re.M)
    assert len(lines) == 3
    text = "".join(f"_xmpps-{kind}._tcp.example.org SRV 0 0 1 host.test.\n" for kind in ("client", "server"))
    with Nameserver(lambda query, _tcp: zone(query, text + "host.test A 127.0.0.1")) as server:
        for line in lines:
            asked = re.sub(r" --nameserver \S+", "", line)
            done = invoke(*asked.split(), "--nameserver", f"127.0.0.1:{server.port}")
            assert done.exit_code == ("--connect" in line)  # with which nobody listens
            assert "host.test" in done.stdout


@pytest.mark.parametrize("missing", ["dns", "idna"])
def test_the_command_names_the_extra(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from xep419.__main__ import main; sys.exit(main())"
    arguments = ["srv", "bücher.test", "--nameserver", "127.0.0.1:1"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("pip install 'xep419[srv]'")
    assert done.stderr.startswith("Error: ")
