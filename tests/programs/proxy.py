"""Forward proxy without TLS of its own: CONNECT tunnels, and requests in absolute form.

    proxy.py ADDRESS PORT      prints "ready" when it listens
"""

import socket
import sys
import threading
import urllib.parse


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError as error:
        # One end went away: the other direction is over too.
        print("tunnel ended:", error, file=sys.stderr)


def join(client, server):
    back = threading.Thread(target=pump, args=(server, client), daemon=True)
    back.start()
    pump(client, server)
    back.join()


def read_head(client):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65536)
        if not piece:
            return None, b""
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), rest


def serve(client):
    with client:
        lines, rest = read_head(client)
        if lines is None:
            return
        method, target, version = lines[0].split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\nx-server: proxy\r\n\r\n")
                server.sendall(rest)
                join(client, server)
            return
        url = urllib.parse.urlsplit(target)
        path = urllib.parse.urlunsplit(("", "", url.path, url.query, ""))
        fields = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        head = "\r\n".join([f"{method} {path} {version}", *fields, "connection: close", "via: 1.1 test", "", ""])
        with socket.create_connection((url.hostname, url.port or 80)) as server:
            server.sendall(head.encode("latin-1") + rest)
            join(client, server)


def main():
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


main()
