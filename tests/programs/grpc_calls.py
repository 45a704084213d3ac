"""Unary calls to grpc_server.py, one after another on one connection, each with its number in `x-call`.

    grpc_calls.py HOST:PORT CERT PREFIX COUNT

Call N has `x-call: PREFIX-N` and a message of N + 1 bytes; every tenth asks for `Missing` and gets NOT_FOUND.
"""

import sys

import grpc


def main(target, cert, prefix, count):
    with open(cert, "rb") as c:
        credentials = grpc.ssl_channel_credentials(c.read())
    channel = grpc.secure_channel(target, credentials)
    unary = channel.unary_unary("/plainspan.test.v1.Echo/Unary")
    missing = channel.unary_unary("/plainspan.test.v1.Echo/Missing")
    for number in range(int(count)):
        sent = b"x" * (number + 1)
        metadata = (("x-call", f"{prefix}-{number}"),)
        if number % 10:
            assert unary(sent, timeout=30, metadata=metadata) == sent, number
            continue
        try:
            missing(sent, timeout=30, metadata=metadata)
            sys.exit(f"call {number} was answered")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
    channel.close()


main(*sys.argv[1:])
