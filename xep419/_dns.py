"""Questions to DNS, many at once, answered within a time: in threads, or in asyncio.

Every answer is a value, failures too; what an answer means for XMPP is the business of :mod:`xep419.srv`, the only
module to import this one. Needs the extra ``xep419[srv]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import queue
import re
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

try:
    import dns.asyncresolver
    import dns.exception
    import dns.name
    import dns.nameserver
    import dns.resolver
except ImportError as error:
    raise ImportError(f"xep419.srv needs dnspython ({error}): pip install 'xep419[srv]'", name=error.name) from None

from .errors import ResolutionError

#: questions under way at a time
AT_A_TIME = 16

_NAMESERVER = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<four>[^:]+))(?::(?P<port>[0-9]{1,5}))?|[^[\]]+")
#: ASCII that no domain holds, but a JID or URL does (RFC 5890 section 2.3.1, and _ of names like a host's); dnspython
#: takes all of it, and a backslash for an escape
_IN_NO_DOMAIN = re.compile(r"[^A-Za-z0-9._\x80-\U0010ffff-]")

Failure = Literal["no-such-domain", "timeout", "bad-answer"]
Resolver = TypeVar("Resolver", bound=dns.resolver.BaseResolver)


class Question(NamedTuple):
    name: dns.name.Name
    type: Literal["SRV", "AAAA", "A"]


class Batch(NamedTuple):
    """Questions to be answered until ``deadline``, by :func:`time.monotonic`."""

    questions: list[Question]
    deadline: float


class Answer(NamedTuple):
    """The records, none where the name has none of the type; or what failed (a ``reason`` of ResolutionError)."""

    records: list[Any]
    failure: Failure | None = None
    detail: str = ""


_LATE = Answer([], "timeout", "no answer in the time given")


def name_of(domain: str, service: str = "") -> dns.name.Name:
    """``domain``, in Unicode or ASCII, as DNS has it, under the labels ``service``."""
    try:
        if found := _IN_NO_DOMAIN.search(domain):
            raise UnicodeError(f"it holds {found[0]!r}")
        name = dns.name.from_text(domain, idna_codec=dns.name.IDNA_2008_Practical)
        if name != dns.name.root:
            return dns.name.from_text(service, origin=None).concatenate(name) if service else name
        reason = "it is empty"
    except dns.name.NoIDNA2008:
        raise ImportError(f"the domain {domain!r} needs idna: pip install 'xep419[srv]'", name="idna") from None
    except (dns.exception.DNSException, UnicodeError) as error:
        reason = str(error)
    raise ResolutionError(f"a domain name is expected, not {domain!r}: {reason}", reason="invalid-domain")


def threaded(resolver: dns.resolver.Resolver | Sequence[str] | None) -> dns.resolver.Resolver:
    """The resolver itself, or one that asks the nameservers: those of the system where none are given."""
    if isinstance(resolver, dns.resolver.Resolver):
        return resolver
    return _configured(dns.resolver.Resolver, resolver)


def asynchronous(resolver: dns.asyncresolver.Resolver | Sequence[str] | None) -> dns.asyncresolver.Resolver:
    """As :func:`threaded`, for asyncio."""
    if isinstance(resolver, dns.asyncresolver.Resolver):
        return resolver
    return _configured(dns.asyncresolver.Resolver, resolver)


def _configured(kind: type[Resolver], nameservers: Sequence[str] | None) -> Resolver:
    if isinstance(nameservers, (str, dns.resolver.BaseResolver)):
        raise TypeError(f"a {kind.__module__}.Resolver or a list of nameservers is expected, not {nameservers!r}")
    if nameservers is None:
        try:
            return kind()
        except dns.resolver.NoResolverConfiguration as error:
            raise ResolutionError(f"the system names no nameserver: {error}", reason="no-nameserver") from error
    resolver = kind(configure=False)
    resolver.nameservers = [nameserver(text) for text in nameservers]
    return resolver


def nameserver(text: str) -> dns.nameserver.Nameserver:
    """The nameserver that ``IP``, ``IP:PORT`` or ``[IPv6]:PORT`` names; ValueError for anything else."""
    found = _NAMESERVER.fullmatch(text)
    if found:
        port = int(found["port"] or 53)
        with contextlib.suppress(ValueError):
            address = str(ipaddress.ip_address(found["six"] or found["four"] or text))
            if 0 < port < 1 << 16:
                return dns.nameserver.Do53Nameserver(address, port)
    raise ValueError(f"a nameserver is IP, IP:PORT or [IPv6]:PORT, not {text!r}")


# -- asking ---------------------------------------------------------------------------------------------------


def ask(resolver: dns.resolver.Resolver, batch: Batch) -> list[Answer]:
    """The answers, in the order of the questions.

    A thread still waiting at the deadline (dnspython may sleep past it before it tries again, two seconds at most)
    ends by itself; being a daemon, it keeps neither the caller nor the interpreter.
    """
    questions = list(enumerate(batch.questions))
    turn = threading.Lock()
    given: queue.SimpleQueue[tuple[int, Answer | Exception]] = queue.SimpleQueue()

    def answer_some() -> None:
        while True:
            with turn:
                if not questions:
                    return
                number, question = questions.pop(0)
            try:
                given.put((number, _answer(resolver, question, batch.deadline)))
            except Exception as error:
                given.put((number, error))

    for _ in range(min(AT_A_TIME, len(questions))):
        threading.Thread(target=answer_some, name="xep419.srv", daemon=True).start()
    answers = [_LATE] * len(batch.questions)
    with contextlib.suppress(queue.Empty):
        for _ in batch.questions:
            number, answer = given.get(timeout=_left(batch))
            if isinstance(answer, Exception):
                raise answer
            answers[number] = answer
    return answers


def _answer(resolver: dns.resolver.Resolver, question: Question, deadline: float) -> Answer:
    lifetime = deadline - time.monotonic()
    if lifetime <= 0:
        return _LATE
    try:
        found = resolver.resolve(*question, raise_on_no_answer=False, lifetime=lifetime, search=False)
    except (dns.exception.DNSException, OSError) as error:
        return _failed(error)
    return Answer(list(found))


async def ask_async(resolver: dns.asyncresolver.Resolver, batch: Batch) -> list[Answer]:
    """As :func:`ask`, in tasks."""
    turn = asyncio.Semaphore(AT_A_TIME)
    tasks = [asyncio.ensure_future(_answer_async(resolver, question, batch, turn)) for question in batch.questions]
    try:
        done, _late = await asyncio.wait(tasks, timeout=_left(batch))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() if task in done else _LATE for task in tasks]


async def _answer_async(
    resolver: dns.asyncresolver.Resolver, question: Question, batch: Batch, turn: asyncio.Semaphore
) -> Answer:
    async with turn:
        try:
            found = await resolver.resolve(*question, raise_on_no_answer=False, lifetime=_left(batch), search=False)
        except (dns.exception.DNSException, OSError) as error:
            return _failed(error)
    return Answer(list(found))


def _left(batch: Batch) -> float:
    return max(0.0, batch.deadline - time.monotonic())


def _failed(error: Exception) -> Answer:
    if isinstance(error, dns.resolver.NXDOMAIN):
        return Answer([], "no-such-domain", "DNS has no such name")
    if isinstance(error, dns.exception.Timeout):
        return _LATE
    return Answer([], "bad-answer", str(error))
