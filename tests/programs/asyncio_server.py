"""HTTP/1.1 server over TLS on asyncio streams: Python's memory-BIO use of OpenSSL.

    asyncio_server.py ADDRESS PORT CERT KEY     prints "ready" when it listens

GET answers with what was asked; POST reads the body and answers with its length and SHA-256.
"""

import asyncio
import hashlib
import ssl
import sys


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return method, target, body


async def serve(reader, writer):
    try:
        while True:
            method, target, body = await read_request(reader)
            if method == "POST":
                answer = f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode()
            else:
                answer = f"asked {method} {target}\n".encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nx-server: asyncio\r\ncontent-type: text/plain\r\n"
                + f"content-length: {len(answer)}\r\n\r\n".encode()
            )
            writer.write(answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    address, port, cert, key = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = await asyncio.start_server(serve, address, port, ssl=context)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
