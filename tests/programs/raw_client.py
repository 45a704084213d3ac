"""Sends bytes over one TLS connection as it is told, and prints what comes until the server closes.

    raw_client.py PORT CA PLAN.json

The plan: a list of base64 texts, each sent by one write; a number is a pause of so many seconds.
"""

import base64
import json
import select
import socket
import ssl
import sys
import time


class Talk:
    """One thread, since a TLS connection of CPython must not be read and written at once. Answers are read while
    requests are still written, or both sides could wait for each other."""

    def __init__(self, tls):
        self.tls = tls
        self.tls.setblocking(False)
        self.closed = False

    def read(self):
        """Takes what is there."""
        try:
            while piece := self.tls.recv(65536):
                sys.stdout.buffer.write(piece)
            self.closed = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ConnectionError, ssl.SSLError) as error:
            print("ended:", error, file=sys.stderr)
            self.closed = True

    def wait(self, seconds, write=False):
        if not select.select([self.tls], [self.tls] if write else [], [], seconds)[0]:
            return
        self.read()

    def send(self, piece):
        while piece and not self.closed:
            try:
                piece = piece[self.tls.send(piece) :]
            except ssl.SSLWantReadError:
                self.wait(20)
            except ssl.SSLWantWriteError:
                self.wait(20, write=True)
            self.read()

    def pause(self, seconds):
        end = time.monotonic() + seconds
        while not self.closed and (left := end - time.monotonic()) > 0:
            self.wait(left)


def main():
    port, ca, plan = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    with open(plan, encoding="utf-8") as file:
        steps = json.load(file)
    context = ssl.create_default_context(cafile=ca)
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    talk = Talk(context.wrap_socket(plain, server_hostname="localhost"))
    for step in steps:
        if isinstance(step, str):
            talk.send(base64.b64decode(step))
        else:
            talk.pause(step)
    talk.pause(20)
    talk.tls.close()
    sys.stdout.flush()


main()
