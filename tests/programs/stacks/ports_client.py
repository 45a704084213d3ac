"""Many connections of asyncio, over TLS and in the clear, on one thread: the path of each request has the client's port.

    ports_client.py TLS_PORT PLAIN_PORT PREFIX REQUESTS [SECONDS]

REQUESTS over TLS, on 40 connections at a time, and a quarter of that in the clear, on 10. A connection makes 25 requests,
and another one follows it. With SECONDS there are no new connections, and each rests so long after its first request.
"""

import asyncio
import ssl
import sys

TLS, PLAIN, PREFIX, REQUESTS = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
REST = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
EACH = 25


async def connection(port, context, count):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    local = writer.get_extra_info("sockname")[1]
    for number in range(count):
        writer.write(f"GET {PREFIX}/{local}/{number} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n".encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        if REST and not number:
            print("ready", flush=True)
            await asyncio.sleep(REST)
    writer.close()


async def lane(port, context, count):
    while count:
        part = count if REST else min(count, EACH)
        await connection(port, context, part)
        count -= part


async def main():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    lanes = [lane(TLS, context, REQUESTS // 40) for _ in range(40)]
    lanes += [lane(PLAIN, None, REQUESTS // 40) for _ in range(10)]
    await asyncio.gather(*lanes)
    print("done", flush=True)


asyncio.run(main())
