"""Client over the libssl that PyPI's psycopg2-binary brings, by its C interface: carries out a plan of calls (see
../client.py), its connections one after the other; with `idle` in its place, says that it is ready and waits. Of a package
that is for another interpreter, FOLDER has its libraries.

    psycopg2_client.py [FOLDER] PLAN.json|idle
"""

import ctypes
import glob
import http.client
import io
import json
import os
import socket
import sys
import time
import urllib.parse

if len(sys.argv) > 2:
    folder = sys.argv[1]
else:
    import psycopg2

    folder = os.path.join(os.path.dirname(os.path.dirname(psycopg2.__file__)), "psycopg2_binary.libs")
libssl = ctypes.CDLL(glob.glob(f"{folder}/libssl-*")[0])
# Before 1.1.0 it has another name, and the library has to be started.
client_method = "TLS_client_method" if hasattr(libssl, "TLS_client_method") else "SSLv23_client_method"
if hasattr(libssl, "SSL_library_init"):
    libssl.SSL_library_init()
for name in [client_method, "SSL_CTX_new", "SSL_new"]:
    getattr(libssl, name).restype = ctypes.c_void_p
SSL_VERIFY_PEER, SSL_CTRL_SET_TLSEXT_HOSTNAME = 1, 55


class Answered(io.RawIOBase):
    """What http.client takes for a socket, and for its file: the bytes of one answer."""

    def __init__(self, session):
        self.session = session

    def makefile(self, *_):
        return io.BufferedReader(self)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.session.readinto(buffer)


class Session:
    def __init__(self, context, host, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.ssl = ctypes.c_void_p(libssl.SSL_new(context))
        name = ctypes.c_char_p(host.encode())
        libssl.SSL_ctrl(self.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, ctypes.c_long(0), name)
        libssl.SSL_set_fd(self.ssl, self.socket.fileno())
        assert libssl.SSL_connect(self.ssl) == 1

    def readinto(self, buffer):
        room = ctypes.create_string_buffer(len(buffer))
        got = libssl.SSL_read(self.ssl, room, len(buffer))
        assert got >= 0
        buffer[:got] = room.raw[:got]
        return got

    def send(self, data):
        while data:
            sent = libssl.SSL_write(self.ssl, data, len(data))
            assert sent > 0
            data = data[sent:]

    def end(self):
        libssl.SSL_shutdown(self.ssl)
        libssl.SSL_free(self.ssl)
        self.socket.close()


def main():
    if sys.argv[-1] == "idle":
        print("ready", flush=True)
        time.sleep(300)
    with open(sys.argv[-1], encoding="utf-8") as file:
        plan = json.load(file)
    url = urllib.parse.urlsplit(plan["base"])
    context = ctypes.c_void_p(libssl.SSL_CTX_new(ctypes.c_void_p(getattr(libssl, client_method)())))
    assert libssl.SSL_CTX_load_verify_locations(context, plan["ca"].encode(), None) == 1
    libssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, None)
    for calls in plan["connections"]:
        session = Session(context, url.hostname, url.port)
        local_port = session.socket.getsockname()[1]
        for call in calls:
            body = open(call["body"], "rb").read() if call["body"] else b""
            fields = {**call["headers"], "host": url.netloc, "content-length": str(len(body))}
            head = f"{call['method']} {call['target']} HTTP/1.1\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
            session.send(head.encode() + body)
            answer = http.client.HTTPResponse(Answered(session), method=call["method"])
            answer.begin()
            with open(f"{plan['out']}/{call['index']}", "wb") as file:
                file.write(answer.read())
            print(json.dumps({"index": call["index"], "status": answer.status, "local_port": local_port}), flush=True)
        session.end()


main()
