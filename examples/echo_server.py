#!/usr/bin/env python3
"""A server that sends every stanza back: framed, upgraded, encrypted. There is no XMPP behind it: no SASL, no routing.

python3 echo_server.py --port 5222
"""

import argparse
import asyncio

from xep419 import StanzaStream, XEP419Error
from xep419.integrations.asyncio import Transformation, start_server

HEADER = (
    b"<?xml version='1.0'?><stream:stream id='echo' version='1.0' xmlns='jabber:client'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
STREAM_ERROR = "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    stream, greeted, error = StanzaStream(), False, b""
    while not (stream.closed or error) and (data := await reader.read(1 << 16)):
        try:
            stanzas = stream.feed(data)
        except XEP419Error as wrong:
            stanzas = list(wrong.stanzas)
            error = (STREAM_ERROR % wrong.condition).encode()
        if not greeted and (stream.header or error):
            writer.write(HEADER)
            greeted = True
        writer.writelines(stanzas)
        await writer.drain()
    if greeted:
        writer.write(error + b"</stream:stream>")
    writer.close()
    await writer.wait_closed()


async def serve(port: int) -> None:
    # The stanzas that come are framed as they are; what goes out is upgraded and encrypted by the transport.
    server = await start_server(echo, "127.0.0.1", port, transformation=Transformation(incoming=None))
    print("listening on port", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Send every stanza back, upgraded and encrypted.")
    parser.add_argument("--port", type=int, default=0, help="on loopback (default: any free one)")
    asyncio.run(serve(parser.parse_args().port))
