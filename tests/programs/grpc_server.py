"""gRPC server over TLS, with handlers that need no generated code.

    grpc_server.py ADDRESS PORT CERT KEY      prints "ready" when it listens

Service `plainspan.test.v1.Echo`: messages are bytes. `Unary` and `Packed` answer with what they got (and `Unary` with
`x-peer` in its trailers: who asked), `ClientStream` with
the length of all, `ServerStream` with its message four times, `Bidi` with each message twice as long. `Missing` fails
at once, `Broken` after two messages, `Slow` answers when nobody waits any more.
"""

import sys
import time
from concurrent import futures

import grpc

SERVICE = "plainspan.test.v1.Echo"


def unary(request, context):
    context.set_trailing_metadata((("x-end", "yes"), ("x-peer", context.peer())))
    return request


def packed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request


def client_stream(requests, context):
    return str(sum(len(r) for r in requests)).encode()


def server_stream(request, context):
    for _ in range(4):
        yield request


def bidi(requests, context):
    for request in requests:
        yield request * 2


def missing(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no cart of Zoë: 100 %\nnone")


def broken(request, context):
    yield request
    yield request
    context.abort(grpc.StatusCode.UNAVAILABLE, "out of carts")


def slow(request, context):
    while context.is_active():
        time.sleep(0.05)
    return request


def main(address, port, cert, key):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Packed": grpc.unary_unary_rpc_method_handler(packed),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
        "Missing": grpc.unary_unary_rpc_method_handler(missing),
        "Broken": grpc.unary_stream_rpc_method_handler(broken),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    with open(key, "rb") as k, open(cert, "rb") as c:
        credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
    if server.add_secure_port(f"{address}:{port}", credentials) == 0:
        sys.exit(f"cannot listen on {address}:{port}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


main(*sys.argv[1:])
