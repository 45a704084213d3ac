"""Keeps one connection of HTTP/1.1 busy: a request every 50 ms, each with a target of its own.

    late_client.py BASE PREFIX SECONDS CA

A JSON line a request: its target, the wall clock before it (ns), its status, and the local port.
"""

import http.client
import json
import ssl
import sys
import time
import urllib.parse


def main(base, prefix, seconds, ca):
    url = urllib.parse.urlsplit(base)
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port)
    end = time.monotonic() + float(seconds)
    number = 0
    while time.monotonic() < end:
        kind = ["get", "status/404", "status/503"][number % 3]
        target = f"{prefix}{kind}?n={number}"
        at = time.time_ns()
        connection.request("GET", target, headers={"x-call": str(number)})
        answer = connection.getresponse()
        size = len(answer.read())
        port = connection.sock.getsockname()[1]
        line = {"n": number, "target": target, "at": at, "status": answer.status, "size": size, "port": port}
        print(json.dumps(line), flush=True)
        number += 1
        time.sleep(0.05)


main(*sys.argv[1:])
