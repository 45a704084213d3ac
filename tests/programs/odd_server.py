"""Server of what the kernel programs cannot follow, over TLS or plain.

    odd_server.py ADDRESS PORT [CERT KEY]      prints "ready" when it listens

A connection that begins with "\\x84N\\n" gets N bytes of no protocol at all. A request of HTTP/1 for .../N gets N bytes
whose length is said twice, as RFC 9110 (section 8.6) lets a receiver take it.
"""

import socket
import ssl
import sys
import threading

PIECE = bytes(range(128, 256)) * 512


def send(connection, size):
    for start in range(0, size, len(PIECE)):
        connection.sendall(PIECE[: size - start])


def serve(connection, context):
    with context.wrap_socket(connection, server_side=True) if context else connection as end:
        while asked := end.recv(65536):
            if asked[:1] == b"\x84":
                send(end, int(asked[1:]))
                continue
            size = int(asked.split(b" ")[1].split(b"/")[-1])
            length = b"content-length: %d\r\n" % size
            end.sendall(b"HTTP/1.1 200 OK\r\nx-server: odd\r\n" + length + length + b"\r\n")
            send(end, size)


def main():
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
    context = None
    if len(sys.argv) > 3:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context), daemon=True).start()


main()
