"""Where a domain's XMPP service is: SRV records for STARTTLS and for direct TLS in one list, in the order to try.

RFC 2782 orders by priority and weight, RFC 6120 section 3.2 says when to do without SRV, XEP-0368 makes one list of
both kinds of records. This module asks DNS and nothing else; :mod:`xep419.probe` connects. What is asked and what the
answers mean is one generator, :func:`_resolution`; :func:`resolve` and :func:`aresolve` differ only in who asks.
Needs the extra ``xep419[srv]``.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
import random
import time
from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple, get_args

from . import _dns
from ._dns import Answer, Batch, Question
from .errors import ResolutionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.name
    import dns.resolver

Kind = Literal["client", "server"]
TLS = Literal["direct", "starttls"]

#: endpoints given at most, and addresses of each: an answer may hold thousands
MAX_ENDPOINTS = 32
MAX_ADDRESSES = 16

#: RFC 6120 section 14.7
_DEFAULT_PORTS: dict[Kind, int] = {"client": 5222, "server": 5269}
_SERVICES: dict[TLS, str] = {"direct": "_xmpps-", "starttls": "_xmpp-"}
_FAMILIES: tuple[Literal["AAAA", "A"], ...] = ("AAAA", "A")
#: an error message lists no more reasons than this
_MOST_LISTED = 4


@dataclass(frozen=True)
class Endpoint:
    """One place where a domain's service is, and how to talk to it.

    :param domain: the domain asked for: the ``to`` of the stream, and what the certificate must be of (RFC 6120
        section 13.7.2). The host is evidence of nothing: without DNSSEC anyone may have written it.
    :param kind: ``client`` or ``server``.
    :param host: the SRV target; without SRV the domain.
    :param port: 1 to 65535.
    :param tls: ``direct``: TLS from the first byte; ``starttls``: negotiated on the stream (RFC 6120 section 5).
    :param priority: of the SRV record, the lowest first; 0 without SRV.
    :param weight: of the SRV record, among those of one priority; 0 without SRV.
    :param addresses: of the host, at least one: IPv6 and IPv4 by turns, as RFC 8305 section 4 has them tried.
    """

    domain: str
    kind: Kind
    host: str
    port: int
    tls: TLS
    priority: int
    weight: int
    addresses: tuple[str, ...]

    @property
    def alpn(self) -> str | None:
        """The ALPN protocol to ask for: ``xmpp-client`` or ``xmpp-server`` over direct TLS, None over STARTTLS."""
        return f"xmpp-{self.kind}" if self.tls == "direct" else None

    @property
    def server_name(self) -> str:
        """The domain as TLS wants it, for SNI and to check the certificate against: ASCII (RFC 5890 A-labels)."""
        return _address(self.domain) or _dns.name_of(self.domain).to_text(omit_final_dot=True)


class Endpoints(list[Endpoint]):
    """Endpoints in the order to try them.

    ``remarks`` says, a line each, what else DNS answered that is not among them, and why.
    """

    def __init__(self, endpoints: Iterable[Endpoint], remarks: Iterable[str]) -> None:
        super().__init__(endpoints)
        self.remarks = tuple(remarks)


def resolve(
    domain: str,
    kind: Kind = "client",
    *,
    resolver: dns.resolver.Resolver | Sequence[str] | None = None,
    timeout: float = 10.0,
    rng: random.Random | None = None,
) -> Endpoints:
    """The endpoints of a domain's service, in the order to try them; at least one.

    The records of ``_xmpp-KIND._tcp`` and ``_xmpps-KIND._tcp`` are one list (XEP-0368). Where neither name has any,
    the domain's own addresses are taken, with STARTTLS on port 5222 or 5269 (RFC 6120 section 3.2.2). A domain that
    is an IP address, IPv6 in brackets, needs no DNS.

    :param domain: the domain part of a JID, in Unicode or as A-labels.
    :param kind: ``client`` to connect as a client, ``server`` as another server.
    :param resolver: dnspython's, or nameservers as ``IP``, ``IP:PORT`` or ``[IPv6]:PORT``; the system's without it.
    :param timeout: seconds for all of it, half of them for the SRV records.
    :param rng: draws among the weights; a new one without it.
    :raises ResolutionError: there is nothing to connect to; its ``reason`` says why.
    :raises TypeError, ValueError: the kind, the time-out or a nameserver is not what is expected.
    """
    asked = _dns.threaded(resolver)
    steps = _resolution(domain, kind, timeout, rng)
    try:
        batch = next(steps)
        while True:
            batch = steps.send(_dns.ask(asked, batch))
    except StopIteration as done:
        return Endpoints(*done.value)


async def aresolve(
    domain: str,
    kind: Kind = "client",
    *,
    resolver: dns.asyncresolver.Resolver | Sequence[str] | None = None,
    timeout: float = 10.0,
    rng: random.Random | None = None,
) -> Endpoints:
    """As :func:`resolve`, in asyncio; the resolver, if one is given, is a :class:`dns.asyncresolver.Resolver`."""
    asked = _dns.asynchronous(resolver)
    steps = _resolution(domain, kind, timeout, rng)
    try:
        batch = next(steps)
        while True:
            batch = steps.send(await _dns.ask_async(asked, batch))
    except StopIteration as done:
        return Endpoints(*done.value)


# -- the order (RFC 2782) -------------------------------------------------------------------------------------


class Record(NamedTuple):
    """An SRV record that can be used, of either service."""

    priority: int
    weight: int
    port: int
    target: dns.name.Name
    tls: TLS


def order(records: Iterable[Record], rng: random.Random) -> Iterator[Record]:
    """The records, the lowest priority first, drawn by weight within each (RFC 2782, Weight).

    Sorted before they are drawn, so that the order of an answer, which nameservers rotate, changes nothing.
    """
    for _priority, equals in itertools.groupby(sorted(records), key=attrgetter("priority")):
        yield from _by_weight(list(equals), rng)


def _by_weight(left: list[Record], rng: random.Random) -> Iterator[Record]:
    while left:
        # "In any order", so at random: the first of the sum has one chance more than its weight.
        rng.shuffle(left)
        left.sort(key=lambda record: record.weight > 0)
        sums = list(itertools.accumulate(record.weight for record in left))
        yield left.pop(bisect_left(sums, rng.randint(0, sums[-1])))


# -- what is asked, and what the answers mean -----------------------------------------------------------------


def _resolution(
    domain: str, kind: Kind, timeout: float, rng: random.Random | None
) -> Generator[Batch, list[Answer], tuple[list[Endpoint], list[str]]]:
    """Asks twice at most: for the SRV records, then for the addresses of their targets."""
    if not isinstance(domain, str):
        raise TypeError(f"a domain is a str, not {type(domain).__name__!r}")
    if kind not in get_args(Kind):
        raise ValueError(f"the kind is 'client' or 'server', not {kind!r}")
    if not 0 < timeout < math.inf:
        raise ValueError(f"the time-out is a number of seconds above 0, not {timeout!r}")
    domain = domain.removesuffix(".")
    literal = _address(domain)
    if literal:
        return [Endpoint(domain, kind, literal, _DEFAULT_PORTS[kind], "starttls", 0, 0, (literal,))], []
    start = time.monotonic()
    remarks: list[str] = []
    names = [_dns.name_of(domain, f"{service}{kind}._tcp") for service in _SERVICES.values()]
    answers = yield Batch([Question(name, "SRV") for name in names], start + timeout / 2)
    records = _usable(domain, kind, dict(zip(_SERVICES, answers, strict=True)), remarks)
    drawn = list(itertools.islice(order(records, rng or random.Random()), MAX_ENDPOINTS))
    if len(drawn) < len(records):
        remarks.append(f"of {len(records)} SRV records the first {len(drawn)} in the order to try are taken")
    targets = list(dict.fromkeys(record.target for record in drawn))
    answers = yield Batch([Question(name, family) for name in targets for family in _FAMILIES], start + timeout)
    pairs = zip(targets, answers[::2], answers[1::2], strict=True)
    addresses = {target: _addresses(_text(target), pair, remarks) for target, *pair in pairs}
    endpoints = [
        Endpoint(domain, kind, _text(target), port, tls, priority, weight, addresses[target])
        for priority, weight, port, target, tls in drawn
        if addresses[target]
    ]
    if not endpoints:
        raise _unreachable(domain, records, answers, remarks)
    return endpoints, remarks


def _usable(domain: str, kind: Kind, answers: dict[TLS, Answer], remarks: list[str]) -> list[Record]:
    """The records that can be used; where DNS holds none at all, the one that RFC 6120 section 3.2.2 falls back to.

    One service whose lookup fails does not keep the other from being used; alone it does not say that there is no
    SRV record, nor does a record that cannot be used.
    """
    records: list[Record] = []
    for tls, answer in answers.items():
        service = f"{_SERVICES[tls]}{kind}"
        found = [record for record in answer.records if record.port and len(record.target) > 1]
        records += [Record(record.priority, record.weight, record.port, record.target, tls) for record in found]
        remarks += _left_out(service, answer)
    if records:
        return records
    failures = [answer.failure for answer in answers.values() if answer.failure in ("timeout", "bad-answer")]
    if failures:
        raise _error(domain, remarks, "timeout" if "timeout" in failures else "bad-answer")
    if any(answer.records for answer in answers.values()):
        declined = all(len(record.target) == 1 for answer in answers.values() for record in answer.records)
        raise _error(domain, remarks, "not-offered" if declined else "no-address")
    default = Record(0, 0, _DEFAULT_PORTS[kind], _dns.name_of(domain), "starttls")
    remarks.append(f"no SRV records: the domain's own addresses are taken, with port {default.port}")
    return [default]


def _left_out(service: str, answer: Answer) -> Iterator[str]:
    """What is not used of an answer, and why."""
    if answer.failure in ("timeout", "bad-answer"):
        yield f"{service}: {answer.detail}"
    roots = sum(len(record.target) == 1 for record in answer.records)
    if roots:
        alone = roots == len(answer.records)
        yield f"{service}: not offered (the target is .)" if alone else f"{service}: a target . among others is ignored"
    portless = sum(not record.port and len(record.target) > 1 for record in answer.records)
    if portless:
        yield f"{service}: records with port 0 are ignored ({portless})"


def _addresses(host: str, answers: Sequence[Answer], remarks: list[str]) -> tuple[str, ...]:
    """IPv6 and IPv4 by turns."""
    families = [[record.address for record in answer.records] for answer in answers]
    found = [address for turn in itertools.zip_longest(*families) for address in turn if address]
    failed = dict.fromkeys(answer.detail for answer in answers if answer.failure)
    remarks += [f"{host}: {detail}" for detail in failed]
    if not found and not failed:
        remarks.append(f"{host}: it has no address")
    if len(found) > MAX_ADDRESSES:
        remarks.append(f"{host}: of {len(found)} addresses the first {MAX_ADDRESSES} are taken")
    return tuple(found[:MAX_ADDRESSES])


def _unreachable(
    domain: str, records: Sequence[Record], answers: Sequence[Answer], remarks: list[str]
) -> ResolutionError:
    failures = {answer.failure for answer in answers}
    for failure in ("timeout", "bad-answer"):
        if failure in failures:
            return _error(domain, remarks, failure)
    gone = "no-such-domain" in failures and records[0].target == _dns.name_of(domain)
    return _error(domain, remarks, "no-such-domain" if gone else "no-address")


def _error(domain: str, remarks: list[str], reason: str) -> ResolutionError:
    listed = "; ".join(remarks[:_MOST_LISTED]) + ("; …" if len(remarks) > _MOST_LISTED else "")
    return ResolutionError(f"{domain}: {listed}", reason=reason)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _address(domain: str) -> str | None:
    """The IP address that a domain part may be (RFC 7622 section 3.2): IPv6 in brackets."""
    try:
        if domain.startswith("[") and domain.endswith("]"):
            return str(ipaddress.IPv6Address(domain[1:-1]))
        return str(ipaddress.IPv4Address(domain))
    except ValueError:
        return None
