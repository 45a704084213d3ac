"""Server of asyncio over TLS and in the clear on one thread: answers what was asked.

    ports_server.py TLS_PORT PLAIN_PORT CERT KEY      prints "ready" when it listens
"""

import asyncio
import ssl
import sys


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            text = b"asked " + head.split(b"\r\n")[0] + b"\n"
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    tls_port, plain_port, cert, key = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    await asyncio.start_server(serve, "127.0.0.1", tls_port, ssl=context)
    await asyncio.start_server(serve, "127.0.0.1", plain_port)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
