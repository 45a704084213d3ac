"""gRPC server over TLS: any method of service late.Echo echoes messages; a name that begins with Stream is bidirectional.

    late_grpc_server.py ADDRESS PORT CERT KEY      prints "ready" when it listens
"""

import sys
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        if name.startswith("Stream"):
            return grpc.stream_stream_rpc_method_handler(lambda messages, context: messages)
        return grpc.unary_unary_rpc_method_handler(lambda message, context: message)


def main(address, port, cert, key):
    with open(cert, "rb") as c, open(key, "rb") as k:
        credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers([Echo()])
    server.add_secure_port(f"{address}:{port}", credentials)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


main(*sys.argv[1:])
