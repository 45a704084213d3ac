"""gRPC server of PyPI's grpcio: answers every call with what it was sent.

    grpcio_server.py ADDRESS PORT CERT KEY      prints "ready" when it listens
"""

import sys
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


address, port, cert, key = sys.argv[1:5]
with open(cert, "rb") as c, open(key, "rb") as k:
    credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Echo()])
assert server.add_secure_port(f"{address}:{port}", credentials) == int(port)
server.start()
print("ready", flush=True)
server.wait_for_termination()
