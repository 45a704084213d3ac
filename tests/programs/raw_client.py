"""Sends bytes over one TLS connection as it is told, and prints what comes until the server closes.

    raw_client.py PORT CA PLAN.json

The plan: a list of base64 texts, each sent by one write; a number is a pause of so many seconds.
"""

import base64
import json
import socket
import ssl
import sys
import threading
import time


def receive(tls):
    try:
        while piece := tls.recv(65536):
            sys.stdout.buffer.write(piece)
    except (ConnectionError, ssl.SSLError) as error:
        print("ended:", error, file=sys.stderr)


def main():
    port, ca, plan = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    with open(plan, encoding="utf-8") as file:
        steps = json.load(file)
    context = ssl.create_default_context(cafile=ca)
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(plain, server_hostname="localhost")
    # Answers are read while requests are still written, or both sides could wait for each other.
    receiver = threading.Thread(target=receive, args=(tls,))
    receiver.start()
    for step in steps:
        if isinstance(step, str):
            tls.sendall(base64.b64decode(step))
        else:
            time.sleep(step)
    receiver.join()
    tls.close()
    sys.stdout.flush()


main()
