"""WebSocket server over TLS that answers each message with its length, then itself.

    websocket_server.py ADDRESS PORT CERT KEY      prints "ready" when it listens

With TEST_COMPRESSION it agrees on compression.
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.server import serve


async def answer(connection):
    async for message in connection:
        await connection.send(f"{len(message)} came")
        await connection.send(message)


async def main(address, port, cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    compression = os.environ.get("TEST_COMPRESSION")
    async with serve(answer, address, int(port), ssl=context, compression=compression) as server:
        print("ready", flush=True)
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
