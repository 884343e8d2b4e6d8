"""The servers, started once for all tests; a server that is not installed skips its tests, and fails them in CI."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import servers

START = {"prosody": servers.prosody, "ejabberd": servers.ejabberd}


@pytest.fixture(scope="session")
def started(certificate: Path) -> Iterator[Callable[[str], servers.Server]]:
    with contextlib.ExitStack() as running:
        found: dict[str, servers.Server | servers.NotInstalledError] = {}

        def start(name: str) -> servers.Server:
            if name not in found:
                try:
                    found[name] = running.enter_context(START[name](certificate))
                except servers.NotInstalledError as error:
                    found[name] = error
            server = found[name]
            if isinstance(server, servers.NotInstalledError):
                if os.environ.get("CI"):
                    pytest.fail(str(server))
                pytest.skip(str(server))
            return server

        yield start


@pytest.fixture(params=list(START))
def server(request: pytest.FixtureRequest, started: Callable[[str], servers.Server]) -> servers.Server:
    return started(request.param)


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Runs a coroutine to its end; slixmpp wants the loop to be the thread's."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 60))
    from .client import open_clients  # needs slixmpp, without which no test gets here

    for client in open_clients:
        client.abort()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()
