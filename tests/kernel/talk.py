"""Two ends of one connection in one process. Usage: talk.py plain|tls [CERT KEY].

Each line of the input is a step: client|server WRITES READS DATA..., where DATA are parts `hex:...`, or `fill:N` or
`zeros:N` for N bytes of content. The end sends the parts, WRITES bytes in each write, and the other end receives all,
READS bytes in each read at the most. "pause" answers "paused" and waits for one more line.
"""

import socket
import ssl
import sys
import threading

kind = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
for end in (client, server):
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
if kind == "tls":
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(sys.argv[2], sys.argv[3])
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    accepted = []
    shake = threading.Thread(target=lambda: accepted.append(theirs.wrap_socket(server, server_side=True)))
    shake.start()
    client = ours.wrap_socket(client)
    shake.join()
    server = accepted[0]
ends = {"client": (client, server), "server": (server, client)}


def part(text):
    how, _, what = text.partition(":")
    if how == "hex":
        return bytes.fromhex(what)
    return (b"\0" if how == "zeros" else b"\xab") * int(what)


def send(end, data, writes):
    for at in range(0, len(data), writes):
        end.sendall(data[at : at + writes])


for line in sys.stdin:
    words = line.split()
    if words == ["pause"]:
        print("paused", flush=True)
        sys.stdin.readline()
        continue
    sender, receiver = ends[words[0]]
    data = b"".join(map(part, words[3:]))
    sending = threading.Thread(target=send, args=(sender, data, int(words[1])))
    sending.start()
    left = len(data)
    while left:
        got = len(receiver.recv(min(left, int(words[2]))))
        assert got
        left -= got
    sending.join()
print("done", flush=True)
sys.stdin.read()
