"""A nameserver on loopback that says what a test tells it to, however wrong. It knows nothing of SRV or XMPP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import dns.message
import dns.rcode
import dns.rrset

Answering = Callable[[dns.message.Message, bool], bytes | None]


class Nameserver:
    """Answers over UDP and TCP with what ``answering(query, over_tcp)`` gives, and not at all where that is None."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=serve) for serve in (self._serve_udp, self._serve_tcp)]

    def __enter__(self) -> Nameserver:
        for served in (self._tcp, self._udp):
            served.settimeout(0.05)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._tcp.close()
        self._udp.close()

    def _serve_udp(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                query, peer = self._udp.recvfrom(4096)
                answer = self._answering(dns.message.from_wire(query), False)
                if answer is not None:
                    self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection, _peer = self._tcp.accept()
                with connection:
                    query = connection.recv(4096)
                    answer = self._answering(dns.message.from_wire(query[2:]), True)
                    for number in range(len(answer or b"")):  # a byte at a time, and slowly
                        connection.sendall(answer[number : number + 1])
                        if self._closing.wait(0.1):
                            break


def zone(query: dns.message.Message, text: str) -> bytes:
    """An answer with the records of ``text`` that are of the name and type asked for; NXDOMAIN without any of the name."""
    [question] = query.question
    lines = [line.split(None, 2) for line in text.splitlines() if line]
    named = [line for line in lines if line[0] == str(question.name).removesuffix(".")]
    response = dns.message.make_response(query)
    if not named:
        response.set_rcode(dns.rcode.NXDOMAIN)
    found = [line[2] for line in named if line[1] == question.rdtype.name]
    if found:
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", question.rdtype, *found))
    return response.to_wire()
