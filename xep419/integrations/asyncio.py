"""Live connections through the package: asyncio's protocols, transports and streams with both directions transformed.

What the application writes goes through one object with ``update`` and ``finalize`` (an :class:`xep419.Encryptor`
unless told otherwise), what the peer sends through another (an :class:`xep419.Decryptor`). Everything else (flow
control, half-close, limits, extra information) is the transport's own and passes through. No framing and no XMPP
here: bytes in, bytes out. Any event loop with asyncio's interface will do; the tests run on asyncio's and uvloop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ..cipher import Decryptor, Encryptor
from ..errors import XEP419Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._types import Buffer

#: bytes that a stream's reader holds before it stops reading; asyncio's own default
STREAM_LIMIT = 1 << 16
#: seconds that a peer has to read a stream error before the connection is aborted
FAREWELL = 5.0

_STREAM_ERROR = "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"


class Transformer(Protocol):
    """One direction of one XML stream, piece by piece: ``Encryptor`` and ``Decryptor`` are such.

    One that has a true attribute ``reads_stream``, as :class:`xep419.policy.StreamGuard`, knows XMPP streams: its error
    on incoming data ends the stream with the error's ``condition``, before the connection.
    """

    def update(self, data: Buffer, /) -> bytes: ...
    def finalize(self) -> bytes: ...


@dataclass(frozen=True)
class Transformation:
    """What happens to the bytes of a connection: a maker of transformers for each direction, None to leave it alone.

    Each connection gets its own, and a new pair after STARTTLS. Options go in by ``functools.partial``, such as
    ``Transformation(incoming=partial(Decryptor, downgrade=True))``.
    """

    outgoing: Callable[[], Transformer] | None = Encryptor
    incoming: Callable[[], Transformer] | None = Decryptor


DEFAULT = Transformation()


class TransformingTransport(asyncio.Transport):
    """The transport that the wrapped protocol is given; made by :class:`TransformingProtocol`.

    ``write`` sends what the outgoing transformer makes of the data. A whole stanza leaves at once; what may be held
    back is the beginning of a tag whose end was not written yet. ``write_eof`` and ``close`` send that too,
    ``abort`` does not. A transformer's error aborts the connection and reaches the protocol in ``connection_lost``,
    as a transport's own errors do.
    """

    def __init__(self, transport: asyncio.Transport, protocol: TransformingProtocol, transformation: Transformation):
        super().__init__()
        self._transport = transport
        self._protocol = protocol
        self._make = transformation.outgoing
        self._outgoing = self._make() if self._make else None
        self._began = False
        self._ended = False
        self._farewell: asyncio.TimerHandle | None = None

    # -- writing ------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended:
            if not self.is_closing():
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        self._began = True
        if self._outgoing is None:
            self._transport.write(data)
            return
        try:
            made = self._outgoing.update(data)
        except XEP419Error as error:
            self._protocol.fail(error)
            return
        if made:
            self._transport.write(made)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        if self.can_write_eof():
            self._end()
        self._transport.write_eof()

    def close(self) -> None:
        self._end()
        self._transport.close()

    def abort(self) -> None:
        self._ended = True
        self._transport.abort()

    def end_stream(self, condition: str) -> None:
        """Ends the stream with a stream error (RFC 6120 section 4.9), where one was begun, and the connection.

        The prefix is ``stream``, as in every header that is known in practice (section 4.8.5). A peer that does not
        read it loses the connection after :data:`FAREWELL` seconds.
        """
        if self._ended or not self._began or self.is_closing():
            self.abort()
            return
        self._flush()
        self._ended = True
        if not self.is_closing():
            self._transport.write((_STREAM_ERROR % condition).encode())
            self._transport.close()
            self._farewell = asyncio.get_running_loop().call_later(FAREWELL, self._transport.abort)

    def lost(self) -> None:
        """The connection is gone, and nothing of it is left to abort."""
        if self._farewell is not None:
            self._farewell.cancel()

    def _end(self) -> None:
        if not self._ended:
            self._flush()
            self._ended = True

    def _flush(self) -> None:
        if self._outgoing is not None and not self.is_closing():
            try:
                rest = self._outgoing.finalize()
            except XEP419Error as error:
                self._protocol.fail(error)
                return
            if rest:
                self._transport.write(rest)

    async def start_tls(
        self,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
    ) -> None:
        """Puts the connection on TLS under the transformation (RFC 6120 section 5); the arguments are the loop's.

        Both directions begin anew after it, as XMPP's streams do, and what came in of an unfinished tag before it is
        forgotten. Protocol, transport and a ``StreamWriter`` on it stay the same objects. Write nothing until it
        returns. A handshake that fails or is cancelled loses the connection.
        """
        loop = asyncio.get_running_loop()
        self._flush()
        self._protocol.begin_tls()
        try:
            encrypted = await loop.start_tls(
                self._transport,
                self._protocol,
                sslcontext,
                server_side=server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
            )
            if encrypted is None:
                raise ConnectionResetError("the connection was lost during the TLS handshake")
        except BaseException as error:
            # the loop closes the connection, but does not always tell a protocol that has not seen TLS
            self.abort()
            loop.call_soon(self._protocol.connection_lost, error if isinstance(error, Exception) else None)
            raise
        self._transport = encrypted
        self._began = False
        self._outgoing = self._make() if self._make else None
        self._protocol.end_tls()

    # -- the transport's own ------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol.wrapped

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol.wrapped = _require_protocol(protocol)

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()


def _require_protocol(protocol: object) -> asyncio.Protocol:
    if not isinstance(protocol, asyncio.Protocol):
        raise TypeError(f"protocol must be an asyncio.Protocol, not {type(protocol).__name__!r}")
    return protocol


class TransformingProtocol(asyncio.Protocol):
    """Stands between a connection and the protocol it wraps: ``create_server(lambda: TransformingProtocol(Mine()))``.

    The wrapped protocol sees a :class:`TransformingTransport` and transformed data; pauses, end of file and loss
    of the connection reach it as they come. When the peer's data makes the incoming transformer fail, what it had
    completed before (the error's ``stanzas``) is passed on, the connection is aborted and ``connection_lost`` is called
    with the error (an :class:`xep419.XEP419Error`). If the transformer ``reads_stream`` the peer is told first, by a
    stream error.

    :raises TypeError: ``protocol`` is not an ``asyncio.Protocol`` (a ``BufferedProtocol`` is none).
    """

    transport: TransformingTransport

    def __init__(self, protocol: asyncio.Protocol, transformation: Transformation = DEFAULT) -> None:
        self.wrapped = _require_protocol(protocol)
        self._transformation = transformation
        self._incoming = self._new_incoming()
        self._error: XEP419Error | None = None
        self._lost = False
        self._during_tls: list[bytes] | None = None  # came over TLS before the transport knew; b"" is the end of file

    def _new_incoming(self) -> Transformer | None:
        return self._transformation.incoming() if self._transformation.incoming else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        underlying = cast(asyncio.Transport, transport)  # uvloop's look like one and are none
        self.transport = TransformingTransport(underlying, self, self._transformation)
        self.wrapped.connection_made(self.transport)

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            return
        if self._during_tls is not None:
            self._during_tls.append(data)
            return
        if self._incoming is not None:
            try:
                data = self._incoming.update(data)
            except XEP419Error as error:
                self._refuse(error)
                return
        if data:
            self.wrapped.data_received(data)

    def eof_received(self) -> bool:
        if self._error is not None:
            return False
        if self._during_tls is not None:
            self._during_tls.append(b"")
            return False
        if self._incoming is not None:
            try:
                rest = self._incoming.finalize()
            except XEP419Error as error:
                self._refuse(error)
                return False
            if rest:
                self.wrapped.data_received(rest)
        keep_open = self.wrapped.eof_received()
        # TLS has no half-closed connections; a protocol that met a plain one may not know that it has become one
        return bool(keep_open) and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self.transport.lost()
            self.wrapped.connection_lost(self._error or exc)

    def pause_writing(self) -> None:
        self.wrapped.pause_writing()

    def resume_writing(self) -> None:
        self.wrapped.resume_writing()

    def _refuse(self, error: XEP419Error) -> None:
        """The incoming data are wrong."""
        self._error = error
        if error.stanzas:
            self.wrapped.data_received(b"".join(error.stanzas))
        if error.condition and getattr(self._incoming, "reads_stream", False):
            self.transport.end_stream(error.condition)
        else:
            self.transport.abort()

    # -- for the transport --------------------------------------------------------------------------------

    def fail(self, error: XEP419Error) -> None:
        """Aborts the connection; the wrapped protocol will hear why when it is lost."""
        self._error = self._error or error
        self.transport.abort()

    def begin_tls(self) -> None:
        """From here on what comes is TLS's: it begins a new stream, and waits until it can be answered over TLS."""
        self._incoming = self._new_incoming()
        self._during_tls = []

    def end_tls(self) -> None:
        waiting, self._during_tls = self._during_tls or [], None
        for data in waiting:
            if data:
                self.data_received(data)
            else:
                self.eof_received()


async def open_connection(
    host: str | None = None,
    port: int | None = None,
    *,
    transformation: Transformation = DEFAULT,
    limit: int = STREAM_LIMIT,
    **options: Any,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """``asyncio.open_connection`` with both directions transformed.

    :param options: further ones of the loop's ``create_connection``.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    streams = asyncio.StreamReaderProtocol(reader, loop=loop)
    protocol = TransformingProtocol(streams, transformation)
    await loop.create_connection(lambda: protocol, host, port, **options)  # type: ignore[arg-type]  # None with a socket
    return reader, asyncio.StreamWriter(protocol.transport, streams, reader, loop)


async def start_server(
    client_connected_cb: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str | None = None,
    port: int | None = None,
    *,
    transformation: Transformation = DEFAULT,
    limit: int = STREAM_LIMIT,
    **options: Any,
) -> asyncio.Server:
    """``asyncio.start_server`` with both directions of every connection transformed.

    For STARTTLS await ``writer.transport.start_tls(…)``, where ``StreamWriter.start_tls`` knows the loop's own
    transports only.

    :param options: further ones of the loop's ``create_server``.
    """
    loop = asyncio.get_running_loop()

    def accept() -> TransformingProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return TransformingProtocol(
            asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop), transformation
        )

    return await loop.create_server(accept, host, port, **options)


__all__ = [
    "STREAM_LIMIT",
    "Transformation",
    "Transformer",
    "TransformingProtocol",
    "TransformingTransport",
    "open_connection",
    "start_server",
]
