"""``xep419 srv``: the endpoints of a domain's XMPP service in the order to try, and what each of them shows.

Finding and connecting are :mod:`xep419.srv`'s and :mod:`xep419.probe`'s work; this module prints.
"""

from __future__ import annotations

import dataclasses
import json
import math
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import LinkError, ResolutionError
from ..names import is_secure
from .files import FileError, printable
from .progress import is_terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..probe import Link
    from ..srv import Endpoint, Endpoints, Kind

    Probed = Link | LinkError

#: columns enough for any table that goes to a file or a pipe
UNLIMITED = 100_000


def _seconds(context: click.Context, option: click.Parameter, value: float) -> float:
    if not 0 < value < math.inf:
        raise click.BadParameter("a number of seconds above 0 is expected.")
    return value


@click.command(
    epilog="""\b
Examples:
  xep419 srv example.org
  xep419 srv example.org --connect
  xep419 srv example.org --server --nameserver 127.0.0.1:5353 --json

\b
Exit status:
  0  there are endpoints; with --connect: and one of them opened a stream, with a certificate that holds
  1  there are none, or with --connect none did
  2  wrong usage
"""
)
@click.argument("domain")
@click.option("--server", "to_server", is_flag=True, help="The service for other servers, not for clients.")
@click.option("--connect", is_flag=True, help="Open a stream over TLS with every endpoint, and say what it shows.")
@click.option(
    "--nameserver", "nameservers", multiple=True, metavar="IP[:PORT]", help="Whom to ask, not the system's; repeatable."
)
@click.option(
    "--timeout",
    type=float,
    default=10.0,
    show_default=True,
    callback=_seconds,
    metavar="SECONDS",
    help="For everything; with --connect half of it for DNS.",
)
@click.option(
    "--ca-file", type=click.Path(), metavar="FILE", help="Certificate authorities to trust (PEM), not the system's."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def srv(
    domain: str,
    to_server: bool,
    connect: bool,
    nameservers: Sequence[str],
    timeout: float,
    ca_file: str | None,
    as_json: bool,
) -> None:
    """Find where a domain's XMPP service is; try the links.

    The SRV records for STARTTLS and for direct TLS make one list, in the order to try (XEP-0368). Among those of one
    priority the order is drawn by weight, and may differ from run to run.
    """
    kind: Kind = "server" if to_server else "client"
    deadline = time.monotonic() + timeout
    endpoints = _resolve(domain, kind, nameservers, timeout / 2 if connect else timeout, as_json)
    results: list[Probed] = []
    probes = _probe_all(endpoints, deadline, ca_file, results) if connect else iter(())
    if as_json:
        _print_json(domain, kind, endpoints, list(probes))
    else:
        _print_tables(domain, kind, endpoints, probes)
    if connect and not any(_verified(result) for result in results):
        raise click.exceptions.Exit(1)


def _resolve(domain: str, kind: Kind, nameservers: Sequence[str], timeout: float, as_json: bool) -> Endpoints:
    try:
        from ..srv import resolve

        return resolve(domain, kind, resolver=nameservers or None, timeout=timeout)
    except ResolutionError as error:
        if as_json:
            failure = {"reason": error.reason, "message": error.message}
            print(json.dumps({"domain": domain, "kind": kind, "error": failure}, indent=2))
        print(f"xep419: {printable(error.message)} ({error.reason})", file=sys.stderr)
        raise click.exceptions.Exit(1) from error
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


def _probe_all(
    endpoints: Sequence[Endpoint], deadline: float, ca_file: str | None, results: list[Probed]
) -> Iterator[Probed]:
    """Each endpoint's outcome when it is asked for; each gets an equal part of the time left."""
    try:
        from ..probe import probe
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    for number, endpoint in enumerate(endpoints):
        share = max(0.001, deadline - time.monotonic()) / (len(endpoints) - number)
        try:
            results.append(probe(endpoint, timeout=share, ca_file=ca_file))
        except LinkError as error:
            results.append(error)
        except OSError as error:
            unreadable = "it holds no certificate of an authority (PEM is expected)"
            reason = unreadable if isinstance(error, ssl.SSLError) else error.strerror or str(error)
            raise FileError(printable(ca_file or "the system's certificates"), reason) from error
        yield results[-1]


def _verified(result: Probed) -> bool:
    return not isinstance(result, LinkError) and result.verified


# -- JSON -----------------------------------------------------------------------------------------------------


def _print_json(domain: str, kind: Kind, endpoints: Endpoints, probes: Sequence[Probed]) -> None:
    found = [_endpoint_object(endpoint) for endpoint in endpoints]
    for fields, probed in zip(found, probes, strict=False):  # none without --connect
        fields["link"] = None if isinstance(probed, LinkError) else _link_object(probed)
        fields["error"] = probed.message if isinstance(probed, LinkError) else None
    print(json.dumps({"domain": domain, "kind": kind, "endpoints": found, "remarks": endpoints.remarks}, indent=2))


def _endpoint_object(endpoint: Endpoint) -> dict[str, Any]:
    fields = ("host", "port", "tls", "alpn", "priority", "weight", "addresses")
    return {field: getattr(endpoint, field) for field in fields}


def _link_object(link: Link) -> dict[str, Any]:
    fields = ("address", "tls_version", "cipher", "alpn", "verified")
    certificate = dataclasses.asdict(link.certificate)
    for end in ("not_before", "not_after"):
        certificate[end] = certificate[end].isoformat()
    namespaces = [{"name": name, "secure": is_secure(name)} for name in link.namespaces]
    return {**{field: getattr(link, field) for field in fields}, "certificate": certificate, "namespaces": namespaces}


# -- tables ---------------------------------------------------------------------------------------------------


def _print_tables(domain: str, kind: Kind, endpoints: Endpoints, probes: Iterator[Probed]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if is_terminal(sys.stdout) else UNLIMITED, highlight=False, markup=False)
    console.print(f"{printable(domain)}: the service for {kind}s, in the order to try", style="italic", soft_wrap=True)
    console.print(_table(endpoints))
    for remark in endpoints.remarks:
        console.print(f"Note: {printable(remark)}", soft_wrap=True)
    for number, (endpoint, probed) in enumerate(zip(endpoints, probes, strict=False), 1):
        console.print()
        console.print(f"{number}. {_place(endpoint)}", style="bold", soft_wrap=True)
        for label, text, style in _described(endpoint, probed):
            console.print(Text(f"   {label:<12} ") + Text(printable(text), style), soft_wrap=True)


def _table(endpoints: Endpoints) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    table.add_column("Host", overflow="fold")
    table.add_column("Port", justify="right")
    table.add_column("TLS")
    table.add_column("Priority", justify="right")
    table.add_column("Weight", justify="right")
    table.add_column("Addresses", overflow="fold")
    for number, endpoint in enumerate(endpoints, 1):
        table.add_row(
            str(number),
            Text(printable(endpoint.host)),
            str(endpoint.port),
            endpoint.tls,
            str(endpoint.priority),
            str(endpoint.weight),
            " ".join(endpoint.addresses),
        )
    return table


def _place(endpoint: Endpoint) -> str:
    return f"{printable(endpoint.host)}, port {endpoint.port}, {endpoint.tls}"


def _described(endpoint: Endpoint, probed: Probed) -> Iterator[tuple[str, str, str]]:
    """What a probe found: label, text and style of each line."""
    if isinstance(probed, LinkError):
        yield "no stream", probed.message, "red"
        return
    certificate = probed.certificate
    yield "address", probed.address, ""
    yield "TLS", f"{probed.tls_version}, {probed.cipher}", ""
    asked = f"none chosen, {endpoint.alpn} was asked for" if endpoint.alpn else "none, STARTTLS has none"
    yield "ALPN", probed.alpn or asked, ""
    problem = certificate.problem
    holds = f"does not hold for {endpoint.domain}: {problem}" if problem else f"holds for {endpoint.domain}"
    yield "certificate", holds, "red" if problem else "green"
    yield "  subject", certificate.subject, ""
    yield "  issuer", certificate.issuer, ""
    yield "  names", " ".join(certificate.names) or "none", ""
    yield "  valid", f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}", ""
    for name in probed.namespaces:
        secure = is_secure(name)
        yield "namespace", f"{name} ({'secure' if secure else 'insecure'})", "green" if secure else "red"
