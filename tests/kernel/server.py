"""Test servers. Usage: server.py plain|tls|asyncio [CERT KEY]. Prints its port, serves until killed.

GET /NAME answers "hello NAME"; GET /big/N answers N bytes; POST answers the length of the body.
"""

import asyncio
import http.server
import socketserver
import ssl
import sys

kind = sys.argv[1]


def answer(path):
    if path.startswith("/big/"):
        n = int(path[5:])
        return bytes(i % 251 for i in range(n)) if n < 1 << 16 else (bytes(range(251)) * (n // 251 + 1))[:n]
    return b"hello " + path.encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one buffer, so that one response is few writes.
    wbufsize = -1

    def do_GET(self):
        self.reply(answer(self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.reply(b"got %d" % len(body))

    def reply(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(sys.argv[2], sys.argv[3])
    return made


def blocking():
    server = Server(("127.0.0.1", 0), Handler)
    if kind == "tls":
        tls = context()
        plain_get = server.get_request

        def get_request():
            connection, address = plain_get()
            # The handshake happens in the connection's own thread, at its first read.
            return tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        server.get_request = get_request
    print(server.server_address[1], flush=True)
    server.serve_forever()


async def talk(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            body = answer(head.split()[1])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def asynchronous():
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context())
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if kind == "asyncio":
    asyncio.run(asynchronous())
else:
    blocking()
