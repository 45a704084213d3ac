"""A WebSocket client over TLS that sends a text every 100 ms for SECONDS.

    late_websocket.py URL CA SECONDS
"""

import asyncio
import ssl
import sys
import time

from websockets.asyncio.client import connect


async def main(url, ca, seconds):
    context = ssl.create_default_context(cafile=ca)
    end = time.monotonic() + float(seconds)
    async with connect(url, ssl=context, compression=None) as connection:
        print("open", flush=True)
        while time.monotonic() < end:
            await connection.send("GET / HTTP/1.1\r\nHost: inside\r\n\r\n")
            await connection.recv()
            await connection.recv()
            await asyncio.sleep(0.1)


asyncio.run(main(*sys.argv[1:]))
