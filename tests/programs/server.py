"""Blocking HTTP/1.1 server, one thread a connection, over TLS or plain.

    server.py ADDRESS PORT [CERT KEY]      prints "ready" when it listens

Paths, whatever stands before the last but one part:
    .../size/N        N bytes
    .../status/N      that status
    .../slow/S        first half at once, the rest S seconds later
    .../wait/S        nothing for S seconds, then an answer
    .../half/N        says N bytes, sends half of them, closes the connection in order
    .../reset/N       the same, then resets the connection
    .../die/N         the same, then the process ends
    .../chunked/N     N bytes in chunks of 1000, with a trailer
    .../close/N       N bytes, no length, ended by the end of the connection
    .../cookie/x      a cookie that holds TEST_COOKIE
    .../location/x    a redirect to a URL that holds TEST_COOKIE
    .../fold/x        an answer with a header that is folded over two lines
    .../events/S      server-sent events for S seconds, one every `every` seconds (0.1), with `size` bytes of data (40)
    .../endless/S     a chunk every S seconds, until the client goes
    .../flood/N       N bytes in chunks of 64 KiB, as fast as they are taken
POST and PUT read the body and answer with its length, but:
    .../refuse/N      gets status N where it expects 100 (Continue), before it sends a body; the
                      connection stays open
    .../early/N       gets status N after the first 1000 bytes of its body, and the connection closes
"""

import hashlib
import os
import socket
import ssl
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATTERN = bytes(range(256))


def pattern(size):
    """The bytes 0..255, over and over: what the tests expect of every generated body."""
    return (PATTERN * (size // 256 + 1))[:size]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "plainspan-test"
    # Heads and bodies leave when they are written, as in most servers.
    wbufsize = 0
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, body, extra=()):
        self.send_response(status)
        self.send_header("x-server", "python")
        for name, value in extra:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def announce(self, size):
        self.send_response(200)
        self.send_header("x-server", "python")
        self.send_header("content-length", str(size))
        self.end_headers()

    def do_GET(self):
        path = self.path.split("?")[0].rstrip("/").split("/")
        what, argument = (path[-2], path[-1]) if len(path) > 2 else ("", "")
        action = getattr(self, "get_" + what, None)
        if action is None:
            body = f"asked {self.command} {self.path}\n".encode()
            return self.answer(200, body)
        return action(argument)

    do_HEAD = do_GET

    def handle_expect_100(self):
        path = self.path.split("/")
        if path[-2] != "refuse":
            return super().handle_expect_100()
        self.answer(int(path[-1]), b"no\n")
        return False

    def do_POST(self):
        path = self.path.split("/")
        if path[-2] == "early":
            self.rfile.read(1000)
            self.close_connection = True
            self.answer(int(path[-1]), b"enough\n", [("connection", "close")])
            # Time for the client to take the answer: what it goes on sending makes the close a reset.
            return time.sleep(0.3)
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        digest = hashlib.sha256(body).hexdigest()
        # S3's clients want an ETag of what they put.
        self.answer(200, f"{len(body)} {digest}\n".encode(), [("etag", f'"{digest}"')])

    do_PUT = do_POST

    def get_size(self, size):
        self.answer(200, pattern(int(size)))

    def get_status(self, status):
        status = int(status)
        self.answer(status, b"" if status == 204 else b"as asked\n")

    def get_cookie(self, _):
        self.answer(200, b"here\n", [("set-cookie", "sid=" + os.environ.get("TEST_COOKIE", "x"))])

    def get_location(self, _):
        secret = os.environ.get("TEST_COOKIE", "x")
        url = f"https://example.test/cb?state=1&code={secret}#access_token={secret}"
        self.answer(302, b"there\n", [("location", url), ("content-location", f"/p?acc%65ss_token={secret}")])

    def get_slow(self, seconds):
        body = pattern(1000)
        self.announce(len(body))
        self.wfile.write(body[:500])
        time.sleep(float(seconds))
        self.wfile.write(body[500:])

    def get_wait(self, seconds):
        time.sleep(float(seconds))
        self.answer(200, b"at last\n")

    def half(self, size):
        self.announce(int(size))
        self.wfile.write(pattern(int(size) // 2))
        self.close_connection = True

    def get_half(self, size):
        self.half(size)

    def get_reset(self, size):
        self.half(size)
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # The client has read its half by now, so that the reset takes nothing of it away.
        time.sleep(0.3)
        os.close(self.connection.detach())

    def get_die(self, size):
        self.half(size)
        time.sleep(0.3)
        os._exit(7)

    def get_chunked(self, size):
        body = pattern(int(size))
        self.send_response(200)
        self.send_header("x-server", "python")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("trailer", "x-checksum")
        self.end_headers()
        for start in range(0, len(body), 1000):
            piece = body[start : start + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\nx-checksum: " + hashlib.sha256(body).hexdigest().encode() + b"\r\n\r\n")

    def get_fold(self, _):
        head = b"HTTP/1.1 200 OK\r\nx-server: python\r\nx-folded: one\r\n\t two\r\ncontent-length: 5\r\n\r\n"
        self.wfile.write(head + b"here\n")

    def begin_chunks(self, content_type):
        self.send_response(200)
        self.send_header("x-server", "python")
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def get_events(self, seconds):
        query = dict(pair.split("=") for pair in self.path.partition("?")[2].split("&") if "=" in pair)
        every, size = float(query.get("every", "0.1")), int(query.get("size", "40"))
        self.begin_chunks("text/event-stream")
        number, end = 0, time.monotonic() + float(seconds)
        while time.monotonic() < end:
            number += 1
            self.chunk(b"id: %d\ndata: %s\n\n" % (number, b"event-canary ".ljust(size, b".")))
            time.sleep(every)
        self.chunk(b"")

    def get_endless(self, every):
        self.begin_chunks("application/octet-stream")
        while True:
            self.chunk(pattern(1000))
            time.sleep(float(every))

    def get_flood(self, size):
        size, piece = int(size), pattern(64 << 10)
        self.begin_chunks("application/octet-stream")
        for start in range(0, size, len(piece)):
            self.chunk(piece[: size - start])
        self.chunk(b"")

    def get_close(self, size):
        self.send_response(200)
        self.send_header("x-server", "python")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(pattern(int(size)))
        # Without a length, close_notify alone says that the body is whole (RFC 9112, 9.8).
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.unwrap()
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # A client that goes away is part of the tests.
        print("connection ended:", sys.exc_info()[1], file=sys.stderr)


def main():
    address, port = sys.argv[1], int(sys.argv[2])
    server = Server((address, port), Handler)
    if len(sys.argv) > 3:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
        # The handshake belongs to the connection's own thread, not to the one that accepts.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("ready", flush=True)
    server.serve_forever()


main()
