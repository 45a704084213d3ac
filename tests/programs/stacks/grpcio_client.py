"""gRPC client of PyPI's grpcio: 25 calls on each of eight connections side by side.

    grpcio_client.py PORT CERT SERVICE      call N is SERVICE/N, with N * 300 bytes, and metadata x-call: N
"""

import sys
import threading

import grpc

port, cert, service = sys.argv[1:4]
with open(cert, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
failed = []


def connection(first):
    # Else all channels to one address share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"localhost:{port}", credentials, options) as channel:
        for number in range(first, first + 25):
            message = bytes(number % 251 for _ in range(number * 300))
            call = channel.unary_unary(f"/{service}/{number}")
            if call(message, timeout=20, metadata=(("x-call", str(number)),)) != message:
                failed.append(number)


threads = [threading.Thread(target=connection, args=(first * 25,)) for first in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
print("done", flush=True)
