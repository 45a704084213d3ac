"""Unary calls to grpc_server.py from many threads on many connections, each with its number in `x-call`.

    grpc_load.py HOST:PORT CERT CHANNELS THREADS CALLS      THREADS of each channel, CALLS of each thread
"""

import sys
import threading

import grpc


def calls(call, first, count, failed):
    for number in range(first, first + count):
        sent = b"%d" % number * 20
        answer = call(sent, timeout=30, metadata=(("x-call", str(number)),))
        if answer != sent:
            failed.append(number)


def main(target, cert, channels, threads, count):
    with open(cert, "rb") as c:
        credentials = grpc.ssl_channel_credentials(c.read())
    # Channels share connections otherwise.
    options = (("grpc.use_local_subchannel_pool", 1),)
    failed, running, first = [], [], 0
    for _ in range(int(channels)):
        channel = grpc.secure_channel(target, credentials, options)
        call = channel.unary_unary("/plainspan.test.v1.Echo/Unary")
        for _ in range(int(threads)):
            thread = threading.Thread(target=calls, args=(call, first, int(count), failed))
            first += int(count)
            running.append(thread)
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failed, failed


main(*sys.argv[1:])
