"""A TCP relay on loopback that notes both directions, and may change them as a gateway would."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

Change = Callable[[bytes], bytes]


class Relay:
    """Relays connections to a port; use it with ``async with``. ``accept`` and ``connect`` are TLS on either side."""

    def __init__(
        self,
        to: int,
        *,
        up: Change = bytes,
        down: Change = bytes,
        accept: ssl.SSLContext | None = None,
        connect: ssl.SSLContext | None = None,
    ) -> None:
        self.from_client = bytearray()
        self.from_server = bytearray()
        self._to, self._up, self._down = to, up, down
        self._accept, self._connect = accept, connect
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._accept)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._to, ssl=self._connect)
        try:
            await asyncio.gather(
                self._copy(reader, server_writer, self.from_client, self._up),
                self._copy(server_reader, writer, self.from_server, self._down),
            )
        except asyncio.CancelledError:
            pass  # only __aexit__ cancels
        finally:
            for closing in (writer, server_writer):
                if closing.get_extra_info("ssl_object"):
                    closing.transport.abort()  # or it would wait for the other side's farewell
                closing.close()
                with suppress(OSError):
                    await closing.wait_closed()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noted: bytearray, change: Change
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                noted += data
                writer.write(change(data))
                await writer.drain()
        writer.close()
