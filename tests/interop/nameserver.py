"""A real nameserver on loopback: Knot DNS with the zones of a test, under its own user, ended by process id."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from . import servers

_SERVER = """\
server:
  listen: 127.0.0.1@{port}
  user: knot:knot
  rundir: {directory}
database:
  storage: {directory}
log:
  - target: stderr
    any: warning
zone:
"""
_ZONE = """\
  - domain: {domain}
    file: {directory}/{domain}zone
    semantic-checks: off
    journal-content: none
"""
_HEAD = "$ORIGIN {domain}\n$TTL 60\n@ SOA ns host 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n"


@contextlib.contextmanager
def knot(zones: Mapping[str, str]) -> Iterator[str]:
    """Serves the records of each zone, by its name with the final dot; gives the nameserver as ``IP:PORT``."""
    serve = servers.program("knotd")
    [port] = servers.free_ports(1)
    with tempfile.TemporaryDirectory(prefix="xep419-knot-") as name:
        directory = Path(name)
        config = _SERVER.format(port=port, directory=directory)
        for domain, records in zones.items():
            config += _ZONE.format(domain=domain, directory=directory)
            (directory / f"{domain}zone").write_text(_HEAD.format(domain=domain) + records)
        (directory / "knot.conf").write_text(config)
        servers.give(directory, "knot")
        with servers.running([serve, "--config", str(directory / "knot.conf")], "knot", directory, (port,)):
            yield f"127.0.0.1:{port}"
