"""HTTP/1 server without TLS that takes `Upgrade: h2c` and answers the request in HTTP/2 (RFC 7540, section 3.2).

    h2c_server.py ADDRESS PORT      prints "ready" when it listens

No server of Debian 12 that the tests use does this. Each answer is 3000 bytes in two DATA frames, with a trailer.
"""

import socket
import sys
import threading


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def field(name, value):
    """A literal without indexing (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
SETTINGS = frame(4, 0, 0, b"")
SETTINGS_ACK = frame(4, 1, 0, b"")
ANSWER = [
    frame(1, 0x4, 1, b"\x88" + field(b"x-server", b"python")),
    frame(0, 0, 1, b"a" * 1000),
    frame(0, 0, 1, b"b" * 2000),
    frame(1, 0x5, 1, field(b"x-end", b"yes")),
]


def serve(connection):
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = connection.recv(65536)
            if not piece:
                return
            request += piece
        assert b"upgrade: h2c" in request.lower(), request
        connection.sendall(SWITCH + SETTINGS)
        for part in [SETTINGS_ACK, *ANSWER]:
            connection.sendall(part)
        while connection.recv(65536):
            pass


def main():
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
