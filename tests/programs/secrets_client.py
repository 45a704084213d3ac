"""Sends secrets in content of every kind over plain HTTP/1.1, then the same requests cut at every byte.

    secrets_client.py ADDRESS PORT PATH SECRET      exits with 0 when all is sent
"""

import gzip
import json
import socket
import sys
import urllib.parse
import zlib


def request(target, kind, body, extra=()):
    fields = [("Host", "shop.example"), ("Content-Type", kind), *extra]
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields)
    return head.encode() + b"\r\n" + body


def sized(target, kind, body, extra=()):
    return request(target, kind, body, [*extra, ("Content-Length", len(body))])


def chunked(target, kind, body, size):
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
    return request(target, kind, coded, [("Transfer-Encoding", "chunked")])


def send(address, port, data):
    with socket.create_connection((address, int(port)), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def main(address, port, path, secret):
    document = json.dumps({"a": [1, {"private": {"name": secret}}], "text": f"Bearer {secret}"}).encode()
    text = f"the pin={secret} and a bearer {secret} of 4111 1111 1111 1111\n".encode()
    form = urllib.parse.urlencode({"a": 1, "t": f"Bearer {secret}", "q": f"pin={secret}"}).encode()
    events = f"data: {document.decode()}\n\n".encode()
    whole = [
        sized(f"{path}json/x", "application/json", document),
        sized(f"{path}text/x", "text/plain", text),
        sized(f"{path}form/x", "application/x-www-form-urlencoded", form),
        sized(f"{path}events/x", "text/event-stream", events),
        sized(f"{path}gzip/x", "application/json", gzip.compress(document), [("Content-Encoding", "gzip")]),
        sized(f"{path}deflate/x", "text/plain", zlib.compress(text), [("Content-Encoding", "deflate")]),
        sized(f"{path}unknown/x", "text/plain", text, [("Content-Encoding", "compress")]),
        sized(f"{path}binary/x", "application/octet-stream", b"\0\1" + text + b"\xff"),
        *(chunked(f"{path}chunked/{size}", "application/json", document, size) for size in (1, 7, 50)),
    ]
    for data in whole:
        send(address, port, data)
    secrets = [
        ("Authorization", f"Bearer {secret}"),
        ("Referer", f"https://h/?access_token={secret}"),
    ]
    target = f"{path}cut/x?token={secret}"
    cuts = [
        sized(target, "application/json", document, secrets),
        sized(target, "text/plain", text, secrets),
        sized(target, "application/json", gzip.compress(document), [*secrets, ("Content-Encoding", "gzip")]),
    ]
    for data in cuts:
        for end in range(1, len(data)):
            send(address, port, data[:end])
    send(address, port, sized(f"{path}last/x", "text/plain", b"done"))


main(*sys.argv[1:])
