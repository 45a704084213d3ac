"""Blocking client: carries out a plan of calls.

    client.py requests|urllib PLAN.json

The plan: {"base": URL, "ca": FILE, "out": FOLDER, "wait": SECONDS, "connections": [[{"index", "method", "target",
"headers", "body": FILE or null}]]}. With `requests` each list is one kept-open connection; `urllib` opens one a call.
Bodies of answers go to OUT/INDEX, a JSON line a call to stdout. "wait": seconds to sleep once connected, before the
first call (for `raw`, which speaks HTTP by hand over one TLS connection).
"""

import json
import socket
import ssl
import sys
import time
import urllib.parse
import urllib.request


def read_body(call):
    if call["body"] is None:
        return None
    with open(call["body"], "rb") as file:
        return file.read()


def report(plan, call, status, body, local_port=0):
    with open(f"{plan['out']}/{call['index']}", "wb") as file:
        file.write(body)
    print(json.dumps({"index": call["index"], "status": status, "local_port": local_port}), flush=True)


def with_requests(plan):
    import requests

    for calls in plan["connections"]:
        session = requests.Session()
        session.trust_env = False
        for call in calls:
            answer = session.request(
                call["method"],
                plan["base"] + call["target"],
                headers=call["headers"],
                data=read_body(call),
                verify=plan["ca"],
                timeout=30,
                stream=True,
            )
            # The connection goes back to the pool when the body is read; its port must be looked up before.
            connection = answer.raw.connection
            port = connection.sock.getsockname()[1] if connection is not None and connection.sock else 0
            report(plan, call, answer.status_code, answer.content, port)
        session.close()


def with_urllib(plan):
    context = ssl.create_default_context(cafile=plan["ca"])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    for calls in plan["connections"]:
        for call in calls:
            request = urllib.request.Request(
                plan["base"] + call["target"], data=read_body(call), headers=call["headers"], method=call["method"]
            )
            with opener.open(request, timeout=30) as answer:
                report(plan, call, answer.status, answer.read())


def with_raw(plan):
    """Connects (TCP and TLS), waits, then talks: the handshake is long over when the first request comes."""
    url = urllib.parse.urlsplit(plan["base"])
    context = ssl.create_default_context(cafile=plan["ca"])
    for calls in plan["connections"]:
        plain = socket.create_connection(("127.0.0.1", url.port), timeout=30)
        tls = context.wrap_socket(plain, server_hostname=url.hostname)
        time.sleep(plan["wait"])
        reader = tls.makefile("rb")
        for call in calls:
            body = read_body(call) or b""
            headers = {"host": url.netloc, **call["headers"], "content-length": str(len(body))}
            head = f"{call['method']} {call['target']} HTTP/1.1\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
            tls.sendall(head.encode() + body)
            status = int(reader.readline().split(b" ")[1])
            length = 0
            while (line := reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.strip().lower() == b"content-length":
                    length = int(value)
            report(plan, call, status, reader.read(length), tls.getsockname()[1])
        tls.close()


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        plan = json.load(file)
    {"requests": with_requests, "urllib": with_urllib, "raw": with_raw}[sys.argv[1]](plan)


main()
