"""Client over pyOpenSSL, with a version of cryptography that has OpenSSL 1.1.0 inside: carries out a plan of calls (see
../client.py).

    pyopenssl_client.py PLAN.json|idle
"""

import http.client
import io
import json
import socket
import sys
import time
import urllib.parse
import warnings

warnings.simplefilter("ignore")
from OpenSSL import SSL  # noqa: E402


class Reader(io.RawIOBase):
    def __init__(self, tls):
        self.tls = tls

    def readable(self):
        return True

    def readinto(self, buffer):
        try:
            return self.tls.recv_into(memoryview(buffer))
        except SSL.ZeroReturnError:
            return 0


class Stream:
    """What http.client wants of a socket."""

    def __init__(self, tls):
        self.tls = tls
        self.reader = io.BufferedReader(Reader(tls))

    def makefile(self, mode):
        # An answer closes its file, the connection goes on.
        self.reader = io.BufferedReader(Reader(self.tls))
        return self.reader


def perform(plan, tls, port, call):
    body = b""
    if call["body"] is not None:
        with open(call["body"], "rb") as file:
            body = file.read()
    host = urllib.parse.urlsplit(plan["base"]).netloc
    head = [f"{call['method']} {call['target']} HTTP/1.1", f"Host: {host}"]
    head += [f"{name}: {value}" for name, value in call["headers"].items()]
    if call["body"] is not None:
        head.append(f"Content-Length: {len(body)}")
    tls.sendall("\r\n".join(head + ["", ""]).encode() + body)
    answer = http.client.HTTPResponse(Stream(tls), method=call["method"])
    answer.begin()
    content = answer.read()
    with open(f"{plan['out']}/{call['index']}", "wb") as file:
        file.write(content)
    print(json.dumps({"index": call["index"], "status": answer.status, "local_port": port}), flush=True)


def main():
    if sys.argv[1] == "idle":
        print("ready", flush=True)
        time.sleep(300)
        return
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    url = urllib.parse.urlsplit(plan["base"])
    context = SSL.Context(SSL.TLSv1_2_METHOD)
    context.load_verify_locations(plan["ca"])
    context.set_verify(SSL.VERIFY_PEER, lambda _tls, _certificate, _error, _depth, fine: bool(fine))
    for calls in plan["connections"]:
        connection = socket.create_connection((url.hostname, url.port))
        tls = SSL.Connection(context, connection)
        tls.set_tlsext_host_name(url.hostname.encode())
        tls.set_connect_state()
        tls.do_handshake()
        for call in calls:
            perform(plan, tls, connection.getsockname()[1], call)
        tls.shutdown()
        connection.close()


main()
