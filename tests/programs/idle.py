"""Connections over TLS that make one request and then do nothing.

    idle.py serve PORT CERT KEY       answers each request; prints "ready" when it listens
    idle.py hold PORT CA COUNT        opens that many, makes a request on each; prints "ready", and waits to be ended
"""

import asyncio
import resource
import signal
import socket
import ssl
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def answer(reader, writer):
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def serve(port, cert, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=context, backlog=1024, limit=4096)
    print("ready", flush=True)
    await server.serve_forever()


def hold(port, ca, count):
    context = ssl.create_default_context(cafile=ca)
    held = []
    for n in range(count):
        plain = socket.create_connection(("127.0.0.1", port))
        secure = context.wrap_socket(plain, server_hostname="localhost")
        secure.sendall(b"GET /idle/%d HTTP/1.1\r\nhost: localhost\r\n\r\n" % n)
        seen = b""
        while not seen.endswith(b"ok"):
            seen += secure.recv(4096)
        held.append(secure)
    print("ready", flush=True)
    signal.pause()


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what, port, first, second = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    if what == "serve":
        asyncio.run(serve(port, first, second))
    else:
        hold(port, first, int(second))


main()
