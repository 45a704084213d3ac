"""WebSocket client over TLS: a text in fragments, a binary message of 70,000 bytes, a ping, then closes with 1000.

    websocket_client.py URL CA [SECONDS]     first a text every 0.1 s for so long

With TEST_MESSAGE it sends that instead, three times, and offers compression.
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect


async def main(url, ca, seconds="0"):
    context = ssl.create_default_context(cafile=ca)
    given = os.environ.get("TEST_MESSAGE")
    messages = [given] * 3 if given else [["hel", "lo"], bytes(70000)]
    compression = "deflate" if given else None
    async with connect(url, ssl=context, compression=compression) as connection:
        for _ in range(int(float(seconds) * 10)):
            await connection.send("again")
            await connection.recv(), await connection.recv()
            await asyncio.sleep(0.1)
        for message in messages:
            await connection.send(message)
            print(await connection.recv())
            print(len(await connection.recv()))
        await (await connection.ping(b"there"))


asyncio.run(main(*sys.argv[1:]))
