"""Client whose sockets are read in one thread and written in another, with all TLS calls in a third one, as .NET's
SslStream and Java's NIO do: carries out a plan of calls (see ../client.py), its connections side by side.

    threads_client.py PLAN.json

"wait": seconds between the handshakes and the first request.
"""

import json
import queue
import selectors
import socket
import ssl
import sys
import threading
import time
import urllib.parse

received = queue.Queue()  # (connection, bytes), for the thread of TLS
to_send = queue.Queue()  # (socket, bytes)


class Connection:
    def __init__(self, address, context, host, calls):
        self.socket = socket.create_connection(address)
        self.port = self.socket.getsockname()[1]
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.calls = iter(calls)
        self.call = None
        self.shaken = False
        self.answer = b""
        self.done = False

    def flush(self):
        if self.outgoing.pending:
            to_send.put((self.socket, self.outgoing.read()))

    def ask(self, host):
        self.call = next(self.calls, None)
        if self.call is None:
            self.done = True
            return
        body = open(self.call["body"], "rb").read() if self.call["body"] else b""
        fields = {**self.call["headers"], "host": host, "content-length": str(len(body))}
        head = f"{self.call['method']} {self.call['target']} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        self.tls.write(head.encode() + body)

    def step(self, data):
        """What the thread of TLS does with bytes that came. True: an answer is whole."""
        self.incoming.write(data)
        if not self.shaken:
            try:
                self.tls.do_handshake()
                self.shaken = True
            except ssl.SSLWantReadError:
                return False
            finally:
                self.flush()
        while True:
            try:
                self.answer += self.tls.read(65536)
            except ssl.SSLWantReadError:
                break
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not end:
            return False
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        return len(body) >= int(fields[b"content-length"])


def receiver(connections):
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    while True:
        for key, _ in selector.select():
            data = key.fileobj.recv(65536)
            if data:
                received.put((key.data, data))
            else:
                selector.unregister(key.fileobj)


def sender():
    while True:
        to, data = to_send.get()
        to.sendall(data)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    url = urllib.parse.urlsplit(plan["base"])
    context = ssl.create_default_context(cafile=plan["ca"])
    address = ("127.0.0.1", url.port)
    connections = [Connection(address, context, url.hostname, calls) for calls in plan["connections"]]
    threading.Thread(target=receiver, args=(connections,), daemon=True).start()
    threading.Thread(target=sender, daemon=True).start()
    for connection in connections:
        try:
            connection.tls.do_handshake()
        except ssl.SSLWantReadError:
            connection.flush()
    while not all(connection.shaken for connection in connections):
        connection, data = received.get()
        connection.step(data)
    if plan["wait"]:
        print("ready", file=sys.stderr, flush=True)
        time.sleep(plan["wait"])
    for connection in connections:
        connection.ask(url.netloc)
        connection.flush()
    while not all(connection.done for connection in connections):
        connection, data = received.get()
        if not connection.step(data):
            continue
        head, _, body = connection.answer.partition(b"\r\n\r\n")
        call, connection.answer = connection.call, b""
        with open(f"{plan['out']}/{call['index']}", "wb") as file:
            file.write(body)
        told = {"index": call["index"], "status": int(head.split(b" ", 2)[1]), "local_port": connection.port}
        print(json.dumps(told), flush=True)
        connection.ask(url.netloc)
        connection.flush()


main()
