"""Calls every method of grpc_server.py on one channel, one after another.

    grpc_client.py HOST:PORT CERT      exits with 0 if every call ended as it must

With TEST_MESSAGE it only sends that, in a message, a compressed message and metadata.
"""

import os
import sys

import grpc

SERVICE = "plainspan.test.v1.Echo"


def fails(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error.details()
    raise AssertionError(f"the call did not fail with {code}")


def main(target, cert):
    with open(cert, "rb") as c:
        credentials = grpc.ssl_channel_credentials(c.read())
    with grpc.secure_channel(target, credentials) as channel:
        path = lambda name: f"/{SERVICE}/{name}"
        metadata = (("x-call", "7"), ("authorization", "Bearer secret-of-the-call"))

        given = os.environ.get("TEST_MESSAGE")
        if given:
            metadata = (("x-my-token", given), ("x-note-bin", given.encode()))
            for compression in [None, grpc.Compression.Gzip]:
                call = channel.unary_unary(path("Unary"))
                answer = call(given.encode(), timeout=20, metadata=metadata, compression=compression)
                assert answer == given.encode(), answer
            return

        answer = channel.unary_unary(path("Unary"))(b"hello", timeout=20, metadata=metadata)
        assert answer == b"hello", answer
        packed = channel.unary_unary(path("Packed"))
        answer = packed(b"a" * 5000, timeout=20, compression=grpc.Compression.Gzip)
        assert answer == b"a" * 5000
        parts = (b"c" * (1000 * i) for i in range(5))
        answer = channel.stream_unary(path("ClientStream"))(parts, timeout=20)
        assert answer == b"10000", answer
        answers = list(channel.unary_stream(path("ServerStream"))(b"s" * 40000, timeout=20))
        assert [len(a) for a in answers] == [40000] * 4
        parts = (b"b" * 50 for _ in range(6))
        answers = list(channel.stream_stream(path("Bidi"))(parts, timeout=20))
        assert [len(a) for a in answers] == [100] * 6

        said = fails(
            grpc.StatusCode.NOT_FOUND,
            lambda: channel.unary_unary(path("Missing"))(b"which", timeout=20),
        )
        assert said == "no cart of Zoë: 100 %\nnone", said
        fails(
            grpc.StatusCode.UNAVAILABLE,
            lambda: list(channel.unary_stream(path("Broken"))(b"twice", timeout=20)),
        )
        fails(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            lambda: channel.unary_unary(path("Slow"))(b"late", timeout=0.4),
        )
        fails(
            grpc.StatusCode.UNIMPLEMENTED,
            lambda: channel.unary_unary(path("NoSuch"))(b"what", timeout=20),
        )


main(*sys.argv[1:])
