"""gRPC client over TLS: a bidirectional stream, and unary calls beside it on the same channel.

    late_grpc_client.py TARGET CA SECONDS

A message every 100 ms on /late.Echo/StreamEcho for SECONDS, and a call of a method of its own, /late.Echo/UnaryN.
A JSON line a call: number and wall clock before it (ns).
"""

import json
import sys
import threading
import time

import grpc


def main(target, ca, seconds):
    with open(ca, "rb") as file:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()))
    end = time.monotonic() + float(seconds)

    def messages():
        while time.monotonic() < end:
            yield b"m" * 100
            time.sleep(0.1)

    def stream():
        answers = channel.stream_stream("/late.Echo/StreamEcho")(messages())
        print(json.dumps({"streamed": sum(1 for _ in answers)}), flush=True)

    thread = threading.Thread(target=stream)
    thread.start()
    number = 0
    while time.monotonic() < end:
        at = time.time_ns()
        channel.unary_unary(f"/late.Echo/Unary{number}")(b"u" * number)
        print(json.dumps({"n": number, "at": at}), flush=True)
        number += 1
        time.sleep(0.1)
    thread.join()
    channel.close()


main(*sys.argv[1:])
